"""The SQLite store: one file, one scheduler, and no repair behind the operator's back."""

from __future__ import annotations

import os
import resource
import signal
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from support.folders import TESTS
from support.records import an_instance, put

from eratos.scheduler.store import codec
from eratos.scheduler.store.base import StoreUnavailable, StoreUnusable
from eratos.scheduler.store.sqlite import SqliteStore


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "store.db"


def fill(path: Path, instances: int = 1) -> None:
    with closing(SqliteStore(path)) as store:
        store.write([put(an_instance(number)) for number in range(instances)])


def test_a_second_scheduler_is_kept_out_and_told_who_is_in(path: Path) -> None:
    with closing(SqliteStore(path)):
        for _ in range(2):
            with pytest.raises(StoreUnusable, match=rf"in use by another scheduler \(process {os.getpid()}\).*--zk"):
                SqliteStore(path)
    SqliteStore(path).close()


def test_another_process_is_kept_out_until_the_first_one_dies(path: Path) -> None:
    code = f"from eratos.scheduler.store.factory import *; s = open_store('sqlite://{path}'); print('in', flush=True); input()"
    with subprocess.Popen([sys.executable, "-P", "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        try:
            assert other.stdout is not None
            assert other.stdout.readline() == "in\n"
            with pytest.raises(StoreUnusable, match=rf"process {other.pid}"):
                SqliteStore(path)
        finally:
            other.kill()
    SqliteStore(path).close()


def test_what_a_killed_process_wrote_is_there(path: Path) -> None:
    code = f"""
import os, signal
from support.records import an_instance, put
from eratos.scheduler.store.factory import open_store
open_store('sqlite://{path}').write([put(an_instance(number)) for number in range(100)])
os.kill(os.getpid(), signal.SIGKILL)
"""
    tests = str(TESTS)
    died = subprocess.run([sys.executable, "-P", "-c", code], env=os.environ | {"PYTHONPATH": tests}, check=False)
    assert died.returncode == -signal.SIGKILL
    with closing(SqliteStore(path)) as store:
        assert len(store.load().instances) == 100


def test_every_commit_reaches_the_disk(path: Path) -> None:
    with closing(SqliteStore(path)) as store:
        assert store._db.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        assert store._db.execute("PRAGMA synchronous").fetchone() == (2,)  # FULL


def modes(path: Path) -> dict[str, int]:
    return {file.name: stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()}


@contextmanager
def mask(value: int) -> Iterator[None]:
    before = os.umask(value)
    try:
        yield
    finally:
        os.umask(before)


@pytest.mark.parametrize("umask", [0o022, 0o000])
def test_nobody_else_may_read_the_files(path: Path, umask: int) -> None:
    """Apps' environments hold secrets."""
    with mask(umask), closing(SqliteStore(path)) as store:
        store.write([put(an_instance(1))])
        found = modes(path)
    assert found.keys() == {"store.db", "store.db-wal", "store.db-shm", "store.db.lock"}
    assert set(found.values()) == {0o600}


def test_files_of_a_version_before_are_taken_from_everybody_else(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with closing(SqliteStore(path)) as store:
        store.write([put(an_instance(1))])
        left = {file: file.read_bytes() for file in path.parent.iterdir()}
    for file, data in left.items():  # as a killed scheduler leaves them
        file.write_bytes(data)
        file.chmod(0o644)
    with closing(SqliteStore(path)) as store:
        assert len(store.load().instances) == 1
        assert set(modes(path).values()) == {0o600}
    assert "could be read by everybody" in caplog.text


def test_a_group_that_was_let_in_stays_in(path: Path) -> None:
    fill(path)
    path.chmod(0o640)
    with closing(SqliteStore(path)) as store:
        store.write([put(an_instance(1))])
        assert {modes(path)[name] for name in ("store.db", "store.db-wal", "store.db-shm")} == {0o640}


@pytest.mark.parametrize("damage", ["page", "header", "text"])
def test_a_damaged_file_is_refused_and_left_as_it_is(path: Path, damage: str) -> None:
    fill(path, 2000)
    data = bytearray(path.read_bytes())
    match damage:
        case "page":
            data[4096:] = os.urandom(len(data) - 4096)
        case "header":
            data[:100] = bytes(100)
        case "text":
            data[:] = b"this is no database\n" * 500
    path.write_bytes(data)
    with pytest.raises(StoreUnusable, match=r"is damaged.*restore it from a backup"):
        SqliteStore(path)
    assert path.read_bytes() == data


def test_damage_met_while_reading_is_told_as_such(path: Path) -> None:
    with closing(SqliteStore(path)) as store:
        store.write([put(an_instance(number)) for number in range(2000)])
        store._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        store._db.execute("PRAGMA cache_size = 1")
        data = bytearray(path.read_bytes())
        data[8192:] = os.urandom(len(data) - 8192)
        path.write_bytes(data)
        with pytest.raises(StoreUnusable, match="is damaged"):
            store.load()


def test_a_newer_schema_is_refused(path: Path) -> None:
    fill(path)
    with closing(sqlite3.connect(path)) as db:
        db.execute(f"PRAGMA user_version = {codec.SCHEMA + 1}")
    with pytest.raises(StoreUnusable, match=rf"newer eratos \(schema {codec.SCHEMA + 1}.*run that version"):
        SqliteStore(path)


def test_a_database_of_another_program_is_left_alone(path: Path) -> None:
    with closing(sqlite3.connect(path)) as db, db:
        db.execute("CREATE TABLE records (theirs)")
    before = path.read_bytes()
    with pytest.raises(StoreUnusable, match="database of another program"):
        SqliteStore(path)
    assert path.read_bytes() == before


@pytest.mark.parametrize("share", [0.01, 0.05, 0.2, 0.5, 0.9, 0.999])
def test_a_file_cut_off_anywhere_is_refused_and_left_as_it_is(path: Path, share: float) -> None:
    fill(path, 200)
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    for read_only in (False, True):
        with pytest.raises(StoreUnusable, match=r"store.db is damaged.*move it away and restore it from a backup"):
            SqliteStore(path, read_only=read_only)
    assert path.read_bytes() == data[: int(len(data) * share)]


def test_an_empty_file_is_no_new_store(path: Path) -> None:
    path.touch()
    with pytest.raises(StoreUnusable, match=r"store.db is empty.*delete it and restore a backup"):
        SqliteStore(path)
    assert path.read_bytes() == b""


def test_a_folder_is_no_store(path: Path) -> None:
    path.mkdir()
    with pytest.raises(StoreUnusable, match=r"store.db is a folder: name a file in it in --store"):
        SqliteStore(path)


def test_a_file_that_lost_its_records_is_refused(path: Path) -> None:
    fill(path)
    with closing(sqlite3.connect(path)) as db:
        db.execute("DROP TABLE records")
    before = path.read_bytes()
    with pytest.raises(StoreUnusable, match=r"damaged \(the table records is missing\)"):
        SqliteStore(path)
    assert path.read_bytes() == before


def test_what_was_written_last_is_not_dropped_when_the_file_is_gone(path: Path) -> None:
    log_path = path.with_name("store.db-wal")
    with closing(SqliteStore(path)) as store:
        store.write([put(an_instance(1))])
        log = log_path.read_bytes()
    path.unlink()
    log_path.write_bytes(log)
    with pytest.raises(
        StoreUnusable, match=r"store.db is gone, but not what was written to it last, .*store.db-wal: put the file back"
    ):
        SqliteStore(path)
    assert log_path.read_bytes() == log
    assert not path.exists()


@pytest.mark.parametrize("what", ["deleted", "replaced"])
def test_a_file_taken_away_from_a_running_scheduler_is_told_at_the_next_write(path: Path, what: str) -> None:
    fill(path)
    with closing(SqliteStore(path)) as store:
        if what == "replaced":
            (path.parent / "older").write_bytes(path.read_bytes())
            (path.parent / "older").replace(path)
        else:
            path.unlink()
        with pytest.raises(StoreUnusable, match=r"moved, deleted or replaced while in use.*stop every scheduler"):
            store.write([put(an_instance(2))])


def test_newer_pages_over_an_older_file_are_told(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """An old copy put in place of the file, while what a killed scheduler wrote last still lies beside it."""
    log_path = path.with_name("store.db-wal")
    fill(path, 200)
    old = path.read_bytes()
    with closing(SqliteStore(path)) as store:
        store.load()
        store.write([put(replace(an_instance(number), hostname="host-b2")) for number in range(200)])
        store._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        store.write([put(replace(an_instance(3), hostname="host-c3"))])
        log = log_path.read_bytes()
    path.write_bytes(old)
    log_path.write_bytes(log)
    with closing(SqliteStore(path)) as store:
        store.load()
    assert "changed by somebody else" in caplog.text


def test_a_record_put_in_by_hand_is_read(path: Path) -> None:
    fill(path)
    with closing(sqlite3.connect(path)) as db, db:
        db.execute("INSERT INTO records VALUES ('framework_id', 'f-0001')")
        db.execute("INSERT INTO records VALUES ('instances/none', NULL)")
        db.execute("INSERT INTO records VALUES (CAST(x'ff41' AS TEXT), 5)")
    with closing(SqliteStore(path)) as store:
        stored = store.load()
    assert stored.framework_id == "f-0001"
    assert stored.instances == (an_instance(0),)
    assert set(stored.spoilt) == {"instances/none", r"\xffA"}


def test_reading_beside_a_scheduler_sees_every_write_and_keeps_nobody_waiting(path: Path) -> None:
    with closing(SqliteStore(path)) as store:
        store.write([put(an_instance(1))])
        with closing(SqliteStore(path, read_only=True)) as reader:
            assert len(reader.items()) == 1
            store.write([put(an_instance(2))])
            assert len(reader.items()) == 2
        store.write([put(an_instance(3))])


def test_reading_finds_what_a_killed_scheduler_left_and_changes_nothing(path: Path) -> None:
    log_path = path.with_name("store.db-wal")
    with closing(SqliteStore(path)) as store:
        store.write([put(an_instance(1))])
        files = {file: file.read_bytes() for file in (path, log_path)}
    for file, data in files.items():
        file.write_bytes(data)
    with closing(SqliteStore(path, read_only=True)) as reader:
        assert len(reader.items()) == 1
    assert {file: file.read_bytes() for file in files} == files


def test_reading_creates_nothing(path: Path) -> None:
    with pytest.raises(StoreUnusable, match="there is no file"):
        SqliteStore(path, read_only=True)
    assert not list(path.parent.iterdir())
    with closing(sqlite3.connect(path)) as db:
        db.execute("PRAGMA journal_mode = WAL")
    with pytest.raises(StoreUnusable, match="holds nothing yet"):
        SqliteStore(path, read_only=True)


def test_an_interrupted_restore_leaves_the_store_as_it_was(path: Path) -> None:
    fill(path)
    records = {f"instances/{number}": bytes(400) for number in range(2000)}
    with closing(SqliteStore(path)) as store:
        before = store.items()
        with files_no_larger_than(100_000), pytest.raises(StoreUnavailable, match="check the disk's room"):
            store.restore(records)
        assert store.items() == before


def test_a_missing_folder_is_told(tmp_path: Path) -> None:
    with pytest.raises(StoreUnusable, match="create the folder"):
        SqliteStore(tmp_path / "missing" / "store.db")


@contextmanager
def files_no_larger_than(size: int) -> Iterator[None]:
    """A full disk, as far as a process can have one of its own."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, ignored)


def test_a_write_without_room_changes_nothing_and_can_be_repeated(path: Path) -> None:
    batch = [put(an_instance(number)) for number in range(1, 2000)]
    with closing(SqliteStore(path)) as store:
        store.write([put(an_instance(0))])
        with files_no_larger_than(100_000), pytest.raises(StoreUnavailable, match="check the disk's room"):
            store.write(batch)
        assert store.load().instances == (an_instance(0),)
        store.write(batch)
        assert len(store.load().instances) == 2000


def test_a_file_locked_by_a_tool_is_a_passing_trouble(path: Path) -> None:
    with closing(SqliteStore(path)) as store:
        store._db.execute("PRAGMA busy_timeout = 10")
        with closing(sqlite3.connect(path, isolation_level=None)) as tool:
            tool.execute("BEGIN IMMEDIATE")
            with pytest.raises(StoreUnavailable, match="locked"):
                store.write([put(an_instance(1))])
        store.write([put(an_instance(1))])
        assert store.load().instances == (an_instance(1),)
