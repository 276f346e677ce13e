"""A log file that is bounded: full, it becomes ``NAME.1``, what was ``NAME.1`` becomes ``NAME.2``, and the oldest goes."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import BinaryIO

from .log import fields

log = logging.getLogger(__name__)


class RotatedFile:
    """Takes what has to be logged, never raises, and bounds it on the disk. Not for several threads."""

    def __init__(self, path: Path, bytes_max: int, files_max: int) -> None:
        """``bytes_max``: of each of ``files_max`` files. An existing file is continued. Raises OSError."""
        self._path = path
        self._bytes_max = bytes_max
        self._files_max = files_max
        self._told = False
        self._open()

    def write(self, data: bytes) -> None:
        """Append; a line may be cut in two by a rotation. Where the disk is full the data is lost: its writer must go on."""
        try:
            if self._file.closed:
                self._open()  # the last rotation was not finished; another one would cost an older part
            if self._size and self._size + len(data) > self._bytes_max:
                self._rotate()
            self._file.write(data)
            self._size += len(data)
            self._told = False
        except (OSError, ValueError) as error:
            if not self._told:
                log.warning("what should be logged is lost %s", fields(file=self._path, error=error))
            self._told = True

    def close(self) -> None:
        self._file.close()

    def _open(self) -> None:
        self._file: BinaryIO = self._path.open("ab", buffering=0)
        self._size = os.fstat(self._file.fileno()).st_size

    def _rotate(self) -> None:
        self._file.close()
        for number in range(self._files_max - 1, 0, -1):
            newer = part_of(self._path, number - 1)
            if newer.exists():
                newer.replace(part_of(self._path, number))
        self._open()


def part_of(path: Path, number: int) -> Path:
    """Return the name of a file's part: 0 is the one being written, and the higher the older."""
    return path.with_name(f"{path.name}.{number}") if number else path
