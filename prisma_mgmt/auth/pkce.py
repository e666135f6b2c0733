"""Proof Key for Code Exchange (RFC 7636), and the login request that carries it."""

import re
import secrets
from base64 import urlsafe_b64encode
from hashlib import sha256

from attrs import field, frozen

from prisma_mgmt.checks import secret
from prisma_mgmt.masks import Secret, bare

_VERIFIER = re.compile(r"[A-Za-z0-9._~-]{43,128}")


@frozen(init=False)
class LoginRequest:
    """Where to send the user, and what to keep until the callback: `state` and `verifier`, bound to their browser.

    redirect_uri: where the login server sends the user back; None stands for the client's own.
    return_to: the path in the application to go on with after the login, if a LoginSealer kept one.
    """

    url: str = field(repr=False)
    state: str
    verifier: str
    redirect_uri: str | None = None
    return_to: str | None = None

    def __init__(
        self, url: str, state: str, verifier: str, redirect_uri: str | None = None, return_to: str | None = None
    ) -> None:
        with bare:  # a traceback would show each of them if another is no good
            state, verifier = secret(state), secret(verifier)
        self.__attrs_init__(url, state, verifier, redirect_uri, return_to)  # pyright: ignore[reportUnknownMemberType, reportAttributeAccessIssue]  # attrs makes it


def new_secret() -> Secret:
    """256 random bits as 43 URL-safe characters: good as a verifier (RFC 7636 §4.1) and as a state."""
    return Secret(secrets.token_urlsafe(32))


def challenge(verifier: str) -> str:
    """The S256 challenge of a verifier (RFC 7636 §4.2)."""
    return base64url(sha256(verifier.encode("ascii")).digest())


def base64url(data: bytes) -> str:
    """Bytes as URL-safe base64 without padding (RFC 7636, appendix A)."""
    return urlsafe_b64encode(data).rstrip(b"=").decode()


def checked_verifier(verifier: str | None) -> Secret:
    """`verifier`; ValueError if it is none by RFC 7636 §4.1."""
    if verifier is None or not _VERIFIER.fullmatch(verifier):
        raise ValueError("the verifier must be the 43 to 128 characters that login_url() gave")
    return Secret(verifier)
