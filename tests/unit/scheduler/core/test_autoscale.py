"""How many instances an app should have by what is measured: the tables of the formulas."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import pytest

from eratos.marathon.autoscale import Autoscale
from eratos.scheduler.core.autoscale import MISSED_S, Look, Measured, Meter, Scaler, bounded, wish
from eratos.scheduler.core.gates import ServerFigures
from eratos.scheduler.core.usage import Share, UsageMeter
from eratos.scheduler.core.window import STALE_S

T0 = 1_800_000_000.0


def policy(least: int = 2, most: int = 20, *, target: dict[str, float] | None = None, **fields: Any) -> Autoscale:
    stated = {"requests_per_second": 50.0} if target is None else target
    return Autoscale.model_validate(
        {"min": least, "max": most, "target": {_camel(name): value for name, value in stated.items()}}
        | {_camel(name): value for name, value in fields.items()}
    )


def _camel(name: str) -> str:
    first, *others = name.split("_")
    return first + "".join(word.capitalize() for word in others)


def measured(requests: float = 0.0, concurrency: float = 0.0, queue: float = 0.0, missing: str = "") -> Measured:
    return Measured({"requests_per_second": requests, "concurrency": concurrency, "queue": queue}, missing)


def row(came: int, *, server: str = "i1", balancer: str = "b1", under_way: int = 0, queued: int = 0) -> ServerFigures:
    return ServerFigures(balancer, server, 0, 0, 0, came, under_way, queued)


def look(
    *rows: ServerFigures,
    queues: dict[str, int] | None = None,
    answered: Sequence[str] = ("b1",),
    missing: str = "",
    ready: Sequence[Sequence[str]] = (("i1",),),
) -> Look:
    return Look(rows, queues or {}, answered, missing, ready)


@pytest.mark.parametrize(
    ("instances", "found", "wanted"),
    [
        (4, measured(200), 4),
        (4, measured(220), 4),  # at the tolerance
        (4, measured(221), 5),
        (4, measured(251), 6),
        (4, measured(180), 4),
        (10, measured(449), 9),
        (10, measured(450), 10),  # at the tolerance
        (4, measured(412), 9),
        (4, measured(0), 2),  # no fewer than min
        (4, measured(5000), 20),  # no more than max
        (4, measured(149, missing="b2 is silent"), 4),  # a missing figure never scales down,
        (4, measured(199, missing="b2 is silent"), 4),
        (4, measured(260, missing="b2 is silent"), 6),
        (4, measured(412, missing="b2 is silent"), 9),  # and what is known may ask for more
        (1, measured(10, missing="b2 is silent"), 2),  # bounds are bounds
        (30, measured(10, missing="b2 is silent"), 20),
    ],
)
def test_each_is_to_have_its_target(instances: int, found: Measured, wanted: int) -> None:
    assert wish(policy(), instances, found).instances == wanted


@pytest.mark.parametrize(
    ("target", "found", "wanted", "why"),
    [
        ({"requests_per_second": 50, "concurrency": 4}, measured(300, 40), 10, "40 requests under way at a target of 4 each"),
        ({"requests_per_second": 50, "concurrency": 4}, measured(400, 20), 8, "400 requests/s at a target of 50 each"),
        ({"requests_per_second": 50, "queue": 2}, measured(200, queue=0), 4, "200 requests/s at a target of 50 each"),
        ({"requests_per_second": 50, "queue": 2}, measured(200, queue=30), 15, "30 requests waiting at a target of 2 each"),
        ({"requests_per_second": 50, "queue": 2}, measured(200, queue=18), 9, "18 requests waiting at a target of 2 each"),
        ({"requests_per_second": 50, "queue": 2}, measured(0, queue=1), 2, "0 requests/s"),  # a short queue is none
        ({"concurrency": 0.5}, measured(concurrency=3.4), 7, "3.4 requests under way at a target of 0.5 each"),
        ({"requests_per_second": 50}, measured(149, missing="b2 is silent"), 6, "and not all is known: b2 is silent"),
        ({"requests_per_second": 50}, measured(301), 6, "301 requests/s at a target of 50 each, within the tolerance"),
    ],
)
def test_the_target_that_asks_for_most_counts(target: dict[str, float], found: Measured, wanted: int, why: str) -> None:
    made = wish(policy(target=target), 6, found)
    assert (made.instances, why in made.why) == (wanted, True), made


def used(cpu: float, missing: str = "", unmeasured: str = "") -> Measured:
    return Measured({"requests_per_second": 200.0, "concurrency": 0.0, "queue": 0.0, "cpu": cpu}, missing, unmeasured)


@pytest.mark.parametrize(
    ("target", "found", "wanted", "why"),
    [
        ({"cpu": 0.5}, used(2.0), 4, "2 CPU limits in use at a target of 0.5 each, within the tolerance"),
        ({"cpu": 0.5}, used(2.2), 4, "within the tolerance"),
        ({"cpu": 0.5}, used(2.21), 5, "2.21 CPU limits in use at a target of 0.5 each"),
        ({"cpu": 0.5}, used(3.9), 8, "3.9 CPU limits in use"),
        ({"cpu": 0.7}, used(14.1), 20, "14.1 CPU limits in use"),  # no more than max
        ({"cpu": 0.5}, used(1.79), 4, "1.79 CPU limits in use at a target of 0.5 each"),
        ({"cpu": 0.5}, used(1.4), 3, "1.4 CPU limits in use"),
        ({"cpu": 0.5}, used(0.0), 2, "0 CPU limits in use"),  # no fewer than min
        # A missing figure never scales down, and what is known may ask for more.
        ({"cpu": 0.5}, used(0.0, unmeasured="h1 is silent"), 4, "and not all is known: h1 is silent"),
        ({"cpu": 0.5}, used(1.4, unmeasured="h1 is silent"), 4, "and not all is known: h1 is silent"),
        ({"cpu": 0.5}, used(2.9, unmeasured="h1 is silent"), 6, "2.9 CPU limits in use"),
        # What balancers do not say is no matter of CPU, nor the other way round.
        ({"cpu": 0.5}, used(1.4, missing="b1 is silent"), 3, "1.4 CPU limits in use"),
        ({"requests_per_second": 100}, used(9.0, unmeasured="h1 is silent"), 2, "200 requests/s"),
        # Of several targets the one that asks for most counts.
        ({"cpu": 0.5, "requests_per_second": 25}, used(1.0), 8, "200 requests/s"),
        ({"cpu": 0.5, "requests_per_second": 100}, used(3.0), 6, "3 CPU limits in use"),
        ({"cpu": 0.5, "requests_per_second": 100}, used(0.0, unmeasured="h1 is silent"), 4, "h1 is silent"),
        ({"cpu": 0.5, "requests_per_second": 100}, used(0.0, missing="b1 is silent"), 4, "b1 is silent"),
    ],
)
def test_each_is_to_use_its_target_of_the_cpu(target: dict[str, float], found: Measured, wanted: int, why: str) -> None:
    made = wish(policy(target=target), 4, found)
    assert (made.instances, why in made.why) == (wanted, True), made


@pytest.mark.parametrize(
    ("target", "lacking"),
    [
        ({"cpu": 0.5}, "h1"),
        ({"requests_per_second": 5}, "b1"),
        ({"requests_per_second": 5, "concurrency": 5}, "b1"),
        ({"requests_per_second": 5, "cpu": 0.5}, "b1; h1"),
    ],
)
def test_only_what_an_app_is_scaled_by_is_missed(target: dict[str, float], lacking: str) -> None:
    assert used(1, "b1", "h1").lacking(policy(target=target)) == lacking
    assert used(1).lacking(policy(target=target)) == ""


def shares(*values: float | None) -> list[Share]:
    return [Share(value, "" if value is not None else "it is new") for value in values]


def test_the_cpu_of_all_instances_is_a_sum_averaged_over_the_last_seconds() -> None:
    meter, now = UsageMeter(), T0
    assert meter.averages(now).missing == "executors were not asked of late"
    meter.add(now, shares(0.5, 0.7))
    assert meter.averages(now) == ({"cpu": 0.0}, "executors are watched for 0 s, of 20")
    for _ in range(10):
        now += 2
        meter.add(now, shares(0.5, 0.7))
    assert meter.averages(now) == ({"cpu": pytest.approx(1.2)}, "")
    for _ in range(5):
        now += 2
        meter.add(now, shares(1.0, 1.0))
    assert meter.averages(now) == ({"cpu": pytest.approx(1.6)}, "")
    assert meter.averages(now + STALE_S) == ({"cpu": 0.0}, "executors were not asked of late")


def test_an_instance_without_a_figure_is_missing_as_long_as_it_counts_in_the_average() -> None:
    meter, now = UsageMeter(), T0
    for _ in range(12):
        now += 2
        meter.add(now, shares(0.5, 0.7))
    meter.add(now := now + 2, shares(0.5, None, None))
    assert meter.known == 1
    assert meter.averages(now).missing == "the CPU of 2 of 3 instances is not known: it is new"
    assert meter.averages(now).values["cpu"] < 1.2
    for _ in range(9):
        meter.add(now := now + 2, shares(0.5, 0.7, 0.1))
    assert meter.averages(now).missing
    meter.add(now + 2, shares(0.5, 0.7, 0.1))
    assert meter.averages(now + 2).missing == ""
    meter.add(now + 4, [])
    assert (meter.known, meter.averages(now + 4).missing) == (0, "")


@pytest.mark.parametrize(
    ("fields", "instances", "aim", "step"),
    [
        ({}, 2, 20, 6),
        ({}, 4, 20, 8),
        ({}, 6, 20, 12),
        ({}, 16, 20, 20),
        ({}, 16, 2, 12),
        ({}, 7, 2, 6),
        ({}, 3, 2, 2),
        ({"step_up": 1, "step_down": 5}, 10, 20, 11),
        ({"step_up": 1, "step_down": 5}, 10, 2, 5),
        ({"step_down": 5}, 4, 2, 2),
        ({}, 10, 10, 10),
        ({}, 40, 20, 30 - 10),  # what is out of bounds comes within them at once
        ({}, 1, 2, 2),
    ],
)
def test_a_step_is_bounded(fields: dict[str, Any], instances: int, aim: int, step: int) -> None:
    assert bounded(policy(**fields), instances, aim) == step


def watched(*rates: float, every_s: float = 2.0, **first: Any) -> tuple[Meter, float]:
    """Return a meter of one server with a look every so often, one more than there are rates, and the time of the last."""
    meter, now, came = Meter(), T0, 1000.0
    meter.add(now, look(row(int(came)), **first))
    for rate in rates:
        now += every_s
        came += rate * every_s
        meter.add(now, look(row(int(came))))
    return meter, now


def test_a_rate_is_the_average_of_what_came_lately() -> None:
    meter, now = watched(*[10.0] * 10, *[30.0] * 5)
    found = meter.measured(now)
    assert found == Measured({"requests_per_second": 20.0, "concurrency": 0.0, "queue": 0.0}, "")
    meter, now = watched(*[10.0] * 20, *[30.0] * 10)
    assert meter.measured(now).values["requests_per_second"] == 30.0


@pytest.mark.parametrize(("looks", "missing"), [(9, "balancers are watched for 18 s, of 20"), (11, "")])
def test_figures_are_missing_until_balancers_were_watched_for_long_enough(looks: int, missing: str) -> None:
    meter, now = watched(*[10.0] * looks)
    found = meter.measured(now)
    assert found.missing == missing
    # What is known is the least there can be: nothing came before.
    assert found.values["requests_per_second"] == pytest.approx(10.0 if not missing else 10.0 * 9 / 10 * 18 / 20)


def test_nothing_is_known_of_what_nobody_looked_at() -> None:
    assert Meter().measured(T0).missing == "balancers were not asked of late"
    meter, now = watched(*[10.0] * 15)
    assert meter.measured(now + STALE_S - 0.1).missing == ""
    assert meter.measured(now + STALE_S) == Measured(
        {"requests_per_second": 0.0, "concurrency": 0.0, "queue": 0.0}, "balancers were not asked of late"
    )


def test_a_pause_of_the_looks_begins_the_watch_anew() -> None:
    meter, now = watched(*[10.0] * 15)
    meter.add(now + STALE_S, look(row(4000)))
    now += STALE_S
    assert meter.measured(now).missing == ""
    meter.add(now + STALE_S + 1, look(row(5000)))
    assert meter.measured(now + STALE_S + 1).missing == "balancers are watched for 0 s, of 20"


def steady(meter: Meter, now: float, *looks: Look) -> float:
    for one in looks:
        now += 2.0
        meter.add(now, one)
    return now


def test_a_silent_balancer_is_missing_and_its_return_is_no_burst() -> None:
    meter = Meter()
    both = ("b1", "b2")
    now = T0
    for n in range(12):
        now = steady(meter, now, look(row(20 * n), row(20 * n, balancer="b2"), answered=both))
    assert meter.measured(now) == Measured({"requests_per_second": 20.0, "concurrency": 0.0, "queue": 0.0}, "")
    silent = [look(row(20 * n), answered=("b1",), missing="b2 says nothing") for n in range(12, 16)]
    now = steady(meter, now, *silent)
    assert meter.measured(now).missing == "b2 says nothing"
    assert meter.measured(now).values["requests_per_second"] == 16.0
    now = steady(meter, now, look(row(320), row(320, balancer="b2"), answered=both))
    # 100 requests more than at its last word, of ten seconds.
    assert meter.measured(now).values["requests_per_second"] == pytest.approx(16.0)
    assert meter.measured(now).missing == "b2 says nothing"


def test_a_balancer_that_vanished_is_missed_for_a_while() -> None:
    meter, now = Meter(), T0
    now = steady(meter, now, *[look(row(20 * n), row(0, balancer="b2"), answered=("b1", "b2")) for n in range(12)])
    gone = now
    now = steady(meter, now, look(row(300)))
    assert meter.measured(now).missing == "b2 said something 2 s ago, and nothing now"
    while now < gone + MISSED_S - 2:
        now = steady(meter, now, look(row(300)))
    assert meter.measured(now).missing.startswith("b2 said something 298 s ago")
    now = steady(meter, now, *[look(row(300))] * 10)
    assert meter.measured(now).missing == ""


@pytest.mark.parametrize(
    ("before", "after", "rate"),
    [
        ([row(100)], [row(140)], 20.0),
        ([row(100)], [row(100)], 0.0),
        ([row(100)], [row(40)], 20.0),  # another process counts
        ([row(100)], [row(140), row(30, server="i2")], 35.0),  # a new server has counted from nothing
        ([row(100), row(30, server="i2")], [row(140)], 20.0),
        ([], [row(7)], 3.5),
    ],
)
def test_what_came_between_two_looks_counts(before: list[ServerFigures], after: list[ServerFigures], rate: float) -> None:
    meter = Meter()
    meter.add(T0, look(*before))
    now = T0
    for _ in range(10):
        now += 2.0
        meter.add(now, look(*before))
    meter.add(now + 2.0, look(*after))
    assert meter.measured(now + 2.0).values["requests_per_second"] == pytest.approx(rate / 10)


def test_what_is_under_way_and_waits_is_added_up_over_balancers() -> None:
    meter, now = Meter(), T0
    one = look(
        row(0, under_way=5, queued=2), row(0, balancer="b2", under_way=3), queues={"b1": 4, "b2": 1}, answered=("b1", "b2")
    )
    now = steady(meter, now, *[one] * 12)
    assert meter.measured(now) == Measured({"requests_per_second": 0.0, "concurrency": 13.0, "queue": 7.0}, "")


@pytest.mark.parametrize(
    ("ready", "missing"),
    [
        ([["i1"]], ""),
        ([["i1", "i1-1"]], ""),
        ([], ""),
        ([["i1"], ["i2"], ["i3"]], "2 of 3 ready instances are at no balancer"),
    ],
)
def test_a_ready_instance_at_no_balancer_is_missing(ready: list[list[str]], missing: str) -> None:
    meter = Meter()
    now = steady(meter, T0, *[look(row(0), ready=ready)] * 12)
    assert meter.measured(now).missing == missing


class Played:
    """An app under a load of so many requests a second, at one balancer."""

    def __init__(self, instances: int, **fields: Any) -> None:
        self.policy = policy(**{"stabilization_window_seconds": 60, "cooldown_seconds": 10, **fields})
        self.scaler, self.instances, self.now, self.came = Scaler(), instances, T0, 0.0
        self.changes: list[tuple[float, int]] = []

    def go(self, seconds: float, rate: float, *, missing: str = "") -> None:
        for _ in range(int(seconds / 2)):
            self.now += 2.0
            self.came += rate * 2.0
            self.scaler.meter.add(self.now, look(row(int(self.came)), missing=missing, answered=() if missing else ("b1",)))
            advice = self.scaler.advise(self.policy, self.instances, self.now)
            if advice.instances != self.instances:
                self.instances, self.made = advice.instances, advice
                self.changes.append((self.now - T0, self.instances))

    @property
    def said(self) -> str:
        assert self.scaler.last is not None
        return self.scaler.last.text


def test_more_load_scales_up_and_less_only_after_the_window() -> None:
    app = Played(2)
    app.go(60, 100)
    assert (app.instances, app.changes) == (2, [])
    app.go(60, 400)
    assert app.instances == 8
    app.go(10, 100)
    assert app.scaler.last is not None
    assert app.scaler.last.until == T0 + 182
    app.go(52, 100)
    # The average asks for 8 for some seconds more, and the window counts from there.
    assert app.instances == 8
    assert "2 instances wanted because 100 requests/s at a target of 50 each" in app.said
    assert "; no fewer than 8 before 2027-01-15T08:03:02.000Z" in app.said
    app.go(60, 100)
    assert app.instances < 8
    app.go(300, 100)
    assert app.instances == 2
    downs = [count for _, count in app.changes if count < 8][-5:]
    assert downs == sorted(downs, reverse=True)


def test_a_new_leader_scales_down_only_after_a_whole_window() -> None:
    app = Played(8)
    app.go(80, 100)
    # Nor is the time counted in which not all of the load was known yet.
    assert app.changes == []
    app.go(4, 100)
    assert app.changes == [(82.0, 6)]


def test_what_a_user_sets_holds_for_a_window() -> None:
    app = Played(2)
    app.go(200, 100)
    app.instances = 10
    app.go(60, 100)
    assert app.instances == 10
    app.go(10, 100)
    assert app.instances < 10


def test_no_change_comes_within_the_cooldown_of_another() -> None:
    app = Played(2, step_up=1, cooldown_seconds=30)
    app.go(60, 100)
    app.go(200, 900)
    times = [at for at, _ in app.changes]
    assert len(times) >= 5
    # The change is seen at the next look.
    assert all(later - earlier >= 30 for earlier, later in itertools.pairwise(times))
    assert min(later - earlier for earlier, later in itertools.pairwise(times)) == 32
    assert "no change before" in app.said or "for now, as one step is from" in app.said


def test_silence_never_scales_down_and_holds_the_window_up() -> None:
    app = Played(8)
    app.go(30, 400)
    app.go(600, 0, missing="b1 says nothing")
    assert app.changes == []
    assert "8 instances wanted because 0 requests/s at a target of 50 each, and not all is known: b1 says nothing" in app.said
    app.go(60, 0)
    assert app.changes == []
    app.go(60, 0)
    assert app.instances < 8


def test_without_a_window_it_scales_down_at_once() -> None:
    app = Played(8, stabilization_window_seconds=0, step_down=20)
    app.go(30, 0)
    assert app.changes == [(22.0, 2)]
    assert (app.made.holds, app.made.until) == ("", None)


class Said(Meter):
    """Says what it is told to."""

    found = measured()

    def measured(self, now: float) -> Measured:
        return self.found


def test_what_was_wanted_before_holds_nothing_back_that_is_more_than_there_is() -> None:
    meter = Said()
    scaler = Scaler(meter)
    meter.found = measured(600)
    assert scaler.advise(policy(), 4, T0).instances == 8
    meter.found = measured(300)
    # The first was not carried out, as while a deployment is under way.
    assert scaler.advise(policy(), 4, T0 + 2).instances == 6
    meter.found = measured(200)
    assert scaler.advise(policy(), 4, T0 + 4).holds == ""
    meter.found = measured(100)
    assert scaler.advise(policy(), 4, T0 + 6).instances == 4


def test_the_end_of_the_cooldown_is_said() -> None:
    meter = Said()
    scaler = Scaler(meter)
    meter.found = measured(200)
    scaler.advise(policy(), 4, T0)
    meter.found = measured(600)
    found = scaler.advise(policy(), 6, T0 + 2)
    assert (found.instances, found.until) == (6, T0 + 32)
    assert found.holds == "no change before 2027-01-15T08:00:32.000Z"


def test_a_balancer_that_is_new_hides_no_other_and_two_looks_at_once_break_nothing() -> None:
    meter = Meter()
    now = steady(meter, T0, *[look(row(20 * n)) for n in range(12)])
    both = look(row(0, balancer="b0"), row(240), answered=("b0", "b1"))
    now = steady(meter, now, both)
    assert meter.measured(now).values["requests_per_second"] == pytest.approx(10.0)
    assert meter.measured(now).missing == "b0 has answered once only"
    meter.add(now, both)
    assert meter.measured(now).missing == "b0 has answered once only; b1 has answered once only"
