"""``GET /v2/tasks/{task id}/logs``: what a task writes, handed through from the executor on its host as it comes.

Not Marathon's: there a log is a file in the sandbox, and only Mesos' own pages show it. ``stream`` is ``stdout`` (default) or
``stderr``, ``tail`` the number of lines to begin with, ``follow=true`` goes on until the task ends or the reader leaves. Each
reader is a coroutine: a thousand slow ones hold up nobody.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from urllib.parse import quote

from fastapi import APIRouter, Request
from fastapi.responses import Response, StreamingResponse
from starlette.concurrency import run_in_threadpool

from eratos.common import async_http, names
from eratos.common.log import fields
from eratos.scheduler.core.mesos import TaskState
from eratos.scheduler.core.state import State

from .context import Context
from .errors import ApiError

log = logging.getLogger(__name__)

#: For the executor's first word; the log itself may take as long as it likes.
ANSWER_S = 10.0
_STRANGER = "its answer is no executor's: does another program listen there?"


@dataclass(frozen=True, slots=True)
class _Task:
    """A task whose log may be read."""

    task_id: str
    hostname: str
    state: TaskState
    ended: str = ""  #: how it ended, for people; empty: it has not


def router(ctx: Context) -> APIRouter:
    routes = APIRouter(prefix="/v2", tags=["tasks"])

    @routes.get("/tasks/{task_id}/logs")
    async def show_logs(request: Request, task_id: str) -> Response:
        # The state has a lock that a busy scheduler may hold for a while; other readers' lines must not wait for it.
        task = await run_in_threadpool(ctx.controller.read, lambda state: _find(state, task_id))
        if task is None:
            raise ApiError(404, f"Task '{task_id}' does not exist, or it ended and another one came after it")
        return await _read(task, ctx.executor_port, request.scope["query_string"].decode("latin-1"))

    return routes


def _find(state: State, task_id: str) -> _Task | None:
    """Find a task by its own or its instance's id. Of ended ones the last failure of each app is remembered."""
    for launches in state.launches.values():
        failure = launches.last_failure
        if failure is not None and failure.task_id == task_id:
            return _Task(task_id, failure.hostname, failure.state, failure.message or "it said nothing")
    parsed = names.parse_task_id(task_id)
    instance = state.instances.get(parsed[0] if parsed else task_id)
    if instance is None or instance.state is None or (parsed and instance.task_id != task_id):
        return None
    return _Task(instance.task_id, instance.hostname, instance.state)


async def _read(task: _Task, port: int, query: str) -> Response:
    """Begin to read; the answer's end closes the connection. Raises ApiError."""
    async with AsyncExitStack() as stack:
        where = f"{task.hostname}:{port}"
        try:
            async with asyncio.timeout(ANSWER_S):
                path = f"/tasks/{quote(task.task_id, safe='')}/logs?{query}"
                answer = await stack.enter_async_context(async_http.ask(task.hostname, port, path))
                refused = "" if answer.status == 200 else await answer.message(_STRANGER)
        except async_http.Failure as error:
            reason = str(error) or type(error).__name__
            raise ApiError(503, f"the executor at {where} does not answer: {reason}; see --executor-http-port") from error
        if not refused:
            return StreamingResponse(_pieces(answer, stack.pop_all(), task.task_id), media_type="text/plain; charset=utf-8")
        if answer.status == 404 and task.ended:
            raise ApiError(410, f"the log of task '{task.task_id}' is gone; it ended as {task.state.value}: {task.ended}")
        if answer.status == 404:
            raise ApiError(404, f"task '{task.task_id}' is {task.state.value} and has no log on {task.hostname}: {refused}")
        raise ApiError(answer.status, f"{task.hostname}: {refused}")


async def _pieces(answer: async_http.Answer, stack: AsyncExitStack, task_id: str) -> AsyncIterator[bytes]:
    async with stack:
        try:
            async for piece in answer.pieces():
                yield piece
        except async_http.Failure as error:
            # The reader has to notice, too: a log that just stops would look complete.
            log.warning("a log was cut short %s", fields(task_id=task_id, error=error))
            raise
