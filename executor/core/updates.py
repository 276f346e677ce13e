"""Status updates and the ledger of what the agent has not acknowledged yet (rules 58 and 59).

The driver puts every launched task and every update here before anything is sent, and hands the ledger's content over
in each SUBSCRIBE. That way an update made while the agent was away, or lost on the way to it, still arrives.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from eratos.common.check_results import CheckResult

#: While the agent is away the health of a task may change without end: of one state only the newest are kept.
UPDATES_PER_STATE_MAX = 5


@dataclass(frozen=True, slots=True)
class StatusUpdate:
    """One status update. The maker leaves ``uuid`` and ``timestamp`` empty; the driver fills them in."""

    task_id: str
    state: str  #: one of Mesos' ``TASK_*``
    message: str = ""
    reason: str | None = None  #: one of Mesos' ``REASON_*``
    healthy: bool | None = None
    addresses: tuple[str, ...] = ()  #: IP addresses of the task's container
    check: Mapping[str, Any] | None = None  #: the last answer of the app's check, as Mesos' CheckStatusInfo
    checks: tuple[CheckResult, ...] = ()  #: how its health checks went; empty: nothing is said of them
    outdated: str | None = None  #: why the task does not know what it requires, empty: it does; None: it requires nothing
    uuid: str = ""  #: 16 random bytes in base64, as on the wire (rule 70)
    timestamp: float = 0.0  #: seconds since the epoch


class Ledger:
    """Unacknowledged tasks and updates, each in the order of arrival; bounded for each task."""

    def __init__(self) -> None:
        self._tasks: dict[str, Mapping[str, Any]] = {}
        self._updates: dict[str, StatusUpdate] = {}

    def launched(self, task_id: str, task_info: Mapping[str, Any]) -> None:
        """Record a task of a LAUNCH event with the TaskInfo as it came: Mesos wants it back unchanged."""
        self._tasks[task_id] = task_info

    def add(self, update: StatusUpdate) -> None:
        """Record an update. Raises ValueError where it carries no uuid: it could never be acknowledged."""
        if not update.uuid:
            raise ValueError(f"status update of {update.task_id} has no uuid")
        self._updates[update.uuid] = update
        same = [key for key, other in self._updates.items() if (other.task_id, other.state) == (update.task_id, update.state)]
        for key in same[:-UPDATES_PER_STATE_MAX]:
            del self._updates[key]  # a newer one of the state says more

    def acknowledge(self, task_id: str, uuid: str) -> bool:
        """Strike out an update, and its task with it: one acknowledged update acknowledges the task.

        Returns whether the update was on record. An unknown uuid still acknowledges the task.
        """
        self._tasks.pop(task_id, None)
        return self._updates.pop(uuid, None) is not None

    @property
    def tasks(self) -> tuple[Mapping[str, Any], ...]:
        return tuple(self._tasks.values())

    @property
    def updates(self) -> tuple[StatusUpdate, ...]:
        return tuple(self._updates.values())

    def __len__(self) -> int:
        return len(self._updates)
