"""The checksum: the same whatever the way to the records, another for other records."""

from __future__ import annotations

import logging
from itertools import accumulate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eratos.scheduler.core.records import APPS, FRAMEWORK_ID, INSTANCES
from eratos.scheduler.store.base import StoreUnusable
from eratos.scheduler.store.checksum import Change, Checksum, Ledger

KEYS = st.sampled_from([FRAMEWORK_ID, APPS + "/a", APPS + "/b", INSTANCES + "1", INSTANCES + "2", INSTANCES + "3"])
BATCHES = st.lists(st.dictionaries(KEYS, st.none() | st.binary(max_size=2)), max_size=6)


def held(batches: list[dict[str, bytes | None]]) -> dict[str, bytes]:
    values: dict[str, bytes | None] = {}
    for batch in batches:
        values.update(batch)
    return {key: data for key, data in values.items() if data is not None}


@given(BATCHES)
def test_it_depends_on_what_is_held_and_not_on_how_it_came_about(batches: list[dict[str, bytes | None]]) -> None:
    ledger = Ledger()
    for batch in batches:
        ledger.enter(batch.items())
    records = held(batches)
    assert ledger.checksum == Ledger(records.items()).checksum
    assert ledger.checksum.apps == sum(key.startswith(APPS) for key in records)
    assert ledger.checksum.instances == sum(key.startswith(INSTANCES) for key in records)


@given(BATCHES, BATCHES)
def test_different_records_have_different_checksums(
    some: list[dict[str, bytes | None]], others: list[dict[str, bytes | None]]
) -> None:
    one, other = (Ledger(held(batches).items()).checksum for batches in (some, others))
    assert (one == other) == (held(some) == held(others))


@given(st.dictionaries(KEYS, st.binary(max_size=2)), st.dictionaries(KEYS, st.none() | st.binary(max_size=2)))
def test_each_part_of_a_batch_has_the_checksum_up_to_it(before: dict[str, bytes], batch: dict[str, bytes | None]) -> None:
    ledger = Ledger(before.items())

    def after(checksum: Checksum, part: list[Change]) -> Checksum:
        return ledger.after(part, checksum)

    parts = [[change] for change in batch.items()]
    ahead = list(accumulate(parts, after, initial=ledger.checksum))[1:]
    for part, expected in zip(parts, ahead, strict=True):
        ledger.enter(part)
        assert ledger.checksum == expected


@given(st.builds(Checksum, st.integers(0), st.integers(0), st.integers(0, 2**64 - 1)))
def test_it_comes_back_from_its_text(checksum: Checksum) -> None:
    assert Checksum.parse(str(checksum).encode()) == checksum


RECORDS = {FRAMEWORK_ID: b"f", APPS + "/a": b"1", INSTANCES + "1": b"2", INSTANCES + "2": b"3"}


@pytest.mark.parametrize("lost", [APPS + "/a", INSTANCES + "1"])
def test_missing_records_stop_the_scheduler_with_both_ways_out(lost: str) -> None:
    left = str(Ledger(RECORDS.items()).checksum).encode()
    found = Ledger((key, data) for key, data in RECORDS.items() if key != lost)
    with pytest.raises(
        StoreUnusable, match=r"records are missing in here: .* 1 apps and 2 instances.*restore FILE --replace.*backup FILE"
    ):
        found.verify(left, "here")


@pytest.mark.parametrize(
    "change",
    [
        {INSTANCES + "1": b"older"},
        {INSTANCES + "3": b"more"},
        {FRAMEWORK_ID: b"other"},
        {INSTANCES + "1": b"3", INSTANCES + "2": b"2"},
    ],
)
def test_altered_records_are_told(change: dict[str, bytes], caplog: pytest.LogCaptureFixture) -> None:
    left = str(Ledger(RECORDS.items()).checksum).encode()
    Ledger((RECORDS | change).items()).verify(left, "here")
    assert "changed by somebody else" in caplog.text
    assert "here" in caplog.text


@pytest.mark.parametrize("left", [b"1 2", b"a b c", b"\xff"])
def test_a_damaged_checksum_is_told(left: bytes, caplog: pytest.LogCaptureFixture) -> None:
    Ledger(RECORDS.items()).verify(left, "here")
    assert "checksum is damaged" in caplog.text


@pytest.mark.parametrize("left", [b"", str(Ledger(RECORDS.items()).checksum).encode()])
def test_nothing_is_said_where_all_is_well_or_nothing_is_known(left: bytes, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    Ledger(RECORDS.items()).verify(left, "here")
    assert not caplog.text
