"""Bridge networking where a container plays the host: who reaches whom, and when ports open and close. Real Docker and kernel."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from support.containers import docker
from support.executor import Events, remove_labelled
from support.played import SERVER, WORKER, Played, ask, playing
from support.runtimes import SOCKET, Rig
from support.waiting import until

from eratos.common import names
from eratos.common.payload import Container, Port, Volume
from eratos.common.resources import Resources
from eratos.executor.core import actions as do
from eratos.executor.core import events as on
from eratos.executor.core.start import start_action
from eratos.executor.docker.client import DockerClient
from eratos.executor.docker.runtime import DockerRuntime
from eratos.executor.played_host import PlayedHost

PORTS = (Port(31000, 8080), Port(31001, 9000, "udp"), Port(31002, 9001, "udp,tcp"))
#: Host port and protocol of each of these.
PUBLISHED = [(31000, "tcp"), (31001, "udp"), (31002, "tcp"), (31002, "udp")]


class PlayedRig(Rig):
    """Docker's runtime with a played host, in which its rules are made."""

    def __init__(self, played: Played, folder: Path) -> None:
        self.played = played
        self.rules_at_death: dict[str, list[str]] = {}
        super().__init__("docker", folder)
        self.image = WORKER

    def make(self, events: Events | None = None) -> DockerRuntime:
        return self.make_with(PlayedHost(self.played.run), events)

    def make_with(self, tables: PlayedHost, events: Events | None = None) -> DockerRuntime:
        self.host = replace(
            self.host,
            name=f"played-{self.mark}",
            network=f"container:{self.played.container}",
            bridge=self.played.network,
            dns=self.played.gateway,
        )
        emit = events.emit if events else self.emit
        return DockerRuntime(DockerClient(SOCKET), self.folder, self.host, emit, self.alive, port_wait_s=0.5, played=tables)

    def emit(self, event: on.Event) -> None:
        if isinstance(event, on.ContainerDied):
            self.rules_at_death[event.task_id] = self.played.rules()
        self.events.emit(event)

    def serve(self, word: str, *, task: str = "t", ports: tuple[Port, ...] = PORTS, **changes: Any) -> str:
        """Start a task that answers with a word on every port of its container, and return its id."""
        numbers = {kind: [p.container_port or p.host_port for p in ports if kind in p.protocol] for kind in ("tcp", "udp")}
        env = {"WORD": word} | {kind.upper(): " ".join(map(str, found)) for kind, found in numbers.items()}
        settings = {"network": "bridge", "args": ("-c", SERVER), "user": "root"} | changes
        payload = self.payload("", task=task, env=env, parameters=(("entrypoint", "python3"),), **settings)
        self.runtime.perform(start_action(replace(payload, ports=ports, services=()), self.host))
        self.events.until(on.ContainerStarted, task_id=payload.task_id)
        return payload.task_id

    def container(self, task_id: str) -> str:
        return self.inspect(task_id, "{{.Id}}")

    def word(self, port: int, protocol: str = "tcp", *, of: str = "", address: str = Played.address) -> str:
        """Return what a port of the host answers to a container, by default to another host's."""
        found = until(lambda: ask(of or self.played.neighbour, address, port, protocol), 20, f"{protocol} port {port} answers")
        return found.split()[0]


@pytest.fixture(scope="module")
def played() -> Iterator[Played]:
    with playing() as found:
        yield found


@pytest.fixture
def rig(played: Played, tmp_path: Path) -> Iterator[PlayedRig]:
    rig = PlayedRig(played, tmp_path)
    rig.runtime.start()
    rig.events.until(on.ContainersListed)
    yield rig
    rig.runtime.stop(10)
    rig.client.close()
    remove_labelled(f"{names.LABEL_FRAMEWORK}={rig.host.framework_id}")
    PlayedHost(played.run).sweep(set)


