"""``GET /v2/tasks/{task id}/logs``: what a task writes, handed through from the executor on its host as it comes.

Not Marathon's: there a log is a file in the sandbox, and only Mesos' own pages show it. ``stream`` is ``stdout`` (default) or
``stderr``, ``tail`` the number of lines to begin with, ``follow=true`` goes on until the task ends or the reader leaves;
``positions=true`` and ``from`` are for readers whose connection may break (:mod:`eratos.executor.endpoint`). Each reader is a
coroutine: a thousand slow ones hold up nobody.

``GET /v2/logs`` reads several tasks and both streams over one connection, as server-sent events: a browser has six for a server.
Of pods both read ``container``, or the first one where none is named.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, aclosing
from dataclasses import dataclass
from typing import Annotated, Final
from urllib.parse import quote

from fastapi import APIRouter, Query, Request
from fastapi.responses import Response, StreamingResponse
from starlette.concurrency import run_in_threadpool

from eratos.common import async_http, names
from eratos.common.log import fields
from eratos.marathon.job import path_of
from eratos.marathon.pod import Pod
from eratos.scheduler.access.roles import Role
from eratos.scheduler.core.mesos_types import TaskState
from eratos.scheduler.core.state import State

from .caller import RoleRoute, Viewer
from .context import Context
from .errors import ApiError, invalid
from .event_stream import EVENT_STREAM, HEARTBEAT_S

log = logging.getLogger(__name__)

#: For the executor's first word; the log itself may take as long as it likes.
ANSWER_S = 10.0
#: Tasks that one reader may follow together.
TASKS_MOST: Final = 20
STREAMS: Final = ("stdout", "stderr")
#: Lines of each stream to begin with, where nothing else is said, and at most.
TAIL: Final = 100
TAIL_MOST: Final = 10_000
#: A longer line is cut into several.
LINE_BYTES: Final = 64 * 1024
#: Lines that may wait for a reader.
LINES_WAITING: Final = 200
_STRANGER = "its answer is no executor's: does another program listen there?"


@dataclass(frozen=True, slots=True)
class _Task:
    """A task whose log may be read."""

    task_id: str
    app_id: str
    agent_id: str
    hostname: str
    state: TaskState
    containers: tuple[str, ...] = ()  #: of a pod
    ended: str = ""  #: how it ended, for people; empty: it has not


def router(ctx: Context) -> APIRouter:
    routes = APIRouter(prefix="/v2", tags=["tasks"], route_class=RoleRoute)

    @routes.get("/tasks/{task_id}/logs")
    async def show_logs(caller: Viewer, request: Request, task_id: str, container: str = "") -> Response:
        # The state has a lock that a busy scheduler may hold for a while; other readers' lines must not wait for it.
        task = await run_in_threadpool(ctx.controller.read, lambda state: _find(state, task_id))
        if task is None:
            raise ApiError(404, f"Task '{task_id}' does not exist, or it ended and another one came after it")
        caller.require(Role.VIEW, (task.app_id,))
        query = request.scope["query_string"].decode("latin-1")
        return await _read(task, ctx, query if container else query + _first(task))

    @routes.get("/logs")
    async def follow_logs(
        caller: Viewer,
        task: Annotated[list[str], Query()] = [],  # noqa: B006
        tail: Annotated[list[int], Query()] = [],  # noqa: B006
        follow: bool = False,
        container: str = "",
    ) -> Response:
        if not 0 < len(task) <= TASKS_MOST:
            raise invalid("/task", f"is given {len(task)} times: give 1 to {TASKS_MOST} ids of tasks")
        if len(tail) not in (0, 1, len(task)):
            raise invalid("/tail", "is given once for all tasks, or once for each")
        if any(not 0 <= count <= TAIL_MOST for count in tail):
            raise invalid("/tail", f"must be 0 to {TAIL_MOST} lines")
        found = await run_in_threadpool(ctx.controller.read, lambda state: [_find(state, task_id) for task_id in task])
        # One that ended meanwhile is reported in the stream.
        caller.require(Role.VIEW, {each.app_id for each in found if each is not None})
        tails = tail * len(task) if len(tail) == 1 else tail or [TAIL] * len(task)
        wanted = [
            _Source(task_id, each, stream, count, container)
            for task_id, each, count in zip(task, found, tails, strict=True)
            for stream in STREAMS
        ]
        return StreamingResponse(_together(ctx, wanted, follow=follow), media_type=EVENT_STREAM)

    return routes


@dataclass(frozen=True, slots=True)
class _Source:
    """One stream of one task."""

    task_id: str
    task: _Task | None
    stream: str
    tail: int
    container: str  #: of a pod; empty: its first


async def _together(ctx: Context, sources: Sequence[_Source], *, follow: bool) -> AsyncIterator[bytes]:
    """Yield the lines of several logs as they come, each as an event ``line``, and the end of each as an event ``end``."""
    lines: asyncio.Queue[bytes | None] = asyncio.Queue(LINES_WAITING)
    readers = [asyncio.create_task(_into(lines, ctx, source, follow=follow)) for source in sources]
    left = len(readers)
    try:
        while left:
            try:
                async with asyncio.timeout(HEARTBEAT_S):
                    frame = await lines.get()
            except TimeoutError:
                yield b"\r\n"
                continue
            if frame is None:
                left -= 1
            else:
                yield frame
    finally:
        for reader in readers:
            reader.cancel()
        await asyncio.gather(*readers, return_exceptions=True)


async def _into(lines: asyncio.Queue[bytes | None], ctx: Context, source: _Source, *, follow: bool) -> None:
    """Read one log into the queue, which makes it wait for a slow reader; and say how it ended."""
    about = {"task": source.task_id, "stream": source.stream}
    reason = ""
    try:
        if source.task is None:
            raise ApiError(404, "it does not exist, or it ended and another one came after it")
        query = f"stream={source.stream}&tail={source.tail}&follow={'true' if follow else 'false'}"
        query += f"&container={quote(source.container)}" if source.container else _first(source.task)
        answer = await _read(source.task, ctx, query)
        rest = b""
        async with aclosing(answer.body_iterator) as pieces:  # type: ignore[type-var]
            async for piece in pieces:
                *whole, rest = (rest + piece).split(b"\n")  # type: ignore[operator]
                if len(rest) > LINE_BYTES:
                    whole, rest = [*whole, rest], b""
                for line in whole:
                    await lines.put(_frame("line", {**about, "text": line.decode(errors="replace")}))
        if rest:
            await lines.put(_frame("line", {**about, "text": rest.decode(errors="replace")}))
    except ApiError as failure:
        reason = str(failure)
    except async_http.Failure as failure:
        reason = f"its log was cut short: {failure}"
    finally:
        if not (current := asyncio.current_task()) or not current.cancelling():
            await lines.put(_frame("end", {**about, "reason": reason}))
            await lines.put(None)


def _frame(event: str, document: dict[str, str]) -> bytes:
    return f"event: {event}\ndata: {json.dumps(document)}\n\n".encode()


def _find(state: State, task_id: str) -> _Task | None:
    """Find a task by its own or its instance's id. Remembered of ended ones: the last failure of each app, and those of runs."""
    for app_id, launches in state.launches.items():
        failure = launches.last_failure
        if failure is not None and failure.task_id == task_id:
            return _Task(
                task_id,
                app_id,
                failure.agent_id,
                failure.hostname,
                failure.state,
                _containers(state, app_id),
                failure.message or "it said nothing",
            )
    parsed = names.parse_task_id(task_id)
    instance = state.instances.get(parsed[0] if parsed else task_id)
    if instance is None and (of_run := _of_run(state, task_id)) is not None:
        return of_run
    if instance is None or instance.state is None or (parsed and instance.task_id != task_id):
        return None
    containers = _containers(state, instance.app_id)
    return _Task(instance.task_id, instance.app_id, instance.agent_id, instance.hostname, instance.state, containers)


