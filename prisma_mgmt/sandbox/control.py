"""The sandbox's own routes: the start page, and what programs in other processes ask of the sandbox itself."""

from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from prisma_mgmt.sandbox import pages
from prisma_mgmt.sandbox.description import is_object
from prisma_mgmt.sandbox.door import is_loopback, serves
from prisma_mgmt.sandbox.faults import Fault
from prisma_mgmt.sandbox.wire import ApiError, Route, Site, need, parse_json, read_body

if TYPE_CHECKING:
    from prisma_mgmt.sandbox.server import Sandbox

FIELDS = ("route", "kind", "times", "status", "retryAfter", "code", "seconds")
COUNTS = ("left", "met")  # told of a fault, and not listened to, so that what was told can be asked for again
_IN_PROCESS = "testclient"  # where Starlette's test client says that it is


def application(sandbox: "Sandbox") -> Site:
    """The routes `/` and `/_sandbox/…`."""

    async def start(_request: Request) -> Response:
        return pages.start(sandbox.places, sandbox.environment, sandbox.users)

    def add_fault(body: dict[str, Any]) -> object:
        values = {key: body[key] for key in FIELDS if body.get(key) is not None}
        return sandbox.ask(Fault(retry_after=values.pop("retryAfter", None), **values)).describe()

    routes = [
        Route("GET", "/", start),
        Route("GET", "/_sandbox/requests", _asked(lambda _: [one.describe() for one in sandbox.requests])),
        Route("GET", "/_sandbox/faults", _asked(lambda _: [one.describe() for one in sandbox.faults])),
        Route("POST", "/_sandbox/faults", _asked(add_fault, "route", "kind", known=(*FIELDS, *COUNTS))),
        Route("POST", "/_sandbox/advance", _asked(lambda body: sandbox.advance(body["seconds"]), "seconds")),
        Route("POST", "/_sandbox/reset", _asked(lambda _: sandbox.reset())),
    ]
    return Site(routes)


def _asked(
    action: Callable[[dict[str, Any]], object], *required: str, known: Sequence[str] = ()
) -> Callable[[Request], Awaitable[Response]]:
    """Carry out what a program on this machine asks for in JSON; an action that requires nothing looks at no key."""
    names = known or required

    async def answer(request: Request) -> Response:
        _check_caller(request)
        body = parse_json(await read_body(request) or b"{}")
        need(is_object(body), ApiError(422, "The body must be an object."))
        for key in required:
            need(key in body, ApiError(422, f"{key} is required"))
        for key in body if required else ():
            need(key in names, ApiError(422, f"{key!r} is not known; there are {', '.join(names)}"))
        try:
            value = action(body)
        except ValueError as error:
            raise ApiError(422, str(error)) from None
        return Response(status_code=204) if value is None else JSONResponse({"data": value})

    return answer


def _check_caller(request: Request) -> None:
    """Refuse other machines, and pages of other sites in a browser on this one."""
    client = request.client
    near = client is None or client.host == _IN_PROCESS or is_loopback(client.host)
    need(near, ApiError(403, "The control routes answer to this machine only."))
    ours = serves("localhost", request.headers.get("origin", "://localhost").partition("://")[2])
    need(ours, ApiError(403, "The control routes do not answer to other sites' pages."))
