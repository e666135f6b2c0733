"""A newer document: whose words stay, and what is told of its changes."""

import copy

from tests.apigen import NAMES, TABLE, answering, document, generated
from tests.apigen.mutations import BASE, FIELDS, LIST, TEXT, data, op, patched, thing
from tools.apigen.changes import changes
from tools.apigen.names import Names
from tools.apigen.normalise import normalise


def test_words_are_kept_and_new_ones_are_ours() -> None:
    doc = document("inlined")
    committed = normalise(doc, NAMES).description
    committed["paths"]["/v1/things"]["get"].update(summary="Walk the things.", description="Slowly.")
    committed["components"]["schemas"]["Thing"]["description"] = "A thing."
    committed["components"]["schemas"]["Thing"]["properties"]["size"]["description"] = "metres"
    doc["paths"]["/v1/things"]["get"].update(summary="Somebody else's summary")
    made = normalise(doc, NAMES, committed).description
    assert made == committed
    text = generated(made)["things.py"]
    words = '"""Walk the things.\n\n        Slowly. `limit` is the size of a page. Raises NotFoundError.'
    assert f"{words}\n\n        GET /v1/things\n" in text
    assert "size: float  # metres" in text
    assert made["paths"]["/v1/things"]["post"]["summary"] == "Create thing."


def test_three_changes_give_three_lines() -> None:
    doc = document("inlined")
    old = normalise(doc, NAMES).description
    things = doc["paths"].pop("/v1/things")
    answer = things["get"]["responses"]["200"]["content"]["application/json"]["schema"]
    answer["properties"]["data"]["items"]["properties"]["weight"] = {"type": "number"}
    doc["paths"]["/v1/things"] = things
    doc["paths"]["/v1/boxes"] = {"get": copy.deepcopy(things["get"])}
    del doc["paths"]["/v1/things/{id}"]["delete"]
    assert changes(old, normalise(doc, NAMES, old).description) == [
        "- Added `GET /v1/boxes` (`boxes.list`)",
        "- Added field `weight` to `Thing`",
        "- Removed `DELETE /v1/things/{id}`",
    ]


def test_a_new_operation_leaves_the_models_of_the_others_alone() -> None:
    doc = document("inlined")
    old = normalise(doc, NAMES).description
    answer = copy.deepcopy(doc["paths"]["/v1/things/{id}"]["get"])
    thing = answer["responses"]["200"]["content"]["application/json"]["schema"]["properties"]["data"]
    del thing["properties"]["size"]
    doc["paths"]["/v1/things/{id}/merge"] = {"post": answer}
    doc["paths"]["/v1/boxes/{id}/things"] = {"get": copy.deepcopy(answer)}
    new = normalise(doc, NAMES, old).description
    assert changes(old, new) == [
        "- Added `GET /v1/boxes/{id}/things` (`boxes.get_things`)",
        "- Added `POST /v1/things/{id}/merge` (`things.merge`)",
    ]
    assert {"BoxThing"} <= new["components"]["schemas"].keys() - old["components"]["schemas"].keys()


def test_an_answer_that_fits_its_model_no_more_gets_a_model_of_its_own() -> None:
    old = normalise(BASE, NAMES).description
    assert old["paths"]["/v1/widgets"]["post"]["operationId"] == "widgets.create"
    doc = patched({f"{LIST}/post/responses/201": data(thing(id=thing(a=TEXT)))})
    made = normalise(doc, NAMES, old)
    assert made.refused == []
    assert changes(old, made.description) == ["- Changed the answer of `widgets.create` from Widget to CreatedWidget"]
    assert normalise(doc, NAMES, made.description).description == made.description


def test_what_stood_alone_keeps_its_name_in_a_union() -> None:
    alone, other = thing(type={"const": "blank"}), thing(type={"const": "copy"}, size={"type": "number"})
    old = normalise(answering(thing(origin=alone)), NAMES).description
    new = normalise(answering(thing(origin={"oneOf": [alone, other]})), NAMES, old).description
    assert old["components"]["schemas"].keys() == {"XInfo", "XInfoOrigin"}
    assert new["components"]["schemas"].keys() == {"XInfo", "XInfoOrigin", "XInfoCopy"}
    assert normalise(answering(thing(origin=alone)), NAMES, new).description == old


def test_models_keep_their_names_in_a_new_version_of_their_routes() -> None:
    doc = patched({f"{FIELDS}/part": thing(token=TEXT, state={"enum": ["new", "old"]})})
    old = normalise(doc, NAMES).description
    doc["paths"] = {path.replace("/v1/", "/v2/"): item for path, item in doc["paths"].items()}
    new = normalise(doc, NAMES, old).description
    assert {"Widget", "WidgetPart", "WidgetPartState"} <= old["components"]["schemas"].keys()
    assert new["components"] == old["components"]


