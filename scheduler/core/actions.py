"""What the scheduler does about an event: the parts of a :class:`step.Decision`."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass
from dataclasses import field as dataclass_field
from typing import Literal

from eratos.common.payload import TaskPayload

from .mesos_types import TaskStatus
from .records import Record


@dataclass(frozen=True, slots=True)
class Put:
    """Store a record."""

    key: str
    record: Record


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
    """Return whether agents can be taken out of service; the master asks again after ``refuse_s``."""

    offer_ids: tuple[str, ...]
    accept: bool
    refuse_s: float


@dataclass(frozen=True, slots=True)
class Suppress:
    """Ask for no more offers: nothing waits (rule 25)."""

    roles: tuple[str, ...] = ()  #: for which nothing does; empty: all


@dataclass(frozen=True, slots=True)
class Revive:
    """Ask for offers again and clear all filters (rules 27 and 28)."""

    roles: tuple[str, ...] = ()  #: for which; empty: all


@dataclass(frozen=True, slots=True)
class Kill:
    task_id: str
    agent_id: str = ""


@dataclass(frozen=True, slots=True)
class Reconcile:
    """Ask for the states of (task id, agent id) pairs; an empty tuple asks for all that the master knows."""

    tasks: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Resubscribe:
    """Drop the subscription and make a new one."""

    reason: str


@dataclass(frozen=True, slots=True)
class DestroyVolume:
    """Have the executors on an agent destroy a volume. It may get lost, so it is sent until one says that it is done."""

    volume_id: str
    app_id: str
    agent_id: str
    executor_id: str = ""  #: that had it last, and so is on the agent, unless another one is by now; empty: not known


@dataclass(frozen=True, slots=True)
class Acknowledge:
    status: TaskStatus


@dataclass(frozen=True, slots=True)
class Reply:
    """A command was carried out and stored."""

    token: int
    version: str = ""
    deployment_id: str = ""


class Refusal(enum.Enum):
    """Why a command was refused."""

    NOT_FOUND = "not found"  #: what it is about is not there
    EXISTS = "exists"  #: what it would create is there already
    LOCKED = "locked"  #: a deployment touches what it would change
    NOT_POSSIBLE = "not possible"  #: what it would need is not there any more
    QUOTA = "quota"  #: more would be wanted than a quota allows
    BUDGET = "budget"  #: an app's error budget is spent, and so nothing that is planned disturbs it
    BROKEN = "broken"  #: it could not be handled, for a fault of the scheduler


@dataclass(frozen=True, slots=True)
class Refuse:
    """A command was refused; nothing changed."""

    token: int
    refusal: Refusal
    message: str
    deployments: tuple[str, ...] = ()  #: that are in the way
    quota: str = ""  #: the group whose quota does not allow it


@dataclass(frozen=True, slots=True)
class Notice:
    """Something that people should find in the log."""

    level: Literal["info", "warning", "error"]
    message: str
    fields: Mapping[str, object] = dataclass_field(default_factory=dict)  #: empty ones are left out
    error: Exception | None = None


Write = Put | Forget
Call = Accept | Decline | AnswerInverse | Suppress | Revive | Kill | Reconcile | Resubscribe | DestroyVolume
Answer = Reply | Refuse
Action = Write | Call | Answer | Acknowledge
