"""A runtime of any kind, its events, and tasks unique to one test."""

from __future__ import annotations

import asyncio
import os
import subprocess
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from eratos.common import names
from eratos.common.errors import PermanentError
from eratos.common.payload import TaskPayload
from eratos.executor.core import actions as do
from eratos.executor.core import events as on
from eratos.executor.core.start import start_action
from eratos.executor.docker.client import DockerClient
from eratos.executor.docker.logs import DockerLogs
from eratos.executor.docker.runtime import DockerRuntime
from eratos.executor.logs import LogRequest, LogSource
from eratos.executor.process import table as process_table
from eratos.executor.process.logs import ProcessLogs
from eratos.executor.process.runtime import ProcessRuntime

from .containers import docker, processes
from .executor import HOST, Events, a_payload, remove_labelled
from .fake_docker import FakeRuntime
from .waiting import until

IMAGES = ("debian:trixie-slim", "eratos/prime")
SOCKET = "unix:///var/run/docker.sock"


def present_image() -> str:
    try:
        for image in IMAGES:
            found = subprocess.run(["docker", "image", "inspect", image], capture_output=True, timeout=30, check=False)
            if found.returncode == 0:
                return image
    except FileNotFoundError:
        pytest.skip("docker is not installed")
    pytest.skip(f"Docker does not answer or has none of {', '.join(IMAGES)}")


class Rig:
    """``kind`` is ``fake``, ``docker`` or ``process``."""

    def __init__(self, kind: str, folder: Path) -> None:
        self.kind = kind
        self.folder = folder
        images: dict[str, Callable[[], str]] = {"docker": present_image, "fake": lambda: IMAGES[0], "process": str}
        self.image = images[kind]()
        self.events = Events()
        self.others_live = True  #: other executors of the same agent
        self.mark = uuid.uuid4().hex
        self.host = replace(HOST, framework_id=f"test-{self.mark}", executor_id="test")
        self.secrets: dict[str, bytes] = {}
        self.client = DockerClient(SOCKET)  #: beside the runtime's own
        self.runtime: Any = self.make()

    def make(self, events: Events | None = None) -> Any:
        """Return another runtime over the same containers. One that runs beside this rig's needs ``events`` of its own: this
        one's lists what there is now and again, too.
        """
        emit = (events or self.events).emit
        if self.kind == "fake":
            return FakeRuntime({self.image}, emit)
        if self.kind == "process":
            variables = {"PATH": os.environ["PATH"]}
            return ProcessRuntime(self.folder, variables, self.host, emit, self.alive, port_wait_s=0.5, store=self)
        client = DockerClient(SOCKET)
        return DockerRuntime(client, self.folder, self.host, emit, self.alive, port_wait_s=0.5, store=self)

    def read(self, source: str) -> bytes:
        """Return a secret: the rig is the store."""
        try:
            return self.secrets[source]
        except KeyError:
            raise PermanentError(f"secret {source}: there is none") from None

    def alive(self, executor_id: str) -> bool:
        return self.others_live

    def listing(self) -> on.ContainersListed:
        """What a second runtime over the same containers sees first, as a restarted executor does."""
        events = Events()
        second = self.make(events)
        if self.kind == "fake":
            second.containers = self.runtime.containers
        second.start()
        listed = events.until(on.ContainersListed)
        second.stop(10)
        return listed

    def logs(self) -> LogSource:
        if self.kind == "process":
            return ProcessLogs(self.runtime.logs, self.runtime.running)
        return DockerLogs(self.client, self.host.framework_id)

    def read_log(self, task_id: str, **wanted: Any) -> bytes:
        async def read() -> bytes:
            async with self.logs().read(LogRequest(task_id, **wanted)) as pieces:
                return b"".join([piece async for piece in pieces])

        return asyncio.run(read())

    def start(self, script: str, *, task: str = "t", ports: int = 0, **changes: Any) -> str:
        """Start a shell script as a task and return the task's id; the result is still to come."""
        payload = self.payload(script, task=task, ports=ports, **changes)
        self.runtime.perform(start_action(payload, self.host))
        return payload.task_id

    def payload(self, script: str, *, task: str = "t", **changes: Any) -> TaskPayload:
        network = "host" if self.kind == "process" else "none"
        settings = {"image": self.image, "args": ("/bin/sh", "-c", script), "network": network} | changes
        return a_payload(f"{task}.instance-{self.mark}._app.1", **settings)

    def started(self, script: str, **changes: Any) -> str:
        task_id = self.start(script, **changes)
        self.events.until(on.ContainerStarted, task_id=task_id)
        return task_id

    def stopped(self, task_id: str, exit_code: int) -> None:
        """Ask a process to end until it does: at first it may not listen to signals yet."""

        def died() -> on.ContainerDied:
            self.runtime.perform(do.StopContainer(task_id))
            return self.events.until(on.ContainerDied, within_s=1, task_id=task_id, exit_code=exit_code)

        until(died, 20, f"the process ended with {exit_code}")

    def examined(self, task_id: str) -> on.ContainerExamined:
        """Wait for a task's end and return what is left to know of it."""
        self.events.until(on.ContainerDied, task_id=task_id)
        self.runtime.perform(do.ExamineContainer(task_id))
        return self.events.until(on.ContainerExamined, task_id=task_id)

    def processes(self, task_id: str, command: str) -> list[str]:
        """Return the ids of a container's processes whose command line begins like this, or of the host's."""
        if self.kind == "docker":
            return processes(names.container_name(task_id), command.replace(" ", "?"))
        return [
            path.parent.name
            for path in Path("/proc").glob("[0-9]*/cmdline")
            if read_or_empty(path).replace(b"\0", b" ").startswith(command.encode())
        ]

    def inspect(self, task_id: str, template: str) -> str:
        return docker("inspect", "-f", template, names.container_name(task_id))


def read_or_empty(path: Path) -> bytes:
    """Return what a file of /proc says, nothing where its process has just ended."""
    try:
        return path.read_bytes()
    except OSError:
        return b""


@contextmanager
def running(kind: str, folder: Path) -> Iterator[Rig]:
    """Start a runtime, and leave nothing of it."""
    rig = Rig(kind, folder)
    rig.runtime.start()
    rig.events.until(on.ContainersListed)
    yield rig
    if kind == "process":
        for _, mark in process_table.marked():
            if mark.framework_id == f"test-{rig.mark}":
                process_table.kill(mark)
    rig.runtime.stop(10)
    rig.client.close()
    if kind == "docker":
        remove_labelled(f"{names.LABEL_FRAMEWORK}=test-{rig.mark}")
