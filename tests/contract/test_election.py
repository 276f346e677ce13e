"""The election against a real ZooKeeper: one leader, and never an old one beside a new one."""

from __future__ import annotations

import queue
import subprocess
import sys
import uuid
from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from kazoo.client import KazooClient
from support.containers import Container
from support.records import an_instance, put
from support.tcp_proxy import TcpProxy
from support.waiting import until
from support.zookeeper import expire_session, raw_client

from eratos.scheduler.election import Leadership, ZookeeperElection, open_store_and_election
from eratos.scheduler.store.base import StoreFenced, StoreUnavailable
from eratos.scheduler.store.zookeeper import ZookeeperStore
from eratos.scheduler.store.zookeeper_client import ZookeeperUrl, connect, disconnect

SOON_S = 30.0


class Standing:
    """One scheduler that stands for election."""

    def __init__(self, url: str, name: str, *, session_timeout_s: float = 6.0) -> None:
        place = ZookeeperUrl.parse(url)
        self.changes: queue.Queue[Leadership] = queue.Queue()
        self.url = f"http://{name}:8080"
        self.client: KazooClient = connect(place, session_timeout_s=session_timeout_s)
        self.store = ZookeeperStore(self.client, place.path)
        self.election = ZookeeperElection(self.client, place.path, self.url, self.changes.put)
        self.election.start()

    def wins(self) -> Standing:
        assert self.election.wait_until_leader(SOON_S)
        return self

    def next_change(self) -> Leadership:
        return self.changes.get(timeout=SOON_S)

    def close(self) -> None:
        self.store.close()
        self.election.close()


class World:
    def __init__(self, url: str, port: int, stack: ExitStack) -> None:
        self.url = f"{url}/{uuid.uuid4().hex}"
        self.proxy = stack.enter_context(TcpProxy(port))
        self.raw: KazooClient = stack.enter_context(raw_client(url))
        self._stack = stack

    def stand(self, name: str, *, proxied: bool = False, session_timeout_s: float = 6.0) -> Standing:
        url = f"zk://127.0.0.1:{self.proxy.port}/{self.url.rpartition('/')[2]}" if proxied else self.url
        standing = Standing(url, name, session_timeout_s=session_timeout_s)
        self._stack.callback(standing.close)
        return standing

    def knows(self, standing: Standing, leader: Standing) -> None:
        until(lambda: standing.election.leader() == leader.url, SOON_S, f"{standing.url} knows that {leader.url} leads")


@pytest.fixture
def world(zookeeper_container: Container, zookeeper_url: str) -> Iterator[World]:
    with ExitStack() as stack:
        yield World(zookeeper_url, zookeeper_container.ports[2181], stack)


def test_the_first_leads_and_the_others_know_it(world: World) -> None:
    first = world.stand("first").wins()
    others = [world.stand("second"), world.stand("third")]
    for standing in (first, *others):
        world.knows(standing, first)
    assert first.election.state is Leadership.LEADING
    for other in others:
        assert other.election.state is Leadership.FOLLOWING
        assert not other.election.wait_until_leader(0)
        assert not other.election.ballot
        assert other.changes.empty()


def test_a_clean_stop_hands_over_without_waiting_for_the_session_to_end(world: World) -> None:
    first = world.stand("first", session_timeout_s=40).wins()  # the most that the server grants
    second = world.stand("second")
    world.knows(second, first)
    first.close()
    second.wins()  # within less than 40 s
    world.knows(second, second)
    assert first.election.state is Leadership.LOST
    assert not first.election.lost.is_set()


def test_the_longest_standing_follower_takes_over(world: World) -> None:
    first = world.stand("first").wins()
    second = world.stand("second")
    world.knows(second, first)
    third = world.stand("third")
    world.knows(third, first)
    first.close()
    second.wins()
    world.knows(third, second)
    assert third.election.state is Leadership.FOLLOWING


def test_an_expired_session_ends_the_leadership_and_its_writes(world: World) -> None:
    first = world.stand("first").wins()
    first.store.begin_term(first.election.ballot)
    second = world.stand("second")
    expire_session(first.client)
    assert first.election.lost.wait(SOON_S)
    second.wins()
    second.store.begin_term(second.election.ballot)
    with pytest.raises(StoreFenced):
        first.store.write([put(an_instance(1))])
    second.store.write([put(an_instance(2))])
    assert second.store.load().instances == (an_instance(2),)
    assert list(first.changes.queue)[-1] is Leadership.LOST


def test_a_lost_leadership_never_comes_back(world: World) -> None:
    only = world.stand("only").wins()
    expire_session(only.client)
    assert only.election.lost.wait(SOON_S)
    until(lambda: only.client.connected, SOON_S, "there is a new session")
    assert only.election.state is Leadership.LOST
    assert not only.election.wait_until_leader(0)
    with pytest.raises(StoreFenced):
        only.store.begin_term(only.election.ballot)
    world.stand("next").wins()


