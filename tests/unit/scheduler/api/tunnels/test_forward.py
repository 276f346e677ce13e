"""``eratos forward``: connections to ports of instances, through the leader, or a follower and the leader."""

from __future__ import annotations

import logging
import os
import signal
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from support.builders import an_app
from support.tunnel_world import APP, TOKENS, World, lines, through_both
from support.waiting import until

from eratos.scheduler.core.events import PutApps


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
