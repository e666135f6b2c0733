"""A web application with a login, in Django under ASGI; see fastapi_app.py for the variables.

python django_app                                   in a sandbox, at http://127.0.0.1:8000
DJANGO_SETTINGS_MODULE=settings uvicorn --app-dir django_app asgi:application

It needs `pip install 'prisma-mgmt[sandbox]' django`, and shows http://127.0.0.1:8000/projects.
"""

# pyright: reportMissingTypeStubs=false, reportUnknownVariableType=false

from typing import Any

from django.core.asgi import get_asgi_application

views = get_asgi_application()  # sets Django up, which has to come first

from prisma_login import login, prisma, sessions  # noqa: E402  # reads the settings


async def application(scope: Any, receive: Any, send: Any) -> None:
    """The login beside Django: /auth/login, /auth/callback and /auth/logout."""
    if scope["type"] == "lifespan":
        await lifespan(receive, send)
    elif scope["path"].startswith("/auth/"):
        await login(scope, receive, send)
    else:
        await views(scope, receive, send)


async def lifespan(receive: Any, send: Any) -> None:
    """Close what is open when the server ends; Django has no place of its own for that."""
    async with sessions, prisma:
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await receive()
    await send({"type": "lifespan.shutdown.complete"})
