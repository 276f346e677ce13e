"""What happened in a pass of the loop: what it took and decided, held against what was before. Pure.

Marathon's events have Marathon's fields (Events.scala, Formats.scala). Of what eratos has not there are no events: pods,
framework messages, and ``subscribe_event``, which nothing causes since Marathon 1.5.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from eratos.common import names
from eratos.common.times import timestamp
from eratos.marathon import ids
from eratos.marathon.app import App
from eratos.marathon.pod import Pod
from eratos.scheduler.core import actions
from eratos.scheduler.core import events as core
from eratos.scheduler.core.mesos_types import RECONCILIATION, TaskState, TaskStatus
from eratos.scheduler.core.records import ChangeRecord
from eratos.scheduler.core.state import Outcome, State
from eratos.scheduler.core.step import Decision

from .event import Event, action, of_app
from .standing import Standing

Json = dict[str, Any]

#: Marathon's conditions (Condition.scala).
CONDITIONS: Mapping[TaskState, str] = {
    TaskState.STAGING: "Staging",
    TaskState.STARTING: "Starting",
    TaskState.RUNNING: "Running",
    TaskState.KILLING: "Killing",
    TaskState.FINISHED: "Finished",
    TaskState.FAILED: "Failed",
    TaskState.KILLED: "Killed",
    TaskState.ERROR: "Error",
    TaskState.LOST: "Dropped",
    TaskState.DROPPED: "Dropped",
    TaskState.UNREACHABLE: "Unreachable",
    TaskState.GONE: "Gone",
    TaskState.GONE_BY_OPERATOR: "Gone",
    TaskState.UNKNOWN: "Unknown",
}
_STARTING = (TaskState.STAGING, TaskState.STARTING)


@dataclass(slots=True)
class _Task:
    """What was known of a task before an update."""

    instance_id: str
    app_id: str
    version: str
    agent_id: str
    hostname: str
    ports: tuple[int, ...]
    addresses: tuple[str, ...]
    state: TaskState | None
    healthy: bool | None
    note: str


class _Before(NamedTuple):
    """What was known before a pass, of all that the pass is about to touch."""

    connected: bool
    framework_id: str
    tasks: dict[str, _Task]
    apps: dict[str, App | None]
    owners: dict[str, str]  #: instance id -> its app, of those to be killed


@dataclass(slots=True)
class _Deployment:
    """A change under way."""

    plan: Json
    step: Json
    apps: frozenset[str]
    left: set[str]  #: apps that no later change took over


class Watch:
    """Looks at the state before and after each pass. Called by one thread, while the state stands still."""

    def __init__(self) -> None:
        self._before = _Before(False, "", {}, {}, {})
        self._deployments: dict[str, _Deployment] = {}
        self._standing = Standing()
        self._leaving: set[str] = set()  #: apps that were deleted and still have instances

    def before(self, state: State, batch: Iterable[core.Event]) -> None:
        """Note what the events of a pass are about to change."""
        seen = self._before = _Before(state.connected, state.framework_id, {}, {}, {})
        for event in batch:
            match event:
                case core.StatusChanged():
                    _note_task(state, event.status, seen.tasks)
                case core.CommandReceived():
                    _note_apps(state, event.command, seen)

    def after(self, state: State, batch: Sequence[core.Event], decision: Decision, now: float) -> list[Event]:
        """Return what happened, in order."""
        answers = {answer.token: answer for answer in decision.answers}
        found: list[Event] = []
        for event in batch:
            match event:
                case core.Subscribed() | core.Disconnected() | core.MasterError():
                    found += self._subscription(event, now)
                case core.StatusChanged():
                    found += self._status(state, event.status, now)
                case core.CommandReceived():
                    found += self._command(state, event.command, answers.get(event.token), now)
        for call in decision.calls:
            if isinstance(call, actions.Accept):
                found += _launched(state, call, now)
        found += self._begun(state, now)
        found += self._finished(state, now)
        found += self._terminated(state, now)
        found += self._standing.after(state, decision, now)
        return found

    # The subscription

    def _subscription(self, event: core.Event, now: float) -> Iterator[Event]:
        was_connected, framework_id = self._before.connected, self._before.framework_id
        match event:
            case core.Subscribed() if framework_id:
                yield Event("scheduler_reregistered_event", now, {"master": event.master})
            case core.Subscribed():
                yield Event("scheduler_registered_event", now, {"frameworkId": event.framework_id, "master": event.master})
            case _ if was_connected:
                yield Event("scheduler_disconnected_event", now, {})
        self._before = self._before._replace(connected=isinstance(event, core.Subscribed))

    # Tasks

    def _status(self, state: State, update: TaskStatus, now: float) -> Iterator[Event]:
        task = self._before.tasks.get(update.task_id)
        if task is None:
            yield from _unknown(update, now)
            return
        # An answer to a reconciliation says no more than the state.
        healthy = None if update.reason == RECONCILIATION else update.healthy
        changed = update.state is not task.state and not (task.state is TaskState.RUNNING and update.state in _STARTING)
        flipped = healthy is not None and healthy is not task.healthy
        said = update.reason != RECONCILIATION and update.message != task.note
        failed = _failed_checks(state.apps.get(task.app_id), task, update, now, flipped=flipped) if healthy is False else ()
        if not (changed or flipped or said) or (update.state in _STARTING and not changed and not said):
            yield from failed
            return
        addresses = update.addresses or task.addresses
        where = {"host": task.hostname, "slaveId": update.agent_id or task.agent_id}
        yield of_app(
            "status_update_event",
            now,
            task.app_id,
            **where,
            taskId=update.task_id,
            taskStatus=update.state.value,
            message=update.message,
            appId=task.app_id,
            ipAddresses=[{"ipAddress": a, "protocol": "IPv6" if ":" in a else "IPv4"} for a in addresses],
            ports=list(task.ports),
            version=task.version,
        )
        if changed:
            yield _instance_changed(task, CONDITIONS[update.state], now)
        if flipped:
            yield from _health(task, healthy is True, now)
        yield from failed
        if update.state.terminal and update.healthy is False and update.reason != RECONCILIATION:
            yield of_app(
                "unhealthy_instance_kill_event",
                now,
                task.app_id,
                **where,
                appId=task.app_id,
                taskId=update.task_id,
                instanceId=task.instance_id,
                version=task.version,
                reason=update.message,
            )
        task.state, task.note, task.addresses = update.state, update.message, addresses
        task.healthy = healthy if healthy is not None else task.healthy

    # What users ask for

    def _command(self, state: State, command: core.Command, answer: actions.Answer | None, now: float) -> Iterator[Event]:
        wanted = self._wanted(command)
        if not wanted and isinstance(answer, actions.Reply) and (groups := _groups(command)):
            fields = {"groupId": _common(groups) if len(groups) > 1 else groups[0], "version": answer.version}
            yield Event("group_change_success", now, fields, frozenset(groups))
        if not wanted or answer is None or (isinstance(answer, actions.Reply) and not answer.deployment_id):
            return  # a kill that is no change of what is wanted
        group_id = _common(wanted)
        apps = frozenset(wanted)
        pods = {app_id for app_id, (_, app) in wanted.items() if isinstance(app or self._before.apps.get(app_id), Pod)}
        if isinstance(answer, actions.Refuse):
            fields = {"groupId": group_id, "version": timestamp(now), "reason": answer.message}
            yield Event("group_change_failed", now, fields, apps)
            return
        started = state.deployments.get(answer.deployment_id)
        version = started.version if started is not None else answer.version
        yield Event("group_change_success", now, {"groupId": group_id, "version": version}, apps)
        for app_id, (_, app) in wanted.items():
            yield from _checks(self._before.apps.get(app_id), app, version, now)
            self._before.apps[app_id] = app
        self._leaving |= {app_id for app_id, (name, _) in wanted.items() if name == "StopApplication"}
        yield from self._superseded(apps, answer.deployment_id, now)
        step = {"actions": [action(name, app_id, pod=app_id in pods) for app_id, (name, _) in wanted.items()]}
        begun = _Deployment({"id": answer.deployment_id, "version": version, "steps": [step]}, step, apps, set(apps))
        self._deployments[answer.deployment_id] = begun
        yield Event("deployment_info", now, {"plan": begun.plan, "currentStep": step}, apps)

    def _wanted(self, command: core.Command) -> dict[str, tuple[str, App | None]]:
        """Return what becomes of each app that a command is about: Marathon's action, and the definition from now on."""
        known = self._before.apps
        match command:
            case core.PutApps():
                put = {app.id: (_action(known.get(app.id), app), app) for app in command.apps}
                return {**put, **dict.fromkeys(command.dropped, ("StopApplication", None))}
            case core.DeleteApps():
                return dict.fromkeys(command.app_ids, ("StopApplication", None))
            case core.RestartApp() | core.PutVersion():
                return {command.app_id: ("RestartApplication", known.get(command.app_id))}
            case core.KillInstances():
                owners = (self._before.owners[i] for i in command.instance_ids if i in self._before.owners)
                return {app_id: ("ScaleApplication", known.get(app_id)) for app_id in owners}
        return {}

    def _superseded(self, apps: frozenset[str], by: str, now: float) -> Iterator[Event]:
        """Yield the ends of earlier changes of which nothing is left to do."""
        for deployment_id, earlier in list(self._deployments.items()):
            if earlier.left.isdisjoint(apps):
                continue
            earlier.left -= apps
            if not earlier.left:
                del self._deployments[deployment_id]
                fields = {"id": deployment_id, "plan": earlier.plan, "reason": f"superseded by {by}"}
                step = {"plan": earlier.plan, "currentStep": earlier.step}
                yield Event("deployment_step_failure", now, step, earlier.apps)
                yield Event("deployment_failed", now, fields, earlier.apps)

    def _begun(self, state: State, now: float) -> Iterator[Event]:
        """Yield the begin of changes that take others back, and of those that another leader began."""
        for deployment_id in [found for found in state.deployments if found not in self._deployments]:
            found = state.deployments[deployment_id]
            actions_of = {app_id: _of_change(change, state.apps.get(app_id)) for app_id, change in found.changes.items()}
            step = {"actions": [action(name, app_id, pod=found.changes[app_id].pod) for app_id, name in actions_of.items()]}
            plan = {"id": deployment_id, "version": found.version, "steps": [step]}
            apps = frozenset(found.changes)
            self._deployments[deployment_id] = _Deployment(plan, step, apps, set(apps))
            self._leaving |= {app_id for app_id in apps if app_id not in state.apps}
            yield Event("deployment_info", now, {"plan": plan, "currentStep": step}, apps)

    def _finished(self, state: State, now: float) -> Iterator[Event]:
        ended = {over.record.deployment_id: over for over in state.ended}
        for deployment_id in [known for known in self._deployments if known not in state.deployments]:
            done = self._deployments.pop(deployment_id)
            step = {"plan": done.plan, "currentStep": done.step}
            over = ended.get(deployment_id)
            if over is not None and over.outcome is not Outcome.DONE:
                fields = {"id": deployment_id, "plan": done.plan, "reason": f"{over.outcome.value}: {over.reason}"}
                yield Event("deployment_step_failure", now, step, done.apps)
                yield Event("deployment_failed", now, fields, done.apps)
                continue
            yield Event("deployment_step_success", now, step, done.apps)
            yield Event("deployment_success", now, {"id": deployment_id, "plan": done.plan}, done.apps)

    def _terminated(self, state: State, now: float) -> Iterator[Event]:
        for app_id in sorted(self._leaving):
            if app_id in state.apps:
                self._leaving.discard(app_id)
            elif app_id not in state.fleets:
                self._leaving.discard(app_id)
                yield of_app("app_terminated_event", now, app_id, appId=app_id)


