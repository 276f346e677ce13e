"""``eratos doctor`` against the real API, and against what is broken on the way to it."""

from __future__ import annotations

import importlib.metadata
import json
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from support import passwords
from support.authority import Authority
from support.builders import an_app, an_offer
from support.controller import FakeController

from eratos.cli import doctor, views
from eratos.cli.findings import Finding
from eratos.cli.main import run
from eratos.cli.output import Output
from eratos.marathon.client import Login, MarathonClient
from eratos.scheduler.access import credentials
from eratos.scheduler.access.authenticator import Authenticator, CredentialsFile
from eratos.scheduler.access.roles import Grant
from eratos.scheduler.api.controller import Balancer
from eratos.scheduler.api.gate import Access
from eratos.scheduler.api.server import ApiServer, create_api
from eratos.scheduler.core.events import Disconnected, PutApps

INFO = {"name": "eratos", "version": importlib.metadata.version("eratos"), "elected": True, "leader": "s1:8080"}


class Led(FakeController):
    """Says of itself what a leader does."""

    def info(self) -> dict[str, Any]:
        return {**INFO, "elected": self.is_leader, "leader": self.leader()}


@contextmanager
def served(controller: FakeController, **access: Any) -> Iterator[str]:
    server = ApiServer(create_api(controller, access=Access(**access)), "127.0.0.1", 0)
    server.start()
    try:
        yield f"http://127.0.0.1:{server.port}"
    finally:
        server.stop()


def examined(url: str, login: Login | None = None) -> list[tuple[str, str, str]]:
    found = list(doctor.examine(MarathonClient(url, 5, login=login), lambda _: None))
    assert all(finding.fix for finding in found if finding.state == "wrong")
    return [(finding.state, finding.part, finding.what) for finding in found]


def wrong(found: list[tuple[str, str, str]]) -> list[tuple[str, str]]:
    return [(part, what) for state, part, what in found if state == "wrong"]


def a_cluster() -> Led:
    controller = Led()
    controller.submit(PutApps((an_app("/a", 2),)))
    for task in controller.launch(an_offer("a1")):
        controller.update(task, "RUNNING")
    return controller


def test_a_cluster_that_is_well(monkeypatch: pytest.MonkeyPatch) -> None:
    # No executor runs here, and one that is away is another test's.
    monkeypatch.setattr(doctor, "EXECUTORS_MOST", 0)
    with served(a_cluster()) as url:
        found = examined(url)
    assert wrong(found) == []
    parts = {part for state, part, _ in found if state == "well"}
    assert parts == {"address", "clock", "leader", "version", "login", "mesos", "consul", "agents", "brake", "apps"}


@pytest.mark.parametrize(
    ("breaks", "part", "words"),
    [
        (lambda c: c.__dict__.update(is_leader=False, _leader=None), "leader", "none of the schedulers leads"),
        (lambda c: c.__dict__.update(is_leader=False), "leader", "http://leader.test:8080 does not answer"),
        (lambda c: c.handle(Disconnected()), "mesos", "not registered"),
        (lambda c: setattr(c, "deaf", "no Consul answers"), "consul", "no Consul answers"),
        (lambda c: c.submit(PutApps((an_app("/b", 1, cpus=64),))), "apps", "/b: 1 of 1 instances wait"),
        (lambda c: [c.update(t, "UNREACHABLE") for t in tasks(c)], "apps", "/a: 2 instances are out of reach on"),
        (lambda c: c.registered.append(Balancer("b1", "127.0.0.1", 1, "gone")), "balancers", "b1: gone; its companion"),
        (lambda c: None, "executors", "the executor on"),
        (lambda c: setattr(c, "down", "the store is away"), "leader", "the store is away"),
    ],
)
def test_what_is_broken_is_named(breaks: Callable[[FakeController], object], part: str, words: str) -> None:
    controller = a_cluster()
    breaks(controller)
    with served(controller) as url:
        found = wrong(examined(url))
    assert [what for name, what in found if name == part and words in what], found


def tasks(controller: FakeController) -> list[str]:
    return sorted(instance.task_id for instance in controller.machine.state.instances.values())


