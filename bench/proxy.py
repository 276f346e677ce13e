"""What the balancer's configuration costs: its requests/s over those of the least HAProxy that does the same.

balancer1, as it runs with all that it serves, against a hand-written configuration of some lines: the same image, the same
number of threads, the same servers, in turns on the same machine. The load generator is wrk, in a container on the cluster's own
network, and asks both directly there: a published port goes through Docker's own proxy, a slower thing than HAProxy, which would
make all balancers look alike. The servers are one HAProxy that answers by itself, registered in Consul like any service. Run by
``./dev bench proxy`` on a running cluster, which it leaves as it was, after ctrl-C, too. The last line is one JSON object.

* ``ratio``: requests/s of balancer1 over those of the hand-written one, median of the pairs. wrk and the servers need CPU as
  well; on a machine with few cores that is in both figures and brings the ratio nearer to 1.
* ``cpu_ratio``: the same without that: CPU time of HAProxy for a request, hand-written over balancer1, median of the pairs.
* ``repeating_ratio``, ``repeating_cpu_ratio``: over the hand-written one that repeats requests whose server has died, as the
  balancer does, which takes HAProxy a copy of each: what is left is the rest of the configuration.
* ``without_id_cpu_us`` and on: CPU time of balancers that differ in what requests get of ids and lines in the log, and in
  nothing else (:data:`REQUESTS`). Their servers stand in a file. ``..._more_cpu``: over that of the one without ids, median of
  the pairs.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import statistics
from collections.abc import Mapping
from contextlib import ExitStack
from functools import partial
from typing import Any, Final

from _fleet import machine
from _servers import FIRST_PORT, Service, address, balancer, haproxy, minimal, network, run_with_service, servers
from devtool.cluster import Compose
from devtool.settings import read_settings
from support.cluster import SOON_S, Cluster
from support.containers import docker, run_container
from support.waiting import until

NAME = "bench-proxy"
WRK = "eratos/wrk"
PORT = 8000
#: What requests may get, by the settings of a balancer. ``beside_logged`` is what an app without lines pays on a frontend where
#: another one has them: HAProxy writes the line of every request there before it drops it.
REQUESTS: Final[Mapping[str, Mapping[str, str]]] = {
    "without_id": {"ERATOS_REQUEST_ID": "off"},
    "with_id": {},
    "beside_logged": {"ERATOS_LOG_REQUESTS": "0.001%"},
    "sampled": {"ERATOS_LOG_REQUESTS": "5%"},
    "logged": {"ERATOS_LOG_REQUESTS": "all"},
}


def where(answering: str, count: int) -> list[str]:
    """Return the addresses of so many servers of the container that answers."""
    return [f"{address(answering)}:{FIRST_PORT + number}" for number in range(count)]


def threads_of(container: str) -> int:
    """Return how many threads a balancer's HAProxy has, by its settings."""
    environment = docker("inspect", "--format", "{{json .Config.Env}}", container)
    return int(dict(line.split("=", 1) for line in json.loads(environment)).get("ERATOS_THREADS", 2))


