"""What ./dev chaos does to networks and disks, on containers that play parts: it has its effect, and is undone, twice as well."""

from __future__ import annotations

import os
import random
import subprocess
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass

import pytest
from devtool.chaos import faults, part_strikes
from devtool.chaos.parts import Parts
from devtool.chaos.strike import SERVICE, Strike, network
from devtool.cluster import Attachment, Container
from devtool.load import generator
from devtool.settings import read_settings
from support.containers import docker

#: What plays a part, its image, and where it writes.
PLAYERS = (
    ("agent1", "eratos/agent", ("-v", "{name}:/var/lib/mesos")),
    ("balancer1", "eratos/balancer", ()),
    ("scheduler1", "eratos/scheduler", ()),
    ("consul4", "eratos/scheduler", ()),  # of the second region
)
PORT = 9000
SERVE = f"import socketserver as s; s.ThreadingTCPServer(('', {PORT}), s.StreamRequestHandler).serve_forever()"


@pytest.fixture(scope="module")
def parts() -> Iterator[Parts]:
    generator.build(read_settings(os.environ), SERVICE)
    project = f"eratos-test-{uuid.uuid4().hex[:8]}"
    network = f"{project}_default"
    found = {}
    with ExitStack() as stack:
        docker("network", "create", network)
        stack.callback(docker, "network", "rm", network)
        for service, image, more in PLAYERS:
            name = f"{project}-{service}-1"
            stack.callback(docker, "volume", "rm", "-f", name)
            words = [word.format(name=name) for word in more]
            run = ("run", "-d", "--name", name, "--network", network, "--user", "0", "--no-healthcheck", *words)
            container = docker(*run, "--entrypoint", "python3", image, "-c", SERVE)
            stack.callback(docker, "rm", "-f", "-v", container)
            address = docker("inspect", "-f", f'{{{{(index .NetworkSettings.Networks "{network}").IPAddress}}}}', container)
            found[service] = Container(name, service, "running", "", 0, "", 0, container, "", {network: Attachment("", address)})
        yield Parts(project, found, {}, "", "scheduler1", "")


def round_trip_s(parts: Parts, one: str, other: str) -> float:
    """Return how long a TCP connection from one part to another takes; 9 where there is none."""
    to = f"('{parts.address(other)}', {PORT})"
    code = f"import socket, time; t = time.monotonic(); socket.create_connection({to}, 3); print(time.monotonic() - t)"
    words = ["docker", "exec", parts.id(one), "python3", "-c", code]
    done = subprocess.run(words, capture_output=True, text=True, timeout=30, check=False)
    return float(done.stdout) if done.returncode == 0 else 9.0


def writes(parts: Parts, service: str, folder: str) -> bool:
    """Return whether there is room in a folder; what is there can be read in any case."""
    assert "kept" in docker("exec", parts.id(service), "ls", folder).split()
    script = f"echo something > {folder}/new && rm {folder}/new"
    words = ["docker", "exec", parts.id(service), "sh", "-c", script]
    return subprocess.run(words, capture_output=True, timeout=30, check=False).returncode == 0


def sent_s(parts: Parts, service: str) -> float:
    """Return how long 100 kB from a part to another one take."""
    code = (
        "import socket; c = socket.create_server(('', 9001)).accept()[0]\n"
        "c.sendall(bytes(100_000)); c.shutdown(socket.SHUT_WR); c.recv(1)"
    )
    docker("exec", "-d", parts.id(service), "python3", "-c", code)
    take = (
        "import socket, time\n"
        "while True:\n"
        f"    try: s = socket.create_connection(('{parts.address(service)}', 9001), 3); break\n"
        "    except OSError: time.sleep(0.05)\n"
        "t = time.monotonic(); n = 0\n"
        "while n < 100_000: n += len(s.recv(65536))\n"
        "print(time.monotonic() - t)"
    )
    return float(docker("exec", parts.id("scheduler1"), "python3", "-c", take))


