"""What status updates say, and what follows for the instance: it lives, it is out of reach, or it has ended.

Delivery is at least once and in any order across connections, so everything here may come
twice (rule 10).
"""

from __future__ import annotations

from collections.abc import Iterable

from eratos.common import names
from eratos.marathon.app import App
from eratos.marathon.app_parts import UnreachableStrategy

from . import crash_backoff, deployments, hosts, moves, reconcile, runs, sweeps, volumes
from .actions import Kill, Notice, Reconcile
from .instances import Instance
from .launches import Failure
from .mesos_types import RECONCILIATION, TaskState, TaskStatus
from .records import INSTANCES
from .state import GIVEN_UP_MOST
from .step import Step
from .timers import Timer, TimerKind

#: Of tasks that no record stands for these are logged, counted from when this scheduler began to lead.
UNRECORDED_TOLD = frozenset({1, 10, 100, 1000, 10_000, 100_000})
_UNRECORDED = (
    "Mesos runs tasks that the store has no record of: one now and then was given up while its agent was away, many mean that "
    "the store was put back to an earlier state; see `eratos brake show`"
)
LAUNCHING = frozenset({TaskState.STAGING, TaskState.STARTING})
#: States that a task has or may have although its agent cannot report it: proof of nothing (rule 20).
OUT_OF_REACH = frozenset({TaskState.UNREACHABLE, TaskState.UNKNOWN})
#: Ends that came over the task from outside, without anybody's wish.
VANISHED = frozenset({TaskState.LOST, TaskState.GONE, TaskState.DROPPED})


def status(step: Step, update: TaskStatus) -> None:
    """Take a status update in; it is acknowledged once what follows from it is stored (rule 9)."""
    if update.state.terminal:
        message = update.message.partition("\n")[0]
        about = {"task_id": update.task_id, "state": update.state.value, "reason": update.reason, "message": message}
        step.notice(Notice("info", "task ended", about))
    instance = instance_of(step, update.task_id)
    if update.state.terminal:
        sweeps.task_ended(step, update, instance)
    if instance is None:
        if not sweeps.status(step, update) and not moves.status(step, update):
            _without_record(step, update)
    else:
        step.reconciliation.answered(instance.instance_id)
        if update.state.terminal:
            _ended(step, instance, update)
        elif update.state in OUT_OF_REACH:
            _out_of_reach(step, instance)
        else:
            _alive(step, instance, update)
    if update.uuid:
        step.acknowledge(update)


def instance_of(step: Step, task_id: str) -> Instance | None:
    """Return the instance whose present task this is."""
    parsed = names.parse_task_id(task_id)
    instance = step.state.instances.get(parsed[0]) if parsed else None
    return instance if instance is not None and instance.attempt == parsed[1] and not instance.waiting else None  # type: ignore[index]


def _without_record(step: Step, update: TaskStatus) -> None:
    """A task that no record stands for: an earlier attempt, or a leftover. It has no place, so it goes (rules 8, 16)."""
    state = step.state
    parsed = names.parse_task_id(update.task_id)
    spoilt = parsed is not None and INSTANCES + parsed[0] in state.spoilt
    # The master answers a kill on a lost agent with the same state again, so killing would go round without end; if the task
    # ever comes back, its next state is of another kind.
    if update.state.terminal:
        volumes.ended(step, update.task_id, list(state.volumes.values()))
    if update.state.terminal or update.state in OUT_OF_REACH or spoilt:
        if state.unknown.pop(update.task_id, "") or state.returned.pop(update.task_id, ""):
            state.hosts_changed += 1  # its host is free of it
        return
    # Only answers to a reconciliation can speak of tasks from before this term that the store does not know.
    if update.reason == RECONCILIATION:
        step.unrecorded += 1
        if step.unrecorded in UNRECORDED_TOLD:
            step.notice(Notice("error", _UNRECORDED, {"so_far": step.unrecorded, "task_id": update.task_id}))
    if update.task_id in state.given_up:
        state.returned[update.task_id] = update.agent_id
    else:
        state.unknown[update.task_id] = update.agent_id
    if Timer(TimerKind.UNKNOWN) not in step.timers:
        # Not at once: many unknown ones together are a sign that the store is wrong and not the tasks (see brake).
        step.timers.set(Timer(TimerKind.UNKNOWN), step.now + step.settings.loss_settle_s)


