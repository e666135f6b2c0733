"""The API moves on: what every model of the three clients still reads when fields come and go, and what it refuses."""

import importlib
import json
import pkgutil
import types
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, Literal, Union, get_args, get_origin

import attrs
import orjson
import pytest

from prisma_mgmt import Unset
from prisma_mgmt.core import codec
from prisma_mgmt.core.codec import Mismatch, decode
from prisma_mgmt.core.kinds import json_key
from prisma_mgmt.masks import Secret


def _models() -> Iterator[Any]:
    for api in ("management", "postgres", "data_platform"):
        package = importlib.import_module(f"prisma_mgmt.{api}")
        for info in pkgutil.iter_modules(package.__path__):
            module = importlib.import_module(f"{package.__name__}.{info.name}")
            for one in vars(module).values():
                if isinstance(one, type) and attrs.has(one) and one.__module__ == module.__name__:
                    yield pytest.param(one, id=f"{api}.{info.name}.{one.__name__}")


MODELS = list(_models())


@pytest.fixture(params=["orjson", "json"])
def library(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(codec, "_orjson", orjson if request.param == "orjson" else None)


pytestmark = pytest.mark.usefixtures("library")


def document(kind: Any, **drift: Any) -> Any:
    """A whole JSON value of a type, or one that has drifted: `null` fields gone, words changed, fields more."""
    if kind in (Any, object):
        return {"any": [1]}
    if kind is datetime:
        return "2026-01-02T03:04:05.678Z"
    if kind in (str, Secret):
        return "text"
    if kind in (int, float, bool):
        return {int: 3, float: 2.5, bool: True}[kind]
    origin, parts = get_origin(kind), get_args(kind)
    if origin is Literal:
        return drift.get("word", parts[0])
    if origin in (Union, types.UnionType):
        inner = [part for part in parts if part not in (type(None), Unset)]
        return document(inner[0], **drift)
    if origin is list:
        return [document(parts[0], **drift)] * 2
    if origin is dict:
        return {"key": document(parts[1], **drift)}
    made = dict(drift.get("more", {}))
    for one in attrs.fields(kind):
        if not (drift.get("least") and may_be_missing(one)):
            made[json_key(one)] = (
                one.default if json_key(one) == "type" and one.default else document(one.type, **drift)
            )
    return made


def may_be_missing(one: Any) -> bool:
    return one.default is not attrs.NOTHING or type(None) in get_args(one.type)


def read(model: Any, value: Any) -> Any:
    return decode(json.dumps(value).encode(), model)


@pytest.mark.parametrize("model", MODELS)
def test_a_whole_answer_is_read_and_goes_back_as_it_came(model: Any) -> None:
    found = read(model, document(model))
    for one in attrs.fields(model):
        assert getattr(found, one.name) is not None
    if document(model).get("createdAt") and attrs.fields_dict(model)["created_at"].type is datetime:
        assert found.created_at == datetime(2026, 1, 2, 3, 4, 5, 678000, tzinfo=UTC)


@pytest.mark.parametrize("model", MODELS)
def test_what_may_be_null_may_be_null_or_missing_and_is_none(model: Any) -> None:
    least, nulls = document(model, least=True), document(model)
    for one in attrs.fields(model):
        if type(None) in get_args(one.type):
            nulls[json_key(one)] = None
    for found, value in ((read(model, least), least), (read(model, nulls), nulls)):
        for one in attrs.fields(model):
            if type(None) in get_args(one.type) and value.get(json_key(one)) is None:
                assert getattr(found, one.name) in (None, one.default)


@pytest.mark.parametrize("model", MODELS)
def test_fields_that_nobody_knows_yet_are_ignored_at_every_depth(model: Any) -> None:
    assert read(model, document(model, more={"newField": {"a": [None]}})) == read(model, document(model))


@pytest.mark.parametrize("model", MODELS)
def test_words_that_nobody_knows_yet_pass(model: Any) -> None:
    found = read(model, document(model, word="molten"))
    for one in attrs.fields(model):
        if get_origin(one.type) is Literal and json_key(one) != "type":
            assert getattr(found, one.name) == "molten"


@pytest.mark.parametrize("model", MODELS)
def test_a_field_that_must_be_there_is_named_if_it_is_missing_null_or_of_another_type(model: Any) -> None:
    for one in attrs.fields(model):
        if may_be_missing(one) or one.type in (Any, object):
            continue
        key, whole = json_key(one), document(model)
        for changed in ({name: value for name, value in whole.items() if name != key}, {**whole, key: None}):
            with pytest.raises(Mismatch) as caught:
                read(model, changed)
            assert caught.value.path == key
        other: Any = 5 if get_origin(one.type) or one.type not in (int, float) else "5"
        with pytest.raises(Mismatch) as caught:
            read(model, {**whole, key: other})
        assert caught.value.path == key


def test_there_are_models_to_try() -> None:
    assert len(MODELS) > 80
