"""The companion's HTTP interface."""

from __future__ import annotations

import http.client
import json
import logging
import socket
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Set
from typing import Any

import pytest
from support.waiting import until

from eratos.common import exposition, keys
from eratos.haproxy import api
from eratos.haproxy.core.haproxy_text import Rendered, Settings, render
from eratos.haproxy.core.request_log import Served
from eratos.haproxy.core.services import Backend, Model
from eratos.haproxy.core.usage import Figures, ServerRow, Usage
from eratos.haproxy.haproxy_process import Running
from eratos.haproxy.request_lookup import BusyError, Found
from eratos.haproxy.sockets import HaproxyUnavailableError

SERVER = "eratos-a.instance-1._app.1"
PLACES = {"zones": {SERVER: "a"}, "datacenters": {SERVER: "dc2"}}
LIVE = render(Model({"app": Backend(servers={SERVER: "10.0.0.1:80"}, failover="dc2", **PLACES)}), Settings("/s/routes.map"))


class FakeApplier:
    def __init__(self) -> None:
        self.failure: Exception | None = None
        self.confirmed: list[str] = []
        self.callers: set[str] = set()
        self.changing = False
        self.looked: Callable[[], None] = lambda: None

    def live(self) -> Rendered:
        if self.failure:
            raise self.failure
        self.looked()
        return LIVE

    def confirm(self, servers: Iterable[str], caller: str) -> None:
        self.confirmed += servers
        self.callers.add(caller)

    def leaving(self) -> frozenset[str]:
        return frozenset(self.confirmed)

    def status(self) -> dict[str, Any]:
        return {"reloads": 3}

    def requests(self) -> dict[str, str]:
        return {"request_id": "keep", "log_requests": "failed"}

    def families(self) -> list[exposition.Family]:
        return [exposition.counter("eratos_balancer_reloads_total", "Reloads of HAProxy.", 3)]


class FakeHaproxy:
    def __init__(self) -> None:
        self.shape = LIVE.shape
        self.available = True

    def running(self) -> Running:
        if not self.available:
            raise HaproxyUnavailableError("restarting")
        return Running(self.shape, (ServerRow("app", SERVER, "10.0.0.1:80", "UP", 2),))

    def figures(self) -> dict[tuple[str, str], Figures]:
        counted = Figures(weight=1, rate=7, failed=3, answer_ms=12, answered=90, broken=1, came=95, queued=2)
        of_all = Figures(0, 0, 3, 0, 90, queued=4, cut=2, unanswered=10)
        return {("app", SERVER): counted, ("app", "BACKEND"): of_all, ("old", "BACKEND"): counted}

    def usage(self, server: str, leaving: Set[str]) -> Usage:
        self.running()
        return Usage(server == SERVER, 2 if server == SERVER else 0, last=server in leaving)

    def old_processes(self) -> int:
        return 1


class FakeCertificates:
    def status(self) -> dict[str, Any]:
        return {"good": ["a.pem"], "refused": []}


class FakeLookup:
    def __init__(self) -> None:
        self.asked: list[str] = []
        self.failure: Exception | None = None

    def find(self, request_id: str) -> Found:
        self.asked.append(request_id)
        if self.failure:
            raise self.failure
        served = Served(1.5, "app", SERVER, "10.0.0.1:80", 200, 0, 1, 2, 3, 0, "----")
        return Found([served] if request_id == "request-1" else [], 1.0 if request_id == "request-1" else None)


class Rig:
    def __init__(self, access: api.Access = api.Access()) -> None:  # noqa: B008
        self.applier, self.haproxy = FakeApplier(), FakeHaproxy()
        self.lookup = FakeLookup()
        companion = api.Companion(self.applier, self.haproxy, FakeCertificates(), self.lookup)  # type: ignore[arg-type]
        self.server = api.server(companion, 0, access)
        self._thread = threading.Thread(target=self.server.serve_forever, args=(0.01,))
        self._thread.start()

    def call(self, method: str, path: str, body: bytes | None = None, **headers: str) -> tuple[int, dict[str, Any]]:
        connection = http.client.HTTPConnection("127.0.0.1", self.server.server_port, timeout=60)
        try:
            connection.request(method, path, body, {"Content-Type": "application/json", **headers})
            response = connection.getresponse()
            return response.status, json.loads(response.read())
        finally:
            connection.close()

    def close(self) -> None:
        self.server.shutdown()
        self._thread.join()
        self.server.server_close()


