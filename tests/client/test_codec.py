"""JSON to models and back, with orjson and without: what fits, what does not and where, and that nothing is coerced."""

import dataclasses
import importlib.util
import json
import sys
import tracemalloc
from collections import OrderedDict, defaultdict, deque
from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from enum import Enum, IntEnum, StrEnum
from pathlib import Path
from time import process_time
from types import MappingProxyType
from typing import Any, Literal, NamedTuple
from uuid import UUID

import orjson
import pytest
from attrs import asdict, define, field, make_class
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from prisma_mgmt.core import codec
from prisma_mgmt.core.codec import Mismatch, decode, parse, structure
from prisma_mgmt.core.encoding import converter, dump
from prisma_mgmt.core.kinds import JSON, UNSET, Unset, json_key
from prisma_mgmt.core.paths import query_string
from prisma_mgmt.masks import Secret

pytestmark = pytest.mark.usefixtures("json_library")


@pytest.fixture(params=["orjson", "json"])
def json_library(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr(codec, "_orjson", orjson if request.param == "orjson" else None)
    return str(request.param)


State = Literal["ready", "gone"] | str


@define
class Part:
    name: str
    size: int | None = None


@define
class Backup:
    backup_id: str
    type: Literal["backup"] = "backup"


@define
class Clone:
    database: Part
    type: Literal["clone"] = "clone"


@define
class Thing:
    id: str
    count: int
    ratio: float
    is_default: bool
    created_at: datetime
    password: Secret
    state: State
    kind: Literal["thing"]
    part: Part
    parts: list[Part]
    labels: dict[str, str]
    nested: dict[str, list[Part]]
    free: JSON
    owner: str | None
    class_: str = field(metadata={"key": "klass"})
    hint: str | None = None
    from_: str | None = None
    at: datetime | None = None
    source: Backup | Clone | dict[str, JSON] | None = None
    secret: Secret | None = None
    ratios: list[float] | None = None
    pair: Part | None = None


WHOLE: dict[str, Any] = {
    "id": "x",
    "count": 3,
    "ratio": 0.5,
    "isDefault": True,
    "createdAt": "2026-01-02T03:04:05.678Z",
    "password": "hunter2",
    "state": "ready",
    "kind": "thing",
    "part": {"name": "p"},
    "parts": [{"name": "a", "size": 1}, {"name": "b", "size": None}],
    "labels": {"a": "b"},
    "nested": {"k": [{"name": "z"}]},
    "free": {"any": [1, None, "x"]},
    "owner": None,
    "klass": "c",
}


def read(**changes: Any) -> Thing:
    return structure(parse(json.dumps({**WHOLE, **changes}).encode()), Thing)


def test_a_whole_model() -> None:
    thing = read()
    assert (thing.id, thing.count, thing.ratio, thing.is_default) == ("x", 3, 0.5, True)
    assert thing.created_at == datetime(2026, 1, 2, 3, 4, 5, 678000, tzinfo=UTC)
    assert thing.parts == [Part("a", 1), Part("b")]
    assert thing.nested == {"k": [Part("z")]}
    assert thing.free == {"any": [1, None, "x"]}
    assert (thing.owner, thing.class_, thing.hint, thing.source) == (None, "c", None, None)
    assert type(thing.password) is Secret
    assert "hunter2" not in repr(thing)


def test_unknown_fields_values_and_members_pass() -> None:
    thing = read(more=1, state="molten", kind="other", source={"type": "new", "x": 1}, part={"name": "p", "extra": []})
    assert (thing.state, thing.kind, thing.source) == ("molten", "other", {"type": "new", "x": 1})
    assert read(source={"x": 1}).source == {"x": 1}
    assert read(source={"type": 5}).source == {"type": 5}
    assert read(source={"type": ["backup"]}).source == {"type": ["backup"]}


def test_members_of_a_union_are_told_apart_by_their_type() -> None:
    assert read(source={"type": "backup", "backupId": "b"}).source == Backup("b")
    assert read(source={"type": "clone", "database": {"name": "d"}}).source == Clone(Part("d"))


def test_null_for_an_optional_field_is_none() -> None:
    nothing = dict.fromkeys(("hint", "from", "at", "source", "secret", "ratios", "pair", "owner"))
    thing = read(**nothing)
    assert asdict(thing) == asdict(read())


def test_optional_fields_when_they_are_there() -> None:
    thing = read(**{"from": "f"}, at="2026-01-01T00:00:00+02:00", secret="s", ratios=[1, 2.5], pair={"name": "q"})
    assert thing.at == datetime(2026, 1, 1, tzinfo=timezone(timedelta(hours=2)))
    assert (thing.from_, thing.secret, thing.ratios, thing.pair) == ("f", "s", [1, 2.5], Part("q"))
    assert type(thing.secret) is Secret


MISFITS: list[tuple[dict[str, Any], str, str]] = [
    ({"id": None}, "id", "expected a string, got null"),
    ({"id": 5}, "id", "expected a string, got a number"),
    ({"id": 5.5}, "id", "expected a string, got a number"),
    ({"id": True}, "id", "expected a string, got a boolean"),
    ({"id": ["x"]}, "id", "expected a string, got an array"),
    ({"id": {}}, "id", "expected a string, got an object"),
    ({"count": "3"}, "count", "expected a whole number, got a string"),
    ({"count": 3.0}, "count", "expected a whole number, got a number"),
    ({"count": True}, "count", "expected a whole number, got a boolean"),
    ({"ratio": "0.5"}, "ratio", "expected a number, got a string"),
    ({"ratio": True}, "ratio", "expected a number, got a boolean"),
    ({"isDefault": "false"}, "isDefault", "expected a boolean, got a string"),
    ({"isDefault": 0}, "isDefault", "expected a boolean, got a number"),
    ({"createdAt": 1700000000}, "createdAt", "expected a date and time, got a number"),
    ({"createdAt": "yesterday"}, "createdAt", "expected an ISO 8601 date and time"),
    ({"password": 5}, "password", "expected a string, got a number"),
    ({"password": None}, "password", "expected a string, got null"),
    ({"state": 5}, "state", "expected a string, got a number"),
    ({"kind": None}, "kind", "expected a string, got null"),
    ({"part": None}, "part", "expected an object, got null"),
    ({"part": "p"}, "part", "expected an object, got a string"),
    ({"part": {}}, "part.name", "missing"),
    ({"part": {"name": "p", "size": "1"}}, "part.size", "expected a whole number, got a string"),
    ({"parts": {}}, "parts", "expected an array, got an object"),
    ({"parts": [{"name": "a"}, {"name": 1}]}, "parts[1].name", "expected a string, got a number"),
    ({"parts": [None]}, "parts[0]", "expected an object, got null"),
    ({"labels": []}, "labels", "expected an object, got an array"),
    ({"labels": {"a": None}}, "labels.a", "expected a string, got null"),
    ({"nested": {"k": [{"name": "z"}, {}]}}, "nested.k[1].name", "missing"),
    ({"klass": 1}, "klass", "expected a string, got a number"),
    ({"hint": 1}, "hint", "expected a string, got a number"),
    ({"at": 1}, "at", "expected a date and time, got a number"),
    ({"source": "backup"}, "source", "expected an object, got a string"),
    ({"source": {"type": "backup"}}, "source.backupId", "missing"),
    ({"source": {"type": "clone", "database": {"name": 1}}}, "source.database.name", "expected a string, got a number"),
    ({"ratios": [1, "2"]}, "ratios[1]", "expected a number, got a string"),
]


@pytest.mark.parametrize(("changes", "path", "problem"), MISFITS, ids=lambda value: str(value)[:40])
def test_misfits_are_named(changes: dict[str, Any], path: str, problem: str) -> None:
    with pytest.raises(Mismatch) as caught:
        read(**changes)
    assert (caught.value.path, caught.value.problem) == (path, problem)


@pytest.mark.parametrize("key", sorted(WHOLE.keys() - {"free", "owner"}))
def test_required_fields_are_required(key: str) -> None:
    with pytest.raises(Mismatch) as caught:
        structure({name: value for name, value in WHOLE.items() if name != key}, Thing)
    assert (caught.value.path, caught.value.problem) == (key, "missing")


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | st.text(), st.lists, max_leaves=3))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_nothing_is_coerced(value: Any) -> None:
    kinds: dict[str, tuple[type, ...]] = {
        "id": (str,),
        "count": (int,),
        "ratio": (int, float),
        "isDefault": (bool,),
        "owner": (str, type(None)),
        "state": (str,),
    }
    for key, kind in kinds.items():
        changed = {**WHOLE, key: value}
        if type(value) in kind:
            name = {"isDefault": "is_default"}.get(key, key)
            found = getattr(structure(changed, Thing), name)
            assert found == value or value != value
        else:
            with pytest.raises(Mismatch):
                structure(changed, Thing)


