"""Paths, queries, headers and bodies: what the server sees is what was asked for, and nothing else can be asked for."""

import json
from datetime import UTC, date, datetime, time, timedelta, timezone
from enum import Enum
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from prisma_mgmt import UNSET, ManagementClient, factories
from prisma_mgmt.core.encoding import dump
from prisma_mgmt.core.paths import fill, path, query_string, quoted
from prisma_mgmt.management.models import Project
from prisma_mgmt.masks import Secret
from prisma_mgmt.waits import retry_after
from tests.kit.rig import Reply, Request, serve
from tests.kit.script import CONNECTION, answer, scripted

SAFE = st.text(st.characters(blacklist_categories=["Cs", "Cc"]), min_size=1).filter(
    lambda text: text not in (".", "..")
)


def sent(url: str) -> tuple[str, str]:
    """The path and query as httpx sends them."""
    target = httpx.Request("GET", f"https://api.prisma.io{url}").url.raw_path.decode()
    parts = urlsplit(target)
    return parts.path, parts.query


@given(SAFE)
def test_an_id_is_exactly_one_segment(value: str) -> None:
    segments = sent(path("/v1/connections/{}/rotate", value))[0].split("/")
    assert segments[:3] + segments[4:] == ["", "v1", "connections", "rotate"]
    assert unquote(segments[3], errors="strict") == value


@given(SAFE, SAFE)
def test_ids_do_not_run_into_each_other(first: str, second: str) -> None:
    for filled in (path("/a/{}/{}", first, second), fill("/a/{x}/{y}", {"y": second, "x": first})):
        assert [unquote(one) for one in sent(filled)[0].split("/")] == ["", "a", first, second]


