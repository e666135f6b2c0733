"""The URLs of PostgreSQL as other programs write them, and what asyncpg takes of them."""

import re
from typing import Any
from urllib.parse import SplitResult, parse_qsl, quote, unquote, urlencode, urlsplit

from attrs import frozen

from prisma_mgmt.masks import Secret, bare

AT_ONCE = 5  # connections, if the URL does not say
_WANTED = "must be an asyncpg.Pool or a URL such as postgresql://user:password@host:5432/database"
_SSL_MODES = frozenset({"disable", "allow", "prefer", "require", "verify-ca", "verify-full"})
_OTHER_MODES = {"no-verify": "require", "true": "require", "1": "require", "false": "disable", "0": "disable"}
_HOST = re.compile(r"(\[[^\]]*\]|[^:\[\]]*)(:[0-9]+)?")

# What asyncpg takes, and settings of a connection; so is a name with a dot. All else, which Prisma, node-postgres,
# SQLAlchemy and hosting services write into their URLs, is no setting, and the server would refuse it.
_KEPT = frozenset(
    "host port user password dbname database passfile service sslmode sslcert sslkey sslpassword sslrootcert sslcrl "  # noqa: SIM905  # a list of words
    "ssl_min_protocol_version ssl_max_protocol_version sslnegotiation target_session_attrs krbsrvname gsslib options "
    "application_name search_path role statement_timeout lock_timeout idle_in_transaction_session_timeout timezone "
    "default_transaction_isolation default_transaction_read_only".split()
)


@frozen
class Address:
    """A database: what to connect with, the schema that the URL named, and how many connections it allows."""

    dsn: Secret
    schema: str | None
    size: int


def address(text: str) -> Address:
    """The address in a URL; ValueError, with nothing of the URL in its text, if it is none that can be used."""
    with bare:
        scheme, mark, _ = text.strip().partition("://")
        kinds = scheme.lower().split("+")
        if mark and "prisma" in kinds:
            told = "give the database's direct URL, postgres://…"
            raise ValueError(f"a prisma:// URL is for Prisma's own engines: {told}")
        if not mark or kinds[0] not in ("postgres", "postgresql"):
            raise ValueError(f"pool_or_dsn {_WANTED}")
        try:
            parts = urlsplit(text.strip())
        except ValueError:  # half of an IPv6 literal; its text may show the password
            parts = None
        user, at, hosts = parts.netloc.rpartition("@") if parts else ("", "", "[")
        if parts is None or not all(_HOST.fullmatch(host) for host in hosts.split(",")) or _cut(parts):
            raise ValueError("pool_or_dsn has a wrong host, port or password: quote what is special in it (@ is %40)")
        given = dict(parse_qsl(parts.query, keep_blank_values=True))
        kept = {name: value for name, value in given.items() if value and (name.lower() in _KEPT or "." in name)}
        if mode := _ssl_mode(given):
            kept["sslmode"] = mode
        if "sslcert" in kept and "sslkey" not in kept:  # Prisma names the server's certificate so
            kept["sslrootcert"] = kept.pop("sslcert")
        if kept.get("host", "").startswith("/"):  # a socket; the host before it is there for parsers only, its port not
            if port := re.search(r":([0-9]+)$", hosts):
                kept.setdefault("port", port[1])
            hosts = ""
        user = ":".join(quote(unquote(one), safe="") for one in user.split(":", 1))
        query = urlencode(kept, quote_via=quote)
        dsn = Secret(f"postgresql://{user}{at}{hosts}{parts.path}" + (f"?{query}" if query else ""))
        return Address(dsn, given.get("schema") or None, _size(given.get("connection_limit")))


def _cut(parts: SplitResult) -> bool:
    """Return True if a special character of a password has ended the host, though nobody meant it to."""
    return "@" in parts.path + parts.fragment or "@" in parts.query.partition("=")[0]


def _ssl_mode(given: dict[str, str]) -> str:
    if given.get("sslaccept") == "strict":
        raise ValueError("sslaccept=strict is Prisma's own: for PostgreSQL it is sslmode=verify-full, with sslrootcert")
    if given.get("sslidentity"):
        raise ValueError("sslidentity is Prisma's own: for PostgreSQL it is sslcert and sslkey, in PEM files")
    mode = given.get("sslmode") or given.get("ssl") or ""
    mode = _OTHER_MODES.get(mode, mode)
    if mode and mode not in _SSL_MODES:
        raise ValueError(f"sslmode must be one of {', '.join(sorted(_SSL_MODES))}")
    return mode


def _size(limit: str | None) -> int:
    return max(1, min(int(limit), 100)) if limit and re.fullmatch(r"[0-9]{1,9}", limit) else AT_ONCE


def checked_pool(pool: Any) -> Any:
    """`pool`, an asyncpg.Pool or of its methods; TypeError, with what is wanted, for anything else."""
    methods = [getattr(pool, name, None) for name in ("acquire", "release", "execute", "fetchval")]
    if not all(map(callable, methods)) or isinstance(pool, type):
        kind = pool if isinstance(pool, type) else type(pool)
        raise TypeError(f"pool_or_dsn {_WANTED}, not {kind.__module__}.{kind.__qualname__}")
    return pool
