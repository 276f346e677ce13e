"""The single mutator: events in, actions out. Called by the loop, and by nothing else.

``take`` lets an event change the state; ``decide`` then lets due timers fire, compares apps that something happened to with
what is wanted (:mod:`rollout`), places what waits on the offers at hand (:mod:`offers`), and returns what to do. The loop
takes a whole batch of events before it has the core decide once; ``handle`` does both for a single one. The same events
give the same actions, whatever the clock on the wall does.

The loop stores ``Put`` and ``Forget`` before it sends anything, so whatever this package returns may rely on that order.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal

from eratos.common import names
from eratos.common.resources import Resources

from . import commands, events, maintenance, offers, rebalance, reconcile, rollout, tasks
from .actions import Abort, Action, Call, Put, Reconcile, Resubscribe
from .brake import Brake
from .mesos import Agent, TaskState
from .records import FRAMEWORK_ID, INSTANCES, InstanceRecord, Stored
from .state import Instance, State
from .timers import Timers


@dataclass(frozen=True, slots=True)
class Settings:
    """What the core has to know of the process's configuration."""

    executor_id: str
    executor_resources: Resources
    #: How long the unused rest of an offer is refused when nothing waits; a REVIVE clears it (rule 27).
    idle_refuse_s: float = 3600.0
    #: How long an offer is refused that did not fit something waiting.
    misfit_refuse_s: float = 5.0
    #: Launches that no executor has answered yet, at most (rule 56).
    launching_most: int = 2000
    #: After this long without an update, Mesos is asked about a launch (rule 7); then each time after twice as long.
    launch_timer_s: float = 30.0
    #: How long an executor may take to answer a launch, before it is given up.
    launch_confirm_timeout_s: float = 300.0
    #: How long a start may go on after the last news of it, such as the pull of an image, before it is given up.
    launch_timeout_s: float = 1800.0
    #: A kill is repeated at this pace until a terminal update arrives (rule 42).
    kill_retry_s: float = 10.0
    #: REVIVE clears all filters in the allocator: this many may follow each other, then one per ``revive_every_s`` (rule 28).
    revive_burst: int = 10
    revive_every_s: float = 5.0
    #: How instances are placed where the app says nothing: spread over zones and hosts, or packed onto few hosts.
    placement: Literal["spread", "pack"] = "spread"
    #: How long before its maintenance a host is closed and emptied.
    maintenance_lead_s: float = 300.0
    #: How long a loss, or a task without a record, is looked at before anything is done about it: others may follow.
    loss_settle_s: float = 1.0
    #: Share of all hosts or tasks whose loss at once engages the disaster brake; 0: never.
    brake_share: float = 0.2
    #: Instances that may be moved at the same time to even out an app's spread; 0: none are.
    rebalance_budget: int = 0


# Keys of timers; those of instances, apps and agents are tuples with the id.
_RECONCILE = "reconcile"


#: Instances of one app that wait at a time, beside those that are not made yet.
WAITING_MOST = 10_000


