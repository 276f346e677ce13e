"""How many instances to start and to stop, by table: Marathon's upgradeStrategy, and what counts against its bounds."""

from __future__ import annotations

import pytest
from support.builders import an_app

from eratos.scheduler.core import rollout
from eratos.scheduler.core.instances import Fleet, Instance
from eratos.scheduler.core.mesos_types import Agent, TaskState
from eratos.scheduler.core.state import State


def a_fleet(text: str) -> Fleet:
    """Return a fleet, an instance for each letter: Current, Old, Moving, Stopping (old), current Waiting, Unready, Inactive;
    of yet another version X, of the old one that moves N, of the old one that waits P."""
    state = State()
    for number, letter in enumerate(text):
        state.add(
            Instance(
                f"a.instance-{number}",
                "/a",
                "v1" if letter in "OSNP" else "v0" if letter == "X" else "v2",
                state=None if letter in "WP" else TaskState.STARTING if letter == "U" else TaskState.RUNNING,
                agent=Agent(f"a{number}", f"h{number}"),
                launched_at=100.0 + number,
                stopping=letter == "S",
                inactive=letter == "I",
                moving=letter in "MN",
            )
        )
    return state.fleet("/a")


@pytest.mark.parametrize(
    ("instances", "least", "over", "fleet", "start", "stop"),
    [
        # nothing runs yet, and nothing is to change
        (3, 1.0, 1.0, "", 3, ""),
        (3, 1.0, 1.0, "CCC", 0, ""),
        (3, 1.0, 1.0, "CW", 1, ""),
        # scaled down: what serves nobody first
        (1, 1.0, 1.0, "CCW", 0, "CW"),
        (1, 1.0, 1.0, "CUW", 0, "UW"),
        (1, 1.0, 1.0, "CC", 0, "C"),
        (1, 1.0, 1.0, "CCSI", 0, "C"),  # what stops or was given up is none of the surplus
        (1, 1.0, 1.0, "CCO", 0, "CO"),  # scaled down amid a replacement
        # one after another: one more may exist, all stay ready
        (2, 1.0, 0.0, "OO", 1, ""),
        (2, 1.0, 0.0, "OOU", 0, ""),
        (2, 1.0, 0.0, "OOC", 0, "O"),
        # what stops holds its resources, so it counts against the maximum
        (2, 1.0, 0.0, "OSC", 0, ""),
        (4, 0.5, 0.0, "OOSS", 0, ""),
        (4, 0.5, 0.0, "OOS", 1, ""),
        (4, 0.5, 0.5, "OOSSS", 1, ""),
        # half may go first
        (4, 0.5, 0.0, "OOOO", 0, "OO"),
        (3, 0.5, 0.0, "OOO", 0, "O"),  # ceil(1.5) stay
        # all at once
        (2, 0.0, 0.0, "OO", 0, "OO"),
        (2, 1.0, 1.0, "OO", 2, ""),
        (3, 1.0, 0.5, "OOO", 1, ""),  # floor(1.5) more
        (3, 1.0, 1.0, "CCO", 1, ""),  # no more than are missing
        # moving instances are replaced first, a single one too
        (1, 1.0, 0.0, "M", 1, ""),
        (1, 1.0, 0.0, "MC", 0, "M"),
        (1, 0.0, 0.0, "M", 0, "M"),
        # those given up count neither as there nor as ready
        (2, 1.0, 1.0, "IC", 1, ""),
        (2, 1.0, 0.0, "IOO", 1, ""),
        # more are wanted than before, and fewer
        (4, 1.0, 0.0, "OO", 3, ""),
        (1, 1.0, 0.0, "OO", 0, "O"),
    ],
)
def test_next_steps(instances: int, least: float, over: float, fleet: str, start: int, stop: str) -> None:
    strategy = {"minimumHealthCapacity": least, "maximumOverCapacity": over}
    app = an_app("/a", instances, upgradeStrategy=strategy).with_version("v2")
    steps = rollout.next_steps(app, a_fleet(fleet))
    stopped = "".join(sorted(fleet[int(i.instance_id.rpartition("-")[2])] for i in steps.stop))
    assert (steps.start, steps.start_before, stopped) == (start, 0, stop)


