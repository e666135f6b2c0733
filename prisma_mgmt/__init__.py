"""An asyncio-first Python SDK for the Prisma Management API."""

from typing import TYPE_CHECKING

from prisma_mgmt._version import __version__
from prisma_mgmt.later import loader, packing

if TYPE_CHECKING or packing():
    from prisma_mgmt.core.client import Response
    from prisma_mgmt.core.kinds import UNSET, Unset
    from prisma_mgmt.core.logs import LogStream
    from prisma_mgmt.core.model import Model
    from prisma_mgmt.core.paging import Page, Pager
    from prisma_mgmt.core.retry import RetryPolicy
    from prisma_mgmt.credentials import Credentials, ServiceToken, TrackedCredentials
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
    "Model",
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
    "TrackedCredentials",
    "UnprocessableEntityError",
    "Unset",
    "__version__",
]

_MODULES = {
    "core.client": ["Response"],
    "core.kinds": ["UNSET", "Unset"],
    "core.logs": ["LogStream"],
    "core.model": ["Model"],
    "core.paging": ["Page", "Pager"],
    "core.retry": ["RetryPolicy"],
    "credentials": ["Credentials", "ServiceToken", "TrackedCredentials"],
    "data_platform": ["DataPlatformClient"],
    "errors": [name for name in __all__ if name.endswith("Error")],
    "management": ["ManagementClient"],
    "postgres": ["PostgresClient"],
}


if not TYPE_CHECKING:  # or type checkers would take every name
    __getattr__ = loader(__name__, _MODULES)


def __dir__() -> list[str]:
    return __all__
