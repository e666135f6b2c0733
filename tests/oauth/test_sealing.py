"""Sealed cookies and sealed tokens: nothing but what was sealed, where and when it was, comes out."""

from base64 import b64encode, urlsafe_b64encode
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prisma_mgmt import CallbackError
from prisma_mgmt.auth import LoginRequest, LoginSealer, OAuthClient, TokenCipher
from prisma_mgmt.auth.sealing import new_key
from tests.conftest import FakeClock

KEY, OTHER_KEY = bytes(range(32)), bytes(range(32, 64))
LOGIN = OAuthClient("client", "https://app.example/callback").login_url()


# Keys


@pytest.mark.parametrize(
    "keys",
    [
        [],
        (),
        b"x" * 32,
        "x" * 43,
        [b""],
        [b"x" * 16],
        [b"x" * 31],
        [b"x" * 33],
        ["canary"],
        ["é" * 43],
        [KEY, b"x"],
    ],
    ids=repr,
)
@pytest.mark.parametrize("kind", [TokenCipher, LoginSealer])
def test_keys_that_are_none(kind: Any, keys: Any) -> None:
    with pytest.raises(ValueError, match="keys must be") as caught:
        kind(keys)
    assert "canary" not in str(caught.value)


@pytest.mark.parametrize("keys", [[32], [None], [True], [KEY, bytearray(32)], bytearray(32)], ids=repr)
@pytest.mark.parametrize("kind", [TokenCipher, LoginSealer])
def test_a_key_that_is_neither_bytes_nor_text(kind: Any, keys: Any) -> None:
    with pytest.raises(TypeError, match="a key must be bytes or text"):
        kind(keys)


@pytest.mark.parametrize("keys", [None, 5, {"key": KEY}], ids=repr)
def test_keys_that_are_no_list(keys: Any) -> None:
    with pytest.raises(ValueError, match="must be a list of at least one key"):
        TokenCipher(keys)


def test_a_key_may_be_text() -> None:
    sealed = TokenCipher([KEY]).seal("text", "place")
    for text in (urlsafe_b64encode(KEY).decode(), urlsafe_b64encode(KEY).decode().rstrip("="), b64encode(KEY).decode()):
        assert TokenCipher([text]).open(sealed, "place") == "text"
        assert TokenCipher([f"{text}\n"]).open(sealed, "place") == "text"


def test_new_keys() -> None:
    one, other = new_key(), new_key()
    assert one != other
    assert repr(one) == "'**********'"
    TokenCipher([one, other])


# Tokens


@given(st.text(st.characters(exclude_categories=["Cs"])), st.text(st.characters(exclude_categories=["Cs"])))
def test_what_was_sealed_for_a_place_opens_there(text: str, place: str) -> None:
    cipher = TokenCipher([KEY])
    assert cipher.open(cipher.seal(text, place), place) == text
    assert cipher.seal(text, place) != cipher.seal(text, place)
    with pytest.raises(ValueError, match="another place"):
        cipher.open(cipher.seal(text, place), place + "x")


def test_the_first_key_seals_and_all_open() -> None:
    old, both, new = TokenCipher([OTHER_KEY]), TokenCipher([KEY, OTHER_KEY]), TokenCipher([KEY])
    assert both.open(old.seal("text", "p"), "p") == "text"
    assert new.open(both.seal("text", "p"), "p") == "text"
    with pytest.raises(ValueError, match="another key"):
        new.open(old.seal("text", "p"), "p")


def test_every_flipped_bit_is_noticed() -> None:
    cipher = TokenCipher([KEY])
    sealed = cipher.seal("text", "p")
    for place, character in enumerate(sealed):
        changed = sealed[:place] + ("A" if character != "A" else "B") + sealed[place + 1 :]
        with pytest.raises(ValueError, match="sealed"):
            cipher.open(changed, "p")


@pytest.mark.parametrize("more", ["=", "!", "\n", " ", "é", "\udc80"])
def test_there_is_one_way_to_write_what_is_sealed(more: str) -> None:
    cipher = TokenCipher([KEY])
    sealed = cipher.seal("text", "p")
    for changed in (sealed + more, sealed[:20] + more + sealed[20:], sealed[:3] + more + sealed[3:]):
        with pytest.raises(ValueError, match="sealed"):
            cipher.open(changed, "p")


@pytest.mark.parametrize("cookie", [None, "", b"v1.bytes", 5, ["v1."]])
def test_what_is_no_cookie_is_a_callback_error(cookie: Any) -> None:
    with pytest.raises(CallbackError, match="missing"):
        LoginSealer([KEY]).open(cookie)


