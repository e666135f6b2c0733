"""Reads what the environment says of the network, for the client and the login alike: proxies, certificates, URLs.

An entry that means nothing is skipped. What cannot be used is a NetworkError that names the variable. What takes long
to import is imported where it is used: a program may need nothing of it.
"""

import os
import ssl
from contextlib import suppress
from ipaddress import ip_network
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from anyio import CapacityLimiter, to_thread
from anyio.lowlevel import RunVar

from prisma_mgmt.checks import address_of
from prisma_mgmt.errors import NetworkError

if TYPE_CHECKING:
    import httpx

SERVICE_TOKEN = "PRISMA_SERVICE_TOKEN"  # noqa: S105  # its name, not a token
API_URL = "PRISMA_MANAGEMENT_API_URL"

_contexts: dict[tuple[str, str], ssl.SSLContext] = {}
# One thread in each event loop. anyio's own may all be taken by callers in threads who wait for this.
_reader: RunVar[CapacityLimiter] = RunVar("prisma_mgmt.environment")


def variable(name: str) -> str | None:
    """A variable's value without the white space around it, None if it is not set; "" if it is set but blank."""
    return os.environ[name].strip() if name in os.environ else None


def proxy_for(url: str) -> str | None:
    """The URL of the proxy that HTTP_PROXY, HTTPS_PROXY or ALL_PROXY name for `url`, unless NO_PROXY spares its host.

    Raises NetworkError, naming the variable, for a proxy that cannot be used.
    """
    from urllib.request import getproxies

    target, found = urlsplit(url), getproxies()
    host = (target.hostname or "").removesuffix(".")
    for kind in (target.scheme, "all"):
        if proxy := found.get(kind, "").strip():
            entries = found.get("no", "").replace(",", " ").split()
            spared = any(_spares(entry, target.scheme, host, target.port) for entry in entries)
            return None if spared else _checked_proxy(proxy, kind)
    return None


def _checked_proxy(proxy: str, kind: str) -> str:
    from importlib.util import find_spec

    import httpx

    name = next((one for one in (f"{kind}_proxy", f"{kind}_PROXY".upper()) if one in os.environ), f"the {kind} proxy")
    proxy = proxy if "://" in proxy else f"http://{proxy}"
    try:
        parts = urlsplit(proxy)
        scheme, known = parts.scheme.lower(), bool(parts.hostname) and parts.port != 0
        httpx.Proxy(proxy)
    except (ValueError, httpx.InvalidURL):
        scheme, known = "", False
    if scheme not in ("http", "https", "socks5", "socks5h") or not known:  # its text may hold a password
        raise NetworkError(f"{name} is not a proxy that can be used: it must look like http://host:port", unsent=True)
    if scheme.startswith("socks") and find_spec("socksio") is None:
        raise NetworkError(f"{name} names a SOCKS proxy: install httpx[socks] for it", unsent=True)
    return proxy


def _spares(entry: str, scheme: str, host: str, port: int | None) -> bool:
    """If an entry of NO_PROXY covers a host: `*`, an address, a network, a domain with what is under it, or a URL."""
    wanted, mark, rest = entry.rpartition("://")
    if wanted not in ("", "all", scheme):
        return False
    if rest == "*" or (mark and not rest):
        return True
    address = address_of(host)
    if address is not None and "]:" not in rest:  # which is an address with a port
        with suppress(ValueError):  # for what is no network and no address
            return address in ip_network(rest.replace("[", "").replace("]", ""), strict=False)
    try:
        parts = urlsplit(f"//{rest.removeprefix('*')}")
        name, only = parts.hostname or "", parts.port
        bare = name.removeprefix(".").removesuffix(".").encode("idna").decode().lower()
    except ValueError:  # neither a host nor a port: it spares nothing
        return False
    if not bare or only not in (None, port or {"http": 80, "https": 443}.get(scheme)):
        return False
    if address is not None:
        return address_of(bare) == address
    return host.endswith(f".{bare}") or (host == bare and not name.startswith("."))


async def way_to(url: str, trusted: ssl.SSLContext | None = None) -> "tuple[httpx.Proxy | None, ssl.SSLContext]":
    """The proxy on the way to `url`, if there is one, and the certificates: those `trusted`, else the environment's.

    If nothing on the way is sealed, none are read, and nobody is trusted: httpx wants a context for plain http too.
    Raises NetworkError, naming the variable.
    """
    address = proxy_for(url)
    sealed_proxy = address is not None and address.lower().startswith("https:")
    if not (sealed_proxy or url.lower().startswith("https:")):
        trusted = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    trusted = trusted or await ssl_context()
    if address is None:
        return None, trusted
    import httpx

    return httpx.Proxy(address, ssl_context=trusted if sealed_proxy else None), trusted


async def ssl_context() -> ssl.SSLContext:
    """The trusted certificates: of SSL_CERT_FILE or SSL_CERT_DIR, else certifi's.

    They are read in a worker thread, once a process. Raises NetworkError, naming the variable, if they cannot be read.
    """
    named = os.environ.get("SSL_CERT_FILE", "").strip(), os.environ.get("SSL_CERT_DIR", "").strip()
    if named not in _contexts:
        _reader.set(reader := _reader.get(CapacityLimiter(1)))
        await to_thread.run_sync(_read, named, limiter=reader)
    return _contexts[named]


def _read(named: tuple[str, str]) -> None:
    _contexts[named] = _contexts.get(named) or _fresh(*named)


def _fresh(file: str, folders: str) -> ssl.SSLContext:
    import certifi

    problem, log = f"SSL_CERT_DIR names no folder that is there: {folders!r}", os.environ.get("SSLKEYLOGFILE")
    try:
        if folders and not any(Path(one).is_dir() for one in folders.split(os.pathsep)):
            raise NotADirectoryError
        problem = f"SSLKEYLOGFILE names no file that can be written: {log!r}"
        if log:
            Path(log).open("a").close()  # as Python does for every context
        problem = f"SSL_CERT_FILE names no file of certificates: {file!r}" if file else "there are no certificates"
        return ssl.create_default_context(cafile=file or (None if folders else certifi.where()), capath=folders or None)
    except OSError as error:  # an ssl.SSLError is one
        raise NetworkError(problem, unsent=True) from error.with_traceback(None)
