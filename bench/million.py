"""A million tasks on 10,000 simulated agents: through the loop, the core, the store and the wire encoding of both ways.

Loop, core, driver and store (SQLite in a temporary folder) are the real ones. Mesos is a simulation at the driver's edge: it
reads the JSON of each call, and answers with JSON: TASK_RUNNING for each task, and a new offer of what is left of an agent.
Only sockets are left out. The 1,000 apps come ten at a time. Run by ``./dev bench million``; needs no cluster. The last line
is one JSON object.

* ``tasks_per_s``: tasks launched, stored and running in a second; ``tasks_per_cpu_s``: in a second of the loop's processor
  time, which another load on the machine hardly changes.
* ``rss_mib``: the process's memory at the end, less that at the start.
* ``slowest_step_s``: the longest time for which the loop was busy with one batch of events, in processor time;
  ``slowest_step_wall_s``: by the clock.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import tempfile
import time
from collections import deque
from collections.abc import Sequence
from typing import Any

import msgspec
from recovery import rss_mib
from support.builders import a_machine, an_app
from support.mesos_master import some_resources

from eratos.scheduler.core import events
from eratos.scheduler.loop import BATCH_MOST, Loop
from eratos.scheduler.mesos.callbacks import Callbacks
from eratos.scheduler.mesos.driver import SchedulerDriver
from eratos.scheduler.mesos.settings import ExecutorSettings, MesosSettings
from eratos.scheduler.store.factory import open_store

TASKS_OF_AN_AGENT = 100
#: As many agents are offered at once as a master does in one turn of its allocator.
OFFERED_AT_ONCE = 500


class Master:
    """Takes calls as bytes and answers as bytes, in place of the subscription."""

    framework_id, connected = "framework", True

    def __init__(self, agents: int, batch: deque[events.Event]) -> None:
        self._free = {f"agent-{number}": TASKS_OF_AN_AGENT for number in range(agents)}
        self._with_executor: set[str] = set()
        self._unoffered = deque(self._free)
        self._waiting = batch
        self._agent_of: dict[str, str] = {}
        self._offers = 0
        self.running = 0
        self.executor_id = ""
        self.callbacks: Callbacks | None = None

    def send(self, body: dict[str, Any], *, bulky: bool = False) -> bool:
        call = msgspec.json.decode(msgspec.json.encode(body))
        if call["type"] == "ACCEPT":
            self._accept(call["accept"])
        elif call["type"] == "DECLINE":
            for offer in call["decline"]["offer_ids"]:
                self._unoffered.append(self._agent_of.pop(offer["value"]))
        return True

    def _accept(self, accept: dict[str, Any]) -> None:
        agents = {self._agent_of.pop(offer["value"]) for offer in accept["offer_ids"]}
        (agent,) = agents
        for operation in accept["operations"]:
            tasks = operation["launch"]["task_infos"]
            self._free[agent] -= len(tasks)
            for task in tasks:
                self.running += 1
                self._update(task["task_id"]["value"], agent)
        self._with_executor.add(agent)
        self._unoffered.append(agent)

    def _update(self, task_id: str, agent: str) -> None:
        status = {
            "task_id": {"value": task_id},
            "state": "TASK_RUNNING",
            "agent_id": {"value": agent},
            "uuid": "c2hvcnQ=",
            "timestamp": 1000.0,
            "source": "SOURCE_EXECUTOR",
            "healthy": True,
        }
        assert self.callbacks is not None
        self.callbacks.statusUpdate(None, msgspec.json.decode(msgspec.json.encode(status)))

    def offer(self) -> None:
        """Offer what is free of the next agents."""
        offers = []
        for _ in range(min(OFFERED_AT_ONCE, len(self._unoffered))):
            agent = self._unoffered.popleft()
            free = self._free[agent]
            if not free:
                continue
            there = agent in self._with_executor  # then what the executor takes is no longer free
            self._offers += 1
            offer_id = f"offer-{self._offers}"
            self._agent_of[offer_id] = agent
            offers.append(
                {
                    "id": {"value": offer_id},
                    "agent_id": {"value": agent},
                    "hostname": f"host-{agent}",
                    "resources": some_resources(0.1 * (free + (not there)), 32 * (free + 3 * (not there))),
                    "executor_ids": [{"value": self.executor_id}] if there else [],
                    "allocation_info": {"role": "*"},
                }
            )
        assert self.callbacks is not None
        self.callbacks.resourceOffers(None, msgspec.json.decode(msgspec.json.encode(offers)))


class Driven:
    """A driver whose master is the simulated one, and whose events wait in a list."""

    def __init__(self, agents: int) -> None:
        self.waiting: deque[events.Event] = deque()
        self.driver = SchedulerDriver(MesosSettings("master:5050", ExecutorSettings("run")), self.waiting.append)
        self.master = Master(agents, self.waiting)
        self.driver._master = self.master  # type: ignore[assignment]
        self.master.executor_id = self.driver.executor_id
        self.master.callbacks = Callbacks(self.driver._emit, self.driver._offers)

    def batch(self) -> Sequence[events.Event]:
        return [self.waiting.popleft() for _ in range(min(BATCH_MOST, len(self.waiting)))]


def run(agents: int, tasks: int, folder: str) -> dict[str, float]:
    driven = Driven(agents)
    store = open_store(f"sqlite://{folder}/state.db")
    store.begin_term("")
    resources = driven.driver.executor_resources
    machine = a_machine(now=time.time(), executor_id=driven.driver.executor_id, executor_resources=resources)
    loop = Loop(machine, store, time.time)
    loop._driver = driven.driver
    before = rss_mib()
    slowest = slowest_wall = 0.0
    apps = tuple(an_app(f"/app-{number}", tasks // 1000, portDefinitions=[]) for number in range(1000))
    driven.waiting.append(events.Subscribed("framework", "master:5050"))
    coming = [events.CommandReceived(number, events.PutApps(apps[number : number + 10])) for number in range(0, 1000, 10)]
    began, began_cpu, said = time.perf_counter(), time.thread_time(), 0
    while driven.master.running < tasks or driven.waiting:
        if coming:
            driven.waiting.append(coming.pop())
        if not driven.waiting:
            driven.master.offer()
        batch = driven.batch()
        step_began, step_began_wall = time.thread_time(), time.perf_counter()
        loop.step(batch)
        slowest = max(slowest, time.thread_time() - step_began)
        slowest_wall = max(slowest_wall, time.perf_counter() - step_began_wall)
        if driven.master.running >= said + tasks // 10:
            said = driven.master.running
            print(f"{said} tasks in {time.perf_counter() - began:.0f} s, slowest step {slowest:.2f} s", flush=True)
    took, cpu = time.perf_counter() - began, time.thread_time() - began_cpu
    assert sum(1 for _ in machine.state.with_task()) == tasks
    after = rss_mib()
    store.close()
    return {
        "tasks_per_s": round(tasks / took),
        "tasks_per_cpu_s": round(tasks / cpu),
        "rss_mib": round(after - before),
        "slowest_step_s": round(slowest, 2),
        "slowest_step_wall_s": round(slowest_wall, 2),
    }


def main() -> None:
    parser = argparse.ArgumentParser(prog="./dev bench million", description=__doc__.splitlines()[0])
    parser.add_argument("--tasks", type=int, default=1_000_000)
    options = parser.parse_args()
    logging.getLogger("eratos").setLevel(logging.WARNING)
    agents = options.tasks // TASKS_OF_AN_AGENT
    with tempfile.TemporaryDirectory() as folder:
        found = run(agents, options.tasks, folder)
    print(json.dumps({**found, "agents": agents, "tasks": options.tasks, "cores": os.cpu_count()}))


if __name__ == "__main__":
    main()
