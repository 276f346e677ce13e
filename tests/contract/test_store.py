"""What every store promises, tried on all of them."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from dataclasses import MISSING, dataclass, fields, replace
from pathlib import Path

import pytest
from support.builders import a_stored_app, an_app
from support.records import an_instance, put, put_app
from support.zookeeper import raw_client

from eratos.scheduler.core.actions import Forget, Put
from eratos.scheduler.core.records import APPS, FRAMEWORK_ID, INSTANCES, Stored
from eratos.scheduler.store import codec, layout
from eratos.scheduler.store.base import RECORD_BYTES_MAX, RecordTooLarge, Store, StoreUnusable
from eratos.scheduler.store.factory import open_store
from eratos.scheduler.store.memory import MemoryStore


@dataclass
class Place:
    """Where a store keeps its records, and a way past the store to the bytes."""

    reopen: Callable[[], Store]
    reader: Callable[[], Store]
    raw: Callable[[str], bytes | None]
    spoil: Callable[[str, bytes], None]
    lose: Callable[[str], None]

    def open(self) -> Store:
        store = self.reopen()
        store.begin_term()
        return store

    def stored(self) -> Stored:
        """What the next scheduler finds."""
        with closing(self.open()) as store:
            return store.load()


def memory_place() -> Place:
    records: dict[str, bytes] = {}
    return Place(
        lambda: MemoryStore(records), lambda: MemoryStore(records), records.get, records.__setitem__, records.__delitem__
    )


def sqlite_place(path: Path) -> Place:
    import sqlite3

    def ask(sql: str, *values: object) -> list[tuple[bytes]]:
        with closing(sqlite3.connect(path)) as db, db:
            return db.execute(sql, values).fetchall()

    def raw(key: str) -> bytes | None:
        rows = ask("SELECT data FROM records WHERE key = ?", key)
        return rows[0][0] if rows else None

    return Place(
        lambda: open_store(f"sqlite://{path}"),
        lambda: open_store(f"sqlite://{path}", read_only=True),
        raw,
        lambda key, data: ask("REPLACE INTO records VALUES (?, ?)", key, data) and None,
        lambda key: ask("DELETE FROM records WHERE key = ?", key) and None,
    )


def zookeeper_place(url: str, client) -> Place:  # type: ignore[no-untyped-def]
    root = "/" + uuid.uuid4().hex

    def raw(key: str) -> bytes | None:
        path = f"{root}/{layout.node_of(key)}"
        return client.get(path)[0] if client.exists(path) else None

    def spoil(key: str, data: bytes) -> None:
        path = f"{root}/{layout.node_of(key)}"
        client.ensure_path(path)
        client.set(path, data)

    def lose(key: str) -> None:
        client.delete(f"{root}/{layout.node_of(key)}")

    return Place(lambda: open_store(url + root), lambda: open_store(url + root, read_only=True), raw, spoil, lose)


@pytest.fixture(params=["memory", "sqlite", "zookeeper"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    with ExitStack() as stack:
        if request.param == "memory":
            yield memory_place()
        elif request.param == "sqlite":
            yield sqlite_place(tmp_path / "store.db")
        else:
            url = request.getfixturevalue("zookeeper_url")
            yield zookeeper_place(url, stack.enter_context(raw_client(url)))


#: For tests of what memory has no need of, as it ends with its process.
durable = pytest.mark.parametrize("place", ["sqlite", "zookeeper"], indirect=True)


@pytest.fixture
def store(place: Place) -> Iterator[Store]:
    with closing(place.open()) as opened:
        opened.load()
        yield opened


def test_a_new_store_is_empty(place: Place) -> None:
    assert place.stored() == Stored()


def test_the_next_scheduler_finds_what_was_written(place: Place, store: Store) -> None:
    app = an_app("/shop/cart", instances=3, labels={"HAPROXY_0_VHOST": "shop.example"}, env={"TEXT": "ä/%\n"}).with_version("v7")
    instance = replace(
        an_instance(1),
        state="TASK_RUNNING",
        started_at=1234.5,
        unreachable_at=2345.5,
        healthy=True,
        stopping=True,
        addresses=("10.0.0.1", "fd00::1"),
        zone="z",
        region="r",
        attributes={"rack": "r1"},
        outdated="db has changed",
        ordinal=2,
        slot="5d8c",
        role="dev",
        holds=("shared",),
    )
    unset = [f.name for f in fields(instance) if f.default is not MISSING and getattr(instance, f.name) == f.default]
    assert not unset, "this test must set every field"
    store.write([Put(FRAMEWORK_ID, "f-0001"), put_app(app), put(instance)])
    store.close()
    assert place.stored() == Stored("f-0001", (app,), (instance,))


def test_a_later_write_replaces_an_earlier_one(place: Place, store: Store) -> None:
    store.write([put(an_instance(1)), put(an_instance(2))])
    store.write([put(replace(an_instance(1), state="TASK_RUNNING"))])
    store.close()
    assert {record.state for record in place.stored().instances if record == replace(an_instance(1), state="TASK_RUNNING")}
    assert len(place.stored().instances) == 2


def test_the_last_of_several_writes_for_one_record_counts(place: Place, store: Store) -> None:
    kept, gone = an_instance(1), an_instance(2)
    store.write([put(gone), put(kept), Forget(INSTANCES + kept.instance_id), Forget(INSTANCES + gone.instance_id), put(kept)])
    store.close()
    assert place.stored().instances == (kept,)


def test_forgotten_records_are_gone_and_unknown_ones_are_no_error(place: Place, store: Store) -> None:
    store.write([put(an_instance(1)), put(an_instance(2))])
    store.write([Forget(INSTANCES + "never-was"), Forget(INSTANCES + an_instance(1).instance_id)])
    store.write([Forget(INSTANCES + an_instance(1).instance_id)])
    store.close()
    assert place.stored().instances == (an_instance(2),)


def test_an_empty_batch_changes_nothing(place: Place, store: Store) -> None:
    store.write([])
    store.close()
    assert place.stored() == Stored()


def test_a_replayed_batch_changes_nothing_more(place: Place, store: Store) -> None:
    store.write([put(an_instance(1))])
    batch = [put(an_instance(2)), Forget(INSTANCES + an_instance(1).instance_id)]
    store.write(batch)
    store.write(batch)
    store.close()
    assert place.stored().instances == (an_instance(2),)


@pytest.mark.parametrize("app_id", ["/a", "/a/b", "/a.b", "/0-0/x.y/z9", "/" + "/".join("abcdefghij" * 8)])
def test_apps_of_any_legal_id_come_back(place: Place, store: Store, app_id: str) -> None:
    store.write([put_app(an_app(app_id)), put_app(an_app(app_id + "/below"))])
    store.close()
    assert {app.id for app in place.stored().apps} == {app_id, app_id + "/below"}


@pytest.mark.parametrize(
    "poison",
    [b"", b"\x00\xff", b"{}", b'{"schema":1,"record":{}}', b'{"schema":99,"record":{}}', b'{"schema":1,"record":[', b"null"],
)
def test_a_poisoned_record_is_set_aside_and_left_as_it_is(place: Place, store: Store, poison: bytes) -> None:
    store.write([put(an_instance(1)), put_app(an_app("/good")), put(an_instance(2)), put_app(an_app("/bad"))])
    store.close()
    spoilt = {INSTANCES + an_instance(2).instance_id, "apps//bad"}
    for key in spoilt:
        place.spoil(key, poison)

    stored = place.stored()

    assert stored.instances == (an_instance(1),)
    assert [app.id for app in stored.apps] == ["/good"]
    assert set(stored.spoilt) == spoilt
    assert all(stored.spoilt.values())
    assert {place.raw(key) for key in spoilt} == {poison}


def test_a_record_under_a_foreign_key_is_set_aside(place: Place, store: Store) -> None:
    store.write([put(an_instance(1))])
    store.close()
    data = place.raw(INSTANCES + an_instance(1).instance_id)
    assert data
    place.spoil(INSTANCES + "other", data)
    assert list(place.stored().spoilt) == [INSTANCES + "other"]


def test_a_poisoned_record_can_be_replaced_and_forgotten(place: Place, store: Store) -> None:
    store.write([put(an_instance(1)), put(an_instance(2))])
    for number in (1, 2):
        place.spoil(INSTANCES + an_instance(number).instance_id, b"poison")
    store.write([put(an_instance(1)), Forget(INSTANCES + an_instance(2).instance_id)])
    store.close()
    assert place.stored() == Stored(instances=(an_instance(1),))


@pytest.mark.parametrize("damage", [b"", b" ", b"\xff\xfe", b"a\x00b"])
def test_a_damaged_framework_id_stops_the_scheduler_instead_of_abandoning_its_tasks(
    place: Place, store: Store, damage: bytes
) -> None:
    store.write([Put(FRAMEWORK_ID, "f-0001")])
    store.close()
    place.spoil(FRAMEWORK_ID, damage)
    with closing(place.open()) as again, pytest.raises(StoreUnusable, match=r"framework id is damaged.*write the right one"):
        again.load()


def test_a_record_too_large_is_refused_and_takes_its_batch_with_it(place: Place, store: Store) -> None:
    huge = a_stored_app("/huge", env={"TEXT": "x" * RECORD_BYTES_MAX})
    with pytest.raises(RecordTooLarge, match="apps//huge takes"):
        store.write([put(an_instance(1)), put_app(huge)])
    store.close()
    assert place.stored() == Stored()


def test_the_largest_record_fits(place: Place, store: Store) -> None:
    small = an_app("/large", env={"TEXT": ""})
    store.write([put_app(small)])
    overhead = len(place.raw("apps//large") or b"")
    large = a_stored_app("/large", env={"TEXT": "x" * (RECORD_BYTES_MAX - overhead)})
    store.write([put(an_instance(number)) for number in range(1000)] + [put_app(large)])
    assert len(place.raw("apps//large") or b"") == RECORD_BYTES_MAX
    store.close()
    assert place.stored().apps == (large,)


def test_a_record_under_the_wrong_key_is_refused_and_takes_its_batch_with_it(place: Place, store: Store) -> None:
    with pytest.raises(ValueError, match="cannot be stored under"):
        store.write([put(an_instance(1)), Put(INSTANCES + "other", an_instance(2))])
    store.close()
    assert place.stored() == Stored()


def test_ten_thousand_instances_come_back(place: Place, store: Store) -> None:
    instances = {record.instance_id: record for record in map(an_instance, range(10_000))}
    store.write([put(instance) for instance in instances.values()])
    store.close()
    stored = place.stored()
    assert {record.instance_id: record for record in stored.instances} == instances
    assert not stored.spoilt
    with closing(place.open()) as again:
        again.load()
        again.write([Forget(INSTANCES + instance.instance_id) for instance in stored.instances])
    assert place.stored() == Stored()


# Reading beside a scheduler, and restoring


def some_records() -> dict[str, bytes]:
    """Return records of each kind, one of them poisoned."""
    instance = an_instance(1)
    return {
        FRAMEWORK_ID: b"f-0001",
        "apps//shop/cart": codec.encode("apps//shop/cart", an_app("/shop/cart")),
        INSTANCES + instance.instance_id: codec.encode(INSTANCES + instance.instance_id, instance),
        INSTANCES + "poisoned": b"\x00\xff",
    }


def test_a_reader_sees_every_record_as_it_lies_and_disturbs_nobody(place: Place, store: Store) -> None:
    store.write([Put(FRAMEWORK_ID, "f-0001"), put_app(an_app("/shop/cart")), put(an_instance(1))])
    place.spoil(INSTANCES + "poisoned", b"\x00\xff")
    with closing(place.reader()) as reader:
        assert reader.items() == some_records()
        store.write([put(an_instance(2))])
        assert reader.items().keys() == some_records().keys() | {INSTANCES + an_instance(2).instance_id}


def test_a_restore_takes_the_place_of_all_that_was_there(place: Place, caplog: pytest.LogCaptureFixture) -> None:
    with closing(place.open()) as store:
        store.load()
        store.write([Put(FRAMEWORK_ID, "f-0002"), put_app(an_app("/other")), put(an_instance(1)), put(an_instance(2))])
    with closing(place.reopen()) as store:
        store.restore(some_records())
        assert store.items() == some_records()
    stored = place.stored()
    assert (stored.framework_id, [app.id for app in stored.apps]) == ("f-0001", ["/shop/cart"])
    assert stored.instances == (an_instance(1),)
    assert list(stored.spoilt) == [INSTANCES + "poisoned"]
    assert not [record for record in caplog.records if record.levelname == "ERROR"]


def test_a_restored_store_goes_on_as_any_other(place: Place, caplog: pytest.LogCaptureFixture) -> None:
    with closing(place.reopen()) as store:
        store.restore(some_records())
    with closing(place.open()) as store:
        store.load()
        store.write([Forget(INSTANCES + an_instance(1).instance_id), put(an_instance(2))])
    assert place.stored().instances == (an_instance(2),)
    assert not [record for record in caplog.records if record.levelname == "ERROR"]


def test_a_restore_of_a_record_too_large_changes_nothing(place: Place, store: Store) -> None:
    store.write([put(an_instance(1))])
    store.close()
    with closing(place.reopen()) as again, pytest.raises(RecordTooLarge, match="instances/large takes"):
        again.restore({"instances/small": b"", "instances/large": bytes(RECORD_BYTES_MAX + 1)})
    assert place.stored().instances == (an_instance(1),)


# Changes by others than the scheduler


@durable
@pytest.mark.parametrize("lost", [INSTANCES + an_instance(2).instance_id, "apps//shop/cart"])
def test_lost_records_stop_the_next_scheduler_until_somebody_decides(place: Place, lost: str) -> None:
    with closing(place.open()) as store:
        store.load()
        store.write([Put(FRAMEWORK_ID, "f-0001"), put_app(an_app("/shop/cart"))])
        store.write([put(an_instance(1)), put(an_instance(2))])
    place.lose(lost)
    for _ in range(2):
        with closing(place.open()) as store, pytest.raises(StoreUnusable, match=r"records are missing in .*restore a backup"):
            store.load()
    with closing(place.reader()) as reader:
        left = reader.items()
    with closing(place.reopen()) as store:
        store.restore(left)
    assert place.stored().framework_id == "f-0001"
    place.lose(INSTANCES + an_instance(1).instance_id)
    with pytest.raises(StoreUnusable, match="records are missing"):
        place.stored()


@durable
def test_a_record_put_back_to_an_older_state_is_told(place: Place, caplog: pytest.LogCaptureFixture) -> None:
    key = INSTANCES + an_instance(1).instance_id
    with closing(place.open()) as store:
        store.load()
        store.write([put(an_instance(1))])
        older = place.raw(key)
        store.write([put(replace(an_instance(1), state="TASK_RUNNING"))])
    assert place.stored().instances[0].state == "TASK_RUNNING"
    assert "changed by somebody else" not in caplog.text
    place.spoil(key, older or b"")
    assert place.stored().instances[0].state == "TASK_STAGING"
    assert "changed by somebody else" in caplog.text


@durable
def test_a_change_is_told_until_the_next_write(place: Place, caplog: pytest.LogCaptureFixture) -> None:
    place.open().close()
    place.spoil("apps//bad", b"poison")
    with closing(place.open()) as store:
        store.load()
        store.write([put(an_instance(1))])
    caplog.clear()
    assert list(place.stored().spoilt) == ["apps//bad"]
    assert "changed by somebody else" not in caplog.text


def test_a_write_before_the_first_load_claims_nothing_about_the_rest(place: Place, caplog: pytest.LogCaptureFixture) -> None:
    for number in range(2):
        with closing(place.open()) as store:
            store.write([put(an_instance(number))])
    assert len(place.stored().instances) == 2
    assert not [record for record in caplog.records if record.levelname == "ERROR"]


# Schemas


def a_newer_schema(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make up a next schema: instances name their host differently, apps have a label more."""
    older = codec.SCHEMA
    monkeypatch.setattr(codec, "SCHEMA", older + 1)
    monkeypatch.setitem(codec.MIGRATIONS, (INSTANCES, older), lambda fields: fields | {"hostname": fields["hostname"].upper()})
    monkeypatch.setitem(codec.MIGRATIONS, (APPS, older), lambda fields: fields | {"labels": {"migrated": "yes"}})