class Machine:
    """The scheduler core. Not thread-safe: one caller at a time.

    What is public beside the entrances is for the modules of this package, which hold the decisions by subject.
    """

    def __init__(self, stored: Stored, settings: Settings, new_id: Callable[[], str], now: float) -> None:
        """Start from what the store held. ``new_id`` gives unique strings of ``[0-9a-z-]``."""
        self.settings = settings
        self.state = State(framework_id=stored.framework_id, spoilt=dict(stored.spoilt), brake=Brake(settings.brake_share))
        self.new_id = new_id
        self.out: list[Action] = []
        self.timers = Timers()
        self.reconciliation = reconcile.Reconciliation()
        self.next_ports: dict[str, int] = {}
        self.revives_left = settings.revive_burst
        self.revived_at = now
        self.subscribed_at = now
        self.turn = 0
        self.faults: list[tuple[str, Exception]] = []  #: apps that something broke over, for the loop to log once
        self._told: dict[str, str] = {}  #: app -> what broke over it last; "" for what is of no app
        self._dirty: set[str] = set()
        for app in stored.apps:
            self.state.apps[app.id] = app
            self._dirty.add(app.id)
        for record in stored.instances:
            self._load(record, now)
        if settings.rebalance_budget:
            self.timers.set(rebalance.TIMER, now + rebalance.PERIOD_S)

    def _load(self, record: InstanceRecord, now: float) -> None:
        agent = self.state.agents.get(record.agent_id)
        if agent is None:
            agent = Agent(record.agent_id, record.hostname, record.region, record.zone, record.attributes)
            self.state.agents[record.agent_id] = agent
        instance = Instance.from_record(record, agent)
        instance.news_at = now
        self.state.add(instance)
        self._dirty.add(instance.app_id)
        self.watch(instance, now)

    # The entrances

    def handle(self, event: events.Event, now: float) -> list[Action]:
        """Take one event and return what to do about it, in order within each kind of action."""
        self.take(event, now)
        return self.decide(now)

    def take(self, event: events.Event, now: float) -> None:
        """Let one event change the state; what to do about it comes from the next :meth:`decide`."""
        match event:
            case events.StatusChanged():
                tasks.status(self, event.status, now)
            case events.OffersReceived():
                offers.receive(self, event.offers, now)
            case events.OfferRescinded():
                self.state.offers.pop(event.offer_id, None)
            case events.InverseOffersReceived():
                maintenance.asked(self, event.offers, now)
            case events.InverseOfferRescinded():
                pass  # offers tell whether the window is still there
            case events.Subscribed():
                self._subscribed(event, now)
            case events.Disconnected():
                self._disconnected()
            case events.NotSubscribed():
                self.state.not_subscribed = event.reason
            case events.AgentLost():
                self._agent_lost(event.agent_id)
            case events.NotLaunched():
                tasks.not_launched(self, event.task_ids, now)
            case events.ExecutorLost():
                tasks.ask_about(self, self.state.on_agent.get(event.agent_id, {}).values())
            case events.MasterError():
                self._master_error(event.message)
            case events.Tick():
                pass
            case _:
                self.out += commands.carry_out(self, event, now)

    def decide(self, now: float) -> list[Action]:
        """Return what to do about all events since the last time, and about the time that went by."""
        launches: list[Instance] = []
        for key in self.timers.pop_due(now):
            try:
                self._due(key, now, launches)
            except Exception as error:
                self.broke(self._app_of(key), error)
                self.timers.set(key, now + self.settings.kill_retry_s)  # what it stands for is still to be done
        tasks.launches_due(self, launches, now)
        if self.state.brake.assess(len(self.state.unknown), len(self.state.instances), now):
            self._dirty.update(self.state.fleets, self.state.apps)
        self._roll_out(now)
        offers.place(self, now)
        if self._dirty:
            self._roll_out(now)  # what was placed made room for instances that are not made yet
        offers.ask(self, now)
        return self.abandon()

    def abandon(self) -> list[Action]:
        """Return what was decided until something raised: its writes belong to changes that were made."""
        out, self.out = self.out, []
        return out

    def next_deadline(self) -> float | None:
        """Return when to decide again though nothing may happen, or None while nothing is due."""
        return self.timers.next_at()

    # For the modules of this package

    def touch(self, app_id: str) -> None:
        """Have an app compared with what is wanted at the end of this step."""
        self._dirty.add(app_id)

    def put(self, instance: Instance) -> None:
        """Have an instance's record stored."""
        self.out.append(Put(INSTANCES + instance.instance_id, instance.record()))

    def call(self, call: Call) -> None:
        """Have a call sent. Without a subscription it would vanish; what matters is repeated after the next one."""
        if self.state.connected or isinstance(call, Resubscribe):
            self.out.append(call)

    def broke(self, app_id: str, error: Exception) -> None:
        """Note that something broke over one app; it is logged once and shown by explain, and the others go on."""
        fault = f"{type(error).__name__}: {error}"
        if fault != self._told.get(app_id):
            self._told[app_id] = fault
            self.faults.append((app_id, error))
        if app_id in self.state.apps:
            self.state.launches_of(app_id).fault = fault

    def mended(self, app_id: str) -> None:
        """Note that an app was looked after without a fault."""
        if self._told.pop(app_id, ""):
            self.state.launches_of(app_id).fault = ""

    def _app_of(self, key: object) -> str:
        """Return the app that a timer is about, or nothing."""
        name = key[1] if isinstance(key, tuple) else ""
        instance = self.state.instances.get(name)
        return instance.app_id if instance is not None else name if name in self.state.apps else ""

    def watch(self, instance: Instance, now: float) -> None:
        """Set the timers that belong to an instance just loaded or just launched."""
        if instance.launching:
            instance.news_at = now
            tasks.watch_launch(self, instance, now)
        elif instance.state is TaskState.UNREACHABLE:
            tasks.watch_unreachable(self, instance, now)

    # The subscription

    def _subscribed(self, event: events.Subscribed, now: float) -> None:
        state = self.state
        state.connected, state.master, state.suppressed = True, event.master, False
        self.subscribed_at = now
        state.not_subscribed, state.region = "", event.region
        state.offers.clear()
        if event.framework_id != state.framework_id:
            state.framework_id = event.framework_id
            self.out.append(Put(FRAMEWORK_ID, event.framework_id))
        for instance in state.instances.values():
            if instance.stopping:
                tasks.kill(self, instance, now)
        self._reconcile(now)

    def _disconnected(self) -> None:
        self.state.connected = False
        self.state.offers.clear()
        self.reconciliation.stop()
        self.timers.clear(_RECONCILE)

    def _master_error(self, message: str) -> None:
        self._disconnected()
        if "removed" in message.lower():
            # The master ended this framework and with it every task: nothing can go on under this id (failover timeout).
            self.out.append(Abort(f"the master removed framework {self.state.framework_id}: {message}"))
        else:
            self.out.append(Resubscribe(message))

    def _agent_lost(self, agent_id: str) -> None:
        state = self.state
        for offer_id in [o.offer_id for o in state.offers.values() if o.agent_id == agent_id]:
            del state.offers[offer_id]
        tasks.ask_about(self, state.on_agent.get(agent_id, {}).values())
        self.next_ports.pop(agent_id, None)
        state.windows.pop(agent_id, None)
        if agent_id not in state.on_agent:
            state.agents.pop(agent_id, None)

    def _reconcile(self, now: float) -> None:
        self.reconciliation.start(instance.instance_id for instance in self.state.with_task())
        self.timers.set(_RECONCILE, now)

    def _reconcile_step(self, now: float) -> None:
        requests, delay_s = self.reconciliation.step()
        for request in requests:
            found = (self.state.instances.get(instance_id) for instance_id in request)
            asked = tuple((i.task_id, i.agent_id) for i in found if i is not None and not i.waiting)
            if asked or not request:
                self.call(Reconcile(asked))
        if not requests and self.state.connected:
            self.reconciliation.start(instance.instance_id for instance in self.state.with_task())
        self.timers.set(_RECONCILE, now + delay_s)

    # Timers

    def _due(self, key: object, now: float, launches: list[Instance]) -> None:
        match key:
            case str():
                if key == _RECONCILE:
                    self._reconcile_step(now)
                elif key == tasks.UNKNOWN:
                    tasks.kill_unknown(self, now)
                elif key == rebalance.TIMER:
                    rebalance.step(self, now)
            case ("delay", str(app_id)):
                self.touch(app_id)
            case (maintenance.WINDOW, str(agent_id)):
                maintenance.due(self, agent_id, now)
            case (str(kind), str(instance_id)):
                instance = self.state.instances.get(instance_id)
                if instance is not None and not instance.waiting:
                    if kind == tasks.LAUNCH:
                        launches.append(instance)
                    else:
                        self._instance_due(kind, instance, now)

    def _instance_due(self, kind: str, instance: Instance, now: float) -> None:
        if kind == tasks.KILL:
            tasks.kill(self, instance, now)
        elif kind == tasks.UNREACHABLE:
            tasks.unreachable_due(self, instance, now)

    # What is wanted

    def _roll_out(self, now: float) -> None:
        state = self.state
        if state.brake.engaged:
            return  # and what is dirty stays so until it is released
        for app_id in sorted(self._dirty):
            try:
                # A waiting instance that is stopped is gone at once and no event will tell of it, so look again.
                while self._step_out(app_id, now):
                    pass
            except Exception as error:
                self.broke(app_id, error)  # and the others go on
            if app_id not in state.apps and app_id not in state.fleets:
                state.launches.pop(app_id, None)
        for deployment in list(state.deployments.values()):
            touched = not deployment.app_ids or not self._dirty.isdisjoint(deployment.app_ids)
            if touched and all(rollout.at_rest(state.apps.get(a), state.fleet(a)) for a in deployment.app_ids):
                del state.deployments[deployment.deployment_id]
        self._dirty.clear()

    def _step_out(self, app_id: str, now: float) -> bool:
        """Take an app's next steps; tell whether that made room for further ones."""
        app = self.state.apps.get(app_id)
        steps = rollout.next_steps(app, self.state.fleet(app_id))
        room = any(instance.waiting for instance in steps.stop)
        self.stop_all(steps.stop, now)
        if app is not None:
            self._start(app_id, app.version, steps.start, now)
        return room

    def _start(self, app_id: str, version: str, count: int, now: float) -> None:
        """Make instances to be started, no more than can be placed soon: the others are made as these are placed."""
        made = min(count, max(0, WAITING_MOST - len(self.state.fleet(app_id).waiting)))
        if count > made or app_id in self.state.launches:
            self.state.launches_of(app_id).unmade = count - made
        for _ in range(made):
            instance_id = names.instance_id(app_id, self.new_id())
            self.state.add(Instance(instance_id, app_id, version, waiting_since=now))

    def stop_all(self, instances: Iterable[Instance], now: float) -> None:
        """Stop instances that are not wanted any more."""
        for instance in instances:
            tasks.stop(self, instance, now)
