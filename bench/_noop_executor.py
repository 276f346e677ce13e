"""An executor whose tasks do nothing: each runs at once. Started by the agents of ``control.py``, for both frameworks."""

from __future__ import annotations

import os
import queue
from typing import Any

from eratos.executor.core import events
from eratos.executor.core.updates import StatusUpdate
from eratos.executor.mesos.driver import ExecutorDriver


def main() -> None:
    told: queue.Queue[Any] = queue.Queue()
    driver = ExecutorDriver(os.environ, told.put)
    driver.start()
    while True:
        match told.get():
            case events.LaunchTask(task_id):
                driver.send(StatusUpdate(task_id, "TASK_RUNNING"))
            case events.KillTask(task_id):
                driver.send(StatusUpdate(task_id, "TASK_KILLED"))
            case events.Shutdown():
                driver.stop()
                return


if __name__ == "__main__":
    main()
