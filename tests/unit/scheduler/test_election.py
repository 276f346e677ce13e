"""The election's decisions in the moments that a real server shows too rarely. The rest is in tests/contract."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import SimpleNamespace

import pytest
from kazoo.exceptions import NoNodeError
from kazoo.protocol.states import KazooState
from support.waiting import until

from eratos.common.errors import PermanentError
from eratos.scheduler.election import Leadership, NoElection, ZookeeperElection, open_store_and_election


class FakeClient:
    """A session with one folder of contenders; each node's data with the session that owns it."""

    def __init__(self) -> None:
        self.client_id = (1, b"")
        self.nodes: dict[str, tuple[str, int]] = {}
        self.listeners: list[Callable[[str], object]] = []
        self.before_get: Callable[[], object] = lambda: None
        self.watches: list[Callable[[object], None]] = []
        self._created = 0

    def add_listener(self, listener: Callable[[str], object]) -> None:
        self.listeners.append(listener)

    def tell(self, state: str) -> None:
        for listener in self.listeners:
            listener(state)

    def changed(self) -> None:
        watches, self.watches = self.watches, []
        for watch in watches:
            watch(None)

    def get_children(self, path: str, watch: Callable[[object], None]) -> list[str]:
        self.watches.append(watch)
        return list(self.nodes)

    def create(self, path: str, value: bytes, **options: bool) -> str:
        name = f"{path.rpartition('/')[2]}{self._created:010d}"
        self._created += 1
        self.nodes[name] = (value.decode(), self.client_id[0])
        self.changed()
        return name

    def get(self, path: str) -> tuple[bytes, None]:
        self.before_get()
        name = path.rpartition("/")[2]
        if name not in self.nodes:
            raise NoNodeError
        return self.nodes[name][0].encode(), None

    def exists(self, path: str) -> SimpleNamespace | None:
        node = self.nodes.get(path.rpartition("/")[2])
        return SimpleNamespace(ephemeralOwner=node[1]) if node else None

    def stop(self) -> None:
        self.tell(KazooState.LOST)

    def close(self) -> None:
        pass


@contextmanager
def standing(client: FakeClient, election: ZookeeperElection | None = None) -> Iterator[ZookeeperElection]:
    election = election or an_election(client)
    election.start()
    try:
        yield election
    finally:
        election.close()


def an_election(client: FakeClient) -> ZookeeperElection:
    return ZookeeperElection(client, "/eratos", "http://me:8080")


def test_a_node_left_by_an_expired_session_wins_nothing() -> None:
    client = FakeClient()
    client.nodes["0-0000000000"] = ("http://other:8080", 7)
    with standing(client) as election:
        until(lambda: len(client.nodes) == 2, 10, "it stands")
        mine = next(name for name in client.nodes if name != "0-0000000000")
        client.client_id = (2, b"")  # the session expired; its node is still to be seen on this server
        del client.nodes["0-0000000000"]
        client.changed()
        until(lambda: len(client.nodes) == 2, 10, "it stands anew beside its old node")
        until(lambda: election.leader() == "http://me:8080", 10, "it has looked")
        assert not election.ballot
        del client.nodes[mine]
        client.changed()
        assert election.wait_until_leader(10)
        assert election.ballot.endswith(next(iter(client.nodes)))


def test_what_was_seen_before_the_connection_broke_proves_no_leadership() -> None:
    client = FakeClient()
    election = an_election(client)
    seen: list[Leadership] = []

    def break_once() -> None:
        seen.append(election.state)
        if len(seen) == 1:
            client.tell(KazooState.SUSPENDED)

    client.before_get = break_once
    with standing(client, election):
        assert election.wait_until_leader(10)
    assert seen == [Leadership.FOLLOWING, Leadership.FOLLOWING]


def test_a_leader_that_leaves_in_between_is_no_leader() -> None:
    client = FakeClient()
    client.nodes["0-0000000000"] = ("http://other:8080", 7)
    client.before_get = lambda: client.nodes.pop("0-0000000000", None)
    client._created = 1
    with standing(client) as election:
        assert election.wait_until_leader(10)
        assert election.leader() == "http://me:8080"


def test_contenders_are_ordered_by_their_number_not_by_their_name() -> None:
    client = FakeClient()
    client.nodes = {"a-0000000009": ("http://a:8080", 7), "z-0000000002": ("http://z:8080", 8)}
    client._created = 10
    with standing(client) as election:
        until(lambda: election.leader() == "http://z:8080", 10, "the longest standing is known")
        assert election.state is Leadership.FOLLOWING


def test_closing_ends_the_wait_without_a_leadership() -> None:
    client = FakeClient()
    client.nodes["0-0000000000"] = ("http://other:8080", 7)
    with standing(client) as election:
        until(lambda: election.leader(), 10, "it follows")
        election.close()
        assert not election.wait_until_leader()
        assert not election.lost.is_set()


def test_a_leader_hears_at_once_that_it_is_suspended_or_has_lost() -> None:
    client = FakeClient()
    with standing(client) as election:
        assert election.wait_until_leader(10)
        client.get_children = None  # type: ignore[assignment, method-assign]  # no look at the list may be needed
        client.tell(KazooState.SUSPENDED)
        assert election.state is Leadership.SUSPENDED
        client.tell(KazooState.LOST)
        assert election.state is Leadership.LOST
        assert election.lost.is_set()


def test_a_mistake_in_one_look_does_not_end_the_election(caplog: pytest.LogCaptureFixture) -> None:
    client = FakeClient()
    election = an_election(client)

    def fail_once() -> None:
        client.before_get = lambda: None
        client.tell(KazooState.CONNECTED)  # something to look again for
        raise ValueError("no such thing")

    client.before_get = fail_once
    with standing(client, election):
        assert election.wait_until_leader(10)
    assert "please report this as a bug" in caplog.text


def test_without_zookeeper_a_scheduler_leads_from_the_start() -> None:
    store, election = open_store_and_election("memory:", "http://me:8080", setting="--store")
    election.start()
    assert isinstance(election, NoElection)
    assert election.wait_until_leader()
    assert election.state is Leadership.LEADING
    assert election.leader() == "http://me:8080"
    store.begin_term(election.ballot)
    election.close()
    assert not election.wait_until_leader()
    assert not election.lost.is_set()


def test_a_bad_url_names_the_setting() -> None:
    with pytest.raises(PermanentError, match="--zk: "):
        open_store_and_election("zk://h", "http://me:8080")
