"""Compiles a fast reader for one model. What that cannot read, codec.py reads again, and says what is wrong.

It stands for this, a statement a field, with the models inside it in line:

    def hook(o, type=type, str=str):
      try:
        m = new()
        m.id = v = o["id"]
        if type(v) is not str: return plain(o)
        …
        return m
      except (KeyError, ValueError, TypeError, AttributeError): pass
      return plain(o)

Whatever it stumbles over, `plain` reads again from the start, and has the last word.
"""

from collections.abc import Callable
from datetime import datetime
from functools import partial
from typing import Any, TypeAlias, cast

import attrs

from prisma_mgmt.core.kinds import default_of, fields, is_made, is_nullable, json_key, simple
from prisma_mgmt.masks import Secret

Hook: TypeAlias = Callable[..., Any]

# What is checked in line: what is true of a value `v` that is not of this type.
_UNLIKE: dict[Any, str] = {
    str: "type(v) is not str",
    int: "type(v) is not int",
    bool: "type(v) is not bool",
    float: "type(v) is not float and type(v) is not int",
}


def compiled(model: type, plain: Hook, hook_of: Callable[[Any], Hook]) -> Hook:
    """The hook of a model. `plain` is its other hook, and `hook_of` gives those of other types when they are needed."""
    source = _Source({"plain": plain, "hook_of": hook_of, "Secret": Secret, "parsed": datetime.fromisoformat})
    source.read(model, "o", "m", "    ", ())
    lines = [
        "def hook(o, type=type, str=str):",
        "  try:",
        *source.lines,
        "    return m",
        "  except (KeyError, ValueError, TypeError, AttributeError): pass",
        "  return plain(o)",
    ]
    exec("\n".join(lines), source.scope)  # noqa: S102  # as attrs does; the names come from our own models
    return cast("Hook", source.scope["hook"])


class _Source:
    """Statements that read a model, and the names that they use. `above` are the models that one stands in."""

    def __init__(self, scope: dict[str, Any]) -> None:
        self.lines: list[str] = []
        self.scope = scope

    def _name(self, value: Any) -> str:
        name = f"x{len(self.scope)}"
        self.scope[name] = value
        return name

    def read(self, model: type, given: str, made: str, indent: str, above: tuple[type, ...]) -> None:
        """Make a model, `made`, of what the name `given` holds."""
        if all(default_of(one) is not attrs.NOTHING for one in fields(model)):  # else a key would be missing
            self.lines.append(f"{indent}if type({given}) is not dict: return plain(o)")
        self.lines.append(f"{indent}{made} = {self._name(partial(object.__new__, model))}()")
        for one in fields(model):
            self._field(one, given, f"{made}.{one.name}", indent, (*above, model))

    def _field(self, one: "attrs.Attribute[Any]", given: str, to: str, indent: str, above: tuple[type, ...]) -> None:
        kind, default = simple(one.type), default_of(one)
        empty = ["None"] if is_nullable(one.type) else []  # what stands for no value
        value = f"{given}[{json_key(one)!r}]"
        if default is None:
            value = f"{given}.get({json_key(one)!r})"
        elif default is not attrs.NOTHING and not is_made(default):
            empty.append(self._name(default))
            value = f"{given}.get({json_key(one)!r}, {empty[-1]})"
        if kind in (Any, object):
            self.lines.append(f"{indent}{to} = {value}")
        elif kind in _UNLIKE:
            also = "".join(f" and v is not {other}" for other in empty)
            self.lines.append(f"{indent}{to} = v = {value}")
            self.lines.append(f"{indent}if {_UNLIKE[kind]}{also}: return plain(o)")
        elif empty:
            name = f"v{len(self.lines)}"
            self.lines.append(f"{indent}{name} = {value}")
            self.lines.append(f"{indent}if {' or '.join(f'{name} is {other}' for other in empty)}: {to} = {name}")
            self.lines.append(f"{indent}else:")
            self._convert(kind, name, to, indent + "  ", above)
        else:
            self._convert(kind, value, to, indent, above)

    def _convert(self, kind: Any, value: str, to: str, indent: str, above: tuple[type, ...]) -> None:
        """Set a field to what becomes of a value that is neither missing nor null."""
        if kind is Secret:
            self.lines.append(f"{indent}v = {value}")
            self.lines.append(f"{indent}if type(v) is not str: return plain(o)")
            self.lines.append(f"{indent}{to} = Secret(v)")
        elif kind is datetime:
            self.lines.append(f"{indent}{to} = v = parsed({value})")
            self.lines.append(f"{indent}if v.tzinfo is None: return plain(o)")
        elif attrs.has(kind) and kind not in above:
            given, made = f"o{len(self.lines)}", f"m{len(self.lines)}"
            self.lines.append(f"{indent}{given} = {value}")
            self.read(kind, given, made, indent, above)
            self.lines.append(f"{indent}{to} = {made}")
        else:
            # The hook is looked up when it is called, since a model may hold itself.
            self.lines.append(f"{indent}{to} = hook_of({self._name(kind)})({value})")
