"""Tunnels through the leader, or a follower and the leader, to an executor's endpoint: real sockets, real processes beside tasks
that are played, and the command line in front.
"""

from __future__ import annotations

import asyncio
import fcntl
import logging
import os
import pty
import re
import select
import signal
import socket
import struct
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from support.api import ApiClient
from support.builders import an_app, an_offer
from support.commands import Seen
from support.controller import FakeController
from support.waiting import until
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from eratos.common import async_http, keys, tunnel
from eratos.common.browser_guard import BrowserGuard
from eratos.common.tunnel import Command, Gone, Kind, Tunnel
from eratos.executor.endpoint import Access as ExecutorAccess
from eratos.executor.endpoint import Endpoint
from eratos.executor.io_thread import IoThread
from eratos.executor.process.sessions import ProcessSessions
from eratos.executor.readiness import ReadinessResults
from eratos.executor.tunnels import Tunnels
from eratos.marathon.client import Login, MarathonClient, Refused, Unreachable
from eratos.marathon.tunnels import end_of, opened
from eratos.scheduler.access import credentials
from eratos.scheduler.access.authenticator import Authenticator, CredentialsFile
from eratos.scheduler.access.roles import Grant
from eratos.scheduler.access.tunnel_limits import TunnelLimits
from eratos.scheduler.api.gate import Access
from eratos.scheduler.api.server import ApiServer, create_api
from eratos.scheduler.core.events import PutApps

KEY = "of-this-agent"
TOKENS = {name: credentials.new_token() for name in ("operator", "deployer", "viewer", "banker")}
ROLES = {"operator": "operate:/shop", "deployer": "deploy:/shop", "viewer": "view:/", "banker": "operate:/bank"}
APP = "/shop/cart"
#: Played tasks, whose executor runs their commands here.
IDLE_S = 0.3


@dataclass
class World:
    """A leader and a follower over one controller, and an executor on this host."""

    controller: FakeController
    folder: Path
    nobody: socket.socket  #: bound, and does not listen: who connects is refused
    executor_port: int = 0
    io: IoThread = field(init=False)
    leader: ApiServer = field(init=False)
    follower: ApiServer = field(init=False)
    target: int = 0  #: where every port of every task is
    refusing: set[str] = field(default_factory=set)  #: tasks at which nobody accepts
    through: str = "leader"

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{(self.leader if self.through == 'leader' else self.follower).port}"

    def client(self, name: str = "operator") -> MarathonClient:
        return MarathonClient(self.url, login=Login(token=TOKENS[name]))

    def running(self, instances: int = 1, **fields: Any) -> list[str]:
        self.controller.submit(PutApps((an_app(APP, instances, **fields),)))
        tasks = self.controller.launch(replace(an_offer(), hostname="127.0.0.1"))
        for task in tasks:
            self.controller.update(task, "RUNNING")
        return tasks

    def options(self, task_id: str) -> dict[str, Any]:
        return {"cwd": self.folder, "env": {"PATH": os.environ["PATH"], "COLOUR": "green"}}

    def reach(self, task_id: str, port: str) -> tuple[str, int]:
        return "127.0.0.1", self.nobody.getsockname()[1] if task_id in self.refusing else self.target

    def exec(self, *arguments: str, act: Any = None, given: bytes = b"", name: str = APP, who: str = "operator") -> Seen:
        return asyncio.run(run(self.client(who), name, Command(arguments), given, act))


async def run(
    client: MarathonClient,
    name: str,
    command: Command,
    given: bytes = b"",
    act: Callable[[Tunnel, Seen], Awaitable[None]] | None = None,
) -> Seen:
    """Run a command to its end."""
    seen = Seen()
    async with asyncio.timeout(60), await opened(client, "/v2/tunnels/exec", {"name": name}) as connection:
        assert connection.response is not None
        seen.task = connection.response.headers[tunnel.TASK]
        end = end_of(connection, seen.told)
        await end.say(Kind.BEGIN, command.to_bytes())
        running, showing = asyncio.create_task(end.run()), asyncio.create_task(show(end, seen))

        async def give() -> None:
            await end.write(given)
            await end.end()

        giving = asyncio.create_task(act(end, seen) if act is not None else give())
        try:
            await running
            await showing
        except Gone:
            pass
        finally:
            await tunnel.stopped(running, showing, giving)
    return seen


