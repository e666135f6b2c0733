"""Tests that hold for every way of sending: a module that imports this fixture runs over each of them."""

import sys

import pytest


@pytest.fixture(params=["asyncio", "asyncio over httpx", "trio"])
def anyio_backend(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """The event loop: asyncio with a connection of our own, asyncio as without the extra `speed`, and trio."""
    if request.param == "asyncio over httpx":
        monkeypatch.setitem(sys.modules, "prisma_mgmt.core.http1", None)
        return "asyncio"
    return str(request.param)