def test_a_port_answers_to_everybody_whom_a_real_hosts_would(rig: PlayedRig) -> None:
    one = rig.container(rig.serve("one"))
    two = rig.container(rig.serve("two", task="u", ports=(Port(31005, 80),)))
    host, neighbour = rig.played.container, rig.played.neighbour
    for port, protocol in PUBLISHED:
        assert rig.word(port, protocol, of=neighbour) == "one"
        assert rig.word(port, protocol, of=host, address="127.0.0.1") == "one"
        assert rig.word(port, protocol, of=host) == "one"
        assert rig.word(port, protocol, of=one) == "one", "a container reaches its own host's port"
        assert rig.word(port, protocol, of=two) == "one", "and its neighbour's"
    assert rig.word(31005, of=one) == "two"


def test_a_container_reaches_other_hosts_under_its_hosts_address_and_by_the_names_that_its_host_knows(rig: PlayedRig) -> None:
    container = rig.container(rig.serve("one"))
    name = docker("inspect", "-f", "{{.Name}}", rig.played.neighbour).lstrip("/")
    for address in (rig.played.neighbour_address, name):
        assert ask(container, address, 80) == f"neighbour {rig.played.address}"
        assert ask(container, address, 53, "udp") == f"neighbour {rig.played.address}"


def test_a_port_is_open_before_the_start_is_told_and_the_address_is_the_containers_own(rig: PlayedRig) -> None:
    task_id = rig.serve("one", ports=(Port(31000, 0),))
    assert rig.played.rules() == [task_id]
    started = next(event for event in rig.events.seen if isinstance(event, on.ContainerStarted))
    network = f'{{{{(index .NetworkSettings.Networks "{rig.played.network}").IPAddress}}}}'
    assert started.address == rig.inspect(task_id, network) != ""
    assert rig.word(31000) == "one"  # container port 0 is the host's


def test_a_task_without_ports_has_an_address_and_no_rule(rig: PlayedRig) -> None:
    rig.serve("one", ports=())
    assert rig.played.rules() == []
    assert rig.events.seen[-1].address  # type: ignore[union-attr]


@pytest.mark.parametrize("end", ["stopped", "killed", "removed"])
def test_ports_are_closed_before_a_tasks_end_is_told(rig: PlayedRig, end: str) -> None:
    task_id = rig.serve("one")
    match end:
        case "stopped":
            rig.runtime.perform(do.KillContainer(task_id))
        case "killed":
            docker("kill", rig.container(task_id))
        case _:
            rig.runtime.perform(do.RemoveContainer(task_id))
    rig.events.until(on.ContainerDied, task_id=task_id)
    assert rig.rules_at_death[task_id] == []


def test_a_task_that_ends_before_its_ports_are_open_leaves_none_open(rig: PlayedRig) -> None:
    class Slow(PlayedHost):
        def publish(self, task_id: str, address: str, ports: Sequence[Port]) -> None:
            docker("kill", rig.container(task_id))
            until(lambda: task_id in rig.rules_at_death, 20, "its end is told")
            super().publish(task_id, address, ports)

    rig.runtime.stop(10)
    rig.runtime = rig.make_with(Slow(rig.played.run))
    rig.runtime.start()
    rig.serve("one")
    assert rig.played.rules() == []


def test_what_a_dead_executor_left_open_is_closed_by_the_next(rig: PlayedRig) -> None:
    gone, there = rig.serve("one"), rig.serve("two", task="u", ports=(Port(31005, 80),))
    rig.runtime.stop(10)
    docker("rm", "-f", rig.container(gone))
    assert sorted(set(rig.played.rules())) == sorted({gone, there})
    listed = rig.listing()
    assert rig.played.rules() == [there]  # for as long as it runs: that it should not is another's decision
    assert listed.running == {there}


@pytest.mark.parametrize("network", ["host", "bridge"])
def test_a_port_is_its_new_tasks_whatever_a_dead_one_left(rig: PlayedRig, network: str) -> None:
    # One that no sweep takes for dead, for its container runs yet, as those of a dead executor do for a while.
    dead = rig.serve("dead", task="u", ports=(Port(31000, 80), Port(31001, 80, "udp")))
    assert (rig.word(31000), rig.word(31001, "udp")) == ("dead", "dead")
    rig.serve("new", ports=(Port(31000), Port(31001, 0, "udp")), network=network)
    assert dead not in rig.played.rules()
    assert (rig.word(31000), rig.word(31001, "udp")) == ("new", "new")


