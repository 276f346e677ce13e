"""Takes one archive apart, in a process of its own: whatever is in it can end that process alone.

Started by :mod:`fetcher` with a :class:`Job` as JSON for its argument, the archive as standard input and the folder to fill as
its working directory. It becomes a user who may write nowhere else, and writes one line of JSON at its end:
``{"bytes": n, "entries": n}``, or ``{"problem": "..."}``.

Paths through links are refused, whether they lead out or not, and links themselves may lead up first and then down, but never up
again. So nothing can be written elsewhere, whatever the tarfile module of this Python lets through (CVE-2025-4138, CVE-2025-4330,
CVE-2025-4517 need a path through a link). Headers of any announced size cannot take the memory that the process may not have.
"""

from __future__ import annotations

# Some are read here only because it is before the process gives up its rights: where Python is may be closed to others.
import bz2  # noqa: F401
import encodings.cp437  # noqa: F401
import gzip
import json
import lzma  # noqa: F401
import os
import resource
import signal
import stat
import sys
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO

#: What the process may take: Python itself needs some 40 MiB of addresses, xz with its largest dictionary 65 MiB.
MEMORY_BYTES = 256 * 1024 * 1024
_PIECE = 64 * 1024
_DEPTH_MOST = 64


class Refused(Exception):
    """Something in the archive is not taken; the text is for people."""


@dataclass(frozen=True)
class Job:
    """What to unpack, and within which bounds."""

    kind: str  #: ``tar``, compressed or not, ``zip``, or ``gz`` for one compressed file
    name: str  #: what that file is called once it is unpacked
    bytes_most: int
    entries_most: int
    seconds: int  #: of CPU time
    uid: int | None = None  #: whom to become; None: nobody else
    gid: int = 0
    groups: tuple[int, ...] = ()


class Unpacker:
    """What one archive may still take, and the folder that it fills: the working directory."""

    def __init__(self, bytes_most: int, entries_most: int) -> None:
        self.bytes = 0
        self.entries = 0
        self._bytes_most = bytes_most
        self._entries_most = entries_most

    def take(self, size: int) -> None:
        """Count bytes before they are written. Raises Refused."""
        self.bytes += size
        if self.bytes > self._bytes_most:
            raise Refused("is too large")

    def enter(self, path: PurePosixPath, *, is_folder: bool = False) -> None:
        """Make the folders on the way to an entry, and count them with it: each takes a block of the disk. Raises Refused."""
        made = len(through_folders(path / "x" if is_folder else path, make=True))
        self.entries += max(1, made) if is_folder else 1 + made
        if self.entries > self._entries_most:
            raise Refused("holds too many files and folders")

    def tar(self, archive: IO[bytes]) -> None:
        with tarfile.open(fileobj=archive, mode="r|*") as opened:
            for member in opened:
                path = inside(member.name)
                self.enter(path, is_folder=member.isdir())
                if member.isdir():
                    continue
                if member.isreg():
                    content = opened.extractfile(member)
                    assert content is not None
                    self.file(path, pieces(content), executable=bool(member.mode & stat.S_IXUSR))
                elif member.issym():
                    self.link(path, member.linkname)
                elif member.islnk():
                    self.again(path, inside(member.linkname))
                else:
                    raise Refused(f"holds {member.name[:200]!r}, which is neither a file nor a folder nor a link")

    def zip(self, archive: IO[bytes]) -> None:
        with zipfile.ZipFile(archive) as opened:
            for member in opened.infolist():
                path = inside(member.filename)
                self.enter(path, is_folder=member.is_dir())
                mode = member.external_attr >> 16
                if member.is_dir():
                    continue
                if stat.S_ISLNK(mode):
                    with opened.open(member) as content:
                        self.link(path, os.fsdecode(content.read(os.pathconf("/", "PC_PATH_MAX"))))
                else:
                    with opened.open(member) as content:
                        self.file(path, pieces(content), executable=bool(mode & stat.S_IXUSR))

    def gz(self, archive: IO[bytes], name: str) -> None:
        path = inside(name)
        self.enter(path)
        with gzip.open(archive) as content:
            self.file(path, pieces(content), executable=False)

    def file(self, path: PurePosixPath, content: Iterator[bytes], *, executable: bool) -> None:
        """Write a file, in place of what has its name."""
        with open(new_file(path), "wb") as written:
            for piece in content:
                self.take(len(piece))
                written.write(piece)
            os.fchmod(written.fileno(), 0o755 if executable else 0o644)

    def link(self, path: PurePosixPath, target: str) -> None:
        """Make a symbolic link that leads to somewhere in the folder."""
        parts = PurePosixPath(target).parts
        ups = sum(part == ".." for part in parts)
        if target.startswith("/") or ".." in parts[ups:] or ups >= len(path.parts) or "\0" in target:
            raise Refused(f"holds the link {str(path)[:200]!r}, which leads out of the task's folder")
        replaced(path)
        Path(path).symlink_to(target)

    def again(self, path: PurePosixPath, target: PurePosixPath) -> None:
        """Make a second name for a file of the archive."""
        through_folders(target)
        if not stat.S_ISREG(os.lstat(target).st_mode):
            raise Refused(f"holds {str(path)[:200]!r} as another name of what is no file")
        replaced(path)
        os.link(target, path, follow_symlinks=False)


