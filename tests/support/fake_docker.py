"""A container runtime without Docker, for tests of what sits above it.

tests/contract/test_runtimes.py holds it to the real one.

Its containers "run" the shell scripts that the tests use: statements ``echo``, ``exit N``, ``sleep`` and ``trap '' TERM``.
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from eratos.common.errors import TemporaryError
from eratos.executor.core import actions as do
from eratos.executor.core import events as on
from eratos.executor.core.usage import Reading
from eratos.executor.runtimes import NO_VARIABLES


@dataclass
class FakeContainer:
    running: bool = True
    exit_code: int = 0
    output: str = ""
    ignores_term: bool = False
    config: dict[str, Any] = field(default_factory=dict)
    files: dict[str, str] = field(default_factory=dict)  #: of its sandbox, as the executor put them there
    signals: list[str] = field(default_factory=list)


class FakeRuntime:
    """Same interface as DockerRuntime; results are emitted at once, on the caller's thread."""

    def __init__(self, images: set[str], emit: Callable[[on.Event], None]) -> None:
        self.images = images
        self.emit = emit
        self.taken_ports: set[int] = set()
        self.started_commands: list[str] = []
        self.command_env: dict[str, str] = {}  #: of the last one
        self.stopped_commands: list[str] = []
        self.hanging_commands: set[str] = set()  #: that no signal ends
        self.containers: dict[str, FakeContainer] = {}
        self.began_at = time.monotonic()
        self._lock = threading.RLock()

    def start(self) -> None:
        self.list()

    def stop(self, timeout_s: float) -> None:
        pass

    def list(self) -> None:
        with self._lock:
            began_at = time.monotonic()
            running = frozenset(task_id for task_id, found in self.containers.items() if found.running)
            self.emit(on.ContainersListed(began_at, running, frozenset(self.containers) - running))

    def perform(self, action: Any) -> None:
        with self._lock:
            match action:
                case do.StartContainer():
                    self._start(action)
                case do.StopContainer(task_id):
                    self._signal(task_id, 15)
                case do.KillContainer(task_id):
                    self._signal(task_id, 9)
                case do.ExamineContainer(task_id):
                    found = self.containers.get(task_id)
                    known = (found.exit_code, False, found.output if found.exit_code else "") if found else ()
                    self.emit(on.ContainerExamined(task_id, *known))
                case do.RemoveContainer(task_id):
                    found = self.containers.pop(task_id, None)
                    if found is not None and found.running:
                        self.emit(on.ContainerDied(task_id, 137))

    def _start(self, action: do.StartContainer) -> None:
        taken = self.taken_ports.intersection(action.host_ports)
        if taken:
            self.emit(on.StartFailed(action.task_id, f"port {min(taken)} of this host is already taken by another process"))
            return
        if action.image not in self.images:
            self.emit(on.Preparing(action.task_id, f"pulling image {action.image}"))
            self.emit(on.StartFailed(action.task_id, f"image {action.image} is not on this host and cannot be pulled"))
            return
        command = [*action.config.get("Entrypoint", []), *action.config.get("Cmd", [])]
        if command[:2] != ["/bin/sh", "-c"]:
            self.emit(on.StartFailed(action.task_id, f"Docker refused to start image {action.image}: {command[0]}: not found"))
            return
        container = self.containers[action.task_id] = FakeContainer(config=action.config)
        self.emit(on.ContainerStarted(action.task_id))
        self._run(action.task_id, container, command[2])

    def _run(self, task_id: str, container: FakeContainer, script: str) -> None:
        for statement in (part.strip() for part in script.split(";")):
            if statement.startswith("echo "):
                container.output += statement.removeprefix("echo ") + "\n"
            elif statement == "trap '' TERM":
                container.ignores_term = True
            elif statement.startswith(("sleep", "exec sleep")):
                return
            elif exited := re.fullmatch(r"exit (\d+)", statement):
                self.end(task_id, int(exited[1]))
                return
        self.end(task_id, 0)

    def _signal(self, task_id: str, number: int) -> None:
        container = self.containers.get(task_id)
        if container is None or not container.running:
            self.emit(on.ContainerDied(task_id))
        elif number == 9 or not container.ignores_term:
            self.end(task_id, 128 + number)

    def end(self, task_id: str, exit_code: int) -> None:
        """Let a container's process end by itself."""
        container = self.containers[task_id]
        container.running, container.exit_code = False, exit_code
        self.emit(on.ContainerDied(task_id, exit_code))

    def put_file(self, task_id: str, path: str, text: str) -> None:
        self._check_running(task_id)
        self.containers[task_id].files[path] = text

    def signal(self, task_id: str, name: str) -> None:
        self._check_running(task_id)
        self.containers[task_id].signals.append(name)

    def _check_running(self, task_id: str) -> None:
        if task_id not in self.containers or not self.containers[task_id].running:
            raise TemporaryError("the container does not run")

    def command_start(self, task_id: str, command: str, container: str = "", env: Mapping[str, str] = NO_VARIABLES) -> str:
        self._check_running(task_id)
        self.command_env = dict(env)
        self.started_commands.append(command)
        return command

    def readings(self, task_ids: Collection[str]) -> dict[str, Reading]:
        """Return what is read of containers that keep a core busy."""
        now = time.monotonic()
        running = (task_id for task_id in task_ids if task_id in self.containers and self.containers[task_id].running)
        return {task_id: Reading(now, now - self.began_at, 1 << 20) for task_id in running}

    def command_stop(self, command_id: str) -> bool:
        self.stopped_commands.append(command_id)
        return command_id not in self.hanging_commands

    def has(self, task_id: str) -> bool:
        return True

    def command_told(self, command_id: str) -> int | None:
        return None

    def command_result(self, command_id: str) -> int | None:
        exited = re.fullmatch(r"exit (\d+)", command_id)
        return int(exited[1]) if exited else None
