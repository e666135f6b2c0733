"""A model and a method as Python source, before formatting."""

import re
from textwrap import fill, indent

from attrs import frozen

from tools.apigen.description import Argument, Operation, Schema, literal, python_type, refs, split_null
from tools.apigen.names import FIELDS, camel, identifier, sentence, snake

TAB, _CODE, _TEXT = "    ", 116, 108  # the indent, and the widths of a statement and of words
_MAYBE_MISSING = "# None if null or missing:"
_ERRORS = {
    400: "BadRequestError",
    403: "PermissionDeniedError",
    404: "NotFoundError",
    409: "ConflictError",
    422: "UnprocessableEntityError",
}
_USUAL = (400, 403, 422, 404)  # wrong arguments, a token that may not, and, if it takes ids, an unknown one


def docstring(*paragraphs: str) -> str:
    """Paragraphs, wrapped but for those that have line breaks of their own."""
    text = "\n\n".join(one if "\n" in one else fill(one, _TEXT) for one in paragraphs if one)
    text = text.replace("\\", "\\\\").replace('"""', '\\"""')
    return f'"""{text}\n"""' if "\n" in text else f'"""{text}"""'


@frozen
class Uses:
    """What models are for: callers fill in the `given` ones, `members` belong to a union, `answered` ones we read."""

    given: set[str]
    members: set[str]
    answered: set[str]


def model(name: str, schema: Schema, uses: Uses) -> str:
    """An alias; or a class: what is always there, then what may be missing, then the tag of a union's member."""
    if "enum" in schema:
        return f"{name}: TypeAlias = Literal[{', '.join(map(literal, schema['enum']))}] | str"
    always, maybe, last = list[str](), list[str](), list[str]()
    for key, value in schema["properties"].items():
        if key == "type" and name in uses.members and "const" in value:
            last.append(_field(key, value, f"Literal[{literal(value['const'])}]", literal(value["const"])))
        elif _is_sure(name, key, value, schema, uses):
            always.append(_field(key, value, python_type(value), ""))
        elif name in uses.given and split_null(value)[1]:
            maybe.append(_field(key, value, f"{python_type(split_null(value)[0])} | Unset | None", "UNSET"))
        else:
            kind = python_type(split_null(value)[0])
            maybe.append(_field(key, value, kind if kind == "None" else f"{kind} | None", "None"))
    if maybe and name in uses.answered:
        maybe = [_MAYBE_MISSING, *maybe]
    words = docstring(schema.get("description") or sentence(snake(name)))
    return f"@define\nclass {name}(Model):\n" + indent("\n".join([words, "", *always, *maybe, *last]), TAB)


def _is_sure(name: str, key: str, value: Schema, schema: Schema, uses: Uses) -> bool:
    """Whether a field is always there: what is null, or deprecated and only read, may go one day."""
    if key not in schema["required"]:
        return False
    return name in uses.given or not (split_null(value)[1] or "deprecated" in value or value.get("type") == "null")


def _field(key: str, value: Schema, kind: str, default: str) -> str:
    word = value.get("x-word") or identifier(key, FIELDS)
    if camel(word) != key:
        given = f"default={default}, " if default else ""
        default = f'field({given}metadata={{"key": {literal(key)}}})'
    marks = [mark.removeprefix("x-") for mark in ("deprecated", "x-experimental") if mark in value]
    note = value.get("description") or ", ".join(marks)
    return f"{word}: {kind}" + (f" = {default}" if default else "") + (f"  # {note}" if note else "")


@frozen
class Verb:
    """The verb of the core that a method calls, what comes of it, and what the verb takes first."""

    name: str
    result: str
    first: str = ""

    @property
    def awaited(self) -> bool:
        return not self.result.startswith(("Pager", "LogStream"))


