"""``/v2/apps``: create, show, change, restart and delete apps."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

from fastapi import APIRouter, Query
from fastapi.responses import JSONResponse
from starlette.concurrency import run_in_threadpool

from eratos.marathon import bounds, ids
from eratos.marathon.app import App
from eratos.marathon.errors import PROBLEMS_MOST, InvalidApp, Problem
from eratos.marathon.messages import kind
from eratos.scheduler.core.events import DeleteApps, RestartApp, ScaleApp
from eratos.scheduler.core.state import State

from . import claims, explain, readiness, render, update
from .addresses import SLASH
from .context import Body, Context, deployed, path_id, read_json, unknown_app
from .errors import ApiError, invalid

#: Label selectors in one request.
SELECTORS_MOST = 100

Embed = Annotated[list[str], Query()]


def router(ctx: Context) -> APIRouter:
    routes = APIRouter(tags=["apps"])

    @routes.get("/v2/explain/{app_id:path}")
    def explain_app(app_id: str) -> JSONResponse:
        return _explained(ctx, path_id(app_id))

    @routes.get("/v2/apps")
    def list_apps(cmd: str = "", id: str = "", label: str = "", embed: Embed = []) -> JSONResponse:  # noqa: B006
        wanted = render.embeds(embed, render.LIST_EMBEDS)
        fits = _filter(cmd, id, label)
        return JSONResponse({"apps": _shown(ctx, fits, wanted)})

    @routes.post("/v2/apps")
    @ctx.change
    def create_app(body: Body, force: bool = False) -> JSONResponse:
        app = App.parse(read_json(body))
        apps = ctx.apps()
        reply = ctx.put(apps, (app,), force=force, create_only=True)
        shown = {
            **app.with_version(reply.version).to_json(),
            **dict.fromkeys(("tasksStaged", "tasksRunning", "tasksHealthy", "tasksUnhealthy"), 0),
            "deployments": [{"id": reply.deployment_id}],
        }
        return deployed(reply, 201, shown, location=app.id, notices=claims.notices(apps, app))

    @routes.put("/v2/apps")
    @ctx.change
    def put_apps(body: Body, force: bool = False, partialUpdate: bool = True) -> JSONResponse:  # noqa: N803
        return _put_many(ctx, read_json(body), force, partial=partialUpdate, create=True)

    @routes.patch("/v2/apps")
    @ctx.change
    def patch_apps(body: Body, force: bool = False) -> JSONResponse:
        return _put_many(ctx, read_json(body), force, partial=True, create=False)

    @routes.post("/v2/apps/{app_id:path}/restart")
    @ctx.change
    def restart_app(app_id: str, force: bool = False) -> JSONResponse:
        name = ctx.owner(app_id, "restart", change=True)
        return deployed(ctx.submit(lambda token: RestartApp(token, name, force)))

    @routes.get("/v2/apps/{app_id:path}/versions")
    def list_versions(app_id: str) -> JSONResponse:
        return JSONResponse({"versions": [ctx.app(ctx.owner(app_id, "versions")).version]})

    @routes.get("/v2/apps/{app_id:path}/versions/{version:version}")
    def show_version(app_id: str, version: str) -> JSONResponse:
        app = ctx.app(path_id(app_id))
        if app.version != version:
            raise ApiError(
                404, f"App '{app.id}' does not exist in version {version}; eratos keeps the newest only, {app.version}"
            )
        return JSONResponse(app.to_json())

    @routes.get("/v2/apps/{app_id:path}")
    async def show_app(app_id: str, embed: Embed = []) -> JSONResponse:  # noqa: B006
        wanted = render.embeds(embed, render.SHOW_EMBEDS)
        if app_id.rstrip("/").endswith("*"):
            group = path_id(app_id.rstrip("/*"), "Group")
            return JSONResponse({"*": await run_in_threadpool(_shown, ctx, lambda app: ids.within(app.id, group), wanted)})
        name = path_id(app_id)
        shown = await run_in_threadpool(_one_shown, ctx, name, wanted)
        if shown is None and name.endswith("/explain") and SLASH not in app_id:
            return await run_in_threadpool(_explained, ctx, ids.parent(name))
        if shown is None:
            raise unknown_app(name)
        if "readiness" in wanted:
            shown["readinessCheckResults"] = await readiness.results(ctx, name)
        return JSONResponse({"app": shown})

    @routes.put("/v2/apps/{app_id:path}")
    @ctx.change
    def put_app(app_id: str, body: Body, force: bool = False, partialUpdate: bool = True) -> JSONResponse:  # noqa: N803
        return _put_one(ctx, app_id, read_json(body), force, partial=partialUpdate, create=True)

    @routes.patch("/v2/apps/{app_id:path}")
    @ctx.change
    def patch_app(app_id: str, body: Body, force: bool = False) -> JSONResponse:
        return _put_one(ctx, app_id, read_json(body), force, partial=True, create=False)

    @routes.delete("/v2/apps/{app_id:path}")
    @ctx.change
    def delete_app(app_id: str, force: bool = True) -> JSONResponse:
        name = path_id(app_id)
        return deployed(ctx.submit(lambda token: DeleteApps(token, (name,), force)))

    return routes


def _filter(cmd: str, app_id: str, label: str) -> Callable[[App], bool]:
    wanted = [item for item in label.split(",") if item.strip()]
    if len(wanted) > SELECTORS_MOST:
        raise invalid("/label", f"holds {len(wanted)} selectors: {SELECTORS_MOST} are the most")
    selectors = [_selector(item) for item in wanted]

    def fits(app: App) -> bool:
        found = cmd in (app.cmd or "") and app_id in app.id
        return found and all(selector(app) for selector in selectors)

    return fits


def _selector(text: str) -> Callable[[App], bool]:
    """Read one label selector: ``key``, ``key==value`` or ``key!=value``; the full grammar is refused with a reason."""
    key, operator, value = text.partition("!=") if "!=" in text else text.partition("==")
    key, value = key.strip(), value.strip()
    if not key or " " in key or " " in value:
        raise invalid("/label", f"'{text.strip()}' is no selector that eratos knows: use key, key==value or key!=value")
    if not operator:
        return lambda app: key in app.labels
    return lambda app: key in app.labels and (app.labels[key] == value) is (operator == "==")


def _shown(ctx: Context, fits: Callable[[App], bool], embed: frozenset[str]) -> list[dict[str, Any]]:
    wanted = {app.id for app in ctx.apps().values() if fits(app)}

    def look(state: State) -> list[render.Look]:
        return render.look(state, (app for app in state.apps.values() if app.id in wanted), embed)

    return [render.app(seen, embed) for seen in sorted(ctx.controller.read(look), key=lambda seen: seen.app.id)]


def _one_shown(ctx: Context, name: str, embed: frozenset[str]) -> dict[str, Any] | None:
    def look(state: State) -> list[render.Look]:
        return render.look(state, (state.apps[name],) if name in state.apps else (), embed)

    return next((render.app(seen, embed) for seen in ctx.controller.read(look)), None)


def _explained(ctx: Context, name: str) -> JSONResponse:
    now, left_out = ctx.clock(), ctx.controller.left_out()
    found = ctx.controller.read(lambda s: explain.explain(s, s.apps[name], now, left_out) if name in s.apps else None)
    if found is None:
        raise unknown_app(name)
    apps = ctx.apps()
    return JSONResponse({**found, "balancers": list(claims.notices(apps, apps[name])) if name in apps else []})


def _put_one(ctx: Context, address: str, body: Any, force: bool, *, partial: bool, create: bool) -> JSONResponse:
    try:
        app_id = ids.app_id("/" + address.replace(SLASH, "/").strip("/"))
    except ValueError as error:
        raise invalid("/id", str(error)) from None
    apps = ctx.apps()
    existing = apps.get(app_id)
    if existing is None and not create:
        raise unknown_app(app_id)
    (wanted,) = update.keeping(apps, (update.updated(existing, body, app_id, partial=partial),))
    if existing is not None and wanted == existing.with_instances(wanted.instances).with_version(wanted.version):
        update.check_instances(apps, (wanted,), ctx.instances_most)
        return deployed(ctx.submit(lambda token: ScaleApp(token, app_id, wanted.instances, force)))
    reply = ctx.put(apps, (wanted,), force=force)
    notices = claims.notices(apps, wanted)
    if existing is not None:
        return deployed(reply, notices=notices)
    return deployed(reply, 201, location=app_id, notices=notices)


def _put_many(ctx: Context, body: Any, force: bool, *, partial: bool, create: bool) -> JSONResponse:
    if not isinstance(body, list):
        raise invalid("/", f"must be a list of apps, not {kind(body)}; a single app goes to /v2/apps/<its id>")
    bounds.check_count("/", "apps", len(body), bounds.APPS_MOST)
    apps = ctx.apps()
    problems: list[Problem] = []
    wanted: dict[str, App] = {}
    for index, item in enumerate(body):
        try:
            app = _one_of_many(apps, item, partial=partial, create=create)
            if wanted.setdefault(app.id, app) is not app:
                problems.append(Problem("/", f"holds {app.id} twice: keep one"))
        except InvalidApp as error:
            problems += [problem.below(f"({index})") for problem in error.problems]
        if len(problems) >= PROBLEMS_MOST:
            break
    if problems:
        raise InvalidApp(problems)
    reply = ctx.put(apps, tuple(wanted.values()), force=force)
    return deployed(reply, notices=claims.of_changed(apps, wanted.values()))


def _one_of_many(apps: dict[str, App], item: Any, *, partial: bool, create: bool) -> App:
    own = item.get("id") if isinstance(item, dict) else None
    if not isinstance(own, str):
        return App.parse(item)  # which tells what is wrong with it
    try:
        app_id = ids.app_id(own)
    except ValueError as error:
        raise invalid("/id", str(error)) from None
    if app_id not in apps and not create:
        raise unknown_app(app_id)
    return update.updated(apps.get(app_id), item, app_id, partial=partial)
