"""``/v2/deployments``: changes under way and those that have ended; to take one back, or to end it.

Marathon's plan in steps is derived from what a deployment changes, and how far it is from what is wanted and what is there:
nothing is carried out by it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import APIRouter, Query
from fastapi.responses import JSONResponse, Response
from starlette.concurrency import run_in_threadpool

from eratos.common.times import timestamp
from eratos.marathon.app import App
from eratos.scheduler.access.roles import Role
from eratos.scheduler.core import deployments, stages
from eratos.scheduler.core.events import Cancel, Command, Pause, Promote, RollBack
from eratos.scheduler.core.gates import Counted
from eratos.scheduler.core.order import Order
from eratos.scheduler.core.records import ChangeRecord, DeploymentRecord
from eratos.scheduler.core.state import Deployment, Ended, State
from eratos.scheduler.events.event import action

from . import planning, readiness
from .caller import Caller, Deployer, RoleRoute, Viewer
from .context import Context, deployed
from .discretion import Hide
from .errors import ApiError
from .render import Json

#: Of the apps that one waits for these are named.
NAMED_MOST = 10


def router(ctx: Context) -> APIRouter:
    routes = APIRouter(prefix="/v2/deployments", tags=["deployments"], route_class=RoleRoute)

    @routes.get("")
    async def list_deployments(
        caller: Viewer,
        ended: bool = False,
        embed: Annotated[list[str], Query()] = [],  # noqa: B006
    ) -> JSONResponse:
        if ended:
            over = await run_in_threadpool(ctx.controller.read, lambda state: list(state.ended))
            hide = await run_in_threadpool(ctx.discretion.of, caller)
            return JSONResponse([_ended(found, seen, hide) for found in reversed(over) if (seen := _seen(caller, found.app_ids))])
        looks = await run_in_threadpool(ctx.controller.read, lambda s: [_look(s, found) for found in s.deployments.values()])
        shown = await asyncio.gather(*(_shown(ctx, caller, found) for found in looks))
        found = [each for each in shown if each is not None]
        if "eratos" not in embed:
            # Clients of Marathon take no further field (PyPI's marathon makes an argument of each).
            for each in found:
                del each["eratos"]
        return JSONResponse(found)

    @routes.get("/{deployment_id}")
    async def show_deployment(caller: Viewer, deployment_id: str) -> JSONResponse:
        look = await run_in_threadpool(ctx.controller.read, lambda state: _one(state, deployment_id))
        if look is None:
            raise _unknown(deployment_id)
        app_ids = look.app_ids if isinstance(look, Ended) else tuple(look.changes)
        seen = _seen(caller, app_ids)
        if not seen:
            caller.require(Role.VIEW, app_ids, stored=True)
        if isinstance(look, Ended):
            return JSONResponse(_ended(look, seen, await run_in_threadpool(ctx.discretion.of, caller)))
        return JSONResponse(await _shown(ctx, caller, look))

    def affected(deployment_id: str) -> list[str]:
        """Return the apps of a deployment. Raises ApiError where there is none."""
        app_ids = ctx.controller.read(lambda state: _app_ids(state, deployment_id))
        if not app_ids:
            raise _unknown(deployment_id)
        return app_ids

    @routes.delete("/{deployment_id}")
    @ctx.change
    def end_deployment(caller: Deployer, deployment_id: str, force: bool = False) -> Response:
        app_ids = affected(deployment_id)
        if force:
            ctx.submit(caller, app_ids, Cancel(deployment_id), stored=True)
            return Response(status_code=202)
        return deployed(ctx.submit(caller, app_ids, RollBack(deployment_id), stored=True))

    def steered(caller: Deployer, deployment_id: str, command: Command) -> JSONResponse:
        app_ids = affected(deployment_id)
        reply = ctx.submit(caller, app_ids, command, stored=True)
        return deployed(reply, body={"deploymentId": reply.deployment_id})

    def steer(path: str, what: str, command: Callable[[str], Command]) -> None:
        @routes.post(path, summary=what)
        @ctx.change
        def change(caller: Deployer, deployment_id: str) -> JSONResponse:
            return steered(caller, deployment_id, command(deployment_id))

    steer("/{deployment_id}/pause", "Let it come no further", Pause)
    steer("/{deployment_id}/resume", "Let it go on", lambda deployment_id: Pause(deployment_id, paused=False))

    @routes.post("/{deployment_id}/promote", summary="Let apps go on that stand at a gate of their canary")
    @ctx.change
    def promote(caller: Deployer, deployment_id: str, force: bool = False) -> JSONResponse:
        return steered(caller, deployment_id, Promote(deployment_id, force))

    return routes


def _unknown(deployment_id: str) -> ApiError:
    return ApiError(404, f"DeploymentPlan {deployment_id} does not exist")


def _app_ids(state: State, deployment_id: str) -> list[str]:
    found = state.deployments.get(deployment_id)
    return sorted(found.app_ids) if found is not None else []


def _seen(caller: Caller, app_ids: Iterable[str]) -> list[str]:
    return [app_id for app_id in sorted(app_ids) if caller.sees(app_id)]


@dataclass(frozen=True, slots=True)
class Look:
    """What is shown of a deployment, at one moment."""

    record: DeploymentRecord
    changes: dict[str, ChangeRecord]
    apps: dict[str, App]  #: those of its apps that are wanted
    left: dict[str, int]
    held: frozenset[str]
    order: Order
    waits_for: dict[str, list[str]]
    deadline: float
    limits: dict[str, int]  #: app that may have only so many new instances for now
    gates: dict[str, float]  #: app that stands at a gate -> since when
    shares: dict[str, int]  #: app that is there twice -> percent of the traffic that its new version gets
    figures: dict[str, Json]  #: those of them that are judged by figures -> what was counted


def _look(state: State, found: Deployment) -> Look:
    return Look(
        found.record,
        dict(found.changes),
        {app_id: state.apps[app_id] for app_id in found.changes if app_id in state.apps},
        dict(found.left),
        frozenset(found.held),
        found.order,
        {app_id: found.order.waits_for(app_id)[:NAMED_MOST] for app_id in sorted(found.held)[:NAMED_MOST]},
        deployments.deadline(found),
        {app_id: most for app_id in found.changes if (most := stages.limit(state, app_id)) is not None},
        dict(found.reached),
        {app_id: part for app_id in found.changes if (part := stages.share(state, app_id)) is not None},
        {app_id: _figures(counted) for app_id, counted in found.counted.items()},
    )


def _figures(counted: Counted) -> Json:
    shown = {"requests": counted.requests, "failed": counted.failed, "answerMs": round(counted.answer_ms, 1)}
    return {**shown, "missing": counted.missing, "overdue": counted.overdue}


def _one(state: State, deployment_id: str) -> Look | Ended | None:
    found = state.deployments.get(deployment_id)
    if found is not None:
        return _look(state, found)
    return next((over for over in state.ended if over.record.deployment_id == deployment_id), None)


async def _shown(ctx: Context, caller: Caller, look: Look) -> Json | None:
    """Return a deployment with those of its apps that the caller may view; None where that is none."""
    seen = _seen(caller, look.changes)
    if not seen:
        return None
    plan = [step for step in planning.steps(look.changes, look.apps, look.order, frozenset(seen)) if step]
    current = planning.current_step(plan, look.left)
    checked = [app_id for _, app_id in plan[current] if app_id in look.apps and look.apps[app_id].readiness_checks]
    results = await readiness.results(ctx, checked) if checked else {}
    return {
        "id": look.record.deployment_id,
        "version": look.record.version,
        **_affected(seen, {app_id for app_id, change in look.changes.items() if change.pod}),
        "steps": planning.rendered(plan, look.changes),
        "currentActions": [
            {
                **{"app": None, "pod": None, "readinessCheckResults": results.get(app_id, [])},
                **action(name, app_id, pod=look.changes[app_id].pod),
            }
            for name, app_id in plan[current]
        ],
        "currentStep": current + 1,
        "totalSteps": len(plan),
        "eratos": {
            "begunAt": timestamp(look.record.begun_at),
            "deadline": timestamp(look.deadline),
            "instancesLeft": {app_id: look.left[app_id] for app_id in seen if app_id in look.left},
            "waiting": {
                app_id: [other for other in others if caller.sees(other)]
                for app_id, others in look.waits_for.items()
                if caller.sees(app_id)
            },
            "paused": look.record.paused,
            "newInstancesAtMost": {app_id: look.limits[app_id] for app_id in seen if app_id in look.limits},
            "atGateSince": {app_id: timestamp(look.gates[app_id]) for app_id in seen if app_id in look.gates},
            "trafficOfNew": {app_id: look.shares[app_id] for app_id in seen if app_id in look.shares},
            "gateFigures": {app_id: look.figures[app_id] for app_id in seen if app_id in look.figures},
            **({"rollsBack": look.record.undoes} if look.record.undoes else {}),
            **({"cause": look.record.cause} if look.record.cause else {}),
        },
    }


def _affected(seen: list[str], pods: Collection[str]) -> dict[str, list[str]]:
    return {
        "affectedApps": [app_id for app_id in seen if app_id not in pods],
        "affectedPods": [app_id for app_id in seen if app_id in pods],
    }


def _ended(found: Ended, seen: list[str], hide: Hide) -> dict[str, Any]:
    return {
        "id": found.record.deployment_id,
        "version": found.record.version,
        **_affected(seen, found.pods),
        "eratos": {
            "begunAt": timestamp(found.record.begun_at),
            "endedAt": timestamp(found.ended_at),
            "outcome": found.outcome.value,
            "reason": hide(found.reason),
            **({"rollsBack": found.record.undoes} if found.record.undoes else {}),
            **({"cause": found.record.cause} if found.record.cause else {}),
        },
    }
