"""The annotations of every public callable can be evaluated, as dependency injectors and editors do."""

import inspect
from collections.abc import Iterator
from contextlib import suppress
from importlib import import_module
from typing import Any, get_type_hints

import pytest

PUBLIC = (
    *("prisma_mgmt", "prisma_mgmt.auth", "prisma_mgmt.auth.storage", "prisma_mgmt.auth.storage.testing"),
    *("prisma_mgmt.core.encoding", "prisma_mgmt.factories", "prisma_mgmt.litestar", "prisma_mgmt.observe"),
    *("prisma_mgmt.recipes", "prisma_mgmt.sandbox", "prisma_mgmt.auth.manager"),
)


def callables(module: str) -> Iterator[Any]:
    """What a module offers, and the public methods of its classes."""
    here = import_module(module)
    own = [
        name for name, one in vars(here).items() if name[0] != "_" and getattr(one, "__module__", "").startswith(module)
    ]
    for name in getattr(here, "__all__", own):
        one = getattr(here, name)
        if inspect.isfunction(one) or (inspect.isclass(one) and one.__module__.startswith("prisma_mgmt")):
            yield one
        if inspect.isclass(one) and one.__module__.startswith("prisma_mgmt"):
            names = [name for name in vars(one) if not name.startswith("_")]
            yield from (method for name in names if inspect.isroutine(method := getattr(one, name)))


@pytest.mark.parametrize("module", PUBLIC)
def test_public_annotations_can_be_evaluated(module: str) -> None:
    found = list(callables(module))
    assert found
    for one in found:
        with suppress(ValueError):  # for a builtin's, such as that of an Enum
            inspect.signature(one, eval_str=True)
        if not (inspect.isclass(one) and one.__module__ == "prisma_mgmt.litestar"):  # Litestar's own are not ours
            get_type_hints(one)
