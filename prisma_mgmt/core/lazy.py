"""Decorates the resources of a generated client: each class is imported when it is first touched."""

from collections.abc import Callable
from functools import cached_property
from typing import TYPE_CHECKING, Any, Generic, TypeVar

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

    if not TYPE_CHECKING:  # type checkers see what a client has

        def __get__(self, client: Any, owner: type[Any] | None = None) -> Any:
            return self._find(client) if client is None else super().__get__(client, owner)
