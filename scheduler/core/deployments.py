"""Deployments: what a user changed, from the change until everything it touched is at rest, or until it can go no further.

A deployment carries nothing out. :mod:`rollout` compares what is wanted with what is there, and goes on doing so when the
deployment has ended; what is decided here is which of its apps still have to wait for others, and when and how it ends.
Each one ends: it counts the instances that are missing or too many, and where that number reaches no new low for
``deadline_s``, or where instances end by themselves more often than their app allows, it has failed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from eratos.common import names
from eratos.marathon import labels
from eratos.marathon.app import App

from . import budgets, changes, gates, groups, per_host, rollout, stages, versions
from .actions import Notice, Refusal
from .changes import Plan
from .events import FiguresSeen
from .gates import Counted, Verdict
from .instances import Instance
from .order import Order
from .records import APPS, CHANGES, DEPLOYMENTS, GROUPS, ChangeRecord, DeploymentRecord, Stored
from .refusals import Refused
from .state import Deployment, Ended, Outcome, State
from .step import Step
from .timers import Timer, TimerKind


def in_the_way(state: State, plan: Plan) -> tuple[str, ...]:
    """Return the deployments that touch an app which the plan changes; what the scheduler began by itself is in nobody's way."""
    found = (state.changes[app_id].deployment_id for app_id in plan.changes if app_id in state.changes)
    return tuple(dict.fromkeys(made for made in found if not state.deployments[made].record.cause))


def begin(step: Step, plan: Plan) -> None:
    """Carry a plan out: from here on it is what is wanted. Deployments in its way let go of its apps."""
    state, record = step.state, plan.record
    befores = {app_id: app for app_id in plan.changes if (app := state.standing(app_id)) is not None}
    for app_id in plan.changes:
        _take_over(step, app_id)
    state.newest_version = max(state.newest_version, record.version)
    for app in plan.apps:
        state.apps[app.id] = app
        step.store(APPS + app.id, app)
        if app.id in plan.renewed:
            # A new definition deserves a new try: whatever made the old one fail may be mended.
            state.launches.pop(app.id, None)
    for app_id in plan.dropped:
        del state.apps[app_id]
        state.lives.pop(app_id, None)
        step.forget(APPS + app_id)
    for group_id, found in plan.groups.items():
        groups.keep(step, group_id, found)
    for group_id in plan.dropped_groups:
        del state.groups[group_id]
        step.forget(GROUPS + group_id)
    for app_id in state.in_need if plan.groups or plan.dropped_groups else ():
        step.touch(app_id)  # it may have another group to wait for, or one less
    if not plan.changes:
        return
    order = _order(state, plan.changes, befores)
    waiting = {app_id for app_id in plan.changes if order.waits(app_id)}
    held = {app_id: replace(plan.changes[app_id], begun=False) for app_id in waiting}
    made = _add(step, record, plan.changes | held, order, befores)
    versions.keep(step, plan.versions)
    step.store(DEPLOYMENTS + record.deployment_id, record)
    for app_id, change in made.changes.items():
        step.store(CHANGES + app_id, change)
        state.failed.pop(app_id, None)


def _order(state: State, changed: Mapping[str, ChangeRecord], befores: Mapping[str, App]) -> Order:
    wanted = {app_id: changed[app_id].awaited(state.apps[app_id]) for app_id in changed if app_id in state.apps}
    gone = (app_id for app_id in changed if app_id not in wanted and app_id in befores)
    dropped = {app_id: changed[app_id].awaited(befores[app_id]) for app_id in gone}
    return Order(wanted, dropped)


def _add(
    step: Step, record: DeploymentRecord, changed: dict[str, ChangeRecord], order: Order, befores: Mapping[str, App]
) -> Deployment:
    """Add a deployment to the state; what has not begun is held at what was before, a new app at no instance."""
    state = step.state
    limits = (labels.deployment_deadline_s(state.apps[app_id].labels) for app_id in changed if app_id in state.apps)
    usual_s = step.settings.deployment_deadline_s
    deadline_s = max((usual_s if limit is None else limit for limit in limits), default=usual_s)
    made = Deployment(record, changed, order, deadline_s, step.now, dict.fromkeys(changed, 1), len(changed))
    state.deployments[made.deployment_id] = made
    state.changes.update(changed)
    for app_id, change in changed.items():
        if not change.begun:
            state.held[app_id] = befores[app_id] if app_id in befores else state.apps[app_id].with_instances(0)
            made.held.add(app_id)
            made.freed.add(app_id)
        elif app_id in befores:
            stages.update(state, change, befores[app_id])
        step.touch(app_id)
    _watch(step, made)
    return made


