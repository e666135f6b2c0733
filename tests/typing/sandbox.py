"""What a sandbox gives, as type checkers see it."""

from typing import assert_type

from prisma_mgmt import DataPlatformClient, ManagementClient, PostgresClient
from prisma_mgmt.auth import OAuthClient, OAuthSession
from prisma_mgmt.sandbox import Sandbox
from prisma_mgmt.sandbox.faults import Fault
from prisma_mgmt.sandbox.requests import RecordedRequest


async def in_a_program() -> None:
    async with Sandbox(users=["Ada"], personality="grace") as sandbox:
        assert_type(sandbox, Sandbox)
        assert_type(sandbox.client(timeout=1.0), ManagementClient)
        assert_type(sandbox.postgres_client(), PostgresClient)
        assert_type(sandbox.data_platform_client(), DataPlatformClient)
        assert_type(sandbox.oauth_client("https://app.example/callback"), OAuthClient)
        assert_type(await sandbox.session("Ada"), OAuthSession)
        assert_type(sandbox.fail("GET /v1/projects", retry_after=1), Fault)
        assert_type(sandbox.requests, list[RecordedRequest])
        assert_type(sandbox.counts["refresh"], int)
        assert_type(sandbox.api_url, str)


def mistakes() -> None:
    Sandbox("127.0.0.1")  # type: ignore[call-arg]  # pyright: ignore  # noqa: PGH003
    Sandbox(personality="kind")  # type: ignore[arg-type]  # pyright: ignore  # noqa: PGH003
