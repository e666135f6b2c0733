"""Tests that hold for every way of sending: a module that imports this fixture runs over each of them."""

import sys
from importlib.metadata import version

import pytest

_ANYIO = tuple(int(part) for part in version("anyio").split(".")[:2])
needs_new_anyio = pytest.mark.skipif(
    _ANYIO < (4, 16),
    reason="anyio before 4.16 ends a connection before it resets it, and leaves one that was cancelled or dropped open",
)


@pytest.fixture(params=["asyncio", "uvloop", "asyncio over httpx", "trio"])
def anyio_backend(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str | tuple[str, dict[str, bool]]:
    """The event loop: asyncio and uvloop with connections of our own, asyncio as without `speed`, and trio."""
    if request.param == "uvloop":  # which uvicorn takes if it is installed
        return "asyncio", {"use_uvloop": True}
    if request.param == "asyncio over httpx":
        monkeypatch.setitem(sys.modules, "prisma_mgmt.core.http1", None)
        return "asyncio"
    return str(request.param)