def _take_over(step: Step, app_id: str) -> None:
    """Take an app out of the deployment that it is in."""
    change = step.state.changes.pop(app_id, None)
    if change is None:
        return
    older = step.state.deployments[change.deployment_id]
    del older.changes[app_id]
    older.held.discard(app_id)
    _leave_gate(older, app_id)
    step.timers.clear(Timer(TimerKind.GATE, app_id))
    step.state.held.pop(app_id, None)
    step.state.staged.pop(app_id, None)
    _count(older, app_id, 0)
    if older.changes:
        step.touch(next(iter(older.changes)))  # it may have waited for this app alone
    else:
        reason = "a user's change came" if older.record.cause else "later changes were made with force"
        _end(step, older, Outcome.SUPERSEDED, reason, (app_id,))


def load(step: Step, stored: Stored) -> None:
    """Take over the stored deployments once apps and versions are there; what is left of others is forgotten."""
    state = step.state
    of_deployment: dict[str, dict[str, ChangeRecord]] = {}
    for change in stored.changes:
        of_deployment.setdefault(change.deployment_id, {})[change.app_id] = change
    for record in stored.deployments:
        changed = of_deployment.pop(record.deployment_id, {})
        state.newest_version = max(state.newest_version, record.version)
        if changed:
            _load(step, record, changed)
        else:
            step.forget(DEPLOYMENTS + record.deployment_id)
    for deployment_id, left in of_deployment.items():
        if DEPLOYMENTS + deployment_id not in state.spoilt:
            for app_id in left:
                step.forget(CHANGES + app_id)
    for app_id in [found for found in state.versions if found not in state.apps and found not in state.changes]:
        if not any(kind + app_id in state.spoilt for kind in (APPS, CHANGES)):
            versions.forget_all(step, app_id)


def _load(step: Step, record: DeploymentRecord, changed: dict[str, ChangeRecord]) -> None:
    state = step.state
    befores: dict[str, App] = {}
    for app_id, change in changed.items():
        before = versions.definition(state, app_id, change.before)
        if before is not None:
            befores[app_id] = before.with_instances(change.instances_before)
        elif app_id not in state.apps or change.before:
            changed[app_id] = replace(change, begun=True)  # there is nothing to hold it at
    if record.paused and any(change.begun and change.limit is None for change in changed.values() if change.app_id in state.apps):
        # The pause was not stored as a whole, so nobody was answered that it was made.
        record = replace(record, paused=False)
        step.store(DEPLOYMENTS + record.deployment_id, record)
    order = _order(state, changed, befores)
    _add(step, record, changed, order, befores)


def review(step: Step, app_ids: Iterable[str]) -> None:
    """Look at the deployments of apps that something happened to: let others begin, and end what is done or has failed."""
    state = step.state
    touched: dict[str, list[str]] = {}
    for app_id in app_ids:
        change = state.changes.get(app_id)
        if change is None:
            if app_id in state.failed and rollout.at_rest(state.apps.get(app_id), state.fleet(app_id)):
                del state.failed[app_id]
            continue
        touched.setdefault(change.deployment_id, []).append(app_id)
        found = state.deployments[change.deployment_id]
        _count(found, app_id, _distance(step, app_id))
        _at_gate(step, found, app_id)
    for deployment_id, looked_at in touched.items():
        _review(step, state.deployments[deployment_id], looked_at)


def _distance(step: Step, app_id: str) -> int:
    """Return how far an app is from rest; one for each host is not there before all hosts had the time to show themselves."""
    state, app = step.state, step.state.apps.get(app_id)
    distance = rollout.distance(app, state.fleet(app_id))
    if app is not None and app.per_host and app.instances:
        launches = state.launches.get(app_id)
        distance += per_host.looking(step) + (launches.unmade if launches is not None else 0)
    return distance


def _count(found: Deployment, app_id: str, distance: int) -> None:
    found.total += distance - found.left.pop(app_id, 0)
    if distance:
        found.left[app_id] = distance
    found.freed |= found.order.note(app_id, at_rest=not distance)


