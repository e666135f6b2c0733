"""OAuth 2.0 with PKCE for the Prisma login server."""

from typing import TYPE_CHECKING

from prisma_mgmt.auth.manager import SessionManager
from prisma_mgmt.auth.oauth import OAuthClient
from prisma_mgmt.auth.pkce import LoginRequest
from prisma_mgmt.auth.session import OAuthSession
from prisma_mgmt.auth.storage.protocol import SharedTokenStorage, TokenStorage
from prisma_mgmt.auth.tokens import Tokens
from prisma_mgmt.later import loader, packing

if TYPE_CHECKING or packing():
    from prisma_mgmt.auth.asgi import LoginApp
    from prisma_mgmt.auth.github import GitHubActionsCredentials
    from prisma_mgmt.auth.loopback import log_in_with_browser
    from prisma_mgmt.auth.sealing import LoginSealer, TokenCipher, new_key

__all__ = [
    "GitHubActionsCredentials",
    "LoginApp",
    "LoginRequest",
    "LoginSealer",
    "OAuthClient",
    "OAuthSession",
    "SessionManager",
    "SharedTokenStorage",
    "TokenCipher",
    "TokenStorage",
    "Tokens",
    "log_in_with_browser",
    "new_key",
]


_LATER = {
    "asgi": ["LoginApp"],
    "github": ["GitHubActionsCredentials"],
    "loopback": ["log_in_with_browser"],
    "sealing": ["LoginSealer", "TokenCipher", "new_key"],
}

if not TYPE_CHECKING:  # or type checkers would take every name
    __getattr__ = loader(__name__, _LATER)


def __dir__() -> list[str]:
    return __all__
