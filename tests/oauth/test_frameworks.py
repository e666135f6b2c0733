"""LoginApp mounted in the frameworks that people use, each with a view that asks for the browser's session."""

from collections import defaultdict
from collections.abc import Callable, Iterator
from typing import Any

import anyio
import httpx
import pytest

from prisma_mgmt import ManagementClient
from prisma_mgmt.auth import LoginApp, OAuthClient, SessionManager, new_key
from prisma_mgmt.auth.storage import MemoryTokenStorage
from prisma_mgmt.sandbox import Sandbox

pytestmark = [pytest.mark.anyio, pytest.mark.filterwarnings("ignore::DeprecationWarning:litestar")]

HOME = "https://app.example/prisma"
Who = Callable[[Any], Any]  # gives a request's workspace, "nobody" without a session


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with Sandbox(redirect_uris=(f"{HOME}/callback",)) as sandbox:
        yield sandbox


def starlette_app(login: LoginApp, who: Who) -> Any:
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import PlainTextResponse
    from starlette.routing import Mount, Route

    async def me(request: Request) -> PlainTextResponse:
        return PlainTextResponse(await who(request))

    return Starlette(routes=[Mount("/prisma", login), Route("/me", me)])


def fastapi_app(login: LoginApp, who: Who) -> Any:
    from fastapi import FastAPI, Request
    from fastapi.responses import PlainTextResponse

    app = FastAPI()
    app.mount("/prisma", login)

    async def me(request: Request) -> PlainTextResponse:
        return PlainTextResponse(await who(request))

    app.get("/me")(me)
    return app


def litestar_app(login: LoginApp, who: Who) -> Any:
    from litestar import Litestar, MediaType, Request, asgi, get

    async def me(request: Request[Any, Any, Any]) -> str:
        return str(await who(request))

    return Litestar([asgi("/prisma", is_mount=True, copy_scope=True)(login), get("/me", media_type=MediaType.TEXT)(me)])


def django_app(login: LoginApp, who: Who) -> Any:
    from django.http import HttpRequest, HttpResponse

    from tests.kit.django_app import application

    async def me(request: HttpRequest) -> HttpResponse:
        return HttpResponse(await who(request))

    views = application("me", me)

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await (login if scope["path"].startswith("/prisma/") else views)(scope, receive, send)

    return app


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
@pytest.mark.parametrize("slash", ["", "/"])
@pytest.mark.parametrize("make", [starlette_app, fastapi_app, litestar_app, django_app])
async def test_a_login_in_each_framework(sandbox: Sandbox, make: Callable[[LoginApp, Who], Any], slash: str) -> None:
    oauth = OAuthClient(sandbox.client_id, f"{HOME}/callback", auth_base_url=sandbox.auth_url)
    storages: dict[str, MemoryTokenStorage] = defaultdict(MemoryTokenStorage)
    sessions = SessionManager(oauth, storages.__getitem__)
    login = LoginApp(oauth, sessions, [new_key()])
    prisma = ManagementClient("none", base_url=sandbox.api_url)

    async def who(request: Any) -> str:
        session = login.session(request)
        if session is None:
            return "nobody"
        return (await prisma.with_options(auth=session).me.get()).credential.type

    transport = httpx.ASGITransport(make(login, who))
    with anyio.fail_after(30):
        async with sessions, prisma, httpx.AsyncClient(transport=transport, base_url="https://app.example") as browser:
            assert (await browser.get("/me")).text == "nobody"
            begun = await browser.get(f"/prisma/login{slash}", params={"next": "/me"})
            assert begun.status_code == 303
            async with httpx.AsyncClient() as outside:
                callback = (await outside.get(begun.headers["location"])).headers["location"]
            done = await browser.get(callback.replace("/callback?", f"/callback{slash}?"))
            assert (done.status_code, done.headers["location"]) == (303, "/me")
            assert (await browser.get("/me")).text == "oauth"
            assert (await browser.get("/prisma/nothing")).status_code == 404
            out = await browser.post(f"/prisma/logout{slash}", headers={"origin": "https://app.example"})
            assert out.status_code == 303
            assert (await browser.get("/me")).text == "nobody"
