"""`with client.record() as calls:` collects the status, headers and tries that the models of a block do not tell."""

from collections.abc import Generator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar

from attrs import field, frozen

from prisma_mgmt.core.call import Answer


@frozen
class Answered:
    """What a call was answered in the end: `status` and `headers`, and how many times it was sent, `attempts`."""

    method: str
    url: str
    status: int
    headers: Mapping[str, str] = field(repr=False)
    request_id: str | None
    attempts: int


records: ContextVar[tuple[tuple[object, list[Answered]], ...]] = ContextVar("records", default=())


@contextmanager
def recording(whose: object) -> Generator[list[Answered], None, None]:
    """A list that the answers to the calls of `whose` are added to, as long as the block lasts.

    Those of this task count, and of the tasks that it starts in the block.
    """
    calls: list[Answered] = []
    records.set((*records.get(), (whose, calls)))
    try:
        yield calls
    finally:  # not by a token, which only the same context may give back: a fixture may end in another one
        records.set(tuple(one for one in records.get() if one[1] is not calls))


def record_answer(whose: object, answer: Answer) -> None:
    """Add an answer to the lists that it belongs to."""
    call = answer.call
    for owner, calls in records.get():
        if owner is whose and call is not None:
            calls.append(Answered(call.method, call.url, answer.status, answer.headers, answer.request_id, call.sent))
