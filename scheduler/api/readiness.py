"""``embed=app.readiness``: what an app's readiness checks were last answered, asked of the executors that ask them."""

from __future__ import annotations

import asyncio
import json
from typing import Any
from urllib.parse import quote

from starlette.concurrency import run_in_threadpool

from eratos.common import async_http
from eratos.scheduler.core.state import State

from .context import Context

#: For all executors together; the ones that take longer are left out.
ANSWERS_S = 5.0
#: Asked at the same time.
_AT_ONCE = 20


async def results(ctx: Context, app_id: str) -> list[dict[str, Any]]:
    """Return the results in Marathon's form."""
    tasks = await run_in_threadpool(ctx.controller.read, lambda state: _tasks(state, app_id))
    return await _all(tasks, ctx.executor_port)


def _tasks(state: State, app_id: str) -> list[tuple[str, str]]:
    if app_id not in state.apps or not state.apps[app_id].readiness_checks:
        return []
    return [(instance.task_id, instance.hostname) for instance in state.instances_of(app_id) if not instance.waiting]


async def _all(tasks: list[tuple[str, str]], port: int) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    slots = asyncio.Semaphore(_AT_ONCE)

    async def ask(task_id: str, hostname: str) -> None:
        async with slots:
            try:
                answer = await async_http.request(hostname, port, f"/tasks/{quote(task_id, safe='')}/readiness")
                found.extend(json.loads(answer.body)["results"])
            except (*async_http.Failure, KeyError, TypeError):
                pass  # not known is not shown

    try:
        async with asyncio.timeout(ANSWERS_S):
            await asyncio.gather(*(ask(*task) for task in tasks))
    except TimeoutError:
        pass
    return found
