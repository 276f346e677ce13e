"""HAProxy's master socket, through which every HAProxy process, old ones included, can be asked and given orders.

One connection for each exchange, as the master closes all of them whenever it reloads. Management guide, section 9.4.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from eratos.common.errors import TemporaryError

#: An answer of this size stands for some 50,000 servers; more is a fault.
ANSWER_MAX_BYTES = 32 * 1024 * 1024


class HaproxyUnavailableError(TemporaryError):
    """HAProxy's master does not answer: it is being restarted, or not running at all."""


class ProcessGoneError(TemporaryError):
    """The HAProxy process asked has ended."""


@dataclass(frozen=True, slots=True)
class Processes:
    """The worker processes of one HAProxy, by process id."""

    current: int
    old: tuple[int, ...]  #: those which finish what their clients have open

    @property
    def all(self) -> tuple[int, ...]:
        return (self.current, *self.old)


class MasterSocket:
    """A client of HAProxy's master socket, for any thread."""

    def __init__(self, path: Path, timeout_s: float = 5.0) -> None:
        self._path = path
        self._timeout_s = timeout_s
        # A reload cuts all other connections to the master: questions wait for it rather than fail, or worse, get half
        # an answer.
        self._lock = threading.RLock()

    @contextmanager
    def without_reload(self) -> Iterator[None]:
        """Keep reloads waiting: the process found to be the current one stays so, as far as it depends on us."""
        with self._lock:
            yield

    def ask(self, *commands: str, process: int | None = None, timeout_s: float | None = None) -> str:
        """Send commands to the master, or to one worker by its process id, and return the whole answer.

        Raises HaproxyUnavailableError where the master does not answer, or not to the end, ProcessGoneError where that
        worker has ended.
        """
        line = "; ".join(commands if process is None else (f"@!{process}", *commands))
        answer = self._exchange(f"{line}\n", timeout_s or self._timeout_s)
        if process is not None and answer.startswith("Can't "):
            # "find the target": no longer listed. "connect to the target": ending now, or in trouble.
            if answer.startswith("Can't find") or process not in self.processes().all:
                raise ProcessGoneError(f"HAProxy process {process} has ended")
            raise HaproxyUnavailableError(f"HAProxy process {process}: {answer.strip()}")
        # Every answer ends with an empty line, and is nothing else where a change went well. Half a table would make a
        # server look unused.
        if not answer.endswith("\n\n") and (answer != "\n" or commands[0].startswith("show")):
            raise HaproxyUnavailableError(f"HAProxy's answer to {commands[0]!r} broke off after {len(answer)} bytes")
        return answer

    def processes(self) -> Processes:
        """Return the running workers; raises HaproxyUnavailableError also where there is none."""
        return parse_processes(self.ask("show proc"))

    def reload(self, timeout_s: float = 20.0) -> tuple[bool, str]:
        """Start a new worker from the files; return whether that worked, and HAProxy's own words.

        Where it did not, the worker from before goes on.
        """
        answer = self._exchange("reload\n", timeout_s)
        if not answer.startswith("Success="):
            raise HaproxyUnavailableError(f"HAProxy's master did not finish the reload: {answer[:200]!r}")
        return answer.startswith("Success=1"), answer

    def _exchange(self, line: str, timeout_s: float) -> str:
        received = bytearray()
        try:
            with self._lock, socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
                client.settimeout(timeout_s)
                client.connect(str(self._path))
                client.sendall(line.encode())
                # The master keeps the connection for more commands until it reads the end.
                client.shutdown(socket.SHUT_WR)
                while chunk := client.recv(65536):
                    received += chunk
                    if len(received) > ANSWER_MAX_BYTES:
                        raise HaproxyUnavailableError("HAProxy's master sends an answer without end")
        except OSError as error:
            raise HaproxyUnavailableError(f"HAProxy's master socket {self._path}: {error}") from error
        return received.decode(errors="replace")


def parse_processes(answer: str) -> Processes:
    """Read the answer to ``show proc``; raises HaproxyUnavailableError where no worker runs."""
    current = 0
    old: list[int] = []
    for line in answer.splitlines():
        fields = line.split()
        if len(fields) >= 3 and fields[1] == "worker" and fields[0].isdecimal():
            if fields[2] == "0" and not current:
                current = int(fields[0])
            else:
                old.append(int(fields[0]))
    if not current:
        raise HaproxyUnavailableError("HAProxy runs no current worker")
    return Processes(current, tuple(old))
