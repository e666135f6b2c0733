"""Refuses an object in a second event loop, and says which event loop runs, and if one is closed."""

import sys
from typing import Any


class LoopGuard:
    """Remembers the first event loop it was asked in, and refuses every other one."""

    def __init__(self, owner: str) -> None:
        self._owner = owner
        self.served: object = None

    def bind(self, loop: object) -> bool:
        """Serve `loop`, which is None if none runs, from now on; False if it serves another one already."""
        if self.served is None:
            self.served = loop
        return self.served is loop

    def check(self) -> None:
        """Raises RuntimeError in any event loop but the first."""
        if (loop := running_loop()) is not self.served and not self.bind(loop):
            raise RuntimeError(
                f"this {self._owner} was first used in another event loop, and serves that event loop only: "
                "make one for each loop, such as inside the function that asyncio.run() runs"
            )


def closed(loop: Any) -> bool:
    """Return True if an event loop, or trio's run, will never go on again."""
    try:
        getattr(loop, "run_sync_soon", str)(int)  # of trio's token; int() does nothing
    except RuntimeError:
        return True
    return bool(getattr(loop, "is_closed", bool)())


def running_loop() -> object:
    """The event loop, or trio's run, that this code runs in."""
    try:
        return sys.modules["asyncio"].get_running_loop()  # not imported here: whoever runs it has
    except (KeyError, RuntimeError):
        from anyio.lowlevel import current_token

        return current_token().native_token
