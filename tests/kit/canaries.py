"""Looks for secrets where none may be: every test secret holds the word CANARY."""

import logging
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import prisma_mgmt

CANARY = "canary"
_OURS = str(Path(prisma_mgmt.__file__).parent)


def leaks(error: BaseException) -> list[str]:
    """Where an exception, its chain, its attributes or the locals of our frames show a secret."""
    return [where for one in chain(error) for where, text in shown_by(one) if CANARY in text]


def chain(error: BaseException) -> Iterator[BaseException]:
    """An exception and all that it drags along."""
    waiting, seen = [error], set[int]()
    while waiting:
        one = waiting.pop()
        if id(one) in seen:
            continue
        seen.add(id(one))
        yield one
        inner = one.exceptions if isinstance(one, BaseExceptionGroup) else ()
        waiting.extend(other for other in (one.__cause__, one.__context__, *inner) if other is not None)


def shown_by(error: BaseException) -> Iterator[tuple[str, str]]:
    name = type(error).__name__
    yield f"str({name})", str(error)
    yield f"repr({name})", repr(error)
    yield f"{name}.args", repr(error.args)
    for key, value in vars(error).items():
        yield f"{name}.{key}", described(value)
    stack = traceback.StackSummary.extract(traceback.walk_tb(error.__traceback__), capture_locals=True)
    for frame in stack:
        if frame.filename.startswith(_OURS):
            for local, text in (frame.locals or {}).items():
                yield f"{local} in {frame.name}, {Path(frame.filename).name}:{frame.lineno}", text


def described(value: Any) -> str:
    """The repr of a value, and those of its attributes."""
    try:
        attributes = vars(value)
    except TypeError:
        attributes = {}
    return f"{value!r} {attributes!r}"


def logged(records: list[logging.LogRecord]) -> list[str]:
    """The log records that show a secret, in their text or in what a formatter could make of them."""
    return [
        f"{record.name}: {record.msg}"
        for record in records
        if CANARY in f"{record.getMessage()} {record.args!r} {record.exc_text}"
        or (record.exc_info and record.exc_info[1] and leaks(record.exc_info[1]))
    ]