def test_an_expired_follower_stands_again(world: World) -> None:
    first = world.stand("first").wins()
    second = world.stand("second")
    world.knows(second, first)
    expire_session(second.client)
    until(lambda: second.client.connected, SOON_S, "there is a new session")
    first.close()
    second.wins()
    assert not second.election.lost.is_set()


def test_a_leader_that_loses_sight_stops_at_once_and_goes_on_if_it_still_leads(world: World) -> None:
    first = world.stand("first", proxied=True, session_timeout_s=40).wins()
    assert first.next_change() is Leadership.LEADING
    ballot = first.election.ballot
    world.proxy.cut()
    assert first.next_change() is Leadership.SUSPENDED
    world.proxy.restore()
    assert first.next_change() is Leadership.LEADING
    assert first.election.ballot == ballot
    assert not first.election.lost.is_set()


def test_a_leader_out_of_sight_too_long_has_lost(world: World) -> None:
    first = world.stand("first", proxied=True, session_timeout_s=4).wins()
    first.store.begin_term(first.election.ballot)
    second = world.stand("second")
    world.proxy.cut()
    second.wins()
    assert first.election.state is Leadership.SUSPENDED
    world.proxy.restore()
    assert first.election.lost.wait(SOON_S)
    assert [first.next_change() for _ in range(3)] == [Leadership.LEADING, Leadership.SUSPENDED, Leadership.LOST]


def test_a_leader_whose_node_is_deleted_has_lost(world: World) -> None:
    first = world.stand("first").wins()
    world.raw.delete(first.election.ballot)
    assert first.election.lost.wait(SOON_S)
    world.stand("second").wins()


def test_a_contender_whose_answer_was_lost_stands_only_once(world: World) -> None:
    first = world.stand("first").wins()
    folder = first.election.ballot.rpartition("/")[0]
    place = ZookeeperUrl.parse(f"zk://127.0.0.1:{world.proxy.port}{folder.rpartition('/')[0]}")
    client = connect(place, session_timeout_s=40)
    second = ZookeeperElection(client, place.path, "http://second:8080")
    try:
        # kazoo sends one request after the other, so the list arrives and the answer to the create does not.
        create = client.create

        def create_and_lose_the_answer(*args: object, **options: object) -> str:
            client.create = create
            world.proxy.swallow_answers()
            return str(create(*args, **options))

        client.create = create_and_lose_the_answer
        second.start()
        until(lambda: len(world.raw.get_children(folder)) == 2, SOON_S, "the server has made the node")
        world.proxy.restore()
        until(lambda: second.leader() == first.url, SOON_S, "the second follows")
        assert len(world.raw.get_children(folder)) == 2
    finally:
        second.close()


def test_a_restart_of_the_server_changes_no_leader(world: World, zookeeper_container: Container) -> None:
    first = world.stand("first", session_timeout_s=40).wins()
    second = world.stand("second", session_timeout_s=40)
    world.knows(second, first)
    assert first.next_change() is Leadership.LEADING
    zookeeper_container.restart()
    assert first.next_change() is Leadership.SUSPENDED
    assert first.next_change() is Leadership.LEADING
    assert second.election.state is Leadership.FOLLOWING


LEADER = """
import sys
from eratos.scheduler.election import open_store_and_election
store, election = open_store_and_election(sys.argv[1], "http://doomed:8080")
election.start()
assert election.wait_until_leader(30)
print("leads", flush=True)
sys.stdin.read()
"""


def test_a_killed_leader_is_replaced(world: World) -> None:
    doomed = subprocess.Popen(
        [sys.executable, "-P", "-c", LEADER, world.url], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with doomed:
        try:
            assert doomed.stdout is not None
            assert doomed.stdout.readline() == "leads\n"
            second = world.stand("second")
            until(lambda: second.election.leader() == "http://doomed:8080", SOON_S, "the follower knows the leader")
        finally:
            doomed.kill()
    second.wins()
    world.knows(second, second)


def test_store_and_election_share_one_session(world: World) -> None:
    store, election = open_store_and_election(world.url, "http://a:8080")
    try:
        election.start()
        assert election.wait_until_leader(SOON_S)
        store.begin_term(election.ballot)
        store.write([put(an_instance(1))])
        owner = world.raw.exists(election.ballot).ephemeralOwner
        assert owner == store._client.client_id[0]  # type: ignore[attr-defined]
    finally:
        store.close()
        election.close()
    assert not world.raw.exists(election.ballot)


def test_without_a_server_the_message_says_what_to_check() -> None:
    with TcpProxy(1) as nobody, pytest.raises(StoreUnavailable, match=r"does not answer within 0.5 s: check that it runs"):
        disconnect(connect(ZookeeperUrl.parse(f"zk://127.0.0.1:{nobody.port}/eratos"), connect_timeout_s=0.5))
