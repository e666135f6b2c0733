"""Compiles the reader of one model: a statement a field, with the models inside it in line.

It stands for this:

    def hook(o, type=type, str=str):
      try:
        m = new()
        v = o['id']
        if type(v) is str: m.id = v
        else:
          try: m.id = hook_of(str)(v)
          except Mismatch as e: raise e.under('id') from None
        …
      except KeyError as e: raise Mismatch('missing').under(e.args[0]) from None
      except (TypeError, AttributeError) as e: raise e if type(o) is dict else wrong('an object', o)
      return m

What is usual is read without a call. Whatever is not is left to the hook of its type, which says what is wrong.
"""

from collections.abc import Callable
from datetime import datetime
from functools import partial
from typing import Any, TypeAlias, cast

import attrs

from prisma_mgmt.core.kinds import default_of, fields, is_made, is_nullable, json_key, simple
from prisma_mgmt.masks import Secret

Hook: TypeAlias = Callable[..., Any]

_DEEPEST = 10  # models in line; Python has no more than 20 blocks in each other

# What is checked in line: what is true of a usual value `v` of this type, and what it becomes.
_USUAL: dict[Any, tuple[str, str]] = {
    str: ("type(v) is str", "v"),
    int: ("type(v) is int", "v"),
    bool: ("type(v) is bool", "v"),
    float: ("type(v) is float or type(v) is int", "v"),
    Secret: ("type(v) is str", "Secret(v)"),
}


def compiled(model: type, names: dict[str, Any]) -> Hook:
    """The hook of a model; `names` are those of codec.py that it uses."""
    source = _Source({**names, "__name__": __name__, "Secret": Secret, "parsed": datetime.fromisoformat})
    source.read(model, "o", "m", "  ", (), "")
    exec("\n".join(["def hook(o, type=type, str=str):", *source.lines, "  return m"]), source.scope)  # noqa: S102  # as attrs does; the names come from our own models
    return cast("Hook", source.scope["hook"])


class _Source:
    """Statements that read a model, and the names that they use. `above` are the models that one stands in.

    `at` is the path of what is read.
    """

    def __init__(self, scope: dict[str, Any]) -> None:
        self.lines: list[str] = []
        self.scope = scope

    def _name(self, value: Any) -> str:
        name = f"x{len(self.scope)}"
        self.scope[name] = value
        return name

    def _add(self, indent: str, *lines: str) -> None:
        self.lines += [indent + line for line in lines]

    def read(self, model: type, given: str, made: str, indent: str, above: tuple[type, ...], at: str) -> None:
        """Make a model, `made`, of what the name `given` holds."""
        self._add(indent, "try:", f"  {made} = {self._name(partial(object.__new__, model))}()")
        if all(default_of(one) is not attrs.NOTHING for one in fields(model)):  # else a key would be asked for
            self._add(indent, f"  if type({given}) is not dict: raise TypeError")
        for one in fields(model):
            self._field(one, given, f"{made}.{one.name}", indent + "  ", (*above, model), at)
        refused = f"wrong('an object', {given}).under({at!r})"
        self._add(indent, f"except KeyError as e: raise Mismatch('missing').under(e.args[0]).under({at!r}) from None")
        self._add(indent, f"except (TypeError, AttributeError) as e: raise e if type({given}) is dict else {refused}")

    def _field(
        self, one: "attrs.Attribute[Any]", given: str, to: str, indent: str, above: tuple[type, ...], at: str
    ) -> None:
        kind, default, key = simple(one.type), default_of(one), json_key(one)
        at = f"{at}.{key}" if at else key
        value, stand_ins = f"{given}[{key!r}]", {"None": "v"} if is_nullable(one.type) else {}
        if default is not attrs.NOTHING:
            missing = "None" if default is None else self._name(default)
            value = f"{given}.get({key!r}, {missing})"
            stand_ins[missing] = f"{missing}.factory()" if is_made(default) else "v"
        self._add(indent, f"v = {value}")
        for stand_in, becomes in stand_ins.items():  # for a value
            self._add(indent, f"if v is {stand_in}: {to} = {becomes}", "else:")
            indent += "  "
        self._convert(kind, to, indent, above, at)

    def _convert(self, kind: Any, to: str, indent: str, above: tuple[type, ...], at: str) -> None:
        """Set a field to what becomes of a value that is neither missing nor null."""
        if kind in (Any, object):
            self._add(indent, f"{to} = v")
        elif kind in _USUAL:
            is_usual, made = _USUAL[kind]
            self._add(indent, f"if {is_usual}: {to} = {made}", "else:")
            self._ask(kind, to, indent + "  ", at)
        elif kind is datetime:
            self._add(indent, f"try: {to} = d = parsed(v)", "except (ValueError, TypeError): d = None")
            self._add(indent, "if d is None or d.tzinfo is None:")
            self._ask(kind, to, indent + "  ", at)
        elif attrs.has(kind) and kind not in above and len(above) < _DEEPEST:
            given, made = f"o{len(self.lines)}", f"m{len(self.lines)}"
            self._add(indent, f"{given} = v")
            self.read(kind, given, made, indent, above, at)
            self._add(indent, f"{to} = {made}")
        else:
            self._ask(kind, to, indent, at)

    def _ask(self, kind: Any, to: str, indent: str, at: str) -> None:
        """Set a field to what the hook of its type says. It is looked up then, since a model may hold itself."""
        self._add(indent, f"try: {to} = hook_of({self._name(kind)})(v)")
        self._add(indent, f"except Mismatch as e: raise e.under({at!r}) from None")
