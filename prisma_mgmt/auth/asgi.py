"""LoginApp: login, callback and logout, with the pages they show, as a plain ASGI app that any framework can mount."""

import logging
import re
from collections.abc import Awaitable, Callable, Mapping, MutableMapping, Sequence
from typing import Any, cast
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

from attrs import field, frozen

from prisma_mgmt.auth.arguments import called, checked_functions, checked_text
from prisma_mgmt.auth.cookies import Cookie, cookie, header, is_secure, sent
from prisma_mgmt.auth.httpx_auth import origin_of
from prisma_mgmt.auth.manager import SessionManager
from prisma_mgmt.auth.oauth import DEFAULT_SCOPE, OAuthClient
from prisma_mgmt.auth.pages import HEADERS, page
from prisma_mgmt.auth.pkce import LoginRequest, new_secret
from prisma_mgmt.auth.sealing import Box, LoginSealer, masked_keys
from prisma_mgmt.auth.session import OAuthSession
from prisma_mgmt.auth.work import Work
from prisma_mgmt.checks import TOKEN, checked_kind, checked_seconds
from prisma_mgmt.errors import AuthError, CallbackError, NetworkError, PrismaError
from prisma_mgmt.masks import Secret, bare

logger: logging.Logger = logging.getLogger(__name__)

_LOOPBACK = ("localhost", "127.0.0.1", "[::1]")

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]


@frozen
class _Request:
    """What this app looks at in a request."""

    method: str  # empty for a WebSocket
    route: str  # the last segment of the path, as frameworks disagree on what comes before it
    query: Secret
    headers: dict[str, str] = field(repr=False)
    cookies: dict[str, str] = field(repr=False)

    @classmethod
    def of(cls, scope: Scope) -> "_Request":
        headers: dict[str, str] = {}
        for raw, value in scope["headers"]:
            name, text = raw.decode("latin-1").lower(), value.decode("latin-1")
            headers[name] = f"{headers[name]}; {text}" if name in headers else text  # HTTP/2 may cut a Cookie in pieces
        route = scope["path"].rstrip("/").rpartition("/")[2]
        query = Secret(scope.get("query_string", b"").decode("latin-1"))
        return cls(scope.get("method", ""), route, query, headers, sent(headers.get("cookie", "")))


@frozen
class _Answer:
    """A page, or a redirect to `to`, with the cookies to set."""

    status: int
    body: bytes = b""
    to: str | None = None
    cookies: list[Cookie] = field(factory=list[Cookie], repr=False)
    headers: dict[str, str] = field(factory=dict[str, str])


