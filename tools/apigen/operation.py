"""Reads the operations of a document into the form of a description. They have no names yet, and no references."""

import re

from attrs import evolve

from prisma_mgmt.checks import TOKEN
from tools.apigen.description import JSON, LINES, METHODS, PARAMETERS, Operation
from tools.apigen.document import OURS, Node, check
from tools.apigen.plain import plain
from tools.apigen.schemas import Schema, shape, split_null

_PATH = re.compile(r"(/(?!\.{1,2}(/|$))([\w.:~@-]|{[^{}/]+})+)+/?", re.ASCII)  # what can be appended to a server
_NO_PARAMETERS = ("accept", "content-type", "authorization")  # headers that OpenAPI describes elsewhere


def read(path: str, http: str, item: Node, base: str) -> Operation:
    """An operation; DocumentError for one that is not understood. `base` is the server that the client talks to."""
    node, raw, own = item.at(http), item.value[http], item.names.own
    node.check(http in METHODS, f"a client has no use for {http.upper()}")
    one = Operation(path, http, {**node.marks(), **node.summary()}, pointer=node.pointer)
    security: list[Schema] | None = raw.get("security", node.root.get("security"))
    if security in ([], [{}]) or one.route in own["tokenless"]:
        one.raw["security"] = []
    schemes = node.root.get("components", {}).get("securitySchemes", {})
    ours = [all(_is_bearer(schemes.get(name, {})) for name in names) for names in security or [Schema()]]
    node.check(any(ours), "a token that is not sent as a Bearer")
    one.raw["parameters"] = _parameters(item, node)
    if "requestBody" in raw:
        _, content = _content(node.at("requestBody", place="body").target(), JSON)
        body = plain(content, whole=True)
        one.raw["requestBody"] = {"required": bool(body.get("required")), "content": {JSON: {"schema": body}}}
    one.raw["responses"] = _answers(node.at("responses"))
    errors = {int(status) for status in raw["responses"] if status.isdecimal() and int(status) >= 400}
    one.raw["x-errors"] = sorted({*(errors or raw.get("x-errors", ())), *own["errors"].get(one.route, ())})
    _check(one, node, base, [server["url"] for server in raw.get("servers", item.value.get("servers", []))])
    return one


def _is_bearer(scheme: Schema) -> bool:
    kind, how = scheme.get("type"), str(scheme.get("scheme", scheme.get("name"))).lower()
    return kind not in ("apiKey", "http") or how in ("bearer", "authorization")


def _check(one: Operation, node: Node, base: str, urls: list[str]) -> None:
    node.check(_PATH.fullmatch(one.path), f"{one.path!r} is no plain path")
    check({*urls} <= {base}, f"{node.pointer}/servers", f"another server ({', '.join(urls)}); tokens go to one only")
    ids = sorted(part["name"] for part in one.raw["parameters"] if part["in"] == "path")
    node.check(ids == sorted(re.findall(r"{(.*?)}", one.path)), "the ids in the path are not its parameters")
    bare = "security" not in one.raw and all(part["in"] != "header" for part in one.raw["parameters"])
    log = one.answer[0] == LINES
    node.check(bare or not log, "a log with headers, or without a token, which no reader of logs could send")


def _parameters(*owners: Node) -> list[Schema]:
    """Those of the path and of the method, which stand in for the former of the same name."""
    found: dict[tuple[str, str], Node] = {}
    for owner in owners:
        for i in range(len(owner.value.get("parameters", ()))):
            node = owner.at("parameters", i, place="parameter").target()
            node.check({"name", "in"} <= node.value.keys(), "a parameter without name or place")
            name, where = str(node.value["name"]), str(node.value["in"])
            if where != "header" or name.lower() not in _NO_PARAMETERS:
                found[name, where] = node
    return [_parameter(name, where, node) for (name, where), node in found.items()]


def _parameter(name: str, where: str, node: Node) -> Schema:
    raw = node.value
    node.check(where in PARAMETERS, f"a parameter in the {where}")
    node.check("schema" in raw, "a parameter without a schema")
    node.check(where != "header" or TOKEN.fullmatch(name), "a header whose name cannot be sent")
    schema = plain(node.at("schema", field=name))
    bare, _ = split_null(schema)
    many = bare.get("type") == "array" and where == "query"
    inner = bare["items"] if many else bare
    single = "oneOf" not in inner and inner.get("type") not in ("array", "object")
    node.check(single, f"an object or a list in the {where} that no client could write in one way")
    style = raw.get("style", PARAMETERS[where])
    node.check(style == PARAMETERS[where], f"a {'list' if many else 'value'} in the style {style}")
    made = {"name": name, "in": where, "required": bool(raw.get("required") or where == "path"), "schema": schema}
    made |= {"explode": False} if many and raw.get("explode") is False else {}
    made |= {"x-twice": True} if where == "path" and name in node.names.twice else {}
    return made | node.marks()


def _answers(node: Node) -> Schema:
    """The successes, all alike; and the switch of a log to a WebSocket, which may be all that there is."""
    found = sorted(status for status in node.value if re.fullmatch(r"2(\d\d|XX)", status, re.IGNORECASE))
    found = found or sorted(node.value.keys() & {"101"})
    node.check(found, "no success among them")
    first, *_ = answers = [_answer(node.at(status).target()) for status in found]
    kinds = [{kind: shape(one["schema"], {}) for kind, one in answer.get("content", {}).items()} for answer in answers]
    node.check(all(one == kinds[0] for one in kinds), "successes that differ; one answer is what a method can give")
    made, log = dict.fromkeys(found, first), LINES in first.get("content", {})
    node.at(found[0]).check(log or found[0] != "101", f"a WebSocket whose records no {LINES} describes")
    if log and "101" in node.value:
        made.setdefault("101", {"description": ""})
    return made


def _answer(node: Node) -> Schema:
    if not node.value.get("content"):
        return {"description": ""}
    kind, whole = _content(node, JSON, LINES)
    schema = plain(whole)
    ends = kind != LINES or len(schema.get("oneOf", ())) == 2
    whole.check(ends, "a log whose lines are not of two kinds, a record and an end")
    is_model = OURS in node.root and "$ref" in whole.value  # even if merging has made it look like an envelope
    if not is_model and _is_envelope(schema):
        del schema["x-at"]  # it gets no name
    return {"description": "", "content": {kind: {"schema": schema}}}


def _is_envelope(schema: Schema) -> bool:
    """Return True for `{"data": …}` that the core can take apart: beside others, `data` is a list or an object."""
    found: Schema = schema.get("properties", {}) if schema.get("type") == "object" else {}
    data, nullable = split_null(found.get("data", {}))
    if data.get("type") == "array":
        page = found.get("pagination", {"properties": ["hasMore"]})
        ends = "hasMore" in page.get("properties", ())
        check(ends, page.get("x-at", schema["x-at"]), "pages without `hasMore`; nothing tells whether the list goes on")
        check(not nullable, schema["x-at"], "`data` is a list that may be null")
        return True
    return "data" in found and (len(found) == 1 or ("properties" in data and not nullable))


def _content(node: Node, *kinds: str) -> tuple[str, Node]:
    """The type and the schema of a body or an answer."""
    found = {kind.partition(";")[0].strip().lower(): kind for kind in node.value["content"]}
    kind = next((kind for kind in kinds if kind in found), "")
    node.at("content").check(kind, f"no {' or '.join(kinds)}, but {', '.join(node.value['content'])}")
    media = node.at("content", found[kind])
    return kind, media.at("schema") if "schema" in media.value else evolve(media, value={})
