"""The login server: authorization code with PKCE, refresh with rotation, discovery (RFC 6749, 7636, 8414, 9207)."""

import hmac
import html
import re
from collections.abc import Mapping
from string import Template
from urllib.parse import parse_qsl, urlencode

from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from prisma_mgmt.sandbox.state import World
from prisma_mgmt.sandbox.tokens import Client, Grant, InvalidGrantError, Tokens
from prisma_mgmt.sandbox.wire import ApiError, read_body

SCOPES = ("workspace:admin", "offline_access")
NO_STORE = {"Cache-Control": "no-store", "Pragma": "no-cache"}

PAGE = Template("""<!doctype html>
<html lang="en"><meta charset="utf-8"><title>$title</title>
<style>
body { font: 16px/1.5 system-ui, sans-serif; max-width: 26rem; margin: 15vh auto; padding: 0 1rem; color: #1a202c }
button, select { font: inherit; padding: .4rem 1rem } dt { color: #718096 } dd { margin: 0 0 .8rem }
</style>
<h1>$title</h1>
$content
</html>
""")
CONSENT = Template("""<dl><dt>App</dt><dd>$client</dd><dt>Access</dt><dd>$scope</dd></dl>
<form method="post">
<p><label>Workspace <select name="workspace_id">$workspaces</select></label></p>
<button name="decision" value="approve">Approve</button> <button name="decision" value="deny">Deny</button>
</form>""")


class OAuthError(ApiError):
    """A refusal in OAuth's own words."""

    def __init__(self, error: str, description: str, status: int = 400) -> None:
        super().__init__(status, description)
        self.error = error

    def response(self) -> Response:
        return JSONResponse({"error": self.error, "error_description": self.message}, self.status, NO_STORE)


class LoginServer:
    """The routes under `/auth`."""

    def __init__(
        self, world: World, tokens: Tokens, clients: list[Client], auto_approve: bool, revocation: bool
    ) -> None:
        self._world = world
        self._tokens = tokens
        self._clients = {client.id: client for client in clients}
        self._auto_approve = auto_approve
        self._revocation = revocation

    def routes(self) -> list[Route]:
        routes = [
            Route("/auth/authorize", self._authorize, methods=["GET", "POST"]),
            Route("/auth/token", self._token, methods=["POST"]),
            Route("/auth/.well-known/oauth-authorization-server", self._discovery),
            Route("/.well-known/oauth-authorization-server/auth", self._discovery),
        ]
        if self._revocation:
            routes.append(Route("/auth/revoke", self._revoke, methods=["POST"]))
        return routes

    async def _discovery(self, _request: Request) -> Response:
        issuer = self._tokens.issuer
        document: dict[str, object] = {
            "issuer": issuer,
            "authorization_endpoint": f"{issuer}/authorize",
            "token_endpoint": f"{issuer}/token",
            "response_types_supported": ["code"],
            "grant_types_supported": ["authorization_code", "refresh_token"],
            "code_challenge_methods_supported": ["S256"],
            "token_endpoint_auth_methods_supported": ["none", "client_secret_post"],
            "scopes_supported": list(SCOPES),
            "authorization_response_iss_parameter_supported": True,
        }
        if self._revocation:
            document["revocation_endpoint"] = f"{issuer}/revoke"
        return JSONResponse(document)

    async def _authorize(self, request: Request) -> Response:
        decision = await _read_form(request) if request.method == "POST" else {}
        with self._world.lock:
            self._world.counts["authorize"] += request.method == "GET"
            try:
                asked = _unique(request.url.query)
            except OAuthError as error:
                return _error_page(error.message)
            client = self._clients.get(asked.get("client_id", ""))
            if client is None:
                return _error_page("client_id is missing or not registered.")
            if _any_port(asked.get("redirect_uri", "")) not in map(_any_port, client.redirect_uris):
                return _error_page("redirect_uri is missing or not registered for this app.")
            try:
                return self._decide(client, asked, decision)
            except OAuthError as error:
                refusal = {"error": error.error, "error_description": error.message}
                return self._redirect(asked, refusal)

    def _decide(self, client: Client, asked: Mapping[str, str], decision: Mapping[str, str]) -> Response:
        scope = _check_request(client, asked)
        if self._auto_approve:
            decision = {"decision": "approve"}
        if not decision:
            return self._consent_page(client, scope)
        workspace_id = decision.get("workspace_id", next(iter(self._world.workspaces)))
        if decision.get("decision") != "approve" or workspace_id not in self._world.workspaces:
            raise OAuthError("access_denied", "The user said no.")
        grant = Grant(client, workspace_id, scope)
        code = self._tokens.issue_code(grant, asked["redirect_uri"], asked.get("code_challenge"))
        return self._redirect(asked, {"code": code})

    def _redirect(self, asked: Mapping[str, str], answer: dict[str, str]) -> Response:
        if "state" in asked:
            answer["state"] = asked["state"]
        answer["iss"] = self._tokens.issuer
        uri = asked["redirect_uri"]
        return RedirectResponse(f"{uri}{'&' if '?' in uri else '?'}{urlencode(answer)}", 303, NO_STORE)

    def _consent_page(self, client: Client, scope: str) -> Response:
        workspaces = "".join(
            f'<option value="{html.escape(one.id)}">{html.escape(one.name)}</option>'
            for one in self._world.workspaces.values()
        )
        name, scope = html.escape(client.name), html.escape(scope)
        content = CONSENT.substitute(client=name, scope=scope, workspaces=workspaces)
        return HTMLResponse(PAGE.substitute(title="Let this app in?", content=content), headers=NO_STORE)

    async def _token(self, request: Request) -> Response:
        form = await _read_form(request)
        with self._world.lock:
            client = self._authenticate(form)
            grant_type = _required(form, "grant_type")
            try:
                if grant_type == "authorization_code":
                    answer = self._exchange(client, form)
                elif grant_type == "refresh_token":
                    answer = self._refresh(client, form)
                else:
                    raise OAuthError("unsupported_grant_type", f"grant_type {grant_type!r} is not supported.")
            except InvalidGrantError as error:
                raise OAuthError("invalid_grant", str(error)) from None
        return JSONResponse(answer, headers=NO_STORE)

    def _exchange(self, client: Client, form: Mapping[str, str]) -> dict[str, object]:
        code, redirect_uri = _required(form, "code"), _required(form, "redirect_uri")
        answer = self._tokens.redeem(client, code, redirect_uri, form.get("code_verifier"))
        grant = self._tokens.codes[code].grant
        self._world.let_in(client.id, client.name, grant.workspace_id, grant.scope.split())
        self._world.counts["exchange"] += 1
        return answer

    def _refresh(self, client: Client, form: Mapping[str, str]) -> dict[str, object]:
        try:
            answer = self._tokens.refresh(client, _required(form, "refresh_token"))
        except InvalidGrantError:
            self._world.counts["refresh_refused"] += 1
            raise
        self._world.counts["refresh"] += 1
        return answer

    async def _revoke(self, request: Request) -> Response:
        form = await _read_form(request)
        with self._world.lock:
            self._tokens.revoke(self._authenticate(form), _required(form, "token"))
        return Response(headers=NO_STORE)

    def _authenticate(self, form: Mapping[str, str]) -> Client:
        client = self._clients.get(form.get("client_id", ""))
        secret = form.get("client_secret", "")
        if client is None or not hmac.compare_digest(secret.encode(), (client.secret or "").encode()):
            raise OAuthError("invalid_client", "client_id or client_secret is missing or wrong.", 401)
        return client