DATES = [
    ("2026-01-02T03:04:05Z", datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)),
    ("2026-01-02t03:04:05z", datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)),
    ("2026-01-02 03:04:05Z", datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)),
    ("2026-01-02T03:04:05.1Z", datetime(2026, 1, 2, 3, 4, 5, 100000, tzinfo=UTC)),
    ("2026-01-02T03:04:05.678z", datetime(2026, 1, 2, 3, 4, 5, 678000, tzinfo=UTC)),
    ("2026-01-02T03:04:05.123456Z", datetime(2026, 1, 2, 3, 4, 5, 123456, tzinfo=UTC)),
    ("2026-01-02T03:04:05.1234567Z", datetime(2026, 1, 2, 3, 4, 5, 123456, tzinfo=UTC)),
    ("2026-01-02T03:04:05.123456789Z", datetime(2026, 1, 2, 3, 4, 5, 123456, tzinfo=UTC)),
    ("2026-01-02T03:04:05.123456789", datetime(2026, 1, 2, 3, 4, 5, 123456, tzinfo=UTC)),
    ("2026-01-02T03:04:05", datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)),
    ("2026-01-02T03:04:05+05:30", datetime(2026, 1, 1, 21, 34, 5, tzinfo=UTC)),
    ("2026-01-02T03:04:05-0100", datetime(2026, 1, 2, 4, 4, 5, tzinfo=UTC)),
    ("2016-12-31T23:59:60Z", datetime(2017, 1, 1, tzinfo=UTC)),
    ("2016-12-31t23:59:60.5z", datetime(2017, 1, 1, 0, 0, 0, 500000, tzinfo=UTC)),
    ("2017-01-01T00:59:60+01:00", datetime(2017, 1, 1, tzinfo=UTC)),
]