def cpu_s(container: str) -> float:
    """Return the CPU time that all HAProxy processes of a container have used."""
    used = 0.0
    for line in docker("exec", container, "sh", "-c", "cat /proc/[0-9]*/stat 2>/dev/null || true").splitlines():
        name, _, rest = line.rpartition(")")
        if name.endswith("(haproxy"):
            user, system = rest.split()[11:13]
            used += (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")
    return used


def requests_per_s(wrk: str, target: str, host: str, options: argparse.Namespace, seconds: int) -> tuple[float, int]:
    """Load one proxy; return requests a second and the number of requests. Ends where any was not answered well."""
    said = docker(
        "exec", wrk, "wrk", "-t1", f"-c{options.connections}", f"-d{seconds}s", "--timeout", "10s",
        "-H", f"Host: {host}", f"http://{address(target)}:{PORT}/",
    )  # fmt: skip
    if "Non-2xx" in said or "Socket errors" in said:
        raise SystemExit(f"not every request was answered, so there is nothing to compare:\n{said}")
    rate, number = re.search(r"Requests/sec: +([\d.]+)", said), re.search(r"(\d+) requests in", said)
    assert rate and number, said
    return float(rate[1]), int(number[1])


def one(wrk: str, target: str, host: str, options: argparse.Namespace) -> tuple[float, float]:
    """Return a proxy's requests a second, and its CPU time in microseconds for a request."""
    before = cpu_s(target)
    rate, number = requests_per_s(wrk, target, host, options, options.seconds)
    return rate, (cpu_s(target) - before) / number * 1e6


def serves(container: str, count: int) -> bool:
    """Return whether the HAProxy of a balancer without Consul sends to so many servers."""
    found = docker("exec", container, "curl", "-s", "http://127.0.0.1:9090/stats;csv")
    return sum(line.startswith("static,") and ",UP," in line for line in found.splitlines()) == count + 1  # and the backend


def measure(cluster: Cluster, service: Service, options: argparse.Namespace) -> dict[str, Any]:
    ours = cluster.container_of("balancer1")
    count = options.servers
    with ExitStack() as stack:
        answering = stack.enter_context(servers(cluster, NAME, count))
        at, threads = where(answering, count), threads_of(ours)
        least = stack.enter_context(haproxy(cluster, NAME, minimal(at, threads, PORT)))
        repeating = stack.enter_context(haproxy(cluster, NAME, minimal(at, threads, PORT, repeats=True)))
        given = {"ERATOS_THREADS": str(threads)}
        others = {name: stack.enter_context(balancer(cluster, NAME, at, **given, **more)) for name, more in REQUESTS.items()}
        container_options = ["--network", network(cluster), "--init", "--label", f"eratos.bench={NAME}"]
        wrk = stack.enter_context(run_container(WRK, "sleep", "infinity", options=container_options))
        for number in range(count):
            service.register(number, address(answering), FIRST_PORT + number)
        service.await_rotation({service.id(number) for number in range(count)})
        for target in others.values():
            until(partial(serves, target, count), SOON_S, "a balancer without Consul serves")
        contenders = {"balancer": ours, "hand-written": least, "repeating": repeating, **others}
        for target in contenders.values():
            requests_per_s(wrk.id, target, service.host, options, 2)  # opens the connections to the servers
        rates: dict[str, list[float]] = {target: [] for target in contenders.values()}
        cpu: dict[str, list[float]] = {target: [] for target in contenders.values()}
        for pair in range(options.pairs):
            for target in contenders.values() if pair % 2 else reversed(contenders.values()):
                rate, us = one(wrk.id, target, service.host, options)
                rates[target].append(rate)
                cpu[target].append(us)
            figures = [f"{name} {rates[target][-1]:.0f}/s at {cpu[target][-1]:.1f} us" for name, target in contenders.items()]
            print(f"pair {pair + 1} of {options.pairs}: {', '.join(figures)}", flush=True)
    return {
        "ratio": ratio(rates[ours], rates[least]),
        "cpu_ratio": ratio(cpu[least], cpu[ours]),
        "repeating_ratio": ratio(rates[ours], rates[repeating]),
        "repeating_cpu_ratio": ratio(cpu[repeating], cpu[ours]),
        "balancer_per_s": round(statistics.median(rates[ours])),
        "minimal_per_s": round(statistics.median(rates[least])),
        "repeating_per_s": round(statistics.median(rates[repeating])),
        "balancer_cpu_us": round(statistics.median(cpu[ours]), 1),
        "minimal_cpu_us": round(statistics.median(cpu[least]), 1),
        "repeating_cpu_us": round(statistics.median(cpu[repeating]), 1),
        **{f"{name}_per_s": round(statistics.median(rates[target])) for name, target in others.items()},
        **{f"{name}_cpu_us": round(statistics.median(cpu[target]), 2) for name, target in others.items()},
        **{f"{name}_more_cpu": ratio(cpu[target], cpu[others["without_id"]]) for name, target in others.items()},
        "connections": options.connections,
        "servers": count,
        "threads": threads_of(ours),
        "pairs": options.pairs,
        **machine(),
    }


def ratio(above: list[float], below: list[float]) -> float:
    """Return the median of the pairs' ratios."""
    return round(statistics.median(a / b for a, b in zip(above, below, strict=True)), 3)


def main() -> None:
    parser = argparse.ArgumentParser(prog="./dev bench proxy", description=__doc__.splitlines()[0])
    parser.add_argument("--pairs", type=int, default=7, help="rounds, in each of which all take their turns (default: 7)")
    parser.add_argument("--seconds", type=int, default=6, help="of each run (default: 6)")
    parser.add_argument("--connections", type=int, default=64, help="of wrk (default: 64)")
    parser.add_argument("--servers", type=int, default=4, help="behind each proxy (default: 4)")
    options = parser.parse_args()
    Compose(read_settings(os.environ)).run("--profile", "bench", "build", "wrk", timeout_s=600)
    run_with_service(NAME, lambda cluster, service: measure(cluster, service, options))


if __name__ == "__main__":
    main()