def test_a_name_of_the_table_for_any_field_changes_no_model_that_is_committed() -> None:
    names = Names({"management": {"models": {"maker": "Party"}}}, "management")
    old = normalise(answering(thing(maker=thing(id=TEXT, name=TEXT))), names).description
    doc = answering(thing(maker=thing(id=TEXT, name=TEXT)))
    doc["paths"]["/v1/y"] = {"get": op(data(thing(maker=thing(id=TEXT))))}
    new = normalise(doc, names, old).description
    assert changes(old, new) == ["- Added `GET /v1/y` (`y.get`)"]
    assert new["components"]["schemas"]["Party"] == old["components"]["schemas"]["Party"]


def test_a_keyword_keeps_its_name_if_the_one_that_it_stood_beside_is_gone() -> None:
    beside = {f"{LIST}/post/parameters": [{"name": "name", "in": "query", "schema": TEXT}]}
    old = normalise(patched(beside), NAMES).description
    new = normalise(BASE, NAMES, old).description
    assert "async def create(self, *, name_body: str) -> Widget:" in generated(new)["widgets.py"]
    assert changes(old, new) == ["- Removed keyword `name` from `widgets.create`"]


def test_what_is_merged_keeps_its_order() -> None:
    names = Names({"management": {"models": {"part": "Part"}, "enums": {"state": "State"}}}, "management")
    parts = [thing(state={"enum": [word]}, **{word: TEXT}, id=TEXT) for word in ("new", "old")]
    made, found = normalise(BASE, names), list[list[str]]()
    doc = patched(
        {
            f"{LIST}/post/responses/201": data(thing(part=parts[0])),
            f"{LIST.replace('widgets', 'gears')}": {"get": op(data(thing(part=parts[1])))},
        }
    )
    for _ in range(2):
        made = normalise(doc, names, made.description)
        found.append([*made.description["components"]["schemas"]["Part"]["properties"]])
        assert made.description["components"]["schemas"]["State"]["enum"] == ["new", "old"]
    assert found[0] == found[1] == ["state", "new", "id", "old"]


def test_other_changes() -> None:
    doc = document("inlined")
    old = normalise(doc, NAMES).description
    listing = doc["paths"]["/v1/things"]["get"]
    listing["deprecated"] = True
    listing["parameters"].append({"name": "sinceDay", "in": "query", "schema": {"type": "string"}})
    usage = doc["paths"]["/v1/things/{thingId}/usage"]["get"]
    usage["responses"]["200"]["content"]["application/json"]["schema"]["properties"]["used"] = {"type": "string"}
    doc["paths"]["/v1/state"]["get"]["responses"]["200"]["content"]["application/json"]["schema"] = {}
    create = doc["paths"]["/v1/things"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    create["required"].append("password")
    del create["properties"]["startsAt"]
    create["properties"]["kind"]["enum"].append("gas")
    names = Names({**TABLE, "management": {"operations": {"GET /v1/state": "state.names"}}}, "management")
    assert changes(old, normalise(doc, names, old).description) == [
        "- Added keyword `since_day` to `things.list`",
        "- Added value `gas` to `ThingKind`",
        "- Changed field `used` of `ThingUsage` from float to str",
        "- Changed keyword `password` of `things.create`: it is required now",
        "- Changed the answer of `state.names` from list[str] to JSON",
        "- Changed the name of `state.list` to `state.names`",
        "- Deprecated `GET /v1/things` (`things.list`)",
        "- Removed keyword `starts_at` from `things.create`",
    ]


def test_the_first_of_its_keywords_and_errors_is_a_change_of_an_operation() -> None:
    doc = answering({})
    old = normalise(doc, NAMES).description
    operation = doc["paths"]["/v1/x"]["get"]
    operation["parameters"] = [{"name": "kind", "in": "query", "required": True, "schema": {"type": "string"}}]
    operation["responses"]["409"] = {"description": ""}
    new = normalise(doc, NAMES, old).description
    assert changes(old, new) == [
        "- Added the required keyword `kind` to `x.get`",
        "- Changed `x.get`: it may answer 409 now",
    ]
    assert changes(new, old) == [
        "- Changed `x.get`: it answers 409 no more",
        "- Removed keyword `kind` from `x.get`",
    ]
    assert changes({}, new) == ["- Added `GET /v1/x` (`x.get`)"]


def test_a_token_that_is_needed_or_not_is_told() -> None:
    with_token, without = (normalise(patched(one), NAMES).description for one in ({}, {f"{LIST}/get/security": []}))
    assert changes(with_token, without) == ["- Changed `widgets.list`: it needs no token now"]
    assert changes(without, with_token) == ["- Changed `widgets.list`: it needs a token now"]


def test_a_document_without_servers_takes_none_away() -> None:
    old = normalise(BASE, NAMES).description
    assert normalise({**BASE, "servers": []}, NAMES, old).description == old


def test_a_server_that_is_back_is_told() -> None:
    doc = answering({})
    old = normalise(doc, NAMES).description
    elsewhere = {**doc, "servers": [{"url": "https://y"}]}
    gone = normalise(elsewhere, NAMES, old).description
    assert "- Removed the server https://x, which the client keeps to" in changes(old, gone)
    assert "- Added the server https://x, which the client has kept to" in changes(gone, old)