def kill_unknown(step: Step) -> None:
    """Kill what no record stands for, again and again until it has ended (rule 42); not while the brake is engaged."""
    found = step.state.unknown | step.state.returned
    if not step.state.brake.engaged:
        for task_id, agent_id in found.items():
            step.call(Kill(task_id, agent_id))
    if found:
        step.timers.set(Timer(TimerKind.UNKNOWN), step.now + step.settings.kill_retry_s)


def _alive(step: Step, instance: Instance, update: TaskStatus) -> None:
    changes: dict[str, object] = {}
    state = update.state
    ran, proven = bool(instance.started_at), instance.proven
    sweeps.spoken(step, instance, update)
    if state is TaskState.KILLING or (instance.started_at and state in LAUNCHING):
        state = TaskState.RUNNING  # it still runs, and what says that it only starts is late
    if state is not instance.state and not (update.state is TaskState.KILLING and instance.launching):
        changes["state"] = state
    if update.state is TaskState.RUNNING and not instance.started_at:
        changes["started_at"] = update.timestamp or step.now
        instance.ran_from = step.now
        volumes.running(step, instance, update.executor_id)
        launches = step.state.launches.get(instance.app_id)
        if launches is not None and launches.last_failure is not None and instance.launched_at >= launches.last_failure.at:
            launches.failing = False
    # A reconcile answer carries no more than the state (rule 15).
    if update.reason != RECONCILIATION:
        changes |= _said_of_checks(instance, update)
        if update.message != instance.note or state is not instance.state:
            instance.news_at = step.now
        instance.note = update.message
        if update.outdated is not None and update.outdated != instance.outdated:
            changes["outdated"] = update.outdated
    if instance.unreachable_at:
        changes["unreachable_at"] = 0.0
    if changes or instance.inactive:
        step.state.alter(instance, inactive=False, **changes)
    # What a reconciliation answers may have been so for long.
    if update.reason != RECONCILIATION:
        _fared(step, instance, ran=ran, proven=proven)
    step.state.find(instance.agent_id)
    if step.state.brake.lost:
        step.state.brake.alive(instance.hostname)
    step.timers.clear(Timer(TimerKind.UNREACHABLE, instance.instance_id))
    if not instance.launching:
        step.timers.clear(Timer(TimerKind.LAUNCH, instance.instance_id))
    elif instance.news_at == step.now:
        watch_launch(step, instance)
    if changes:
        step.put(instance)
    app = step.state.in_force(instance.app_id) if instance.slot else None
    if app is not None and instance.ready(app.checked):
        volumes.ready(step, instance)
    step.touch(instance.app_id)


def _fared(step: Step, instance: Instance, *, ran: bool, proven: bool) -> None:
    """Measure how long a task took until it ran, and until it was ready, where it had not before."""
    lives, app = step.state.lives_of(instance.app_id), step.state.in_force(instance.app_id)
    if lives is None or app is None:
        return
    took_s = step.now - instance.launched_at
    if not ran and instance.started_at:
        lives.start.add(took_s)
    if not (proven if app.checked else ran) and instance.ready(app.checked):
        lives.ready.add(took_s)


def _said_of_checks(instance: Instance, update: TaskStatus) -> dict[str, object]:
    """Note what an update says of checks and addresses; return what changes by it of what is stored."""
    changes: dict[str, object] = {}
    if update.healthy is not None and update.healthy != instance.healthy:
        changes["healthy"] = update.healthy
    if update.addresses and update.addresses != instance.addresses:
        changes["addresses"] = update.addresses
    instance.check = update.check or instance.check
    if update.checks:
        instance.checks, instance.checked_at = update.checks, update.timestamp
    if update.healthy:
        instance.proven = True
    return changes


