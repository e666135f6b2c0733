"""Places to keep tokens; each is loaded when it is first named."""

from typing import TYPE_CHECKING

from prisma_mgmt.auth.storage.memory import MemoryTokenStorage
from prisma_mgmt.auth.storage.protocol import SharedTokenStorage, TokenStorage
from prisma_mgmt.later import loader, packing

if TYPE_CHECKING or packing():
    from prisma_mgmt.auth.storage.file import FileTokenStorage
    from prisma_mgmt.auth.storage.keyring import KeyringTokenStorage
    from prisma_mgmt.auth.storage.postgres import PostgresTokenStorage
    from prisma_mgmt.auth.storage.redis import RedisTokenStorage

__all__ = [
    "FileTokenStorage",
    "KeyringTokenStorage",
    "MemoryTokenStorage",
    "PostgresTokenStorage",
    "RedisTokenStorage",
    "SharedTokenStorage",
    "TokenStorage",
]

_LATER = {kind.lower(): [f"{kind}TokenStorage"] for kind in ("File", "Keyring", "Postgres", "Redis")}


if not TYPE_CHECKING:  # or type checkers would take every name
    __getattr__ = loader(__name__, _LATER)


def __dir__() -> list[str]:
    return __all__
