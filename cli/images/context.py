"""The build context of an image: which files are in it, and a digest over them.

Docker reads the folder itself. So what is walked here is what Docker sends, and the digest is taken before and after the build.
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from eratos.common.errors import PermanentError

from . import ignored

IGNORE_FILE = ".dockerignore"
_PIECE = 1 << 20


class UnfitContext(PermanentError):
    """What a folder holds cannot be built from; the message names the file."""


@dataclass(frozen=True)
class Context:
    """A folder with the Dockerfile in it, relative to it and with slashes."""

    folder: Path
    dockerfile: str

    def checked(self) -> list[str]:
        """Return the paths in the context, folders included, in order.

        Raises UnfitContext for a link that leads out of the folder, for what is neither file, folder nor link, and where there is
        no Dockerfile.
        """
        if not self.folder.is_dir():
            raise UnfitContext(f"{self.folder} is no folder: name the one that the image is built from")
        root = os.path.realpath(self.folder)
        try:
            paths = sorted({*self._walk(self._ignored(), ""), self.dockerfile})
            for path in paths:
                self._check(root, path)
        except OSError as error:
            raise UnfitContext(f"{error.filename}: {error.strerror}") from error
        return paths

    def digest(self) -> str:
        """Return a SHA-256 over what is in the context: paths, permissions, contents, where links lead. Raises UnfitContext."""
        found = hashlib.sha256()
        try:
            for path in self.checked():
                found.update(json.dumps(_entry(self.folder / path, path)).encode() + b"\n")
        except OSError as error:
            raise UnfitContext(f"{error.filename}: {error.strerror}: have it readable, or name it in {IGNORE_FILE}") from error
        return found.hexdigest()

    def _ignored(self) -> ignored.Ignored:
        apart = self.folder / f"{self.dockerfile}{IGNORE_FILE}"
        if apart.exists():
            raise UnfitContext(f"{apart} is heeded by some of Docker's builders alone: name it {IGNORE_FILE}")
        file = self.folder / IGNORE_FILE
        if not file.exists():
            return ignored.Ignored()
        try:
            return ignored.parse(file.read_text())
        except (UnicodeDecodeError, PermanentError) as error:
            raise UnfitContext(f"{file}: {error}") from error

    def _walk(self, out: ignored.Ignored, below: str) -> Iterator[str]:
        with os.scandir(self.folder / below) as entries:
            for entry in entries:
                path = f"{below}{entry.name}"
                left_out = path in out
                if not left_out:
                    yield path
                # Of a folder that is left out some may be in again.
                if entry.is_dir(follow_symlinks=False) and not (left_out and out.wholly):
                    yield from self._walk(out, f"{path}/")

    def _check(self, root: str, path: str) -> None:
        place = self.folder / path
        if path == self.dockerfile and not place.is_file():
            raise UnfitContext(f"{place} is no file: name the Dockerfile by image.dockerfile")
        mode = place.lstat().st_mode
        if path == self.dockerfile or stat.S_ISLNK(mode):
            led = os.path.realpath(place)
            target = str(place.readlink()) if stat.S_ISLNK(mode) else led
            # An absolute one leads elsewhere in the image, and on another machine.
            absolute = stat.S_ISLNK(mode) and target.startswith("/")
            if absolute or (led != root and not led.startswith(root.rstrip("/") + "/")):
                raise UnfitContext(
                    f"{place} leads to {target}, out of the build context: put what it leads to into {self.folder}, or name the "
                    f"link in {IGNORE_FILE}"
                )
        if not stat.S_ISLNK(mode) and not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
            raise UnfitContext(f"{place} is neither file, folder nor link: take it away, or name it in {IGNORE_FILE}")


def _entry(place: Path, path: str) -> list[str | int]:
    found = place.lstat()
    if stat.S_ISLNK(found.st_mode):
        return ["link", path, os.readlink(place)]  # noqa: PTH115  as it stands there, which a Path would tidy up
    if stat.S_ISDIR(found.st_mode):
        return ["folder", path, stat.S_IMODE(found.st_mode)]
    content = hashlib.sha256()
    with place.open("rb") as file:
        while piece := file.read(_PIECE):
            content.update(piece)
    return ["file", path, stat.S_IMODE(found.st_mode), content.hexdigest()]