@pytest.fixture
def rig() -> Iterator[Rig]:
    rig = Rig()
    yield rig
    rig.close()


def test_health_is_ok_while_haproxy_serves_what_was_applied_last(rig: Rig) -> None:
    assert rig.call("GET", "/health") == (200, {"status": "ok", "shape": LIVE.shape, "servers": 1})
    rig.haproxy.shape = ""  # the first answer of a fresh container
    assert rig.call("GET", "/health")[0] == 200
    rig.haproxy.shape = "eratos-another"
    status, answer = rig.call("GET", "/health")
    assert (status, answer["status"]) == (500, "failing")
    assert "eratos-another" in answer["reason"]
    rig.haproxy.available = False
    assert rig.call("GET", "/health") == (500, {"status": "failing", "reason": "restarting"})


def test_a_balancer_in_the_midst_of_a_change_is_well(rig: Rig) -> None:
    rig.haproxy.shape = "eratos-another"
    rig.applier.changing = True
    assert rig.call("GET", "/health")[0] == 200
    rig.applier.changing = False
    assert rig.call("GET", "/health")[0] == 500
    # The change began after the file was read, and is over already.
    looks = [lambda: None, lambda: setattr(rig.haproxy, "shape", LIVE.shape)]
    rig.applier.looked = lambda: looks.pop(0)()
    assert rig.call("GET", "/health")[0] == 200


def test_a_server_is_answered_for_also_when_nobody_knows_it(rig: Rig) -> None:
    known = {"server": SERVER, "used": True, "requests": 2, "configured": True, "last": False}
    assert rig.call("GET", f"/servers/{SERVER}") == (200, known)
    unknown = {"server": "x y", "used": False, "requests": 0, "configured": False, "last": False}
    assert rig.call("GET", "/servers/x%20y") == (200, unknown)


def test_no_answer_from_haproxy_is_not_taken_for_unused(rig: Rig) -> None:
    rig.haproxy.available = False
    assert rig.call("GET", f"/servers/{SERVER}") == (503, {"reason": "restarting"})


@pytest.mark.parametrize("failure", [OSError("disk full"), ZeroDivisionError()])
def test_trouble_is_an_answer(rig: Rig, failure: Exception) -> None:
    rig.applier.failure = failure
    status, answer = rig.call("GET", f"/servers/{SERVER}")
    assert status == 500
    assert answer["reason"]


def test_who_is_the_last_is_answered_by_what_is_announced(rig: Rig) -> None:
    rig.call("POST", "/confirm", CONFIRM)
    assert rig.call("GET", f"/servers/{SERVER}")[1]["last"] is True


def test_removals_are_confirmed_by_id(rig: Rig) -> None:
    assert rig.call("POST", "/confirm", b'{"services": ["a", "b"]}') == (200, {"confirmed": 2})
    assert rig.applier.confirmed == ["a", "b"]
    assert rig.applier.callers == {"127.0.0.1"}


@pytest.mark.parametrize(("ids", "status"), [(["x" * 512], 200), (["x" * 513], 400), (["x"] * 1000, 200), (["x"] * 1001, 413)])
def test_a_confirmation_is_bounded(rig: Rig, ids: list[str], status: int) -> None:
    found, answer = rig.call("POST", "/confirm", json.dumps({"services": ids}).encode())
    assert found == status
    if status != 200:
        assert answer["reason"].startswith("services: ")
        assert len(answer["reason"]) < 200
        assert rig.applier.confirmed == []


