"""A project that was made for a user becomes the user's."""

from collections.abc import Iterator

import httpx
import pytest

from prisma_mgmt import APIError, CallbackError, ManagementClient, NotFoundError, RetryPolicy
from prisma_mgmt.auth import LoginRequest, OAuthClient
from prisma_mgmt.management.projects import CreatedProject
from prisma_mgmt.recipes import claim
from prisma_mgmt.sandbox import Sandbox

pytestmark = pytest.mark.anyio

TRANSFER = "POST /v1/projects/{id}/transfer"


@pytest.fixture(scope="module")
def running() -> Iterator[Sandbox]:
    with Sandbox(users=("Partner", "Ada")) as sandbox:
        yield sandbox


@pytest.fixture
def oauth(sandbox: Sandbox) -> OAuthClient:
    return sandbox.oauth_client()


async def logged_in(oauth: OAuthClient, user: str = "Ada") -> tuple[str, LoginRequest]:
    """The callback URL of a user who said yes, and the login that it is of."""
    login = oauth.login_url(extra_params={"login_hint": user})
    async with httpx.AsyncClient() as browser:
        return (await browser.get(login.url)).headers["location"], login


async def test_a_claimed_project_is_in_the_users_workspace(
    client: ManagementClient, project: CreatedProject, oauth: OAuthClient
) -> None:
    tokens = await claim(client, project, oauth, *await logged_in(oauth))
    theirs = await client.with_options(auth=tokens.access_token).projects.get(project.id)
    assert theirs.workspace.id == tokens.workspace_id != project.workspace.id
    with pytest.raises(NotFoundError):
        await client.projects.get(project.id)


async def test_a_project_that_is_claimed_again_stays_the_users(
    client: ManagementClient, project: CreatedProject, oauth: OAuthClient
) -> None:
    first = await claim(client, project, oauth, *await logged_in(oauth))
    second = await claim(client, project.id, oauth, *await logged_in(oauth))
    assert second.workspace_id == first.workspace_id


async def test_a_transfer_whose_answer_is_lost_counts(
    client: ManagementClient, project: CreatedProject, oauth: OAuthClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was done, and then the answer says that it could not be: as a proxy says of a server that it gave up on."""
    transfer = client.projects.transfer

    async def lost(project_id: str, *, recipient_access_token: str) -> None:
        await transfer(project_id, recipient_access_token=recipient_access_token)
        await transfer(project_id, recipient_access_token=recipient_access_token)

    monkeypatch.setattr(client.projects, "transfer", lost)
    tokens = await claim(client, project, oauth, *await logged_in(oauth))
    assert (await client.with_options(auth=tokens.access_token).projects.get(project.id)).id == project.id


@pytest.mark.parametrize("status", [404, 409, 502])
async def test_a_transfer_that_fails_is_the_answer_of_the_api(
    sandbox: Sandbox, project: CreatedProject, oauth: OAuthClient, status: int
) -> None:
    sandbox.fail(TRANSFER, status=status)
    async with sandbox.client(retry=RetryPolicy(attempts=1)) as client:
        with pytest.raises(APIError, match=f"^{status} .*POST .*/transfer"):
            await claim(client, project, oauth, *await logged_in(oauth))
        assert (await client.projects.get(project.id)).workspace.id == project.workspace.id


async def test_a_user_who_says_no_gets_nothing(
    client: ManagementClient, project: CreatedProject, oauth: OAuthClient, sandbox: Sandbox
) -> None:
    login = oauth.login_url()
    denied = f"{login.redirect_uri}?error=access_denied&state={login.state}&iss={sandbox.auth_url}"
    with pytest.raises(CallbackError):
        await claim(client, project, oauth, denied, login)
    assert not [it for it in sandbox.requests if it.path.endswith("/transfer")]
