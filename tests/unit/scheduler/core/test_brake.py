"""When the disaster brake engages and when it lets go, by table."""

from __future__ import annotations

import pytest

from eratos.scheduler.core.brake import HOSTS_LEAST, WINDOW_S, Brake


def lost(hosts: int, of: int, every_s: float = 0.0, share: float = 0.2) -> Brake:
    """Lose hosts with one task each, one after another, and assess after each."""
    brake = Brake(share)
    for number in range(hosts):
        brake.lose(f"h{number}", of - number, of - number, 1000.0 + number * every_s)
        brake.assess(0, of, 1000.0 + number * every_s)
    return brake


@pytest.mark.parametrize(
    ("hosts", "of", "every_s", "engaged"),
    [
        (HOSTS_LEAST, 10, 0.0, True),
        (HOSTS_LEAST - 1, 3, 0.0, False),  # everyday business, however small the cluster
        (HOSTS_LEAST, 100, 0.0, False),  # less than the share
        (20, 100, 0.0, True),
        (HOSTS_LEAST, 10, WINDOW_S / 3, True),
        (HOSTS_LEAST, 10, WINDOW_S, False),  # losses that are far apart do not add up
        (10, 10, 7 * 24 * 3600.0, False),
    ],
)
def test_losses_that_come_together_engage_it(hosts: int, of: int, every_s: float, engaged: bool) -> None:
    assert lost(hosts, of, every_s).engaged == engaged


def test_losses_of_before_the_window_are_forgotten() -> None:
    brake = lost(2, 10)
    brake.assess(0, 8, 1000.0 + WINDOW_S)
    assert not brake.lost


def test_a_share_of_nothing_never_engages_it() -> None:
    assert not lost(10, 10, share=0.0).engaged


def test_it_lets_go_when_most_hosts_are_back() -> None:
    brake = lost(3, 10)
    brake.alive("h0")
    assert not brake.assess(0, 8, 1001.0) and brake.engaged
    brake.alive("h1")
    brake.alive("h2")
    assert brake.assess(0, 10, 1002.0) and not brake.engaged


@pytest.mark.parametrize(("unknown", "tasks", "engaged"), [(9, 10, False), (10, 10, True), (19, 100, False), (20, 100, True)])
def test_tasks_without_a_record_engage_it(unknown: int, tasks: int, engaged: bool) -> None:
    brake = Brake()
    brake.assess(unknown, tasks, 1000.0)
    assert brake.engaged == engaged


def test_unknown_tasks_of_a_release_are_pardoned_and_no_others() -> None:
    brake = Brake()
    brake.assess(20, 20, 1000.0)
    brake.release(20)
    brake.assess(20, 20, 1001.0)
    assert not brake.engaged
    brake.assess(31, 20, 1002.0)
    assert brake.engaged


@pytest.mark.parametrize(
    ("losses", "hosts", "tasks", "engaged"),
    [
        ({"h0": 1, "h1": 1, "h2": 18}, 100, 100, True),  # few hosts, but a fifth of the tasks
        ({"h0": 1, "h1": 1, "h2": 17}, 100, 100, False),
        ({"h0": 1, "h1": 1, "h2": 1}, 15, 1000, True),  # few tasks, but a fifth of the hosts
        ({"h0": 1, "h1": 1, "h2": 1}, 16, 1000, False),
        ({"h0": 50, "h1": 50}, 100, 100, False),  # two hosts are everyday business
        ({"h0": 1, "h1": 1, "h2": 1}, 0, 0, True),  # nothing was counted: what is lost counts whole
    ],
)
def test_the_larger_share_of_hosts_and_tasks_counts(losses: dict[str, int], hosts: int, tasks: int, engaged: bool) -> None:
    brake = Brake()
    for host, count in losses.items():
        for _ in range(count):
            brake.lose(host, hosts, tasks, 1000.0)
    brake.assess(0, tasks, 1000.0)
    assert brake.engaged == engaged
    if engaged:
        count = sum(losses.values())
        assert f"{len(losses)} of {hosts} hosts with {count} of {tasks} tasks were lost within 60 s" in brake.reason


@pytest.mark.parametrize(
    ("hosts", "back", "unknown", "tasks", "released"),
    [
        (20, 0, 0, 100, False),
        (20, 2, 0, 100, False),  # a tenth is still lost
        (20, 3, 0, 100, True),
        (11, 3, 0, 100, True),  # just less than a tenth
        (10, 3, 0, 100, False),
        (20, 3, 19, 100, True),
        (20, 3, 20, 100, False),  # tasks without a record are as many as engage it
        (20, 3, 9, 10, True),
        (20, 3, 10, 10, False),
    ],
)
def test_it_lets_go_when_less_than_half_of_what_engages_it_is_lost(
    hosts: int, back: int, unknown: int, tasks: int, released: bool
) -> None:
    brake = Brake()
    for number in range(4):
        brake.lose(f"h{number}", hosts, 100, 1000.0)
    assert not brake.assess(0, 100, 1000.0) and brake.engaged
    for number in range(back):
        brake.alive(f"h{number}")
    assert brake.assess(unknown, tasks, 1001.0) == released
    assert brake.engaged != released and bool(brake.reason) != released


def test_what_is_lost_is_a_share_of_what_there_was_before_the_first_loss() -> None:
    brake = Brake()
    for number in range(3):
        brake.lose(f"h{number}", 16 - number, 1000 - number, 1000.0)  # 3 of 14 would be a fifth
    assert not brake.assess(0, 997, 1000.0) and not brake.engaged


def test_a_release_without_a_number_pardons_nobody() -> None:
    brake = Brake()
    brake.assess(10, 10, 1000.0)
    assert brake.engaged_at == 1000.0 and brake.reason.startswith("10 tasks run that the store knows nothing of, and 10 that")
    brake.release()
    brake.assess(10, 10, 1001.0)
    assert brake.engaged


def test_a_pardon_shrinks_with_the_tasks_that_it_was_for() -> None:
    brake = Brake()
    brake.release(20)
    brake.assess(5, 10, 1000.0)  # fifteen of them are gone
    brake.assess(14, 10, 1001.0)
    assert not brake.engaged
    brake.assess(15, 10, 1002.0)
    assert brake.engaged
