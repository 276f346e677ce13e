"""Which ended tasks keep their container for a while, so that people can still read its log. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

#: How long, and how many: an app that crashes over and over must not fill the host.
KEPT_S: Final = 600.0
KEPT_PER_APP_MAX: Final = 2
KEPT_MAX: Final = 20


@dataclass(frozen=True, slots=True)
class _Entry:
    app_id: str
    at: float


class Retention:
    """Ended tasks, oldest first. Each method returns the tasks whose containers are to be removed now."""

    def __init__(self) -> None:
        self._entries: dict[str, _Entry] = {}

    def add(self, task_id: str, app_id: str, now: float) -> list[str]:
        self._entries[task_id] = _Entry(app_id, now)
        of_app = [key for key, entry in self._entries.items() if entry.app_id == app_id]
        return self._drop([*of_app[:-KEPT_PER_APP_MAX], *list(self._entries)[:-KEPT_MAX]])

    def expire(self, now: float) -> list[str]:
        return self._drop([key for key, entry in self._entries.items() if now >= entry.at + KEPT_S])

    def drop_app(self, app_id: str) -> list[str]:
        return self._drop([key for key, entry in self._entries.items() if entry.app_id == app_id])

    def drop_all(self) -> list[str]:
        return self._drop(list(self._entries))

    def next_at(self) -> float | None:
        """Return when the next one expires."""
        return min((entry.at + KEPT_S for entry in self._entries.values()), default=None)

    def ended_at(self, task_id: str) -> float | None:
        """Return since when a task is kept; None: it is not."""
        entry = self._entries.get(task_id)
        return entry.at if entry else None

    def _drop(self, task_ids: list[str]) -> list[str]:
        return [task_id for task_id in task_ids if self._entries.pop(task_id, None)]
