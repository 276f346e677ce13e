"""Servers so cheap that what stands before them is measured, and their way into Consul. Used by storm.py, proxy.py and max.py.

One HAProxy answers by itself, on as many ports as wanted, in a container on the cluster's own network. It is no task of Mesos:
a benchmark of the balancers registers its ports in Consul, tagged and labelled as executors do it, and balancers serve them like
any app.
"""

from __future__ import annotations

import http.client
import json
import signal
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from threading import local
from typing import Any

from support.cluster import SOON_S, Cluster
from support.containers import docker
from support.waiting import until

IMAGE = "eratos/balancer"
FIRST_PORT = 20_000
#: Calls to Consul at a time, so that one that waits does not hold up those that are due.
CALLERS = 16
#: Nodes of Consul's catalogue that a service's instances are spread over, as an app's are over hosts. On a single one each
#: change would cost Consul a look at all of them.
NODES = 20
ANSWER_S = 30.0

#: Connections are kept for longer than any benchmark lasts, so that a balancer never meets one that is just being closed.
ANSWERING = """\
global
  nbthread 1
defaults
  mode http
  timeout connect 5s
  timeout client 1h
  timeout http-keep-alive 1h
  timeout server 5s
frontend answering
  bind :{first}-{last}
  http-request return status 200 content-type text/plain hdr X-Instance "{name}.%[dst_port]" string "ok"
"""


MINIMAL = """\
global
  nbthread {threads}
defaults
  mode http{repeating}
  timeout connect 1s
  timeout client 60s
  timeout server 60s
frontend minimal
  bind :{port}
  default_backend servers
backend servers
{servers}
"""


def minimal(at: Iterable[str], threads: int, port: int, *, repeats: bool = False) -> str:
    """Return a configuration as a hand would write it, on request one that repeats requests whose server has died.

    ``at`` are the servers' addresses with their ports.
    """
    servers = "\n".join(f"  server s{number} {one}" for number, one in enumerate(at))
    repeating = "\n  option redispatch 1\n  retry-on conn-failure empty-response" if repeats else ""
    return MINIMAL.format(threads=threads, repeating=repeating, port=port, servers=servers)


def network(cluster: Cluster) -> str:
    """Return the name of the Docker network that the cluster's containers are in."""
    shown = "{{range $name, $_ := .NetworkSettings.Networks}}{{$name}} {{end}}"
    return docker("inspect", "--format", shown, cluster.container_of("consul1")).split()[0]


def address(container: str) -> str:
    """Return a running container's address on that network."""
    found = docker("inspect", "--format", "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}", container)
    assert found, f"the container has ended: docker logs {container}"
    return found


@contextmanager
def haproxy(cluster: Cluster, bench: str, config: str) -> Iterator[str]:
    """Run the balancer's HAProxy with another configuration, on the cluster's network; yield the container's id."""
    script = 'printf %s "$GIVEN" > /tmp/haproxy.cfg && exec haproxy -db -f /tmp/haproxy.cfg'
    with _in_image(cluster, bench, script, {"GIVEN": config}) as container:
        yield container


@contextmanager
def balancer(cluster: Cluster, bench: str, at: Iterable[str], **settings: str) -> Iterator[str]:
    """Run a whole balancer before these servers, without Consul, on the cluster's network; yield the container's id."""
    script = 'printf %s "$GIVEN" > /tmp/servers && exec s6-svscan /opt/eratos/services'
    given = {"GIVEN": "\n".join(at), "ERATOS_SERVERS_FILE": "/tmp/servers", **settings}
    with _in_image(cluster, bench, script, given) as container:
        yield container


@contextmanager
def _in_image(cluster: Cluster, bench: str, script: str, variables: Mapping[str, str]) -> Iterator[str]:
    # The image has the labels of the service that it was built for, and this is not that service.
    labels = [f"eratos.bench={bench}", "com.docker.compose.project=", "com.docker.compose.service="]
    container = docker(
        "run", "-d", *(word for label in labels for word in ("--label", label)),
        *(word for name, value in variables.items() for word in ("--env", f"{name}={value}")),
        "--network", network(cluster), "--no-healthcheck",
        "--log-driver", "json-file", "--log-opt", "max-size=5m", "--log-opt", "max-file=2",  # as the cluster's own
        "--entrypoint", "sh", IMAGE, "-c", script,
    )  # fmt: skip
    try:
        yield container
    finally:
        docker("rm", "-f", "-v", container)


