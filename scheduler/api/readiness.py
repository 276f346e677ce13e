"""``embed=apps.readiness``: what readiness checks were last answered, asked of the executors that ask them."""

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


async def results(ctx: Context, app_ids: list[str]) -> dict[str, list[dict[str, Any]]]:
    """Return the results in Marathon's form, of each app that has any."""
    tasks = await run_in_threadpool(ctx.controller.read, lambda state: _tasks(state, app_ids))
    return await _all(tasks, ctx)


def _tasks(state: State, app_ids: list[str]) -> list[tuple[str, str, str, str]]:
    checked = [app_id for app_id in app_ids if app_id in state.apps and state.apps[app_id].readiness_checks]
    return [
        (app_id, i.task_id, i.hostname, i.agent_id) for app_id in checked for i in state.instances_of(app_id) if not i.waiting
    ]


async def _all(tasks: list[tuple[str, str, str, str]], ctx: Context) -> dict[str, list[dict[str, Any]]]:
    found: dict[str, list[dict[str, Any]]] = {}
    slots = asyncio.Semaphore(_AT_ONCE)

    async def ask(app_id: str, task_id: str, hostname: str, agent_id: str) -> None:
        async with slots:
            try:
                path = f"/tasks/{quote(task_id, safe='')}/readiness"
                answer = await async_http.request(hostname, ctx.executor_port, path, headers=ctx.headers(agent_id, path))
                found.setdefault(app_id, []).extend(json.loads(answer.body)["results"])
            except (*async_http.Failure, KeyError, TypeError):
                pass  # not known is not shown

    try:
        async with asyncio.timeout(ANSWERS_S):
            await asyncio.gather(*(ask(*task) for task in tasks))
    except TimeoutError:
        pass
    return found
