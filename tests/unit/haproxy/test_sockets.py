"""The master socket's protocol, against a socket that plays HAProxy's master."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from eratos.haproxy.sockets import (
    HaproxyUnavailableError,
    MasterSocket,
    Processes,
    ProcessGoneError,
    parse_processes,
)

SHOW_PROC = """\
#<PID>          <type>          <reloads>       <uptime>        <version>
10              master          2 [failed: 0]   0d00h00m09s     3.0.11
# workers
35              worker          0               0d00h00m01s     3.0.11
# old workers
27              worker          1               0d00h00m09s     3.0.11
23              worker          2               0d00h00m09s     3.0.11
# programs

"""


class FakeMaster:
    """Answers each connection's one line with what ``answers`` has for it, then closes."""

    def __init__(self, path: Path) -> None:
        self.answers: dict[str, str] = {"show proc": SHOW_PROC}
        self.received: list[str] = []
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        self._listener.listen()
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            connection, _ = self._listener.accept()
            with connection:
                data = b""
                # As the real one: it answers for good only when the client has finished.
                while chunk := connection.recv(4096):
                    data += chunk
                line = data.decode().strip()
                if line == "stop":
                    return
                self.received.append(line)
                connection.sendall(self.answers.get(line, "").encode())

    def stop(self, path: Path) -> None:
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(path))
            client.sendall(b"stop\n")
        self._thread.join()
        self._listener.close()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "master.sock"


@pytest.fixture
def master(path: Path) -> Iterator[FakeMaster]:
    master = FakeMaster(path)
    yield master
    master.stop(path)


def test_workers_are_told_apart_by_their_reloads(master: FakeMaster, path: Path) -> None:
    assert MasterSocket(path).processes() == Processes(35, (27, 23))


def test_a_worker_is_asked_by_its_process_id(master: FakeMaster, path: Path) -> None:
    master.answers["@!27; show stat; show info"] = "table\n\ninfo\n\n"
    assert MasterSocket(path).ask("show stat", "show info", process=27) == "table\n\ninfo\n\n"


def test_an_answer_that_breaks_off_is_no_answer(master: FakeMaster, path: Path) -> None:
    for broken in ("", "\n", "# pxname,svname\napp,a", "# pxname,svname\napp,a\n"):
        master.answers["@!35; show stat"] = broken
        with pytest.raises(HaproxyUnavailableError, match="broke off"):
            MasterSocket(path).ask("show stat", process=35)


def test_a_change_that_went_well_is_answered_by_an_empty_line(master: FakeMaster, path: Path) -> None:
    master.answers["@!35; disable server app/a"] = "\n"
    assert MasterSocket(path).ask("disable server app/a", process=35) == "\n"


def test_an_ended_process_is_told_from_one_in_trouble(master: FakeMaster, path: Path) -> None:
    socket_ = MasterSocket(path)
    master.answers["@!99; show stat"] = "Can't find the target PID matching the prefix '@!99'\n"
    with pytest.raises(ProcessGoneError):
        socket_.ask("show stat", process=99)
    master.answers["@!98; show stat"] = "Can't connect to the target CLI!\n"
    with pytest.raises(ProcessGoneError):
        socket_.ask("show stat", process=98)
    master.answers["@!27; show stat"] = "Can't connect to the target CLI!\n"
    with pytest.raises(HaproxyUnavailableError):
        socket_.ask("show stat", process=27)


def test_a_reload_tells_success_from_failure_and_from_no_answer(master: FakeMaster, path: Path) -> None:
    socket_ = MasterSocket(path)
    master.answers["reload"] = "Success=1\n--\nLoading success.\n\n"
    assert socket_.reload()[0] is True
    master.answers["reload"] = "Success=0\n--\n[ALERT] unknown keyword\n\n"
    succeeded, words = socket_.reload()
    assert not succeeded
    assert "unknown keyword" in words
    master.answers["reload"] = ""
    with pytest.raises(HaproxyUnavailableError):
        socket_.reload()


def test_without_a_master_haproxy_is_unavailable(path: Path) -> None:
    with pytest.raises(HaproxyUnavailableError, match=r"master\.sock"):
        MasterSocket(path).processes()


def test_a_master_without_a_worker_is_unavailable() -> None:
    with pytest.raises(HaproxyUnavailableError, match="no current worker"):
        parse_processes("10 master 2 [failed: 1]\n# workers\n# old workers\n27 worker 1 0d 3.0\n")
