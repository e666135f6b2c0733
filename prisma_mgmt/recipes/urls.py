"""From an answer that holds secrets to a URL that opens the database."""

from typing import Any, Literal, TypeAlias, get_args
from urllib.parse import quote

from prisma_mgmt.masks import Secret

Kind: TypeAlias = Literal["pooled", "direct", "accelerate"]
_SCHEMES: dict[Kind, tuple[str, ...]] = {
    "pooled": (),
    "direct": ("postgres", "postgresql"),
    "accelerate": ("prisma", "prisma+postgres"),
}


def database_url(thing: Any, kind: Kind = "pooled") -> str:
    """The URL that opens a database, as a driver or `DATABASE_URL` wants it.

    thing: what was answered when a database, a project with one, or a connection was made or rotated. Only these
        answers hold secrets: what is listed or looked up later does not.
    kind: `pooled` for programs, `direct` for migrations, `accelerate` for Prisma Accelerate. The Prisma Postgres
        Management API tells no pooled ones.

    Raises ValueError if the answer holds no such URL.
    """
    if kind not in get_args(Kind):
        raise ValueError(f"kind must be one of {', '.join(get_args(Kind))}, not {kind!r}")
    found = {one: url for one in get_args(Kind) if (url := _first_url(thing, one))}
    if kind in found:
        return Secret(found[kind])
    if found:
        raise ValueError(f"this {type(thing).__name__} holds no {kind} URL; it holds {' and '.join(found)}")
    raise ValueError(
        f"this {type(thing).__name__} holds no {kind} URL: secrets are only in the answer that made the database or "
        "the connection; create another connection, or rotate one"
    )


def _first_url(thing: Any, kind: Kind) -> str | None:
    return next((url for one in _holders(thing) if (url := _url(one, kind))), None)


def _holders(thing: Any) -> list[Any]:
    """What may hold secrets: the thing itself, its connections, and those of the databases in it."""
    inside: list[Any] = [getattr(thing, "database", None), *(getattr(thing, "databases", None) or [])]
    found: list[Any] = [thing, *(getattr(thing, "connections", None) or [])]
    return [*found, *(one for it in inside if it is not None and not isinstance(it, str) for one in _holders(it))]


def _url(connection: Any, kind: Kind) -> str | None:
    endpoint = getattr(getattr(connection, "endpoints", None), kind, None)
    if found := getattr(endpoint, "connection_string", None):
        return str(found)
    text = getattr(connection, "connection_string", None) or ""  # all that the Prisma Postgres Management API gives
    if text.partition(":")[0] in _SCHEMES[kind] and "***" not in text:  # in lists it is masked
        return str(text)
    direct = getattr(connection, "direct_connection", None)
    if kind != "direct" or direct is None or not hasattr(direct, "database"):
        return None
    user, password = quote(direct.username, safe=""), quote(direct.password, safe="")
    return f"postgresql://{user}:{password}@{direct.host}:{direct.port}/{quote(direct.database, safe='')}"
