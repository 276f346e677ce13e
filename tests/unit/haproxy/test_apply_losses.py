"""What comes of facts in which servers are missing: held back, or gone at once."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from support.applied import Rig, facts, of, row

from eratos.haproxy import apply
from eratos.haproxy.apply import RELOADED, UPDATED, Outcome
from eratos.haproxy.core.guard import CONFIRMED_FOR_S
from eratos.haproxy.core.haproxy_text import DIGEST_KEY


def test_a_sharp_loss_of_living_servers_is_held_back_and_additions_go_in(rig: Rig) -> None:
    rig.alive = {f"10.0.0.{ord(name)}:80" for name in "bcd"}
    outcome = rig.apply(of("a", "e"))
    assert outcome == Outcome(UPDATED, ("b", "c", "d"))
    assert rig.haproxy.serves() == {"a", "b", "c", "d", "e"}
    assert rig.applier.status()["held"] == ["b", "c", "d"]


def test_of_a_sharp_loss_the_dead_go_at_once(rig: Rig) -> None:
    rig.alive = {f"10.0.0.{ord('b')}:80"}
    assert rig.apply(of("a")) == Outcome(UPDATED, ("b",))
    assert rig.haproxy.serves() == {"a", "b"}


def test_who_is_about_to_leave_is_known_for_as_long_as_a_confirmation_counts(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    rig.applier.confirm(["a"], "executor")
    rig.applier.confirm(["b"], "another")
    assert rig.applier.leaving() == {"a", "b"}
    monkeypatch.setattr(apply.time, "monotonic", lambda now=time.monotonic: now() + CONFIRMED_FOR_S)
    assert rig.applier.leaving() == set()


def test_a_confirmed_removal_is_made_at_once(rig: Rig) -> None:
    rig.alive = {f"10.0.0.{ord(name)}:80" for name in "abcd"}
    rig.applier.confirm(["b", "c", "d"], "executor")
    assert rig.apply(of("a")) == Outcome(UPDATED)
    assert rig.haproxy.serves() == {"a"}


def test_a_whole_living_app_that_was_lost_keeps_its_route_and_all_else_goes_in(rig: Rig) -> None:
    rig.apply(facts(app=[row("a", 97, path="/x")]))
    rig.alive = {"10.0.0.97:80"}
    other = facts(new=[row("n", 2, path="/y")], other=[row("o", 1, path="/x")])
    assert rig.apply(other) == Outcome(RELOADED, ("a",))
    assert rig.haproxy.serves() == {"a", "n", "o"}
    assert rig.haproxy.routes == {"/x/": "app", "/y/": "new", DIGEST_KEY: rig.haproxy.running().routes}
    assert rig.applier.left_out() == ("other: app already answers on /x/",)
    rig.applier.confirm(["a"], "executor")
    assert rig.apply(other) == Outcome(RELOADED)
    assert rig.haproxy.serves() == {"n", "o"}
    assert rig.haproxy.routes["/x/"] == "other"


def test_what_was_held_long_enough_goes(tmp_path: Path) -> None:
    rig = Rig(tmp_path, hold_s=0)
    rig.apply(of("a", "b", "c", "d"))
    rig.alive = {f"10.0.0.{ord(name)}:80" for name in "abcd"}
    assert rig.apply(of("a")) == Outcome(UPDATED)


def apps(*names: str, known: str = "", **meta: str) -> str:
    """Return the facts of apps with one instance each; ``known``: of apps that have none, and keep their route."""
    here = {name: [row(f"{name}1", ord(name), path=f"/{name}", **meta)] for name in names}
    return facts(**here, **{name: [row("none", 1, "critical", path=f"/{name}")] for name in known if name not in names})


@pytest.fixture
def single(tmp_path: Path) -> Rig:
    """A balancer of four apps with one instance each, all of which live."""
    rig = Rig(tmp_path, hold_s=0, wholesale_s=60)
    rig.apply(apps("a", "b", "c", "d"))
    rig.alive = {f"10.0.0.{ord(name)}:80" for name in "abcd"}
    return rig


ALL = {"a1", "b1", "c1", "d1"}


@pytest.mark.parametrize("kept", ["", "a"], ids=["nothing", "little"])
@pytest.mark.parametrize("placeholders", [False, True], ids=["bare", "placeholders"])
def test_an_answer_of_consul_that_lost_most_empties_nothing(single: Rig, kept: str, placeholders: bool) -> None:
    outcome = single.apply(apps(*kept, known="abcd" if placeholders else ""))
    assert set(outcome.held) == {name for name in ALL if name[0] != kept}
    assert single.haproxy.serves() == ALL
    assert set(single.applier.live().pools) == {*"abcd", "eratos:none"}
    # They come back one by one, with new ones among them; those that are not back yet stay.
    assert set(single.apply(apps("a", "b", "c")).held) == {"d1"}
    assert single.haproxy.serves() == ALL
    assert single.apply(apps("a", "b", "c", "d")).held == ()


def test_while_most_is_held_planned_stops_and_crashes_go_at_once_and_known_apps_get_new_instances(single: Rig) -> None:
    single.apply(apps())
    single.applier.confirm(["a1"], "executor")
    single.alive.discard(f"10.0.0.{ord('b')}:80")
    single.apply(apps())
    assert single.haproxy.serves() == {"c1", "d1"}
    single.apply(facts(c=[row("c2", 9, path="/c")]))
    assert single.haproxy.serves() == {"c1", "c2", "d1"}


def test_what_haproxys_checks_have_found_dead_is_not_held(single: Rig) -> None:
    single.haproxy.statuses = {"a1": "DOWN"}
    single.apply(apps("a", "b", "c", "d", balance="random"))  # a reload, so that the fake shows it
    assert set(single.apply(apps()).held) == ALL - {"a1"}


def test_where_another_instance_listens_by_now_a_server_is_gone(tmp_path: Path) -> None:
    rig = Rig(tmp_path, hold_s=60, wholesale_s=60)
    rig.apply(apps("a", "b", "c", "d"))
    rig.alive = {f"10.0.0.{ord(name)}:80" for name in "abcd"}
    # A host has come back with new tasks on the ports of the dead ones: what accepts there is not who was lost.
    new = {"a": [row("b9", ord("b"), path="/a")], "other": [row("c9", ord("c"), group="internal")]}
    critical = {"x": [row("d9", ord("d"), "critical")]}
    assert set(rig.apply(facts(**new, **critical)).held) == {"a1", "d1"}
    assert rig.haproxy.serves() == {"a1", "b9", "d1"}


@pytest.mark.parametrize("confirmed", [True, False], ids=["confirmed", "crashed"])
def test_the_one_instance_of_an_app_goes_at_once_when_confirmed_or_dead(tmp_path: Path, confirmed: bool) -> None:
    rig = Rig(tmp_path, hold_s=60, wholesale_s=60)
    rig.apply(apps("a", "b"))
    if confirmed:
        rig.alive = {f"10.0.0.{ord('a')}:80"}
        rig.applier.confirm(["a1"], "executor")
    assert rig.apply(apps("b")).held == ()
    assert rig.haproxy.serves() == {"b1"}


def test_the_one_instance_of_an_app_that_vanishes_alive_is_held_as_long_as_any_other(tmp_path: Path) -> None:
    rig = Rig(tmp_path, hold_s=60, wholesale_s=60)
    rig.apply(apps("a", "b"))
    rig.alive = {f"10.0.0.{ord('a')}:80"}
    assert rig.apply(apps("b")).held == ("a1",)
    assert rig.haproxy.serves() == {"a1", "b1"}


@pytest.mark.parametrize("status", ["", "critical"], ids=["forgotten", "critical"])
def test_of_one_app_among_several_what_consul_has_forgotten_is_held_and_what_is_critical_is_not(
    tmp_path: Path, status: str
) -> None:
    rig = Rig(tmp_path, hold_s=0, wholesale_s=60)
    others = [row(f"b{number}", number, path="/b") for number in range(1, 5)]
    rig.apply(facts(a=[row("eratos-a1", 97, path="/a")], b=others))
    rig.alive = {"10.0.0.97:80"}
    left = [row("eratos-a1", 97, status, path="/a")] if status else [row("none", 1, "critical", path="/a")]
    assert rig.apply(facts(a=left, b=others)).held == (() if status else ("eratos-a1",))
