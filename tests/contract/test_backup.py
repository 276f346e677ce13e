"""``eratos-scheduler backup`` and ``restore`` on each store that outlives its process."""

from __future__ import annotations

import json
import logging
import os
import stat
import subprocess
import sys
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from support.builders import an_app
from support.records import an_instance, put, put_app

from eratos.common.errors import PermanentError
from eratos.scheduler.backup import SchedulerRuns, backup, restore
from eratos.scheduler.config import Config
from eratos.scheduler.core.actions import Put
from eratos.scheduler.core.records import FRAMEWORK_ID, KINDS, Stored
from eratos.scheduler.election import open_store_and_election
from eratos.scheduler.store import backup_file, layout
from eratos.scheduler.store.base import Store, StoreUnusable

FULL = Stored("f-0001", (an_app("/shop/cart"),), (an_instance(1), an_instance(2)))


@contextmanager
def leading(config: Config) -> Iterator[Store]:
    """Lead with the store, as a scheduler does."""
    store, election = open_store_and_election(config.store_url, "http://scheduler1:8080")
    with ExitStack() as stack:
        stack.callback(election.close)
        stack.callback(store.close)
        election.start()
        assert election.wait_until_leader(30)
        store.begin_term(election.ballot)
        yield store


def stored(config: Config) -> Stored:
    with leading(config) as store:
        return store.load()


def fill(config: Config) -> None:
    with leading(config) as store:
        store.load()
        store.write([Put(FRAMEWORK_ID, FULL.framework_id), *map(put_app, FULL.apps), *map(put, FULL.instances)])


