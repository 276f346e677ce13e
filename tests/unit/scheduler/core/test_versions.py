"""How versions are named, which are kept, and which one an app had at a moment: tables of each."""

from __future__ import annotations

import pytest
from support.builders import an_app

from eratos.common.resources import Resources
from eratos.scheduler.core import versions
from eratos.scheduler.core.actions import Forget, Put
from eratos.scheduler.core.records import ChangeRecord, VersionRecord
from eratos.scheduler.core.state import State
from eratos.scheduler.core.step import Settings, Step
from eratos.scheduler.core.versions import VERSIONS_MOST


def at(second: float) -> str:
    return f"2026-01-01T00:00:{second:06.3f}Z"


def a_version(second: float, *came_back: float, scaled: float = 0) -> VersionRecord:
    return VersionRecord("/a", at(second), b"{}", tuple(map(at, came_back)), at(scaled) if scaled else "")


@pytest.mark.parametrize(
    ("newest", "now", "expected"),
    [
        ("", 1767225600.0, "2026-01-01T00:00:00.000Z"),
        ("", 1767225601.5, "2026-01-01T00:00:01.500Z"),
        (at(1), 1767225600.0, at(1.001)),  # another scheduler's clock was ahead: it grows all the same
        (at(0), 1767225600.0, at(0.001)),  # two in one millisecond
        (at(0), 1767225600.001, at(0.001)),
        (at(0), 1767225600.25, at(0.25)),
        (at(0.999), 1767225600.0, at(1)),
    ],
)
def test_a_version_is_the_time_and_grows(newest: str, now: float, expected: str) -> None:
    state = State()
    state.newest_version = newest
    assert versions.next_version(state, now) == expected


@pytest.mark.parametrize(
    ("kept", "needed", "forgotten"),
    [
        (VERSIONS_MOST, [], []),
        (VERSIONS_MOST + 1, [], [0]),
        (VERSIONS_MOST + 2, [0], [1, 2]),  # what is needed stays, however old
        (1, [], []),
    ],
)
def test_the_oldest_are_forgotten_beyond_the_bound(kept: int, needed: list[int], forgotten: list[int]) -> None:
    of_app = {found.version: found for found in map(a_version, range(kept))}
    assert versions.surplus(of_app, map(at, needed)) == [a_version(second) for second in forgotten]


def test_one_that_the_app_came_back_to_is_as_young_as_that() -> None:
    first = a_version(0, 59.5)
    of_app = {found.version: found for found in (first, *map(a_version, range(1, VERSIONS_MOST + 1)))}
    assert versions.surplus(of_app, ()) == [a_version(1)]
    assert versions.newest_first(of_app)[:2] == [first, a_version(VERSIONS_MOST)]


@pytest.mark.parametrize(
    ("moment", "version"),
    [(0.5, None), (1, 1), (1.9, 1), (2, 2), (3.9, 2), (4, 1), (50, 1)],  # the app came back to the first at 4
)
def test_the_version_of_a_moment(moment: float, version: float | None) -> None:
    of_app = {found.version: found for found in (a_version(1, 4), a_version(2))}
    found = versions.at(of_app, at(moment))
    assert (found and found.version) == (version and at(version))


def test_the_versions_of_a_group_are_the_moments_at_which_one_of_its_apps_changed() -> None:
    state = State()
    state.versions = {"/g/a": {at(1): a_version(1, 4)}, "/g/b": {at(2): a_version(2)}, "/other": {at(3): a_version(3)}}
    assert versions.of_group(state, ["/g/a", "/g/b", "/g/c"]) == [at(4), at(2), at(1)]
    state.versions = {"/g/a": {at(second): a_version(second) for second in range(VERSIONS_MOST + 5)}}
    found = versions.of_group(state, ["/g/a"])
    assert len(found) == VERSIONS_MOST and found[0] == at(VERSIONS_MOST + 4)


@pytest.mark.parametrize(
    ("known", "present", "came_back", "scaled_at"),
    [
        (None, "", (), ""),
        (a_version(1), at(1), (), at(9)),  # the same version, another number of instances
        (a_version(1), at(5), (at(9),), ""),  # another was in force: it came back
        (a_version(1, *range(2, 22), scaled=3), at(5), (*map(at, range(3, 22)), at(9)), at(3)),  # twenty are remembered
    ],
)
def test_what_is_kept_of_a_change(known: VersionRecord | None, present: str, came_back: tuple[str, ...], scaled_at: str) -> None:
    app = an_app("/a", 3).with_version(at(1))
    found = versions.record(app, known, at(9), present)
    assert (found.app_id, found.version, found.came_back, found.scaled_at) == ("/a", at(1), came_back, scaled_at)
    assert versions.read(found) == app


def a_step() -> Step:
    return Step(State(), Settings("e", Resources()), lambda: "i", 1000.0)


def kept(step: Step) -> list[str]:
    return sorted(step.state.versions["/a"])


def test_one_more_than_is_kept_has_the_oldest_forgotten_but_what_is_in_force_or_was_before_a_change() -> None:
    step = a_step()
    step.state.apps["/a"] = an_app("/a").with_version(at(0))
    step.state.changes["/a"] = ChangeRecord("/a", "d1", before=at(1))
    versions.keep(step, map(a_version, range(VERSIONS_MOST)))
    assert len(step.out.writes) == len(kept(step)) == VERSIONS_MOST
    versions.keep(step, [a_version(VERSIONS_MOST)])
    assert kept(step) == [at(second) for second in range(VERSIONS_MOST + 1) if second != 2]
    assert step.out.writes[-1] == Forget(a_version(2).key)


def test_a_version_is_read_as_it_was_and_what_is_not_kept_is_none() -> None:
    state, app = State(), an_app("/a", 3).with_version(at(1))
    broken = VersionRecord("/a", at(2), b'{"id": "/a", "cpus": -1}')
    state.versions["/a"] = {at(1): versions.record(app, None, at(1)), at(2): broken}
    assert versions.definition(state, "/a", at(1)) == app
    assert versions.definition(state, "/a", at(2)) is None  # as it would be refused by now
    assert versions.definition(state, "/a", at(3)) is versions.definition(state, "/b", at(1)) is None


def test_a_new_leader_takes_the_versions_over_and_makes_those_that_a_store_of_before_lacks() -> None:
    step = a_step()
    known, lacking, unreadable = (an_app(name).with_version(at(5)) for name in ("/a", "/b", "/c"))
    step.state.apps = {app.id: app for app in (known, lacking, unreadable)}
    key = VersionRecord("/c", at(5), b"").key
    step.state.spoilt = {key: "no JSON"}
    versions.load(step, [a_version(3), a_version(5, 9, scaled=7)])
    assert kept(step) == [at(3), at(5)]
    made = versions.record(lacking, None, at(5))
    # What could not be read is left in the store as it is.
    assert step.out.writes == [Put(made.key, made)]
    assert versions.definition(step.state, "/c", at(5)) == unreadable
    assert step.state.newest_version == at(9)


def test_a_new_leader_without_apps_knows_of_no_version() -> None:
    step = a_step()
    versions.load(step, [])
    assert step.state.newest_version == ""


def test_all_versions_of_a_deleted_app_are_forgotten() -> None:
    step = a_step()
    versions.keep(step, [a_version(1), a_version(2)])
    versions.forget_all(step, "/a")
    versions.forget_all(step, "/b")
    assert not step.state.versions
    assert step.out.writes[2:] == [Forget(a_version(1).key), Forget(a_version(2).key)]
