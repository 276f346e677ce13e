"""All that the scheduler knows, and nothing that it decides. Only :mod:`machine` and its parts change it; the API reads it.

Whatever is asked often is kept beside the instances themselves, so that no event costs more for a large cluster than for
a small one: how many instances of each kind an app has, which ones wait, and what is on each agent.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from eratos.common import names
from eratos.marathon.app import App

from .brake import Brake
from .mesos import Agent, Offer, TaskState, Window
from .reasons import Reason, Refusal, Waiting
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

    def ready(self, checked: bool) -> bool:
        """Tell whether it may get traffic; ``checked``: its app has health checks."""
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
    waiting_since: float = 0.0
    news_at: float = 0.0  #: when its executor last said something new of its start; not stored, as the next four
    ran_from: float = 0.0  #: since when its task runs, by the clock here; ``started_at`` is by that of its host
    proven: bool = False  #: its task was ready at some time
    spared: bool = False  #: the crash of its former task delayed nothing
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
        return Kind(self.version, self.state, self.healthy, self.stopping, self.inactive, self.moving)

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
        """Tell whether it may get traffic; ``checked``: its app has health checks."""
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


@dataclass(frozen=True, slots=True)
class Failure:
    """The last task of an app that ended on its own."""

    task_id: str
    state: TaskState
    message: str
    hostname: str
    at: float


#: Tasks given up that are remembered; one that came back later than so many others would count as unknown.
GIVEN_UP_MOST = 100_000
#: Refused offers that an app remembers, one for each agent; the counts go on beyond.
REFUSALS_MOST = 1000


#: A failed start makes a host a later choice for its app: each counts for so long at least.
FAILED_START_S = 600.0
#: More failed starts than these on one host say nothing more.
FAILED_STARTS_MOST = 10


@dataclass(slots=True)
class Trouble:
    """Starts that failed on a host; see :mod:`hosts`."""

    apps: dict[str, None] = field(default_factory=dict)  #: whose starts failed there
    failed_at: float = 0.0  #: the last time
    until: float = 0.0  #: it is left alone until then
    times: int = 0  #: that it was left alone in a row
    against: tuple[str, ...] = ()  #: apps for whose failures it is left alone


@dataclass(slots=True)
class Launches:
    """How an app's launches go: its back-off after failures, and what its waiting instances wait for."""

    delay_s: float = 0.0
    delayed_until: float = 0.0
    last_failure: Failure | None = None
    failing: bool = False  #: nothing that was launched after the last failure has run yet
    waiting: Waiting | None = None
    no_offer_since: float = 0.0  #: since when it waits for offers and none came
    refusals: dict[str, Refusal] = field(default_factory=dict)  #: agent id -> why its latest offer did not do
    offers_seen: int = 0  #: since the first instance of this wait began to wait
    refused: Counter[Reason] = field(default_factory=Counter)  #: of ``offers_seen``, by reason
    unmade: int = 0  #: instances that are wanted and have no record yet: they are made as others are placed
    fault: str = ""  #: what broke when the app was last looked at, in a word for the log and for explain
    #: host name -> starts that failed there, when the last one did, and how long one counts
    failed_starts: dict[str, tuple[int, float, float]] = field(default_factory=dict)

    def start_failed(self, hostname: str, now: float, counts_s: float) -> None:
        """Note a failed start; each counts for ``counts_s``, and no less than ``FAILED_START_S``."""
        number = min(self.failed_on(now).get(hostname, 0) + 1, FAILED_STARTS_MOST)
        self.failed_starts.pop(hostname, None)
        self.failed_starts[hostname] = number, now, max(FAILED_START_S, counts_s)
        while len(self.failed_starts) > REFUSALS_MOST:
            del self.failed_starts[next(iter(self.failed_starts))]

    def failed_on(self, now: float) -> dict[str, int]:
        """Return how many failed starts count against each host; one is forgotten after another."""
        left = {name: number - int((now - at) / counts_s) for name, (number, at, counts_s) in self.failed_starts.items()}
        return {name: number for name, number in left.items() if number > 0}

    def refuse(self, refusals: Mapping[str, Refusal]) -> None:
        for agent_id, refusal in refusals.items():
            self.refused[refusal.reason] += 1
            self.refusals.pop(agent_id, None)  # a dict keeps the order of insertion: the oldest come first
            self.refusals[agent_id] = refusal
        while len(self.refusals) > REFUSALS_MOST:
            del self.refusals[next(iter(self.refusals))]

    def placed(self) -> None:
        """Nothing waits any more."""
        self.waiting, self.offers_seen = None, 0
        self.refusals.clear()
        self.refused.clear()


@dataclass(frozen=True, slots=True)
class Deployment:
    """A change that a user asked for, until every app it touched is at rest."""

    deployment_id: str
    version: str
    app_ids: frozenset[str]
    started_at: float