class LoginApp:
    """Login for a web application: GET /login, GET /callback and POST /logout, wherever the app is mounted.

    Each login gets a session id of its own, random, in a sealed cookie; `session(request)` gives the OAuthSession that
    belongs to it. Send the user to `login?next=/where/to/go/on`, and log them out with a form that posts to `logout`.

    oauth: its `redirect_uri` is where the browser finds this app's /callback.
    sessions: its keys are the session ids.
    keys: as those of TokenCipher: the first seals, all open.
    scope: the scopes to ask for, by default `workspace:admin offline_access`.
    extra_params: further parameters of the login URL, such as {"prompt": "consent"}.
    after_login, after_logout: the path or URL to which the browser goes then; the `next` of a login wins.
    cookie: the name of the session's cookie; one that begins with `__Host-` cannot be set by other hosts of a domain.
    max_age: seconds for which a login lasts in the browser.
    on_login: called with the new session, before the browser is told; a function or a coroutine function. If it raises,
        the user is logged out again, and a PrismaError is treated as any failed login.
    on_error: called with the error of a failed login; it may return a path or a URL to send the browser to. Without one
        the app shows a page of its own, and logs the error.
    """

    def __init__(
        self,
        oauth: OAuthClient,
        sessions: SessionManager[str],
        keys: Sequence[bytes | str],
        *,
        scope: str | Sequence[str] = DEFAULT_SCOPE,
        extra_params: Mapping[str, str] | None = None,
        after_login: str = "/",
        after_logout: str = "/",
        cookie: str = "prisma_session",
        max_age: float = 30 * 24 * 3600.0,
        on_login: Callable[[OAuthSession], object] | None = None,
        on_error: Callable[[PrismaError], object] | None = None,
    ) -> None:
        keys = masked_keys(keys)
        checked_kind(oauth, OAuthClient, "oauth", "an OAuthClient")
        checked_kind(sessions, SessionManager, "sessions", "a SessionManager")
        for name, text in (("after_login", after_login), ("after_logout", after_logout), ("cookie", cookie)):
            if not checked_text(text, name):
                raise ValueError(f"{name} must not be empty")
        checked_functions(on_login=on_login, on_error=on_error)
        if not TOKEN.fullmatch(cookie):
            raise ValueError(f"cookie must be the name of a cookie, not {cookie!r}")
        self._base = _base_of(oauth.redirect_uri)
        self._origin = origin_of(self._base)
        self._asked: dict[str, Any] = {"scope": scope, "extra_params": extra_params}
        oauth.login_url(**self._asked)  # or the first visitor would find out what is wrong with it
        self._oauth, self._sessions = oauth, sessions
        self._after_login, self._after_logout = after_login, after_logout
        self._on_login, self._on_error = on_login, on_error
        self._name, self._max_age = cookie, int(checked_seconds(max_age, "max_age", least=1))
        self._secure = is_secure(oauth.redirect_uri) or cookie.startswith(("__Host-", "__Secure-"))
        self._aliases = _aliases(urlsplit(self._origin).netloc)
        self._sealer = LoginSealer(keys, client_id=oauth.client_id, now=oauth.now)
        self._box, self._purpose = Box(keys), f"prisma-mgmt session {oauth.client_id}"

    def session(self, request: object) -> OAuthSession | None:
        """The session of the browser that sent `request`; None if nobody has logged in with it.

        `request` is one of Starlette, FastAPI, Litestar or Django, an ASGI scope, or a mapping of cookies.
        """
        with bare:  # what `storage_for` raises leaves without the cookie
            found = _cookies_of(request).get(self._name)
            text = getattr(found, "value", found)  # of a Morsel, as http.cookies has them
            try:
                session_id, begun = self._box.open_json(text if isinstance(text, str) else "", self._purpose)
            except ValueError:  # nobody's, or of a key that is gone
                return None
            return self._sessions[str(session_id)] if self._oauth.now() - begun < self._max_age else None

    # Routes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002  # the signature of ASGI
        if scope["type"] != "http":  # as the ASGI specification asks for what an application does not understand
            raise ValueError(f"a LoginApp answers http only, not {scope['type']}")
        with bare:  # what a hook of the application raises leaves without the request
            await _send(send, await self._answer(_Request.of(scope)))

    async def _answer(self, request: _Request) -> _Answer:
        match request.route, request.method:
            case "login", "GET":
                return self._login(request)
            case "callback", "GET":
                return await self._callback(request)
            case "logout", "POST":
                return await self._logout(request)
            case "logout", _:
                asking = page("Log out?", "Your login here will be forgotten.", button="Log out")
                return _Answer(405, asking, headers={"Allow": "POST"})
            case "login" | "callback", _:
                return _Answer(405, page("Not like this", "Follow a link to this page."), headers={"Allow": "GET"})
            case _:
                return _Answer(404, page("Nothing here", "There is no page at this address."))

    def _login(self, request: _Request) -> _Answer:
        """Send the browser to the login server, with at most three logins pending in it.

        One that knows this machine by another name goes there under the name that the login comes back to.
        """
        asked = dict(parse_qsl(request.query, errors="replace"))
        if request.headers.get("host") in self._aliases and "moved" not in asked:  # a proxy may say the same each time
            return _Answer(303, to=self._login_at(next=asked.get("next"), moved="1"))
        login = self._oauth.login_url(**self._asked)
        gone = [self._expired(name) for name in self._sealer.surplus(request.cookies)]
        return _Answer(303, to=login.url, cookies=[*gone, self._sealer.cookie(login, asked.get("next"))])

    async def _callback(self, request: _Request) -> _Answer:
        """Exchange the code, and give the browser a session of its own."""
        url = Secret(f"/callback?{request.query}")
        login: LoginRequest | None = None
        try:
            with bare:
                login = self._sealer.open_for(request.cookies, url)
                session_id = str(new_secret())  # a plain one, since drivers of databases refuse any other
                await self._begin(self._sessions[session_id], url, login)
        except PrismaError as error:
            return await self._failed(error, request, login)
        await self._forget(self.session(request.cookies))  # no browser has its cookie any more
        value = self._box.seal_json([session_id, self._oauth.now()], self._purpose)
        mine = cookie(self._name, value, self._max_age, secure=self._secure)
        return _Answer(303, to=login.return_to or self._after_login, cookies=[self._ended(login), mine])

    async def _begin(self, session: OAuthSession, url: str, login: LoginRequest) -> None:
        """Log in, and tell the application; a login that fails halfway leaves no tokens behind."""
        exchanged = False
        try:
            await session.handle_callback(url, login)
            exchanged = True
            await called(self._on_login, session)
        except BaseException as error:
            if exchanged or not isinstance(error, CallbackError):
                await Work(self, lambda: self._undo(session)).wait()  # though the request was cancelled
            raise

    async def _undo(self, session: OAuthSession) -> None:
        """Forget a login, which goes on after whoever waited for it was cancelled."""
        await session.drain()
        await self._forget(session)

    async def _logout(self, request: _Request) -> _Answer:
        site, origin = request.headers.get("sec-fetch-site"), request.headers.get("origin", self._origin)
        if not (origin == self._origin if site is None else site == "same-origin"):  # as far as the browser tells
            return _Answer(403, page("Not from here", "Another site asked to log you out. You are still logged in."))
        await self._forget(self.session(request.cookies))
        return _Answer(303, to=self._after_logout, cookies=[self._expired(self._name)])

    async def _forget(self, session: OAuthSession | None) -> None:
        """End a session, if there is one."""
        try:
            if session is not None:
                await session.logout()
        except (AuthError, NetworkError) as error:  # the browser is logged out all the same
            logger.error("the tokens of a login could not be cleared (%s)", type(error.__cause__ or error).__name__)  # noqa: TRY400  # a traceback shows frames that hold tokens

    # What is shown

    async def _failed(self, error: PrismaError, request: _Request, login: LoginRequest | None) -> _Answer:
        unsent = isinstance(error, NetworkError) and error.unsent  # so that the callback is as good as before
        cookies = [] if login is None or unsent else [self._ended(login)]
        to = await called(self._on_error, error)
        if isinstance(to, str) and to:
            return _Answer(303, to=to, cookies=cookies)
        return_to = login.return_to if login else None
        over = login is None or (isinstance(error, AuthError) and error.error == "invalid_grant")
        if over and await self._is_logged_in(request):  # another process may have finished it just now
            links = {"Go on": return_to or self._after_login, "Log in again": self._login_at(next=return_to)}
            text = "This login is over: it was finished before, or it has expired. You are still logged in."
            return _Answer(400, page("You are logged in already", text, links), cookies=cookies)
        status, title, text = _words(error, over, urlsplit(self._base).netloc)
        logger.log(logging.ERROR if status >= 500 else logging.INFO, "a login failed: %s", error)
        return _Answer(status, page(title, text, {"Log in": self._login_at(next=return_to)}), cookies=cookies)

    def _login_at(self, **query: str | None) -> str:
        """Where browsers find the login, under the name that it comes back to."""
        text = urlencode({key: value for key, value in query.items() if value}, safe="/")
        return f"{self._base}/login?{text}".removesuffix("?")

    async def _is_logged_in(self, request: _Request) -> bool:
        session = self.session(request.cookies)
        try:
            return session is not None and await session.tokens() is not None
        except (AuthError, NetworkError):  # of the storage: nobody knows
            return False

    def _ended(self, login: LoginRequest) -> Cookie:
        """What deletes the cookie of a login that is over."""
        return self._expired(self._sealer.cookie_name(login))

    def _expired(self, name: str) -> Cookie:
        return cookie(name, "", 0, secure=self._secure)


