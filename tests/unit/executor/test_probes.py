"""Probes against real sockets: what passes, what does not, and what is said about it."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from support.authority import Authority
from support.companion import serve
from support.executor import Events
from support.fake_docker import FakeContainer, FakeRuntime
from support.waiting import until

from eratos.common.payload import CheckKind, ReadinessCheck
from eratos.executor import commands
from eratos.executor.commands import COMMAND_THREADS, CommandRunner
from eratos.executor.core import actions as do
from eratos.executor.core import events as on
from eratos.executor.io_thread import IoThread
from eratos.executor.probes import Prober
from eratos.executor.readiness import BODY_MAX, TASKS_MAX, ReadinessResults, Result


class Rig:
    def __init__(self, io: IoThread) -> None:
        self.events = Events()
        self.runtime = FakeRuntime(set(), self.events.emit)
        self.readiness = ReadinessResults()
        self.prober = Prober(io, CommandRunner(self.runtime), self.readiness, self.events.emit)

    def ask(self, protocol: str, port: int = 0, **changes: Any) -> on.ProbeDone:
        index = changes.pop("index", 0)
        fields = {"host": "127.0.0.1", "path": "/health", "command": "", "timeout_s": 5.0} | changes
        self.prober.perform(do.Probe("t", index, protocol, port=port, **fields))
        return self.events.until(on.ProbeDone)


@pytest.fixture
def rig() -> Iterator[Rig]:
    io = IoThread()
    io.start()
    yield Rig(io)
    io.stop()


@pytest.fixture
def silent_port() -> Iterator[int]:
    """A port that takes connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


@pytest.fixture
def closed_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


@pytest.mark.parametrize(
    ("status", "passed"), [(200, True), (204, True), (302, True), (399, True), (400, False), (404, False), (500, False)]
)
def test_marathons_verdict_on_http(rig: Rig, status: int, passed: bool) -> None:
    with serve(lambda method, path, body: (status if path == "/health" else 500, b"")) as port:
        done = rig.ask("http", port)
    assert (done.passed, done.detail) == (passed, f"HTTP status {status}")


def test_every_kind_of_check_can_be_asked_and_another_is_refused(rig: Rig, closed_port: int) -> None:
    refused = [protocol for protocol in (*CheckKind, "udp") if "is unknown: use http" in rig.ask(protocol, closed_port).detail]
    assert refused == ["udp"]


def test_a_long_answer_does_not_matter(rig: Rig) -> None:
    with serve(lambda *_: (200, b"x" * 1_000_000)) as port:
        assert rig.ask("http", port).passed


def test_nobody_listening_is_a_failure_with_the_error(rig: Rig, closed_port: int) -> None:
    for protocol in ("http", "https", "tcp"):
        done = rig.ask(protocol, closed_port)
        assert (done.passed, "refused" in done.detail or "failed" in done.detail) == (False, True)


def test_silence_ends_with_the_timeout(rig: Rig, silent_port: int) -> None:
    done = rig.ask("http", silent_port, timeout_s=0.05)
    assert (done.passed, done.detail) == (False, "no answer within 0.05 s")


def test_a_hung_task_delays_no_other_probe(rig: Rig, silent_port: int) -> None:
    for _ in range(50):
        rig.prober.perform(do.Probe("hung", 0, "http", "127.0.0.1", silent_port, "/", "", 60.0))
    with serve(lambda *_: (200, b"")) as port:
        assert rig.ask("http", port).passed


def test_https_takes_any_certificate(rig: Rig, tmp_path: Path) -> None:
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(Authority(tmp_path).write(tmp_path / "cert.pem", "elsewhere"))
    with serve(lambda *_: (200, b""), tls) as port:
        assert rig.ask("https", port).detail == "HTTP status 200"


def test_what_is_no_http_is_told(rig: Rig) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(5)
        rig.prober.perform(do.Probe("t", 0, "http", "127.0.0.1", server.getsockname()[1], "/", "", 5.0))
        connection, _ = server.accept()
        with connection:
            connection.recv(1000)
            connection.sendall(b"SSH-2.0-OpenSSH\r\n")
            done = rig.events.until(on.ProbeDone)
    assert (done.passed, "no HTTP" in done.detail) == (False, True)


def test_a_connection_closed_without_an_answer_is_told(rig: Rig) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(5)
        rig.prober.perform(do.Probe("t", 0, "http", "127.0.0.1", server.getsockname()[1], "/", "", 5.0))
        connection, _ = server.accept()
        with connection:
            connection.recv(1000)
        done = rig.events.until(on.ProbeDone)
    assert not done.passed


def test_tcp_asks_for_no_more_than_a_connection(rig: Rig, silent_port: int) -> None:
    assert rig.ask("tcp", silent_port).passed


@pytest.mark.parametrize(("command", "passed"), [("exit 0", True), ("exit 3", False)])
def test_a_command_passes_with_exit_code_zero(rig: Rig, command: str, passed: bool) -> None:
    rig.runtime.containers["t"] = FakeContainer()
    done = rig.ask("command", command=command)
    assert (done.passed, done.detail) == (passed, f"exit code {command[-1]}")


