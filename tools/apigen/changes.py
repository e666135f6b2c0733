"""What differs between two descriptions, as lines for CHANGELOG.md."""

from collections.abc import Iterator

from tools.apigen.description import LINES, by_template, parts
from tools.apigen.schemas import Schema, marks, python_type

# A fact is told by the first line if it holds now, else by the second. The first four are kinds of things, of which no
# more is told if they come or go.
_TOLD = {
    "operation": ("Added {name}", "Removed `{route}`"),
    "server": ("Added {name}; the client keeps to its own", "Removed {name}"),
    "error": ("Changed {owner}: it may answer {name} now", "Changed {owner}: it answers {name} no more"),
    "part": ("Added {required}{part} to {owner}", "Removed {part} from {owner}"),
    "deprecated": ("Deprecated {name}", "Changed {name}: no longer deprecated"),
    "experimental": ("Changed {name}: it is experimental now", "Changed {name}: no longer experimental"),
    "type": ("Changed {name} from {was} to {now}", ""),
    "asked": ("Changed {name}: it is required now", "Changed {name}: it is optional now"),
    "there": ("Changed {name}: it is always there now", "Changed {name}: it may be missing now"),
    "nullable": ("Changed {name}: it may be null now", "Changed {name}: it is never null now"),
    "called": ("Changed the name of `{was}` to `{now}`", ""),
    "answer": ("Changed the answer of `{called}` from {was} to {now}", ""),
    "tokenless": ("Changed `{called}`: it needs no token now", "Changed `{called}`: it needs a token now"),
    "gone": ("Removed {name}, which the client keeps to", "Added {name}, which the client has kept to"),
}


def changes(old: Schema, new: Schema) -> list[str]:
    """In the order of Keep a Changelog; what comes or goes with its owner has no line of its own."""
    names = {route: one.name for route, one in {**by_template(old), **by_template(new)}.items()}
    before, after, lines = dict(_things(old, names)), dict(_things(new, names)), set[str]()
    owners = {""} | ({owner or name for owner, name in before} & {owner or name for owner, name in after})
    for thing in (thing for thing in {**before, **after} if thing[0] in owners):
        was, now = before.get(thing, {}), after.get(thing, {})
        told = _TOLD if was and now else list({**was, **now})[:1]
        for fact in (fact for fact in told if was.get(fact) != now.get(fact)):
            line = _TOLD[fact][not now.get(fact)]
            lines.add(line.format(**{"was": was.get(fact), "now": now.get(fact), **was, **now}))
    return [f"- {line}" for line in sorted(lines)]


def _things(document: Schema, names: dict[str, str]) -> Iterator[tuple[tuple[str, object], dict[str, object]]]:
    """What may come, go and change, by its owner and its name; its kind is its first fact."""
    for url, server in ((one["url"], one) for one in document.get("servers", ())):
        yield ("servers", url), {"server": True, "name": f"the server {url}", "gone": "x-gone" in server}
    for route, one in by_template(document).items():
        data = "nothing" if one.data is None else python_type(one.data)
        answer = f"lines of {data}" if one.answer[0] == LINES else data
        facts = {"called": one.name, "answer": answer, "tokenless": one.raw.get("security") == [], **marks(one.raw)}
        yield ("", route), {"operation": True, "name": f"`{one.route}` (`{one.name}`)", "route": one.route, **facts}
        for status in one.raw["x-errors"]:
            yield (route, status), {"error": True, "name": status, "owner": f"`{names[route]}`"}
    for name, schema in document.get("components", {}).get("schemas", {}).items():
        for value in schema.get("enum", ()):
            yield (name, value), {"part": f"value `{value}`", "owner": f"`{name}`", "required": ""}
    for part in parts(document):
        is_keyword, owner = part.where not in ("", "answer"), f"`{names.get(part.owner, part.owner)}`"
        what = f"keyword `{part.word}`" if is_keyword else f"field `{part.key}`"
        facts = {"type": python_type(part.bare), "asked" if is_keyword else "there": part.required}
        facts |= {"nullable": part.nullable, "required": "the required " if is_keyword and part.required else ""}
        if part.where != "answer" or part.key not in ("", "data"):  # which are the answer of an operation
            facts = {"part": what, "name": f"{what} of {owner}", "owner": owner, **facts, **marks(part.raw)}
            yield (part.owner, what), facts
