"""Reads files that hold a secret. One that others may read or write is refused: who relies on it should hear of that."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Final

from .errors import PermanentError

#: Modes that a file with a secret must not have: written by the group, or used by others in any way.
LOOSE: Final = stat.S_IWGRP | stat.S_IRWXO
_BYTES_MOST: Final = 64 * 1024


def loose(mode: int) -> str:
    """Return what is wrong with a file's mode, or an empty text."""
    mode = stat.S_IMODE(mode)
    return f"its mode {mode:o} lets others at it: chmod 600 it, or 640 for a group that may read it" if mode & LOOSE else ""


def content(path: Path, what: str, most: int) -> bytes:
    """Return what is in a file of ``most`` bytes at most. Raises PermanentError that says ``what`` cannot be had and why."""
    try:
        with path.open("rb") as file:
            problem = loose(os.fstat(file.fileno()).st_mode)
            data = file.read(most + 1)
    except OSError as error:
        raise PermanentError(f"{what} cannot be read: {error.strerror}") from error
    if problem:
        raise PermanentError(f"{what} holds a secret, and {problem}")
    if len(data) > most:
        raise PermanentError(f"{what} is longer than {most} bytes: is it the right file?")
    return data


def secret(path: str, setting: str) -> str:
    """Return a file's text without blanks around it. Raises PermanentError that names the setting and the fix."""
    try:
        return content(Path(path), f"{setting}: {path}", _BYTES_MOST).decode().strip()
    except UnicodeDecodeError:
        raise PermanentError(f"{setting}: {path} is no text in UTF-8") from None