@given(st.text() | st.text().map("v1.".__add__))
def test_no_text_at_all_opens(text: str) -> None:
    with pytest.raises(ValueError, match=r"it (is|was)"):
        TokenCipher([KEY]).open(text, "p")


def test_the_purposes_are_apart() -> None:
    with pytest.raises(CallbackError):
        LoginSealer([KEY]).open(TokenCipher([KEY]).seal("[]", ""))


# Logins


def test_a_sealed_login_comes_back_as_it_was() -> None:
    sealer = LoginSealer([KEY])
    cookie = sealer.seal(LOGIN, "/projects?page=2#top")
    assert cookie.isascii()
    assert len(cookie) < 350
    assert not set(cookie) & set(' ";,\\')
    for secret in (LOGIN.state, LOGIN.verifier):
        assert secret not in cookie
    assert sealer.open(cookie) == LoginRequest(
        "", LOGIN.state, LOGIN.verifier, "https://app.example/callback", "/projects?page=2#top"
    )
    assert LOGIN.state not in repr(sealer.open(cookie))


def test_a_cookie_is_good_for_ten_minutes(clock: FakeClock) -> None:
    sealer = LoginSealer([KEY], now=clock.now)
    cookie = sealer.seal(LOGIN)
    clock.time += 600
    assert sealer.open(cookie)
    clock.time += 1
    with pytest.raises(CallbackError, match="it expired"):
        sealer.open(cookie)
    clock.time -= 601 + 60
    assert sealer.open(cookie), "another machine's clock may be behind"
    clock.time -= 1
    with pytest.raises(CallbackError):
        sealer.open(cookie)


@pytest.mark.parametrize("ttl", [0, -1, float("nan")])
def test_a_ttl_that_is_none(ttl: float) -> None:
    with pytest.raises(ValueError, match="ttl"):
        LoginSealer([KEY], ttl=ttl)


def test_keys_change_without_losing_a_login() -> None:
    assert LoginSealer([KEY, OTHER_KEY]).open(LoginSealer([OTHER_KEY]).seal(LOGIN)).state == LOGIN.state
    with pytest.raises(CallbackError, match="another key"):
        LoginSealer([KEY]).open(LoginSealer([OTHER_KEY]).seal(LOGIN))


def test_a_cookie_of_another_client_does_not_open() -> None:
    with pytest.raises(CallbackError, match="no good"):
        LoginSealer([KEY], client_id="one").open(LoginSealer([KEY], client_id="other").seal(LOGIN))


@pytest.mark.parametrize("text", [None, ""])
def test_a_missing_cookie_says_what_may_be_wrong(text: str | None) -> None:
    with pytest.raises(CallbackError, match="another browser"):
        LoginSealer([KEY]).open(text)


@given(st.text(min_size=1))
def test_nothing_else_is_a_cookie(text: str) -> None:
    with pytest.raises(CallbackError) as caught:
        LoginSealer([KEY]).open(text)
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None


def test_logins_in_several_tabs_have_a_cookie_each() -> None:
    oauth, sealer = OAuthClient("client", "https://app.example/callback"), LoginSealer([KEY])
    logins = [oauth.login_url() for _ in range(3)]
    cookies = {sealer.cookie_name(login): sealer.seal(login) for login in logins}
    assert len(cookies) == 3
    for login in reversed(logins):
        name = sealer.cookie_name(str(login.state))
        assert name.removeprefix("__Host-").isidentifier()
        assert login.state not in name
        assert sealer.open(cookies[name]).verifier == login.verifier
    assert sealer.cookie_name(None) == sealer.cookie_name("") not in cookies
    assert sealer.cookie_name("\ud800")


# Cookies for whoever writes a login of their own


def test_a_whole_cookie_goes_into_set_cookie_of_every_framework() -> None:
    import django.http
    import litestar
    import starlette.responses

    from tests.kit.django_app import set_up

    set_up()
    cookie = LoginSealer([KEY]).cookie(LOGIN, "/next")
    assert LoginSealer([KEY]).open(cookie["value"]).return_to == "/next"
    expected = {"Max-Age=600", "Path=/", "HttpOnly", "SameSite=lax", "Secure"}
    one = starlette.responses.Response()
    one.set_cookie(**cookie)
    assert set(one.headers["set-cookie"].split("; ")[1:]) == expected
    other = django.http.HttpResponse()
    other.set_cookie(**cookie)
    assert expected <= set(other.cookies.output(header="").strip().split("; "))
    third: litestar.Response[None] = litestar.Response(None)
    third.set_cookie(**cookie)
    assert set(third.cookies[0].to_header(header="").strip().split("; ")[1:]) == expected


