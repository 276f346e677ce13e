"""Logs from an executor's endpoint through the leader, or a follower and the leader, to the client and the command line."""

from __future__ import annotations

import functools
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import pytest
from support.api import OPEN, ApiClient, an_api
from support.builders import a_job, an_app, an_offer
from support.companion import serve
from support.controller import FakeController
from support.fake_logs import FakeLogs
from support.played_parts import a_pod
from support.ports import free_ports
from support.waiting import until

from eratos.cli.logs import show, to_their_end
from eratos.cli.main import run
from eratos.cli.output import Output
from eratos.cli.session import Session
from eratos.executor.endpoint import Access, Endpoint
from eratos.executor.io_thread import IoThread
from eratos.executor.readiness import ReadinessResults, Result
from eratos.marathon.client import MarathonClient, Refused, Unreachable
from eratos.scheduler.api.logs import _find
from eratos.scheduler.api.server import ApiServer, create_api
from eratos.scheduler.core.events import PutApps, PutJob, StartRun


@dataclass
class Rig:
    controller: FakeController
    logs: FakeLogs
    port: int  #: the executor's
    api: ApiClient
    readiness: ReadinessResults

    def running(self, instances: int = 1, **fields: Any) -> list[str]:
        self.controller.submit(PutApps((an_app("/a", instances, **fields),)))
        tasks = self.controller.launch(replace(an_offer(), hostname="127.0.0.1"))
        for task in tasks:
            self.controller.update(task, "RUNNING")
        return tasks


@functools.cache
def executor_port() -> int:
    """Return a free port, the same for all tests: their API knows it."""
    return free_ports(1)[0]


@pytest.fixture
def rig() -> Iterator[Rig]:
    io, logs, readiness, controller = IoThread(), FakeLogs(), ReadinessResults(), FakeController()
    io.start()
    server = Endpoint(io, [logs], readiness, "127.0.0.1", executor_port())
    server.start()
    port = until(lambda: server.port, 10, "logs are served")
    yield Rig(controller, logs, port, ApiClient(an_api(controller, port)), readiness)
    io.stop()


@pytest.fixture(scope="module")
def servers() -> Iterator[dict[str, ApiServer]]:
    """The leader's API over real sockets, for whatever rig there is, and a follower's."""
    leader = ApiServer(an_api(FakeController(), executor_port()), "127.0.0.1", 0)
    leader.start()
    follows = FakeController(is_leader=False, leader=f"http://127.0.0.1:{leader.port}")
    follower = ApiServer(create_api(follows), "127.0.0.1", 0)
    follower.start()
    yield {"leader": leader, "follower": follower}
    follower.stop()
    leader.stop()


@pytest.fixture
def client(request: pytest.FixtureRequest, rig: Rig, servers: dict[str, ApiServer]) -> MarathonClient:
    """A client of the leader's API, or of a follower's."""
    return MarathonClient(f"http://127.0.0.1:{servers[getattr(request, 'param', 'leader')].port}")


through_both = pytest.mark.parametrize("client", ["leader", "follower"], indirect=True)


@through_both
def test_a_log_is_followed_until_the_task_ends(rig: Rig, client: MarathonClient) -> None:
    (task,) = rig.running()
    rig.logs.write(task, b"one\n", b"two\n")
    pieces = client.logs(task, tail=1, follow=True)
    assert next(pieces) == b"two\n"
    rig.logs.write(task, b"three\n")
    assert next(pieces) == b"three\n"
    rig.logs.end(task)
    assert list(pieces) == []


@through_both
def test_a_client_that_leaves_frees_the_executor(rig: Rig, client: MarathonClient) -> None:
    (task,) = rig.running()
    rig.logs.write(task, b"one\n")
    pieces: Any = client.logs(task, follow=True)
    assert next(pieces) == b"one\n"
    pieces.close()
    until(lambda: rig.logs.readers == 0, 10, "the reader is gone")


