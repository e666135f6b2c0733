"""A web application with a login, in Litestar; see fastapi_app.py for the variables, and for Redis and PostgreSQL.

python litestar_app.py                                   in a sandbox, at http://127.0.0.1:8000
uvicorn --factory litestar_app:create_app
"""

import os
from collections import defaultdict
from collections.abc import AsyncGenerator
from contextlib import ExitStack, asynccontextmanager
from typing import Any

import uvicorn
from litestar import Litestar, Request, Response, asgi, get
from litestar.response import Redirect

from prisma_mgmt import LoginRequiredError, ManagementClient
from prisma_mgmt.auth import LoginApp, OAuthClient, SessionManager, new_key
from prisma_mgmt.auth.storage import MemoryTokenStorage
from prisma_mgmt.litestar import ModelPlugin
from prisma_mgmt.management.projects import Project


def create_app() -> Litestar:
    oauth = OAuthClient.from_environment()
    storages: dict[str, MemoryTokenStorage] = defaultdict(MemoryTokenStorage)
    sessions = SessionManager(oauth, storages.__getitem__)
    login = LoginApp(oauth, sessions, os.environ["LOGIN_KEYS"].split(), after_login="/projects")
    prisma = ManagementClient()

    @asynccontextmanager
    async def lifespan(_: Litestar) -> AsyncGenerator[None, None]:
        async with sessions, prisma:
            yield

    def log_in(request: Request[Any, Any, Any], _: LoginRequiredError) -> Response[Any]:
        return Redirect(f"/prisma/login?next={request.url.path}", status_code=303)

    @get("/projects")
    async def projects(request: Request[Any, Any, Any]) -> list[Project]:
        mine = prisma.with_options(auth=login.session(request))  # this user's tokens; for nobody calls fail
        return await mine.projects.list().all()

    return Litestar(
        [asgi("/prisma", is_mount=True, copy_scope=True)(login), projects],
        plugins=[ModelPlugin()],  # models leave in the API's own keys
        exception_handlers={LoginRequiredError: log_in},
        lifespan=[lifespan],
    )


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
