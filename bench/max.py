"""How many requests a second come through one balancer and through two, and what is in the way of more.

A fleet of workers that compute next to nothing is loaded at higher and higher rates until the 99th percentile is beyond
``--p99`` or a request fails; the search and what it says of the obstacle are those of ``./dev load --find-max``. The same is done
through a HAProxy with the same servers in a list that was written by hand, on the same network. Run by ``./dev bench max`` on a
running cluster, which it leaves as it was. The last line is one JSON object.

* ``max_per_s``: through both balancers; ``one_per_s``: through the first alone; ``minimal_per_s``: through the hand-written one.
* ``ratio``: one_per_s / minimal_per_s.
* ``obstacle``: what was in the way of more through both.
"""

from __future__ import annotations

import argparse
import json
import os
from dataclasses import replace
from typing import Any

from _fleet import Fleet, machine
from _load import project
from _servers import address, haproxy, minimal
from devtool.load import plan
from devtool.load.command import find_most
from devtool.load.plan import HTTP_PORT, Aim, Shape, Target
from devtool.settings import Settings, read_settings
from support.cluster import Cluster

NAME = "bench-max"
WORKERS = 12


def servers(cluster: Cluster) -> list[str]:
    """Return where the fleet's instances are."""
    answer = cluster.ask("GET", "ERATOS_CONSUL_PORT", f"/v1/health/service/{NAME}?passing").json()
    at = [f"{entry['Service']['Address'] or entry['Node']['Address']}:{entry['Service']['Port']}" for entry in answer]
    assert len(at) == WORKERS, f"{len(at)} of {WORKERS} workers are ready"
    return at


def measure(settings: Settings, aim: Aim, p99_s: float) -> dict[str, Any]:
    print(f"{aim.what}:", flush=True)
    found = find_most(settings, aim, Shape(), p99_s)
    print(f"  {found['max_per_s']:.0f}/s; in the way of more: {found['obstacle']}", flush=True)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(prog="./dev bench max", description=__doc__.splitlines()[0])
    parser.add_argument("--p99", type=float, default=0.25, help="99 of 100 answers within so many seconds (default: 0.25)")
    options = parser.parse_args()
    settings = read_settings(os.environ)
    project()  # builds the load generator
    with Fleet(NAME, work_s=0) as fleet:
        fleet.scale(WORKERS)
        both = replace(plan.at_app(settings, NAME), named=True)
        first = replace(both, targets=both.targets[:1], what=f"/{NAME} through {both.targets[0].name}")
        with haproxy(fleet.cluster, NAME, minimal(servers(fleet.cluster), 2, HTTP_PORT)) as container:
            by_hand = Target("by hand", f"http://{address(container)}:{HTTP_PORT}")
            found = [
                measure(settings, aim, options.p99)
                for aim in (both, first, replace(both, targets=(by_hand,), what="a hand-written HAProxy"))
            ]
    two, one, least = (figures["max_per_s"] for figures in found)
    print(
        json.dumps(
            {
                "max_per_s": two,
                "one_per_s": one,
                "minimal_per_s": least,
                "ratio": round(one / least, 3) if least else 0.0,
                "obstacle": found[0]["obstacle"],
                "obstacle_one": found[1]["obstacle"],
                "obstacle_minimal": found[2]["obstacle"],
                "settings": found[0]["settings"],
                "p99_s": options.p99,
                "workers": WORKERS,
                **machine(),
            }
        )
    )


if __name__ == "__main__":
    main()
