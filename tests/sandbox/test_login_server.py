"""The login server: what it gives, what it refuses, and what people see of it."""

import re
import threading
from urllib.parse import urlencode

import httpx
import pytest

from prisma_mgmt.sandbox import Sandbox
from tests.sandbox.visitor import (
    SCOPE,
    Clock,
    assert_refused,
    both,
    callback,
    claims,
    connect,
    exchange,
    get_code,
    grace,
    log_in,
    question,
    refresh,
    status_of,
    strict,
)  # fmt: skip


def test_discovery_names_every_endpoint(shared: Sandbox, shared_web: httpx.Client) -> None:
    document = shared_web.get("/.well-known/oauth-authorization-server").json()
    assert document["issuer"] == shared.auth_url
    assert document["authorization_endpoint"] == shared.auth_url + "/authorize"
    assert document["token_endpoint"] == shared.auth_url + "/token"
    assert document["code_challenge_methods_supported"] == ["S256"]
    assert document["grant_types_supported"] == ["authorization_code", "refresh_token"]
    assert document["token_endpoint_auth_methods_supported"] == ["none", "client_secret_post"]
    assert "revocation_endpoint" not in document
    assert httpx.get(f"{shared.api_url}/.well-known/oauth-authorization-server/auth").json() == document


def test_a_login_gives_tokens_for_the_workspace(sandbox: Sandbox, web: httpx.Client, clock: Clock) -> None:
    answer = callback(web.get("/authorize", params=question(sandbox)))
    assert (answer["state"], answer["iss"]) == ("st&te", sandbox.auth_url)
    response = exchange(web, sandbox, answer["code"])
    tokens = response.json()
    assert response.headers["cache-control"] == "no-store"
    assert (tokens["token_type"], tokens["expires_in"], tokens["scope"]) == ("Bearer", 3600, SCOPE)
    inside = claims(tokens["access_token"])
    assert set(inside) >= {"iss", "sub", "workspace_id", "scope", "iat", "exp", "jti"}
    assert inside["workspace_id"] == sandbox.workspace_id
    assert inside["exp"] == clock() + 3600
    assert status_of(sandbox, tokens["access_token"]) == 200
    assert sandbox.counts == {"authorize": 1, "exchange": 1, "api": 1}


def test_without_offline_access_there_is_no_refresh_token(sandbox: Sandbox, web: httpx.Client) -> None:
    assert "refresh_token" not in log_in(web, sandbox, scope="workspace:admin")


@pytest.mark.parametrize(
    "uri",
    ["http://localhost:1/callback", "http://[::1]:65000/callback", "http://127.0.0.1/auth/callback",
     "https://app.example/callback"],
)  # fmt: skip
def test_a_loopback_address_may_have_any_port(shared: Sandbox, shared_web: httpx.Client, uri: str) -> None:
    response = shared_web.get("/authorize", params=question(shared, redirect_uri=uri))
    assert response.headers["location"].startswith(uri + "?code=")


@pytest.mark.parametrize(
    "changes",
    [
        {"client_id": "stranger"},
        {"client_id": None},
        {"redirect_uri": None},
        {"redirect_uri": "http://127.0.0.1:80@evil.example/callback"},
        {"redirect_uri": "http://127.0.0.1:53124/callback/else"},
        {"redirect_uri": "https://app.example:8443/callback"},
        {"redirect_uri": "https://evil.example/<script>"},
    ],
)
def test_an_unknown_client_or_address_is_never_redirected(
    shared: Sandbox, shared_web: httpx.Client, changes: dict[str, str | None]
) -> None:
    response = shared_web.get("/authorize", params=question(shared, **changes))
    assert (response.status_code, response.headers["content-type"]) == (400, "text/html; charset=utf-8")
    assert "location" not in response.headers
    assert "<script" not in response.text


