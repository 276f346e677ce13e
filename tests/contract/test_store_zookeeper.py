"""What the ZooKeeper store promises beyond the others: fencing, and right answers on a bad connection."""

from __future__ import annotations

import base64
import contextlib
import gc
import logging
import threading
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from dataclasses import replace
from pathlib import Path

import pytest
from kazoo.client import KazooClient
from kazoo.exceptions import NoAuthError
from kazoo.security import make_acl, make_digest_acl
from support.authority import Authority
from support.containers import Container, run_container
from support.records import an_instance, put
from support.tcp_proxy import TcpProxy
from support.waiting import until
from support.zookeeper import expire_session, raw_client

from eratos.scheduler import framework_key
from eratos.scheduler.core.actions import Forget, Write
from eratos.scheduler.core.records import INSTANCES, InstanceRecord
from eratos.scheduler.store import codec, layout
from eratos.scheduler.store.base import StoreFenced, StoreUnavailable, StoreUnusable
from eratos.scheduler.store.factory import open_store
from eratos.scheduler.store.zookeeper import ZookeeperStore
from eratos.scheduler.store.zookeeper_client import ZookeeperTls, ZookeeperUrl, connect, disconnect

SOON_S = 30.0


class World:
    """A server, a path of the test's own, and stores that may reach it over a proxy."""

    def __init__(self, url: str, port: int, stack: ExitStack) -> None:
        self.url = url
        self.root = "/" + uuid.uuid4().hex
        self.proxy = stack.enter_context(TcpProxy(port))
        self.raw: KazooClient = stack.enter_context(raw_client(url))
        self._stack = stack

    def client(self, *, proxied: bool = False) -> KazooClient:
        url = f"zk://127.0.0.1:{self.proxy.port}" if proxied else self.url
        client = connect(ZookeeperUrl.parse(url + self.root))
        self._stack.callback(disconnect, client)
        return client

    def store(self, client: KazooClient | None = None, *, write_timeout_s: float = SOON_S, load: bool = True) -> ZookeeperStore:
        store = ZookeeperStore(client or self.client(), self.root, write_timeout_s=write_timeout_s)
        self._stack.callback(store.close)
        store.begin_term()
        if load:
            store.load()
        return store

    def path(self, record: InstanceRecord) -> str:
        return f"{self.root}/{layout.node_of(INSTANCES + record.instance_id)}"

    def stored(self) -> dict[str, InstanceRecord]:
        reader = ZookeeperStore(self.raw, self.root)
        try:
            return {record.instance_id: record for record in reader.load().instances}
        finally:
            reader.close()


@pytest.fixture
def world(zookeeper_container: Container, zookeeper_url: str) -> Iterator[World]:
    with ExitStack() as stack:
        yield World(zookeeper_url, zookeeper_container.ports[2181], stack)


def by_id(*records: InstanceRecord) -> dict[str, InstanceRecord]:
    return {record.instance_id: record for record in records}


def forget(record: InstanceRecord) -> Forget:
    return Forget(INSTANCES + record.instance_id)


class Writing:
    """A write on a thread of its own, as the test must do something to the network meanwhile."""

    def __init__(self, store: ZookeeperStore, batch: list[Write]) -> None:
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, args=(store, batch), daemon=True)
        self._thread.start()

    def _run(self, store: ZookeeperStore, batch: list[Write]) -> None:
        try:
            store.write(batch)
        except BaseException as error:
            self._error = error

    def result(self) -> None:
        self._thread.join(SOON_S)
        assert not self._thread.is_alive(), "the write neither succeeded nor failed"
        if self._error is not None:
            raise self._error


# Fencing


def test_a_replaced_leader_can_write_no_more(world: World) -> None:
    old = world.store()
    old.write([put(an_instance(1))])
    new = world.store()
    with pytest.raises(StoreFenced, match="another scheduler became leader"):
        old.write([put(an_instance(2)), forget(an_instance(1))])
    new.write([put(an_instance(3))])
    assert world.stored() == by_id(an_instance(1), an_instance(3))


def test_a_replaced_leader_can_write_nothing_of_a_large_batch(world: World) -> None:
    old = world.store()
    world.store()
    with pytest.raises(StoreFenced):
        old.write([put(an_instance(number)) for number in range(5000)])
    assert world.stored() == {}


def test_leaders_in_turn_each_fence_the_one_before(world: World) -> None:
    first = world.store()
    second = world.store()
    first_again = world.store()
    for fenced in (first, second):
        with pytest.raises(StoreFenced):
            fenced.write([put(an_instance(1))])
    first_again.write([put(an_instance(2))])
    assert world.stored() == by_id(an_instance(2))


