"""`async with` for the login's clients, sessions and managers."""

from typing import Self


class Closing:
    """What is closed at the end of its `async with`, whatever happened in that."""

    async def aclose(self) -> None:
        """Do nothing: nothing is left open between calls. It is here so that everything closes alike."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()
