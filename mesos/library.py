"""pymesos without the side effects of its import.

It is the copy beside this module (docs/adr/0040). On import it puts itself before the process's SIGINT handler, hangs a
handler of its own on its logger and sets its level (pymesos/process.py, pymesos/__init__.py). Signals and logging belong to
``__main__``, so all three are undone.
"""

from __future__ import annotations

import logging
import signal
from typing import Any

_sigint = signal.getsignal(signal.SIGINT)

from . import pymesos  # noqa: E402
from .pymesos import detector as _detector  # noqa: E402
from .pymesos import process, utils  # noqa: E402

# Only the main thread may set handlers; pymesos itself cannot be imported on any other.
signal.signal(signal.SIGINT, _sigint)
_logger = logging.getLogger("pymesos")
_logger.handlers.clear()
_logger.setLevel(logging.NOTSET)

# Any: it has no types.
detector: Any = _detector
ChildrenWatch: Any = detector.ChildrenWatch
MasterDetector: Any = detector.MasterDetector
MesosExecutorDriver: Any = pymesos.MesosExecutorDriver
MesosProcess: Any = process.Process
MesosSchedulerDriver: Any = pymesos.MesosSchedulerDriver
Scheduler: Any = pymesos.Scheduler
ZookeeperError: Any = detector.ZookeeperError
parse_duration: Any = utils.parse_duration
