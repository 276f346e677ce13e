"""The core's clock beside a machine's clock that is put forward, put back, or asleep."""

from __future__ import annotations

import pytest

from eratos.scheduler.clock import AHEAD_PACE, Clock


class Machine:
    """A machine whose date can be set."""

    def __init__(self) -> None:
        self.wall = 1_000_000.0
        self.passed = 50.0
        self.clock = Clock(lambda: self.wall, lambda: self.passed)

    def run(self, seconds: float) -> None:
        self.wall += seconds
        self.passed += seconds


@pytest.fixture
def machine() -> Machine:
    return Machine()


def test_it_reads_what_the_machine_reads(machine: Machine) -> None:
    for seconds in (0.0, 0.5, 3600.0):
        machine.run(seconds)
        assert machine.clock() == machine.wall


@pytest.mark.parametrize("slept_s", [1.0, 8 * 3600.0])
def test_after_a_suspend_the_date_is_right_at_once(machine: Machine, slept_s: float) -> None:
    machine.wall += slept_s  # the monotonic clock stood still
    assert machine.clock() == machine.wall
    machine.run(10)
    assert machine.clock() == machine.wall


def test_a_clock_put_back_makes_no_time_twice_and_is_met_again_after_twice_the_step(machine: Machine) -> None:
    ahead = machine.clock()
    machine.wall -= 100
    assert machine.clock() == ahead
    times = [ahead]
    for _ in range(20):
        machine.run(10)
        times.append(machine.clock())
    assert times == sorted(set(times)), "it went back or stood still"
    assert times[1] - times[0] == pytest.approx(10 * AHEAD_PACE)
    assert times[-2] > machine.wall - 10
    assert times[-1] == pytest.approx(machine.wall)
    machine.run(10)
    assert machine.clock() == machine.wall


def test_how_often_it_is_read_changes_nothing(machine: Machine) -> None:
    other = Clock(lambda: machine.wall, lambda: machine.passed)
    machine.wall -= 100
    for _ in range(60):
        machine.run(1)
        machine.clock()
    assert machine.clock() == pytest.approx(other())
