"""Three small documents as releases in a chain, and what a maintainer sees of each."""

from typing import Any

import pytest

from tests.apigen import generated
from tests.apigen.mutations import (
    BASE,
    CURSOR,
    FIELDS,
    GONE,
    ID,
    LIST,
    NUMBER,
    ONE,
    PAGE,
    REF,
    TEXT,
    answer,
    data,
    json_of,
    op,
    patched,
    thing,
)
from tests.apigen.walk import Walk, imported
from tools.apigen.changes import changes
from tools.apigen.names import Names
from tools.apigen.normalise import Result, normalise

# A widget gets owners, which are deprecated, and archived; parts come; a path parameter is called otherwise.
SECOND: Any = patched(
    {
        f"{FIELDS}/ownerId": {"type": ["string", "null"]},
        f"{FIELDS}/size": NUMBER,
        f"{FIELDS}/state": {"enum": ["new", "old"]},
        f"{LIST}/get/parameters": [CURSOR, {"name": "ownerId", "in": "query", "schema": TEXT}],
        ONE: GONE,
        ONE.replace("widgetId", "id"): {
            "get": op(data(REF), parameters=[{**ID, "name": "id"}]),
            "patch": op(data(REF), parameters=[{**ID, "name": "id"}], requestBody=json_of(thing(name=TEXT))),
        },
        "/paths/~1v1~1parts": {
            "get": op(
                data({"type": "array", "items": thing(id=TEXT, name=TEXT)}, pagination=PAGE), parameters=[CURSOR]
            ),
            "post": op(data(thing(id=TEXT, name=TEXT, token=TEXT)), "201", requestBody=json_of(thing(name=TEXT))),
        },
        "/servers": [*BASE["servers"], {"url": "https://eu.things.example"}],
    }
)
# The mark of the owner ends, sizes are always there, and names no more; a part is told in detail; one route is odd.
THIRD: Any = patched(
    {
        "/components/schemas/Widget/required": ["id", "size"],
        f"{FIELDS}/ownerId/deprecated": True,
        f"{FIELDS}/size": {"type": ["number", "null"]},
        f"{FIELDS}/state/enum": ["new", "old", "lost"],
        f"{LIST}/get/deprecated": True,
        f"{LIST}/get/parameters": [CURSOR, {"name": "ownerId", "in": "query", "schema": TEXT, "required": True}],
        "/paths/~1v1~1parts~1{partId}": {
            "get": op(data(thing(id=TEXT, name=TEXT, weight=NUMBER)), parameters=[{**ID, "name": "partId"}]),
            "put": op({"description": "", "content": {"text/csv": {}}}, parameters=[{**ID, "name": "partId"}]),
        },
        "/paths/~1v1~1status": {"get": op(answer(thing(ok={"type": "boolean"})), security=[])},
    },
    SECOND,
)
RELEASES = [BASE, SECOND, THIRD]
NAMES = Names({}, "management")


@pytest.fixture(scope="module")
def chain() -> list[Result]:
    made = [normalise(BASE, NAMES)]
    for release in RELEASES[1:]:
        made.append(normalise(release, NAMES, made[-1].description))
    return made


def test_the_second_release_is_told_line_by_line(chain: list[Result]) -> None:
    assert changes(chain[0].description, chain[1].description) == [
        "- Added `GET /v1/parts` (`parts.list`)",
        "- Added `PATCH /v1/widgets/{id}` (`widgets.update`)",
        "- Added `POST /v1/parts` (`parts.create`)",
        "- Added field `ownerId` to `Widget`",
        "- Added field `size` to `Widget`",
        "- Added field `state` to `Widget`",
        "- Added keyword `owner_id` to `widgets.list`",
        "- Added the server https://eu.things.example; the client keeps to its own",
        "- Removed `DELETE /v1/widgets/{widgetId}`",
    ]
    assert chain[1].refused == []


def test_a_renamed_path_parameter_is_no_change_of_the_code(chain: list[Result]) -> None:
    code = generated(chain[1].description)["widgets.py"]
    assert "async def get(self, widget_id: str) -> Widget:" in code
    assert "GET /v1/widgets/{id}" in code