async def show(end: Tunnel, seen: Seen) -> None:
    while (piece := await end.read()) is not None:
        (seen.errors if piece[0] is Kind.ERRORS else seen.output).extend(piece[1])


async def written(seen: Seen, text: bytes) -> None:
    while text not in seen.output:
        await asyncio.sleep(0.02)


@contextmanager
def served(folder: Path, limits: TunnelLimits) -> Iterator[World]:
    """Serve an API, by a leader and by a follower, with an executor behind it."""
    path = folder / "credentials"
    entries = [
        credentials.line(name, "token", credentials.token_entry(token), (Grant.parse(ROLES[name]),))
        for name, token in TOKENS.items()
    ]
    path.write_text("".join(entries))
    path.chmod(0o600)
    access = Access(BrowserGuard(), Authenticator(CredentialsFile(path)))
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        world = World(FakeController(), folder, nobody)
        io = world.io = IoThread()
        io.start()
        tunnels = Tunnels([ProcessSessions(world.options)], world.reach)
        endpoint = Endpoint(io, [], ReadinessResults(), "127.0.0.1", 0, lambda: ExecutorAccess(key=KEY), tunnels=tunnels)
        endpoint.start()
        until(lambda: endpoint.port, 10, "the executor listens")
        world.executor_port = endpoint.port or 0
        api = create_api(
            world.controller,
            time.time,
            executor_port=world.executor_port,
            access=access,
            agent_key=lambda agent: KEY,
            tunnel_limits=limits,
        )
        world.leader = ApiServer(api, "127.0.0.1", 0)
        world.leader.start()
        follows = FakeController(is_leader=False, leader=f"http://127.0.0.1:{world.leader.port}")
        world.follower = ApiServer(create_api(follows, access=access), "127.0.0.1", 0)
        world.follower.start()
        yield world
        world.follower.stop()
        world.leader.stop()
        io.stop()


@pytest.fixture(scope="module")
def module_world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with served(tmp_path_factory.mktemp("tunnels"), TunnelLimits(commands=2, connections=2)) as world:
        yield world


@pytest.fixture
def world(module_world: World, request: pytest.FixtureRequest) -> World:
    """The servers, with nothing of the test before."""
    module_world.controller.machine = FakeController().machine
    module_world.refusing.clear()
    module_world.through = getattr(request, "param", "leader")
    return module_world


through_both = pytest.mark.parametrize("world", ["leader", "follower"], indirect=True)


def lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.name == "eratos.scheduler.audit"]


# Commands --------------------------------------------------------------------------------------------------------------------


@through_both
def test_a_command_has_input_output_errors_and_an_exit_code(world: World) -> None:
    (task,) = world.running()
    seen = world.exec("sh", "-c", 'cat; echo "$COLOUR"; echo oh >&2; exit 7', given=b"one\n")
    assert (seen.output, seen.errors, seen.code, seen.failure, seen.task) == (b"one\ngreen\n", b"oh\n", 7, "", task)


@through_both
def test_megabytes_go_through_both_ways(world: World) -> None:
    world.running()
    data = bytes(range(256)) * 8192
    assert world.exec("cat", given=data).output == data


