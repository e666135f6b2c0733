"""The three committed descriptions, and the code that is made of them."""

import ast
import copy
import importlib
from collections import Counter
from pathlib import Path

import pytest

from tests.apigen import ROOT, committed, inlined
from tools.apigen.__main__ import APIS, generate, main
from tools.apigen.changes import changes
from tools.apigen.description import operations
from tools.apigen.names import default_summary, load
from tools.apigen.normalise import normalise


def test_the_committed_code_is_what_the_descriptions_give() -> None:
    assert main(["--check"], ROOT) == 0


def test_generation_is_deterministic() -> None:
    descriptions = {api: normalise(committed(api), load(api), committed(api)).description for api in APIS}
    assert generate(descriptions, "") == generate(copy.deepcopy(descriptions), "")


@pytest.mark.parametrize("api", APIS)
def test_a_description_that_is_inlined_gets_its_names_again(api: str) -> None:
    description = committed(api)
    made = normalise(inlined(description), load(api), description).description
    assert changes(description, made) == []
    assert made == description


def test_150_operations_in_under_400_kilobytes() -> None:
    assert [len(list(operations(committed(api)))) for api in APIS] == [118, 17, 15]
    assert sum((ROOT / "prisma_mgmt" / "spec" / f"{api}.json").stat().st_size for api in APIS) < 400_000
    assert [load(api).client for api in APIS] == [
        "ManagementClient",
        "PostgresClient",
        "DataPlatformClient",
    ]


def test_every_operation_of_the_committed_descriptions_has_words_of_ours() -> None:
    for api in APIS:
        for operation in (one.raw for one in operations(committed(api))):
            assert operation["summary"] != default_summary(*operation["operationId"].split("."))
        for name, schema in committed(api)["components"]["schemas"].items():
            assert "enum" in schema or schema["description"], name


def files() -> list[Path]:
    return [path for api in APIS for path in sorted((ROOT / "prisma_mgmt" / api).glob("*.py"))]


def test_no_file_is_long() -> None:
    for path in [*files(), *(ROOT / "tools" / "apigen").glob("*.py")]:
        assert len(path.read_text("utf-8").splitlines()) <= 350, path


def methods() -> dict[str, int]:
    """The lines of each operation's method, decorators included."""
    found = {}
    for path in files():
        for node in ast.parse(path.read_text("utf-8")).body:
            if isinstance(node, ast.ClassDef) and [ast.unparse(base) for base in node.bases] == ["Resource"]:
                for method in node.body:
                    if isinstance(method, ast.FunctionDef | ast.AsyncFunctionDef):
                        first = min([method.lineno, *(one.lineno for one in method.decorator_list)])
                        found[f"{path.parent.name}.{path.stem}.{method.name}"] = (method.end_lineno or 0) - first + 1
    return found


def test_the_lines_of_an_operation() -> None:
    lines = methods()
    assert len(lines) == 150
    assert max(lines.values()) <= 30, Counter(lines).most_common(3)
    assert sum(lines.values()) / len(lines) + 1 <= 12  # with the blank line between methods


def test_apps_are_the_deprecated_twins_of_services() -> None:
    apps = importlib.import_module("prisma_mgmt.management.apps").Apps
    services = importlib.import_module("prisma_mgmt.management.services").Services
    names = [name for name in vars(apps) if not name.startswith("_")]
    assert len(names) == 11
    for name in names:
        assert vars(apps)[name].__deprecated__ == f"Use services.{name} instead."
        assert hasattr(services, name)


def test_every_module_imports_and_every_client_has_its_resources() -> None:
    for path in files():
        importlib.import_module(".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"))
    for api in APIS:
        client = getattr(importlib.import_module(f"prisma_mgmt.{api}"), load(api).client)
        assert {tag["name"] for tag in committed(api)["tags"]} <= set(vars(client))


def test_secrets_of_the_three_apis_are_masked() -> None:
    found = set()
    for path in files():
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.AnnAssign) and "Secret" in ast.unparse(node.annotation):
                found.add(ast.unparse(node.target))
    wanted = {
        "connection_string",
        "pass_",
        "password",
        "api_key",
        "secret_access_key",
        "value",
        "lease_id",
        "upload_url",
    }
    assert found == wanted


def test_the_generator_is_small() -> None:
    lengths: dict[str, int] = {}
    for path in (ROOT / "tools" / "apigen").glob("*.py"):
        text = path.read_text("utf-8")
        lengths[path.name] = len(text.splitlines())
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef):
                assert (node.end_lineno or 0) - node.lineno < 40, f"{path.name}: {node.name}"
    assert sum(lengths.values()) < 900, lengths
