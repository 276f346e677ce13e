"""How many instances to start and to stop, by table: Marathon's upgradeStrategy, and what counts against its bounds."""

from __future__ import annotations

import pytest
from support.builders import an_app

from eratos.scheduler.core import rollout
from eratos.scheduler.core.mesos import Agent, TaskState
from eratos.scheduler.core.state import Fleet, Instance, State


def a_fleet(text: str) -> Fleet:
    """Return a fleet, an instance for each letter: Current, Old, Moving, Stopping (old), current Waiting, Unready, Inactive."""
    state = State()
    for number, letter in enumerate(text):
        state.add(
            Instance(
                f"a.instance-{number}",
                "/a",
                "v1" if letter in "OS" else "v2",
                state=None if letter == "W" else TaskState.STARTING if letter == "U" else TaskState.RUNNING,
                agent=Agent(f"a{number}", f"h{number}"),
                launched_at=100.0 + number,
                stopping=letter == "S",
                inactive=letter == "I",
                moving=letter == "M",
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
    assert (steps.start, stopped) == (start, stop)


def test_a_deleted_app_stops_all_and_none_twice() -> None:
    assert len(rollout.next_steps(None, a_fleet("COSW")).stop) == 3


@pytest.mark.parametrize(
    ("instances", "fleet", "expected"),
    [(2, "CC", True), (2, "C", False), (2, "CU", False), (2, "CW", False), (2, "CO", False), (1, "CS", False), (0, "", True)],
)
def test_at_rest(instances: int, fleet: str, expected: bool) -> None:
    assert rollout.at_rest(an_app("/a", instances).with_version("v2"), a_fleet(fleet)) == expected


@pytest.mark.parametrize(
    ("instances", "least", "over", "expected"),
    [(4, 0.5, 0.5, (2, 6)), (3, 0.5, 0.5, (2, 4)), (10, 0.99, 0.0, (10, 11)), (1, 1.0, 1.0, (1, 2)), (1, 1.0, 0.0, (1, 2))],
)
def test_bounds(instances: int, least: float, over: float, expected: tuple[int, int]) -> None:
    strategy = {"minimumHealthCapacity": least, "maximumOverCapacity": over}
    assert rollout.bounds(an_app("/a", instances, upgradeStrategy=strategy)) == expected
