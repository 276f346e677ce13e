"""A store for tests and trials: the same codec and the same contract, gone with the process."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from ..core.actions import Write
from ..core.records import Stored
from . import codec
from .base import checked_records, final_values


class MemoryStore:
    """Keeps records in a dict. Stores given the same dict follow each other like one process after another."""

    def __init__(self, records: dict[str, bytes] | None = None) -> None:
        self.records = {} if records is None else records
        self._kept: dict[str, bytes] = {}

    def begin_term(self, ballot: str = "") -> None:
        pass  # nobody else can reach the dict

    def load(self) -> Stored:
        return codec.decode_all(self.records.items())

    def items(self) -> dict[str, bytes]:
        return dict(self.records)

    def write(self, batch: Sequence[Write]) -> None:
        values = final_values(batch)
        for key, data in values.items():
            if data is None:
                self.records.pop(key, None)
            else:
                self.records[key] = data

    def restore(self, records: Mapping[str, bytes], ballot: str = "") -> None:
        checked = checked_records(records)
        self.records.clear()
        self.records.update(checked)

    def keep_once(self, name: str, make: Callable[[bool], bytes]) -> bytes:
        if name not in self._kept:
            self._kept[name] = make(bool(self.records))
        return self._kept[name]

    def close(self) -> None:
        pass