@dataclass(slots=True)
class State:
    """The scheduler's whole knowledge."""

    framework_id: str = ""
    master: str = ""
    region: str = ""  #: the master's, where apps run that ask for no other; empty: it names none, so all are as good
    connected: bool = False
    not_subscribed: str = ""  #: why not connected, where that is known
    apps: dict[str, App] = field(default_factory=dict)
    instances: dict[str, Instance] = field(default_factory=dict)
    fleets: dict[str, Fleet] = field(default_factory=dict)
    in_need: dict[str, None] = field(default_factory=dict)  #: apps with waiting instances, those waiting longest first
    agents: dict[str, Agent] = field(default_factory=dict)  #: those looked at, and those that hold tasks
    on_agent: dict[str, dict[str, Instance]] = field(default_factory=dict)  #: agent id -> what has a task there
    windows: dict[str, Window] = field(default_factory=dict)  #: agent id -> scheduled maintenance
    launches: dict[str, Launches] = field(default_factory=dict)
    deployments: dict[str, Deployment] = field(default_factory=dict)
    offers: dict[str, Offer] = field(default_factory=dict)
    suppressed: bool = False
    looking: bool = False  #: offers are wanted although nothing waits
    unanswered: int = 0  #: launches of which no executor has said a word
    troubles: dict[str, Trouble] = field(default_factory=dict)  #: host name -> starts that failed there
    unknown: dict[str, str] = field(default_factory=dict)  #: running task that no record stands for -> its agent
    returned: dict[str, str] = field(default_factory=dict)  #: the same, for tasks that were given up and came back
    given_up: dict[str, None] = field(default_factory=dict)  #: tasks whose agents were out of reach for too long
    brake: Brake = field(default_factory=Brake)
    spoilt: Mapping[str, str] = field(default_factory=dict)  #: store keys that could not be read -> why

    def fleet(self, app_id: str) -> Fleet:
        return self.fleets.get(app_id, NO_FLEET)

    def instances_of(self, app_id: str) -> Iterable[Instance]:
        return self.fleet(app_id).instances.values()

    def with_task(self) -> Iterator[Instance]:
        """Yield every instance that has a task."""
        return (instance for instance in self.instances.values() if instance.state is not None)

    def known_agent(self, offer: Offer) -> Agent:
        """Return the one object for the agent of an offer; the newest description of it counts."""
        known = self.agents.get(offer.agent_id)
        domain = offer.region, offer.zone
        if (
            known is None
            or known.hostname != offer.hostname
            or known.attributes != offer.attributes
            or (known.region, known.zone) != domain
        ):
            known = Agent(offer.agent_id, offer.hostname, offer.region, offer.zone, offer.attributes)
            self.agents[offer.agent_id] = known
        return known

    def add(self, instance: Instance) -> None:
        fleet = self.fleets.get(instance.app_id)
        if fleet is None:
            fleet = self.fleets[instance.app_id] = Fleet()
        self.instances[instance.instance_id] = fleet.instances[instance.instance_id] = instance
        fleet.count(instance.kind, 1)
        self.unanswered += instance.unanswered
        self._index(fleet, instance)

    def remove(self, instance: Instance) -> None:
        fleet = self.fleets[instance.app_id]
        fleet.count(instance.kind, -1)
        self.unanswered -= instance.unanswered
        self._unindex(fleet, instance)
        del self.instances[instance.instance_id]
        del fleet.instances[instance.instance_id]
        if not fleet.instances:
            del self.fleets[instance.app_id]

    def alter(self, instance: Instance, **changes: Any) -> None:
        """Change fields of an instance, and whatever is counted by them."""
        fleet, before, waited = self.fleets[instance.app_id], instance.kind, instance.waiting
        self.unanswered -= instance.unanswered
        moved = waited != (changes.get("state", instance.state) is None)
        if moved:
            self._unindex(fleet, instance)
        for name, value in changes.items():
            setattr(instance, name, value)
        if moved:
            self._index(fleet, instance)
        self.unanswered += instance.unanswered
        after = instance.kind
        if after != before:
            fleet.count(before, -1)
            fleet.count(after, 1)

    def _index(self, fleet: Fleet, instance: Instance) -> None:
        if instance.state is None:
            fleet.waiting[instance.instance_id] = instance
            self.in_need[instance.app_id] = None
        else:
            self.on_agent.setdefault(instance.agent.agent_id, {})[instance.instance_id] = instance

    def _unindex(self, fleet: Fleet, instance: Instance) -> None:
        if instance.state is None:
            del fleet.waiting[instance.instance_id]
            if not fleet.waiting:
                del self.in_need[instance.app_id]
            return
        there = self.on_agent[instance.agent.agent_id]
        del there[instance.instance_id]
        if not there:
            del self.on_agent[instance.agent.agent_id]

    def launches_of(self, app_id: str) -> Launches:
        return self.launches.setdefault(app_id, Launches())

    def check(self) -> None:
        """Raise AssertionError where the state contradicts itself. For tests."""
        assert not NO_FLEET.instances, "an instance was added to no app"
        for app_id, fleet in self.fleets.items():
            assert fleet.instances, f"empty fleet of {app_id}"
            assert fleet.tally == Counter(i.kind for i in fleet.instances.values()), f"wrong counts of {app_id}"
            waiting = {instance_id for instance_id, instance in fleet.instances.items() if instance.waiting}
            assert fleet.waiting.keys() == waiting, f"waiting instances of {app_id} are not those in its index"
            assert (app_id in self.in_need) == bool(waiting), f"{app_id} is wrongly listed as waiting or not"
            for instance_id, instance in fleet.instances.items():
                assert self.instances.get(instance_id) is instance, f"{instance_id} is indexed but unknown"
        assert self.in_need.keys() <= self.fleets.keys(), "an app without instances waits"
        assert len(self.instances) == sum(len(fleet.instances) for fleet in self.fleets.values()), "an instance is not indexed"
        assert self.unanswered == sum(i.unanswered for i in self.instances.values()), "launches are counted wrongly"
        there = {(agent_id, instance_id) for agent_id, found in self.on_agent.items() for instance_id in found}
        assert there == {(i.agent_id, i.instance_id) for i in self.with_task()}, "agents hold other instances"
        for instance in self.instances.values():
            if instance.waiting:
                assert not instance.stopping, f"{instance.instance_id} waits and stops"
            else:
                assert instance.agent_id, f"{instance.instance_id} has a task but no agent"
        assert self.connected or not self.offers, "offers outlived the subscription"
