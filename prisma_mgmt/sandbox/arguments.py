"""What may stand in the arguments that users give to a sandbox."""

import reprlib
from collections.abc import Sequence

LONGEST = 1e9  # seconds


def check(good: bool, rule: str, value: object) -> None:
    """Raise ValueError with the rule, and the value that breaks it, unless it is good."""
    if not good:
        raise ValueError(f"{rule}, not {reprlib.repr(value)}")


def is_number(value: object, least: float, most: float) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and least <= value <= most


def is_whole(value: object, least: int, most: int) -> bool:
    return isinstance(value, int) and is_number(value, least, most)


def is_text(value: object) -> bool:
    return isinstance(value, str) and bool(value.strip()) and value.isprintable()


def texts(values: Sequence[str], name: str) -> tuple[str, ...]:
    """Some texts that can be shown, each of them once; ValueError for anything else."""
    check(not isinstance(values, str) and len(values) > 0, f"{name} is a list of texts", values)
    for one in values:
        check(is_text(one) and list(values).count(one) == 1, f"{name} are different texts, none of them blank", one)
    return tuple(values)
