"""Which clusters may be broken."""

from __future__ import annotations

from typing import Any

import pytest
from devtool import health
from devtool.chaos import ground
from devtool.terminal import Problem
from support.chaos import PARTS, SETTINGS


@pytest.fixture
def a_cluster(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """A whole cluster, as far as it is asked before anything is broken."""
    state: dict[str, Any] = {"containers": list(PARTS.containers.values()), "unmarked": set(), "missing": {}}

    def inspect(words: list[str], **_: Any) -> str:
        ids = [word for word in words if word.startswith("id-")]
        return "\n".join(f"{'' if one in state['unmarked'] else 'allowed'} /eratos-{one[3:]}-1" for one in ids)

    monkeypatch.setattr(ground.cluster, "containers", lambda project: state["containers"])
    monkeypatch.setattr(ground, "run", inspect)
    monkeypatch.setattr(health, "missing", lambda settings: dict(state["missing"]))
    return state


def test_a_whole_cluster_of_ours_may_be_broken(a_cluster: dict[str, Any]) -> None:
    ground.require(SETTINGS)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"containers": []}, "is down"),
        ({"unmarked": {"id-agent2"}}, "not marked for chaos: eratos-agent2-1"),
        ({"missing": {"Mesos": "agent3 is not registered"}}, "not whole: Mesos: agent3"),
        ({"containers": [one for one in PARTS.containers.values() if one.service != "consul2"]}, "consul2: does not run"),
    ],
)
def test_no_cluster_one_that_is_not_ours_and_one_that_is_half_up_are_refused(
    a_cluster: dict[str, Any], change: dict[str, Any], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ground, "PATIENCE_S", 0.0)
    a_cluster.update(change)
    with pytest.raises(Problem, match=message):
        ground.require(SETTINGS)


def test_a_part_that_answers_too_late_once_is_asked_again(a_cluster: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    looks = iter([{"Mesos": "master1 does not answer"}, {}])
    monkeypatch.setattr(ground, "POLL_S", 0.0)
    monkeypatch.setattr(health, "missing", lambda settings: next(looks))
    ground.require(SETTINGS)
    assert not list(looks)
