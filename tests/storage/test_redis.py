"""Redis: what the storage accepts, where its keys are kept, and how many calls it makes at once."""

import asyncio
import json
import signal
from typing import Any

import anyio
import pytest
import redis
import redis.asyncio
import redis.cluster
from redis.asyncio.cluster import ClusterNode, RedisCluster
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from prisma_mgmt import AuthError
from prisma_mgmt.auth import Tokens
from prisma_mgmt.auth.storage import RedisTokenStorage
from prisma_mgmt.auth.storage.redis import lock_name
from tests.kit.canaries import betrayed, canary, chain, leaks
from tests.kit.servers import Process, redis_server
from tests.storage.places import NEWER, TOKENS, client, redis_place

pytestmark = pytest.mark.anyio

KEYS = ["prisma:ada", "p:{ada}:t", "a}b", "{}", "{}{a}", "}", "{", "a{b", "{{a}}", "ü}ñ", "{a", "{a}:lock", "a\n}b"]


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.mark.parametrize("key", KEYS)
async def test_lock_and_tokens_are_in_one_slot_of_a_cluster(key: str, cluster: Process) -> None:
    async with client(cluster) as one:
        assert await one.execute_command("CLUSTER KEYSLOT", key) == await one.execute_command(
            "CLUSTER KEYSLOT", lock_name(key)
        )
        storage = RedisTokenStorage(one, key=key)
        async with storage.refresh_lock():
            await storage.set_tokens(TOKENS)
            assert await storage.set_tokens_if_current(NEWER, TOKENS)
        assert await storage.clear_tokens_if_current(NEWER)


@pytest.fixture(scope="module")
def cluster() -> Any:
    """A cluster of one node, which holds all the slots."""
    with redis_server("--cluster-enabled", "yes", "--cluster-config-file", "nodes.conf") as process:
        with redis.Redis(port=process.port) as one:
            one.execute_command("CLUSTER ADDSLOTSRANGE", 0, 16383)
            while one.execute_command("CLUSTER INFO")["cluster_state"] != "ok":
                pass
        yield process


def test_no_key_is_another_keys_lock() -> None:
    names = [lock_name(key) for key in KEYS]
    assert len({*names, *KEYS}) == 2 * len(KEYS)
    for name in names:
        with pytest.raises(ValueError, match="must not be the name of another key's lock"):
            RedisTokenStorage(redis.asyncio.Redis(), key=name)


async def test_keys_that_look_like_locks_do_not_meet(redis_process: Process) -> None:
    async with client(redis_process) as one:
        await one.flushall()
        ada, other = (RedisTokenStorage(one, key=key) for key in ("ada", "{ada}:lock"))
        await other.set_tokens(NEWER)
        async with ada.refresh_lock(), other.refresh_lock():
            await ada.set_tokens(TOKENS)
        assert (await ada.get_tokens(), await other.get_tokens()) == (TOKENS, NEWER)


async def test_a_user_who_may_use_nothing_but_a_prefix_has_the_lock_too(redis_process: Process) -> None:
    rules = ["reset", "on", ">pass", "~prisma:*", "+@all"]
    async with client(redis_process) as one, client(redis_process, username="app", password="pass") as restricted:
        await one.execute_command("ACL SETUSER", "app", *rules)
        for key in ("prisma:ada", "prisma:a}b", "prisma:{ada}:t", "prisma:{", "prisma:{}"):
            storage = RedisTokenStorage(restricted, key=key)
            async with storage.refresh_lock():
                await storage.set_tokens(TOKENS)
                assert await storage.get_tokens() == TOKENS
        await one.execute_command("ACL DELUSER", "app")


@pytest.mark.parametrize("name", ["set_tokens", "set_tokens_if_current", "clear_tokens_if_current"])
async def test_a_client_whose_server_hangs_shows_no_token(redis_process: Process, name: str) -> None:
    """It looks after the server before it sends what it has packed by then: plain bytes, in a frame of its own."""
    looking: Any = {"health_check_interval": 1e-9, "lib_name": None, "lib_version": None, "socket_connect_timeout": 5}
    tokens = Tokens("wksp_1", canary(100), canary(2000))
    async with client(redis_process, socket_timeout=1, retry=Retry(NoBackoff(), 0), **looking) as one:
        storage = RedisTokenStorage(one, key="ada")
        await storage.set_tokens(tokens)
        await storage.get_tokens()
        assert redis_process.running is not None
        redis_process.running.send_signal(signal.SIGSTOP)
        try:
            with pytest.raises(redis.TimeoutError) as caught:
                await getattr(storage, name)(*[tokens] * (1 + name.startswith("set_tokens_if")))
        finally:
            redis_process.running.send_signal(signal.SIGCONT)
    assert betrayed(caught.value) == []


