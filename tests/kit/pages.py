"""Runs the code blocks of a page of the documentation, in their order: `python -m tests.kit.pages PAGE`.

The page's blocks share their names. They run against a sandbox, which the environment's variables name as README says.
A block of Python may await at its top. What stands in a `text` block right after one is what it printed. A block whose
first line names a file is kept under that name too, so that later blocks can import it. Blocks with a test in them, and
a conftest.py, are given to pytest together at the end of the page. Those of `sh` are one session of the shell.
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
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from attrs import frozen

_BLOCK = re.compile(r"^```(python|sh|text)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
_TEST = re.compile(r"^(async )?def test_", re.MULTILINE)
_FILE = re.compile(r"# (\w+\.py)\n")
# Plugins by name, for it does not matter then if the package is installed, and brings its own, or is a checkout.
_PYTEST = "-m pytest -q -p no:cacheprovider -p anyio.pytest_plugin -p prisma_mgmt.sandbox.pytest_plugin"
_PLACES = ("127.0.0.1", "127.0.0.1/auth", "localhost", "localhost/auth")  # where the pages' applications answer
_END = "that was the last line of a block"


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


def is_a_file(block: Block) -> bool:
    """If a block is kept in a file, since it names one or has a test in it."""
    return bool(_FILE.match(block.text) or _TEST.search(block.text))


def run_page(page: Path) -> None:
    scope: dict[str, Any] = {"__name__": "__main__", "__file__": str(page)}
    with _sandbox_in_the_environment(), _folder(), _shell() as in_the_shell, asyncio.Runner() as runner:
        for block in blocks(page):
            if _kept_for_pytest(block):
                continue
            printed = in_the_shell(block) if block.kind == "sh" else _run(block, page, scope, runner)
            if block.printed is not None and printed != block.printed:
                raise AssertionError(f"{page.name}:{block.line} printed\n{printed}\nand the page says\n{block.printed}")
        if list(Path().glob("test_*.py")):
            named = {**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
            done = subprocess.run([sys.executable, *_PYTEST.split()], capture_output=True, text=True, env=named)
            if done.returncode:
                raise AssertionError(done.stdout + done.stderr)


@contextlib.contextmanager
def _sandbox_in_the_environment() -> Iterator[None]:
    from prisma_mgmt.sandbox import Sandbox

    uris = [f"http://{place}/callback" for place in _PLACES]
    with Sandbox(users=["Ada", "Grace"], redirect_uris=uris) as sandbox:
        os.environ |= sandbox.environment
        os.environ["PRISMA_REDIRECT_URI"] = "http://localhost/callback"
        os.environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
        yield


@contextlib.contextmanager
def _folder() -> Iterator[None]:
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        sys.path.insert(0, folder)
        yield


@contextlib.contextmanager
def _shell() -> Iterator[Callable[[Block], str]]:
    """One session of bash, which ends with all that it has started."""
    with subprocess.Popen(["bash", "-euo", "pipefail"], stdin=-1, stdout=-1, text=True) as bash:
        assert bash.stdin is not None
        assert bash.stdout is not None
        ask, answers = bash.stdin, bash.stdout

        def run(block: Block) -> str:
            ask.write(f"{block.text}\necho '{_END}'\n")
            ask.flush()
            printed = ""
            while not printed.endswith(f"{_END}\n"):
                if not (line := answers.readline()):
                    raise AssertionError(f"the shell ended in the block of line {block.line}, which printed\n{printed}")
                printed += line
            return printed.removesuffix(f"{_END}\n")

        ask.write("trap 'kill $(jobs -p) 2> /dev/null || true' EXIT\n")
        yield run


def _kept_for_pytest(block: Block) -> bool:
    """Keep a block that names its file. Returns True if it is for pytest."""
    named, test = _FILE.match(block.text), _TEST.search(block.text)
    if named or test:
        Path(named[1] if named else f"test_line_{block.line}.py").write_text(block.text, encoding="utf-8")
    return bool(test or (named and named[1] == "conftest.py"))


def _run(block: Block, page: Path, scope: dict[str, Any], runner: asyncio.Runner) -> str:
    text = "\n" * (block.line - 1) + block.text
    code = compile(text, str(page), "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True)
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        if code.co_flags & inspect.CO_COROUTINE:
            runner.run(eval(code, scope))
        else:
            exec(code, scope)
    return printed.getvalue()


if __name__ == "__main__":
    try:
        run_page(Path(sys.argv[1]).resolve())
    except BaseException:
        traceback.print_exc()
        sys.exit(1)
