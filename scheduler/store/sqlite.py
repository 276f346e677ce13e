"""A store in one SQLite file, for one scheduler without ZooKeeper.

A write is one transaction, so it happens whole or not at all, and is on the disk when it returns (synchronous=FULL;
https://www.sqlite.org/pragma.html#pragma_synchronous). The process holds a lock on ``<file>.lock`` for as long as it
lives: two schedulers with one memory would undo each other's work, and there is no election to keep them apart.

Whoever only reads takes no lock and changes nothing: in WAL mode it sees the file as of the moment it begins, and neither
waits for the scheduler nor makes it wait (https://www.sqlite.org/wal.html#concurrency).

Only their owner may read the files, for apps' environments hold secrets.
"""

from __future__ import annotations

import fcntl
import logging
import os
import sqlite3
import stat
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final, TextIO
from urllib.parse import quote

from eratos.common.log import fields

from ..core.actions import Write
from ..core.records import Stored
from . import codec
from .base import checked_records, final_values
from .checksum import Ledger
from .errors import StoreUnavailable, StoreUnusable

log = logging.getLogger(__name__)

#: "erat" in ASCII: marks the file as ours (https://www.sqlite.org/pragma.html#pragma_application_id).
APPLICATION_ID: Final = 0x65726174

#: Of every file: SQLite gives its own beside the database, -wal and -shm, the database's mode.
_MODE: Final = 0o600

#: Result codes after which trying again cannot help (https://www.sqlite.org/rescode.html).
_DAMAGED: Final = ("SQLITE_CORRUPT", "SQLITE_NOTADB", "SQLITE_FORMAT")


