"""The generator, on small documents that hold every construct it knows, and some that it does not."""

import ast
import copy
from collections.abc import Callable
from typing import Any

import pytest

from tests.apigen import NAMES, answering, code, document
from tools.apigen.changes import changes
from tools.apigen.description import merge
from tools.apigen.document import DocumentError
from tools.apigen.names import Names, default_operation
from tools.apigen.normalise import normalise


@pytest.fixture(scope="module")
def things() -> str:
    return code(document("inlined"))["things.py"]


@pytest.fixture(scope="module")
def state() -> str:
    return code(document("inlined"))["state.py"]


def operation_in(doc: Any) -> Any:
    return doc["paths"]["/v1/x"]["get"]


THINGS = """
class_: str
owner: ThingMaker | None
origin: ThingBlank | ThingCopy | dict[str, JSON] | None
created_at: datetime
settings: dict[str, JSON]
labels: dict[str, str]
size: float
port: int
from_unit: str = field(metadata={"key": "from_unit"})
connection_string: Secret | None = None  # deprecated
tags: list[str] | None = None
hint: str | None = None
weight: float | Unset | None = UNSET
ThingKind: TypeAlias = Literal["solid", "liquid"] | str
type: Literal["copy"] = "copy"
branch_id: Literal["unassigned"] | str | None = None,
kind: ThingKind | None = None,
note: str | Unset | None = UNSET,
origin: ThingBlank | ThingCopy | Unset = UNSET,
parts: Sequence[ThingPart] | Unset = UNSET,
starts_at: datetime | Unset = UNSET,
settings: Mapping[str, JSON] | Unset = UNSET,
password: str | Unset = UNSET,
password = password and Secret(password)
"class": class_,
) -> Pager[Thing]:
return await self._post(Thing, "/v1/things", body)
return await self._get(Thing, path("/v1/things/{}", thing_id))
async def update(self, thing_id: str, *, name: str | Unset = UNSET) -> Thing:
PATCH /v1/things/{id} (experimental)
return await self._patch(Thing, path("/v1/things/{}", thing_id), {"name": name})
await self._delete(path("/v1/things/{}", thing_id))
return self._single_page(Backup, path("/v1/things/{}/backups", thing_id), {"limit": limit})
async def list_parts(self, thing_id: str) -> tuple[Part, ...]:
return await self._list(Part, path("/v1/things/{}/parts", thing_id))
return await self._get(ThingUsage, path("/v1/things/{}/usage", thing_id), {"class": class_}, bare=True)
self, thing_id: str, *, from_start: bool | None = None, cursor: str | None = None, follow: bool | None = None
) -> LogStream[LogLog, LogTerminal]:
return self._stream(LogLog, LogTerminal, path("/v1/things/{}/logs", thing_id), query, live=follow)
async def import_(self, thing_id: str, *, url: str) -> None:
@deprecated("Use objects.spin instead.")
"""
STATE = """
return await self._list(str, "/v1/state", bare=True)
async def get(self, key: str, *, lease_id: str) -> JSON:
lease_id = Secret(lease_id)
async def replace(self, key: str, *, lease_id: str, value: JSON) -> JSON:
return await self._put(object, route, value, headers={"alchemy-state-lease-id": lease_id}, bare=True)
await self._delete(path("/v1/state/{}", key), headers={"alchemy-state-lease-id": lease_id})
"""


@pytest.mark.parametrize("line", THINGS.strip().split("\n"))
def test_things(things: str, line: str) -> None:
    assert line in [found.strip() for found in things.split("\n")]


@pytest.mark.parametrize("line", STATE.strip().split("\n"))
def test_state(state: str, line: str) -> None:
    assert line in [found.strip() for found in state.split("\n")]


def test_models_come_before_what_uses_them_and_the_class_last(things: str) -> None:
    defined = [node.name for node in ast.parse(things).body if isinstance(node, ast.ClassDef)]
    assert defined[-1] == "Things"
    assert defined.index("ThingMaker") < defined.index("Thing")
    assert len(set(defined)) == len(defined)


def test_references_and_all_of() -> None:
    jars = code(document("referenced"))["jars.py"]
    assert "class JarWithLid:" in jars
    assert "    id: str\n    lid: Lid\n    size: int | None = None\n    filled_on: str | None = None\n" in jars
    assert "-> tuple[Jar, ...]:" in jars
    assert "async def replace(self, jar_id: str, *, lid: Lid) -> Jar:" in jars
    assert "Someone else's words" not in jars