def test_a_command_that_hangs_ends_with_the_timeout(rig: Rig) -> None:
    rig.runtime.containers["t"] = FakeContainer()
    assert "no answer" in rig.ask("command", command="sleep 1000", timeout_s=0.05).detail
    until(lambda: rig.runtime.stopped_commands == ["sleep 1000"], 10, "the command is given up")


def test_no_command_is_started_while_the_last_one_of_the_check_runs(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(commands, "_END_AGAIN_S", 0.01)
    rig.runtime.containers["t"] = FakeContainer()
    rig.runtime.hanging_commands.add("sleep 1000")
    assert "no answer" in rig.ask("command", command="sleep 1000", timeout_s=0.05).detail
    for _ in range(3):
        done = rig.ask("command", command="sleep 1000", timeout_s=0.05)
        assert (done.passed, done.detail) == (False, "its last command has not ended yet")
    assert rig.ask("command", index=1, command="exit 0").passed  # another check of the task is
    assert rig.runtime.started_commands == ["sleep 1000", "exit 0"]
    rig.runtime.hanging_commands.clear()
    until(lambda: rig.ask("command", command="exit 0").passed, 10, "the check is asked again")


def test_commands_that_docker_does_not_answer_hold_up_nothing_else(rig: Rig) -> None:
    daemon_is_back = threading.Event()
    before = set(threading.enumerate())

    def hang(task_id: str, command: str, container: str, env: Mapping[str, str]) -> str:
        daemon_is_back.wait(30)
        return command

    rig.runtime.command_start = hang  # type: ignore[method-assign]
    for number in range(3 * COMMAND_THREADS):
        done = rig.ask("command", index=number, command="sleep 1000", timeout_s=0.01)
        assert "no answer" in done.detail
    with serve(lambda *_: (200, b"")) as port:
        assert rig.ask("http", port, host="localhost").passed  # names are looked up by threads, too
    begun = [thread for thread in set(threading.enumerate()) - before if thread.name.startswith("command")]
    assert len(begun) == COMMAND_THREADS
    daemon_is_back.set()
    # What was asked for late is ended nonetheless.
    until(lambda: len(rig.runtime.stopped_commands) == 3 * COMMAND_THREADS, 10, "the commands are ended")


def test_a_command_without_a_container_fails(rig: Rig) -> None:
    assert "does not run" in rig.ask("command", command="exit 0").detail


def test_an_unknown_protocol_fails_with_the_known_ones(rig: Rig) -> None:
    assert "use http" in rig.ask("gopher").detail


# Readiness ------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("statuses", "passed"), [((503, 200), True), ((200,), False)])
def test_readiness_is_a_matter_of_the_statuses_that_the_app_names(rig: Rig, statuses: tuple[int, ...], passed: bool) -> None:
    check = ReadinessCheck("warm", "http", "/ready", 0, statuses=statuses, keep_response=True)
    with serve(lambda *_: (503, "w\u00e4rming up".encode())) as port:
        done = rig.ask("http", port, path="/ready", readiness=check)
    assert (done.passed, done.detail) == (passed, "HTTP status 503")
    response = {"status": 503, "contentType": "", "body": "w\u00e4rming up"}
    assert rig.readiness.shown("t") == [{"name": "warm", "taskId": "t", "ready": passed, "lastResponse": response}]


def test_the_last_response_is_kept_only_where_the_app_says_so_and_never_whole(rig: Rig) -> None:
    with serve(lambda *_: (200, b"x" * 1_000_000)) as port:
        for keep in (True, False):
            check = ReadinessCheck("warm", "http", "/", 0, keep_response=keep)
            assert rig.ask("http", port, readiness=check).passed
            (shown,) = rig.readiness.shown("t")
            assert len(shown.get("lastResponse", {}).get("body", "")) == (BODY_MAX if keep else 0)


def test_readiness_results_are_kept_of_a_limited_number_of_tasks() -> None:
    results = ReadinessResults()
    for number in range(TASKS_MAX + 1):
        results.put(f"t{number}", Result("a", ready=False))
        results.put(f"t{number}", Result("b", ready=True))
    assert results.shown("t0") == []
    assert [result["ready"] for result in results.shown("t1")] == [False, True]


@pytest.mark.parametrize(("ignore", "passed"), [(False, False), (True, None)])
def test_a_status_below_200_is_bad_or_says_nothing(rig: Rig, ignore: bool, passed: bool | None) -> None:
    with serve(lambda *_: (101, b"")) as port:
        assert rig.ask("http", port, ignore_1xx=ignore).passed is passed


def test_http_over_ipv6(rig: Rig) -> None:
    heard: list[bytes] = []
    with socket.create_server(("::1", 0), family=socket.AF_INET6) as server:

        def answer() -> None:
            connection, _ = server.accept()
            with connection:
                heard.append(connection.recv(4096))
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

        thread = threading.Thread(target=answer)
        thread.start()
        assert rig.ask("http", server.getsockname()[1], host="::1").passed
        thread.join()
    assert b"host: [::1]:" in heard[0].lower()