@pytest.mark.parametrize("value", ["", ".", "..", "a\nb", "\x00", "a\x7f", "a\x85b", "\ud800"])
def test_ids_that_are_refused(value: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011  # a lone surrogate is refused in Python's own words
        path("/v1/{}", value)


def test_a_refused_id_is_told_with_its_path() -> None:
    for value, kind in (("", ValueError), (None, TypeError)):
        with pytest.raises(kind, match=r"\(in /v1/projects/\{\}\)$"):
            path("/v1/projects/{}", value)  # type: ignore[arg-type]  # None is what is tested


@pytest.mark.parametrize("value", [None, 5, b"x"])
def test_ids_of_another_type(value: Any) -> None:
    with pytest.raises(TypeError, match="must be a string"):
        path("/v1/{}", value)


def test_a_thing_in_place_of_its_id() -> None:
    project: Any = Project.from_dict(factories.project())
    with pytest.raises(TypeError, match=r"an id must be a string, such as project\.id, not Project"):
        path("/v1/{}", project)


@pytest.mark.parametrize("value", ["a/b", "../../x", "a?b", "a#b", "a%2fb", "%2e%2e", "a b", "ü", "a;b", "a\\b", "@x"])
@pytest.mark.anyio
async def test_the_server_sees_one_segment(value: str) -> None:
    async def handler(request: Request) -> Reply:
        return Reply(body={"data": CONNECTION})

    async with serve(handler) as server, ManagementClient("token", base_url=server.url) as client:
        await client.connections.get(value)
        await client.request("GET", "/v1/connections/{id}", path_params={"id": value})
    for request in server.requests:
        segments = request.target.split("/")
        assert len(segments) == 4
        assert unquote(segments[3]) == value


@pytest.mark.parametrize(
    "bad",
    [
        "",
        "v1/x",
        "//evil.example/x",
        "https://evil.example/x",
        "@evil.example/x",
        ":80/x",
        "/\\evil.example",
        "/v1/../x",
        "/v1/..",
        "/v1/./x",
        "/v1/%2e%2E/x",
        "/v1/.%2e",
        "/v1/x?a=1",
        "/v1/x#a",
        "/v1/x y",
        '/v1/"x"',
        "/v1/<x>",
        "/v1/`x",
        "/v1/x\r\nHost: evil",
        "/v1/ü",
        "/v1/{a b}",
        "/v1/{}",
        "/v1/{",
        "/v1/}",
        "/v1/{0.__class__}",
        "/v1/{missing}",
    ],
)
@pytest.mark.anyio
async def test_paths_that_are_refused_before_anything_is_sent(bad: str) -> None:
    client, script = scripted(answer())
    with pytest.raises(ValueError, match="path"):
        await client.request("GET", bad)
    with pytest.raises(ValueError, match="path"):
        await client.request("GET", "/v1/x", path_params={"more": "x"})
    assert script.requests == []


def test_a_template_may_use_a_name_twice() -> None:
    assert fill("/{a}/{a}/b", {"a": "x/y"}) == "/x%2Fy/x%2Fy/b"


VALUES = st.text(st.characters(blacklist_categories=["Cs"])) | st.integers() | st.booleans()


@given(st.dictionaries(st.text(st.characters(blacklist_categories=["Cs"]), min_size=1), VALUES))
def test_queries_arrive_as_given(query: dict[str, Any]) -> None:
    found = dict(parse_qsl(sent("/x" + query_string(query))[1], keep_blank_values=True, strict_parsing=bool(query)))
    assert found == {key: str(value).lower() if isinstance(value, bool) else str(value) for key, value in query.items()}


def test_query_values() -> None:
    noon = datetime(2026, 1, 1, 12, tzinfo=timezone(timedelta(hours=2)))
    assert query_string(
        {"a": None, "b": "", "c": False, "d": 1.5, "e": noon, "f": datetime(2026, 1, 1, tzinfo=UTC)}
    ) == ("?b=&c=false&d=1.5&e=2026-01-01T12%3A00%3A00%2B02%3A00&f=2026-01-01T00%3A00%3A00%2B00%3A00")
    assert query_string({}) == query_string(None) == ""
    with pytest.raises(ValueError, match="time zone"):
        query_string({"a": datetime(2026, 1, 1)})
    bad: Any
    assert query_string({"a": ["b", 1]}) == "?a=b&a=1"
    for bad in ({"a": 1}, b"x", object(), [[1]], [None]):
        with pytest.raises(TypeError, match="query value"):
            query_string({"a": bad})


def test_a_list_repeats_its_key_and_what_is_unset_is_left_out() -> None:
    query = {"a": [1, "b c", True], "b": (), "c": UNSET, "d": date(2026, 1, 2), "e": time(3, 4)}
    assert query_string(query) == "?a=1&a=b%20c&a=true&d=2026-01-02&e=03%3A04%3A00"
    assert query_string({"a": UNSET, "b": []}) == query_string({"a": [UNSET]}) == ""
    assert query_string({"a": [1, UNSET]}) == "?a=1"
    odd: Any = {None: "x"}
    with pytest.raises(TypeError, match="keys of a query are strings, not NoneType"):
        query_string(odd)


def test_an_id_that_goes_out_quoted_twice() -> None:
    assert path("/v1/resources/{}", quoted("100%-of/it")) == "/v1/resources/100%2525-of%252Fit"
    for bad in ("", ".", ".."):
        with pytest.raises(ValueError, match="no id"):
            quoted(bad)


class Word(str, Enum):  # noqa: UP042  # its str() is its name, that of a StrEnum is not
    ONE = "one"


class Number(int, Enum):
    TWO = 2


def test_members_of_an_enum_send_their_values() -> None:
    assert query_string({"a": Word.ONE, "b": Number.TWO, "c": Secret("s")}) == "?a=one&b=2&c=s"
    assert path("/v1/{}", Word.ONE) == "/v1/one"
    assert fill("/v1/{id}", {"id": Word.ONE}) == "/v1/one"
    assert dump({"a": Word.ONE, "b": [Number.TWO]}) == b'{"a":"one","b":[2]}'


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_numbers_that_no_query_has(value: float) -> None:
    with pytest.raises(ValueError, match="finite"):
        query_string({"a": value})


@pytest.mark.parametrize("value", ["9999999999", "9" * 30, "9" * 400, "99999999999.5"])
def test_a_retry_after_of_many_digits_is_a_long_wait(value: str) -> None:
    assert retry_after({"retry-after": value}, 0.0) == 1e9


JSONS = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(blacklist_categories=["Cs"])),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(st.characters(blacklist_categories=["Cs"])), inner),
)


@given(JSONS)
def test_bodies_arrive_as_given(body: Any) -> None:
    assert json.loads(dump(body)) == body


def test_none_is_null_and_keys_that_are_unset_are_left_out() -> None:
    assert dump(None) == b"null"
    assert dump({"a": UNSET, "b": None, "c": {"d": UNSET}}) == b'{"b":null,"c":{}}'


@pytest.mark.anyio
async def test_what_is_sent_with_and_without_a_body() -> None:
    client, script = scripted(answer())
    await client.request("get", "/v1/x")
    await client.request("POST", "/v1/x")
    await client.request("POST", "/v1/x", body=None)
    await client.request("DELETE", "/v1/x", body={"a": 1}, query={"b": "c d"})
    plain, empty, null, full = script.requests
    assert (plain.method, plain.content, plain.headers.get("content-type")) == ("GET", b"", None)
    assert (empty.content, empty.headers["content-length"], empty.headers.get("content-type")) == (b"", "0", None)
    assert (null.content, null.headers["content-type"]) == (b"null", "application/json")
    assert (full.content, str(full.url)) == (b'{"a":1}', "https://api.prisma.io/v1/x?b=c%20d")
    assert plain.headers["accept"] == "application/json"
    assert plain.headers["accept-encoding"] == "gzip"
    assert plain.headers["user-agent"].startswith("prisma_mgmt/")
    assert plain.headers["host"] == "api.prisma.io"