@pytest.mark.parametrize(("text", "moment"), DATES)
def test_dates(text: str, moment: datetime) -> None:
    for found in (read(createdAt=text).created_at, read(at=text).at, structure([text], list[datetime])[0]):
        assert found == moment
        assert found.utcoffset() is not None


@pytest.mark.parametrize(
    "text",
    [
        "",
        "2026-01-02",
        "03:04:05Z",
        "2026-13-02T03:04:05Z",
        "2026-01-02T25:04:05Z",
        "9999-12-31T23:59:60Z",
        "2026-01-02T03:04:61Z",
        "1767322800",
        "2026-01-02T03:04:05 UTC",
        "٢٠٢٦-01-02T03:04:05Z",
        "2026-01-02T03:04:05+99:00",
    ],
)
def test_what_is_no_date(text: str) -> None:
    with pytest.raises(Mismatch, match="expected an ISO 8601 date and time") as caught:
        read(createdAt=text)
    assert caught.value.path == "createdAt"


@pytest.mark.parametrize("text", ["2026-01-02T03:04Z", "2026-W01-5T03:04:00Z", "2026-01-02T03:04:00,0Z"])
def test_which_dates_are_read_does_not_depend_on_the_other_fields(text: str) -> None:
    unusual = "2026-01-02T03:04:05"  # has no zone, which takes the slow way for the whole model
    assert read(createdAt=text).created_at == read(createdAt=text, at=unusual).created_at