@through_both
def test_a_client_that_reads_nothing_holds_up_the_command(world: World, tmp_path: Path) -> None:
    world.running()
    count = tmp_path / "count"
    script = f"i=0; while :; do head -c 10000 /dev/zero; i=$((i+1)); echo $i >{count}; done"

    async def look() -> None:
        async with await opened(world.client(), "/v2/tunnels/exec", {"name": APP}) as connection:
            end = end_of(connection, lambda kind, payload: None)
            await end.say(Kind.BEGIN, Command(("sh", "-c", script)).to_bytes())
            running = asyncio.create_task(end.run())
            await asyncio.to_thread(until, lambda: _written(count) >= tunnel.WINDOW, 30, "the window is full")
            # Another command through the same servers takes longer than to write as much again.
            assert (await run(world.client(), APP, Command(("sh", "-c", "for i in 1 2 3; do sleep 0.1; done")))).code == 0
            assert _written(count) < 2 * tunnel.WINDOW
            await tunnel.stopped(running)

    asyncio.run(look())


def _written(count: Path) -> int:
    """Return how many bytes the command has written: the file is empty for a moment between two numbers."""
    try:
        return 10_000 * int(count.read_text())
    except (OSError, ValueError):
        return 0


@through_both
def test_a_command_whose_client_left_is_ended(world: World, tmp_path: Path) -> None:
    world.running()
    mark = tmp_path / "pid"

    async def leave() -> None:
        async with await opened(world.client(), "/v2/tunnels/exec", {"name": APP}) as connection:
            end = end_of(connection, lambda kind, payload: None)
            await end.say(Kind.BEGIN, Command(("sh", "-c", f"echo $$ >{mark}; exec sleep 1000")).to_bytes())
            # More input than it takes: its client's goodbye has to pass by that.
            writing = asyncio.create_task(end.write(b"x" * (4 * tunnel.WINDOW)))
            await asyncio.to_thread(until, lambda: mark.exists() and mark.read_text().strip(), 20, "it runs")
            await tunnel.stopped(writing)

    asyncio.run(leave())
    until(lambda: not Path(f"/proc/{mark.read_text().strip()}").exists(), 20, "it is ended")


def test_a_command_that_is_killed_with_its_instance_ends_the_session(world: World) -> None:
    world.running()
    seen = world.exec("sh", "-c", "echo ready; kill -9 $$")
    assert (seen.output, seen.code) == (b"ready\n", 137)


@through_both
def test_an_executor_that_breaks_off_ends_the_session_with_a_reason(world: World) -> None:
    world.running()

    async def act(end: Tunnel, seen: Seen) -> None:
        await written(seen, b"ready")
        open_now = [task for task in asyncio.all_tasks(world.io._loop) if "_serve" in str(task.get_coro())]
        for task in open_now:
            world.io._loop.call_soon_threadsafe(task.cancel)

    seen = world.exec("sh", "-c", "echo ready; sleep 1000", act=act)
    assert (seen.code, "connection to the executor" in seen.failure) == (None, True)


def test_a_command_that_is_not_there_says_so(world: World) -> None:
    world.running()
    assert "/no/such/command" in world.exec("/no/such/command").failure


def test_a_ready_instance_is_chosen_and_one_can_be_named(world: World) -> None:
    check = {"protocol": "HTTP", "path": "/", "portIndex": 0}
    tasks = world.running(3, healthChecks=[check])
    for task in tasks:
        world.controller.update(task, "RUNNING", healthy=task == tasks[1])
    assert world.exec("true").task == tasks[1]
    assert world.exec("true", name=tasks[2]).task == tasks[2]
    assert world.exec("true", name=tasks[0].rpartition("._app.")[0]).task == tasks[0]


@through_both
@pytest.mark.parametrize(("who", "status"), [("deployer", 403), ("viewer", 403), ("banker", 403)])
def test_a_command_wants_the_role_operate_for_the_app(
    world: World, who: str, status: int, caplog: pytest.LogCaptureFixture
) -> None:
    world.running()
    with caplog.at_level(logging.INFO), pytest.raises(Refused, match="has not the role operate") as refused:
        world.exec("true", who=who)
    assert refused.value.status == status
    (line,) = lines(caplog)
    assert f"who={who} " in line
    assert "method=EXEC" in line
    assert "status=403" in line


