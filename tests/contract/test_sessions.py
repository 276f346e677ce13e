"""Commands beside tasks through an executor's endpoint: in real containers and beside real processes, the same for both."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from support.commands import Seen
from support.executor import a_payload
from support.runtimes import Rig, running
from support.waiting import until

from eratos.common import async_http, keys, tunnel
from eratos.common.tunnel import Command, Kind, Tunnel
from eratos.executor.core import actions as do
from eratos.executor.core import events as on
from eratos.executor.docker.sessions import DockerSessions
from eratos.executor.endpoint import Access, Endpoint
from eratos.executor.io_thread import IoThread
from eratos.executor.process.sessions import ProcessSessions
from eratos.executor.readiness import ReadinessResults
from eratos.executor.sessions import SessionSource
from eratos.executor.tunnels import Tunnels

KEY = "of-this-agent"
TEN_MB = 10 * 1000 * 1000


def access() -> Access:
    return Access(key=KEY)


@dataclass
class Host:
    """A host with one runtime and an executor's endpoint."""

    rig: Rig
    port: int

    def run(self, task_id: str, *arguments: str, given: bytes = b"", act: Any = None, **command: Any) -> Seen:
        """Run a command to its end. ``act`` uses the tunnel instead of sending ``given`` and an end."""
        return asyncio.run(self._run(task_id, Command(arguments, **command), given, act))

    async def _run(
        self, task_id: str, command: Command, given: bytes, act: Callable[[Tunnel, Seen], Awaitable[None]] | None
    ) -> Seen:
        seen = Seen()
        async with (
            asyncio.timeout(60),
            asked(self.port, task_id) as answer,
        ):
            assert answer.status == 101
            writer = answer.writer
            assert writer is not None

            async def send(data: bytes) -> None:
                writer.write(tunnel.behind_length(data))
                await writer.drain()

            end = Tunnel(send, lambda: tunnel.next_message(answer.reader), seen.told)
            await end.say(Kind.PROOF, proof(answer))
            await end.say(Kind.BEGIN, command.to_bytes())
            try:
                await seen.follow(end, given, act)
            except tunnel.Gone:
                assert seen.failure
        return seen


def asked(port: int, task_id: str) -> AbstractAsyncContextManager[async_http.Answer]:
    """Ask for a tunnel as a scheduler does."""
    path = f"/tasks/{task_id}/exec"
    shown = {"Authorization": keys.proof(KEY, "GET", path, b"", time.time())}
    return async_http.ask("127.0.0.1", port, path, headers=shown, upgrade=tunnel.PROTOCOL)


def proof(answer: async_http.Answer) -> bytes:
    return keys.proof(KEY, "TUNNEL", answer.header(tunnel.NONCE), b"", time.time()).encode()


@pytest.fixture(params=["docker", "process"])
def host(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Host]:
    with running(request.param, tmp_path) as rig:
        io = IoThread()
        io.start()
        source: SessionSource = (
            ProcessSessions(rig.runtime.beside) if rig.kind == "process" else DockerSessions(rig.client, rig.host.framework_id)
        )
        endpoint = Endpoint(io, [], ReadinessResults(), "127.0.0.1", 0, access, tunnels=Tunnels([source]))
        endpoint.start()
        yield Host(rig, until(lambda: endpoint.port, 10, "the executor listens"))
        io.stop()


@pytest.fixture
def task(host: Host) -> str:
    return host.rig.started("trap 'exit 0' TERM; while :; do sleep 0.1; done", env={"COLOUR": "green"})


def test_output_errors_and_exit_code_come_back_apart(host: Host, task: str) -> None:
    seen = host.run(task, "sh", "-c", 'echo "$COLOUR"; echo oh >&2; exit 7')
    assert (seen.output, seen.errors, seen.code, seen.failure) == (b"green\n", b"oh\n", 7, "")


def test_input_reaches_the_command_to_its_end(host: Host, task: str) -> None:
    seen = host.run(task, "cat", given=b"one\ntwo")
    assert (seen.output, seen.code) == (b"one\ntwo", 0)


def test_input_can_be_opened_by_its_name(host: Host, task: str) -> None:
    seen = host.run(task, "sh", "-c", "cat /dev/stdin; echo err > /dev/stderr", given=b"one")
    assert (seen.output, seen.errors, seen.code) == (b"one", b"err\n", 0)


