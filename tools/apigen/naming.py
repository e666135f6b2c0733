"""Names for the objects and the enumerations of plain schemas: those of names.toml, those committed, and defaults.

A name that is listed or committed may hold several variants of a shape, which are merged: a field that one of them
lacks is optional; what could not be one with them gets another name. Any other name stands for one shape only.
"""

from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy
from itertools import chain, count

from attrs import evolve, frozen

from tools.apigen.description import PARAMETERS, Operation, Part, fields, parts
from tools.apigen.names import IMPORTED, Names, default_models, default_summary, pascal, singular
from tools.apigen.schemas import MARKS, MergeError, Schema, merge, parted, refs, shape, tag_of, with_null, without


@frozen
class Spot:
    """Where a schema stands, as far as names are made of it."""

    owner: str  # the model or the operation
    prefix: str  # what default names begin with
    base: str = ""  # the thing that the operation is about, whose parts look alike in all of its models
    was: str = ""  # the same spot in the committed description
    field: str = ""  # of the owner, or the member of a union; empty for an answer or a body as a whole
    member: str = ""  # the constant `type` of a member of a union
    given: bool = False  # by the caller, in a request
    model: str | None = None  # what names.toml calls the answer
    names: Sequence[str] = ()  # the defaults for an answer or a body as a whole
    fresh: bool = False  # whatever looks like it has another name
    within: tuple[str, ...] = ()  # the models that it is a part of


def give_words(found: list[Part], preferred: Mapping[str, str]) -> None:
    """Give parts that would have the same name in Python, or are preferred to have another, a word."""
    taken: list[str] = []
    for one in sorted(found, key=lambda one: (one.where != "live", one.spot not in preferred)):
        word = preferred.get(one.spot, one.word)
        options = [word, *(f"{word.rstrip('_')}_{end}" for end in (one.where or 2, *range(2, len(found) + 2)))]
        taken.append(next(option for option in options if option not in taken))
        if taken[-1] != one.word:
            one.raw["x-word"] = taken[-1]