def test_a_term_begins_only_while_the_ballot_is_held(world: World) -> None:
    leader = world.store()
    late = ZookeeperStore(world.client(), world.root)
    with pytest.raises(StoreFenced, match="leadership was lost"):
        late.begin_term(f"{world.root}/election/gone")
    leader.write([put(an_instance(1))])
    assert world.stored() == by_id(an_instance(1))


def test_a_leader_asleep_over_its_sessions_end_is_fenced(world: World) -> None:
    client = world.client()
    old = world.store(client)
    expire_session(client)
    world.store()
    with pytest.raises(StoreFenced):
        old.write([put(an_instance(1))])


def test_a_write_before_the_term_is_a_mistake_of_the_caller(world: World) -> None:
    store = ZookeeperStore(world.client(), world.root)
    with pytest.raises(RuntimeError, match="begin_term"):
        store.write([put(an_instance(1))])


# Wrong guesses about what exists


def test_records_that_another_term_left_are_replaced_and_forgotten_unread(world: World) -> None:
    world.store().write([put(an_instance(1)), put(an_instance(2))])
    changed = replace(an_instance(1), state="TASK_RUNNING")
    store = world.store(load=False)
    store.write([forget(an_instance(2))])
    assert world.stored() == by_id(an_instance(1))
    store.write([put(changed), forget(an_instance(2)), forget(an_instance(3)), put(an_instance(4))])
    assert world.stored() == by_id(changed, an_instance(4))


def test_a_node_deleted_by_hand_is_written_anew(world: World) -> None:
    store = world.store()
    store.write([put(an_instance(1)), put(an_instance(2))])
    world.raw.delete(world.path(an_instance(1)))
    store.write([put(an_instance(1)), put(an_instance(2))])
    world.raw.delete(world.path(an_instance(1)))
    store.write([forget(an_instance(1)), put(an_instance(3))])
    assert world.stored() == by_id(an_instance(2), an_instance(3))


def test_a_folder_deleted_by_hand_is_made_anew(world: World) -> None:
    store = world.store()
    world.raw.delete(world.path(an_instance(1)).rpartition("/")[0])
    store.write([put(an_instance(1)), put(an_instance(2))])
    assert world.stored() == by_id(an_instance(1), an_instance(2))


def test_a_node_in_the_wrong_place_is_set_aside(world: World) -> None:
    store = world.store()
    world.raw.create(f"{world.root}/instances/00/x", b"{}")
    world.raw.create(f"{world.root}/instances/00/%2f", b"{}")
    assert set(store.load().spoilt) == {"instances/00/x", "instances/00/%2f"}


# Bad connections


def test_a_write_goes_on_over_a_broken_connection(world: World) -> None:
    store = world.store(world.client(proxied=True))
    for number in range(5):
        world.proxy.drop()
        store.write([put(an_instance(number))])
    assert world.stored() == by_id(*map(an_instance, range(5)))


def test_a_write_whose_answer_was_lost_is_done_once_and_right(world: World) -> None:
    store = world.store(world.client(proxied=True))
    store.write([put(an_instance(1)), put(an_instance(2))])
    world.proxy.swallow_answers()
    changed = replace(an_instance(1), state="TASK_RUNNING")

    writing = Writing(store, [put(changed), forget(an_instance(2)), put(an_instance(3))])
    until(lambda: world.raw.exists(world.path(an_instance(3))), SOON_S, "the server has done the write")
    world.proxy.restore()
    writing.result()

    assert world.stored() == by_id(changed, an_instance(3))
    store.write([put(an_instance(1)), forget(an_instance(3)), put(an_instance(2))])
    assert world.stored() == by_id(an_instance(1), an_instance(2))


def test_a_large_write_survives_a_connection_that_breaks_in_the_middle(world: World) -> None:
    store = world.store(world.client(proxied=True))
    old = [an_instance(number) for number in range(10_000, 13_000)]
    store.write([put(record) for record in old])
    new = [an_instance(number) for number in range(5_000)]

    writing = Writing(store, [*map(forget, old), *map(put, new)])
    until(lambda: world.raw.exists(world.path(new[0])), SOON_S, "the first part is done", pace_s=0.001)
    world.proxy.drop()
    writing.result()

    assert world.stored() == by_id(*new)


def test_a_write_without_connection_waits_and_succeeds_when_it_returns(world: World) -> None:
    client = world.client(proxied=True)
    store = world.store(client)
    world.proxy.cut()
    until(lambda: not client.connected, SOON_S, "the client notices")
    writing = Writing(store, [put(an_instance(1))])
    world.proxy.restore()
    writing.result()
    assert world.stored() == by_id(an_instance(1))


