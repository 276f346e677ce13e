"""Whether the cluster comes through whatever breaks: every kind of fault, in an order by chance, under load.

First the machine's own limit is measured: what the fleet of ``./dev chaos`` answers when clients ask as fast as they can. Then a
load of 60% of it (``--share``) goes through both balancers while each fault happens once in a round, and after each all
invariants of docs/chaos.md have to hold. It stops at the first that breaks one. Run by ``./dev bench chaos`` on a running
cluster, which it leaves as it was. The last line is one JSON object.

* ``invariants_broken``: of all looks after faults; ``broken`` names them.
* ``answered``: share of the GETs that were answered well. Those to a balancer while a fault had taken it away are apart, as
  ``excused``.
* ``slowest_recovery_s``: from the end of a fault until all was well, of all faults; ``recovery_s`` and ``failed_by_fault``
  have the worst of each, ``strength_s`` the time from a fault's beginning until all instances were in rotation again.
"""

from __future__ import annotations

import argparse
import json
import os
from typing import Any

from _fleet import machine
from devtool.alone import alone
from devtool.chaos import command, faults, ground, scenario, trial
from devtool.load import generator
from devtool.load.plan import Shape, plan
from devtool.settings import Settings, read_settings

SEED = 1
CLIENTS, CLIENTS_S = 32, 8.0


def carried_per_s(settings: Settings) -> float:
    """Return how many requests a second the fleet of chaos answers when clients ask as fast as they can."""
    aim = ground.aim(settings)
    with generator.Load(plan(aim, Shape(clients=CLIENTS, seconds=CLIENTS_S)), aim.network, settings.project) as load:
        summary = load.wait()
    assert summary is not None
    if summary["failed"]:
        raise SystemExit(f"the fleet does not answer, so there is nothing to measure: {summary['reasons']}")
    return float(summary["requests"] / summary["seconds"])


def worst(steps: list[dict[str, Any]], key: str) -> dict[str, Any]:
    """Return the largest value of each fault."""
    found: dict[str, Any] = {}
    for step in steps:
        found[step["step"]] = max(found.get(step["step"], 0), step[key])
    return found


def main() -> None:
    parser = argparse.ArgumentParser(prog="./dev bench chaos", description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=2, help="each fault once in each (default: 2)")
    parser.add_argument("--seed", type=int, default=SEED, help=f"of the order, and of what is struck (default: {SEED})")
    parser.add_argument("--share", type=float, default=0.6, help="of what the machine carries (default: 0.6)")
    parser.add_argument("--only", choices=list(faults.BY_NAME), action="append", default=[], help="may be given more than once")
    parser.add_argument(
        "--without", choices=list(faults.BY_NAME), action="append", default=[], help="may be given more than once"
    )
    options = parser.parse_args()
    settings = read_settings(os.environ)
    chosen = scenario.selection(options.only, options.without)
    with alone(settings):
        found, carried = run(settings, scenario.by_chance(options.seed, options.rounds * len(chosen), chosen), options.share)
    told = (
        "invariants_broken",
        "answered",
        "requests",
        "slowest_recovery_s",
        "failed",
        "excused",
        "wrong_app",
        "reasons",
        "broken",
    )
    print(
        json.dumps(
            {
                **{key: found[key] for key in told},
                "failed_by_fault": worst(found["steps"], "failed"),
                "recovery_s": worst(found["steps"], "recovery_s"),
                "strength_s": worst(found["steps"], "strength_s"),
                "faults": len(found["steps"]),
                "carried_per_s": round(carried, 1),
                "rate_per_s": round(carried * options.share, 1),
                "seed": options.seed,
                **machine(),
            }
        )
    )


def run(settings: Settings, chosen: scenario.Scenario, share: float) -> tuple[dict[str, Any], float]:
    """Measure what the machine carries, and do all faults."""
    measured: list[float] = []

    def rate() -> float:
        measured.append(carried_per_s(settings))
        print(f"the machine carries {measured[0]:.0f} requests/s; the load is {share * measured[0]:.0f}/s", flush=True)
        return share * measured[0]

    found = command.perform(settings, chosen, rate)
    for line in command.told(found, trial.passed(found, command.ANSWERED), command.ANSWERED):
        print(line)
    return found, measured[0]


if __name__ == "__main__":
    main()
