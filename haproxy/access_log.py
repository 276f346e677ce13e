"""HAProxy's access log: from a pipe with a name to rotated files.

HAProxy writes each line by itself. A reader that waited for lines would be woken for each, at a third of what the request
costs; one that looks in now and then, as this one does, is hardly noticed. While nobody reads, the pipe holds the newest
megabyte's worth of room, and after that HAProxy drops lines, counts them and goes on.

``python3 -m eratos.haproxy.access_log`` takes what is in the pipe and ends: the last lines of an HAProxy that has ended.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import re
import threading
from collections.abc import Callable
from contextlib import ExitStack
from typing import BinaryIO

from eratos.common.log import fields
from eratos.common.rotated_file import RotatedFile, part_of

from . import config

log = logging.getLogger(__name__)

_LOOK_S = 0.1
#: A line by which HAProxy says that a server died or is back. No request's line has such: there are no blanks in a URL.
_HEALTH = re.compile(rb"Server \S+ is (?:UP|DOWN)")
#: What Linux allows everybody (``/proc/sys/fs/pipe-max-size``): a second at thousands of requests a second.
_PIPE_BYTES = 1024 * 1024
#: Files at a time for somebody who reads them. There may be a thousand.
_OPENED_MOST = 100


class AccessLog:
    """Reads HAProxy's lines and keeps them."""

    def __init__(self, settings: config.Config, health_changed: Callable[[], None] = lambda: None) -> None:
        """``health_changed`` is called soon after HAProxy has found servers dead or alive again.

        Raises OSError where pipe or file cannot be had.
        """
        self._health_changed = health_changed
        if not settings.log_pipe.exists():
            os.mkfifo(settings.log_pipe, 0o600)
        # For writing as well: then there is never an end of file, whether HAProxy runs or not.
        self._pipe = os.open(settings.log_pipe, os.O_RDWR | os.O_NONBLOCK)
        try:
            fcntl.fcntl(self._pipe, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
        except OSError as error:
            log.info("the access log's pipe keeps its size %s", fields(error=error))
        self._path, self._files = settings.log_dir / "current", settings.log_files
        self._file = RotatedFile(self._path, settings.log_file_bytes, settings.log_files)
        self._lock = threading.Lock()

    def close(self) -> None:
        os.close(self._pipe)
        self._file.close()

    def drain(self) -> None:
        """Take all that is in the pipe."""
        with self._lock:
            self._drain()

    def files(self) -> list[BinaryIO]:
        """Open the newest files, the newest first, with what is in the pipe; one that is not there is left out.

        Raises OSError.
        """
        with self._lock, ExitStack() as stack:
            # While nothing can be written, for then the files change their names.
            self._drain()
            opened = list[BinaryIO]()
            for number in range(min(self._files, _OPENED_MOST)):
                with contextlib.suppress(FileNotFoundError):
                    opened.append(stack.enter_context(part_of(self._path, number).open("rb", buffering=0)))
            stack.pop_all()
            return opened

    def _drain(self) -> None:
        while True:
            try:
                data = os.read(self._pipe, _PIPE_BYTES)
            except BlockingIOError:
                return
            self._file.write(data)
            if _HEALTH.search(data):
                self._health_changed()

    def watch(self, stop: threading.Event) -> None:
        """Drain now and then, a last time when stopped."""
        while not stop.wait(_LOOK_S):
            self.drain()
        self.drain()


def main() -> None:
    with contextlib.closing(AccessLog(config.read(os.environ))) as access_log:
        access_log.drain()


if __name__ == "__main__":
    main()