def test_a_write_without_connection_gives_up_at_its_deadline_and_can_be_repeated(world: World) -> None:
    store = world.store(world.client(proxied=True), write_timeout_s=0.5)
    world.proxy.cut()
    with pytest.raises(StoreUnavailable, match=r"ZooKeeper is away.*check that it runs"):
        store.write([put(an_instance(1))])
    assert world.stored() == {}
    world.proxy.restore()

    def repeated() -> bool:
        try:
            store.write([put(an_instance(1))])
        except StoreUnavailable:
            return False
        return True

    until(repeated, SOON_S, "the same batch is stored")
    assert world.stored() == by_id(an_instance(1))


def test_a_write_without_an_answer_gives_up_at_its_deadline(world: World) -> None:
    store = world.store(world.client(proxied=True), write_timeout_s=0.5)
    world.proxy.swallow_answers()
    with pytest.raises(StoreUnavailable):
        store.write([put(an_instance(1))])


def test_a_new_session_goes_on_writing_while_nobody_else_leads(world: World) -> None:
    client = world.client()
    store = world.store(client)
    expire_session(client)
    store.write([put(an_instance(1))])
    assert world.stored() == by_id(an_instance(1))


def test_a_restart_of_the_server_loses_nothing(world: World, zookeeper_container: Container) -> None:
    store = world.store()
    store.write([put(an_instance(number)) for number in range(100)])
    writing = Writing(store, [put(an_instance(number)) for number in range(100, 200)])
    zookeeper_container.restart()
    writing.result()
    store.write([put(an_instance(200))])
    assert world.stored() == by_id(*map(an_instance, range(201)))


def test_a_killed_server_loses_nothing(world: World, zookeeper_container: Container) -> None:
    store = world.store()
    store.write([put(an_instance(1))])
    zookeeper_container.kill()
    zookeeper_container.start()
    store.write([put(an_instance(2))])
    assert world.stored() == by_id(an_instance(1), an_instance(2))


# The checksum


def test_the_checksum_fits_however_far_a_write_came(world: World, caplog: pytest.LogCaptureFixture) -> None:
    # Enough for what is written before the cut on a busy machine as well; after it, so long nobody answers.
    store = world.store(world.client(proxied=True), write_timeout_s=5.0)
    store.write([put(an_instance(number)) for number in range(10_000, 13_000)])
    batch = [*(forget(an_instance(number)) for number in range(10_000, 13_000)), *(put(an_instance(n)) for n in range(5_000))]

    writing = Writing(store, batch)
    until(lambda: world.raw.exists(world.path(an_instance(0))), SOON_S, "the first part is done", pace_s=0.001)
    world.proxy.cut()
    with contextlib.suppress(StoreUnavailable):
        writing.result()

    world.store()
    assert "changed by somebody else" not in caplog.text


def test_the_checksum_fits_after_a_write_that_was_repeated(world: World, caplog: pytest.LogCaptureFixture) -> None:
    store = world.store(world.client(proxied=True))
    writing = Writing(store, [put(an_instance(number)) for number in range(5_000)])
    until(lambda: world.raw.exists(world.path(an_instance(0))), SOON_S, "the first part is done", pace_s=0.001)
    world.proxy.drop()
    writing.result()
    world.store()
    assert "changed by somebody else" not in caplog.text