class Method:
    """A method of a resource."""

    def __init__(self, one: Operation, schemas: Schema, methods: set[str], replacement: str | None) -> None:
        self.one, self.schemas, self.replacement = one, schemas, replacement
        self.arguments = one.arguments
        self.shadowed = "list" in methods  # by the method of that name, in the class that this one stands in
        self.verb = self._verb()

    def source(self) -> str:
        """The method, its decorator included."""
        lines = [self._words(), *self._masks()]
        parts = self._parts()
        for name in sorted(("route", "body", "query", "headers"), key=lambda name: -len(parts.get(name, ""))):
            if len(self._call(parts)) > _CODE and parts.get(name, "").endswith(("}", ")")):  # the longest first
                lines.append(f"{name} = {parts[name]}")
                parts[name] = name
        lines.append(self._call(parts))
        head = f"@deprecated({literal(self._instead())})\n" if "deprecated" in self.one.raw else ""
        head += "async def" if self.verb.awaited else "def"
        return f"{head} {self.one.method}({self._signature()}) -> {self.verb.result}:\n" + indent("\n".join(lines), TAB)

    def _instead(self) -> str:
        return f"Use {self.replacement} instead." if self.replacement else "The API deprecates it."

    def _verb(self) -> Verb:
        one, (kind, schema) = self.one, self.one.answer
        http = one.http.upper()
        if schema is None:
            plain = http == "DELETE" and one.body is None
            return Verb("_delete", "None") if plain else Verb("_send", "None", f'"{http}"')
        if kind.endswith("ndjson"):
            models = ", ".join(python_type(member) for member in schema["oneOf"])
            return Verb("_stream", f"LogStream[{models}]", models)
        inner = schema["properties"]["data"] if one.enveloped else schema
        if inner.get("type") == "array" and http == "GET" and one.body is None:
            return Verb(self._listing(schema), f"Pager[{python_type(inner['items'])}]", self._kind(inner["items"]))
        result, first = python_type(inner), self._kind(inner)
        if self.shadowed:
            result, first = (re.sub(r"\blist\[", "builtins.list[", text) for text in (result, first))
        if http in ("HEAD", "DELETE") or (http == "GET" and one.body is not None):
            return Verb("_request", result, f'{first}, "{http}"')
        return Verb(f"_{one.http}", result, first)

    def _listing(self, schema: Schema) -> str:
        pagination = schema.get("properties", {}).get("pagination")
        if pagination is None:
            return "_list"
        goes_on = "nextCursor" in self.schemas[refs(pagination)[0]]["properties"]
        asked = any(one.key == "cursor" and one.where == "query" for one in self.arguments)
        return "_pages" if goes_on and asked else "_single_page"

    def _kind(self, schema: Schema) -> str:
        """A type as an argument; what is no class, such as a union, is passed off as one."""
        text = python_type(schema)
        if text == "JSON":
            return "object"
        is_class = " | " not in re.sub(r"\[.*\]", "", text) and "enum" not in self.schemas.get(text, ())
        return text if is_class else f'cast("type[{text}]", {text})'

    def _signature(self) -> str:
        ids = [f"{one.word}: {one.type}" for one in self.arguments if one.where == "path"]
        rest = [one for one in self.arguments if one.where != "path"]
        keywords = [f"{one.word}: {one.type}" for one in sorted(rest, key=lambda one: not one.required)]
        if self.verb.name == "_delete":
            keywords.append("missing_ok: bool = False")
        return ", ".join(["self", *ids, *(["*"] if keywords else []), *keywords])

    def _masks(self) -> list[str]:
        """Secrets are masked from here on, so that no traceback of ours shows them."""
        lines: list[str] = []
        for one in self.arguments:
            rest, nullable = split_null(one.schema)
            if rest.get("format") == "password":
                maybe = f"{one.word} and " if nullable or not one.required else ""
                lines.append(f"{one.word} = {maybe}Secret({one.word})")
        return lines

    def _parts(self) -> dict[str, str]:
        """What is sent where, as expressions; those that need a name have one."""
        ids = [f"quoted({one.word})" if "x-twice" in one.raw else one.word for one in self._at("path")]
        template, listed = literal(re.sub(r"{.*?}", "{}", self.one.path)), ", ".join(ids)
        route = ", ".join([template, listed] if ids else [template])
        if len(route) > _TEXT:  # on two lines, not one for each id
            route = f"{template}, *({listed})"
        parts = {"route": f"path({route})" if ids else route, "body": self._body()}
        parts["query"] = _dict([f"{literal(one.key)}: {self._value(one)}" for one in self._at("query")])
        parts["headers"] = self._headers()
        parts["live"] = "".join(one.word for one in self._at("live")) or (
            "True" if [*self.one.raw["responses"]] == ["101"] else ""
        )
        reads = self.verb.name in ("_get", "_list", "_post", "_put", "_patch", "_request")
        parts["bare"] = "True" if reads and not self.one.enveloped else ""
        parts["token"] = "False" if self.one.raw.get("security") == [] else ""
        parts["missing_ok"] = "missing_ok" if self.verb.name == "_delete" else ""
        return parts

    def _at(self, where: str) -> list[Argument]:
        return [one for one in self.arguments if one.where == where]

    def _body(self) -> str:
        found = self._at("body")
        if [one.key for one in found] == [""]:
            return found[0].word
        further = [f"**({one.word} or {{}})" for one in found if one.key == "*"]
        return _dict([*further, *(f"{literal(one.key)}: {self._value(one)}" for one in found if one.key != "*")])

    def _value(self, one: Argument) -> str:
        rest, _ = split_null(one.schema)
        known = self.schemas.get(rest.get("$ref", "").rpartition("/")[2], rest)
        if "anyOf" in known or (known.get("type") == "string" and {"enum", "const"} & known.keys()):
            return f'choice("{one.word}", {one.word})'
        if "explode" in one.raw:
            return f'",".join({one.word})' if one.required else f'{one.word} and ",".join({one.word})'
        return one.word

    def _headers(self) -> str:
        found = self._at("header")
        texts = _dict([f"{literal(one.key)}: {self._header(one)}" for one in found])
        if all(one.required for one in found):
            return texts
        return f"{{key: value for key, value in {texts}.items() if value is not None}}"

    def _header(self, one: Argument) -> str:
        """A header's value as text; None if it is left out."""
        kind = python_type(split_null(one.schema)[0], given=True)
        if kind in ("str", "Secret") or kind in self.schemas:
            return one.word
        ways = {"bool": f"str({one.word}).lower()", "datetime": f"{one.word}.isoformat()"}
        text = ways.get(kind, f"str({one.word})")
        return text if one.required else f"{one.word} if {one.word} is None else {text}"

    def _call(self, parts: dict[str, str]) -> str:
        """The statement that sends."""
        by_name = {"query"} if self.verb.name in ("_post", "_put", "_patch", "_send", "_request") else set[str]()
        by_name |= parts.keys() - {"route", "body", "query"}
        given = [self.verb.first] if self.verb.first else []
        given += [f"{name}={part}" if name in by_name else part for name, part in parts.items() if part]
        call = f"self.{self.verb.name}({', '.join(given)})"
        call = f"await {call}" if self.verb.awaited else call
        return call if self.verb.result == "None" else f"return {call}"

    def _words(self) -> str:
        raw, route = self.one.raw, self.one.route
        route += " (experimental)" if "x-experimental" in raw else ""
        if len(route) > _TEXT:
            cut = route.rindex("/", 0, _TEXT - 16)
            route = f"{route[:cut]}\n{TAB}{route[cut:]}"
        about = [raw["description"]] if "description" in raw else []
        for one in self.arguments:
            for mark in ("deprecated", "x-experimental"):
                if mark in one.raw and not re.search(f"`{one.word}`[^.]*{mark[-10:]}", " ".join(about)):
                    about.append(f"`{one.word}` is {mark.removeprefix('x-')}.")
        if self.verb.name == "_pages" and any(one.word == "limit" for one in self.arguments):
            about.append("`limit` is the size of a page.")
        return docstring(raw["summary"], " ".join([*about, self._raises()]).strip(), route)

    def _raises(self) -> str:
        """The errors that an answer stands for, but for those that any call or any id may meet."""
        known: Schema = self.one.raw.get("x-raises", {})
        if known == {} and "x-raises" in self.one.raw:
            return ""  # the words say it all
        usual = _USUAL if self._at("path") else _USUAL[:-1]
        found = {_ERRORS[status] for status in self.one.raw["x-errors"] if status in _ERRORS and status not in usual}
        plain = [name for name in _ERRORS.values() if name in found and name not in known]
        told = [", ".join(plain)] if plain else []
        told += [f"{name}: {reason}" for name, reason in known.items()]
        return f"Raises {'; '.join(told)}." if told else ""


def _dict(pairs: list[str]) -> str:
    return "{" + ", ".join(pairs) + "}" if pairs else ""
