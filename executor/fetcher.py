"""Brings an app's files into a task's folder before it starts: what Mesos' fetcher does for executors, and only for those.

One thread for each task that has files, so that a slow server holds up nobody else, and limits on number, size, time and least
speed, so that a wrong URI does not fill the host. The folder is the executor's alone until all files are there, so no task can
lay links in the way; archives are taken apart by a process of their own (:mod:`unpack`). A task with a user gets no file of the
host that this user could not read.
"""

from __future__ import annotations

import json
import logging
import os
import pwd
import select
import socket
import stat
import subprocess
import sys
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import unquote, urljoin, urlsplit

import requests
import urllib3

from eratos.common.errors import PermanentError
from eratos.common.log import fields
from eratos.common.payload import Fetch

from . import unpack
from .core import actions as do
from .core import events as on
from .fetch_rules import FetchRules, RefusedByRules
from .slots import FairSlots

log = logging.getLogger(__name__)

#: For all files of a task together, unpacked ones included.
BYTES_MAX = 1024**3
ENTRIES_MAX = 100_000
TIME_S = 600.0
#: Tasks whose files are fetched at the same time; further ones wait. Of one server fewer, so that a slow one holds up its own.
TASKS_MAX = 4
TASKS_OF_ONE_SERVER_MAX = 2
#: A download that brings less than this in so many seconds is given up.
LEAST_BYTES, LEAST_EVERY_S = 64 * 1024, 30.0
_SILENCE_S = 30.0
#: Times that one server may send on to another.
REDIRECTS_MAX = 10
_PIECE = 64 * 1024
_TARS = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz")
_LOOK_S = 0.5
#: Who takes archives apart where the task has no user of its own.
_NOBODY = "nobody"

Start = do.StartContainer | do.StartProcess


class NotFetched(PermanentError):
    """A file cannot be had; the text names it and the fix, and shows no password."""


@dataclass(frozen=True, slots=True)
class Account:
    """A user of the host."""

    uid: int
    gid: int
    groups: tuple[int, ...]
    name: str
    home: str

    @classmethod
    def named(cls, name: str) -> Account:
        """Look a user up. Raises KeyError."""
        found = pwd.getpwnam(name)
        groups = tuple(os.getgrouplist(found.pw_name, found.pw_gid))
        return cls(found.pw_uid, found.pw_gid, groups, found.pw_name, found.pw_dir)

    @property
    def is_ours(self) -> bool:
        """Whether the executor itself runs as this user."""
        return self.uid == os.geteuid()

    def of_process(self) -> dict[str, Any]:
        """Return Popen's options to start a process as this user."""
        return {} if self.is_ours else {"user": self.uid, "group": self.gid, "extra_groups": self.groups}


class Fetches:
    """Starts by the files they wait for. Used by the runtimes."""

    def __init__(self, emit: Callable[[on.Event], None], rules: FetchRules = FetchRules()) -> None:  # noqa: B008
        self._emit = emit
        self._rules = rules
        self._lock = threading.Lock()
        self._waiting: dict[str, threading.Event] = {}  #: set: given up
        self._slots = FairSlots(TASKS_MAX, TASKS_OF_ONE_SERVER_MAX)

    def wait_for(self, action: Start, folder: Path, go_on: Callable[[], object], account: Account | None = None) -> None:
        """Fetch a start's files into a folder, for the task's user if it has one, and let it go on then, or fail it."""
        cancelled = threading.Event()
        with self._lock:
            self._waiting[action.task_id] = cancelled
        self._emit(on.Preparing(action.task_id, f"fetching {', '.join(shown(file.uri) for file in action.fetch)}"))
        arguments = (action, folder, go_on, cancelled, account)
        threading.Thread(target=self._fetch, args=arguments, name="fetch", daemon=True).start()

    def cancel(self, task_id: str) -> None:
        """Fail a start at once if it waits here."""
        if self._leave(task_id):
            self._emit(on.StartFailed(task_id, "cancelled while its files were fetched"))

    def _fetch(
        self, action: Start, folder: Path, go_on: Callable[[], object], cancelled: threading.Event, account: Account | None
    ) -> None:
        problem = ""
        try:
            with self._slots.one({urlsplit(file.uri).netloc for file in action.fetch}, cancelled.is_set) as taken:
                if taken:
                    log.info("fetching %s", fields(task_id=action.task_id, files=len(action.fetch)))
                    Budget(cancelled, account, rules=self._rules).fetch(action.fetch, folder)
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
        """Strike a task out; return whether it was still waiting."""
        with self._lock:
            cancelled = self._waiting.pop(task_id, None)
        if cancelled is None:
            return False
        cancelled.set()
        return True


