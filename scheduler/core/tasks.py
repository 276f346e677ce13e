"""What status updates say, and what follows for the instance: it lives, it is out of reach, or it has ended.

Called by :mod:`machine` only. Delivery is at least once and in any order across connections, so everything here may come
twice (rule 10).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from eratos.common import names
from eratos.marathon.app import App, UnreachableStrategy

from . import hosts, reconcile, restarts
from .actions import Acknowledge, Forget, Kill, Reconcile
from .mesos import TaskState, TaskStatus
from .records import INSTANCES
from .state import GIVEN_UP_MOST, Failure, Instance

if TYPE_CHECKING:
    from .machine import Machine

# Kinds of timers; each with the instance's id.
LAUNCH = "launch"
KILL = "kill"
UNREACHABLE = "unreachable"
#: Key of the one timer for tasks that no record stands for.
UNKNOWN = "unknown"

LAUNCHING = frozenset({TaskState.STAGING, TaskState.STARTING})
#: States that a task has or may have although its agent cannot tell: proof of nothing (rule 20).
OUT_OF_REACH = frozenset({TaskState.UNREACHABLE, TaskState.UNKNOWN})
#: Ends that came over the task from outside, without anybody's wish.
VANISHED = frozenset({TaskState.LOST, TaskState.GONE, TaskState.DROPPED})


def status(machine: Machine, update: TaskStatus, now: float) -> None:
    """Take a status update in; it is acknowledged once what follows from it is stored (rule 9)."""
    instance = instance_of(machine, update.task_id)
    if instance is None:
        _without_record(machine, update, now)
    else:
        machine.reconciliation.answered(instance.instance_id)
        if update.state.terminal:
            _ended(machine, instance, update, now)
        elif update.state in OUT_OF_REACH:
            _out_of_reach(machine, instance, now)
        else:
            _alive(machine, instance, update, now)
    if update.uuid:
        machine.out.append(Acknowledge(update))


def instance_of(machine: Machine, task_id: str) -> Instance | None:
    """Return the instance whose present task this is."""
    parsed = names.parse_task_id(task_id)
    instance = machine.state.instances.get(parsed[0]) if parsed else None
    return instance if instance is not None and instance.attempt == parsed[1] and not instance.waiting else None  # type: ignore[index]


def _without_record(machine: Machine, update: TaskStatus, now: float) -> None:
    """A task that no record stands for: an earlier attempt, or a leftover. It has no place, so it goes (rules 8, 16)."""
    state = machine.state
    parsed = names.parse_task_id(update.task_id)
    spoilt = parsed is not None and INSTANCES + parsed[0] in state.spoilt
    # The master answers a kill on a lost agent with the same state again, so killing would go round without end; if the task
    # ever comes back, its next state is of another kind.
    if update.state.terminal or update.state in OUT_OF_REACH or spoilt:
        state.unknown.pop(update.task_id, None)
        state.returned.pop(update.task_id, None)
        return
    if update.task_id in state.given_up:
        state.returned[update.task_id] = update.agent_id
    else:
        state.unknown[update.task_id] = update.agent_id
    if UNKNOWN not in machine.timers:
        # Not at once: many unknown ones together are a sign that the store is wrong and not the tasks (see brake).
        machine.timers.set(UNKNOWN, now + machine.settings.loss_settle_s)


def kill_unknown(machine: Machine, now: float) -> None:
    """Kill what no record stands for, again and again until it has ended (rule 42); not while the brake is engaged."""
    found = machine.state.unknown | machine.state.returned
    if not machine.state.brake.engaged:
        for task_id, agent_id in found.items():
            machine.call(Kill(task_id, agent_id))
    if found:
        machine.timers.set(UNKNOWN, now + machine.settings.kill_retry_s)


def _alive(machine: Machine, instance: Instance, update: TaskStatus, now: float) -> None:
    changes: dict[str, object] = {}
    state = update.state
    if state is TaskState.KILLING or (instance.started_at and state in LAUNCHING):
        state = TaskState.RUNNING  # it still runs, and what says that it only starts is late
    if state is not instance.state and not (update.state is TaskState.KILLING and instance.launching):
        changes["state"] = state
    if update.state is TaskState.RUNNING and not instance.started_at:
        changes["started_at"] = update.timestamp or now
        instance.ran_from = now
        launches = machine.state.launches.get(instance.app_id)
        if launches is not None and launches.last_failure is not None and instance.launched_at >= launches.last_failure.at:
            launches.failing = False
    # A reconcile answer carries no more than the state (rule 15).
    if update.reason != "REASON_RECONCILIATION":
        if update.healthy is not None and update.healthy != instance.healthy:
            changes["healthy"] = update.healthy
        if update.addresses and update.addresses != instance.addresses:
            changes["addresses"] = update.addresses
        if update.message != instance.note or state is not instance.state:
            instance.news_at = now
        instance.note = update.message
        if update.healthy:
            instance.proven = True
    if instance.unreachable_at:
        changes["unreachable_at"] = 0.0
    if changes or instance.inactive:
        machine.state.alter(instance, inactive=False, **changes)
    if machine.state.brake.lost:
        machine.state.brake.alive(instance.hostname)
    machine.timers.clear((UNREACHABLE, instance.instance_id))
    if not instance.launching:
        machine.timers.clear((LAUNCH, instance.instance_id))
    elif instance.news_at == now:
        watch_launch(machine, instance, now)
    if changes:
        machine.put(instance)
    machine.touch(instance.app_id)


def _out_of_reach(machine: Machine, instance: Instance, now: float) -> None:
    state = machine.state
    if instance.state is not TaskState.UNREACHABLE:
        state.brake.lose(instance.hostname, len(state.on_agent), len(state.instances), now)
        state.alter(instance, state=TaskState.UNREACHABLE, unreachable_at=now)
        machine.put(instance)
    machine.timers.clear((LAUNCH, instance.instance_id))
    watch_unreachable(machine, instance, now)
    machine.touch(instance.app_id)


def watch_unreachable(machine: Machine, instance: Instance, now: float) -> None:
    """Set the timer after which an instance out of reach is replaced; it runs from when the agent was first missed."""
    strategy = _strategy(machine, instance)
    key = (UNREACHABLE, instance.instance_id)
    if strategy is not None and key not in machine.timers and not instance.inactive:
        due = instance.unreachable_at + strategy.inactive_after_seconds
        machine.timers.set(key, max(due, now + machine.settings.loss_settle_s))


def unreachable_due(machine: Machine, instance: Instance, now: float) -> None:
    """Replace an instance that was out of reach for long, and later give it up for good."""
    state, key = machine.state, (UNREACHABLE, instance.instance_id)
    if state.brake.engaged:
        machine.timers.set(key, now + machine.settings.kill_retry_s)
        return
    if not instance.inactive:
        state.alter(instance, inactive=True)
        strategy = _strategy(machine, instance)
        if strategy is not None:
            machine.timers.set(key, now + strategy.expunge_after_seconds - strategy.inactive_after_seconds)
    else:
        # Given up for good; should it come back after all, it is unknown then, and killed.
        machine.out.append(Forget(INSTANCES + instance.instance_id))
        state.given_up[instance.task_id] = None
        if len(state.given_up) > GIVEN_UP_MOST:
            del state.given_up[next(iter(state.given_up))]
        state.remove(instance)
    machine.touch(instance.app_id)


def _strategy(machine: Machine, instance: Instance) -> UnreachableStrategy | None:
    """Return the app's strategy; None means to wait without end. A deleted app's instances are given up at once."""
    app = machine.state.apps.get(instance.app_id)
    return UnreachableStrategy() if app is None else app.unreachable_strategy


def _ended(machine: Machine, instance: Instance, update: TaskStatus, now: float) -> None:
    state = machine.state
    machine.out.append(Forget(INSTANCES + instance.instance_id))
    app = state.apps.get(instance.app_id)
    spared = False
    if app is not None and not instance.stopping:
        spared = restarts.spared(app, update, instance, now)
        _note_end(machine, app, instance, update, now)
    if update.state in VANISHED and not instance.stopping and instance.started_at:
        state.brake.lose(instance.hostname, len(state.on_agent), len(state.instances), now)
    machine.touch(instance.app_id)
    for kind in (LAUNCH, KILL, UNREACHABLE):
        machine.timers.clear((kind, instance.instance_id))
    keep = app is not None and not (instance.stopping or instance.inactive or instance.moving) and instance.version == app.version
    state.remove(instance)
    if keep:
        # The instance survives its task and waits for its next one.
        state.add(
            Instance(
                instance_id=instance.instance_id,
                app_id=instance.app_id,
                version=instance.version,
                attempt=instance.attempt + 1,
                waiting_since=now,
                spared=spared,
            )
        )


def _note_end(machine: Machine, app: App, instance: Instance, update: TaskStatus, now: float) -> None:
    """Note what the end of a task that nobody asked for says of its app and of its host."""
    launches = machine.state.launches_of(app.id)
    delay_s = restarts.next_delay_s(app, launches.delay_s, update, instance, now)
    if delay_s is not None:
        launches.delay_s, launches.delayed_until = delay_s, now + delay_s
        machine.timers.set(("delay", app.id), launches.delayed_until)
    if update.state in restarts.BAD_ENDS and update.reason != "REASON_INVALID_OFFERS":
        launches.last_failure = Failure(update.task_id, update.state, update.message, instance.hostname, now)
        launches.failing = True
    if restarts.start_failed(app, update, instance, now):
        hosts.start_failed(machine.state, app, instance, now)


def kill(machine: Machine, instance: Instance, now: float) -> None:
    """Send a KILL, to be repeated until a terminal update arrives (rule 42)."""
    machine.call(Kill(instance.task_id, instance.agent_id))
    machine.timers.set((KILL, instance.instance_id), now + machine.settings.kill_retry_s)


def stop(machine: Machine, instance: Instance, now: float) -> None:
    """Stop an instance: at once if it only waits, by a kill that is repeated until it took effect otherwise."""
    if instance.waiting:
        machine.state.remove(instance)
    elif not instance.stopping:
        machine.state.alter(instance, stopping=True)
        machine.put(instance)
        kill(machine, instance, now)


def ask_about(machine: Machine, instances: Iterable[Instance]) -> None:
    """Ask Mesos for the states of tasks that something is odd about, many at once."""
    asked = tuple((i.task_id, i.agent_id) for i in instances if not i.waiting)
    for begin in range(0, len(asked), reconcile.BATCH):
        machine.call(Reconcile(asked[begin : begin + reconcile.BATCH]))


def watch_launch(machine: Machine, instance: Instance, now: float) -> None:
    """Set the timer of an instance on its way: to ask about it, each time after twice as long, or to give it up."""
    due = now + max(machine.settings.launch_timer_s, min(now - instance.launched_at, reconcile.PERIOD_S))
    deadline = _start_deadline(machine, instance)
    machine.timers.set((LAUNCH, instance.instance_id), due if deadline <= now else min(due, deadline))


def launches_due(machine: Machine, instances: Iterable[Instance], now: float) -> None:
    """Ask about launches that nothing was heard of for a while (rule 7); give up those that have had their time."""
    asked = []
    for instance in instances:
        held = machine.state.brake.engaged or not machine.state.connected
        if not held and now >= _start_deadline(machine, instance):
            _give_up_start(machine, instance, now)
            continue
        asked.append(instance)
        watch_launch(machine, instance, now)
    ask_about(machine, asked)


def _start_deadline(machine: Machine, instance: Instance) -> float:
    """Return until when an instance may be on its way. A subscription is new: agents may first have to come back (rule 17)."""
    settings = machine.settings
    limit_s = settings.launch_confirm_timeout_s if instance.unanswered else settings.launch_timeout_s
    return max(instance.news_at, machine.subscribed_at) + limit_s


def _give_up_start(machine: Machine, instance: Instance, now: float) -> None:
    """Stop a start that takes too long; the app's next one goes to another host if it can."""
    app = machine.state.apps.get(instance.app_id)
    settings = machine.settings
    if instance.unanswered:
        said = f"no executor has answered for {settings.launch_confirm_timeout_s:.0f} s (--launch-confirm-timeout-s)"
    else:
        last = f"; the last was: {instance.note}" if instance.note else ""
        said = f"not started, and no news of it for {settings.launch_timeout_s:.0f} s (--launch-timeout-s){last}"
    if app is not None and not instance.stopping:
        update = TaskStatus(instance.task_id, TaskState.FAILED, instance.agent_id, message=f"given up: {said}")
        _note_end(machine, app, instance, update, now)
    stop(machine, instance, now)
    machine.touch(instance.app_id)


def not_launched(machine: Machine, task_ids: Iterable[str], now: float) -> None:
    """Take back launches that were stored and never sent: their instances wait again, for another offer."""
    for task_id in task_ids:
        instance = instance_of(machine, task_id)
        if instance is not None and instance.unanswered:
            agent_id = instance.agent_id
            _ended(machine, instance, TaskStatus(task_id, TaskState.DROPPED, agent_id, reason="REASON_INVALID_OFFERS"), now)
