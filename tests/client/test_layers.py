"""How the modules of the core hang together: no circle, not even of annotations, and few that know httpx."""

import ast
from graphlib import TopologicalSorter
from importlib import import_module
from pathlib import Path

import pytest

import prisma_mgmt

ROOT = Path(prisma_mgmt.__file__).parent
KNOW_HTTPX = {"core/engines.py", "core/http1.py", "core/over_httpx.py", "faults.py", "environment.py"}


def imported(path: Path) -> set[str]:
    """The modules that a file imports, inside functions and for type checkers too."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def test_no_modules_import_each_other_in_a_circle() -> None:
    ground = [path for path in ROOT.glob("*.py") if path.stem not in ("__init__", "pytest_plugin")]
    modules = {".".join(["prisma_mgmt", *path.relative_to(ROOT).with_suffix("").parts]): path
               for path in [*ROOT.glob("core/*.py"), *ground] if path.stem != "__init__"}  # fmt: skip
    TopologicalSorter({name: imported(path) & modules.keys() for name, path in modules.items()}).prepare()


def test_few_files_know_httpx() -> None:
    files = [*ROOT.glob("core/*.py"), *ROOT.glob("*.py")]
    knowing = {str(path.relative_to(ROOT)) for path in files if {"httpx", "httpcore"} & imported(path)}
    assert knowing <= KNOW_HTTPX


class _Running(ast.NodeTransformer):
    """Leaves out what stands under TYPE_CHECKING, which Nuitka takes for False."""

    def visit_If(self, node: ast.If) -> ast.AST:
        only_for_checkers = isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"
        return ast.Module(node.orelse, []) if only_for_checkers else self.generic_visit(node)


@pytest.mark.parametrize("name", ["prisma_mgmt", "prisma_mgmt.auth", "prisma_mgmt.auth.storage"])
def test_who_packs_a_program_sees_an_import_of_every_module_that_is_loaded_on_first_use(name: str) -> None:
    package = import_module(name)
    tree = _Running().visit(ast.parse(Path(str(package.__file__)).read_text()))
    found = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    homes = {getattr(getattr(package, one), "__module__", name) for one in package.__all__}
    assert len(homes) > 4
    assert homes <= {name, *found}
