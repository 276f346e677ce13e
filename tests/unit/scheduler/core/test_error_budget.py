"""How much of an error budget is left by what balancers count: the tables of the formula."""

from __future__ import annotations

import pytest

from eratos.marathon.error_budget import ErrorBudget
from eratos.scheduler.core.error_budget import KEPT_S, STEPS, Balance, Count, Ledger, ServiceFigures
from eratos.scheduler.core.records import BudgetRecord

#: The begin of a step of every window below.
T0 = 1_800_000_000.0
HOUR = 3600
STEP = 60


def budget(objective: float = 99.9, window: str = "1h", least: int = 50) -> ErrorBudget:
    return ErrorBudget.model_validate({"objective": objective, "window": window, "minRequests": least})


def answered(requests: int, failed: int = 0, *, balancer: str = "b1", service: str = "web") -> ServiceFigures:
    return ServiceFigures(balancer, service, requests, failed)


def ledger(*looks: tuple[float, list[ServiceFigures]], of: ErrorBudget | None = None) -> Ledger:
    """Return a ledger after looks, each so many seconds after T0."""
    found = Ledger()
    for at, figures in looks:
        found.add(T0 + at, of or budget(), figures, "")
    return found


def after(requests: int, failed: int, of: ErrorBudget | None = None) -> Ledger:
    return ledger((0, [answered(0)]), (2, [answered(requests, failed)]), of=of)


@pytest.mark.parametrize(
    ("objective", "requests", "failed", "allowed", "remaining", "spent"),
    [
        (99.9, 100_000, 0, 100, 1.0, False),
        (99.9, 100_000, 25, 100, 0.75, False),
        (99.9, 100_000, 99, 100, 0.01, False),
        (99.9, 100_000, 100, 100, 0.0, True),
        (99.9, 100_000, 250, 100, -1.5, True),
        (99, 200, 1, 2, 0.5, False),
        (99, 200, 2, 2, 0.0, True),
        (50, 100, 100, 50, -1.0, True),
        (99.999, 1_000_000, 10, 10, 0.0, True),
        (99.9, 50, 0, 0.05, 1.0, False),
        (99.9, 50, 1, 0.05, -19.0, True),
        (99.9, 49, 49, 0.049, None, False),  # too few to judge by
        (99.9, 0, 0, 0, None, False),
    ],
)
def test_what_is_left_is_a_share_of_what_may_fail(
    objective: float, requests: int, failed: int, allowed: float, remaining: float | None, spent: bool
) -> None:
    found = after(requests, failed, budget(objective))
    assert (found.balance.requests, found.balance.failed) == (requests, failed)
    assert found.balance.allowed == pytest.approx(allowed)
    assert found.balance.remaining == (None if remaining is None else pytest.approx(remaining))
    assert found.spent is spent


@pytest.mark.parametrize(
    ("earlier", "late", "rate"),
    [
        ((0, 0), (1000, 1), 1.0),
        ((0, 0), (1000, 20), 20.0),
        ((9000, 900), (1000, 1), 1.0),  # of the last steps alone
        ((9000, 900), (0, 0), 0.0),
        ((1000, 10), (1000, 0), 0.0),
    ],
)
def test_the_burn_rate_is_told_of_a_twelfth_of_the_window(earlier: tuple[int, int], late: tuple[int, int], rate: float) -> None:
    total = earlier[0] + late[0], earlier[1] + late[1]
    looks = (2, [answered(*earlier)]), (5 * STEP, [answered(*earlier)]), (6 * STEP, [answered(*total)])
    found = ledger((0, [answered(0)]), *looks)
    assert found.balance.burn_rate == pytest.approx(rate)


def test_the_burn_rate_counts_five_steps() -> None:
    looks = [(STEP * number, [answered(1000 * number, number if number < 2 else 1)]) for number in range(7)]
    assert ledger(*looks[:6]).balance.burn_rate == pytest.approx(0.2)  # the failure of the second step, of five
    assert ledger(*looks).balance.burn_rate == 0.0


@pytest.mark.parametrize(
    ("later", "requests", "failed"),
    [
        (HOUR - STEP - 1, 1000, 10),
        (HOUR - 1, 1000, 10),
        (HOUR, 0, 0),  # the step of the failures is over an hour old by its begin
        (2 * HOUR, 0, 0),
    ],
)
def test_the_window_ends_by_a_step_at_a_time(later: float, requests: int, failed: int) -> None:
    found = ledger((0, [answered(0)]), (1, [answered(1000, 10)]), (later, [answered(1000, 10)]))
    assert (found.balance.requests, found.balance.failed) == (requests, failed)
    assert len(found.counts) == bool(requests)


@pytest.mark.parametrize(("later", "requests"), [(HOUR - 1, 1000), (HOUR, 0)])
def test_the_window_moves_on_while_nobody_looks(later: float, requests: int) -> None:
    found = after(1000, 10)
    found.settle(T0 + later, budget())
    assert found.balance.requests == requests


def test_looks_of_one_step_are_one_count() -> None:
    found = ledger(*((2 * number, [answered(10 * number, number)]) for number in range(31)))
    assert list(found.counts) == [Count(int(T0), 290, 29), Count(int(T0) + 60, 10, 1)]


def test_it_tells_when_it_is_whole_again() -> None:
    found = ledger((0, [answered(0)]), (61, [answered(1000, 1)]), (200, [answered(2000, 1)]))
    assert found.balance.until == T0 + STEP + HOUR
    found.add(T0 + STEP + HOUR - 1, budget(), [answered(2000, 1)], "")
    assert found.balance.failed == 1
    found.add(T0 + STEP + HOUR, budget(), [answered(2000, 1)], "")
    assert (found.balance.failed, found.balance.until) == (0, None)


