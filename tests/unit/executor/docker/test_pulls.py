"""Pulls before a daemon whose registries trickle, hang, or do their work."""

from __future__ import annotations

import json
import threading
import urllib.parse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support import unix_http
from support.executor import Events
from support.waiting import until

from eratos.executor.core import actions as do
from eratos.executor.core import events as on
from eratos.executor.core.pull_progress import LEAST_BYTES, PullProgress
from eratos.executor.docker import pulls as docker_pulls
from eratos.executor.docker.client import DockerClient
from eratos.executor.docker.pulls import ImagePulls
from eratos.executor.docker.registry_logins import Logins


class Daemon:
    """It pulls from registries ``slow*`` a byte at a time, from ``silent*`` nothing, from others all at once."""

    def __init__(self, path: Path) -> None:
        daemon = self
        self.begun: list[str] = []
        self.ended: list[str] = []  #: whose client has hung up
        self.over = threading.Event()

        class Handler(unix_http.Handler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:  # noqa: N802
                self._head(200)
                self._event({"ApiVersion": "1.43", "MinAPIVersion": "1.24"})
                self.wfile.write(b"0\r\n\r\n")

            def do_POST(self) -> None:  # noqa: N802
                self.close_connection = True
                query = dict(urllib.parse.parse_qsl(urllib.parse.urlsplit(self.path).query))
                image = f"{query['fromImage']}:{query['tag']}"
                daemon.begun.append(image)
                if image.startswith("gone"):
                    self._head(404)
                    self._event({"message": "no such image"})
                    self.wfile.write(b"0\r\n\r\n")
                    return
                try:
                    self._pull(image)
                except OSError:
                    daemon.ended.append(image)

            def _pull(self, image: str) -> None:
                if image.startswith("silent"):
                    self.connection.recv(1)
                    raise ConnectionResetError
                self._head(200)
                self._event({"status": f"Pulling from {image}"})
                for count in range(1, 10_000):
                    if not image.startswith("slow") or daemon.over.is_set():
                        break
                    self._event({"id": "a", "status": "Downloading", "progressDetail": {"current": count, "total": 10**9}})
                    daemon.over.wait(0.01)
                self._event({"id": "a", "status": "Pull complete"} | ({"error": "denied"} if image.startswith("denied") else {}))
                self.wfile.write(b"0\r\n\r\n")

            def _head(self, status: int) -> None:
                self.send_response(status)
                self.send_header("Transfer-Encoding", "chunked")
                self.end_headers()

            def _event(self, content: dict[str, Any]) -> None:
                line = json.dumps(content).encode() + b"\r\n"
                self.wfile.write(b"%x\r\n%b\r\n" % (len(line), line))

        self.server = unix_http.serve(path, Handler)


class Rig:
    def __init__(self, folder: Path) -> None:
        self.daemon = Daemon(folder / "docker.sock")
        self.events = Events()
        self.gone_on: list[str] = []
        self.client = DockerClient(f"unix://{folder}/docker.sock")
        self.pulls = self.made(60.0)

    def made(self, stall_s: float) -> ImagePulls:
        return ImagePulls(
            self.client, self.events.emit, lambda action, image: self.gone_on.append(action.task_id), stall_s=stall_s
        )

    def pull(self, image: str, task_id: str = "") -> None:
        self.pulls.wait_for(do.StartContainer(task_id or image, "name", image, {}), image, Logins())


@pytest.fixture
def rig(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Rig]:
    monkeypatch.setattr(docker_pulls, "_LOOK_S", 0.02)
    monkeypatch.setattr(docker_pulls, "login", lambda repository, path: {})
    rig = Rig(tmp_path)
    yield rig
    rig.daemon.over.set()
    for image in rig.daemon.begun:
        rig.pulls.cancel(image)
    until(lambda: not [thread for thread in threading.enumerate() if thread.name == "pull"], 20, "all pulls have ended")
    rig.client.close()
    rig.daemon.server.shutdown()
    rig.daemon.server.server_close()


def test_what_was_pulled_goes_on_and_what_was_not_says_why(rig: Rig) -> None:
    rig.pull("good.example/a:1")
    until(lambda: rig.gone_on == ["good.example/a:1"], 10, "it was pulled")
    for image, words in (("denied.example/a", "denied"), ("gone.example/a", "no such image")):
        rig.pull(image)
        assert words in rig.events.until(on.StartFailed, task_id=image).message


def test_trickling_registries_hold_up_no_other(rig: Rig) -> None:
    slow = [f"slow{registry}.example/{name}:1" for registry in range(3) for name in "abcde"]
    for image in slow:
        rig.pull(image)
    until(lambda: len(rig.daemon.begun) == 3 * docker_pulls.PULLS_OF_ONE_REGISTRY_MAX, 10, "they trickle")
    rig.pull("good.example/a:1")
    until(lambda: rig.gone_on == ["good.example/a:1"], 10, "another registry's image comes")
    assert len(rig.daemon.begun) == 3 * docker_pulls.PULLS_OF_ONE_REGISTRY_MAX + 1


@pytest.mark.parametrize("image", ["slow.example/a:1", "silent.example/a:1"])
def test_a_pull_that_gets_nowhere_is_given_up(rig: Rig, image: str) -> None:
    rig.pulls = rig.made(0.1)
    rig.pull(image)
    assert "ERATOS_PULL_STALL_S" in rig.events.until(on.StartFailed, task_id=image).message
    until(lambda: rig.daemon.ended == [image], 10, "Docker has been told")
    rig.daemon.over.set()
    if image.startswith("slow"):
        rig.pull(image)  # its registry has recovered
        until(lambda: rig.gone_on == [image], 10, "the next attempt is one of its own")


def test_a_pull_goes_on_for_those_who_still_wait_and_ends_with_the_last(rig: Rig) -> None:
    for task_id in ("one", "two"):
        rig.pull("slow.example/a:1", task_id)
    until(lambda: rig.daemon.begun == ["slow.example/a:1"], 10, "it is pulled once")
    rig.pulls.cancel("one")
    assert "cancelled" in rig.events.until(on.StartFailed, task_id="one").message
    assert rig.daemon.ended == []
    rig.pull("slow.example/a:1", "three")
    rig.pulls.cancel("two")
    rig.pulls.cancel("three")
    assert "cancelled" in rig.events.until(on.StartFailed, task_id="three").message
    until(lambda: rig.daemon.ended == ["slow.example/a:1"], 10, "Docker has been told")
    assert rig.gone_on == []


def test_a_pull_that_waits_for_its_turn_can_be_cancelled(rig: Rig) -> None:
    images = [f"slow.example/{number}:1" for number in range(docker_pulls.PULLS_OF_ONE_REGISTRY_MAX + 1)]
    for image in images:
        rig.pull(image)
    until(lambda: len(rig.daemon.begun) == docker_pulls.PULLS_OF_ONE_REGISTRY_MAX, 10, "they trickle")
    (waiting,) = set(images) - set(rig.daemon.begun)
    rig.pulls.cancel(waiting)
    assert "cancelled" in rig.events.until(on.StartFailed, task_id=waiting).message


# Progress -------------------------------------------------------------------------------------------------------------------


def event(layer: str, status: str, current: int = 0) -> dict[str, Any]:
    return {"id": layer, "status": status, "progressDetail": {"current": current, "total": 10**9} if current else {}}


@pytest.mark.parametrize(
    ("events", "stalled"),
    [
        ([], True),
        ([event("a", "Downloading", LEAST_BYTES - 1)], True),
        ([event("a", "Downloading", LEAST_BYTES)], False),
        ([event("a", "Downloading", LEAST_BYTES // 2), event("b", "Downloading", LEAST_BYTES // 2)], False),
        # The same bytes again are no more, those after a new attempt are.
        ([event("a", "Downloading", LEAST_BYTES // 2)] * 3, True),
        ([event("a", "Downloading", LEAST_BYTES // 2), event("a", "Retrying in 1 second")] * 2, False),
        ([event("a", "Retrying in 1 second")], True),
        ([event("a", "Pulling fs layer")], True),
        ([event("a", "Pull complete")], False),
        # Its own disk, and other pulls of the daemon, are not the registry's fault; a layer that trickles beside them is.
        ([event("a", "Waiting")], False),
        ([event("a", "Waiting"), event("b", "Downloading", 1)], True),
        ([{"status": "Downloading", "progressDetail": None}], True),
    ],
)
def test_a_pull_stalls_when_it_brings_too_little_in_its_time(events: list[dict[str, Any]], stalled: bool) -> None:
    progress = PullProgress(0.0, 60.0)
    for found in events:
        progress.take(found, 59.0)
    assert not progress.stalled(59.9)
    assert progress.stalled(60.0) is stalled


def test_unpacking_may_take_as_long_as_the_disk_needs() -> None:
    progress = PullProgress(0.0, 60.0)
    progress.take(event("a", "Extracting", 5), 0.0)
    assert not progress.stalled(10_000.0)
    progress.take(event("b", "Downloading", 5), 0.0)
    assert progress.stalled(10_000.0)