@pytest.mark.parametrize("name", ["inlined", "referenced"])
def test_a_description_normalises_to_itself(name: str) -> None:
    once = normalise(document(name), NAMES).description
    assert normalise(copy.deepcopy(once), NAMES, once).description == once
    assert changes(once, once) == []


def test_equal_shapes_get_one_name_and_listed_ones_the_name_of_the_list() -> None:
    names = Names({"management": {"models": {"maker": "Party", "Thing.owner": "Owner"}}}, "management")
    assert "owner: ThingMaker | None" in code(document("inlined"))["things.py"]
    assert "owner: Owner | None" in code(document("inlined"), names)["things.py"]


def test_operations_that_are_listed_get_their_names() -> None:
    listed = {"GET /v1/things/{thingId}/usage": "meters.read Reading", "GET /v1/things/{id}": "things.get Thing"}
    made = code(document("inlined"), Names({"management": {"operations": listed}}, "management"))
    assert "class Reading:" in made["meters.py"]
    assert "async def read(self, thing_id: str, *, class_: str | None = None) -> Reading:" in made["meters.py"]


@pytest.mark.parametrize(
    ("route", "name"),
    [
        ("GET /v1/big-things", "big_things.list"),
        ("GET /v1/things/{id}", "things.get"),
        ("POST /v1/things/{id}/spin", "things.spin"),
        ("GET /v1/things/{id}/boxes", "things.list_boxes"),
        ("POST /v1/things/{id}/boxes", "things.create_box"),
        ("DELETE /v1/things/{id}/boxes/{boxId}", "things.delete_box"),
        ("PATCH /things/{id}/factory", "things.update_factory"),
        ("GET /v1", "root.list"),
    ],
)
def test_default_names(route: str, name: str) -> None:
    assert default_operation(route) == name


def test_variants_of_a_model_are_merged() -> None:
    text, number = {"type": "string"}, {"type": "integer"}
    one = {
        "type": "object",
        "properties": {"a": text, "b": number, "u": {"type": "string", "const": "x"}},
        "required": ["a", "b", "u"],
    }
    two = {
        "type": "object",
        "properties": {
            "a": {"type": ["string", "null"]},
            "b": {"type": "number"},
            "u": {"type": "string", "const": "y"},
            "c": text,
        },
        "required": ["a", "u", "c"],
    }
    assert merge(one, two, "#") == {
        "type": "object",
        "properties": {
            "a": {"type": ["string", "null"]},
            "b": {"type": "number"},
            "u": {"type": "string", "enum": ["x", "y"]},
            "c": text,
        },
        "required": ["a", "u"],
    }
    with pytest.raises(DocumentError, match=r"^#\.a: holds string in one place and boolean in another$"):
        merge(one, {"type": "object", "properties": {"a": {"type": "boolean"}}, "required": []}, "#")


def test_an_import_of_each_other_is_broken_up_by_sharing() -> None:
    part: Any = {"type": "object", "properties": {"name": {"type": "string"}}, "required": []}
    cat = {
        **part,
        "properties": {"dog": {**part, "properties": {"collar": {"type": "string"}, "size": {"type": "number"}}}},
    }
    doc = answering(cat)
    doc["paths"] = {
        "/cats": {"get": answering(cat)["paths"]["/v1/x"]["get"]},
        "/dogs": {"get": answering(cat["properties"]["dog"])["paths"]["/v1/x"]["get"]},
        "/cats/{id}/dog": {"get": answering(cat["properties"]["dog"])["paths"]["/v1/x"]["get"]},
        "/dogs/{id}/cat": {"get": answering(cat)["paths"]["/v1/x"]["get"]},
    }
    for path in ("/cats/{id}/dog", "/dogs/{id}/cat"):
        doc["paths"][path]["parameters"] = [
            {"name": "id", "in": "path", "required": True, "schema": {"type": "string"}}
        ]
    listed = {"GET /cats": "cats.list Cat", "GET /dogs": "dogs.list Dog"}
    listed |= {"GET /cats/{id}/dog": "cats.dog Dog", "GET /dogs/{id}/cat": "dogs.cat Cat"}
    table = {"management": {"operations": listed, "models": {"dog": "Dog"}}}
    made = code(doc, Names(table, "management"))
    assert "management.dogs" not in made["cats.py"]
    assert "management.cats" not in made["dogs.py"]
    assert "class Dog:" in made["shared.py"]


