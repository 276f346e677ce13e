"""``/v2/quotas``: how much may be wanted within a group. Not Marathon's.

Only who operates the group around it sets a quota, so that those whom it bounds cannot lift it.
"""

from __future__ import annotations

import difflib
import itertools
from collections.abc import Mapping
from typing import Any, Final

from fastapi import APIRouter
from fastapi.responses import JSONResponse

from eratos.marathon import ids, strict_json
from eratos.marathon.bounds import NUMBER_MAX
from eratos.marathon.errors import PROBLEMS_MOST, InvalidApp, Problem
from eratos.marathon.pydantic_errors import kind
from eratos.scheduler.access.roles import Role
from eratos.scheduler.core import quotas
from eratos.scheduler.core.events import DeleteQuota, PutQuota
from eratos.scheduler.core.records import QuotaRecord
from eratos.scheduler.core.state import State

from . import quota_use
from .answers import Json
from .caller import Caller, GroupOperator, RoleRoute, Viewer
from .context import NOTICE, Body, Context, path_id, read_json
from .errors import ApiError, invalid

_LIMITS: Final = ("instances", "cpus", "mem", "disk")
#: What is shown with a quota. Accepted, so that a shown one can be sent back, and dropped.
_OUTPUT_ONLY: Final = ("used", "left", "apps")
_FIELDS: Final = (*_LIMITS, "group", *_OUTPUT_ONLY)


def router(ctx: Context) -> APIRouter:
    routes = APIRouter(prefix="/v2/quotas", tags=["quotas"], route_class=RoleRoute)

    @routes.get("")
    def list_quotas(caller: Viewer) -> JSONResponse:
        def look(state: State) -> list[dict[str, Any]]:
            seen = (quota for path, quota in sorted(state.quotas.items()) if caller.identity.sees_within(path))
            return [quota_use.shown(quota, quotas.used(state, quota.path)) for quota in seen]

        return Json({"quotas": ctx.controller.read(look)})

    @routes.get("/{group_id:path}")
    def show_quota(caller: Viewer, group_id: str) -> JSONResponse:
        name = path_id(group_id, "Group")
        if not caller.identity.sees_within(name):
            caller.require(Role.VIEW, (name,))
        return Json(_shown(ctx, caller, name))

    @routes.put("/{group_id:path}")
    @ctx.change
    def put_quota(caller: GroupOperator, group_id: str, body: Body, dryRun: bool = False) -> JSONResponse:  # noqa: N803
        name = path_id(group_id, "Group")
        quota = parse(read_json(body), name)
        if dryRun:
            caller.require(Role.OPERATE, (ids.parent(name),))
            shown = ctx.controller.read(lambda state: quota_use.with_apps(quota, quotas.used(state, name), caller.sees))
        else:
            ctx.submit(caller, (ids.parent(name),), PutQuota(quota), Role.OPERATE)
            shown = _shown(ctx, caller, name)
        over = ", ".join(kind for kind, left in shown["left"].items() if left < 0)
        said = {NOTICE: f"less than is in use of {over}: nothing is stopped, and what asks for more is refused"} if over else {}
        return JSONResponse(shown, headers=said)

    @routes.delete("/{group_id:path}")
    @ctx.change
    def delete_quota(caller: GroupOperator, group_id: str) -> JSONResponse:
        name = path_id(group_id, "Group")
        caller.require(Role.OPERATE, (ids.parent(name),))
        shown = _shown(ctx, caller, name)
        ctx.submit(caller, (ids.parent(name),), DeleteQuota(name), Role.OPERATE)
        return Json(shown)

    return routes


def _shown(ctx: Context, caller: Caller, name: str) -> dict[str, Any]:
    def look(state: State) -> dict[str, Any] | None:
        quota = state.quotas.get(name)
        return quota_use.with_apps(quota, quotas.used(state, name), caller.sees) if quota is not None else None

    found = ctx.controller.read(look)
    if found is None:
        raise ApiError(404, f"Group '{name}' has no quota")
    return found


def parse(body: Any, name: str) -> QuotaRecord:
    """Read the quota of a group. Raises InvalidApp with every problem."""
    if not isinstance(body, Mapping):
        raise invalid("/", f'must be an object such as {{"instances": 10, "mem": 4096}}, not {kind(body)}')
    unknown = itertools.islice((field for field in body if field not in _FIELDS), PROBLEMS_MOST)
    problems = [Problem(f"/{strict_json.shortened(field)}", f"is no field of a quota: {_hint(field)}") for field in unknown]
    if body.get("group", name) != name:
        problems.append(Problem("/group", f"is not {name}, which the address names: leave it out"))
    if all(body.get(field) is None for field in _LIMITS):
        problems.append(Problem("/", f"must bound one of {', '.join(_LIMITS)}; DELETE has no quota at all"))
    problems += [Problem(f"/{field}", wrong) for field in _LIMITS if (wrong := _wrong(field, body.get(field)))]
    if problems:
        raise InvalidApp(problems)
    cpus = body.get("cpus")
    cpus_m = None if cpus is None else round(cpus * 1000)
    return QuotaRecord(name, body.get("instances"), cpus_m, body.get("mem"), body.get("disk"))


def _hint(field: str) -> str:
    near = difflib.get_close_matches(field[:64].lower(), _LIMITS, 1)
    return f"did you mean {near[0]}?" if near else f"use {', '.join(_LIMITS)}"


def _wrong(field: str, value: Any) -> str:
    if value is None:
        return ""
    number = isinstance(value, int | float) if field == "cpus" else isinstance(value, int)
    if not number or isinstance(value, bool) or not 0 <= value <= NUMBER_MAX:
        what = {"instances": "", "cpus": "of CPUs ", "mem": "of MiB ", "disk": "of MiB "}[field]
        return f"must be a {'' if field == 'cpus' else 'whole '}number {what}from 0 to {NUMBER_MAX}, or null for any"
    return ""
