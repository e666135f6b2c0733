"""S12: what a callback says is believed only after its state."""

import hmac
from typing import Any
from urllib.parse import quote, urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prisma_mgmt import CallbackError
from prisma_mgmt.auth.callback import clean, read_callback

STATE = "the-state-of-this-login"
ISSUER = "https://auth.prisma.io"


def callback(**parameters: str) -> str:
    return f"https://app.example/callback?{urlencode(parameters)}"


def read(url: str, state: str | None = STATE) -> str:
    return read_callback(url, state, ISSUER)


def refusal(url: str, state: str | None = STATE) -> CallbackError:
    with pytest.raises(CallbackError) as caught:
        read(url, state)
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None
    return caught.value


# Where the code may stand


@pytest.mark.parametrize(
    "url",
    [
        f"https://app.example/callback?code=c&state={STATE}",
        f"http://10.0.0.7:8080/callback?code=c&state={STATE}",  # what a proxied application sees
        f"/callback?code=c&state={STATE}",
        f"?code=c&state={STATE}",
        f"//app.example/callback?code=c&state={STATE}",
        f"/callback?code=c&state={STATE}#_=_",
        f"/callback?project_id=proj_1&state={STATE}&code=c",
        f"/callback?code=c&state={STATE}&theme=a&theme=b",
        f"/callback?code=c&state={STATE}&iss=https%3A%2F%2Fauth.prisma.io",
        f"/callback?code=%63&state={quote(STATE)}",
    ],
)
def test_the_code_of_a_callback(url: str) -> None:
    assert read(url) == "c"


def test_a_code_does_not_show_itself() -> None:
    assert "canary" not in repr(read(callback(code="canary", state=STATE)))


# The state, before anything else


@pytest.mark.parametrize("expected", [None, ""])
@pytest.mark.parametrize("url", ["/callback?code=c", "/callback?code=c&state=", "/callback?error=access_denied"])
def test_without_an_expected_state_nothing_passes(url: str, expected: str | None) -> None:
    assert "no state was kept" in str(refusal(url, expected))


@pytest.mark.parametrize(
    "state",
    [
        "",
        "x",
        STATE[:-1],
        STATE + "x",
        STATE.upper(),
        STATE + "\0",
        " " + STATE,
        "null",
        "None",
        "ſtate",
        "\ud800",
        "%",
    ],
)
def test_any_other_state_is_refused(state: str) -> None:
    url = f"/callback?code=c&state={state}"
    error = refusal(url)
    assert "state" in str(error)
    assert not state.strip("x") or state not in str(error)


@pytest.mark.parametrize("expected", ["\u017ftate", "\ud800", "stäte"])
def test_a_state_of_any_characters_is_compared(expected: str) -> None:
    assert read(f"/callback?code=c&state={expected}", expected) == "c"
    refusal("/callback?code=c&state=other", expected)