def _groups(command: core.Command) -> list[str]:
    """Return the groups that a command changes or deletes."""
    match command:
        case core.PutApps():
            return [*dict.fromkeys((*command.groups, *command.enforced)), *command.dropped_groups]
        case core.DeleteApps():
            return list(command.groups)
    return []


def _note_task(state: State, update: TaskStatus, tasks: dict[str, _Task]) -> None:
    parsed = names.parse_task_id(update.task_id)
    instance = state.instances.get(parsed[0]) if parsed is not None else None
    if instance is None or instance.waiting or instance.task_id != update.task_id or update.task_id in tasks:
        return
    tasks[update.task_id] = _Task(
        instance.instance_id,
        instance.app_id,
        instance.version,
        instance.agent_id,
        instance.hostname,
        instance.ports,
        instance.addresses,
        instance.state,
        instance.healthy,
        instance.note,
    )


def _note_apps(state: State, command: core.Command, seen: _Before) -> None:
    match command:
        case core.PutApps():
            app_ids: Iterable[str] = (*(app.id for app in command.apps), *command.dropped)
        case core.DeleteApps():
            app_ids = command.app_ids
        case core.RestartApp() | core.PutVersion():
            app_ids = (command.app_id,)
        case core.KillInstances():
            there = [state.instances[i] for i in command.instance_ids if i in state.instances]
            seen.owners.update((instance.instance_id, instance.app_id) for instance in there)
            app_ids = (instance.app_id for instance in there)
        case _:
            app_ids = ()
    for app_id in app_ids:
        seen.apps.setdefault(app_id, state.apps.get(app_id))


