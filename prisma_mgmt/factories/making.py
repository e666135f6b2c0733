"""What makes a whole answer of an example and what a test wants otherwise."""

from collections.abc import Iterable, Mapping
from typing import Any, TypeAlias, cast

from attrs import field, frozen

from prisma_mgmt.core.encoding import plain
from prisma_mgmt.core.kinds import UNSET

JSONObject: TypeAlias = dict[str, Any]


@frozen
class Factory:
    """Makes the JSON of one model. A test sets the fields that it is about, by their Python names.

    A value may be JSON, whatever a model holds there (a date, another model), or another factory; with UNSET the field
    is missing. Calling it raises TypeError for a field that the model does not have, and for what JSON does not have.
    """

    model: str
    _whole: Mapping[str, Any] = field(repr=False)  # `...` stands for what is there only if a test asks for it
    _words: Mapping[str, str] = field(factory=dict[str, str], repr=False)  # keys that are not plainly their camelCase

    def __call__(self, **fields: Any) -> JSONObject:
        made = {key: _made(value) for key, value in self._whole.items() if value is not ...}
        for word, value in fields.items():
            key = self._words.get(word) or _camel(word)
            if key not in self._whole:
                raise TypeError(f"{self.model} has no field {word!r}")
            if value is UNSET:
                made.pop(key, None)
            else:
                made[key] = _made(value, f"{self.model}.{key}")
        return made


def answer(data: Any, **beside: Any) -> JSONObject:
    """`data` in its envelope. It may be a model or a factory, too."""
    return {"data": _made(data, "data"), **beside}


def page(*items: Any, next_cursor: str | None = None, **beside: Any) -> JSONObject:
    """A page of a list; one that goes on, if there is a `next_cursor`. Items may be models or factories, too."""
    if any(isinstance(item, list | tuple) for item in items):
        raise TypeError("page() takes the items one by one: write page(*items)")
    pagination = {"nextCursor": next_cursor, "hasMore": next_cursor is not None}
    return {"data": [_made(item, "data") for item in items], "pagination": pagination, **beside}


def _made(value: Any, at: str = "") -> Any:
    """A fresh value as JSON has it, so that no test changes another's; `at` is its name."""
    return plain(_filled(value), secrets=True, at=at)


def _filled(value: Any) -> Any:
    """`value`, and in it what each factory makes in the factory's place."""
    if isinstance(value, Factory):
        return value()
    if isinstance(value, list | tuple):
        return [_filled(one) for one in cast("Iterable[Any]", value)]
    return {key: _filled(one) for key, one in cast("JSONObject", value).items()} if isinstance(value, dict) else value


def _camel(word: str) -> str:
    head, *rest = word.rstrip("_").split("_")
    return head + "".join(part[:1].upper() + part[1:] for part in rest)
