"""What a login callback says, believed only after its state (pure)."""

import hmac
from contextlib import suppress
from urllib.parse import parse_qsl, urlsplit

from prisma_mgmt.errors import CallbackError
from prisma_mgmt.masks import Secret

_LONGEST = 16_384
_OWN = ("code", "state", "iss", "error", "error_description", "error_uri")


def read_callback(callback_url: str, expected_state: str | None, issuer: str) -> Secret:
    """The authorization code in a callback.

    `callback_url` is the whole URL, or its path and query. The state is compared before anything else is believed
    (RFC 6749 §10.12); the issuer is, if the callback names one (RFC 9207 §2.4). Raises CallbackError.
    """
    callback_url = Secret(callback_url)
    if not expected_state:
        raise CallbackError("no state was kept for this login: the cookie is missing, or expired, or another browser's")
    found = parameters(callback_url)
    if not is_state(callback_url, expected_state):
        raise CallbackError("the callback's state is not the one that this login was started with")
    if "iss" in found and found["iss"] != issuer:
        raise CallbackError(f"the callback is of another issuer than {issuer}; see issuer= if it has another name")
    if "error" in found:
        error, description = clean(found["error"]), clean(found.get("error_description", ""))
        raise CallbackError(f"the login was refused: {error}", error=error, error_description=description or None)
    if not found.get("code"):
        raise CallbackError("the callback carries no code")
    return found["code"]


def is_state(callback_url: str, expected_state: str) -> bool:
    """Return True if every state in a callback is the expected one; to compare takes as long for any other."""
    with suppress(CallbackError):
        states = [value for name, value in _pairs(callback_url) if name == "state"]
        return all(hmac.compare_digest(_bytes(state), _bytes(expected_state)) for state in states or [Secret("")])
    return False


def parameters(callback_url: str) -> dict[str, Secret]:
    """What a callback gives, masked; CallbackError for what is no callback, or gives a thing twice."""
    found: dict[str, Secret] = {}
    for name, value in _pairs(callback_url):
        if name in found and name in _OWN:
            raise CallbackError(f"the callback gives {name} more than once")
        found[name] = value
    return found


def _pairs(callback_url: str) -> list[tuple[str, Secret]]:
    if len(callback_url) > _LONGEST:
        raise CallbackError(f"the callback is longer than {_LONGEST} characters")
    with suppress(ValueError):
        query = Secret(urlsplit(callback_url).query)
        return [(name, Secret(value)) for name, value in parse_qsl(query, True, max_num_fields=100, errors="strict")]
    raise CallbackError("the callback is no URL with a query")


def _bytes(text: str) -> bytes:
    return text.encode(errors="surrogatepass")  # an encoding error would quote the text


def clean(text: str) -> str:
    """Untrusted text cut to what a log can bear: printable, and not long."""
    return "".join(character if character.isprintable() else "?" for character in text[:500])