def test_a_field_that_may_be_null_may_be_missing() -> None:
    without = structure({key: value for key, value in WHOLE.items() if key != "owner"}, Thing)
    assert without.owner is None
    assert without == read()


@define
class Lists:
    names: list[str] = field(factory=list)
    node: "Lists | None" = None
    nodes: "list[Lists] | None" = None


def test_defaults_that_are_made_and_a_model_that_holds_itself() -> None:
    one, other = structure({}, Lists), structure({"nodes": [{"node": {"names": ["a"]}}]}, Lists)
    assert one.names == []
    assert one.names is not structure({}, Lists).names
    assert other.nodes == [Lists(node=Lists(["a"]))]
    with pytest.raises(Mismatch) as caught:
        structure({"node": {"node": {"nodes": [{}, {"names": [1]}]}}}, Lists)
    assert caught.value.path == "node.node.nodes[1].names[0]"


@define
class Made:
    part: Part = field(factory=lambda: Part("made"))
    at: datetime = field(factory=lambda: datetime(2026, 1, 1, tzinfo=UTC))
    parts: list[Part] | None = field(factory=lambda: [Part("one")])


def test_a_default_that_is_made_is_taken_as_it_is() -> None:
    assert structure({}, Made) == Made()
    given = structure({"part": {"name": "given"}, "at": "2026-02-02T00:00:00Z", "parts": None}, Made)
    assert given == Made(Part("given"), datetime(2026, 2, 2, tzinfo=UTC), None)


def test_models_may_hold_each_other_however_deep() -> None:
    model, data = Part, {"name": "p"}
    for _ in range(40):
        model, data = make_class("Holder", {"part": field(type=model)}), {"part": data}
    found: Any = structure(data, model)
    for _ in range(40):
        found = found.part
    assert found == Part("p")


@define
class Folder:
    name: str
    folders: "list[Folder]" = field(factory=list)


def test_a_misfit_deep_in_a_model_that_holds_itself_is_found_at_once() -> None:
    data: Any = {"name": 1}
    for _ in range(60):
        data = {"name": "n", "folders": [data]}
    with pytest.raises(Mismatch) as caught:
        structure(data, Folder)
    assert caught.value.path == "folders[0]." * 60 + "name"


def test_a_model_without_a_field_that_must_be_there_is_an_object_all_the_same() -> None:
    bad: list[Any] = [None, [], "x", 1, True, [["name", 1]]]
    for value in bad:
        for model in (Lists, Edit, Part):
            with pytest.raises(Mismatch, match="expected an object"):
                structure(value, model)


def test_a_type_that_no_field_can_have_is_said_so() -> None:
    with pytest.raises(TypeError, match="no type that a model's field may have"):
        structure(1, complex)


def test_a_number_too_large_for_a_float_is_no_crash() -> None:
    thing = structure({**WHOLE, "ratio": 10**400, "ratios": [10**400]}, Thing)
    assert thing.ratio == 10**400


