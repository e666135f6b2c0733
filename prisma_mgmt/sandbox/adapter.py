from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route, compile_path

from prisma_mgmt.sandbox import databases, workspaces
from prisma_mgmt.sandbox.api import endpoint
from prisma_mgmt.sandbox.state import World
from prisma_mgmt.sandbox.tokens import Tokens
from prisma_mgmt.sandbox.wire import ApiError
from prisma_mgmt.spec import load


def api_application(world: World, tokens: Tokens, api: str) -> Starlette:
    table = (*workspaces.ROUTES, *databases.ROUTES) if api == "management" else ()
    routes = [Route(path, endpoint(world, tokens, handler), methods=[method]) for method, path, handler in table]
    return Starlette(routes=routes, exception_handlers={ApiError: _refuse, HTTPException: _refuse_route})


def template_of(api: str, method: str, path: str) -> str | None:
    for template, operations in load(api)["paths"].items():
        if method.lower() in operations and compile_path(template)[0].match(path):
            return template
    return None


async def _refuse(_request: Request, error: Exception) -> Response:
    assert isinstance(error, ApiError)
    return error.response()


async def _refuse_route(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    response = ApiError(
        error.status_code, f"{request.method} {request.url.path} is not a route of this API."
    ).response()
    response.headers.update(error.headers or {})
    return response