def _out_of_reach(step: Step, instance: Instance) -> None:
    state = step.state
    if instance.state is not TaskState.UNREACHABLE:
        state.brake.lose(instance.hostname, len(state.on_agent), len(state.instances), step.now)
        state.alter(instance, state=TaskState.UNREACHABLE, unreachable_at=step.now)
        step.put(instance)
    state.lose(instance.agent_id)
    step.timers.clear(Timer(TimerKind.LAUNCH, instance.instance_id))
    watch_unreachable(step, instance)
    step.touch(instance.app_id)


def watch_unreachable(step: Step, instance: Instance) -> None:
    """Set the timer after which an instance out of reach is replaced; it runs from when the agent was first missed."""
    strategy = _strategy(step, instance)
    key = Timer(TimerKind.UNREACHABLE, instance.instance_id)
    if strategy is not None and key not in step.timers and not instance.inactive:
        due = instance.unreachable_at + strategy.inactive_after_seconds
        step.timers.set(key, max(due, step.now + step.settings.loss_settle_s))


def unreachable_due(step: Step, instance: Instance) -> None:
    """Replace an instance that was out of reach for long, and later give it up for good."""
    state, key = step.state, Timer(TimerKind.UNREACHABLE, instance.instance_id)
    if state.brake.engaged:
        step.timers.set(key, step.now + step.settings.kill_retry_s)
        return
    app = state.in_force(instance.app_id)
    if instance.app_id in state.runs or (app is not None and (app.ordinals or (instance.holds and not instance.slot))):
        # Two tasks of one run, with one ordinal or alone with one volume, must not be at work: this one is given up before
        # another may follow. So is what has volumes of its own there, with these.
        _remember_given_up(step, instance)
        out_s = step.now - instance.unreachable_at
        message = f"its agent could not be reached for {out_s:.0f} s"
        _ended(step, instance, TaskStatus(instance.task_id, TaskState.LOST, instance.agent_id, message=message))
    elif instance.slot and state.in_force(instance.app_id) is not None:
        # What comes in its place has other volumes. Should it come back after all, it is unknown then, and killed.
        volumes.leave(step, instance)
        give_up(step, instance)
    elif not instance.inactive:
        state.alter(instance, inactive=True)
        strategy = _strategy(step, instance)
        if strategy is not None:
            step.timers.set(key, step.now + strategy.expunge_after_seconds - strategy.inactive_after_seconds)
    else:
        give_up(step, instance)
    step.touch(instance.app_id)


def give_up(step: Step, instance: Instance) -> None:
    """Give an instance up for good that is out of reach; should it come back after all, it is unknown then, and killed."""
    step.forget(INSTANCES + instance.instance_id)
    _remember_given_up(step, instance)
    for kind in (TimerKind.LAUNCH, TimerKind.KILL, TimerKind.UNREACHABLE):
        step.timers.clear(Timer(kind, instance.instance_id))
    step.state.remove(instance)
    volumes.release(step, instance)
    step.touch(instance.app_id)


def _remember_given_up(step: Step, instance: Instance) -> None:
    given_up = step.state.given_up
    given_up[instance.task_id] = None
    if len(given_up) > GIVEN_UP_MOST:
        del given_up[next(iter(given_up))]


def _strategy(step: Step, instance: Instance) -> UnreachableStrategy | None:
    """Return the app's strategy; None means to wait without end. A deleted app's instances are given up at once, but for one
    that may still write to a volume which another app may get.
    """
    app = step.state.in_force(instance.app_id)
    if app is None:
        return None if instance.holds else UnreachableStrategy()
    if not instance.slot or app.residency is None:
        return app.unreachable_strategy
    after_s = app.residency.gives_up_after_s
    return (
        None
        if after_s is None
        else UnreachableStrategy.model_validate({"inactiveAfterSeconds": after_s, "expungeAfterSeconds": after_s})
    )


