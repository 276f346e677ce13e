"""Asks executors what their tasks take of CPU and memory."""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Any, Final

from eratos.common import async_http
from eratos.scheduler.core.usage import TaskUsage

#: For an executor's answer.
ANSWER_S: Final = 2.0
#: Asked at the same time.
_AT_ONCE: Final = 200
_PATH: Final = "/usage"
_MOST_BYTES: Final = 4 * 1024 * 1024

#: What an executor says of its tasks, by their ids, or why it says nothing.
Answer = Mapping[str, TaskUsage] | str


async def ask_all(hosts: Mapping[str, str], port: int, headers: Callable[[str, str], Mapping[str, str]]) -> dict[str, Answer]:
    """Return what each executor says, by the agents' ids. ``hosts``: of the agents; ``headers``: for an agent and a path."""
    slots = asyncio.Semaphore(_AT_ONCE)

    async def ask(agent_id: str, host: str) -> Answer:
        async with slots:
            return await _ask(host, port, headers(agent_id, _PATH))

    answers = await asyncio.gather(*(ask(agent_id, host) for agent_id, host in hosts.items()))
    return dict(zip(hosts, answers, strict=True))


async def _ask(host: str, port: int, headers: Mapping[str, str]) -> Answer:
    where = f"the executor at {host}:{port}"
    try:
        async with asyncio.timeout(ANSWER_S):
            answer = await async_http.request(host, port, _PATH, headers=headers, most=_MOST_BYTES)
    except async_http.Failure as error:
        return f"{where} does not answer: {async_http.reason(error)}"
    if answer.status == HTTPStatus.NOT_FOUND:
        return f"{where} is of a version that measures nothing: it is replaced once its tasks have ended"
    if answer.status != HTTPStatus.OK:
        return f"{where} answers {answer.status}"
    try:
        return {task_id: read(found) for task_id, found in json.loads(answer.body)["tasks"].items()}
    except (ValueError, KeyError, TypeError, AttributeError):
        return f"{where} answers something else than what its tasks take"


def read(found: Mapping[str, Any]) -> TaskUsage:
    """Return what an executor says of one task. Raises KeyError, TypeError and ValueError where it is something else."""
    age_s = _number(found["ageSeconds"])
    if age_s is None:
        raise ValueError("a figure without an age")
    mem, most = (_number(found[name]) for name in ("memBytes", "memLimitBytes"))
    return TaskUsage(
        age_s,
        _number(found["cpus"]),
        _number(found["cpusLimit"]),
        int(mem) if mem is not None else None,
        int(most) if most is not None else None,
    )


def _number(value: Any) -> float | None:
    """Return a figure, None for one that is not known. Raises TypeError and ValueError."""
    if value is None:
        return None
    number = float(value)
    if not 0 <= number < math.inf:
        raise ValueError(f"{value} is no figure")
    return number
