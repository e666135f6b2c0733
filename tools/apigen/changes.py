"""What differs between two descriptions, as lines for CHANGELOG.md."""

from attrs import frozen

from tools.apigen.description import Operation, Schema, by_template, operations, python_type, split_null
from tools.apigen.names import template

_MARKS = {"deprecated": "deprecated", "x-experimental": "experimental"}


@frozen
class _Part:
    """A keyword, a field, an answer or a value: what may differ about it, apart from each other."""

    type: str = ""
    required: bool = True
    nullable: bool = False
    marks: frozenset[str] = frozenset()
    given: bool = False


def changes(old: Schema, new: Schema) -> list[str]:
    """In the order of Keep a Changelog; a model comes and goes with its operations, and has no line of its own."""
    before, after = by_template(old), by_template(new)
    lines = [f"Added `{one.route}` (`{one.name}`)" for key, one in after.items() if key not in before]
    lines += [f"Removed `{one.route}`" for key, one in before.items() if key not in after]
    lines += _servers(old, new)
    for key in after.keys() & before.keys():
        was, now = before[key], after[key]
        lines += [f"Changed the name of `{was.name}` to `{now.name}`"] if was.name != now.name else []
        lines += _marked(f"`{now.route}` (`{now.name}`)", _marks(was.raw), _marks(now.raw))
        lines += _answers(was, now)
    had, has = _parts(old), _parts(new)
    for owner in had.keys() & has.keys():
        name = after[owner].name if owner in after else owner
        lines += [f"Added {_told(part, one)} to `{name}`" for part, one in has[owner].items() if part not in had[owner]]
        lines += [f"Removed {part} from `{name}`" for part in had[owner] if part not in has[owner]]
        for part in has[owner].keys() & had[owner].keys():
            lines += _changed(f"{part} of `{name}`", had[owner][part], has[owner][part])
    return [f"- {line}" for line in sorted(set(lines))]


def _servers(old: Schema, new: Schema) -> list[str]:
    before, after = ({one["url"]: one for one in document.get("servers", ())} for document in (old, new))
    lines = [f"Added the server {url}; the client keeps to its own" for url in after if before and url not in before]
    lines += [f"Removed the server {url}" for url in before if url not in after]
    gone = [url for url, one in after.items() if "x-gone" in one and "x-gone" not in before.get(url, one)]
    return lines + [f"Removed the server {url}, which the client keeps to" for url in gone]


def _marks(raw: Schema) -> frozenset[str]:
    return frozenset(word for mark, word in _MARKS.items() if raw.get(mark))


def _marked(name: str, before: frozenset[str], after: frozenset[str]) -> list[str]:
    begun = {"deprecated": f"Deprecated {name}", "experimental": f"Changed {name}: it is experimental now"}
    return [begun[word] for word in after - before] + [f"Changed {name}: no longer {word}" for word in before - after]


def _answers(was: Operation, now: Operation) -> list[str]:
    """That another thing is answered; fields of models have lines of their own."""
    lines: list[str] = []
    if was.answer != now.answer:
        one, two = (_kind(each) for each in (was, now))
        if one != two:
            lines.append(f"Changed the answer of `{now.name}` from {one} to {two}")
    before, after = set(was.raw["x-errors"]), set(now.raw["x-errors"])
    lines += [f"Changed `{now.name}`: it may answer {status} now" for status in after - before]
    lines += [f"Changed `{now.name}`: it answers {status} no more" for status in before - after]
    if (was.raw.get("security") == []) != (now.raw.get("security") == []):
        lines.append(f"Changed `{now.name}`: it needs {'no' if now.raw.get('security') == [] else 'a'} token now")
    return lines


def _kind(one: Operation) -> str:
    kind, schema = one.answer
    if schema is None:
        return "nothing"
    inner = schema["properties"]["data"] if one.enveloped else schema
    text = "an object" if "properties" in inner else python_type(inner)
    return f"lines of {text}" if kind.endswith("ndjson") else text


def _parts(document: Schema) -> dict[str, dict[str, _Part]]:
    """The keywords of each route, the fields of each model, the values of each enumeration."""
    found: dict[str, dict[str, _Part]] = {}
    for one in operations(document):
        parts = {f"keyword `{part.word}`": _part(part.schema, part.required, part.raw, True) for part in one.arguments}
        answer: Schema = one.answer[1] or {} if one.enveloped else {}
        fields: Schema = answer.get("properties", {})
        required = answer.get("required", ())
        parts |= {
            f"field `{key}`": _part(fields[key], key in required, fields[key]) for key in fields.keys() - {"data"}
        }
        found[template(one.route)] = parts
    for name, schema in document.get("components", {}).get("schemas", {}).items():
        held = schema.get("properties", {}).items()
        found[name] = {f"field `{key}`": _part(value, key in schema["required"], value) for key, value in held}
        found[name] |= {f"value `{value}`": _Part() for value in schema.get("enum", ())}
    return found


def _part(schema: Schema, required: bool, raw: Schema, given: bool = False) -> _Part:
    rest, nullable = split_null(schema)
    return _Part(python_type(rest), required, nullable, _marks(raw), given)


def _told(part: str, one: _Part) -> str:
    return f"the required {part}" if one.given and one.required else part


def _changed(name: str, was: _Part, now: _Part) -> list[str]:
    lines = _marked(name, was.marks, now.marks)
    if was.type != now.type:
        lines.append(f"Changed {name} from {was.type} to {now.type}")
    if was.required != now.required:
        given = "is required now" if now.required else "is optional now"
        read = "is always there now" if now.required else "may be missing now"
        lines.append(f"Changed {name}: it {given if now.given else read}")
    if was.nullable != now.nullable:
        lines.append(f"Changed {name}: it {'may be' if now.nullable else 'is never'} null now")
    return lines