def test_a_parameter_given_twice_is_refused(shared: Sandbox, shared_web: httpx.Client) -> None:
    assert shared_web.get(f"/authorize?{urlencode(question(shared))}&state=2").status_code == 400
    body = "grant_type=refresh_token&grant_type=refresh_token"
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    assert_refused(shared_web.post("/token", content=body, headers=headers), 400, "invalid_request")


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"response_type": "token"}, "unsupported_response_type"),
        ({"response_type": None}, "unsupported_response_type"),
        ({"code_challenge": None}, "invalid_request"),
        ({"code_challenge": "short"}, "invalid_request"),
        ({"code_challenge_method": None}, "invalid_request"),
        ({"code_challenge_method": "plain"}, "invalid_request"),
        ({"scope": "workspace:admin everything"}, "invalid_scope"),
    ],
)
def test_other_mistakes_go_back_to_the_app(
    shared: Sandbox, shared_web: httpx.Client, changes: dict[str, str | None], error: str
) -> None:
    answer = callback(shared_web.get("/authorize", params=question(shared, **changes)))
    assert (answer["error"], answer["state"], answer["iss"]) == (error, "st&te", shared.auth_url)
    assert "code" not in answer


def test_the_user_decides_on_the_consent_page() -> None:
    with Sandbox(auto_approve=False) as sandbox, httpx.Client(base_url=sandbox.auth_url) as web:
        url = f"/authorize?{urlencode(question(sandbox))}"
        page = web.get(url)
        assert page.status_code == 200
        assert "Sandbox app" in page.text
        assert 'value="approve"' in page.text
        assert 'value="deny"' in page.text
        denied = callback(web.post(url, data={"decision": "deny"}))
        assert (denied["error"], denied["state"], denied["iss"]) == ("access_denied", "st&te", sandbox.auth_url)
        code = callback(web.post(url, data={"decision": "approve"}))["code"]
        assert exchange(web, sandbox, code).status_code == 200
        bad = web.post("/authorize?client_id=x", data={"decision": "approve"})
        assert bad.status_code == 400


def test_the_user_picks_a_workspace_whose_name_is_shown_escaped() -> None:
    with Sandbox(auto_approve=False) as sandbox, httpx.Client(base_url=sandbox.auth_url) as web:
        with connect(sandbox, sandbox.service_token) as api:
            other = api.post("/workspaces", json={"displayName": "<b>Second</b>"}).json()["data"]["id"]
        url = f"/authorize?{urlencode(question(sandbox))}"
        page = web.get(url).text
        assert "&lt;b&gt;Second&lt;/b&gt;" in page
        (account,) = re.findall(rf'value="(\w+ {other})"', page)
        code = callback(web.post(url, data={"decision": "approve", "account": account}))["code"]
        tokens = exchange(web, sandbox, code).json()
        assert claims(tokens["access_token"])["workspace_id"] == other
        again = refresh(web, sandbox, tokens["refresh_token"]).json()
        assert claims(again["access_token"])["workspace_id"] == other


@both
def test_a_code_used_twice_takes_back_what_it_gave(sandbox: Sandbox, web: httpx.Client) -> None:
    code = get_code(web, sandbox)
    tokens = exchange(web, sandbox, code).json()
    assert_refused(exchange(web, sandbox, code), 400, "invalid_grant")
    assert status_of(sandbox, tokens["access_token"]) == 401
    assert_refused(refresh(web, sandbox, tokens["refresh_token"]), 400, "invalid_grant")
    assert sandbox.counts["exchange"] == 1


def test_a_code_that_was_used_is_remembered_beyond_its_minute(
    sandbox: Sandbox, web: httpx.Client, clock: Clock
) -> None:
    code = get_code(web, sandbox)
    tokens = exchange(web, sandbox, code).json()
    clock.now += 61
    assert_refused(exchange(web, sandbox, code), 400, "invalid_grant")
    assert status_of(sandbox, tokens["access_token"]) == 401


def test_a_code_lives_for_sixty_seconds(sandbox: Sandbox, web: httpx.Client, clock: Clock) -> None:
    early, late = get_code(web, sandbox), get_code(web, sandbox)
    clock.now += 59.9
    assert exchange(web, sandbox, early).status_code == 200
    clock.now += 0.1
    assert_refused(exchange(web, sandbox, late), 400, "invalid_grant")


