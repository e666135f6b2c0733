"""The resources of a client, imported when they are first touched."""

from collections.abc import Callable
from typing import Any, Generic, TypeVar, overload

from prisma_mgmt.core.resource import Resource

R = TypeVar("R", bound=Resource)


class resource(Generic[R]):  # noqa: N801  # it is written as a decorator
    """A resource of a client. On the class it is the resource's own class, which `help` and mocks can look into.

    It decorates the function that imports that class, so that a freezer sees a plain import statement.
    """

    def __init__(self, find: Callable[[Any], type[R]]) -> None:
        self._find = find
        self._name = find.__name__
        self.__doc__ = find.__doc__

    @overload
    def __get__(self, client: None, owner: type[Any]) -> type[R]: ...

    @overload
    def __get__(self, client: Any, owner: type[Any]) -> R: ...

    def __get__(self, client: Any, owner: type[Any]) -> type[R] | R:
        found = self._find(client)
        if client is None:
            return found
        made = client.__dict__[self._name] = found(client)  # from now on it is found there first
        return made
