"""Who requires whom: ``GET /v2/needs``."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from fastapi import APIRouter

from eratos.marathon import extras
from eratos.marathon.app import App
from eratos.scheduler.core import requirements
from eratos.scheduler.core.state import State

from .answers import Json
from .caller import RoleRoute, Viewer
from .context import Context


def router(ctx: Context) -> APIRouter:
    routes = APIRouter(prefix="/v2", tags=["apps"], route_class=RoleRoute)

    @routes.get("/needs")
    def list_needs(caller: Viewer) -> Json:
        return Json({"needs": ctx.controller.read(lambda s: list(needs(s, caller.sees)))})

    return routes


def needs(state: State, sees: Callable[[str], bool]) -> Iterator[dict[str, Any]]:
    """Yield each requirement of the apps that somebody sees, in the order of their ids."""
    for app in sorted(state.apps.values(), key=lambda app: app.id):
        if sees(app.id):
            for name, wanted in app.eratos.requires.items():
                yield _need(state, app, name, wanted, sees)


def _need(state: State, app: App, name: str, wanted: extras.Requirement, sees: Callable[[str], bool]) -> dict[str, Any]:
    shown = {
        "app": app.id,
        "name": name,
        "of": wanted.source,
        "kind": wanted.kind,
        "variable": wanted.variable(name),
        "atLeast": wanted.at_least,
        "wait": wanted.wait,
        "onChange": wanted.on_change.kind,
        "outdated": sum(1 for instance in state.instances_of(app.id) if instance.outdated and not instance.stopping),
    }
    if wanted.app is not None and sees(wanted.app):
        other = state.in_force(wanted.app)
        shown["ready"] = None if other is None else requirements.ready_of(state, other)
    return shown
