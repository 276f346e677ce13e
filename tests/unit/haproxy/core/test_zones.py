"""How much goes to instances of a balancer's own zone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from eratos.haproxy.core.services import Backend, Model
from eratos.haproxy.core.zones import times, weighed, weights


@pytest.mark.parametrize(
    ("own", "capacity", "expected"),
    [
        # As many as its share, or more: alone.
        ("a", {"a": 2, "b": 2}, {"a": 2, "b": 0}),
        ("a", {"a": 3, "b": 1}, {"a": 4 / 3, "b": 0}),
        ("a", {"a": 2, "b": 2, "c": 2}, {"a": 3, "b": 0, "c": 0}),
        ("a", {"a": 4}, {"a": 1}),
        ("a", {"a": 4, "b": 0}, {"a": 1}),
        # Fewer: what is beyond their share goes elsewhere. A lone one of four gets half of its zone's requests, and never all.
        ("a", {"a": 1, "b": 3}, {"a": 2, "b": 2 / 3}),
        ("a", {"a": 1, "b": 9}, {"a": 2, "b": 8 / 9}),
        ("a", {"a": 9, "b": 10}, {"a": 2, "b": 0.1}),
        # To those that have more than their share, and to these by how much more.
        ("a", {"a": 1, "b": 1, "c": 4}, {"a": 3, "b": 0, "c": 0.75}),
        ("a", {"a": 1, "b": 2, "c": 3}, {"a": 3, "b": 0, "c": 1}),
        ("a", {"a": 1, "b": 3, "c": 5}, {"a": 3, "b": 0, "c": 1.2}),
        ("a", {"a": 1, "b": 4, "c": 7}, {"a": 3, "b": 0, "c": 9 / 7}),
        ("a", {"a": 1, "b": 5, "c": 6}, {"a": 3, "b": 0.6, "c": 1}),
        # None here: all elsewhere.
        ("a", {"b": 4}, {"b": 1}),
        ("a", {"b": 2, "c": 2}, {"b": 1, "c": 1}),
        ("a", {"a": 0, "b": 1, "c": 5}, {"b": 0, "c": 1.2}),
        # Those that say no zone are elsewhere.
        ("a", {"a": 1, "": 1}, {"a": 2, "": 0}),
        ("a", {}, {}),
    ],
)
def test_how_much_more_than_without_zones_an_instance_gets(
    own: str, capacity: dict[str, int], expected: dict[str, float]
) -> None:
    assert times(capacity, own) == pytest.approx(expected)


CAPACITIES = st.dictionaries(st.sampled_from("abcdef"), st.integers(1, 500), min_size=1)


@given(CAPACITIES)
def test_with_as_many_requests_in_every_zone_each_instance_gets_its_part(capacity: dict[str, int]) -> None:
    got = {zone: sum(times(capacity, own)[zone] for own in capacity) / len(capacity) for zone in capacity}
    assert got == pytest.approx(dict.fromkeys(capacity, 1))


@given(CAPACITIES, st.sampled_from("abcdefg"))
def test_nothing_is_lost_and_none_gets_more_than_as_many_times_as_there_are_zones(capacity: dict[str, int], own: str) -> None:
    found = times(capacity, own)
    assert sum(found[zone] * size for zone, size in capacity.items()) == pytest.approx(sum(capacity.values()))
    assert all(0 <= value <= len(capacity.keys() | {own}) + 1e-9 for value in found.values())


def backend(stated: Mapping[str, int] = {}, /, **zones: str) -> Backend:
    """Return a backend in zone a; ``zones``: zone -> names of servers, a letter each."""
    zone_of = {server: zone for zone, servers in zones.items() for server in servers}
    return Backend(
        servers=dict.fromkeys(zone_of, "10.0.0.1:80"),
        weights={server: str(weight) for server, weight in stated.items()},
        zone="a",
        zones={server: zone for server, zone in zone_of.items() if zone != "none"},
    )


@pytest.mark.parametrize(
    ("pool", "dead", "expected"),
    [
        (backend(a="1", b="2"), "", {"1": 256, "2": 1}),
        (backend(a="1", none="2"), "", {"1": 256, "2": 1}),
        (backend(a="1", b="234"), "", {"1": 256, "2": 85, "3": 85, "4": 85}),
        (backend(b="12"), "", {"1": 256, "2": 256}),
        # Stated weights are the instances' sizes: a new version that is tried with a tenth of an old one's requests.
        (backend({"2": 10}, a="12", b="3"), "", {"1": 256, "2": 26, "3": 1}),
        (backend({"1": 1, "2": 256}, a="12"), "", {"1": 1, "2": 256}),
        (backend({"1": 1}, a="1", b="2"), "", {"1": 5, "2": 256}),
        # The dead have no share, and those of their zone that live are what it has.
        (backend(a="12", b="34"), "2", {"1": 256, "2": 256, "3": 64, "4": 64}),
        (backend(a="12", b="34"), "3", {"1": 256, "2": 256, "3": 1, "4": 1}),
        (backend(a="12", b="34"), "12", {"1": 1, "2": 1, "3": 256, "4": 256}),
        (backend(a="12", b="34"), "1234", {"1": 256, "2": 256, "3": 1, "4": 1}),
        (backend({"1": 1, "2": 1, "3": 1}, a="1", b="23"), "", {"1": 256, "2": 64, "3": 64}),
    ],
)
def test_weights_of_servers(pool: Backend, dead: str, expected: dict[str, int]) -> None:
    assert weights(pool, set(dead)) == {server: str(weight) for server, weight in expected.items()}


@pytest.mark.parametrize(
    ("a", "b", "old", "new", "dead", "expected"),
    [
        # Whose version has no weight gets nothing, wherever it is, and takes part in nothing.
        ("13", "24", 100, 0, "", {"1": 256, "2": 1, "3": 0, "4": 0}),
        ("3", "124", 100, 0, "", {"1": 256, "2": 256, "3": 0, "4": 0}),
        ("13", "24", 0, 100, "", {"1": 0, "2": 0, "3": 256, "4": 1}),
        ("13", "24", 100, 0, "12", {"1": 256, "2": 1, "3": 0, "4": 0}),
        # Others get what their version's weight says, each in its own zones.
        ("13", "24", 100, 25, "", {"1": 256, "2": 1, "3": 64, "4": 1}),
        ("12", "34", 100, 50, "", {"1": 256, "2": 256, "3": 128, "4": 128}),
        ("1", "234", 100, 100, "", {"1": 256, "2": 1, "3": 128, "4": 128}),
        ("34", "12", 100, 1, "", {"1": 256, "2": 256, "3": 3, "4": 3}),
        ("13", "24", 100, 50, "1", {"1": 1, "2": 256, "3": 256, "4": 1}),
    ],
)
def test_weights_of_servers_in_two_versions(a: str, b: str, old: int, new: int, dead: str, expected: dict[str, int]) -> None:
    stated = {"1": old, "2": old, "3": new, "4": new}
    pool = replace(backend(stated, a=a, b=b), versions={"1": "old", "2": "old", "3": "new", "4": "new"})
    assert weights(pool, set(dead)) == {server: str(weight) for server, weight in expected.items()}


@given(
    st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from("12")), min_size=1, max_size=20),
    st.sampled_from([(100, 0), (100, 50), (100, 25), (0, 100)]),
)
def test_each_version_gets_its_part_at_each_balancer(servers: list[tuple[str, str]], of_version: tuple[int, int]) -> None:
    stated = {str(i): of_version[int(version) - 1] for i, (_, version) in enumerate(servers)}
    assume(any(stated.values()))
    pool = Backend(
        servers=dict.fromkeys(stated, "10.0.0.1:80"),
        weights={server: str(weight) for server, weight in stated.items()},
        zone="a",
        zones={str(i): zone for i, (zone, _) in enumerate(servers)},
        versions={str(i): version for i, (_, version) in enumerate(servers)},
    )
    found = {server: int(weight) for server, weight in weights(pool, set()).items()}
    part = sum(weight for server, weight in stated.items() if pool.versions[server] == "1") / sum(stated.values())
    got = sum(weight for server, weight in found.items() if pool.versions[server] == "1") / sum(found.values())
    # What those in other zones get in any case, and rounding.
    assert got == pytest.approx(part, abs=len(servers) / sum(found.values()))
    assert {server for server, weight in found.items() if not weight} == {s for s, weight in stated.items() if not weight}


def joined(near: str, far: str = "", zones: Mapping[str, str] = {}, **others: str) -> Backend:
    """Return a backend whose servers, a letter each, are here, in data center ``far`` and in others."""
    datacenters = {server: dc for dc, servers in {"far": far, **others}.items() for server in servers}
    servers = dict.fromkeys([*near, *datacenters], "10.0.0.1:80")
    return Backend(servers=servers, failover="far", datacenters=datacenters, zone="a" if zones else "", zones=dict(zones))


@pytest.mark.parametrize(
    ("pool", "dead", "expected"),
    [
        (joined("12"), "", {"1": 256, "2": 256}),
        (joined("12", "34"), "", {"1": 256, "2": 256, "3": 1, "4": 1}),
        (joined("123", "4"), "", {"1": 256, "2": 256, "3": 256, "4": 1}),
        # Too few here: a lone one of four gets half of what comes here, and each of the others a sixth.
        (joined("1", "234"), "", {"1": 256, "2": 85, "3": 85, "4": 85}),
        (joined("12", "34"), "2", {"1": 256, "2": 256, "3": 64, "4": 64}),
        (joined("12", "34"), "12", {"1": 1, "2": 1, "3": 256, "4": 256}),
        (joined("", "34"), "", {"3": 256, "4": 256}),
        # All are dead: as if none was.
        (joined("12", "34"), "1234", {"1": 256, "2": 256, "3": 1, "4": 1}),
        (joined("12", "34"), "34", {"1": 256, "2": 256, "3": 1, "4": 1}),
        # To whom there are more than its share, by how much more.
        (joined("1", "2", other="3456"), "", {"1": 256, "2": 1, "3": 64, "4": 64, "5": 64, "6": 64}),
        # What stays here is shared out among zones, and what is elsewhere is in none of them.
        (joined("12", "34", {"1": "a", "2": "b", "3": "a"}), "", {"1": 256, "2": 1, "3": 1, "4": 1}),
    ],
)
def test_other_data_centers_stand_in_where_too_few_are_here(pool: Backend, dead: str, expected: dict[str, int]) -> None:
    assert {server: int(weight) for server, weight in weights(pool, set(dead)).items()} == expected


def test_zones_share_out_what_stays_in_the_data_center() -> None:
    pool = joined("1234", "567890", {"1": "a"} | dict.fromkeys("234", "b"))
    found = {server: int(weight) for server, weight in weights(pool, set()).items()}
    # Four of ten are here: of five parts they get four. One of the four is in this zone: it gets half of these.
    assert sum(found[server] for server in "1234") / sum(found.values()) == pytest.approx(4 / 5, abs=0.01)
    assert found["1"] / sum(found[server] for server in "1234") == pytest.approx(1 / 2, abs=0.01)


def test_a_backend_that_others_stand_in_for_has_weights_before_any_does() -> None:
    assert weighed(Model({"app": joined("12")})).backends["app"].shares == {"1": "256", "2": "256"}


def test_backends_that_prefer_no_zone_are_left_alone() -> None:
    plain, near, empty = Backend(servers={"1": "10.0.0.1:80"}), backend(a="1", b="2"), backend()
    found = weighed(Model({"plain": plain, "near": near, "empty": empty}), {("near", "1"), ("plain", "2")})
    assert (found.backends["plain"], found.backends["empty"]) == (plain, empty)
    assert found.backends["near"].shares == {"1": "1", "2": "256"}
    assert weighed(found).backends["near"].shares == {"1": "256", "2": "1"}
