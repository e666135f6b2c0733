"""Every code block of README and of the documentation runs, word for word, and prints what the page says."""

import ast
import os
import re
import subprocess
import sys
from codeop import CommandCompiler
from pathlib import Path

import pytest

from tests.kit.pages import Block, blocks, is_a_file

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
NAMES = [str(page.relative_to(ROOT)) for page in PAGES]
PASTED = [
    pytest.param(block, id=f"{name}:{block.line}")
    for name, page in zip(NAMES, PAGES, strict=True)
    for block in blocks(page)
    if block.kind == "python" and not is_a_file(block)
]


@pytest.mark.parametrize("name", [name for name, page in zip(NAMES, PAGES, strict=True) if blocks(page)])
def test_the_code_of_a_page_runs(name: str) -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "error"}
    command = [sys.executable, "-m", "tests.kit.pages", name]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=55)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("block", PASTED)
def test_a_block_can_be_pasted_into_a_console(block: Block) -> None:
    """Up to Python 3.12 a console ends a compound statement at the first empty line, and only there."""
    compiled = CommandCompiler()
    compiled.compiler.flags |= ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
    typed = ""
    for line in [*block.text.splitlines(), ""]:
        typed += line
        typed = "" if compiled(typed, "<console>", "single") else f"{typed}\n"
    assert not typed.strip()


@pytest.mark.parametrize("name", NAMES)
def test_links_to_files_lead_somewhere(name: str) -> None:
    page = ROOT / name
    links = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8"))
    assert [link for link in links if not (page.parent / link).exists()] == []


def test_readme_has_the_two_commands_that_ci_runs() -> None:
    commands = [
        line for line in (ROOT / "README.md").read_text("utf-8").splitlines() if line.startswith("python3 -m venv ")
    ]
    assert len(commands) == 2
    assert "mapfile -t commands < <(grep '^python3 -m venv ' README.md)" in (ROOT / ".ci" / "run").read_text("utf-8")