def lost(parts: Parts, service: str) -> bool:
    """Return whether some of many packets to a part are lost."""
    code = (
        "import socket; s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.bind(('', 9002)); s.settimeout(1); n = 0\n"
        "print('ready', flush=True)\n"
        "try:\n"
        "    while True: s.recv(9); n += 1\n"
        "except TimeoutError: print(n)"
    )
    taker = subprocess.Popen(["docker", "exec", parts.id(service), "python3", "-c", code], stdout=subprocess.PIPE, text=True)
    assert taker.stdout is not None and taker.stdout.readline() == "ready\n"
    to = f"('{parts.address(service)}', 9002)"
    send = f"import socket; s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); [s.sendto(b'x', {to}) for _ in range(200)]"
    docker("exec", parts.id("scheduler1"), "python3", "-c", send)
    return int(taker.communicate(timeout=30)[0]) < 195


@dataclass(frozen=True)
class Effect:
    fault: str
    part: str
    broken: Callable[[Parts], bool]


def no_way(one: str, other: str) -> Callable[[Parts], bool]:
    return lambda parts: round_trip_s(parts, one, other) == 9


EFFECTS = (
    Effect("delay", "agent1", lambda parts: 0.1 < round_trip_s(parts, "agent1", "scheduler1") < 3),
    Effect("delay", "balancer1", lambda parts: 0.1 < round_trip_s(parts, "scheduler1", "balancer1") < 3),
    Effect("disk-full", "agent1", lambda parts: not writes(parts, "agent1", "/var/lib/mesos")),
    Effect("disk-full", "balancer1", lambda parts: not writes(parts, "balancer1", "/var/lib/eratos-balancer")),
    Effect("loss", "agent1", lambda parts: lost(parts, "agent1")),
    Effect("bandwidth", "agent1", lambda parts: sent_s(parts, "agent1") > 0.5),
    Effect("link-cut", "east:west", no_way("consul4", "agent1")),
    Effect("link-cut", "east:west", no_way("scheduler1", "consul4")),
    Effect("link-narrow", "east:west", lambda parts: sent_s(parts, "consul4") > 0.5),
    Effect("cut", "agent1:scheduler1", no_way("agent1", "scheduler1")),
    Effect("cut", "agent1>scheduler1", no_way("scheduler1", "agent1")),
    Effect("cut", "scheduler1>agent1", no_way("agent1", "scheduler1")),
)


def done(commands: list[tuple[str, ...]], *, check: bool) -> None:
    for command in commands:
        finished = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
        assert not check or finished.returncode == 0, finished


def rules(parts: Parts, service: str) -> str:
    """Return what a part's network is told to do with packets, how fast it may send, and what lies over its disk."""
    script = "iptables -S | grep eratos-; tc qdisc show | grep tbf; true"
    tool = network(parts.project, parts.id(service), script)
    answer = subprocess.run(tool, capture_output=True, text=True, timeout=60, check=True).stdout
    mounts = docker("exec", parts.id(service), "cat", "/proc/mounts").splitlines()
    return answer + "".join(line for line in mounts if line.startswith("eratos-"))


@pytest.mark.parametrize("effect", EFFECTS, ids=lambda effect: f"{effect.fault}-{effect.part}")
def test_it_has_its_effect_until_it_is_undone(parts: Parts, effect: Effect) -> None:
    for service, disk in part_strikes.DISKS.items():
        docker("exec", parts.id(f"{service}1"), "touch", f"{disk}/kept")
    fault = faults.BY_NAME[effect.fault]
    assert not effect.broken(parts)
    strike: Strike = fault.strike(parts, faults.choose(fault, parts, effect.part, random.Random(1)))
    try:
        done(strike.do, check=True)
        assert effect.broken(parts)
    finally:
        done([*strike.undo, *strike.undo], check=False)  # and again: that does no harm
    assert not effect.broken(parts)
    assert [rules(parts, service) for service in parts.containers] == [""] * len(parts.containers)
    assert not docker("ps", "-aq", "--filter", f"label=eratos.chaos-tool={parts.project}")


def test_packets_pass_when_what_delays_them_has_died(parts: Parts) -> None:
    strike = faults.BY_NAME["delay"].strike(parts, "agent1")
    try:
        done(strike.do, check=True)
        docker("rm", "-f", strike.undo[-1][-1])
        assert round_trip_s(parts, "agent1", "scheduler1") < 0.1
    finally:
        done(strike.undo, check=False)
