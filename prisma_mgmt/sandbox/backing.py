"""What stands behind the databases of the sandbox: nothing, unless a PostgreSQL does (see postgres)."""

import secrets
from dataclasses import dataclass
from urllib.parse import quote

EMPTY_SIZE = 8_388_608  # bytes
# Names that no resolver knows: without a PostgreSQL nothing here may reach a real database.
NOWHERE, POOLED = "db.prisma-sandbox.invalid", "pooled.prisma-sandbox.invalid"


@dataclass(frozen=True, slots=True)
class Address:
    """What a connection opens its database with; `pooled` is the pooler's host, which may be another one."""

    host: str
    port: int
    username: str
    password: str
    database: str
    pooled: str | None = None
    query: str = ""

    def url(self, host: str) -> str:
        user, password = quote(self.username, safe=""), quote(self.password, safe="")
        return f"postgresql://{user}:{password}@{host}:{self.port}/{self.database}{self.query}"


class Backing:
    """What happens to a real database for each of the sandbox's, and to a login for each connection: here nothing."""

    def create(self, database_id: str) -> None: ...

    def drop(self, database_id: str) -> None: ...

    def copy(self, source_id: str, target_id: str) -> None:
        """Replace what the target holds by what the source holds; the target's connections go on working."""

    def size(self, database_id: str) -> int:
        """How many bytes a database takes up."""
        return EMPTY_SIZE

    def grant(self, database_id: str, connection_id: str) -> Address:
        user, password = secrets.token_hex(16), f"sk_{secrets.token_urlsafe(24)}"
        return Address(NOWHERE, 5432, user, password, "postgres", POOLED, "?sslmode=require")

    rotate = grant

    def revoke(self, database_id: str, connection_id: str) -> None: ...

    def clear(self) -> None:
        """Drop everything that was made."""

    def close(self) -> None:
        """Drop everything that was made, and leave."""
