"""What differs between two descriptions, as lines for CHANGELOG.md."""

from collections.abc import Iterator

from tools.apigen.description import LINES, Operation, Part, by_template, parts
from tools.apigen.schemas import Schema, marks, python_type

Facts = dict[str, object]
# A fact is told by the first line if it holds now, else by the second.
_TOLD = {
    "deprecated": ("Deprecated {name}", "Changed {name}: no longer deprecated"),
    "experimental": ("Changed {name}: it is experimental now", "Changed {name}: no longer experimental"),
    "type": ("Changed {name} from {was} to {now}", ""),
    "asked": ("Changed {name}: it is required now", "Changed {name}: it is optional now"),
    "there": ("Changed {name}: it is always there now", "Changed {name}: it may be missing now"),
    "nullable": ("Changed {name}: it may be null now", "Changed {name}: it is never null now"),
    "called": ("Changed the name of `{was}` to `{now}`", ""),
    "answer": ("Changed the answer of {name} from {was} to {now}", ""),
    "tokenless": ("Changed {name}: it needs no token now", "Changed {name}: it needs a token now"),
}


def changes(old: Schema, new: Schema) -> list[str]:
    """In the order of Keep a Changelog; a model comes and goes with its operations, and has no line of its own."""
    before, after = by_template(old), by_template(new)
    lines = [f"Added `{after[key].route}` (`{after[key].name}`)" for key in after.keys() - before.keys()]
    lines += [f"Removed `{before[key].route}`" for key in before.keys() - after.keys()]
    lines += _servers(old, new)
    for key in after.keys() & before.keys():
        lines += _operation(before[key], after[key])
    had, has = _parts(old), _parts(new)
    for owner in had.keys() & has.keys():
        was, now, name = had[owner], has[owner], after[owner].name if owner in after else owner
        new_parts = {part: "the required " if now[part].get("asked") else "" for part in now.keys() - was.keys()}
        lines += [f"Added {required}{part} to `{name}`" for part, required in new_parts.items()]
        lines += [f"Removed {part} from `{name}`" for part in was.keys() - now.keys()]
        for part in now.keys() & was.keys():
            lines += _differing(f"{part} of `{name}`", was[part], now[part])
    return [f"- {line}" for line in sorted(set(lines))]


def _differing(name: str, was: Facts, now: Facts) -> Iterator[str]:
    for fact, (begun, ended) in _TOLD.items():
        if was.get(fact) != now.get(fact):
            yield (begun if now.get(fact) else ended).format(name=name, was=was.get(fact), now=now.get(fact))


def _servers(old: Schema, new: Schema) -> list[str]:
    before, after = ({one["url"]: one for one in document.get("servers", ())} for document in (old, new))
    lines = [f"Added the server {url}; the client keeps to its own" for url in after if before and url not in before]
    lines += [f"Removed the server {url}" for url in before if url not in after]
    gone = [url for url, one in after.items() if "x-gone" in one and "x-gone" not in before.get(url, one)]
    return lines + [f"Removed the server {url}, which the client keeps to" for url in gone]


def _operation(was: Operation, now: Operation) -> Iterator[str]:
    yield from _differing(f"`{now.route}` (`{now.name}`)", _marked(was.raw), _marked(now.raw))
    yield from _differing(f"`{now.name}`", _facts(was), _facts(now))
    before, after = set(was.raw["x-errors"]), set(now.raw["x-errors"])
    yield from (f"Changed `{now.name}`: it may answer {status} now" for status in after - before)
    yield from (f"Changed `{now.name}`: it answers {status} no more" for status in before - after)


def _marked(raw: Schema) -> Facts:
    return dict.fromkeys(marks(raw), True)


def _facts(one: Operation) -> Facts:
    """What may differ about an operation; fields of what it answers have lines of their own."""
    answer = "nothing" if one.data is None else python_type(one.data)
    answer = f"lines of {answer}" if one.answer[0] == LINES else answer
    return {"called": one.name, "answer": answer, "tokenless": one.raw.get("security") == []}


def _parts(document: Schema) -> dict[str, dict[str, Facts]]:
    """The keywords of each route, the fields of each answer and model, the values of each enumeration."""
    found: dict[str, dict[str, Facts]] = {route: {} for route in by_template(document)}
    for name, schema in document.get("components", {}).get("schemas", {}).items():
        found[name] = {f"value `{value}`": {} for value in schema.get("enum", ())}
    for part in parts(document):
        if part.where not in ("", "answer"):
            found[part.owner][f"keyword `{part.word}`"] = _part(part, "asked")
        elif part.where == "" or part.key not in ("", "data"):
            found[part.owner][f"field `{part.key}`"] = _part(part, "there")
    return found


def _part(part: Part, required: str) -> Facts:
    kind = python_type(part.bare)
    return {"type": kind, required: part.required, "nullable": part.nullable, **_marked(part.raw)}