class Shapes:
    """The named schemas, as they are made, and what the committed description names and says at each spot."""

    def __init__(self, names: Names, committed: Schema, resources: set[str]) -> None:
        self.names, self.taken = names, IMPORTED | {pascal(one) for one in resources}
        self.committed: Schema = committed.get("components", {}).get("schemas", {})
        self.words = {part.spot: part.word for part in parts(committed)}
        self.held = {part.spot: refs(part.schema) for part in parts(committed)}  # the names at a spot, or made for it
        # The shape of each name, be it committed or made.
        self.known = {name: shape(schema, self.committed) for name, schema in self.committed.items()}
        self.trees: dict[str, Schema] = {}  # all variants of what has a name as one, whose parts have no names yet
        self.made: dict[str, Schema] = {}
        self.origin: dict[str, str] = {}  # of default names: how the table would list them

    def name(self, part: Part, at: Spot) -> None:
        """Put references to what has a name now in the place of the objects and enumerations in a part's schema."""
        key = "" if (part.where, part.key) in (("answer", "data"), ("body", "*")) else part.key
        self._name(part.schema, evolve(at, field=key, was=part.spot))

    def _name(self, schema: Schema, at: Spot) -> None:
        tree, nullable, notes = parted(schema)
        if "properties" in tree or "enum" in tree:
            tree = self._reference(tree, at)
        elif "oneOf" in tree:
            tags = [str(tag_of(one)) for one in tree["oneOf"]]
            spots = [evolve(at, field=at.field or tag, member=tag, model=None) for tag in tags]
            tree |= {"oneOf": list(map(self._reference, tree["oneOf"], spots))}
        elif tree.get("type") == "string" and "const" not in tree:
            form = tree.get("format")
            masked: Schema = {"format": "password"} if self.names.is_secret(at.owner, at.field, form) else {}
            tree = without(tree, "format") | masked if masked or form == "password" else tree
        for key in tree.keys() & {"items", "additionalProperties"}:
            self._name(tree[key], at)
        schema.clear()
        schema.update(with_null(tree, nullable) | notes)

    def _reference(self, tree: Schema, at: Spot) -> Schema:
        """A reference to what gets the name of the table or of the committed description; else a name that is free."""
        kind, tag, part = "enums" if "enum" in tree else "models", tag_of(tree), at.field
        keys = [f"{part}.{tag}", part] if tag else [part]
        held = [name for name in self.held.get(at.was, ()) if ("enum" in self.known[name]) == ("enum" in tree)]
        if at.member or len(held) > 1:  # in a union; what stands alone keeps its name, whatever its tag is
            held = [name for name in held if tag_of(self.committed.get(name, self.known[name])) == tag]
        before = next(iter(held), None)
        shared, own = self.names.given(kind, keys), [f"{at.owner}.{key}" for key in (*keys, tag)]
        wanted = [at.model, self.names.given(kind, own), before, *{shared}.difference(self.committed)]
        name = next((name for name in wanted if name and self._fits(name, tree, at)), None)
        if not name:
            # The first default name that nothing has, or only this shape.
            own_shape = None if at.fresh else shape(tree, {})  # None is like no shape
            name = next(one for one in self._options(tree, at, shared) if self.known.get(one, own_shape) == own_shape)
            if name not in self.known and (part not in ("", "pagination") or at.model):
                self.origin[name] = f'{kind}: "{at.owner}.{part}"'
        self._make(name, tree, at, before or name)
        return {"$ref": f"#/components/schemas/{name}"}

    def _fits(self, name: str, tree: Schema, at: Spot) -> bool:
        """Return False if by that name a shape would hold itself, or be one with what differs in kind or in its tag."""
        held = self.trees.get(name, tree)
        try:
            tag = tag_of(merge(held, tree, name))
        except MergeError:
            return False
        return name not in at.within and tag == (tag_of(held) or tag_of(tree))

    def _options(self, tree: Schema, at: Spot, shared: str | None) -> Iterator[str]:
        """Names for a shape, the best first: the table's, that of a reference, and what its spot suggests."""
        options = [shared] if shared else []
        stands = str(tree["x-at"]).removeprefix("#/components/schemas/")
        options += [pascal(stands)] if stands.isidentifier() else []
        if at.field or not at.names:
            twice = at.member and at.prefix.endswith(pascal(at.member))
            noun = "Record" if twice else pascal(singular(at.member or at.field))
            options += ["Pagination"] if at.field == "pagination" else []  # one will do for all lists
            options += [at.base + noun] if at.base + noun in self.made else []
            options += [at.prefix + noun]
            options += [at.prefix + noun + ("Choice" if "enum" in tree else "Input")] if at.given else []
        else:
            options += at.names
        for name in chain(options, (f"{options[-1]}{n}" for n in count(2))):
            yield f"{name}Info" if name in self.taken else name

    def _make(self, name: str, tree: Schema, at: Spot, before: str) -> None:
        tree = merge(self.trees.get(name, tree), tree, name)
        self.trees[name], self.known[name] = tree, shape(tree, {})
        self.made[name] = deepcopy(without(tree, "x-at"))
        found = fields(before, "", self.made[name])
        for part in found:
            if "enum" in part.schema:
                part.schema.setdefault("x-at", tree["x-at"])  # constants of several variants
            self.name(part, Spot(name, name, at.base, given=at.given, within=(*at.within, name)))
        self.held |= {part.spot: refs(part.schema) for part in found}
        give_words(found, self.words)


def described(one: Operation, shapes: Shapes) -> Schema:
    """An operation as a description has it, with names for its shapes."""
    names, thing = shapes.names, pascal(singular(one.resource))
    plain = {part.spot: names.keyword(part.key, one.path) for part in one.arguments if part.where in PARAMETERS}
    give_words(one.arguments, plain | shapes.words)
    answer, *_ = whole = list(default_models(one.resource, one.method, _opens(one, names)))
    base = next(default_models(one.resource, one.method, False))
    # What stands beside `data` becomes fields of its model, so that no other answer may have that.
    fresh = "properties" in (one.data or ()) and len(one.envelope) > 1
    owner = one.model or answer
    at = Spot(owner, owner, base, model=one.model, names=whole, fresh=fresh)
    for part in one.answered:
        shapes.name(part, at if part.key in ("", "data") else Spot(one.name, owner, base))
    for part in one.arguments:
        shapes.name(part, Spot(one.name, thing, base, given=True, names=(f"{thing}Input",)))
    made: Schema = {"operationId": one.name, "tags": [one.resource]}
    made["summary"] = one.raw.get("summary", default_summary(one.resource, one.method))
    made |= {mark: True for mark in MARKS if mark in one.raw}
    if "deprecated" in made and one.resource in names.own["replaced"]:
        made["x-replaced-by"] = f"{names.own['replaced'][one.resource]}.{one.method}"
    return {**made, **without(one.raw, *made)}


def _opens(one: Operation, names: Names) -> bool:
    """Return True if an answer holds a secret."""
    held = (one.data or {}).get("properties", {}).items()
    texts = [(key, field.get("format")) for key, field in held if field.get("type") == "string"]
    return any(names.is_secret(one.name, key, form) for key, form in texts)
