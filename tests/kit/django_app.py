"""Django, set up once for all tests, with one view."""

import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any

import django
from django.conf import settings
from django.core.asgi import get_asgi_application
from django.urls import clear_url_caches, path

_URLS = "prisma_test_urls"


def set_up() -> None:
    if not settings.configured:
        settings.configure(ROOT_URLCONF=_URLS, ALLOWED_HOSTS=["*"], SECRET_KEY="x", LOGGING_CONFIG=None)
        django.setup()


def application(route: str, view: Callable[..., Any]) -> Any:
    """Django's ASGI application with `view` at `route`."""
    set_up()
    urls = ModuleType(_URLS)
    urls.urlpatterns = [path(route, view)]  # type: ignore[attr-defined]
    sys.modules[_URLS] = urls
    clear_url_caches()
    return get_asgi_application()
