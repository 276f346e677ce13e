"""How every process of eratos hears that it shall end, and one that starts others, that those have ended."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterable


def on_signal(leave: Callable[[], object], numbers: Iterable[signal.Signals] = (signal.SIGTERM, signal.SIGINT)) -> None:
    """Have each of the signals call ``leave``, on a thread of its own.

    A handler interrupts the main thread wherever that is, and that may be where it holds the lock of a queue or an event. To
    put into the same queue, or to set the same event, in the handler itself would wait for that lock for ever.
    """
    for number in numbers:
        signal.signal(number, lambda *_: threading.Thread(target=leave, name="leave", daemon=True).start())


def await_children() -> None:
    """Have the ends of our children kept for whoever waits for them.

    A process may have been started by one that ignores SIGCHLD, and inherits that: the kernel then throws away how its children
    end, and to wait for one raises ChildProcessError.
    """
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