class Stores:
    """Makes stores of one kind, each with a place of its own."""

    def __init__(self, kind: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
        self._zookeeper_url: str = request.getfixturevalue("zookeeper_url") if kind == "zookeeper" else ""
        self._tmp_path = tmp_path

    def new(self) -> Config:
        name = uuid.uuid4().hex
        if self._zookeeper_url:
            return Config(zk=self._zookeeper_url.replace("zk://", "zk://eratos:s3cr3t@") + f"/{name}")
        return Config(store=f"sqlite://{self._tmp_path / name}.db")


@pytest.fixture(params=["sqlite", "zookeeper"])
def stores(request: pytest.FixtureRequest, tmp_path: Path) -> Stores:
    return Stores(request.param, tmp_path, request)


@pytest.fixture
def config(stores: Stores) -> Config:
    """A store with something in it."""
    config = stores.new()
    fill(config)
    return config


@pytest.fixture
def file(tmp_path: Path) -> str:
    return str(tmp_path / "backup.jsonl")


def test_a_backup_fills_an_empty_store_and_says_with_what(
    stores: Stores, config: Config, file: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    backup(config, file)
    other = stores.new()
    restore(other, file)
    assert stored(other) == FULL
    assert f"backed up file={file} framework_id=f-0001 apps=1 instances=2" in caplog.text
    assert f"restored file={file} framework_id=f-0001 apps=1 instances=2" in caplog.text
    assert not [record for record in caplog.records if record.levelno > logging.INFO]


def test_a_backup_does_not_disturb_the_leader(stores: Stores, config: Config, file: str) -> None:
    with leading(config) as store:
        store.load()
        backup(config, file)
        store.write([put(an_instance(3))])
        backup(config, file)
    assert len(stored(config).instances) == 3
    other = stores.new()
    restore(other, file)
    assert stored(other) == stored(config)


def test_a_backup_is_for_its_owner_alone_and_holds_no_password_of_the_store(
    config: Config, file: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    backup(config, file)
    assert stat.S_IMODE(Path(file).stat().st_mode) == 0o600
    assert "s3cr3t" not in Path(file).read_text() + caplog.text


def test_nothing_to_back_up_is_an_error(stores: Stores, file: str) -> None:
    config = stores.new()
    with leading(config):
        pass
    with pytest.raises(PermanentError, match=r"^--(zk|store): nothing is stored there"):
        backup(config, file)
    assert not Path(file).exists()


def test_a_restore_is_refused_while_a_scheduler_leads(config: Config, file: str) -> None:
    backup(config, file)
    with leading(config) as store:
        store.load()
        with pytest.raises((SchedulerRuns, StoreUnusable), match=r"scheduler1:8080\): stop every|in use by another scheduler"):
            restore(config, file, replace=True, election_s=1)
        store.write([put(an_instance(3))])
    assert len(stored(config).instances) == 3


def test_a_store_that_holds_something_is_replaced_only_when_asked_to(config: Config, file: str) -> None:
    backup(config, file)
    with leading(config) as store:
        store.load()
        store.write([put(an_instance(3)), put_app(an_app("/later"))])
    with pytest.raises(PermanentError, match=r"not empty \(framework_id=f-0001 apps=2 instances=3\): back it up, .*--replace"):
        restore(config, file)
    assert len(stored(config).instances) == 3
    restore(config, file, replace=True)
    assert stored(config) == FULL


def test_a_file_that_is_no_whole_backup_changes_nothing(config: Config, file: str) -> None:
    backup(config, file)
    Path(file).write_bytes(Path(file).read_bytes()[:-100])
    with pytest.raises(PermanentError, match=rf"{file} is cut off"):
        restore(config, file, replace=True)
    with pytest.raises(PermanentError, match="not-there cannot be read: No such file"):
        restore(config, "not-there", replace=True)
    assert stored(config) == FULL


def test_the_file_of_before_stays_where_a_new_one_cannot_be_written(config: Config, file: str) -> None:
    with pytest.raises(PermanentError, match=r"nowhere/f cannot be written: No such file or directory"):
        backup(config, file + "/nowhere/f")
    Path(file).write_text("before")
    with pytest.MonkeyPatch.context() as patch, pytest.raises(PermanentError, match="No space left"):
        patch.setattr(os, "fsync", lambda number: (_ for _ in ()).throw(OSError(28, "No space left on device")))
        backup(config, file)
    assert Path(file).read_text() == "before"
    assert [path.name for path in Path(file).parent.glob("backup*")] == ["backup.jsonl"]


def test_a_pipe_is_written_to_and_not_replaced(config: Config, file: str) -> None:
    os.mkfifo(file)
    reader = os.open(file, os.O_RDONLY | os.O_NONBLOCK)
    try:
        backup(config, file)
        assert json.loads(os.read(reader, 100_000).splitlines()[-1])["records"] == 4
    finally:
        os.close(reader)
    assert Path(file).is_fifo()


def test_what_no_scheduler_can_read_comes_along(
    stores: Stores, config: Config, file: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    spoilt = {"framework_id": b"\xff", "instances/poisoned": b"\x00\xff", "apps//bad": b'{"schema":99,"record":{}}'}
    with leading(config) as store:
        store.restore(spoilt)
    backup(config, file)
    other = stores.new()
    restore(other, file)
    assert r"framework_id=\xff apps=1 instances=1 unreadable=2" in caplog.text
    with pytest.raises(StoreUnusable, match="framework id is damaged"):
        stored(other)


def test_records_of_every_kind_come_back(stores: Stores, file: str, caplog: pytest.LogCaptureFixture) -> None:
    assert all(layout.node_of(f"{kind}one") != f"{kind}one" for kind in KINDS)
    records = {FRAMEWORK_ID: b"f-1"} | {f"{kind}one": b"{}" for kind in KINDS}
    config, other = stores.new(), stores.new()
    with leading(config) as store:
        store.restore(records)
    backup(config, file)
    restore(other, file)
    with leading(other) as store:
        assert store.items() == records
    assert "left out" not in caplog.text


def test_a_record_of_no_known_kind_is_left_out_and_told(stores: Stores, file: str, caplog: pytest.LogCaptureFixture) -> None:
    lines = backup_file.lines({"framework_id": b"f-1", "term": b"boo", "apps/": b"boo"}, "", "")
    Path(file).write_bytes(b"".join(lines))
    config = stores.new()
    restore(config, file)
    assert "key=term" in caplog.text
    assert "key=apps/" in caplog.text
    assert stored(config) == Stored("f-1")


def test_a_backup_without_framework_is_told(stores: Stores, file: str, caplog: pytest.LogCaptureFixture) -> None:
    Path(file).write_bytes(b"".join(backup_file.lines({"apps//a": b"{}"}, "", "")))
    restore(stores.new(), file)
    assert "no framework id" in caplog.text


def test_commands_work_through_pipes_and_tell_how_they_ended(tmp_path: Path) -> None:
    one, other = (Config(store=f"sqlite://{tmp_path / name}") for name in ("one.db", "other.db"))
    fill(one)

    def call(*argv: str, stdin: bytes = b"") -> tuple[int, bytes, str]:
        command = [sys.executable, "-P", "-m", "eratos.scheduler", *argv]
        done = subprocess.run(command, input=stdin, capture_output=True, check=False)
        return done.returncode, done.stdout, done.stderr.decode()

    code, content, told = call("backup", "-", "--store", one.store)
    assert code == 0, told
    assert "backed up file=-" in told
    assert [json.loads(line).get("key") for line in content.splitlines()][1] == "framework_id"

    code, _, told = call("restore", "-", "--store", other.store, stdin=content[:-10])
    assert (code, "ending: standard input is cut off" in told) == (2, True)
    code, _, told = call("restore", "-", "--store", other.store, stdin=content)
    assert code == 0, told
    assert stored(other) == FULL
    with leading(other):
        code, _, told = call("restore", "-", "--replace", "--store", other.store, stdin=content)
    assert (code, "in use by another scheduler" in told) == (1, True)


def test_a_store_moves_from_a_file_to_zookeeper(tmp_path: Path, zookeeper_url: str, file: str) -> None:
    alone, cluster = Config(store=f"sqlite://{tmp_path / 'store.db'}"), Config(zk=f"{zookeeper_url}/{uuid.uuid4().hex}")
    fill(alone)
    backup(alone, file)
    restore(cluster, file)
    assert stored(cluster) == FULL
