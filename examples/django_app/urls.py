"""Two views of the same list: an async one, and a sync one that asks an async function."""

# pyright: reportMissingTypeStubs=false, reportUnknownVariableType=false

import logging
import math
from collections.abc import Awaitable, Callable
from urllib.parse import quote

from asgiref.sync import async_to_sync
from django.http import HttpRequest, HttpResponse, HttpResponseBase, HttpResponseRedirect, JsonResponse
from django.urls import path
from django.utils.decorators import async_only_middleware
from prisma_login import login, prisma

from prisma_mgmt import AuthenticationError, AuthError, LoginRequiredError, NetworkError, RateLimitError, ServerError

LATER = (RateLimitError, ServerError, NetworkError, AuthError)  # the last one is the login server's, or the storage's
Respond = Callable[[HttpRequest], Awaitable[HttpResponseBase]]

logger = logging.getLogger(__name__)


async def names_of_projects(request: HttpRequest) -> list[str]:
    mine = prisma.with_options(auth=login.session(request))  # this user's tokens; for nobody calls fail
    return [project.name async for project in mine.projects.list()]


async def projects(request: HttpRequest) -> HttpResponse:
    return JsonResponse({"projects": await names_of_projects(request)})


def projects_sync(request: HttpRequest) -> HttpResponse:
    """Under ASGI `async_to_sync` runs the function on the server's own event loop, in which the client lives.

    Ask for the session in there, too: a session belongs to the event loop that asked for it.
    """
    return JsonResponse({"projects": async_to_sync(names_of_projects)(request)})


@async_only_middleware  # type: ignore[untyped-decorator]  # Django has no types
def answer_to_prismas_errors(respond: Respond) -> Respond:
    async def answer(request: HttpRequest) -> HttpResponseBase:
        return await respond(request)

    answer.process_exception = answer_to  # type: ignore[attr-defined]  # Django's protocol for middleware
    return answer


def answer_to(request: HttpRequest, error: Exception) -> HttpResponse | None:
    """What an error of Prisma means to a user. Any other one is a fault of this program, and stays a 500."""
    if isinstance(error, LoginRequiredError):
        return HttpResponseRedirect(f"/auth/login?next={quote(request.path)}")
    if not isinstance(error, (AuthenticationError, *LATER)):
        return None
    logger.warning("%s", error)
    if isinstance(error, AuthenticationError):  # of a fresh token, so that a redirect could go round and round
        return JsonResponse({"detail": "Prisma refused your login. Log in again at /auth/login."}, status=401)
    seconds = math.ceil(getattr(error, "retry_after", None) or 5)
    return JsonResponse({"detail": "This does not work just now."}, status=503, headers={"Retry-After": str(seconds)})


urlpatterns = [path("projects", projects), path("sync/projects", projects_sync)]
