"""Every method of a generated package, held to the raw document: what it sends, and what it makes of an answer.

It reads the document for itself, and asks neither the generator nor the description that this makes of it.
"""

import importlib
import inspect
import json
import re
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, quote, unquote

import anyio
import httpx
import pytest

from prisma_mgmt import Page, RetryPolicy, ServerError
from prisma_mgmt.core.client import BaseClient
from prisma_mgmt.core.resource import LogStream, Resource
from tests.operations import NOON, Recorder, sample
from tests.test_conformance import same

METHODS = ("get", "post", "put", "patch", "delete", "head")
ODD = "/?#%2Fü"


def imported(files: dict[str, str], name: str, folder: Path) -> Any:
    """The client class of generated modules, as a package of their own."""
    package = folder / name
    package.mkdir(parents=True)
    for file, text in files.items():
        (package / file).write_text(text.replace("prisma_mgmt.management", name), "utf-8")
    sys.path.insert(0, str(folder))
    try:
        importlib.invalidate_caches()
        for file in files:
            importlib.import_module(f"{name}.{file.removesuffix('.py')}" if file != "__init__.py" else name)
        return sys.modules[name].ThingsClient
    finally:
        sys.path.remove(str(folder))


class Document:
    """A raw document, its references followed."""

    def __init__(self, raw: Any) -> None:
        self.raw = raw

    def at(self, value: Any) -> Any:
        while isinstance(value, dict) and "$ref" in value:
            found = self.raw
            for step in unquote(value["$ref"])[2:].split("/"):
                found = found[step.replace("~1", "/").replace("~0", "~")]
            value = {**found, **{key: one for key, one in value.items() if key != "$ref"}}
        return value

    def operations(self) -> Iterator[tuple[str, str, Any, list[Any]]]:
        for path, item in self.raw["paths"].items():
            item = {} if path.startswith("x-") else self.at(item)
            for http in [http for http in METHODS if http in item]:
                shared = [self.at(one) for one in item.get("parameters", ())]
                own = [self.at(one) for one in item[http].get("parameters", ())]
                names = {(one["name"], one["in"]) for one in own}
                yield path, http, item[http], [*(one for one in shared if (one["name"], one["in"]) not in names), *own]

    def whole(self, schema: Any) -> Any:
        """A schema with its parts put together, and its null left out."""
        schema = {} if schema is True else self.at(schema)
        for part in schema.get("allOf", ()):
            part = self.whole(part)
            both = {**part.get("properties", {}), **schema.get("properties", {})}
            required = [*part.get("required", ()), *schema.get("required", ())]
            schema = {**part, **schema, **({"properties": both, "required": required} if both else {})}
        for word in ("oneOf", "anyOf"):
            members = [one for one in schema.get(word, ()) if self.at(one).get("type") != "null"]
            if members and all(set(one) <= {"required"} for one in members):
                schema = {key: value for key, value in schema.items() if key != word}
            elif members:
                return self.whole(members[0])
        return schema

    def example(self, schema: Any, unseen: str, *, full: bool = True, key: str = "") -> Any:
        """What a schema allows, without the fields that are `unseen` from this side."""
        schema = self.whole(schema)
        if "const" in schema:
            return schema["const"]
        if "enum" in schema:
            return schema["enum"][0]
        kind = schema.get("type", "object" if "properties" in schema else "array" if "items" in schema else None)
        kind = next(one for one in kind if one != "null") if isinstance(kind, list) else kind
        if kind == "object" and schema.get("properties"):
            wanted = schema["properties"] if full else schema.get("required", ())
            fields = {name: self.whole(schema["properties"][name]) for name in wanted if name in schema["properties"]}
            return {
                name: self.example(schema["properties"][name], unseen, full=full, key=name)
                for name, one in fields.items()
                if not one.get(unseen)
            }
        if kind == "object":
            inner = schema.get("additionalProperties", {})
            return {"key": self.example(inner if isinstance(inner, dict) else {}, unseen, full=full, key=key)}
        if kind == "array":
            return [self.example(schema.get("items", {}), unseen, full=full, key=key)]
        dated = schema.get("format") == "date-time" or key.endswith("At")
        values = {"integer": 3, "number": 3, "boolean": True, "null": None, "string": NOON if dated else "text"}
        return values.get(str(kind), "text")


