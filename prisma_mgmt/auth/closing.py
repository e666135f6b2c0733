"""Base classes: for what cannot be pickled or copied, and for what is closed by `async with`."""

from typing import NoReturn, Self


class Unpickled:
    """What can be neither pickled nor copied, since it holds secrets or works in one event loop."""

    def __reduce__(self) -> NoReturn:
        raise TypeError(f"{type(self).__name__} objects can be neither pickled nor copied: make one where it is needed")


class Closing(Unpickled):
    """What is closed at the end of its `async with`, whatever happened in that."""

    async def aclose(self) -> None:
        """Do nothing: nothing is left open between calls. It is here so that everything closes alike."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()