def _of_run(state: State, task_id: str) -> _Task | None:
    """Find a task that has ended among those of runs that are remembered."""
    active = ((run.record.path, run.record.tasks) for run in state.runs.values())
    kept = ((path_of(job_id), run) for job_id, history in state.histories.items() for run in history.runs)
    ended = ((f"{path}/{run.run_id}", run.tasks) for path, run in kept)
    for path, tasks in itertools.chain(active, ended):
        for task in tasks:
            if task.task_id == task_id:
                said = task.message or "it said nothing"
                return _Task(task_id, path, task.agent_id, task.hostname, TaskState(task.state), ended=said)
    return None


def _containers(state: State, app_id: str) -> tuple[str, ...]:
    pod = state.apps.get(app_id)
    return tuple(container.name for container in pod.spec.containers) if isinstance(pod, Pod) else ()


def _first(task: _Task) -> str:
    """Return what a query says of a pod of which nobody named a container; nothing of an app."""
    return f"&container={quote(task.containers[0])}" if task.containers else ""


async def _read(task: _Task, ctx: Context, query: str) -> StreamingResponse:
    """Begin to read; the answer's end closes the connection. Raises ApiError."""
    async with AsyncExitStack() as stack:
        port = ctx.executor_port
        where = f"{task.hostname}:{port}"
        try:
            async with asyncio.timeout(ANSWER_S):
                path = f"/tasks/{quote(task.task_id, safe='')}/logs?{query}"
                headers = ctx.headers(task.agent_id, path)
                answer = await stack.enter_async_context(async_http.ask(task.hostname, port, path, headers=headers))
                refused = "" if answer.status == 200 else await answer.message(_STRANGER)
        except async_http.Failure as error:
            reason = async_http.reason(error)
            raise ApiError(503, f"the executor at {where} does not answer: {reason}; see --executor-http-port") from error
        if not refused:
            # Executors of earlier versions know of no positions, and send lines as they are.
            said = {names.LOG_POSITIONS: "true"} if answer.header(names.LOG_POSITIONS.lower()) else {}
            pieces = _pieces(answer, stack.pop_all(), task.task_id)
            return StreamingResponse(pieces, media_type="text/plain; charset=utf-8", headers=said)
        if answer.status == 404 and task.ended:
            raise ApiError(410, f"the log of task '{task.task_id}' is gone; it ended as {task.state.value}: {task.ended}")
        if answer.status == 404:
            raise ApiError(404, f"task '{task.task_id}' is {task.state.value} and has no log on {task.hostname}: {refused}")
        if answer.status == 401:
            # An executor of another key, or a stranger: nothing that whoever asks could mend.
            ports = "two frameworks on one host need different --executor-http-port"
            text = f"the executor on {task.hostname} does not take this scheduler for one of its own ({ports}): {refused}"
            raise ApiError(503, text)
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
