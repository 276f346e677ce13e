"""What sudden deaths cost: requests lost, and the time to full strength, for each part that can die.

Under a steady load through both balancers: one worker killed every second for a minute; then, one after the other, an executor,
a Consul agent, a Consul server, consul-template, HAProxy's worker process, and a whole agent host (its Mesos agent, Consul agent
and workers at once). All by SIGKILL. What its supervisor starts again comes back by itself; a Consul container, whose only
process that is, is started again at once, as its host's supervisor would; the host stays off until its workers run elsewhere.
Each request not answered with 200 counts as failed. Beside it go POSTs to an app of
their own, which a balancer must not repeat elsewhere once they have reached an instance: what counts is that they fail soon.

Run by ``./dev bench crash`` on a running cluster; it uses an app of its own and leaves the cluster as it was. The last line is
one JSON object.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import random
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import _patient
from _fleet import Fleet, machine
from _load import Load, Report, carried_per_s
from support.cluster import AFTER_HOST_LOSS_S
from support.containers import docker, processes

WORK_S = 0.02
COUNT = 20
#: Of these some are always under way, and they cost next to nothing.
POSTS_PER_S = 10.0
PATIENT = 6
#: The fleet is whole when nothing is amiss for this long: some faults are noticed late.
CALM_S = 10.0
PACE_S = 0.1
#: Kills, one a second.
KILLS = 60


@dataclass(frozen=True)
class Fault:
    """A way to die. ``strike`` may wait, and may yield for what has to be done once the fleet is whole again."""

    name: str
    strike: Callable[[Fleet], contextlib.AbstractContextManager[None]]
    within_s: float = 120.0


@contextlib.contextmanager
def workers(fleet: Fleet) -> Iterator[None]:
    """Kill a worker every second; fewer, should a kill take longer."""
    choice = random.Random(1)
    began = time.monotonic()
    for number in range(KILLS):
        time.sleep(max(0.0, began + number - time.monotonic()))
        containers = sorted(fleet.cluster.containers(fleet.app["id"]).values())
        docker("kill", choice.choice(containers))
    yield


def process(service: str, command: str) -> Callable[[Fleet], contextlib.AbstractContextManager[None]]:
    """Return a strike at the youngest process of a container whose command line begins so."""

    @contextlib.contextmanager
    def strike(fleet: Fleet) -> Iterator[None]:
        container = fleet.cluster.container_of(service)
        found = processes(container, command)
        assert found, f"no process {command} in {service}"
        docker("exec", "-u", "0", container, "sh", "-c", f"kill -9 {found[-1]}")
        yield

    return strike


def container(service: str) -> Callable[[Fleet], contextlib.AbstractContextManager[None]]:
    """Return a strike at a container's only process; it is started again at once."""

    @contextlib.contextmanager
    def strike(fleet: Fleet) -> Iterator[None]:
        found = fleet.cluster.container_of(service)
        docker("kill", found)
        docker("start", found)
        yield

    return strike


@contextlib.contextmanager
def host(fleet: Fleet) -> Iterator[None]:
    """Cut the power of a host, and give it back once its workers run elsewhere."""
    fleet.cluster.power_off("agent3")
    try:
        yield
    finally:
        fleet.cluster.power_on("agent3")


FAULTS = (
    Fault("worker", workers),
    Fault("executor", process("agent1", "/opt/eratos/bin/python*eratos-executor")),
    Fault("consul", container("consul-agent1")),
    Fault("consul_server", container("consul1")),
    Fault("consul_template", process("balancer1", "consul-template")),
    Fault("haproxy", process("balancer1", "haproxy")),
    Fault("host", host, AFTER_HOST_LOSS_S),
)


def whole_again_s(fleet: Fleet, within_s: float) -> float:
    """Return the seconds until the fleet was at rest with all its instances, and stayed so."""
    began = time.monotonic()
    whole_since = None
    while True:
        amiss = ""
        try:
            fleet.cluster.at_rest(fleet.app, COUNT)
        except (AssertionError, OSError) as error:
            amiss = str(error)
        now = time.monotonic()
        whole_since = None if amiss else whole_since or now
        if whole_since and now - whole_since >= CALM_S:
            return whole_since - began
        if now - began > within_s + CALM_S:
            raise SystemExit(f"the fleet is not whole again after {within_s:.0f} s: {amiss}")
        time.sleep(PACE_S)


def suffer(fleet: Fleet, patient: Fleet, fault: Fault, rate_per_s: float) -> tuple[Report, Report, float]:
    """Let one fault happen under load; return what became of GETs and POSTs, and the seconds from its end to full strength."""
    with (
        Load(fleet.cluster.balancers, fleet.host, rate_per_s=rate_per_s) as load,
        Load(fleet.cluster.balancers, patient.host, rate_per_s=POSTS_PER_S, method="POST") as posting,
        fault.strike(fleet),
    ):
        strength_s = whole_again_s(fleet, fault.within_s)
        report, posts = load.stop(), posting.stop()
    print(
        f"{fault.name}: {report.failed} of {report.requests} requests failed {report.reasons or ''}, "
        f"whole again after {strength_s:.1f} s; {report.retried} retried, p99 {report.p99_s * 1000:.0f} ms, "
        f"slowest {report.slowest_s * 1000:.0f} ms; of {posts.requests} POSTs {posts.failed} failed {posts.reasons or ''}, "
        f"slowest {posts.slowest_s * 1000:.0f} ms",
        flush=True,
    )
    return report, posts, strength_s


def main() -> None:
    names = [fault.name for fault in FAULTS]
    parser = argparse.ArgumentParser(prog="./dev bench crash", description=__doc__.splitlines()[0])
    parser.add_argument("--share", type=float, default=0.5, help="of what the machine carries (default: 0.5)")
    parser.add_argument("--only", choices=names, action="append", help="this fault only; may be given more than once")
    options = parser.parse_args()
    figures: dict[str, Any] = {}
    # The fleet dies on purpose here, which no crash-loop back-off should answer.
    hasty = {"backoffSeconds": 1, "backoffFactor": 1.0}
    with (
        Fleet("bench-crash", work_s=WORK_S, **hasty) as fleet,
        Fleet("bench-crash-posts", work_s=0, **_patient.app(**hasty)) as patient,
    ):
        fleet.scale(COUNT)
        patient.scale(PATIENT)
        carried = carried_per_s(fleet.cluster.balancers, fleet.host)
        rate_per_s = options.share * carried
        print(f"the machine carries {carried:.0f} requests/s; the load is {rate_per_s:.0f}/s", flush=True)
        for fault in FAULTS:
            if fault.name in (options.only or names):
                report, posts, strength_s = suffer(fleet, patient, fault, rate_per_s)
                figures[f"failed_{fault.name}"] = report.failed
                figures[f"requests_{fault.name}"] = report.requests
                figures[f"slowest_{fault.name}_s"] = report.slowest_s
                figures[f"failed_posts_{fault.name}"] = posts.failed
                figures[f"requests_posts_{fault.name}"] = posts.requests
                figures[f"slowest_posts_{fault.name}_s"] = posts.slowest_s
                figures[f"strength_{fault.name}_s"] = round(strength_s, 2)
                fleet.cluster.settle(fleet.app, COUNT)
    print(json.dumps({**figures, "carried_per_s": round(carried, 1), "rate_per_s": round(rate_per_s, 1), **machine()}))


if __name__ == "__main__":
    main()
