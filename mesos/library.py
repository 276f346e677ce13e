"""pymesos without the side effects of its import.

On import pymesos puts itself before the process's SIGINT handler, hangs a handler of its own on its logger and sets its
level (pymesos/process.py, pymesos/__init__.py). Signals and logging belong to ``__main__``, so all three are undone.
"""

from __future__ import annotations

import logging
import signal

_sigint = signal.getsignal(signal.SIGINT)

import pymesos  # noqa: E402
import pymesos.detector  # noqa: E402
import pymesos.process  # noqa: E402
import pymesos.utils  # noqa: E402

# Only the main thread may set handlers; pymesos itself cannot be imported on any other.
signal.signal(signal.SIGINT, _sigint)
_logger = logging.getLogger("pymesos")
_logger.handlers.clear()
_logger.setLevel(logging.NOTSET)

ChildrenWatch = pymesos.detector.ChildrenWatch
MasterDetector = pymesos.detector.MasterDetector
MesosExecutorDriver = pymesos.MesosExecutorDriver
MesosProcess = pymesos.process.Process
MesosSchedulerDriver = pymesos.MesosSchedulerDriver
Scheduler = pymesos.Scheduler
ZookeeperError = pymesos.detector.ZookeeperError
parse_duration = pymesos.utils.parse_duration
