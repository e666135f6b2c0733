"""One operation of a document as it stands in a description: its answers, its parameters, its body, its keywords."""

import json
import re

from attrs import evolve

from tools.apigen.calls import Call
from tools.apigen.description import Schema, operations
from tools.apigen.document import Document, Place
from tools.apigen.marks import marks, own_summary
from tools.apigen.names import KEYWORDS, Names, default_models, default_summary, identifier, pascal, singular
from tools.apigen.schemas import JSON, LINES, Schemas
from tools.apigen.shapes import inner

_ORDER = ("operationId", "tags", "summary", "", "parameters", "requestBody", "responses", "x-errors")
_STEP = re.compile(r"([\w.:~@-]|{[^{}/]+})+", re.ASCII)
_NO_PARAMETERS = ("accept", "content-type", "authorization")  # headers that OpenAPI describes elsewhere


class Maker:
    """Makes operations, and on the way the schemas that they need."""

    def __init__(self, document: Document, names: Names, schemas: Schemas, base: str) -> None:
        self.document, self.names, self.schemas, self.base = document, names, schemas, base

    def operation(self, call: Call) -> Schema:
        """An operation; DocumentError for one that is not understood."""
        raw, thing = call.raw, pascal(singular(call.resource))
        base = next(default_models(call.resource, call.method, False))
        place = Place(raw["x-at"], call.name, thing, base)
        self._check(call, place)
        made: Schema = {"operationId": call.name, "tags": [call.resource], **self._marks(raw)}
        made["summary"] = own_summary(raw) or default_summary(call.resource, call.method)
        if "deprecated" in made and call.resource in self.names.replaced:
            made["x-replaced-by"] = f"{self.names.replaced[call.resource]}.{call.method}"
        security = raw.get("security", self.document.raw.get("security"))
        if security in ([], [{}]) or self.names.needs_no_token(call.route):
            made["security"] = []
        made["responses"] = self._answers(call, raw["responses"], place.at("responses"))
        given = [
            (one, evolve(at, owner=call.name, prefix=thing, base=base, given=True)) for one, at in raw["parameters"]
        ]
        made["parameters"] = [self._parameter(call, one, at) for one, at in given if _is_parameter(one)]
        if "requestBody" in raw:
            before = call.old.get("requestBody", {}).get("content", {}).get(JSON, {}).get("schema", {})
            body = self._body(raw["requestBody"], place.at("requestBody", given=True, old=before))
            made["requestBody"] = {"required": bool(body.get("required")), "content": {JSON: {"schema": body}}}
        log = LINES in next(iter(made["responses"].values())).get("content", {})
        plain = "security" not in made and all(one["in"] != "header" for one in made["parameters"])
        place.check(plain or not log, "a log with headers, or without a token, which no reader of logs could send")
        self._keywords(call, made, place)
        errors = {int(status) for status in raw["responses"] if status.isdecimal() and int(status) >= 400}
        made["x-errors"] = sorted((errors or set(raw.get("x-errors", ()))) | set(self.names.extra_errors(call.route)))
        return {key: made[key] for key in sorted(made, key=lambda key: _ORDER.index(key) if key in _ORDER else 3)}

    def _check(self, call: Call, place: Place) -> None:
        for part in call.path.strip("/").split("/"):
            place.check(_STEP.fullmatch(part), f"{json.dumps(part)} is no plain step of a path")
        servers = [one["url"] for one in call.raw["servers"]]
        other = f"another server ({', '.join(servers)}); tokens go to one only"
        place.at("servers").check(set(servers) <= {self.base}, other)
        sound = call.resource.isidentifier() and call.method.isidentifier()
        place.check(sound, "no name can be made of its path; name it in names.toml")

    def _marks(self, raw: Schema) -> Schema:
        return marks(raw, words_too=self.document.is_foreign)

    def _parameter(self, call: Call, raw: Schema, place: Place) -> Schema:
        name, where = str(raw["name"]), str(raw["in"])
        place.check(where in ("path", "query", "header"), f"a parameter in the {where}")
        place.check("schema" in raw, "a parameter without a schema")
        held = (one for one in call.old.get("parameters", ()) if (one["name"], one["in"]) == (name, where))
        old: Schema = next(held, Schema())
        schema = self.schemas.schema(
            raw["schema"], place.at("schema", field=name, text=True, old=old.get("schema", {}))
        )
        many = schema.get("type") == "array" and schema["items"].get("type") != "array" and where == "query"
        place.check(
            many
            or (schema.get("type") not in ("array", "object") and not {"$ref", "oneOf"} & schema.keys())
            or self.schemas.is_enum(schema),
            f"an object or a list in the {where} that no client could write in one way",
        )
        style = raw.get("style", "form") if where == "query" else "form"
        place.check(not many or style == "form", f"a list in the style {style}")
        made = {"name": name, "in": where, "required": bool(raw.get("required") or where == "path"), "schema": schema}
        if many and raw.get("explode") is False:
            made["explode"] = False
        if where == "path" and name in self.names.twice:
            made["x-twice"] = True
        word = old.get("x-word") or self.names.keyword(name, call.path)
        if word != identifier(name, KEYWORDS):
            made["x-word"] = word
        return made | self._marks(raw)

    def _body(self, raw: Schema, place: Place) -> Schema:
        """An object whose fields become keywords, or whatever else is given as one value."""
        raw, place = self.document.target(raw, place)
        _, schema, inside = self._content(raw, place, JSON)
        resolved, at = self.schemas.resolved(schema, inside)
        if (
            not resolved.get("properties")
            or resolved.get("type", "object") != "object"
            or {"oneOf", "anyOf"} & resolved.keys()
        ):
            return self.schemas.schema(schema, evolve(inside, names=(f"{place.prefix}Input",)))
        made = self.schemas.fields(resolved, at)
        further = resolved.get("additionalProperties", False)
        if further is not False:
            made["additionalProperties"] = self.schemas.schema(further, at.at("additionalProperties", old={}))
        return made

    def _content(self, raw: Schema, place: Place, *kinds: str) -> tuple[str, Schema, Place]:
        """The type and the schema of a body or an answer, and where the schema stands."""
        found = {kind.partition(";")[0].strip().lower(): kind for kind in raw["content"]}
        kind = next((kind for kind in kinds if kind in found), "")
        place.at("content").check(kind, f"no {' or '.join(kinds)}, but {', '.join(raw['content'])}")
        content = raw["content"][found[kind]]
        return kind, content.get("schema", {}), place.at("content", found[kind], "schema")

    def _answers(self, call: Call, raw: Schema, place: Place) -> Schema:
        """The successes, in an envelope with `data` or without, all alike; and the switch of a log to a WebSocket."""
        made: Schema = {}
        answered: Schema = next(iter(call.old.get("responses", {}).values()), Schema())
        before: Schema = answered.get("content", {})
        for status in sorted(status for status in raw if re.fullmatch(r"2(\d\d|XX)", status, re.IGNORECASE)):
            made[status] = self._answer(call, raw[status], place.at(status), before)
        live = "101" in raw
        if live and (not made or any(LINES in one.get("content", {}) for one in made.values())):
            made["101"] = {"description": ""}
            if len(made) == 1:
                made["101"] = self._answer(call, raw["101"], place.at("101"), before)
                place.at("101").check(
                    LINES in made["101"].get("content", {}), f"a WebSocket whose records no {LINES} describes"
                )
        place.check(made, "no success among them")
        successes = {json.dumps(answer) for status, answer in made.items() if status != "101"}
        place.check(len(successes) <= 1, "successes that differ; one answer is what a method can give")
        return made

    def _answer(self, call: Call, raw: Schema, place: Place, old: Schema) -> Schema:
        raw, place = self.document.target(raw, place)
        made: Schema = {"description": ""}
        if not raw.get("content"):
            return made
        kind, schema, inside = self._content(raw, place, JSON, LINES)
        opens = self.schemas.opens(schema, inside)
        names = list(default_models(call.resource, call.method, opens))
        prefix = call.model or names[0]
        beside = {"data", "pagination"} < self.schemas.resolved(schema, inside)[0].get("properties", {}).keys()
        if beside and not call.known:  # what stands beside `data` becomes fields of its model, so it must be a new one
            names = [name for name in names if name not in self.schemas.made] or names
        inside = evolve(
            inside, owner=prefix, prefix=prefix, name=call.model, names=names, old=old.get(kind, {}).get("schema", {})
        )
        whole, at = self.schemas.resolved(schema, inside)
        fields = dict(whole.get("properties", {}))
        data = self.document.target(fields.get("data", {}), at.at("properties", "data"))[0]
        if "data" not in fields or (len(fields) > 1 and self.schemas.is_scalar(data)):
            made["content"] = {kind: {"schema": self.schemas.schema(schema, inside)}}
            return made
        envelope = self.schemas.fields(
            {**whole, "properties": {**fields, "data": {}}},
            evolve(at, owner=call.name, name=None, names=()),
        )
        envelope["properties"]["data"] = self.schemas.schema(
            fields["data"], at.at("properties", "data", old=inner(at, "properties", "data"))
        )
        self._check_envelope(envelope, at)
        made["content"] = {kind: {"schema": envelope}}
        return made

    def _check_envelope(self, envelope: Schema, place: Place) -> None:
        """That the core can take it apart."""
        data, beside = envelope["properties"]["data"], envelope["properties"].keys() - {"data"}
        at = place.at("properties", "data")
        listed = data.get("type") == "array"
        at.check(data.get("type") != ["array", "null"], "a list that may be null")
        at.check(
            not beside or listed or "$ref" in data,
            f"beside {', '.join(sorted(beside))} only a list or an object can stand",
        )
        paging = self.schemas.made.get(
            envelope["properties"].get("pagination", {}).get("$ref", "").rpartition("/")[2], {}
        )
        place.at("properties", "pagination").check(
            not listed or "pagination" not in beside or "hasMore" in paging.get("properties", ()),
            "pages without `hasMore`; nothing tells whether the list goes on",
        )

    def _keywords(self, call: Call, made: Schema, place: Place) -> None:
        """Give a keyword that comes twice, or is no name, another one."""
        ids = re.findall(r"{(.*?)}", call.path)
        found = [one["name"] for one in made["parameters"] if one["in"] == "path"]
        place.check(sorted(ids) == sorted(found), "the ids in the path are not its parameters")
        arguments = next(operations({"paths": {call.path: {call.http: made}}})).arguments
        taken = {one.word for one in arguments if one.where == "live"}
        for one in [one for one in arguments if one.where != "live"]:
            word = one.word if one.word not in taken else f"{one.word.rstrip('_')}_{one.where}"
            place.check(word.isidentifier() and word not in taken, f"no keyword can be made of {json.dumps(one.key)}")
            taken.add(word)
            if word != one.word:
                one.raw["x-word"] = word


def _is_parameter(raw: Schema) -> bool:
    return not (raw["in"] == "header" and str(raw["name"]).lower() in _NO_PARAMETERS)
