"""The login server: authorization code with PKCE, refresh with rotation, discovery (RFC 6749, 7636, 8414, 9207)."""

import json
import re
from collections.abc import Mapping
from urllib.parse import parse_qsl, urlencode, urlsplit

from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response

from prisma_mgmt.sandbox import pages
from prisma_mgmt.sandbox.state import Thing
from prisma_mgmt.sandbox.tokens import Client, Tokens
from prisma_mgmt.sandbox.wire import FORM, NO_STORE, OAuthError, Refuse, Route, Site, media_type, need, read_body

DISCOVERY = "/.well-known/oauth-authorization-server"


class LoginServer(Site):
    """What is served under `/auth`."""

    refuse: Refuse = OAuthError

    def __init__(self, tokens: Tokens, clients: dict[str, Client], *, auto_approve: bool, revocation: bool) -> None:
        self._world, self._tokens, self._clients = tokens.world, tokens, clients
        self._auto_approve, self._revocation = auto_approve, revocation
        routes = [
            Route("GET", "/authorize", self._authorize),
            Route("POST", "/authorize", self._authorize),
            Route("POST", "/token", self._token),
            Route("GET", DISCOVERY, self._discovery),
            Route("GET", DISCOVERY + "/auth", self._discovery),  # where RFC 8414 looks for an issuer with a path
        ]
        super().__init__([*routes, *([Route("POST", "/revoke", self._revoke)] if revocation else [])])

    def register(self, client_id: str, redirect_uri: str) -> None:
        """Let a client send its users to one more address."""
        client = self._clients[client_id]
        client.redirect_uris = list(dict.fromkeys([*client.redirect_uris, redirect_uri]))

    def approve(self, login_url: str, user_name: str | None) -> str:
        """The callback URL that a user gets who says yes at a login URL, without a browser."""
        with self._world:
            asked, names = _unique(urlsplit(login_url).query), [one.name for one in self._world.every("users")]
            if user_name not in {None, *names}:
                raise ValueError(f"the sandbox has no user {user_name!r}; there are {', '.join(names)}")
            asked["login_hint"] = user_name or names[0]
            return self._decide(self._clients[asked["client_id"]], asked, {"decision": "approve"}).headers["location"]

    def accounts(self) -> dict[str, tuple[Thing, Thing]]:
        """Every user with every workspace that is theirs, as forms name them."""
        workspaces = self._world.every("workspaces")
        return {f"{it.hidden['owner'].id} {it.id}": (it.hidden["owner"], it) for it in workspaces}

    async def _discovery(self, _request: Request) -> Response:
        document = json.loads(pages.filled("discovery.json", issuer=self._tokens.issuer))
        if not self._revocation:
            del document["revocation_endpoint"]
        return JSONResponse(document)

    async def _authorize(self, request: Request) -> Response:
        try:
            asked = _unique(request.url.query)
            decision = await _read_form(request) if request.method == "POST" else {}
        except OAuthError as error:
            return pages.refused(str(error))
        with self._world:
            self._world.counts["authorize"] += request.method == "GET"
            client = self._clients.get(asked.get("client_id", ""))
            if client is None:
                return pages.refused("client_id is missing or not registered.")
            if _any_port(asked.get("redirect_uri", "")) not in map(_any_port, client.redirect_uris):
                return pages.refused("redirect_uri is missing or not registered for this app.", client.redirect_uris)
            try:
                return self._decide(client, asked, decision)
            except OAuthError as error:
                return pages.sent_back(self._callback(asked, error.body), denied=error.body["error"] == "access_denied")

    def _decide(self, client: Client, asked: Mapping[str, str], decision: Mapping[str, str]) -> Response:
        scope, accounts, hint = _check_request(client, asked), self.accounts(), asked.get("login_hint")
        hinted = (key for key, (user, _) in accounts.items() if hint in {user.name, user.values["email"], user.id})
        chosen = next(hinted, next(iter(accounts), ""))
        if not (decision or self._auto_approve):
            shown = [(key, user.name, f"{it.name} ({user.values['email']})") for key, (user, it) in accounts.items()]
            return pages.consent(client.name, scope, shown, chosen)
        denial = OAuthError(400, "The user said no.", "access_denied")
        need(not decision or decision.get("decision") == "approve", denial)
        user, workspace = need(accounts.get(decision.get("account", chosen)), denial)
        code = self._tokens.issue_code(client, workspace, user, scope, asked)
        return RedirectResponse(self._callback(asked, {"code": code}), 303, pages.HEADERS)

    def _callback(self, asked: Mapping[str, str], answer: Mapping[str, str]) -> str:
        state = {"state": asked["state"]} if "state" in asked else {}
        uri, query = asked["redirect_uri"], urlencode({**answer, **state, "iss": self._tokens.issuer})
        return f"{uri}{'&' if '?' in uri else '?'}{query}"

    async def _token(self, request: Request) -> Response:
        form, counts = await _read_form(request), self._world.counts
        with self._world:
            client, grant_type = self._authenticate(request, form), _required(form, "grant_type")
            if grant_type == "authorization_code":
                code, redirect_uri = _required(form, "code"), _required(form, "redirect_uri")
                answer = self._tokens.redeem(client, code, redirect_uri, form.get("code_verifier"))
                counts["exchange"] += 1
            elif grant_type == "refresh_token":
                refresh_token = _required(form, "refresh_token")
                try:
                    answer = self._tokens.refresh(client, refresh_token)
                except OAuthError:
                    counts["refresh_refused"] += 1
                    raise
                counts["refresh"] += 1
            else:
                raise OAuthError(400, f"grant_type {grant_type!a} is not supported.", "unsupported_grant_type")
        return JSONResponse(answer, headers=NO_STORE)

    async def _revoke(self, request: Request) -> Response:
        form = await _read_form(request)
        with self._world:
            self._tokens.revoke(self._authenticate(request, form), _required(form, "token"))
        return Response(headers=NO_STORE)

    def _authenticate(self, request: Request, form: Mapping[str, str]) -> Client:
        told = "Send client_id and client_secret in the form; the Authorization header is not looked at here."
        need("authorization" not in request.headers, OAuthError(401, told))
        wrong = OAuthError(401, "client_id or client_secret is missing or wrong.")
        client = need(self._clients.get(form.get("client_id", "")), wrong)
        need(form.get("client_secret", "") == (client.secret or ""), wrong)
        return client


