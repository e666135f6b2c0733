"""How many calls of one kind run at once in an event loop."""

import anyio
from anyio.lowlevel import RunVar

_rooms: RunVar[dict[tuple[str, int], anyio.CapacityLimiter]] = RunVar("prisma_mgmt.auth.rooms")


def room(of: str, size: int) -> anyio.CapacityLimiter:
    """Room for `size` calls at once in this event loop, the same for all who ask for the same."""
    rooms = _rooms.get(dict[tuple[str, int], anyio.CapacityLimiter]())
    _rooms.set(rooms)
    if (of, size) not in rooms:
        rooms[of, size] = anyio.CapacityLimiter(size)
    return rooms[of, size]
