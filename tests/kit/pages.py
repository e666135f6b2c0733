"""Runs the code blocks of a page of the documentation, in their order: `python -m tests.kit.pages PAGE`.

The page's blocks share their names. They run against a sandbox, which the environment's variables name as README says.
A block of Python may await at its top. What stands in a `text` block right after one is what it printed. A block with
a test in it is given to pytest, and one of `sh` to the shell.
"""

import ast
import asyncio
import contextlib
import inspect
import io
import os
import re
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from attrs import frozen

_BLOCK = re.compile(r"^```(python|sh|text)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
_TEST = re.compile(r"^(async )?def test_", re.MULTILINE)


@frozen
class Block:
    kind: str
    text: str
    line: int
    printed: str | None  # what the page says that it prints


def blocks(page: Path) -> list[Block]:
    text = page.read_text(encoding="utf-8")
    found = [(one[1], one[2], text[: one.start()].count("\n") + 2, one.end()) for one in _BLOCK.finditer(text)]
    made: list[Block] = []
    for i, (kind, code, line, end) in enumerate(found):
        if kind == "text":
            continue
        after = found[i + 1] if i + 1 < len(found) else None
        told = after[1] if after and after[0] == "text" and text[end:].lstrip().startswith("```text") else None
        made.append(Block(kind, code, line, told))
    return made


@contextlib.contextmanager
def sandbox_in_the_environment() -> Iterator[None]:
    from prisma_mgmt.sandbox import Sandbox

    with Sandbox() as sandbox:
        os.environ |= {
            "PRISMA_SERVICE_TOKEN": sandbox.service_token,
            "PRISMA_MANAGEMENT_API_URL": sandbox.api_url,
            "PRISMA_AUTH_URL": sandbox.auth_url,
            "PRISMA_CLIENT_ID": sandbox.client_id,
            "PRISMA_REDIRECT_URI": "http://localhost/callback",
            "PRISMA_WORKSPACE_ID": sandbox.workspace_id,
        }
        yield


def run_page(page: Path) -> None:
    scope: dict[str, Any] = {"__name__": "__main__", "__file__": str(page)}
    with sandbox_in_the_environment(), tempfile.TemporaryDirectory() as folder, asyncio.Runner() as runner:
        os.chdir(folder)
        for block in blocks(page):
            printed = _run(block, page, scope, runner)
            if block.printed is not None and printed != block.printed:
                raise AssertionError(f"{page.name}:{block.line} printed\n{printed}\nand the page says\n{block.printed}")


def _run(block: Block, page: Path, scope: dict[str, Any], runner: asyncio.Runner) -> str:
    if block.kind == "sh":
        return subprocess.run(
            ["bash", "-euo", "pipefail", "-c", block.text], check=True, capture_output=True, text=True
        ).stdout
    if _TEST.search(block.text):
        return _test(block)
    code = compile(
        "\n" * (block.line - 1) + block.text, str(page), "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True
    )
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        if code.co_flags & inspect.CO_COROUTINE:
            runner.run(eval(code, scope))
        else:
            exec(code, scope)
    return printed.getvalue()


def _test(block: Block) -> str:
    path = Path("test_page.py")
    path.write_text(block.text, encoding="utf-8")
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "-p",
        "no:asyncio",
        "-p",
        _PLUGIN,
        str(path),
    ]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise AssertionError(done.stdout)
    return ""


_PLUGIN = "prisma_mgmt.sandbox.pytest_plugin"

if __name__ == "__main__":
    try:
        run_page(Path(sys.argv[1]).resolve())
    except BaseException:
        traceback.print_exc()
        sys.exit(1)