def _ended(step: Step, instance: Instance, update: TaskStatus) -> None:
    state = step.state
    app, run = state.in_force(instance.app_id), state.runs.get(instance.app_id)
    if (lives := state.lives_of(instance.app_id)) is not None:
        lives.restarts += not instance.stopping and update.state is not TaskState.DROPPED  # which never was one
        if instance.stop_at:
            lives.drain.add(step.now - instance.stop_at)
    spared = False
    if app is not None and not instance.stopping:
        spared = crash_backoff.spared(app, update, instance, step.now)
        _note_end(step, app, instance, update)
    # What became of a run is stored before the record of its task is deleted.
    over = run is not None and not runs.task_ended(step, run, instance, update)
    step.forget(INSTANCES + instance.instance_id)
    if update.state in VANISHED and not instance.stopping and instance.started_at:
        state.brake.lose(instance.hostname, len(state.on_agent), len(state.instances), step.now)
    step.touch(instance.app_id)
    for kind in (TimerKind.LAUNCH, TimerKind.KILL, TimerKind.UNREACHABLE):
        step.timers.clear(Timer(kind, instance.instance_id))
    as_wanted = (wanted := state.definition(instance)) is not None and instance.version == wanted.version
    keep = as_wanted and not over and not (instance.stopping or instance.inactive or instance.moving)
    state.remove(instance)
    volumes.ended(step, instance.task_id, volumes.of_instances(state, (instance,)))
    if not keep:
        volumes.release(step, instance)
        return
    # The instance survives its task and waits for its next one.
    host = instance.hostname if app is not None and app.per_host else ""
    survivor = Instance(
        instance_id=instance.instance_id,
        app_id=instance.app_id,
        version=instance.version,
        attempt=instance.attempt + 1,
        ordinal=instance.ordinal,
        host=host,
        waiting_since=step.now,
        spared=spared,
    )
    volumes.survivor(step, instance, survivor)
    state.add(survivor)
    volumes.watch(step, survivor)
    step.offering.fresh = True


def _note_end(step: Step, app: App, instance: Instance, update: TaskStatus) -> None:
    """Note what the end of a task that nobody asked for says of its app and of its host."""
    launches = step.state.launches_of(app.id)
    delay_s = crash_backoff.next_delay_s(app, launches.delay_s, update, instance, step.now)
    if delay_s is not None:
        launches.delay_s, launches.delayed_until = delay_s, step.now + delay_s
        step.timers.set(Timer(TimerKind.DELAY, app.id), launches.delayed_until)
    if crash_backoff.bad_end(update):
        launches.last_failure = Failure(
            update.task_id,
            update.state,
            update.message,
            instance.hostname,
            step.now,
            instance.agent_id,
            instance.started_at or instance.launched_at,
            instance.version,
        )
        launches.failing = True
        if not crash_backoff.missed(update):
            deployments.note_failure(step, instance)
    if app.id in step.state.runs:
        # A job that fails each time would look like many apps; a run of its own tries another host all the same.
        if crash_backoff.start_failed(app, update, instance, step.now):
            launches.start_failed(instance.hostname, step.now, 2.0 * app.max_launch_delay_seconds)
    elif crash_backoff.start_failed(app, update, instance, step.now):
        trouble = hosts.start_failed(step.state, app, instance, step.now)
        if trouble is not None:
            about = {
                "host": instance.hostname,
                "for_s": round(trouble.until - step.now),
                "starts_failed_of": ",".join(trouble.against),
            }
            step.notice(Notice("warning", "a host is left alone", about))


def kill(step: Step, instance: Instance) -> None:
    """Send a KILL, to be repeated until a terminal update arrives (rule 42)."""
    step.call(Kill(instance.task_id, instance.agent_id))
    step.timers.set(Timer(TimerKind.KILL, instance.instance_id), step.now + step.settings.kill_retry_s)


