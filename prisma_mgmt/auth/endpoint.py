"""The token endpoint (RFC 6749 §3.2): post a form, believe only a well-formed grant."""

import json
import ssl
from collections.abc import Mapping
from typing import Any, cast

import anyio
import httpx

from prisma_mgmt.auth.callback import clean
from prisma_mgmt.errors import AuthError, LoginRequiredError, NetworkError, RequestTimeoutError
from prisma_mgmt.masks import Secret

_LARGEST = 64 * 1024
_HEADERS = {"Accept": "application/json", "Accept-Encoding": "identity"}
_NO_PHASES = httpx.Timeout(None)  # the deadline is for the whole, not for each phase of it


class TokenEndpoint:
    """Posts grants to one URL, each over a connection of its own: there is one an hour, and nothing to leave open.

    timeout: seconds for a grant as a whole. A grant that may be asked for again after a lost answer gets two thirds
    of it for the first try, so that the second still falls into the ten seconds in which the server forgives it.
    """

    def __init__(self, url: str, *, timeout: float, transport: httpx.AsyncBaseTransport | None = None) -> None:
        self.url = url
        self._timeout = timeout
        self._transport = transport
        self._ssl: ssl.SSLContext | None = None

    async def post(self, form: Mapping[str, str], *, again: bool) -> dict[str, Any]:
        """The fields of the grant; with `again`, a lost answer is asked for once more.

        Raises NetworkError; LoginRequiredError for a refused refresh token; AuthError for anything else.
        """
        with anyio.move_on_after(self._timeout):
            if again:
                try:
                    with anyio.fail_after(self._timeout * 2 / 3):
                        return await self._once(form)
                except (TimeoutError, NetworkError):
                    pass  # the answer is lost, and the refresh token may be spent: ask for its successor at once
            return await self._once(form)
        raise RequestTimeoutError(f"no answer within {self._timeout} s", method="POST", url=self.url)

    async def metadata(self, url: str) -> dict[str, Any]:
        """What the server says of itself at `url` (RFC 8414); empty where it says nothing."""
        response = await self._in_time(httpx.Request("GET", url, headers=_HEADERS))
        return _fields(response) if response.status_code == 200 else {}

    async def revoke(self, url: str, form: Mapping[str, str]) -> None:
        """Post a token to be revoked (RFC 7009); AuthError where that is refused."""
        response = await self._in_time(httpx.Request("POST", url, data=dict(form), headers=_HEADERS))
        if response.status_code != 200:
            raise _refusal(response.status_code, _fields(response), response.headers["retry-after"], form)

    async def _in_time(self, request: httpx.Request) -> httpx.Response:
        with anyio.move_on_after(self._timeout):
            return await self._exchange(request)
        raise RequestTimeoutError(f"no answer within {self._timeout} s", method=request.method, url=str(request.url))

    async def _once(self, form: Mapping[str, str]) -> dict[str, Any]:
        request = httpx.Request("POST", self.url, data=dict(form), headers=_HEADERS)
        return _granted(await self._exchange(request), form)

    async def _exchange(self, request: httpx.Request) -> httpx.Response:
        method, url = request.method, str(request.url)
        try:
            return await self._send(request)
        except httpx.RemoteProtocolError:
            pass  # its text may quote the answer
        except (httpx.TransportError, httpx.DecodingError) as error:
            error.request = httpx.Request(method, url)  # in place of the one that holds the form
            unsent = isinstance(error, httpx.ConnectError)
            raise NetworkError(str(error), method=method, url=url, unsent=unsent) from error
        raise NetworkError("the answer was cut short, or is no HTTP", method=method, url=url)

    async def _send(self, request: httpx.Request) -> httpx.Response:
        if self._transport is not None:
            return await _read(await self._transport.handle_async_request(request))
        if self._ssl is None:
            self._ssl = httpx.create_ssl_context()
        async with httpx.AsyncClient(verify=self._ssl, timeout=_NO_PHASES, follow_redirects=False) as client:
            return await _read(await client.send(request, stream=True))


class _Body(bytearray):
    """The bytes of an answer, which hold tokens and so do not show themselves in a repr."""

    def __repr__(self) -> str:
        return f"<{len(self)} bytes>"


async def _read(response: httpx.Response) -> httpx.Response:
    """The response with its body read, up to the size that any grant has."""
    body = _Body()
    assert isinstance(response.stream, httpx.AsyncByteStream)
    try:
        async for chunk in response.stream:  # undecoded: httpx leaves its generators open where decoding fails
            if len(body) <= _LARGEST:  # what is too much is read and dropped, within the deadline
                body += chunk
            del chunk  # a traceback would show it
    finally:
        await response.aclose()
    headers = {name: response.headers.get(name, "") for name in ("content-encoding", "retry-after")}
    return httpx.Response(response.status_code, headers=headers, content=bytes(body[: _LARGEST + 1]))


def _granted(response: httpx.Response, form: Mapping[str, str]) -> dict[str, Any]:
    """The fields of a grant (RFC 6749 §5.1); anything else is an error that leaves the session as it is."""
    fields = _fields(response)
    if response.status_code != 200 or "error" in fields:
        raise _refusal(response.status_code, fields, response.headers["retry-after"], form)
    texts = {key: value for key, value in fields.items() if isinstance(value, str) and value}
    if "access_token" not in texts or texts.get("token_type", "").lower() != "bearer":
        raise AuthError("the login server's answer is no grant of a bearer token")
    # what is no text counts as left out: a refresh token is spent by now, and its successor must not be lost
    return {**texts, "expires_in": fields.get("expires_in")}


def _fields(response: httpx.Response) -> dict[str, Any]:
    """The answer's JSON object, its strings masked; empty for anything else."""
    try:
        found = json.loads(response.content, parse_int=_whole) if len(response.content) <= _LARGEST else None
    except (ValueError, RecursionError):
        found = None
    fields = cast("dict[str, Any]", found) if isinstance(found, dict) else {}
    return {key: _masked(value) for key, value in fields.items()}


def _whole(digits: str) -> int | None:
    return int(digits) if len(digits) < 20 else None  # Python refuses thousands of digits, and the answer with them


def _masked(value: object) -> object:
    """A field's value; one that is nested fits no field, and would show itself."""
    if isinstance(value, str):
        return Secret(value)
    return value if isinstance(value, int | float | None) else object()


def _refusal(status: int, fields: Mapping[str, Any], retry_after: str, form: Mapping[str, str]) -> AuthError:
    """The error that a refusal stands for; only `invalid_grant` for a refresh token asks for a new login."""
    error, description = fields.get("error"), fields.get("error_description")
    name = _without_secrets(error, form) if isinstance(error, str) else None
    refused = name == "invalid_grant" and 400 <= status < 500 and form.get("grant_type") == "refresh_token"
    kind = LoginRequiredError if refused else AuthError
    message = "the refresh token was refused: log in again" if refused else "the login server refused"
    return kind(
        f"{message} ({status} {name or 'without an error code'})",
        refresh_token_invalid=refused,
        error=name,
        error_description=_without_secrets(description, form) if isinstance(description, str) else None,
        retry_after=float(retry_after) if retry_after.isdecimal() and len(retry_after) < 10 else None,
    )


def _without_secrets(description: str, form: Mapping[str, str]) -> str:
    for value in form.values():
        if isinstance(value, Secret):
            description = description.replace(value, "…")
    return clean(description)