@pytest.mark.parametrize(
    ("login", "state", "words"),
    [
        (Login(credentials="joe:wrong"), "wrong", "does not believe who we are"),
        (Login(), "wrong", "does not believe who we are"),
        (Login(credentials="joe:right"), "note", "joe: view:/shop"),
        (Login(credentials="ann:right"), "well", "ann: view:/"),
    ],
)
def test_who_we_are_decides_what_is_seen(tmp_path: Path, login: Login, state: str, words: str) -> None:
    file = tmp_path / "credentials"
    users = {"joe": Grant.parse("view:/shop"), "ann": Grant.parse("view:/")}
    entry = passwords.entry("right")
    file.write_text("\n".join(credentials.line(name, "password", entry, (role,)) for name, role in users.items()))
    file.chmod(0o600)
    with served(a_cluster(), authenticator=Authenticator(CredentialsFile(file))) as url:
        found = examined(url, login)
    assert [one for one, part, what in found if part == "login" and words in what][:1] == [state], found
    assert ("mesos" in {part for _, part, _ in found}) == (state != "wrong")


class Played:
    """An HTTP server with answers by path, or 404; with TLS where it is given a certificate."""

    def __init__(self, answers: dict[str, Any], *, ahead: timedelta = timedelta(), certificate: Path | None = None) -> None:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(handler: Any) -> None:  # noqa: N805
                found = answers.get(handler.path.partition("?")[0])
                body = json.dumps(found).encode() if found is not None else b""
                handler.send_response(200 if found is not None else 404)
                handler.send_header("Content-Length", str(len(body)))
                handler.end_headers()
                handler.wfile.write(body)

            def date_time_string(handler: Any, timestamp: float | None = None) -> str:  # noqa: N805
                return format_datetime(datetime.now(UTC) + ahead, usegmt=True)

            def log_message(self, *_: object) -> None:
                pass

        class Quiet(ThreadingHTTPServer):
            def handle_error(self, *_: object) -> None:
                pass

        self.http = Quiet(("", 0), Handler)
        if certificate is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate)
            self.http.socket = context.wrap_socket(self.http.socket, server_side=True, do_handshake_on_connect=False)
        self.port = self.http.server_port

    def __enter__(self) -> Played:
        self.thread = threading.Thread(target=self.http.serve_forever, args=(0.01,))
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.http.shutdown()
        self.thread.join()
        self.http.server_close()


ALIVE = {"/ping": "pong", "/v2/info": INFO}


def test_a_real_marathon_is_told_apart_and_what_it_knows_is_shown() -> None:
    marathon = {"name": "marathon", "version": "1.11.24", "elected": True, "leader": "m:8080"}
    queue = {"queue": [{"app": {"id": "/a"}, "count": 1, "delay": {"timeLeftSeconds": 5}}]}
    with Played({"/ping": "pong", "/v2/info": marathon, "/v2/queue": queue}) as played:
        found = examined(f"http://127.0.0.1:{played.port}")
    assert any(state == "note" and what.startswith("this is marathon 1.11.24") for state, _, what in found)
    assert wrong(found) == [("apps", "/a: 1 instances wait: next launch in 5 s")]


def test_a_version_that_has_less_is_no_fault() -> None:
    with Played(ALIVE) as played:
        found = examined(f"http://127.0.0.1:{played.port}")
    assert wrong(found) == []
    assert {(state, part) for state, part, what in found if "this version" in what} == {("note", "login"), ("note", "leader")}


def test_an_answer_of_another_form_is_no_traceback() -> None:
    with Played({**ALIVE, "/v2/whoami": {}, "/v2/overview": {"agents": [{}], "scheduler": 5, "apps": 7}}) as played:
        found = examined(f"http://127.0.0.1:{played.port}")
    assert [part for state, part, what in found if state == "note" and "another form" in what] == ["leader"]


def test_a_server_that_is_no_api_is_named() -> None:
    with Played({}) as played:
        found = examined(f"http://127.0.0.1:{played.port}")
    assert [part for part, _ in wrong(found)] == ["address"]


