"""What every store's writes hold to: puts before forgets, and with ZooKeeper no write without the term's check."""

from __future__ import annotations

from typing import Any

import pytest
from kazoo.protocol.states import KazooState
from support.records import an_instance, put

from eratos.scheduler.core.actions import Forget
from eratos.scheduler.store import layout
from eratos.scheduler.store.base import RECORD_BYTES_MAX, final_values
from eratos.scheduler.store.zookeeper import ZookeeperStore


def test_an_interrupted_write_leaves_records_too_many_and_never_too_few() -> None:
    """Rule 6: what is put comes first, however the batch was ordered."""
    first, second = put(an_instance(1)), put(an_instance(2))
    values = final_values([Forget("apps//old"), first, Forget("apps//older"), second])
    assert list(values) == [first.key, second.key, "apps//old", "apps//older"]
    assert [data is None for data in values.values()] == [False, False, True, True]


def test_of_several_writes_of_a_key_the_last_counts() -> None:
    first = put(an_instance(1))
    assert final_values([first, Forget(first.key)]) == {first.key: None}
    assert final_values([Forget(first.key), first])[first.key] is not None


class Answer:
    def __init__(self, value: Any) -> None:
        self._value = value

    def get(self, timeout: float) -> Any:
        return self._value


class Transaction:
    def __init__(self) -> None:
        self.operations: list[tuple[Any, ...]] = []

    def __getattr__(self, name: str) -> Any:
        return lambda *args: self.operations.append((name, *args))

    def commit_async(self) -> Answer:
        return Answer([True] * len(self.operations))


class Client:
    """A ZooKeeper that takes every transaction and keeps what was in it."""

    state = KazooState.CONNECTED

    def __init__(self) -> None:
        self.transactions: list[Transaction] = []

    def add_listener(self, listener: Any) -> None:
        pass

    def transaction(self) -> Transaction:
        self.transactions.append(Transaction())
        return self.transactions[-1]


@pytest.mark.parametrize("instances", [1, 5000])
def test_every_transaction_is_refused_once_another_leads(instances: int) -> None:
    client = Client()
    store = ZookeeperStore(client, "/eratos")  # type: ignore[arg-type]
    store._term = 7
    store.write([put(an_instance(number)) for number in range(instances)] + [Forget("apps//old")])
    assert client.transactions
    for transaction in client.transactions:
        assert transaction.operations[0] == ("check", "/eratos/term", 7)


def test_a_transaction_is_small_enough_for_the_server_and_for_its_memory() -> None:
    """jute.maxbuffer is 1 MiB, and the server keeps its last 500 transactions: 128 MiB of its heap of 512."""
    assert 500 * layout.TRANSACTION_BYTES_MAX <= 128 * 1024 * 1024
    changes = [(put(an_instance(number)).key, bytes(400)) for number in range(20_000)]
    chunks = layout.transactions([*changes, ("apps//large", bytes(RECORD_BYTES_MAX))])
    for chunk in chunks:
        assert sum(len(layout.node_of(key)) + len(data or b"") + 100 for key, data in chunk) < 1024 * 1024
