"""``/v1/jobs`` and ``/v0/scheduled-jobs``: what runs to its end, by hand or by schedule, as Metronome has it."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Query
from fastapi.responses import JSONResponse

from eratos.marathon import job as jobs
from eratos.marathon.errors import InvalidInItself, Problem
from eratos.marathon.job import JOB_ID, Job, Schedule, path_of
from eratos.marathon.strict_json import shortened
from eratos.scheduler.access.roles import Role
from eratos.scheduler.core import schedules
from eratos.scheduler.core.events import DeleteJob, PutJob, StartRun, StopRun
from eratos.scheduler.core.state import State

from . import job_status
from .answers import Json
from .caller import Caller, Deployer, RoleRoute, Viewer
from .context import Body, Context, read_json
from .discretion import Hide
from .errors import ApiError, invalid

Embed = Annotated[list[str], Query()]
_ID = re.compile(JOB_ID)


def router(ctx: Context) -> APIRouter:
    routes = APIRouter(tags=["jobs"], route_class=RoleRoute)
    for add in (_jobs, _schedules, _runs, _scheduled_jobs):
        add(routes, ctx)
    return routes


def _jobs(routes: APIRouter, ctx: Context) -> None:
    @routes.get("/v1/jobs")
    def list_jobs(caller: Viewer, embed: Embed = []) -> JSONResponse:  # noqa: B006
        return Json(_listed(ctx, caller, _embeds(embed)))

    @routes.post("/v1/jobs")
    @ctx.change
    def create_job(caller: Deployer, body: Body, dryRun: bool = False) -> JSONResponse:  # noqa: N803
        return _create(ctx, caller, body, (), dry_run=dryRun)

    @routes.get("/v1/jobs/{job_id}")
    def show_job(caller: Viewer, job_id: str, embed: Embed = []) -> JSONResponse:  # noqa: B006
        return Json(job_status.shown(_look(ctx, caller, _name(caller, job_id)), _embeds(embed)))

    @routes.put("/v1/jobs/{job_id}")
    @ctx.change
    def put_job(caller: Deployer, job_id: str, body: Body, dryRun: bool = False) -> JSONResponse:  # noqa: N803
        return _change(ctx, caller, job_id, body, (), dry_run=dryRun)

    @routes.delete("/v1/jobs/{job_id}")
    @ctx.change
    def delete_job(caller: Deployer, job_id: str, stopCurrentJobRuns: bool = False) -> JSONResponse:  # noqa: N803
        name = _name(caller, job_id, Role.DEPLOY)
        seen = _look(ctx, caller, name)
        ctx.submit(caller, (path_of(name),), DeleteJob(name, stop_runs=stopCurrentJobRuns))
        return Json(job_status.shown(seen, ()))


def _schedules(routes: APIRouter, ctx: Context) -> None:
    @routes.get("/v1/jobs/{job_id}/schedules")
    def list_schedules(caller: Viewer, job_id: str) -> JSONResponse:
        seen = _look(ctx, caller, _name(caller, job_id))
        return Json([job_status.schedule(each, seen.history) for each in seen.job.schedules])

    @routes.post("/v1/jobs/{job_id}/schedules")
    @ctx.change
    def create_schedule(caller: Deployer, job_id: str, body: Body) -> JSONResponse:
        job = _look(ctx, caller, _name(caller, job_id, Role.DEPLOY)).job
        made = jobs.parse_schedule(read_json(body))
        if job.schedule(made.id) is not None:
            raise ApiError(409, f"Job '{job.id}' has a schedule '{made.id}' already")
        return _scheduled(ctx, caller, job, (*job.schedules, made), made.id, 201)

    @routes.get("/v1/jobs/{job_id}/schedules/{schedule_id}")
    def show_schedule(caller: Viewer, job_id: str, schedule_id: str) -> JSONResponse:
        seen = _look(ctx, caller, _name(caller, job_id))
        return Json(job_status.schedule(_schedule(seen.job, schedule_id), seen.history))

    @routes.put("/v1/jobs/{job_id}/schedules/{schedule_id}")
    @ctx.change
    def put_schedule(caller: Deployer, job_id: str, schedule_id: str, body: Body) -> JSONResponse:
        job = _look(ctx, caller, _name(caller, job_id, Role.DEPLOY)).job
        before = _schedule(job, schedule_id)
        given = read_json(body)
        made = jobs.parse_schedule({"id": before.id, **given} if isinstance(given, dict) else given)
        if made.id != before.id:
            raise invalid("/id", f"is {made.id}, and the address names {before.id}: create another one under another id")
        changed = tuple(made if each.id == made.id else each for each in job.schedules)
        return _scheduled(ctx, caller, job, changed, made.id, 200)

    @routes.delete("/v1/jobs/{job_id}/schedules/{schedule_id}")
    @ctx.change
    def delete_schedule(caller: Deployer, job_id: str, schedule_id: str) -> JSONResponse:
        job = _look(ctx, caller, _name(caller, job_id, Role.DEPLOY)).job
        gone = _schedule(job, schedule_id)
        _submit(ctx, caller, job.with_schedules(each for each in job.schedules if each.id != gone.id), job)
        return Json({})


def _runs(routes: APIRouter, ctx: Context) -> None:
    @routes.get("/v1/jobs/{job_id}/runs")
    def list_runs(caller: Viewer, job_id: str) -> JSONResponse:
        return Json(_look(ctx, caller, _name(caller, job_id)).active)

    @routes.post("/v1/jobs/{job_id}/runs")
    @ctx.change
    def start_run(caller: Deployer, job_id: str) -> JSONResponse:
        name = _name(caller, job_id, Role.DEPLOY)
        reply = ctx.submit(caller, (path_of(name),), StartRun(name))
        return JSONResponse(_run(ctx, caller, name, reply.version), 201)

    @routes.get("/v1/jobs/{job_id}/runs/{run_id}")
    def show_run(caller: Viewer, job_id: str, run_id: str) -> JSONResponse:
        return Json(_run(ctx, caller, _name(caller, job_id), run_id))

    @routes.post("/v1/jobs/{job_id}/runs/{run_id}/actions/stop")
    @ctx.change
    def stop_run(caller: Deployer, job_id: str, run_id: str) -> JSONResponse:
        name = _name(caller, job_id, Role.DEPLOY)
        ctx.submit(caller, (path_of(name),), StopRun(name, run_id))
        return Json({})


def _scheduled_jobs(routes: APIRouter, ctx: Context) -> None:
    @routes.get("/v0/scheduled-jobs")
    def list_scheduled_jobs(caller: Viewer) -> JSONResponse:
        return Json(_listed(ctx, caller, ("schedules",)))

    @routes.post("/v0/scheduled-jobs")
    @ctx.change
    def create_scheduled_job(caller: Deployer, body: Body, dryRun: bool = False) -> JSONResponse:  # noqa: N803
        return _create(ctx, caller, body, ("schedules",), dry_run=dryRun)

    @routes.get("/v0/scheduled-jobs/{job_id}")
    def show_scheduled_job(caller: Viewer, job_id: str) -> JSONResponse:
        return Json(job_status.shown(_look(ctx, caller, _name(caller, job_id)), ("schedules",)))

    @routes.put("/v0/scheduled-jobs/{job_id}")
    @ctx.change
    def put_scheduled_job(caller: Deployer, job_id: str, body: Body, dryRun: bool = False) -> JSONResponse:  # noqa: N803
        return _change(ctx, caller, job_id, body, ("schedules",), dry_run=dryRun)


def _embeds(asked: Sequence[str]) -> tuple[str, ...]:
    for name in asked:
        if name not in job_status.EMBEDS:
            raise invalid("/embed", f"is {shortened(name)}: {', '.join(job_status.EMBEDS)} are known")
    return tuple(dict.fromkeys(asked))


def _unknown(job_id: str) -> ApiError:
    return ApiError(404, f"Job '{shortened(job_id)}' does not exist")


def _name(caller: Caller, job_id: str, role: Role = Role.VIEW) -> str:
    """Return the job that an address names. Raises ApiError where it can be none, or the caller has not the role for it."""
    if not _ID.fullmatch(job_id) or len(job_id) > jobs.ID_CHARACTERS_MAX:
        raise _unknown(job_id)
    caller.require(role, (path_of(job_id),))
    return job_id


def _listed(ctx: Context, caller: Caller, embeds: Sequence[str]) -> list[dict[str, Any]]:
    now = ctx.clock()
    found = ctx.controller.read(
        lambda state: [job_status.look(state, job, now) for job in state.jobs.values() if caller.sees(job.path)]
    )
    hide = ctx.discretion.of(caller)
    return [job_status.shown(_told(hide, seen), embeds) for seen in sorted(found, key=lambda seen: seen.job.id)]


def _look(ctx: Context, caller: Caller, job_id: str) -> job_status.Look:
    now = ctx.clock()

    def find(state: State) -> job_status.Look | None:
        job = state.jobs.get(job_id)
        return job_status.look(state, job, now) if job is not None else None

    found = ctx.controller.read(find)
    if found is None:
        raise _unknown(job_id)
    return _told(ctx.discretion.of(caller), found)


def _told(hide: Hide, seen: job_status.Look) -> job_status.Look:
    """Return what is shown of a job, and what its runs wait for as its reader may know it."""
    return seen._replace(active=hide.but(seen.job.app).messages(seen.active))


def _schedule(job: Job, schedule_id: str) -> Schedule:
    found = job.schedule(schedule_id)
    if found is None:
        raise ApiError(404, f"Job '{job.id}' has no schedule '{shortened(schedule_id)}'")
    return found


def _create(ctx: Context, caller: Caller, body: bytes, embeds: Sequence[str], *, dry_run: bool) -> JSONResponse:
    job = jobs.parse(read_json(body))
    if dry_run:
        _check(ctx, caller, job)
        return _planned(ctx, caller, PutJob(job, create_only=True))
    _submit(ctx, caller, job, create=True)
    return JSONResponse(job_status.shown(_look(ctx, caller, job.id), embeds), 201)


def _change(ctx: Context, caller: Caller, job_id: str, body: bytes, embeds: Sequence[str], *, dry_run: bool) -> JSONResponse:
    before = _look(ctx, caller, _name(caller, job_id, Role.DEPLOY)).job
    given = read_json(body)
    job = jobs.parse({"id": before.id, **given} if isinstance(given, dict) else given, before)
    if job.id != before.id:
        raise invalid("/id", f"is {job.id}, and the address names {before.id}: create another one under another id")
    if dry_run:
        _check(ctx, caller, job, before)
        return _planned(ctx, caller, PutJob(job))
    _submit(ctx, caller, job, before)
    return Json(job_status.shown(_look(ctx, caller, job.id), embeds))


def _check(ctx: Context, caller: Caller, job: Job, before: Job | None = None) -> None:
    """Hold what a job runs against the policy, unless it ran that ``before``. Raises InvalidApp, ApiError."""
    caller.require(Role.DEPLOY, (job.path,))
    same = before is not None and before.app.same_definition(job.app)
    found = () if same else ctx.policy.problems(job.app)
    if problems := [Problem(jobs.place(problem.path), problem.message) for problem in found]:
        raise InvalidInItself(problems)


def _planned(ctx: Context, caller: Caller, command: PutJob) -> JSONResponse:
    """Return a job as it would be, with the next instant of each schedule and the runs that would go on as they are.

    Raises CommandRefused.
    """
    now = ctx.clock()

    def look(state: State) -> job_status.Look:
        schedules.check(state, command)
        return job_status.planned(state, command.job, now)

    seen = ctx.tried(look)
    return Json(job_status.shown(_told(ctx.discretion.of(caller), seen), ("schedules", "activeRuns")))


def _submit(ctx: Context, caller: Caller, job: Job, before: Job | None = None, *, create: bool = False) -> None:
    _check(ctx, caller, job, before)
    ctx.submit(caller, (job.path,), PutJob(job, create_only=create))


def _scheduled(
    ctx: Context, caller: Caller, job: Job, schedules: tuple[Schedule, ...], schedule_id: str, status: int
) -> JSONResponse:
    if len(schedules) > jobs.SCHEDULES_MOST:
        raise invalid("/", f"is one schedule too many: a job has {jobs.SCHEDULES_MOST} at most")
    _submit(ctx, caller, job.with_schedules(schedules), job)
    seen = _look(ctx, caller, job.id)
    return JSONResponse(job_status.schedule(_schedule(seen.job, schedule_id), seen.history), status)


def _run(ctx: Context, caller: Caller, job_id: str, run_id: str) -> dict[str, Any]:
    """Return a run of a job, also one of those that have ended and are remembered."""
    now = ctx.clock()

    def find(state: State) -> dict[str, Any] | None:
        run = state.run(job_id, run_id)
        if run is not None:
            return job_status.active_run(state, run, now)
        history = state.histories.get(job_id)
        ended = next((each for each in history.runs[::-1] if each.run_id == run_id), None) if history is not None else None
        return job_status.ended_run(job_id, ended) if ended is not None else None

    look: Callable[[State], tuple[bool, dict[str, Any] | None]] = lambda state: (job_id in state.jobs, find(state))  # noqa: E731
    there, found = ctx.controller.read(look)
    if found is None:
        raise ApiError(404, f"Job '{job_id}' has no run '{shortened(run_id)}'") if there else _unknown(job_id)
    shown: dict[str, Any] = ctx.discretion.of(caller).messages(found)
    return shown
