"""Tokens in Redis."""

import secrets
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from contextvars import ContextVar
from types import MappingProxyType
from typing import Any

import anyio

from prisma_mgmt.auth.storage.form import Cipher, Form
from prisma_mgmt.auth.storage.locks import until
from prisma_mgmt.auth.tokens import Tokens, same
from prisma_mgmt.auth.work import Work
from prisma_mgmt.errors import AuthError
from prisma_mgmt.masks import Secret

_LEASE = 5_000  # milliseconds after which a lock ends by itself, well within those in which the server forgives a reuse
_EXTEND_IF = "if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('PEXPIRE', KEYS[1], ARGV[2]) end return 0"
_DELETE_IF = "if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end return 0"
_SET_IF = """
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
if ARGV[3] ~= '' and redis.call('GET', KEYS[2]) ~= ARGV[3] then return -1 end
redis.call('SET', KEYS[1], ARGV[2])
return 1
"""
_SET_IF_LOCKED = """
if redis.call('GET', KEYS[2]) ~= ARGV[2] then return 0 end
redis.call('SET', KEYS[1], ARGV[1])
return 1
"""

_LOCK = """
local owner = redis.call('GET', KEYS[1])
if owner and owner ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1
"""

_held: ContextVar[Mapping[str, str]] = ContextVar("held", default=MappingProxyType({}))  # this task's locks -> owners


class RedisTokenStorage:
    """Keeps tokens under a key of a Redis server, for all processes that use it.

    redis: a `redis.asyncio.Redis`, or a client of the same methods such as valkey's; closing it is the caller's.
    key: names the user's tokens; a second key, for the lock, is beside it in the same slot of a cluster.

    The lock ends by itself five seconds after its holder was last heard of. Whoever lost it cannot store over what came
    after.
    """

    def __init__(self, redis: Any, *, key: str, cipher: Cipher | None = None) -> None:
        if isinstance(redis, str):
            raise TypeError("redis must be a client, such as redis.asyncio.Redis.from_url(…), not its URL")
        if not key:
            raise ValueError("key must not be empty")
        self._redis = redis
        self._key = key
        self._lock = f"{key}:lock" if "{" in key else f"{{{key}}}:lock"
        self._form = Form(f"redis:{key}", cipher)
        self._seen: Secret | None = None  # the text last read, to compare with in one step

    async def get_tokens(self) -> Tokens | None:
        found = await self._text()
        return None if found is None else self._form.read(found)

    async def set_tokens(self, tokens: Tokens) -> None:
        text = self._form.write(tokens)
        owner = _held.get().get(self._lock)
        if owner is None:
            await self._redis.set(self._key, text)
        elif not await self._redis.eval(_SET_IF_LOCKED, 2, self._key, self._lock, text, owner):
            raise self._lost()

    async def set_tokens_if_current(self, tokens: Tokens, current: Tokens) -> bool:
        text = self._form.write(tokens)
        if self._seen is not None and await self._swap(self._seen, text, current):
            return True
        seen = await self._text()  # the text read last may be another of the same tokens: sealed anew, it differs
        return seen is not None and await self._swap(seen, text, current)

    async def _swap(self, seen: Secret, text: Secret, current: Tokens) -> bool:
        """Store `text` in place of `seen`, if that is `current`."""
        if not same(self._form.read(seen), current):
            return False
        owner = _held.get().get(self._lock, "")
        swapped = await self._redis.eval(_SET_IF, 2, self._key, self._lock, seen, text, owner)
        if swapped < 0:
            raise self._lost()
        return bool(swapped)

    async def clear_tokens(self) -> None:
        await self._redis.delete(self._key)

    async def clear_tokens_if_current(self, tokens: Tokens) -> bool:
        found = await self._text()
        if found is None or not same(self._form.read(found), tokens):
            return False
        return bool(await self._redis.eval(_DELETE_IF, 1, self._key, found))

    @asynccontextmanager
    async def refresh_lock(self) -> AsyncGenerator[None]:
        """Held by one process at a time, and by nobody five seconds after its process died."""
        owner = secrets.token_hex(16)

        async def attempt() -> int | None:
            return await self._redis.eval(_LOCK, 1, self._lock, owner, _LEASE) or None

        before, done = _held.get(), anyio.Event()
        try:
            await until(attempt, self._form.place)
            Work(done, lambda: self._extend(owner, done))
            _held.set({**before, self._lock: owner})
            yield
        finally:
            _held.set(before)
            done.set()
            with anyio.CancelScope(shield=True):
                await self._redis.eval(_DELETE_IF, 1, self._lock, owner)

    async def _extend(self, owner: str, done: anyio.Event) -> None:
        """Keep the lock for as long as its holder has it; where that fails it ends, and the holder's write with it."""
        while True:
            with anyio.move_on_after(_LEASE / 3000):
                await done.wait()
                return
            if not await self._redis.eval(_EXTEND_IF, 1, self._lock, owner, _LEASE):
                return

    async def _text(self) -> Secret | None:
        found: bytes | str | None = await self._redis.get(self._key)
        if found is None:
            self._seen = None
            return None
        self._seen = Secret(found if isinstance(found, str) else found.decode(errors="replace"))
        return self._seen

    def _lost(self) -> AuthError:
        return AuthError(f"the refresh lock of redis:{self._key} was lost: the refresh took too long")
