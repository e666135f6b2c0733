"""A bounded model check of the session, over its public API: `python -m tests.session.model [actions] [asyncio|trio]`.

Every sequence of actions is run against a login server whose answers the checker releases, and a storage that it can
switch off; the shared one is also written by another process. Or the user has a second session, as in another event
loop of the process, and the login server may refuse a pair. Or besides, each action has a session of its own, as the
requests of an application have, and they come within a second. At every return and when all is quiet these must hold:

older     no call gets a token of an older login once a later login, or a logout, has returned or raised
last      the last of login and logout counts when all is quiet, in the session and in the storage
good      the refresh token held then is good, and none was spent twice
"""

import sys
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from itertools import islice
from typing import Any

import anyio
from anyio.abc import TaskGroup
from attrs import define, field

from prisma_mgmt import AuthError, LoginRequiredError
from prisma_mgmt.auth import OAuthSession, Tokens
from prisma_mgmt.auth.ledger import Ledger
from prisma_mgmt.auth.tokens import same
from prisma_mgmt.auth.vault import Patience

OWN = ("renew ahead", "renew on 401", "answer", "failure", "login", "logout", "down", "up")
SHARED = (*OWN, "login elsewhere", "logout elsewhere", "rotation elsewhere")
LOOPS = (*OWN, "refusal", "renew in another loop", "login in another loop", "logout in another loop")
ALPHABETS = {"own": OWN, "shared": SHARED, "loops": LOOPS, "requests": LOOPS}
_EXPIRY = 1e9  # of every token, in Unix seconds
_EARLY, _NEAR = _EXPIRY - 1e5, _EXPIRY - 30.0
_ROUNDS = 25  # of the event loop, in which whatever can happen has happened
_AT_ONCE = 16  # sequences, each in a world of its own


class Impossible(Exception):
    """There is nothing for this action to act on: no longer sequence that begins like this is of interest."""


@define(eq=False)
class Server:
    """A login server that rotates, and refuses a refresh token that was spent."""

    logins: int = 0
    pairs: int = 0
    good: set[str] = field(factory=set)
    revoked: set[str] = field(factory=set)
    replayed: bool = False
    asked: list["Asked"] = field(factory=list)
    time: float = _EARLY

    def now(self) -> float:
        return self.time

    def pair(self, login: int) -> Tokens:
        self.pairs += 1
        self.good.add(f"{login}.{self.pairs}")
        return Tokens("wksp_1", f"access.{login}.{self.pairs}.{id(self)}", f"{login}.{self.pairs}", _EXPIRY)

    def login(self) -> Tokens:
        self.logins += 1
        return self.pair(self.logins)

    def rotate(self, tokens: Tokens) -> Tokens:
        if str(tokens.refresh_token) not in self.good:
            self.replayed = self.replayed or tokens.refresh_token not in self.revoked
            raise LoginRequiredError("refused", refresh_token_invalid=True)
        self.good.discard(str(tokens.refresh_token))
        return self.pair(login_of(tokens))

    async def exchange_callback(self, callback_url: str, login: Any = None, **_: Any) -> Tokens:
        return self.login()

    async def refresh(self, tokens: Tokens) -> Tokens:
        asked = Asked(tokens)
        self.asked.append(asked)
        await asked.released.wait()
        if asked.fails:
            raise AuthError("the login server refused (503)")
        return self.rotate(tokens)

    async def revoke(self, tokens: Tokens) -> bool:
        return True


@define(eq=False)
class Asked:
    tokens: Tokens
    released: anyio.Event = field(factory=anyio.Event)
    fails: bool = False


def login_of(tokens: Tokens) -> int:
    return int(tokens.access_token.split(".")[1])


@define(eq=False)
class Storage:
    """A storage of one's own, which fails whatever it is asked while it is down."""

    tokens: Tokens | None
    down: bool = False

    def check(self) -> None:
        if self.down:
            raise OSError("down")

    async def get_tokens(self) -> Tokens | None:
        self.check()
        return self.tokens

    async def set_tokens(self, tokens: Tokens) -> None:
        self.check()
        self.tokens = tokens

    async def clear_tokens(self) -> None:
        self.check()
        self.tokens = None