@pytest.mark.parametrize(
    ("changes", "status", "error"),
    [
        ({"code": "unknown"}, 400, "invalid_grant"),
        ({"code": None}, 400, "invalid_request"),
        ({"code_verifier": "w" * 43}, 400, "invalid_grant"),
        ({"code_verifier": None}, 400, "invalid_grant"),
        ({"redirect_uri": "http://127.0.0.1:53125/callback"}, 400, "invalid_grant"),
        ({"redirect_uri": None}, 400, "invalid_request"),
        ({"grant_type": None}, 400, "invalid_request"),
        ({"grant_type": "password"}, 400, "unsupported_grant_type"),
        ({"client_id": None}, 401, "invalid_client"),
        ({"client_id": "stranger"}, 401, "invalid_client"),
        ({"client_secret": "unasked"}, 401, "invalid_client"),
    ],
)
def test_a_bad_exchange_gives_nothing(
    shared: Sandbox, shared_web: httpx.Client, changes: dict[str, str | None], status: int, error: str
) -> None:
    assert_refused(exchange(shared_web, shared, get_code(shared_web, shared), **changes), status, error)


def test_the_token_endpoint_takes_forms_only(shared: Sandbox, shared_web: httpx.Client) -> None:
    form = {"grant_type": "refresh_token", "client_id": shared.client_id, "refresh_token": "x"}
    assert_refused(shared_web.post("/token", json=form), 400, "invalid_request")
    assert shared_web.get("/token").status_code == 405
    assert shared_web.post("/token", data={"padding": "x" * 2_000_000}).status_code == 413


def test_a_confidential_client_shows_its_secret(sandbox: Sandbox, web: httpx.Client) -> None:
    id, secret = sandbox.confidential_client_id, sandbox.client_secret
    for wrong in (None, "wrong"):
        answer = exchange(web, sandbox, get_code(web, sandbox, client_id=id), client_id=id, client_secret=wrong)
        assert_refused(answer, 401, "invalid_client")
    code = get_code(web, sandbox, client_id=id)
    tokens = exchange(web, sandbox, code, client_id=id, client_secret=secret).json()
    assert_refused(refresh(web, sandbox, tokens["refresh_token"], client_id=id), 401, "invalid_client")
    assert refresh(web, sandbox, tokens["refresh_token"], client_id=id, client_secret=secret).status_code == 200


def test_a_confidential_client_may_leave_pkce_out_but_not_drop_it(sandbox: Sandbox, web: httpx.Client) -> None:
    id, secret = sandbox.confidential_client_id, sandbox.client_secret
    plain = {"client_id": id, "code_challenge": None, "code_challenge_method": None}
    given = exchange(
        web, sandbox, get_code(web, sandbox, **plain), client_id=id, client_secret=secret, code_verifier=None
    )
    assert given.status_code == 200
    started = get_code(web, sandbox, client_id=id)
    dropped = exchange(web, sandbox, started, client_id=id, client_secret=secret, code_verifier=None)
    assert_refused(dropped, 400, "invalid_grant")
    added = exchange(web, sandbox, get_code(web, sandbox, **plain), client_id=id, client_secret=secret)
    assert_refused(added, 400, "invalid_grant")


def test_a_code_or_token_serves_its_own_client_only(sandbox: Sandbox, web: httpx.Client) -> None:
    other = {"client_id": sandbox.confidential_client_id, "client_secret": sandbox.client_secret}
    code = get_code(web, sandbox)
    assert_refused(exchange(web, sandbox, code, **other), 400, "invalid_grant")
    tokens = exchange(web, sandbox, code).json()
    assert_refused(refresh(web, sandbox, tokens["refresh_token"], **other), 400, "invalid_grant")
    assert refresh(web, sandbox, tokens["refresh_token"]).status_code == 200


