"""``/v2/apps``: create, show, change, restart and delete apps."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

from fastapi import APIRouter, Query
from fastapi.responses import JSONResponse
from starlette.concurrency import run_in_threadpool

from eratos.marathon import bounds, definition, ids
from eratos.marathon.app import App
from eratos.marathon.errors import PROBLEMS_MOST, InvalidApp, InvalidInItself, Problem
from eratos.marathon.pod import Pod
from eratos.marathon.pydantic_errors import kind
from eratos.scheduler.access.roles import Role
from eratos.scheduler.core import versions
from eratos.scheduler.core.events import DeleteApps, PutVersion, RestartApp
from eratos.scheduler.core.state import State

from . import answers, claims, definitions, explain, label_selector, notices, readiness, render
from .addresses import SLASH
from .answers import Json
from .caller import Caller, Deployer, RoleRoute, Viewer
from .context import Body, Context, deployed, group_of, is_app, path_id, read_json, unknown_app
from .errors import invalid

Embed = Annotated[list[str], Query()]


def router(ctx: Context) -> APIRouter:
    routes = APIRouter(tags=["apps"], route_class=RoleRoute)

    @routes.get("/v2/explain/{app_id:path}")
    def explain_app(caller: Viewer, app_id: str) -> JSONResponse:
        return _explained(ctx, caller, path_id(app_id))

    @routes.get("/v2/apps")
    async def list_apps(
        caller: Viewer,
        cmd: str = "",
        id: str = "",
        label: str = "",
        embed: Embed = [],  # noqa: B006
    ) -> JSONResponse:
        fits = _filter(cmd, id, label)
        return await _list(ctx, caller, fits, render.embeds(embed, render.LIST_EMBEDS), "apps")

    @routes.post("/v2/apps")
    @ctx.change
    def create_app(
        caller: Deployer,
        body: Body,
        force: bool = False,
        dryRun: bool = False,  # noqa: N803
    ) -> JSONResponse:
        apps = ctx.apps()
        (app,) = ctx.settled(apps, (definition.parse(read_json(body)),))
        if dryRun:
            return ctx.plan(caller, (app,))
        reply = ctx.put(caller, apps, (app,), force=force, create_only=True)
        ctx.posted(caller, (app,))
        shown = {
            **answers.shown(app.with_version(reply.version).to_json(), ctx.role),
            **dict.fromkeys(("tasksStaged", "tasksRunning", "tasksHealthy", "tasksUnhealthy"), 0),
            "deployments": [{"id": reply.deployment_id}],
        }
        return deployed(reply, 201, shown, location=app.id, notices=notices.of_app(ctx.seen(caller), app))

    @routes.put("/v2/apps")
    @ctx.change
    def put_apps(
        caller: Deployer,
        body: Body,
        force: bool = False,
        partialUpdate: bool = True,  # noqa: N803
        dryRun: bool = False,  # noqa: N803
    ) -> JSONResponse:
        return _put_many(ctx, caller, read_json(body), force, partial=partialUpdate, create=True, dry_run=dryRun)

    @routes.patch("/v2/apps")
    @ctx.change
    def patch_apps(caller: Deployer, body: Body, force: bool = False) -> JSONResponse:
        return _put_many(ctx, caller, read_json(body), force, partial=True, create=False)

    @routes.post("/v2/apps/{app_id:path}/restart")
    @ctx.change
    def restart_app(caller: Deployer, app_id: str, force: bool = False) -> JSONResponse:
        name = ctx.owner(caller, app_id, "restart", change=True)
        return deployed(ctx.submit(caller, (name,), RestartApp(name, force)))

    @routes.get("/v2/apps/{app_id:path}")
    async def show_app(caller: Viewer, app_id: str, embed: Embed = []) -> JSONResponse:  # noqa: B006
        return await _show(ctx, caller, app_id, render.embeds(embed, render.SHOW_EMBEDS))

    @routes.put("/v2/apps/{app_id:path}")
    @ctx.change
    def put_app(
        caller: Deployer,
        app_id: str,
        body: Body,
        force: bool = False,
        partialUpdate: bool = True,  # noqa: N803
        dryRun: bool = False,  # noqa: N803
    ) -> JSONResponse:
        return _put_one(ctx, caller, app_id, read_json(body), force, partial=partialUpdate, create=True, dry_run=dryRun)

    @routes.patch("/v2/apps/{app_id:path}")
    @ctx.change
    def patch_app(caller: Deployer, app_id: str, body: Body, force: bool = False) -> JSONResponse:
        return _put_one(ctx, caller, app_id, read_json(body), force, partial=True, create=False)

    @routes.delete("/v2/apps/{app_id:path}")
    @ctx.change
    def delete_app(caller: Deployer, app_id: str, force: bool = True, wipe: bool = False) -> JSONResponse:
        name = path_id(app_id)
        caller.require(Role.DEPLOY, (name,))
        return deployed(ctx.submit(caller, (ctx.app(name).id,), DeleteApps((name,), force, wipe=wipe)))

    return routes


def _filter(cmd: str, app_id: str, label: str) -> Callable[[App], bool]:
    try:
        selectors = label_selector.parse(label)
    except ValueError as error:
        raise invalid("/label", str(error)) from None
    cmd, app_id = cmd.lower(), app_id.lower()

    def fits(app: App) -> bool:
        found = cmd in (app.cmd or "").lower() and app_id in app.id
        return found and all(selector.fits(app.labels) for selector in selectors)

    return fits


async def _show(ctx: Context, caller: Caller, app_id: str, wanted: frozenset[str]) -> JSONResponse:
    """Answer an address below ``/v2/apps/``: an app, all apps of a group (``/*``), or what explains an app."""
    if (group := group_of(app_id)) is not None:
        await run_in_threadpool(ctx.require_group, caller, group)
        return await _list(ctx, caller, lambda app: ids.within(app.id, group), wanted, "*")
    name = path_id(app_id)
    caller.require(Role.VIEW, (name,))
    shown = await run_in_threadpool(_one_shown, ctx, name, wanted)
    if shown is None and name.endswith("/explain") and SLASH not in app_id:
        return await run_in_threadpool(_explained, ctx, caller, ids.parent(name))
    if shown is None:
        raise unknown_app(name)
    if "readiness" in wanted:
        shown["readinessCheckResults"] = (await readiness.results(ctx, [name])).get(name, [])
    return JSONResponse({"app": shown})


async def _list(ctx: Context, caller: Caller, fits: Callable[[App], bool], embed: frozenset[str], field: str) -> JSONResponse:
    shown = await run_in_threadpool(shown_apps, ctx, caller, fits, embed)
    if "readiness" in embed:
        results = await readiness.results(ctx, [app["id"] for app in shown])
        shown = [app | {"readinessCheckResults": results.get(app["id"], [])} for app in shown]
    return await run_in_threadpool(Json, {field: shown})


def shown_apps(ctx: Context, caller: Caller, fits: Callable[[App], bool], embed: frozenset[str]) -> list[dict[str, Any]]:
    """Return the apps that fit and that a caller may view, in order of their ids."""
    wanted = {app.id for app in ctx.seen(caller).values() if not isinstance(app, Pod) and fits(app)}

    def look(state: State) -> list[render.Look]:
        return render.look(state, (app for app in state.apps.values() if app.id in wanted), embed)

    found, view = sorted(ctx.controller.read(look), key=lambda seen: seen.app.id), ctx.view()
    return [render.app(seen, embed, view) for seen in found]


def _one_shown(ctx: Context, name: str, embed: frozenset[str]) -> dict[str, Any] | None:
    def look(state: State) -> list[render.Look]:
        return render.look(state, (state.apps[name],) if is_app(state, name) else (), embed)

    return next((render.app(seen, embed, ctx.view()) for seen in ctx.controller.read(look)), None)


def _explained(ctx: Context, caller: Caller, name: str) -> JSONResponse:
    caller.require(Role.VIEW, (name,))
    now, left_out = ctx.clock(), ctx.controller.left_out()
    found = ctx.controller.read(lambda s: explain.explain(s, s.apps[name], now, left_out) if name in s.apps else None)
    if found is None:
        raise unknown_app(name)
    apps = ctx.seen(caller)
    said = list(claims.notices(claims.holders(apps, (apps[name],)), apps[name])) if name in apps else []
    hide = ctx.discretion.of(caller, services=True).but(apps.get(name))
    return JSONResponse({**hide.messages(found), "balancers": said})


def _put_one(
    ctx: Context, caller: Caller, address: str, body: Any, force: bool, *, partial: bool, create: bool, dry_run: bool = False
) -> JSONResponse:
    try:
        app_id = ids.app_id("/" + address.replace(SLASH, "/").strip("/"))
    except ValueError as error:
        raise invalid("/id", str(error)) from None
    caller.require(Role.DEPLOY, (app_id,))
    apps = ctx.apps()
    existing = apps.get(app_id)
    if existing is None and not create:
        raise unknown_app(app_id)
    version = definitions.former(existing, body, app_id)
    if version and existing is None:
        raise unknown_app(app_id)
    if version and dry_run:
        raise invalid("/version", "cannot be tried: look at /v2/apps/<id>/versions/<version> and try that definition")
    if version:
        before = ctx.controller.read(lambda state: versions.definition(state, app_id, version))
        if before is not None:
            ctx.check(caller, apps, (before,))
        reply = ctx.submit(caller, (app_id,), PutVersion(app_id, version, force))
        ctx.posted(caller, (ctx.app(app_id),))
        return deployed(reply)
    (wanted,) = ctx.settled(apps, (definitions.updated(existing, body, app_id, partial=partial),))
    if dry_run:
        return ctx.plan(caller, (wanted,))
    reply = ctx.put(caller, apps, (wanted,), force=force)
    ctx.posted(caller, (wanted,))
    if existing is not None and existing.same_definition(wanted) and existing.dropped == wanted.dropped:
        return deployed(reply)
    said = notices.of_app(ctx.seen(caller), wanted)
    if existing is not None:
        return deployed(reply, notices=said)
    return deployed(reply, 201, location=app_id, notices=said)


def _put_many(
    ctx: Context, caller: Caller, body: Any, force: bool, *, partial: bool, create: bool, dry_run: bool = False
) -> JSONResponse:
    if not isinstance(body, list):
        raise invalid("/", f"must be a list of apps, not {kind(body)}; a single app goes to /v2/apps/<its id>")
    bounds.check_documents(body, "apps", len(body))
    apps = ctx.apps()
    problems: list[Problem] = []
    wanted: dict[str, App] = {}
    for index, item in enumerate(body):
        try:
            app = _one_of_many(caller, apps, item, partial=partial, create=create)
            if wanted.setdefault(app.id, app) is not app:
                problems.append(Problem("/", f"holds {app.id} twice: keep one"))
        except InvalidApp as error:
            problems += [problem.below(f"({index})") for problem in error.problems]
        if len(problems) >= PROBLEMS_MOST:
            break
    if problems:
        raise InvalidInItself(problems)
    settled = ctx.settled(apps, wanted.values())
    if dry_run:
        return ctx.plan(caller, settled)
    reply = ctx.put(caller, apps, settled, force=force)
    ctx.posted(caller, settled)
    return deployed(reply, notices=notices.of_changed(apps, settled, ctx.seen(caller)))


def _one_of_many(caller: Caller, apps: dict[str, App], item: Any, *, partial: bool, create: bool) -> App:
    own = item.get("id") if isinstance(item, dict) else None
    if not isinstance(own, str):
        return definition.parse(item)  # which says what is wrong with it
    try:
        app_id = ids.app_id(own)
    except ValueError as error:
        raise invalid("/id", str(error)) from None
    caller.require(Role.DEPLOY, (app_id,))
    if app_id not in apps and not create:
        raise unknown_app(app_id)
    return definitions.updated(apps.get(app_id), item, app_id, partial=partial)
