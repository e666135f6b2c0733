"""Looks for secrets where none may be: every test secret holds the word CANARY."""

import io
import json
import logging
import secrets
import traceback
from collections.abc import Callable, Iterator
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


# What reporters make of an error: they show the locals of frames, and some cut a string before they take its repr.

MARK = secrets.token_hex(3)  # stands in no source line, which reporters show too


def canary(length: int) -> str:
    """A secret of that many characters, any few of which betray it."""
    return (MARK * (length // len(MARK) + 1))[:length]


def by_the_standard_library(error: BaseException) -> str:
    return "".join(traceback.TracebackException.from_exception(error, capture_locals=True).format())


def by_rich(error: BaseException) -> str:
    from rich.console import Console
    from rich.traceback import Traceback

    told = io.StringIO()
    shown = Traceback.from_exception(type(error), error, error.__traceback__, show_locals=True, extra_lines=0)
    Console(file=told, width=2000).print(shown)
    return told.getvalue()


def by_structlog(error: BaseException) -> str:
    from structlog.tracebacks import ExceptionDictTransformer

    told = ExceptionDictTransformer(show_locals=True)((type(error), error, error.__traceback__))
    return json.dumps(told, default=repr)


def by_sentry(error: BaseException) -> str:
    from sentry_sdk.serializer import serialize
    from sentry_sdk.utils import event_from_exception

    options: Any = {"include_local_variables": True, "include_source_context": True, "max_value_length": 100_000}
    event, _ = event_from_exception(error, client_options=options)
    return json.dumps(serialize(event, max_request_body_size="always"), default=repr)


def by_loguru(error: BaseException) -> str:
    from loguru import logger

    told: list[str] = []
    logger.remove()
    handler = logger.add(told.append, diagnose=True, backtrace=True, colorize=False, format="{message}")
    try:
        logger.opt(exception=error).error("x")
    finally:
        logger.remove(handler)
    return "".join(told)


REPORTERS: dict[str, Callable[[BaseException], str]] = {
    "the standard library": by_the_standard_library,
    "rich": by_rich,
    "structlog": by_structlog,
    "sentry": by_sentry,
    "loguru": by_loguru,
}


def betrayed(error: BaseException) -> list[str]:
    """The reporters whose report of an error shows a piece of a secret that `canary` made, with what is around it."""
    found: list[str] = []
    for name, report in REPORTERS.items():
        told = report(error)
        if MARK in told:
            i = told.index(MARK)
            found.append(f"{name}: {told[max(0, i - 200) : i + 20]}")
    return found
