"""An asyncio-first Python SDK for the Prisma Management API."""

from importlib import import_module
from typing import TYPE_CHECKING

from prisma_mgmt._version import __version__

if TYPE_CHECKING:
    from prisma_mgmt.core.client import Response
    from prisma_mgmt.core.codec import UNSET, Unset
    from prisma_mgmt.core.listing import Page
    from prisma_mgmt.core.paging import Pager
    from prisma_mgmt.core.retry import RetryPolicy
    from prisma_mgmt.core.streaming import LogStream
    from prisma_mgmt.credentials import Credentials, ServiceToken
    from prisma_mgmt.data_platform import DataPlatformClient
    from prisma_mgmt.errors import (
        APIError,
        AuthenticationError,
        AuthError,
        BadRequestError,
        CallbackError,
        ConflictError,
        DecodeError,
        LoginRequiredError,
        NetworkError,
        NotFoundError,
        PayloadTooLargeError,
        PermissionDeniedError,
        PrismaError,
        RateLimitError,
        RequestTimeoutError,
        ServerError,
        StreamError,
        UnprocessableEntityError,
    )
    from prisma_mgmt.management import ManagementClient
    from prisma_mgmt.postgres import PostgresClient

__all__ = [
    "UNSET",
    "APIError",
    "AuthError",
    "AuthenticationError",
    "BadRequestError",
    "CallbackError",
    "ConflictError",
    "Credentials",
    "DataPlatformClient",
    "DecodeError",
    "LogStream",
    "LoginRequiredError",
    "ManagementClient",
    "NetworkError",
    "NotFoundError",
    "Page",
    "Pager",
    "PayloadTooLargeError",
    "PermissionDeniedError",
    "PostgresClient",
    "PrismaError",
    "RateLimitError",
    "RequestTimeoutError",
    "Response",
    "RetryPolicy",
    "ServerError",
    "ServiceToken",
    "StreamError",
    "UnprocessableEntityError",
    "Unset",
    "__version__",
]

_HOMES = {
    "UNSET": "core.codec",
    "Credentials": "credentials",
    "DataPlatformClient": "data_platform",
    "LogStream": "core.streaming",
    "ManagementClient": "management",
    "Page": "core.listing",
    "Pager": "core.paging",
    "PostgresClient": "postgres",
    "Response": "core.client",
    "RetryPolicy": "core.retry",
    "ServiceToken": "credentials",
    "Unset": "core.codec",
}


if not TYPE_CHECKING:  # or type checkers would take every name

    def __getattr__(name: str) -> object:
        """Load a public name when it is first used (PEP 562)."""
        if name not in __all__:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        value: object = getattr(import_module(f"{__name__}.{_HOMES.get(name, 'errors')}"), name)
        globals()[name] = value
        return value


def __dir__() -> list[str]:
    return __all__
