"""A host's network is cut with docker's own commands and comes back: the host keeps its address, its Consul agent waits for it.

The host is played as on the local cluster: a container with a fixed address, and a Consul agent in its network.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from support.containers import Container, docker, run_container
from support.waiting import until

NAME, SUBNET, ADDRESS = "agent1", "10.87.252", "10.87.252.101"
SOON_S = 60
#: What an executor, a balancer and somebody else have registered.
SERVICES = ("eratos-shop.instance-1._app.1", "eratos-balancer-agent1", "someone-else")


class Host:
    def __init__(self, network: str, container: Container, consul: Container) -> None:
        self.network, self.container, self.consul = network, container, consul

    def state(self) -> str:
        return docker("exec", self.container.id, "cat", "/sys/class/net/lo/ifalias")

    def addresses(self) -> list[str]:
        lines = docker("exec", self.container.id, "part-ip", "-o", "-4", "address", "show").splitlines()
        return [line.split()[3].partition("/")[0] for line in lines]

    def cut(self) -> None:
        docker("network", "disconnect", self.network, self.container.id)
        until(lambda: self.state().endswith(" cut"), SOON_S, "the host has noticed that it is cut off")

    def connect(self) -> None:
        docker("network", "connect", self.network, self.container.id)

    def services(self) -> set[str]:
        """Return what its Consul agent has registered; AssertionError, which `until` takes for "not yet", where none answers."""
        head, _, body = docker("exec", self.consul.id, "bash", "-c", ASK).partition("\n\n")
        assert " 200 " in head, head
        return set(json.loads(body))

    def register(self) -> None:
        for service in SERVICES:
            check = {"tcp": "127.0.0.1:9", "interval": "10s"}
            definition = json.dumps({"service": {"id": service, "name": "x", "port": 9, "check": check}})
            script = f"echo '{definition}' > /tmp/service.json && consul services register /tmp/service.json"
            docker("exec", self.consul.id, "sh", "-c", script)

    def started_at(self) -> str:
        return docker("inspect", "-f", "{{.State.StartedAt}}", self.consul.id)


#: There is no curl in the image, but there is bash.
ASK = 'exec 3<>/dev/tcp/127.0.0.1/8500 && printf "GET /v1/agent/services HTTP/1.0\\r\\n\\r\\n" >&3 && cat <&3'


@pytest.fixture(scope="module")
def host() -> Iterator[Host]:
    network = f"eratos-cut-{uuid.uuid4().hex[:8]}"
    with ExitStack() as stack:
        ranges = ["--subnet", f"{SUBNET}.0/24", "--ip-range", f"{SUBNET}.192/26"]
        docker("network", "create", *ranges, network)
        stack.callback(docker, "network", "rm", network)
        place = ["--network", network, "--ip", ADDRESS, "--hostname", NAME, "--add-host", f"{NAME}:{ADDRESS}"]
        servers = [word for n in (1, 2, 3) for word in ("--add-host", f"consul{n}:{SUBNET}.{20 + n}")]
        options = [*place, *servers, "--cap-add", "NET_ADMIN"]
        container = stack.enter_context(run_container("eratos/agent", "sleep", "infinity", options=options))
        beside = ["--network", f"container:{container.id}", "-e", f"CONSUL_NODE={NAME}", "--restart", "unless-stopped"]
        consul = stack.enter_context(run_container("eratos/consul", "client", options=beside))
        made = Host(network, container, consul)
        until(lambda: made.services() is not None, SOON_S, "the Consul agent answers")
        yield made


@pytest.fixture
def registered(host: Host) -> Host:
    host.register()
    assert host.services() == set(SERVICES)
    return host


def test_a_host_that_was_cut_off_has_its_address_again_and_what_runs_on_it_goes_on(registered: Host) -> None:
    host = registered
    boot = host.state()
    started = host.started_at()
    host.cut()
    assert ADDRESS not in host.addresses()
    host.connect()
    until(lambda: ADDRESS in host.addresses(), SOON_S, "the host has its address again")
    assert len(host.addresses()) == 3, "Docker's own choice stays beside it, for published ports"
    until(lambda: host.state() == boot, SOON_S, "the host says that it is back")
    assert host.services() == set(SERVICES)
    assert host.started_at() == started, "the Consul agent was restarted"


def test_a_consul_agent_that_starts_while_its_host_is_cut_off_waits_for_the_network(host: Host) -> None:
    host.cut()
    host.consul.restart()
    started = host.started_at()
    host.connect()
    until(lambda: host.services() is not None, SOON_S, "the Consul agent answers")
    assert host.started_at() == started, "it ended instead of waiting"


def test_a_restart_of_the_consul_agent_keeps_what_lives_on_its_host(registered: Host) -> None:
    registered.consul.restart()
    until(lambda: registered.services() == set(SERVICES), SOON_S, "the services are there again")


def test_a_host_that_boots_brings_none_of_its_dead_services_back(registered: Host) -> None:
    """As after a power cut; what is not eratos' is its owner's to judge."""
    registered.container.kill()
    registered.consul.kill()
    registered.container.start()
    registered.consul.start()
    until(lambda: registered.services() == {"someone-else"}, SOON_S, "the dead services are forgotten")


def test_a_host_restarted_alone_takes_its_consul_agent_along(registered: Host) -> None:
    registered.container.restart()
    until(lambda: registered.services() == {"someone-else"}, SOON_S, "the Consul agent is in the host's new network")