class Walk:
    """The methods of a client against the operations of a document."""

    def __init__(self, raw: Any, client: type[BaseClient], refused: set[str]) -> None:
        self.document, self.client, self.refused = Document(raw), client, refused

    def all(self) -> None:
        """Every operation that is not refused has one method, sends all it can, and reads what the document gives."""
        anyio.run(self._all)

    async def _all(self) -> None:
        wanted = {}
        for path, http, raw, parameters in self.document.operations():
            if f"{http.upper()} {path}" not in self.refused:
                wanted[http.upper(), re.sub(r"{.*?}", "{}", path)] = (path, raw, parameters)
        found = {}
        for resource, method in self._methods():
            request = await self._sent(resource, method, full=False)
            key = (request.method, self._template(request))
            assert key not in found, f"{key} is reached by {found.get(key)} and by {resource}.{method}"
            found[key] = (resource, method)
        assert set(found) == set(wanted)
        for key, (path, raw, parameters) in wanted.items():
            for full in (False, True):
                request = await self._sent(*found[key], full=full)
                self._check_request(request, path, raw, parameters, full=full)
                await self._check_answers(*found[key], raw, full=full)

    def _methods(self) -> list[tuple[str, str]]:
        client = self.client("token")
        names = [name for name in dir(self.client) if name not in dir(BaseClient)]
        resources = [name for name in names if isinstance(getattr(client, name), Resource)]
        methods = {name: [one for one in vars(type(getattr(client, name))) if one[0] != "_"] for name in resources}
        return [(resource, method) for resource, found in methods.items() for method in found]

    async def _sent(self, resource: str, method: str, *, full: bool) -> httpx.Request:
        recorder = Recorder()
        recorder.give(599, "application/json", None)
        with pytest.raises(ServerError):
            await self._use(recorder, resource, method, full=full)
        (request,) = recorder.requests
        return request

    async def _use(self, recorder: Recorder, resource: str, method: str, *, full: bool) -> Any:
        client = self.client("token", transport=httpx.MockTransport(recorder), retry=RetryPolicy(attempts=1))
        bound = getattr(getattr(client, resource), method)
        ids, keywords = [], {}
        for name, one in inspect.signature(bound, eval_str=True).parameters.items():
            if one.kind is one.POSITIONAL_OR_KEYWORD:
                ids.append(f"{name}{ODD}")
            elif (full or one.default is one.empty) and name != "follow":
                keywords[name] = sample(one.annotation, name)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            made = bound(*ids, **keywords)
        if isinstance(made, LogStream):
            return [one async for one in made], made.terminal
        return await made

    def _template(self, request: httpx.Request) -> str:
        path = request.url.raw_path.decode().partition("?")[0]
        return re.sub(rf"[a-z_0-9]*{quote(ODD, safe='')}", "{}", path)

    def _check_request(self, request: httpx.Request, path: str, raw: Any, parameters: list[Any], *, full: bool) -> None:
        security = raw.get("security", self.document.raw.get("security"))
        assert ("authorization" in request.headers) == (security not in ([], [{}]))
        query = dict(parse_qsl(request.url.query.decode(), keep_blank_values=True))
        wanted = {one["name"] for one in parameters if one["in"] == "query" and (full or one.get("required"))}
        assert set(query) == wanted
        for one in parameters:
            if one["in"] == "header" and one["name"].lower() not in ("accept", "content-type", "authorization"):
                assert (one["name"] in request.headers) == bool(full or one.get("required")), one["name"]
        body = self.document.at(raw.get("requestBody", {})).get("content", {}).get("application/json")
        if body is None:
            assert request.content == b""
            return
        sent, schema = json.loads(request.content), self.document.whole(body.get("schema", {}))
        if not schema.get("properties"):
            return
        fields = {key for key, one in schema["properties"].items() if not self.document.whole(one).get("readOnly")}
        further = {"key"} if schema.get("additionalProperties", False) is not False and full else set[str]()
        assert set(sent) == (fields if full else fields & set(schema.get("required", ()))) | further

    async def _check_answers(self, resource: str, method: str, raw: Any, *, full: bool) -> None:
        for status, answer in raw["responses"].items():
            if not re.fullmatch(r"2(\d\d|XX)", status):
                continue
            content = {kind.partition(";")[0]: one for kind, one in self.document.at(answer).get("content", {}).items()}
            recorder = Recorder()
            code = int(status.replace("XX", "00"))
            if "application/json" not in content:
                recorder.give(204 if not content else code, "application/json", None)
                continue
            payload = self.document.example(content["application/json"].get("schema", {}), "writeOnly", full=full)
            if isinstance(payload, dict) and "data" in self._fields(content):
                payload.setdefault("data", self.document.example(self._fields(content)["data"], "writeOnly", full=full))
            recorder.give(code, "application/json", payload)
            self._same(payload, await self._use(recorder, resource, method, full=False))

    def _fields(self, content: Any) -> Any:
        return self.document.whole(content["application/json"].get("schema", {})).get("properties", {})

    def _same(self, payload: Any, result: Any) -> None:
        if isinstance(result, Page):
            same(payload["data"] if isinstance(payload, dict) else payload, list(result.items))
        elif isinstance(payload, dict) and "data" in payload and not hasattr(result, "data"):
            beside = {key: one for key, one in payload.items() if key != "data"}
            same({**beside, **payload["data"]} if isinstance(payload["data"], dict) else payload["data"], result)
        else:
            same(payload, result)
