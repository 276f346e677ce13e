"""What users ask for: commands change the wanted state or are refused, whole. Called by :mod:`machine` only.

Each first makes all that it needs, which is what may raise, and changes the state after that: a command that fails for a
fault of ours is then neither carried out nor half of it.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from eratos.marathon.app import App

from . import events
from .actions import Action, Forget, Put, Refuse, Reply
from .records import APPS
from .state import Deployment

if TYPE_CHECKING:
    from .machine import Machine


def carry_out(machine: Machine, command: events.Command, now: float) -> list[Action]:
    """Change the wanted state, and answer with one Reply or Refuse; a refused command, or one that raises, changed no app."""
    state = machine.state
    apps, deployments = dict(state.apps), dict(state.deployments)
    try:
        return _carry_out(machine, command, now)
    except Exception:
        # Nothing of it will be stored, so nothing may stay in memory either.
        state.apps.clear()
        state.apps.update(apps)
        state.deployments.clear()
        state.deployments.update(deployments)
        raise


def _carry_out(machine: Machine, command: events.Command, now: float) -> list[Action]:
    match command:
        case events.PutApps():
            return _put(machine, command, now)
        case events.ScaleApp():
            return _scale(machine, command, now)
        case events.DeleteApps():
            return _delete(machine, command, now)
        case events.RestartApp():
            return _restart(machine, command, now)
        case events.KillInstances():
            return _kill(machine, command, now)
        case events.ResetDelay():
            return _reset_delay(machine, command)
        case events.ReleaseBrake():
            return _release_brake(machine, command)
    raise TypeError(f"unknown command: {type(command).__name__}")


def _put(machine: Machine, command: events.PutApps, now: float) -> list[Action]:
    state = machine.state
    if command.create_only:
        for app in command.apps:
            if app.id in state.apps:
                return [Refuse(command.token, 409, f"An app with id [{app.id}] already exists.")]
    version = new_version(machine, now)
    deployment = _deployment(machine, version, (app.id for app in command.apps), now)
    changes: list[tuple[App, bool]] = []
    for app in command.apps:
        before = state.apps.get(app.id)
        # Scaling is no new version: the instances that run are as good as new ones.
        unchanged = before is not None and before.same_definition(app)
        changes.append((app.with_version(before.version if before is not None and unchanged else version), not unchanged))
    newest = max((stored.version for stored, _ in changes), default="")
    out = [action for stored, reset in changes for action in _store(machine, stored, reset=reset)]
    return [*out, _deployed(machine, command.token, deployment, newest)]


def _scale(machine: Machine, command: events.ScaleApp, now: float) -> list[Action]:
    app = machine.state.apps.get(command.app_id)
    if app is None:
        return [_missing(command.token, command.app_id)]
    deployment = _deployment(machine, new_version(machine, now), (app.id,), now)
    out = _store(machine, app.with_instances(command.instances), reset=False)
    return [*out, _deployed(machine, command.token, deployment, app.version)]


def _delete(machine: Machine, command: events.DeleteApps, now: float) -> list[Action]:
    state = machine.state
    for app_id in command.app_ids:
        if app_id not in state.apps:
            return [_missing(command.token, app_id)]
    deployment = _deployment(machine, new_version(machine, now), command.app_ids, now)
    out: list[Action] = []
    for app_id in dict.fromkeys(command.app_ids):
        del state.apps[app_id]
        out.append(Forget(APPS + app_id))
        machine.touch(app_id)
    return [*out, _deployed(machine, command.token, deployment)]


def _restart(machine: Machine, command: events.RestartApp, now: float) -> list[Action]:
    app = machine.state.apps.get(command.app_id)
    if app is None:
        return [_missing(command.token, command.app_id)]
    version = new_version(machine, now)
    deployment = _deployment(machine, version, (app.id,), now)
    out = _store(machine, app.with_version(version), reset=True)
    return [*out, _deployed(machine, command.token, deployment)]


def _kill(machine: Machine, command: events.KillInstances, now: float) -> list[Action]:
    state = machine.state
    unknown = [instance_id for instance_id in command.instance_ids if instance_id not in state.instances]
    if unknown:
        return [Refuse(command.token, 404, f"Instance '{unknown[0]}' does not exist")]
    instances = [state.instances[instance_id] for instance_id in dict.fromkeys(command.instance_ids)]
    killed = Counter(instance.app_id for instance in instances if not instance.stopping)
    deployment = _deployment(machine, new_version(machine, now), killed, now)
    found = [app for app_id in sorted(killed) if command.scale and (app := state.apps.get(app_id)) is not None]
    scaled = [app.with_instances(max(0, app.instances - killed[app.id])) for app in found]
    out = [action for app in scaled for action in _store(machine, app, reset=False)]
    for app_id in killed:
        machine.touch(app_id)
    # The machine's own actions of the stops come before those returned here, so the order within the batch stays whole.
    machine.stop_all(instances, now)
    return [*out, _deployed(machine, command.token, deployment)]


def _reset_delay(machine: Machine, command: events.ResetDelay) -> list[Action]:
    if command.app_id not in machine.state.apps:
        return [_missing(command.token, command.app_id)]
    launches = machine.state.launches_of(command.app_id)
    launches.delay_s = launches.delayed_until = 0.0
    machine.touch(command.app_id)
    return [Reply(command.token)]


def _release_brake(machine: Machine, command: events.ReleaseBrake) -> list[Action]:
    machine.state.brake.release(len(machine.state.unknown))
    for app_id in (*machine.state.apps, *machine.state.fleets):
        machine.touch(app_id)
    return [Reply(command.token)]


def _store(machine: Machine, app: App, *, reset: bool) -> list[Action]:
    machine.state.apps[app.id] = app
    if reset:
        # A new definition deserves a new try: whatever made the old one fail may be mended.
        machine.state.launches.pop(app.id, None)
    machine.touch(app.id)
    return [Put(APPS + app.id, app)]


def _deployment(machine: Machine, version: str, app_ids: Iterable[str], now: float) -> Deployment:
    return Deployment(machine.new_id(), version, frozenset(app_ids), now)


def _deployed(machine: Machine, token: int, deployment: Deployment, answered: str = "") -> Reply:
    """Begin a deployment, and answer with it. ``answered``: the version that its apps have now, where that is not its own.

    What an older one still had to do for the same apps is done no more, so each app is in one deployment at most.
    """
    deployments = machine.state.deployments
    for older in [found for found in deployments.values() if not deployment.app_ids.isdisjoint(found.app_ids)]:
        left = older.app_ids - deployment.app_ids
        if left:
            deployments[older.deployment_id] = replace(older, app_ids=left)
        else:
            del deployments[older.deployment_id]
    deployments[deployment.deployment_id] = deployment
    return Reply(token, answered or deployment.version, deployment.deployment_id)


def _missing(token: int, app_id: str) -> Refuse:
    return Refuse(token, 404, f"App '{app_id}' does not exist")


def new_version(machine: Machine, now: float) -> str:
    """Return a Marathon version: the time, made unique and growing, as ``2026-01-31T12:00:00.123Z``."""
    apps = (app.version for app in machine.state.apps.values())
    newest = max(itertools.chain(apps, (change.version for change in machine.state.deployments.values())), default="")
    now_ms = int(now * 1000)
    if newest:
        now_ms = max(now_ms, _milliseconds(newest) + 1)
    moment = datetime.fromtimestamp(now_ms // 1000, UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{now_ms % 1000:03d}Z"


def _milliseconds(version: str) -> int:
    moment = datetime.fromisoformat(version.replace("Z", "+00:00"))
    return int(moment.timestamp()) * 1000 + moment.microsecond // 1000
