"""A model and a method of a description, as the pieces that templates/module.py.jinja puts together."""

import re
from inspect import getfullargspec

from attrs import frozen

from prisma_mgmt.core.resource import Resource
from tools.apigen.description import LINES, Operation, Part, fields
from tools.apigen.schemas import Schema, marks, python_type, refs

_CODE, _TEXT = 116, 108  # the widths of a statement and of words
# Of the errors that docs/operations.md does not tell of any call: 404 is of any call that has ids in its path.
_ERRORS = {404: "NotFoundError", 409: "ConflictError"}
Typed = list[tuple[Part, str, str]]  # fields with their types and defaults


@frozen
class Model:
    """A class, or an alias of what an enumeration has."""

    name: str
    schema: Schema
    is_given: bool  # callers fill it in
    is_member: bool  # of a union
    is_answered: bool

    @property
    def parts(self) -> list[Part]:
        return fields(self.name, "", self.schema)

    @property
    def fields(self) -> tuple[Typed, Typed, Typed]:
        """What is always there, what may be missing, and the tag of a union's member."""
        always, maybe, tags = Typed(), Typed(), Typed()
        for part in self.parts:
            kind = python_type(part.bare)
            may_go = part.nullable or kind == "None" or "deprecated" in part.bare  # one day, where we only read it
            if part.key == "type" and self.is_member and "const" in part.bare:
                tag = repr(part.bare["const"])
                tags.append((part, f"Literal[{tag}]", tag))
            elif part.required and (self.is_given or not may_go):
                always.append((part, python_type(part.schema), ""))
            elif self.is_given and part.nullable:
                maybe.append((part, f"{kind} | Unset | None", "UNSET"))
            else:
                maybe.append((part, kind if kind == "None" else f"{kind} | None", "None"))
        return always, maybe, tags


@frozen
class Method:
    """A method of a resource."""

    one: Operation
    schemas: Schema  # the models and enumerations of the description
    names: set[str]  # of all methods

    @property
    def verb(self) -> tuple[str, list[str], str]:
        """The verb of the core that is called, what it takes first, and the annotation of what comes of it."""
        one, http, data = self.one, self.one.http.upper(), self.one.data
        if data is None:
            plain = http == "DELETE" and one.body is None
            return ("_delete", [], "None") if plain else ("_send", [f'"{http}"'], "None")
        if one.answer[0] == LINES:
            return "_stream", refs(data), f"LogStream[{', '.join(refs(data))}]"
        if data.get("type") == "array" and http == "GET" and one.body is None:
            return self._listing(), [self._class(data["items"])], f"Pager[{python_type(data['items'])}]"
        result, first = python_type(data), self._class(data)
        if f"{one.resource}.list" in self.names:  # it hides the type from the annotations of its class
            result, first = (re.sub(r"\blist\[", "builtins.list[", text) for text in (result, first))
        if http in ("HEAD", "DELETE") or (http == "GET" and one.body is not None):
            return "_request", [first, f'"{http}"'], result
        return f"_{one.http}", [first], result

    @property
    def is_awaited(self) -> bool:
        return not self.verb[2].startswith(("Pager", "LogStream"))

    def _listing(self) -> str:
        pagination = refs(self.one.envelope.get("pagination"))
        if not pagination:
            return "_list"
        asked = any(part.key == "cursor" for part in self.at("query"))
        return "_pages" if asked and "nextCursor" in self.schemas[pagination[0]]["properties"] else "_single_page"

    def _class(self, schema: Schema) -> str:
        """A type as an argument; what is no class, such as a union, is passed off as one."""
        text = python_type(schema)
        if "enum" in self.schemas.get(text, ()):
            return "str"
        is_class = " | " not in re.sub(r"\[.*\]", "", text)
        return "object" if text == "JSON" else text if is_class else f'cast("type[{text}]", {text})'

    def at(self, place: str) -> list[Part]:
        return [part for part in self.one.arguments if part.where == place]

    def statements(self, given: dict[str, str]) -> list[str]:
        """What is too long to stand in the call, the longest first; and the call, of what the verb is given."""
        lines = list[str]()
        for name in sorted(("route", "body", "query", "headers"), key=lambda name: -len(given[name])):
            if len(self._call(given)) > _CODE and given[name].endswith(("}", ")")):
                lines.append(f"{name} = {given[name]}")
                given |= {name: name}
        return [*lines, self._call(given)]

    def _call(self, given: dict[str, str]) -> str:
        """The statement that sends."""
        name, first, result = self.verb
        by_position = {"route", *getfullargspec(getattr(Resource, name)).args}
        told = [text if key in by_position else f"{key}={text}" for key, text in given.items() if text]
        call = f"{'await ' if self.is_awaited else ''}self.{name}({', '.join([*first, *told])})"
        return call if result == "None" else f"return {call}"

    @property
    def words(self) -> list[str]:
        """The paragraphs of the docstring: the summary, the rest, the route."""
        raw, route = self.one.raw, self.one.route + (" (experimental)" if "x-experimental" in self.one.raw else "")
        if len(route) > _TEXT:
            cut = route.rindex("/", 0, _TEXT - 16)
            route = f"{route[:cut]}\n    {route[cut:]}"
        about = str(raw.get("description", ""))
        marked = [(part.word, mark) for part in self.one.arguments for mark in marks(part.raw)]
        told = [f"`{word}` is {mark}." for word, mark in marked if not re.search(f"`{word}`[^.]*{mark}", about)]
        if self.verb[0] == "_pages" and any(part.word == "limit" for part in self.at("query")):
            told.append("`limit` is the size of a page.")
        return [raw["summary"], " ".join(filter(None, [about, *told, self._raises()])), route]

    def _raises(self) -> str:
        """The errors that an answer stands for, but for those that any call or any id may meet."""
        known: dict[str, str] = self.one.raw.get("x-raises", {})
        if not known and "x-raises" in self.one.raw:
            return ""  # the words say it all
        usual = {404} if self.at("path") else set[int]()
        found = [_ERRORS[status] for status in sorted(_ERRORS.keys() & set(self.one.raw["x-errors"]) - usual)]
        plain = ", ".join(name for name in found if name not in known)
        told = "; ".join(filter(None, [plain, *(f"{name}: {reason}" for name, reason in known.items())]))
        return f"Raises {told}." if told else ""
