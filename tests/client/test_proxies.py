"""Proxies of the environment, TLS, and HTTP/2 over a client of the user's: what lies between the client and the API."""

import logging
import os
import ssl
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import anyio
import certifi
import httpx
import pytest
from anyio import to_thread
from anyio.abc import ByteStream, SocketAttribute
from anyio.streams.tls import TLSStream
from attrs import define, field

from prisma_mgmt import ManagementClient, NetworkError, RequestTimeoutError, RetryPolicy
from prisma_mgmt.environment import proxy_for, ssl_context, way_to
from tests.kit.canaries import leaks, logged
from tests.kit.rig import Gate, Reply, Request, serve, until
from tests.kit.script import CONNECTION, answer
from tests.kit.tls import Certificate, certificate

pytestmark = pytest.mark.anyio
ONCE = RetryPolicy(attempts=1)
NAMES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY")


@pytest.fixture(autouse=True)
def _no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


@pytest.fixture
def localhost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Certificate:
    made = certificate(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(made.path))
    return made


async def reply(request: Request) -> Reply:
    return Reply(body={"data": CONNECTION})


# Which proxy


@pytest.mark.parametrize(
    "proxies", [{"HTTP_PROXY": "p1:1", "HTTPS_PROXY": "http://p2:2"}, {"ALL_PROXY": "http://p3:3"}]
)
@pytest.mark.parametrize(
    "spared",
    [
        *("", " ", "*", "other, *", "localhost", "LOCALHOST", "127.0.0.1", "::1", "prisma.io"),
        *(".prisma.io", "api.prisma.io", "io", "ma.io", "prisma.io:8443", "127.0.0.1:8080"),
        *(
            "https://api.prisma.io",
            "http://api.prisma.io",
            "all://*.prisma.io",
            "https://api.prisma.io:8443",
            "https://",
        ),
        *("evil.example,api.prisma.io", " api.prisma.io , x", "a,,b"),
    ],
)
def test_the_environment_is_read_as_httpx_reads_it(
    proxies: dict[str, str], spared: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {**proxies, "NO_PROXY": spared}.items():
        monkeypatch.setenv(name, value)
    theirs = httpx.AsyncClient()
    hosts = ("api.prisma.io", "prisma.io", "notprisma.io", "api.prisma.io:8443", "localhost", "127.0.0.1:8080", "[::1]")
    for url in (httpx.URL(f"{scheme}://{host}/v1") for scheme in ("http", "https") for host in hosts):
        pool: Any = theirs._transport_for_url(url)
        wanted = getattr(pool._pool, "_proxy_url", None)
        found = proxy_for(str(url))
        assert (found and httpx.URL(found).host) == (wanted and wanted.host.decode()), (url, spared)


@pytest.mark.parametrize(
    ("spared", "url", "covered"),
    [
        ("127.0.0.0/8", "http://127.1.2.3:80/v1", True),
        ("10.0.0.0/8", "http://127.0.0.1/v1", False),
        ("::1/128", "http://[::1]:8080/v1", True),
        ("[::1]", "http://[::1]/v1", True),
        ("[::1]:8080", "http://[::1]:8080/v1", True),
        ("http://[::1]:8080", "http://[::1]:8080/v1", True),
        ("[::1]:8080", "http://[::1]:8081/v1", False),
        ("[::1]/128", "http://[::1]:8081/v1", True),
        ("prisma.io.", "https://api.prisma.io/v1", True),
        ("api.prisma.io", "https://api.prisma.io./v1", True),
        ("fd00::/8", "https://[fd12::9]/v1", True),
        ("fd00::/8", "https://[fe80::1]/v1", False),
        ("fd00::/8, ,bücher.example", "https://api.xn--bcher-kva.example/v1", True),
        ("prisma.io:443", "https://api.prisma.io/v1", True),
        ("prisma.io:99999 :: http://[ a/b/c", "https://api.prisma.io/v1", False),
        ("example.org api.prisma.io", "https://api.prisma.io/v1", True),
    ],
)
def test_networks_are_honoured_and_an_entry_that_means_nothing_is_skipped(
    spared: str, url: str, covered: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ALL_PROXY", "p:1")
    monkeypatch.setenv("NO_PROXY", spared)
    assert (proxy_for(url) is None) == covered


@pytest.mark.parametrize(
    "bad", ["ftp://p:1", "https://", "http://p:0", "http://p:99999", "http://[", "://p", "socks4://p:1"]
)
@pytest.mark.parametrize("name", ["HTTPS_PROXY", "https_proxy", "ALL_PROXY"])
def test_a_proxy_that_cannot_be_used_names_its_variable(bad: str, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, bad)
    with pytest.raises(NetworkError, match=f"^{name} ") as caught:
        proxy_for("https://api.prisma.io/v1")
    assert caught.value.unsent
    assert bad not in str(caught.value)


def test_a_proxy_without_a_scheme_and_with_blanks_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "  p.example:8080 ")
    assert proxy_for("https://api.prisma.io/v1") == "http://p.example:8080"


def test_a_socks_proxy_needs_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALL_PROXY", "socks5://p:1080")
    monkeypatch.setitem(sys.modules, "socksio", None)
    with pytest.raises(NetworkError, match=r"^ALL_PROXY .* install httpx\[socks\]"):
        proxy_for("https://api.prisma.io/v1")


@pytest.mark.parametrize("kind", ["missing", "folder", "junk"])
async def test_certificates_that_cannot_be_read_name_their_variable(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "ca.pem"
    if kind == "folder":
        path.mkdir()
    elif kind == "junk":
        path.write_text("no certificate")
    monkeypatch.setenv("SSL_CERT_FILE", str(path))
    with pytest.raises(NetworkError, match=r"^SSL_CERT_FILE ") as caught:
        await ssl_context()
    assert caught.value.unsent
    monkeypatch.delenv("SSL_CERT_FILE")
    monkeypatch.setenv("SSL_CERT_DIR", str(path / "none"))
    with pytest.raises(NetworkError, match=r"^SSL_CERT_DIR "):
        await ssl_context()
    monkeypatch.setenv("SSL_CERT_DIR", str(path / ("x" * 5000)))  # the system will not even look for it
    with pytest.raises(NetworkError, match=r"^SSL_CERT_DIR ") as caught:
        await ssl_context()
    assert caught.value.unsent


@pytest.mark.parametrize("certificates", ["", certifi.where()])
async def test_a_key_log_that_cannot_be_written_names_its_variable(
    certificates: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("prisma_mgmt.environment._contexts", {})
    monkeypatch.setenv("SSL_CERT_FILE", certificates)
    monkeypatch.setenv("SSLKEYLOGFILE", str(tmp_path / "missing" / "keys"))
    with pytest.raises(NetworkError, match=r"^SSLKEYLOGFILE ") as caught:
        await ssl_context()
    assert caught.value.unsent


async def test_certificates_are_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SSL_CERT_FILE", "SSL_CERT_DIR"):
        monkeypatch.delenv(name, raising=False)
    assert await ssl_context() is await ssl_context()


async def test_certificates_are_read_though_every_thread_of_anyios_waits_for_that(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Starlette runs plain functions in those threads, and they may wait for a call of ours."""
    monkeypatch.setattr("prisma_mgmt.environment._contexts", {})
    limiter = to_thread.current_default_thread_limiter()
    waiting = [object() for _ in range(int(limiter.available_tokens))]
    for one in waiting:
        limiter.acquire_on_behalf_of_nowait(one)
    try:
        with anyio.fail_after(20):
            assert await ssl_context()
    finally:
        for one in waiting:
            limiter.release_on_behalf_of(one)


FORKING = """
import os, sys, threading
import anyio
from prisma_mgmt.environment import ssl_context

pipe, certificates = sys.argv[1:]
os.environ["SSL_CERT_FILE"] = pipe  # a thread that reads it waits until somebody writes
threading.Thread(target=anyio.run, args=(ssl_context,), daemon=True).start()
writer = os.open(pipe, os.O_WRONLY)  # as soon as it reads
if not (child := os.fork()):
    os.environ["SSL_CERT_FILE"] = certificates
    anyio.run(ssl_context)
    os._exit(0)
code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
os._exit(code)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_a_process_that_forks_while_it_reads_certificates_has_a_child_that_can(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    command = [sys.executable, "-W", "ignore", "-c", FORKING, str(pipe), certifi.where()]
    assert subprocess.run(command, timeout=20, check=False).returncode == 0


async def test_without_proxies_nothing_lies_between() -> None:
    assert proxy_for("https://api.prisma.io") is None


async def test_plain_http_goes_through_the_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    async with serve(reply) as proxy, serve(reply) as server:
        monkeypatch.setenv("HTTP_PROXY", proxy.url.replace("http://", "http://user:secret@"))
        async with ManagementClient("token", base_url=server.url) as client:
            await client.connections.get("con_1")
            monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")  # decided already
            await client.connections.get("con_1")
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        async with ManagementClient("token", base_url=server.url) as client:
            await client.connections.get("con_1")
    assert [request.target for request in proxy.requests] == [f"{server.url}/v1/connections/con_1"] * 2
    assert proxy.requests[0].headers["proxy-authorization"].startswith("Basic ")
    assert proxy.connections == 1
    assert [request.target for request in server.requests] == ["/v1/connections/con_1"]
    assert "proxy-authorization" not in server.requests[0].headers


@define
class Tunnels:
    """A proxy for https: what it was asked to connect to, and how many tunnels are open."""

    url: str
    heads: list[bytes] = field(factory=list)
    open: int = 0


@asynccontextmanager
async def tunnels(refusal: bytes = b"") -> AsyncIterator[Tunnels]:
    async def connected(stream: ByteStream) -> None:
        async with stream:
            head = await stream.receive()
            proxy.heads.append(head)
            await stream.send(refusal or b"HTTP/1.1 200 OK\r\n\r\n")
            if refusal:
                return
            host, port = head.split()[1].decode().split(":")
            proxy.open += 1
            async with await anyio.connect_tcp(host, int(port)) as other, anyio.create_task_group() as group:
                group.start_soon(pump, other, stream)
                await pump(stream, other)
                group.cancel_scope.cancel()
            proxy.open -= 1

    async def pump(source: ByteStream, target: ByteStream) -> None:
        try:
            async for data in source:
                await target.send(data)
        except (anyio.BrokenResourceError, anyio.ClosedResourceError):
            pass

    listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
    proxy = Tunnels(f"http://127.0.0.1:{listener.extra(SocketAttribute.local_port)}")
    async with listener, anyio.create_task_group() as group:
        group.start_soon(listener.serve, connected)
        try:
            yield proxy
        finally:
            group.cancel_scope.cancel()


async def test_a_proxys_password_is_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://user:canary@127.0.0.1:1")
    async with ManagementClient("token", base_url="http://api.example", allow_http=True, retry=ONCE) as client:
        with pytest.raises(NetworkError) as caught:
            await client.connections.get("con_1")
        assert leaks(caught.value) == []
        assert "canary" not in repr(client.pipeline)


async def test_https_goes_through_a_tunnel(localhost: Certificate, monkeypatch: pytest.MonkeyPatch) -> None:
    async with serve(reply, localhost.server()) as server, tunnels() as proxy:
        monkeypatch.setenv("HTTPS_PROXY", proxy.url)
        async with ManagementClient("token", base_url=server.url) as client:
            for _ in range(3):
                assert (await client.connections.get("con_1")).name == "n"
        assert [head.split()[:2] for head in proxy.heads] == [
            [b"CONNECT", server.url.removeprefix("https://").encode()]
        ]
        assert b"token" not in proxy.heads[0]
        assert [request.token for request in server.requests] == ["token"] * 3
        await until(lambda: proxy.open == 0)


async def test_a_proxy_that_refuses_is_a_network_error(localhost: Certificate, monkeypatch: pytest.MonkeyPatch) -> None:
    async with serve(reply, localhost.server()) as server, tunnels(b"HTTP/1.1 407 No\r\n\r\n") as proxy:
        monkeypatch.setenv("ALL_PROXY", proxy.url.replace("http://", "http://user:canary@"))
        async with ManagementClient("token", base_url=server.url, retry=ONCE) as client:
            with pytest.raises(NetworkError, match="407") as caught:
                await client.connections.get("con_1")
    assert leaks(caught.value) == []
    assert server.requests == []


async def test_a_view_of_another_origin_has_connections_of_its_own() -> None:
    async with serve(reply) as one, serve(reply) as two, ManagementClient("token", base_url=one.url) as client:
        other = client.with_options(base_url=two.url)
        for _ in range(5):
            await client.connections.get("con_1")
            await other.connections.get("con_1")
        assert (one.connections, two.connections) == (1, 1)


async def test_idle_connections_of_all_origins_are_bounded() -> None:
    async with (
        serve(reply) as one,
        serve(reply) as two,
        ManagementClient("token", base_url=one.url, max_connections=1) as client,
    ):
        await client.connections.get("con_1")
        await client.with_options(base_url=two.url).connections.get("con_1")
        await until(lambda: one.open_connections == 0)
        assert two.open_connections == 1


# TLS


@pytest.mark.parametrize("through", ["", "HTTPS_PROXY"])
async def test_a_cancelled_handshake_leaves_no_socket(
    through: str, localhost: Certificate, monkeypatch: pytest.MonkeyPatch
) -> None:
    arrived, gone = anyio.Event(), anyio.Event()

    async def silent(stream: ByteStream) -> None:
        async with stream:
            await stream.receive()  # the ClientHello, which gets no answer
            arrived.set()
            with pytest.raises((anyio.EndOfStream, anyio.BrokenResourceError)):
                await stream.receive()
            gone.set()

    listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
    url = f"https://127.0.0.1:{listener.extra(SocketAttribute.local_port)}"
    client = ManagementClient("token", base_url=url, max_connections=1, retry=ONCE)

    async def send(timeout: float | None) -> None:
        await client.with_options(timeout=timeout).request("GET", "/")

    async with listener, tunnels() as proxy, anyio.create_task_group() as group:
        if through:
            monkeypatch.setenv(through, proxy.url)
        group.start_soon(listener.serve, silent)
        with anyio.fail_after(20):
            async with anyio.create_task_group() as calls:
                calls.start_soon(send, None)
                await arrived.wait()
                calls.cancel_scope.cancel()
            await gone.wait()
            with pytest.raises(RequestTimeoutError):
                await send(0.05)
        group.cancel_scope.cancel()
    await client.aclose()


async def test_a_certificate_that_is_not_trusted(tmp_path: Path) -> None:
    async with serve(reply, certificate(tmp_path).server()) as server:
        async with ManagementClient("token", base_url=server.url, retry=ONCE) as client:
            with pytest.raises(NetworkError, match="CERTIFICATE_VERIFY_FAILED") as caught:
                await client.connections.get("con_1")
        assert caught.value.unsent
        assert server.requests == []
        await until(lambda: server.open_connections == 0)


# HTTP/2


@asynccontextmanager
async def http2_server(tls: ssl.SSLContext) -> AsyncIterator[tuple[str, list[dict[str, str]]]]:
    """Answers every request with a connection; yields its URL and the headers that it was sent."""
    config = pytest.importorskip("h2.config")
    connection = pytest.importorskip("h2.connection")
    events = pytest.importorskip("h2.events")
    seen: list[dict[str, str]] = []

    async def converse(stream: ByteStream) -> None:
        peer = connection.H2Connection(config.H2Configuration(client_side=False, header_encoding="utf-8"))
        peer.initiate_connection()
        await stream.send(peer.data_to_send())
        async for data in stream:
            for event in peer.receive_data(data):
                if isinstance(event, events.RequestReceived):
                    seen.append(dict(event.headers))
                    body = answer().content
                    peer.send_headers(event.stream_id, [(":status", "200"), ("content-length", str(len(body)))])
                    peer.send_data(event.stream_id, body, end_stream=True)
            await stream.send(peer.data_to_send())

    async def connected(raw: ByteStream) -> None:
        with suppress(anyio.BrokenResourceError):
            async with await TLSStream.wrap(
                raw, server_side=True, ssl_context=tls, standard_compatible=False
            ) as stream:
                await converse(stream)

    listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
    async with listener, anyio.create_task_group() as group:
        group.start_soon(listener.serve, connected)
        try:
            yield f"https://127.0.0.1:{listener.extra(SocketAttribute.local_port)}", seen
        finally:
            group.cancel_scope.cancel()


async def test_http_2_over_a_client_of_the_users_shows_no_token(
    localhost: Certificate, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    async with (
        http2_server(localhost.server("h2")) as (url, seen),
        httpx.AsyncClient(http2=True) as theirs,
        ManagementClient("canary-token", base_url=url, http_client=theirs) as client,
    ):
        for _ in range(3):
            assert (await client.connections.get("con_1")).name == "n"
        await client.request("POST", "/v1/x", body={"a": 1})
    assert [(one[":method"], one[":path"], one["authorization"]) for one in seen[-2:]] == [
        ("GET", "/v1/connections/con_1", "Bearer canary-token"),
        ("POST", "/v1/x", "Bearer canary-token"),
    ]
    ours = [one for one in caplog.records if one.name.startswith("hpack") and "authorization" in one.getMessage()]
    assert ours  # hpack tells what it packs
    told = [one for one in ours if "Decoded" not in one.getMessage()]
    assert logged(told) == []


def test_an_http_client_is_where_http_2_comes_from() -> None:
    option: Any = {"http2": True}
    with pytest.raises(TypeError, match="http2"):
        ManagementClient("token", **option)


async def test_a_stalled_call_over_tls_can_be_cancelled(localhost: Certificate) -> None:
    gate = Gate()

    async def handler(request: Request) -> Reply:
        await gate()
        return await reply(request)

    async with serve(handler, localhost.server()) as server:
        async with ManagementClient("token", base_url=server.url) as client:
            async with anyio.create_task_group() as group:
                group.start_soon(client.connections.get, "con_1")
                await gate.arrived.wait()
                group.cancel_scope.cancel()
            gate.release()
            assert (await client.connections.get("con_1")).name == "n"
        await until(lambda: server.open_connections == 0)


class Sealed:
    """The server's side of TLS that can send several records at once, and bytes that are none."""

    def __init__(self, tls: ssl.SSLContext, *answers: tuple[bytes, ...]) -> None:
        self.tls = tls
        self.answers = list(answers)
        self.connections = 0

    async def __call__(self, raw: ByteStream) -> None:
        self.connections += 1
        try:
            async with await TLSStream.wrap(
                raw, server_side=True, ssl_context=self.tls, standard_compatible=False
            ) as stream:
                asked = b""
                while True:
                    asked += await stream.receive()
                    if asked.endswith(b"\r\n\r\n"):
                        asked, sealed = b"", b""
                        for record in self.answers.pop(0):
                            if record.startswith(b"HTTP/"):
                                stream._ssl_object.write(record)
                            sealed += stream._write_bio.read() or record
                        await raw.send(sealed)
        except (anyio.EndOfStream, anyio.BrokenResourceError, ssl.SSLError):
            pass


@asynccontextmanager
async def sealed(
    tls: ssl.SSLContext, *answers: tuple[bytes, ...], of: type[Sealed] = Sealed
) -> AsyncIterator[tuple[Sealed, str]]:
    listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
    server = of(tls, *answers)
    async with listener, anyio.create_task_group() as group:
        group.start_soon(listener.serve, server)
        try:
            yield server, f"https://127.0.0.1:{listener.extra(SocketAttribute.local_port)}"
        finally:
            group.cancel_scope.cancel()


GONE = b"HTTP/1.1 204 No Content\r\n\r\n"
GOOD = b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\ntrue"
EVIL = b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nfalse"


async def test_a_record_after_an_answer_is_no_answer_to_the_next_call(localhost: Certificate) -> None:
    async with (
        sealed(localhost.server(), (GOOD,), (GONE, EVIL), (GOOD,), (GONE + EVIL,), (GOOD,)) as (server, url),
        ManagementClient("token", base_url=url, retry=ONCE) as client,
    ):
        told = [(await client.request(method, "/v1/x")).body for method in ("POST", "DELETE", "POST", "DELETE", "POST")]
        assert told == [True, None, True, None, True]
        assert server.connections == 3


class Parting(Sealed):
    """Says goodbye after an answer, and leaves the socket open."""

    async def __call__(self, raw: ByteStream) -> None:
        self.connections += 1
        async with raw:
            stream = await TLSStream.wrap(raw, server_side=True, ssl_context=self.tls, standard_compatible=False)
            await stream.receive()
            stream._ssl_object.write(self.answers.pop(0)[0])
            with suppress(ssl.SSLWantReadError):
                stream._ssl_object.unwrap()
            await raw.send(stream._write_bio.read())
            with suppress(anyio.EndOfStream, anyio.BrokenResourceError):
                while True:
                    await raw.receive()


@pytest.mark.parametrize("length", [b"", b"content-length: 4\r\n"])
async def test_a_connection_that_said_goodbye_with_its_answer_is_not_used_again(
    localhost: Certificate, length: bytes
) -> None:
    told = b"HTTP/1.1 200 OK\r\n%b\r\ntrue" % length
    async with (
        sealed(localhost.server(), (told,), (told,), of=Parting) as (server, url),
        ManagementClient("token", base_url=url, retry=ONCE) as client,
    ):
        for _ in range(2):
            assert (await client.request("POST", "/v1/x")).body is True
        assert server.connections == 2


JUNK = b"\x17\x03\x03\x00\x20" + b"G" * 32
PLAIN = b"canary canary\r\n\r\n"
CUT = b"HTTP/1.1 200 OK\r\ncontent-length: 99\r\n\r\n{"


@pytest.mark.parametrize("answer", [(JUNK,), (PLAIN,), (CUT, JUNK), (CUT, PLAIN)])
async def test_records_that_are_none(localhost: Certificate, answer: tuple[bytes, ...], anyio_backend: str) -> None:
    told = CUT in answer and anyio_backend == "trio"  # asyncio drops what was in front of a broken record
    async with (
        sealed(localhost.server(), answer, answer, (GOOD,)) as (_, url),
        ManagementClient("token", base_url=url, retry=ONCE, max_connections=1) as client,
    ):
        log = client.builds.logs("bld_1")
        for call in (client.request("GET", "/v1/x"), log.__anext__()):
            with pytest.raises(NetworkError, match=r"\[SSL") as caught:
                await call
            assert caught.value.status == (200 if told else None)
            assert leaks(caught.value) == []
        assert (await client.request("POST", "/v1/x")).body is True


async def test_the_certificates_of_a_way_count_for_a_proxy_that_is_sealed_and_none_are_read_in_vain(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    mine, trusted = ssl.create_default_context(), await ssl_context()
    monkeypatch.setenv("HTTPS_PROXY", "https://user:canary@p.example:8443")
    proxy, context = await way_to("https://api.prisma.io")
    assert proxy is not None
    assert (proxy.ssl_context, context) == (trusted, trusted)
    assert "canary" not in repr(proxy)
    proxy, context = await way_to("https://api.prisma.io", mine)
    assert proxy is not None
    assert (proxy.ssl_context, context) == (mine, mine)
    monkeypatch.setenv("HTTPS_PROXY", "http://p.example:8080")
    proxy, context = await way_to("https://api.prisma.io", mine)
    assert proxy is not None
    assert (proxy.ssl_context, context) == (None, mine)
    monkeypatch.setenv("SSL_CERT_FILE", "/nowhere")
    proxy, context = await way_to("http://127.0.0.1:1")
    assert proxy is None
    assert context.get_ca_certs() == []
