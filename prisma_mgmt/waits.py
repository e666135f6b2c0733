"""How long a server asks its clients to wait."""

import re
from collections.abc import Mapping
from datetime import UTC
from email.utils import parsedate_to_datetime


def retry_after(headers: Mapping[str, str], now: float) -> float | None:
    """The wait in seconds that Retry-After asks for (RFC 9110 §10.2.3), from seconds or a date; None for nonsense.

    A date is measured from the answer's own Date if it has one, else from `now` (Unix seconds).
    """
    value = headers.get("retry-after", "").strip()
    if re.fullmatch(r"\d+(\.\d+)?(, \d+(\.\d+)?)*", value):  # several, if a proxy has added its own
        return min(max(map(float, value.split(", "))), 1e9)
    until, sent = _timestamp(value), _timestamp(headers.get("date", ""))
    return None if until is None else max(0.0, until - (now if sent is None else sent))


def _timestamp(value: str) -> float | None:
    try:
        date = parsedate_to_datetime(value)
        return (date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp()
    except (ValueError, TypeError, OverflowError):
        return None
