"""A partner's web application: it makes a project for a visitor, who then claims it into a workspace of their own.

    python partner_claim.py                       in a sandbox, at http://127.0.0.1:8000: open it, and press the button

PRISMA_SERVICE_TOKEN   of the partner's workspace, in which projects are made
PRISMA_CLIENT_ID, PRISMA_REDIRECT_URI   of the application that users log in to; the latter ends in /callback
LOGIN_KEYS             seal the cookies, separated by spaces; `prisma_mgmt.auth.new_key()` makes one
"""

import html
import os
import secrets
import sys
from collections.abc import AsyncGenerator
from contextlib import ExitStack, asynccontextmanager

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import Route

from prisma_mgmt import ManagementClient, PrismaError
from prisma_mgmt.auth import LoginSealer, OAuthClient, new_key
from prisma_mgmt.recipes import claim

PAGE = '<!doctype html><meta charset="utf-8"><title>Partner</title><h1>{title}</h1>{content}'
START = '<form method="post" action="/new"><button>Make me a project</button></form>'


def create_app() -> Starlette:
    oauth = OAuthClient.from_environment()
    keys = os.environ.get("LOGIN_KEYS", "").split() or sys.exit(
        "LOGIN_KEYS is not set: prisma_mgmt.auth.new_key() makes a key"
    )
    sealer = LoginSealer(keys)
    partner = ManagementClient()
    unclaimed: dict[str, str] = {}  # project ids by what their visitors know; in earnest a table

    def page(title: str, content: str, status: int = 200) -> HTMLResponse:
        return HTMLResponse(PAGE.format(title=html.escape(title), content=content), status)

    async def start(_: Request) -> Response:
        return page("A database in one click", START)

    async def new(_: Request) -> Response:
        project = await partner.projects.create(name="made for you")
        ticket = secrets.token_urlsafe()
        unclaimed[ticket] = project.id
        link = f'<p><a href="/claim/{ticket}">Claim it</a></p>'
        return page("Your project is there", link)

    async def begin(request: Request) -> Response:
        """Send the visitor to the login; what they claim is sealed beside it."""
        login = oauth.login_url()
        answer = RedirectResponse(login.url, 303)
        for name in sealer.surplus(request.cookies):  # of logins that they began and left
            answer.delete_cookie(name, secure=name.startswith("__Host-"))
        answer.set_cookie(**sealer.cookie(login, f"/claim/{request.path_params['ticket']}"))
        return answer

    async def callback(request: Request) -> Response:
        url = str(request.url)
        try:
            login = sealer.open_for(request.cookies, url)
            ticket = (login.return_to or "").rpartition("/")[2]
            if ticket not in unclaimed:
                return page("There is nothing to claim", START, 404)
            tokens = await claim(partner, unclaimed[ticket], oauth, url, login)
        except PrismaError as error:  # the user said no, or the project cannot move; they may try again
            return page("It was not claimed", f"<p>{html.escape(str(error))}</p>", 400)
        unclaimed.pop(ticket, None)
        return page("It is yours", f"<p>Your workspace is {html.escape(tokens.workspace_id)}.</p>")

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncGenerator[None, None]:
        async with partner:
            yield

    routes = [Route("/", start), Route("/new", new, methods=["POST"])]
    routes += [Route("/claim/{ticket}", begin), Route("/callback", callback)]
    return Starlette(routes=routes, lifespan=lifespan)


def main() -> None:
    port = int(os.environ.get("PORT", "8000"))
    with ExitStack() as stack:
        if "PRISMA_CLIENT_ID" not in os.environ:
            from prisma_mgmt.sandbox import Sandbox

            callback = f"http://127.0.0.1:{port}/callback"
            users = ["Partner", "Visitor"]
            sandbox = stack.enter_context(Sandbox(users=users, redirect_uris=[callback], auto_approve=False))
            os.environ |= {**sandbox.environment, "PRISMA_REDIRECT_URI": callback, "LOGIN_KEYS": new_key()}
        uvicorn.run(create_app, factory=True, port=port)


if __name__ == "__main__":
    main()
