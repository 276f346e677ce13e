"""All that the scheduler knows, and nothing that it decides. Only :mod:`machine` and its parts change it; the API reads it.

Whatever is asked often is kept beside the instances themselves, so that no event costs more for a large cluster than for
a small one: how many instances of each kind an app has, which ones wait, and what is on each agent.
"""

from __future__ import annotations

import enum
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Mapping, Set
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from eratos.marathon import ids
from eratos.marathon.app import App
from eratos.marathon.job import Job, path_of

from .autoscale import Scaler
from .brake import Brake
from .constraints import Verdicts
from .error_budget import Ledger
from .gates import Counted
from .instances import NO_FLEET, Fleet, Instance
from .launches import Launches, Trouble
from .lives import Lives
from .mesos_types import Agent, Offer, Window
from .order import Order
from .records import (
    ChangeRecord,
    DeploymentRecord,
    DrainRecord,
    GroupRecord,
    HistoryRecord,
    QuotaRecord,
    RunRecord,
    SweepRecord,
    VersionRecord,
    VolumeRecord,
)

#: Tasks given up that are remembered; one that came back later than so many others would count as unknown.
GIVEN_UP_MOST = 100_000


@dataclass(slots=True)
class Deployment:
    """A change that a user asked for, until every app it touched is at rest."""

    record: DeploymentRecord
    changes: dict[str, ChangeRecord]
    order: Order
    deadline_s: float  #: it ends if it comes no further for so long
    progress_at: float  #: when it last came further; a new leader begins anew
    left: dict[str, int] = field(default_factory=dict)  #: app not at rest -> instances that are missing or too many
    total: int = 0  #: of all these instances
    least: int | None = None  #: the fewest there were of these; None: nobody has counted yet
    held: set[str] = field(default_factory=set)  #: apps that wait for others
    freed: set[str] = field(default_factory=set)  #: those of them that may wait no longer
    reached: dict[str, float] = field(default_factory=dict)  #: app at a gate of its canary -> since when
    counted: dict[str, Counted] = field(default_factory=dict)  #: those of them whose gate balancers' figures decide

    @property
    def deployment_id(self) -> str:
        return self.record.deployment_id

    @property
    def version(self) -> str:
        return self.record.version

    @property
    def app_ids(self) -> Set[str]:
        return self.changes.keys()


class Room(NamedTuple):
    """What an agent had free when it last offered something, less what was launched since."""

    cpus_m: int
    mem_mib: int
    ports: int  #: how many

    def beside(self, other: Room | None) -> Room:
        """Return what both are together."""
        return self if other is None else Room(self.cpus_m + other.cpus_m, self.mem_mib + other.mem_mib, self.ports + other.ports)


class Outcome(enum.Enum):
    """How a deployment ended."""

    DONE = "done"  #: every app it touched was at rest
    SUPERSEDED = "superseded"  #: later changes, made with force, took over its apps
    CANCELLED = "cancelled"  #: a user ended it, and what was wanted stays so
    ROLLED_BACK = "rolled back"  #: a user took it back
    FAILED = "failed"  #: it came no further, or its instances failed too often


@dataclass(frozen=True, slots=True)
class Ended:
    """A deployment that has ended."""

    record: DeploymentRecord
    app_ids: tuple[str, ...]
    ended_at: float
    outcome: Outcome
    reason: str = ""
    pods: frozenset[str] = frozenset()  #: those of the apps that are pods


@dataclass(slots=True, eq=False)
class Run:
    """A run of a job that has not ended, and what it is to those who place and start it."""

    record: RunRecord
    app: App


class Scaling(NamedTuple):
    """A change of an app's instances by what is measured, made or, in mode ``advise``, only said."""

    at: float
    before: int
    instances: int
    why: str
    made: bool


#: Deployments that have ended and are remembered.
ENDED_MOST = 50


class WantedHosts(NamedTuple):
    """Where an app that has one instance on each host is to have them."""

    version: str  #: of the app
    hosts_changed: int  #: :attr:`State.hosts_changed` when this was found
    hostnames: frozenset[str]
    closed: frozenset[str]  #: known hosts that are to have none, though nothing is wrong with their agents
    verdicts: Verdicts  #: on its constraints; no host counts as closed because a round was too short to look at it


