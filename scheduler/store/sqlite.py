"""A store in one SQLite file, for one scheduler without ZooKeeper.

A write is one transaction, so it happens whole or not at all, and is on the disk when it returns (synchronous=FULL;
https://www.sqlite.org/pragma.html#pragma_synchronous). The process holds a lock on ``<file>.lock`` for as long as it
lives: two schedulers with one memory would undo each other's work, and there is no election to keep them apart.
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final, TextIO

from ..core.actions import Write
from ..core.records import Stored
from . import codec
from .base import final_values
from .errors import StoreUnavailable, StoreUnusable

#: "erat" in ASCII: marks the file as ours (https://www.sqlite.org/pragma.html#pragma_application_id).
APPLICATION_ID: Final = 0x65726174

#: Result codes after which trying again cannot help (https://www.sqlite.org/rescode.html).
_DAMAGED: Final = ("SQLITE_CORRUPT", "SQLITE_NOTADB", "SQLITE_FORMAT")


class SqliteStore:
    """Opens, checks and, where there is none, creates the file. Raises StoreUnusable, StoreUnavailable."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock_file = self._lock()
        try:
            self._db = self._open()
        except BaseException:
            self._lock_file.close()
            raise

    def begin_term(self, ballot: str = "") -> None:
        pass  # the lock taken on opening keeps every other writer out

    def load(self) -> Stored:
        with self._told():
            rows = self._db.execute("SELECT key, data FROM records ORDER BY key").fetchall()
        return codec.decode_all(rows)

    def write(self, batch: Sequence[Write]) -> None:
        values = final_values(batch)
        with self._told(), self._db:
            self._db.execute("BEGIN IMMEDIATE")
            self._db.executemany(
                "INSERT INTO records VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET data = excluded.data",
                [(key, data) for key, data in values.items() if data is not None],
            )
            self._db.executemany("DELETE FROM records WHERE key = ?", [(key,) for key, data in values.items() if data is None])

    def close(self) -> None:
        self._db.close()
        self._lock_file.close()

    def _lock(self) -> TextIO:
        lock_path = self._path.with_name(self._path.name + ".lock")
        try:
            file = lock_path.open("a+")
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

    def _open(self) -> sqlite3.Connection:
        with self._told():
            # One thread at a time uses it, but not always the one that opened it.
            db = sqlite3.connect(self._path, isolation_level=None, check_same_thread=False)
            try:
                self._check(db)
                db.execute("PRAGMA journal_mode = WAL")
                db.execute("PRAGMA synchronous = FULL")
                with db:
                    db.execute("BEGIN IMMEDIATE")
                    db.execute("CREATE TABLE IF NOT EXISTS records (key TEXT PRIMARY KEY, data BLOB) WITHOUT ROWID")
                    db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
                    db.execute(f"PRAGMA user_version = {codec.SCHEMA}")
            except BaseException:
                db.close()
                raise
        return db

    def _check(self, db: sqlite3.Connection) -> None:
        """Refuse a file that is damaged, somebody else's or of a newer schema."""
        report = [row[0] for row in db.execute("PRAGMA quick_check(3)")]
        if report != ["ok"]:
            raise self._damaged("; ".join(" ".join(report).splitlines()))
        application_id, schema = (db.execute(f"PRAGMA {name}").fetchone()[0] for name in ("application_id", "user_version"))
        empty = not db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
        if application_id != APPLICATION_ID and not empty:
            raise StoreUnusable(f"{self._path} is a database of another program: name another file in --store")
        if schema > codec.SCHEMA:
            raise StoreUnusable(
                f"{self._path} was written by a newer eratos (schema {schema}, this one knows up to {codec.SCHEMA}): "
                "run that version or a later one"
            )

    def _damaged(self, report: str) -> StoreUnusable:
        return StoreUnusable(
            f"{self._path} is damaged ({report}): restore it from a backup, or rescue what is left with "
            f"`sqlite3 {self._path} .recover`. Starting with an empty file instead makes a new framework and leaves the "
            "running tasks to themselves, so nothing was changed"
        )

    @contextmanager
    def _told(self) -> Iterator[None]:
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