def _review(step: Step, found: Deployment, touched: Iterable[str]) -> None:
    if not found.record.paused:
        for app_id in sorted(found.freed & found.held):
            if not found.order.waits(app_id):
                _release(step, found, app_id)
        found.freed.clear()
    if not found.left:
        for app_id in found.changes:
            step.state.failed.pop(app_id, None)
        _end(step, found, Outcome.DONE)
        return
    spent = next((app_id for app_id in touched if _spent(step.state, found.changes[app_id])), None)
    if spent is not None:
        times = found.changes[spent].failures
        fail(step, found, f"instances of {spent} ended by themselves {times} times, more often than {labels.RETRIES} allows")
        return
    if found.least is None or found.total < found.least:
        found.least, found.progress_at = found.total, step.now
        _watch(step, found)


def _at_gate(step: Step, found: Deployment, app_id: str) -> None:
    """Note whether an app stands at a gate of its canary: as many new instances are ready as there may be."""
    state = step.state
    most, app = stages.limit(state, app_id), state.apps.get(app_id)
    gate = Timer(TimerKind.GATE, app_id)
    if app is None or most is None or found.record.paused or rollout.count(app, state.fleet(app_id).tally).settled < most:
        _leave_gate(found, app_id)
        step.timers.clear(gate)
    elif app_id not in found.reached:
        found.reached[app_id] = step.now
        if app.demands is not None and stages.share(state, app_id) != 0:
            found.counted[app_id] = Counted()
        hold_s = labels.canary_hold_s(app.labels)
        if hold_s is not None:
            step.timers.set(gate, step.now + hold_s)


def gate_due(step: Step, app_id: str) -> None:
    """Have an app go on that has stood at a gate for as long as it has to."""
    change = step.state.changes.get(app_id)
    if change is None:
        return
    found = step.state.deployments[change.deployment_id]
    if step.state.brake.engaged or (held_at_gate(step.state, found, app_id) and app_id not in found.counted):
        step.timers.set(Timer(TimerKind.GATE, app_id), step.now + step.settings.kill_retry_s)
        return
    if app_id in found.counted:
        _judge(step, found, app_id)
    elif app_id in found.reached:
        _go_on(step, found, app_id)


def figures_seen(step: Step, event: FiguresSeen) -> None:
    """Take in what balancers have counted, and decide the gates that are judged by it."""
    state = step.state
    for found in list(state.deployments.values()):
        for app_id in list(found.counted):
            servers = _servers(state, state.apps[app_id])
            found.counted[app_id].add(event.servers, servers, event.missing)
            if not state.brake.engaged and not found.record.paused:
                _judge(step, found, app_id)
            if found.deployment_id not in state.deployments:
                break


def _servers(state: State, app: App) -> set[str]:
    """Return what balancers call the new instances of an app: a server for each port."""
    tasks = [i.task_id for i in state.instances_of(app.id) if not i.waiting and rollout.is_current(app, i)]
    return {names.service_id(task_id, index) for task_id in tasks for index in range(len(app.ports))}


def _judge(step: Step, found: Deployment, app_id: str) -> None:
    """Have an app at a gate go on where its new instances answer well enough, and its deployment fail where they do not."""
    counted = found.counted[app_id]
    verdict, reason = judged(step.state, found, app_id, step.now)
    if verdict is Verdict.PASSES:
        if not held_at_gate(step.state, found, app_id):
            _go_on(step, found, app_id)
    elif verdict is Verdict.FAILS:
        fail(step, found, f"the new instances of {app_id} {reason}")
    elif not counted.overdue and step.now >= _held_until(step.state, found, app_id):
        # From now on it is not to wait for ever: what it lacks may never come.
        counted.overdue = True
        found.progress_at = step.now
        _watch(step, found)


def judged(state: State, found: Deployment, app_id: str, now: float) -> tuple[Verdict, str]:
    """Return whether an app at a gate that is judged by figures passes it, and why not."""
    demands = state.apps[app_id].demands
    assert demands is not None, "figures of an app that demands nothing"
    return gates.judge(demands, found.counted[app_id], held=now >= _held_until(state, found, app_id))


def held_at_gate(state: State, found: Deployment, app_id: str) -> str:
    """Say why an app does not pass its gate whatever its new instances do; empty: it may.

    A spent error budget holds neither what was forced nor the way back to a version that there was.
    """
    app = state.apps.get(app_id)
    back = app is None or app.version != found.version
    return "" if back or found.record.forced else budgets.holds(state, app_id)


def _held_until(state: State, found: Deployment, app_id: str) -> float:
    return found.reached[app_id] + (labels.canary_hold_s(state.apps[app_id].labels) or 0.0)


