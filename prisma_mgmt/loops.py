"""One event loop for each object that owns connections or tasks."""

import asyncio

from anyio.lowlevel import current_token


class LoopGuard:
    """Remembers the first event loop it was asked in, and refuses every other one."""

    __slots__ = ("_loop", "_owner")

    def __init__(self, owner: str) -> None:
        self._owner = owner
        self._loop: object = None

    def check(self) -> None:
        """Raises RuntimeError in any event loop but the first."""
        try:
            loop: object = asyncio.get_running_loop()
        except RuntimeError:
            loop = current_token().native_token
        if self._loop is None:
            self._loop = loop
        elif self._loop is not loop:
            raise RuntimeError(
                f"this {self._owner} was first used in {self._loop!r} and serves that event loop only, "
                f"but it is now used in {loop!r}; make one for each loop"
            )