def _check_request(client: Client, asked: Mapping[str, str]) -> str:
    """Check what a known client asks for; the answer is the scope."""
    if asked.get("response_type") != "code":
        raise OAuthError(400, "response_type must be code.", "unsupported_response_type")
    challenge, method = asked.get("code_challenge"), asked.get("code_challenge_method")
    need(challenge or client.secret, OAuthError(400, "code_challenge is required (PKCE)."))
    if challenge is not None:
        need(re.fullmatch("[A-Za-z0-9_-]{43}", challenge), OAuthError(400, "code_challenge is not an S256 challenge."))
        need(method == "S256", OAuthError(400, "code_challenge_method must be S256."))
    scope = asked.get("scope", "").split() or ["workspace:admin"]
    if not set(scope) <= set(pages.SCOPES):
        raise OAuthError(400, f"The scopes are {' and '.join(pages.SCOPES)}.", "invalid_scope")
    return " ".join(scope)


def _any_port(uri: str) -> str:
    """Take the port off a loopback address: there a native app may listen on any (RFC 8252)."""
    return re.sub(r"\A(http://(?:127\.0\.0\.1|\[::1\]|localhost)):[0-9]+(?=[/?]|\Z)", r"\1", uri)


async def _read_form(request: Request) -> dict[str, str]:
    if media_type(request.headers) != FORM:
        raise OAuthError(400, f"The body must be {FORM}.")
    return _unique((await read_body(request, OAuthError)).decode(errors="replace"))


def _unique(text: str) -> dict[str, str]:
    """Parse parameters; empty ones count as left out, and none may come twice (RFC 6749, section 3.1)."""
    try:
        pairs = parse_qsl(text, max_num_fields=100)
    except ValueError:
        raise OAuthError(400, "There are too many parameters.") from None
    need(len(dict(pairs)) == len(pairs), OAuthError(400, "A parameter came more than once."))
    return dict(pairs)


def _required(form: Mapping[str, str], key: str) -> str:
    return need(form.get(key), OAuthError(400, f"{key} is required."))
