"""How a scheduler comes back in a cluster of 50,000 agents and 200,000 tasks: from its store, through reconciliation, to work.

The core and its loop are real, the store is the embedded one (SQLite in a temporary folder), Mesos is simulated: it answers
each reconciliation with one update for each task. Run by ``./dev bench recovery``; needs no cluster. The last line is one
JSON object.

* ``recover_s``: from an empty process to the first decision after all 200,000 tasks were answered for: the store is read,
  the core built, the subscription made, everything reconciled, and an app is scaled by 100 instances on fresh offers.
* ``bytes_per_task``: growth of the process's memory (RSS) per task by then; ``rss_mib``: all of it.
* ``false_relaunches``: launches and kills beyond those 100 during recovery and a master failover in which half of the
  agents take two minutes to register again.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path

from support.builders import EXECUTOR, a_machine, an_app

from eratos.common import names
from eratos.common.resources import PortRanges, Resources
from eratos.scheduler.core import actions, events
from eratos.scheduler.core.actions import Put
from eratos.scheduler.core.machine import Machine
from eratos.scheduler.core.mesos_types import Offer, TaskState, TaskStatus
from eratos.scheduler.core.records import APPS, FRAMEWORK_ID, INSTANCES, InstanceRecord
from eratos.scheduler.store.factory import open_store

APPS_COUNT = 1_000
SCALED = 100


def fill(url: str, agents: int, tasks: int) -> None:
    """Write a cluster's records into a store."""
    store = open_store(url)
    store.begin_term("")
    each = tasks // APPS_COUNT
    apps = [an_app(f"/app-{n}", each).with_version("2026-01-01T00:00:00.000Z") for n in range(APPS_COUNT)]
    store.write([Put(FRAMEWORK_ID, "framework"), *(Put(APPS + app.id, app) for app in apps)])
    batch: list[Put] = []
    for number in range(tasks):
        app, agent = apps[number % APPS_COUNT], number % agents
        instance_id = names.instance_id(app.id, f"{number:08x}-0000-4000-8000-000000000000")
        record = InstanceRecord(
            instance_id=instance_id,
            app_id=app.id,
            app_version=app.version,
            attempt=1,
            agent_id=f"5e6f7a8b-1c2d-4e3f-9a0b-c1d2e3f4a5b6-S{agent}",
            hostname=f"host-{agent}.example.net",
            ports=(31000 + number // agents,),
            launched_at=900.0,
            state="TASK_RUNNING",
            started_at=901.0,
            healthy=True,
            addresses=(f"10.{agent >> 16 & 255}.{agent >> 8 & 255}.{agent & 255}",),
            zone=f"z{agent % 5}",
            region="r",
        )
        batch.append(Put(INSTANCES + instance_id, record))
        if len(batch) == 20_000:
            store.write(batch)
            batch.clear()
    store.write(batch)
    store.close()


def rss_mib() -> float:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    return 0.0


class Mesos:
    """Answers for every task it is asked about, but for those on agents that are away."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self.now = 1000.0
        self.launched = self.killed = 0
        self.away: set[str] = set()

    def perform(self, out: Iterable[actions.Action]) -> None:
        for action in out:
            if isinstance(action, actions.Accept):
                self.launched += len(action.launches)
            elif isinstance(action, actions.Kill):
                self.killed += 1
            elif isinstance(action, actions.Reconcile):
                self._answer(action)

    def _answer(self, call: actions.Reconcile) -> None:
        for start in range(0, len(call.tasks), 1000):
            for task_id, agent_id in call.tasks[start : start + 1000]:
                if agent_id in self.away:
                    continue
                status = TaskStatus(task_id, TaskState.RUNNING, agent_id, reason="REASON_RECONCILIATION", source="SOURCE_MASTER")
                self.machine.take(events.StatusChanged(status), self.now)
            self.perform(self.machine.decide(self.now))

    def handle(self, event: events.Event) -> None:
        self.machine.take(event, self.now)
        self.perform(self.machine.decide(self.now))

    def until(self, seconds: float) -> None:
        """Let time go by in seconds, as the loop does."""
        end = self.now + seconds
        while self.now < end:
            self.now += 1.0
            self.handle(events.Tick())


def recover(url: str, tasks: int) -> dict[str, float]:
    """Come back from the store, and live through a master failover."""
    before = rss_mib()
    began = time.perf_counter()
    store = open_store(url)
    store.begin_term("")
    stored = store.load()
    loaded = time.perf_counter()
    machine = a_machine(stored)
    del stored
    mesos = Mesos(machine)
    mesos.handle(events.Subscribed("framework", "master:5050"))
    mesos.until(3)
    assert not machine.step.reconciliation.unanswered, "not every task was answered for"
    reconciled = time.perf_counter()
    app = machine.state.apps["/app-0"]
    mesos.handle(events.CommandReceived(1, events.PutApps((app.with_instances(app.instances + SCALED),))))
    ports, free = PortRanges([(32000, 32099)]), Resources(4000, 4096, 10_000)
    fresh = tuple(Offer(f"o{n}", f"new-{n}", f"new-{n}", free, ports, {}, frozenset([EXECUTOR])) for n in range(1000))
    mesos.handle(events.OffersReceived(fresh))
    took = time.perf_counter() - began
    gc.collect()
    after = rss_mib()
    assert mesos.launched == SCALED, f"{mesos.launched} launches"
    # Another master is elected; half of the agents take their time.
    mesos.handle(events.Disconnected())
    mesos.away = {agent_id for number, agent_id in enumerate(machine.state.on_agent) if number % 2}
    mesos.handle(events.Subscribed("framework", "other:5050"))
    mesos.until(120)
    mesos.away.clear()
    mesos.until(120)
    store.close()
    return {
        "recover_s": took,
        "load_s": loaded - began,
        "reconcile_s": reconciled - loaded,
        "bytes_per_task": (after - before) * 1024 * 1024 / tasks,
        "rss_mib": after,
        "false_relaunches": mesos.launched - SCALED + mesos.killed,
    }


def main() -> None:
    parser = argparse.ArgumentParser(prog="./dev bench recovery", description=__doc__.splitlines()[0])
    parser.add_argument("--agents", type=int, default=50_000)
    parser.add_argument("--tasks", type=int, default=200_000)
    parser.add_argument("--store", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.store:
        print(json.dumps(recover(options.store, options.tasks)))
        return
    with tempfile.TemporaryDirectory() as folder:
        url = f"sqlite://{folder}/state.db"
        print(f"writing {options.tasks} tasks on {options.agents} agents to a store", flush=True)
        fill(url, options.agents, options.tasks)
        print("coming back from it, in a process of its own", flush=True)
        command = [sys.executable, "-P", __file__, "--store", url, "--tasks", str(options.tasks)]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, timeout=900, check=True)
    found = json.loads(done.stdout.splitlines()[-1])
    print(
        json.dumps(
            {
                "bytes_per_task": round(found["bytes_per_task"]),
                "rss_mib": round(found["rss_mib"]),
                "recover_s": round(found["recover_s"], 2),
                "false_relaunches": int(found["false_relaunches"]),
                "load_s": round(found["load_s"], 2),
                "reconcile_s": round(found["reconcile_s"], 2),
                "agents": options.agents,
                "tasks": options.tasks,
                "cores": os.cpu_count(),
            }
        )
    )


if __name__ == "__main__":
    main()
