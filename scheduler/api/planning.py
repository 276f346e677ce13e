"""What a change of the wanted state does, in Marathon's steps, before it is made or while it goes on. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Set

from eratos.marathon.app import App
from eratos.scheduler.core import budgets, deployments, per_host
from eratos.scheduler.core.changes import Plan
from eratos.scheduler.core.order import Order
from eratos.scheduler.core.records import ChangeRecord
from eratos.scheduler.core.state import State
from eratos.scheduler.events.event import action

from .render import Json


def planned(state: State, plan: Plan) -> Json:
    """Return what a plan would do: Marathon's steps, and for each app what starts and stops and what is in the way."""
    apps = {app.id: app for app in plan.apps}
    dropped = {app_id: plan.changes[app_id].awaited(state.apps[app_id]) for app_id in plan.dropped}
    order = Order({app_id: plan.changes[app_id].awaited(app) for app_id, app in apps.items()}, dropped)
    found = [step for step in steps(plan.changes, apps, order, plan.changes.keys()) if step]
    locks = deployments.in_the_way(state, plan)
    rivals = {app_id: lock for app_id in plan.changes if (lock := _deployment_of(state, app_id)) in locks}
    effects = {app_id: _effect(state, apps.get(app_id), app_id) for app_id in sorted(plan.changes)}
    held = budgets.held(state, plan)
    return {"steps": rendered(found, plan.changes), "eratos": {"apps": effects, "lockedBy": rivals, "heldBy": held}}


def _deployment_of(state: State, app_id: str) -> str:
    return state.changes[app_id].deployment_id if app_id in state.changes else ""


def _effect(state: State, app: App | None, app_id: str) -> Json:
    """Return how many instances a change starts, stops and keeps."""
    there = [instance for instance in state.instances_of(app_id) if not instance.stopping]
    kept = sum(app is not None and instance.version == app.version for instance in there)
    wanted = per_host.expected(state, app) if app is not None else 0
    return {
        "version": app.version if app is not None else None,
        "starts": max(0, wanted - kept),
        "stops": len(there) - min(kept, wanted),
        "keeps": min(kept, wanted),
    }


def steps(
    changes: dict[str, ChangeRecord], apps: dict[str, App], order: Order, seen: Set[str]
) -> Iterator[list[tuple[str, str]]]:
    """Yield Marathon's steps, actions and apps, of a deployment: stops, starts, and the others in the order of dependencies."""
    out, into = order.turns()
    for turn in out:
        yield [("StopApplication", app_id) for app_id in turn if app_id in seen]
    new = [app_id for app_id, change in sorted(changes.items()) if not change.before and app_id in apps]
    yield [("StartApplication", app_id) for app_id in new if app_id in seen]
    for turn in into:
        yield [(_action(changes[app_id], apps[app_id]), app_id) for app_id in turn if app_id in seen and app_id in changes]


def _action(change: ChangeRecord, app: App) -> str:
    scaled = change.before in ("", app.version) or not app.instances
    return "ScaleApplication" if scaled else "RestartApplication"


def current_step(plan: list[list[tuple[str, str]]], left: dict[str, int]) -> int:
    """Return the index of the first step that is not done. Marathon's start of an app is only its registration."""
    done: Callable[[tuple[str, str]], bool] = lambda each: each[0] == "StartApplication" or each[1] not in left  # noqa: E731
    return next((index for index, step in enumerate(plan) if not all(map(done, step))), len(plan) - 1)


def rendered(plan: Iterable[list[tuple[str, str]]], changes: Mapping[str, ChangeRecord]) -> list[Json]:
    """Return steps in Marathon's form."""
    return [{"actions": [action(name, app_id, pod=changes[app_id].pod) for name, app_id in step]} for step in plan]
