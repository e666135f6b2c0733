"""Tokens: their stored form, their claims, when they expire."""

import json
import math
import pickle
from base64 import urlsafe_b64encode
from typing import Any

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from prisma_mgmt.auth import LoginRequest, Tokens
from prisma_mgmt.auth.tokens import claims, expiry, workspace_of
from tests.kit.canaries import betrayed, canary, leaks
from tests.kit.login import jwt

NOW = 1_800_000_000.0

texts = st.text(min_size=1)
all_tokens = st.builds(
    Tokens,
    workspace_id=texts,
    access_token=texts,
    refresh_token=st.none() | texts,
    expires_at=st.none() | st.floats(1, 1e15),
    scope=st.none() | texts,
)
json_values: Any = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)


# The stored form


@given(all_tokens)
def test_the_stored_form_gives_the_same_tokens_back(tokens: Tokens) -> None:
    assert Tokens.from_json(json.loads(json.dumps(tokens.to_json()))) == tokens


def test_the_stored_form_has_the_keys_of_node_programs() -> None:
    assert Tokens("wksp_1", "a", "r").to_json() == {
        "workspaceId": "wksp_1",
        "accessToken": "a",
        "refreshToken": "r",
    }
    full = Tokens("wksp_1", "a", "r", 5.0, "workspace:admin").to_json()
    assert list(full) == ["workspaceId", "accessToken", "refreshToken", "expiresAt", "scope"]


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ('{"workspaceId":"w","accessToken":"a","refreshToken":"r"}', Tokens("w", "a", "r")),
        ('{"accessToken":"a","workspaceId":"w"}', Tokens("w", "a")),
        ('{"workspaceId":"w","accessToken":"a","refreshToken":null,"scope":null}', Tokens("w", "a")),
        ('{"workspaceId":"w","accessToken":"a","expiresAt":1800000000}', Tokens("w", "a", None, NOW)),
        ('{"workspaceId":"w","accessToken":"a","version":1,"user":{"id":1}}', Tokens("w", "a")),
        ('{"workspaceId":"w","accessToken":"a","version":"1"}', Tokens("w", "a")),
        ('{"workspaceId":"w","accessToken":"a","version":"7.10.0-dev"}', Tokens("w", "a")),
        ('{"workspaceId":"w","accessToken":"a","version":null}', Tokens("w", "a")),
        ('{"workspaceId":"w","accessToken":"a","refreshToken":""}', Tokens("w", "a")),
        ('{"workspaceId":"w","accessToken":"a","refreshToken":{"r":1}}', Tokens("w", "a")),
        ('{"workspaceId":"w","accessToken":"a","scope":["workspace:admin"]}', Tokens("w", "a")),
        ('{"workspaceId":"w","accessToken":"a","scope":1}', Tokens("w", "a")),
        ('{"workspaceId":"w","accessToken":"a","expiresAt":"2027-01-15T08:00:00Z"}', Tokens("w", "a")),
        ('{"workspaceId":"w","accessToken":"a","expiresAt":"1800000000"}', Tokens("w", "a")),
        ('{"workspaceId":"w","accessToken":"a","expiresAt":true}', Tokens("w", "a")),
        ('{"workspaceId":"w","accessToken":"a","expiresAt":NaN}', Tokens("w", "a")),
        ('{"workspaceId":"w","accessToken":"a","expiresAt":1' + "0" * 400 + "}", Tokens("w", "a")),
    ],
)
def test_what_node_programs_write_can_be_read(text: str, tokens: Tokens) -> None:
    assert Tokens.from_json(json.loads(text)) == tokens


GOOD = {"workspaceId": "w", "accessToken": "canary", "refreshToken": "canary"}


@pytest.mark.parametrize(
    ("form", "problem"),
    [
        (None, "JSON object"),
        ([], "JSON object"),
        ("canary", "JSON object"),
        ("{}", "must be a parsed JSON object, not str"),
        ({}, "workspaceId"),
        ({**GOOD, "workspaceId": ""}, "workspaceId"),
        ({**GOOD, "workspaceId": 7}, "workspaceId"),
        ({**GOOD, "accessToken": None}, "accessToken"),
        ({**GOOD, "accessToken": ["canary"]}, "accessToken"),
        ({**GOOD, "version": 2}, "version"),
        ({**GOOD, "version": "2"}, "version"),
        ({**GOOD, "version": 99}, "version"),
    ],
)
def test_anything_else_is_an_error_that_names_the_field_and_no_value(form: Any, problem: str) -> None:
    with pytest.raises(ValueError, match=problem) as caught:
        Tokens.from_json(form)
    assert leaks(caught.value) == []