def test_one_caller_has_so_many_connections_and_the_next_is_told(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api, "_CONNECTIONS_OF_ONE_MAX", 3)
    threads = threading.active_count()
    silent = [socket.create_connection(("127.0.0.1", rig.server.server_port), timeout=60) for _ in range(3)]
    assert rig.call("GET", "/health") == (503, {"reason": "too many connections"})
    assert threading.active_count() == threads + 3
    silent.pop().close()
    until(lambda: rig.call("GET", "/health")[0] == 200, 5, "there is room again")
    for connection in silent:
        connection.close()


def test_all_callers_together_have_so_many_connections(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api, "_CONNECTIONS_MAX", 1)
    with socket.create_connection(("127.0.0.1", rig.server.server_port), timeout=60, source_address=("127.0.0.2", 0)):
        assert rig.call("GET", "/health")[0] == 503
    until(lambda: rig.call("GET", "/health")[0] == 200, 5, "there is room again")


def test_a_request_that_trickles_in_is_cut(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api, "_CONNECTION_MAX_S", 0)
    with socket.create_connection(("127.0.0.1", rig.server.server_port), timeout=60) as client:
        client.sendall(b"GET /health HTTP/1.1\r\nX: ")
        assert client.recv(1) == b""


@pytest.mark.parametrize(("error", "logged"), [(BrokenPipeError(32, "Broken pipe"), []), (ValueError("a fault"), ["ERROR"])])
def test_a_caller_who_gives_up_is_no_fault(
    rig: Rig, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str], error: Exception, logged: list[str]
) -> None:
    try:
        raise error
    except Exception:
        rig.server.handle_error(None, ("10.0.0.1", 40000))
    assert [record.levelname for record in caplog.records if record.levelno > logging.INFO] == logged
    assert capfd.readouterr().err == ""


def test_a_connection_that_is_old_is_closed_after_an_answer(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", rig.server.server_port, timeout=60)
    connection.request("GET", "/health")
    response = connection.getresponse()
    assert response.read()
    assert response.getheader("connection") is None
    monkeypatch.setattr(api.time, "monotonic", lambda now=api.time.monotonic: now() + 0.6 * api._CONNECTION_MAX_S)
    connection.request("GET", "/health")
    response = connection.getresponse()
    assert response.read()
    assert response.getheader("connection") == "close"


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b'{"services": "a"}', b'{"services": [1]}', b'{"services": [""]}', b"\xff"])
def test_a_confirmation_that_makes_no_sense_is_refused(rig: Rig, body: bytes) -> None:
    status, answer = rig.call("POST", "/confirm", body)
    assert status == 400
    assert "services" in answer["reason"]
    assert rig.applier.confirmed == []


def test_an_endless_body_is_refused(rig: Rig) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", rig.server.server_port, timeout=60)
    connection.putrequest("POST", "/confirm")
    connection.putheader("Content-Length", str(10**9))
    connection.endheaders()
    assert connection.getresponse().status == 413
    connection.close()


def test_the_status_tells_counters_backends_and_servers(rig: Rig) -> None:
    status, answer = rig.call("GET", "/status?pretty")
    assert status == 200
    assert answer["reloads"] == 3
    assert answer["old_processes"] == 1
    assert answer["certificates"] == {"good": ["a.pem"], "refused": []}
    assert answer["backends"] == {"app": [SERVER], "eratos:none": []}
    assert answer["servers"][f"app/{SERVER}"] == {
        **{"address": "10.0.0.1:80", "status": "UP", "requests": 2, "zone": "a", "datacenter": "dc2"},
        **{"weight": 1, "rate": 7, "failed": 3, "answer_ms": 12, "answered": 90, "broken": 1, "came": 95, "queued": 2},
    }
    assert answer["queued"] == {"app": 4}
    assert answer["answers"] == {"app": {"answered": 80, "failed": 3, "cut": 2}}


