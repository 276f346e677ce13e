"""What happens to the executor. The driver, the container runtime and the clock make events; the core handles each in one step."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Subscribed:
    """The agent accepted the subscription, the first or a later one."""

    agent_id: str
    hostname: str


@dataclass(frozen=True, slots=True)
class Disconnected:
    """The subscription ended. Tasks go on; updates wait in the ledger (rules 58 and 65)."""


@dataclass(frozen=True, slots=True)
class LaunchTask:
    """Run a task. The same task id may come twice (F31)."""

    task_id: str
    payload_bytes: bytes  #: ``TaskInfo.data``: read it with :class:`eratos.common.payload.TaskPayload`


@dataclass(frozen=True, slots=True)
class KillTask:
    """End a task; answered by a terminal update even where the task is unknown (rule 62)."""

    task_id: str
    grace_s: float | None = None  #: overrides the task's own grace (rule 63); None: the task's own


@dataclass(frozen=True, slots=True)
class Acknowledged:
    """The agent has an update on record; it left the ledger before this event was made."""

    task_id: str
    uuid: str  #: as in :class:`updates.StatusUpdate`


@dataclass(frozen=True, slots=True)
class Shutdown:
    """End every task, report each, and exit within the grace period (rule 67). May come more than once."""

    reason: str


@dataclass(frozen=True, slots=True)
class Message:
    """A message of the scheduler; Mesos guarantees no delivery (rule 51)."""

    data: bytes


@dataclass(frozen=True, slots=True)
class Tick:
    """Time went by."""


Event = Subscribed | Disconnected | LaunchTask | KillTask | Acknowledged | Shutdown | Message | Tick
