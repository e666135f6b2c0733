"""A subject of measurement in a process of its own: `python -m benchmarks.worker PLACE ORIGIN [WITHOUT …]`.

PLACE is a module with `subject(origin)`, or `module:name`: an asynchronous context manager of a function that measures.
Each line of standard input holds the arguments of one measurement as JSON, each line of standard output its result.
WITHOUT names packages that the subject shall not find.
"""

import asyncio
import json
import sys
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from importlib import import_module
from typing import Any

Measure = Callable[..., Awaitable[Any]]
Opening = Callable[[str], AbstractAsyncContextManager[Measure]]


async def serve(opening: Opening, origin: str) -> None:
    async with opening(origin) as measure:
        tell("ready")
        for line in sys.stdin:  # nothing else goes on meanwhile, and so costs nothing
            tell(await measure(**json.loads(line)))


def tell(result: object) -> None:
    print(json.dumps(result), flush=True)


def main(place: str, origin: str, *without: str) -> None:
    for name in without:
        sys.modules[name] = None  # type: ignore[assignment]  # how Python spells "not to be found"
    module, _, name = place.partition(":")
    try:
        asyncio.run(serve(getattr(import_module(module), name or "subject"), origin))
    except ModuleNotFoundError as error:
        tell(f"{error.name} is not installed")


if __name__ == "__main__":
    main(*sys.argv[1:])
