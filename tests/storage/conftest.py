"""Real servers, one of each kind for the tests of a module, and every kind of place on them."""

from collections.abc import AsyncIterator, Iterator

import anyio
import pytest

from tests.kit.servers import Process, pgbouncer, postgres_server, redis_server
from tests.storage.places import Place, postgres_place, redis_place


@pytest.fixture(scope="module")
def redis_process() -> Iterator[Process]:
    with redis_server() as process:
        yield process


@pytest.fixture(scope="module")
def postgres_process() -> Iterator[Process]:
    with postgres_server() as process:
        yield process


@pytest.fixture(scope="module")
def pooler(postgres_process: Process) -> Iterator[Process]:
    with pgbouncer(postgres_process) as process:
        yield process


KINDS = ["redis", "redis, decoded", "postgres, a pool", "postgres, a dsn", "pgbouncer, a pool", "pgbouncer, a dsn"]


@pytest.fixture(params=KINDS)
async def place(request: pytest.FixtureRequest) -> AsyncIterator[Place]:
    """A place of every kind."""
    server, _, how = request.param.partition(", ")
    if server == "redis":
        context = redis_place(request.getfixturevalue("redis_process"), decode_responses=how == "decoded")
    else:
        through = request.getfixturevalue("pooler") if server == "pgbouncer" else None
        process = request.getfixturevalue("postgres_process")
        context = postgres_place(process, pool_size=2 if how == "a pool" else None, through=through)
    with anyio.fail_after(40):
        async with context as place:
            yield place
