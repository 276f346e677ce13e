"""Files that the executor itself puts into a task's sandbox."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from eratos.common.errors import TemporaryError


def place(sandbox: Path, path: str, text: str) -> None:
    """Put a file into a sandbox, below a folder of the executor's there: readers see the old one or the new one, whole.

    The task may have written into its sandbox whatever it likes, so no link in it is followed. Raises TemporaryError.
    """
    folder, _, name = path.partition("/")
    try:
        (sandbox / folder).mkdir(mode=0o755, exist_ok=True)
        where = os.open(sandbox / folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        try:
            os.fchmod(where, 0o755)
            new = f".{name}.new"
            with contextlib.suppress(FileNotFoundError):
                os.unlink(new, dir_fd=where)
            descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o644, dir_fd=where)
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                file.write(text)
                os.fchmod(file.fileno(), 0o644)
            os.replace(new, name, src_dir_fd=where, dst_dir_fd=where)
        finally:
            os.close(where)
    except OSError as error:
        raise TemporaryError(f"its file {path} cannot be written: {error.strerror}") from error