def servers(cluster: Cluster, bench: str, count: int) -> Any:
    """Run a HAProxy that answers on ``count`` ports from FIRST_PORT on; a context with its container's id."""
    return haproxy(cluster, bench, ANSWERING.format(name=bench, first=FIRST_PORT, last=FIRST_PORT + count - 1))


class Service:
    """A service in Consul's catalogue whose instances are ports of one address. Entering and leaving remove what is there of it.

    It is on nodes of its own, for which no agents speak: one agent tells the servers of one change after the other, so 200
    changes a second through one would measure that agent. Executors use those of their hosts, many at a time.
    """

    def __init__(self, cluster: Cluster, name: str) -> None:
        self._cluster = cluster
        self._at = ("127.0.0.1", cluster.ports["ERATOS_CONSUL_PORT"])
        self._connections = local()
        self.name = name
        self.host = f"{name}.localhost"
        self.instance = f"{name}."  #: what the names of those that answer begin with

    def __enter__(self) -> Service:
        self._remove()
        return self

    def __exit__(self, *_: object) -> None:
        self._remove()

    def id(self, number: int) -> str:
        """Return an instance's id, which is its server's name in HAProxy. Not eratos' own prefix: this is none of its tasks."""
        return f"{self.name}-{number}"

    def register(self, number: int, host: str, port: int) -> None:
        """Register one instance, with a check as those of executors have one."""
        service_id = self.id(number)
        meta = {"haproxy-group": "external", "haproxy-vhost": self.host, "eratos-version": "2026-01-01T00:00:00.000Z"}
        service = {"ID": service_id, "Service": self.name, "Address": host, "Port": port, "Tags": ["eratos"], "Meta": meta}
        check = {"CheckID": f"{service_id}-check", "Name": f"tcp port {port}", "ServiceID": service_id, "Status": "passing"}
        self._call("/v1/catalog/register", {"Node": self._node(number), "Address": host, "Service": service, "Check": check})

    def deregister(self, number: int) -> None:
        """Deregister one instance; its check goes with it."""
        self._call("/v1/catalog/deregister", {"Node": self._node(number), "ServiceID": self.id(number)})

    def in_rotation(self, balancer: int) -> set[str]:
        """Return the ids of the instances to which one balancer sends requests."""
        return set(self._cluster.servers(balancer, self.name))

    def await_rotation(self, ids: set[str], within_s: float = SOON_S) -> None:
        """Wait until both balancers send to exactly these instances."""
        what = f"{len(ids)} instances of {self.name} are in rotation"
        until(lambda: all(self.in_rotation(balancer) == ids for balancer in (1, 2)), within_s, what, pace_s=0.1)

    def _node(self, number: int) -> str:
        return f"{self.name}-host{number % NODES}"

    def _remove(self) -> None:
        for number in range(NODES):
            self._call("/v1/catalog/deregister", {"Node": self._node(number)})
        # Nothing of theirs answers any more, so the render guard lets them go without a wait.
        if found := docker("ps", "-aq", "--filter", f"label=eratos.bench={self.name}").split():
            docker("rm", "-f", "-v", *found)
        self.await_rotation(set())

    def _call(self, path: str, body: Any) -> None:
        """Call consul1, each thread over a connection of its own."""
        connection = getattr(self._connections, "kept", None)
        if connection is None:
            connection = self._connections.kept = http.client.HTTPConnection(*self._at, timeout=ANSWER_S)
        try:
            connection.request("PUT", path, json.dumps(body))
            response = connection.getresponse()
            answer = response.read()
        except (OSError, http.client.HTTPException):
            connection.close()
            raise
        assert response.status == 200, f"{path}: {response.status} {answer!r}"


def run_with_service(name: str, measure: Callable[[Cluster, Service], dict[str, Any]]) -> None:
    """Measure with a service that is gone afterwards, also where this is interrupted; print the figures as one JSON object."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    cluster = Cluster.from_environment()
    try:
        with Service(cluster, name) as service:
            found = measure(cluster, service)
    except KeyboardInterrupt:
        print("interrupted; the cluster is as it was", file=sys.stderr)
        sys.exit(130)
    print(json.dumps(found))