class Budget:
    """What one task may still fetch."""

    def __init__(
        self,
        cancelled: threading.Event | None = None,
        account: Account | None = None,
        *,
        bytes_max: int = BYTES_MAX,
        time_s: float = TIME_S,
        rules: FetchRules = FetchRules(),  # noqa: B008
    ) -> None:
        """``account``: whom the files are for; None: nobody in particular, and all that the executor may read is allowed."""
        self._cancelled = cancelled or threading.Event()
        self._account = account
        self._bytes_left = bytes_max
        self._bytes_max = bytes_max
        self._entries_left = ENTRIES_MAX
        self._time_s = time_s
        self._deadline = time.monotonic() + time_s
        self._owner = account or _unpacker()
        self._rules = rules
        self._connections = _Connections()

    def fetch(self, files: tuple[Fetch, ...], folder: Path) -> None:
        """Bring files into a folder, which nobody else may reach meanwhile. Raises NotFetched."""
        with self._connections.cut_once(self._over):
            self._fetch(files, folder)

    def _fetch(self, files: tuple[Fetch, ...], folder: Path) -> None:
        self._own(folder)
        for file in files:
            try:
                path = unpack.inside(file.path)
                for made in unpack.through_folders(path, make=True, base=folder):
                    self._own(made)
                self._save(self._pieces(file), folder / path, file)
                if file.extract:
                    self._extract(folder / path, file)
            except RefusedByRules as error:
                raise NotFetched(f"{shown(file.uri)} is not fetched: {error}") from None
            except unpack.Refused as error:
                raise NotFetched(f"{shown(file.uri)} {error}: refused; correct the app's fetch") from None
            except requests.RequestException as error:
                self._take(0, file)  # it may have been cut
                raise NotFetched(f"{shown(file.uri)} cannot be fetched: {_reason(error)}; correct the app's fetch") from None
            except (urllib3.exceptions.HTTPError, zlib.error) as error:
                self._take(0, file)
                said = _broken_off(error)
                raise NotFetched(f"{shown(file.uri)} cannot be fetched: {said}; correct the app's fetch") from None
            except OSError as error:
                self._take(0, file)
                raise NotFetched(f"{shown(file.uri)} cannot be fetched: {error}; correct the app's fetch") from None
            if file.executable:
                (folder / path).chmod(0o755)

    def _save(self, pieces: Iterator[bytes], target: Path, file: Fetch) -> None:
        with suppress(FileNotFoundError):
            target.unlink()
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        with os.fdopen(os.open(target, flags, 0o644), "wb") as saved:
            for piece in pieces:
                self._take(len(piece), file)
                saved.write(piece)
        self._own(target)

    def _own(self, path: Path) -> None:
        """Give what was just made to whom it is for."""
        if self._owner is not None and not self._owner.is_ours:
            os.chown(path, self._owner.uid, self._owner.gid, follow_symlinks=False)

    def _pieces(self, file: Fetch) -> Iterator[bytes]:
        parts = urlsplit(file.uri)
        if parts.scheme not in ("", "file"):
            return self._download(file)
        path = unquote(parts.path) if parts.scheme else file.uri
        if problem := self._rules.file_problem(path):
            raise RefusedByRules(problem)
        if self._account is None or self._account.is_ours:
            return _host_file(path)
        return self._host_file_as(self._account, path, file)

    def _download(self, file: Fetch) -> Iterator[bytes]:
        try:
            with self._rules.session(self._connections.add) as session, self._answer(session, file) as answer:
                answer.raise_for_status()
                yield from self._arriving(answer, file)
        finally:
            self._connections.forget()

    def _arriving(self, answer: requests.Response, file: Fetch) -> Iterator[bytes]:
        coded = _Coded(answer.headers.get("Content-Encoding", ""))
        since, brought = time.monotonic(), 0
        # What is there, however little: whole pieces may take their time, and nobody would look at the clock meanwhile.
        while arrived := answer.raw.read1(_PIECE, decode_content=False):
            brought += len(arrived)
            if time.monotonic() - since >= LEAST_EVERY_S:
                if brought < LEAST_BYTES:
                    slow = f"{brought} bytes came within {LEAST_EVERY_S:g} s, and at least {LEAST_BYTES} must"
                    raise NotFetched(f"{shown(file.uri)} cannot be fetched: {slow}; use a faster server")
                since, brought = time.monotonic(), 0
            yield from coded.pieces(arrived)
        self._take(0, file)  # a connection that was cut looks like one that came to its end
        coded.end()

    def _answer(self, session: requests.Session, file: Fetch) -> requests.Response:
        """Ask for a file, and wherever that leads. Bodies of redirections, which may have no end, are left unread."""
        uri = file.uri
        for _ in range(REDIRECTS_MAX):
            self._take(0, file)
            answer = session.get(uri, stream=True, timeout=_SILENCE_S, headers={"Accept-Encoding": "identity"})
            try:
                target = session.get_redirect_target(answer)
                if target is None:
                    return answer
                uri = _next(session, answer.url, target)
            except ValueError:
                raise NotFetched(f"{shown(file.uri)} cannot be fetched: it leads on to no address") from None
            answer.close()
        raise NotFetched(f"{shown(file.uri)} cannot be fetched: it leads on more than {REDIRECTS_MAX} times")

    def _host_file_as(self, account: Account, path: str, file: Fetch) -> Iterator[bytes]:
        """Read a file of the host as another user: what that user may not read is not for the user's tasks either."""
        with subprocess.Popen(
            ["cat", "--", path],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd="/",
            **account.of_process(),
        ) as process:
            assert process.stdout is not None
            assert process.stderr is not None
            try:
                while True:
                    self._take(0, file)
                    if not select.select([process.stdout], [], [], _LOOK_S)[0]:
                        continue
                    piece = os.read(process.stdout.fileno(), _PIECE)
                    if not piece:
                        break
                    yield piece
            except BaseException:
                process.kill()
                raise
            if process.wait():
                said = process.stderr.read(500).decode(errors="replace").rpartition(": ")[2].strip()
                raise OSError(f"{path}: {said}, as user {account.name}, whom the app names")

    def _take(self, size: int, file: Fetch) -> None:
        self._bytes_left -= size
        if self._bytes_left < 0:
            raise NotFetched(f"{shown(file.uri)} is too large: a task's files may take {self._bytes_max} bytes, all unpacked")
        if self._late():
            raise NotFetched(f"{shown(file.uri)} takes too long: a task's files have to be there within {self._time_s:g} s")
        if self._cancelled.is_set():
            raise NotFetched("cancelled")

    def _late(self) -> bool:
        return time.monotonic() > self._deadline

    def _over(self) -> bool:
        return self._late() or self._cancelled.is_set()

    def _extract(self, archive: Path, file: Fetch) -> None:
        """Unpack by the name's ending, as Mesos does; anything else stays as it is."""
        if archive.name.endswith(_TARS):
            kind = "tar"
        elif archive.name.endswith(".zip"):
            kind = "zip"
        elif archive.name.endswith(".gz"):
            kind = "gz"
        else:
            return
        with archive.open("rb") as content:
            answer = self._unpacked(kind, content, archive.parent, archive.with_suffix("").name, file)
        if "problem" in answer:
            raise NotFetched(f"{shown(file.uri)} {answer['problem']}; {self._allowed()}; correct the app's fetch")
        self._take(answer["bytes"], file)
        self._entries_left -= answer["entries"]

    def _allowed(self) -> str:
        return f"a task's files may take {self._bytes_max} bytes and {ENTRIES_MAX} files and folders, all unpacked"

    def _unpacked(self, kind: str, archive: BinaryIO, folder: Path, name: str, file: Fetch) -> dict[str, Any]:
        """Have an archive taken apart by a process, and return its answer."""
        seconds = max(1, int(self._deadline - time.monotonic()))
        job = unpack.Job(kind, name, self._bytes_left, self._entries_left, seconds)
        if self._owner is not None and not self._owner.is_ours:
            job = replace(job, uid=self._owner.uid, gid=self._owner.gid, groups=self._owner.groups)
        with subprocess.Popen(
            # -I: neither variables nor the folder that it is in have a say in what Python loads.
            [sys.executable, "-I", "-B", unpack.__file__, json.dumps(asdict(job))],
            stdin=archive,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            cwd=folder,
            env={},
            start_new_session=True,
        ) as process:
            try:
                while True:
                    try:
                        said, _ = process.communicate(timeout=_LOOK_S)
                        break
                    except subprocess.TimeoutExpired:
                        self._take(0, file)
            except BaseException:
                process.kill()
                raise
        try:
            answer = json.loads(said)
        except ValueError:
            return {"problem": f"cannot be unpacked: what tried ended with {process.returncode}"}
        return dict(answer)


