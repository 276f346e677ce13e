"""A host that a container plays, with another one beside it, for tests: real Docker networks, real rules in the kernel."""

from __future__ import annotations

import subprocess
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import pytest

from eratos.executor import played_host

from .containers import docker

IMAGE = "eratos/agent"
WORKER = "eratos/prime"  #: has a Python
#: Third numbers of two /24 that nothing else uses: ./dev chooses below 10.87, the end-to-end tests are on 10.89.
CLUSTER, INSIDE = "10.88.254", "10.88.1"

#: Answers on ports of both kinds with a word and the address that it is asked from: ``WORD TCP UDP``.
SERVER = """
import os, socket, threading
def tcp(port):
    server = socket.create_server(("", port))
    while True:
        client, peer = server.accept()
        client.sendall((os.environ["WORD"] + " " + peer[0]).encode())
        client.close()
def udp(port):
    server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    server.bind(("", port))
    while True:
        _, peer = server.recvfrom(99)
        server.sendto((os.environ["WORD"] + " " + peer[0]).encode(), peer)
for kind, ports in ((tcp, "TCP"), (udp, "UDP")):
    for port in os.environ.get(ports, "").split():
        threading.Thread(target=kind, args=(int(port),)).start()
"""
_CLIENT = """
import socket, sys
host, port, protocol = sys.argv[1:]
client = socket.socket(socket.AF_INET, socket.SOCK_STREAM if protocol == "tcp" else socket.SOCK_DGRAM)
client.settimeout(5)
client.connect((host, int(port)))
if protocol == "udp":
    client.send(b"?")
print(client.recv(99).decode())
"""


def ask(container: str, address: str, port: int, protocol: str = "tcp") -> str:
    """Return what a port answers to a container. AssertionError where it does not."""
    return docker("exec", container, "python3", "-c", _CLIENT, address, str(port), protocol)


@dataclass(frozen=True)
class Played:
    """``neighbour`` is a container in the place of another host."""

    container: str
    neighbour: str
    network: str  #: inside, for bridged containers

    address = f"{CLUSTER}.101"
    neighbour_address = f"{CLUSTER}.102"
    gateway = f"{INSIDE}.2"

    def run(self, command: Sequence[str]) -> str:
        """Run a command on the host, as its executor would."""
        return played_host.run(["docker", "exec", self.container, *command])

    def rules(self) -> list[str]:
        """Return whose rules there are."""
        listed = self.run(["iptables", "-w", "-t", "nat", "-S", played_host.CHAIN])
        return [played_host.comment(found) for found in played_host.rules(listed)]


@contextmanager
def playing() -> Iterator[Played]:
    """Start such hosts, and leave nothing of them. Skips where the images are missing."""
    for image in (IMAGE, WORKER):
        if subprocess.run(["docker", "image", "inspect", image], capture_output=True, timeout=30, check=False).returncode:
            pytest.skip(f"{image} is not there (`./dev test` builds the images)")
    mark = uuid.uuid4().hex[:8]
    cluster, inside = f"played-{mark}_default", f"played-{mark}_docker0"
    containers: list[str] = []
    networks: list[str] = []
    try:
        networks.append(docker("network", "create", "--subnet", f"{CLUSTER}.0/24", cluster))
        reserved = f"DefaultGatewayIPv4={INSIDE}.2"
        networks.append(docker("network", "create", "--subnet", f"{INSIDE}.0/24", "--aux-address", reserved, inside))
        forwarding = ["net.ipv4.ip_forward=1", "net.ipv4.conf.all.route_localnet=1"]
        options = ["--cap-add", "NET_ADMIN", *(word for setting in forwarding for word in ("--sysctl", setting))]
        variables = ["-e", f"ERATOS_HOST_BRIDGE={inside}", "-e", f"ERATOS_HOST_DNS={INSIDE}.2"]
        # As the image's own start does, but without an agent.
        start = "/etc/eratos/docker0 && exec /etc/eratos/services/dns/run"
        options += ["--init", "--network", cluster, "--hostname", "played", "--entrypoint", "sh"]
        containers.append(docker("create", *options, "--ip", Played.address, *variables, IMAGE, "-c", start))
        docker("network", "connect", inside, containers[0])
        docker("start", containers[0])
        other = ["--network", cluster, "--ip", Played.neighbour_address, "--name", f"neighbour-{mark}", "--init"]
        server = ["-e", "WORD=neighbour", "-e", "TCP=80", "-e", "UDP=53", "--user", "root", "--entrypoint", "python3"]
        containers.append(docker("run", "-d", *other, *server, WORKER, "-c", SERVER))
        yield Played(containers[0], containers[1], inside)
    finally:
        if containers:
            docker("rm", "-f", "-v", *containers)
        if networks:
            docker("network", "rm", *networks)
