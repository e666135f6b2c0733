"""RedisTokenStorage: tokens under a key of Redis."""

import re
from binascii import crc_hqx
from contextlib import AbstractAsyncContextManager
from functools import lru_cache, partial
from inspect import isawaitable
from itertools import chain, count
from typing import Any

from prisma_mgmt.auth.storage.arguments import checked_name
from prisma_mgmt.auth.storage.form import Cipher, Form
from prisma_mgmt.auth.storage.locks import LEASE, LONGEST_WAIT, LeaseLock
from prisma_mgmt.auth.storage.rooms import place, share, turn
from prisma_mgmt.auth.storage.served import ServedStorage
from prisma_mgmt.auth.tokens import Tokens
from prisma_mgmt.checks import checked_methods, checked_seconds
from prisma_mgmt.errors import AuthError
from prisma_mgmt.masks import Secret, bare, below, masked

_AT_ONCE = 10  # calls on a pool, which raises an error for the first connection too many
_LONGEST = 10**15  # milliseconds: Redis refuses what is much longer
_LOCK_OF = ":refresh-lock:{"
_QUOTE = re.compile(r"[\s,;:]*\b(with args|args beginning with|Command:|b['\"]).*", re.DOTALL)

# KEYS[1] is what they are about, ARGV[1] what it must hold
_IF = "if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call({}) end return 0"
_DELETE_IF = _IF.format("'DEL', KEYS[1]")
_EXTEND_IF = _IF.format("'PEXPIRE', KEYS[1], ARGV[2]")
_SET_IF = _IF.format("'SET', KEYS[1], unpack(ARGV, 2)")
_SET = "redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])"  # which a full server refuses, whoever holds the lock
_LOCK = f"if not redis.call('GET', KEYS[1]) then return {_SET} end {_EXTEND_IF}"


class RedisTokenStorage(ServedStorage):
    """Keeps tokens under a key of a Redis server, for all processes that use it.

    redis: a `redis.asyncio.Redis`, or a client of the same methods such as valkey's; closing it is the caller's. Give
        every storage in an event loop the same one, or clients that share a pool: at most ten calls are made at once on
        a pool, or half as many as it has connections. A `RedisCluster` must not read from replicas. A server that
        evicts keys when its memory is full, as some do that are set up as caches, may forget logins, and locks that are
        held: its `maxmemory-policy` should be `noeviction`.
    key: names the user's tokens; a second key that begins with it, for the lock, is in the same slot of a cluster.
    ttl: seconds after the last write in which tokens that nobody renews are forgotten; None keeps them.
    lease: seconds after which the lock of a process is free again, if the process has died or its event loop has stood
        still for so long; 7 by default. A living process extends its lock seven times in a lease.
    patience: seconds to wait for the lock; 25 by default.
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
        self._key = checked_name(key, "key")
        if _LOCK_OF in key:
            raise ValueError("key must not be the name of another key's lock")
        self._form = Form(f"redis:{key}", cipher)
        pool = getattr(redis, "connection_pool", redis)  # which several clients may have in common
        options = getattr(redis, "connection_kwargs", {})  # of a cluster, for each of its nodes
        most = getattr(pool, "max_connections", options.get("max_connections"))
        self._room = id(pool), share(most, _AT_ONCE)
        calls = (partial(self._ask_for_lock, script, lease) for script in (_LOCK, _EXTEND_IF, _DELETE_IF))
        self._lock = LeaseLock(self._form.place, lease, patience, lambda: turn(*self._room), *calls)
        self._expiry = {} if ttl is None else {"px": min(round(1000 * checked_seconds(ttl, "ttl", least=1)), _LONGEST)}

    async def set_tokens(self, tokens: Tokens) -> None:
        await self._call("set", self._key, self._form.write(tokens), **self._expiry)

    async def clear_tokens(self) -> None:
        await self._call("delete", self._key)

    def refresh_lock(self) -> AbstractAsyncContextManager[None]:
        """Held by one process at a time, and by nobody soon after its process died."""
        return self._lock.held()

    async def _call(self, name: str, *arguments: Any, **options: Any) -> Any:
        with bare:  # the frames of a client hold what it sends as plain bytes
            async with place(*self._room):
                try:
                    answer = getattr(self._redis, name)(*arguments, **options)
                    if isawaitable(answer):
                        return await answer
                except BaseException as error:
                    _unquote(error)
                    raise
                raise AuthError(f"redis must be an asyncio client; {name}() of this one gives nothing to wait for")

    async def _text(self) -> Secret | None:
        try:
            found = masked(await self._call("get", self._key))
        except UnicodeDecodeError:  # of a client that decodes; it holds what could not be decoded
            found = b"\xff"
        return None if found is None else self._form.decoded(found)

    async def _replaced(self, seen: Secret, text: Secret | None) -> bool:
        values = [] if text is None else [text, *chain(*self._expiry.items())]
        return bool(await self._call("eval", _SET_IF if values else _DELETE_IF, 1, self._key, seen, *values))

    async def _ask_for_lock(self, script: str, lease: float, owner: str) -> Any:
        return await self._call("eval", script, 1, lock_name(self._key), owner, round(lease * 1000))


@lru_cache(maxsize=10_000)  # a key of odd braces takes many tries
def lock_name(key: str) -> str:
    """The key of another key's lock, and no key of anybody's tokens.

    It is in the slot that a cluster keeps that key in, and it begins with it, since a user of Redis may be allowed
    nothing but what begins with a certain text.
    """
    names = (f"{key}{_LOCK_OF}{tag}}}" for tag in chain([key], count()))
    return next(name for name in names if _slot(name) == _slot(key))


def _slot(key: str) -> int:
    """The slot of a key, which is that of what first stands between braces in it, if anything does."""
    tag = re.match(r"[^{]*\{([^}]+)\}", key)
    return crc_hqx((tag[1] if tag else key).encode(), 0) % 16_384  # the CRC that clusters use, and their slots


def _unquote(error: BaseException) -> None:
    """Take out of an error, and of those that it drags along, what they quote of a command.

    That may be tokens, or a password. Redis quotes the beginning of a command that it does not know, as a Sentinel does
    not know SET.
    """
    for one in below(error):
        if isinstance(one, UnicodeEncodeError):  # of a client with an encoding of its own; it holds the whole text
            one.object, one.args = one.object[:0], one.args[-1:]
        one.args = tuple(_QUOTE.sub("", text) if isinstance(text, str) else text for text in one.args)


def _checked_client(redis: Any) -> Any:
    if isinstance(redis, str | bytes):
        raise TypeError("redis must be a client, such as redis.asyncio.Redis.from_url(…), not its URL")
    checked_methods(redis, "redis", "get", "set", "delete", "eval")
    if hasattr(redis, "execute"):
        raise TypeError("redis must be a client, and no pipeline: that answers later")
    if hasattr(redis, "__enter__") and not hasattr(redis, "__aenter__"):
        raise TypeError("redis must be an asyncio client, such as redis.asyncio.Redis; this one is synchronous")
    if getattr(redis, "read_from_replicas", False) or getattr(redis, "load_balancing_strategy", None):
        told = "give the storage a RedisCluster without read_from_replicas= and load_balancing_strategy="
        raise ValueError(f"redis must not read from replicas, which may give older tokens: {told}")
    return redis