def test_streams_are_told_apart(rig: Rig, client: MarathonClient) -> None:
    (task,) = rig.running()
    rig.logs.write(task, b"out\n")
    rig.logs.write(task, b"err\n", stream="stderr")
    assert (list(client.logs(task)), list(client.logs(task, stderr=True))) == ([b"out\n"], [b"err\n"])
    rig.logs.end(task)
    pieces, positioned = client.log_from(task, "0")
    assert (list(pieces), positioned) == ([b"0 out\n"], True)


@through_both
def test_a_log_that_is_cut_short_does_not_look_complete(rig: Rig, client: MarathonClient) -> None:
    (task,) = rig.running()
    rig.logs.write(task, b"one\n")
    pieces = client.logs(task, follow=True)
    assert next(pieces) == b"one\n"
    rig.logs.broken.add(task)
    with pytest.raises(Unreachable, match="cut short"):
        list(pieces)


def test_an_instances_id_stands_for_its_task(rig: Rig) -> None:
    (task,) = rig.running()
    rig.logs.write(task, b"one\n")
    assert rig.api.get(f"/v2/tasks/{task.rpartition('._app.')[0]}/logs").text == "one\n"


def test_an_unknown_task_is_not_found(rig: Rig) -> None:
    rig.running()
    assert rig.api.get("/v2/tasks/a.instance-x._app.1/logs").status_code == 404


def test_a_wrong_parameter_is_refused_with_the_executors_reason(rig: Rig) -> None:
    (task,) = rig.running()
    answer = rig.api.get(f"/v2/tasks/{task}/logs?stream=both")
    assert (answer.status_code, "stdout or stderr" in answer.json()["message"]) == (422, True)


def test_the_log_of_the_last_failure_is_read_while_it_is_kept(rig: Rig) -> None:
    (task,) = rig.running()
    rig.logs.write(task, b"boom\n")
    rig.controller.update(task, "FAILED", message="exit code 1; last lines of its log:\nboom")
    assert rig.api.get(f"/v2/tasks/{task}/logs").text == "boom\n"


def test_a_log_that_is_gone_is_answered_with_the_last_lines_that_the_status_kept(rig: Rig) -> None:
    (task,) = rig.running()
    rig.controller.update(task, "FAILED", message="exit code 1; last lines of its log:\nboom")
    answer = rig.api.get(f"/v2/tasks/{task}/logs")
    assert answer.status_code == 410
    for words in (task, "gone", "TASK_FAILED", "exit code 1", "boom"):
        assert words in answer.json()["message"]


def test_a_task_without_a_log_yet_is_told_with_its_state(rig: Rig) -> None:
    (task,) = rig.running()
    answer = rig.api.get(f"/v2/tasks/{task}/logs")
    assert (answer.status_code, "TASK_RUNNING" in answer.json()["message"]) == (404, True)


def test_an_executor_that_does_not_answer_is_named_with_the_setting(rig: Rig) -> None:
    (task,) = rig.running()
    api = ApiClient(an_api(rig.controller, 1))
    answer = api.get(f"/v2/tasks/{task}/logs")
    assert answer.status_code == 503
    for words in ("127.0.0.1:1", "--executor-http-port"):
        assert words in answer.json()["message"]


def test_another_program_on_the_executors_port_is_told(rig: Rig) -> None:
    (task,) = rig.running()
    with serve(lambda *_: (403, b"keep out")) as port:
        answer = ApiClient(an_api(rig.controller, port)).get(f"/v2/tasks/{task}/logs")
    assert (answer.status_code, "another program" in answer.json()["message"]) == (403, True)


# Readiness ----------------------------------------------------------------------------------------------------------------

CHECKED = {"healthChecks": [{}], "readinessChecks": [{"portName": "http"}]}


def test_readiness_results_are_shown_where_they_are_asked_for(rig: Rig) -> None:
    first, second = rig.running(2, **CHECKED)
    rig.readiness.put(first, Result("readinessCheck", ready=True))
    rig.readiness.put(second, Result("readinessCheck", ready=False))
    shown = rig.api.get("/v2/apps/a?embed=app.readiness").json()["app"]["readinessCheckResults"]
    assert sorted((result["taskId"], result["ready"]) for result in shown) == [(first, True), (second, False)]
    assert "readinessCheckResults" not in rig.api.get("/v2/apps/a").json()["app"]


