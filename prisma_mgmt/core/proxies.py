"""Which proxy the environment names for a URL, read as httpx reads it."""

from ipaddress import ip_address
from urllib.request import getproxies

import httpx


def proxy_for(url: httpx.URL) -> httpx.Proxy | None:
    """The proxy of HTTP_PROXY, HTTPS_PROXY or ALL_PROXY, unless NO_PROXY spares the host."""
    found = getproxies()
    scheme = url.scheme if found.get(url.scheme) else "all"
    if not found.get(scheme) or any(_spares(name.strip(), url) for name in found.get("no", "").split(",")):
        return None
    return httpx.Proxy(found[scheme] if "://" in found[scheme] else f"http://{found[scheme]}")


def _spares(name: str, url: httpx.URL) -> bool:
    """Whether an entry of NO_PROXY covers `url`: `*`, an address, a domain with what is under it, or a URL pattern."""
    if name in ("", "*"):
        return name == "*"
    pattern = httpx.URL(name if "://" in name else f"all://{_host(name)}")
    if pattern.scheme not in ("all", url.scheme) or pattern.port not in (None, url.port):
        return False
    domain = pattern.host.removeprefix("*")
    if domain == pattern.host:
        return domain in ("", url.host)
    return url.host.endswith(domain if domain[:1] in ("", ".") else f".{domain}") or url.host == domain


def _host(name: str) -> str:
    try:
        address = ip_address(name.split("/")[0])
    except ValueError:
        return name if name.lower() == "localhost" else f"*{name}"
    return name if address.version == 4 else f"[{name}]"