@define(eq=False)
class SharedStorage(Storage):
    locked: bool = False

    @asynccontextmanager
    async def refresh_lock(self) -> AsyncIterator[None]:
        self.check()
        while self.locked:
            await anyio.lowlevel.checkpoint()
        self.locked = True
        try:
            yield
        finally:
            self.locked = False

    async def set_tokens_if_current(self, tokens: Tokens, current: Tokens) -> bool:
        self.check()
        if not same(self.tokens, current):
            return False
        self.tokens = tokens
        return True

    async def clear_tokens_if_current(self, tokens: Tokens) -> bool:
        self.check()
        if not same(self.tokens, tokens):
            return False
        self.tokens = None
        return True


@define(eq=False)
class Run:
    """One sequence of actions on a new session."""

    storage: Storage
    server: Server
    group: TaskGroup
    anew: bool = False  # True if each action has a session of its own
    ledger: Ledger = field(factory=Ledger)
    session: OAuthSession = field(init=False)
    other: OAuthSession = field(init=False)  # of another event loop
    monotonic: float = 0.0
    under_way: int = 0
    least: int = 1  # the oldest login whose tokens may still be given
    last: int | None = 1  # the login that counts, None after a logout
    unsure: bool = False  # True if a login or a logout met a storage that was down
    broken: set[str] = field(factory=set)

    def __attrs_post_init__(self) -> None:
        self.session, self.other = self.new_session(), self.new_session()

    def new_session(self) -> OAuthSession:
        return OAuthSession(
            self.server,  # type: ignore[arg-type]  # it does what an OAuthClient does
            self.storage,
            monotonic=lambda: self.monotonic,
            patience=Patience(call=60),
            ledger=self.ledger,
        )

    async def act(self, action: str) -> None:
        self.monotonic += 0.2 if self.anew else 40
        if self.anew and not self.under_way:  # else somebody holds the one before
            self.session = self.new_session()
        await getattr(self, action.replace(" ", "_"))()
        await self.rounds()
        self.server.time = _EARLY

    async def rounds(self) -> None:
        for _ in range(_ROUNDS):
            await anyio.lowlevel.checkpoint()

    def start(self, call: Callable[[], Awaitable[Any]]) -> None:
        async def run() -> None:
            try:
                await call()
            except AuthError:
                pass
            except Exception as error:
                self.broken.add(f"odd: {type(error).__name__}")
            finally:
                self.under_way -= 1

        self.under_way += 1
        self.group.start_soon(run)

    def given(self, token: str | None) -> None:
        if token is not None and int(token.split(".")[1]) < self.least:
            self.broken.add("older")

    # Actions

    async def renew_ahead(self) -> None:
        async def call() -> None:
            self.given(await self.session.access_token())

        self.server.time = _NEAR
        self.start(call)

    async def renew_on_401(self) -> None:
        self.renew_at(self.session)

    async def renew_in_another_loop(self) -> None:
        self.renew_at(self.other)

    def renew_at(self, session: OAuthSession) -> None:
        async def call() -> None:
            token = await session.access_token()
            self.given(token)
            session.accepted(token)
            self.given(await session.renew(token))

        self.start(call)

    async def answer(self, *, fails: bool = False) -> None:
        if not self.server.asked:
            raise Impossible
        asked = self.server.asked.pop(0)
        asked.fails = fails
        asked.released.set()

    async def failure(self) -> None:
        await self.answer(fails=True)

    async def refusal(self) -> None:
        """The login is over at the login server, as when another one has revoked it."""
        if not self.server.asked or self.storage.down:
            raise Impossible
        tokens = self.server.asked[0].tokens
        self.server.good.discard(str(tokens.refresh_token))
        self.server.revoked.add(str(tokens.refresh_token))
        if self.last == login_of(tokens):
            self.last = None
        await self.answer()

    async def login(self) -> None:
        self.login_at(self.session)

    async def login_in_another_loop(self) -> None:
        self.login_at(self.other)

    def login_at(self, session: OAuthSession) -> None:
        async def call() -> None:
            try:
                await session.handle_callback("/callback")
            except AuthError:
                self.unsure = True
                raise
            finally:
                self.least = self.last = self.server.logins

        self.start(call)

    async def logout(self) -> None:
        self.logout_at(self.session)

    async def logout_in_another_loop(self) -> None:
        self.logout_at(self.other)

    def logout_at(self, session: OAuthSession) -> None:
        async def call() -> None:
            try:
                await session.logout()
            except AuthError:
                self.unsure = True
                raise
            finally:
                self.least, self.last = self.server.logins + 1, None

        self.start(call)

    async def down(self) -> None:
        if self.storage.down:
            raise Impossible
        self.storage.down = True

    async def up(self) -> None:
        if not self.storage.down:
            raise Impossible
        self.storage.down = False
        if self.unsure:  # before another process can act: from then on nobody could say who was later
            self.unsure = False
            self.start(self.session.tokens)

    def _elsewhere(self) -> None:
        if self.storage.down:
            raise Impossible

    async def login_elsewhere(self) -> None:
        self._elsewhere()
        self.storage.tokens = self.server.login()
        self.last = self.server.logins

    async def logout_elsewhere(self) -> None:
        self._elsewhere()
        self.storage.tokens, self.last = None, None

    async def rotation_elsewhere(self) -> None:
        self._elsewhere()
        stored = self.storage.tokens
        assert isinstance(self.storage, SharedStorage)
        if stored is None or self.storage.locked or str(stored.refresh_token) not in self.server.good:
            raise Impossible
        self.storage.tokens = self.server.rotate(stored)

    # The end

    async def quiet(self) -> None:
        """Let everything come to its end, and look at what is left."""
        self.storage.down = False
        self.monotonic += 40
        with anyio.move_on_after(20) as hanging:
            while self.under_way or self.server.asked:
                while self.server.asked:
                    await self.answer()
                await anyio.sleep(0.001)  # event loops look every few milliseconds if another one is done
        if hanging.cancelled_caught:
            self.broken.add("odd: something hangs")
        for session in (self.session, self.other, self.session, self.other):
            self.monotonic += 40
            await session.tokens()
        for held in (await self.session.tokens(), await self.other.tokens()):
            if (held and login_of(held)) != self.last or not same(held, self.storage.tokens):
                self.broken.add("last")
            if self.server.replayed or (held and held.refresh_token not in self.server.good):
                self.broken.add("good")
        await self.session.aclose()
        await self.other.aclose()


