"""Where instances with volumes may move to, and when it is their turn."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from functools import partialmethod

import pytest
from support.builders import an_app, an_offer
from support.core import Core, of
from support.moving import Cluster, db, killed

from eratos.scheduler.core import actions, move_hosts, move_status, offers, rebalance
from eratos.scheduler.core.records import VolumeRecord
from eratos.scheduler.core.state import Move


def test_instances_of_one_app_move_one_after_another_and_as_many_stay_ready_as_for_a_rollout() -> None:
    core = Cluster(db(instances=2))
    core.drain()
    both = core.tasks()
    assert len(core.state.moves) == 2
    (first,) = killed(core.offer(an_offer("a2"), an_offer("a3")))
    (second,) = set(both) - {first}
    waits = core.shown()["waits"]
    assert any("another instance of the app moves first" in said["message"] for said in waits)
    core.status(first, "KILLED", agent="a1")
    ((copy, agent),) = [
        (launch.task_id, accept.agent_id)
        for accept in of(actions.Accept, core.offer(an_offer("a2"), an_offer("a3")))
        for launch in accept.launches
    ]
    core.status(copy, "FINISHED", agent=agent)
    (started,) = core.launch(an_offer(agent))
    assert not killed(core.offer(an_offer("a2"), an_offer("a3"))), "the first one is not ready yet"
    assert any("1 of the app's instances must stay ready" in said["message"] for said in core.shown()["waits"])
    core.status(started, "RUNNING", agent=agent)
    assert killed(core.offer(an_offer("a2"), an_offer("a3"))) == [second]


def test_few_move_away_from_one_host_at_a_time_and_what_has_no_room_keeps_nobody_waiting() -> None:
    large = db("/a", constraints=[["hostname", "LIKE", "host-a1"]])
    core = Cluster(large, *(db(app_id) for app_id in ("/b", "/c", "/d")))
    core.drain()
    assert len(core.state.moves) == 4
    core.offer(an_offer("a2"))
    assert len(core.begun()) == move_hosts.FROM_HOST_MOST and "/a" not in core.begun()
    (last,) = {"/b", "/c", "/d"} - set(core.begun())
    assert "2 others move away from host-a1 first" in core.explained(last)["VolumeMove"]["message"]
    for app_id in core.begun():
        core.status(core.tasks(app_id)[0], "KILLED", agent="a1")
    for copy in core.copied(an_offer("a2")):
        core.status(copy, "FINISHED", agent="a2")
    core.run(an_offer("a2"))
    core.offer(an_offer("a2"))
    assert core.begun() == [last]


def test_while_it_is_deployed_it_is_not_stopped_for_a_move() -> None:
    core = Cluster(db(instances=2, upgradeStrategy={"minimumHealthCapacity": 0, "maximumOverCapacity": 0}))
    core.put(db(instances=2, cpus=0.2, dependencies=["/away"]), an_app("/away", cpus=100))
    core.drain()
    assert core.state.changes and core.state.moves
    assert not killed(core.offer(an_offer("a2")))
    assert "the app is being deployed by" in core.explained()["VolumeMove"]["message"]


def test_what_a_move_has_to_wait_for_is_found_once_for_all_that_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    looked, records = Counter[int](), move_status.records
    counts = []
    for number in (10, 40):
        core = Cluster(*(db(f"/db{n}", cpus=0.1, mem=32) for n in range(number)))
        core.drain()
        looked.clear()
        monkeypatch.setattr(move_status, "records", lambda state, slot: looked.update([0]) or records(state, slot))
        core.offer(an_offer("a3", cpus=0.001))
        monkeypatch.undo()
        assert len(core.state.moves) == number
        counts.append(looked[0])
    assert counts[1] <= 4 * counts[0], "it costs by the moves, not by the pairs of them"


def test_moves_that_begin_together_do_not_all_go_to_the_host_with_most_room() -> None:
    core = Cluster(db("/x", cpus=1), db("/y", cpus=1))
    core.drain()
    core.offer(an_offer("a2", cpus=1.9), an_offer("a3", cpus=1.5))
    assert {record.move_to for record in core.state.volumes.values()} == {"host-a2", "host-a3"}


@pytest.mark.parametrize("ended", [False, True])
def test_a_move_leaves_the_room_of_one_that_began_before(ended: bool) -> None:
    """Its instance would be stopped, and wait for what the other one takes."""
    core = Cluster(db("/x", cpus=1), db("/y", cpus=1))
    core.drain()
    core.offer(an_offer("a2", cpus=1.9))
    (first,) = core.begun()
    if ended:
        core.status(core.tasks(first)[0], "KILLED", agent="a1")
    else:
        core.offer(an_offer("a2", cpus=1.9))
        assert core.begun() == [first]
        (waiting,) = [move for move in core.state.moves.values() if move.app_id != first]
        assert waiting.lacks == "host-a2 has room for others that move there, and no more"
    core.offer(an_offer("a2", cpus=2.9))
    assert core.begun() == ["/x", "/y"]


@pytest.mark.parametrize("small", ["/a", "/b", "/c"])
def test_moves_take_turns_where_one_pass_cannot_look_at_hosts_for_all(monkeypatch: pytest.MonkeyPatch, small: str) -> None:
    core = Cluster(*(db(app_id, cpus=0.5 if app_id == small else 1.1) for app_id in ("/a", "/b", "/c")))
    monkeypatch.setattr(move_hosts.Begun, "__init__", partialmethod(move_hosts.Begun.__init__, 1))
    core.drain()
    for _ in range(3):
        core.offer(an_offer("a2", cpus=1))
    assert core.begun() == [small]


BROKEN = VolumeRecord("v1", "/bad", "s1", "data", 1, "a9", "host-a9", 1.0)


def with_a_broken_move() -> Core:
    """Return a core with a move that no record stands for, as only a fault of ours leaves it."""
    core = Core()
    core.subscribe()
    core.put(an_app("/a"))
    core.machine.state.slots["/bad"] = {"s1": {BROKEN.volume_id: BROKEN}}
    core.machine.state.moves["s1"] = Move("/bad")
    return core


def test_a_move_that_is_broken_keeps_no_app_from_being_placed() -> None:
    step = with_a_broken_move().machine.step
    offers.receive(step, (an_offer("a1"),))
    offers.place(step)
    accepted = of(actions.Accept, step.out.calls)
    assert [launch.payload.app_id for accept in accepted for launch in accept.launches] == ["/a"]


def test_a_move_that_is_broken_keeps_no_app_from_being_evened_out() -> None:
    step = with_a_broken_move().machine.step
    step.settings = replace(step.settings, rebalance_budget=1)
    rebalance.even_out(step)
    assert [notice.fields["app"] for notice in step.out.notices if notice.level == "error"] == ["/bad"]
