"""The names of each task's containers: one, or of a pod several. Used by the Docker runtime and its watch only."""

from __future__ import annotations

import threading

from eratos.common import names


class Members:
    """The containers of pods; of any other task the one that bears its name. Safe for several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._found: dict[str, dict[str, None]] = {}

    def seen(self, task_id: str, container: str) -> None:
        """Note that there is a container of a pod; an empty name: the task is none."""
        if container:
            with self._lock:
                self._found.setdefault(task_id, {})[container] = None

    def of(self, task_id: str) -> tuple[str, ...]:
        """Return the names of a pod's containers in it, in the order in which they start; of any other task an empty one."""
        with self._lock:
            return tuple(self._found.get(task_id, {"": None}))

    def docker_names(self, task_id: str) -> tuple[str, ...]:
        """Return what Docker calls a task's containers."""
        return tuple(names.container_name(task_id, container) for container in self.of(task_id))

    def forget(self, task_id: str) -> None:
        with self._lock:
            self._found.pop(task_id, None)