@both
def test_every_refresh_rotates(sandbox: Sandbox, web: httpx.Client) -> None:
    seen = [log_in(web, sandbox)]
    for _ in range(3):
        seen.append(refresh(web, sandbox, seen[-1]["refresh_token"]).json())
    assert len({one["refresh_token"] for one in seen}) == 4
    assert len({one["access_token"] for one in seen}) == 4
    assert all(status_of(sandbox, one["access_token"]) == 200 for one in seen)
    assert (sandbox.counts["refresh"], sandbox.counts["refresh_refused"]) == (3, 0)


@strict
def test_strict_revokes_the_family_on_a_replay(sandbox: Sandbox, web: httpx.Client) -> None:
    other, first = log_in(web, sandbox), log_in(web, sandbox)
    second = refresh(web, sandbox, first["refresh_token"]).json()
    assert_refused(refresh(web, sandbox, first["refresh_token"]), 400, "invalid_grant")
    assert_refused(refresh(web, sandbox, second["refresh_token"]), 400, "invalid_grant")
    assert status_of(sandbox, first["access_token"]) == 401
    assert status_of(sandbox, second["access_token"]) == 401
    assert refresh(web, sandbox, other["refresh_token"]).status_code == 200
    assert (sandbox.counts["refresh"], sandbox.counts["refresh_refused"]) == (2, 2)


@grace
def test_grace_forgives_one_reuse_within_ten_seconds(sandbox: Sandbox, web: httpx.Client, clock: Clock) -> None:
    first = log_in(web, sandbox)
    second = refresh(web, sandbox, first["refresh_token"]).json()
    clock.now += 10
    third = refresh(web, sandbox, first["refresh_token"]).json()
    assert third["refresh_token"] != second["refresh_token"]
    assert_refused(refresh(web, sandbox, first["refresh_token"]), 400, "invalid_grant")
    for sibling in (second, third):
        assert status_of(sandbox, sibling["access_token"]) == 200
        assert refresh(web, sandbox, sibling["refresh_token"]).status_code == 200


@grace
def test_grace_ends_after_ten_seconds(sandbox: Sandbox, web: httpx.Client, clock: Clock) -> None:
    first = log_in(web, sandbox)
    second = refresh(web, sandbox, first["refresh_token"]).json()
    clock.now += 10.1
    assert_refused(refresh(web, sandbox, first["refresh_token"]), 400, "invalid_grant")
    assert refresh(web, sandbox, second["refresh_token"]).status_code == 200


@both
def test_tokens_expire(sandbox: Sandbox, web: httpx.Client, clock: Clock) -> None:
    tokens = log_in(web, sandbox)
    clock.now += 3599.9
    assert status_of(sandbox, tokens["access_token"]) == 200
    clock.now += 0.1
    assert status_of(sandbox, tokens["access_token"]) == 401
    clock.now += 90 * 24 * 3600 - 3600
    assert_refused(refresh(web, sandbox, tokens["refresh_token"]), 400, "invalid_grant")
    assert status_of(sandbox, sandbox.service_token) == 200


@both
def test_tokens_expire_and_are_revoked_on_demand(sandbox: Sandbox, web: httpx.Client) -> None:
    tokens = log_in(web, sandbox)
    sandbox.expire_access_tokens()
    assert status_of(sandbox, tokens["access_token"]) == 401
    assert status_of(sandbox, sandbox.service_token) == 200
    renewed = refresh(web, sandbox, tokens["refresh_token"]).json()
    assert status_of(sandbox, renewed["access_token"]) == 200
    sandbox.revoke_refresh_tokens()
    assert_refused(refresh(web, sandbox, renewed["refresh_token"]), 400, "invalid_grant")
    assert status_of(sandbox, renewed["access_token"]) == 200
    assert sandbox.counts["unauthenticated"] == 1


def test_revocation_is_there_on_request() -> None:
    with Sandbox(revocation=True) as sandbox, httpx.Client(base_url=sandbox.auth_url) as web:
        document = web.get("/.well-known/oauth-authorization-server").json()
        assert document["revocation_endpoint"] == sandbox.auth_url + "/revoke"
        tokens = log_in(web, sandbox)
        form = {"client_id": sandbox.client_id, "token": tokens["refresh_token"]}
        assert_refused(web.post("/revoke", data={**form, "client_id": "x"}), 401, "invalid_client")
        assert web.post("/revoke", data={**form, "token": "unknown"}).status_code == 200
        assert status_of(sandbox, tokens["access_token"]) == 200
        assert web.post("/revoke", data=form).status_code == 200
        assert status_of(sandbox, tokens["access_token"]) == 401


