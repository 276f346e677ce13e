"""Instances of apps, and an app's instances together with their counts. Only :meth:`State.alter` changes what is counted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from eratos.common import names
from eratos.common.check_results import CheckResult

from .mesos_types import Agent, TaskState
from .records import InstanceRecord

NOWHERE = Agent("", "")


class Kind(NamedTuple):
    """All that a rollout asks of an instance. Instances of one kind are as good as each other, so they are counted."""

    version: str
    state: TaskState | None
    healthy: bool | None
    stopping: bool
    inactive: bool
    moving: bool
    outdated: bool = False
    unfit: bool = False

    def ready(self, checked: bool) -> bool:
        """Return whether it may get traffic; ``checked``: its app has health checks."""
        return self.state is TaskState.RUNNING and not self.stopping and (self.healthy is True or not checked)


@dataclass(slots=True, eq=False)
class Instance:
    """One wanted copy of an app. It waits for an offer while ``state`` is None, and has a task otherwise.

    What :class:`Kind` names is changed by :meth:`State.alter` alone, which keeps the counts.
    """

    instance_id: str
    app_id: str
    version: str  #: of the app's definition it was made from
    attempt: int = 1
    state: TaskState | None = None
    agent: Agent = NOWHERE
    ports: tuple[int, ...] = ()
    addresses: tuple[str, ...] = ()
    launched_at: float = 0.0
    started_at: float = 0.0
    unreachable_at: float = 0.0  #: since when its agent cannot be reached; 0: it can
    healthy: bool | None = None
    stopping: bool = False
    inactive: bool = False  #: unreachable for so long that a replacement is wanted
    moving: bool = False  #: to be replaced by one on another agent, and only then stopped
    outdated: str = ""  #: why it is to be replaced by one that knows what it requires; empty: it knows
    ordinal: int | None = None  #: that it holds among those of its app, from 0; None: its app has none
    host: str = ""  #: the name of the one host that it is for, while it waits; empty: for any. Not stored
    slot: str = ""  #: whose volumes it has; empty: none
    role: str = ""  #: that its task's resources are allocated to, and so its executor's; empty: that of apps which state none
    volumes: tuple[tuple[str, str], ...] = ()  #: of its task: where each is mounted, and which one it is; not stored
    holds: frozenset[str] = frozenset()  #: names of volumes that its task alone may write to, wherever they lie
    away_at: float = 0.0  #: since when the host of its volumes is known to be away, while it waits for that; not stored
    unfit: bool = False  #: that host had no room when it was looked at last, so nobody counts on it
    waiting_since: float = 0.0
    news_at: float = 0.0  #: when its executor last said something new of its start; not stored, as the next five
    ran_from: float = 0.0  #: since when its task runs, by the clock here; ``started_at`` is by that of its host
    stop_at: float = 0.0  #: when its stop was sent; not stored
    proven: bool = False  #: its task was ready at some time
    spared: bool = False  #: the crash of its former task delayed nothing
    check: Mapping[str, Any] | None = None  #: what the app's check was answered last; not stored
    checks: tuple[CheckResult, ...] = ()  #: how its health checks went, by ``checked_at``; not stored
    checked_at: float = 0.0
    note: str = ""  #: what its executor last said of a start, checks or a stop that take long; not stored

    @property
    def task_id(self) -> str:
        return names.task_id(self.instance_id, self.attempt)

    @property
    def agent_id(self) -> str:
        return self.agent.agent_id

    @property
    def hostname(self) -> str:
        return self.agent.hostname

    @property
    def kind(self) -> Kind:
        outdated = bool(self.outdated)
        return Kind(self.version, self.state, self.healthy, self.stopping, self.inactive, self.moving, outdated, self.unfit)

    @property
    def place(self) -> str:
        """The name of the host that it is on or for; empty: it waits for any."""
        return self.agent.hostname or self.host

    @property
    def waiting(self) -> bool:
        return self.state is None

    @property
    def launching(self) -> bool:
        return self.state in (TaskState.STAGING, TaskState.STARTING)

    @property
    def unanswered(self) -> bool:
        """Whether it was launched and its executor has not said a word of it."""
        return self.state is TaskState.STAGING

    def ready(self, checked: bool) -> bool:
        """Return whether it may get traffic; ``checked``: its app has health checks."""
        return self.kind.ready(checked)

    def record(self) -> InstanceRecord:
        assert self.state is not None, "an instance without a task is not stored"
        return InstanceRecord(
            instance_id=self.instance_id,
            app_id=self.app_id,
            app_version=self.version,
            attempt=self.attempt,
            agent_id=self.agent.agent_id,
            hostname=self.agent.hostname,
            ports=self.ports,
            launched_at=self.launched_at,
            state=self.state.value,
            started_at=self.started_at,
            healthy=self.healthy,
            stopping=self.stopping,
            addresses=self.addresses,
            zone=self.agent.zone,
            region=self.agent.region,
            attributes=self.agent.attributes,
            unreachable_at=self.unreachable_at,
            outdated=self.outdated,
            ordinal=self.ordinal,
            slot=self.slot,
            holds=tuple(sorted(self.holds)),
            role=self.role,
        )

    @classmethod
    def from_record(cls, record: InstanceRecord, agent: Agent) -> Instance:
        """Return the instance; ``agent`` is given as the object that others on it share."""
        return cls(
            instance_id=record.instance_id,
            app_id=record.app_id,
            version=record.app_version,
            attempt=record.attempt,
            state=TaskState(record.state),
            agent=agent,
            ports=record.ports,
            addresses=record.addresses,
            launched_at=record.launched_at,
            started_at=record.started_at,
            unreachable_at=record.unreachable_at,
            healthy=record.healthy,
            stopping=record.stopping,
            outdated=record.outdated,
            ordinal=record.ordinal,
            slot=record.slot,
            holds=frozenset(record.holds),
            role=record.role,
            ran_from=record.started_at,
            proven=record.healthy is True,
        )


class Fleet:
    """All instances of one app, in the order in which they were made."""

    __slots__ = ("instances", "tally", "waiting")

    def __init__(self) -> None:
        self.instances: dict[str, Instance] = {}
        self.tally: Counter[Kind] = Counter()
        self.waiting: dict[str, Instance] = {}

    def count(self, kind: Kind, by: int) -> None:
        self.tally[kind] += by
        if not self.tally[kind]:
            del self.tally[kind]


NO_FLEET = Fleet()  #: of an app without an instance; never changed
