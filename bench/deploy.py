"""Whether deployments wait for each other, and whether an upgrade loses requests.

* ``parallel_ratio``: seconds until 16 apps of 50 tasks run that are made at once, each by a deployment of its own, over those
  of one app of 800; tasks that do nothing on a real master and three real agents, every intent stored in ZooKeeper. Median of
  interleaved pairs, each with a scheduler of its own.
* ``failed``: requests that failed while 100 workers behind both balancers were replaced by others.

Run by ``./dev bench deploy``: the first part starts containers of its own, the second uses an app of its own on the cluster that
is up, and leaves that as it was. The last line is one JSON object.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from typing import Any

import _noop
from _fleet import Fleet, machine
from _load import Load, carried_per_s

APPS, EACH = 16, 50
#: Of what the fleet carries, as the machine carries the replacement as well.
LOAD_SHARE = 0.1
UPGRADE_S = 900.0
#: A worker takes a third of it; that of other benchmarks leaves no room for so many on a small machine.
MEM_MIB = 32
SHAPES = {"one": {"/one": APPS * EACH}, "many": {f"/many-{number}": EACH for number in range(APPS)}}


def measured(shape: str, master: str, zookeeper: str) -> float:
    """Launch one of the SHAPES by a scheduler in a process of its own; return its seconds."""
    command = [sys.executable, "-P", __file__, "--one", shape, "--at", master, zookeeper]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600)
    if done.returncode:
        raise SystemExit(f"{shape} failed:\n{done.stderr[-3000:]}")
    return float(done.stdout.split()[-1])


def parallel(repeat: int) -> dict[str, Any]:
    """Launch 16 apps at once, and one as large as all of them."""
    took: dict[str, list[float]] = {shape: [] for shape in SHAPES}
    with _noop.mesos() as (master, zookeeper):
        for number in range(repeat):
            for shape in sorted(SHAPES, reverse=bool(number % 2)):  # whoever comes second may find it warm, or tired
                took[shape].append(measured(shape, master, zookeeper))
            print(f"pair {number + 1} of {repeat}: one {took['one'][-1]:.2f} s, many {took['many'][-1]:.2f} s", flush=True)
    one, many = statistics.median(took["one"]), statistics.median(took["many"])
    ratios = [many / one for one, many in zip(took["one"], took["many"], strict=True)]
    return {
        "parallel_ratio": round(statistics.median(ratios), 3),
        "one_app_s": round(one, 3),
        "many_apps_s": round(many, 3),
        "pairs": repeat,
    }


def upgrade(count: int) -> dict[str, Any]:
    """Replace a fleet under load."""
    over = {"upgradeStrategy": {"minimumHealthCapacity": 1, "maximumOverCapacity": 0.1}}
    with Fleet("bench-deploy", work_s=0.001, mem=MEM_MIB, taskKillGracePeriodSeconds=2, **over) as fleet:
        fleet.scale(count, UPGRADE_S)
        rate = max(5.0, LOAD_SHARE * carried_per_s(fleet.cluster.balancers, fleet.host, fleet.instance))
        print(f"{count} workers run, {rate:.0f} requests a second from here on", flush=True)
        with Load(fleet.cluster.balancers, fleet.host, fleet.instance, rate_per_s=rate) as load:
            began = time.monotonic()
            fleet.replace({"RELEASE": "2"}, count, UPGRADE_S)
            took = time.monotonic() - began
            report = load.stop()
    return {
        "failed": report.failed,
        "reasons": report.reasons,
        "requests": report.requests,
        "retried": report.retried,
        "upgrade_s": round(took, 1),
        "upgraded": count,
    }


def main() -> None:
    parser = argparse.ArgumentParser(prog="./dev bench deploy", description=__doc__.splitlines()[0])
    parser.add_argument("--repeat", type=int, default=15, help="pairs of 16 apps and one, interleaved (default: 15)")
    parser.add_argument("--count", type=int, default=100, help="workers that are upgraded (default: 100)")
    parser.add_argument("--only", choices=("parallel", "upgrade"), help="one of the two parts")
    parser.add_argument("--one", choices=tuple(SHAPES), help=argparse.SUPPRESS)
    parser.add_argument("--at", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        with _noop.scheduler(*options.at) as loop:
            print(_noop.launch(loop, SHAPES[options.one]))
        return
    found: dict[str, Any] = {}
    if options.only != "upgrade":
        found |= parallel(options.repeat)
    if options.only != "parallel":
        found |= upgrade(options.count)
    print(json.dumps({**found, **machine()}))


if __name__ == "__main__":
    main()
