"""Brings an app's files into a task's folder before it starts: what Mesos' fetcher does for executors, and only for those.

One thread for each task that has files, so that a slow server holds up nobody else, and limits on number, size and time, so that
a wrong URI does not fill the host. Archives are taken apart by the standard library, which refuses whatever would end up
elsewhere; what it would do silently is refused here.
"""

from __future__ import annotations

import gzip
import logging
import stat
import tarfile
import threading
import time
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath
from typing import IO
from urllib.parse import unquote, urlsplit

import requests

from eratos.common.errors import PermanentError
from eratos.common.log import fields
from eratos.common.payload import Fetch

from .core import actions as do
from .core import events as on

log = logging.getLogger(__name__)

#: For all files of a task together, unpacked ones included.
BYTES_MAX = 1024**3
ENTRIES_MAX = 100_000
TIME_S = 600.0
#: Tasks whose files are fetched at the same time; further ones wait.
TASKS_MAX = 4
_SILENCE_S = 30.0
_PIECE = 64 * 1024
_TARS = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz")

Start = do.StartContainer | do.StartProcess


class NotFetched(PermanentError):
    """A file cannot be had; the text names it and the fix, and shows no password."""


class Fetches:
    """Starts by the files they wait for. Used by the runtimes."""

    def __init__(self, emit: Callable[[on.Event], None]) -> None:
        self._emit = emit
        self._lock = threading.Lock()
        self._waiting: dict[str, threading.Event] = {}  #: set: given up
        self._slots = threading.Semaphore(TASKS_MAX)

    def wait_for(self, action: Start, folder: Path, go_on: Callable[[], object]) -> None:
        """Fetch a start's files into a folder, and let it go on then, or fail it."""
        cancelled = threading.Event()
        with self._lock:
            self._waiting[action.task_id] = cancelled
        self._emit(on.Preparing(action.task_id, f"fetching {', '.join(shown(file.uri) for file in action.fetch)}"))
        threading.Thread(target=self._fetch, args=(action, folder, go_on, cancelled), name="fetch", daemon=True).start()

    def cancel(self, task_id: str) -> None:
        """Fail a start at once if it waits here."""
        if self._leave(task_id):
            self._emit(on.StartFailed(task_id, "cancelled while its files were fetched"))

    def _fetch(self, action: Start, folder: Path, go_on: Callable[[], object], cancelled: threading.Event) -> None:
        problem = ""
        try:
            with self._slots:
                log.info("fetching %s", fields(task_id=action.task_id, files=len(action.fetch)))
                Budget(cancelled).fetch(action.fetch, folder)
        except NotFetched as error:
            problem = str(error)
        except Exception:  # thread edge: the task waits for its files
            log.exception("fetching broke, please report this as a bug %s", fields(task_id=action.task_id))
            problem = "internal error of the executor, see its log"
        if not self._leave(action.task_id):
            return
        if problem:
            self._emit(on.StartFailed(action.task_id, problem))
        else:
            go_on()

    def _leave(self, task_id: str) -> bool:
        """Strike a task out; tell whether it was still waiting."""
        with self._lock:
            cancelled = self._waiting.pop(task_id, None)
        if cancelled is None:
            return False
        cancelled.set()
        return True


