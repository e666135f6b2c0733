"""Tests that hold for every way of sending: a module that imports this fixture runs over each of them."""

import sys

import pytest


@pytest.fixture(params=["asyncio", "uvloop", "asyncio over httpx", "trio"])
def anyio_backend(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str | tuple[str, dict[str, bool]]:
    """The event loop: asyncio and uvloop with connections of our own, asyncio as without `speed`, and trio."""
    if request.param == "uvloop":  # which uvicorn takes if it is installed
        return "asyncio", {"use_uvloop": True}
    if request.param == "asyncio over httpx":
        monkeypatch.setitem(sys.modules, "prisma_mgmt.core.http1", None)
        return "asyncio"
    return str(request.param)
