"""The hand-written package stays within the sizes that its design allows.

Lines of code count; blank lines, comments and docstrings do not, so that nobody squeezes prose.
"""

import ast
import io
import tokenize
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
_NO_CODE = {
    *(tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT),
    *(tokenize.ENDMARKER, tokenize.ENCODING),
}
_GROUPS = {
    "core": ("prisma_mgmt/core/**/*.py", 1900),
    "auth without storages": ("prisma_mgmt/auth/*.py", 1500),
    "storages": ("prisma_mgmt/auth/storage/*.py", 800),
    "ground floor and seam": ("prisma_mgmt/*.py", 350),
    "recipes": ("prisma_mgmt/recipes/*.py", 450),
    "sandbox": ("prisma_mgmt/sandbox/**/*.py", 2600),
    "apigen": ("tools/apigen/*.py", 1700),  # 750 held a third of the constructs that it knows now
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


@pytest.mark.parametrize("group", _GROUPS)
def test_a_part_of_the_package_is_no_larger_than_its_budget(group: str) -> None:
    pattern, budget = _GROUPS[group]
    sizes = {path.name: code_lines(path.read_text(encoding="utf-8")) for path in ROOT.glob(pattern)}
    assert sizes or group == "recipes"
    assert sum(sizes.values()) <= budget, sizes
