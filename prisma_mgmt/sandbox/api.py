"""How a request reaches a function: what every route of the Management API has in common."""

from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TypeVar

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from prisma_mgmt.sandbox.state import Connection, Database, Entity, Integration, Project, Workspace, World
from prisma_mgmt.sandbox.tokens import Principal, Tokens
from prisma_mgmt.sandbox.wire import ApiError, Fields, page, parse_fields, read_body

E = TypeVar("E", bound=Entity)


@dataclass(frozen=True, slots=True)
class Call:
    """One authenticated request. It finds only what its token may see; everything else does not exist."""

    world: World
    tokens: Tokens
    principal: Principal
    path: dict[str, str]
    query: Fields
    body: Fields

    def workspace(self, workspace_id: str | None = None) -> Workspace:
        return self._find(self.world.workspaces, workspace_id)

    def project(self, project_id: str | None = None) -> Project:
        return self._find(self.world.projects, project_id)

    def database(self, database_id: str | None = None) -> Database:
        return self._find(self.world.databases, database_id)

    def connection(self) -> Connection:
        return self._find(self.world.connections)

    def integration(self) -> Integration:
        return self._find(self.world.integrations)

    def every(self, things: Mapping[str, E]) -> list[E]:
        return [it for it in things.values() if self._sees(it)]

    def page(self, items: Iterable[E], view: Callable[[World, E], object]) -> Response:
        return page(self.query, items, lambda item: view(self.world, item))

    def _find(self, things: Mapping[str, E], id: str | None = None) -> E:
        found = things.get(id or self.path["id"])
        if found is None or not self._sees(found):
            raise ApiError(404, f"{id or self.path['id']} does not exist, or this token may not see it.")
        return found

    def _sees(self, it: Entity) -> bool:
        return self.world.workspace_of(it) == self.principal.workspace_id


Handler = Callable[[Call], Response]


def data(value: object, status: int = 200) -> Response:
    return JSONResponse({"data": value}, status)


def done() -> Response:
    return Response(status_code=204)


def endpoint(world: World, tokens: Tokens, handler: Handler) -> Callable[[Request], Awaitable[Response]]:
    """Wrap a handler: it runs for a live token, under the lock, with its body parsed."""

    async def answer(request: Request) -> Response:
        body = await read_body(request)
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        with world.lock:
            world.counts["api"] += 1
            principal = tokens.principal(token) if scheme.lower() == "bearer" else None
            if principal is None:
                world.counts["unauthenticated"] += 1
                raise ApiError(401, "The access token is missing, unknown or expired.")
            query = Fields(request.query_params)
            return handler(Call(world, tokens, principal, request.path_params, query, parse_fields(body)))

    return answer