async def run(actions: tuple[str, ...], *, kind: str) -> set[str]:
    """What a sequence breaks. Raises Impossible if its last action cannot be."""
    server = Server()
    storage = (SharedStorage if kind == "shared" else Storage)(server.login())
    async with anyio.create_task_group() as group:
        one = Run(storage, server, group, anew=kind == "requests")
        await one.session.tokens()
        impossible = False
        for action in actions:
            try:
                await one.act(action)
            except Impossible:
                impossible = True
        await one.quiet()
        group.cancel_scope.cancel()
    if impossible:
        raise Impossible
    return one.broken


async def check(longest: int, *, kind: str, report: Callable[[str], None] | None = None) -> Counter[str]:
    """Run every sequence of up to `longest` actions; how many there were, and how many broke what."""
    counts: Counter[str] = Counter()
    prefixes: list[tuple[str, ...]] = [()]
    for _ in range(longest):
        longer: list[tuple[str, ...]] = []

        async def judge(actions: tuple[str, ...], longer: list[tuple[str, ...]] = longer) -> None:
            try:
                broken = await run(actions, kind=kind)
            except Impossible:
                return
            longer.append(actions)
            counts["sequences"] += 1
            counts["broken"] += bool(broken)
            for rule in broken:
                if not counts[rule] and report is not None:
                    report(f"{rule}: {', '.join(actions)}")
                counts[rule] += 1

        everything = iter(_each(prefixes, ALPHABETS[kind]))
        while batch := list(islice(everything, _AT_ONCE)):
            async with anyio.create_task_group() as group:
                for actions in batch:
                    group.start_soon(judge, actions)
        prefixes = longer
    return counts


def _each(prefixes: list[tuple[str, ...]], alphabet: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    for prefix in prefixes:
        for action in alphabet:
            yield (*prefix, action)


if __name__ == "__main__":
    import logging

    logging.disable(logging.CRITICAL)  # a storage that is down is reported each time
    depth = int(sys.argv[1]) if len(sys.argv) > 1 else 6
    for backend in sys.argv[2:] or ("asyncio", "trio"):
        for kind in ALPHABETS:
            found = anyio.run(lambda kind=kind: check(depth, kind=kind, report=print), backend=backend)
            print(backend, kind, dict(found), flush=True)
