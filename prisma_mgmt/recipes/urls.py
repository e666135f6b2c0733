"""From an answer that holds secrets to a URL that opens the database."""

from typing import Any, Literal, TypeAlias, get_args
from urllib.parse import quote

from prisma_mgmt.masks import Secret

Kind: TypeAlias = Literal["pooled", "direct", "accelerate"]


def database_url(thing: Any, kind: Kind = "pooled") -> str:
    """The URL that opens a database, as a driver or `DATABASE_URL` wants it.

    thing: what was answered when a database, a project with one, or a connection was made or rotated. Only these
        answers hold secrets: what is listed or looked up later does not.
    kind: `pooled` for programs, `direct` for migrations, `accelerate` for Prisma Accelerate.

    Raises ValueError if the answer holds no such URL.
    """
    if kind not in get_args(Kind):
        raise ValueError(f"kind must be one of {', '.join(get_args(Kind))}, not {kind!r}")
    for one in _connections(thing):
        if url := _url(one, kind):
            return Secret(url)
    raise ValueError(
        f"this {type(thing).__name__} holds no {kind} URL: secrets are only in the answer that made the database or "
        "the connection; create another connection, or rotate one"
    )


def _connections(thing: Any) -> list[Any]:
    """What may hold secrets: the thing itself, its connections, and those of the database in it."""
    inner = getattr(thing, "database", None)
    found: list[Any] = [thing, *(getattr(thing, "connections", None) or [])]
    return found + ([] if inner is None or isinstance(inner, str) else _connections(inner))


def _url(connection: Any, kind: Kind) -> str | None:
    endpoint = getattr(getattr(connection, "endpoints", None), kind, None)
    if found := getattr(endpoint, "connection_string", None):
        return str(found)
    wanted = {"direct": "direct", "accelerate": "prisma"}.get(kind)
    if wanted is not None and getattr(connection, "type", None) == wanted:  # of the Prisma Postgres Management API
        return getattr(connection, "connection_string", None)
    direct = getattr(connection, "direct_connection", None)
    if kind != "direct" or direct is None or not hasattr(direct, "database"):
        return None
    user, password = quote(direct.username, safe=""), quote(direct.password, safe="")
    return f"postgresql://{user}:{password}@{direct.host}:{direct.port}/{quote(direct.database, safe='')}"
