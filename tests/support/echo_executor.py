"""An executor that runs nothing: it reports what it is told. Started by a real agent, for contract tests of the driver."""

from __future__ import annotations

import os
import queue
from typing import Any

from eratos.common.log import setup
from eratos.executor.core import events
from eratos.executor.core.updates import StatusUpdate
from eratos.executor.mesos.driver import ExecutorDriver


def main() -> None:
    setup("DEBUG")
    told: queue.Queue[Any] = queue.Queue()
    driver = ExecutorDriver(os.environ, told.put)
    driver.start()
    tasks: set[str] = set()
    while True:
        match told.get():
            case events.LaunchTask(task_id):
                tasks.add(task_id)
                driver.send(StatusUpdate(task_id, "TASK_STARTING", message=driver.agent_id))
                driver.send(StatusUpdate(task_id, "TASK_RUNNING", healthy=True, addresses=("10.9.8.7",)))
            case events.KillTask(task_id, grace_s):
                tasks.discard(task_id)
                driver.send(StatusUpdate(task_id, "TASK_KILLED", message=f"grace_s={grace_s}"))
            case events.Disconnected():
                for task_id in tasks:
                    driver.send(StatusUpdate(task_id, "TASK_RUNNING", message="while the agent was away"))
            case events.Shutdown(reason):
                for task_id in tasks:
                    driver.send(StatusUpdate(task_id, "TASK_KILLED", message=reason))
                driver.flush(3)
                driver.stop()
                return


if __name__ == "__main__":
    main()
