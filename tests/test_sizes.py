"""The hand-written package stays within its sizes.

Lines of code count; blank lines, comments and docstrings do not, so that nobody squeezes prose.
"""

import ast
import io
import tokenize
from collections.abc import Callable
from pathlib import Path

import pytest
from attrs import frozen

ROOT = Path(__file__).parents[1]
_NO_CODE = {
    *(tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT),
    *(tokenize.ENDMARKER, tokenize.ENCODING),
}


@frozen
class Part:
    """A part of the package: the budget of its design, and the most that it may be if it has outgrown that."""

    pattern: str
    budget: int
    most: int
    holds: Callable[[str], bool] = lambda name: True  # if a file of that name belongs to it


_GROUND = {"checks.py", "credentials.py", "environment.py", "faults.py", "loops.py", "masks.py", "waits.py"}

# What has outgrown its budget may shrink, and not grow: whoever makes it smaller lowers the number.
_PARTS = {
    "core": Part(
        "prisma_mgmt/core/**/*.py", 1900, 2845
    ),  # with a connection of its own, live logs and a compiled codec
    "auth without storages": Part("prisma_mgmt/auth/*.py", 1500, 2500),  # with LoginApp, every event loop, every ending
    "storages": Part("prisma_mgmt/auth/storage/*.py", 800, 1193),  # with leases, and every misuse told
    "ground floor and seam": Part("prisma_mgmt/*.py", 350, 350, lambda name: name in _GROUND),
    "errors, public names and observers": Part("prisma_mgmt/*.py", 377, 377, lambda name: name not in _GROUND),
    "recipes": Part("prisma_mgmt/recipes/*.py", 450, 450),
    "sandbox": Part("prisma_mgmt/sandbox/**/*.py", 2600, 2600),
    "apigen": Part("tools/apigen/*.py", 750, 1126),  # with three times the constructs
}


def code_lines(source: str) -> int:
    """How many lines hold code."""
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    lines = {n for one in tokens if one.type not in _NO_CODE for n in range(one.start[0], one.end[0] + 1)}
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            first = node.body[0] if node.body else None
            if (
                isinstance(first, ast.Expr)
                and isinstance(first.value, ast.Constant)
                and isinstance(first.value.value, str)
            ):
                lines -= set(range(first.lineno, (first.end_lineno or first.lineno) + 1))
    return len(lines)


def test_prose_is_not_code() -> None:
    assert code_lines('"""Words.\n\nMore."""\n\n# why\nx = (\n    1,\n)\n\n\ndef f():\n    """Words."""\n') == 4


@pytest.mark.parametrize("name", _PARTS)
def test_a_part_of_the_package_is_no_larger_than_it_may_be(name: str) -> None:
    part = _PARTS[name]
    files = [path for path in ROOT.glob(part.pattern) if part.holds(path.name)]
    sizes = {str(path.relative_to(ROOT)): code_lines(path.read_text(encoding="utf-8")) for path in files}
    assert sizes
    assert part.budget <= part.most
    assert sum(sizes.values()) <= part.most, sizes