def test_a_request_is_found_by_its_id(rig: Rig) -> None:
    status, answer = rig.call("GET", "/requests/request-1")
    assert (status, answer["oldest"], answer["log_requests"], answer["request_id"]) == (
        200,
        "1970-01-01T00:00:01.000Z",
        "failed",
        "keep",
    )
    (found,) = answer["requests"]
    assert (found["at"], found["server"], found["status"], found["total_ms"]) == ("1970-01-01T00:00:01.500Z", SERVER, 200, 3)
    status, answer = rig.call("GET", "/requests/request-2")
    assert (status, answer["requests"], answer["oldest"]) == (200, [], None)


@pytest.mark.parametrize("path", ["", "short", "x" * 65, "%3Cscript%3Ealert", "request%0A1", "request%2F1", "x" * 10_000])
def test_nothing_is_looked_for_that_is_no_id(rig: Rig, path: str) -> None:
    status, answer = rig.call("GET", f"/requests/{path}")
    assert status == 400
    assert "8 to 64 letters" in answer["reason"] and len(answer["reason"]) < 200
    assert rig.lookup.asked == []


@pytest.mark.parametrize(("failure", "status"), [(BusyError("ask again"), 503), (PermissionError("no"), 500)])
def test_a_lookup_that_fails_says_so(rig: Rig, failure: Exception, status: int) -> None:
    rig.lookup.failure = failure
    found, answer = rig.call("GET", "/requests/request-1")
    assert (found, answer["reason"]) == (status, str(failure))


def test_anything_else_is_not_found(rig: Rig) -> None:
    assert rig.call("GET", "/confirm")[0] == 404
    assert rig.call("GET", "/servers/")[0] == 404
    for method in ("PUT", "DELETE", "OPTIONS", "NOPE"):
        assert rig.call(method, "/status") == (405, {"reason": f"Unsupported method ('{method}')"})


@pytest.mark.parametrize("line", ["GET /status HTTP/3.0", "nonsense of many words", "HEAD /health HTTP/1.1"])
def test_a_request_that_cannot_be_read_is_no_fault_of_the_companion(rig: Rig, line: str) -> None:
    with socket.create_connection(("127.0.0.1", rig.server.server_port), timeout=60) as connection:
        connection.sendall(f"{line}\r\n\r\n".encode())
        head, _, body = connection.makefile("rb").read().partition(b"\r\n\r\n")
    assert head.split()[1][:1] == b"4"
    assert (b"reason" in body) is not line.startswith("HEAD")


@pytest.mark.parametrize(
    ("target", "host", "status"),
    [
        ("http://balancer1:9100/status", "evil.example", b"200"),
        ("http://evil.example/status", "balancer1", b"403"),
        ("http://balancer1@evil.example/status", "balancer1", b"400"),
        ("https://balancer1/status", "balancer1", b"421"),
    ],
)
def test_a_request_may_name_the_whole_address_and_begin_with_an_empty_line(target: str, host: str, status: bytes) -> None:
    rig = Rig(api.Access(("balancer1",)))
    try:
        with socket.create_connection(("127.0.0.1", rig.server.server_port), timeout=60) as connection:
            connection.sendall(f"\r\n\nGET {target} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
            assert connection.makefile("rb").read().split()[1] == status
    finally:
        rig.close()


CONFIRM = json.dumps({"services": [SERVER]}).encode()


def shown(
    companions_key: str = "key", agent: str = "agent-1", claims: str = "agent-1", path: str = "/confirm", apart_s: float = 0
) -> str:
    return keys.proof(keys.companion_key(companions_key, agent), "POST", path, CONFIRM, time.time() + apart_s, claims)


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        (lambda: {"Authorization": shown()}, 200),
        (lambda: {"Authorization": shown(apart_s=-200)}, 200),
        (lambda: {"Authorization": "Bearer key"}, 200),  # whoever holds the key itself, such as an operator
        (lambda: {}, 401),
        (lambda: {"Authorization": "Bearer wrong"}, 401),
        (lambda: {"Authorization": f"Bearer {keys.companion_token('key', 'agent-1')}"}, 401),  # not for the wire
        (lambda: {"Authorization": shown(claims="agent-2")}, 401),
        (lambda: {"Authorization": shown(companions_key="other")}, 401),
        (lambda: {"Authorization": shown(path="/status")}, 401),
        (lambda: {"Authorization": shown(apart_s=-1000)}, 401),
        (lambda: {"Authorization": shown(), "Host": "evil.example"}, 403),
        (lambda: {"Authorization": shown(), "Origin": "http://evil.example"}, 403),
        (lambda: {"Authorization": shown(), "Content-Type": "text/plain"}, 415),
    ],
)
def test_with_a_key_only_executors_of_the_framework_announce_removals(headers: Callable[[], dict[str, str]], status: int) -> None:
    rig = Rig(api.Access(("balancer1",), "key"))
    try:
        assert rig.call("POST", "/confirm", CONFIRM, **headers())[0] == status
        assert rig.applier.confirmed == ([SERVER] if status == 200 else [])
    finally:
        rig.close()


