"""Any document, after any other: no traceback, the same description again, and one that is its own description."""

import copy
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.apigen import answering
from tests.apigen.mutations import op
from tools.apigen.changes import changes
from tools.apigen.document import DocumentError
from tools.apigen.names import Names
from tools.apigen.normalise import normalise
from tools.apigen.package import Package

KEYS = st.sampled_from(
    ["a", "part", "parts", "type", "token", "value", "createdAt", "data", "items_", "€", "", "*", "ǰ"]
)
NAMES = st.fixed_dictionaries(
    {
        "models": st.dictionaries(
            st.sampled_from(["XInfo.a", "XInfo.part", "Pet.part", "x.create.a", "part", "XInfo.cat"]),
            st.sampled_from(["Pet", "Cat"]),
        ),
        "enums": st.dictionaries(st.sampled_from(["XInfo.a", "Pet.a", "type"]), st.sampled_from(["Kind", "Mode"])),
        "operations": st.sampled_from([{}, {"GET /v1/x": "x.get Pet", "POST /v1/x": "x.create Pet"}]),
    }
)
PLAIN = st.sampled_from(
    [
        *({"type": kind} for kind in ("string", "number", "integer", "boolean", "null")),
        *({"const": value} for value in ("new", 1, 1.5, True, None)),
        *({"type": "string", "format": form} for form in ("date-time", "password", "uri")),
        {},
        {"enum": ["new", "old"]},
        {"type": ["string", "null"], "enum": ["new", "lost", None]},
        {"anyOf": [{"const": "new"}, {"type": "string"}]},
        {"type": "string", "deprecated": True, "default": "old"},
    ]
)


@st.composite
def objects(draw: st.DrawFn, inner: st.SearchStrategy[Any], **fixed: Any) -> Any:
    fields = draw(st.dictionaries(KEYS, inner, min_size=0 if fixed else 1, max_size=3)) | fixed
    required = [key for key in fields if key in fixed or draw(st.booleans())]
    return {"type": "object", "properties": fields, "required": required}


def larger(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """What holds other schemas."""
    members = [objects(inner, type={"const": tag}) for tag in ("cat", "dog", "owl")]
    return st.one_of(
        objects(inner),
        st.builds(lambda one: {"type": "array", "items": one}, inner),
        st.builds(lambda one: {"type": "object", "additionalProperties": one}, inner),
        st.builds(lambda one: {"anyOf": [one, {"type": "null"}]}, inner),
        st.builds(lambda *some: {"allOf": [*some]}, objects(inner), objects(inner)),
        st.builds(lambda some, size: {"oneOf": [*some][:size]}, st.tuples(*members), st.integers(1, 3)),
    )


SCHEMAS = st.recursive(PLAIN, larger, max_leaves=8)


@st.composite
def documents(draw: st.DrawFn) -> Any:
    made = answering(draw(SCHEMAS))
    body = {"content": {"application/json": {"schema": draw(SCHEMAS)}}}
    made["paths"]["/v1/x"]["post"] = answering(draw(SCHEMAS))["paths"]["/v1/x"]["get"] | {"requestBody": body}
    answer = {"content": {"application/json": {"schema": draw(objects(SCHEMAS, data=draw(SCHEMAS)))}}}
    made["paths"]["/v1/y"] = {"get": op(answer)}
    return made


@settings(max_examples=150, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(documents(), min_size=1, max_size=2), NAMES)
def test_any_document_after_any_other(releases: list[Any], table: Any) -> None:
    old: Any = {}
    for release in releases:
        names = Names({"management": table}, "management")
        try:
            made = normalise(copy.deepcopy(release), names, copy.deepcopy(old)).description
        except DocumentError:
            continue  # nothing in it is understood
        changes(old, made)
        assert {"__init__.py", "models.py"} <= Package(made, "management", "ThingsClient").files().keys()
        for again in (release, made):
            result = normalise(copy.deepcopy(again), names, copy.deepcopy(made))
            assert result.description == made
            assert result.unnamed == []
        old = made
