"""A PostgreSQL behind the sandbox: its databases open with the drivers that people use, and are gone afterwards."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import psycopg
import pytest

from prisma_mgmt.sandbox import Sandbox, cluster
from prisma_mgmt.sandbox.backing import Address
from prisma_mgmt.sandbox.postgres import PostgresBacking
from tests.sandbox.visitor import connect

pytestmark = pytest.mark.timeout(120)


@pytest.fixture(scope="module")
def server() -> str:
    """The DSN of a server of our own."""
    if not shutil.which("initdb") and not list(Path("/usr/lib/postgresql").glob("*/bin/initdb")):
        if os.environ.get("CI"):
            pytest.fail("CI has no PostgreSQL")
        pytest.skip("there are no PostgreSQL binaries on this machine")
    return cluster.dsn()


@pytest.fixture
def backing(server: str) -> Iterator[PostgresBacking]:
    backing = PostgresBacking(server)
    yield backing
    backing.close()


def url(address: Address, database: str | None = None) -> str:
    where = f"{address.host}:{address.port}/{database or address.database}"
    return f"postgresql://{address.username}:{address.password}@{where}"


def ask(address: Address, *statements: str, database: str | None = None) -> list[Any]:
    with psycopg.connect(url(address, database), autocommit=True) as connection:
        cursor = [connection.execute(one) for one in statements][-1]  # type: ignore[arg-type]  # texts of ours
        return cursor.fetchall() if cursor.description else []


def refuses(address: Address, database: str | None = None) -> bool:
    try:
        ask(address, "SELECT 1", database=database)
    except psycopg.OperationalError:
        return True
    return False


# The backing by itself


def test_connections_of_a_database_share_what_they_make(backing: PostgresBacking) -> None:
    backing.create("db_1")
    one, two = backing.grant("db_1", "con_1"), backing.grant("db_1", "con_2")
    ask(one, "CREATE TABLE shelf (id int)", "INSERT INTO shelf VALUES (7)")
    assert ask(two, "ALTER TABLE shelf ADD COLUMN name text", "SELECT * FROM shelf") == [(7, None)]
    backing.revoke("db_1", "con_1")
    assert refuses(one)
    assert ask(two, "SELECT id FROM shelf") == [(7,)]


def test_a_connection_opens_its_own_database_only(backing: PostgresBacking) -> None:
    backing.create("db_1")
    backing.create("db_2")
    one, two = backing.grant("db_1", "con_1"), backing.grant("db_2", "con_2")
    assert (refuses(one, "db_2"), refuses(two, "db_1"), refuses(one)) == (True, True, False)


def test_a_rotation_ends_the_old_password(backing: PostgresBacking) -> None:
    backing.create("db_1")
    old = backing.grant("db_1", "con_1")
    new = backing.rotate("db_1", "con_1")
    assert (refuses(old), refuses(new)) == (True, False)
    assert (old.username, old.password) != (new.username, new.password)


def test_a_copy_replaces_what_was_there_and_keeps_the_connections(backing: PostgresBacking) -> None:
    backing.create("db_1")
    backing.create("db_2")
    one, two = backing.grant("db_1", "con_1"), backing.grant("db_2", "con_2")
    ask(one, "CREATE TABLE shelf (id int)", "INSERT INTO shelf VALUES (7)")
    ask(two, "CREATE TABLE other (id int)")
    with psycopg.connect(url(one)), psycopg.connect(url(two)):  # who is in there is sent away
        backing.copy("db_1", "db_2")
    assert ask(two, "SELECT * FROM shelf") == [(7,)]
    assert ask(two, "DROP TABLE shelf", "SELECT to_regclass('other')") == [(None,)]
    backing.copy("db_1", "db_1")
    assert ask(one, "SELECT * FROM shelf") == [(7,)]


def test_a_database_grows(backing: PostgresBacking) -> None:
    backing.create("db_1")
    before = backing.size("db_1")
    ask(backing.grant("db_1", "con_1"), "CREATE TABLE t AS SELECT generate_series(1, 100000)")
    assert backing.size("db_1") > before > 1_000_000


def test_nothing_is_left_behind(server: str) -> None:
    def everything() -> list[Any]:
        with psycopg.connect(server) as connection:
            return connection.execute("SELECT datname FROM pg_database UNION SELECT rolname FROM pg_roles").fetchall()

    before = sorted(everything())
    backing = PostgresBacking(server)
    backing.create("db_1")
    one = backing.grant("db_1", "con_1")
    ask(one, "CREATE DATABASE shadow")  # as a migration does
    backing.create("db_2")
    backing.drop("db_2")
    with psycopg.connect(url(one)):
        backing.close()
    assert sorted(everything()) == before


@pytest.mark.parametrize("dsn", ["postgresql://nobody@127.0.0.1:1/x", "postgresql://127.0.0.1:port/x"])
def test_a_server_that_cannot_be_opened_is_one_line(dsn: str) -> None:
    with pytest.raises(OSError, match="cannot open the PostgreSQL behind the sandbox"):
        Sandbox(postgres=dsn).__enter__()
    command = [sys.executable, "-m", "prisma_mgmt.sandbox", "--postgres", dsn]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1)


def test_a_wrong_password_is_not_shown(server: str) -> None:
    wrong = server.replace("://sandbox:", "://sandbox:wr0ng")
    with pytest.raises(OSError, match="password authentication failed") as caught:
        PostgresBacking(wrong)
    assert "wr0ng" not in str(caught.value)


def test_a_sandbox_with_a_postgresql_must_be_entered() -> None:
    with pytest.raises(RuntimeError, match="must be entered"):
        _ = Sandbox(postgres="auto").app


# A whole sandbox


def secrets_of(thing: dict[str, Any]) -> str:
    return str(thing["endpoints"]["direct"]["connectionString"])


@pytest.fixture
def real(server: str) -> Iterator[Sandbox]:
    with Sandbox(postgres=server) as sandbox:
        yield sandbox


@pytest.fixture
def asked(real: Sandbox) -> Iterator[httpx.Client]:
    with connect(real, real.service_token) as client:
        yield client


def make_database(asked: httpx.Client, **body: Any) -> dict[str, Any]:
    project = asked.post("/projects", json={"name": "shop", "createDatabase": False}).json()["data"]
    answer = asked.post(f"/projects/{project['id']}/databases", json={"name": "main", **body})
    assert answer.status_code == 201, answer.text
    made: dict[str, Any] = answer.json()["data"]
    return made


@pytest.mark.anyio
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_the_url_of_a_new_database_opens_with_asyncpg(asked: httpx.Client) -> None:
    database = make_database(asked)
    for kind in ("direct", "pooled"):
        connection = await asyncpg.connect(database["connections"][0]["endpoints"][kind]["connectionString"])
        assert await connection.fetchval("SELECT current_database()") == database["id"]
        await connection.close()


def test_a_database_is_migrated_queried_rotated_cloned_and_deleted(asked: httpx.Client, real: Sandbox) -> None:
    database = make_database(asked)
    first = secrets_of(database["connections"][0])
    with psycopg.connect(first, autocommit=True) as connection:
        connection.execute("CREATE TABLE shelf AS SELECT generate_series(1, 3) AS id")
    real.advance(3600)
    rotated = asked.post(f"/connections/{database['connections'][0]['id']}/rotate").json()["data"]
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(first)
    with psycopg.connect(secrets_of(rotated)) as connection:
        assert connection.execute("SELECT count(*) FROM shelf").fetchone() == (3,)
    clone = make_database(asked, source={"type": "database", "databaseId": database["id"]})
    with psycopg.connect(secrets_of(clone["connections"][0])) as connection:
        assert connection.execute("SELECT count(*) FROM shelf").fetchone() == (3,)
    extra = asked.post(f"/databases/{clone['id']}/connections", json={"name": "app"}).json()["data"]
    psycopg.connect(secrets_of(extra)).close()
    usage = asked.get(f"/databases/{database['id']}/usage").json()["metrics"]["storage"]
    assert (usage["unit"], usage["used"] > 0.001) == ("GiB", True)
    for connection_id, secret in ((extra["id"], secrets_of(extra)),):
        assert asked.delete(f"/connections/{connection_id}").status_code == 204
        with pytest.raises(psycopg.OperationalError):
            psycopg.connect(secret)
    assert asked.delete(f"/databases/{clone['id']}").status_code == 204
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(secrets_of(clone["connections"][0]))


def test_a_reset_drops_the_databases(asked: httpx.Client, real: Sandbox) -> None:
    secret = secrets_of(make_database(asked)["connections"][0])
    real.reset()
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(secret)
    psycopg.connect(secrets_of(make_database(asked)["connections"][0])).close()


def test_a_server_of_our_own_goes_with_the_process(server: str) -> None:
    code = (
        "import os, signal\nfrom prisma_mgmt.sandbox import Sandbox, cluster\n"
        "with Sandbox(postgres='auto'):\n    print(cluster.dsn(), flush=True)\n    input()\n"
        "    os.kill(os.getpid(), signal.SIGKILL)"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as it:
        assert it.stdout is not None
        dsn = it.stdout.readline().strip()
        psycopg.connect(dsn).close()
        it.communicate("\n")
    for _ in range(200):
        try:
            psycopg.connect(dsn, connect_timeout=2).close()
        except psycopg.OperationalError:
            return
    pytest.fail("the server outlived its process")
