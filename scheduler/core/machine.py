"""The single mutator: ``handle(event, now) -> actions``. Called by the loop, and by nothing else.

One event is one step: the event changes the state, due timers fire, apps that something happened to are compared with
what is wanted (:mod:`rollout`), waiting instances are placed on the offers at hand (:mod:`match`), and offers are asked
for or not. The same events give the same actions, whatever the clock on the wall does.

The loop stores ``Put`` and ``Forget`` before it sends anything, so whatever this module returns may rely on that order.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from eratos.common import names
from eratos.common.resources import Resources
from eratos.marathon.app import App, UnreachableStrategy

from . import commands, events, match, reconcile, restarts, rollout
from .actions import (
    Abort,
    Accept,
    Acknowledge,
    Action,
    Call,
    Decline,
    Forget,
    Kill,
    Launch,
    Put,
    Reconcile,
    Resubscribe,
    Revive,
    Suppress,
)
from .launch import payload
from .mesos import TaskState, TaskStatus
from .reasons import Waiting
from .records import FRAMEWORK_ID, INSTANCES, Stored
from .state import Failure, Instance, State
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
    #: Launches without any update yet, at most (rule 56).
    launching_most: int = 500
    #: After this long without an update, Mesos is asked about a launch (rule 7).
    launch_timer_s: float = 30.0
    #: A kill is repeated at this pace until a terminal update arrives (rule 42).
    kill_retry_s: float = 10.0
    #: REVIVE clears all filters in the allocator: this many may follow each other, then one per ``revive_every_s`` (rule 28).
    revive_burst: int = 10
    revive_every_s: float = 5.0


# Keys of timers; those of instances and apps are tuples with the id.
_RECONCILE = "reconcile"
_REVIVE = "revive"


class Machine:
    """The scheduler core. Not thread-safe: one caller at a time."""

    def __init__(self, stored: Stored, settings: Settings, new_id: Callable[[], str], now: float) -> None:
        """Start from what the store held. ``new_id`` gives unique strings of ``[0-9a-z-]``."""
        self.settings = settings
        self.state = State(framework_id=stored.framework_id, spoilt=dict(stored.spoilt))
        self.new_id = new_id
        self._out: list[Action] = []
        self._dirty: set[str] = set()
        self._timers = Timers()
        self._reconciliation = reconcile.Reconciliation()
        self._launching = 0
        self._next_ports: dict[str, int] = {}
        self._revives_left = settings.revive_burst
        self._revived_at = now
        self._turn = 0
        for app in stored.apps:
            self.state.apps[app.id] = app
            self._dirty.add(app.id)
        for record in stored.instances:
            instance = Instance.from_record(record)
            self.state.add(instance)
            self._dirty.add(instance.app_id)
            self._launching += instance.launching
            self._watch(instance, now)

    # The two entrances

    def handle(self, event: events.Event, now: float) -> list[Action]:
        """Take one event and return what to do about it, in order within each kind of action."""
        self._out = []
        match event:
            case events.Subscribed():
                self._subscribed(event, now)
            case events.Disconnected():
                self._disconnected()
            case events.OffersReceived():
                for offer in event.offers:
                    self.state.offers[offer.offer_id] = offer
            case events.OfferRescinded():
                self.state.offers.pop(event.offer_id, None)
            case events.StatusChanged():
                self._status(event.status, now)
            case events.AgentLost():
                self._agent_lost(event.agent_id)
            case events.ExecutorLost():
                self._ask_about(i for i in self.state.instances.values() if i.agent_id == event.agent_id)
            case events.MasterError():
                self._master_error(event.message)
            case events.Tick():
                pass
            case _:
                self._out += commands.carry_out(self, event, now)
        for key in self._timers.pop_due(now):
            self._due(key, now)
        self._roll_out(now)
        self._place(now)
        self._ask_for_offers(now)
        return self._out

    def next_deadline(self) -> float | None:
        """Return when a Tick is needed, or None while nothing is due."""
        return self._timers.next_at()

    def abandon(self) -> list[Action]:
        """Return what a step had decided until it raised: its writes belong to changes that were made."""
        out, self._out = self._out, []
        return out

    def touch(self, app_id: str) -> None:
        """Have an app compared with what is wanted at the end of this step."""
        self._dirty.add(app_id)

    # The subscription

    def _subscribed(self, event: events.Subscribed, now: float) -> None:
        state = self.state
        state.connected, state.master, state.suppressed = True, event.master, False
        state.offers.clear()
        if event.framework_id != state.framework_id:
            state.framework_id = event.framework_id
            self._out.append(Put(FRAMEWORK_ID, event.framework_id))
        for instance in state.instances.values():
            if instance.stopping:
                self._kill(instance, now)
        self._reconciliation.start(i.task_id for i in state.instances.values() if not i.waiting)
        self._timers.set(_RECONCILE, now)

    def _disconnected(self) -> None:
        self.state.connected = False
        self.state.offers.clear()
        self._reconciliation.stop()
        self._timers.clear(_RECONCILE)

    def _master_error(self, message: str) -> None:
        self._disconnected()
        if "removed" in message.lower():
            # The master ended this framework and with it every task: nothing can go on under this id (failover timeout).
            self._out.append(Abort(f"the master removed framework {self.state.framework_id}: {message}"))
        else:
            self._out.append(Resubscribe(message))

    def _agent_lost(self, agent_id: str) -> None:
        for offer_id in [o.offer_id for o in self.state.offers.values() if o.agent_id == agent_id]:
            del self.state.offers[offer_id]
        self._ask_about(i for i in self.state.instances.values() if i.agent_id == agent_id)

    def _ask_about(self, instances: Iterable[Instance]) -> None:
        asked = tuple((i.task_id, i.agent_id) for i in instances if not i.waiting)
        if asked:
            self._call(Reconcile(asked))

    def _reconcile_step(self, now: float) -> None:
        requests, delay = self._reconciliation.step()
        for request in requests:
            known = (names.parse_task_id(task_id) for task_id in request)
            found = [self.state.instances.get(parsed[0]) for parsed in known if parsed]
            self._call(Reconcile(tuple((i.task_id, i.agent_id) for i in found if i is not None and not i.waiting)))
        if requests or not self.state.connected:
            self._timers.set(_RECONCILE, now + delay)
        else:
            self._reconciliation.start(i.task_id for i in self.state.instances.values() if not i.waiting)
            self._timers.set(_RECONCILE, now + delay)

    # Tasks

    def _status(self, status: TaskStatus, now: float) -> None:
        self._reconciliation.answered(status.task_id)
        instance = self._instance_of(status.task_id)
        if instance is None:
            self._unknown(status)
        elif status.state.terminal:
            self._ended(instance, status, now)
        elif status.state in (TaskState.UNREACHABLE, TaskState.UNKNOWN):
            self._unreachable(instance, status, now)
        else:
            self._alive(instance, status, now)
        if status.uuid:
            self._out.append(Acknowledge(status))

    def _instance_of(self, task_id: str) -> Instance | None:
        parsed = names.parse_task_id(task_id)
        instance = self.state.instances.get(parsed[0]) if parsed else None
        return instance if instance is not None and instance.task_id == task_id and not instance.waiting else None

    def _unknown(self, status: TaskStatus) -> None:
        """A task that no record stands for: an earlier attempt, or a leftover. It has no place, so it goes (rules 8, 16)."""
        parsed = names.parse_task_id(status.task_id)
        spoilt = parsed is not None and INSTANCES + parsed[0] in self.state.spoilt
        # The master answers a kill on a lost agent with the same state again, so killing would go round without end; if the task
        # ever comes back, its next state is of another kind.
        lost = status.state in (TaskState.UNREACHABLE, TaskState.UNKNOWN)
        if not status.state.terminal and not spoilt and not lost:
            self._call(Kill(status.task_id, status.agent_id))

    def _alive(self, instance: Instance, status: TaskStatus, now: float) -> None:
        before = instance.record()
        if status.state is not TaskState.KILLING:
            self._set_state(instance, status.state)
        if status.state is TaskState.RUNNING:
            instance.started_at = instance.started_at or status.timestamp or now
        # A reconcile answer carries no more than the state (rule 15).
        if status.reason != "REASON_RECONCILIATION":
            instance.healthy = instance.healthy if status.healthy is None else status.healthy
            instance.addresses = status.addresses or instance.addresses
        instance.inactive = False
        self._timers.clear(("unreachable", instance.instance_id))
        if not instance.launching:
            self._timers.clear(("launch", instance.instance_id))
        if instance.record() != before:
            self._put(instance)
        self._dirty.add(instance.app_id)

    def _unreachable(self, instance: Instance, status: TaskStatus, now: float) -> None:
        if instance.state is not TaskState.UNREACHABLE:
            self._set_state(instance, TaskState.UNREACHABLE)
            self._put(instance)
        self._timers.clear(("launch", instance.instance_id))
        if ("unreachable", instance.instance_id) not in self._timers and not instance.inactive:
            strategy = self._unreachable_strategy(instance)
            if strategy is not None:
                self._timers.set(("unreachable", instance.instance_id), now + strategy.inactive_after_seconds)
        self._dirty.add(instance.app_id)

    def _unreachable_strategy(self, instance: Instance) -> UnreachableStrategy | None:
        """Return the app's strategy; None means to wait without end. A deleted app's instances are given up at once."""
        app = self.state.apps.get(instance.app_id)
        return UnreachableStrategy() if app is None else app.unreachable_strategy

    def _ended(self, instance: Instance, status: TaskStatus, now: float) -> None:
        self._set_state(instance, None)
        self._out.append(Forget(INSTANCES + instance.instance_id))
        app = self.state.apps.get(instance.app_id)
        if status.state in restarts.FAILURES and app is not None and not instance.stopping:
            launches = self.state.launches_of(app.id)
            ran_s = now - instance.launched_at
            launches.delay_s = restarts.next_delay_s(app, launches.delay_s, ran_s)
            launches.delayed_until = now + launches.delay_s
            launches.last_failure = Failure(status.task_id, status.state, status.message, instance.hostname, now)
            self._timers.set(("delay", app.id), launches.delayed_until)
        self._dirty.add(instance.app_id)
        for kind in ("launch", "kill", "unreachable"):
            self._timers.clear((kind, instance.instance_id))
        keep = app is not None and not instance.stopping and not instance.inactive and instance.version == app.version
        self.state.remove(instance)
        if keep:
            # The instance survives its task and waits for its next one.
            self.state.add(
                Instance(
                    instance_id=instance.instance_id,
                    app_id=instance.app_id,
                    version=instance.version,
                    attempt=instance.attempt + 1,
                    waiting_since=now,
                )
            )

    def _set_state(self, instance: Instance, state: TaskState | None) -> None:
        self._launching -= instance.launching
        instance.state = state
        self._launching += instance.launching

    def _put(self, instance: Instance) -> None:
        self._out.append(Put(INSTANCES + instance.instance_id, instance.record()))

    def _kill(self, instance: Instance, now: float) -> None:
        self._call(Kill(instance.task_id, instance.agent_id))
        self._timers.set(("kill", instance.instance_id), now + self.settings.kill_retry_s)

    def _watch(self, instance: Instance, now: float) -> None:
        """Set the timers that belong to an instance just loaded or just launched."""
        if instance.launching:
            self._timers.set(("launch", instance.instance_id), now + self.settings.launch_timer_s)
        elif instance.state is TaskState.UNREACHABLE:
            self._timers.set(("unreachable", instance.instance_id), now)

    def _due(self, key: object, now: float) -> None:
        if key == _RECONCILE:
            self._reconcile_step(now)
            return
        if not isinstance(key, tuple):
            return
        kind, subject = key
        if kind == "delay":
            self._dirty.add(subject)
            return
        instance = self.state.instances.get(subject)
        if instance is None or instance.waiting:
            return
        if kind == "kill":
            self._kill(instance, now)
        elif kind == "launch":
            self._call(Reconcile(((instance.task_id, instance.agent_id),)))
            self._timers.set(key, now + self.settings.launch_timer_s)
        elif kind == "unreachable" and not instance.inactive:
            instance.inactive = True
            strategy = self._unreachable_strategy(instance)
            if strategy is not None:
                self._timers.set(key, now + strategy.expunge_after_seconds - strategy.inactive_after_seconds)
            self._dirty.add(instance.app_id)
        elif kind == "unreachable":
            # Given up for good; should it come back after all, it is unknown then, and killed.
            self._out.append(Forget(INSTANCES + instance.instance_id))
            self.state.remove(instance)
            self._dirty.add(instance.app_id)

    # What is wanted

    def _roll_out(self, now: float) -> None:
        for app_id in sorted(self._dirty):
            app = self.state.apps.get(app_id)
            # A waiting instance that is stopped is gone at once and no event will tell of it, so look again.
            while self._step_out(app_id, now):
                pass
            if app is None and app_id not in self.state.by_app:
                self.state.launches.pop(app_id, None)
        for deployment in list(self.state.deployments.values()):
            if all(rollout.at_rest(self.state.apps.get(a), self.state.instances_of(a)) for a in deployment.app_ids):
                del self.state.deployments[deployment.deployment_id]
        self._dirty.clear()

    def _step_out(self, app_id: str, now: float) -> bool:
        """Take an app's next steps; tell whether that made room for further ones."""
        app = self.state.apps.get(app_id)
        steps = rollout.next_steps(app, self.state.instances_of(app_id))
        room = any(instance.waiting for instance in steps.stop)
        for instance in steps.stop:
            self.stop(instance, now)
        for _ in range(steps.start):
            assert app is not None
            self.state.add(
                Instance(
                    instance_id=names.instance_id(app_id, self.new_id()),
                    app_id=app_id,
                    version=app.version,
                    waiting_since=now,
                )
            )
        return room

    def stop(self, instance: Instance, now: float) -> None:
        """Stop an instance: at once if it only waits, by a kill that is repeated until it took effect otherwise."""
        if instance.waiting:
            self.state.remove(instance)
        elif not instance.stopping:
            instance.stopping = True
            self._put(instance)
            self._kill(instance, now)

    # Offers

    def _place(self, now: float) -> None:
        state = self.state
        if not state.offers:
            return
        candidates = match.hosts(
            state.offers.values(), self.settings.executor_id, self.settings.executor_resources, self._next_ports
        )
        accepted: dict[str, list[Launch]] = {}
        misfit = False
        for app_id in self._in_turn():
            app, launches = state.apps[app_id], state.launches_of(app_id)
            waiting = [i for i in state.instances_of(app_id) if i.waiting]
            launches.offers_seen += len(candidates)
            launches.waiting = self._held_back(app_id, now)
            if launches.waiting is not None:
                continue
            room = self.settings.launching_most - self._launching
            if room <= 0:
                launches.waiting = Waiting.LAUNCH_LIMIT
                continue
            placed, refusals = match.place(app, min(len(waiting), room), candidates, self._placed(app_id), now)
            launches.refusals.update(refusals)
            for instance, placement in zip(waiting, placed, strict=False):
                launch = self._launch(instance, placement, now)
                accepted.setdefault(placement.host.agent_id, []).append(launch)
            if len(placed) == len(waiting):
                launches.waiting, launches.offers_seen = None, 0
                launches.refusals.clear()
            else:
                misfit = True
                launches.waiting = Waiting.NO_FIT if refusals else Waiting.LAUNCH_LIMIT
        self._answer(candidates, accepted, misfit)

    def _in_turn(self) -> list[str]:
        """Return the apps with waiting instances, another one first each time: none starves behind another."""
        waiting = [
            app_id
            for app_id, of in self.state.by_app.items()
            if app_id in self.state.apps and any(i.waiting for i in of.values())
        ]
        if not waiting:
            return []
        self._turn += 1
        first = self._turn % len(waiting)
        return waiting[first:] + waiting[:first]

    def _placed(self, app_id: str) -> list[Instance]:
        return [i for i in self.state.instances_of(app_id) if not i.waiting and not i.stopping and not i.inactive]

    def _launch(self, instance: Instance, placement: match.Placement, now: float) -> Launch:
        host = placement.host
        instance.agent_id, instance.hostname = host.agent_id, host.hostname
        instance.region, instance.zone, instance.attributes = host.region, host.zone, host.attributes
        instance.ports, instance.launched_at = placement.ports, now
        self._next_ports[host.agent_id] = host.first_port
        self._set_state(instance, TaskState.STAGING)
        self._put(instance)
        self._watch(instance, now)
        app = self.state.apps[instance.app_id]
        return Launch(instance.task_id, payload(app, instance, self.state.framework_id))

    def _answer(self, candidates: list[match.Host], accepted: dict[str, list[Launch]], misfit: bool) -> None:
        """Answer every offer on hand: none is held back for later (rule 26)."""
        refuse_s = self.settings.misfit_refuse_s if misfit else self.settings.idle_refuse_s
        declined: list[str] = []
        for host in candidates:
            launches = accepted.get(host.agent_id)
            if launches:
                self._call(Accept(host.agent_id, host.offer_ids, tuple(launches), refuse_s))
            else:
                declined.extend(host.offer_ids)
        if declined:
            self._call(Decline(tuple(declined), refuse_s))
        self.state.offers.clear()

    def _ask_for_offers(self, now: float) -> None:
        state = self.state
        wanting = any(self._wants_offers(app_id, now) for app_id in self._in_need())
        if not state.connected:
            for app_id in self._in_need():
                state.launches_of(app_id).waiting = Waiting.NOT_CONNECTED
            return
        if not wanting:
            if not state.suppressed:
                state.suppressed = True
                self._call(Suppress())
            self._timers.clear(_REVIVE)
            return
        if not state.suppressed:
            return
        earned = int((now - self._revived_at) / self.settings.revive_every_s)
        if earned:
            self._revives_left = min(self.settings.revive_burst, self._revives_left + earned)
            self._revived_at = now
        if self._revives_left > 0:
            self._revives_left -= 1
            state.suppressed = False
            self._call(Revive())
        elif _REVIVE not in self._timers:
            self._timers.set(_REVIVE, self._revived_at + self.settings.revive_every_s)

    def _in_need(self) -> list[str]:
        return [a for a in self.state.apps if any(i.waiting for i in self.state.instances_of(a))]

    def _wants_offers(self, app_id: str, now: float) -> bool:
        launches = self.state.launches_of(app_id)
        held_back = self._held_back(app_id, now)
        if held_back is not None:
            launches.waiting = held_back
            return False
        if launches.waiting not in (Waiting.NO_FIT, Waiting.LAUNCH_LIMIT):
            launches.waiting = Waiting.NO_OFFER
        return self._launching < self.settings.launching_most

    def _held_back(self, app_id: str, now: float) -> Waiting | None:
        """Return why an app may not launch now, whatever is offered."""
        if self.state.launches_of(app_id).delayed_until > now:
            return Waiting.BACK_OFF
        dependencies = (self.state.apps.get(dependency) for dependency in self.state.apps[app_id].dependencies)
        if not all(dependency is None or self._serves(dependency) for dependency in dependencies):
            return Waiting.DEPENDENCY
        return None

    def _serves(self, app: App) -> bool:
        """Tell whether an app can be depended on: one ready instance is enough, so that a partial failure of the one app
        does not keep the other from being repaired. An app scaled to nothing keeps nobody waiting, as in Marathon."""
        checked = bool(app.health_checks)
        return app.instances == 0 or any(instance.ready(checked) for instance in self.state.instances_of(app.id))

    def _call(self, call: Call) -> None:
        """Have a call sent. Without a subscription it would vanish; what matters is repeated after the next one."""
        if self.state.connected or isinstance(call, Resubscribe):
            self._out.append(call)
