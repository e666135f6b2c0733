"""The base of every model: how one leaves for other programs as JSON, and comes back."""

from collections.abc import Callable, Iterator
from functools import cache
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Self, Union, cast, get_args, get_origin

import attrs

from prisma_mgmt.core.codec import Mismatch, structure
from prisma_mgmt.core.encoding import plain, written
from prisma_mgmt.core.kinds import JSON, Unset, default_of, fields, is_union, json_key
from prisma_mgmt.errors import DecodeError
from prisma_mgmt.masks import Secret

if TYPE_CHECKING:
    from pydantic import GetCoreSchemaHandler
    from pydantic_core import CoreSchema
else:  # pydantic may be missing, and yet the annotations can be evaluated
    GetCoreSchemaHandler = CoreSchema = Any


class Model:
    """A thing as the API describes it. Its attributes have Python's spelling. Models with the same values are equal.

    `to_dict`, `to_json` and `from_dict` use the API's own keys. pydantic takes models as fields, FastAPI as bodies
    and return values. For orjson and the standard library `default=Model.to_dict` says how a model is written; msgspec
    knows attrs, and would write Python's spelling: give it `to_dict()`.
    """

    __slots__ = ()

    def __init_subclass__(cls) -> None:
        # attrs leaves alone what a class has of its own; to write these two anew for every model is half of what an
        # import of models costs.
        if "__eq__" not in vars(cls):
            cls.__eq__ = Model.__eq__  # type: ignore[method-assign]  # which is the point
        if "__repr__" not in vars(cls):
            cls.__repr__ = Model.__repr__  # type: ignore[method-assign]  # as above

    def __eq__(self, other: object) -> bool:
        if other.__class__ is not self.__class__:
            return NotImplemented
        return all(getattr(self, one.name) == getattr(other, one.name) for one in fields(self.__class__) if one.eq)

    __hash__: ClassVar[None] = None  # type: ignore[assignment]  # it can be changed

    def __repr__(self) -> str:
        names = [one.name for one in fields(self.__class__) if one.repr]
        return f"{self.__class__.__name__}({', '.join(f'{name}={getattr(self, name)!r}' for name in names)})"

    def __iter__(self) -> Iterator[tuple[str, JSON]]:
        """So `dict(model)` is `to_dict()`: FastAPI asks for it if a handler's return type names no model."""
        return iter(self.to_dict().items())

    @property
    def __pydantic_serializer__(self) -> Any:
        """What pydantic asks a value for if no type says what it is, such as what is in a `dict`."""
        return written_by(Model.to_dict)

    def to_dict(self, *, secrets: bool = False) -> dict[str, JSON]:
        """The model as JSON has it: the API's keys, dates as text, None as null, and what is UNSET left out.

        Secrets are masked, unless `secrets` asks for them.
        """
        return cast("dict[str, JSON]", plain(self, secrets=secrets))

    def to_json(self, *, secrets: bool = False) -> str:
        """`to_dict()`, as a JSON document."""
        return written(self.to_dict(secrets=secrets)).decode()

    @classmethod
    def from_dict(cls, data: JSON) -> Self:
        """A model from what `to_dict()` gave, or the API.

        Unknown keys are ignored. Raises DecodeError, with the path, for one that is missing or of another type.
        """
        try:
            return structure(data, cls)
        except Mismatch as mismatch:
            path, problem = mismatch.path, mismatch.problem
        del data  # a traceback of what follows would show it
        raise DecodeError(f"{path or cls.__name__}: {problem}", path=path)

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: "GetCoreSchemaHandler") -> "CoreSchema":
        """What pydantic asks of a type: `from_dict` reads it, and its schema has the keys of `to_dict`.

        It is written as `to_dict` does, without what pydantic is told to exclude.
        """
        from pydantic import WithJsonSchema
        from pydantic_core import PydanticCustomError, to_jsonable_python
        from pydantic_core import core_schema as shapes

        secret = Annotated[str, WithJsonSchema({"type": "string", "format": "password"})]

        def held(value: Any) -> Any:
            return value if isinstance(value, cls) else _Held(value)

        def validated(value: Any, _: Any) -> Any:
            if not isinstance(value, _Held):
                return value
            try:
                return cls.from_dict(value.value)
            except DecodeError as error:
                told = str(error)
            raise PydanticCustomError("prisma_model", "{told}", {"told": told})

        def written(value: Any, asked: Any) -> JSON:
            whole = plain(value, secrets=False, nulls="none" if asked.exclude_none else "all")
            return to_jsonable_python(whole, include=asked.include, exclude=asked.exclude)

        shape = shapes.typed_dict_schema(
            {
                json_key(one): shapes.typed_dict_field(
                    handler.generate_schema(shown(one.type, secret)), required=default_of(one) is attrs.NOTHING
                )
                for one in fields(cls)
            },
            cls=cls,
        )
        return shapes.no_info_before_validator_function(
            held,
            shapes.no_info_wrap_validator_function(validated, shape),
            ref=f"{cls.__module__}.{cls.__qualname__}:{id(cls)}",
            serialization=shapes.plain_serializer_function_ser_schema(written, info_arg=True),
        )


@cache
def written_by(function: Callable[[Any], JSON]) -> Any:
    """The SchemaSerializer by which pydantic writes what this function makes plain; AttributeError without pydantic."""
    try:
        from pydantic_core import SchemaSerializer, core_schema
    except ImportError as error:  # whoever looks into a model, as mocks do, takes it for one that lacks this
        raise AttributeError(str(error)) from None

    as_plain = core_schema.plain_serializer_function_ser_schema(function)
    return SchemaSerializer(core_schema.any_schema(serialization=as_plain))


class _Held(str):
    """What pydantic shows of a value that does not fit; the value may hold secrets."""

    __slots__ = ("value",)
    value: Any

    def __new__(cls, value: Any) -> Self:
        held = super().__new__(cls, "(not shown)")
        held.value = value
        return held


def shown(kind: Any, secret: Any) -> Any:
    """A field's type as others show it: `secret` stands for secrets, and nothing is UNSET."""
    if kind is Secret:
        return secret
    if is_union(kind):
        return Union[tuple(shown(one, secret) for one in get_args(kind) if one is not Unset)]  # noqa: UP007  # made from a tuple
    if get_origin(kind) in (list, dict):
        return get_origin(kind)[tuple(shown(one, secret) for one in get_args(kind))]
    return kind
