"""What real databases behind those of the sandbox have to do."""

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Address:
    """How a connection opens its database."""

    host: str
    port: int
    user: str
    password: str
    database: str


class Backing(Protocol):
    """Keeps a real database for each of the sandbox's, and credentials for each connection."""

    def create(self, database_id: str) -> None: ...

    def drop(self, database_id: str) -> None: ...

    def copy(self, source_id: str, target_id: str) -> None:
        """Replace what the target holds by what the source holds; the target's connections go on working."""
        ...

    def size(self, database_id: str) -> int:
        """How many bytes a database takes up."""
        ...

    def grant(self, database_id: str, connection_id: str) -> Address: ...

    def rotate(self, database_id: str, connection_id: str) -> Address: ...

    def revoke(self, database_id: str, connection_id: str) -> None: ...