@pytest.mark.parametrize(
    ("name", "status", "said"),
    [("/shop/none", 404, "does not exist"), ("/shop/idle", 409, "none is wanted"), ("/shop/late", 409, "no instance of")],
)
def test_where_nothing_runs_the_reason_is_told(world: World, name: str, status: int, said: str) -> None:
    world.controller.submit(PutApps((an_app("/shop/idle", 0), an_app("/shop/late", 1))))
    with pytest.raises(Refused, match=said) as refused:
        world.exec("true", name=name)
    assert refused.value.status == status


def test_each_command_leaves_a_line_at_its_begin_and_one_at_its_end(world: World, caplog: pytest.LogCaptureFixture) -> None:
    (task,) = world.running()
    with caplog.at_level(logging.INFO):
        world.exec("sh", "-c", "exit 7")
        until(lambda: len(lines(caplog)) == 2, 10, "both lines are written")
    begin, end = lines(caplog)
    for line in (begin, end):
        assert "who=operator address=127.0.0.1 method=EXEC path=/v2/tunnels/exec apps=/shop/cart" in line
        assert f"task={task} host=127.0.0.1" in line
        assert "sh -c 'exit 7'" in line
    assert "status=101" in begin
    assert "exit=7" in end


@through_both
def test_more_commands_than_allowed_are_refused_and_a_place_becomes_free(world: World) -> None:
    world.running()

    async def act(end: Tunnel, seen: Seen) -> None:
        await written(seen, b"ready")
        held.set()
        await asyncio.to_thread(go_on.wait, 30)
        await end.end()

    held, go_on = threading.Event(), threading.Event()
    sessions = [threading.Thread(target=lambda: world.exec("sh", "-c", "echo ready; cat", act=act)) for _ in range(2)]
    for session in sessions:
        held.clear()
        session.start()
        assert held.wait(30)
    with pytest.raises(Unreachable, match="2 commands are open already"):
        world.exec("true")
    go_on.set()
    for session in sessions:
        session.join(30)

    def taken() -> bool:
        try:
            return world.exec("true").code == 0
        except Unreachable:
            return False

    until(taken, 20, "there is a place again")


@through_both
def test_pages_of_strangers_open_no_tunnel(world: World) -> None:
    world.running()
    address = world.url.replace("http", "ws") + f"/v2/tunnels/exec?name={APP}"
    headers = {"Authorization": f"Bearer {TOKENS['operator']}"}

    async def ask(**more: Any) -> int:
        try:
            async with connect(address, additional_headers=headers, proxy=None, **more):
                return 101
        except InvalidStatus as refused:
            return refused.response.status_code

    assert asyncio.run(ask(origin="http://evil.example")) == 403
    assert asyncio.run(ask(origin=world.url)) == 101
    headers["Host"] = "evil.example"
    assert asyncio.run(ask()) != 101


@through_both
def test_who_shows_no_credentials_gets_nothing(world: World) -> None:
    world.running()
    with pytest.raises(Refused) as refused:
        asyncio.run(run(MarathonClient(world.url), APP, Command(("true",))))
    assert refused.value.status == 401


@pytest.mark.parametrize(
    ("first", "said"),
    [
        (tunnel.message(Kind.BEGIN, b"{}"), "arguments"),
        (tunnel.message(Kind.DATA, b"x"), "what is to run is missing"),
        (b"\xff", "255"),
        ("text", "1 to"),
    ],
)
def test_what_begins_no_command_is_told_and_ended(world: World, first: bytes | str, said: str) -> None:
    world.running()

    async def ask() -> bytes:
        async with await opened(world.client(), "/v2/tunnels/exec", {"name": APP}) as connection:
            await connection.send(first)
            return bytes(await connection.recv(decode=False))

    kind, payload = tunnel.parsed(asyncio.run(ask()))
    assert kind is Kind.FAILURE
    assert said in payload.decode()


