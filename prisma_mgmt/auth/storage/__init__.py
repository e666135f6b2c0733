"""Places to keep tokens."""

from prisma_mgmt.auth.storage.file import FileTokenStorage
from prisma_mgmt.auth.storage.memory import MemoryTokenStorage
from prisma_mgmt.auth.storage.protocol import SharedTokenStorage, TokenStorage

__all__ = ["FileTokenStorage", "MemoryTokenStorage", "SharedTokenStorage", "TokenStorage"]
