"""The rival of ``control.py``: the least framework that pymesos' own README leads to. It stores nothing and checks nothing."""

# mypy: allow-untyped-calls
# pymesos has no types.

from __future__ import annotations

import threading
import time
from typing import Any

from eratos.mesos.pymesos import MesosSchedulerDriver, Scheduler, encode_data


class Bare(Scheduler):
    """Launches ``wanted`` tasks on whatever is offered, and counts those that run."""

    def __init__(self, executor: dict[str, Any], cpus: float, mem_mib: int) -> None:
        self.executor, self.cpus, self.mem_mib = executor, cpus, mem_mib
        self.wanted = self.launched = self.running = 0
        self.changed = threading.Condition()

    def resourceOffers(self, driver: Any, offers: list[dict[str, Any]]) -> None:  # noqa: N802
        for offer in offers:
            free = {r["name"]: r["scalar"]["value"] for r in offer["resources"] if r["type"] == "SCALAR"}
            cpus, mem = free.get("cpus", 0) - 0.1, free.get("mem", 0) - 64
            tasks: list[dict[str, Any]] = []
            while self.launched < self.wanted and cpus >= self.cpus and mem >= self.mem_mib and len(tasks) < self.share:
                self.launched += 1
                cpus, mem = cpus - self.cpus, mem - self.mem_mib
                tasks.append(self._task(offer, f"bare-{self.launched}"))
            if tasks:
                driver.launchTasks(offer["id"], tasks, {"refuse_seconds": 0.1})
            else:
                driver.declineOffer(offer["id"], {"refuse_seconds": 0.1 if self.launched < self.wanted else 3600})

    @property
    def share(self) -> int:
        """A third of what is wanted: there are three agents."""
        return -(-self.wanted // 3)

    def _task(self, offer: dict[str, Any], task_id: str) -> dict[str, Any]:
        return {
            "task_id": {"value": task_id},
            "agent_id": offer["agent_id"],
            "name": "bare",
            "executor": self.executor,
            "data": encode_data(b"nothing"),
            "resources": [
                {"name": "cpus", "type": "SCALAR", "scalar": {"value": self.cpus}},
                {"name": "mem", "type": "SCALAR", "scalar": {"value": self.mem_mib}},
            ],
        }

    def statusUpdate(self, driver: Any, update: dict[str, Any]) -> None:  # noqa: N802
        if update["state"] == "TASK_RUNNING":
            with self.changed:
                self.running += 1
                self.changed.notify_all()
        else:
            raise SystemExit(f"a task ended as {update['state']}: {update.get('message')}")

    def launch(self, driver: Any, count: int) -> float:
        """Launch so many tasks and return the seconds until all of them run."""
        began = time.monotonic()
        with self.changed:
            self.wanted += count
        driver.reviveOffers()
        with self.changed:
            if not self.changed.wait_for(lambda: self.running >= self.wanted, 300):
                raise SystemExit(f"{self.running} of {self.wanted} tasks run")
        return time.monotonic() - began


def run(master: str, command: str, environment: dict[str, str], cpus: float, mem_mib: int, count: int) -> float:
    """Register, warm three executors up, launch ``count`` tasks, tear the framework down; return the seconds they took."""
    executor = {
        "executor_id": {"value": "bare"},
        "name": "bare",
        "command": {
            "value": command,
            "environment": {"variables": [{"name": key, "value": value} for key, value in environment.items()]},
        },
        "resources": [
            {"name": "cpus", "type": "SCALAR", "scalar": {"value": 0.1}},
            {"name": "mem", "type": "SCALAR", "scalar": {"value": 64}},
        ],
    }
    bare = Bare(executor, cpus, mem_mib)
    framework = {"user": "root", "name": "bare", "hostname": "localhost"}
    driver = MesosSchedulerDriver(bare, framework, master, use_addict=False)
    driver.start()
    bare.launch(driver, 3)
    took = bare.launch(driver, count)
    driver.stop()
    driver.join()
    return took
