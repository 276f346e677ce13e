"""Secrets of apps, from a store on the agent's host: only their names travel, so that no wire, store or record holds them.

The store is a folder with a file for each secret, or one JSON file with all; whatever else can hold secrets is one more class
with :meth:`Secrets.read`. They are read anew for each start, so that a changed secret counts from the next one on.
"""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath
from typing import Protocol

from eratos.common.errors import PermanentError
from eratos.common.payload import SecretFile
from eratos.common.secret_file import content

#: A longer one is none.
BYTES_MOST = 64 * 1024
STORE_BYTES_MOST = 4 * 1024 * 1024


class Secrets(Protocol):
    """A store of secrets. Asked from many threads, which may wait."""

    def read(self, source: str) -> bytes:
        """Return a secret. Raises PermanentError that says what is wrong, never what is in it."""


class NoSecrets:
    """There is no store."""

    def read(self, source: str) -> bytes:
        raise PermanentError(f"secret {source}: this host keeps no secrets: name its folder or file by ERATOS_SECRETS")


class SecretsFolder:
    """Each secret is a file below a folder, its source the path from there."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder.resolve()

    def read(self, source: str) -> bytes:
        path = (self._folder / source.lstrip("/")).resolve()
        if not path.is_relative_to(self._folder) or path == self._folder:
            raise PermanentError(f"secret {source}: leads out of the folder of secrets")
        return content(path, f"secret {source}: its file on this host", BYTES_MOST)


class SecretsFile:
    """All secrets are in one JSON file, an object of texts by source."""

    def __init__(self, file: Path) -> None:
        self._file = file

    def read(self, source: str) -> bytes:
        try:
            found = json.loads(content(self._file, "the file of secrets on this host", STORE_BYTES_MOST))
        except ValueError as error:
            raise PermanentError("the file of secrets is no JSON") from error
        value = found.get(source, found.get(source.lstrip("/"))) if isinstance(found, dict) else None
        if not isinstance(value, str):
            raise PermanentError(f"secret {source}: the file of secrets has none of that name, or it is no text")
        return value.encode()


def opened(place: str) -> Secrets:
    """Return the store at a place: a folder, a file, or nothing."""
    if not place:
        return NoSecrets()
    path = Path(place)
    return SecretsFolder(path) if path.is_dir() else SecretsFile(path)


def variables(secrets: Secrets, wanted: Mapping[str, str]) -> dict[str, str]:
    """Return the values of variables or options; a line break at a secret's end, as editors leave it, is no part of it.

    Raises PermanentError.
    """
    found = {}
    for name, source in wanted.items():
        try:
            value = secrets.read(source).decode().removesuffix("\n")
        except UnicodeDecodeError:
            raise PermanentError(
                f"secret {source}: is no text in UTF-8, so no variable or option can hold it: mount it as a file"
            ) from None
        if "\0" in value:
            raise PermanentError(f"secret {source}: holds a NUL, so no variable or option can hold it: mount it as a file")
        found[name] = value
    return found


def archive(secrets: Secrets, files: Iterable[SecretFile]) -> bytes:
    """Return a tar of files, from the root on, as Docker takes them into a container. Raises PermanentError."""
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as tar:
        for file in files:
            content = secrets.read(file.source)
            entry = tarfile.TarInfo(str(PurePosixPath(file.path).relative_to("/")))
            entry.size = len(content)
            entry.mode = 0o444  # who the task's user is, only the image knows
            tar.addfile(entry, io.BytesIO(content))
    return made.getvalue()