def inside(name: str) -> PurePosixPath:
    """Return where something goes. Raises Refused for what would go elsewhere."""
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or "\\" in name or "\0" in name:
        raise Refused(f"would put {name[:200]!r} outside of the task's folder")
    if len(path.parts) > _DEPTH_MOST:
        raise Refused(f"holds folders more than {_DEPTH_MOST} deep")
    return path


def through_folders(path: PurePosixPath, *, make: bool = False, base: Path = Path()) -> list[Path]:
    """See that every folder on the way from ``base`` to a path is a folder and no link; return those that were made.

    Raises Refused.
    """
    made = []
    for parent in (base / parent for parent in list(reversed(path.parents))[1:]):
        try:
            mode = os.lstat(parent).st_mode
        except FileNotFoundError:
            if not make:
                raise
            parent.mkdir(0o755)
            made.append(parent)
            continue
        if not stat.S_ISDIR(mode):
            raise Refused(f"would put {str(path)[:200]!r} through a link, or through what is no folder")
    return made


def replaced(path: PurePosixPath) -> None:
    """Make way for a new file or link. Raises Refused where a folder is in the way."""
    if not path.parts:
        raise Refused("holds a file without a name")
    through_folders(path, make=True)
    try:
        Path(path).unlink()
    except FileNotFoundError:
        pass
    except (IsADirectoryError, PermissionError):
        raise Refused(f"would put {str(path)[:200]!r} in the place of a folder") from None


def new_file(path: PurePosixPath) -> int:
    """Open a file that was not there, whoever may have laid a link there meanwhile."""
    replaced(path)
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)


def pieces(content: IO[bytes] | gzip.GzipFile) -> Iterator[bytes]:
    """Read to the end, a piece at a time."""
    return iter(lambda: content.read(_PIECE), b"")


def confine(job: Job) -> None:
    """Bound what this process may take from now on, and become the job's user."""
    for what, most in (
        (resource.RLIMIT_AS, MEMORY_BYTES),
        (resource.RLIMIT_FSIZE, job.bytes_most + _PIECE),
        (resource.RLIMIT_CPU, job.seconds),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_NOFILE, 32),
    ):
        hard = resource.getrlimit(what)[1]
        bound = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(what, (bound, bound))
    # Else a file that reaches its limit ends the process without a word.
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    if job.uid is not None:
        os.setgroups(job.groups)
        os.setgid(job.gid)
        os.setuid(job.uid)


def main(job: Job) -> dict[str, object]:
    """Unpack standard input into the working directory and return the answer."""
    confine(job)
    unpacker = Unpacker(job.bytes_most, job.entries_most)
    archive = sys.stdin.buffer
    try:
        if job.kind == "tar":
            unpacker.tar(archive)
        elif job.kind == "zip":
            unpacker.zip(archive)
        else:
            unpacker.gz(archive, job.name)
    except Refused as error:
        return {"problem": str(error)}
    except MemoryError:
        return {"problem": f"takes more than {MEMORY_BYTES >> 20} MiB of memory to unpack"}
    except (tarfile.TarError, zipfile.BadZipFile, EOFError, zlib.error, OSError, ValueError, RuntimeError) as error:
        return {"problem": f"cannot be unpacked: {error}"[:500]}
    except Exception as error:  # the process's edge: a broken archive can break the libraries in any way
        return {"problem": f"cannot be unpacked: {type(error).__name__}: {error}"[:500]}
    return {"bytes": unpacker.bytes, "entries": unpacker.entries}


if __name__ == "__main__":
    sys.stdout.write(json.dumps(main(Job(**json.loads(sys.argv[1])))))
    sys.stdout.flush()
    # What a decompressor still holds does not have to be put back.
    os._exit(0)
