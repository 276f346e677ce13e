"""Where records lie in ZooKeeper."""

from __future__ import annotations

from collections import Counter
from itertools import chain

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.records import an_instance

from eratos.scheduler.core.records import APPS, FRAMEWORK_ID, INSTANCES, KINDS
from eratos.scheduler.store import layout
from eratos.scheduler.store.base import RECORD_BYTES_MAX
from eratos.scheduler.store.checksum import Change

NAMES = st.text(st.characters(exclude_categories=["Cs"]), min_size=1)
KEYS = st.builds(str.__add__, st.sampled_from([APPS, INSTANCES]), NAMES)


@given(KEYS)
def test_a_node_tells_its_key(key: str) -> None:
    kind, bucket, name = layout.node_of(key).split("/")
    assert bucket in layout.BUCKETS
    assert layout.key_of(kind + "/", name) == key


@given(KEYS)
def test_a_name_is_one_that_zookeeper_takes(key: str) -> None:
    name = layout.node_of(key).split("/")[2]
    assert name.isascii()
    assert name.isprintable()
    assert name not in ("", ".", "..")


@given(KEYS, KEYS)
def test_no_two_keys_share_a_node(one: str, other: str) -> None:
    assert (layout.node_of(one) == layout.node_of(other)) == (one == other)


def test_a_place_never_moves() -> None:
    assert layout.node_of("apps//shop/cart") == "apps/86/%2Fshop%2Fcart"
    assert layout.node_of("instances/shop_cart.instance-1") == "instances/64/shop_cart.instance-1"
    assert layout.node_of(FRAMEWORK_ID) == "framework_id"


def test_lists_of_children_stay_far_below_the_limit_with_200_000_instances() -> None:
    folders: Counter[str] = Counter()
    for number in range(20_000):  # a tenth of them: they spread evenly
        folder, _, name = layout.node_of(INSTANCES + an_instance(number).instance_id).rpartition("/")
        folders[folder] += len(name) + 4  # a length precedes each name on the wire
    assert len(folders) == 256
    assert 10 * max(folders.values()) < 1024 * 1024 / 8


@given(st.lists(st.tuples(KEYS, st.none() | st.integers(0, RECORD_BYTES_MAX).map(bytes)), max_size=8))
def test_transactions_hold_every_change_in_order_and_fit(changes: list[Change]) -> None:
    chunks = layout.transactions(changes)
    assert list(chain.from_iterable(chunks)) == changes
    for chunk in chunks:
        assert chunk
        size = sum(len(layout.node_of(key)) + len(data or b"") for key, data in chunk)
        assert size < layout.TRANSACTION_BYTES_MAX or len(chunk) == 1


@pytest.mark.parametrize(("instances", "most"), [(1, 1), (400, 1), (1000, 3), (5000, 15)])
def test_changes_are_cut_into_few_transactions(instances: int, most: int) -> None:
    changes = [(INSTANCES + an_instance(number).instance_id, bytes(400)) for number in range(instances)]
    assert len(layout.transactions(changes)) <= most


def test_instances_are_read_before_apps() -> None:
    """Else a backup beside a leader could hold an instance without its app, which a restore would stop."""
    assert KINDS[0] == INSTANCES
    assert KINDS[-1] == APPS
