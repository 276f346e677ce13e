"""How long a user waits for ``eratos``: the whole life of the process, beside a Python that does nothing.

Run by ``./dev bench cli``. The three commands take turns, so that what else the machine does is in all of them. The last line
is one JSON object:

* ``help_s``, ``list_s``: median wall time of ``eratos --help``, and of ``eratos app list`` on the running cluster.
* ``python_s``: the same of ``python3 -c pass``, in the same virtual environment.
* ``help_cpu_s``, ``list_cpu_s``, ``python_cpu_s``: median CPU time, which a busy machine changes less.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path

from devtool import secure
from devtool.settings import SCHEDULERS, read_settings

AT_MOST_S = {"help": 0.15, "list": 0.3}


def once(command: list[str], environment: dict[str, str]) -> tuple[float, float]:
    """Run a command to its end; return its wall time and its CPU time in seconds."""
    before, begun = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run(command, env=environment, stdout=subprocess.DEVNULL, check=True)
    wall, after = time.perf_counter() - begun, resource.getrusage(resource.RUSAGE_CHILDREN)
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def api_environment() -> dict[str, str]:
    """Return the environment of a user of the running cluster, with its credentials where it asks for some."""
    settings = read_settings(os.environ)
    found = {name: value for name, value in os.environ.items() if not name.startswith(("ERATOS_", "PYTHON"))}
    urls = ",".join(settings.url("API", number) for number in range(1, SCHEDULERS + 1))
    access = secure.access(settings, "API")
    if access.authorities is not None:
        found |= {"ERATOS_CA_FILE": str(access.authorities), "ERATOS_TOKEN": access.headers["Authorization"].partition(" ")[2]}
    return found | {"ERATOS_URL": urls}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--times", type=int, default=30, help="how often each command runs")
    options = parser.parse_args()
    script = str(Path(sys.executable).with_name("eratos"))
    commands = {"python": [sys.executable, "-c", "pass"], "help": [script, "--help"], "list": [script, "app", "list"]}
    environment = api_environment()
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in commands}
    for name, command in commands.items():
        once(command, environment)  # so that its files are in memory, as they are for who works
        print(f"{name}: {' '.join(command)}", flush=True)
    for _ in range(options.times):
        for name, command in commands.items():
            found[name].append(once(command, environment))
    result: dict[str, float] = {}
    for name, times in found.items():
        wall, cpu = (statistics.median(column) for column in zip(*times, strict=True))
        result |= {f"{name}_s": round(wall, 3), f"{name}_cpu_s": round(cpu, 3)}
    for name, most in AT_MOST_S.items():
        print(f"{name}: {result[f'{name}_s']} s, of {most} s at most")
    print(json.dumps(result))


if __name__ == "__main__":
    main()