def test_other_programs_keys_are_kept_and_do_not_count() -> None:
    theirs = {"version": 1, "user": {"id": 1, "token": "canary"}, "list": [1, None]}
    tokens = Tokens.from_json({**GOOD, **theirs})
    assert tokens.extra == theirs
    assert tokens.to_json() == {**GOOD, **theirs}
    rotated = evolve(tokens, access_token="new", refresh_token="new", expires_at=5.0)
    assert rotated.to_json() == {**GOOD, **theirs, "accessToken": "new", "refreshToken": "new", "expiresAt": 5.0}
    assert tokens == Tokens("w", "canary", "canary")
    assert hash(tokens) == hash(Tokens("w", "canary", "canary"))
    assert "canary" not in repr(tokens)
    assert pickle.loads(pickle.dumps(tokens)).extra == theirs


def test_no_key_of_ours_comes_back_as_another_programs() -> None:
    tokens = Tokens("w", "a", extra={"refreshToken": "old", "scope": "old", "expiresAt": 5, "user": 1})
    assert tokens.to_json() == {"workspaceId": "w", "accessToken": "a", "user": 1}


def test_an_empty_refresh_token_is_none() -> None:
    assert Tokens("w", "a", "").refresh_token is None


@pytest.mark.parametrize("expires_at", [0, -5, 0.5, 1e15])
def test_what_is_written_can_be_read(expires_at: float) -> None:
    tokens = Tokens("w", "a", "r", expires_at)
    assert Tokens.from_json(json.loads(json.dumps(tokens.to_json()))) == tokens


@pytest.mark.parametrize("expires_at", [math.inf, math.nan, 1e300])
def test_an_expiry_that_is_no_point_in_time_is_not_written(expires_at: float) -> None:
    assert "expiresAt" not in Tokens("w", "a", "r", expires_at).to_json()


@given(json_values | st.fixed_dictionaries({}, optional=dict.fromkeys(GOOD, json_values) | {"expiresAt": json_values}))
def test_no_json_at_all_breaks_the_reading(form: Any) -> None:
    try:
        tokens = Tokens.from_json(form)
    except ValueError:
        return
    assert tokens.access_token


@given(all_tokens)
def test_tokens_show_no_secret(tokens: Tokens) -> None:
    masked = Tokens("w", "canary-1", "canary-2")
    for shown in (repr(masked), str(masked), f"{masked}", repr(masked.to_json()), repr([masked.access_token])):
        assert "canary" not in shown
    copied = pickle.loads(pickle.dumps(tokens))
    assert copied == tokens
    assert type(copied.access_token) is type(tokens.access_token)


@pytest.mark.parametrize("bad", [None, 5, b"bytes", object()])
def test_a_token_that_is_no_string_is_refused_and_not_made_one(bad: Any) -> None:
    with pytest.raises(TypeError, match="must be a string"):
        Tokens("wksp_1", bad)
    with pytest.raises(TypeError, match="must be a string"):
        LoginRequest("https://login.example", bad, "verifier")


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"workspace_id": None}, TypeError),
        ({"workspace_id": ""}, ValueError),
        ({"access_token": ""}, ValueError),
        ({"expires_at": "1800000000"}, TypeError),
        ({"scope": ["workspace:admin"]}, TypeError),
    ],
)
def test_tokens_that_could_not_be_read_back_are_refused_where_they_are_made(change: Any, error: Any) -> None:
    with pytest.raises(error, match=next(iter(change))):
        Tokens(**{"workspace_id": "wksp_1", "access_token": "access", **change})


@pytest.mark.parametrize(
    "make",
    [
        lambda: Tokens("wksp_1", canary(40), 5),  # type: ignore[arg-type]
        lambda: Tokens("wksp_1", None, canary(40)),  # type: ignore[arg-type]
        lambda: LoginRequest(canary(40), canary(40), None),  # type: ignore[arg-type]
    ],
)
def test_no_argument_shows_because_another_is_no_good(make: Any) -> None:
    with pytest.raises(TypeError, match="must be a string") as caught:
        make()
    assert betrayed(caught.value) == []


# Claims


