"""Time, sleep and randomness as the client sees them: whoever tests a client brings their own."""

import random
import time
from collections.abc import Awaitable, Callable

import anyio
from attrs import define


@define(eq=False)
class Clock:
    """Where time, sleep and randomness come from."""

    monotonic: Callable[[], float] = time.monotonic
    now: Callable[[], float] = time.time
    sleep: Callable[[float], Awaitable[None]] = anyio.sleep
    jitter: Callable[[], float] = random.random
