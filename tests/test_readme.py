"""README's sessions run, and print what README says they print."""

import asyncio
import contextlib
import io
import re
import textwrap
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SESSION = re.compile(r"```python\n(.*?)```(?:\n+```text\n(.*?)```)?", re.DOTALL)
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
SESSIONS = [
    pytest.param(*found.groups(), id=f"{page.name}:{page.read_text()[: found.start()].count(chr(10)) + 1}")
    for page in PAGES
    for found in SESSION.finditer(page.read_text(encoding="utf-8"))
]


@pytest.mark.parametrize(("code", "output"), SESSIONS)
def test_a_session_prints_what_the_page_says(code: str, output: str | None) -> None:
    scope: dict[str, object] = {}
    exec(f"async def session():\n{textwrap.indent(code, '    ')}", scope)
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        asyncio.run(scope["session"]())  # type: ignore[operator]  # exec gives no types
    assert printed.getvalue() == (output or "")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_to_files_lead_somewhere(page: Path) -> None:
    links = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8"))
    assert [link for link in links if not (page.parent / link).exists()] == []
