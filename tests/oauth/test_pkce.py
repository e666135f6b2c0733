"""PKCE (RFC 7636): the vector of Appendix B, and what is no verifier."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prisma_mgmt.auth.pkce import LoginRequest, challenge, checked_verifier, new_secret
from prisma_mgmt.masks import Secret

UNRESERVED = "ABCXYZabcxyz0189-._~"


def test_the_vector_of_appendix_b() -> None:
    assert challenge("dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk") == "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"


def test_new_secrets_are_verifiers_and_never_the_same() -> None:
    many = [new_secret() for _ in range(10_000)]
    assert len(set(many)) == len(many)
    assert all(re.fullmatch(r"[A-Za-z0-9_-]{43}", one) for one in many)


@given(st.text(UNRESERVED, min_size=43, max_size=128))
def test_a_verifier_has_43_to_128_unreserved_characters(verifier: str) -> None:
    assert checked_verifier(verifier) == verifier
    assert re.fullmatch(r"[A-Za-z0-9_-]{43}", challenge(verifier))


@pytest.mark.parametrize(
    "verifier",
    [None, "", "null", "a" * 42, "a" * 129, "a" * 43 + "\n", "a" * 42 + "+", "a" * 42 + "/", "a" * 42 + "=", "é" * 43],
)
def test_anything_else_is_refused_without_being_shown(verifier: str | None) -> None:
    with pytest.raises(ValueError, match="43 to 128") as caught:
        checked_verifier(verifier)
    assert not verifier or verifier not in str(caught.value)


def test_a_login_request_shows_no_secret() -> None:
    login = LoginRequest(Secret("https://auth.example/authorize?state=canary"), "canary", "canary" * 8)
    assert "canary" not in repr(login)
    assert (str(login.state), str(login.verifier)) == ("canary", "canary" * 8)
