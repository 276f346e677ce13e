"""How fast tasks are brought to run on a real master and three real agents, beside the least pymesos framework there is.

The tasks do nothing, so what is measured is Mesos and the framework: eratos with every intent stored in ZooKeeper before
its launch and every update stored before its acknowledgement, the other with neither. Run by ``./dev bench control``; it
starts containers of its own (``./dev up`` has built the images). The last line is one JSON object.

* ``ratio_4500``: tasks per second of eratos over those of bare pymesos, at 4,500 tasks.
* ``flatness``: time per task of eratos at 4,500 over that at 300.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import statistics
import subprocess
import sys
import time
import uuid
from pathlib import Path

import _bare_pymesos
from support.builders import an_app
from support.containers import run_container
from support.mesos_containers import EXECUTOR_PATH, run_agent, run_master
from support.waiting import until

from eratos.common.resources import Resources
from eratos.scheduler.core.events import PutApps
from eratos.scheduler.core.machine import Machine
from eratos.scheduler.core.mesos_types import TaskState
from eratos.scheduler.core.state import State
from eratos.scheduler.core.step import Settings
from eratos.scheduler.election import open_store_and_election
from eratos.scheduler.loop import Loop
from eratos.scheduler.mesos.driver import SchedulerDriver
from eratos.scheduler.mesos.settings import ExecutorSettings, MesosSettings

HERE = Path(__file__).parent

AGENTS = 3
RESOURCES = "cpus:200;mem:200000;disk:1000;ports:[31000-31001]"
COMMAND = f"/opt/eratos/bin/python {EXECUTOR_PATH}/_noop_executor.py"
ENVIRONMENT = {"PYTHONPATH": EXECUTOR_PATH}
CPUS, MEM_MIB = 0.01, 8
PUBLISHED = {"marathon_500_docker_tasks_189_agents_per_s": 35, "nomad_c1m_5000_hosts_per_s": 3750}


def ours(master: str, zookeeper: str, count: int) -> float:
    """Bring ``count`` tasks to run through the whole scheduler but its API; return the seconds they took."""
    import threading

    executor = ExecutorSettings(COMMAND, environment=ENVIRONMENT, resources=Resources(cpus_m=100, mem_mib=64, disk_mib=16))
    store, election = open_store_and_election(f"{zookeeper}/bench-{uuid.uuid4()}", "bench")
    election.start()
    assert election.wait_until_leader(30)
    store.begin_term(election.ballot)
    driver = SchedulerDriver(MesosSettings(master, executor), lambda event: loop.emit(event))
    settings = Settings(driver.executor_id, driver.executor_resources)
    loop = Loop(Machine(store.load(), settings, lambda: str(uuid.uuid4()), time.time()), store, time.time)
    thread = threading.Thread(target=loop.run, args=(driver,), daemon=True)
    driver.start("")
    thread.start()
    try:
        _launch(loop, "/warm", AGENTS)
        return _launch(loop, "/noop", count)
    finally:
        driver.teardown()
        loop.stop()
        thread.join(10)
        store.close()
        election.close()


def _launch(loop: Loop, app_id: str, count: int) -> float:
    app = an_app(app_id, count, cpus=CPUS, mem=MEM_MIB, portDefinitions=[])

    def running(state: State) -> int:
        return sum(number for kind, number in state.fleet(app_id).tally.items() if kind.state is TaskState.RUNNING)

    began = time.monotonic()
    loop.submit(PutApps((app,))).result(30)
    until(lambda: loop.read(running) == count, 300, f"{count} tasks run", pace_s=0.01)
    return time.monotonic() - began


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
        print(ours(*options.at, options.count))
        os._exit(0)
    if options.one == "bare":
        print(_bare_pymesos.run(options.at[0], COMMAND, ENVIRONMENT, CPUS, MEM_MIB, options.count), flush=True)
        os._exit(0)
    with contextlib.ExitStack() as stack:
        zookeeper = stack.enter_context(run_container("eratos/zookeeper", ports=[2181]))
        master = stack.enter_context(run_master(zookeeper))
        for _ in range(AGENTS):
            stack.enter_context(run_agent(zookeeper, RESOURCES, HERE / "_noop_executor.py"))
        address = f"zk://127.0.0.1:{zookeeper.ports[2181]}"
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
