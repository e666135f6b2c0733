"""Handing a project over to the user for whom it was made."""

from typing import Protocol, TypeVar

from prisma_mgmt.management import ManagementClient
from prisma_mgmt.recipes.naming import Named, id_of

L = TypeVar("L", contravariant=True)
T_co = TypeVar("T_co", bound="HasAccessToken", covariant=True)
T = TypeVar("T", bound="HasAccessToken")


class HasAccessToken(Protocol):
    """The tokens of a login."""

    @property
    def access_token(self) -> str: ...


class ExchangesCallbacks(Protocol[L, T_co]):
    """An OAuthClient."""

    async def exchange_callback(self, callback_url: str, login: L, /) -> T_co: ...


async def claim(
    prisma: ManagementClient, project: Named, oauth: ExchangesCallbacks[L, T], callback_url: str, login: L
) -> T:
    """Transfer a project to the workspace that a user has just logged in to; the user's tokens come back.

    prisma: a client of the workspace that the project is in.
    oauth, callback_url, login: the user's login, as for `OAuthClient.exchange_callback`.

    Raises CallbackError or AuthError for the login, before anything is transferred, and what the API answers.

    POST /v1/projects/{id}/transfer
    """
    project_id = id_of(project, "project")
    tokens = await oauth.exchange_callback(callback_url, login)
    await prisma.projects.transfer(project_id, recipient_access_token=tokens.access_token)
    return tokens