class Budget:
    """What one task may still fetch."""

    def __init__(self, cancelled: threading.Event | None = None, *, bytes_max: int = BYTES_MAX, time_s: float = TIME_S) -> None:
        self._cancelled = cancelled or threading.Event()
        self._bytes_left = bytes_max
        self._bytes_max = bytes_max
        self._entries_left = ENTRIES_MAX
        self._time_s = time_s
        self._deadline = time.monotonic() + time_s

    def fetch(self, files: tuple[Fetch, ...], folder: Path) -> None:
        """Bring files into a folder. Raises NotFetched."""
        for file in files:
            target = _inside(folder, file.path, file)
            try:
                target.parent.mkdir(parents=True, exist_ok=True)
                self._save(_download(file.uri), target, file)
                if file.extract:
                    self._extract(target, target.parent, file)
            except requests.RequestException as error:
                raise NotFetched(f"{shown(file.uri)} cannot be fetched: {_reason(error)}; correct the app's fetch") from None
            except (OSError, tarfile.TarError, zipfile.BadZipFile, EOFError, zlib.error) as error:
                raise NotFetched(f"{shown(file.uri)} cannot be fetched: {error}; correct the app's fetch") from None
            if file.executable:
                target.chmod(0o755)

    def _save(self, pieces: Iterator[bytes], target: Path, file: Fetch) -> None:
        with target.open("wb") as saved:
            for piece in pieces:
                self._take(len(piece), file)
                saved.write(piece)

    def _take(self, size: int, file: Fetch) -> None:
        self._bytes_left -= size
        if self._bytes_left < 0:
            raise NotFetched(f"{shown(file.uri)} is too large: a task's files may take {self._bytes_max} bytes, all unpacked")
        if time.monotonic() > self._deadline:
            raise NotFetched(f"{shown(file.uri)} takes too long: a task's files have to be there within {self._time_s:g} s")
        if self._cancelled.is_set():
            raise NotFetched("cancelled")

    def _enter(self, file: Fetch) -> None:
        self._entries_left -= 1
        if self._entries_left < 0:
            raise NotFetched(f"{shown(file.uri)} holds too many files: {ENTRIES_MAX} are allowed")

    def _extract(self, archive: Path, folder: Path, file: Fetch) -> None:
        """Unpack by the name's ending, as Mesos does; anything else stays as it is."""
        if archive.name.endswith(_TARS):
            self._untar(archive, folder, file)
        elif archive.name.endswith(".zip"):
            self._unzip(archive, folder, file)
        elif archive.name.endswith(".gz"):
            with gzip.open(archive) as content:
                self._save(_pieces(content), archive.with_suffix(""), file)

    def _untar(self, archive: Path, folder: Path, file: Fetch) -> None:
        if not hasattr(tarfile, "data_filter"):
            raise NotFetched(f"{shown(file.uri)} cannot be unpacked safely: the executor's Python must be 3.11.4 or newer")
        with tarfile.open(archive) as tar:
            for member in tar:
                self._enter(file)
                self._take(member.size, file)
                _inside(folder, member.name, file)
                # The filter refuses devices and links that lead out, and drops owners and dangerous modes (PEP 706).
                tar.extract(member, folder, filter="data")

    def _unzip(self, archive: Path, folder: Path, file: Fetch) -> None:
        with zipfile.ZipFile(archive) as zipped:
            for member in zipped.infolist():
                self._enter(file)
                target = _inside(folder, member.filename, file)
                if member.is_dir():
                    target.mkdir(parents=True, exist_ok=True)
                    continue
                target.parent.mkdir(parents=True, exist_ok=True)
                with zipped.open(member) as content:
                    self._save(_pieces(content), target, file)
                if member.external_attr >> 16 & stat.S_IXUSR:
                    target.chmod(0o755)


def shown(uri: str) -> str:
    """Return a URI for people, without what may be a password."""
    parts = urlsplit(uri)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}" if parts.scheme else uri


def _download(uri: str) -> Iterator[bytes]:
    parts = urlsplit(uri)
    if parts.scheme in ("", "file"):
        with Path(unquote(parts.path) if parts.scheme else uri).open("rb") as content:
            yield from _pieces(content)
        return
    with requests.get(uri, stream=True, timeout=_SILENCE_S) as answer:
        answer.raise_for_status()
        yield from answer.iter_content(_PIECE)


def _pieces(content: IO[bytes] | gzip.GzipFile) -> Iterator[bytes]:
    return iter(lambda: content.read(_PIECE), b"")


def _inside(folder: Path, name: str, file: Fetch) -> Path:
    """Return where something goes in a folder. Raises NotFetched for what would go elsewhere."""
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or "\\" in name:
        raise NotFetched(f"{shown(file.uri)} would put {name!r} outside of the task's folder: refused")
    return folder / path


def _reason(error: requests.RequestException) -> str:
    if error.response is not None:
        return f"the server answers {error.response.status_code} {error.response.reason}"
    if isinstance(error, requests.Timeout):
        return f"the server was silent for {_SILENCE_S:g} s"
    return "no answer: " + type(error).__name__
