"""Whether another executor of this agent is alive: its tasks are its own then, and left-overs otherwise.

There are two at times, after a change of the executor's definition (scheduler/mesos/executor_info.py). Each holds a lock on a
file in its sandbox for as long as it lives; the kernel lets go of it with the process. Sandboxes of one agent lie side by side
(``.../executors/<executor id>/runs/<run>``, Mesos' docs/sandbox.md). Where they do not, or an executor left no such file because
it is older than this, nothing is known, and it counts as alive: an orphan is a smaller evil than a killed task.
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from eratos.common.errors import FatalError

_FILE = "executor.lock"


class Siblings:
    """The executors of one agent. Safe for several threads."""

    def __init__(self, sandbox: Path, executor_id: str) -> None:
        """Hold this executor's own lock from here on. Raises FatalError where its sandbox cannot be written."""
        runs = sandbox.parent
        self._executors = runs.parent.parent if runs.name == "runs" and runs.parent.name == executor_id else None
        try:
            # Never closed: the lock goes with the process.
            fcntl.flock(os.open(sandbox / _FILE, os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC, 0o644), fcntl.LOCK_EX)
        except OSError as error:
            raise FatalError(f"the sandbox {sandbox} (MESOS_SANDBOX) cannot be written: {error.strerror}") from error

    def alive(self, executor_id: str) -> bool:
        """Return whether another executor is alive, or may be."""
        if self._executors is None or Path(executor_id).name != executor_id:
            return True
        folder = self._executors / executor_id
        if not folder.exists():
            return False  # Mesos removes what ended long ago
        try:
            with (folder / "runs" / "latest" / _FILE).open("rb") as file:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError:
            return True
        return False
