"""Tokens, and the masks they wear."""

import copy
import pickle

import pytest

from prisma_mgmt import ServiceToken
from prisma_mgmt.credentials import Secret, checked_origin, checked_token


@pytest.mark.anyio
async def test_a_service_token_is_sent_as_it_is_and_never_renewed() -> None:
    token = ServiceToken("  abc.DEF-123_~+/= \n")
    assert await token.access_token() == "abc.DEF-123_~+/="
    assert await token.renew("abc") is None
    assert "abc" not in repr(token) + str(token)


@pytest.mark.parametrize("bad", ["", "   ", "\n", "a b", "a\nb", "tökén", "a\x00b", "a\x7f"])
def test_tokens_that_are_refused(bad: str) -> None:
    with pytest.raises(ValueError, match="the service token") as caught:
        ServiceToken(bad)
    assert not bad.strip() or bad not in str(caught.value)


def test_the_environment() -> None:
    assert ServiceToken.from_environment({}) is None
    assert isinstance(ServiceToken.from_environment({"PRISMA_SERVICE_TOKEN": "x"}), ServiceToken)
    for blank in ("", " "):
        with pytest.raises(ValueError, match="PRISMA_SERVICE_TOKEN is blank"):
            ServiceToken.from_environment({"PRISMA_SERVICE_TOKEN": blank})


def test_a_secret_is_a_string_that_does_not_show_itself() -> None:
    secret = Secret("hunter2")
    assert secret == "hunter2"
    assert str(secret) == f"{secret}" == "hunter2"
    assert repr(secret) == "'**********'"
    assert "hunter2" not in repr([secret, {"a": secret}])
    assert repr(Secret("")) == "''"
    for twin in (copy.copy(secret), pickle.loads(pickle.dumps(secret))):
        assert (type(twin), twin) == (Secret, secret)


def test_a_checked_token_is_masked() -> None:
    assert repr(checked_token(" a ", "it")) == "'**********'"


@pytest.mark.parametrize(
    ("url", "base"),
    [
        ("https://api.prisma.io", "https://api.prisma.io"),
        ("https://api.prisma.io/", "https://api.prisma.io"),
        ("https://api.prisma.io:8443/a/b//", "https://api.prisma.io:8443/a/b"),
        ("HTTPS://API.prisma.io", "HTTPS://API.prisma.io"),
        ("http://[::1]:80", "http://[::1]:80"),
    ],
)
def test_origins(url: str, base: str) -> None:
    assert checked_origin(url, "it") == base
