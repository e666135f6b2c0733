"""One event loop for each object that owns connections or tasks."""

import sys
from typing import Any


class LoopGuard:
    """Remembers the first event loop it was asked in, and refuses every other one."""

    __slots__ = ("_loop", "_owner")

    def __init__(self, owner: str) -> None:
        self._owner = owner
        self._loop: object = None

    def bind(self, loop: object) -> bool:
        """Serve `loop`, which is None if none runs, from now on; False if it serves another one already."""
        if self._loop is None:
            self._loop = loop
        return self._loop is loop

    def serves(self, loop: object) -> bool:
        """Return True if it serves `loop`; one that has served none yet serves none."""
        return self._loop is loop

    def check(self) -> None:
        """Raises RuntimeError in any event loop but the first."""
        if (loop := running_loop()) is not self._loop and not self.bind(loop):
            raise RuntimeError(
                f"this {self._owner} was first used in another event loop, and serves that event loop only: "
                "make one for each loop, such as inside the function that asyncio.run() runs"
            )

    def over(self) -> bool:
        """If the loop that it remembers will never run again."""
        loop: Any = self._loop
        if loop is None:
            return False
        if hasattr(loop, "is_closed"):
            return bool(loop.is_closed())
        try:
            loop.run_sync_soon(int)  # trio's token; int() does nothing
        except RuntimeError:
            return True
        return False


def running_loop() -> object:
    """The event loop, or trio's run, that this code runs in."""
    asyncio = sys.modules.get("asyncio")  # not imported here: whoever runs it has, and a trio program need not
    if asyncio is not None:
        try:
            return asyncio.get_running_loop()
        except RuntimeError:
            pass
    from anyio.lowlevel import current_token

    return current_token().native_token
