"""How an error of httpx, of ssl or of a library below them becomes a NetworkError."""

import re

from prisma_mgmt.errors import NetworkError, PrismaError, RequestTimeoutError
from prisma_mgmt.masks import below

_LIBRARIES = ("h2.", "h11", "hpack.", "httpcore", "httptools")


def network_error(error: Exception, *, method: str, url: str, ours: bool = True) -> NetworkError | None:
    """What an error of sending or reading amounts to; None for one that is not the network's.

    `ours` says that nothing but our own connection ran. Then not all that is raised over what a server sends is an
    httpx error: ssl.SSLError after the handshake, h2's errors, a status that is no number. Over a transport of the
    user's only httpx's own errors count. The cause keeps the kind and the words of `error`, without frames or requests.
    """
    import httpx  # here: a program whose network has no faults may need nothing of it, and it takes long

    if not isinstance(error, httpx.RequestError):
        if not ours or isinstance(error, PrismaError | RuntimeError | MemoryError):
            return None
        # others quote what they stumble over
        quotable = isinstance(error, OSError) or type(error).__module__.startswith(_LIBRARIES)
        error = httpx.RemoteProtocolError(type(error).__name__ + (f": {error}" if quotable else ""))
    kind = RequestTimeoutError if isinstance(error, httpx.TimeoutException) else NetworkError
    message = f"{type(error).__name__}: {_told(error)}".removesuffix(": ")
    unsent = isinstance(error, httpx.ConnectError | httpx.ConnectTimeout | httpx.PoolTimeout | httpx.ProxyError)
    failed = kind(message, method=method, url=url, unsent=unsent)
    error.args = (_text(error),)
    error.request = httpx.Request(method, url)  # its own has the token
    error.__cause__ = error.__context__ = None
    failed.__cause__ = error.with_traceback(None)
    return failed


def _told(error: BaseException) -> str:
    """What an error says, with the words of those below it that say more: an errno and an address, if there are any."""
    said: list[str] = []
    for text in (_text(one) for one in below(error) if not isinstance(one, LookupError)):  # anyio's, of an empty queue
        if text and len(said) < 3 and not any(text in one for one in said):
            said.append(text)
    return ": ".join(said)


def _text(error: BaseException) -> str:
    """What an error says, without the bytes that h11 quotes: they may be a token or a part of an answer."""
    return re.sub(r"\W*\b(bytearray\()?b['\"].*| \(\d+ sub-exceptions?\)$", "", str(error), flags=re.DOTALL)


def unquote(error: BaseException) -> None:
    """Take the same out of an error and of those below it, before whoever raises it writes them into a log."""
    for one in below(error):
        if (text := _text(one)) != str(one):
            one.args = (text,)
