"""Runs one function at a time in a thread: each may block for long, such as on a question to the user."""

import os
import threading
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from typing import TypeVar

import anyio
from anyio import from_thread
from anyio.lowlevel import current_token

T = TypeVar("T")

_PAUSE = 0.01  # seconds


class Alone:
    """Runs functions in threads, one at a time. Whoever waits for one may give up, which anyio's threads allow to none.

    A function that was begun comes to its end all the same, and the next begins after it. The thread is no reason for
    the program to live on.
    """

    def __init__(self) -> None:
        self._locks: dict[int, threading.Lock] = {}  # by process: a fork has none of its parent's threads

    async def run(self, function: Callable[[], T]) -> T:
        busy = self._locks.setdefault(os.getpid(), threading.Lock())
        while not busy.acquire(blocking=False):  # noqa: ASYNC110  # whoever has it may be in another event loop
            await anyio.sleep(_PAUSE)
        done, token, result = anyio.Event(), current_token(), Future[T]()

        def work() -> None:
            try:
                result.set_result(function())
            except BaseException as error:  # whatever it is, whoever waits is to have it
                result.set_exception(error)
            finally:
                busy.release()
                with suppress(RuntimeError):  # the event loop is over, and with it whoever waited
                    from_thread.run_sync(done.set, token=token)

        try:
            threading.Thread(target=work, name="prisma-mgmt storage", daemon=True).start()
        except RuntimeError:  # the machine has no thread left
            busy.release()
            raise
        await done.wait()
        return result.result()
