"""A web application with a login, in FastAPI: each browser has a session of its own, which all processes share.

    python fastapi_app.py                                    in a sandbox, at http://127.0.0.1:8000
    uvicorn --factory fastapi_app:create_app --workers 2     with these variables:

PRISMA_CLIENT_ID       of the application that you registered; PRISMA_CLIENT_SECRET, too, if it has one
PRISMA_REDIRECT_URI    that you registered for it; it ends in /auth/callback
LOGIN_KEYS             seal the cookies: `python -c "from prisma_mgmt.auth import new_key; print(new_key())"` makes one.
                       To replace a key, put the new one before it, with a space between them, and nobody is logged out.
REDIS_URL              or POSTGRES_URL: where the tokens are. Without either they are in memory, for one process only.
PORT                   8000, if you run it as a program

It needs `pip install 'prisma-mgmt[sandbox]' fastapi`, and the extra `redis` or `postgres` for a storage there. The user
of the sandbox says yes at once, so that a click on "Log in" ends at the projects.
"""

import html
import logging
import math
import os
import sys
from collections import defaultdict
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, ExitStack, asynccontextmanager, nullcontext
from typing import Annotated, Any
from urllib.parse import quote

import uvicorn
from fastapi import Depends, FastAPI, Request
from fastapi.responses import HTMLResponse, JSONResponse, RedirectResponse, Response

from prisma_mgmt import (
    AuthenticationError,
    AuthError,
    LoginRequiredError,
    ManagementClient,
    NetworkError,
    RateLimitError,
    ServerError,
)
from prisma_mgmt.auth import LoginApp, OAuthClient, SessionManager, TokenStorage, new_key
from prisma_mgmt.auth.storage import MemoryTokenStorage, PostgresTokenStorage, RedisTokenStorage
from prisma_mgmt.management.models import Project

PAGE = """<!doctype html><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>Shop</title>
<h1>{title}</h1>{content}"""
LOG_OUT = '<form method="post" action="/auth/logout"><button>Log out</button></form>'
LATER = (RateLimitError, ServerError, NetworkError, AuthError)  # the last one is the login server's, or the storage's

logger = logging.getLogger(__name__)


def create_app() -> FastAPI:
    place, storage_for = tokens_in_the_environment()
    oauth = OAuthClient.from_environment()
    keys = os.environ.get("LOGIN_KEYS", "").split() or sys.exit(
        "LOGIN_KEYS is not set: prisma_mgmt.auth.new_key() makes a key"
    )
    sessions = SessionManager(oauth, storage_for)
    login = LoginApp(oauth, sessions, keys, after_login="/projects")
    prisma = ManagementClient()

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncGenerator[None, None]:
        async with place, sessions, prisma:
            if os.environ.get("POSTGRES_URL"):
                await PostgresTokenStorage(os.environ["POSTGRES_URL"], key="none").create_table()
            yield

    app = FastAPI(lifespan=lifespan)
    app.mount("/auth", login)
    say_what_went_wrong(app)

    def users_own(request: Request) -> ManagementClient:
        """The client with the tokens of whoever sent the request; its calls raise LoginRequiredError for nobody."""
        return prisma.with_options(auth=login.session(request))

    @app.get("/")
    async def home(request: Request) -> HTMLResponse:
        if login.session(request) is None:
            return page("Nobody is here", '<p><a href="/auth/login">Log in with Prisma</a></p>')
        return page("Hello", f'<p><a href="/projects">Your projects</a></p>{LOG_OUT}')

    @app.get("/projects")
    async def projects(mine: Annotated[ManagementClient, Depends(users_own)]) -> HTMLResponse:
        items = [f"<li>{html.escape(one.name)}</li>" async for one in mine.projects.list()]
        names = f"<ul>{''.join(items)}</ul>" if items else "<p>There are none yet.</p>"
        return page("Your projects", names + LOG_OUT)

    @app.get("/api/projects")
    async def api_projects(mine: Annotated[ManagementClient, Depends(users_own)]) -> list[Project]:
        return await mine.projects.list().all()

    return app


def page(title: str, content: str, status: int = 200) -> HTMLResponse:
    return HTMLResponse(PAGE.format(title=title, content=content), status)


def say_what_went_wrong(app: FastAPI) -> None:
    """Answer what Prisma's errors mean to a user. Any other one is a fault of this program, and stays a 500."""

    def answer(request: Request, status: int, title: str, content: str) -> Response:
        if request.url.path.startswith("/api/"):
            return JSONResponse({"detail": title, "login": "/auth/login"}, status)
        return page(title, content, status)

    @app.exception_handler(LoginRequiredError)
    async def log_in(request: Request, _: Exception) -> Response:
        return RedirectResponse(f"/auth/login?next={quote(request.url.path)}", 303)

    @app.exception_handler(AuthenticationError)
    async def refused(request: Request, error: Exception) -> Response:
        """The API refused a token that is fresh. A redirect could go round and round, so the user has to click."""
        logger.warning("%s", error)
        link = f'<p><a href="/auth/login?next={quote(request.url.path)}">Log in again</a></p>'
        return answer(request, 401, "Prisma refused your login", link)

    async def later(request: Request, error: Exception) -> Response:
        logger.warning("%s", error)
        seconds = math.ceil(getattr(error, "retry_after", None) or 5)
        made = answer(request, 503, "This does not work just now", f"<p>Please try again in {seconds} seconds.</p>")
        made.headers["Retry-After"] = str(seconds)
        return made

    for kind in LATER:
        app.add_exception_handler(kind, later)


def tokens_in_the_environment() -> tuple[AbstractAsyncContextManager[Any], Callable[[str], TokenStorage]]:
    """What has to be open while the application runs, and where a session's tokens are."""
    if url := os.environ.get("REDIS_URL"):
        from redis.asyncio import Redis

        redis: Any = Redis.from_url(url)  # pyright: ignore[reportUnknownMemberType]  # redis has no types for its options
        return redis, lambda session_id: RedisTokenStorage(redis, key=f"prisma:{session_id}", ttl=30 * 86400)
    if url := os.environ.get("POSTGRES_URL"):
        return nullcontext(), lambda session_id: PostgresTokenStorage(url, key=session_id)
    storages: dict[str, MemoryTokenStorage] = defaultdict(MemoryTokenStorage)
    return nullcontext(), storages.__getitem__


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