def test_revocation_is_not_there_otherwise(shared: Sandbox, shared_web: httpx.Client) -> None:
    assert shared_web.post("/revoke", data={"token": "x"}).status_code == 404


# Several users


def test_the_user_picks_an_account_on_the_consent_page() -> None:
    with (
        Sandbox(auto_approve=False, users=["Ada", "Grace <3"]) as sandbox,
        httpx.Client(base_url=sandbox.auth_url) as web,
    ):
        url = f"/authorize?{urlencode(question(sandbox))}"
        page = web.get(url).text
        assert "Grace &lt;3" in page
        accounts = re.findall(r'name="account" value="([^"]+)"', page)
        assert len(accounts) == 2
        code = callback(web.post(url, data={"decision": "approve", "account": accounts[1]}))["code"]
        inside = claims(exchange(web, sandbox, code).json()["access_token"])
        assert accounts[1] == f"{inside['sub']} {inside['workspace_id']}"
        assert inside["workspace_id"] != sandbox.workspace_id


def test_an_account_that_is_not_on_the_page_is_a_no() -> None:
    with Sandbox(auto_approve=False) as sandbox, httpx.Client(base_url=sandbox.auth_url) as web:
        url = f"/authorize?{urlencode(question(sandbox))}"
        answer = callback(web.post(url, data={"decision": "approve", "account": "usr_x wksp_x"}))
        assert answer["error"] == "access_denied"


def test_a_login_hint_picks_the_user() -> None:
    with Sandbox(users=["Ada", "Grace"]) as sandbox, httpx.Client(base_url=sandbox.auth_url) as web:
        subjects = [
            claims(log_in(web, sandbox, login_hint=hint)["access_token"])["sub"] for hint in (None, "Ada", "Grace", "x")
        ]
        assert subjects[0] == subjects[1] == subjects[3] != subjects[2]


def test_users_see_their_own_workspace_only() -> None:
    with Sandbox(users=["Ada", "Grace"]) as sandbox, httpx.Client(base_url=sandbox.auth_url) as web:
        with connect(sandbox, log_in(web, sandbox, login_hint="Ada")["access_token"]) as ada:
            assert ada.post("/projects", json={"name": "hers"}).status_code == 201
        with connect(sandbox, log_in(web, sandbox, login_hint="Grace")["access_token"]) as grace:
            assert grace.get("/projects").json()["data"] == []
            assert grace.get("/me").json()["data"]["user"]["name"] == "Grace"


# Pages


def test_an_error_page_lists_the_registered_addresses(shared: Sandbox, shared_web: httpx.Client) -> None:
    page = shared_web.get("/authorize", params=question(shared, redirect_uri="https://evil.example/")).text
    assert "<code>https://app.example/callback</code>" in page
    assert "evil.example" not in page
    assert "callback</code>" not in shared_web.get("/authorize", params={"client_id": "stranger"}).text


@pytest.mark.parametrize("changes", [{}, {"client_id": "x"}, {"redirect_uri": "https://evil.example/"}])
def test_a_page_needs_nothing_from_elsewhere_and_cannot_be_framed(changes: dict[str, str]) -> None:
    with Sandbox(auto_approve=False) as sandbox, httpx.Client(base_url=sandbox.auth_url) as web:
        answer = web.get("/authorize", params=question(sandbox, **changes))
        assert "This is a sandbox" in answer.text
        assert not re.search(r"<(script|link|img|iframe)|url\(|@import|\son[a-z]+=", answer.text)
        assert answer.headers["content-security-policy"].startswith("default-src 'none';")
        assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]
        assert answer.headers["cache-control"] == "no-store"