def test_ten_megabytes_go_through_and_back(host: Host, task: str) -> None:
    data = bytes(range(256)) * (TEN_MB // 256)
    seen = host.run(task, "cat", given=data)
    assert (len(seen.output), bytes(seen.output) == data, seen.code) == (len(data), True, 0)


def test_a_command_that_reads_nothing_does_not_wait_for_its_input(host: Host, task: str) -> None:
    seen = host.run(task, "sh", "-c", "exit 4", given=b"x" * 2 * tunnel.WINDOW)
    assert seen.code == 4


def test_a_terminal_has_the_size_of_the_clients_and_follows_it(host: Host, task: str) -> None:
    async def act(end: Tunnel, seen: Seen) -> None:
        await written(seen, b"33 101")
        await end.say(Kind.SIZE, tunnel.size(44, 120))
        await written(seen, b"44 120")
        await end.write(b"\x03")  # Ctrl-C, as a terminal in raw mode sends it

    script = "trap 'echo bye; exit 5' INT; test -t 0 && test -t 2; while :; do stty size; sleep 0.1; done"
    seen = host.run(task, "sh", "-c", script, act=act, terminal=True, rows=33, columns=101)
    assert b"bye" in seen.output
    assert seen.code == 5


async def written(seen: Seen, text: bytes) -> None:
    while text not in seen.output:
        await asyncio.sleep(0.02)


def test_a_shell_in_a_terminal_has_control_of_its_jobs(host: Host, task: str) -> None:
    async def act(end: Tunnel, seen: Seen) -> None:
        await end.write(b"sleep 1000 & jobs; kill %1; echo d''one; exit 6\n")

    seen = host.run(task, "sh", "-i", act=act, terminal=True)
    assert b"done" in seen.output
    assert b"can't access tty" not in seen.output
    assert seen.code == 6


def test_a_command_whose_client_leaves_is_ended_with_all_that_it_started(host: Host, task: str) -> None:
    async def leave() -> None:
        async with asked(host.port, task) as answer:
            assert answer.writer is not None
            script = "trap '' HUP TERM; sleep 4321 & sleep 4321"
            for kind, payload in ((Kind.PROOF, proof(answer)), (Kind.BEGIN, Command(("sh", "-c", script)).to_bytes())):
                answer.writer.write(tunnel.behind_length(tunnel.message(kind, payload)))
            await answer.writer.drain()
            await asyncio.to_thread(until, lambda: len(host.rig.processes(task, "sleep 4321")) == 2, 20, "it runs")

    asyncio.run(leave())
    until(lambda: not host.rig.processes(task, "sleep 4321"), 30, "it is ended")
    assert host.run(task, "true").code == 0


def test_a_command_ends_with_its_task(host: Host, task: str) -> None:
    async def act(end: Tunnel, seen: Seen) -> None:
        await written(seen, b"ready")
        host.rig.runtime.perform(do.KillContainer(task))

    seen = host.run(task, "sh", "-c", "echo ready; sleep 1000", act=act)
    assert seen.code == 137 or "ended" in seen.failure
    host.rig.events.until(on.ContainerDied, task_id=task)


def test_a_command_that_is_not_there_says_so(host: Host, task: str) -> None:
    seen = host.run(task, "/no/such/command")
    said = seen.failure + seen.output.decode() + seen.errors.decode()
    assert "/no/such/command" in said
    assert seen.code in ((126, 127) if host.rig.kind == "docker" else (None,))


def test_a_task_that_does_not_run_takes_no_command(host: Host) -> None:
    seen = host.run(a_payload().task_id, "true")
    assert (seen.code, "not" in seen.failure or "no container" in seen.failure) == (None, True)


@pytest.mark.parametrize("host", ["docker"], indirect=True)
def test_containers_of_others_take_no_command(host: Host, task: str) -> None:
    source = DockerSessions(host.rig.client, "another-framework")
    io = IoThread()
    io.start()
    endpoint = Endpoint(io, [], ReadinessResults(), "127.0.0.1", 0, access, tunnels=Tunnels([source]))
    endpoint.start()
    port = until(lambda: endpoint.port, 10, "the other executor listens")
    seen = Host(host.rig, port).run(task, "true")
    io.stop()
    assert (seen.code, "no container" in seen.failure) == (None, True)