@pytest.mark.parametrize(
    ("redirect_uri", "secure"),
    [
        ("https://app.example/callback", True),
        ("http://app.example/callback", True),
        ("http://127.0.0.1:8000/callback", False),
        ("http://[::1]/callback", False),
        ("http://localhost/callback", False),
        ("https://localhost/callback", True),
        ("http://localhost.evil.example/callback", True),
        (None, True),
    ],
)
def test_a_cookie_is_for_https_but_on_this_machine(redirect_uri: str | None, secure: bool) -> None:
    login = LoginRequest("", LOGIN.state, LOGIN.verifier, redirect_uri)
    cookie = LoginSealer([KEY]).cookie(login)
    assert cookie["secure"] is secure
    assert cookie["key"].startswith("__Host-prisma_login_" if secure else "prisma_login_")
    assert (cookie["path"], "domain" in cookie) == ("/", False), "a name that begins with __Host- asks for this"


def test_a_callback_finds_its_login_among_several() -> None:
    oauth, sealer = OAuthClient("client", "https://app.example/callback"), LoginSealer([KEY])
    logins = [oauth.login_url() for _ in range(3)]
    cookies = {"other": "x"} | {cookie["key"]: cookie["value"] for cookie in map(sealer.cookie, logins)}
    for login in logins:
        for url in ("https://app.example/callback", "/callback", ""):
            found = sealer.open_for(cookies, f"{url}?code=c&state={login.state}")
            assert (found.state, found.verifier) == (login.state, login.verifier)
    with pytest.raises(CallbackError, match="missing"):
        sealer.open_for(cookies, f"/callback?code=c&state={oauth.login_url().state}")


@pytest.mark.parametrize("first", [True, False])
def test_a_login_that_another_host_of_the_domain_has_set_is_none(first: bool) -> None:
    """Such a host may have begun it, and so would log the user in as itself; it can set no name with __Host-."""
    sealer = LoginSealer([KEY])
    mine, theirs = (sealer.cookie(OAuthClient("client", "https://app.example/callback").login_url()) for _ in range(2))
    pairs = [(mine["key"], mine["value"]), (theirs["key"].removeprefix("__Host-"), theirs["value"])]
    cookies = dict(pairs if first else reversed(pairs))
    states = [sealer.open(cookie["value"]).state for cookie in (mine, theirs)]
    assert sealer.open_for(cookies, f"/callback?code=c&state={states[0]}").state == states[0]
    with pytest.raises(CallbackError, match="missing"):
        sealer.open_for(cookies, f"/callback?code=c&state={states[1]}")
    assert sealer.surplus(cookies, keep=0) == [mine["key"]]
    with pytest.raises(CallbackError, match="no good"):  # that of the right name counts, whatever else is there
        sealer.open_for({theirs["key"]: "v1.", **cookies}, f"/callback?code=c&state={states[1]}")


def test_a_login_over_http_to_this_machine_is_found_by_its_plain_name_only() -> None:
    sealer = LoginSealer([KEY])
    login = OAuthClient("client", "http://127.0.0.1:8000/callback").login_url()
    cookie, url = sealer.cookie(login), f"http://127.0.0.1:8000/callback?code=c&state={login.state}"
    assert cookie["key"] == sealer.cookie_name(login) == sealer.cookie_name(login.state).removeprefix("__Host-")
    cookies = {cookie["key"]: cookie["value"]}
    assert sealer.open_for(cookies, url).state == login.state
    assert sealer.surplus(cookies, keep=0) == list(cookies)
    with pytest.raises(CallbackError, match="missing"):
        sealer.open_for({f"__Host-{cookie['key']}": cookie["value"]}, url)


@pytest.mark.parametrize("url", ["", "/callback", "/callback?code=c", "/callback?state=", "/callback?state=a&state=b"])
def test_a_callback_without_a_state_belongs_to_no_login(url: str) -> None:
    with pytest.raises(CallbackError):
        LoginSealer([KEY]).open_for({}, url)


def test_the_newest_three_logins_are_kept(clock: FakeClock) -> None:
    oauth, sealer = OAuthClient("client", "https://app.example/callback"), LoginSealer([KEY], now=clock.now)
    cookies = {"other": "x", "prisma_login_theirs": LoginSealer([OTHER_KEY]).seal(LOGIN)}
    names = []
    for _ in range(34):
        clock.time += 1
        for name in sealer.surplus(cookies):
            del cookies[name]
        cookie = sealer.cookie(oauth.login_url())
        cookies[cookie["key"]] = cookie["value"]
        names.append(cookie["key"])
    assert list(cookies) == ["other", "prisma_login_theirs", *names[-3:]]
    clock.time += 599
    assert set(sealer.surplus(cookies)) == {names[-3]}
    clock.time += 2
    assert set(sealer.surplus(cookies)) == set(names[-3:])