@pytest.mark.parametrize(
    ("instances", "limit", "fleet", "start", "start_before", "stop"),
    [
        # the first new one comes beside the old, and one of these goes once it is ready
        (4, 1, "OOOO", 1, 0, ""),
        (4, 1, "OOOOU", 0, 0, ""),
        (4, 1, "OOOOC", 0, 0, "O"),
        (4, 1, "OOOC", 0, 0, ""),
        # a gate that was passed
        (4, 2, "OOOC", 1, 0, ""),
        (4, 2, "OOOCC", 0, 0, "O"),
        (4, 4, "OCCC", 1, 0, ""),
        # what is missing of either version comes back as what it was
        (4, 1, "OOC", 0, 1, ""),
        (4, 1, "OOOP", 1, 0, "P"),
        (4, 2, "OO", 2, 0, ""),
        (4, 2, "O", 2, 1, ""),
        # fewer new ones than there are: a canary that is taken back half-way, or that was scaled down
        (4, 1, "OOCC", 0, 1, ""),
        (4, 1, "OOOCC", 0, 0, "C"),
        (4, 0, "OOOOC", 0, 0, "C"),
        # scaled at the same time
        (6, 2, "OOOO", 2, 0, ""),
        (2, 1, "OOOO", 0, 0, "OO"),
        (2, 1, "OO", 1, 0, ""),
        # another version still goes first, and what moves is replaced by its own
        (3, 1, "OOX", 1, 0, ""),
        (3, 1, "OOXC", 0, 0, "X"),
        (3, 1, "OXXC", 0, 1, "X"),
        (3, 1, "ONC", 0, 1, ""),
        (3, 1, "OONC", 0, 0, "N"),
        # what serves nobody may go where none that serves may
        (3, 1, "XPOC", 0, 0, "P"),
        # no more than may exist
        (2, 1, "OOS", 1, 0, ""),
        (2, 1, "OOSS", 0, 0, ""),
    ],
)
def test_staged_steps(instances: int, limit: int, fleet: str, start: int, start_before: int, stop: str) -> None:
    app = an_app("/a", instances).with_version("v2")
    steps = rollout.staged_steps(app, app.with_version("v1"), limit, a_fleet(fleet))
    stopped = "".join(sorted(fleet[int(i.instance_id.rpartition("-")[2])] for i in steps.stop))
    assert (steps.start, steps.start_before, stopped) == (start, start_before, stop)


@pytest.mark.parametrize(
    ("limit", "fleet", "start", "start_before", "stop"),
    [
        (1, "OOOC", 0, 0, ""),  # each version has what it is to have, so none goes although it might
        (2, "OOOOCC", 0, 0, "OO"),
        (1, "OOOCC", 0, 0, "C"),
    ],
)
def test_staged_steps_where_half_may_be_missing(limit: int, fleet: str, start: int, start_before: int, stop: str) -> None:
    app = an_app("/a", 4, upgradeStrategy={"minimumHealthCapacity": 0.5, "maximumOverCapacity": 0.5}).with_version("v2")
    steps = rollout.staged_steps(app, app.with_version("v1"), limit, a_fleet(fleet))
    stopped = "".join(sorted(fleet[int(i.instance_id.rpartition("-")[2])] for i in steps.stop))
    assert (steps.start, steps.start_before, stopped) == (start, start_before, stop)


