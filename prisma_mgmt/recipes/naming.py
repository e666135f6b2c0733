"""How a recipe is told which thing is meant, and how it tells in which state a thing is."""

from typing import Any, Protocol, TypeAlias


class HasId(Protocol):
    """A model of a thing that has an id."""

    @property
    def id(self) -> str: ...


Named: TypeAlias = str | HasId


def id_of(thing: Named, name: str) -> str:
    """The id of a thing; TypeError, naming the argument, for what has none."""
    found: Any = thing if isinstance(thing, str) else getattr(thing, "id", None)
    if not isinstance(found, str):
        raise TypeError(f"{name} must be an id or a model that has one, not {type(thing).__name__}")
    return found


def state_of(thing: object) -> str:
    """The state that a thing says it is in: its `status`, its `state`, or else what its repr shows."""
    for name in ("status", "state"):
        if isinstance(found := getattr(thing, name, None), str):
            return found
    return repr(thing)
