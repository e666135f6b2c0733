"""Many calls at a time, and what they cost this process."""

import asyncio
import gc
import math
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

Call = Callable[[], Awaitable[object]]
_PATIENCE = 120.0  # seconds for one measurement; a client that hangs is reported as TimeoutError
_WARM = 1000  # no pool here keeps more connections than that


async def measure(call: Call, in_flight: int, calls: int, warm_up: Call | None = None) -> dict[str, Any]:
    """The CPU seconds of this process for one call, how long the calls took, and which errors came how often.

    Connections are made before the clock starts, by as many calls (of `warm_up`, where that is given); where those fail
    already, nothing is measured.
    """
    warm = min(in_flight, _WARM)
    failures = await fly(warm_up or call, warm, warm)
    calls = max(calls, in_flight)
    if failures:
        return {"cpu": None, "failures": failures, "of": warm}
    gc.collect()
    took: list[float] = []
    before = time.process_time()
    failures = await fly(call, in_flight, calls, took)
    cpu = (time.process_time() - before) / calls
    return {"cpu": cpu, "failures": failures, "of": calls, "p50": _at(took, 0.5), "p99": _at(took, 0.99)}


def _at(took: list[float], share: float) -> float | None:
    """What so large a share of the calls took at most, in seconds."""
    return sorted(took)[math.ceil(share * len(took)) - 1] if took else None


async def fly(call: Call, in_flight: int, calls: int, took: list[float] | None = None) -> Mapping[str, int]:
    """Make `calls` calls, `in_flight` of them at any time; the names of the errors, counted.

    The seconds that each of them took, from its beginning to its end, are added to `took`.
    """
    taken = [] if took is None else took
    failures: Counter[str] = Counter()

    async def lane(count: int) -> None:
        for _ in range(count):
            began = time.perf_counter()
            try:
                await call()
            except Exception as error:  # any failure is a result here
                failures[_name(error)] += 1
            else:
                taken.append(time.perf_counter() - began)

    try:
        async with asyncio.timeout(_PATIENCE), asyncio.TaskGroup() as lanes:
            for number in range(in_flight):
                lanes.create_task(lane(calls // in_flight + (number < calls % in_flight)))
    except TimeoutError:
        failures["TimeoutError"] += 1
    return failures


def _name(error: BaseException) -> str:
    """The error's class; where it was made from another one, that one's too."""
    names = [type(error).__name__, *([type(error.__cause__).__name__] if error.__cause__ else [])]
    return " from ".join(dict.fromkeys(names))
