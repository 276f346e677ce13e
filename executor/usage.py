"""Reads again and again what CPU and memory tasks take, for the scheduler and for Prometheus. One thread reads, others ask."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any

from eratos.common.exposition import Family, Sample

from .core.task import Task
from .core.usage import PERIOD_S, Reading, Usage, UsageBook, there

log = logging.getLogger(__name__)


class UsageWatch:
    """What the tasks of one executor take."""

    def __init__(
        self,
        tasks: Callable[[], Iterable[Task]],
        readings: Callable[[Collection[str]], Mapping[str, Reading]],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """``readings`` returns those of tasks by their ids, as far as there are any; it may take its time."""
        self._tasks, self._readings, self._clock = tasks, readings, clock
        self._lock = threading.Lock()
        self._book = UsageBook()
        self._stopping = threading.Event()

    def start(self) -> None:
        threading.Thread(target=self._run, name="usage", daemon=True).start()

    def stop(self) -> None:
        self._stopping.set()

    def _run(self) -> None:
        while not self._stopping.wait(PERIOD_S):
            try:
                self.look()
            except Exception:  # thread edge: missing figures are reported as missing, and the next look comes
                log.exception("what tasks take was not read, please report this as a bug")

    def look(self) -> None:
        """Read what each task takes now."""
        payloads = [task.payload for task in there(self._tasks())]
        found = self._readings([payload.task_id for payload in payloads]) if payloads else {}
        with self._lock:
            self._book.take(payloads, found)

    def _usages(self) -> dict[str, Usage]:
        with self._lock:
            return self._book.usages(self._clock())

    def shown(self) -> dict[str, Any]:
        """Return what is known of each task, by its id."""
        return {task_id: usage.to_json() for task_id, usage in self._usages().items()}

    def families(self) -> list[Family]:
        """Return the same for Prometheus: a few samples for each task, and none where nothing is known."""
        found = sorted(self._usages().items())

        def family(kind: str, name: str, text: str, value: Callable[[Usage], float | None]) -> Family:
            known = ((task_id, usage, value(usage)) for task_id, usage in found)
            samples = (Sample(it, {"app": usage.app_id, "task": task_id}) for task_id, usage, it in known if it is not None)
            return Family(f"eratos_executor_task_{name}", kind, text, tuple(samples))

        return [
            family("counter", "cpu_seconds_total", "CPU time that a task has taken.", lambda usage: usage.cpu_s),
            family("gauge", "cpu_cores", "Cores in use by a task, on average of the last seconds.", lambda usage: usage.cpus),
            family("gauge", "cpu_limit_cores", "Cores a task may use: its limit, or its cpus.", lambda usage: usage.limits.cpus),
            family("gauge", "cpu_ratio", "Share of these cores in use.", Usage.cpu_share),
            family("gauge", "memory_working_set_bytes", "Memory that a task holds, in bytes.", lambda usage: usage.mem_bytes),
            family("gauge", "memory_limit_bytes", "Memory that a task may hold, in bytes.", lambda usage: usage.limits.mem_bytes),
        ]
