"""The last answers of readiness checks, for people who wait for a deployment. Lives on the io thread alone.

Who decides is the machine; this is what Marathon shows as ``readinessCheckResults``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

TASKS_MAX = 200
#: Longest part of an answer that is kept, in bytes.
BODY_MAX = 4096


@dataclass(frozen=True, slots=True)
class Response:
    status: int
    content_type: str
    body: str


@dataclass(frozen=True, slots=True)
class Result:
    """What one check of a task was last answered; ``response`` is None where the app does not want it kept."""

    name: str
    ready: bool
    response: Response | None = None


class ReadinessResults:
    """By task, those asked last; older ones are forgotten, for nobody says when a task is of no more interest."""

    def __init__(self) -> None:
        self._tasks: dict[str, dict[str, Result]] = {}

    def put(self, task_id: str, result: Result) -> None:
        results = self._tasks.pop(task_id, {})
        self._tasks[task_id] = results | {result.name: result}
        if len(self._tasks) > TASKS_MAX:
            del self._tasks[next(iter(self._tasks))]

    def shown(self, task_id: str) -> list[dict[str, Any]]:
        """Return a task's results in Marathon's form."""
        return [_shown(task_id, result) for result in self._tasks.get(task_id, {}).values()]


def _shown(task_id: str, result: Result) -> dict[str, Any]:
    shown: dict[str, Any] = {"name": result.name, "taskId": task_id, "ready": result.ready}
    if result.response is not None:
        response = result.response
        shown["lastResponse"] = {"status": response.status, "contentType": response.content_type, "body": response.body}
    return shown