def _check_request(client: Client, asked: Mapping[str, str]) -> str:
    """Check what a known client asks for; the answer is the scope."""
    if asked.get("response_type") != "code":
        raise OAuthError("unsupported_response_type", "response_type must be code.")
    challenge = asked.get("code_challenge")
    if challenge is None and client.secret is None:
        raise OAuthError("invalid_request", "code_challenge is required (PKCE).")
    if challenge is not None and not re.fullmatch("[A-Za-z0-9_-]{43}", challenge):
        raise OAuthError("invalid_request", "code_challenge is not an S256 challenge.")
    if challenge is not None and asked.get("code_challenge_method") != "S256":
        raise OAuthError("invalid_request", "code_challenge_method must be S256.")
    scope = asked.get("scope", "").split() or ["workspace:admin"]
    if not set(scope) <= set(SCOPES):
        raise OAuthError("invalid_scope", f"The scopes are {' and '.join(SCOPES)}.")
    return " ".join(scope)


def _any_port(uri: str) -> str:
    """Take the port off a loopback address: there a native app may listen on any (RFC 8252)."""
    return re.sub(r"\A(http://(?:127\.0\.0\.1|\[::1\]|localhost)):[0-9]+(?=[/?]|\Z)", r"\1", uri)


async def _read_form(request: Request) -> dict[str, str]:
    body = await read_body(request)
    if request.headers.get("content-type", "").split(";")[0].strip().lower() != "application/x-www-form-urlencoded":
        raise OAuthError("invalid_request", "The body must be application/x-www-form-urlencoded.")
    return _unique(body.decode(errors="replace"))


def _unique(text: str) -> dict[str, str]:
    """Parse parameters; empty ones count as left out, and none may come twice (RFC 6749, section 3.1)."""
    pairs = parse_qsl(text)
    if len(dict(pairs)) != len(pairs):
        raise OAuthError("invalid_request", "A parameter came more than once.")
    return dict(pairs)


def _required(form: Mapping[str, str], key: str) -> str:
    if key not in form:
        raise OAuthError("invalid_request", f"{key} is required.")
    return form[key]


def _error_page(message: str) -> Response:
    content = f"<p>{html.escape(message)}</p>"
    return HTMLResponse(PAGE.substitute(title="This login cannot go on", content=content), 400, NO_STORE)