@pytest.fixture(scope="module")
def poor() -> Any:
    """A server without some of the commands, as a Sentinel is one; it quotes the beginning of what it was asked."""
    gone = [word for name in ("SET", "EVAL", "HELLO") for word in ("--rename-command", name, "")]
    with redis_server(*gone) as process:
        yield process


@pytest.mark.parametrize(
    ("command", "name"), [("SET", "set_tokens"), ("EVAL", "set_tokens_if_current"), ("EVAL", "clear_tokens_if_current")]
)
async def test_a_server_that_knows_no_such_command_shows_no_token(poor: Process, command: str, name: str) -> None:
    tokens = Tokens("wksp_1", canary(100), canary(2000))
    async with client(poor) as one:
        await one.mset({"ada": json.dumps(tokens.to_json())})
        with pytest.raises(redis.ResponseError, match=f"^unknown command .{command}.$") as caught:
            await getattr(RedisTokenStorage(one, key="ada"), name)(*[tokens] * (1 + name.startswith("set_tokens_if")))
    assert betrayed(caught.value) == []


async def test_a_server_that_knows_no_such_greeting_shows_no_password(poor: Process) -> None:
    async with client(poor, protocol=3, username="app", password=canary(30)) as one:
        with pytest.raises(redis.ResponseError, match=r"^unknown command .HELLO.$") as caught:
            await RedisTokenStorage(one, key="ada").get_tokens()
    assert betrayed(caught.value) == []


@pytest.mark.parametrize(
    ("said", "kept"),
    [
        ("unknown command `SET`, with args beginning with: `ada`, `{}`, ", "unknown command `SET`"),
        ("unknown command 'SET' with args 'ada' '{}'\r\n'{}'", "unknown command 'SET'"),
        ("SET cannot be done; args beginning with: {}", "SET cannot be done"),
        ("Protocol Error: b'{}'", "Protocol Error"),
        ("Missing key.\nCommand: ('ada', '{}')", "Missing key."),
        ("MISCONF Redis is configured to save RDB snapshots", "MISCONF Redis is configured to save RDB snapshots"),
    ],
)
async def test_no_error_of_a_client_keeps_what_was_sent(said: str, kept: str) -> None:
    """The first of them may be raised again under another name, and one may be its own cause."""
    said = said.replace("{}", canary(40))

    class Failing(Wrapped):
        async def set(self, name: str, value: str) -> None:
            first = redis.ResponseError(said, 7)
            try:
                raise redis.InvalidResponse(said) from first
            except redis.InvalidResponse:
                first.__cause__ = first
                raise redis.ConnectionError(said)  # noqa: B904  # as clients do: the other is its context

    with pytest.raises(redis.ConnectionError) as caught:
        await RedisTokenStorage(Failing(), key="ada").set_tokens(TOKENS)
    assert [one.args[0] for one in chain(caught.value)] == [kept] * 3
    assert {one.args[1:] for one in chain(caught.value)} == {(), (7,)}


async def test_the_errors_of_an_application_keep_their_words() -> None:
    """It may call a storage while it handles one of its own, which is then the context of what the storage raises."""

    class Failing(Wrapped):
        async def get(self, name: str) -> None:
            raise redis.ResponseError(f"unknown command 'GET', with args beginning with: '{canary(40)}'")

    mine = KeyError("b'mine' with args")
    with pytest.raises(redis.ResponseError, match=r"^unknown command 'GET'$") as caught:
        try:
            raise mine
        except KeyError:
            await RedisTokenStorage(Failing(), key="ada").get_tokens()
    assert caught.value.__context__ is mine
    assert mine.args == ("b'mine' with args",)


@pytest.mark.parametrize("name", ["set_tokens_if_current", "clear_tokens_if_current"])
async def test_what_a_client_cannot_encode_is_not_shown(redis_process: Process, name: str) -> None:
    """Another program may have written text that the client's encoding has no characters for."""
    tokens = Tokens("wksp_1", canary(100), canary(200))
    async with client(redis_process) as theirs, client(redis_process, encoding="latin-1") as one:
        await theirs.set("ada", json.dumps({**tokens.to_json(), "theirs": "日本"}, ensure_ascii=False))
        with pytest.raises(UnicodeEncodeError) as caught:
            await getattr(RedisTokenStorage(one, key="ada"), name)(*[tokens] * (1 + name.startswith("set")))
    assert betrayed(caught.value) == []


