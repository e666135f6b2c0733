"""The three APIs over ASGI: what a request has to pass before its operation is carried out, and what comes back."""

import re
from functools import partial
from typing import Any
from urllib.parse import parse_qsl

from starlette.requests import HTTPConnection, Request
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp

from prisma_mgmt.sandbox import resources as resources  # each makes itself known
from prisma_mgmt.sandbox.description import Description, Operation, Schema, is_object
from prisma_mgmt.sandbox.engine import Call
from prisma_mgmt.sandbox.resources.builds import Log
from prisma_mgmt.sandbox.resources.github import install
from prisma_mgmt.sandbox.resources.services import upload
from prisma_mgmt.sandbox.state import Thing, Values
from prisma_mgmt.sandbox.tokens import Tokens
from prisma_mgmt.sandbox.wire import MAX_LIMIT, ApiError, Route, Site, media_type, need, parse_json, read_body

NAMES = re.compile(r".*[nN]ame(Contains)?|.*Id|key|hostname|commitSha|stack|stage|token", re.ASCII)


class Application(Site):
    """An API that is carried out as its description says."""

    def __init__(self, tokens: Tokens, description: Description) -> None:
        self._world, self._tokens = tokens.world, tokens
        operations = description.operations
        routes = [Route(it.method, it.template, partial(self._answer, it), 101 in it.answers) for it in operations]
        if description.api == "management":  # has links in its answers, which need no token
            routes.append(Route("PUT", "/uploads/{deploymentId}", partial(upload, tokens.world)))
            routes.append(Route("GET", "/github/install/{intentId}", partial(install, tokens.world)))
        super().__init__(routes)

    def find(self, path: str) -> dict[str, Route]:
        return super().find(path) or super().find(f"/v1{path}")

    async def _answer(self, operation: Operation, connection: HTTPConnection) -> ASGIApp:
        body = await read_body(connection) if isinstance(connection, Request) else b""
        with self._world:
            token = None if operation.raw.get("security") == [] else self._authenticate(connection)
            call = Call(self._tokens, operation, connection, token)
            if token is not None:
                call.look_up()
            call.query = read_parameters(call, connection.url.query)
            call.body = read_fields(call, body)
            result = call.perform()
            if isinstance(result, Log):
                return result
            return Response(status_code=204) if call.status == 204 else JSONResponse(call.answer(result), call.status)

    def _authenticate(self, connection: HTTPConnection) -> Thing:
        self._world.counts["api"] += 1
        scheme, _, token = connection.headers.get("authorization", "").partition(" ")
        bearer = self._tokens.bearer(token) if scheme.lower() == "bearer" else None
        self._world.counts["unauthenticated"] += bearer is None
        return need(bearer, ApiError(401, "The access token is missing, unknown or expired."))


# What a request says, checked against its operation


def read_parameters(call: Call, query: str) -> Values:
    """Check what stands beside the body, and read the query, each of its values as its schema wants it."""
    known, asked = call.operation.parameters["query"], Values()
    try:
        pairs = parse_qsl(query, keep_blank_values=True, errors="strict")
    except ValueError:  # UnicodeDecodeError is one
        raise call.refuse("The query is not UTF-8.") from None
    for key, text in pairs:
        need(key not in asked, call.refuse(f"{key} came more than once."))
        asked[key] = _typed(call.schemas.resolve(known["properties"].get(key, {})), text)
    for place, given in (("path", call.path), ("header", call.headers), ("query", asked)):
        _check(call, call.operation.parameters[place], given, closed=place == "query")
    for key, value in asked.items():
        if key in {"limit", "tail"} and not 1 <= value <= MAX_LIMIT:
            raise call.refuse(f"{key} must be a whole number from 1 to {MAX_LIMIT}.")
        need(str(value).strip(), call.refuse(f"{key} must not be blank."))
    return asked


def _typed(schema: Schema, text: str) -> Any:
    if schema.get("type") == "integer" and re.fullmatch("-?[0-9]{1,9}", text, re.ASCII):
        return int(text)
    return {"true": True, "false": False}.get(text, text) if schema.get("type") == "boolean" else text


def read_fields(call: Call, body: bytes) -> Any:
    """The body of a request, None if there is none; an operation that takes fields gets them."""
    schema = call.operation.body
    if schema is None or not (body or schema):
        return None
    kind = media_type(call.headers) or "application/json"
    if body and kind != "application/json" and not kind.endswith("+json"):
        raise ApiError(415, f"The body must be application/json, not {kind[:80]}.")
    value = parse_json(body or b"{}")
    _check(call, schema, value)
    for key, field in value.items() if schema and is_object(value) else ():
        need(str(field).strip() or not NAMES.fullmatch(key), call.refuse(f"{key} must not be blank."))
    return value


def _check(call: Call, schema: Schema, value: Any, *, closed: bool = True) -> None:
    for problem in call.schemas.problems(schema, value, "", closed=closed):
        raise call.refuse(*problem)
