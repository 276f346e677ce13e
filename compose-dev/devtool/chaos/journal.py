"""What has to be undone, on the disk before it is done: whoever comes after a run that was interrupted makes it good first."""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ..alone import held
from ..shell import run
from ..terminal import Problem

UNDO_S = 60

if TYPE_CHECKING:
    #: A program with its arguments.
    Command = Sequence[str]


@dataclass(frozen=True)
class Entry:
    """A fault that was not undone."""

    id: str
    what: str
    undo: tuple[tuple[str, ...], ...]


class Journal:
    """A file of JSON lines: one before a fault, one when it is undone."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def begin(self, what: str, undo: Sequence[Command]) -> Entry:
        """Write down how to undo a fault, before it is done. It is on the disk when this returns."""
        entry = Entry(uuid.uuid4().hex[:12], what, tuple(tuple(command) for command in undo))
        self._append({"id": entry.id, "what": what, "undo": [list(command) for command in entry.undo]})
        return entry

    def undo(self, entry: Entry) -> None:
        """Undo a fault. Each command may be run again, and may fail where what it is for is gone.

        Raise Problem where the engine does not answer: then nothing is undone, and the entry stays.
        """
        for command in entry.undo:
            run(command, check=False, timeout_s=UNDO_S, pass_fds=held())
        if entry.undo and not run(["docker", "version", "--format", "{{.Server.Version}}"], check=False, timeout_s=UNDO_S):
            raise Problem(f"{entry.what} could not be undone: the Docker engine does not answer", "start it: ./dev up")
        self._append({"id": entry.id, "undone": True})

    def left(self) -> list[Entry]:
        """Return what was not undone, the last first: that is the order in which to undo it."""
        found: dict[str, Entry] = {}
        try:
            lines = self.path.read_text(errors="replace").splitlines()
        except FileNotFoundError:
            return []
        for line in lines:
            try:
                record = json.loads(line)
                if record.get("undone"):
                    found.pop(record["id"], None)
                else:
                    undo = tuple(tuple(map(str, command)) for command in record["undo"])
                    found[record["id"]] = Entry(record["id"], record["what"], undo)
            except (ValueError, KeyError, TypeError, AttributeError):
                # Cut off while it was written, so what it is about was never done.
                continue
        return list(reversed(list(found.values())))

    def clear(self) -> None:
        """Forget everything: all is undone."""
        if self.path.exists():
            self.path.unlink()

    def _append(self, record: dict[str, object]) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("a") as file:
            # A line that was cut off must not take this one with it.
            file.write(("\n" if file.tell() else "") + json.dumps(record))
            file.flush()
            os.fsync(file.fileno())


def restore(journal: Journal) -> list[str]:
    """Undo all that an interrupted run has left; return what that was."""
    left = journal.left()
    for entry in left:
        journal.undo(entry)
    journal.clear()
    return [entry.what for entry in left]