_TALK = """
import socket, sys
client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
client.settimeout(5)
client.connect((sys.argv[1], 31001))
for _ in range(2):
    client.send(b"?")
    print(client.recv(99).decode().split()[0], flush=True)
    open("/tmp/talked", "w").close()
    while _ == 0 and not __import__("os").path.exists("/tmp/go"): __import__("time").sleep(0.05)
"""


def test_a_client_that_goes_on_sending_to_a_udp_port_gets_to_whoever_has_it_now(rig: PlayedRig) -> None:
    port = (Port(31001, 9000, "udp"),)
    old = rig.serve("old", ports=port)
    assert rig.word(31001, "udp") == "old"
    neighbour = rig.played.neighbour
    talk = f"rm -f /tmp/go /tmp/talked; python3 -c '{_TALK}' {rig.played.address} > /tmp/heard 2>&1"
    docker("exec", "-d", neighbour, "sh", "-c", talk)
    until(lambda: docker("exec", neighbour, "ls", "/tmp/talked"), 20, "the client has an answer")
    rig.runtime.perform(do.KillContainer(old))
    rig.events.until(on.ContainerDied, task_id=old)
    rig.serve("new", task="u", ports=(Port(31001, 9001, "udp"),))  # another port, should it get the old one's address
    assert rig.word(31001, "udp") == "new"
    docker("exec", neighbour, "touch", "/tmp/go")
    until(lambda: docker("exec", neighbour, "cat", "/tmp/heard").split() == ["old", "new"], 20, "the client hears the new task")


def test_a_host_without_rules_to_put_ports_in_fails_the_start_with_what_iptables_says(rig: PlayedRig) -> None:
    payload = replace(rig.payload("exec sleep 1000", network="bridge"), ports=PORTS, services=())
    rig.runtime.stop(10)
    rig.runtime = rig.make_with(PlayedHost(lambda _: rig.played.run(["false"])))
    rig.runtime.perform(start_action(payload, rig.host))
    assert "cannot be published" in rig.events.until(on.StartFailed, task_id=payload.task_id).message


def test_a_pods_ports_lead_to_whichever_of_its_containers_listens(rig: PlayedRig) -> None:
    """The first container has the address, and the others share it; what they share on disk lies on the played host."""
    shared = (Volume("/shared", "volumes/shared"),)
    server = {"args": ("-c", SERVER), "parameters": (("entrypoint", "python3"),), "user": "root", "volumes": shared}
    containers = [
        Container("first", Resources(100, 64), WORKER, env={"WORD": "first", "TCP": "8080", "UDP": ""}, **server),
        Container("second", Resources(100, 64), WORKER, env={"WORD": "second", "TCP": "9000", "UDP": ""}, **server),
    ]
    ports = (Port(31000, 8080), Port(31001, 9000))
    payload = replace(rig.payload(""), image="", args=None, network="bridge", containers=tuple(containers))
    rig.runtime.perform(start_action(replace(payload, ports=ports, services=()), rig.host))
    rig.events.until(on.ContainerStarted, task_id=payload.task_id)
    assert (rig.word(31000), rig.word(31001)) == ("first", "second")
    docker("exec", names.container_name(payload.task_id, "first"), "sh", "-c", "echo hello >/shared/word")
    assert docker("exec", names.container_name(payload.task_id, "second"), "cat", "/shared/word") == "hello"
    assert rig.played.rules() == [payload.task_id] * 2
    docker("kill", names.container_name(payload.task_id, "second"))
    rig.events.until(on.ContainerDied, task_id=payload.task_id)
    assert rig.rules_at_death[payload.task_id] == [], "closed before anybody hears of it"
