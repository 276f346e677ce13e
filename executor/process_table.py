"""The host's processes by the mark in their environment, out of /proc. Used by the process runtime only.

The environment is inherited, so it marks whatever a task's process starts, daemons in sessions of their own included, and it
outlives the executor. Other users' environments are for root alone; but only as root does an executor start anything for others.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

from eratos.common import names

from .core.mark import Mark

KILL_S = 5.0
_PAUSE_S = 0.01
_PREFIX = f"{names.PROCESS_MARK}=".encode()


def marked() -> Iterator[tuple[int, Mark]]:
    """Yield process id and mark of every marked process. One that ends meanwhile is left out."""
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit():
            continue
        try:
            variables = (folder / "environ").read_bytes().split(b"\0")
        except OSError:
            continue
        text = next((variable for variable in variables if variable.startswith(_PREFIX)), b"")
        mark = Mark.from_text(text.removeprefix(_PREFIX).decode(errors="replace"))
        if mark is not None:
            yield int(folder.name), mark


def kill_marked(mark: Mark) -> bool:
    """SIGKILL every process with a mark until there is none: one may have forked just before it died.

    False: one still hangs in the kernel after ``KILL_S``; it dies once that lets go of it.
    """
    deadline = time.monotonic() + KILL_S
    while found := [pid for pid, other in marked() if other == mark]:
        for pid in found:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        if time.monotonic() >= deadline:
            return False
        time.sleep(_PAUSE_S)
    return True
