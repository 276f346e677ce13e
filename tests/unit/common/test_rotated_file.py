"""Bounded log files on a disk that is full."""

from __future__ import annotations

import errno
from pathlib import Path
from typing import Any

import pytest

from eratos.common.rotated_file import RotatedFile


def contents(path: Path) -> list[bytes]:
    return [one.read_bytes() if one.exists() else b"-" for one in (path, Path(f"{path}.1"), Path(f"{path}.2"))]


def test_a_disk_that_is_full_at_a_rotation_costs_no_older_part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, full = tmp_path / "log", [False]
    file = RotatedFile(path, 4, 3)
    for data in (b"1111", b"2222", b"3333"):
        file.write(data)
    assert contents(path) == [b"3333", b"2222", b"1111"]
    own = Path.open

    def open_if_there_is_room(self: Path, *words: Any, **more: Any) -> Any:
        if full[0] and words == ("ab",):
            raise OSError(errno.ENOSPC, "No space left on device")
        return own(self, *words, **more)

    monkeypatch.setattr(Path, "open", open_if_there_is_room)
    full[0] = True
    for _ in range(5):
        file.write(b"lost")
    assert contents(path) == [b"-", b"3333", b"2222"]
    full[0] = False
    file.write(b"4444")
    assert contents(path) == [b"4444", b"3333", b"2222"]
    file.close()