def _aliases(host: str) -> list[str]:
    """What a Host header may hold if `host` is this machine and a browser knows it by another name.

    A cookie that is set under one name is not sent to another.
    """
    parts = re.fullmatch(r"(localhost|127\.0\.0\.1|\[::1\])(:\d+)?", host)
    return [one + (parts[2] or "") for one in _LOOPBACK if one != parts[1]] if parts else []


def _words(error: PrismaError, over: bool, host: str) -> tuple[int, str, str]:
    """The status, the heading and the sentence of a failed login; nothing that the login server said."""
    if over:
        text = f"It expired, was finished before, or began in another browser or under another name than {host}."
        return 400, "This login is over", text
    if isinstance(error, NetworkError):
        return 502, "The login server did not answer", "Try again in a moment."
    if isinstance(error, AuthError) and error.error == "access_denied":
        return 403, "You said no", "The application got no access. You can log in whenever you like."
    return 502, "This login did not work", "The login server, or the application, could not finish it. Try again."


def _base_of(redirect_uri: str) -> str:
    """Where browsers find this app; ValueError if no login can come back to it."""
    base, _, route = redirect_uri.rstrip("/").rpartition("/")
    here = urlsplit(base)
    if route != "callback" or not here.netloc:
        raise ValueError(f"redirect_uri must end in /callback, where this app answers, not {redirect_uri}")
    if here.scheme == "http" and is_secure(base) and not (here.hostname or "").endswith(".localhost"):
        raise ValueError("redirect_uri must be https, or http to this machine: no browser keeps a login otherwise")
    return base


def _cookies_of(request: object) -> Mapping[str, object]:
    found: object = getattr(request, "cookies", getattr(request, "COOKIES", request))
    if not isinstance(found, Mapping):
        raise TypeError(f"session() takes a request, or a mapping of cookies, not {type(request).__name__}")
    cookies = cast("Mapping[str, object]", found)
    if found is request and isinstance(cookies.get("asgi"), Mapping):
        return _Request.of(cast("Scope", found)).cookies
    return cookies


async def _send(send: Send, answer: _Answer) -> None:
    headers = {**HEADERS, "Content-Length": str(len(answer.body)), **answer.headers}
    headers |= {"Location": quote(answer.to, safe="!#$%&'()*+,/:;=?@[]~")} if answer.to else {}
    pairs = [*headers.items(), *(("Set-Cookie", header(one)) for one in answer.cookies)]
    raw = [(name.lower().encode(), value.encode("latin-1")) for name, value in pairs]
    await send({"type": "http.response.start", "status": answer.status, "headers": raw})
    await send({"type": "http.response.body", "body": answer.body})
