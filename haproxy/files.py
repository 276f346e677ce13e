"""Files of the state folder, which are read again after a crash: written beside, made durable, and only then renamed.

A file that is truncated and written in place is half a file on a full disk or after a loss of power, and the last good
configuration with it.
"""

from __future__ import annotations

import os
from pathlib import Path


def beside(path: Path, text: str) -> Path:
    """Write a text to a file beside ``path``, durably, and return it for :func:`put`; raises OSError, and leaves nothing then."""
    fresh = path.with_name(f"{path.name}.new")
    try:
        with fresh.open("w") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
    except OSError:
        fresh.unlink(missing_ok=True)
        raise
    return fresh


def put(fresh: Path, path: Path) -> None:
    """Make a file or folder that is durable itself take the place of ``path``, durably; raises OSError."""
    fresh.replace(path)
    sync_folder(path.parent)


def replace(path: Path, text: str) -> None:
    """Give ``path`` another content: whoever reads it, at any time, finds the old or the new one whole; raises OSError."""
    put(beside(path, text), path)


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable; raises OSError."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
