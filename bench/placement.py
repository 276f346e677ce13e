"""How fast and how well the core places instances, alone: no Mesos, no store, no network.

One *pass* is ``Machine.handle(OffersReceived)`` with all of it: offers taken in, instances placed, records and launches
made, every unused offer declined. Run by ``./dev bench placement``; needs no cluster. The last line is one JSON object.

* ``ms_200_on_10000``: one pass with an offer of each of 10,000 agents and 200 waiting instances. Fenzo's 56 ms
  (TestLotsOfTasks.java, published) are for the same numbers with offers that it keeps between passes.
* ``packing``: Fenzo's workload (single tasks, half and three-quarter hosts in random order, all of the cluster's CPUs in
  total) placed by packing, 200 at a time; the share of CPUs in use when every task was tried.
* ``flatness``: time per instance on 50,000 agents over that on 1,000, with one instance for five agents in each.
"""

from __future__ import annotations

import argparse
import gc
import itertools
import json
import os
import random
import statistics
import time

from support.builders import EXECUTOR, a_machine, an_app

from eratos.common.resources import PortRanges, Resources
from eratos.scheduler.core import actions, events
from eratos.scheduler.core.machine import Machine
from eratos.scheduler.core.mesos_types import Offer
from eratos.scheduler.long_lived import uncollected

FENZO_MS, FENZO_PACKING = 56, 0.97
PORTS = PortRanges([(31000, 31999)])
HERE = frozenset([EXECUTOR])
_numbers = itertools.count()


def offers_of(free: dict[str, Resources]) -> tuple[Offer, ...]:
    """Return an offer for each agent with what it has free; a fifth of them in each of five zones."""
    return tuple(
        Offer(f"o{next(_numbers)}", agent, agent, resources, PORTS, {}, HERE, "r", f"z{index % 5}")
        for index, (agent, resources) in enumerate(free.items())
    )


def a_core(placement: str, agents: int) -> Machine:
    machine = a_machine(placement=placement, launching_most=10**9)
    machine.handle(events.Subscribed("framework", "master:5050"), 1000.0)
    return machine


def one_pass(agents: int, instances: int) -> float:
    """Return the seconds of one pass over fresh offers of all agents; everything must be placed."""
    machine = a_core("spread", agents)
    machine.handle(events.CommandReceived(1, events.PutApps((an_app("/fleet", instances, cpus=1, mem=512),))), 1000.0)
    event = events.OffersReceived(offers_of({f"a{n}": Resources(8000, 8192, 100_000) for n in range(agents)}))
    gc.collect()
    began = time.process_time()
    with uncollected():  # as the loop does
        out = machine.handle(event, 1001.0)
    took = time.process_time() - began
    launched = sum(len(action.launches) for action in out if isinstance(action, actions.Accept))
    assert launched == instances, f"{launched} of {instances} were placed"
    return took


def packing(agents: int, cpus: int, seed: int) -> float:
    """Fill a cluster with Fenzo's workload; return the share of its CPUs in use."""
    sizes = [1] * round(agents * cpus * 0.2)
    sizes += [cpus // 2] * round(agents * cpus * 0.4 / (cpus // 2))
    sizes += [cpus * 3 // 4] * round(agents * cpus * 0.4 / (cpus * 3 // 4))
    sizes += [1] * (agents * cpus - sum(sizes))
    random.Random(seed).shuffle(sizes)
    machine = a_core("pack", agents)
    free = {f"a{n}": Resources(cpus * 1000, cpus * 1000, 100_000) for n in range(agents)}
    wanted: dict[int, int] = {}
    used = 0
    for start in range(0, len(sizes), 200):
        for size in sizes[start : start + 200]:
            wanted[size] = wanted.get(size, 0) + 1
        apps = tuple(an_app(f"/size-{size}", count, cpus=size, mem=size * 1000) for size, count in sorted(wanted.items()))
        machine.handle(events.CommandReceived(1, events.PutApps(apps, force=True)), 1000.0)
        for action in machine.handle(events.OffersReceived(offers_of({a: f for a, f in free.items() if f.cpus_m})), 1000.0):
            if isinstance(action, actions.Accept):
                for launch in action.launches:
                    free[action.agent_id] -= launch.payload.resources
                    used += launch.payload.resources.cpus_m
    return used / (agents * cpus * 1000)


def main() -> None:
    parser = argparse.ArgumentParser(prog="./dev bench placement", description=__doc__.splitlines()[0])
    parser.add_argument("--repeat", type=int, default=7, help="passes of each size; the median counts (default: 7)")
    options = parser.parse_args()
    per_instance_us: dict[int, float] = {}
    passes: dict[int, float] = {}
    for agents in (1_000, 10_000, 50_000):
        took = statistics.median(one_pass(agents, agents // 5) for _ in range(options.repeat))
        each = per_instance_us[agents] = took / (agents // 5) * 1e6
        print(f"{agents // 5} instances on {agents} agents: {took * 1000:.1f} ms, {each:.1f} us each", flush=True)
        passes[agents] = statistics.median(one_pass(agents, 200) for _ in range(options.repeat))
        print(f"200 instances on {agents} agents: {passes[agents] * 1000:.1f} ms", flush=True)
    shares = [packing(200, 8, seed) for seed in range(3)] + [packing(2_000, 8, 1)]
    print(f"packing: {', '.join(f'{share:.4f}' for share in shares)}", flush=True)
    print(
        json.dumps(
            {
                "ms_200_on_10000": round(passes[10_000] * 1000, 1),
                "packing": round(min(shares), 4),
                "flatness": round(per_instance_us[50_000] / per_instance_us[1_000], 2),
                "ms_200_on_50000": round(passes[50_000] * 1000, 1),
                "us_per_instance": {str(agents): round(us, 1) for agents, us in per_instance_us.items()},
                "published_fenzo_ms_200_on_10000": FENZO_MS,
                "published_fenzo_packing": FENZO_PACKING,
                "cores": os.cpu_count(),
            }
        )
    )


if __name__ == "__main__":
    main()