def _leave_gate(found: Deployment, app_id: str) -> None:
    found.reached.pop(app_id, None)
    found.counted.pop(app_id, None)


def promote(step: Step, found: Deployment, *, force: bool) -> bool:
    """Have the apps at gates go on; False where there is none.

    Raises Refused where the error budget of one is spent, without ``force``.
    """
    gates = sorted(found.reached)
    held = next((why for app_id in gates if (why := held_at_gate(step.state, found, app_id))), "")
    if held and not force:
        raise Refused(Refusal.BUDGET, f"Its gate is not passed: {held}. Override with the option '?force=true'")
    for app_id in gates:
        _go_on(step, found, app_id)
    return bool(gates)


def _go_on(step: Step, found: Deployment, app_id: str) -> None:
    _leave_gate(found, app_id)
    step.timers.clear(Timer(TimerKind.GATE, app_id))
    _alter(step, found, replace(found.changes[app_id], stage=found.changes[app_id].stage + 1))
    found.progress_at = step.now
    _watch(step, found)


def pause(step: Step, found: Deployment, *, paused: bool) -> None:
    """Have a deployment come no further than it is, or go on. What crashes meanwhile comes back as what it was."""
    if found.record.paused == paused:
        return
    found.record = replace(found.record, paused=paused)
    step.store(DEPLOYMENTS + found.deployment_id, found.record)
    for app_id, change in list(found.changes.items()):
        app = step.state.apps.get(app_id)
        if app is not None and change.begun:
            _alter(step, found, replace(change, limit=rollout.launched(app, step.state.fleet(app_id)) if paused else None))
        step.touch(app_id)
    found.progress_at = step.now
    _watch(step, found)


def _release(step: Step, found: Deployment, app_id: str) -> None:
    """Let an app begin. It stays so, whatever becomes of those that it waited for."""
    found.held.discard(app_id)
    del step.state.held[app_id]
    _alter(step, found, replace(found.changes[app_id], begun=True))
    step.touch(app_id)


def _alter(step: Step, found: Deployment, change: ChangeRecord) -> None:
    state = step.state
    found.changes[change.app_id] = state.changes[change.app_id] = change
    step.store(CHANGES + change.app_id, change)
    before = versions.definition(state, change.app_id, change.before) if stages.limit(state, change.app_id) is not None else None
    if before is not None:
        stages.update(state, change, before)
    else:
        state.staged.pop(change.app_id, None)
    step.touch(change.app_id)


def note_failure(step: Step, instance: Instance) -> None:
    """Count an instance that ended by itself against its app's deployment, where the app sets a bound to that."""
    app, change = step.state.apps.get(instance.app_id), step.state.changes.get(instance.app_id)
    if app is None or change is None or instance.version != app.version or labels.retries(app.labels) is None:
        return
    _alter(step, step.state.deployments[change.deployment_id], replace(change, failures=change.failures + 1))


def _spent(state: State, change: ChangeRecord) -> bool:
    app = state.apps.get(change.app_id)
    most = labels.retries(app.labels) if app is not None else None
    return most is not None and change.failures > most


def due(step: Step, deployment_id: str) -> None:
    """Have a deployment fail that came no further for as long as it may."""
    found = step.state.deployments.get(deployment_id)
    if found is None:
        return
    overdue = {app_id for app_id, counted in found.counted.items() if counted.overdue}
    at_gates = found.reached.keys() - overdue
    stuck = sorted(app_id for app_id in found.left if app_id not in at_gates and app_id not in found.held)
    if step.state.brake.engaged or not step.state.connected or found.record.paused or (at_gates and not stuck):
        # Nothing can come further, or somebody has to say that it may.
        found.progress_at = step.now
    if _deadline(step, found) > step.now:
        _watch(step, found)
        return
    stuck = stuck or sorted(found.left)
    more = f" and {len(stuck) - 1} more" if len(stuck) > 1 else ""
    why = f"{stuck[0]}{more} is not as it was asked to be"
    if stuck[0] in overdue:
        why = f"the gate of {stuck[0]} cannot be judged: {judged(step.state, found, stuck[0], step.now)[1]}"
    fail(step, found, f"it came no further for {found.deadline_s:.0f} s: {why}")


def deadline(found: Deployment) -> float:
    """Return until when a deployment has to come further, whenever the subscription began."""
    return found.progress_at + found.deadline_s