@pytest.mark.parametrize(
    ("instances", "places", "stopped"),
    [
        # numbered from the oldest; within a place the youngest goes
        (3, "z1/h1 z1/h2 z1/h3 z2/h4", [2]),
        (2, "z1/h1 z1/h2 z1/h3 z2/h4", [1, 2]),
        (1, "z1/h1 z1/h2 z1/h3 z2/h4", [1, 2, 3]),  # an even share of one is one, in either zone
        (2, "z1/h1 z1/h2 z2/h3 z2/h4", [1, 3]),
        # where zones are even, or the same, or in one of them, hosts decide
        (3, "z1/h1 z1/h1 z2/h2 z2/h3", [1]),
        (3, "/h1 /h1 /h2 /h3", [1]),
        (3, "/h1 /h1 /h1 /h2 /h3", [1, 2]),
        (2, "/h1 /h1 /h2 /h2", [1, 3]),
        (3, "z1/h1 z1/h1 z1/h1 z1/h2 z1/h3", [1, 2]),
        (2, "z1/h1 z1/h1 z1/h2 z2/h3", [1, 2]),
        (4, "/h1 /h1 /h1 /h2 /h3", [2]),
        (2, "/h1 /h1 /h1 /h1", [2, 3]),
        # and then their age
        (2, "z1/h1 z2/h2 z3/h3", [2]),
        (4, "z1/h1 z1/h2 z2/h3 z2/h4 z3/h5 z3/h6", [3, 5]),
    ],
)
def test_a_fleet_that_is_scaled_down_stays_spread(instances: int, places: str, stopped: list[int]) -> None:
    state = State()
    for number, place in enumerate(places.split()):
        zone, _, host = place.partition("/")
        agent = Agent(host, host, zone=zone)
        found = Instance(f"a.{number}", "/a", "v2", state=TaskState.RUNNING, agent=agent, launched_at=100.0 + number)
        state.add(found)
    steps = rollout.next_steps(an_app("/a", instances).with_version("v2"), state.fleet("/a"))
    assert sorted(int(instance.instance_id[2:]) for instance in steps.stop) == stopped


