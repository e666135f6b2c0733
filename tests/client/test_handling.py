"""An application may call while it handles an error of its own: that stays as it was, and nobody quotes it."""

import gc
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from traceback import walk_tb
from typing import Any
from weakref import ref

import anyio
import httpx
import pytest

from prisma_mgmt import ManagementClient, NetworkError, RetryPolicy
from prisma_mgmt.auth import LoginRequest, OAuthClient, OAuthSession, Tokens
from prisma_mgmt.auth.storage import MemoryTokenStorage
from prisma_mgmt.masks import below
from tests.kit.canaries import CANARY, chain
from tests.kit.engines import anyio_backend as anyio_backend

pytestmark = pytest.mark.anyio

NOBODY = "http://127.0.0.1:9"
LIBRARIES = {"anyio", "asyncio", "httpcore", "httpx", "json", "trio"}
ONCE = RetryPolicy(attempts=1)
TOKENS = Tokens("wksp_1", "access", "refresh")

Call = Callable[[], Awaitable[Any]]


# What the application is handling


class MineError(Exception):
    """An error of the application's own."""


async def unreachable(said: str = f"the {CANARY} of the application, b'quoted'") -> None:
    """Raise an error of a library that is below us too, with the application's words."""
    try:
        async with httpx.AsyncClient(trust_env=False) as http:
            await http.get(NOBODY)
    except httpx.ConnectError as error:
        error.args = (said,)
        raise


async def in_its_place() -> None:
    try:
        await unreachable()
    except httpx.ConnectError:
        raise MineError(f"another {CANARY}, b'quoted'") from None


async def with_a_cause() -> None:
    try:
        await unreachable()
    except httpx.ConnectError as error:
        raise MineError(CANARY) from error


async def in_a_group() -> None:
    try:
        await with_a_cause()
    except MineError as error:
        raise ExceptionGroup(CANARY, [error, ExceptionGroup("more", [ValueError(CANARY)])]) from None


# How one looks at it


def state(error: BaseException) -> list[Any]:
    """An error and all that it drags along: what each says, and every frame that it has come through."""
    return [(one, one.args, entries(one)) for one in chain(error)]


def entries(error: BaseException) -> list[Any]:
    found, entry = list[Any](), error.__traceback__
    while entry is not None:
        found.append((entry.tb_frame, entry.tb_lasti, entry.tb_lineno))
        entry = entry.tb_next
    return found


def modules(error: BaseException) -> set[str]:
    return {str(frame.f_globals["__name__"]).partition(".")[0] for frame, _ in walk_tb(error.__traceback__)}


async def failure_of(call: Call) -> Exception:
    try:
        await call()
    except Exception as error:
        return error
    raise AssertionError("it should have failed")


def check_apart(failed: BaseException, mine: BaseException | None = None, *, but: str = "") -> None:
    """Nothing of `mine` is in the rest of what failed, nor are frames of libraries, `but` for those of one."""
    theirs = [] if mine is None else [id(one) for one in chain(mine)]
    for one in chain(failed):
        if id(one) not in theirs:
            assert CANARY not in f"{one} {one!r} {vars(one)}"
            assert not modules(one) & LIBRARIES - {but}


async def failure_beside(mine: BaseException, call: Call, *, but: str = "") -> Exception:
    """What a call raises while the caller of this handles `mine`."""
    before = state(mine)
    assert any(modules(one) & LIBRARIES for one in chain(mine))
    failed = await failure_of(call)
    assert state(mine) == before
    assert any(one is mine for one in chain(failed))  # as Python says of all that is raised meanwhile
    check_apart(failed, mine, but=but)
    return failed


# What the application calls


def client(auth: Any = "token") -> ManagementClient:
    return ManagementClient(auth, base_url=NOBODY, retry=ONCE)


def oauth() -> OAuthClient:
    return OAuthClient("client", "https://app.example/callback", client_secret="secret", auth_base_url=NOBODY)


def session() -> OAuthSession:
    return OAuthSession(oauth(), MemoryTokenStorage(TOKENS))


async def view() -> None:
    client().with_options(timeout=-1.0)


async def exchange() -> None:
    login = LoginRequest("https://auth.example/authorize?state=state", "state", "v" * 43)
    await oauth().exchange_callback("/callback?code=code&state=state", login)


async def over_httpx() -> None:
    """A call of the application's own httpx client, of which a 401 makes the session refresh."""
    auth = session().httpx_auth(origin="https://api.example")
    transport = httpx.MockTransport(lambda _: httpx.Response(401))
    async with httpx.AsyncClient(auth=auth, transport=transport) as http:
        await http.get("https://api.example/v1/me")


class Failing:
    """Credentials that give no token, but handle an error of a library and raise what `then` raises."""

    def __init__(self, then: Call) -> None:
        self.then = then

    async def access_token(self) -> str:
        try:
            await unreachable("not here")
        except httpx.ConnectError as error:
            self.met = error
            await self.then()
        raise AssertionError("it should have failed")

    async def renew(self, rejected: str) -> None: ...


