"""Which losses the guard looks at twice, and for how long it holds back."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eratos.haproxy.core.guard import (
    CALLERS_MAX,
    CONFIRMED_FOR_S,
    CONFIRMED_MAX,
    Confirmations,
    Holds,
    by_datacenter,
    forgotten,
    sharp_losses,
    succeeded,
    wholesale,
    with_held,
)
from eratos.haproxy.core.services import Backend, Claim, Model


def pool(count: int) -> list[str]:
    return [f"s{number}" for number in range(count)]


@pytest.mark.parametrize(
    ("before", "after", "sharp"),
    [
        (1, 0, True),  # of an app with one instance as well: an empty answer of Consul is no word of its end
        (2, 0, True),
        (2, 1, False),
        (3, 2, False),
        (3, 1, True),
        (3, 0, True),
        (4, 2, False),
        (4, 1, True),
        (20, 10, False),
        (20, 9, True),
        (20, 0, True),
    ],
)
def test_emptied_and_more_than_halved_pools_are_sharp(before: int, after: int, sharp: bool) -> None:
    losses = sharp_losses({"app": pool(before)}, {"app": pool(after)}, frozenset(), {})
    assert losses == ({"app": set(pool(before)) - set(pool(after))} if sharp else {})


def test_a_pool_that_is_gone_is_an_emptied_one() -> None:
    assert sharp_losses({"app": pool(2)}, {}, frozenset(), {}) == {"app": {"s0", "s1"}}


def test_a_confirmed_removal_is_not_looked_at() -> None:
    assert sharp_losses({"app": pool(20)}, {"app": pool(5)}, frozenset(pool(20)[5:]), {}) == {}


def test_confirmed_removals_do_not_hide_a_sharp_loss_of_the_rest() -> None:
    # Of twenty, fifteen leave on purpose; of the five others, three vanish.
    losses = sharp_losses({"app": pool(20)}, {"app": ["s0", "s1"]}, frozenset(pool(20)[5:]), {})
    assert losses == {"app": {"s2", "s3", "s4"}}


def test_new_servers_do_not_make_up_for_all_old_ones_gone() -> None:
    assert sharp_losses({"app": pool(4)}, {"app": ["x", "y", "z"]}, frozenset(), {}) == {"app": set(pool(4))}


def test_what_is_held_stays_so_and_makes_no_ordinary_loss_a_sharp_one() -> None:
    held = {"app": set(pool(20)[5:])}
    assert sharp_losses({"app": pool(20)}, {"app": pool(5)}, frozenset(), held) == held
    assert sharp_losses({"app": pool(20)}, {"app": pool(3)}, frozenset(), held) == held
    # Over half of what is left is sharp again, and so is the last of it.
    assert sharp_losses({"app": pool(20)}, {"app": pool(2)}, frozenset(), held) == {"app": set(pool(20)[2:])}
    assert sharp_losses({"app": pool(20)}, {}, frozenset(), {"app": set(pool(20)[1:])}) == {"app": set(pool(20))}


def test_held_servers_that_are_back_or_confirmed_are_let_go() -> None:
    assert sharp_losses({"app": pool(4)}, {"app": pool(4)}, frozenset(), {"app": {"s1"}}) == {}
    assert sharp_losses({"app": pool(4)}, {"app": pool(3)}, frozenset({"s3"}), {"app": {"s3"}}) == {}


names = st.sets(st.sampled_from(pool(12)))


pools = st.dictionaries(st.sampled_from("abc"), names)


@given(pools, pools, names, pools)
def test_only_lost_and_unconfirmed_servers_are_ever_named(
    running: dict[str, set[str]], wanted: dict[str, set[str]], confirmed: set[str], held: dict[str, set[str]]
) -> None:
    for backend, lost in sharp_losses(running, wanted, confirmed, held).items():
        assert lost
        assert lost <= running[backend] - wanted.get(backend, set()) - confirmed


def test_a_confirmation_counts_for_a_while() -> None:
    confirmations = Confirmations()
    confirmations.add(["a"], "one", 0)
    confirmations.add(["b"], "one", 10)
    assert confirmations.current(10) == {"a", "b"}
    assert confirmations.current(CONFIRMED_FOR_S) == {"b"}
    confirmations.add(["b"], "another", 65)
    assert confirmations.current(100) == {"b"}


def test_confirmations_of_one_caller_are_bounded_and_displace_none_of_others() -> None:
    confirmations = Confirmations()
    confirmations.add(["theirs"], "quiet", 0)
    confirmations.add(["first"], "wild", 0)
    confirmations.add((f"s{number}" for number in range(CONFIRMED_MAX)), "wild", 1)
    current = confirmations.current(2)
    assert len(current) == CONFIRMED_MAX + 1
    assert "theirs" in current
    assert "first" not in current


def test_callers_are_bounded_and_the_longest_silent_go_first() -> None:
    confirmations = Confirmations()
    confirmations.add(["old"], "old", 0)
    confirmations.add(["a"], "a", 0)
    confirmations.add(["older"], "old", 0)
    for number in range(CALLERS_MAX - 1):
        confirmations.add(["x"], f"caller{number}", 0)
    assert confirmations.current(1) == {"old", "older", "x"}


def test_a_server_is_held_from_its_first_loss_on_and_no_longer_than_the_limit() -> None:
    holds = Holds(hold_s=5, wholesale_s=60)
    assert holds.update({"app": ["a"]}, 0) == {"app": {"a"}}
    assert holds.update({"app": ["a", "b"]}, 3) == {"app": {"a", "b"}}
    assert holds.update({"app": ["a", "b"]}, 5) == {"app": {"b"}}
    assert holds.update({}, 6) == {}


def test_a_server_that_came_back_is_held_anew_when_it_is_lost_again() -> None:
    holds = Holds(hold_s=5, wholesale_s=60)
    holds.update({"app": ["a"]}, 0)
    holds.update({}, 4)
    assert holds.update({"app": ["a"]}, 8) == {"app": {"a"}}


def test_of_a_wholesale_loss_each_server_is_held_longer_also_when_others_are_back() -> None:
    holds = Holds(hold_s=5, wholesale_s=60)
    assert holds.update({"a": ["a1"]}, 0) == {"a": {"a1"}}
    both = {"a": ["a1"], "b": ["b1"]}
    assert holds.update(both, 1, {"a1", "b1"}) == {"a": {"a1"}, "b": {"b1"}}
    assert holds.update({"a": ["a1"]}, 50) == {"a": {"a1"}}
    assert holds.update({"a": ["a1"]}, 60) == {}


def test_what_consul_has_forgotten_is_held_longer_and_stays_so_once_it_is_known_again() -> None:
    holds = Holds(hold_s=5, wholesale_s=60)
    both = {"a": ["a1", "a2"]}
    assert holds.update(both, 0, {"a1"}) == {"a": {"a1", "a2"}}
    assert holds.update(both, 5) == {"a": {"a1"}}
    assert holds.update(both, 60) == {}


@pytest.mark.parametrize(
    ("server", "known", "expected"),
    [
        ("eratos-a.instance-1._app.1", set(), True),
        ("eratos-a.instance-1._app.1", {"eratos-a.instance-2._app.1"}, True),
        ("eratos-a.instance-1._app.1", {"eratos-a.instance-1._app.1"}, False),  # critical: its end, or its host's
        ("redis-1", set(), False),  # of a registrar that announces nothing
        ("10.0.0.1:80", set(), False),  # out of a file
    ],
)
def test_forgotten_is_what_executors_registered_and_consul_does_not_know_at_all(
    server: str, known: set[str], expected: bool
) -> None:
    assert forgotten({"a": [server]}, known) == ({server} if expected else set())


@pytest.mark.parametrize(
    ("now_at", "expected"),
    [
        ({}, False),
        ({"10.0.0.1:80": {"a1"}}, False),  # it is there itself
        ({"10.0.0.1:80": {"b1"}}, True),
        ({"10.0.0.1:80": {"a1", "b1"}}, True),  # two say that they are there: the one that is lost is not believed
        ({"10.0.0.2:80": {"b1"}}, False),
    ],
)
def test_a_server_is_succeeded_by_another_at_its_address(now_at: dict[str, set[str]], expected: bool) -> None:
    found = succeeded({"a": {"a1": "10.0.0.1:80"}}, now_at)
    assert found == ({("a", "a1")} if expected else set())


@pytest.mark.parametrize(
    ("running", "lost", "expected"),
    [
        ({"a": 1, "b": 1, "c": 1}, {"a": 1, "b": 1, "c": 1}, True),
        ({"a": 1, "b": 1, "c": 1}, {"a": 1, "b": 1}, True),
        ({"a": 1, "b": 1, "c": 1}, {"a": 1}, False),
        ({"a": 2, "b": 1, "c": 1}, {"a": 1, "b": 1}, False),  # a half
        ({"a": 20, "b": 1}, {"a": 20}, False),  # most, and yet one app's loss
        ({"a": 20}, {"a": 20}, True),  # nothing is left
        ({"a": 1}, {"a": 1}, True),
        ({"a": 20}, {"a": 19}, False),
        ({"a": 20}, {}, False),
        ({}, {}, False),
    ],
)
def test_a_loss_of_most_is_wholesale(running: dict[str, int], lost: dict[str, int], expected: bool) -> None:
    of = {backend: pool(count) for backend, count in running.items()}
    assert wholesale(of, {backend: of[backend][:count] for backend, count in lost.items()}) is expected


# -- what is held back goes into the model again ---------------------------------------------------------------------------

LIVE = Model(
    {"a": Backend(balance="source", servers={"a1": "10.0.0.1:80", "a2": "10.0.0.2:80"}, weights={"a2": "7"}), "b": Backend()},
    {"/a/": Claim("a", 0, "~"), "h/": Claim("a", 0, "~"), "/b/": Claim("b", 0, "~")},
    {"81": Claim("a", 1, "~"), "82": Claim("b", 1, "~")},
)
HELD = {"a": {"a2": "10.0.0.2:80"}}


def test_a_held_server_joins_those_that_are_there() -> None:
    wanted = replace(LIVE, backends={"a": Backend(balance="random", servers={"a3": "10.0.0.3:80"}), "b": Backend()})
    found = with_held(wanted, LIVE, HELD)
    servers = {"a2": "10.0.0.2:80", "a3": "10.0.0.3:80"}
    assert found == replace(
        wanted, backends={"a": Backend(balance="random", servers=servers, weights={"a2": "7"}), "b": Backend()}
    )


def test_a_held_server_keeps_its_version() -> None:
    live = Model({"a": Backend(servers={"a2": "10.0.0.2:80"}, zone="x", versions={"a1": "1", "a2": "1"})})
    wanted = Model({"a": Backend(servers={"a3": "10.0.0.3:80"}, zone="x", versions={"a3": "2"})})
    assert with_held(wanted, live, HELD).backends["a"].versions == {"a2": "1", "a3": "2"}
    assert with_held(Model(), live, HELD).backends["a"].versions == {"a2": "1"}


def test_a_held_server_keeps_its_zone() -> None:
    live = Model({"a": Backend(servers={"a1": "10.0.0.1:80", "a2": "10.0.0.2:80"}, zone="x", zones={"a1": "x", "a2": "y"})})
    wanted = Model({"a": Backend(servers={"a3": "10.0.0.3:80"}, zone="x", zones={"a3": "x"})})
    assert with_held(wanted, live, HELD).backends["a"].zones == {"a2": "y", "a3": "x"}
    assert with_held(Model(), live, HELD).backends["a"] == Backend(servers={"a2": "10.0.0.2:80"}, zone="x", zones={"a2": "y"})


def test_a_held_server_keeps_its_data_center() -> None:
    live = Model({"a": Backend(servers={"a2": "10.0.0.2:80"}, failover="dc2", datacenters={"a2": "dc2"})})
    wanted = Model({"a": Backend(servers={"a3": "10.0.0.3:80"}, failover="dc2")})
    assert with_held(wanted, live, HELD).backends["a"].datacenters == {"a2": "dc2"}
    assert with_held(Model(), live, HELD).backends["a"] == live.backends["a"]


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        ({"a": Backend(failover="dc2,dc3")}, {"": {"a1"}, "dc2": {"a2"}, "dc3": {"a3"}}),
        # One that has just come runs before it is in the last good configuration.
        ({"a": Backend(failover="dc2,dc3", datacenters={"a1": "dc2"})}, {"dc2": {"a1", "a2"}, "dc3": {"a3"}}),
        # Nobody asks for that data center any more.
        ({"a": Backend(failover="dc3")}, {"": {"a1"}, "dc3": {"a3"}}),
        ({"a": Backend()}, {"": {"a1"}}),
        # The app itself is missing: as it was.
        ({}, {"": {"a1"}, "dc2": {"a2"}, "dc3": {"a3"}}),
    ],
)
def test_losses_are_measured_in_each_data_center_by_itself(wanted: dict[str, Backend], expected: dict[str, set[str]]) -> None:
    live = Model({"a": Backend(failover="dc2,dc3", datacenters={"a2": "dc2", "a3": "dc3"})})
    found = by_datacenter({"a": ["a1", "a2", "a3"]}, live, Model(wanted))
    assert found == {datacenter: {"a": servers} for datacenter, servers in expected.items()}


def test_with_a_backend_that_is_missing_all_that_was_lost_comes_back_as_it_was() -> None:
    found = with_held(Model({"c": Backend()}, {"/c/": Claim("c", 0, "~")}), LIVE, HELD)
    held = Backend(balance="source", servers={"a2": "10.0.0.2:80"}, weights={"a2": "7"})
    assert found.backends == {"a": held, "b": Backend(), "c": Backend()}
    assert {key: claim.name for key, claim in found.routes.items()} == {"/a/": "a", "h/": "a", "/b/": "b", "/c/": "c"}
    assert found.ports == LIVE.ports


def test_what_was_deleted_while_servers_of_others_are_held_is_gone() -> None:
    found = with_held(Model({"a": Backend()}, {"/a/": Claim("a", 0, "~")}), LIVE, HELD)
    assert found.backends.keys() == {"a"}
    assert found.routes.keys() == {"/a/"}


@pytest.mark.parametrize(
    ("claim", "holder", "refused"),
    [
        (Claim("c", 0, "~"), "a", "c: a already answers on /a/"),
        (Claim("c", 1, "~"), "c", "a: c answers on /a/ with more weight"),
        (Claim("c", 0, "2026"), "c", "a: c answers on /a/ for longer"),
    ],
)
def test_of_what_led_to_it_a_better_claim_takes_its_part(claim: Claim, holder: str, refused: str) -> None:
    found = with_held(Model({"c": Backend()}, {"/a/": claim}), LIVE, HELD)
    assert {key: claim.name for key, claim in found.routes.items()} == {"/a/": holder, "h/": "a", "/b/": "b"}
    assert found.refused == (refused,)


def test_a_server_of_a_backend_that_nobody_knows_is_let_go() -> None:
    assert with_held(Model(), Model(), HELD) == Model()