class Wrapped:
    """A client of one's own, of the same methods."""

    async def get(self, name: str) -> None: ...
    async def set(self, name: str, value: str) -> None: ...
    async def delete(self, name: str) -> None: ...
    async def eval(self, script: str, keys: int, *arguments: Any) -> None: ...


class Silent(Wrapped):
    """A client of a server that accepts connections and says nothing."""

    async def get(self, name: str) -> None:
        await anyio.sleep_forever()


@pytest.mark.parametrize("good", [redis.asyncio.Redis(), Wrapped()])
async def test_an_asyncio_client_is_accepted(good: Any) -> None:
    RedisTokenStorage(good, key="ada")


@pytest.mark.parametrize(
    ("bad", "wanted"),
    [
        ("redis://:canary@localhost", "from_url"),
        (b"redis://:canary@localhost", "from_url"),
        (redis.Redis(), "must be an asyncio client.*synchronous"),
        (redis.asyncio.Redis, "an object with the methods get, set, delete, eval, not the class Redis"),
        (redis.asyncio.Redis().pipeline(), "no pipeline"),
        (redis.asyncio.ConnectionPool(), "an object with the methods.*not ConnectionPool"),
        (None, "an object with the methods.*not NoneType"),
    ],
    ids=["url", "bytes", "synchronous", "class", "pipeline", "pool", "none"],
)
def test_anything_else_is_refused_where_it_is_given(bad: Any, wanted: str) -> None:
    with pytest.raises(TypeError, match=f"redis must be .*{wanted}|redis must be {wanted}|{wanted}") as caught:
        RedisTokenStorage(bad, key="ada")
    assert "canary" not in str(caught.value)


STRATEGIES = getattr(redis.cluster, "LoadBalancingStrategy", ())  # older versions have none


@pytest.mark.parametrize(
    "options", [{"read_from_replicas": True}, *({"load_balancing_strategy": one} for one in STRATEGIES)]
)
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
async def test_a_cluster_that_is_read_from_replicas_is_refused(options: Any) -> None:
    """A replica may give an older pair, whose refresh token is spent, even under the refresh lock."""
    node = ClusterNode("127.0.0.1", 1)
    RedisTokenStorage(RedisCluster(startup_nodes=[node]), key="ada")
    with pytest.raises(ValueError, match=r"^redis must not read from replicas.*: give .* a RedisCluster without"):
        RedisTokenStorage(RedisCluster(startup_nodes=[node], **options), key="ada")


async def test_a_client_that_answers_at_once_is_told_to_be_none_of_asyncio() -> None:
    class Synchronous(Wrapped):
        def get(self, name: str) -> None: ...  # type: ignore[override]  # that is what is wrong with it

    with pytest.raises(AuthError, match=r"redis must be an asyncio client; get\(\) of this one"):
        await RedisTokenStorage(Synchronous(), key="ada").get_tokens()


def test_another_event_loop_than_asyncios_is_told_so(redis_process: Process) -> None:
    async def use() -> None:
        with pytest.raises(AuthError, match="for asyncio"):
            await RedisTokenStorage(redis.asyncio.Redis(port=redis_process.port), key="ada").get_tokens()

    anyio.run(use, backend="trio")


def test_a_client_of_another_event_loop_is_told_so(redis_process: Process) -> None:
    """As one that is made at module level, for jobs that each have a loop."""
    client = redis.asyncio.Redis(port=redis_process.port)
    storage = RedisTokenStorage(client, key="ada")
    with asyncio.Runner() as one, asyncio.Runner() as another:
        one.run(storage.get_tokens())
        with pytest.raises(AuthError, match="belongs to another event loop: make one in each"):
            another.run(storage.get_tokens())
        one.run(client.connection_pool.disconnect())


async def test_a_client_of_an_event_loop_that_is_over_is_told_so() -> None:
    class Closed(Wrapped):
        async def get(self, name: str) -> None:
            raise RuntimeError("Event loop is closed")  # as asyncio says it

    with pytest.raises(AuthError, match="belongs to another event loop: make one in each"):
        await RedisTokenStorage(Closed(), key="ada").get_tokens()


