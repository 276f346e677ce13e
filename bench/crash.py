"""What sudden deaths cost: requests lost, and the time to full strength, for each part that can die.

Under a steady load through both balancers: one worker killed every second for a minute; then, one after the other, an executor,
a Consul agent, a Consul server, consul-template, HAProxy's worker process, and a whole agent host (its Mesos agent, Consul agent
and workers at once). They die by the faults of ``./dev chaos``. What its supervisor starts again comes back by itself; a Consul
container, whose only process that is, is started again at once, as its host's supervisor would; the host stays off until its
workers run elsewhere. Each request not answered with 200 counts as failed. Beside it go POSTs to an app of their own, which a
balancer must not repeat elsewhere once they have reached an instance: what counts is that they fail soon.

Run by ``./dev bench crash`` on a running cluster; it uses an app of its own and leaves the cluster as it was. The last line is
one JSON object.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import _patient
from _fleet import Fleet, machine
from _load import Load, Report, carried_per_s
from devtool.alone import alone
from devtool.chaos import ground, striking
from devtool.chaos.command import journal_of, make_good
from devtool.settings import Settings, read_settings
from support.cluster import AFTER_HOST_LOSS_S

WORK_S = 0.02
COUNT = 20
#: Of these some are always under way, and they cost next to nothing.
POSTS_PER_S = 10.0
PATIENT = 6
#: The fleet is whole when nothing is amiss for this long: some faults are noticed late.
CALM_S = 10.0
PACE_S = 0.1


@dataclass(frozen=True)
class Death:
    """A way to die: a fault of chaos on a part, or on one by chance, again and again or until the fleet is whole."""

    name: str
    fault: str
    part: str = ""
    times: int = 1  #: one a second
    lasting: bool = False
    within_s: float = 120.0


DEATHS = (
    Death("worker", "worker-killed", times=60),
    Death("executor", "executor-killed", "agent1"),
    Death("consul", "consul-agent-off", "consul-agent1"),
    Death("consul_server", "consul-server-off"),
    Death("consul_template", "consul-template-killed", "balancer1"),
    Death("haproxy", "haproxy-killed", "balancer1"),
    Death("host", "host-off", "agent3", lasting=True, within_s=AFTER_HOST_LOSS_S),
)


def die(settings: Settings, fleet: Fleet, death: Death, whole: Callable[[], float]) -> float:
    """Have a death, and return what ``whole`` measures after it."""
    journal = journal_of(settings)
    began = time.monotonic()
    with contextlib.ExitStack() as lasting:
        for number in range(death.times):
            time.sleep(max(0.0, began + number - time.monotonic()))
            with contextlib.ExitStack() as struck:
                struck.enter_context(striking.broken(settings, journal, fleet.app["id"], death.fault, death.part))
                if death.lasting:
                    lasting.push(struck.pop_all())
        return whole()


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


def suffer(settings: Settings, fleet: Fleet, patient: Fleet, death: Death, rate_per_s: float) -> tuple[Report, Report, float]:
    """Have a death under load; return what became of GETs and POSTs, and the seconds from its end to full strength."""
    with (
        Load(fleet.cluster.balancers, fleet.host, fleet.instance, rate_per_s=rate_per_s) as load,
        Load(fleet.cluster.balancers, patient.host, patient.instance, rate_per_s=POSTS_PER_S, method="POST") as posting,
    ):
        strength_s = die(settings, fleet, death, lambda: whole_again_s(fleet, death.within_s))
        report, posts = load.stop(), posting.stop()
    print(
        f"{death.name}: {report.failed} of {report.requests} requests failed {report.reasons or ''}, "
        f"whole again after {strength_s:.1f} s; {report.retried} retried, p99 {report.p99_s * 1000:.0f} ms, "
        f"slowest {report.slowest_s * 1000:.0f} ms; of {posts.requests} POSTs {posts.failed} failed {posts.reasons or ''}, "
        f"slowest {posts.slowest_s * 1000:.0f} ms",
        flush=True,
    )
    return report, posts, strength_s


def main() -> None:
    names = [death.name for death in DEATHS]
    parser = argparse.ArgumentParser(prog="./dev bench crash", description=__doc__.splitlines()[0])
    parser.add_argument("--share", type=float, default=0.5, help="of what the machine carries (default: 0.5)")
    parser.add_argument("--only", choices=names, action="append", help="this death only; may be given more than once")
    options = parser.parse_args()
    settings = read_settings(os.environ)
    # The fleet dies on purpose here, which no crash-loop back-off should answer.
    hasty = {"backoffSeconds": 1, "backoffFactor": 1.0}
    with (
        alone(settings),
        Fleet("bench-crash", work_s=WORK_S, **hasty) as fleet,
        Fleet("bench-crash-posts", work_s=0, **_patient.app(**hasty)) as patient,
    ):
        make_good(settings)
        ground.require(settings)
        fleet.scale(COUNT)
        patient.scale(PATIENT)
        carried = carried_per_s(fleet.cluster.balancers, fleet.host, fleet.instance)
        rate_per_s = options.share * carried
        print(f"the machine carries {carried:.0f} requests/s; the load is {rate_per_s:.0f}/s", flush=True)
        figures: dict[str, Any] = {}
        for death in DEATHS:
            if death.name in (options.only or names):
                report, posts, strength_s = suffer(settings, fleet, patient, death, rate_per_s)
                figures[f"failed_{death.name}"] = report.failed
                figures[f"requests_{death.name}"] = report.requests
                figures[f"slowest_{death.name}_s"] = report.slowest_s
                figures[f"failed_posts_{death.name}"] = posts.failed
                figures[f"requests_posts_{death.name}"] = posts.requests
                figures[f"slowest_posts_{death.name}_s"] = posts.slowest_s
                figures[f"strength_{death.name}_s"] = round(strength_s, 2)
                fleet.cluster.settle(fleet.app, COUNT)
    print(json.dumps({**figures, "carried_per_s": round(carried, 1), "rate_per_s": round(rate_per_s, 1), **machine()}))


if __name__ == "__main__":
    main()