def test_the_third_release_is_told_line_by_line(chain: list[Result]) -> None:
    assert changes(chain[1].description, chain[2].description) == [
        "- Added `GET /v1/parts/{partId}` (`parts.get`)",
        "- Added `GET /v1/status` (`status.get`)",
        "- Added value `lost` to `WidgetState`",
        "- Changed field `name` of `Widget`: it may be missing now",
        "- Changed field `size` of `Widget`: it is always there now",
        "- Changed field `size` of `Widget`: it may be null now",
        "- Changed keyword `owner_id` of `widgets.list`: it is required now",
        "- Deprecated `GET /v1/widgets` (`widgets.list`)",
        "- Deprecated field `ownerId` of `Widget`",
    ]
    (line,) = chain[2].refused
    assert line.startswith("#/paths/~1v1~1parts~1{partId}/put/responses/200/content: no application/json")
    assert line.endswith("but text/csv; PUT /v1/parts/{partId} is left out")


def test_the_way_back_is_told_too(chain: list[Result]) -> None:
    lines = changes(chain[2].description, chain[1].description)
    assert "- Changed `GET /v1/widgets` (`widgets.list`): no longer deprecated" in lines
    assert "- Changed field `ownerId` of `Widget`: no longer deprecated" in lines
    assert "- Changed keyword `owner_id` of `widgets.list`: it is optional now" in lines
    assert "- Changed field `size` of `Widget`: it is never null now" in lines
    assert "- Removed value `lost` from `WidgetState`" in lines


def test_what_is_new_takes_nothing_from_what_was_there(chain: list[Result]) -> None:
    schemas = chain[2].description["components"]["schemas"]
    assert {"Part", "CreatedPart", "PartDetail", "StatusInfo"} <= schemas.keys()
    assert schemas["Part"] == chain[1].description["components"]["schemas"]["Part"]
    assert schemas["CreatedPart"]["properties"]["token"]["format"] == "password"


def test_what_is_named_by_default_is_told_once(chain: list[Result]) -> None:
    assert chain[1].unnamed == [
        '"GET /v1/parts" = "parts.list" by default; another name goes into names.toml',
        '"POST /v1/parts" = "parts.create" by default; another name goes into names.toml',
        '"PATCH /v1/widgets/{id}" = "widgets.update" by default; another name goes into names.toml',
        'enums: "Widget.state" = "WidgetState" by default; another name goes into names.toml',
    ]
    assert normalise(SECOND, NAMES, chain[1].description).unnamed == []


def test_a_name_of_the_table_wins_later_too(chain: list[Result]) -> None:
    table = {"operations": {"GET /v1/parts": "pieces.list Piece"}, "enums": {"Widget.state": "Condition"}}
    made = normalise(SECOND, Names({"management": table}, "management"), chain[1].description).description
    assert {"Piece", "Condition"} <= made["components"]["schemas"].keys()
    assert not {"Part", "WidgetState"} & made["components"]["schemas"].keys()
    assert "- Changed the name of `parts.list` to `pieces.list`" in changes(chain[1].description, made)


@pytest.mark.parametrize("i", range(len(RELEASES)))
def test_a_release_again_changes_nothing(chain: list[Result], i: int) -> None:
    again = normalise(RELEASES[i], NAMES, chain[i].description)
    assert again.description == chain[i].description
    assert changes(chain[i].description, again.description) == []


@pytest.mark.parametrize("i", range(len(RELEASES)))
def test_the_code_does_what_the_release_says(
    chain: list[Result], i: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    client = imported(generated(chain[i].description), f"release_{i}", tmp_path_factory.mktemp("release"))
    refused = {line.rpartition("; ")[2].removesuffix(" is left out") for line in chain[i].refused}
    Walk(RELEASES[i], client, refused).all()


def test_a_release_alone_gives_the_models_of_the_chain(chain: list[Result]) -> None:
    alone, chained = normalise(THIRD, NAMES).description, chain[2].description
    assert [one["operationId"] for item in alone["paths"].values() for one in item.values()] == [
        one["operationId"] for item in chained["paths"].values() for one in item.values()
    ]
