"""``/v2/pods``: instances of several containers with one life and one network. To the core each is an app."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fastapi import APIRouter
from fastapi.responses import JSONResponse, Response

from eratos.common.errors import PermanentError
from eratos.marathon import ids, pod_definition, stored
from eratos.marathon.pod import Pod
from eratos.scheduler.access.roles import Role
from eratos.scheduler.core import versions
from eratos.scheduler.core.events import DeleteApps, KillInstances
from eratos.scheduler.core.records import VersionRecord
from eratos.scheduler.core.state import State
from eratos.scheduler.events.event import Event

from . import notices, pod_status, render
from .answers import Json
from .caller import Caller, Deployer, RoleRoute, Viewer
from .context import DEPLOYMENT_ID, Body, Context, deployed, path_id, read_json
from .errors import ApiError, invalid


def router(ctx: Context) -> APIRouter:
    routes = APIRouter(prefix="/v2/pods", tags=["pods"], route_class=RoleRoute)

    @routes.get("")
    def list_pods(caller: Viewer) -> JSONResponse:
        return Json([ctx.view().definition(pod) for pod in sorted(_seen(ctx, caller), key=lambda pod: pod.id)])

    @routes.get("/::status")
    def list_statuses(caller: Viewer) -> JSONResponse:
        found, view = _statuses(ctx, caller.sees), ctx.view()
        return Json([pod_status.status(each, view) for each in sorted(found, key=lambda each: each.pod.id)])

    @routes.post("")
    @ctx.change
    def create_pod(
        caller: Deployer,
        body: Body,
        force: bool = False,
        dryRun: bool = False,  # noqa: N803
    ) -> JSONResponse:
        return _put(ctx, caller, pod_definition.parse(read_json(body)), force=force, dry_run=dryRun, create=True)

    @routes.get("/{pod_id:path}::status")
    def show_status(caller: Viewer, pod_id: str) -> JSONResponse:
        name = _name(caller, pod_id)
        found = _statuses(ctx, name.__eq__)
        if not found:
            raise _unknown(name)
        return Json(pod_status.status(found[0], ctx.view()))

    @routes.get("/{pod_id:path}::versions")
    def list_versions(caller: Viewer, pod_id: str) -> JSONResponse:
        name = _pod(ctx, _name(caller, pod_id)).id
        found = ctx.controller.read(lambda state: versions.newest_first(state.versions.get(name, {})))
        return JSONResponse([record.version for record in found])

    @routes.get("/{pod_id:path}::versions/{version:version}")
    def show_version(caller: Viewer, pod_id: str, version: str) -> JSONResponse:
        name = _pod(ctx, _name(caller, pod_id)).id
        record = ctx.controller.read(lambda state: state.versions.get(name, {}).get(version))
        if record is None:
            raise _unknown(name)
        return JSONResponse(_as_it_was(record))

    @routes.delete("/{pod_id:path}::instances")
    @ctx.change
    def kill_instances(caller: Deployer, pod_id: str, body: Body, wipe: bool = False) -> JSONResponse:
        # ``wipe`` asks for what every kill does, as with the tasks of apps.
        wanted = read_json(body)
        if not isinstance(wanted, list) or not all(isinstance(item, str) for item in wanted):
            raise invalid("/", 'must be a list of the ids of instances: ["shop.instance-..."]')
        return Json(_kill(ctx, caller, pod_id, frozenset(wanted)))

    @routes.delete("/{pod_id:path}::instances/{instance_id}")
    @ctx.change
    def kill_instance(caller: Deployer, pod_id: str, instance_id: str, wipe: bool = False) -> JSONResponse:
        for killed in _kill(ctx, caller, pod_id, frozenset({instance_id})):
            return Json(killed)
        raise ApiError(404, f"Task '{instance_id}' does not exist")

    @routes.get("/{pod_id:path}")
    def show_pod(caller: Viewer, pod_id: str) -> JSONResponse:
        return Json(ctx.view().definition(_pod(ctx, _name(caller, pod_id))))

    @routes.put("/{pod_id:path}")
    @ctx.change
    def put_pod(
        caller: Deployer,
        pod_id: str,
        body: Body,
        force: bool = False,
        dryRun: bool = False,  # noqa: N803
    ) -> JSONResponse:
        name = path_id(pod_id, "Pod")
        caller.require(Role.DEPLOY, (name,))
        pod = pod_definition.parse(read_json(body), ids.parent(name), ctx.apps().get(name))
        if pod.id != name:
            raise ApiError(400, f"'{name}' does not match definition's id ('{pod.id}')")
        return _put(ctx, caller, pod, force=force, dry_run=dryRun, create=False)

    @routes.delete("/{pod_id:path}")
    @ctx.change
    def delete_pod(caller: Deployer, pod_id: str, force: bool = False) -> Response:
        name = path_id(pod_id, "Pod")
        caller.require(Role.DEPLOY, (name,))
        reply = ctx.submit(caller, (_pod(ctx, name).id,), DeleteApps((name,), force))
        _tell(ctx, caller, "pod_deleted_event", name)
        headers = {"Location": reply.deployment_id, DEPLOYMENT_ID: reply.deployment_id}
        return Response(status_code=202, headers=headers)

    return routes


def _statuses(ctx: Context, wanted: Callable[[str], bool]) -> list[pod_status.Look]:
    """Look at the pods whose ids are wanted: those that there are first, then those that are going."""

    def look(state: State) -> list[pod_status.Look]:
        pods = [pod for pod in state.apps.values() if isinstance(pod, Pod)] + pod_status.going(state)
        return pod_status.look(state, (pod for pod in pods if wanted(pod.id)))

    return ctx.controller.read(look)


def _seen(ctx: Context, caller: Caller) -> list[Pod]:
    return [pod for pod in ctx.seen(caller).values() if isinstance(pod, Pod)]


def _unknown(pod_id: str) -> ApiError:
    return ApiError(404, f"Pod '{pod_id}' does not exist")


def _name(caller: Caller, address: str) -> str:
    name = path_id(address, "Pod")
    caller.require(Role.VIEW, (name,))
    return name


def _pod(ctx: Context, name: str) -> Pod:
    found = ctx.controller.read(lambda state: state.apps.get(name))
    if not isinstance(found, Pod):
        raise _unknown(name)
    return found


def _put(ctx: Context, caller: Caller, pod: Pod, *, force: bool, dry_run: bool, create: bool) -> JSONResponse:
    apps = ctx.apps()
    before = apps.get(pod.id)
    (wanted,) = ctx.settled(apps, (pod,))
    if dry_run:
        return ctx.plan(caller, (wanted,))
    reply = ctx.put(caller, apps, (wanted,), force=force, create_only=create)
    _tell(ctx, caller, "pod_created_event" if before is None else "pod_updated_event", pod.id)
    shown = ctx.controller.read(lambda state: state.apps.get(pod.id, wanted)).to_json()
    said = notices.of_app(ctx.seen(caller), wanted)
    return deployed(reply, 201 if create else 200, shown, location=pod.id if create else "", notices=said)


def _tell(ctx: Context, caller: Caller, kind: str, pod_id: str) -> None:
    fields = {"clientIp": caller.address, "uri": caller.uri}
    ctx.controller.events.publish([Event(kind, ctx.clock(), fields, frozenset({pod_id}))])


def _as_it_was(record: VersionRecord) -> dict[str, Any]:
    try:
        return versions.read(record).to_json()
    except (PermanentError, ValueError):
        # As it was taken then, whatever would be made of it today.
        return stored.shown(versions.raw(record))


def _kill(ctx: Context, caller: Caller, address: str, wanted: frozenset[str]) -> list[dict[str, Any]]:
    name = path_id(address, "Pod")
    caller.require(Role.DEPLOY, (name,))
    pod = _pod(ctx, name)

    def look(state: State) -> list[render.Row]:
        return render.rows(each for each in state.instances_of(name) if each.instance_id in wanted)

    found = ctx.controller.read(look)
    if found:
        ctx.submit(caller, (name,), KillInstances(tuple(row.instance_id for row in found)))
    return [pod_status.killed(row, pod) for row in found]
