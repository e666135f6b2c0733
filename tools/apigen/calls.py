"""The operations of a document, what each is called, and each as a description has it."""

from attrs import evolve, field, frozen

from tools.apigen.description import LINES, PARAMETERS, Operation
from tools.apigen.document import Node
from tools.apigen.names import default_models, default_operations, default_summary, pascal, singular
from tools.apigen.naming import Shapes, Spot, give_words
from tools.apigen.schemas import MARKS, Schema, without

_RANKS = {verb: i for i, verb in enumerate(("get", "list", "update", "replace", "create", "check", "delete"))}


@frozen
class Call(Operation):
    """An operation of a document, and what is known of it."""

    node: Node = field(kw_only=True)
    model: str | None = None  # of its answer, by names.toml
    known: bool = False  # to the committed description or to names.toml

    @property
    def rank(self) -> tuple[bool, int]:
        """Known operations come first and leave the names of their models to nobody; a plain `get` names the others."""
        return not self.known, _RANKS.get(self.method.partition("_")[0], len(_RANKS))


def named(calls: list[Call]) -> list[Call]:
    """All with a name, those that no other has if there are any, in the order in which they are to be described."""
    taken = {call.name for call in calls}
    made: list[Call] = []
    for call in calls:
        if not call.known:
            many, log = (call.data or {}).get("type") == "array", call.answer[0] == LINES
            options = [".".join(one) for one in default_operations(call.http, call.path, many, log=log)]
            call = evolve(call, name=next((one for one in options if one not in taken), options[0]))
            taken.add(call.name)
        made.append(call)
    return sorted(made, key=lambda call: call.rank)


def described(call: Call, shapes: Shapes) -> Schema:
    """An operation as a description has it; the names of its shapes are made on the way."""
    names, thing = shapes.names, pascal(singular(call.resource))
    base = next(default_models(call.resource, call.method, False))
    answer = _answer(call, shapes, base)
    beside = evolve(answer, owner=call.name, model=None, names=(), fresh=False)
    for part in call.answered:
        shapes.name(part, answer if part.key in ("", "data") else beside)
    for part in call.arguments:
        shapes.name(part, Spot(call.name, thing, base, given=True, names=(f"{thing}Input",)))
    plain = {part.spot: names.keyword(part.key, call.path) for part in call.arguments if part.where in PARAMETERS}
    give_words(call.arguments, plain | shapes.words, call.node.pointer)
    for schema in (call.body, call.answer[1]):
        if schema is not None:
            schema.pop("x-at", None)
    made: Schema = {"operationId": call.name, "tags": [call.resource]}
    made["summary"] = call.raw.get("summary", default_summary(call.resource, call.method))
    made |= {mark: True for mark in MARKS if mark in call.raw}
    if "deprecated" in made and call.resource in names.own["replaced"]:
        made["x-replaced-by"] = f"{names.own['replaced'][call.resource]}.{call.method}"
    return {**made, **without(call.raw, *made)}


def _answer(call: Call, shapes: Shapes, base: str) -> Spot:
    fields = (call.data or {}).get("properties", {})
    texts = [(key, one) for key, one in fields.items() if one.get("type") == "string"]
    opens = any(shapes.names.is_secret(call.name, key, one.get("format")) for key, one in texts)
    names = list(default_models(call.resource, call.method, opens))
    # What stands beside `data` becomes fields of its model, so that no other answer may have that.
    fresh = bool(fields) and len(call.envelope) > 1
    return Spot(call.model or names[0], call.model or names[0], base, model=call.model, names=names, fresh=fresh)