@pytest.mark.parametrize(
    "token",
    [
        "",
        "opaque",
        "a.b",
        "a.b.c.d",
        "..",
        "é.é.é",
        "a.!!!.c",
        f"a.{urlsafe_b64encode(b'not json').decode()}.c",
        f"a.{urlsafe_b64encode(b'[]').decode()}.c",
        f"a.{urlsafe_b64encode(b'null').decode()}.c",
        f"a.{urlsafe_b64encode(bytes([0xFF, 0xFE])).decode()}.c",
        f"a.{urlsafe_b64encode(b'[' * 30_000).decode()}.c",
        f"a.{urlsafe_b64encode(b'9' * 9000).decode()}.c",
    ],
)
def test_a_token_that_is_no_jwt_claims_nothing(token: str) -> None:
    assert claims(token) == {}
    assert workspace_of(token) is None
    assert expiry(None, token, NOW) is None


@given(st.text() | st.lists(st.text(), min_size=3, max_size=3).map(".".join))
def test_no_text_at_all_breaks_the_claims(token: str) -> None:
    assert isinstance(claims(token), dict)


@pytest.mark.parametrize(
    ("found", "workspace"),
    [
        ({"workspace_id": "wksp_1"}, "wksp_1"),
        ({"sub": "workspace:wksp_1"}, "wksp_1"),
        ({"workspace_id": "wksp_1", "sub": "workspace:wksp_2"}, "wksp_1"),
        ({"workspace_id": "", "sub": "workspace:wksp_2"}, "wksp_2"),
        ({"workspace_id": 7}, None),
        ({"workspace_id": None, "sub": ["workspace:"]}, None),
        ({"sub": "workspace:"}, None),
        ({"sub": "usr_1"}, None),
        ({}, None),
    ],
)
def test_the_workspace_is_in_either_claim(found: dict[str, Any], workspace: str | None) -> None:
    assert workspace_of(jwt(**found)) == workspace


# Expiry


@pytest.mark.parametrize("expires_in", [1, 1.5, 60, 3600, 366 * 24 * 3600])
def test_expires_in_counts_from_now(expires_in: float) -> None:
    assert expiry(expires_in, jwt(iat=0, exp=5), NOW) == NOW + expires_in


def test_expires_in_may_be_a_text_of_digits() -> None:
    assert expiry("3600", jwt(iat=0, exp=5), NOW) == NOW + 3600


UNBELIEVABLE = [None, "", "soon", 0, -1, 0.5, 1e12, 10**400, math.nan, math.inf, -math.inf, True, False, [], {}]
UNBELIEVABLE += ["0", "-3600", "+3600", "1e3", " 3600", "3_600", "²", "9" * 10, "9" * 400]


@pytest.mark.parametrize("expires_in", UNBELIEVABLE, ids=repr)
def test_an_absurd_expires_in_is_an_unknown_one(expires_in: object) -> None:
    assert expiry(expires_in, "opaque", NOW) is None
    assert expiry(expires_in, jwt(iat=100, exp=700), NOW) == NOW + 600


@pytest.mark.parametrize("error", [-400_000_000.0, -7200.0, 0.0, 7200.0, 400_000_000.0])
def test_the_claims_lifetime_holds_on_a_wrong_clock(error: float) -> None:
    issued = NOW
    assert expiry(None, jwt(iat=issued, exp=issued + 600), NOW + error) == NOW + error + 600


def test_exp_alone_is_taken_as_it_is_where_it_is_to_come() -> None:
    assert expiry(None, jwt(exp=NOW + 600), NOW) == NOW + 600
    assert expiry(None, jwt(exp=NOW - 600), NOW) is None
    assert expiry(None, jwt(exp=NOW + 1e9), NOW) is None


@pytest.mark.parametrize("value", UNBELIEVABLE, ids=repr)
def test_absurd_claims_are_unknown_ones(value: object) -> None:
    assert expiry(None, jwt(exp=value), NOW) is None
    assert expiry(None, jwt(iat=5, exp=value), NOW) is None
    assert expiry(None, jwt(iat=value, exp=NOW + 600), NOW) == (None if value == 1e12 else NOW + 600)


@given(json_values, json_values, json_values, st.floats(0, 1e10))
def test_no_value_at_all_breaks_the_expiry(expires_in: Any, issued: Any, expires: Any, now: float) -> None:
    found = expiry(expires_in, jwt(iat=issued, exp=expires), now)
    assert found is None or now + 1 <= found <= now + 366 * 24 * 3600