def test_the_states_are_compared_in_constant_time(monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[tuple[bytes, bytes]] = []

    def compare(one: Any, other: Any) -> bool:
        compared.append((one, other))
        return False

    monkeypatch.setattr(hmac, "compare_digest", compare)
    refusal(callback(code="c", state=STATE))
    assert compared == [(STATE.encode(), STATE.encode())]


def test_an_error_with_a_wrong_state_is_not_believed() -> None:
    error = refusal(callback(error="access_denied", error_description="call this number", state="wrong"))
    assert (error.error, error.error_description) == (None, None)
    assert "number" not in str(error)


def test_an_issuer_with_a_wrong_state_is_not_even_looked_at() -> None:
    assert "state" in str(refusal(callback(code="c", state="wrong", iss="https://evil.example")))


def test_a_state_in_the_fragment_counts_for_nothing() -> None:
    assert "state" in str(refusal(f"/callback?code=c#state={STATE}"))


# The issuer (RFC 9207)


@pytest.mark.parametrize(
    "issuer",
    ["", "https://evil.example", ISSUER + "/", ISSUER.upper(), "http://auth.prisma.io", "https://auth.prisma.io:443"],
)
def test_another_issuer_is_refused_by_plain_comparison(issuer: str) -> None:
    assert "issuer" in str(refusal(callback(code="c", state=STATE, iss=issuer)))


def test_the_error_about_another_issuer_names_the_configured_one_only() -> None:
    """The difference may be a slash, which the argument `issuer` can mend; what came may be anything."""
    error = refusal(callback(code="c", state=STATE, iss=f"{ISSUER}/canary"))
    assert f"another issuer than {ISSUER}; see issuer=" in str(error)
    assert "canary" not in str(error)


def test_the_issuer_comes_before_the_error() -> None:
    assert "issuer" in str(refusal(callback(error="access_denied", state=STATE, iss="https://evil.example")))


# What the login server says


def test_an_error_of_the_login_server() -> None:
    error = refusal(callback(error="access_denied", error_description="The user said no.", state=STATE, iss=ISSUER))
    assert str(error) == "the login was refused: access_denied"
    assert (error.error, error.error_description) == ("access_denied", "The user said no.")


def test_an_error_beside_a_code_wins() -> None:
    assert refusal(callback(error="server_error", code="c", state=STATE)).error == "server_error"


def test_an_attackers_text_is_data_and_printable() -> None:
    error = refusal(callback(error="a\n\x1b[31mb", error_description="<script>\r\n" + "x" * 9000, state=STATE))
    assert error.error == "a??[31mb"
    assert error.error_description is not None
    assert error.error_description.startswith("<script>??x")
    assert len(error.error_description) == 500
    assert "<script>" not in str(error)


@given(st.text())
def test_cleaned_text_fits_on_a_line_of_a_log(text: str) -> None:
    assert clean(text).isprintable()
    assert len(clean(text)) <= 500


@pytest.mark.parametrize("url", [f"/callback?state={STATE}", f"/callback?state={STATE}&code="])
def test_a_callback_without_a_code_is_refused(url: str) -> None:
    assert "no code" in str(refusal(url))


@pytest.mark.parametrize("name", ["code", "state", "iss", "error", "error_description", "error_uri"])
def test_a_repeated_parameter_is_refused(name: str) -> None:
    value = {"state": STATE, "iss": quote(ISSUER)}.get(name, "x")
    for other in (value, "other", ""):
        url = f"/callback?code=c&state={STATE}&{name}={value}&{name}={other}"
        assert "more than once" in str(refusal(url))


# What is no callback


@pytest.mark.parametrize(
    "url",
    [
        "/callback?code=" + "c" * 20_000 + f"&state={STATE}",
        "/callback?" + "&".join(f"p{number}=x" for number in range(101)) + f"&code=c&state={STATE}",
        f"/callback?code=%ff&state={STATE}",
        f"http://[::1/callback?code=c&state={STATE}",
        f"http://a\u2100b/callback?code=c&state={STATE}",
        "",
        "/callback",
        "/callback?",
        "canary",
        f"/callback;code=c;state={STATE}",
    ],
    ids=range(10),
)
def test_what_is_no_callback_is_refused_without_being_quoted(url: str) -> None:
    error = refusal(url)
    assert "canary" not in str(error)
    assert STATE not in str(error)
    assert len(str(error)) < 120


@given(st.text() | st.text().map("/callback?".__add__), st.none() | st.text())
def test_no_text_at_all_gives_more_than_a_callback_error(url: str, state: str | None) -> None:
    try:
        code = read(url, state)
    except CallbackError:
        return
    assert code
    assert state


@given(st.text(min_size=1), st.text(min_size=1, max_size=100), st.dictionaries(st.text(), st.text(), max_size=5))
def test_every_code_and_state_survive_their_urls(code: str, state: str, others: dict[str, str]) -> None:
    others = {key: value for key, value in others.items() if key not in ("iss", "error")}
    try:
        url = callback(**{**others, "code": code[:1000], "state": state})
    except UnicodeEncodeError:
        return
    assert read(url, state) == code[:1000]
