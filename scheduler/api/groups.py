"""``/v2/groups``: many apps at once, as a tree. eratos keeps the apps; a group is what their ids have in common."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query
from fastapi.responses import JSONResponse

from eratos.marathon import ids
from eratos.marathon.app import App
from eratos.marathon.group import Group
from eratos.scheduler.core.actions import Reply
from eratos.scheduler.core.events import DeleteApps
from eratos.scheduler.core.state import State

from . import claims, render, update
from .context import Body, Context, deployed, path_id, read_json
from .errors import ApiError, invalid


def router(ctx: Context) -> APIRouter:
    routes = APIRouter(prefix="/v2/groups", tags=["groups"])

    @routes.get("")
    @routes.get("/{group_id:path}")
    def show_group(group_id: str = "", embed: Annotated[list[str], Query()] = []) -> JSONResponse:  # noqa: B006
        name = path_id(group_id, "Group")
        wanted = render.embeds([item for item in embed if item.startswith("group.apps.")], render.LIST_EMBEDS)

        def look(state: State) -> list[render.Look]:
            inside = (app for app in state.apps.values() if ids.within(app.id, name) and app.id != name)
            return render.look(state, inside, wanted)

        found = ctx.controller.read(look)
        if not found and name != "/":
            raise ApiError(404, f"Group '{name}' does not exist")
        return JSONResponse(render.group(sorted(found, key=lambda seen: seen.app.id), name, wanted))

    @routes.post("")
    @routes.post("/{group_id:path}")
    @ctx.change
    def create_group(body: Body, group_id: str = "", force: bool = False) -> JSONResponse:
        group = Group.parse(read_json(body), path_id(group_id, "Group"))
        apps = ctx.apps()
        if group.id in apps:
            raise ApiError(409, f"An app with the path {group.id} already exists.")
        if any(ids.within(app_id, group.id) for app_id in apps):
            raise ApiError(409, f"Group {group.id} is already created. Use PUT to change this group.")
        reply = ctx.put(apps, group.apps(), force=force, create_only=True)
        return deployed(reply, 201, location=group.id, notices=claims.of_changed(apps, group.apps()))

    @routes.put("")
    @routes.put("/{group_id:path}")
    @ctx.change
    def put_group(body: Body, group_id: str = "", force: bool = False, dryRun: bool = False) -> JSONResponse:  # noqa: N803
        base = path_id(group_id, "Group")
        apps = ctx.apps()
        wanted, dropped = _wanted(apps, read_json(body), base)
        if dryRun:
            return JSONResponse({"steps": _steps(apps, wanted, dropped)})
        reply = _carry_out(ctx, apps, wanted, dropped, force)
        return deployed(reply, notices=claims.of_changed(apps, wanted))

    @routes.delete("")
    @routes.delete("/{group_id:path}")
    @ctx.change
    def delete_group(group_id: str = "", force: bool = False) -> JSONResponse:
        name = path_id(group_id, "Group")
        if name == "/" and not force:
            raise ApiError(422, "this would delete every app there is: add ?force=true if that is meant")
        apps = ctx.apps()
        if not _exists(apps, name):
            raise ApiError(404, f"Group '{name}' does not exist")
        doomed = tuple(sorted(app_id for app_id in apps if ids.within(app_id, name)))
        return deployed(ctx.submit(lambda token: DeleteApps(token, doomed, force)))

    return routes


def _exists(apps: dict[str, App], group_id: str) -> bool:
    return group_id == "/" or any(ids.within(app_id, group_id) and app_id != group_id for app_id in apps)


def _wanted(apps: dict[str, App], body: Any, base: str) -> tuple[tuple[App, ...], tuple[str, ...]]:
    """Return the apps to store and those to delete."""
    given = {key for key, value in body.items() if value is not None} - {"id"} if isinstance(body, dict) else set()
    if given == {"scaleBy"}:
        try:
            name = ids.absolute(str(body.get("id") or ""), base)
        except ValueError as error:
            raise invalid("/id", str(error)) from None
        if not _exists(apps, name):
            raise ApiError(404, f"Group '{name}' does not exist")
        return update.scaled((app for app_id, app in apps.items() if ids.within(app_id, name)), body["scaleBy"]), ()
    if given == {"version"}:
        raise invalid("/version", "is refused: eratos keeps no former versions; apply the former definition instead")
    group = Group.parse(body, base)
    return group.apps(), tuple(sorted(update.dropped(apps, group)))


def _carry_out(ctx: Context, apps: dict[str, App], wanted: tuple[App, ...], dropped: tuple[str, ...], force: bool) -> Reply:
    remaining = {app_id: app for app_id, app in apps.items() if app_id not in dropped}
    if not dropped:
        return ctx.put(remaining, wanted, force=force)
    if wanted:
        ctx.put(remaining, wanted, force=force)
    return ctx.submit(lambda token: DeleteApps(token, dropped, force))


def _steps(apps: dict[str, App], wanted: tuple[App, ...], dropped: tuple[str, ...]) -> list[dict[str, Any]]:
    """Say what a PUT would do, as Marathon's steps with one action each."""
    actions = []
    for app in wanted:
        before = apps.get(app.id)
        if before is None:
            actions.append(("StartApplication", app.id))
        elif not before.same_definition(app):
            actions.append(("RestartApplication", app.id))
        elif before.instances != app.instances:
            actions.append(("ScaleApplication", app.id))
    actions += [("StopApplication", app_id) for app_id in dropped]
    return [{"actions": [{"action": action, "app": app_id}]} for action, app_id in actions]