@pytest.mark.parametrize(("hours", "word"), [(1, "ahead of"), (-1, "behind")])
def test_clocks_that_differ(hours: int, word: str) -> None:
    with Played(ALIVE, ahead=timedelta(hours=hours)) as played:
        found = wrong(examined(f"http://127.0.0.1:{played.port}"))
    assert [part for part, what in found if word in what] == ["clock"], found


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("http://no-such-host.invalid:8080", "the name has no address"),
        ("http://127.0.0.1:{closed}", "nobody answers at 127.0.0.1: Connection refused"),
        ("https://127.0.0.1:{plain}", "speaks no TLS"),
        ("http://127.0.0.1:99999", "its port is no number"),
    ],
)
def test_an_address_that_cannot_be_reached(url: str, words: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as unheard:
        closed = unheard.getsockname()[1]
    with Played(ALIVE) as played:
        found = examined(url.format(closed=closed, plain=played.port))
    assert [part for part, what in wrong(found) if words in what] == ["address"], found
    assert "leader" not in {part for _, part, _ in found}


def test_one_of_several_schedulers_that_is_away_is_named_and_the_rest_looked_at() -> None:
    with Played(ALIVE) as played:
        found = examined(f"http://127.0.0.1:1,http://127.0.0.1:{played.port}")
    assert [part for part, _ in wrong(found)] == ["address"]
    assert ("well", "leader") in {(state, part) for state, part, _ in found}


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.mark.parametrize(
    ("days", "host", "known", "words"),
    [
        (30, "127.0.0.1", True, ""),
        (3, "127.0.0.1", True, "ends in 3 days"),
        (-1, "127.0.0.1", True, "has ended"),
        (30, "127.0.0.1", False, "is of an authority that is not known here"),
        (30, "127.0.0.2", True, "is not for this address"),
    ],
)
def test_certificates(authority: Authority, tmp_path: Path, days: int, host: str, known: bool, words: str) -> None:
    certificate = tmp_path / "api.pem"
    certificate.write_bytes(authority.certificate(days=days))
    shown = Login(ca_file=str(authority.file if known else Authority(tmp_path, "other").file))
    with Played(ALIVE, certificate=certificate) as played:
        found = examined(f"https://{host}:{played.port}", shown)
    named = [what for part, what in wrong(found) if part == "certificate" and "of https" in what]
    assert (words in named[0]) if words else not named, found


def test_https_where_http_was_written(authority: Authority, tmp_path: Path) -> None:
    certificate = tmp_path / "api.pem"
    certificate.write_bytes(authority.certificate(days=30))
    with Played(ALIVE, certificate=certificate) as played:
        found = examined(f"http://127.0.0.1:{played.port}")
    assert [what for part, what in wrong(found)] == [f"http://127.0.0.1:{played.port} speaks https"]


def test_files_that_hold_no_certificate_are_named(authority: Authority, tmp_path: Path) -> None:
    (tmp_path / "empty.pem").write_text("")
    (tmp_path / "api.pem").write_bytes(authority.certificate(days=30))
    with Played(ALIVE, certificate=tmp_path / "api.pem") as played:
        for login, words in (
            (Login(ca_file=str(tmp_path / "empty.pem")), "holds no certificates"),
            (Login(ca_file=str(authority.file), cert_file=str(tmp_path / "empty.pem")), "cannot be shown"),
        ):
            found = wrong(examined(f"https://127.0.0.1:{played.port}", login))
            assert [part for part, what in found if words in what] == ["certificate"], found


def test_the_command_ends_with_1_where_something_is_wrong(capsys: pytest.CaptureFixture[str]) -> None:
    with Played(ALIVE) as played:
        assert run(["doctor", "--url", f"http://127.0.0.1:{played.port}"]) == 0
        assert "http://127.0.0.1:1" not in capsys.readouterr().out
        assert run(["doctor", "-o", "json", "--url", f"http://127.0.0.1:{played.port},http://127.0.0.1:1"]) == 1
    shown = json.loads(capsys.readouterr().out)
    assert {"part", "state", "what", "fix"} == set(shown[0])
    assert "wrong" in {one["state"] for one in shown}


@pytest.mark.parametrize("command", [["brake", "show"], ["agents"], ["app", "needs"], ["job", "list"], ["top"]])
def test_what_a_marathon_has_not_is_said_in_words(command: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with Played(ALIVE) as played:
        assert run([*command, "--url", f"http://127.0.0.1:{played.port}"]) == 1
    said = capsys.readouterr().err
    assert "Marathon" in said and ("eratos' own" in said or "eratos task list" in said)


def test_where_nobody_answers_doctor_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["app", "list", "--url", "http://127.0.0.1:1"]) == 1
    assert capsys.readouterr().err.endswith("Connection refused; eratos doctor looks where it fails\n")


def test_in_a_terminal_the_fix_stands_below() -> None:
    out = Output()
    found = [Finding("leader", "well", "s1 leads"), Finding("mesos", "wrong", "no master is connected", "start one of them")]
    assert [line.split()[0] for line in views.findings(found, out).lines(None)] == ["STATE", "well", "wrong"]
    out.width = 40
    lines = [line.split() for line in views.findings(found, out).lines(40)]
    assert lines[-2:] == [["wrong", "mesos", "no", "master", "is", "connected"], ["fix", "start", "one", "of", "them"]]


def test_a_host_whose_tasks_have_ended_meanwhile_is_no_fault() -> None:
    target = {"labels": {"job": "eratos-executor", "__metrics_path__": "/v2/metrics/executors/h1"}}
    with Played(ALIVE) as played:
        client = MarathonClient(f"http://127.0.0.1:{played.port}")
        assert list(doctor._executors(client, [target])) == []