class MovePhase(enum.Enum):
    """How far the move of a slot is."""

    HOST = "host"  #: no host has offered enough yet, and its instance runs on
    STOP = "stop"  #: the task that may write has not ended
    ROOM = "room"  #: the copy waits for the host's next offer
    COPY = "copy"


@dataclass(slots=True)
class Move:
    """What is known of a slot's move beside its records; not stored."""

    app_id: str
    phase: MovePhase | None = None  #: None: nobody has looked yet
    until: float = 0.0  #: when it is given up, unless it comes further; 0: never
    looked_at: float = 0.0  #: when hosts were last looked at for it
    lacks: str = ""  #: what the host lacks
    said: str = ""  #: what its executor last said of the copy


@dataclass(slots=True)
class FailedMoves:
    """Moves of a slot that nobody asked for by name and that came to nothing one after another; not stored."""

    app_id: str
    count: int = 0
    again_at: float = 0.0  #: when it is tried again, where there is still reason to
    hosts: set[str] = field(default_factory=set)  #: to which they went; others come first


@dataclass(slots=True)
class State:
    """The scheduler's whole knowledge."""

    framework_id: str = ""
    master: str = ""
    region: str = ""  #: the master's, where apps run that ask for no other; empty: it names none, so all are as good
    connected: bool = False
    not_subscribed: str = ""  #: why not connected, where that is known
    apps: dict[str, App] = field(default_factory=dict)
    groups: dict[str, GroupRecord] = field(default_factory=dict)  #: all there are; the root only where it depends on something
    instances: dict[str, Instance] = field(default_factory=dict)
    fleets: dict[str, Fleet] = field(default_factory=dict)
    in_need: dict[str, None] = field(default_factory=dict)  #: apps with waiting instances, those waiting longest first
    agents: dict[str, Agent] = field(default_factory=dict)  #: those looked at, and those that hold tasks; see :meth:`know`
    on_host: dict[str, dict[str, Agent]] = field(default_factory=dict)  #: host name -> its agents by id, nearly always one
    on_agent: dict[str, dict[str, Instance]] = field(default_factory=dict)  #: agent id -> what has a task there
    room: dict[str, Room] = field(default_factory=dict)  #: agent id -> what was free there when it last offered something
    scheduled: dict[str, Window] = field(default_factory=dict)  #: agent id -> maintenance by the master's word
    windows: dict[str, Window] = field(default_factory=dict)  #: agent id -> what counts: that, or that its host is drained
    lost: set[str] = field(default_factory=set)  #: agents that left, or cannot be reached, and have shown no sign of life since
    hosts_changed: int = 0  #: how often an agent came, changed, went, or was opened or closed
    wanted_on: dict[str, WantedHosts] = field(default_factory=dict)  #: app with one instance on each host -> these hosts
    held_by_unrecorded: set[str] = field(default_factory=set)  #: apps with ordinals that a task without a record may hold
    launches: dict[str, Launches] = field(default_factory=dict)
    lives: dict[str, Lives] = field(default_factory=dict)  #: by app; not stored
    versions: dict[str, dict[str, VersionRecord]] = field(default_factory=dict)  #: app -> its versions that are kept
    newest_version: str = ""  #: of any change there was
    deployments: dict[str, Deployment] = field(default_factory=dict)
    changes: dict[str, ChangeRecord] = field(default_factory=dict)  #: app -> what the deployment that it is in changes
    staged: dict[str, App] = field(default_factory=dict)  #: app that is wanted in two versions -> the one before
    held: dict[str, App] = field(default_factory=dict)  #: app that waits for others of its deployment -> what is in force
    ended: deque[Ended] = field(default_factory=lambda: deque(maxlen=ENDED_MOST))  #: the latest last
    ends: Counter[Outcome] = field(default_factory=Counter)  #: of all deployments that ended; not stored
    failed: dict[str, str] = field(default_factory=dict)  #: app -> why its deployment failed, until it is at rest
    scalers: dict[str, Scaler] = field(default_factory=dict)  #: app that is autoscaled -> what is known of its load; not stored
    scalings: dict[str, Scaling] = field(default_factory=dict)  #: the latest of each such app; not stored
    budgets: dict[str, Ledger] = field(default_factory=dict)  #: app with an error budget -> what its requests came to
    jobs: dict[str, Job] = field(default_factory=dict)
    histories: dict[str, HistoryRecord] = field(default_factory=dict)  #: by job
    runs: dict[str, Run] = field(default_factory=dict)  #: by path, which stands for an app's id
    of_job: dict[str, dict[str, Run]] = field(default_factory=dict)  #: job -> its runs by their own ids
    drains: dict[str, DrainRecord] = field(default_factory=dict)  #: by host name
    quotas: dict[str, QuotaRecord] = field(default_factory=dict)  #: by the group that it is for
    volumes: dict[str, VolumeRecord] = field(default_factory=dict)
    #: app -> slot -> its volumes by id
    slots: dict[str, dict[str, dict[str, VolumeRecord]]] = field(default_factory=dict)
    moves: dict[str, Move] = field(default_factory=dict)  #: by slot
    failed_moves: dict[str, FailedMoves] = field(default_factory=dict)  #: by slot
    #: name of a volume that lies elsewhere -> instance whose task alone may write to it, by id
    writers: dict[str, dict[str, Instance]] = field(default_factory=dict)
    sweeps: dict[str, SweepRecord] = field(default_factory=dict)  #: by host name
    offers: dict[str, Offer] = field(default_factory=dict)
    suppressed: frozenset[str] = frozenset()  #: roles for which no offers are asked for
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

    def in_force(self, app_id: str) -> App | None:
        """Return what an app's instances are held against: what is wanted, or what was before while it has to wait."""
        return self.held.get(app_id) or self.apps.get(app_id) or self._of_run(app_id)

    def _of_run(self, path: str) -> App | None:
        run = self.runs.get(path)
        if run is None:
            return None
        return run.app.with_instances(0) if run.record.stopping else run.app

    def runs_of(self, job_id: str) -> list[Run]:
        """Return the runs of a job that have not ended, the oldest first."""
        return list(self.of_job.get(job_id, {}).values())

    def run(self, job_id: str, run_id: str) -> Run | None:
        return self.runs.get(f"{path_of(job_id)}/{run_id}")

    def add_run(self, run: Run) -> None:
        self.runs[run.record.path] = self.of_job.setdefault(run.record.job_id, {})[run.record.run_id] = run

    def remove_run(self, run: Run) -> None:
        del self.runs[run.record.path]
        of_job = self.of_job[run.record.job_id]
        del of_job[run.record.run_id]
        if not of_job:
            del self.of_job[run.record.job_id]

    def keep_volume(self, record: VolumeRecord) -> None:
        """Know a volume, or know it as it is now; its app and its slot never change."""
        self.volumes[record.volume_id] = record
        of_slot = self.slots.setdefault(record.app_id, {}).setdefault(record.slot, {})
        of_slot[record.volume_id] = record
        self._index_move(record, of_slot)

    def drop_volume(self, volume_id: str) -> None:
        record = self.volumes.pop(volume_id)
        of_app = self.slots[record.app_id]
        del of_app[record.slot][volume_id]
        self._index_move(record, of_app[record.slot])
        if not of_app[record.slot]:
            del of_app[record.slot]
        if not of_app:
            del self.slots[record.app_id]

    def _index_move(self, record: VolumeRecord, of_slot: Mapping[str, VolumeRecord]) -> None:
        if any(found.move_since for found in of_slot.values()):
            self.moves.setdefault(record.slot, Move(record.app_id))
        else:
            self.moves.pop(record.slot, None)

    def standing(self, app_id: str) -> App | None:
        """Return what a change of an app would be taken back to: of two versions that are wanted the one before."""
        return self.staged.get(app_id) or self.in_force(app_id)

    def definition(self, instance: Instance) -> App | None:
        """Return what an instance is launched as: what is in force, or the version before while both are wanted."""
        before = self.staged.get(instance.app_id)
        return before if before is not None and instance.version == before.version else self.in_force(instance.app_id)

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
            self.know(known)
            self.hosts_changed += 1
        return known

    def know(self, agent: Agent) -> None:
        """Know an agent, or know it as it is now."""
        before = self.agents.get(agent.agent_id)
        if before is not None and before.hostname != agent.hostname:
            self.forget(agent.agent_id)
        self.agents[agent.agent_id] = self.on_host.setdefault(agent.hostname, {})[agent.agent_id] = agent

    def forget(self, agent_id: str) -> None:
        """Know an agent no longer."""
        agent = self.agents.pop(agent_id, None)
        if agent is None:
            return
        there = self.on_host[agent.hostname]
        del there[agent_id]
        if not there:
            del self.on_host[agent.hostname]

    def agents_on(self, hostname: str) -> Iterable[Agent]:
        """Return the agents of a host: one that came back under another id leaves its old one for a while."""
        return self.on_host.get(hostname, {}).values()

    def lose(self, agent_id: str) -> None:
        """Note that an agent left, or cannot be reached."""
        if agent_id not in self.lost:
            self.lost.add(agent_id)
            self.hosts_changed += 1

    def find(self, agent_id: str) -> None:
        """Note a sign of life of an agent."""
        if agent_id in self.lost:
            self.lost.discard(agent_id)
            self.hosts_changed += 1

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
            for name in instance.holds:
                self.writers.setdefault(name, {})[instance.instance_id] = instance

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
        for name in instance.holds:
            of_volume = self.writers[name]
            del of_volume[instance.instance_id]
            if not of_volume:
                del self.writers[name]

    def lives_of(self, app_id: str) -> Lives | None:
        """Return how an app's tasks fared so far; None: there is no such app."""
        found = self.lives.get(app_id)
        if found is None and app_id in self.apps:
            found = self.lives[app_id] = Lives()
        return found

    def launches_of(self, app_id: str) -> Launches:
        found = self.launches.get(app_id)
        if found is None:  # not setdefault: one that is made for nothing costs more than all else that a look at an app does
            found = self.launches[app_id] = Launches()
        return found

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
        known = {a: agent for found in self.on_host.values() for a, agent in found.items()}
        assert known == self.agents and all(self.on_host.values()), "agents are not those of the hosts"
        there = {(agent_id, instance_id) for agent_id, found in self.on_agent.items() for instance_id in found}
        assert there == {(i.agent_id, i.instance_id) for i in self.with_task()}, "agents hold other instances"
        for instance in self.instances.values():
            if instance.waiting:
                assert not instance.stopping, f"{instance.instance_id} waits and stops"
            else:
                assert instance.agent_id, f"{instance.instance_id} has a task but no agent"
        for app_id, fleet in self.fleets.items():
            held = [instance.ordinal for instance in fleet.instances.values() if instance.ordinal is not None]
            assert len(held) == len(set(held)), f"an ordinal of {app_id} is held twice"
        assert {(name, i) for name, found in self.writers.items() for i in found} == {
            (name, i.instance_id) for i in self.with_task() for name in i.holds
        }, "volumes have other writers"
        assert self.connected or not self.offers, "offers outlived the subscription"
        indexed = {v: r for slots in self.slots.values() for found in slots.values() for v, r in found.items()}
        assert indexed == self.volumes, "volumes are not those of the slots"
        assert self.moves.keys() == {r.slot for r in self.volumes.values() if r.move_since}, "moves are not those of the volumes"
        taken = [instance.slot for instance in self.instances.values() if instance.slot]
        assert len(taken) == len(set(taken)), f"two instances have the same volumes: {taken}"
        runs = {run.record.path: run for of_job in self.of_job.values() for run in of_job.values()}
        assert self.runs == runs, "runs are not those of the jobs"
        for path in runs:
            assert len(self.fleet(path).instances) <= 1, f"{path} runs more than once"
        changes = {app_id: change for found in self.deployments.values() for app_id, change in found.changes.items()}
        assert self.changes == changes, "changes are not those of the deployments"
        assert sum(len(found.changes) for found in self.deployments.values()) == len(changes), "an app is in two deployments"
        for found in self.deployments.values():
            assert found.total == sum(found.left.values()), f"{found.deployment_id} counts wrongly what is left"
        for found in self.deployments.values():
            assert found.reached.keys() <= found.changes.keys(), f"an app of no change stands at a gate of {found.deployment_id}"
            assert found.counted.keys() <= found.reached.keys(), f"{found.deployment_id} counts for an app at no gate"
        assert self.held.keys() == {a for found in self.deployments.values() for a in found.held}, "others wait than are held"
        for path in (*self.apps, *self.groups):
            assert ids.parent(path) in (*self.groups, "/"), f"the group that holds {path} is not there"
        for app in self.apps.values():
            assert app.version in self.versions.get(app.id, {}), f"the version that {app.id} has is not kept"