def test_what_was_counted_before_anybody_looked_does_not_count() -> None:
    assert ledger((0, [answered(5000, 5000)])).balance == Balance(0, 0, 0.0, None, 0.0, None)


def test_a_balancer_that_begins_anew_has_counted_from_nothing() -> None:
    found = ledger((0, [answered(1000, 10)]), (2, [answered(1100, 11)]), (4, [answered(60, 2)]), (6, [answered(70, 3)]))
    assert (found.balance.requests, found.balance.failed) == (100 + 60 + 10, 1 + 2 + 1)


@pytest.mark.parametrize(("requests", "failed"), [(1500, 4), (500, 20), (500, 4)])
def test_a_balancer_that_begins_anew_is_known_by_either_count(requests: int, failed: int) -> None:
    found = ledger((0, [answered(1000, 10)]), (2, [answered(requests, failed)]))
    assert (found.balance.requests, found.balance.failed) == (requests, failed)


def test_two_balancers_and_two_services_add_up_each_by_its_own_counts() -> None:
    first = [answered(1000, 10), answered(7, 7, balancer="b2"), answered(50, 0, service="web-admin")]
    second = [answered(1200, 12), answered(3, 1, balancer="b2"), answered(80, 5, service="web-admin")]
    found = ledger((0, first), (2, second))
    assert (found.balance.requests, found.balance.failed) == (200 + 3 + 30, 2 + 1 + 5)


def test_a_missing_figure_neither_spends_nor_earns() -> None:
    found = after(1000, 1)
    before = found.balance
    for at in range(4, 60, 2):
        found.add(T0 + at, budget(), [], "b1 says nothing: timeout")
    assert (found.balance, found.missing) == (before, "b1 says nothing: timeout")
    # What came meanwhile is known once it answers again.
    found.add(T0 + 62, budget(), [answered(1500, 3)], "")
    assert (found.balance.requests, found.balance.failed, found.missing) == (1500, 3, "")


def test_one_silent_balancer_leaves_what_the_other_counts() -> None:
    found = ledger((0, [answered(0), answered(0, balancer="b2")]))
    found.add(T0 + 2, budget(), [answered(100, 1)], "b2 says nothing: timeout")
    assert (found.balance.requests, found.balance.failed) == (100, 1)


@pytest.mark.parametrize(("silent_s", "requests"), [(KEPT_S - 1, 1000), (KEPT_S, 0)])
def test_a_balancer_that_was_silent_for_too_long_begins_anew(silent_s: float, requests: int) -> None:
    found = ledger((0, [answered(0)]), (silent_s, [answered(1000, 10)]), of=budget(window="28d"))
    assert found.balance.requests == requests


def test_a_spent_budget_stays_so_until_a_tenth_of_it_is_left() -> None:
    found = after(1000, 1)
    assert found.spent
    found.add(T0 + 4, budget(), [answered(1111, 1)], "")
    assert (found.balance.remaining, found.spent) == (pytest.approx(0.0999, abs=1e-4), True)
    found.add(T0 + 6, budget(), [answered(1112, 1)], "")
    assert found.spent is False
    # Once restored, it is spent at nothing again, not before.
    found.add(T0 + 8, budget(), [answered(2001, 2)], "")
    assert (found.balance.remaining, found.spent) == (pytest.approx(0.0005, abs=1e-4), False)


def test_at_a_tenth_it_is_restored() -> None:
    found = after(9000, 9)
    assert found.spent
    found.add(T0 + 4, budget(), [answered(10_000, 9)], "")
    assert (found.balance.remaining, found.spent) == (pytest.approx(0.1), False)


def test_a_spent_budget_of_which_too_few_requests_are_left_holds_nothing() -> None:
    found = after(60, 60)
    assert found.spent
    found.add(T0 + HOUR, budget(), [answered(60, 60)], "")
    assert found.spent is False


def test_memory_is_bounded() -> None:
    found = Ledger()
    for number in range(1000):
        # Another window each time, so that steps begin at many moments, and another balancer beside the one that stays.
        window, seen = budget(window=f"{27 + number % 4}d"), [answered(10 * number), answered(10, balancer=f"b{number}")]
        found.add(T0 + number * 3500, window, seen, "")
    assert STEPS < len(found.counts) <= 2 * STEPS
    assert len(found.record("/web").last) <= 4
    stored = BudgetRecord("/web", tuple((int(T0) + number, 1, 0) for number in range(3 * STEPS)))
    assert len(Ledger.of(stored).counts) == 2 * STEPS


def test_another_window_keeps_what_was_counted() -> None:
    found = after(1000, 1)
    found.add(T0 + 100, budget(window="1d"), [answered(1000, 1)], "")
    assert (found.balance.requests, found.balance.failed) == (1000, 1)
    found.add(T0 + 400, budget(window="5m"), [answered(1000, 1)], "")
    assert found.balance.requests == 0


def test_what_is_stored_comes_back_and_goes_on() -> None:
    found = ledger((0, [answered(0)]), (2, [answered(1000, 1)]), (70, [answered(3000, 1), answered(9, 9, balancer="b2")]))
    record = found.record("/web")
    again = Ledger.of(record)
    assert again.record("/web") == record
    assert list(again.counts) == [Count(int(T0), 1000, 1), Count(int(T0) + 60, 2000, 0)]
    # What came between the last store and the first look of another leader is not lost.
    again.add(T0 + 90, budget(), [answered(3500, 2), answered(10, 10, balancer="b2")], "")
    assert (again.balance.requests, again.balance.failed) == (3501, 3)


def test_what_changed_since_it_was_stored_is_known() -> None:
    found = ledger((0, [answered(0)]))
    assert not found.changed
    found.add(T0 + 2, budget(), [answered(1)], "")
    assert found.changed