def test_a_denial_leads_back_to_the_app() -> None:
    with Sandbox(auto_approve=False) as sandbox, httpx.Client(base_url=sandbox.auth_url) as web:
        answer = web.post(f"/authorize?{urlencode(question(sandbox))}", data={"decision": "deny"})
        assert callback(answer)["error"] == "access_denied"
        assert "You said no" in answer.text


# Bad input

FORM = {"Content-Type": "application/x-www-form-urlencoded"}


@pytest.mark.parametrize(
    ("body", "headers", "status"),
    [
        (b"", FORM, 401),
        (b"\xff\xfe=\x00", FORM, 401),
        (b"client_id=%ED%A0%80&client_secret=%ED%A0%80", FORM, 401),
        (b"client_id=sandbox-app&grant_type=%22%5C%ED%A0%80%00", FORM, 400),
        (b"&".join(b"a%d=1" % one for one in range(200)), FORM, 400),
        (b"{}", {"Content-Type": "application/json"}, 400),
        (b"{}", {}, 400),
        (b"grant_type=refresh_token", {"Content-Type": "multipart/form-data; boundary=x"}, 400),
        (b"grant_type=refresh_token", {"Content-Type": ";;;"}, 400),
        (b"x" * 2_000_000, FORM, 413),
    ],
)
@pytest.mark.parametrize("path", ["/token", "/revoke"])
def test_garbage_is_an_oauth_error(body: bytes, headers: dict[str, str], status: int, path: str) -> None:
    with Sandbox(revocation=True) as sandbox, httpx.Client(base_url=sandbox.auth_url) as web:
        answer = web.post(path, content=body, headers=headers)
        if path == "/token" or status != 400:
            assert answer.status_code == status
        assert 400 <= answer.status_code < 500
        assert set(answer.json()) == {"error", "error_description"}
        assert re.fullmatch(r"[ !#-\[\]-~]*", answer.json()["error_description"])


def test_garbage_at_the_consent_page_is_a_page() -> None:
    with Sandbox(auto_approve=False) as sandbox, httpx.Client(base_url=sandbox.auth_url) as web:
        url = f"/authorize?{urlencode(question(sandbox))}"
        assert web.post(url, content=b"{", headers={"Content-Type": "application/json"}).status_code == 400
        assert web.post(url, content=b"x" * 2_000_000, headers=FORM).status_code == 400
        assert callback(web.post(url, content=b"decision=%ff", headers=FORM))["error"] == "access_denied"
        for query in ("%ff=%ff", "client_id=%00", "a=1&a=2", "&".join(f"a{one}=1" for one in range(200))):
            assert web.get(f"/authorize?{query}").status_code == 400


def test_basic_authentication_is_told_to_move_to_the_form(shared: Sandbox, shared_web: httpx.Client) -> None:
    client = (shared.confidential_client_id, shared.client_secret)
    answer = shared_web.post("/token", data={"grant_type": "refresh_token", "refresh_token": "x"}, auth=client)
    assert_refused(answer, 401, "invalid_client")
    assert answer.headers["www-authenticate"].startswith("Basic ")


def test_an_unknown_route_is_an_oauth_error_too(shared: Sandbox, shared_web: httpx.Client) -> None:
    for method, path, status in (("GET", "/token", 405), ("GET", "/nonsense", 404), ("POST", "/é", 404)):
        answer = shared_web.request(method, path)
        assert (answer.status_code, answer.json()["error"]) == (status, "invalid_request")


def test_many_threads_refresh_once_each(sandbox: Sandbox, web: httpx.Client) -> None:
    token = log_in(web, sandbox)["refresh_token"]
    statuses: list[int] = []

    def spend() -> None:
        with httpx.Client(base_url=sandbox.auth_url) as client:
            statuses.append(refresh(client, sandbox, token).status_code)
        sandbox.expire_access_tokens()

    threads = [threading.Thread(target=spend) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(statuses) == [200] + [400] * 7
    assert (sandbox.counts["refresh"], sandbox.counts["refresh_refused"]) == (1, 7)
