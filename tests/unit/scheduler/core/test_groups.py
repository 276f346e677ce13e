"""What is kept of what groups depended on before, and what they depended on at a moment."""

from __future__ import annotations

import pytest

from eratos.scheduler.core import groups
from eratos.scheduler.core.records import GroupRecord
from eratos.scheduler.core.state import State
from eratos.scheduler.core.versions import VERSIONS_MOST

RECORD = GroupRecord("/g", "1", "7", ("/c",), (("1", ()), ("4", ("/b",))))


def then(known: GroupRecord, version: str, *needs: str) -> GroupRecord:
    return groups.changed(State(groups={known.group_id: known}), version, {known.group_id: needs}, (), {})[known.group_id]


@pytest.mark.parametrize(
    ("moment", "needs"),
    [("1", ()), ("3", ()), ("4", ("/b",)), ("6", ("/b",)), ("7", ("/c",)), ("9", ("/c",)), ("0", ())],
)
def test_what_a_group_depended_on_at_a_moment(moment: str, needs: tuple[str, ...]) -> None:
    assert groups.needs_at(RECORD, moment) == needs


def test_of_a_store_of_before_only_the_present_is_known() -> None:
    assert groups.needs_at(GroupRecord("/g", "1", "7", ("/c",)), "3") == ("/c",)


def test_each_change_keeps_what_was_before() -> None:
    assert then(GroupRecord("/g", "1", "1"), "4", "/b") == GroupRecord("/g", "1", "4", ("/b",), (("1", ()),))
    assert then(then(GroupRecord("/g", "1", "1"), "4", "/b"), "7", "/c") == RECORD
    assert groups.changed(State(groups={"/g": RECORD}), "8", {"/g": ("/c",)}, (), {}) == {}


def test_the_earliest_are_forgotten_by_number_and_by_length() -> None:
    found = GroupRecord("/g", "000", "000")
    for number in range(1, 100):
        found = then(found, f"{number:03}", f"/{number}")
    assert (len(found.former), found.former[-1]) == (VERSIONS_MOST - 1, ("098", ("/98",)))
    long = tuple(f"/{'x' * 170}-{number}" for number in range(300))  # 52 KiB
    found = then(then(found, "100", *long), "101", "/short")
    assert found.former[-1] == ("100", long)
    assert len(found.former) == VERSIONS_MOST - 1
    found = then(then(found, "102", *long), "103")
    assert [since for since, _ in found.former] == ["101", "102"]
