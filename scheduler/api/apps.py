"""``/v2/apps``: create, show, change, restart and delete apps."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

from fastapi import APIRouter, Query
from fastapi.responses import JSONResponse

from eratos.marathon import ids
from eratos.marathon.app import App
from eratos.marathon.errors import InvalidApp
from eratos.marathon.messages import kind
from eratos.scheduler.core.events import DeleteApps, RestartApp, ScaleApp

from . import claims, explain, readiness, render, update
from .context import Body, Context, deployed, path_id, unknown_app
from .errors import ApiError, invalid

Embed = Annotated[list[str], Query()]


def router(ctx: Context) -> APIRouter:
    routes = APIRouter(prefix="/v2/apps", tags=["apps"])

    @routes.get("")
    def list_apps(cmd: str = "", id: str = "", label: str = "", embed: Embed = []) -> JSONResponse:  # noqa: B006
        wanted = render.embeds(embed, render.LIST_EMBEDS)
        fits = _filter(cmd, id, label)
        apps = ctx.controller.read(lambda s: [render.app(s, a, wanted) for _, a in sorted(s.apps.items()) if fits(a)])
        return JSONResponse({"apps": apps})

    @routes.post("")
    def create_app(body: Body, force: bool = False) -> JSONResponse:
        app = App.parse(body)
        with ctx.turn():
            apps = ctx.apps()
            reply = ctx.put(apps, (app,), force=force, create_only=True)
        shown = {
            **app.with_version(reply.version).to_json(),
            **dict.fromkeys(("tasksStaged", "tasksRunning", "tasksHealthy", "tasksUnhealthy"), 0),
            "deployments": [{"id": reply.deployment_id}],
        }
        return deployed(reply, 201, shown, location=app.id, notices=claims.notices(apps, app))

    @routes.put("")
    def put_apps(body: Body, force: bool = False, partialUpdate: bool = True) -> JSONResponse:  # noqa: N803
        return _put_many(ctx, body, force, partial=partialUpdate, create=True)

    @routes.patch("")
    def patch_apps(body: Body, force: bool = False) -> JSONResponse:
        return _put_many(ctx, body, force, partial=True, create=False)

    @routes.post("/{app_id:path}/restart")
    def restart_app(app_id: str, force: bool = False) -> JSONResponse:
        name = path_id(app_id)
        with ctx.turn():
            return deployed(ctx.submit(lambda token: RestartApp(token, name, force)))

    @routes.get("/{app_id:path}/explain")
    def explain_app(app_id: str) -> JSONResponse:
        name, now = path_id(app_id), ctx.clock()
        left_out = ctx.controller.left_out()
        found = ctx.controller.read(lambda s: explain.explain(s, s.apps[name], now, left_out) if name in s.apps else None)
        if found is None:
            raise unknown_app(name)
        apps = ctx.apps()
        return JSONResponse({**found, "balancers": list(claims.notices(apps, apps[name])) if name in apps else []})

    @routes.get("/{app_id:path}/versions")
    def list_versions(app_id: str) -> JSONResponse:
        return JSONResponse({"versions": [ctx.app(path_id(app_id)).version]})

    @routes.get("/{app_id:path}/versions/{version}")
    def show_version(app_id: str, version: str) -> JSONResponse:
        app = ctx.app(path_id(app_id))
        if app.version != version:
            raise ApiError(
                404, f"App '{app.id}' does not exist in version {version}; eratos keeps the newest only, {app.version}"
            )
        return JSONResponse(app.to_json())

    @routes.get("/{app_id:path}")
    def show_app(app_id: str, embed: Embed = []) -> JSONResponse:  # noqa: B006
        wanted = render.embeds(embed, render.SHOW_EMBEDS)
        if app_id.rstrip("/").endswith("*"):
            group = path_id(app_id.rstrip("/*"), "Group")
            inside = _filter_group(group)
            apps = ctx.controller.read(lambda s: [render.app(s, a, wanted) for _, a in sorted(s.apps.items()) if inside(a)])
            return JSONResponse({"*": apps})
        name = path_id(app_id)
        shown = ctx.controller.read(lambda s: render.app(s, s.apps[name], wanted) if name in s.apps else None)
        if shown is None:
            raise unknown_app(name)
        if "readiness" in wanted:
            shown["readinessCheckResults"] = readiness.results(ctx, name)
        return JSONResponse({"app": shown})

    @routes.put("/{app_id:path}")
    def put_app(app_id: str, body: Body, force: bool = False, partialUpdate: bool = True) -> JSONResponse:  # noqa: N803
        return _put_one(ctx, app_id, body, force, partial=partialUpdate, create=True)

    @routes.patch("/{app_id:path}")
    def patch_app(app_id: str, body: Body, force: bool = False) -> JSONResponse:
        return _put_one(ctx, app_id, body, force, partial=True, create=False)

    @routes.delete("/{app_id:path}")
    def delete_app(app_id: str, force: bool = True) -> JSONResponse:
        name = path_id(app_id)
        with ctx.turn():
            return deployed(ctx.submit(lambda token: DeleteApps(token, (name,), force)))

    return routes


def _filter(cmd: str, app_id: str, label: str) -> Callable[[App], bool]:
    selectors = [_selector(item) for item in label.split(",") if item.strip()]

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


def _filter_group(group: str) -> Callable[[App], bool]:
    return lambda app: ids.within(app.id, group)


def _put_one(ctx: Context, address: str, body: Any, force: bool, *, partial: bool, create: bool) -> JSONResponse:
    try:
        app_id = ids.app_id("/" + address.strip("/"))
    except ValueError as error:
        raise invalid("/id", str(error)) from None
    with ctx.turn():
        apps = ctx.apps()
        existing = apps.get(app_id)
        if existing is None and not create:
            raise unknown_app(app_id)
        (wanted,) = update.keeping(apps, (update.updated(existing, body, app_id, partial=partial),))
        if existing is not None and wanted == existing.with_instances(wanted.instances).with_version(wanted.version):
            return deployed(ctx.submit(lambda token: ScaleApp(token, app_id, wanted.instances, force)))
        reply = ctx.put(apps, (wanted,), force=force)
    notices = claims.notices(apps, wanted)
    if existing is not None:
        return deployed(reply, notices=notices)
    return deployed(reply, 201, location=app_id, notices=notices)


def _put_many(ctx: Context, body: Any, force: bool, *, partial: bool, create: bool) -> JSONResponse:
    if not isinstance(body, list):
        raise invalid("/", f"must be a list of apps, not {kind(body)}; a single app goes to /v2/apps/<its id>")
    with ctx.turn():
        apps = ctx.apps()
        problems, wanted = [], []
        for index, item in enumerate(body):
            try:
                wanted.append(_one_of_many(apps, item, partial=partial, create=create))
            except InvalidApp as error:
                problems += [problem.below(f"({index})") for problem in error.problems]
        repeated = {app.id for app in wanted if [other.id for other in wanted].count(app.id) > 1}
        if problems:
            raise InvalidApp(problems)
        if repeated:
            raise invalid("/", f"holds {', '.join(sorted(repeated))} twice: keep one")
        return deployed(ctx.put(apps, tuple(wanted), force=force), notices=claims.of_changed(apps, wanted))


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
