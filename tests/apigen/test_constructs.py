"""The generator, on small documents that hold every construct it knows, and some that it does not."""

import ast
import copy
from typing import Any

import pytest

from tests.apigen import NAMES, answering, code, document, generated
from tests.apigen.mutations import thing
from tools.apigen.changes import changes
from tools.apigen.names import Names, default_operations
from tools.apigen.normalise import normalise
from tools.apigen.schemas import MergeError, merge


@pytest.fixture(scope="module")
def things() -> str:
    return code(document("inlined"))["things.py"]


@pytest.fixture(scope="module")
def state() -> str:
    return code(document("inlined"))["state.py"]


THINGS = """
class_: str
owner: ThingOwner | None = None
origin: ThingBlank | ThingCopy | dict[str, JSON] | None = None
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
password = password and secret(password, "password")
"class": class_,
) -> Pager[Thing]:
) -> CreatedThing:
return await self._post(CreatedThing, "/v1/things", body)
return await self._get(Thing, path("/v1/things/{}", thing_id))
async def update(self, thing_id: str, *, name: str | Unset = UNSET) -> Thing:
PATCH /v1/things/{id} (experimental)
return await self._patch(Thing, path("/v1/things/{}", thing_id), {"name": name})
async def delete(self, thing_id: str, *, missing_ok: bool = False) -> None:
await self._delete(path("/v1/things/{}", thing_id), missing_ok=missing_ok)
return self._single_page(Backup, path("/v1/things/{}/backups", thing_id), {"limit": limit})
def list_parts(self, thing_id: str) -> Pager[Part]:
return self._list(Part, path("/v1/things/{}/parts", thing_id))
return await self._get(ThingUsage, path("/v1/things/{}/usage", thing_id), {"class": class_}, bare=True)
self, thing_id: str, *, from_start: bool | None = None, cursor: str | None = None, follow: bool | None = None
) -> LogStream[ThingLogRecord, ThingLogTerminal]:
return self._stream(ThingLogRecord, ThingLogTerminal, path("/v1/things/{}/logs", thing_id), query, live=follow)
async def import_(self, thing_id: str, *, url: str) -> None:
@deprecated("The API deprecates it.")
"""
STATE = """
def list(self) -> Pager[str]:
return self._list(str, "/v1/state", bare=True)
async def get(self, key: str, *, lease_id: str) -> JSON:
lease_id = secret(lease_id, "lease_id")
async def replace(self, key: str, *, lease_id: str, value: JSON) -> JSON:
return await self._put(object, path("/v1/state/{}", key), value, headers=headers, bare=True)
path("/v1/state/{}", key), headers={"alchemy-state-lease-id": lease_id}, missing_ok=missing_ok
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
    assert "class JarWithLid(Model):" in jars
    assert "    id: str\n    lid: Lid\n    # None if null or missing:\n    size: int | None = None\n" in jars
    assert "-> Pager[Jar]:" in jars
    assert "async def replace(self, jar_id: str, *, lid: Lid) -> Jar:" in jars
    assert "Someone else's words" not in jars


@pytest.mark.parametrize("name", ["inlined", "referenced"])
def test_a_description_normalises_to_itself(name: str) -> None:
    once = normalise(document(name), NAMES).description
    assert normalise(copy.deepcopy(once), NAMES, once).description == once
    assert changes(once, once) == []


def test_listed_shapes_get_the_name_of_the_list() -> None:
    names = Names({"management": {"models": {"maker": "Party", "Thing.owner": "Owner"}}}, "management")
    assert "owner: ThingOwner | None" in code(document("inlined"))["things.py"]
    assert "owner: Owner | None" in code(document("inlined"), names)["things.py"]
    assert "maker: Party\n" in code(document("inlined"), names)["things.py"]


def test_members_of_a_union_are_listed_by_their_constant() -> None:
    listed = {"Thing.blank": "Nothing", "origin.copy": "Twin"}
    made = code(document("inlined"), Names({"management": {"models": listed}}, "management"))["things.py"]
    assert "origin: Nothing | Twin | dict[str, JSON] | None = None" in made


def test_a_deprecated_operation_names_what_replaces_it_if_that_is_there() -> None:
    doc = document("inlined")
    names = Names({"management": {"replaced": {"things": "objects"}}}, "management")
    assert '@deprecated("The API deprecates it.")' in code(doc, names)["things.py"]
    doc["paths"]["/v1/objects/{thingId}/spin"] = doc["paths"]["/v1/things/{thingId}/spin"]
    assert '@deprecated("Use objects.spin instead.")' in code(doc, names)["things.py"]


def test_operations_that_are_listed_get_their_names() -> None:
    listed = {"GET /v1/things/{thingId}/usage": "meters.read Reading", "GET /v1/things/{id}": "things.get Thing"}
    made = code(document("inlined"), Names({"management": {"operations": listed}}, "management"))
    assert "class Reading(Model):" in made["meters.py"]
    assert "async def read(self, thing_id: str, *, class_: str | None = None) -> Reading:" in made["meters.py"]


def test_a_name_in_the_table_that_is_no_method_leaves_its_operation_out() -> None:
    names = Names({"management": {"operations": {"GET /v1/state": "states"}}}, "management")
    (line,) = normalise(document("inlined"), names).refused
    assert line.startswith("#/paths/~1v1~1state/get: names.toml says 'states', which is no method of a resource; GET")


@pytest.mark.parametrize(
    ("route", "many", "name"),
    [
        ("GET /v1/big-things", True, "big_things.list"),
        ("GET /v1/things/{id}", False, "things.get"),
        ("GET /v1/me", False, "me.get"),
        ("POST /v1/things/{id}/spin", False, "things.spin"),
        ("POST /v1/things/{id}:spin", False, "things.spin"),
        ("POST /v1/things/{id}/boxes/{boxId}/spin", False, "things.spin_box"),
        ("GET /v1/things/{id}/boxes", True, "things.list_boxes"),
        ("GET /v1/things/{id}/boxes/{boxId}/lids", True, "things.list_lids"),
        ("POST /v1/things/{id}/boxes", False, "things.create_box"),
        ("DELETE /v1/things/{id}/boxes/{boxId}", False, "things.delete_box"),
        ("PATCH /things/{id}/factory", False, "things.update_factory"),
        ("HEAD /things/{id}", False, "things.check"),
        ("GET /v1", True, "root.list"),
    ],
)
def test_default_names(route: str, many: bool, name: str) -> None:
    http, _, path = route.partition(" ")
    assert ".".join(next(default_operations(http.lower(), path, many))) == name


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
    with pytest.raises(MergeError, match=r"^#\.a holds string in one place and boolean in another$"):
        merge(one, {"type": "object", "properties": {"a": {"type": "boolean"}}, "required": []}, "#")


def test_constants_that_are_merged_become_an_enumeration() -> None:
    one, two = ({"type": "object", "properties": {"kind": {"const": kind}}} for kind in ("cat", "dog"))
    names = Names({"management": {"models": {"XInfo.one": "Pet", "XInfo.two": "Pet"}}}, "management")
    code_of_x = code(answering({"type": "object", "properties": {"one": one, "two": two}}), names)["x.py"]
    assert 'PetKind: TypeAlias = Literal["cat", "dog"] | str' in code_of_x
    assert "    kind: PetKind | None = None\n" in code_of_x


def test_a_model_that_merging_makes_needless_is_left_out() -> None:
    one, two = (thing(owner=owner) for owner in (thing(id={"type": "string"}), {}))
    names = Names({"management": {"models": {"XInfo.one": "Pet", "XInfo.two": "Pet"}}}, "management")
    once = normalise(answering(thing(one=one, two=two)), names)
    assert once.description["components"]["schemas"].keys() == {"Pet", "XInfo"}
    assert "Owner" not in "".join(once.unnamed)
    assert normalise(once.description, names, once.description).description == once.description


def test_what_is_a_secret_in_one_variant_is_one_in_all() -> None:
    one, two = (thing(note={"type": "string"}), thing(note={"type": "string", "format": "password"}))
    for first, second in ((one, two), (two, one)):
        names = Names({"management": {"models": {"XInfo.one": "Pet", "XInfo.two": "Pet"}}}, "management")
        assert "    note: Secret\n" in code(answering(thing(one=first, two=second)), names)["x.py"]


@pytest.mark.parametrize("other", [{"type": "boolean"}, {"type": "object", "additionalProperties": True}])
def test_a_name_of_the_table_for_two_shapes_that_cannot_be_one_is_given_to_the_first(other: Any) -> None:
    names = Names({"management": {"models": {"XInfo.one": "Pet", "XInfo.two": "Pet", "Pet.part": "Pet"}}}, "management")
    one, two = (thing(part=thing(size=size)) for size in (thing(mm={"type": "number"}), other))
    made = normalise(answering(thing(one=one, two=two)), names)
    assert "    one: Pet\n    two: XInfoTwo\n" in generated(made.description)["x.py"]
    assert "    part: PetPart\n" in generated(made.description)["x.py"]  # no model holds itself
    told = [line.partition(" by default")[0] for line in made.unnamed]
    assert {'models: "XInfo.two" = "XInfoTwo"', 'models: "Pet.part" = "PetPart"'} <= {*told}
    assert made.refused == []


def test_members_of_a_union_stay_apart_whatever_the_table_calls_them() -> None:
    names = Names({"management": {"models": {"origin.blank": "Same", "origin.copy": "Same"}}}, "management")
    made = normalise(document("inlined"), names)
    assert "origin: Same | ThingCopy | dict[str, JSON] | None = None" in generated(made.description)["things.py"]
    assert 'models: "Thing.origin" = "ThingCopy" by default; another name goes into names.toml' in made.unnamed


def test_maps_that_are_merged_hold_what_both_held() -> None:
    counts, ratios = ({"type": "object", "additionalProperties": {"type": kind}} for kind in ("integer", "number"))
    one, two = ({"type": "object", "properties": {"sizes": sizes}} for sizes in (counts, ratios))
    names = Names({"management": {"models": {"XInfo.one": "Pet", "XInfo.two": "Pet"}}}, "management")
    made = code(answering({"type": "object", "properties": {"one": one, "two": two}}), names)["x.py"]
    assert "    sizes: dict[str, float] | None = None\n" in made


def test_a_new_answer_with_fields_beside_its_data_has_a_model_of_its_own() -> None:
    thing = {"type": "object", "properties": {"id": {"type": "string"}}, "required": ["id"]}
    doc = answering({"type": "object", "properties": {"data": thing, "hint": {"type": "string"}}, "required": ["data"]})
    doc["paths"]["/v1/x"]["patch"] = doc["paths"]["/v1/x"]["get"]
    doc["paths"]["/v1/x"]["get"] = answering({"type": "object", "properties": {"data": thing}})["paths"]["/v1/x"]["get"]
    made = code(doc)["x.py"]
    assert "async def get(self) -> XInfo:" in made
    assert "async def update(self) -> UpdatedX:" in made


def test_a_model_that_merging_makes_like_an_envelope_stays_a_model() -> None:
    names = Names(
        {"management": {"operations": {"GET /v1/x": "x.get Pet", "POST /v1/x": "x.create Pet"}}}, "management"
    )
    held, beside = thing(data=thing(size={"type": "number"})), thing(hint={"type": "string"})
    doc = answering({"type": "object", "additionalProperties": held})
    doc["paths"]["/v1/x"]["post"] = answering(beside)["paths"]["/v1/x"]["get"]
    once = normalise(doc, names).description
    assert "async def create(self) -> Pet:" in generated(once)["x.py"]
    assert normalise(doc, names, once).description == once
    assert normalise(once, names, once).description == once


def test_an_id_that_is_a_date_is_sent_as_text() -> None:
    doc = document("inlined")
    doc["paths"]["/v1/things/{id}"]["get"]["parameters"][0]["schema"] = {"type": "string", "format": "date-time"}
    assert 'path("/v1/things/{}", thing_id.isoformat())' in code(doc)["things.py"]


def test_a_body_of_fields_that_only_the_api_sends_may_hold_any() -> None:
    doc = answering({})
    fields = {"id": {"type": "string", "readOnly": True}}
    body = {"type": "object", "properties": fields, "required": ["id"]}
    doc["paths"]["/v1/x"]["get"]["requestBody"] = {"content": {"application/json": {"schema": body}}}
    once = normalise(doc, NAMES).description
    assert "async def get(self, *, value: Mapping[str, JSON]) -> JSON:" in generated(once)["x.py"]
    assert normalise(once, NAMES, once).description == once


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
    assert "class Dog(Model):" in made["shared.py"]


def test_a_log_with_a_follow_of_its_own_beside_a_websocket() -> None:
    doc = document("inlined")
    log = doc["paths"]["/v1/things/{thingId}/logs"]["get"]
    log["parameters"].append({"name": "follow", "in": "query", "schema": {"type": "boolean"}})
    assert '"follow": follow_query}' in code(doc)["things.py"]