def _of_change(change: ChangeRecord, app: App | None) -> str:
    """Return Marathon's action for what a deployment changes of one app."""
    if app is None:
        return "StopApplication"
    return (
        "StartApplication" if not change.before else "ScaleApplication" if change.before == app.version else "RestartApplication"
    )


def _action(before: App | None, app: App) -> str:
    if before is None:
        return "StartApplication"
    return "ScaleApplication" if before.same_definition(app) else "RestartApplication"


def _checks(before: App | None, app: App | None, version: str, now: float) -> Iterator[Event]:
    """Yield what a change means for an app's health checks: those of a definition come and go with it."""
    if before is not None and app is not None and before.same_definition(app):
        return
    if before is not None and before.health_checks:
        yield of_app("remove_health_check_event", now, before.id, appId=before.id)
    for check in app.health_checks if app is not None else ():
        assert app is not None, "whose checks these are"
        yield of_app("add_health_check_event", now, app.id, appId=app.id, version=version, healthCheck=_check(check))


def _check(check: Any) -> Json:
    shown: Json = check.model_dump(mode="json", by_alias=True, exclude_none=True)
    return shown


def _health(task: _Task, alive: bool, now: float) -> Iterator[Event]:
    shared = {"instanceId": task.instance_id}
    yield of_app("health_status_changed_event", now, task.app_id, **shared, appId=task.app_id, version=task.version, alive=alive)
    yield of_app(
        "instance_health_changed_event",
        now,
        task.app_id,
        **shared,
        runSpecId=task.app_id,
        runSpecVersion=task.version,
        healthy=alive,
    )


