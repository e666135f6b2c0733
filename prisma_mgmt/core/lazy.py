"""Decorates the resources of a generated client: each class is imported when it is first touched."""

from collections.abc import Callable
from functools import cached_property
from typing import Any, Generic, TypeVar, overload

from prisma_mgmt.core.resource import Resource

R = TypeVar("R", bound=Resource)


class resource(cached_property[R], Generic[R]):  # noqa: N801  # it is written as a decorator
    """A resource of a client. On the class it is the resource's own class, which `help` and mocks can look into.

    It decorates the function that imports that class, so that a freezer sees a plain import statement.
    """

    def __init__(self, find: Callable[[Any], type[R]]) -> None:
        super().__init__(lambda client: find(client)(client))
        self._find = find
        self.__doc__ = find.__doc__

    @overload  # type: ignore[override]  # on the class it gives the class of the resource, not itself
    def __get__(self, client: None, owner: type[Any] | None = None) -> type[R]: ...

    @overload
    def __get__(self, client: Any, owner: type[Any] | None = None) -> R: ...

    def __get__(self, client: Any, owner: type[Any] | None = None) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]  # as above
        made: Any = super().__get__
        return self._find(client) if client is None else made(client, owner)