def test_what_was_overheard_announces_no_other_removal() -> None:
    rig = Rig(api.Access(("balancer1",), "key"))
    try:
        assert rig.call("POST", "/confirm", CONFIRM.replace(SERVER.encode(), b"another"), Authorization=shown())[0] == 401
        assert rig.applier.confirmed == []
    finally:
        rig.close()


@pytest.mark.parametrize(
    ("path", "status"),
    [("/health", 200), (f"/servers/{SERVER}", 401), ("/requests/request-1", 401), ("/status", 401), ("/nosuch", 401)],
)
def test_with_a_key_strangers_hear_of_health_alone(path: str, status: int) -> None:
    rig = Rig(api.Access(key="key"))
    try:
        assert rig.call("GET", path)[0] == status
    finally:
        rig.close()


@pytest.mark.parametrize(
    ("headers", "status"),
    [({"Host": "balancer1:9100"}, 200), ({"Host": "evil.example"}, 403), ({"Origin": "http://evil.example"}, 403)],
)
def test_without_a_key_pages_of_strangers_are_refused(headers: dict[str, str], status: int) -> None:
    rig = Rig(api.Access(("balancer1",)))
    try:
        assert rig.call("POST", "/confirm", b'{"services": ["a"]}', **headers)[0] == status
        assert rig.call("GET", "/status", **headers)[0] == status
    finally:
        rig.close()


def test_what_it_counts_is_there_for_a_scrape(rig: Rig) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", rig.server.server_port, timeout=60)
    connection.request("GET", "/metrics")
    answer = connection.getresponse()
    text = answer.read().decode()
    connection.close()
    assert (answer.status, answer.headers["Content-Type"]) == (200, exposition.CONTENT_TYPE)
    assert {"eratos_balancer_reloads_total 3", "eratos_balancer_old_processes 1"} < set(text.splitlines())
    assert "process_cpu_seconds_total" in text


@pytest.mark.parametrize("length", ["1_0", "+2", "-1", "x", "9" * 30, "\xb2"])
def test_a_length_that_is_none_ends_the_connection(rig: Rig, length: str) -> None:
    assert said(rig, f"POST /confirm HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n\r\n{{}}").split()[1] == b"413"


def test_a_body_without_a_length_is_refused_and_not_taken_for_the_next_request(rig: Rig) -> None:
    hidden = "GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n"
    head = "POST /confirm HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
    answer = said(rig, f"{head}{hidden}")
    assert answer.split()[1] == b"411"
    assert answer.count(b"HTTP/1.1 ") == 1


def said(rig: Rig, request: str) -> bytes:
    """Send a request as it is, and return all that comes until the connection is closed."""
    with socket.create_connection(("127.0.0.1", rig.server.server_port), timeout=60) as client:
        client.sendall(request.encode("latin-1"))
        return b"".join(iter(lambda: client.recv(65536), b""))