def test_what_only_executors_say_is_refused_from_clients(world: World) -> None:
    world.running()

    async def act(end: Tunnel, seen: Seen) -> None:
        await end.say(Kind.EXIT, b"0")

    seen = world.exec("sleep", "1000", act=act)
    assert (seen.code, "a client sends no EXIT" in seen.failure) == (None, True)


def test_a_tunnel_that_nobody_uses_is_ended(tmp_path: Path) -> None:
    with served(tmp_path, TunnelLimits(idle_s=IDLE_S)) as world:
        world.running()
        seen = world.exec("sleep", "1000", act=lambda end, seen: asyncio.sleep(60))
        assert (seen.code, "nothing came or went for 0.3 s" in seen.failure) == (None, True)


@pytest.mark.parametrize(("path", "query"), [("exec", {"name": APP}), ("forward", {"app": APP})])
def test_operators_switch_tunnels_off(path: str, query: dict[str, str]) -> None:
    api = ApiClient(
        create_api(FakeController(), tunnel_limits=TunnelLimits(kinds=frozenset()), access=Access(BrowserGuard.of([".test"])))
    )
    answer = api.get(f"/v2/tunnels/{path}", params=query)
    assert (answer.status_code, "--tunnels" in answer.json()["message"]) == (403, True)


@pytest.mark.parametrize("proof", [b"", b"Eratos :1:" + b"0" * 64])
def test_an_executor_runs_nothing_for_who_cannot_prove_its_key_anew(world: World, proof: bytes, tmp_path: Path) -> None:
    """What a listener could repeat is the request; the nonce makes that worth nothing."""
    path = "/tasks/t.instance-1._app.1/exec"
    shown = {"Authorization": keys.proof(KEY, "GET", path, b"", time.time())}

    async def ask() -> tuple[Kind, bytes]:
        async with async_http.ask("127.0.0.1", world.executor_port, path, headers=shown, upgrade=tunnel.PROTOCOL) as answer:
            assert answer.writer is not None
            begin = Command(("touch", str(tmp_path / "done"))).to_bytes()
            for message in (tunnel.message(Kind.PROOF, proof), tunnel.message(Kind.BEGIN, begin)):
                answer.writer.write(tunnel.behind_length(message))
            return tunnel.parsed(await tunnel.next_message(answer.reader) or b"")

    kind, payload = asyncio.run(ask())
    assert (kind, b"only the schedulers" in payload) == (Kind.FAILURE, True)
    assert not (tmp_path / "done").exists()


def asked_of_executor(world: World, path: str, upgrade: str = tunnel.PROTOCOL) -> tuple[int, str]:
    shown = {"Authorization": keys.proof(KEY, "GET", path, b"", time.time())}

    async def ask() -> tuple[int, str]:
        async with async_http.ask("127.0.0.1", world.executor_port, path, headers=shown, upgrade=upgrade) as answer:
            return answer.status, "" if answer.status == 101 else await answer.message("")

    return asyncio.run(ask())


def test_an_executor_says_how_a_tunnel_is_asked_for(world: World) -> None:
    assert asked_of_executor(world, "/tasks/t/exec", upgrade="h2c") == (426, "this is a tunnel: ask with Upgrade: eratos-tunnel")