SCHEMA = "#/paths/~1v1~1x/get/responses/200/content/application~1json/schema"
OBJECT: Any = {"type": "object", "properties": {"a": {"type": "string"}}}


@pytest.mark.parametrize(
    ("schema", "message"),
    [
        ({"oneOf": [OBJECT, OBJECT]}, f"{SCHEMA}: oneOf without a discriminator"),
        ({"not": OBJECT}, f"{SCHEMA}: the keyword `not` is not known"),
        ({"type": "decimal"}, f'{SCHEMA}: the type "decimal" is not known'),
        ({"type": ["string", "integer"]}, f'{SCHEMA}: the type ["string", "integer"] is not known'),
        ({"$ref": "#/components/schemas/Gone"}, f"{SCHEMA}: nothing at #/components/schemas/Gone"),
        ({"allOf": [{"type": "string"}]}, f"{SCHEMA}/allOf/0: a part that is no object"),
        ({"enum": [1, 2]}, f"{SCHEMA}: an enumeration of other things than strings"),
        ({**OBJECT, "additionalProperties": OBJECT}, f"{SCHEMA}: properties beside a schema of additional ones"),
        ({"properties": {"a b": {}}}, f'{SCHEMA}: "a b" is not a plain name'),
        (
            {"properties": {"data": {"type": "array", "items": {"if": {}}}}},
            f"{SCHEMA}/properties/data/items: the keyword",
        ),
    ],
)
def test_unknown_schemas(schema: Any, message: str) -> None:
    with pytest.raises(DocumentError) as caught:
        normalise(answering(schema), NAMES).description
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)


def body(schema: Any, kind: str = "application/json") -> Callable[[Any], Any]:
    return lambda doc: operation_in(doc).update(requestBody={"content": {kind: {"schema": schema}}})


def parameter(name: str, where: str) -> Callable[[Any], Any]:
    return lambda doc: operation_in(doc).setdefault("parameters", []).append({"name": name, "in": where, "schema": {}})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            body({"type": "string"}),
            "#/paths/~1v1~1x/get/requestBody/content/application~1json/schema: a body that is no",
        ),
        (body({}, "text/csv"), "#/paths/~1v1~1x/get/requestBody: content of type text/csv"),
        (parameter("a", "cookie"), "#/paths/~1v1~1x/get/parameters/0: a parameter in the cookie"),
        (parameter('a")', "query"), '#/paths/~1v1~1x/get/parameters/0: "a\\")" is not a plain name'),
        (
            lambda doc: operation_in(doc).update(responses={"404": {}}),
            "#/paths/~1v1~1x/get/responses: no success among",
        ),
        (
            lambda doc: operation_in(doc)["responses"].update({"204": {}}),
            "#/paths/~1v1~1x/get/responses: successes that",
        ),
        (lambda doc: doc["paths"].update({"/x": doc["paths"]["/v1/x"]}), "#/paths: two routes are named x.list"),
        (lambda doc: doc.update(servers=[]), "#/servers: no server"),
        (
            lambda doc: [parameter("aB", "query")(doc), parameter("a-b", "query")(doc)],
            "#/paths/~1v1~1x/get: the keyword a_b comes twice",
        ),
    ],
)
def test_unknown_operations(change: Callable[[Any], Any], message: str) -> None:
    doc = answering(OBJECT)
    change(doc)
    with pytest.raises(DocumentError) as caught:
        normalise(doc, NAMES).description
    assert str(caught.value).startswith(message)


def test_a_log_with_a_follow_of_its_own_beside_a_websocket() -> None:
    doc = document("inlined")
    log = doc["paths"]["/v1/things/{thingId}/logs"]["get"]
    log["parameters"].append({"name": "follow", "in": "query", "schema": {"type": "boolean"}})
    with pytest.raises(DocumentError, match="logs/get: the keyword follow comes twice"):
        normalise(doc, NAMES).description


def test_a_model_that_contains_itself() -> None:
    doc = answering({"$ref": "#/components/schemas/Node"})
    doc["components"] = {"schemas": {"Node": {"properties": {"next": {"$ref": "#/components/schemas/Node"}}}}}
    with pytest.raises(DocumentError, match="/properties/next: Node contains itself"):
        normalise(doc, NAMES).description
