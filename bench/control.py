"""How fast tasks are brought to run on a real master and three real agents, beside the least pymesos framework there is.

The tasks do nothing, so what is measured is Mesos and the framework: eratos with every intent stored in ZooKeeper before
its launch and every update stored before its acknowledgement, the other with neither. Run by ``./dev bench control``; it
starts containers of its own (``./dev up`` has built the images). The last line is one JSON object.

* ``ratio_4500``: tasks per second of eratos over those of bare pymesos, at 4,500 tasks.
* ``flatness``: time per task of eratos at 4,500 over that at 300.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys

import _bare_pymesos
import _noop

PUBLISHED = {"marathon_500_docker_tasks_189_agents_per_s": 35, "nomad_c1m_5000_hosts_per_s": 3750}


def ours(master: str, zookeeper: str, count: int) -> float:
    """Bring ``count`` tasks to run through the whole scheduler but its API; return the seconds they took."""
    with _noop.scheduler(master, zookeeper) as loop:
        return _noop.launch(loop, {"/noop": count})


def measured(framework: str, master: str, zookeeper: str, count: int) -> float:
    """Run one framework in a process of its own; return its seconds."""
    command = [sys.executable, "-P", __file__, "--one", framework, "--count", str(count), "--at", master, zookeeper]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600)
    if done.returncode:
        raise SystemExit(f"{framework} with {count} tasks failed:\n{done.stderr[-3000:]}")
    return float(done.stdout.split()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(prog="./dev bench control", description=__doc__.splitlines()[0])
    parser.add_argument("--repeat", type=int, default=3, help="pairs for each number of tasks, interleaved (default: 3)")
    parser.add_argument("--one", choices=("ours", "bare"), help=argparse.SUPPRESS)
    parser.add_argument("--count", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--at", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one == "ours":
        master, zookeeper = options.at
        print(ours(master, zookeeper, options.count))
        os._exit(0)
    if options.one == "bare":
        at, command = options.at[0], (_noop.COMMAND, _noop.ENVIRONMENT, _noop.CPUS, _noop.MEM_MIB)
        print(_bare_pymesos.run(at, *command, options.count), flush=True)
        os._exit(0)
    with _noop.mesos() as (master, address):
        rates: dict[str, dict[int, float]] = {"ours": {}, "bare": {}}
        for count in (300, 1500, 4500):
            took: dict[str, list[float]] = {"ours": [], "bare": []}
            for _ in range(options.repeat):
                for framework in ("bare", "ours"):
                    took[framework].append(measured(framework, master, address, count))
            for framework, seconds in took.items():
                rates[framework][count] = count / statistics.median(seconds)
            print(f"{count} tasks: ours {rates['ours'][count]:.0f}/s, bare pymesos {rates['bare'][count]:.0f}/s", flush=True)
    print(
        json.dumps(
            {
                "ratio_4500": round(rates["ours"][4500] / rates["bare"][4500], 2),
                "flatness": round(rates["ours"][300] / rates["ours"][4500], 2),
                "ours_per_s": {str(count): round(rate) for count, rate in rates["ours"].items()},
                "bare_pymesos_per_s": {str(count): round(rate) for count, rate in rates["bare"].items()},
                "published": PUBLISHED,
                "cores": os.cpu_count(),
            }
        )
    )


if __name__ == "__main__":
    main()