def _next(session: requests.Session, uri: str, target: str) -> str:
    """Return where a redirection leads, with the login of where it comes from if that is meant for it. Raises ValueError."""
    found = urljoin(uri, requests.utils.requote_uri(target))
    login, at, _ = urlsplit(uri).netloc.rpartition("@")
    parts = urlsplit(found)
    if not at or "@" in parts.netloc or session.should_strip_auth(uri, found):  # type: ignore[no-untyped-call]
        return found
    return parts._replace(netloc=f"{login}@{parts.netloc}").geturl()


class _Connections:
    """The connections of one task's downloads, to be cut from outside.

    A server can hold a reader up in ways that no wait for its next byte bounds: by a header or a trailer that has no end, by one
    interim answer after the other.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._made: list[socket.socket] = []

    def add(self, connection: socket.socket) -> None:
        """Note a connection, by a descriptor of its own: TLS and the library take the other one away."""
        with self._lock:
            self._made.append(connection.dup())

    def forget(self) -> None:
        """Let go of those of a download that is over."""
        with self._lock:
            for connection in self._made:
                connection.close()
            self._made.clear()

    @contextmanager
    def cut_once(self, over: Callable[[], bool]) -> Iterator[None]:
        """Cut whatever is open, and what comes after it, from when ``over`` says so until the block ends."""
        ended = threading.Event()
        thread = threading.Thread(target=self._watch, args=(over, ended), name="fetch-watch", daemon=True)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()
            self.forget()

    def _watch(self, over: Callable[[], bool], ended: threading.Event) -> None:
        while not ended.wait(_LOOK_S):
            if over():
                with self._lock:
                    for connection in self._made:
                        with suppress(OSError):
                            connection.shutdown(socket.SHUT_RDWR)


class _Coded:
    """What a server sends although nobody has asked for it: a file compressed on its way (Content-Encoding)."""

    def __init__(self, coding: str) -> None:
        """Raises zlib.error for what cannot be read."""
        self._coding = coding.strip().lower()
        if self._coding not in ("", "identity", "gzip", "x-gzip"):
            raise zlib.error(f"it comes as {self._coding[:50]!r}, which was not asked for")
        self._inflating = self._begun()
        self._open = False  #: in the midst of what was compressed

    @staticmethod
    def _begun() -> Any:
        return zlib.decompressobj(zlib.MAX_WBITS | 16)

    def pieces(self, data: bytes) -> Iterator[bytes]:
        """Yield what has come, at least one piece of bounded size, though it may be empty. Raises zlib.error."""
        if "gzip" not in self._coding:
            yield data
            return
        piece = bytes(_PIECE)
        while data or len(piece) == _PIECE:
            self._open = True
            piece = self._inflating.decompress(data, _PIECE)
            yield piece
            data = self._inflating.unconsumed_tail
            if self._inflating.eof:
                # Several may follow each other (RFC 1952, 2.2).
                data, piece = self._inflating.unused_data, b""
                self._inflating, self._open = self._begun(), False

    def end(self) -> None:
        """Say that nothing more comes. Raises zlib.error."""
        if self._open:
            raise zlib.error("it was cut short")


def _unpacker() -> Account | None:
    """Return who takes archives apart that are for no particular user; None: the executor itself, which is not root."""
    if os.geteuid() != 0:
        return None
    with suppress(KeyError):
        return Account.named(_NOBODY)
    return Account(65534, 65534, (), _NOBODY, "/")


def shown(uri: str) -> str:
    """Return a URI for people, without what may be a password."""
    parts = urlsplit(uri)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}" if parts.scheme else uri


def _host_file(path: str) -> Iterator[bytes]:
    # Opening a pipe would wait for its writer, without end.
    with os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as content:
        if not stat.S_ISREG(os.fstat(content.fileno()).st_mode):
            raise OSError(f"{path} is no file")
        yield from unpack.pieces(content)


def _broken_off(error: urllib3.exceptions.HTTPError | zlib.error) -> str:
    if isinstance(error, zlib.error):
        return f"its server's compression cannot be read: {error}"
    if isinstance(error, urllib3.exceptions.TimeoutError):
        return f"the server was silent for {_SILENCE_S:g} s"
    return f"the connection broke off: {type(error).__name__}"


def _reason(error: requests.RequestException) -> str:
    if error.response is not None:
        return f"the server answers {error.response.status_code} {error.response.reason}"
    if isinstance(error, requests.Timeout):
        return f"the server was silent for {_SILENCE_S:g} s"
    return "no answer: " + type(error).__name__
