"""One thread with an asyncio loop for all small network waits: probes and questions to balancers.

A thread for each would let a few hung tasks, each holding one until its timeout, delay everybody's probes.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Coroutine
from concurrent.futures import Future
from typing import Any

log = logging.getLogger(__name__)


class IoThread:
    """Runs coroutines handed in from other threads."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="io", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def submit(self, work: Coroutine[Any, Any, None]) -> Future[None]:
        """Run a coroutine; its failure is logged, it should have handled what can go wrong."""
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        future.add_done_callback(_log_failure)
        return future

    def stop(self) -> None:
        """Cancel whatever runs and end the thread."""
        asyncio.run_coroutine_threadsafe(self._cancel_all(), self._loop).result(timeout=5)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(timeout=5)
        self._loop.close()

    async def _cancel_all(self) -> None:
        others = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)
        await asyncio.get_running_loop().shutdown_default_executor()


async def ready(end: int, *, writing: bool = False) -> None:
    """Wait until something can be read from a descriptor, or written to it. On the loop that waits."""
    loop = asyncio.get_running_loop()
    reached = loop.create_future()
    add, remove = (loop.add_writer, loop.remove_writer) if writing else (loop.add_reader, loop.remove_reader)

    def now() -> None:
        if not reached.done():
            reached.set_result(None)

    add(end, now)
    try:
        await reached
    finally:
        remove(end)


def _log_failure(future: Future[None]) -> None:
    if not future.cancelled() and (error := future.exception()) is not None:
        log.error("work on the io thread broke, please report this as a bug", exc_info=error)
