"""Both event loops, and a clock that only tests move."""

from collections.abc import AsyncGenerator
from typing import TYPE_CHECKING

import pytest
from attrs import define, field
from hypothesis import settings

if TYPE_CHECKING:
    from tests.kit.login import Prisma
    from tests.kit.world import World

settings.register_profile("without a clock", parent=settings(), deadline=None)  # other work may slow a machine down
settings.load_profile("without a clock")


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(autouse=True)
def _no_token_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PRISMA_SERVICE_TOKEN", raising=False)


@define
class FakeClock:
    """Time that passes only when told to, or when somebody sleeps."""

    time: float = 1_800_000_000.0
    jitter_value: float = 1.0
    slept: list[float] = field(factory=list)

    def now(self) -> float:
        return self.time

    def monotonic(self) -> float:
        return self.time

    def jitter(self) -> float:
        return self.jitter_value

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.time += seconds


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture(params=["strict", "grace"])
def prisma(request: pytest.FixtureRequest) -> "Prisma":
    """Both accounts of the login server."""
    from tests.kit.login import Prisma

    return Prisma(request.param)


@pytest.fixture
async def world(prisma: "Prisma") -> "AsyncGenerator[World, None]":
    from tests.kit.world import started

    async with started(prisma) as world:
        yield world
