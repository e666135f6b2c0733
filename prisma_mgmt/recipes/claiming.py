"""Handing a project over to the user for whom it was made."""

from typing import Any, Protocol, TypeVar, cast

from prisma_mgmt.errors import ConflictError, NetworkError, NotFoundError, PrismaError, ServerError
from prisma_mgmt.management import ManagementClient
from prisma_mgmt.recipes.naming import Named, id_of

L = TypeVar("L", contravariant=True)
T_co = TypeVar("T_co", covariant=True)
T = TypeVar("T")


class ExchangesCallbacks(Protocol[L, T_co]):
    """An OAuthClient."""

    async def exchange_callback(self, callback_url: str, login: L, /) -> T_co: ...


async def claim(
    prisma: ManagementClient, project: Named, oauth: ExchangesCallbacks[L, T], callback_url: str, login: L
) -> T:
    """Transfer a project to the workspace that a user has just logged in to, and return the user's tokens.

    prisma: a client of the workspace that the project is in.
    oauth, callback_url, login: the user's login, as for `OAuthClient.exchange_callback`.

    If the project is in the user's workspace already, that is a success, too. Raises CallbackError or AuthError for the
    login, before anything is transferred. Raises an APIError or a NetworkError if the transfer fails. The login is used
    up then, and the user has to log in once more.

    POST /v1/projects/{id}/transfer
    """
    project_id = id_of(project, "project")
    tokens = await oauth.exchange_callback(callback_url, login)
    access_token: str = cast("Any", tokens).access_token  # no protocol has it: pyright sees converters as descriptors
    try:
        await prisma.projects.transfer(project_id, recipient_access_token=access_token)
    except (ConflictError, NotFoundError, NetworkError, ServerError):
        if not await _has(prisma.with_options(auth=access_token), project_id):
            raise
    return tokens


async def _has(user: ManagementClient, project_id: str) -> bool:
    try:
        await user.projects.get(project_id)
    except PrismaError:  # what the transfer itself met says more
        return False
    return True
