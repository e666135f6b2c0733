"""Checks what callers give to the auth layer, at the call itself, and calls the hooks of a login."""

import inspect
from collections.abc import Callable
from typing import Any

from prisma_mgmt.checks import checked_kind


def checked_text(value: Any, name: str) -> str:
    """`value`; TypeError, naming `name`, if it is no text."""
    text: str = checked_kind(value, str, name, "text")
    return text


def checked_functions(**hooks: object) -> None:
    """TypeError, naming it, for a hook that is neither a function nor None."""
    for name, hook in hooks.items():
        checked_kind(hook, Callable | None, name, "a function")


async def called(hook: Callable[..., object] | None, *arguments: object) -> object:
    """What a function or a coroutine function of the caller's gives; None without one."""
    found = hook(*arguments) if hook is not None else None
    return await found if inspect.isawaitable(found) else found
