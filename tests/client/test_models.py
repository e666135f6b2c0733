"""Models go out and come in again: as dicts and JSON, by pydantic, pickle and copies, and by others' default=."""

import copy
import json
import pickle
import subprocess
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Literal

import attrs
import orjson
import pytest
from attrs import define, field

from prisma_mgmt import UNSET, DecodeError, Model, Page, Unset
from prisma_mgmt.core import codec
from prisma_mgmt.core.encoding import dump
from prisma_mgmt.masks import Secret

pydantic = pytest.importorskip("pydantic")


@define
class Region(Model):
    """A place."""

    id: str


@define
class Backup(Model):
    backup_id: str
    type: Literal["backup"] = "backup"


@define
class Shop(Model):
    """A shop."""

    id: str
    created_at: datetime
    password: Secret
    region: Region
    regions: list[Region]
    labels: dict[str, Secret]
    owner: str | None
    status: Literal["open", "closed"] | str
    class_: str = field(default="c", metadata={"key": "klass"})
    source: Backup | dict[str, Any] | None = None
    old_password: Secret | None = None
    note: str | Unset | None = UNSET


def shop(**changes: Any) -> Shop:
    made = Shop(
        "s",
        datetime(2026, 1, 2, 3, 4, 5, 678000, tzinfo=UTC),
        Secret("hunter2"),
        Region("r"),
        [Region("q")],
        {"k": Secret("canary")},
        None,
        "open",
        source=Backup("b"),
    )
    return attrs.evolve(made, **changes)


WHOLE: dict[str, Any] = {
    "id": "s",
    "createdAt": "2026-01-02T03:04:05.678000+00:00",
    "password": "hunter2",
    "region": {"id": "r"},
    "regions": [{"id": "q"}],
    "labels": {"k": "canary"},
    "owner": None,
    "status": "open",
    "klass": "c",
    "source": {"backupId": "b", "type": "backup"},
    "oldPassword": None,
}
MASKED = {**WHOLE, "password": "**********", "labels": {"k": "**********"}}


