"""A program that ends in the middle of a refresh: `python -m tests.session.program <ending> <backend> <tokens> <url>`.

Nothing in it closes a session by hand, but for `uvicorn`, whose lifespan closes the manager. It prints a line when it
has gone as far as it goes by itself: from then on only what waits for the refresh keeps it.
"""

import asyncio
import json
import signal
import sys
import threading
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any

import anyio

from prisma_mgmt.auth import OAuthClient, OAuthSession, SessionManager, Tokens, TokenStorage
from prisma_mgmt.auth.storage import FileTokenStorage


class Plain:
    """A storage with the three methods only."""

    def __init__(self, path: str) -> None:
        storage = FileTokenStorage(path)
        self.get_tokens, self.set_tokens = storage.get_tokens, storage.set_tokens
        self.clear_tokens = storage.clear_tokens


class Executed:
    """An application's own storage, whose calls run in the threads of the event loop's executor."""

    def __init__(self, path: str) -> None:
        self._path = Path(path)

    async def get_tokens(self) -> Tokens | None:
        return Tokens.from_json(json.loads(await asyncio.to_thread(self._path.read_text)))

    async def set_tokens(self, tokens: Tokens) -> None:
        await asyncio.to_thread(self._path.write_text, json.dumps(tokens.to_json()))

    async def clear_tokens(self) -> None:
        await asyncio.to_thread(self._path.unlink)


def session_of(tokens: str, url: str, storage: Callable[[str], TokenStorage]) -> OAuthSession:
    return OAuthSession(OAuthClient("client", "https://app.example/callback", auth_base_url=url), storage(tokens))


async def renew(session: OAuthSession) -> None:
    await session.renew(await session.access_token())


def say(word: str) -> None:
    print(word, flush=True)


async def told() -> None:
    """Wait for a line on the standard input."""
    await anyio.to_thread.run_sync(sys.stdin.readline, abandon_on_cancel=True)


async def give_up(call: Callable[[], Awaitable[None]]) -> None:
    """Cancel `call` when told to, as a timeout does."""
    async with anyio.create_task_group() as group:
        group.start_soon(call)
        await told()
        group.cancel_scope.cancel()


async def timeout(session: OAuthSession) -> None:
    await give_up(lambda: renew(session))
    say("over")


async def at_once(session: OAuthSession) -> None:
    token = await session.access_token()
    with anyio.CancelScope() as scope:
        scope.cancel()
        await session.renew(token)
    say("over")


async def native_timeout(session: OAuthSession) -> None:
    async def expire(deadline: asyncio.Timeout) -> None:
        await told()
        deadline.reschedule(0)

    try:
        async with asyncio.timeout(None) as deadline:
            watcher = asyncio.ensure_future(expire(deadline))
            await renew(session)
    except TimeoutError:
        await watcher
        say("over")


async def sibling(session: OAuthSession) -> None:
    async def fail() -> None:
        await told()
        raise KeyError("sibling")

    try:
        async with anyio.create_task_group() as group:
            group.start_soon(renew, session)
            group.start_soon(fail)
    finally:
        say("over")


async def interrupted(session: OAuthSession) -> None:
    try:
        await renew(session)
    finally:
        say("over")


async def cancelling_all(session: OAuthSession, *, within: bool) -> None:
    """The best-known way to shut down: a signal has every task cancelled, by another task or within the handler."""
    loop = asyncio.get_running_loop()

    def cancel() -> list[asyncio.Task[Any]]:
        tasks = [task for task in asyncio.all_tasks(loop) if task is not asyncio.current_task(loop)]
        for task in tasks:
            task.cancel()
        say("over")
        return tasks

    async def shut_down() -> None:
        await asyncio.gather(*cancel(), return_exceptions=True)

    def handle() -> None:
        if within:
            cancel()
        else:
            kept.append(loop.create_task(shut_down()))

    kept: list[asyncio.Task[None]] = []
    loop.add_signal_handler(signal.SIGTERM, handle)
    await renew(session)


def in_a_thread(session: OAuthSession) -> None:
    """Code that is not asynchronous, whose event loop runs in a thread that does not keep the program alive."""
    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, daemon=True).start()
    asyncio.run_coroutine_threadsafe(renew(session), loop)
    sys.stdin.readline()
    say("over")


def application(tokens: str, url: str, *, closing: bool) -> Callable[..., Awaitable[None]]:
    """A server whose one request waits for the refresh; if the lifespan closes the manager, until it is told not to."""
    manager = SessionManager(
        OAuthClient("client", "https://app.example/callback", auth_base_url=url), lambda _: FileTokenStorage(tokens)
    )

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            while True:
                message = await receive()
                if message["type"] == "lifespan.shutdown":
                    if closing:
                        say("over")
                        await manager.aclose()
                    await send({"type": "lifespan.shutdown.complete"})
                    return
                await send({"type": "lifespan.startup.complete"})
        if closing:
            await give_up(lambda: renew(manager["ada"]))
        else:
            say("over")
            await renew(manager["ada"])
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})
        say("answered")

    return app


def serve(tokens: str, url: str, *, closing: bool) -> None:
    import socket

    import uvicorn

    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen()
    say(str(listener.getsockname()[1]))
    app = application(tokens, url, closing=closing)
    uvicorn.Server(uvicorn.Config(app, log_level="critical", loop="asyncio")).run([listener])


if __name__ == "__main__":
    signal.signal(
        signal.SIGINT, signal.default_int_handler
    )  # a shell has those that it starts in the background ignore it
    ending, backend, *place = sys.argv[1:]
    if ending.endswith("thread"):
        in_a_thread(session_of(place[0], place[1], Executed if ending == "an executor's thread" else FileTokenStorage))
    elif ending.startswith("uvicorn"):
        serve(place[0], place[1], closing=ending == "uvicorn")
    else:
        endings: dict[str, Callable[[OAuthSession], Awaitable[None]]] = {
            "timeout": timeout,
            "plain timeout": timeout,
            "at once": at_once,
            "native timeout": native_timeout,
        }
        for name, within in (("all tasks", False), ("all tasks at once", True)):
            endings[name] = partial(cancelling_all, within=within)
        work = {**endings, "sibling": sibling, "signal": interrupted}[ending]
        storage = Plain if ending.startswith("plain") else FileTokenStorage
        anyio.run(work, session_of(place[0], place[1], storage), backend=backend)