@pytest.mark.parametrize("over", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("least", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("limit", range(5))
@pytest.mark.parametrize("fleet", ["OOOO", "OOOC", "OOCC", "OOUC", "OOSX", "CCCC", "OONP", "", "OOOOCCCC"])
def test_staged_steps_keep_to_the_bounds(fleet: str, limit: int, least: float, over: float) -> None:
    strategy = {"minimumHealthCapacity": least, "maximumOverCapacity": over}
    app = an_app("/a", 4, upgradeStrategy=strategy).with_version("v2")
    found = a_fleet(fleet)
    steps = rollout.staged_steps(app, app.with_version("v1"), limit, found)
    counts = rollout.count(app, found.tally)
    fewest, most = rollout.bounds(app)
    started = steps.start + steps.start_before
    assert counts.total + started <= max(most, counts.total)
    assert counts.ready - sum(instance.ready(False) for instance in steps.stop) >= min(fewest, counts.ready)


def test_a_deleted_app_stops_all_and_none_twice() -> None:
    steps = rollout.next_steps(None, a_fleet("COSW"))
    assert (steps.start, steps.start_before, len(steps.stop)) == (0, 0, 3)


@pytest.mark.parametrize(
    ("instances", "fleet", "expected"),
    [
        (2, "CC", 0),
        (0, "", 0),
        # what is not there or not ready yet
        (2, "C", 1),
        (2, "CU", 1),
        (4, "CW", 3),
        # what is to go
        (2, "CCC", 1),
        (2, "CCO", 1),
        (1, "CSS", 2),
        (1, "CI", 1),
        # both
        (2, "CO", 2),
        (2, "CUUO", 3),
    ],
)
def test_how_far_an_app_is_from_rest(instances: int, fleet: str, expected: int) -> None:
    app = an_app("/a", instances).with_version("v2")
    assert rollout.distance(app, a_fleet(fleet)) == expected
    assert rollout.at_rest(app, a_fleet(fleet)) == (not expected)


def test_a_deleted_app_is_at_rest_once_nothing_of_it_is_left() -> None:
    assert rollout.distance(None, a_fleet("CS")) == 2
    assert rollout.at_rest(None, a_fleet(""))


@pytest.mark.parametrize(
    ("state", "holds", "left"),
    [
        (TaskState.UNREACHABLE, frozenset({"db"}), 0),
        (TaskState.UNREACHABLE, frozenset(), 1),
        (TaskState.RUNNING, frozenset({"db"}), 1),
    ],
)
def test_a_deletion_does_not_wait_for_what_is_known_for_its_volume_alone(
    state: TaskState, holds: frozenset[str], left: int
) -> None:
    world = State()
    world.add(Instance("a.instance-1", "/a", "v1", state=state, agent=Agent("a1", "h1"), stopping=True, holds=holds))
    assert rollout.distance(None, world.fleet("/a")) == left


@pytest.mark.parametrize(("fleet", "expected"), [("", 0), ("CUCO", 3), ("CW", 1), ("CSIMX", 1)])
def test_instances_that_are_as_wanted_and_have_a_task_are_counted(fleet: str, expected: int) -> None:
    assert rollout.launched(an_app("/a", 9).with_version("v2"), a_fleet(fleet)) == expected


@pytest.mark.parametrize(
    ("instances", "least", "over", "expected"),
    [(4, 0.5, 0.5, (2, 6)), (3, 0.5, 0.5, (2, 4)), (10, 0.99, 0.0, (10, 11)), (1, 1.0, 1.0, (1, 2)), (1, 1.0, 0.0, (1, 2))],
)
def test_bounds(instances: int, least: float, over: float, expected: tuple[int, int]) -> None:
    strategy = {"minimumHealthCapacity": least, "maximumOverCapacity": over}
    assert rollout.bounds(an_app("/a", instances, upgradeStrategy=strategy)) == expected


@pytest.mark.parametrize(("selection", "order"), [("YOUNGEST_FIRST", "PWUSIXOC"), ("OLDEST_FIRST", "WPUSCOXI")])
def test_what_serves_nobody_goes_first_and_then_by_age(selection: str, order: str) -> None:
    letters = "COXISUWP"  # from the oldest to the youngest
    found = rollout.stop_order(an_app("/a", killSelection=selection).with_version("v2"), a_fleet(letters).instances.values())
    assert "".join(letters[int(instance.instance_id.rpartition("-")[2])] for instance in found) == order


@pytest.mark.parametrize(
    ("share", "new", "old", "weights"),
    [
        (0, 3, 3, (0, 100)),
        (100, 3, 3, (100, 0)),
        (50, 3, 3, (100, 100)),
        (60, 1, 1, (100, 67)),
        (20, 5, 5, (25, 100)),
        (80, 5, 5, (100, 25)),
        (20, 2, 3, (38, 100)),  # 75 to 300, which is a fifth of both
        (20, 1, 4, (100, 100)),
        (1, 10, 10, (1, 100)),
        (1, 1000, 1, (1, 100)),  # less than 1 would be nothing
        (99, 1, 1000, (100, 1)),
        (50, 2, 1, (50, 100)),
        (0, 0, 3, (0, 100)),
        (10, 0, 3, (0, 100)),
        (10, 3, 0, (100, 0)),
        (0, 3, 0, (0, 100)),
    ],
)
def test_weights_give_new_servers_their_share(share: int, new: int, old: int, weights: tuple[int, int]) -> None:
    assert rollout.weights(share, new, old) == weights


@pytest.mark.parametrize(
    ("fleet", "limit", "start", "start_before", "stop"),
    [
        ("OO", 3, 3, 0, ""),
        ("OO", 1, 1, 0, ""),  # paused
        ("OOCCC", 3, 0, 0, ""),
        ("OCC", 3, 1, 1, ""),
        ("", 3, 3, 2, ""),
        ("OOCCCC", 3, 0, 0, "C"),
        ("OOOCCC", 3, 0, 0, "O"),
        ("OOSCCC", 3, 0, 0, ""),
        ("OOXCCC", 3, 0, 0, "X"),  # of yet another version
        ("ONCCC", 3, 0, 1, ""),  # its place is taken before it goes
        ("OONCCC", 3, 0, 0, "N"),
        ("OOCCM", 3, 1, 0, ""),
        ("OOWWW", 3, 0, 0, ""),
    ],
)
def test_two_whole_fleets_are_each_kept_as_one(fleet: str, limit: int, start: int, start_before: int, stop: str) -> None:
    strategy = {"upgradeStrategy": {"minimumHealthCapacity": 1, "maximumOverCapacity": 0}}
    new = an_app("/a", 3, **strategy).with_version("v2")
    old = an_app("/a", 2, **strategy).with_version("v1")
    found = a_fleet(fleet)
    steps = rollout.beside_steps(new, old, limit, found)
    letters = {f"a.instance-{number}": letter for number, letter in enumerate(fleet)}
    assert (steps.start, steps.start_before) == (start, start_before)
    assert "".join(sorted(letters[i.instance_id] for i in steps.stop)) == stop
