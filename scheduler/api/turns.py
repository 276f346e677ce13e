"""Changes take turns, each from reading what is there to having stored what follows, so that no update gets lost.

One thread makes them, and the others wait as coroutines: while the store is away a hundred changes may wait, and not one of
the threads that reads are answered from is taken.
"""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, Final, TypeVar

from eratos.scheduler.core.refusals import Unavailable

T = TypeVar("T")

#: How long a change waits for the changes before it.
TURN_S: Final = 20.0
#: Changes that may wait; each holds its request's body.
WAITING_MOST: Final = 200


class Turns:
    """The changes of one API."""

    def __init__(self) -> None:
        self._waiting: queue.Queue[tuple[Future[Any], Callable[[], Any]]] = queue.Queue(WAITING_MOST)
        self._start = threading.Lock()
        self._thread: threading.Thread | None = None

    async def take(self, change: Callable[[], T]) -> T:
        """Run ``change`` on the changes' thread when its turn comes. Raises what it raises, and Unavailable."""
        future: Future[T] = Future()
        try:
            self._waiting.put_nowait((future, change))
        except queue.Full:
            raise Unavailable(f"{WAITING_MOST} changes wait already: try again, the store may be slow") from None
        self._run()
        answer = asyncio.wrap_future(future)
        await asyncio.wait({answer}, timeout=TURN_S)
        if not answer.done() and future.cancel():
            raise Unavailable(f"other changes took {TURN_S:.0f} s already: try again, the store may be slow")
        return await answer

    def _run(self) -> None:
        with self._start:
            if self._thread is None:
                # A daemon: a change that waits for the store does not keep a process from ending.
                self._thread = threading.Thread(target=self._work, name="changes", daemon=True)
                self._thread.start()

    def _work(self) -> None:
        while True:
            future, change = self._waiting.get()
            if not future.set_running_or_notify_cancel():
                continue
            try:
                future.set_result(change())
            except BaseException as error:  # edge: it is the waiting request's to answer
                future.set_exception(error)
            del future, change
