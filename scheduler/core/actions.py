"""What the scheduler does about an event. The shell performs a batch in the order persist -> perform -> acknowledge.

``Put`` and ``Forget`` go to the store first, as one durable batch. Only when that succeeded are calls sent to Mesos,
then replies to users, and last the acknowledgements (design.md, decision 3; Mesos' high-availability guide).
"""

from __future__ import annotations

from dataclasses import dataclass

from eratos.common.payload import TaskPayload
from eratos.marathon.app import App

from .mesos import TaskStatus
from .records import InstanceRecord


@dataclass(frozen=True, slots=True)
class Put:
    """Store a record: the framework's id (a str), an app or an instance."""

    key: str
    record: str | App | InstanceRecord


@dataclass(frozen=True, slots=True)
class Forget:
    """Delete a record; a key that is not there is no error."""

    key: str


@dataclass(frozen=True, slots=True)
class Launch:
    """One task of an :class:`Accept`."""

    task_id: str
    payload: TaskPayload


@dataclass(frozen=True, slots=True)
class Accept:
    """Launch tasks on one agent with the offers named, all of that agent; the rest is refused for ``refuse_s``."""

    agent_id: str
    offer_ids: tuple[str, ...]
    launches: tuple[Launch, ...]
    refuse_s: float


@dataclass(frozen=True, slots=True)
class Decline:
    offer_ids: tuple[str, ...]
    refuse_s: float


@dataclass(frozen=True, slots=True)
class AnswerInverse:
    """Tell whether agents can be taken out of service; the master asks again after ``refuse_s``."""

    offer_ids: tuple[str, ...]
    accept: bool
    refuse_s: float


@dataclass(frozen=True, slots=True)
class Suppress:
    """Ask for no more offers: nothing waits (rule 25)."""


@dataclass(frozen=True, slots=True)
class Revive:
    """Ask for offers again and clear all filters (rules 27 and 28)."""


@dataclass(frozen=True, slots=True)
class Kill:
    task_id: str
    agent_id: str = ""
    grace_s: float | None = None


@dataclass(frozen=True, slots=True)
class Reconcile:
    """Ask for the states of (task id, agent id) pairs; an empty tuple asks for all that the master knows."""

    tasks: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Resubscribe:
    """Drop the subscription and make a new one."""

    reason: str


@dataclass(frozen=True, slots=True)
class Acknowledge:
    status: TaskStatus


@dataclass(frozen=True, slots=True)
class Reply:
    """A command was carried out and stored."""

    token: int
    version: str = ""
    deployment_id: str = ""


@dataclass(frozen=True, slots=True)
class Refuse:
    """A command was refused; nothing changed. ``status`` is the HTTP status that fits."""

    token: int
    status: int
    message: str


@dataclass(frozen=True, slots=True)
class Abort:
    """The process must end at once and leave every task running."""

    reason: str


Write = Put | Forget
Call = Accept | Decline | AnswerInverse | Suppress | Revive | Kill | Reconcile | Resubscribe
Action = Write | Call | Acknowledge | Reply | Refuse | Abort