@pytest.mark.parametrize(
    ("options", "error", "named"),
    [
        ({"key": None}, TypeError, "key"),
        ({"key": 5}, TypeError, "key"),
        ({"key": ""}, ValueError, "key"),
        ({"key": "\ud800"}, ValueError, "key"),
        ({"cipher": "k" * 32}, TypeError, "cipher"),
        ({"ttl": "60"}, TypeError, "ttl"),
        ({"ttl": 0}, ValueError, "ttl"),
        ({"lease": None}, TypeError, "lease"),
        ({"lease": 0}, ValueError, "lease"),
        ({"patience": -1}, ValueError, "patience"),
    ],
)
def test_a_wrong_option_is_an_error_that_names_it(options: Any, error: type[Exception], named: str) -> None:
    with pytest.raises(error, match=f"^{named} must"):
        RedisTokenStorage(redis.asyncio.Redis(), **{"key": "ada", **options})


async def test_tokens_that_nobody_renews_are_forgotten_after_their_ttl(redis_process: Process) -> None:
    async with redis_place(redis_process) as place, client(redis_process) as one:
        storage = place.storage(ttl=3600)
        await storage.set_tokens(TOKENS)
        assert 3_500_000 < await one.pttl("prisma:ada") <= 3_600_000
        await one.pexpire("prisma:ada", 60_000)
        assert await storage.set_tokens_if_current(NEWER, TOKENS)
        assert 3_500_000 < await one.pttl("prisma:ada") <= 3_600_000
        assert await place.storage().set_tokens_if_current(TOKENS, NEWER)
        assert await one.pttl("prisma:ada") == -1, "without a ttl they are kept"
        await place.storage(ttl=1e30).set_tokens(TOKENS)
        assert await one.pttl("prisma:ada") > 10**14


@pytest.mark.parametrize("decode", [False, True])
async def test_what_is_no_text_is_an_error_that_shows_nothing(redis_process: Process, decode: bool) -> None:
    async with redis_place(redis_process, decode_responses=decode) as place:
        await place.write(b'{"workspaceId": "w", "accessToken": "canary", "theirs": "\xff"}')
        storage = place.storage()
        for call in (storage.get_tokens, lambda: storage.set_tokens_if_current(NEWER, TOKENS)):
            with pytest.raises(AuthError, match="redis:prisma:ada holds no tokens: it is no UTF-8 text") as caught:
                await call()
            assert leaks(caught.value) == []


async def use(one: Any, number: int) -> None:
    tokens = Tokens("wksp_1", f"access-{number}", "refresh")
    storage = RedisTokenStorage(one, key=f"user:{number}")
    async with storage.refresh_lock():
        await storage.set_tokens(tokens)
        assert await storage.set_tokens_if_current(tokens, tokens)
    assert await storage.get_tokens() == tokens


@pytest.mark.parametrize("connections", [1, 4])
async def test_many_users_share_a_cluster_whatever_its_pool_has(cluster: Process, connections: int) -> None:
    many = RedisCluster(host="127.0.0.1", port=cluster.port, max_connections=connections)
    async with many as one, anyio.create_task_group() as group:
        for number in range(40):
            group.start_soon(use, one, number)


@pytest.mark.parametrize("connections", [1, 4, 100])
async def test_many_users_share_a_client_whatever_its_pool_has(redis_process: Process, connections: int) -> None:
    """The pool raises an error for the first connection too many."""
    pool = redis.asyncio.ConnectionPool(port=redis_process.port, max_connections=connections)
    async with redis.asyncio.Redis(connection_pool=pool) as one:
        await one.flushall()
        async with anyio.create_task_group() as group:
            for number in range(120):
                group.start_soon(use, one, number)
        await pool.disconnect()


async def test_users_of_one_server_do_not_wait_for_another_that_is_silent(redis_process: Process) -> None:
    silent = RedisTokenStorage(Silent(), key="ada")
    async with client(redis_process) as one, anyio.create_task_group() as group:
        for _ in range(20):
            group.start_soon(silent.get_tokens)
        await anyio.wait_all_tasks_blocked()
        with anyio.fail_after(5):
            await use(one, 1)
        group.cancel_scope.cancel()


async def test_many_users_with_clients_of_their_own_share_what_their_pool_has(redis_process: Process) -> None:
    pool = redis.asyncio.ConnectionPool(port=redis_process.port, max_connections=4)
    async with redis.asyncio.Redis(connection_pool=pool) as one:
        await one.flushall()
        async with anyio.create_task_group() as group:
            for number in range(60):
                group.start_soon(use, redis.asyncio.Redis(connection_pool=pool), number)
        await pool.disconnect()
