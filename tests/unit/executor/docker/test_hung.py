"""The Docker runtime before a daemon that takes requests and does not answer them for a while."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support import unix_http
from support.executor import HOST, Events
from support.waiting import until

from eratos.common import names
from eratos.executor.core import actions as do
from eratos.executor.core import events as on
from eratos.executor.docker import runtime as docker_runtime
from eratos.executor.docker.client import DockerClient
from eratos.executor.docker.runtime import DockerRuntime
from eratos.executor.work_queue import Urgency


def labels(task_id: str) -> dict[str, str]:
    return {
        names.LABEL_FRAMEWORK: HOST.framework_id,
        names.LABEL_HOST: HOST.name,
        names.LABEL_AGENT: HOST.agent_id,
        names.LABEL_EXECUTOR: HOST.executor_id,
        names.LABEL_TASK: task_id,
    }


class Daemon:
    """It says that nothing is there, once it is back."""

    def __init__(self, path: Path) -> None:
        daemon = self
        self.back = threading.Event()
        self.asked: list[str] = []  #: in the order in which it came
        self.running: list[str] = []  #: tasks

        class Handler(unix_http.Handler):
            def _handle(self) -> None:
                self.rfile.read(int(self.headers.get("Content-Length", 0)))
                if self.path.endswith("/version"):
                    self._answer(200, {"ApiVersion": "1.43", "MinAPIVersion": "1.24"})
                    return
                request = f"{self.command} {re.sub(r'^/v[0-9.]+', '', self.path)}"
                daemon.asked.append(request)
                daemon.back.wait(30)
                if request.startswith("GET /containers/json"):
                    self._answer(200, [{"Labels": labels(task_id), "State": "running"} for task_id in daemon.running])
                elif any(request == f"GET /containers/{names.container_name(task_id)}/json" for task_id in daemon.running):
                    self._answer(200, {"Config": {}})
                else:
                    self._answer(404, {"message": "it is not there"})

            def _answer(self, status: int, content: Any) -> None:
                body = json.dumps(content).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            do_GET = do_POST = do_DELETE = _handle  # noqa: N815

        self.server = unix_http.serve(path, Handler)

    def of(self, task_id: str) -> list[str]:
        return [request for request in self.asked if f"/{names.container_name(task_id)}/" in request]


THREADS = 3
TASKS = 12


class Rig:
    def __init__(self, folder: Path) -> None:
        self.daemon = Daemon(folder / "docker.sock")
        self.events = Events()
        client = DockerClient(f"unix://{folder}/docker.sock")
        self.runtime = DockerRuntime(client, folder, HOST, self.events.emit, lambda _: True)

    def hang(self) -> None:
        """Have as many starts and examines under way as there may be."""
        for number in range(TASKS):
            self.runtime.perform(do.StartContainer(f"s{number}", f"s{number}", "image", {"HostConfig": {}}))
            self.runtime.perform(do.ExamineContainer(f"e{number}"))
        most = THREADS - 1
        until(lambda: len(self.daemon.asked) == most, 10, "the threads hang")


@pytest.fixture
def rig(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Rig]:
    monkeypatch.setattr(docker_runtime, "THREADS", THREADS)
    monkeypatch.setattr(docker_runtime, "THREADS_MOST", {Urgency.START: 1, Urgency.TIDY: 1})
    rig = Rig(tmp_path)
    yield rig
    rig.daemon.back.set()
    rig.runtime.stop(20)
    rig.daemon.server.shutdown()
    rig.daemon.server.server_close()


def test_kills_do_not_pile_up_while_docker_hangs(rig: Rig) -> None:
    for _ in range(50):
        rig.runtime.perform(do.KillContainer("a"))
        rig.runtime.perform(do.RemoveContainer("a"))
    until(lambda: len(rig.daemon.asked) == 2, 10, "each is asked for")
    rig.runtime.perform(do.KillContainer("b"))
    until(lambda: rig.daemon.of("b"), 10, "another task's stop is not behind them")
    assert len(rig.daemon.of("a")) == 1
    rig.daemon.back.set()
    assert {rig.events.until(on.ContainerDied).task_id for _ in range(2)} == {"a", "b"}
    assert len(rig.daemon.of("a")) == 1

    def again() -> bool:
        rig.runtime.perform(do.KillContainer("a"))
        return len(rig.daemon.of("a")) > 1

    until(again, 10, "it can be asked for again")


def test_stops_go_first_once_docker_is_back(rig: Rig) -> None:
    rig.hang()
    for number in range(TASKS):
        rig.runtime.perform(do.StopContainer(f"t{number}"))
    until(lambda: len(rig.daemon.asked) == THREADS, 10, "all threads hang")
    rig.daemon.back.set()
    until(lambda: len(rig.daemon.asked) == 3 * TASKS, 10, "all have been asked")
    stops = [index for index, request in enumerate(rig.daemon.asked) if re.search(r"eratos-t\d", request)]
    # Each thread takes the next thing by itself, so what comes behind the last stops may overtake them by a moment.
    assert stops[-1] < THREADS + TASKS + THREADS


def test_a_start_that_docker_has_not_been_asked_for_is_cancelled_at_once(rig: Rig) -> None:
    rig.hang()
    last = f"s{TASKS - 1}"
    rig.runtime.perform(do.CancelStart(last))
    assert "cancelled" in rig.events.until(on.StartFailed, task_id=last).message
    rig.daemon.back.set()
    rig.events.until(on.StartFailed, task_id=f"s{TASKS - 2}")
    assert not [request for request in rig.daemon.asked if last in request]


def test_a_stop_that_docker_was_away_for_is_asked_for_again_once_it_is_back(tmp_path: Path) -> None:
    events = Events()
    runtime = DockerRuntime(DockerClient(f"unix://{tmp_path}/docker.sock"), tmp_path, HOST, events.emit, lambda _: True)
    runtime.start()
    for task_id in ("a", "b"):
        runtime.perform(do.StopContainer(task_id))
    until(lambda: runtime._unheard == {"a", "b"}, 10, "the stops are lost")
    daemon = Daemon(tmp_path / "docker.sock")
    daemon.running = ["a"]
    daemon.back.set()
    # The other one has ended with the daemon.
    until(lambda: f"POST /containers/{names.container_name('a')}/kill?signal=SIGTERM" in daemon.asked, 20, "it is stopped")
    assert daemon.of("b") == []
    assert events.until(on.ContainersListed).running == {"a"}
    runtime.stop(10)
    daemon.server.shutdown()
    daemon.server.server_close()