def test_an_executor_that_does_not_answer_leaves_its_results_out(rig: Rig) -> None:
    rig.running(**CHECKED)
    api = ApiClient(an_api(rig.controller, 1))
    assert api.get("/v2/apps/a?embed=app.readiness").json()["app"]["readinessCheckResults"] == []


def test_an_app_without_readiness_checks_has_no_results(rig: Rig) -> None:
    rig.running()
    assert rig.api.get("/v2/apps/a?embed=app.readiness").json()["app"]["readinessCheckResults"] == []


# The command ----------------------------------------------------------------------------------------------------------------


def eratos(client: MarathonClient, *words: str) -> int:
    return run(["logs", *words], Session(client, Output()))


def test_the_command_shows_one_task_as_it_is(rig: Rig, client: MarathonClient, capsys: pytest.CaptureFixture[str]) -> None:
    (task,) = rig.running()
    rig.logs.write(task, b"h\xc3", b"\xa9llo\n", b"no end")
    assert eratos(client, task) == 0
    assert capsys.readouterr().out == "hé" + "llo\nno end"


def test_the_command_names_the_task_of_each_line_where_an_app_has_several(
    rig: Rig, client: MarathonClient, capsys: pytest.CaptureFixture[str]
) -> None:
    tasks = rig.running(2)
    for task in tasks:
        rig.logs.write(task, b"one\ntw", b"o\nend")
        rig.logs.end(task)
    assert eratos(client, "-f", "/a") == 0
    lines = capsys.readouterr().out.splitlines()
    shown = [task.replace(".instance-", ".").replace("._app.", ".") for task in tasks]
    assert sorted(lines) == sorted(f"{name} | {text}" for name in shown for text in ("one", "two", "end"))


def test_the_command_fails_where_a_log_was_cut_short(
    rig: Rig, client: MarathonClient, capsys: pytest.CaptureFixture[str]
) -> None:
    (task,) = rig.running()
    rig.logs.write(task, b"one\n")
    rig.logs.broken.add(task)
    assert eratos(client, task) == 1
    shown = capsys.readouterr()
    assert (shown.out, "cut short" in shown.err) == ("one\n", True)


@through_both
def test_the_command_takes_up_a_log_that_it_follows_where_it_was_cut(
    rig: Rig, client: MarathonClient, capsys: pytest.CaptureFixture[str]
) -> None:
    (task,) = rig.running()
    rig.logs.write(task, b"one\n", b"one\n")
    rig.logs.broken.add(task)
    waits: list[float] = []

    def mend(seconds: float) -> None:
        waits.append(seconds)
        if len(waits) == 2:
            rig.logs.write(task, b"one\n", b"two\n")
            rig.logs.broken.clear()
            rig.logs.end(task)

    assert run(["logs", "-f", task], Session(client, Output(), sleep=mend)) == 0
    shown = capsys.readouterr()
    assert shown.out == "one\none\none\ntwo\n"
    assert "cut short" in shown.err and shown.err.count("trying again") == 2 and "missing" not in shown.err