def _failed_checks(app: App | None, task: _Task, update: TaskStatus, now: float, *, flipped: bool) -> Iterator[Event]:
    """Yield which health checks just failed, of an executor that says so; else the first of them stands for all."""
    if app is None or update.state is not TaskState.RUNNING:
        return
    failed = [check for check, result in zip(app.health_checks, update.checks, strict=False) if result.last_failure_s == 0.0]
    if not update.checks and flipped:
        failed = list(app.health_checks[:1])
    for check in map(_check, failed):
        yield of_app("failed_health_check_event", now, task.app_id, appId=task.app_id, taskId=task.instance_id, healthCheck=check)


def _instance_changed(task: _Task, condition: str, now: float) -> Event:
    return of_app(
        "instance_changed_event",
        now,
        task.app_id,
        instanceId=task.instance_id,
        condition=condition,
        runSpecId=task.app_id,
        agentId=task.agent_id,
        host=task.hostname,
        runSpecVersion=task.version,
    )


def _launched(state: State, call: actions.Accept, now: float) -> Iterator[Event]:
    for launch in call.launches:
        seen: dict[str, _Task] = {}
        _note_task(state, TaskStatus(launch.task_id, TaskState.STAGING), seen)
        for task in seen.values():
            yield _instance_changed(task, "Provisioned", now)


def _unknown(update: TaskStatus, now: float) -> Iterator[Event]:
    parsed = names.parse_task_id(update.task_id)
    if parsed is None or not update.state.terminal:
        return
    app_id = "/" + parsed[0].rpartition(".instance-")[0].replace("_", "/")
    condition = CONDITIONS[update.state]
    fields = {"instanceId": parsed[0], "runSpecId": app_id, "condition": condition}
    yield Event("unknown_instance_terminated_event", now, fields, frozenset({app_id}))


def _common(app_ids: Iterable[str]) -> str:
    """Return the nearest group that holds all of some apps."""
    parents = [ids.parent(app_id).split("/")[1:] for app_id in app_ids]
    shared = []
    for level in zip(*parents, strict=False):
        if len(set(level)) > 1:
            break
        shared.append(level[0])
    return "/" + "/".join(shared)
