"""What callers send, as JSON: models, aware datetimes and containers of them."""

import dataclasses
import json
import math
from collections.abc import Callable
from datetime import datetime
from functools import cache
from typing import TYPE_CHECKING, Any, NoReturn, get_origin

import attrs

from prisma_mgmt.core import codec
from prisma_mgmt.core.codec import UNSET, Unset, json_key

if TYPE_CHECKING:
    from cattrs import Converter


def dump(value: Any) -> bytes:
    """`value` as a JSON document; models, aware datetimes and containers of them included. UNSET keys are left out.

    Raises ValueError or TypeError for what JSON has not: NaN, Infinity, keys that are no strings, halves of surrogate
    pairs, and what holds itself.
    """
    try:
        return _encoded(_converter().unstructure(value))
    except RecursionError:
        raise ValueError("the body is nested too deeply, or holds itself") from None
    except UnicodeEncodeError:  # which would show the whole body
        raise ValueError("the body holds half of a surrogate pair") from None


def _encoded(plain: Any) -> bytes:
    orjson = codec._orjson  # pyright: ignore[reportPrivateUsage]  # one place decides which library serves
    if not orjson:
        return json.dumps(plain, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()
    try:
        return bytes(orjson.dumps(plain))
    except TypeError as error:
        if "urrogate" in str(error) or "ecursion" in str(error):  # it tells them apart by their words only
            raise ValueError(str(error)) from None
        raise


def _unstructure_model(model: type) -> Callable[[Any], Any]:
    from cattrs.gen import make_dict_unstructure_fn, override

    renames: dict[str, Any] = {
        attribute.name: override(rename=json_key(attribute), omit_if_default=attribute.default in (None, UNSET))
        for attribute in attrs.fields(model)
    }
    return make_dict_unstructure_fn(model, _converter(), **renames)


def _unstructure_dict(value: dict[str, Any]) -> dict[str, Any]:
    if not all(isinstance(key, str) for key in value):  # pyright: ignore[reportUnnecessaryIsInstance]  # callers' dicts
        raise TypeError("the keys of a JSON object are strings")
    return {str.__str__(key): _converter().unstructure(one) for key, one in value.items() if one is not UNSET}


def _finite(value: float) -> float:
    if not math.isfinite(value):
        raise ValueError("JSON has no NaN and no Infinity")
    return value


def iso(value: datetime) -> str:
    """`value` in ISO 8601; ValueError for one without a time zone."""
    if value.utcoffset() is None:
        raise ValueError("a datetime without a time zone is ambiguous; give it one, such as timezone.utc")
    return value.isoformat()


def _unstructure_dataclass(value: Any) -> dict[str, Any]:
    fields = {one.name: getattr(value, one.name) for one in dataclasses.fields(value)}
    return _unstructure_dict(fields)  # by what they hold, not by what they say they hold


def _is_typed_dict(kind: Any) -> bool:
    origin: Any = get_origin(kind)
    return origin is dict


def _refuse_unset(_: Unset) -> NoReturn:
    raise TypeError("UNSET leaves out a key of an object; it cannot stand in a list")


@cache
def _converter() -> "Converter":
    """The registry of hooks, made when it is first needed: cattrs takes a while to import."""
    from cattrs import Converter

    made = Converter()
    made.register_unstructure_hook_func(dataclasses.is_dataclass, _unstructure_dataclass)
    made.register_unstructure_hook_factory(attrs.has, _unstructure_model)
    made.register_unstructure_hook(Unset, _refuse_unset)
    made.register_unstructure_hook(datetime, iso)
    made.register_unstructure_hook(float, _finite)
    made.register_unstructure_hook(dict, _unstructure_dict)
    made.register_unstructure_hook_func(_is_typed_dict, _unstructure_dict)
    return made