class SqliteStore:
    """Opens, checks and, where there is none, creates the file. Raises StoreUnusable, StoreUnavailable."""

    def __init__(self, path: Path, *, read_only: bool = False) -> None:
        self._path = path
        self._lock_file = None if read_only else self._lock()
        self._ledger: Ledger | None = None  #: None until everything was read: then nothing can be said of the whole
        try:
            self._check_files(read_only)
            self._db = self._open_to_read() if read_only else self._open()
            self._inode = self._found_inode()
        except BaseException:
            if self._lock_file is not None:
                self._lock_file.close()
            raise

    def begin_term(self, ballot: str = "") -> None:
        pass  # the lock taken on opening keeps every other writer out

    def load(self) -> Stored:
        ledger = Ledger()
        with self._errors_as_ours():
            left = self._db.execute("SELECT value FROM checksum").fetchone()
            # One record after the other: all of them as bytes would take as much memory as what is made of them.
            stored = codec.decode_all(ledger.reading(self._rows()))
        ledger.verify(str(left[0]).encode() if left else b"", str(self._path))
        self._ledger = ledger
        return stored

    def items(self) -> dict[str, bytes]:
        with self._errors_as_ours():
            return dict(self._rows())

    def write(self, batch: Sequence[Write]) -> None:
        if self._inode != self._found_inode():
            raise StoreUnusable(
                f"{self._path} was moved, deleted or replaced while in use, so no write would be found again: stop every "
                "scheduler before the file is touched, put the right one in place and start again"
            )
        changes = list(final_values(batch).items())
        checksum = "" if self._ledger is None else str(self._ledger.after(changes))
        with self._errors_as_ours(), self._db:
            self._db.execute("BEGIN IMMEDIATE")
            self._put((key, data) for key, data in changes if data is not None)
            self._db.executemany("DELETE FROM records WHERE key = ?", [(key,) for key, data in changes if data is None])
            self._set_checksum(checksum)
        if self._ledger is not None:
            self._ledger.enter(changes)

    def restore(self, records: Mapping[str, bytes], ballot: str = "") -> None:
        wanted = checked_records(records)
        with self._errors_as_ours(), self._db:
            self._db.execute("BEGIN IMMEDIATE")
            self._db.execute("DELETE FROM records")
            self._put(wanted.items())
            self._set_checksum(str(Ledger(wanted.items()).checksum))

    def keep_once(self, name: str, make: Callable[[bool], bytes]) -> bytes:
        with self._errors_as_ours():
            # Not among the tables that are made with the file: versions before have not got it.
            if self._db.execute("SELECT 1 FROM sqlite_master WHERE name = 'kept'").fetchone():
                found = self._db.execute("SELECT CAST(data AS BLOB) FROM kept WHERE name = ?", (name,)).fetchone()
                if found is not None:
                    return bytes(found[0])
            data = make(self._db.execute("SELECT 1 FROM records LIMIT 1").fetchone() is not None)
            with self._db:
                self._db.execute("BEGIN IMMEDIATE")
                self._db.execute("CREATE TABLE IF NOT EXISTS kept (name TEXT PRIMARY KEY, data BLOB) WITHOUT ROWID")
                self._db.execute("INSERT INTO kept VALUES (?, ?)", (name, data))
            return data

    def close(self) -> None:
        self._db.close()
        if self._lock_file is not None:
            self._lock_file.close()

    def _rows(self) -> Iterable[tuple[str, bytes]]:
        # What somebody put in with the sqlite3 command is text, and may be anything.
        return self._db.execute("SELECT CAST(key AS TEXT), CAST(coalesce(data, '') AS BLOB) FROM records ORDER BY key")

    def _put(self, records: Iterable[tuple[str, bytes]]) -> None:
        self._db.executemany("INSERT INTO records VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET data = excluded.data", records)

    def _set_checksum(self, checksum: str) -> None:
        self._db.execute("DELETE FROM checksum")
        self._db.execute("INSERT INTO checksum VALUES (?)", (checksum,))

    def _found_inode(self) -> tuple[int, int] | None:
        """Return what distinguishes the file at the path from every other one."""
        try:
            found = self._path.stat()
        except OSError:
            return None
        return found.st_dev, found.st_ino

    def _lock(self) -> TextIO:
        lock_path = self._path.with_name(self._path.name + ".lock")
        try:
            file = os.fdopen(os.open(lock_path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, _MODE), "r+")
        except OSError as error:
            raise StoreUnusable(
                f"{lock_path} cannot be opened ({error.strerror}): create the folder and let the scheduler write there"
            ) from error
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            file.seek(0)
            owner = file.read(20).strip() or "unknown"
            file.close()
            raise StoreUnusable(
                f"{self._path} is in use by another scheduler (process {owner}): stop that one, or give this one a file "
                "of its own; several schedulers for one cluster need ZooKeeper (--zk)"
            ) from error
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        return file

    def _check_files(self, read_only: bool) -> None:
        """Refuse what SQLite would take for a new database or make one of."""
        if self._path.is_dir():
            raise StoreUnusable(f"{self._path} is a folder: name a file in it in --store")
        if not self._path.exists():
            if read_only:
                raise StoreUnusable(f"there is no file {self._path}: name the one that the scheduler uses in --store")
            if self._has_log():
                raise StoreUnusable(
                    f"{self._path} is gone, but not what was written to it last, {self._log_path}: put the file back beside "
                    "that, or move that away and restore a backup (`eratos-scheduler restore FILE`)"
                )
        elif not self._path.stat().st_size:
            raise StoreUnusable(
                f"{self._path} is empty, perhaps a copy that was cut off: put the whole file in its place, or delete it and "
                "restore a backup (`eratos-scheduler restore FILE`). Deleted and not restored it makes a new framework"
            )

    def _open(self) -> sqlite3.Connection:
        self._make_private()
        with self._errors_as_ours():
            # One thread at a time uses it, but not always the one that opened it.
            db = sqlite3.connect(self._path, isolation_level=None, check_same_thread=False)
            try:
                self._check(db)
                db.execute("PRAGMA journal_mode = WAL")
                db.execute("PRAGMA synchronous = FULL")
                with db:
                    db.execute("BEGIN IMMEDIATE")
                    db.execute("CREATE TABLE IF NOT EXISTS records (key TEXT PRIMARY KEY, data BLOB) WITHOUT ROWID")
                    db.execute("CREATE TABLE IF NOT EXISTS checksum (value TEXT)")
                    db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
                    db.execute(f"PRAGMA user_version = {codec.SCHEMA}")
            except BaseException:
                db.close()
                raise
        return db

    def _make_private(self) -> None:
        """Make the database's file, or take it from everybody else: versions before left it to the umask."""
        try:
            os.close(os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, _MODE))
        except OSError as error:
            raise StoreUnavailable(f"{self._path} cannot be opened: {error.strerror}") from error
        for name in ("", "-wal", "-shm", ".lock"):
            path = self._path.with_name(self._path.name + name)
            # Whoever let only a group in meant to.
            if path.exists() and path.stat().st_mode & stat.S_IRWXO:
                try:
                    path.chmod(_MODE)
                    log.warning("could be read by everybody, now by its owner alone %s", fields(file=path))
                except OSError as error:
                    log.warning("can be read by everybody, let only the scheduler %s", fields(file=path, error=error.strerror))

    def _open_to_read(self) -> sqlite3.Connection:
        with self._errors_as_ours():
            db = sqlite3.connect(f"file:{quote(str(self._path))}?mode=ro", uri=True, isolation_level=None)
            try:
                self._check(db)
                if not db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
                    raise StoreUnusable(f"{self._path} holds nothing yet: name the file that the scheduler uses in --store")
            except BaseException:
                db.close()
                raise
        return db

    @property
    def _log_path(self) -> Path:
        return self._path.with_name(self._path.name + "-wal")

    def _has_log(self) -> bool:
        """Return whether something was written that is not in the file yet (https://www.sqlite.org/wal.html)."""
        return self._log_path.exists() and self._log_path.stat().st_size > 0

    def _check(self, db: sqlite3.Connection) -> None:
        """Refuse a file that is damaged, somebody else's or of a newer schema."""
        db.text_factory = lambda text: text.decode(errors="backslashreplace")  # a damaged key must not hide all others
        report = [row[0] for row in db.execute("PRAGMA quick_check(3)")]
        if report != ["ok"]:
            raise self._damaged("; ".join(" ".join(report).splitlines()))
        # SQLite fills up a last page that was cut off with zeros.
        if self._path.stat().st_size % db.execute("PRAGMA page_size").fetchone()[0] and not self._has_log():
            raise self._damaged("its end is missing")
        application_id, schema = (db.execute(f"PRAGMA {name}").fetchone()[0] for name in ("application_id", "user_version"))
        tables = {row[0] for row in db.execute("SELECT name FROM sqlite_master")}
        if application_id != APPLICATION_ID and tables:
            raise StoreUnusable(f"{self._path} is a database of another program: name another file in --store")
        if application_id == APPLICATION_ID and "records" not in tables:
            raise self._damaged("the table records is missing")
        if schema > codec.SCHEMA:
            raise StoreUnusable(
                f"{self._path} was written by a newer eratos (schema {schema}, this one knows up to {codec.SCHEMA}): "
                "run that version or a later one"
            )

    def _damaged(self, report: str) -> StoreUnusable:
        return StoreUnusable(
            f"{self._path} is damaged ({report}): move it away and restore it from a backup (`eratos-scheduler restore FILE`), "
            f"or rescue what is left with `sqlite3 {self._path} .recover`. Starting with an empty file instead makes a new "
            "framework and leaves the running tasks to themselves, so nothing was changed"
        )

    @contextmanager
    def _errors_as_ours(self) -> Iterator[None]:
        """Turn SQLite's errors into ours."""
        try:
            yield
        except sqlite3.ProgrammingError:
            raise  # our own mistake, such as a use after close
        except sqlite3.Error as error:
            name = getattr(error, "sqlite_errorname", "")
            if name.startswith(_DAMAGED):
                raise self._damaged(str(error)) from error
            raise StoreUnavailable(
                f"{self._path} cannot be used ({error}): check the disk's room and health and the file's permissions"
            ) from error
