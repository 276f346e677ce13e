"""RecordIO, the framing of Mesos' event streams: a record's length in decimal, a newline, the record (docs/recordio.md).

Used by the drivers of the scheduler and of the executor. Each byte is looked at a constant number of times, however
small the pieces it arrives in: masters send offers of thousands of agents in one record, which pymesos reads in quadratic
time (docs/adr/0020-pymesos-wrapped.md).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

#: A longer record is taken for a broken stream. Mesos' largest are offer batches of some ten MB.
RECORD_BYTES_MAX: Final = 1 << 30
_DIGITS_MAX: Final = 20


class RecordError(ValueError):
    """The stream is not RecordIO; nothing after this point can be read."""


class RecordDecoder:
    """Cuts a byte stream into records."""

    def __init__(self, record_bytes_max: int = RECORD_BYTES_MAX) -> None:
        self._record_bytes_max = record_bytes_max
        self._digits = b""
        self._record = bytearray()
        self._missing = 0

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Yield the records that ``data`` completes. Raises RecordError; feed must be exhausted before the next one."""
        position = 0
        while position < len(data):
            if self._missing:
                piece = data[position : position + self._missing]
                position += len(piece)
                self._missing -= len(piece)
                self._record += piece
                if not self._missing:
                    record = bytes(self._record)
                    self._record = bytearray()
                    yield record
            else:
                newline = data.find(b"\n", position)
                end = newline if newline >= 0 else len(data)
                if len(self._digits) + end - position > _DIGITS_MAX:
                    raise RecordError(f"no record length in {(self._digits + data[position:end])[:40]!r}")
                self._digits += data[position:end]
                position = end + 1
                if newline >= 0:
                    self._missing = self._length()

    def _length(self) -> int:
        digits, self._digits = self._digits, b""
        if not digits.isdigit() or int(digits) == 0:
            raise RecordError(f"not a record length: {digits!r}")
        if int(digits) > self._record_bytes_max:
            raise RecordError(f"record of {int(digits)} bytes is longer than {self._record_bytes_max}")
        return int(digits)


def encode(record: bytes) -> bytes:
    """Return the record with its frame."""
    return b"%d\n%b" % (len(record), record)
