"""A web application with a login, in FastAPI: each browser has a session of its own, which all processes share.

    python fastapi_app.py                                          in a sandbox, at http://127.0.0.1:8000
    uvicorn --factory fastapi_app:create_app --workers 2           with these variables:

PRISMA_CLIENT_ID, PRISMA_REDIRECT_URI   of the application that you registered; the latter ends in /prisma/callback
LOGIN_KEYS      seal the cookies, separated by spaces; `prisma_mgmt.auth.new_key()` makes one
REDIS_URL       or POSTGRES_URL: where the tokens are; without either in memory, which does for one process
PORT            8000, if run as a program
"""

import html
import os
from collections import defaultdict
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, ExitStack, asynccontextmanager, nullcontext
from typing import Annotated, Any

import uvicorn
from fastapi import Depends, FastAPI, Request
from fastapi.responses import HTMLResponse, RedirectResponse

from prisma_mgmt import LoginRequiredError, ManagementClient
from prisma_mgmt.auth import LoginApp, OAuthClient, SessionManager, TokenStorage, new_key
from prisma_mgmt.auth.storage import MemoryTokenStorage, PostgresTokenStorage, RedisTokenStorage
from prisma_mgmt.management.projects import Project

PAGE = """<!doctype html><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>Shop</title>
<h1>{title}</h1>{content}
<form method="post" action="/prisma/logout"><button>Log out</button></form>"""


def create_app() -> FastAPI:
    place, storage_for = tokens_in_the_environment()
    oauth = OAuthClient.from_environment()
    sessions = SessionManager(oauth, storage_for)
    login = LoginApp(oauth, sessions, os.environ["LOGIN_KEYS"].split(), after_login="/projects")
    prisma = ManagementClient()

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncGenerator[None, None]:
        async with place, sessions, prisma:
            if os.environ.get("POSTGRES_URL"):
                await PostgresTokenStorage(os.environ["POSTGRES_URL"], key="none").create_table()
            yield

    app = FastAPI(lifespan=lifespan)
    app.mount("/prisma", login)

    def users_own(request: Request) -> ManagementClient:
        """The client with the tokens of whoever sent the request; its calls raise LoginRequiredError for nobody."""
        return prisma.with_options(auth=login.session(request))

    @app.exception_handler(LoginRequiredError)
    async def log_in(request: Request, _: Exception) -> RedirectResponse:
        return RedirectResponse(f"/prisma/login?next={request.url.path}", 303)

    @app.get("/")
    async def home(request: Request) -> HTMLResponse:
        if login.session(request) is None:
            link = '<p><a href="/prisma/login">Log in with Prisma</a></p>'
            return HTMLResponse(PAGE.format(title="Nobody is here", content=link))
        return HTMLResponse(PAGE.format(title="Hello", content='<p><a href="/projects">Your projects</a></p>'))

    @app.get("/projects")
    async def projects(mine: Annotated[ManagementClient, Depends(users_own)]) -> HTMLResponse:
        items = [f"<li>{html.escape(one.name)}</li>" async for one in mine.projects.list()]
        return HTMLResponse(PAGE.format(title="Your projects", content=f"<ul>{''.join(items)}</ul>"))

    @app.get("/api/projects")
    async def api_projects(mine: Annotated[ManagementClient, Depends(users_own)]) -> list[Project]:
        return await mine.projects.list().all()

    return app


def tokens_in_the_environment() -> tuple[AbstractAsyncContextManager[Any], Callable[[str], TokenStorage]]:
    """What has to be open while the application runs, and where a session's tokens are."""
    if url := os.environ.get("REDIS_URL"):
        from redis.asyncio import Redis

        redis: Any = Redis.from_url(url)  # pyright: ignore[reportUnknownMemberType]  # redis has no types for its options
        return redis, lambda session_id: RedisTokenStorage(redis, key=f"prisma:{session_id}", ttl=30 * 86400)
    if url := os.environ.get("POSTGRES_URL"):
        import asyncpg

        pool: Any = asyncpg.create_pool(url)
        return pool, lambda session_id: PostgresTokenStorage(pool, key=session_id)
    storages: dict[str, MemoryTokenStorage] = defaultdict(MemoryTokenStorage)
    return nullcontext(), storages.__getitem__


def main() -> None:
    port = int(os.environ.get("PORT", "8000"))
    with ExitStack() as stack:
        if "PRISMA_CLIENT_ID" not in os.environ:
            from prisma_mgmt.sandbox import Sandbox

            callback = f"http://127.0.0.1:{port}/prisma/callback"
            sandbox = stack.enter_context(Sandbox(redirect_uris=[callback]))
            os.environ |= {**sandbox.environment, "PRISMA_REDIRECT_URI": callback, "LOGIN_KEYS": new_key()}
        uvicorn.run(create_app, factory=True, port=port)


if __name__ == "__main__":
    main()
