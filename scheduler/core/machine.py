"""The entrances of the core: events in, a decision out. Called by the loop, and by nothing else.

``take`` lets an event change the state; ``decide`` then lets due timers fire, compares apps that something happened to with
what is wanted (:mod:`apps`), places what waits on the offers at hand (:mod:`offers`), and returns what to do. The loop
takes a whole batch of events before it has the core decide once; ``handle`` does both for a single one. The same events
give the same decisions, whatever the clock on the wall does.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import assert_never

from . import (
    apps,
    budgets,
    commands,
    deployments,
    drains,
    events,
    following,
    groups,
    maintenance,
    moves,
    offers,
    per_host,
    rebalance,
    runs,
    scaling,
    schedules,
    status_updates,
    subscription,
    sweeps,
    versions,
    volumes,
)
from .actions import Notice
from .brake import Brake
from .instances import Instance
from .mesos_types import Agent, TaskState
from .records import InstanceRecord, Stored
from .state import State
from .step import Decision, Settings, Step
from .timers import Timer, TimerKind


class Machine:
    """The scheduler core. Not thread-safe: one caller at a time."""

    def __init__(self, stored: Stored, settings: Settings, new_id: Callable[[], str], now: float) -> None:
        """Start from what the store held. ``new_id`` gives unique strings of ``[0-9a-z-]``."""
        state = State(framework_id=stored.framework_id, spoilt=dict(stored.spoilt), brake=Brake(settings.brake_share))
        self.step = Step(state, settings, new_id, now)
        self._brake_reason = ""
        for app in stored.apps:
            state.apps[app.id] = app
            self.step.touch(app.id)
        state.quotas.update((quota.path, quota) for quota in stored.quotas)
        runs.load(self.step, stored)
        for record in stored.instances:
            self._load(record)
        volumes.load(self.step, stored)
        moves.load(self.step)
        sweeps.load(self.step, stored.sweeps)
        versions.load(self.step, stored.versions)
        groups.load(self.step, stored.groups)
        budgets.load(self.step, stored.budgets)
        deployments.load(self.step, stored)
        drains.load(self.step, stored.drains)
        for hostname in state.drains:
            maintenance.review(self.step, hostname)
        if settings.rebalance_budget:
            self.step.timers.set(Timer(TimerKind.REBALANCE), now + rebalance.PERIOD_S)

    @property
    def state(self) -> State:
        return self.step.state

    def _load(self, record: InstanceRecord) -> None:
        agent = self.state.agents.get(record.agent_id)
        if agent is None:
            agent = Agent(record.agent_id, record.hostname, record.region, record.zone, record.attributes)
            self.state.know(agent)
        instance = Instance.from_record(record, agent)
        instance.news_at = self.step.now
        self.state.add(instance)
        if instance.state is TaskState.UNREACHABLE:
            self.state.lose(record.agent_id)
        if record.ports:
            next_ports = self.step.offering.next_ports
            next_ports[agent.hostname] = max(next_ports.get(agent.hostname, 0), *(port + 1 for port in record.ports))
        self.step.touch(instance.app_id)
        status_updates.watch(self.step, instance)

    def handle(self, event: events.Event, now: float) -> Decision:
        """Take one event and return what to do about it."""
        self.take(event, now)
        return self.decide(now)

    def take(self, event: events.Event, now: float) -> None:  # noqa: PLR0912  one case for each event
        """Let one event change the state; what to do about it comes from the next :meth:`decide`."""
        step = self.step
        step.now = now
        match event:
            case events.StatusChanged():
                status_updates.status(step, event.status)
            case events.OffersReceived():
                offers.receive(step, event.offers)
            case events.OfferRescinded():
                step.state.offers.pop(event.offer_id, None)
            case events.InverseOffersReceived():
                maintenance.asked(step, event.offers)
            case events.Subscribed():
                subscription.subscribed(step, event)
            case events.Disconnected():
                subscription.disconnected(step)
            case events.NotSubscribed():
                step.state.not_subscribed = event.reason
            case events.AgentLost() | events.ExecutorLost():
                subscription.lost(step, event)
            case events.NotLaunched():
                status_updates.not_launched(step, event.task_ids)
            case events.VolumeDestroyed():
                volumes.destroyed(step, event)
            case events.MasterError():
                subscription.master_error(step, event.message)
            case events.LookAround():
                offers.look_around(step)
            case events.FiguresSeen():
                for app_id in budgets.figures_seen(step, event):
                    maintenance.held_or_freed(step, app_id)
                deployments.figures_seen(step, event)
                scaling.figures_seen(step, event)
            case events.Tick() | events.InverseOfferRescinded():
                pass  # of the second: offers show whether the window is still there
            case events.CommandReceived():
                commands.carry_out(step, event.token, event.command)
            case _:
                assert_never(event)

    def decide(self, now: float) -> Decision:
        """Return what to do about all events since the last time, and about the time that went by."""
        step = self.step
        step.now = now
        launches: list[Instance] = []
        for timer in step.timers.pop_due(now):
            try:
                self._due(timer, launches)
            except Exception as error:
                step.broke(self._app_of(timer), error)
                step.timers.set(timer, now + step.settings.kill_retry_s)  # what it stands for is still to be done
        status_updates.launches_due(step, launches)
        brake = step.state.brake
        if brake.assess(len(step.state.unknown), len(step.state.instances), now):
            step.dirty.update(step.state.fleets, step.state.apps)
        if brake.reason != self._brake_reason:
            self._brake_reason = brake.reason
            step.notice(Notice("error", "disaster brake", {"engaged": brake.engaged, "reason": brake.reason}))
        following.review(step)
        moves.review(step)
        apps.roll_out(step)
        offers.place(step)
        if step.dirty:
            apps.roll_out(step)  # what was placed made room for instances that are not made yet
        offers.ask(step)
        return step.decision()

    def abandon(self) -> Decision:
        """Return what was decided until something raised: its writes belong to changes that were made."""
        return self.step.decision()

    def next_deadline(self) -> float | None:
        """Return when to decide again though nothing may happen, or None while nothing is due."""
        return self.step.timers.next_at()

    def _due(self, timer: Timer, launches: list[Instance]) -> None:  # noqa: PLR0912  one case for each kind
        """Do what is due; starts to ask about are added to ``launches``, so that many are asked about at once."""
        step = self.step
        match timer.kind:
            case TimerKind.LAUNCH | TimerKind.KILL | TimerKind.UNREACHABLE:
                instance = step.state.instances.get(timer.key)
                if instance is None or instance.waiting:
                    return
                if timer.kind is TimerKind.LAUNCH:
                    launches.append(instance)
                elif timer.kind is TimerKind.KILL:
                    status_updates.kill(step, instance)
                else:
                    status_updates.unreachable_due(step, instance)
            case TimerKind.RELAUNCH | TimerKind.VOLUME:
                (volumes.due if timer.kind is TimerKind.VOLUME else volumes.relaunch_due)(step, timer.key)
            case TimerKind.MOVE:
                moves.due(step, timer.key)
            case TimerKind.SWEEP | TimerKind.DRAIN:
                (sweeps if timer.kind is TimerKind.SWEEP else drains).due(step, timer.key)
            case TimerKind.UNKNOWN:
                status_updates.kill_unknown(step)
            case TimerKind.DELAY:
                step.touch(timer.key)
            case TimerKind.WINDOW | TimerKind.SILENT:
                (maintenance if timer.kind is TimerKind.WINDOW else per_host).due(step, timer.key)
            case TimerKind.DEPLOYMENT:
                deployments.due(step, timer.key)
            case TimerKind.GATE:
                deployments.gate_due(step, timer.key)
            case TimerKind.INSTANT | TimerKind.RUN:
                (schedules if timer.kind is TimerKind.INSTANT else runs).due(step, timer.key)
            case TimerKind.RECONCILE:
                subscription.reconcile_due(step)
            case TimerKind.REBALANCE:
                rebalance.even_out(step)
            case TimerKind.REVIVE:
                pass  # each decision asks for offers where they are wanted
            case _:
                assert_never(timer.kind)

    def _app_of(self, timer: Timer) -> str:
        """Return the app that a timer is about, or an empty text."""
        instance = self.state.instances.get(timer.key)
        return instance.app_id if instance is not None else timer.key if timer.key in self.state.apps else ""
