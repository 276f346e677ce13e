"""What users ask for: commands change the wanted state or are refused, whole.

Each first makes all that it needs, which is what may raise, and changes the state after that: a command that fails for a
fault of ours is then neither carried out nor half of it.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import assert_never

from eratos.marathon.app import App
from eratos.marathon.pod import Pod

from . import (
    budgets,
    changes,
    deployments,
    drains,
    events,
    following,
    maintenance,
    move_commands,
    quotas,
    scaling,
    schedules,
    status_updates,
    versions,
    volumes,
)
from .actions import Refusal, Refuse, Reply
from .changes import Plan
from .mesos_types import TaskState
from .records import DeploymentRecord
from .refusals import Refused
from .state import Deployment
from .step import Step
from .versions import new_version

#: As Marathon says it (AppLockedException in Exception.scala).
LOCKED = (
    "App is locked by one or more deployments. Override with the option '?force=true'. "
    "View details at '/v2/deployments/<DEPLOYMENT_ID>'."
)


def carry_out(step: Step, token: int, command: events.Command) -> None:
    """Change the wanted state, and answer with one Reply or Refuse; a refused command, or one that raises, changed nothing."""
    try:
        step.answer(_carry_out(step, token, command))
    except Refused as refused:
        step.answer(Refuse(token, refused.refusal, str(refused), refused.deployments, refused.quota))


def _carry_out(step: Step, token: int, command: events.Command) -> Reply:
    match command:
        case events.PutApps():
            return _put(step, token, command)
        case events.DeleteApps():
            return _delete(step, token, command)
        case events.RestartApp():
            app = _existing(step, command.app_id)
            return _begin(step, token, changes.restart(step.state, _record(step), app), force=command.force)
        case events.PutVersion():
            return _put_version(step, token, command)
        case events.KillInstances():
            return _kill(step, token, command)
        case events.DeleteVolume() | events.MoveVolumes() | events.CancelMoves():
            return _of_volumes(step, token, command)
        case events.RollBack():
            return _roll_back(step, token, command)
        case events.Cancel():
            deployments.cancel(step, _deployment(step, command.deployment_id))
            return Reply(token)
        case events.Pause():
            deployments.pause(step, _deployment(step, command.deployment_id), paused=command.paused)
            return Reply(token, deployment_id=command.deployment_id)
        case events.Promote():
            return _promote(step, token, command)
        case events.ResetDelay():
            return _reset_delay(step, token, command)
        case events.ReleaseBrake():
            return _release_brake(step, token)
        case events.PutDrain() | events.DeleteDrain():
            return _drain(step, token, command)
        case events.PutQuota() | events.DeleteQuota():
            quotas.carry_out(step, command)
            return Reply(token)
        case events.PutJob() | events.DeleteJob() | events.StartRun() | events.StopRun():
            return schedules.carry_out(step, token, command)
    assert_never(command)


def _drain(step: Step, token: int, command: events.PutDrain | events.DeleteDrain) -> Reply:
    hostname = drains.carry_out(step, command)
    maintenance.review(step, hostname)
    if isinstance(command, events.DeleteDrain):
        following.given_back(step, hostname)
    return Reply(token)


def _of_volumes(step: Step, token: int, command: events.DeleteVolume | events.MoveVolumes | events.CancelMoves) -> Reply:
    if isinstance(command, events.DeleteVolume):
        return volumes.carry_out(step, token, command)
    move_commands.carry_out(step, command)
    return Reply(token)


def _put(step: Step, token: int, command: events.PutApps) -> Reply:
    for app in command.apps:
        if command.create_only and app.id in step.state.apps:
            what = "A pod" if isinstance(step.state.apps[app.id], Pod) else "An app"
            raise Refused(Refusal.EXISTS, f"{what} with id [{app.id}] already exists.")
    for app_id in command.dropped:
        _existing(step, app_id)
    plan = changes.plan(
        step.state,
        _record(step),
        command.apps,
        command.dropped,
        command.groups,
        command.dropped_groups,
        command.enforced,
    )
    given = (step.state.apps[app.id].version for app in command.apps if app.id not in plan.changes)
    return _begin(step, token, plan, force=command.force, answered=max((plan.newest if plan.apps else "", *given)))


def _delete(step: Step, token: int, command: events.DeleteApps) -> Reply:
    for app_id in command.app_ids:
        _existing(step, app_id)
    plan = changes.plan(step.state, _record(step), (), command.app_ids, dropped_groups=command.groups)
    reply = _begin(step, token, plan, force=command.force)
    if command.wipe:
        volumes.destroy(step, volumes.of_apps(step.state, command.app_ids))
    return reply


def _put_version(step: Step, token: int, command: events.PutVersion) -> Reply:
    _existing(step, command.app_id)
    app = versions.definition(step.state, command.app_id, command.version)
    if app is None:
        raise Refused(Refusal.NOT_FOUND, f"App '{command.app_id}' does not exist in version {command.version}")
    plan = changes.back(step.state, _record(step), scaling.kept(step.state.apps[command.app_id], app))
    return _begin(step, token, plan, force=command.force, answered=app.version)


def _kill(step: Step, token: int, command: events.KillInstances) -> Reply:
    state = step.state
    unknown = [instance_id for instance_id in command.instance_ids if instance_id not in state.instances]
    if unknown:
        raise Refused(Refusal.NOT_FOUND, f"Instance '{unknown[0]}' does not exist")
    instances = [state.instances[instance_id] for instance_id in dict.fromkeys(command.instance_ids)]
    killed = Counter(instance.app_id for instance in instances if not instance.stopping)
    reply = Reply(token)
    if command.scale:
        fixed = next((app_id for app_id in sorted(killed) if app_id in state.apps and state.apps[app_id].per_host), None)
        if fixed is not None:
            message = f"{fixed} has one instance on each host (eratos.perHost), which no kill changes: kill without scale"
            raise Refused(Refusal.NOT_POSSIBLE, message)
        numbered = next((app_id for app_id in sorted(killed) if app_id in state.apps and state.apps[app_id].ordinals), None)
        if numbered is not None:
            message = f"{numbered} has ordinals (eratos.ordinals), of which the highest goes: scale it, or kill without scale"
            raise Refused(Refusal.NOT_POSSIBLE, message)
        found = [app for app_id in sorted(killed) if (app := state.apps.get(app_id)) is not None]
        fewer = [app.with_instances(max(0, app.instances - killed[app.id])) for app in found]
        scaling.check(fewer)
        reply = _begin(step, token, changes.plan(state, _record(step), fewer), force=command.force)
    for app_id in killed:
        step.touch(app_id)
    if command.wipe:
        volumes.destroy(step, volumes.of_instances(state, instances))
        for instance in [found for found in instances if found.slot and found.state is TaskState.UNREACHABLE]:
            status_updates.give_up(step, instance)  # what comes in its place has no reason any more to wait for its host
        instances = [found for found in instances if found.instance_id in state.instances and not found.waiting]
    status_updates.stop_all(step, instances)
    return reply


def _roll_back(step: Step, token: int, command: events.RollBack) -> Reply:
    found = _deployment(step, command.deployment_id)
    try:
        record = replace(_record(step), undoes=found.deployment_id)
        plan = changes.undo(step.state, record, found.changes.values(), made=found.version)
    except LookupError as error:
        message = f"Deployment '{found.deployment_id}' cannot be taken back: {error}; put the definition that is wanted"
        raise Refused(Refusal.NOT_POSSIBLE, message) from None
    _check_ordinals(step, plan)
    quotas.check(step.state, plan)
    deployments.rolled_back(step, found, plan)
    return Reply(token, plan.record.version, plan.record.deployment_id)


def _promote(step: Step, token: int, command: events.Promote) -> Reply:
    deployment_id = command.deployment_id
    if not deployments.promote(step, _deployment(step, deployment_id), force=command.force):
        message = f"no app of deployment {deployment_id} stands at a gate: it is not ready yet, or has none"
        raise Refused(Refusal.NOT_POSSIBLE, message)
    return Reply(token, deployment_id=deployment_id)


def _deployment(step: Step, deployment_id: str) -> Deployment:
    found = step.state.deployments.get(deployment_id)
    if found is None:
        raise Refused(Refusal.NOT_FOUND, f"DeploymentPlan {deployment_id} does not exist")
    return found


def _reset_delay(step: Step, token: int, command: events.ResetDelay) -> Reply:
    _existing(step, command.app_id)
    launches = step.state.launches_of(command.app_id)
    launches.delay_s = launches.delayed_until = 0.0
    step.touch(command.app_id)
    return Reply(token)


def _release_brake(step: Step, token: int) -> Reply:
    step.state.brake.release(len(step.state.unknown))
    for app_id in (*step.state.apps, *step.state.fleets):
        step.touch(app_id)
    return Reply(token)


def _existing(step: Step, app_id: str) -> App:
    app = step.state.apps.get(app_id)
    if app is None:
        raise Refused(Refusal.NOT_FOUND, f"App '{app_id}' does not exist")
    return app


def _record(step: Step) -> DeploymentRecord:
    return DeploymentRecord(step.new_id(), new_version(step), step.now)


def _check_ordinals(step: Step, plan: Plan) -> None:
    """Raise Refused where instances would get ordinals, or lose them, while there are some that would not."""
    for app in plan.apps:
        before = step.state.standing(app.id)
        if before is not None and before.ordinals != app.ordinals and step.state.fleet(app.id).instances:
            message = f"{app.id} has instances, and eratos.ordinals comes and goes without any: scale it to 0 first"
            raise Refused(Refusal.NOT_POSSIBLE, message)


def _begin(step: Step, token: int, plan: Plan, *, force: bool, answered: str = "") -> Reply:
    """Begin a deployment, and answer with it. ``answered``: the version that its apps have now, where that is not its own."""
    rivals = deployments.in_the_way(step.state, plan)
    if rivals and not force:
        raise Refused(Refusal.LOCKED, LOCKED, rivals)
    if force:
        plan = replace(plan, record=replace(plan.record, forced=True))
    else:
        budgets.check(step.state, plan)
    _check_ordinals(step, plan)
    quotas.check(step.state, plan)
    deployments.begin(step, plan)
    return Reply(token, answered or plan.record.version, plan.record.deployment_id)