CALLS: dict[str, Call] = {
    "a typed call": lambda: client().connections.get("con_1"),
    "any route": lambda: client().request("POST", "/v1/x", body={"a": 1}),
    "a list": lambda: client().connections.list(),
    "a deletion": lambda: client().connections.delete("con_1"),
    "a log": lambda: anext(client().builds.logs("bld_1")),
    "a wrong argument": lambda: client().request("no method", "/v1/x"),
    "a view": view,
    "a call of a session": lambda: client(session()).connections.get("con_1"),
    "a refresh": lambda: session().renew("access"),
    "a refresh without a session": lambda: oauth().refresh(TOKENS),
    "a callback": exchange,
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
async def test_what_an_application_was_handling_stays_as_it_was(call: Call) -> None:
    try:
        await unreachable()
    except httpx.ConnectError as mine:
        await failure_beside(mine, call)


@pytest.mark.parametrize("raising", [in_its_place, with_a_cause, in_a_group])
@pytest.mark.parametrize("name", ["a typed call", "a call of a session"])
async def test_what_that_drags_along_stays_as_it_was(raising: Call, name: str) -> None:
    try:
        await raising()
    except (MineError, ExceptionGroup) as mine:
        await failure_beside(mine, CALLS[name])


async def test_the_members_of_a_group_of_tasks_stay_as_they_were() -> None:
    failed: list[Exception] = []
    try:
        async with anyio.create_task_group() as group:
            group.start_soon(in_its_place)
            group.start_soon(unreachable)
            await anyio.sleep_forever()
    except* httpx.ConnectError as mine:
        failed.append(await failure_beside(mine, CALLS["a typed call"]))
    except* MineError as mine:
        failed.append(await failure_beside(mine, CALLS["a typed call"]))
    assert failed


async def test_an_error_that_was_raised_elsewhere_meanwhile_stays_as_it_was() -> None:
    """As one is that several tasks wait for: its traceback begins where it was raised last."""

    async def elsewhere(error: Exception) -> None:
        with suppress(httpx.ConnectError):
            raise error

    try:
        await unreachable()
    except httpx.ConnectError as mine:
        await elsewhere(mine)
        await failure_beside(mine, CALLS["a typed call"])


async def test_what_leaves_a_block_stays_as_it_was_if_the_end_of_the_block_fails() -> None:
    failed: list[Exception] = []

    async def leave(kind: object, mine: BaseException | None, traceback: object) -> None:
        assert mine is not None
        failed.append(await failure_beside(mine, CALLS["a deletion"]))

    @asynccontextmanager
    async def block() -> AsyncIterator[None]:
        try:
            yield
        except httpx.ConnectError as mine:
            failed.append(await failure_beside(mine, CALLS["a deletion"]))
            raise

    with pytest.raises(httpx.ConnectError):
        async with AsyncExitStack() as stack:
            stack.push_async_exit(leave)
            await stack.enter_async_context(block())
            await unreachable()
    assert [type(one) for one in failed] == [NetworkError] * 2


@pytest.mark.parametrize("name", ["a typed call", "a call of a session", "a refresh"])
def test_a_program_may_start_its_event_loop_while_it_handles_an_error(
    name: str, anyio_backend: str | tuple[str, dict[str, bool]]
) -> None:
    """Whatever runs in that loop then runs while the error is handled, and so do the tasks of a session."""
    kind, options = (anyio_backend, None) if isinstance(anyio_backend, str) else anyio_backend
    try:
        json.loads(CANARY)
    except ValueError as mine:
        mine.args = (f"a line of {CANARY}",)
        anyio.run(failure_beside, mine, CALLS[name], backend=kind, backend_options=options)


async def test_a_session_over_httpx_leaves_alone_what_is_handled() -> None:
    try:
        await unreachable()
    except httpx.ConnectError as mine:
        await failure_beside(mine, over_httpx, but="httpx")  # the frames of who has called the session


async def test_what_code_of_users_handles_inside_a_call_leaves_without_the_frames_of_libraries() -> None:
    async def fail() -> None:
        raise OSError("there is no token")

    failing = Failing(fail)
    try:
        await in_its_place()
    except MineError as mine:
        failed = await failure_beside(mine, client(failing).connections.list)
        assert any(one is failing.met for one in chain(failed))


async def test_what_code_of_users_handles_while_it_calls_once_more_leaves_so_too() -> None:
    """The inner call leaves alone what the code is handling, and the outer one does not."""

    async def ask_elsewhere() -> None:
        await failure_beside(failing.met, CALLS["a typed call"])
        await client().connections.get("con_1")

    failing = Failing(ask_elsewhere)
    failed = await failure_of(client(failing).connections.list)
    assert isinstance(failed, NetworkError), failed
    assert any(one is failing.met for one in chain(failed))
    check_apart(failed)


async def test_an_error_that_code_of_users_raises_again_and_again_leaves_so_too() -> None:
    """It has come to the caller's frame before."""
    again = OSError("there is no token")

    async def fail() -> None:
        raise again

    failing, met = client(Failing(fail)), list[OSError]()
    for _ in range(2):
        try:
            await failing.connections.get("con_1")
        except OSError as error:
            check_apart(error)
            met.append(error)
    assert met == [again, again]


def test_what_is_handled_is_not_among_what_an_error_drags_along() -> None:
    cause, error = KeyError(), OSError()

    def handle() -> tuple[ValueError, list[Any], list[Any]]:
        try:
            raise ValueError from cause
        except ValueError as mine:
            error.__context__ = mine
            return mine, below(error), below(mine)

    mine, of_the_error, of_mine = handle()
    assert of_the_error == [error]
    assert of_mine == [mine, cause]
    assert below(error) == [error, mine, cause]  # it is handled no more


def test_no_frame_of_a_caller_is_kept() -> None:
    class Thing:
        pass

    def handle() -> "ref[Thing]":
        thing = Thing()
        error = OSError()
        try:
            raise ValueError
        except ValueError as mine:
            error.__context__ = mine
            below(error)
            error.__context__ = None
        return ref(thing)

    gc.disable()
    try:
        assert handle()() is None
    finally:
        gc.enable()