def stop(step: Step, instance: Instance) -> None:
    """Stop an instance: at once if it only waits, by a kill that is repeated until it took effect otherwise."""
    if instance.waiting:
        step.state.remove(instance)
        volumes.release(step, instance)
    elif not instance.stopping:
        step.state.alter(instance, stopping=True)
        instance.stop_at = step.now
        step.put(instance)
        kill(step, instance)


def stop_all(step: Step, instances: Iterable[Instance]) -> None:
    """Stop instances that are not wanted any more."""
    for instance in instances:
        stop(step, instance)


def watch(step: Step, instance: Instance) -> None:
    """Set the timers that belong to an instance just loaded or just launched."""
    if instance.launching:
        instance.news_at = step.now
        watch_launch(step, instance)
    elif instance.state is TaskState.UNREACHABLE:
        watch_unreachable(step, instance)


def ask_about(step: Step, instances: Iterable[Instance]) -> None:
    """Ask Mesos for the states of tasks that something is odd about, many at once."""
    asked = tuple((i.task_id, i.agent_id) for i in instances if not i.waiting)
    for begin in range(0, len(asked), reconcile.BATCH):
        step.call(Reconcile(asked[begin : begin + reconcile.BATCH]))


def watch_launch(step: Step, instance: Instance) -> None:
    """Set the timer of an instance on its way: to ask about it, each time after twice as long, or to give it up."""
    due = step.now + max(step.settings.launch_timer_s, min(step.now - instance.launched_at, reconcile.PERIOD_S))
    deadline = _start_deadline(step, instance)
    step.timers.set(Timer(TimerKind.LAUNCH, instance.instance_id), due if deadline <= step.now else min(due, deadline))


def launches_due(step: Step, instances: Iterable[Instance]) -> None:
    """Ask about launches that nothing was heard of for a while (rule 7); give up those that have had their time."""
    asked = []
    for instance in instances:
        held = step.state.brake.engaged or not step.state.connected
        if not held and step.now >= _start_deadline(step, instance):
            _give_up_start(step, instance)
            continue
        asked.append(instance)
        watch_launch(step, instance)
    ask_about(step, asked)


def _start_deadline(step: Step, instance: Instance) -> float:
    """Return until when an instance may be on its way. A subscription is new: agents may first have to come back (rule 17)."""
    settings = step.settings
    limit_s = settings.launch_confirm_timeout_s if instance.unanswered else settings.launch_timeout_s
    return max(instance.news_at, step.subscribed_at) + limit_s


def _give_up_start(step: Step, instance: Instance) -> None:
    """Stop a start that takes too long; the app's next one goes to another host if it can."""
    app = step.state.in_force(instance.app_id)
    settings = step.settings
    if instance.unanswered:
        said = f"no executor has answered for {settings.launch_confirm_timeout_s:.0f} s (--launch-confirm-timeout-s)"
    else:
        last = f"; the last was: {instance.note}" if instance.note else ""
        said = f"not started, and no news of it for {settings.launch_timeout_s:.0f} s (--launch-timeout-s){last}"
    if app is not None and not instance.stopping:
        update = TaskStatus(instance.task_id, TaskState.FAILED, instance.agent_id, message=f"given up: {said}")
        _note_end(step, app, instance, update)
    stop(step, instance)
    step.touch(instance.app_id)


def not_launched(step: Step, task_ids: Iterable[str]) -> None:
    """Take back launches that were stored and never sent: their instances wait again, for another offer."""
    for task_id in task_ids:
        sweeps.not_launched(step, task_id)
        moves.not_launched(step, task_id)
        instance = instance_of(step, task_id)
        if instance is not None and instance.unanswered:
            agent_id = instance.agent_id
            _ended(step, instance, TaskStatus(task_id, TaskState.DROPPED, agent_id, reason="REASON_INVALID_OFFERS"))
