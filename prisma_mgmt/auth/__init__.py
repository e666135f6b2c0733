"""OAuth 2.0 with PKCE for the Prisma login server."""

from prisma_mgmt.auth.manager import SessionManager
from prisma_mgmt.auth.oauth import OAuthClient
from prisma_mgmt.auth.pkce import LoginRequest
from prisma_mgmt.auth.session import OAuthSession
from prisma_mgmt.auth.storage.protocol import SharedTokenStorage, TokenStorage
from prisma_mgmt.auth.tokens import Tokens

__all__ = [
    "LoginRequest",
    "OAuthClient",
    "OAuthSession",
    "SessionManager",
    "SharedTokenStorage",
    "TokenStorage",
    "Tokens",
]
