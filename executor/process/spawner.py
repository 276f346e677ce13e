"""Has processes started out of a small process beside the executor (:mod:`spawn`), which begins with the executor.

Python forks a process that has many threads and much memory in ten times the time of a small one, and where something is to be
done in the child before it is a program, as for every keeper, it forks.
"""

from __future__ import annotations

import errno
import logging
import marshal
import os
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path

from eratos.common.log import fields

from . import spawn

log = logging.getLogger(__name__)

_PROGRAM = Path(spawn.__file__)
_FAULT_BYTES_MAX = 4096


class Spawner:
    """Starts processes; each is a child of the executor. Each method may be called from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._channel: socket.socket | None = None
        self._program: subprocess.Popen[bytes] | None = None
        self._nothing = os.open(os.devnull, os.O_RDWR)

    def begin(self) -> None:
        """Begin the small process while the installation is that of the executor: an upgrade may replace or remove it later.

        Where that fails it is tried again with the first start.
        """
        try:
            with self._lock:
                self._begun()
        except OSError as error:
            log.warning("the process that starts others does not begin %s", fields(error=error))

    def start(
        self,
        args: Sequence[str],
        ends: Mapping[int, int | None],
        *,
        cwd: Path,
        env: Mapping[str, str],
        account: tuple[int, int, Sequence[int]] | None = None,
    ) -> int:
        """Start a program, found by its whole path, in a session of its own, as whom orphans below it are handed to; return its
        id, which is the caller's to wait for.

        ``ends`` are its descriptors below :data:`spawn.LOWEST`, each with the one of ours that it becomes, None: with nothing
        behind it; ``account`` user, group and groups, None: ours. Raises OSError.
        """
        spelt = [(os.fsencode(name), os.fsencode(value)) for name, value in env.items()]
        whose = None if account is None else (account[0], account[1], list(account[2]))
        request = marshal.dumps(([*map(os.fsencode, args)], spelt, os.fsencode(cwd), list(ends), whose))
        given = [self._nothing if end is None else end for end in ends.values()]
        told, fault = os.pipe()
        try:
            try:
                child = self._asked(request, fault, given)
            finally:
                os.close(fault)
            wrong = os.read(told, _FAULT_BYTES_MAX)  # nothing once it is the program
        finally:
            os.close(told)
        if wrong:
            os.waitpid(child, 0)
            (number,) = struct.unpack("i", wrong[:4])
            raise OSError(number, os.strerror(number), os.fsdecode(wrong[4:]))
        return child

    def _asked(self, request: bytes, fault: int, given: list[int]) -> int:
        memory = os.memfd_create("eratos-spawn")  # an environment may be larger than what a socket takes, and hold secrets
        try:
            with os.fdopen(os.dup(memory), "wb") as file:
                file.write(request)
            os.lseek(memory, 0, os.SEEK_SET)
            with self._lock:
                answer = self._answer([memory, fault, *given])
        finally:
            os.close(memory)
        if not answer:
            raise OSError(errno.EAGAIN, "the process that starts others has ended")
        (child,) = struct.unpack("i", answer)
        if child < 0:
            raise OSError(-child, os.strerror(-child))
        return int(child)

    def _answer(self, given: list[int]) -> bytes:
        """Return the answer to a request; nothing where the program ended before it gave one: what it had started then runs."""
        try:
            socket.send_fds(self._begun(), [b"1"], given)
        except ConnectionError:
            self._end()  # it had ended before it knew of this
            socket.send_fds(self._begun(), [b"1"], given)
        try:
            answer = self._begun().recv(struct.calcsize("i"))
        except ConnectionError:
            answer = b""
        if not answer:
            self._end()
        return answer

    def _begun(self) -> socket.socket:
        if self._channel is None:
            self._channel, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            with theirs:
                self._program = subprocess.Popen(
                    [sys.executable, "-I", "-S", str(_PROGRAM)],
                    stdin=theirs.fileno(),
                    stdout=subprocess.DEVNULL,
                    cwd="/",
                    env={},  # whoever may look into /proc finds no secret of the executor's
                    start_new_session=True,
                )
        return self._channel

    def _end(self) -> None:
        if self._channel is not None:
            self._channel.close()
            self._channel = None
        if self._program is not None:
            self._program.kill()
            self._program.wait()
            self._program = None

    def close(self) -> None:
        """End the program; what it has started goes on."""
        with self._lock:
            self._end()
