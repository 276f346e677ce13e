"""How every process of eratos hears that it shall end."""

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
