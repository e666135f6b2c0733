"""The operations of a document, and what each is called: as names.toml lists it, as committed, or by default."""

import re
from typing import Any

from attrs import field, frozen

from tools.apigen.description import Named, Schema, by_template
from tools.apigen.document import Document, DocumentError, Place
from tools.apigen.names import VERBS, Names, default_operations, template
from tools.apigen.schemas import JSON, LINES


@frozen
class Call(Named):
    """An operation of a document that is to be made, and what is known of it."""

    model: str | None = None  # of its answer, by names.toml
    known: bool = False  # to the committed description or to names.toml
    old: Schema = field(factory=dict[str, Any])

    @property
    def rank(self) -> tuple[bool, int]:
        """Known operations come first and leave the names of their models to nobody; a plain `get` names the others."""
        order = ("get", "list", "update", "replace", "create", "check", "delete")
        verb = self.method.partition("_")[0]
        return not self.known, order.index(verb) if verb in VERBS else len(order)


def named(document: Document, names: Names, old: Schema, refused: list[str]) -> list[Call]:
    """Every operation that can be read, each with a name that no other has; the others are `refused`."""
    committed, calls = by_template(old), dict[str, Call]()
    known: list[Call] = []
    fresh: list[Call] = []
    for path, http, raw in document.operations():
        if isinstance(raw, DocumentError):
            refused.append(f"{raw}; {http.upper()} {path} is left out".replace("  ", " "))
            continue
        before, listed = committed.get(template(f"{http.upper()} {path}")), names.operation(f"{http.upper()} {path}")
        name, model = listed or (before.name if before else "", None)
        call = Call(path, http, raw, name, model, bool(name), before.raw if before else {})
        (known if name else fresh).append(call)
    for call in known:
        _add(call, calls, refused)
    for call in fresh:
        many, log = _kind(document, call.raw)
        options = [".".join(one) for one in default_operations(call.http, call.path, many, log=log)]
        name = next((one for one in options if one not in calls), options[0])
        _add(Call(call.path, call.http, call.raw, name), calls, refused)
    return sorted(calls.values(), key=lambda call: call.rank)


def _add(call: Call, calls: dict[str, Call], refused: list[str]) -> None:
    if call.name in calls:
        line = f"two routes are named {call.name}; name this one in names.toml; {call.route} is left out"
        refused.append(f"{call.raw['x-at']}: {line}")
    else:
        calls[call.name] = call


def _kind(document: Document, raw: Schema) -> tuple[bool, bool]:
    """Tell if an operation answers a list, and if it answers a log."""
    try:
        answers = {status: one for status, one in raw["responses"].items() if re.match(r"2|101", status)}
        content = document.target(answers[max(answers)], Place("#"))[0].get("content", {})
        schema = document.target(content[JSON]["schema"], Place("#"))[0] if JSON in content else {}
        data = document.target(schema.get("properties", {}).get("data", schema), Place("#"))[0]
    except (DocumentError, LookupError, TypeError, ValueError, AttributeError):  # told when it is normalised
        return False, False
    return data.get("type") == "array", LINES in content