def _deadline(step: Step, found: Deployment) -> float:
    """Return until when a deployment has to come further. A subscription is new: agents may first have to come back."""
    return max(found.progress_at, step.subscribed_at) + found.deadline_s


def _watch(step: Step, found: Deployment) -> None:
    step.timers.set(Timer(TimerKind.DEPLOYMENT, found.deployment_id), _deadline(step, found))


def fail(step: Step, found: Deployment, reason: str) -> None:
    """End a deployment that can go no further.

    Apps that ask for it go back to what they were, if that has run. The others are still tried as they are wanted, with the
    reason kept until they are at rest.
    """
    state = step.state
    stuck = [found.changes[app_id] for app_id in sorted(found.left) if app_id not in found.held]
    undone = [change for change in stuck if not found.record.undoes and _can_go_back(state, change)]
    plan, back = None, ""
    if undone:
        record = DeploymentRecord(step.new_id(), versions.new_version(step), step.now, undoes=found.deployment_id)
        try:
            plan = changes.undo(state, record, undone)
            back = f"; back to what was before as deployment {record.deployment_id}"
        except Refused as refused:
            back = f"; not back to what was before: {refused}"
    _drop_held(step, found)
    _end(step, found, Outcome.FAILED, reason + back)
    for change in stuck:
        if change.app_id in state.apps:
            state.failed[change.app_id] = f"deployment {found.deployment_id} failed: {reason}{back}"
    if plan is not None:
        failed = {app_id: state.failed[app_id] for app_id in plan.changes if app_id in state.failed}
        begin(step, plan)
        state.failed.update(failed)


def _can_go_back(state: State, change: ChangeRecord) -> bool:
    """Return whether an app asks to go back where it fails, and whether that is known to be possible: it ran before."""
    app = state.apps.get(change.app_id)
    kept = change.before in state.versions.get(change.app_id, {})
    return app is not None and labels.rolls_back(app.labels) and change.ran_before and kept


def _drop_held(step: Step, found: Deployment) -> None:
    """Have what a deployment has not begun not done at all: those apps are wanted as they were."""
    state = step.state
    for app_id in sorted(found.held):
        before = state.held.pop(app_id)
        if found.changes[app_id].before:
            state.apps[app_id] = before
            step.store(APPS + app_id, before)
            groups.restore(step, found.version, found.changes[app_id])
        else:
            del state.apps[app_id]
            state.lives.pop(app_id, None)
            step.forget(APPS + app_id)
        step.touch(app_id)
    found.held.clear()


def cancel(step: Step, found: Deployment) -> None:
    """End a deployment on a user's wish: what it has begun stays wanted, what it has not is not done."""
    _drop_held(step, found)
    _end(step, found, Outcome.CANCELLED)


def _end(step: Step, found: Deployment, outcome: Outcome, reason: str = "", app_ids: Iterable[str] = ()) -> None:
    state = step.state
    del state.deployments[found.deployment_id]
    step.timers.clear(Timer(TimerKind.DEPLOYMENT, found.deployment_id))
    step.forget(DEPLOYMENTS + found.deployment_id)
    for app_id in found.changes:
        del state.changes[app_id]
        state.held.pop(app_id, None)
        step.timers.clear(Timer(TimerKind.GATE, app_id))
        state.staged.pop(app_id, None)
        if outcome is not Outcome.DONE:
            step.touch(app_id)  # nothing limits it any more
        step.forget(CHANGES + app_id)
        if app_id not in state.apps:
            versions.forget_all(step, app_id)
    touched = tuple(app_ids) or tuple(sorted(found.changes))
    pods = frozenset(app_id for app_id, change in found.changes.items() if change.pod)
    state.ends[outcome] += 1
    state.ended.append(Ended(found.record, touched, step.now, outcome, reason, pods))
    about = {"deployment": found.deployment_id, "outcome": outcome.value, "apps": _named(touched), "reason": reason}
    step.notice(Notice("warning" if outcome is Outcome.FAILED else "info", "deployment ended", about))


def _named(app_ids: Iterable[str]) -> str:
    first, *others = app_ids
    return f"{first} and {len(others)} more" if others else first


def rolled_back(step: Step, found: Deployment, plan: Plan) -> None:
    """Take a deployment back on a user's wish, by the plan that does it."""
    _end(step, found, Outcome.ROLLED_BACK, f"as deployment {plan.record.deployment_id}")
    begin(step, plan)
