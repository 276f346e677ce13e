"""Whom the API lets in, before anything is routed: a stranger's page, a guesser, who is too busy, and who is who."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import gzip
import http.client
import itertools
import logging
import re
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.types import Message, Receive, Scope, Send
from support import passwords
from support.api import ApiClient, an_api
from support.builders import an_app
from support.controller import FakeController
from support.waiting import until

from eratos.common.browser_guard import BrowserGuard
from eratos.scheduler.access import credentials
from eratos.scheduler.access.authenticator import (
    REMEMBERED_S,
    Authenticator,
    CredentialsFile,
    TooManyGuesses,
    WrongCredentials,
)
from eratos.scheduler.access.roles import Grant
from eratos.scheduler.api.context import BODY_BYTES_MAX
from eratos.scheduler.api.gate import AGAIN_S, FOR, TOKEN, Access, Gate
from eratos.scheduler.api.server import ApiServer, create_api
from eratos.scheduler.core.events import PutApps

APP = b'{"id": "/a", "cmd": "sleep 1000", "cpus": 0.1, "mem": 32}'
JSON = {"Content-Type": "application/json"}
BEARER = credentials.new_token()
EVERYTHING = (Grant.parse("operate"),)


def basic(user: str, password: str) -> dict[str, str]:
    return {"Authorization": "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()}


def bearer(token: str = BEARER) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def write(path: Path, text: str, mode: int = 0o600) -> None:
    fresh = path.with_suffix(".new")
    fresh.write_text(text)
    fresh.chmod(mode)
    fresh.replace(path)


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    passwords.let_strangers_be_cheap(monkeypatch)
    path = tmp_path / "credentials"
    lines = credentials.line("ci", "token", credentials.token_entry(BEARER), EVERYTHING)
    lines += credentials.line("alice", "password", passwords.entry("correct horse"), EVERYTHING)
    write(path, lines)
    return path


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def locked(file: Path, clock: Clock | None = None, **more: Any) -> ApiClient:
    clock = clock or Clock()
    guard = BrowserGuard.of([".test"], more.pop("origins", ()))
    access = Access(guard, Authenticator(CredentialsFile(file, clock), clock=clock, **more))
    return ApiClient(an_api(FakeController(), access=access))


# A stranger's page


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 201),
        ({"Host": "127.0.0.1:8080"}, 201),
        ({"Host": "localhost"}, 201),
        ({"Host": "evil.example"}, 403),  # DNS that was rebound
        ({"Host": "api.test.evil.example"}, 403),
        ({"Host": ""}, 403),
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": "http://api.test"}, 201),
        ({"Origin": "http://api.test:81"}, 403),
        ({"Origin": "http://pages.test"}, 201),  # allowed by a setting
        ({"Content-Type": "text/plain"}, 415),
        ({"Content-Type": "application/x-www-form-urlencoded"}, 415),
        ({"Content-Type": "text/plain; application/json"}, 415),
        ({"Content-Type": "application/json; charset=utf-8"}, 201),
        ({"Content-Encoding": "gzip"}, 415),
        ({"Content-Encoding": "identity"}, 201),
        ({"Origin": "http://["}, 403),
    ],
)
def test_a_change_is_made_for_no_strangers_page(headers: dict[str, str], status: int) -> None:
    controller = FakeController()
    api = ApiClient(an_api(controller, access=Access(BrowserGuard.of(["api.test"], ["http://pages.test"]))))
    answer = api.post("/v2/apps", content=APP, headers=headers)
    assert answer.status_code == status, answer.text
    assert len(controller.commands) == (status == 201)


@pytest.mark.parametrize("path", ["/v2/apps", "/ping", "/metrics", "/openapi.json", "/nosuch"])
def test_a_name_that_was_rebound_reads_nothing(path: str) -> None:
    api = ApiClient(an_api(FakeController(), access=Access()))
    answer = api.get(path, headers={"Host": "evil.example"})
    assert answer.status_code == 403
    assert "--http-hosts" in answer.json()["message"]


def test_pages_of_an_allowed_origin_may_ask_first_and_read(file: Path) -> None:
    api = locked(file, origins=["http://pages.test"])
    asked = api.options(
        "/v2/apps", headers={"Origin": "http://pages.test", "Access-Control-Request-Method": "POST", "Authorization": ""}
    )
    assert asked.status_code == 204
    assert asked.headers["access-control-allow-origin"] == "http://pages.test"
    assert "authorization" in asked.headers["access-control-allow-headers"].lower()
    answer = api.get("/v2/apps", headers={"Origin": "http://pages.test", **bearer()})
    assert (answer.status_code, answer.headers["access-control-allow-origin"]) == (200, "http://pages.test")
    assert "Origin" in answer.headers["vary"]
    assert "access-control-allow-origin" not in api.get("/v2/apps", headers=bearer()).headers


# Who asks


def test_who_does_not_say_who_they_are_is_told_how(file: Path) -> None:
    answer = locked(file).get("/v2/apps")
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"].startswith("Basic ")


def test_liveness_is_told_to_everybody(file: Path) -> None:
    assert locked(file).get("/ping").text == "pong"


@pytest.mark.parametrize("path", ["/ping/../v2/apps", "//v2/apps", "/%2e/v2/apps", "/v2/apps/", "/V2/apps"])
def test_no_spelling_of_an_address_gets_past(file: Path, path: str) -> None:
    assert locked(file).get(path).status_code == 401


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        (bearer(), 200),
        (basic("alice", "correct horse"), 200),
        (basic("marathon", "single"), 200),
        (basic("alice", "wrong"), 401),
        (basic("marathon", "wrong"), 401),
        (basic("ci", BEARER), 401),
        (bearer("eratos_wrong"), 401),
        (bearer(""), 401),
        ({"Authorization": "Basic !"}, 401),
        ({"Authorization": "Negotiate abc"}, 401),
        ({"Authorization": ""}, 401),
    ],
)
def test_tokens_and_passwords(file: Path, headers: dict[str, str], status: int) -> None:
    api = locked(file, single="marathon:single")
    assert api.get("/v2/apps", headers=headers).status_code == status


def test_a_file_is_read_anew_and_a_broken_one_changes_nothing(file: Path, caplog: pytest.LogCaptureFixture) -> None:
    clock, later = Clock(), credentials.new_token()
    api = locked(file, clock)
    broken = file.read_text().rpartition("\n")[0][:-20]
    for text in (broken, file.read_text().replace("operate:/", "rule:/")):
        write(file, text)
        clock.now += 5
        assert api.get("/v2/apps", headers=bearer()).status_code == 200
        assert "not taken" in caplog.text
        caplog.clear()
    write(file, credentials.line("ci", "token", credentials.token_entry(later), EVERYTHING))
    clock.now += 5
    assert api.get("/v2/apps", headers=bearer(later)).status_code == 200
    assert api.get("/v2/apps", headers=bearer()).status_code == 401
    assert api.get("/v2/apps", headers=basic("alice", "correct horse")).status_code == 401


def streamed(gate: Gate, headers: dict[str, str], messages: list[Message], between: Callable[[int], None]) -> list[bytes]:
    """Return the bodies that a reader gets of a stream; ``between`` is called before each of its pieces."""
    got: list[bytes] = []

    async def receive() -> Message:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Message) -> None:
        if message["type"] == "http.response.body":
            got.append(message["body"] + (b"" if message.get("more_body") else b"."))

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        for number, message in enumerate(messages):
            between(number)
            await send(message)

    gate._app = app
    raw = [(name.lower().encode(), value.encode()) for name, value in {"Host": "api.test", **headers}.items()]
    scope = {
        "type": "http",
        "method": "GET",
        "path": "/v2/events",
        "raw_path": b"/v2/events",
        "headers": raw,
        "client": ("10.0.0.9", 1),
    }
    asyncio.run(gate(scope, receive, send))
    return got


PIECES: list[Message] = [
    {"type": "http.response.start", "status": 200, "headers": []},
    *({"type": "http.response.body", "body": body, "more_body": True} for body in (b"one", b"two", b"three")),
    {"type": "http.response.body", "body": b"", "more_body": False},
]


@pytest.mark.parametrize("headers", [bearer(), basic("alice", "correct horse")])
@pytest.mark.parametrize(
    ("left", "got"),
    [
        ("all", [b"one", b"two", b"three", b"."]),
        ("nobody", [b"one", b"."]),
        ("fewer roles", [b"one", b"."]),
    ],
)
def test_a_stream_ends_soon_after_its_readers_credentials_do(
    file: Path, headers: dict[str, str], left: str, got: list[bytes]
) -> None:
    clock, lines = Clock(), file.read_text()
    access = Access(BrowserGuard.of([".test"]), Authenticator(CredentialsFile(file, clock), clock=clock))
    gate = Gate(lambda *_: None, access, clock)  # type: ignore[arg-type, return-value]

    def between(number: int) -> None:
        if number == 2:
            if left != "all":
                write(file, "# nobody\n" if left == "nobody" else re.sub(r"operate\S*", "view:/shop", lines))
            clock.now += AGAIN_S

    assert streamed(gate, headers, PIECES, between) == got


def test_a_guess_of_somebody_else_ends_nobodys_stream(file: Path) -> None:
    clock = Clock()
    authenticator = Authenticator(CredentialsFile(file, clock), clock=clock)
    gate = Gate(lambda *_: None, Access(BrowserGuard.of([".test"]), authenticator), clock)  # type: ignore[arg-type, return-value]

    def between(number: int) -> None:
        if number == 2:
            clock.now += REMEMBERED_S + 1
            with pytest.raises(TooManyGuesses):
                for _ in range(1000):
                    with contextlib.suppress(WrongCredentials):
                        authenticator.identify("Bearer wrong", "10.0.0.9")

    assert streamed(gate, basic("alice", "correct horse"), PIECES, between) == [b"one", b"two", b"three", b"."]


def test_who_guesses_has_to_wait_and_others_have_not(file: Path) -> None:
    api = locked(file)
    assert api.get("/v2/apps", headers=basic("alice", "correct horse")).status_code == 200
    found = [api.get("/v2/apps", headers=basic("alice", f"guess {number}")) for number in range(30)]
    assert found[-1].status_code == 429
    assert int(found[-1].headers["retry-after"]) >= 1
    assert sum(answer.status_code == 401 for answer in found) <= 20
    # What is right and known costs nothing, from the same address, too.
    assert api.get("/v2/apps", headers=basic("alice", "correct horse")).status_code == 200
    assert api.get("/v2/apps", headers=bearer()).status_code == 200


# How much


def test_an_address_that_asks_without_end_has_to_wait() -> None:
    api = ApiClient(an_api(FakeController(), access=Access(BrowserGuard.of(["api.test"]), requests_per_s=0.001)))
    statuses = [api.get("/ping").status_code for _ in range(3)]
    assert statuses == [429] * 3
    api = ApiClient(an_api(FakeController(), access=Access(BrowserGuard.of(["api.test"]), requests_per_s=0.5)))
    assert [api.get("/ping").status_code for _ in range(7)] == [200] * 5 + [429] * 2


def test_a_body_that_says_it_is_too_long_is_not_read(file: Path) -> None:
    server = ApiServer(create_api(FakeController()), "127.0.0.1", 0)
    server.start()
    try:
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
        connection.request("POST", "/v2/apps", headers={"Content-Length": str(BODY_BYTES_MAX + 1), **JSON})
        assert connection.getresponse().status == 413
        connection.close()
    finally:
        server.stop()


def test_a_body_that_is_compressed_is_refused_as_such() -> None:
    api = ApiClient(an_api(FakeController(), access=Access(BrowserGuard.of(["api.test"]))))
    answer = api.post("/v2/apps", content=gzip.compress(APP), headers={"Content-Encoding": "GZip"})
    assert (answer.status_code, answer.headers["accept-encoding"]) == (415, "identity")
    assert "Content-Encoding" in answer.json()["message"]
    assert api.get("/ping", headers={"Content-Encoding": "gzip"}).status_code == 200, "there is no body"


# The line for each change


@pytest.fixture
def lines(caplog: pytest.LogCaptureFixture) -> Iterator[Any]:
    caplog.set_level(logging.INFO, "eratos.scheduler.audit")
    yield lambda: [record.getMessage() for record in caplog.records if record.name == "eratos.scheduler.audit"]


def test_each_change_is_a_line_and_readings_are_none(file: Path, lines: Any) -> None:
    api = locked(file)
    answer = api.post("/v2/apps", content=APP, headers=bearer())
    api.get("/v2/apps", headers=bearer())
    api.delete("/v2/apps/nosuch", headers=bearer())
    api.post("/v2/apps", content=APP)
    api.post("/v2/apps", content=APP, headers={"Host": "evil.example"})
    created, missing, unknown, page = lines()
    deployment = answer.headers["marathon-deployment-id"]
    assert created == (f"who=ci address=testclient method=POST path=/v2/apps apps=/a status=201 deployment={deployment}")
    assert "who=ci" in missing and "apps=/nosuch" in missing and "status=404" in missing
    assert "who=?" in unknown and "status=401" in unknown
    assert "who=?" in page and "status=403" in page


def test_what_somebody_may_not_do_is_a_line(tmp_path: Path, lines: Any) -> None:
    path = tmp_path / "credentials"
    write(path, credentials.line("bob", "token", credentials.token_entry(BEARER), (Grant.parse("deploy:/shop"),)))
    assert locked(path).delete("/v2/apps/bank/vault", headers=bearer()).status_code == 403
    assert lines() == ["who=bob address=testclient method=DELETE path=/v2/apps/bank/vault apps=/bank/vault status=403"]


def test_no_address_makes_a_line_of_its_own(lines: Any) -> None:
    server = ApiServer(create_api(FakeController()), "127.0.0.1", 0)
    server.start()
    try:
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
        connection.request("DELETE", "/v2/apps/x%0Awho=admin%20status=200", headers={"Connection": "close"})
        connection.getresponse().read()
        connection.close()
    finally:
        server.stop()
    assert len(lines()) == 1
    assert "\n" not in lines()[0] and "%0A" in lines()[0]


def test_many_apps_are_counted(lines: Any) -> None:
    api = ApiClient(an_api(FakeController(), access=Access(BrowserGuard.of(["api.test"]))))
    apps = [{"id": f"/a{number:03}", "cmd": "true", "instances": 0} for number in range(50)]
    assert api.put("/v2/apps", json=apps).status_code == 200
    assert 'apps="/a000,' in lines()[0] and 'and 30 more"' in lines()[0]


# Between schedulers


@pytest.mark.parametrize(
    ("token", "address", "shown"),
    [
        ("secret", "10.9.8.7", "10.9.8.7"),
        ("wrong", "10.9.8.7", "127.0.0.1"),
        ("", "10.9.8.7", "127.0.0.1"),
        ("secret", "x y", "127.0.0.1"),
    ],
)
def test_where_a_request_came_from_is_taken_from_schedulers_alone(lines: Any, token: str, address: str, shown: str) -> None:
    server = ApiServer(create_api(FakeController(), access=Access(token="secret")), "127.0.0.1", 0)
    server.start()
    try:
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
        connection.request("POST", "/v2/apps", APP, {**JSON, FOR: address, TOKEN: token})
        assert connection.getresponse().status == 201
        connection.close()
    finally:
        server.stop()
    assert f"address={shown} " in lines()[0]


def test_a_follower_asks_too_and_the_leader_writes_the_line(file: Path, lines: Any) -> None:
    access = Access(authenticator=Authenticator(CredentialsFile(file)), token="secret")
    controller = FakeController()
    controller.submit(PutApps((an_app("/there", 1),)))
    leader = ApiServer(create_api(controller, access=access), "127.0.0.1", 0)
    leader.start()
    behind = FakeController(is_leader=False, leader=f"http://127.0.0.1:{leader.port}")
    follower = ApiServer(create_api(behind, access=access), "127.0.0.1", 0)
    follower.start()

    def ask(method: str, path: str, body: bytes | None, headers: dict[str, str]) -> int:
        connection = http.client.HTTPConnection("127.0.0.1", follower.port, timeout=60)
        connection.request(method, path, body, headers)
        status = connection.getresponse().status
        connection.close()
        return status

    try:
        assert ask("GET", "/v2/apps/there", None, bearer()) == 200
        assert ask("GET", "/v2/apps/there", None, {}) == 401
        # A page that this scheduler served; the leader goes by another name.
        page = {"Origin": f"http://127.0.0.1:{follower.port}"}
        assert ask("GET", "/v2/apps/there", None, {**bearer(), **page}) == 200
        assert ask("POST", "/v2/apps", APP, {**JSON, **bearer(), FOR: "10.9.8.7", TOKEN: "guessed"}) == 201
    finally:
        follower.stop()
        leader.stop()
    assert len(lines()) == 1
    assert "who=ci" in lines()[0] and "address=127.0.0.1 " in lines()[0]


def test_a_token_is_exchanged_under_load_without_a_request_failing(file: Path) -> None:
    ticks = itertools.count(1000.0, 2.0)
    access = Access(authenticator=Authenticator(CredentialsFile(file, lambda: next(ticks))))
    server = ApiServer(create_api(FakeController(), access=access), "127.0.0.1", 0)
    server.start()
    shown, statuses, enough, end = [BEARER], [], threading.Event(), threading.Event()
    used = [""] * 3

    def visit(number: int) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
        while not end.is_set():
            used[number] = token = shown[0]
            connection.request("GET", "/v2/apps", headers=bearer(token))
            answer = connection.getresponse()
            answer.read()
            statuses.append(answer.status)
            if len(statuses) > 300:
                enough.set()
        connection.close()

    visitors = [threading.Thread(target=visit, args=(number,)) for number in range(len(used))]
    for visitor in visitors:
        visitor.start()
    try:
        for _ in range(5):
            new = credentials.new_token()
            lines = [credentials.line("ci", "token", credentials.token_entry(token), EVERYTHING) for token in (shown[0], new)]
            write(file, "".join(lines))
            shown[0] = new
            # The old one goes once nobody uses it any more.
            until(lambda new=new: set(used) == {new}, 30, "the new token is used")
            write(file, lines[1])
        assert enough.wait(60)
    finally:
        end.set()
        for visitor in visitors:
            visitor.join()
        server.stop()
    assert set(statuses) == {200}


@pytest.mark.parametrize("leads", [True, False])
def test_who_goes_in_the_midst_of_a_body_is_no_fault(lines: Any, caplog: pytest.LogCaptureFixture, leads: bool) -> None:
    controller = FakeController(is_leader=leads)
    came: list[Message] = [{"type": "http.request", "body": b"{", "more_body": True}, {"type": "http.disconnect"}]
    sent: list[Message] = []

    async def receive() -> Message:
        return came.pop(0)

    async def send(message: Message) -> None:
        sent.append(message)

    headers = [(b"host", b"localhost"), (b"content-type", b"application/json"), (b"transfer-encoding", b"chunked")]
    asked = {"method": "POST", "path": "/v2/apps", "raw_path": b"/v2/apps", "query_string": b"", "root_path": ""}
    where = {"scheme": "http", "client": ("10.0.0.1", 5), "server": ("localhost", 80)}
    scope = {"type": "http", "http_version": "1.1", "headers": headers, **asked, **where}
    asyncio.run(create_api(controller)(scope, receive, send))
    assert sent[0]["status"] == 400
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert len(lines()) == leads and all("status=400" in line for line in lines())