def test_a_write_goes_on_where_its_guess_about_a_node_was_wrong(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """The transaction with the wrong guess fails, those behind it succeed; all of them are sent again."""
    store = world.store()
    records = [an_instance(number) for number in range(3_000)]
    store.write([put(record) for record in records])
    world.raw.delete(world.path(records[0]))
    store.write([put(replace(record, state="TASK_RUNNING")) for record in records])
    assert {record.state for record in world.stored().values()} == {"TASK_RUNNING"}
    world.store()
    assert "changed by somebody else" not in caplog.text


def test_a_folder_deleted_with_all_that_is_in_it_stops_the_next_leader(world: World) -> None:
    world.store().write([put(an_instance(1))])
    world.raw.delete(world.path(an_instance(1)).rpartition("/")[0], recursive=True)
    with pytest.raises(StoreUnusable, match=f"records are missing in {world.root} in ZooKeeper"):
        world.store()


def test_a_checksum_deleted_by_hand_is_made_anew(world: World) -> None:
    store = world.store()
    world.raw.delete(f"{world.root}/checksum")
    store.write([put(an_instance(1))])
    world.store()
    assert world.stored() == by_id(an_instance(1))


# Restoring


def items_of(*records: InstanceRecord) -> dict[str, bytes]:
    keys = [INSTANCES + record.instance_id for record in records]
    return {key: codec.encode(key, record) for key, record in zip(keys, records, strict=True)}


def restorer(world: World) -> ZookeeperStore:
    return ZookeeperStore(world.client(), world.root)


def test_a_restore_fences_whoever_led(world: World) -> None:
    old = world.store()
    restorer(world).restore(items_of(an_instance(1)))
    with pytest.raises(StoreFenced):
        old.write([put(an_instance(2))])
    assert world.stored() == by_id(an_instance(1))


def test_a_restore_without_the_ballot_changes_nothing(world: World) -> None:
    world.store().write([put(an_instance(1))])
    with pytest.raises(StoreFenced, match="leadership was lost"):
        restorer(world).restore(items_of(an_instance(2)), f"{world.root}/election/gone")
    assert world.stored() == by_id(an_instance(1))


def test_a_restore_is_fenced_like_any_writer(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    restore = restorer(world)
    nodes = restore._nodes

    def somebody_leads() -> dict[str, str]:
        world.raw.set(f"{world.root}/term", b"")
        return nodes()

    monkeypatch.setattr(restore, "_nodes", somebody_leads)
    for records in (items_of(an_instance(1)), {}):
        with pytest.raises(StoreFenced):
            restore.restore(records)


def test_what_an_interrupted_restore_left_is_used_by_nobody_until_it_is_restored(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.store().write([put(an_instance(1))])
    dying = restorer(world)
    monkeypatch.setattr(dying, "_complete", lambda *_: (_ for _ in ()).throw(StoreUnavailable("died")))
    with pytest.raises(StoreUnavailable):
        dying.restore(items_of(an_instance(2)))
    for use in (ZookeeperStore.begin_term, ZookeeperStore.items):
        with pytest.raises(StoreUnusable, match=r"half restored: run `eratos-scheduler restore FILE --replace` again"):
            use(restorer(world))
    restorer(world).restore(items_of(an_instance(3)))
    assert world.store().load().instances == (an_instance(3),)


def test_a_large_restore_says_how_far_it_is(world: World, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    records = items_of(*map(an_instance, range(12_000)))
    restorer(world).restore(records)
    assert "restoring done=10000 of=12000" in caplog.text
    assert restorer(world).items() == records


def test_nodes_in_the_wrong_place_are_read_and_make_way_for_a_restore(world: World) -> None:
    world.store().write([put(an_instance(1))])
    world.raw.create(f"{world.root}/instances/00/x", b"stray")
    items = restorer(world).items()
    assert items["instances/00/x"] == b"stray"
    restorer(world).restore(items)
    assert restorer(world).items() == items
    assert not world.raw.exists(f"{world.root}/instances/00/x")
    assert list(world.store().load().spoilt) == ["instances/00/x"]


def test_reading_a_store_that_is_not_there_creates_nothing(world: World) -> None:
    assert restorer(world).items() == {}
    assert not world.raw.exists(world.root)


# Versions and permissions


def test_a_newer_schema_is_refused_and_left_alone(world: World) -> None:
    store = world.store()
    store.write([put(an_instance(1))])
    newer = codec.SCHEMA + 1
    world.raw.set(f"{world.root}/schema", b"%d" % newer)
    term = world.raw.get(f"{world.root}/term")
    with pytest.raises(StoreUnusable, match=rf"newer eratos \(schema {newer}.*run that version"):
        world.store()
    assert world.raw.get(f"{world.root}/schema")[0] == b"%d" % newer
    assert world.raw.get(f"{world.root}/term") == term


def test_nodes_of_a_user_are_closed_to_others(world: World, zookeeper_url: str) -> None:
    owned = zookeeper_url.replace("zk://", "zk://eratos:s3cr%2Ft@") + world.root
    with closing(open_store(owned)) as store:
        store.begin_term()
        store.write([put(an_instance(1))])
    with pytest.raises(NoAuthError):
        world.raw.get(world.path(an_instance(1)))
    for stranger in (zookeeper_url + world.root, zookeeper_url.replace("zk://", "zk://eratos:wrong@") + world.root):
        with closing(open_store(stranger)) as store, pytest.raises(StoreUnusable, match="put the user and password"):
            store.begin_term()
    with closing(open_store(owned)) as store:
        store.begin_term()
        assert store.load().instances == (an_instance(1),)
        store.write([forget(an_instance(1))])


def test_no_log_line_holds_the_password(world: World, zookeeper_url: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    url = zookeeper_url.replace("zk://", "zk://eratos:s3cr3t@") + world.root
    with closing(open_store(url)) as store:
        store.begin_term()
    assert "Connecting to 127.0.0.1" in caplog.text
    assert "s3cr3t" not in caplog.text
    assert "s3cr3t" not in repr(ZookeeperUrl.parse(url)) + str(ZookeeperUrl.parse(url))


def test_a_path_below_others_leaves_the_folders_above_open(world: World, zookeeper_url: str) -> None:
    url = zookeeper_url.replace("zk://", "zk://eratos:secret@") + world.root + "/below"
    with closing(open_store(url)) as store:
        store.begin_term()
    world.raw.create(f"{world.root}/neighbour")


def test_the_frameworks_key_is_the_owners_alone(world: World, zookeeper_url: str) -> None:
    owned = zookeeper_url.replace("zk://", "zk://eratos:secret@") + world.root
    with closing(open_store(owned)) as store:
        key = framework_key.read(store)
        assert framework_key.read(store) == key
    with pytest.raises(NoAuthError):
        world.raw.get(f"{world.root}/access")


def test_schedulers_that_start_at_once_agree_on_a_key(world: World, zookeeper_url: str) -> None:
    with ExitStack() as stack:
        stores = [stack.enter_context(closing(open_store(zookeeper_url + world.root))) for _ in range(4)]
        with ThreadPoolExecutor(4) as pool:
            keys = list(pool.map(framework_key.read, stores))
    assert len({key.key for key in keys}) == 1


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"), rsa=True)


def test_a_node_that_was_made_for_us_where_we_may_make_none_will_do(world: World) -> None:
    others, ours = [make_acl("world", "anyone", read=True)], [make_digest_acl("eratos", "secret", all=True)]
    world.raw.create(world.root)
    world.raw.create(f"{world.root}/ours", acl=ours)
    world.raw.set_acls(world.root, others)
    url = f"{world.url.replace('zk://', 'zk://eratos:secret@')}{world.root}"
    with closing(open_store(f"{url}/ours")) as store:
        store.begin_term()
        assert store.load().framework_id == ""
    with closing(open_store(f"{url}/missing")) as store, pytest.raises(StoreUnusable, match="does not let us in"):
        store.begin_term()


@pytest.fixture(scope="module")
def secure(authority: Authority) -> Iterator[str]:
    """A server that speaks TLS alone and asks each client for a certificate."""
    settings = {
        "secureClientPort": "2281",
        "serverCnxnFactory": "org.apache.zookeeper.server.NettyServerCnxnFactory",
        "ssl.keyStore.location": "/tmp/server.pem",
        "ssl.trustStore.location": "/tmp/authority.pem",
        "dataDir": "/data",
        "admin.enableServer": "false",
    }
    files = {"server.pem": authority.certificate(), "authority.pem": authority.file.read_bytes()}
    files["zoo.cfg"] = "".join(f"{name}={value}\n" for name, value in settings.items()).encode()
    write = "; ".join(f"echo {base64.b64encode(data).decode()} | base64 -d > /tmp/{name}" for name, data in files.items())
    java = "/opt/zookeeper/java/bin/java -cp '/opt/zookeeper/lib/*' org.apache.zookeeper.server.quorum.QuorumPeerMain"
    with run_container("eratos/zookeeper", "sh", "-c", f"{write}; exec {java} /tmp/zoo.cfg", ports=[2281]) as container:
        yield f"zk://eratos:secret@127.0.0.1:{container.ports[2281]}/{uuid.uuid4().hex}"


# kazoo leaves a socket whose handshake failed to the garbage collector.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_store_over_tls(authority: Authority, secure: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    ours = str(authority.write(tmp_path / "client.pem"))
    stranger = Authority(tmp_path, "stranger", rsa=True)

    def works() -> bool:
        try:
            with closing(open_store(secure, tls=ZookeeperTls(str(authority.file), ours))) as store:
                store.begin_term()
                return store.load().framework_id == ""
        except StoreUnavailable as error:
            raise AssertionError(str(error)) from error

    until(works, 60, "the server answers")
    place = ZookeeperUrl.parse(secure)
    wrong = {
        "in clear": None,
        "a server of another authority": ZookeeperTls(str(stranger.file), ours),
        "a client without a certificate": ZookeeperTls(str(authority.file)),
    }
    for why, tls in wrong.items():
        with pytest.raises(StoreUnavailable):
            disconnect(connect(place, tls, connect_timeout_s=3))
            pytest.fail(why)
    caplog.clear()  # the log holds what failed, and that its socket
    gc.collect()
