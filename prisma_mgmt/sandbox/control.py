"""The sandbox's own routes: the start page, and what programs in other processes ask of the sandbox itself."""

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, cast

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from prisma_mgmt.sandbox import pages
from prisma_mgmt.sandbox.arguments import check
from prisma_mgmt.sandbox.door import is_loopback, serves
from prisma_mgmt.sandbox.faults import FIELDS, Fault
from prisma_mgmt.sandbox.wire import ApiError, parse_json, read_body

if TYPE_CHECKING:
    from prisma_mgmt.sandbox.server import LocalPrisma

COUNTS = ("left", "met")  # told of a fault, and not listened to, so that what was told can be asked for again
_IN_PROCESS = "testclient"  # where Starlette's test client says that it is

Action = Callable[["LocalPrisma", dict[str, object]], object]


def application(sandbox: "LocalPrisma") -> Starlette:
    """The routes `/` and `/_sandbox/…`."""

    async def start(_request: Request) -> Response:
        return pages.start(sandbox.places, sandbox.environment, sandbox.users)

    async def icon(_request: Request) -> Response:
        return Response(status_code=204)

    table: list[tuple[str, str, Action]] = [
        ("GET", "requests", lambda it, _: [one.describe() for one in it.requests]),
        ("GET", "faults", lambda it, _: [one.describe() for one in it.faults.asked()]),
        ("POST", "faults", _add_fault),
        ("POST", "advance", _advance),
        ("POST", "reset", lambda it, _: it.reset()),
    ]
    routes = [
        Route(f"/_sandbox/{name}", _endpoint(sandbox, action), methods=[method]) for method, name, action in table
    ]
    routes += [Route("/", start), Route("/favicon.ico", icon)]
    return Starlette(routes=routes, exception_handlers={ApiError: _refuse, HTTPException: _refuse_route})


def _endpoint(sandbox: "LocalPrisma", action: Action) -> Callable[[Request], Awaitable[Response]]:
    async def answer(request: Request) -> Response:
        _check_caller(request)
        body = parse_json(await read_body(request) or b"{}")
        try:
            check(isinstance(body, dict), "the body is an object", body)
            value = action(sandbox, body)
        except ValueError as error:
            raise ApiError(422, str(error)) from None
        return Response(status_code=204) if value is None else JSONResponse({"data": value})

    return answer


def _add_fault(sandbox: "LocalPrisma", body: dict[str, object]) -> object:
    _check_keys(body, required=("route", "kind"), known=(*FIELDS, *COUNTS))
    values = {name: body[key] for key, name in FIELDS.items() if body.get(key) is not None}
    return sandbox.faults.add(Fault(**values)).describe()  # type: ignore[arg-type]  # Fault checks what it is given


def _advance(sandbox: "LocalPrisma", body: dict[str, object]) -> None:
    _check_keys(body, required=("seconds",), known=("seconds",))
    sandbox.advance(cast("float", body["seconds"]))  # which checks it


def _check_keys(body: dict[str, object], required: tuple[str, ...], known: tuple[str, ...]) -> None:
    for key in required:
        if key not in body:
            raise ValueError(f"{key} is required")
    for key in body:
        if key not in known:
            raise ValueError(f"{key!r} is not known; there are {', '.join(known)}")


def _check_caller(request: Request) -> None:
    """Refuse other machines, and pages of other sites in a browser on this one."""
    client = request.client
    if client is not None and client.host != _IN_PROCESS and not is_loopback(client.host):
        raise ApiError(403, "The control routes answer to this machine only.")
    origin = request.headers.get("origin")
    if origin is not None and not serves("localhost", origin.partition("://")[2]):
        raise ApiError(403, "The control routes do not answer to other sites' pages.")


async def _refuse(_request: Request, error: Exception) -> Response:
    assert isinstance(error, ApiError)
    return error.response()


async def _refuse_route(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return ApiError(error.status_code, f"{request.method} {request.url.path} is no route of the sandbox.").response()
