"""The token endpoint (RFC 6749 §3.2): post a form, believe only a well-formed grant."""

from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from typing import Any, cast
from urllib.parse import unquote, unquote_plus

import anyio
from attrs import field, frozen

from prisma_mgmt.auth.callback import clean
from prisma_mgmt.auth.sending import Answer, Sender
from prisma_mgmt.checks import checked_token
from prisma_mgmt.errors import AuthError, LoginRequiredError, NetworkError, PrismaError
from prisma_mgmt.masks import Secret

_CODES = frozenset(  # RFC 6749 §5.2, RFC 7009 §2.2.1, and what servers say that have no time
    "invalid_request invalid_client invalid_grant unauthorized_client unsupported_grant_type invalid_scope "  # noqa: SIM905  # a list of words
    "unsupported_token_type server_error temporarily_unavailable slow_down access_denied".split()
)
_SHORTEST = 6  # characters of a secret; to take a shorter one out of a text would leave nothing of the text
_PIECE = 12  # characters of a secret in a row; what shows so many, cut, quoted or in capitals, is not shown


@frozen
class Grant:
    """What the token endpoint gave: `access_token` has its scheme before it if it is no bearer token.

    It can then not be sent, see bearer(); the refresh token beside it is as good as any.
    """

    access_token: str
    refresh_token: str | None
    expires_in: object
    scope: str | None


@frozen
class TokenEndpoint:
    """Posts grants to one URL.

    A grant that may be asked for again after a lost answer gets five sixths of the timeout for the first try. The
    second still falls into the ten seconds in which the server forgives it. A slow server is left in peace for as long
    as that allows: if it forgives nothing, it takes the second try for a theft.
    """

    url: str
    sender: Sender = field(repr=False)
    now: Callable[[], float]

    async def post(self, form: Mapping[str, str], *, again: bool, on_sent: Callable[[], object] | None = None) -> Grant:
        """What was granted; with `again`, a lost answer is asked for once more.

        Raises NetworkError; LoginRequiredError for a refused refresh token; AuthError for anything else.
        """
        timeout, started = self.sender.timeout, anyio.current_time()
        ask = partial(self.sender.send, "POST", self.url, form=form, on_sent=on_sent)
        try:
            return self._granted(await ask(within=timeout * 5 / 6 if again else timeout), form)
        except NetworkError as error:
            if not again:
                raise
            first = error  # the answer is lost, and the refresh token may be spent: ask for its successor at once
        try:
            return self._granted(await ask(within=max(0.0, started + timeout - anyio.current_time())), form)
        except PrismaError as error:
            error.attempts = 2
            if isinstance(error, NetworkError):
                error.unsent = first.unsent and error.unsent
            raise

    async def metadata(self, url: str) -> dict[str, Any]:
        """What the server says of itself at `url` (RFC 8414); empty if it says nothing, AuthError if it cannot now."""
        answer = await self.sender.send("GET", url)
        if answer.status == 429 or answer.status >= 500:
            raise self._refusal(answer, {})
        return answer.fields if answer.status == 200 else {}

    async def revoke(self, url: str, form: Mapping[str, str]) -> bool:
        """Post a token to be revoked (RFC 7009); False for an access token if the server revokes none, as it may.

        Raises AuthError if that is refused for another reason.
        """
        answer = await self.sender.send("POST", url, form=form)
        kind = answer.fields.get("error"), form["token_type_hint"]
        if not answer.is_success and kind != ("unsupported_token_type", "access_token"):
            raise self._refusal(answer, form)
        return answer.is_success

    def _granted(self, answer: Answer, form: Mapping[str, str]) -> Grant:
        """The grant (RFC 6749 §5.1); anything else is an error that leaves the session as it is.

        Once there is an access token, the refresh token that was sent is spent: whatever else is odd in the answer
        counts as left out, so that its successor is not lost.
        """
        fields = answer.fields
        error = fields.get("error")
        if not answer.is_success or (error.strip() if isinstance(error, str) else error):
            raise self._refusal(answer, form)
        access_token = _text(fields.get("access_token"))
        if not access_token:
            raise answer.refusal("the login server's answer is no grant of a bearer token", self.now())
        scheme, scope = _text(fields.get("token_type")), fields.get("scope")
        if scheme and scheme.lower() != "bearer":
            access_token = Secret(f"{clean(scheme)} {access_token}")
        if isinstance(scope, list):
            scope = " ".join(one for one in cast("list[object]", scope) if isinstance(one, str))
        refresh_token = _text(fields.get("refresh_token")) or None
        return Grant(access_token, refresh_token, fields.get("expires_in"), str(_text(scope)) or None)

    def _refusal(self, answer: Answer, form: Mapping[str, str]) -> AuthError:
        """The error that a refusal stands for; only `invalid_grant` for a refresh token asks for a new login."""
        error, description = answer.fields.get("error"), answer.fields.get("error_description")
        judged = 400 <= answer.status < 500 and answer.status != 429  # what limits rates has not looked at the token
        refused = judged and (form.get("grant_type"), error) == ("refresh_token", "invalid_grant")
        name = str(error) if isinstance(error, str) and error in _CODES else _shown(error, form)
        kind = LoginRequiredError if refused else AuthError
        message = "the refresh token was refused: log in again" if refused else "the login server refused"
        redirect = ": no redirect is followed" if 300 <= answer.status < 400 else ""
        return answer.refusal(
            f"{message} ({answer.status} {name or 'without an error code'}{redirect})",
            self.now(),
            kind,
            refresh_token_invalid=refused,
            error=name,
            error_description=_shown(description, form),
        )


def sendable(access_token: str) -> bool:
    """Return True if an access token can stand in a header: it is of no other scheme than Bearer, and fits there."""
    with suppress(ValueError):
        return bool(checked_token(access_token, "the access token"))
    return False


def bearer(access_token: str) -> Secret:
    """`access_token`; AuthError if it cannot be sent."""
    if sendable(access_token):
        return Secret(access_token.strip())
    raise AuthError("the access token is no bearer token, or holds characters that no header can carry: log in again")


def _text(value: object) -> Secret:
    return Secret(value.strip()) if isinstance(value, str) else Secret("")


def _shown(text: object, form: Mapping[str, str]) -> str | None:
    """What the server says, without the secrets that it was sent; nothing of it if it holds a piece of one."""
    if not isinstance(text, str):
        return None
    secrets = [value for value in form.values() if isinstance(value, Secret) and len(value) >= _SHORTEST]
    for value in secrets:
        text = text.replace(value, "…")
    shown = clean(text)
    written = " ".join((shown, unquote(shown), unquote_plus(shown), shown.replace("\\", ""))).lower()
    small = [str(value).lower() for value in secrets]
    pieces = (one[at : at + _PIECE] for one in small for at in range(max(1, len(one) - _PIECE + 1)))
    return "…" if any(piece in written for piece in pieces) else shown
