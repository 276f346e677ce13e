"""A real Mesos of a benchmark's own, whose tasks do nothing, and a whole scheduler on it but for its API."""

from __future__ import annotations

import contextlib
import threading
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

from support.builders import an_app
from support.containers import Container, run_container
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

AGENTS = 3
RESOURCES = "cpus:200;mem:200000;disk:1000;ports:[31000-31001]"
COMMAND = f"/opt/eratos/bin/python {EXECUTOR_PATH}/_noop_executor.py"
ENVIRONMENT = {"PYTHONPATH": EXECUTOR_PATH}
CPUS, MEM_MIB = 0.01, 8


@contextlib.contextmanager
def mesos() -> Iterator[tuple[str, str]]:
    """Run a master and agents; yield where the master is, and the URL of a ZooKeeper."""
    with contextlib.ExitStack() as stack:
        zookeeper: Container = stack.enter_context(run_container("eratos/zookeeper", ports=[2181]))
        master = stack.enter_context(run_master(zookeeper))
        for _ in range(AGENTS):
            stack.enter_context(run_agent(zookeeper, RESOURCES, Path(__file__).parent / "_noop_executor.py"))
        yield master, f"zk://127.0.0.1:{zookeeper.ports[2181]}"


@contextlib.contextmanager
def scheduler(master: str, zookeeper: str) -> Iterator[Loop]:
    """Run a scheduler as a framework of its own, with an executor on each agent that is warm."""
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
        launch(loop, {"/warm": AGENTS})
        yield loop
    finally:
        driver.teardown()
        loop.stop()
        thread.join(10)
        store.close()
        election.close()


def launch(loop: Loop, counts: dict[str, int]) -> float:
    """Make apps, each by a change of its own and all at once; return the seconds until as many tasks of each run."""

    def running(state: State) -> bool:
        return all(_running(state, app_id) == count for app_id, count in counts.items())

    apps = [an_app(app_id, count, cpus=CPUS, mem=MEM_MIB, portDefinitions=[]) for app_id, count in counts.items()]
    began = time.monotonic()
    for change in [loop.submit(PutApps((app,))) for app in apps]:
        change.result(30)
    until(lambda: loop.read(running), 300, f"{sum(counts.values())} tasks run", pace_s=0.01)
    return time.monotonic() - began


def _running(state: State, app_id: str) -> int:
    return sum(number for kind, number in state.fleet(app_id).tally.items() if kind.state is TaskState.RUNNING)