def test_a_followed_log_goes_on_through_another_scheduler_where_the_one_it_came_through_ends(
    rig: Rig, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("eratos.scheduler.api.server.STOP_S", 0)  # it leaves nobody time to come to an end
    (task,) = rig.running()
    rig.logs.write(task, b"one\n")
    servers = [ApiServer(create_api(rig.controller, executor_port=executor_port(), access=OPEN), "127.0.0.1", 0) for _ in "ab"]
    for server in servers:
        server.start()
    client = MarathonClient(",".join(f"http://127.0.0.1:{server.port}" for server in servers))

    class Watched(Output):
        def raw(self, text: str) -> None:
            super().raw(text)
            if text == "one\n":
                servers[0].stop()
                until(lambda: not servers[0]._thread.is_alive(), 30, "the first one has ended")
                rig.logs.write(task, b"two\n", b"three\n")
                rig.logs.end(task)

    assert run(["logs", "-f", task], Session(client, Watched(), sleep=lambda _: None)) == 0
    servers[1].stop()
    shown = capsys.readouterr()
    assert shown.out == "one\ntwo\nthree\n"
    assert "cut short" in shown.err and "missing" not in shown.err


class Withdrawn:
    """A client whose credentials count no more."""

    def info(self) -> None:
        raise Refused(401, "who are you?")


@pytest.mark.parametrize("broken", [False, True])
def test_a_followed_log_that_ends_with_the_credentials_says_so(broken: bool, capsys: pytest.CaptureFixture[str]) -> None:
    def pieces() -> Iterator[bytes]:
        yield b"one\n"
        if broken:
            raise Unreachable("the log was cut short")

    out = Output()
    with pytest.raises(Refused, match="not believed any more, as with an expired token: who are you"):
        to_their_end(Withdrawn(), {"a.instance-1._app.1": pieces()}, out, follow=True)  # type: ignore[arg-type]
    assert capsys.readouterr().out == "one\n"
    to_their_end(Withdrawn(), {"a.instance-1._app.1": iter([b"one\n"])}, out, follow=False)  # type: ignore[arg-type]


@pytest.mark.parametrize(("terminal", "no_colour", "coloured"), [(True, "", True), (True, "1", False), (False, "", False)])
def test_tasks_have_a_colour_each_where_there_are_colours(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], terminal: bool, no_colour: str, coloured: bool
) -> None:
    monkeypatch.setenv("NO_COLOR", no_colour)
    monkeypatch.setenv("TERM", "xterm")
    out = Output()
    monkeypatch.setattr("sys.stdout.isatty", lambda: terminal, raising=False)
    assert show({f"a.instance-{name}._app.1": iter([name.encode() + b"\n"]) for name in ("x", "y")}, out) == []
    lines = sorted(capsys.readouterr().out.splitlines())
    assert [line.rpartition(" | ")[2] for line in sorted(lines, key=lambda line: line[-1])] == ["x", "y"]
    begins = {line.partition("a.")[0] for line in lines}
    assert len(begins) == 2 and all(begin.startswith("\033[") for begin in begins) if coloured else begins == {""}


def test_the_command_shows_the_others_where_one_task_has_no_log_yet(
    rig: Rig, client: MarathonClient, capsys: pytest.CaptureFixture[str]
) -> None:
    first, second = rig.running(2)
    rig.logs.write(second, b"one\n")
    assert eratos(client, "/a") == 0
    shown = capsys.readouterr()
    assert (shown.out, first in shown.err) == ("one\n", True)


def test_the_command_shows_the_last_failure_where_nothing_runs(
    rig: Rig, client: MarathonClient, capsys: pytest.CaptureFixture[str]
) -> None:
    (task,) = rig.running()
    rig.logs.write(task, b"boom\n", stream="stderr")
    rig.controller.update(task, "FAILED")
    assert eratos(client, "/a", "--stderr") == 0
    assert capsys.readouterr().out == "boom\n"


def test_the_command_says_where_there_is_nothing_to_show(
    rig: Rig, client: MarathonClient, capsys: pytest.CaptureFixture[str]
) -> None:
    rig.controller.submit(PutApps((an_app("/a"),)))
    assert eratos(client, "/a") == 1
    assert "no task" in capsys.readouterr().err
    with pytest.raises(Refused, match="does not exist"):
        client.logs("a.instance-x._app.1")


def frames(text: str) -> list[tuple[str, dict[str, str]]]:
    found = []
    for frame in text.replace("\r\n", "").split("\n\n"):
        if frame.strip():
            event, data = frame.strip().split("\n")
            found.append((event.removeprefix("event: "), json.loads(data.removeprefix("data: "))))
    return found