@pytest.mark.parametrize(
    "bad", [b"", b"{", b"nul", b"NaN", b"[Infinity]", b"-Infinity", b"'a'", b'"\xff"', b"{}{}", b'{"a": 1,}']
)
def test_what_is_no_json(bad: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011  # each library has its own words
        parse(bad)


@pytest.mark.parametrize("bad", [b"1e400", b"[-1e999]", b'"\\ud800"', b'{"\\uDFFF": 1}', b'"\\ud83c\\ud83c"'])
def test_what_is_json_but_no_value(bad: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011  # each library has its own words
        parse(bad)
    assert parse(b'["\\ud83c\\udf0d", "\\\\ud800", 1e300, 1E-999]') == ["🌍", "\\ud800", 1e300, 0.0]


WORDS = [
    "{",
    "}",
    "[",
    "]",
    ",",
    ":",
    '"a"',
    '"\\ud800"',
    '"\\ud83d\\ude00"',
    '"\\u0000"',
    "1",
    "-0",
    "0",
    "-0.0",
    "01",
    "1.",
    ".5",
    "-",
    "1e5",
    "1E+400",
    "1e-400",
    "1e19",
    "true",
    "null",
    "NaN",
    "-Infinity",
    '"é"',
    "\\",
    '"\\x"',
    '"\\/"',
    "//",
    "18446744073709551615",
    "18446744073709551616",
    "-9223372036854775808",
    "-9223372036854775809",
    "123456789012345678901234567890",
    "1.0000000000000000000000000001",
    "999999999999999999999999999999.5",
]
WORDS += ["\ufeff", " ", "\n", "\u00a0", "\x00", '"\t"', "5" * 400, "1" * 5000]


def with_each_library(do: Callable[[Any], Any], value: Any) -> list[tuple[str, Any]]:
    """What comes of it with each of the two JSON libraries: a value, or an error."""
    found: list[tuple[str, Any]] = []
    for library in (orjson, None):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(codec, "_orjson", library)
            try:
                found.append(("value", typed(do(value))))
            except (ValueError, TypeError) as error:
                found.append(("error", isinstance(error, ValueError)))
    return found


def typed(value: Any) -> Any:
    """A value that is equal to another of the same types only: 1 is not 1.0, and 0.0 is not -0.0."""
    if isinstance(value, dict):
        return {key: typed(one) for key, one in value.items()}
    if isinstance(value, list):
        return [typed(one) for one in value]
    return type(value), repr(value)


@given(
    st.lists(st.sampled_from(WORDS), max_size=6).map("".join)
    | st.sampled_from(WORDS).map('{{"a":[{}]}}'.format)
    | st.binary(max_size=6).map(lambda bad: f'"{bad.decode("utf-8", "surrogateescape")}"')
)
@settings(max_examples=500, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_both_libraries_read_the_same(text: str) -> None:
    one, other = with_each_library(parse, text.encode("utf-8", "surrogateescape"))
    assert one == other


NUMBERS = ["9223372036854775807", "18446744073709551615", "18446744073709551616", "-9223372036854775809", "1" * 40]


@pytest.mark.parametrize("number", NUMBERS)
def test_whole_numbers_stay_whole_numbers_however_long(number: str) -> None:
    wanted = int(number)
    assert typed(parse(number.encode())) == typed(wanted)
    text = json.dumps(WHOLE).replace('"count": 3', f'"count": {number}').replace("0.5", number).encode()
    thing = decode(text, Thing)
    assert typed([thing.count, thing.ratio]) == typed([wanted, wanted])
    assert decode(f'{{"name": "n", "size": {number}}}'.encode(), Part) == Part("n", wanted)
    assert json.loads(dump({"a": wanted})) == {"a": wanted}
    with pytest.raises(Mismatch) as caught:
        decode(f'{{"name": "n", "size": {number}.5}}'.encode(), Part)
    assert caught.value.path == "size"


def test_a_byte_order_mark_and_bytes_of_a_class_of_their_own_are_read() -> None:
    class Own(bytes):
        pass

    assert parse(b'\xef\xbb\xbf{"a": 1}') == parse(Own(b'{"a": 1}')) == {"a": 1}


@pytest.mark.parametrize("levels", [100, 500, 2000, 100_000])
def test_how_deep_a_document_may_be(levels: int) -> None:
    text = b'{"a":' * levels + b"1" + b"}" * levels
    if levels > 1024:
        with pytest.raises((ValueError, RecursionError)):
            parse(text)
    else:
        assert parse(text)["a"]
    assert parse(b'["' + b"[" * levels + b'"]')


@pytest.mark.parametrize("text", ["[" * 2000, '{"' * 2000])
def test_brackets_in_a_text_are_no_levels(text: str) -> None:
    for document in (text, [text], {"a": text}):
        assert parse(json.dumps(document).encode()) == document


@pytest.mark.parametrize("text", [b'\\"' * 40_000, b'\\"' * 40_000 + b"\\"])
def test_a_text_without_an_end_costs_no_more_time_than_one_with_it(text: bytes) -> None:
    document, started = b"[" * 1025 + b'"' + text, process_time()
    with pytest.raises(Mismatch):
        parse(document)
    assert process_time() - started < 5


def test_a_long_text_among_many_levels_takes_little_memory() -> None:
    document = json.dumps([[{"a": []}] * 1000, "x" * 1_000_000]).encode()
    tracemalloc.start()
    try:
        parse(document)
        assert tracemalloc.get_traced_memory()[1] < 20 * len(document)  # orjson itself takes twelve
    finally:
        tracemalloc.stop()


def test_other_shapes_at_the_top() -> None:
    assert structure([1, 2], list[int]) == [1, 2]
    assert structure({"a": {"name": "x"}}, dict[str, Part]) == {"a": Part("x")}
    assert structure("x", str) == "x"
    assert structure(["a", "z"], list[State]) == structure(["a", "z"], list[Literal["a"]]) == ["a", "z"]
    both: Any = list[Backup | Clone]
    assert structure([{"type": "backup", "backupId": "b"}, {"type": "new"}], both) == [Backup("b"), {"type": "new"}]
    assert structure(None, JSON) is None
    assert structure([{"a": 1}], list[dict[str, Any]]) == [{"a": 1}]
    for value, model in (("x", int), (None, str), ([1, "2"], list[int])):
        with pytest.raises(Mismatch):
            structure(value, model)


def test_the_standard_library_serves_where_orjson_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "orjson", None)
    spec = importlib.util.spec_from_file_location("codec_alone", codec.__file__)
    assert spec is not None
    assert spec.loader is not None
    alone = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(alone)
    assert alone._orjson is None


# The way out


@define
class Edit:
    name: str | Unset = UNSET
    note: str | Unset | None = UNSET
    since: datetime | Unset = UNSET
    part: Part | None = None
    from_start: bool = field(default=False, metadata={"key": "from_start"})


def test_bodies_of_models() -> None:
    assert json.loads(dump(Edit())) == {"from_start": False}
    edit = Edit(name="n", note=None, since=datetime(2026, 1, 1, tzinfo=UTC), part=Part("p"), from_start=True)
    assert json.loads(dump({"edits": [edit], "one": Backup("b"), "secret": Secret("s"), "t": (1, 2)})) == {
        "edits": [
            {
                "name": "n",
                "note": None,
                "since": "2026-01-01T00:00:00+00:00",
                "part": {"name": "p"},
                "from_start": True,
            }
        ],
        "one": {"backupId": "b", "type": "backup"},
        "secret": "s",
        "t": [1, 2],
    }


def test_bodies_round_trip() -> None:
    thing = read(source={"type": "backup", "backupId": "b"}, hint="h")
    assert structure(parse(dump(thing)), Thing) == thing


def test_a_model_with_unset_fields_can_be_read() -> None:
    assert structure({}, Edit) == Edit()
    assert structure({"name": "n", "note": None, "since": "2026-01-01T00:00:00Z"}, Edit).note is None
    with pytest.raises(Mismatch) as caught:
        structure({"name": None}, Edit)
    assert caught.value.path == "name"


@dataclasses.dataclass
class Plain:
    count: int
    anything: object = None


class Level(IntEnum):
    HIGH = 3


class Word(StrEnum):
    YES = "yes"


class Choice(Enum):
    DAY = date(2026, 1, 2)


class Degrees(float):
    def __repr__(self) -> str:
        return "warm"

    __str__ = __repr__


class Count(int):
    def __repr__(self) -> str:
        return "many"

    __str__ = __repr__


class Pair(NamedTuple):
    a: int
    b: Any


SENT: list[tuple[Any, Any]] = [
    (date(2026, 1, 2), "2026-01-02"),
    (time(3, 4, 5), "03:04:05"),
    (time(3, 4, 5, tzinfo=UTC), "03:04:05+00:00"),
    (datetime(2026, 1, 2, tzinfo=UTC), "2026-01-02T00:00:00+00:00"),
    (UUID(int=5), "00000000-0000-0000-0000-000000000005"),
    (Pair(1, Pair(2, None)), [1, [2, None]]),
    (Degrees(1.5), 1.5),
    (Count(7), 7),
    (2**64, 2**64),
    (-(2**80), -(2**80)),
    (Level.HIGH, 3),
    (Word.YES, "yes"),
    (Choice.DAY, "2026-01-02"),
    (1e16, 1e16),
    (5e-324, 5e-324),
    (OrderedDict(a=1), {"a": 1}),
    (MappingProxyType({Word.YES: (1,)}), {"yes": [1]}),
    (defaultdict(list, a=[]), {"a": []}),
    ("ü🌍\x00\x7f\u2028", "ü🌍\x00\x7f\u2028"),
]


@pytest.mark.parametrize(("value", "sent"), SENT, ids=lambda value: type(value).__name__)
def test_what_is_sent_does_not_depend_on_the_library(value: Any, sent: Any) -> None:
    for body, wanted in ((value, sent), ([value], [sent]), ({"a": (value,)}, {"a": [sent]}), (Plain(1, value), None)):
        found = json.loads(dump(body))
        assert typed(found) == typed({"count": 1, "anything": sent} if wanted is None else wanted)
    assert len(set(map(str, with_each_library(dump, {"a": value})))) == 1 or isinstance(value, float)


def test_callers_say_how_a_type_of_theirs_is_sent() -> None:
    class Money:
        """A type of the caller's."""

    with pytest.raises(TypeError, match="JSON has nothing for a value of type Money, at paid"):
        dump({"paid": Money()})
    converter().register_unstructure_hook(Money, lambda money: {"amount": 5})
    assert dump({"paid": Money()}) == b'{"paid":{"amount":5}}'
    converter().register_unstructure_hook(Money, lambda money: "5 EUR")
    assert query_string({"paid": [Money()]}) == "?paid=5%20EUR"


REFUSED: list[Any] = [
    object(),
    Decimal(1),
    b"x",
    bytearray(b"x"),
    memoryview(b"x"),
    {1},
    frozenset(),
    range(3),
    1j,
    iter([1]),
]
REFUSED += [datetime(2026, 1, 1), timedelta(1), Path("x"), str, Plain, deque([1]), Ellipsis, Exception("x")]


@pytest.mark.parametrize("bad", REFUSED, ids=lambda value: type(value).__name__)
def test_what_json_has_nothing_for_is_refused_by_both_with_its_place(bad: Any) -> None:
    with pytest.raises((ValueError, TypeError), match=r", at items\[1\]\.anything$"):
        dump({"items": [1, Plain(1, bad)]})
    with pytest.raises((ValueError, TypeError), match=r", at items\.…\[0\]$"):  # keys further in are the caller's data
        dump({"items": {"canary": [bad]}})
    with pytest.raises((ValueError, TypeError), match=r"[a-z]$"):
        dump(bad)


ANYTHING = st.recursive(
    st.sampled_from([value for value, _ in SENT] + REFUSED)
    | st.integers(-(2**70), 2**70)
    | st.floats()
    | st.text(st.characters(categories=["Cs", "Lu", "Cc"]), max_size=3),
    lambda inner: (
        st.lists(inner) | st.dictionaries(st.text() | st.sampled_from([Word.YES, 1, None]), inner, max_size=3)
    ),
    max_leaves=6,
)


@given(ANYTHING)
@settings(max_examples=500, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_both_libraries_send_the_same(value: Any) -> None:
    one, other = with_each_library(lambda body: json.loads(dump(body)), value)
    assert one == other


@define
class Measured:
    value: float
    maybe: float | None = None
    many: list[float] = field(factory=list)
    named: dict[str, float] = field(factory=dict)
    free: JSON = None


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
def test_numbers_that_are_none_are_refused_wherever_they_stand(bad: float) -> None:
    bodies: list[Any] = [bad, [bad], {"a": bad}, {"a": [{"b": (bad,)}]}, Measured(bad), Measured(1, maybe=bad)]
    bodies += [Measured(1, many=[bad]), Measured(1, named={"a": bad}), Measured(1, free=[bad]), [Measured(bad)]]
    for body in bodies:
        with pytest.raises(ValueError, match="NaN"):
            dump(body)
    good = Measured(1, 2.5, [1, 2.5], {"a": 1}, [1.5])
    assert json.loads(dump(good)) == asdict(good)


def test_dataclasses() -> None:
    assert json.loads(dump([Plain(1, Plain(2))])) == [{"count": 1, "anything": {"count": 2, "anything": None}}]
    assert json.loads(dump(Plain(1, UNSET))) == {"count": 1}
    nan: Any = float("nan")
    for bad in (
        Plain(nan),
        Plain(1, nan),
        Plain(1, [nan]),
        {"a": (Plain(1, {"b": nan}),)},
        Measured(1, free=Plain(nan)),
    ):
        with pytest.raises(ValueError, match="NaN"):
            dump(bad)


def test_unset_is_no_member_of_a_list() -> None:
    bodies: list[Any] = [
        [UNSET],
        {"a": [1, UNSET]},
        {"a": (UNSET,)},
        {"a": [[{"b": (UNSET,)}]]},
        Measured(1, free=[UNSET]),
    ]
    for body in bodies:
        with pytest.raises(TypeError, match="UNSET"):
            dump(body)
    assert dump({"a": [{"b": UNSET}]}) == b'{"a":[{}]}'


def nested(levels: int) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = {"a": value}
    return value


def test_a_body_may_have_250_levels() -> None:
    assert json.loads(dump(nested(250))) == nested(250)


def test_bodies_that_hold_themselves_or_go_too_deep() -> None:
    ring: list[Any] = []
    ring.append({"a": ring})
    deep: list[Any] = []
    for _ in range(100_000):
        deep = [deep]
    for body in (ring, {"a": ring}, deep, nested(251)):
        with pytest.raises(ValueError, match="nested too deeply"):
            dump(body)


@pytest.mark.parametrize("text", ["\ud800", "a\udfffb", "\udf0d\ud83c"])
def test_halves_of_surrogate_pairs_are_refused_without_a_word_of_the_body(text: str) -> None:
    for body in (text, {"a": [text], "b": "canary"}, {text: "canary"}):
        with pytest.raises(ValueError, match="surrogate") as caught:
            dump(body)
        assert not isinstance(caught.value, UnicodeError)
        assert "canary" not in repr(caught.value)
        assert caught.value.__suppress_context__


@pytest.mark.parametrize("key", [1, None, True, 1.5, ("a",), b"a"])
def test_keys_that_are_no_strings_are_refused_wherever_they_stand(key: Any) -> None:
    inner: Any = {key: 1}
    for body in (inner, [inner], {"a": inner}, {"a": [(inner,)]}, Measured(1, named=inner), Measured(1, free=inner)):
        with pytest.raises(TypeError, match="strings"):
            dump(body)
    assert dump({Secret("a"): Secret("b")}) == b'{"a":"b"}'


def test_text_goes_out_as_utf_8() -> None:
    assert dump({"a": "ü🌍"}) == '{"a":"ü🌍"}'.encode()


@define
class Names:
    id: int
    database_id: int
    class_: int
    from_start: int = field(metadata={"key": "from_start"})
    a1_b2: int = 0


def test_keys() -> None:
    keys = [json_key(attribute) for attribute in Names.__attrs_attrs__]
    assert keys == ["id", "databaseId", "class", "from_start", "a1B2"]


def test_unset_is_falsy_and_says_its_name() -> None:
    assert not UNSET
    assert repr(UNSET) == "UNSET"