def test_a_newer_version_reads_what_an_older_one_wrote(
    place: Place, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with closing(place.open()) as store:
        store.load()
        store.write([Put(FRAMEWORK_ID, "f-0001"), put_app(an_app("/shop/cart")), put(an_instance(1))])
    a_newer_schema(monkeypatch)
    with closing(place.open()) as store:
        assert store.load().instances[0].hostname == "HOST-A1"
        store.write([put(an_instance(2))])
    stored = place.stored()
    assert stored.framework_id == "f-0001"
    assert [app.labels for app in stored.apps] == [{"migrated": "yes"}]
    assert {record.hostname for record in stored.instances} == {"HOST-A1", "host-a1"}
    assert not stored.spoilt
    assert not [record for record in caplog.records if record.levelname == "ERROR"]


@durable
@pytest.mark.parametrize("how", ["led", "restored"])
def test_an_older_version_keeps_away_once_a_newer_one_led_or_restored(
    place: Place, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with closing(place.open()) as store:
        store.load()
        store.write([put(an_instance(1))])
    with monkeypatch.context() as newer:
        a_newer_schema(newer)
        with closing(place.reopen()) as store:
            if how == "led":
                store.begin_term()
            else:
                store.restore(store.items())
    with pytest.raises(StoreUnusable, match=r"newer eratos .*run that version"):
        place.open().close()
    with pytest.raises(StoreUnusable, match=r"newer eratos .*run that version"), closing(place.reader()) as store:
        store.items()


def test_a_second_close_is_harmless(store: Store) -> None:
    store.close()
    store.close()


def test_what_is_kept_beside_the_records_is_made_once(place: Place) -> None:
    asked: list[bool] = []

    def make(used: bool) -> bytes:
        asked.append(used)
        return b"first"

    with closing(place.reopen()) as store:
        assert store.keep_once("access", make) == b"first"
        assert store.keep_once("access", lambda used: b"second") == b"first"
        store.begin_term()
        store.load()
        store.write([put_app(a_stored_app("/a"))])
        assert set(store.items()) == {APPS + "/a"}
        assert store.keep_once("access", lambda used: b"third") == b"first"
    assert asked == [False]


def test_a_store_in_use_before_is_told_from_a_new_one(place: Place) -> None:
    with closing(place.open()) as store:
        store.load()
        store.write([put_app(a_stored_app("/a"))])
    asked: list[bool] = []
    with closing(place.reopen()) as store:
        store.keep_once("access", lambda used: asked.append(used) or b"")  # type: ignore[func-returns-value]
    assert asked == [True]


def test_a_restore_leaves_alone_what_is_kept(place: Place) -> None:
    with closing(place.reopen()) as store:
        store.keep_once("access", lambda used: b"kept")
        store.restore({})
        assert store.keep_once("access", lambda used: b"other") == b"kept"
