"""A simulated Mesos around the real core: a master, agents and tasks as plain data, with no socket and no clock.

It keeps Mesos' promises and breaks what Mesos may break: updates come late, twice or out of date, offers go stale, agents
vanish and return, the scheduler crashes between any two actions and starts again from what it had stored. It checks at
each launch what no later state could show: that the intent was stored, and that nothing was given away twice.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from support.builders import EXECUTOR, a_machine
from support.records import as_stored

from eratos.common import names
from eratos.common.resources import PortRanges, Resources
from eratos.marathon.app import App
from eratos.scheduler.core import actions, events, stages
from eratos.scheduler.core.changes import NO_GROUPS
from eratos.scheduler.core.gates import ServerFigures
from eratos.scheduler.core.mesos_types import Offer, TaskState, TaskStatus, Window
from eratos.scheduler.core.records import (
    APPS,
    CHANGES,
    DEPLOYMENTS,
    GROUPS,
    INSTANCES,
    QUOTAS,
    VERSIONS,
    InstanceRecord,
    QuotaRecord,
)

RUNNING = TaskState.RUNNING


@dataclass
class Task:
    task_id: str
    agent_id: str
    resources: Resources
    ports: tuple[int, ...]
    state: TaskState = TaskState.STAGING


@dataclass
class Agent:
    agent_id: str
    zone: str
    capacity: Resources = field(default_factory=lambda: Resources(cpus_m=1000, mem_mib=1024, disk_mib=10_000))
    ports: PortRanges = field(default_factory=lambda: PortRanges([(31000, 31019)]))
    reachable: bool = True
    hostname: str = ""
    attributes: Mapping[str, str] = field(default_factory=dict)
    window: Window | None = None

    def __post_init__(self) -> None:
        self.hostname = self.hostname or f"h-{self.agent_id}"


class World:
    """Mesos, the store, and the scheduler in between."""

    def __init__(self, agents: int = 3) -> None:
        self.now = 1000.0
        self.agents = {f"a{n}": Agent(f"a{n}", f"z{n % 2}") for n in range(1, agents + 1)}
        self.tasks: dict[str, Task] = {}
        self.store: dict[str, Any] = {}
        self.offers: dict[str, str] = {}  #: offer id -> agent id
        self.offered: dict[str, Offer] = {}
        self.unacknowledged: dict[str, TaskStatus] = {}  #: uuid -> update that the agent repeats
        self.suppressed = False
        self.connected = False
        self.sends = True  #: whether launches find room on their way to the master
        self._unsent: list[str] = []
        self.ever_launched: set[str] = set()
        self._numbers = itertools.count(1)
        self._tokens = itertools.count(1)
        self.refused: list[actions.Refuse] = []
        self.start()

    # The scheduler's process

    def start(self) -> None:
        """Start the scheduler from the store, as after a crash."""
        self.machine = a_machine(as_stored(self.store), self.now, kill_retry_s=5.0, deployment_deadline_s=3600.0)
        self.machine.step.new_id = lambda: f"n{next(self._numbers)}"
        self.connected = False
        self._unsent = []
        self.drop_offers()

    def handle(self, event: events.Event, crash_after: int | None = None) -> None:
        """Have the core handle an event and perform its actions; crash after so many of them, if asked to."""
        out = self.machine.handle(event, self.now)
        self.machine.state.check()
        for number, action in enumerate(out):
            if crash_after is not None and number >= crash_after:
                self.start()
                return
            self._perform(action)
        stored = {record.group_id: record for key, record in self.store.items() if key.startswith(GROUPS)}
        assert stored == self.machine.state.groups, "other groups are stored than there are"
        found = {record.path: record for key, record in self.store.items() if key.startswith(QUOTAS)}
        assert found == self.machine.state.quotas, "other quotas are stored than there are"
        self._check_weights()
        unsent, self._unsent = tuple(self._unsent), []
        if unsent:
            self.handle(events.NotLaunched(unsent))

    def _check_weights(self) -> None:
        """What balancers are told names versions that there are, one of which has traffic."""
        state = self.machine.state
        for app_id in state.apps:
            found = stages.weights(state, app_id)
            there = {app.version for app in (state.in_force(app_id), state.staged.get(app_id)) if app is not None}
            assert found.keys() <= there, f"versions of {app_id} have weights that are not wanted: {found}"
            assert not found or max(found.values()) > 0, f"no version of {app_id} has traffic"
            part, before = stages.share(state, app_id), state.staged.get(app_id)
            if part == 0 and before is not None:
                assert found[before.version] > 0 == found[state.apps[app_id].version], f"{app_id} has traffic too early"

    def _perform(self, action: actions.Action) -> None:
        match action:
            case actions.Put():
                self.store[action.key] = action.record
            case actions.Forget():
                self.store.pop(action.key, None)
            case actions.Accept():
                self._accept(action)
            case actions.Decline():
                for offer_id in action.offer_ids:
                    self.offers.pop(offer_id, None)
            case actions.Kill():
                self._kill(action.task_id)
            case actions.Reconcile():
                self._reconcile(action)
            case actions.Suppress():
                self.suppressed = True
            case actions.Revive():
                self.suppressed = False
            case actions.Acknowledge():
                self.unacknowledged.pop(action.status.uuid, None)
            case actions.Refuse():
                self.refused.append(action)
            case actions.Reply():
                pass
            case _:
                raise AssertionError(f"unexpected action {action}")

    def _accept(self, accept: actions.Accept) -> None:
        assert self.connected, "a launch was sent without a subscription"
        valid = [o for o in accept.offer_ids if self.offers.get(o) == accept.agent_id]
        for offer_id in accept.offer_ids:
            self.offers.pop(offer_id, None)
        if not self.sends:
            self._unsent += [launch.task_id for launch in accept.launches]
            return
        for launch in accept.launches:
            parsed = names.parse_task_id(launch.task_id)
            assert parsed is not None
            record = self.store.get(INSTANCES + parsed[0])
            assert isinstance(record, InstanceRecord) and record.attempt == parsed[1], f"{launch.task_id} was not stored first"
            assert record.agent_id == accept.agent_id
            assert launch.task_id not in self.ever_launched, f"{launch.task_id} was launched twice"
            self.ever_launched.add(launch.task_id)
            if len(valid) != len(accept.offer_ids) or not self.agents[accept.agent_id].reachable:
                self.update(launch.task_id, TaskState.DROPPED, accept.agent_id, reason="REASON_INVALID_OFFERS", uuid="")
                continue
            ports = tuple(port.host_port for port in launch.payload.ports)
            task = Task(launch.task_id, accept.agent_id, launch.payload.resources, ports)
            self.tasks[task.task_id] = task
        self._check_capacity(accept.agent_id)

    def _check_capacity(self, agent_id: str) -> None:
        on_agent = [task for task in self.tasks.values() if task.agent_id == agent_id]
        used = sum((task.resources for task in on_agent), Resources())
        assert self.agents[agent_id].capacity.fits(used), f"{agent_id} is over-committed: {used}"
        ports = [port for task in on_agent for port in task.ports]
        assert len(ports) == len(set(ports)), f"a port of {agent_id} was given away twice"

    def _kill(self, task_id: str) -> None:
        task = self.tasks.get(task_id)
        if task is None:
            self.update(task_id, TaskState.GONE, "", uuid="")
        elif self.agents[task.agent_id].reachable:
            self.end(task, TaskState.KILLED)
        else:
            self.update(task_id, TaskState.UNREACHABLE, task.agent_id, uuid="")

    def _reconcile(self, call: actions.Reconcile) -> None:
        if not call.tasks:
            for task in list(self.tasks.values()):
                self._answer_reconcile(task)
        for task_id, agent_id in call.tasks:
            known = self.tasks.get(task_id)
            if known is not None:
                self._answer_reconcile(known)
            elif not any(u.task_id == task_id for u in self.unacknowledged.values()):
                self.update(task_id, TaskState.GONE, agent_id, reason="REASON_RECONCILIATION", uuid="")

    def _answer_reconcile(self, task: Task) -> None:
        state = task.state if self.agents[task.agent_id].reachable else TaskState.UNREACHABLE
        self.update(task.task_id, state, task.agent_id, reason="REASON_RECONCILIATION", uuid="")

    # What Mesos does

    def update(self, task_id: str, state: TaskState, agent_id: str, *, reason: str = "", uuid: str | None = None) -> None:
        """Queue a status update; with a uuid it is repeated until acknowledged, without it is sent once."""
        number = next(self._numbers)
        status = TaskStatus(task_id, state, agent_id, f"u{number}" if uuid is None else uuid, reason, timestamp=self.now)
        self.unacknowledged[status.uuid or f"once-{number}"] = status

    def subscribe(self) -> None:
        self.connected, self.suppressed = True, False
        self.drop_offers()
        self.handle(events.Subscribed("fw1", "m1:5050"))

    def disconnect(self) -> None:
        self.connected = False
        self.drop_offers()
        self.handle(events.Disconnected())

    def drop_offers(self) -> None:
        self.offers.clear()
        # What is sent once is lost with the connection.
        self.unacknowledged = {key: s for key, s in self.unacknowledged.items() if not key.startswith("once-")}

    def offer(self, crash_after: int | None = None) -> None:
        """Offer what each reachable agent without an open offer has free."""
        if not self.connected or self.suppressed:
            return
        made = []
        for agent in self.agents.values():
            if not agent.reachable or agent.agent_id in self.offers.values():
                continue
            used = [task for task in self.tasks.values() if task.agent_id == agent.agent_id]
            free = agent.capacity - sum((task.resources for task in used), Resources())
            ports = agent.ports.without(port for task in used for port in task.ports)
            offer = Offer(
                f"o{next(self._numbers)}",
                agent.agent_id,
                agent.hostname,
                free,
                ports,
                agent.attributes,
                frozenset([EXECUTOR]),
                "",
                agent.zone,
                agent.window,
            )
            if self.withheld(offer) or (of_role := self.to_role(offer)) is None:
                continue
            offer = of_role
            self.offered[offer.offer_id] = offer
            self.offers[offer.offer_id] = agent.agent_id
            made.append(offer)
        if made:
            self.handle(events.OffersReceived(tuple(made)), crash_after)

    def withheld(self, offer: Offer) -> bool:
        """Return whether the allocator keeps an offer back, as one that was declined."""
        return False

    def to_role(self, offer: Offer) -> Offer | None:
        """Return the offer as the allocator makes it to one of the framework's roles; None where it makes none."""
        return offer

    def rescind(self) -> None:
        for offer_id in list(self.offers):
            del self.offers[offer_id]
            self.handle(events.OfferRescinded(offer_id))

    def deliver(self, index: int, *, crash_after: int | None = None) -> None:
        """Deliver one update of those on their way; those with a uuid stay until they are acknowledged."""
        if not self.connected or not self.unacknowledged:
            return
        key = list(self.unacknowledged)[index % len(self.unacknowledged)]
        status = self.unacknowledged[key]
        if key.startswith("once-"):
            del self.unacknowledged[key]
        elif any(
            s.task_id == status.task_id
            for s in itertools.islice(self.unacknowledged.values(), list(self.unacknowledged).index(key))
            if s.uuid
        ):
            return  # an agent sends the updates of one task in order, the next one after the acknowledgement
        self.handle(events.StatusChanged(status), crash_after)

    def run_task(self, task: Task) -> None:
        if task.state is TaskState.STAGING and self.agents[task.agent_id].reachable:
            task.state = RUNNING
            self.update(task.task_id, RUNNING, task.agent_id)

    def end(self, task: Task, state: TaskState) -> None:
        del self.tasks[task.task_id]
        self.update(task.task_id, state, task.agent_id)

    def lose_agent(self, agent_id: str) -> None:
        self.agents[agent_id].reachable = False
        for offer_id in [o for o, a in self.offers.items() if a == agent_id]:
            del self.offers[offer_id]
            if self.connected:
                self.handle(events.OfferRescinded(offer_id))
        for task in self.tasks.values():
            if task.agent_id == agent_id:
                self.update(task.task_id, TaskState.UNREACHABLE, agent_id, uuid="")

    def return_agent(self, agent_id: str) -> None:
        self.agents[agent_id].reachable = True
        for task in self.tasks.values():
            if task.agent_id == agent_id:
                self.update(task.task_id, task.state, agent_id, reason="REASON_SLAVE_REREGISTERED", uuid="")

    def tick(self, seconds: float) -> None:
        self.now += seconds
        self.handle(events.Tick())

    def go_well(self, rounds: int, *, deliver: bool = True) -> None:
        """Have nothing be late for a while, unless it is news of tasks."""
        for _ in range(rounds):
            for task in list(self.tasks.values()):
                self.run_task(task)
            if deliver:
                self._deliver_all()
            self.offer()
            self.tick(1.0)

    def maintain(self, agent_id: str, begins_s: float | None) -> None:
        """Have an agent be emptied from some seconds on; None: it is not any more."""
        begin = self.now + (begins_s or 0.0)
        self.agents[agent_id].window = None if begins_s is None else Window(begin, begin + 700.0)
        self.rescind()

    def end_maintenance(self) -> None:
        for agent in self.agents.values():
            agent.window = None
        self.rescind()

    # What users do

    def _command(self, command: events.Command, crash_after: int | None = None) -> None:
        self.handle(events.CommandReceived(next(self._tokens), command), crash_after)

    def put(self, app: App, crash_after: int | None = None, *, force: bool = True) -> None:
        self._command(events.PutApps((app,), force=force), crash_after)

    def put_together(
        self,
        apps: Sequence[App],
        dropped: Sequence[str],
        crash_after: int | None = None,
        *,
        force: bool,
        groups: Mapping[str, tuple[str, ...]] = NO_GROUPS,
        gone: Sequence[str] = (),
    ) -> None:
        """Change apps and groups, and drop those of ``dropped`` and ``gone`` that there are, as one deployment."""
        there = tuple(app_id for app_id in dropped if app_id in self.machine.state.apps)
        command = events.PutApps(tuple(apps), force=force, dropped=there, groups=groups, dropped_groups=tuple(gone))
        self._command(command, crash_after)

    def put_version(self, app_id: str, pick: int, crash_after: int | None = None) -> None:
        kept = sorted(self.machine.state.versions.get(app_id, ()))
        if kept:
            self._command(events.PutVersion(app_id, kept[pick % len(kept)], force=True), crash_after)

    def kill_one(self, pick: int, crash_after: int | None = None) -> None:
        if found := sorted(self.machine.state.instances):
            self._command(events.KillInstances((found[pick % len(found)],)), crash_after)

    def steer(self, pick: int, command: str, crash_after: int | None = None) -> None:
        """Pause a deployment, have it go on, or promote its canary."""
        found = sorted(self.machine.state.deployments)
        if found:
            deployment_id = found[pick % len(found)]
            kinds = {"pause": events.Pause(deployment_id), "resume": events.Pause(deployment_id, paused=False)}
            self._command(kinds.get(command) or events.Promote(deployment_id), crash_after)

    def end_deployment(self, pick: int, crash_after: int | None = None, *, back: bool) -> None:
        """Take a deployment back, or cancel it."""
        found = sorted(self.machine.state.deployments)
        if found:
            deployment_id = found[pick % len(found)]
            self._command(events.RollBack(deployment_id) if back else events.Cancel(deployment_id), crash_after)

    def see_figures(self, requests: int, failed: int, answer_ms: int, *, missing: str) -> None:
        """Have one balancer say the same of all servers."""
        running = (task_id for task_id, task in self.tasks.items() if task.state is RUNNING)
        servers = (ServerFigures("b1", names.service_id(task_id), requests, failed, answer_ms) for task_id in running)
        self.handle(events.FiguresSeen(tuple(servers), missing))

    def put_quota(self, path: str, instances: int | None, crash_after: int | None = None) -> None:
        """Bound the instances of a group, or bound them no longer."""
        command = events.DeleteQuota(path) if instances is None else events.PutQuota(QuotaRecord(path, instances))
        self._command(command, crash_after)

    def delete(self, app_id: str) -> None:
        self._command(events.DeleteApps((app_id,), force=True))

    def scale(self, app_id: str, instances: int) -> None:
        app = self.machine.state.apps.get(app_id)
        self._command(events.RestartApp(app_id) if app is None else events.PutApps((app.with_instances(instances),), force=True))

    # The end of a history

    def heal(self) -> None:
        """Let nothing go wrong any more, and wait until everything is as it should be; AssertionError if it never is."""
        self.sends = True
        if self.connected:
            self._deliver_all()  # lost agents are still lost: that must come to rest as well
        for agent in self.agents.values():
            if not agent.reachable:
                self.return_agent(agent.agent_id)
        if not self.connected:
            self.subscribe()
        for deployment_id in list(self.machine.state.deployments):
            self._command(events.Pause(deployment_id, paused=False))
        for _ in range(200):
            for task in list(self.tasks.values()):
                self.run_task(task)
            self._deliver_all()
            self.offer()
            self.tick(10.0)
            for deployment_id in list(self.machine.state.deployments):
                self._command(events.Promote(deployment_id))
            if not self.unacknowledged and self.at_rest():
                self._check_records()
                return
        raise AssertionError(f"never at rest: {self.summary()}")

    def _check_records(self) -> None:
        """At rest no deployment is left, and versions only of what there is."""
        left = [key for key in self.store if key.startswith((DEPLOYMENTS, CHANGES))]
        assert not left, f"deployments outlived their work: {left}"
        kept = {key.removeprefix(VERSIONS).rpartition("/")[0] for key in self.store if key.startswith(VERSIONS)}
        apps = {key.removeprefix(APPS): app for key, app in self.store.items() if key.startswith(APPS)}
        assert kept == apps.keys(), f"versions are kept of {kept}, and there are {sorted(apps)}"
        for app_id, app in apps.items():
            assert f"{VERSIONS}{app_id}/{app.version}" in self.store, f"the version that {app_id} has is not kept"

    def _deliver_all(self) -> None:
        bound = 100 + 20 * len(self.unacknowledged)
        for _ in range(bound):
            if not self.unacknowledged:
                return
            self.deliver(0)
        raise AssertionError(
            f"{bound} updates and no end: calls and their answers go round: {list(self.unacknowledged.values())[:3]}"
        )

    def at_rest(self) -> bool:
        wanted = {key.removeprefix(APPS): app.instances for key, app in self.store.items() if key.startswith(APPS)}
        running: dict[str, int] = {}
        for task in self.tasks.values():
            record = self.store.get(INSTANCES + names.parse_task_id(task.task_id)[0])  # type: ignore[index]
            if task.state is not RUNNING or record is None or record.stopping:
                return False
            app = self.store.get(APPS + record.app_id)
            if app is None or record.app_version != app.version:
                return False
            running[record.app_id] = running.get(record.app_id, 0) + 1
        return running == {app_id: count for app_id, count in wanted.items() if count}

    def summary(self) -> str:
        tasks = {task.task_id: task.state.name for task in self.tasks.values()}
        apps = {key: (app.instances, app.version) for key, app in self.store.items() if key.startswith(APPS)}
        waits = {a: (str(launch.waiting), list(launch.refusals.values())) for a, launch in self.machine.state.launches.items()}
        return f"tasks={tasks} apps={apps} waits={waits} offers={self.offers} suppressed={self.suppressed}"


class SlowWorld(World):
    """A world in which a task takes its time to end: it is at its end once it is its turn to run."""

    def __init__(self) -> None:
        self.ending: set[str] = set()
        super().__init__()

    def _kill(self, task_id: str) -> None:
        task = self.tasks.get(task_id)
        if task is None or not self.agents[task.agent_id].reachable:
            super()._kill(task_id)
        else:
            self.ending.add(task_id)

    def run_task(self, task: Task) -> None:
        if task.task_id not in self.ending:
            super().run_task(task)
        elif self.agents[task.agent_id].reachable:
            self.end(task, TaskState.KILLED)
