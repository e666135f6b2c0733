"""Headers: those of requests, in the order they are sent, and those of answers, found by names in any case."""

from collections.abc import Iterable, Iterator, Mapping


class Fields:
    """The headers of requests.

    The same object comes with every request that has the same headers. A connection may keep in `ready` what it has
    made of them.
    """

    __slots__ = ("pairs", "ready", "upgrade")

    def __init__(self, pairs: Iterable[tuple[str, str]]) -> None:
        self.pairs: tuple[tuple[str, str], ...] = tuple(pairs)
        self.upgrade: bool = any(name == "Upgrade" for name, _ in self.pairs)  # they ask for another protocol
        self.ready: object = None


class Headers(Mapping[str, str]):
    """The headers of an answer, by names in any case; those that came more than once are joined by commas."""

    __slots__ = ("_found",)

    def __init__(self, pairs: list[tuple[bytes, bytes]]) -> None:
        self._found: dict[str, str] = {}
        for name, value in pairs:
            key, text = name.decode("latin-1").lower(), value.decode("latin-1").strip()
            self._found[key] = f"{self._found[key]}, {text}" if key in self._found else text

    def __getitem__(self, name: str) -> str:
        return self._found[name.lower()]

    def __iter__(self) -> Iterator[str]:
        return iter(self._found)

    def __len__(self) -> int:
        return len(self._found)

    def __repr__(self) -> str:
        return f"<{len(self)} headers>"  # one may be a cookie


def request_id(headers: Mapping[str, str]) -> str | None:
    """The id to quote to Prisma's support: its own, or that of the Cloudflare before it."""
    return headers.get("x-request-id") or headers.get("cf-ray")
