"""Places to keep tokens; each is loaded when it is first named."""

from importlib import import_module
from typing import TYPE_CHECKING

from prisma_mgmt.auth.storage.memory import MemoryTokenStorage
from prisma_mgmt.auth.storage.protocol import SharedTokenStorage, TokenStorage

if TYPE_CHECKING:
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

_LATER = {
    "FileTokenStorage": "file",
    "KeyringTokenStorage": "keyring",
    "PostgresTokenStorage": "postgres",
    "RedisTokenStorage": "redis",
}


if not TYPE_CHECKING:  # or type checkers would take every name

    def __getattr__(name: str) -> object:
        if name not in _LATER:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return getattr(import_module(f"{__name__}.{_LATER[name]}"), name)


def __dir__() -> list[str]:
    return __all__
