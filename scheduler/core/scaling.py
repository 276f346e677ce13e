"""Autoscaling carried out: which apps it is asked for by, when it stands still, and the change that comes of it.

How many instances an app should have is :mod:`autoscale`'s. A change is a deployment like a user's, with its cause: stored,
told, and held to the same quotas. While a deployment touches an app nothing is decided of it, so instances that start are
waited for, and a canary or a switch is never disturbed.
"""

from __future__ import annotations

import bisect
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from eratos.common import names
from eratos.marathon.app import App

from . import budgets, changes, deployments, groups, quotas, versions
from .actions import Notice, Refusal
from .autoscale import Advice, Look, Scaler
from .events import FiguresSeen
from .gates import QueueFigures, ServerFigures
from .records import DeploymentRecord
from .refusals import Refused
from .state import Scaling, State
from .step import Step
from .usage import Share

#: Begins the cause of a deployment that autoscaling made.
CAUSE: Final = "autoscale: "


def measured_on(state: State) -> dict[str, str]:
    """Return the agents, each with its host, whose executors are to be asked what tasks take: an app is scaled by it."""
    apps = (app for app in state.apps.values() if app.autoscale is not None and app.autoscale.target.cpu is not None)
    found = (instance for app in apps for instance in state.instances_of(app.id) if not instance.waiting)
    return {instance.agent_id: instance.hostname for instance in found}


def asked_for(state: State) -> bool:
    """Return whether any app is autoscaled."""
    return any(app.autoscale is not None for app in state.apps.values())


def figures_seen(step: Step, event: FiguresSeen) -> None:
    """Take in what balancers have counted, and change the apps whose load asks for it."""
    state = step.state
    for app_id in [known for known in state.scalers if known not in state.apps or state.apps[known].autoscale is None]:
        del state.scalers[app_id]
        state.scalings.pop(app_id, None)
    # By server and by service, as there may be many of either, and many apps.
    rows: dict[str, list[ServerFigures]] = {}
    for row in event.servers:
        rows.setdefault(row.server, []).append(row)
    queues: dict[str, list[QueueFigures]] = {}
    for queue in event.queues:
        queues.setdefault(queue.service, []).append(queue)
    for app, target in [(app, app.autoscale.target) for app in state.apps.values() if app.autoscale is not None]:
        try:
            scaler = state.scalers.setdefault(app.id, Scaler())
            if target.balanced:
                scaler.meter.add(step.now, _look(state, app, event, rows, queues))
            if target.cpu is not None:
                scaler.usage.add(step.now, list(_shares(state, app, event)))
            if app.instances:
                _decide(step, app, scaler)
        except Exception as error:
            step.broke(app.id, error)  # and the others go on


def _look(
    state: State,
    app: App,
    event: FiguresSeen,
    rows: Mapping[str, list[ServerFigures]],
    queues: Mapping[str, list[QueueFigures]],
) -> Look:
    """Return what of an event is of one app. ``rows``, ``queues``: the event's, by server and by service."""
    servers = {
        i.task_id: {names.service_id(i.task_id, index) for index in range(len(app.ports))}
        for i in state.instances_of(app.id)
        if not i.waiting
    }
    waiting: Counter[str] = Counter()
    for service in app.service_names:
        for queue in queues.get(service, ()):
            waiting[queue.balancer] += queue.requests
    ready = [servers[i.task_id] for i in state.instances_of(app.id) if i.ready(app.checked)]
    missing = "; ".join(filter(None, (event.missing, event.unscaled)))
    of_app = [row for of_task in servers.values() for server in of_task for row in rows.get(server, ())]
    return Look(of_app, waiting, event.balancers, missing, ready)


