"""Secret and SecretBytes, which do not show themselves, and `bare`, which takes our frames out of tracebacks."""

from traceback import walk_stack
from types import TracebackType
from typing import Any, cast

_INSIDE = frozenset(  # the packages whose frames hold requests and answers
    "aiohttp anyio asyncio asyncpg cattrs h11 h2 hpack httpcore httptools httpx httpx_aiohttp jeepney json "  # noqa: SIM905  # a list of words
    "keyring keyrings orjson prisma_mgmt redis secretstorage ssl trio valkey websockets win32ctypes".split()
)


class Secret(str):
    """A string that does not show itself in a repr, nor does a piece cut from it.

    It is an ordinary string for whoever sends or prints it. Reporters that show locals, and logs of objects, see a
    mask.
    """

    __slots__ = ()

    def __repr__(self) -> str:
        return "'**********'" if self else "''"

    def __radd__(self, other: str) -> "Secret":
        return Secret(str.__add__(other, self))


class SecretBytes(bytes):
    """Bytes that do not show themselves in a repr, nor does a piece cut from them."""

    __slots__ = ()

    def __repr__(self) -> str:
        return f"<{len(self)} bytes>"

    def __str__(self) -> str:
        return bytes.decode(self, "latin-1")  # as hpack makes bytes of its headers

    def __radd__(self, other: bytes) -> "SecretBytes":
        return SecretBytes(bytes.__add__(bytes(other), self))  # `other` may be a bytearray


_MASKS: dict[Any, Any] = {str: Secret, bytes: SecretBytes}


def masked(value: Any) -> Any:
    """`value`, and what a list, a tuple or a dict holds of text and bytes, masked; keys stay as they are."""
    kind: Any = value.__class__
    if kind in _MASKS:
        return _MASKS[kind](value)
    if kind is dict:
        return {key: masked(one) for key, one in value.items()}
    return value.__class__(map(masked, value)) if kind in (list, tuple) else value


def _keep_masked(own: type, names: str) -> None:
    """Let the results of these methods stay masked."""
    for name in names.split():
        method = getattr(own.__base__, name)

        def cut(self: Any, *args: Any, _method: Any = method, **options: Any) -> Any:
            return masked(_method(self, *args, **options))

        setattr(own, name, cut)


# `replace` and `encode` give plain values. Every driver that is given a database URL calls urlsplit, which begins with
# the one, and asyncpg refuses subclasses of str; libraries in C are given the other, and refuse subclasses of bytes.
# What text is formatted from a secret, by an f-string or by `%`, is plain as well, and so are `str()` and `bytes()`.
_CUTS = (
    "__add__ __getitem__ __mul__ __rmul__ capitalize center expandtabs join ljust lower lstrip partition removeprefix "
    "removesuffix rjust rpartition rsplit rstrip split splitlines strip swapcase title translate upper zfill"
)
_keep_masked(Secret, f"{_CUTS} casefold")
_keep_masked(SecretBytes, f"{_CUTS} decode hex replace")


class _Bare:
    """`with bare:` lets an error leave without our frames, and those of the libraries below us, in its traceback.

    Their locals hold bodies and tokens, and reporters show locals. What is inside may so be written as plain functions
    that return and raise. The frames of callers, and of callers' code that is called from inside, stay.
    """

    def __enter__(self) -> None:
        """Begin: there is nothing to do."""

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        if error is not None:
            strip(error)


bare: _Bare = _Bare()


def strip(error: BaseException) -> None:
    """Take our frames out of an error's traceback, and out of those of all that it drags along."""
    for one in below(error):
        rebuilt: TracebackType | None = None
        for entry in reversed(_foreign(one)):
            rebuilt = TracebackType(rebuilt, entry.tb_frame, entry.tb_lasti, entry.tb_lineno)
        one.__traceback__ = rebuilt


def below(error: BaseException) -> list[Any]:
    """An error and all that it drags along, each once: its causes, its contexts, and the members of groups.

    What a caller was handling when it called us is not among them: that is the caller's, and so is all below it.
    """
    found: list[Any] = [error]
    seen = {id(None): None, id(error): error}
    for one in found:  # which grows
        inner = cast("Any", one).exceptions if isinstance(one, BaseExceptionGroup) else ()
        others: tuple[Any, ...] = (*inner, one.__cause__, one.__context__)
        seen |= (new := {id(other): other for other in others if id(other) not in seen and not _handled(other)})
        found += new.values()
    return found


def _handled(error: BaseException) -> bool:
    """Return True if a caller of ours handles an error: it has come to a frame of theirs, which still runs."""
    reached = {entry.tb_frame for entry in _foreign(error)}
    # walk_stack(None) leaves out the nearest frames, which are ours
    return bool(reached) and any(frame in reached for frame, _ in walk_stack(None))


def _foreign(error: BaseException) -> list[TracebackType]:
    """The part of an error's traceback that is neither ours nor below us."""
    found: list[TracebackType] = []
    entry = error.__traceback__
    while entry is not None:
        if str(entry.tb_frame.f_globals.get("__name__")).partition(".")[0] not in _INSIDE:
            found.append(entry)
        entry = entry.tb_next
    return found
