"""What containers take of CPU and memory, by Docker's stats API: it reads control groups of either version, wherever they are.

An executor inside of a container does not see the control groups of the containers beside its own, so their files are no way.
``one-shot`` has the daemon read once (docs.docker.com/reference/api/engine, ContainerStats, from version 1.41 on). Docker 20.10
answers with its next look at all containers that somebody asks for, which it takes each second; so all are asked at the same
time.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Callable, Iterable, Mapping
from http import HTTPStatus
from typing import Any, Final

from eratos.common import async_http
from eratos.common.log import fields

from ..core.usage import Reading
from .client import DockerClient

log = logging.getLogger(__name__)

#: For the answer of one container.
ANSWER_S: Final = 4.0
#: Containers asked at the same time.
_AT_ONCE: Final = 100
_QUERY: Final = "stream=false&one-shot=true"
#: What a kernel can drop at once counts as free, under the names of version 1 and 2 of control groups, as for ``docker stats``.
_DROPPED: Final = ("total_inactive_file", "inactive_file")
_NS: Final = 1e9

Json = Mapping[str, Any]


def readings(
    client: DockerClient, tasks: Mapping[str, Iterable[str]], clock: Callable[[], float] = time.monotonic
) -> dict[str, Reading]:
    """Return what tasks take, whose containers' names are given; those of which not all is known are left out."""
    return asyncio.run(_all(client, tasks, clock))


async def _all(client: DockerClient, tasks: Mapping[str, Iterable[str]], clock: Callable[[], float]) -> dict[str, Reading]:
    slots = asyncio.Semaphore(_AT_ONCE)

    async def ask(name: str) -> tuple[float, int] | None:
        async with slots:
            return await _asked(client, name)

    async def read(task_id: str, containers: Iterable[str]) -> tuple[str, Reading | None]:
        parts = await asyncio.gather(*(ask(name) for name in containers))
        known = [part for part in parts if part is not None]
        if not known or len(known) < len(parts):
            return task_id, None
        return task_id, Reading(clock(), sum(cpu_s for cpu_s, _ in known), sum(mem for _, mem in known))

    found = await asyncio.gather(*(read(task_id, containers) for task_id, containers in tasks.items()))
    return {task_id: reading for task_id, reading in found if reading is not None}


async def _asked(client: DockerClient, name: str) -> tuple[float, int] | None:
    """Return what one container takes; None: that is not known."""
    try:
        async with asyncio.timeout(ANSWER_S):
            async with client.ask(f"/containers/{name}/stats?{_QUERY}") as answer:
                body = await answer.body()
        return taken(json.loads(body)) if answer.status == HTTPStatus.OK else None
    except async_http.Failure as error:
        log.debug("no figures %s", fields(container=name, error=error))
        return None


def taken(stats: Json) -> tuple[float, int] | None:
    """Return CPU time in seconds and working set in bytes, out of Docker's answer; None: the container does not run."""
    memory, cpu = stats.get("memory_stats") or {}, (stats.get("cpu_stats") or {}).get("cpu_usage") or {}
    if "usage" not in memory or "total_usage" not in cpu:
        return None  # all that there is of one that does not run are zeros
    of_files = memory.get("stats") or {}
    dropped = next((of_files[name] for name in _DROPPED if name in of_files), 0)
    return cpu["total_usage"] / _NS, max(0, memory["usage"] - dropped)