def _shares(state: State, app: App, event: FiguresSeen) -> Iterator[Share]:
    """Yield what part of its CPU each instance uses that has begun and is to go on. One that waits for a host uses nothing."""
    for instance in state.instances_of(app.id):
        if instance.waiting or instance.stopping:
            continue
        usage = event.usages.get(instance.task_id)
        if not instance.ready(app.checked):
            yield Share(None, f"{instance.task_id} is not ready")
        elif instance.agent_id in event.silent:
            yield Share(None, event.silent[instance.agent_id])
        elif usage is None or usage.cpu_share is None:
            yield Share(None, f"the executor on {instance.hostname} has not measured {instance.task_id} yet")
        else:
            yield Share(usage.cpu_share)


def _decide(step: Step, app: App, scaler: Scaler) -> None:
    assert app.autoscale is not None, "an app that nobody wants scaled"
    advice = scaler.advise(app.autoscale, app.instances, step.now)
    if advice.instances == app.instances:
        return
    if app.autoscale.mode == "advise":
        last = step.state.scalings.get(app.id)
        if last is None or (last.before, last.instances) != (advice.before, advice.instances):
            step.state.scalings[app.id] = Scaling(step.now, advice.before, advice.instances, advice.text, made=False)
        return
    if not halt(step.state, app, advice.instances):
        _change(step, app, advice)


def halt(state: State, app: App, aim: int | None = None) -> str:
    """Say why an app's instances are not to be changed now whatever is measured; empty: they may be.

    ``aim``: how many there are to be; None: however many.
    """
    if not app.instances:
        return "it has 0 instances, which stops it: give it some, and it is scaled from there"
    if state.brake.engaged:
        return "the disaster brake is engaged"
    if not state.connected:
        return "no Mesos master has this scheduler"
    if (change := state.changes.get(app.id)) is not None:
        return f"deployment {change.deployment_id} is under way"
    if too_much := changes.excess(app.id, groups.inherited(state.groups, app.id)):
        return too_much
    return budgets.holds(state, app.id) if aim is not None and aim < app.instances else ""


def _change(step: Step, app: App, advice: Advice) -> None:
    """Make the change, or as much of it as quotas and the scheduler's own limit leave room for."""
    state = step.state
    count = _within_limits(step, app, advice.instances)
    if count == app.instances:
        return
    record = DeploymentRecord(step.new_id(), versions.new_version(step), step.now, cause=CAUSE + advice.text)
    plan = changes.plan(state, record, [app.with_instances(count)])
    state.scalings[app.id] = Scaling(step.now, app.instances, count, advice.text, made=True)
    deployments.begin(step, plan)
    about = {"app": app.id, "before": app.instances, "instances": count, "why": advice.text}
    step.notice(Notice("info", "autoscaled", about))


def _within_limits(step: Step, app: App, count: int) -> int:
    """Return the greatest number up to ``count`` that nothing bounds but those that the app states itself."""
    if count <= app.instances:
        return count
    if most := step.settings.instances_most:
        total = sum(other.instances for other in step.state.apps.values())
        count = max(app.instances, min(count, app.instances + most - total))
    if not step.state.quotas:
        return count
    more = range(app.instances + 1, count + 1)
    return app.instances + bisect.bisect_left(more, True, key=lambda number: bool(limited(step.state, app, number)))


def limited(state: State, app: App, count: int) -> str:
    """Say which quota is in the way of so many instances of an app; empty: none is."""
    over = quotas.exceeded(state, {app.id: app.with_instances(count)})
    return over.message if over is not None else ""


def kept(present: App, wanted: App) -> App:
    """Return a former definition that an app goes back to, with as many instances as it has now where both are autoscaled."""
    if present.autoscale is None or wanted.autoscale is None or not present.instances:
        return wanted
    return wanted.with_instances(wanted.autoscale.clamped(present.instances))


def check(apps: Iterable[App]) -> None:
    """Raise Refused where an app is to have a number of instances that its autoscaling does not allow."""
    for app in apps:
        if app.autoscale is not None and (fault := app.autoscale.fault(app.instances)):
            raise Refused(Refusal.NOT_POSSIBLE, f"the number of instances of {app.id} {fault}")