def test_an_executor_carries_no_more_tunnels_than_it_may(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("eratos.executor.tunnels.TUNNELS_MAX", 0)
    assert asked_of_executor(world, "/tasks/t/exec") == (503, "0 tunnels lead to this host already: try again later")


@through_both
def test_an_executor_of_an_earlier_version_is_named(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.running()
    monkeypatch.setattr("eratos.executor.endpoint._PATH", re.compile("^$"))
    with pytest.raises(Unreachable, match="is of an earlier version, which has no tunnels"):
        world.exec("true")


# Ports -----------------------------------------------------------------------------------------------------------------------


@contextmanager
def listening(answer: Callable[[socket.socket], None]) -> Iterator[int]:
    """Accept connections, each answered on a thread of its own."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def accept() -> None:
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                threading.Thread(target=answer, args=(connection,), daemon=True).start()

        threading.Thread(target=accept, daemon=True).start()
        yield server.getsockname()[1]
        server.shutdown(socket.SHUT_RDWR)


def counts(connection: socket.socket) -> None:
    """Say how much came, once it has ended: a half-closed connection goes on in the other direction."""
    with connection:
        length = 0
        while piece := connection.recv(65536):
            length += len(piece)
        connection.sendall(b"%d bytes" % length)


def breaks(connection: socket.socket) -> None:
    connection.recv(1)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


@contextmanager
def forwarding(world: World, *mappings: str, who: str = "deployer") -> Iterator[tuple[list[int], Callable[[], str]]]:
    """Run ``eratos forward``, and give its ports and what it has said."""
    command = [sys.executable, "-P", "-m", "eratos.cli", "forward", *mappings]
    env = {**os.environ, "ERATOS_URL": world.url, "ERATOS_TOKEN": TOKENS[who]}
    said: list[str] = []
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=env) as process:
        assert process.stderr is not None
        reader = threading.Thread(target=lambda: said.extend(iter(process.stderr.readline, "")), daemon=True)  # type: ignore[union-attr]
        reader.start()
        try:
            until(
                lambda: sum("leads to" in line for line in said) == len(mappings) or process.poll() is not None, 30, "it listens"
            )
            ports = [int(line.split()[0].rpartition(":")[2]) for line in said if "leads to" in line]
            yield ports, lambda: "".join(said)
        finally:
            process.send_signal(signal.SIGINT)
            try:
                process.wait(20)
            finally:
                process.kill()  # or its reader would hold what leaving closes, and this test would never end
                reader.join(20)


def asked(port: int, data: bytes) -> bytes:
    with socket.create_connection(("127.0.0.1", port), 20) as connection:
        connection.settimeout(20)
        connection.sendall(data)
        connection.shutdown(socket.SHUT_WR)
        return b"".join(iter(lambda: connection.recv(65536), b""))


@through_both
def test_a_connection_is_carried_and_half_closed(world: World) -> None:
    world.running()
    with listening(counts) as world.target, forwarding(world, f"0:{APP}") as ((port,), _):
        assert asked(port, b"x" * 3_000_000) == b"3000000 bytes"
        assert asked(port, b"") == b"0 bytes"


def test_each_connection_goes_to_an_instance_that_accepts(world: World, caplog: pytest.LogCaptureFixture) -> None:
    tasks = world.running(3)
    world.refusing |= set(tasks[:2])
    caplog.set_level(logging.INFO)
    with listening(counts) as world.target, forwarding(world, f"0:{APP}", f"0:{APP}:0") as (ports, _):
        for port in ports:
            assert asked(port, b"abc") == b"3 bytes"
    assert [f"task={tasks[2]}" in line and "method=FORWARD" in line for line in lines(caplog)] == [True, True]


def test_what_breaks_behind_the_tunnel_breaks_before_it(world: World) -> None:
    world.running()
    with listening(breaks) as world.target, forwarding(world, f"0:{APP}") as ((port,), _), pytest.raises(ConnectionResetError):
        asked(port, b"x" * 100)


@through_both
def test_without_a_ready_instance_a_connection_is_refused_with_the_reason(world: World) -> None:
    world.controller.submit(PutApps((an_app(APP, 1),)))
    with forwarding(world, f"0:{APP}") as ((port,), said):
        assert f"no instance of {APP} is ready" in said()  # it listens all the same
        with pytest.raises(ConnectionResetError):
            asked(port, b"x")
        until(lambda: said().count("is ready") == 2, 10, "the reason is told")
        with listening(counts) as world.target:
            world.running()
            assert asked(port, b"abc") == b"3 bytes"


def test_a_port_where_nobody_accepts_is_told(world: World) -> None:
    world.refusing |= set(world.running())
    with forwarding(world, f"0:{APP}") as ((port,), said):
        with pytest.raises(ConnectionResetError):
            asked(port, b"x")
        until(lambda: "nobody accepts at the task's port" in said(), 10, "the reason is told")


@pytest.mark.parametrize(("who", "app", "text"), [("viewer", APP, "role deploy"), ("deployer", "/shop/none", "does not exist")])
def test_what_may_not_be_forwarded_is_not_listened_for(world: World, who: str, app: str, text: str) -> None:
    world.running()
    with forwarding(world, f"0:{app}", who=who) as (ports, said):
        until(lambda: text in said(), 10, "the reason is told")
        assert ports == []


# The command line --------------------------------------------------------------------------------------------------------------


def command_line(world: World, *arguments: str, **more: Any) -> subprocess.CompletedProcess[bytes]:
    env = {**os.environ, "ERATOS_URL": world.url, "ERATOS_TOKEN": TOKENS["operator"]}
    command = [sys.executable, "-P", "-m", "eratos.cli", *arguments]
    return subprocess.run(command, env=env, capture_output=True, timeout=60, check=False, **more)


def test_the_command_line_hands_on_input_output_and_exit_code(world: World, tmp_path: Path) -> None:
    (task,) = world.running()
    (tmp_path / "in").write_bytes(b"from a file\n")
    with (tmp_path / "in").open("rb") as file:
        done = command_line(world, "exec", APP, "-i", "--", "sh", "-c", "cat; echo oh >&2; exit 7", stdin=file)
    assert (done.stdout, done.returncode) == (b"from a file\n", 7)
    assert b"oh\n" in done.stderr
    assert task.split(".")[0].encode() in done.stderr
    assert command_line(world, "exec", APP, "--", "cat", input=b"not sent").stdout == b""


def test_a_terminal_that_is_none_is_refused(world: World) -> None:
    world.running()
    done = command_line(world, "exec", APP, "-it", "--", "sh", input=b"")
    assert (done.returncode, b"-t needs a terminal" in done.stderr) == (1, True)


def test_a_shell_has_the_terminals_size_and_its_keys(world: World) -> None:
    world.running()
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 33, 101, 0, 0))
    before = termios.tcgetattr(theirs)
    env = {**os.environ, "ERATOS_URL": world.url, "ERATOS_TOKEN": TOKENS["operator"]}
    env = {name: value for name, value in env.items() if name not in ("COLUMNS", "LINES")}
    script = "trap 'exit 5' INT; while :; do stty size; sleep 0.1; done"
    command = [sys.executable, "-P", "-m", "eratos.cli", "exec", APP, "-it", "--", "sh", "-c", script]
    seen = bytearray()

    def reads(text: bytes) -> bool:
        if select.select([ours], [], [], 0)[0]:
            seen.extend(os.read(ours, 65536))
        return text in seen

    with subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, env=env, start_new_session=True) as process:
        try:
            until(lambda: reads(b"33 101"), 20, "the shell has the terminal's size")
            fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 44, 120, 0, 0))
            process.send_signal(signal.SIGWINCH)  # as the terminal's own would
            until(lambda: reads(b"44 120"), 20, "the new size has arrived")
            os.write(ours, b"\x03")
            assert process.wait(20) == 5
        finally:
            process.kill()  # leaving waits for its end
    assert termios.tcgetattr(theirs) == before
    os.close(ours)
    os.close(theirs)


@pytest.mark.parametrize("text", ["3306", "x:/app", "70000:/app", "1:/app:a:b", "127.0.0.1:1:/app"])
def test_a_mapping_that_is_none_is_wrong_usage(world: World, text: str) -> None:
    done = command_line(world, "forward", text)
    assert (done.returncode, text.encode() in done.stderr) == (2, True)
