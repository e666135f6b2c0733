"""How a call travels: through how many functions, and how often it comes to a file.

A walk that comes back to a file again and again is one that nobody can follow. These numbers may only shrink.
"""

import asyncio
import json
import sys
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from types import FrameType

import pytest

import prisma_mgmt
from prisma_mgmt import ManagementClient
from tests.kit.script import Script, answer

pytestmark = pytest.mark.anyio
ROOT = Path(prisma_mgmt.__file__).parent
_MADE = "<attrs generated methods prisma_mgmt."  # and then the module and the class

PROJECT = {
    "id": "proj_1",
    "type": "project",
    "url": "https://api.prisma.io/v1/projects/proj_1",
    "name": "shop",
    "createdAt": "2026-01-01T00:00:00.000Z",
    "workspace": {"id": "wksp_1", "type": "workspace", "url": "u", "name": "w"},
    "database": None,
}


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def file_of(frame: FrameType | None) -> str | None:
    """The file of the package that a frame belongs to, None if it is not the package's."""
    name = "" if frame is None else frame.f_code.co_filename
    if name.startswith(_MADE):
        return "/".join(name.removeprefix(_MADE).split(".")[:-1]) + ".py"
    return Path(name).relative_to(ROOT).as_posix() if name.startswith(f"{ROOT}/") else None


class Walk:
    """The functions of the package that are entered, in their order; a coroutine that goes on is not entered anew.

    `visits` counts for each file how often one comes to it from another file, or from outside of the package. Who then
    enters it again before anything else has not left it, as a context manager that is made and entered.
    """

    def __init__(self) -> None:
        self.entered: list[str] = []
        self.visits: Counter[str] = Counter()
        self._last: str | None = None
        self._frames: dict[int, FrameType] = {}  # kept, so that no other one gets the id of one that is over

    def __enter__(self) -> "Walk":
        sys.setprofile(self._see)
        return self

    def __exit__(self, *_: object) -> None:
        sys.setprofile(None)

    def _see(self, frame: FrameType, event: str, _: object) -> None:
        file = file_of(frame)
        if event != "call" or file is None or id(frame) in self._frames:
            return
        self._frames[id(frame)] = frame
        caller = frame.f_back
        while caller is not None and file_of(caller) is None:
            caller = caller.f_back
        if caller is None or file not in (file_of(caller), self._last):
            self.visits[file] += 1
        self._last = file
        self.entered.append(f"{file} {frame.f_code.co_name}")


async def walk(client: ManagementClient) -> Walk:
    """How a call of a client that has made calls already travels."""
    pytest.importorskip("orjson")  # the standard library needs a step more to read an answer
    async with client:
        for _ in range(2):
            assert (await client.projects.create(name="shop", region="us-east-1")).name == "shop"
        with Walk() as seen:
            await client.projects.create(name="shop", region="us-east-1")
    return seen


@asynccontextmanager
async def answering() -> AsyncIterator[str]:
    """The address of a server that answers in one piece."""
    body = json.dumps({"data": PROJECT}).encode()
    head = b"HTTP/1.1 201 Created\r\nDate: now\r\nX-Request-Id: req_1\r\nContent-Type: application/json\r\n"

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                asked = await reader.readuntil(b"\r\n\r\n")
                await reader.readexactly(int(asked.partition(b"Content-Length: ")[2].split(b"\r\n")[0]))
                writer.write(b"%bContent-Length: %d\r\n\r\n%b" % (head, len(body), body))
        except asyncio.IncompleteReadError:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"


def assert_short(seen: Walk, most: int) -> None:
    told = "\n".join(seen.entered)
    assert seen.visits["core/pool.py"] == 2, f"a place is entered and left\n{told}"
    assert max(seen.visits.values()) <= 2, f"{seen.visits}\n{told}"
    assert len(seen.entered) <= most, told


async def test_a_call_over_a_transport_of_the_users_comes_to_no_file_more_than_twice() -> None:
    script = Script(answer(201, {"data": PROJECT}))
    assert_short(await walk(ManagementClient("token", transport=script)), 37)


async def test_a_call_over_a_connection_of_our_own_comes_to_no_file_more_than_twice() -> None:
    pytest.importorskip("httptools")
    async with answering() as url:
        seen = await walk(ManagementClient("token", base_url=url))
    assert "core/http1.py send" in seen.entered
    assert_short(seen, 55)
