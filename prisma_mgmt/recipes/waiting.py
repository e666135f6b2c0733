"""Waiting until a thing has come to a state."""

from collections.abc import Awaitable, Callable
from inspect import iscoroutinefunction
from typing import TypeAlias, TypeVar

import anyio

from prisma_mgmt.checks import checked_kind, checked_seconds
from prisma_mgmt.errors import PrismaError
from prisma_mgmt.management import ManagementClient
from prisma_mgmt.management.builds import BuildDetail
from prisma_mgmt.management.databases import Database
from prisma_mgmt.management.deployments import Deployment
from prisma_mgmt.management.domains import CustomDomain
from prisma_mgmt.recipes.naming import Named, id_of, state_of

T = TypeVar("T")
OnChange: TypeAlias = Callable[[str], object] | None


async def wait_until(
    fetch: Callable[[], Awaitable[T]],
    done: Callable[[T], bool],
    *,
    failed: Callable[[T], bool] | None = None,
    timeout: float = 300.0,
    interval: float = 1.0,
    on_change: OnChange = None,
) -> T:
    """Fetch a thing again and again until it is done, and return it.

    fetch: gives the thing as it is now, such as `lambda: prisma.databases.get(id)`.
    done, failed: judge it.
    timeout: seconds for all of it.
    interval: seconds between two fetches.
    on_change: is called with the first state and with each new one.

    Raises TimeoutError, naming the last state; PrismaError if `failed` says so; and what `fetch` raises.
    """
    checked_kind(fetch, Callable, "fetch", "a function, such as `lambda: prisma.databases.get(id)`")
    _check_plain("done", done)
    _check_plain("failed", failed or _is())
    return await _poll("it", fetch, done, failed or _is(), timeout, interval, on_change)


def check_waiting(timeout: float, interval: float, on_change: OnChange) -> None:
    """Raises TypeError or ValueError for what cannot be waited with."""
    checked_seconds(timeout, "timeout")
    checked_seconds(interval, "interval")
    if on_change is not None:
        _check_plain("on_change", on_change)


def _check_plain(name: str, function: Callable[..., object]) -> None:
    """TypeError unless it can be called, and gives its answer at once: what an async function gives is always true."""
    if not callable(function) or iscoroutinefunction(function) or iscoroutinefunction(type(function).__call__):
        raise TypeError(f"{name} must be a plain function, not an async one or a {type(function).__name__}")


async def _poll(
    what: str,
    fetch: Callable[[], Awaitable[T]],
    done: Callable[[T], bool],
    failed: Callable[[T], bool],
    timeout: float,
    interval: float,
    on_change: OnChange,
) -> T:
    check_waiting(timeout, interval, on_change)
    state: str | None = None
    with anyio.move_on_after(timeout):
        while True:
            thing = await fetch()
            state, before = state_of(thing), state
            if on_change is not None and state != before:
                on_change(state)
            if done(thing):
                return thing
            if failed(thing):
                raise PrismaError(f"{what} will not get there: its state is {state}")
            await anyio.sleep(interval)
    raise TimeoutError(f"{what} did not get there within {timeout:g} s: its last state is {state or 'not known'}")


def _is(*states: str) -> Callable[[object], bool]:
    return lambda thing: state_of(thing) in states


async def wait_until_ready(
    prisma: ManagementClient,
    database: Named,
    *,
    timeout: float = 300.0,
    interval: float = 1.0,
    on_change: OnChange = None,
) -> Database:
    """Wait until a database that was made or restored is ready, and return it.

    Raises TimeoutError, and PrismaError for a database whose state is `failure`.

    GET /v1/databases/{databaseId}
    """
    found = id_of(database, "database")
    done, failed = _is("ready"), _is("failure")
    return await _poll(
        f"database {found}", lambda: prisma.databases.get(found), done, failed, timeout, interval, on_change
    )


async def wait_until_running(
    prisma: ManagementClient,
    deployment: Named,
    *,
    timeout: float = 300.0,
    interval: float = 1.0,
    on_change: OnChange = None,
) -> Deployment:
    """Wait until a deployment that was started is running, and return it.

    Raises TimeoutError, and PrismaError for a deployment that has stopped or failed.

    GET /v1/deployments/{deploymentId}
    """
    found = id_of(deployment, "deployment")
    done, failed = _is("running"), _is("stopped", "failed", "failure", "error", "crashed", "deleted")
    return await _poll(
        f"deployment {found}", lambda: prisma.deployments.get(found), done, failed, timeout, interval, on_change
    )


async def wait_until_finished(
    prisma: ManagementClient,
    build: Named,
    *,
    timeout: float = 1800.0,
    interval: float = 2.0,
    on_change: OnChange = None,
) -> BuildDetail:
    """Wait until a build has succeeded, and return it.

    Raises TimeoutError, and PrismaError for a build that has failed or was cancelled.

    GET /v1/builds/{buildId}
    """
    found = id_of(build, "build")
    done, failed = _is("succeeded"), _is("failed", "cancelled")
    return await _poll(f"build {found}", lambda: prisma.builds.get(found), done, failed, timeout, interval, on_change)


async def wait_until_active(
    prisma: ManagementClient,
    domain: Named,
    *,
    timeout: float = 1800.0,
    interval: float = 5.0,
    on_change: OnChange = None,
) -> CustomDomain:
    """Wait until a custom domain leads to its service, with its certificate, and return it.

    Its DNS records have to be set first: they are its `dns_records`. Raises TimeoutError, and PrismaError for a domain
    that has failed or is being removed.

    GET /v1/domains/{domainId}
    """
    found = id_of(domain, "domain")
    done, failed = _is("active"), _is("failed", "removing")
    return await _poll(f"domain {found}", lambda: prisma.domains.get(found), done, failed, timeout, interval, on_change)
