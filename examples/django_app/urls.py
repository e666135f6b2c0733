"""Two views of the same list: an async one, and a sync one that asks an async function."""

# pyright: reportMissingTypeStubs=false, reportUnknownVariableType=false

from collections.abc import Awaitable, Callable

from asgiref.sync import async_to_sync
from django.http import HttpRequest, HttpResponse, HttpResponseBase, HttpResponseRedirect, JsonResponse
from django.urls import path
from django.utils.decorators import async_only_middleware
from prisma_login import login, prisma

from prisma_mgmt import LoginRequiredError

Respond = Callable[[HttpRequest], Awaitable[HttpResponseBase]]


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
def log_in_when_needed(respond: Respond) -> Respond:
    async def answer(request: HttpRequest) -> HttpResponseBase:
        return await respond(request)

    def failed(request: HttpRequest, error: Exception) -> HttpResponse | None:
        if isinstance(error, LoginRequiredError):
            return HttpResponseRedirect(f"/prisma/login?next={request.path}")
        return None

    answer.process_exception = failed  # type: ignore[attr-defined]  # Django's protocol for middleware
    return answer


urlpatterns = [path("projects", projects), path("sync/projects", projects_sync)]