def test_the_newest_logins_are_kept_though_time_passes_while_they_are_looked_at(clock: FakeClock) -> None:
    oauth, sealer = OAuthClient("client", "https://app.example/callback"), LoginSealer([KEY], now=clock.now)
    cookies = {}
    for _ in range(3):
        cookie = sealer.cookie(oauth.login_url())
        cookies[cookie["key"]] = cookie["value"]
        clock.time += 0.001

    def later() -> float:
        clock.time += 1
        return clock.time

    assert LoginSealer([KEY], now=later).surplus(cookies) == list(cookies)[:1]


@pytest.mark.parametrize(
    ("call", "problem"),
    [
        (lambda sealer: sealer.seal("state"), "LoginRequest"),
        (lambda sealer: sealer.cookie(None), "LoginRequest"),
        (lambda sealer: sealer.open_for("a=b", "/callback"), "mapping of cookies"),
        (lambda sealer: sealer.open_for({}, None), "callback's URL"),
        (lambda sealer: sealer.surplus(["a=b"]), "mapping of cookies"),
        (lambda sealer: sealer.seal(LOGIN, 7), "return_to"),
        (lambda sealer: LoginSealer([KEY], ttl="600"), "ttl"),
        (lambda sealer: LoginSealer([KEY], client_id=7), "client_id"),
        (lambda sealer: LoginSealer([KEY], now=7), "now"),
    ],
)
def test_what_is_no_login_is_not_sealed(call: Any, problem: str) -> None:
    with pytest.raises(TypeError, match=problem):
        call(LoginSealer([KEY]))


SAFE = ["/", "/x", "/x/y?z=1&w=%2F#f", "/x//y", "/~ada", "/a:b@c", "/[x]", "/" + "x" * 499]
SAFE += ["/a%20b", "/%C3%A9", "/a%2Fb", "/x?next=%2F%2Fy&z=%5C%09", "/x#%2F..%2Fy", "/...", "/a..b/.c"]
UNSAFE = [
    *("", "x", "//evil.example", "///evil.example", "/\\evil.example", "\\\\evil.example", "/\t/evil.example"),
    *("https://evil.example", "javascript:alert(1)", " /x", "/x\r\nSet-Cookie: a=b", "/x\n", "/\x00"),
    *("/x\\..\\\\evil.example", "\t//evil.example", "/\x7f", "/\ud800", "/" + "x" * 500, "%2f%2fevil", "?x"),
    *("/.//evil.example/x", "/..//evil.example/x", "/%2e%2E//evil.example", "/a/../b"),
    *("/%2fevil.example", "/%5Cevil.example", "/x%5c..%5c%5cevil.example", "/%09/evil.example", "/x%0d%0aSet-Cookie:y"),
]


def test_a_login_that_a_machine_with_another_clock_sealed_says_so(clock: FakeClock) -> None:
    cookie = LoginSealer([KEY], now=lambda: clock.time + 90).seal(LOGIN)
    with pytest.raises(CallbackError, match="sealed in the future, by another machine's clock"):
        LoginSealer([KEY], now=clock.now).open(cookie)


@pytest.mark.parametrize("path", SAFE)
def test_a_path_in_the_application_is_kept(path: str) -> None:
    sealer = LoginSealer([KEY])
    cookie = sealer.seal(LOGIN, path)
    assert sealer.open(cookie).return_to == path
    assert len(cookie) < 1024


@pytest.mark.parametrize(
    ("path", "quoted"),
    [
        ("/café?q=ü b#é", "/caf%C3%A9?q=%C3%BC%20b#%C3%A9"),
        ("/a b/%20/c%", "/a%20b/%20/c%"),
        ("/\uff0fevil.example", "/%EF%BC%8Fevil.example"),
        ("/\u2028", "/%E2%80%A8"),
        ("/" + "é" * 83, "/" + "%C3%A9" * 83),
        ("/" + "é" * 84, None),
    ],
)
def test_a_path_of_any_letters_is_quoted(path: str, quoted: str | None) -> None:
    sealer = LoginSealer([KEY])
    assert sealer.open(sealer.seal(LOGIN, path)).return_to == quoted


@pytest.mark.parametrize("path", UNSAFE, ids=range(len(UNSAFE)))
def test_any_other_return_path_is_dropped(path: str) -> None:
    sealer = LoginSealer([KEY])
    assert sealer.open(sealer.seal(LOGIN, path)).return_to is None