@pytest.mark.parametrize("library", [orjson, None], ids=["orjson", "json"])
def test_a_model_as_a_dict_and_as_json(library: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(codec, "_orjson", library)
    assert shop().to_dict(secrets=True) == WHOLE
    assert shop().to_dict() == MASKED
    assert list(shop().to_dict()) == list(WHOLE)
    assert json.loads(shop().to_json(secrets=True)) == WHOLE
    assert json.loads(shop().to_json()) == MASKED
    assert type(shop().to_json()) is str


def test_what_is_unset_is_left_out_and_null_stays() -> None:
    assert "note" not in shop().to_dict()
    assert shop(note=None).to_dict()["note"] is None
    assert shop(old_password=Secret("")).to_dict()["oldPassword"] == "", "nothing is no secret"


def test_a_plain_copy_holds_no_strings_that_are_masked() -> None:
    assert type(shop().to_dict(secrets=True)["password"]) is str


@pytest.mark.parametrize(
    "changes",
    [{}, {"note": None}, {"note": "n"}, {"source": {"type": "new", "x": [1]}}, {"old_password": Secret("x")}],
)
def test_a_round_trip_with_secrets_gives_an_equal_model(changes: dict[str, Any]) -> None:
    before = shop(**changes)
    assert Shop.from_dict(before.to_dict(secrets=True)) == before
    assert Shop.from_dict(json.loads(before.to_json(secrets=True))) == before
    assert Shop.from_dict(before.to_dict()) != before


def test_from_dict_is_as_strict_as_an_answer_and_as_lenient() -> None:
    assert Shop.from_dict({**WHOLE, "more": 1, "status": "molten"}).status == "molten"
    assert Shop.from_dict({key: value for key, value in WHOLE.items() if key != "owner"}).owner is None
    bad: list[tuple[Any, str, str]] = [
        ({**WHOLE, "id": 5}, "id", "id: expected a string, got a number"),
        ({**WHOLE, "regions": [{"id": "r"}, {}]}, "regions[1].id", "regions[1].id: missing"),
        (
            {**WHOLE, "createdAt": datetime(2026, 1, 1)},
            "createdAt",
            "createdAt: expected a date and time, got datetime",
        ),
        ([WHOLE], "", "Shop: expected an object, got an array"),
        (None, "", "Shop: expected an object, got null"),
    ]
    for data, path, message in bad:
        with pytest.raises(DecodeError) as caught:
            Shop.from_dict(data)
        assert (caught.value.path, str(caught.value)) == (path, message)


def test_an_error_of_from_dict_holds_no_frame_with_the_data() -> None:
    with pytest.raises(DecodeError) as caught:
        Shop.from_dict({**WHOLE, "id": 5})
    assert caught.value.__context__ is None
    assert caught.value.__cause__ is None
    assert caught.traceback[-1].name == "from_dict"
    assert "hunter2" not in repr(caught.traceback[-1].locals)


def test_models_are_copied_pickled_and_evolved() -> None:
    before = shop()
    for after in (copy.copy(before), copy.deepcopy(before), pickle.loads(pickle.dumps(before))):
        assert after == before
        assert type(after.password) is Secret
    assert attrs.evolve(before, id="t") == shop(id="t") != before
    assert "hunter2" not in repr(before)
    assert attrs.asdict(before)["password"] == "hunter2"


def test_models_share_one_way_to_be_compared_and_shown() -> None:
    assert Shop.__eq__ is Region.__eq__ is Model.__eq__
    assert repr(Region("r")) == "Region(id='r')"
    assert repr(Backup("b")) == "Backup(backup_id='b', type='backup')"
    assert Region("r") == Region("r")
    assert Region("r") != Region("q")
    assert Region("r") != Backup("r")
    assert Region("r") != "r"
    with pytest.raises(TypeError, match="unhashable"):
        hash(Region("r"))


def test_a_model_has_slots_and_no_dict() -> None:
    assert not hasattr(shop(), "__dict__")
    with pytest.raises(AttributeError):
        shop().passwrod = "x"  # type: ignore[attr-defined]  # which is the point


def test_a_model_sent_as_a_body_leaves_out_what_is_none_by_default() -> None:
    sent = json.loads(dump(shop()))
    assert sent == {key: value for key, value in WHOLE.items() if key != "oldPassword"}


def test_orjson_and_json_write_models_by_default() -> None:
    assert json.loads(orjson.dumps([shop()], default=Model.to_dict)) == [MASKED]
    assert json.loads(json.dumps({"a": shop()}, default=Model.to_dict)) == {"a": MASKED}
    page = Page([shop()])
    assert json.loads(orjson.dumps({"page": page}, default=Model.to_dict)) == {"page": [MASKED]}
    assert json.loads(json.dumps(page, default=Model.to_dict)) == [MASKED]
    assert json.loads(dump({"page": page})) == {"page": [json.loads(dump(shop()))]}


def test_msgspec_is_given_what_to_dict_gives() -> None:
    msgspec = pytest.importorskip("msgspec")
    assert msgspec.json.decode(msgspec.json.encode(shop().to_dict())) == MASKED
    assert b"hunter2" not in msgspec.json.encode(shop(), enc_hook=Model.to_dict), "which masks a Secret, too"


def test_pydantic_takes_models_as_they_are_or_as_dicts() -> None:
    adapter = pydantic.TypeAdapter(list[Shop])
    one = shop()
    assert adapter.validate_python([one])[0] is one
    assert adapter.validate_python([WHOLE]) == adapter.validate_json(json.dumps([WHOLE])) == [one]
    assert json.loads(adapter.dump_json([one])) == adapter.dump_python([one]) == [MASKED]


def test_pydantic_leaves_out_what_it_is_told_to() -> None:
    adapter, many = pydantic.TypeAdapter(Shop), pydantic.TypeAdapter(list[Shop])
    assert adapter.dump_python(shop(), include={"id": True, "region": True}) == {"id": "s", "region": MASKED["region"]}
    assert json.loads(adapter.dump_json(shop(), exclude={"region", "labels"})) == {
        key: value for key, value in MASKED.items() if key not in ("region", "labels")
    }
    assert many.dump_python([shop()], include={"__all__": {"id"}}) == [{"id": "s"}]
    assert adapter.dump_python(shop(), exclude_none=True) == {k: v for k, v in MASKED.items() if v is not None}
    assert None in MASKED.values()


def test_pydantic_says_what_does_not_fit_and_not_what_was_given() -> None:
    with pytest.raises(pydantic.ValidationError, match=r"regions\[0\].id: missing") as caught:
        pydantic.TypeAdapter(Shop).validate_python({**WHOLE, "regions": [{"k": "canary"}]})
    assert "canary" not in str(caught.value) + repr(caught.value.errors())
    assert "hunter2" not in str(caught.value) + repr(caught.value.errors())


def test_a_pydantic_model_has_models_as_fields() -> None:
    class Page(pydantic.BaseModel):  # type: ignore[misc,name-defined]  # it is imported if it is there
        shop: Shop
        other: Shop | None = None

    page = Page(shop=WHOLE)
    assert page.shop == shop()
    assert json.loads(page.model_dump_json()) == {"shop": MASKED, "other": None}
    assert Page.model_validate(page).shop is page.shop


def test_pydantic_writes_models_and_pages_where_a_type_says_nothing_of_them() -> None:
    for kind in (Any, dict, dict[str, Any], object):
        assert json.loads(pydantic.TypeAdapter(kind).dump_json({"a": [shop()], "page": Page([shop()])})) == {
            "a": [MASKED],
            "page": [MASKED],
        }
    assert json.loads(pydantic.TypeAdapter(Sequence[Shop]).dump_json(Page([shop()]))) == [MASKED]


WITHOUT_PYDANTIC = """
import inspect, sys
from unittest.mock import Mock
sys.modules["pydantic_core"] = None
from prisma_mgmt import Page, factories
from prisma_mgmt.management.models import Project
project = Project.from_dict(factories.project(name="shop"))
for one in (project, Page([project])):
    Mock(spec=one), inspect.getmembers(one)
    print(hasattr(one, "__pydantic_serializer__"))
"""


def test_without_pydantic_models_and_pages_are_looked_into_as_others_are() -> None:
    done = subprocess.run([sys.executable, "-c", WITHOUT_PYDANTIC], capture_output=True, text=True, check=False)
    assert (done.stdout.split(), done.stderr) == (["False", "False"], "")


def test_pydantic_takes_a_page_for_a_list() -> None:
    adapter = pydantic.TypeAdapter(Page[Shop])
    page = Page([shop()], "c1", True)
    assert adapter.validate_python(page) is page
    assert adapter.validate_python([WHOLE]) == Page([shop()])
    assert json.loads(adapter.dump_json(page)) == adapter.dump_python(page) == [MASKED]
    for mode in ("validation", "serialization"):
        shown = adapter.json_schema(mode=mode)
        assert (shown["type"], shown["items"]) == ("array", {"$ref": "#/$defs/Shop"})
    assert pydantic.TypeAdapter(Page).validate_python([1]) == [1]


def test_a_dict_of_a_model_is_what_to_dict_gives() -> None:
    assert dict(shop()) == MASKED


def test_pydantic_shows_the_keys_of_the_api() -> None:
    adapter = pydantic.TypeAdapter(Shop)
    schema = adapter.json_schema()
    assert schema == adapter.json_schema(mode="serialization")
    shown = schema["properties"]
    assert list(shown) == [*WHOLE, "note"]
    assert schema["required"] == ["id", "createdAt", "password", "region", "regions", "labels", "status"]
    assert (schema["title"], schema["description"]) == ("Shop", "A shop.")
    assert shown["region"] == {"$ref": "#/$defs/Region"}
    assert shown["password"] == {"type": "string", "format": "password", "title": "Password"}
    assert shown["createdAt"]["format"] == "date-time"
    assert shown["status"]["anyOf"] == [{"enum": ["open", "closed"], "type": "string"}, {"type": "string"}]
    assert shown["source"]["anyOf"][0] == {"$ref": "#/$defs/Backup"}
    assert {"format": "password", "type": "string"} in shown["oldPassword"]["anyOf"]
    assert shown["note"]["anyOf"] == [{"type": "string"}, {"type": "null"}]


def test_a_model_of_a_users_own_keeps_its_equality_and_its_repr() -> None:
    @define
    class Mine(Model):
        id: str

        def __eq__(self, other: object) -> bool:
            return isinstance(other, Mine)

        def __repr__(self) -> str:
            return "mine"

        __hash__ = None  # type: ignore[assignment]  # as a model has none

    assert Mine("a") == Mine("b")
    assert repr(Mine("a")) == "mine"
