"""What an executor counts for Prometheus: of each event and what came of it. One thread takes in, another one reads."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterable
from typing import Final

from eratos.common import exposition
from eratos.common.exposition import Family, Histogram

from .core import actions as do
from .core import events as on
from .core.task import Phase, Task

#: From a start that takes no pull to one that does.
_BOUNDS_S: Final = (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300)
_ENDS: Final = ("TASK_ERROR", "TASK_FAILED", "TASK_FINISHED", "TASK_KILLED")


class Figures:
    """Counts since the start of the executor."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._launches = 0
        self._start_failures = 0
        self._probe_failures = 0
        self._drains_cut = 0
        self._ended: Counter[str] = Counter(dict.fromkeys(_ENDS, 0))
        self._start = Histogram("eratos_executor_start_seconds", "From asking the runtime for a task to its start.", _BOUNDS_S)
        self._ready = Histogram("eratos_executor_ready_seconds", "From a task's launch to its registration.", _BOUNDS_S)
        self._drain = Histogram("eratos_executor_drain_seconds", "From the announcement of a stop to its signal.", _BOUNDS_S)
        self._launched_at: dict[str, float] = {}
        self._asked_at: dict[str, float] = {}
        self._announced_at: dict[str, float] = {}

    def take(self, event: on.Event, actions: Iterable[do.Action], now: float) -> None:
        """Take in an event and the actions that followed; ``now`` in seconds of any clock that does not jump."""
        with self._lock:
            self._of_event(event, now)
            for action in actions:
                self._of_action(action, now)

    def _of_event(self, event: on.Event, now: float) -> None:
        match event:
            case on.LaunchTask(task_id):
                self._launches += 1
                self._launched_at[task_id] = now
            case on.ContainerStarted(task_id) if task_id in self._asked_at:
                self._start.observe(now - self._asked_at.pop(task_id))
            case on.StartFailed():
                self._start_failures += 1
            case on.ProbeDone(passed=False):
                self._probe_failures += 1
            case on.DrainDone(released=False):
                self._drains_cut += 1

    def _of_action(self, action: do.Action, now: float) -> None:
        match action:
            case do.StartContainer(task_id) | do.StartProcess(task_id):
                self._asked_at[task_id] = now
            case do.Register(task_id) if task_id in self._launched_at:
                self._ready.observe(now - self._launched_at.pop(task_id))
            case do.TellBalancers(task_id, drains=True):
                self._announced_at[task_id] = now
            case do.StopContainer(task_id) | do.KillContainer(task_id) | do.RemoveContainer(task_id):
                if task_id in self._announced_at:
                    self._drain.observe(now - self._announced_at.pop(task_id))
            case do.SendUpdate(update) if update.state in _ENDS:
                self._ended[update.state] += 1
                for known in (self._launched_at, self._asked_at, self._announced_at):
                    known.pop(update.task_id, None)

    def families(self, tasks: Iterable[Task]) -> list[Family]:
        """Return all of it, with the tasks that there are by their phase."""
        phases = Counter(dict.fromkeys(map(str, Phase), 0))
        phases.update(str(task.phase) for task in tasks)
        with self._lock:
            return [
                exposition.by_label("gauge", "eratos_executor_tasks", "Tasks by phase.", "phase", phases),
                exposition.counter("eratos_executor_launches_total", "Tasks that the agent launched.", self._launches),
                exposition.by_label("counter", "eratos_executor_ends_total", "Tasks that ended, by state.", "state", self._ended),
                exposition.counter("eratos_executor_start_failures_total", "Starts that failed.", self._start_failures),
                exposition.counter("eratos_executor_probe_failures_total", "Checks that did not pass.", self._probe_failures),
                exposition.counter("eratos_executor_drains_cut_total", "Drains that ended by their deadline.", self._drains_cut),
                self._start.family(),
                self._ready.family(),
                self._drain.family(),
            ]