def test_several_logs_come_over_one_connection_told_apart(rig: Rig) -> None:
    (task,) = rig.running()
    rig.logs.write(task, b"out 1\n", b"out 2\n", b"without an end")
    rig.logs.write(task, b"err 1\n", stream="stderr")
    rig.logs.end(task)
    gone = "a.instance-gone._app.1"
    answer = rig.api.get("/v2/logs", params={"task": [task, gone], "follow": "true"})
    assert answer.status_code == 200 and answer.headers["content-type"].startswith("text/event-stream")
    said = frames(answer.text)
    lines = [(found["stream"], found["text"]) for event, found in said if event == "line"]
    assert [text for stream, text in lines if stream == "stdout"] == ["out 1", "out 2", "without an end"]
    assert [text for stream, text in lines if stream == "stderr"] == ["err 1"]
    ends = {(found["task"], found["stream"]): found["reason"] for event, found in said if event == "end"}
    assert ends[task, "stdout"] == "" and "does not exist" in ends[gone, "stderr"] and len(ends) == 4


@pytest.mark.parametrize(("asked", "read"), [("", "web"), ("log", "log")])
def test_of_a_pod_one_container_is_read_its_first_unless_another_is_named(rig: Rig, asked: str, read: str) -> None:
    rig.controller.submit(PutApps((a_pod(1),)))
    (task,) = rig.controller.launch(replace(an_offer(), hostname="127.0.0.1"))
    rig.controller.update(task, "RUNNING")
    rig.logs.write(task, b"one\n")
    answer = rig.api.get("/v2/logs", params={"task": task} | ({"container": asked} if asked else {}))
    assert [found["text"] for event, found in frames(answer.text) if event == "line"] == ["one"]
    assert {request.container for request in rig.logs.requests} == {read}


def test_a_log_of_several_that_is_cut_short_says_so(rig: Rig) -> None:
    (task,) = rig.running()
    rig.logs.write(task, b"before\n")
    rig.logs.broken.add(task)
    answer = rig.api.get("/v2/logs", params={"task": task})
    assert any(event == "end" and "cut short" in found["reason"] for event, found in frames(answer.text))


@pytest.mark.parametrize("query", ["", "task=a&tail=-1", "task=a&task=b&task=c&tail=1&tail=2", "&".join(["task=a"] * 21)])
def test_what_cannot_be_followed_together_is_refused(rig: Rig, query: str) -> None:
    assert rig.api.get(f"/v2/logs?{query}").status_code == 422


@pytest.mark.parametrize(("key", "status"), [("secret", 200), ("another", 503), ("", 503)])
def test_an_executor_that_asks_is_proven_the_key_that_it_was_given(key: str, status: int) -> None:
    io, logs, readiness, controller = IoThread(), FakeLogs(), ReadinessResults(), FakeController()
    io.start()
    server = Endpoint(io, [logs], readiness, "127.0.0.1", 0, lambda: Access((), "secret"))
    server.start()
    port = until(lambda: server.port, 10, "logs are served")
    api = create_api(controller, clock=time.time, executor_port=port, access=OPEN, agent_key=lambda agent_id: key)
    rig = Rig(controller, logs, port, ApiClient(api), readiness)
    (task,) = rig.running(**CHECKED)
    rig.logs.write(task, b"one\n", b"two\n")
    readiness.put(task, Result("readinessCheck", ready=True))
    answer = rig.api.get(f"/v2/tasks/{task}/logs?tail=1&stream=stdout")
    assert answer.status_code == status
    assert answer.text == "two\n" if status == 200 else "does not take this scheduler for one of its own" in answer.text
    shown = rig.api.get("/v2/apps/a?embed=app.readiness").json()["app"].get("readinessCheckResults")
    assert bool(shown) == (status == 200)
    io.stop()


def test_the_task_of_a_run_is_found_after_the_run_has_ended() -> None:
    controller = FakeController()
    controller.submit(PutJob(a_job("shop.backup"), create_only=True))
    controller.submit(StartRun("shop.backup"))
    (task,) = controller.launch(an_offer())
    controller.update(task, "FAILED", message="exit code 3")
    found = controller.read(lambda state: _find(state, task))
    assert found is not None and (found.hostname, found.ended) == ("host-a1", "exit code 3")
    assert found.app_id.startswith("/shop/backup/")
    assert controller.read(lambda state: _find(state, task.replace("._app.1", "._app.2"))) is None
