"""Tokens in Redis."""

import re
from binascii import crc_hqx
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from hashlib import sha256
from itertools import count
from typing import Any

from attrs import frozen

from prisma_mgmt.auth.storage.form import Cipher, Form
from prisma_mgmt.auth.storage.locks import LEASE, LONGEST_WAIT, checked_lease
from prisma_mgmt.auth.storage.options import checked_text
from prisma_mgmt.auth.storage.rooms import room
from prisma_mgmt.auth.tokens import Tokens, same
from prisma_mgmt.checks import checked_methods, checked_seconds
from prisma_mgmt.masks import Secret, bare

_AT_ONCE = 10  # calls on a client: its pool raises an error for the first connection too many
_SLOTS = 16_384
_LOCK_NAME = re.compile(r"\{.*\}:refresh-lock:[0-9a-f]{64}", re.DOTALL)

# KEYS[1] is what they are about, ARGV[1] what it must hold
_DELETE_IF = "if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end return 0"
_EXTEND_IF = "if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('PEXPIRE', KEYS[1], ARGV[2]) end return 0"
_SET_IF = """
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
if ARGV[3] then redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3]) else redis.call('SET', KEYS[1], ARGV[2]) end
return 1
"""
_LOCK = """
local owner = redis.call('GET', KEYS[1])
if owner and owner ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1
"""


class RedisTokenStorage:
    """Keeps tokens under a key of a Redis server, for all processes that use it.

    redis: a `redis.asyncio.Redis`, or a client of the same methods such as valkey's; closing it is the caller's. Give
        every storage the same one: at most ten calls are made on it at once, or half of what its pool has.
    key: names the user's tokens; a second key, for the lock, is kept in the same slot of a cluster.
    ttl: seconds after the last write in which tokens that nobody renews are forgotten; None keeps them.
    lease: seconds after which the lock of a process that died is free again, and so is that of one whose event loop
        stalls for so long.
    patience: seconds to wait for the lock.
    """

    def __init__(
        self,
        redis: Any,
        *,
        key: str,
        cipher: Cipher | None = None,
        ttl: float | None = None,
        lease: float = LEASE,
        patience: float = LONGEST_WAIT,
    ) -> None:
        self._redis = _checked_client(redis)
        self._key = checked_text(key, "key")
        if _LOCK_NAME.fullmatch(key):
            raise ValueError("key must not be the name of another key's lock")
        self._form = Form(f"redis:{key}", cipher)
        self._lease = checked_lease(self._form.place, lease, patience)
        self._expiry = {} if ttl is None else {"px": round(checked_seconds(ttl, "ttl", least=1.0) * 1000)}
        self._seen: Secret | None = None  # the text last read, to compare with in one step
        self._size = _size(redis)

    async def get_tokens(self) -> Tokens | None:
        found = await self._text()
        return None if found is None else self._form.read(found)

    async def set_tokens(self, tokens: Tokens) -> None:
        text = self._form.write(tokens)
        async with self._room():
            await self._redis.set(self._key, text, **self._expiry)

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
        return bool(await self._run(_SET_IF, self._key, seen, text, *self._expiry.values()))

    async def clear_tokens(self) -> None:
        async with self._room():
            await self._redis.delete(self._key)

    async def clear_tokens_if_current(self, tokens: Tokens) -> bool:
        found = await self._text()
        if found is None or not same(self._form.read(found), tokens):
            return False
        return bool(await self._run(_DELETE_IF, self._key, found))

    def refresh_lock(self) -> AbstractAsyncContextManager[None]:
        """Held by one process at a time, and by nobody soon after its process died."""
        return self._lease.held(_Leases(self._run, lock_name(self._key), round(self._lease.seconds * 1000)))

    async def _run(self, script: str, key: str, *arguments: Any) -> Any:
        async with self._room():
            return await self._redis.eval(script, 1, key, *arguments)

    async def _text(self) -> Secret | None:
        with bare:
            self._seen = None
            try:
                async with self._room():
                    found = await self._redis.get(self._key)
            except UnicodeDecodeError:  # of a client that decodes; it holds what could not be decoded
                found = b"\xff"
            if found is not None:
                self._seen = self._form.decoded(found)
            return self._seen

    def _room(self) -> AbstractAsyncContextManager[object]:
        return room("redis", self._size)


@frozen
class _Leases:
    """The lock, as a key that holds its owner and ends by itself."""

    run: Callable[..., Awaitable[Any]]
    name: str
    length: int  # milliseconds

    async def take(self, owner: str) -> bool:
        return bool(await self.run(_LOCK, self.name, owner, self.length))

    async def extend(self, owner: str) -> bool:
        return bool(await self.run(_EXTEND_IF, self.name, owner, self.length))

    async def release(self, owner: str) -> None:
        await self.run(_DELETE_IF, self.name, owner)


def lock_name(key: str) -> str:
    """The key of another key's lock: in the slot that a cluster keeps that in, and no key of anybody's tokens."""
    return f"{{{_tag(key)}}}:refresh-lock:{sha256(key.encode()).hexdigest()}"


def _tag(key: str) -> str:
    """What stands between braces in another key of the same slot."""
    own = re.match(r"[^{]*\{([^}]+)\}", key)
    if own is not None:
        return own[1]
    if "}" not in key:
        return key
    slot = _slot(key)
    return next(tag for tag in map(str, count()) if _slot(tag) == slot)


def _slot(tag: str) -> int:
    return crc_hqx(tag.encode(), 0) % _SLOTS  # the CRC that clusters use


def _checked_client(redis: Any) -> Any:
    if isinstance(redis, str | bytes):
        raise TypeError("redis must be a client, such as redis.asyncio.Redis.from_url(…), not its URL")
    checked_methods(redis, "redis", "get", "set", "delete", "eval")
    if hasattr(redis, "execute"):
        raise TypeError("redis must be a client, and no pipeline of one, which answers later")
    if hasattr(redis, "__enter__") and not hasattr(redis, "__aenter__"):
        raise TypeError("redis must be an asyncio client, such as redis.asyncio.Redis; this one is synchronous")
    return redis


def _size(redis: Any) -> int:
    """How many calls may be made on a client at once, so that its pool has connections left for others."""
    most = getattr(getattr(redis, "connection_pool", None), "max_connections", None)
    return min(_AT_ONCE, max(1, most // 2)) if isinstance(most, int) else _AT_ONCE
