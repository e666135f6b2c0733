"""A web application with a login, in Litestar; see fastapi_app.py for the variables, and for Redis and PostgreSQL.

python litestar_app.py                              in a sandbox, at http://127.0.0.1:8000
uvicorn --factory litestar_app:create_app

It needs `pip install 'prisma-mgmt[sandbox]' litestar`, and shows http://127.0.0.1:8000/projects.
"""

import logging
import math
import os
import sys
from collections import defaultdict
from collections.abc import AsyncGenerator
from contextlib import ExitStack, asynccontextmanager
from typing import Any
from urllib.parse import quote

import uvicorn
from litestar import Litestar, Request, Response, asgi, get
from litestar.response import Redirect

from prisma_mgmt import (
    AuthenticationError,
    AuthError,
    LoginRequiredError,
    ManagementClient,
    NetworkError,
    PrismaError,
    RateLimitError,
    ServerError,
)
from prisma_mgmt.auth import LoginApp, OAuthClient, SessionManager, new_key
from prisma_mgmt.auth.storage import MemoryTokenStorage
from prisma_mgmt.litestar import ModelPlugin
from prisma_mgmt.management.models import Project

LATER = (RateLimitError, ServerError, NetworkError, AuthError)  # the last one is the login server's, or the storage's

logger = logging.getLogger(__name__)


def create_app() -> Litestar:
    oauth = OAuthClient.from_environment()
    keys = os.environ.get("LOGIN_KEYS", "").split() or sys.exit(
        "LOGIN_KEYS is not set: prisma_mgmt.auth.new_key() makes a key"
    )
    storages: dict[str, MemoryTokenStorage] = defaultdict(MemoryTokenStorage)
    sessions = SessionManager(oauth, storages.__getitem__)
    login = LoginApp(oauth, sessions, keys, after_login="/projects")
    prisma = ManagementClient()

    @asynccontextmanager
    async def lifespan(_: Litestar) -> AsyncGenerator[None, None]:
        async with sessions, prisma:
            yield

    @get("/projects")
    async def projects(request: Request[Any, Any, Any]) -> list[Project]:
        mine = prisma.with_options(auth=login.session(request))  # this user's tokens; for nobody calls fail
        return await mine.projects.list().all()

    return Litestar(
        [asgi("/auth", is_mount=True, copy_scope=True)(login), projects],
        plugins=[ModelPlugin()],  # models leave in the API's own keys
        exception_handlers={LoginRequiredError: log_in, AuthenticationError: refused, **dict.fromkeys(LATER, later)},
        lifespan=[lifespan],
    )


# What Prisma's errors mean to a user. Any other one is a fault of this program, and stays a 500.


def log_in(request: Request[Any, Any, Any], _: LoginRequiredError) -> Response[Any]:
    return Redirect(f"/auth/login?next={quote(request.url.path)}", status_code=303)


def refused(_: Request[Any, Any, Any], error: AuthenticationError) -> Response[Any]:
    """The API refused a token that is fresh. A redirect to the login could go round and round."""
    logger.warning("%s", error)
    return Response({"detail": "Prisma refused your login. Log in again at /auth/login."}, status_code=401)


def later(_: Request[Any, Any, Any], error: PrismaError) -> Response[Any]:
    logger.warning("%s", error)
    seconds = math.ceil(getattr(error, "retry_after", None) or 5)
    return Response({"detail": "This does not work just now."}, status_code=503, headers={"Retry-After": str(seconds)})


def main() -> None:
    port = int(os.environ.get("PORT", "8000"))
    with ExitStack() as stack:
        if "PRISMA_CLIENT_ID" not in os.environ:
            from prisma_mgmt.sandbox import Sandbox

            callback = f"http://127.0.0.1:{port}/auth/callback"
            sandbox = stack.enter_context(Sandbox(redirect_uris=[callback]))
            os.environ |= {**sandbox.environment, "PRISMA_REDIRECT_URI": callback, "LOGIN_KEYS": new_key()}
        uvicorn.run(create_app, factory=True, port=port)


if __name__ == "__main__":
    main()
