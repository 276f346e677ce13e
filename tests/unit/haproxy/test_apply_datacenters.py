"""What comes of facts of other data centers: instances there stand in for those here, and come and go as they do."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.applied import Rig, facts, of, row

from eratos.haproxy.apply import UPDATED, Outcome


class Joined(Rig):
    """A balancer with one app, which has four instances here and four in dc2, all of which live."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, hold_s=0, wholesale_s=60, ERATOS_DATACENTERS="dc2,dc3")
        (self.far,) = [path for name, path in self.settings.far_facts.items() if name == "dc2"]
        self.alive = {f"10.0.0.{ord(name)}:80" for name in "abcdwxyz"}
        self.know("abcd", "wxyz")

    def know(self, near: str, far: str | None, failover: str = "dc1,dc2") -> Outcome:
        """Have Consul know these instances; ``far`` None: consul-template has rendered nothing of dc2."""
        if far is None:
            self.far.unlink()
        else:
            self.far.write_text(facts(app=[row(f"eratos-{name}", ord(name)) for name in far]))
        rows = [row(f"eratos-{name}", ord(name), failover=failover) for name in near]
        return self.apply(facts(app=[*rows, row("none", 1, "critical", failover=failover)]))

    def rotation(self) -> dict[str, int]:
        return {name.removeprefix("eratos-"): weight for name, weight in self.haproxy.weights().items()}


@pytest.fixture
def joined(tmp_path: Path) -> Joined:
    rig = Joined(tmp_path)
    assert rig.rotation() == {**dict.fromkeys("abcd", 256), **dict.fromkeys("wxyz", 1)}
    return rig


def test_instances_elsewhere_come_and_go_without_a_reload(joined: Joined) -> None:
    joined.applier.confirm(["eratos-b", "eratos-c", "eratos-d"], "executor")
    assert joined.know("a", "wxyz").result == UPDATED
    assert joined.rotation() == {"a": 256, **dict.fromkeys("wxyz", 96)}
    joined.applier.confirm(["eratos-a"], "executor")
    assert joined.know("", "wxyz").result == UPDATED
    assert joined.rotation() == dict.fromkeys("wxyz", 256)
    assert joined.know("abcd", "wxyzv").result == UPDATED
    assert joined.rotation() == {**dict.fromkeys("abcd", 256), **dict.fromkeys("vwxyz", 26)}


def test_those_that_haproxy_finds_dead_here_are_stood_in_for(joined: Joined) -> None:
    joined.haproxy.find(**{f"eratos-{name}": "DOWN" for name in "abcd"})
    assert joined.know("abcd", "wxyz").result == UPDATED
    assert joined.rotation() == {**dict.fromkeys("abcd", 1), **dict.fromkeys("wxyz", 256)}


def test_the_first_facts_of_another_data_center_take_no_reload(tmp_path: Path) -> None:
    rig = Joined(tmp_path)
    rig.alive = set()
    assert rig.know("abcd", None).result == UPDATED
    assert rig.rotation() == dict.fromkeys("abcd", 256)
    assert rig.know("abcd", "wxyz").result == UPDATED


@pytest.mark.parametrize("broken", ["{", '{"services": {"app": [{"id": "x"}]}}', "\xff"])
def test_facts_of_another_data_center_that_cannot_be_read_are_named_and_stand_in_nobodys_way(joined: Joined, broken: str) -> None:
    joined.far.write_bytes(broken.encode("latin-1"))
    joined.alive = set()
    assert joined.apply(of("e", failover="dc2")).result == UPDATED
    assert joined.rotation() == {"e": 256}
    (reason,) = joined.applier.left_out()
    assert reason.startswith("facts-dc2.json: ")
    assert joined.know("e", "w").result == UPDATED
    assert joined.applier.left_out() == ()


@pytest.mark.parametrize(("near", "far"), [("", "wxyz"), ("abcd", ""), ("a", "wxyz"), ("", "")])
def test_a_consul_that_forgets_is_not_believed_in_whichever_data_center(joined: Joined, near: str, far: str) -> None:
    before = joined.rotation()
    outcome = joined.know(near, far)
    assert {name.removeprefix("eratos-") for name in outcome.held} == set("abcdwxyz") - set(near + far)
    assert joined.rotation() == before


def test_of_other_registrars_all_that_a_data_center_had_is_held_longer(tmp_path: Path) -> None:
    rig = Joined(tmp_path)
    rig.far.write_text(facts(app=[row(name, ord(name)) for name in "wxyz"]))
    rig.alive = {f"10.0.0.{ord(name)}:80" for name in "wxyz"}
    near = of("a", "b", failover="dc2")
    rig.apply(near)
    rig.far.write_text(facts(app=[]))
    assert rig.apply(near).held == ("w", "x", "y", "z")


def test_what_nobody_asks_for_any_more_is_not_held(joined: Joined) -> None:
    assert joined.know("abcd", "", failover="dc3").held == ()
    assert joined.rotation().keys() == set("abcd")


def test_how_many_services_are_followed_elsewhere(joined: Joined) -> None:
    assert joined.applier.far_services() == 1
    joined.know("abcd", "wxyz", failover="dc3,dc2")
    assert joined.applier.far_services() == 2
    joined.know("abcd", "", failover="dc1")
    assert joined.applier.far_services() == 0
