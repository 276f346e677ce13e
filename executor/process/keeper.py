"""Holds together what a command starts: a keeper, itself no more than a shell, stands above the command as the parent of
whatever is orphaned below it. Used by the process runtime only.

The kernel hands orphans to the nearest "child subreaper" above them (prctl(2), PR_SET_CHILD_SUBREAPER), whatever session,
environment or user they have made for themselves. So all that a command ever started is below its keeper in the tree of
processes, until the keeper is ended as the last. The keeper outlives the command, and the executor, too: its environment
carries the task's mark, by which the next executor finds it (:mod:`table`).
"""

from __future__ import annotations

import errno
import os
import select
import shutil
import signal
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from ..core.ownership import Mark
from . import table
from .spawner import Spawner

_SIGNALLED = 128
_CODE_MAX = 16
#: How long a command may take to come to be below its keeper.
_BEGIN_S = 1.0
_PAUSE_S = 0.01
_LOOK_S = 10.0
#: The command gets a session of its own and no part of the pipe, which is the shell's standard input. A shell says something of
#: its own about a command that a signal ended; that belongs into no log.
_SCRIPT = """
exec 3>&2 2>/dev/null
"$@" </dev/null 2>&3 3>&-
code=$?
trap '' PIPE
echo $code >&0
while :; do kill -STOP $$; done
"""
#: The same for a command that somebody uses, whose standard input is the shell's own.
_USED = """
exec 3>&2 2>/dev/null
"$@" 2>&3 3>&- 9>&-
code=$?
trap '' PIPE
echo $code >&9
while :; do kill -STOP $$; done
"""
_TOLD = 9


class Keeper:
    """A command that runs, and everything below it. Each method may be called from any thread."""

    def __init__(
        self,
        args: Sequence[str],
        mark: Mark | None,
        *,
        spawner: Spawner,
        cwd: Path,
        env: Mapping[str, str],
        account: tuple[int, int, Sequence[int]] | None = None,
        stdin: int | None = None,
        stdout: int | None = None,
        stderr: int | None = None,
        terminal: bool = False,
    ) -> None:
        """Start a command; ``mark`` is the one that ends with it, None: what bears one belongs to another command.

        ``stdin`` is its standard input, None: it has none; with ``terminal`` that is a terminal, and the command is in charge of
        it. ``account`` is as whom it runs, see :meth:`Spawner.start`. Raises OSError where it cannot be started.
        """
        self._mark = mark
        self._lock = threading.Lock()
        self._code: int | None = None  #: set: all is ended, and the keeper's id may be another's by now
        self._status, written = os.pipe()
        try:
            setsid = [_found("setsid", Path("/"), os.defpath), *(("--ctty",) if terminal else ())]
            command = [*setsid, *_checked(args, cwd, env)]
            outputs: dict[int, int | None] = {1: stdout, 2: stderr}
            ends = {0: written, **outputs} if stdin is None else {0: stdin, **outputs, _TOLD: written}
            script = (_SCRIPT if stdin is None else _USED, "eratos-keeper")
            self._pid = spawner.start(["/bin/sh", "-c", *script, *command], ends, cwd=cwd, env=env, account=account)
        except BaseException:
            os.close(self._status)
            raise
        finally:
            os.close(written)

    @property
    def told(self) -> int:
        """A descriptor that can be read from once the command has ended."""
        return self._status

    @property
    def pid(self) -> int:
        """The id of the shell that stands above the command."""
        return self._pid

    def wait(self, timeout_s: float | None = None) -> int | None:
        """Wait for the command's end and return its exit code, a signal's as 128 and its number; None: it still runs.

        All that it has started is ended then.
        """
        poll = select.poll()
        poll.register(self._status, select.POLLIN)
        # Looks up now and then: another thread may end the command, and the pipe's number may be another's then.
        while self._code is None and not poll.poll(1000 * (_LOOK_S if timeout_s is None else timeout_s)):
            if timeout_s is not None:
                return None
        self.kill()
        return self._code

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the command's process group."""
        with self._lock:
            if self._code is None and (command := self._command()):
                os.killpg(command, number)

    def kill(self) -> bool:
        """End the command and everything below it; False: a process hangs in the kernel, and ends once that lets go of it."""
        with self._lock:
            if self._code is not None:
                return True
            ended = table.kill(self._mark, self._pid)
            os.kill(self._pid, signal.SIGKILL)
            code = os.waitstatus_to_exitcode(os.waitpid(self._pid, 0)[1])
            told = os.read(self._status, _CODE_MAX)
            os.close(self._status)
            self._code = int(told) if told.strip().isdigit() else (code if code >= 0 else _SIGNALLED - code)
            return ended

    def _command(self) -> int:
        """Return the command's id, once it leads its own group; 0: it has ended."""
        for _ in range(round(_BEGIN_S / _PAUSE_S)):
            below = [found for found in table.processes().values() if found.parent == self._pid]
            if below and not (first := min(below, key=lambda found: (found.began, found.pid))).zombie:
                if first.group == first.pid:
                    return first.pid
            elif select.select([self._status], [], [], 0)[0]:
                return 0
            time.sleep(_PAUSE_S)
        return 0


def _checked(args: Sequence[str], cwd: Path, env: Mapping[str, str]) -> Sequence[str]:
    """Return a command that is there. Raises OSError."""
    _found(args[0], cwd, env.get("PATH", os.defpath))
    return args


def _found(program: str, cwd: Path, path: str) -> str:
    wanted = str(cwd / program) if "/" in program else program
    found = shutil.which(wanted, path=path)
    if found is None:
        number = errno.EACCES if "/" in program and os.path.lexists(wanted) else errno.ENOENT
        raise OSError(number, os.strerror(number), program)
    return found
