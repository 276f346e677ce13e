"""Commands in instances, through the leader, or a follower and the leader, to an executor's endpoint."""

from __future__ import annotations

import asyncio
import logging
import re
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from support.api import ApiClient
from support.builders import an_app
from support.commands import Seen
from support.controller import FakeController
from support.tunnel_world import APP, KEY, TOKENS, World, lines, run, served, through_both, written
from support.waiting import until
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from eratos.common import async_http, keys, tunnel
from eratos.common.browser_guard import BrowserGuard
from eratos.common.tunnel import Command, Kind, Tunnel
from eratos.marathon.client import MarathonClient, Refused, Unreachable
from eratos.marathon.tunnels import end_of, opened
from eratos.scheduler.access.tunnel_limits import TunnelLimits
from eratos.scheduler.api.gate import Access
from eratos.scheduler.api.server import create_api
from eratos.scheduler.core.events import PutApps

#: After which a tunnel that nobody uses is ended, in the test of that alone.
IDLE_S = 0.3


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


def test_no_command_makes_a_line_or_a_field_of_its_own(world: World, caplog: pytest.LogCaptureFixture) -> None:
    world.running()
    forged = 'x" who=admin status=200\n2026-01-31T12:00:00.123Z INFO eratos.scheduler.audit who=admin'
    with caplog.at_level(logging.INFO):
        world.exec("true", forged)
        until(lambda: len(lines(caplog)) == 2, 10, "both lines are written")
    for line in lines(caplog):
        assert "\n" not in line and r"\n2026-01-31" in line
        assert "who=admin" not in re.sub(r'"(?:[^"\\]|\\.)*"', "", line)


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
