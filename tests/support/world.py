"""A simulated Mesos around the real core: a master, agents and tasks as plain data, with no socket and no clock.

It keeps Mesos' promises and breaks what Mesos may break: updates come late, twice or out of date, offers go stale, agents
vanish and return, the scheduler crashes between any two actions and starts again from what it had stored. It checks at
each launch what no later state could show: that the intent was stored, and that nothing was given away twice.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from typing import Any

from support.builders import EXECUTOR, a_machine

from eratos.common import names
from eratos.common.resources import PortRanges, Resources
from eratos.marathon.app import App
from eratos.scheduler.core import actions, events
from eratos.scheduler.core.mesos import Offer, TaskState, TaskStatus
from eratos.scheduler.core.records import APPS, FRAMEWORK_ID, INSTANCES, InstanceRecord, Stored

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
        apps = tuple(v for k, v in self.store.items() if k.startswith(APPS))
        instances = tuple(v for k, v in self.store.items() if k.startswith(INSTANCES))
        self.machine = a_machine(Stored(self.store.get(FRAMEWORK_ID, ""), apps, instances), self.now, kill_retry_s=5.0)
        self.machine.new_id = lambda: f"n{next(self._numbers)}"
        self.connected = False
        self._unsent = []
        self.drop_offers()

    def handle(self, event: events.Event, crash_after: int | None = None) -> None:
        """Have the core handle an event and perform its actions; crash after so many of them, if asked to."""
        out = self.machine.handle(event, self.now)
        self.machine.state.check()
        ordered = [a for a in out if isinstance(a, actions.Write)]
        ordered += [a for a in out if not isinstance(a, actions.Write | actions.Acknowledge)]
        ordered += [a for a in out if isinstance(a, actions.Acknowledge)]
        for number, action in enumerate(ordered):
            if crash_after is not None and number >= crash_after:
                self.start()
                return
            self._perform(action)
        unsent, self._unsent = tuple(self._unsent), []
        if unsent:
            self.handle(events.NotLaunched(unsent))

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
            task = self.tasks.get(task_id)
            if task is not None:
                self._answer_reconcile(task)
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
                f"h-{agent.agent_id}",
                free,
                ports,
                {},
                frozenset([EXECUTOR]),
                "",
                agent.zone,
            )
            self.offers[offer.offer_id] = agent.agent_id
            made.append(offer)
        if made:
            self.handle(events.OffersReceived(tuple(made)), crash_after)

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

    # What users do

    def put(self, app: App, crash_after: int | None = None) -> None:
        self.handle(events.PutApps(next(self._tokens), (app,)), crash_after)

    def delete(self, app_id: str) -> None:
        self.handle(events.DeleteApps(next(self._tokens), (app_id,)))

    def scale(self, app_id: str, instances: int) -> None:
        self.handle(events.ScaleApp(next(self._tokens), app_id, instances))

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
        for _ in range(200):
            for task in list(self.tasks.values()):
                self.run_task(task)
            self._deliver_all()
            self.offer()
            self.tick(10.0)
            if not self.unacknowledged and self.at_rest():
                return
        raise AssertionError(f"never at rest: {self.summary()}")

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
