"""A pytest plugin that comes with the package: the fixture `prisma_sandbox`, a sandbox of its own for each test.

It needs the extra `sandbox`, and only when a test asks for the fixture.
"""

from collections.abc import Iterator
from typing import Any

import pytest

import prisma_mgmt.sandbox  # which imports the rest when a test asks for it


@pytest.fixture
def prisma_sandbox_options() -> dict[str, Any]:
    """The arguments of `prisma_sandbox`'s Sandbox; override this fixture to change them."""
    return {}


@pytest.fixture
def prisma_sandbox(
    prisma_sandbox_options: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> "Iterator[prisma_mgmt.sandbox.Sandbox]":
    """A local Prisma for one test, on a loopback socket; for plain and for async tests.

    While the test runs, PRISMA_SERVICE_TOKEN, PRISMA_MANAGEMENT_API_URL and the other variables in
    `prisma_sandbox.environment` lead to it, so that code which reads the environment cannot reach the real Prisma.
    """
    with prisma_mgmt.sandbox.Sandbox(**prisma_sandbox_options) as sandbox:
        for name, value in sandbox.environment.items():
            monkeypatch.setenv(name, value)
        yield sandbox
