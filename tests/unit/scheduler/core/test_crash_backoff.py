"""How long an app waits after an end, by table; and that a crash of what had run well costs no wait."""

from __future__ import annotations

import pytest
from support.builders import a_status, an_app, an_offer
from support.core import Core, of

from eratos.scheduler.core import actions, crash_backoff
from eratos.scheduler.core.instances import Instance
from eratos.scheduler.core.mesos_types import Agent, TaskState

APP = {"backoffSeconds": 10, "backoffFactor": 2, "maxLaunchDelaySeconds": 35}
CHECKS = [{"protocol": "MESOS_HTTP", "path": "/"}]
NOW = 10_000.0


def ended(ran_s: float | None, **fields: object) -> Instance:
    """Return an instance that began to run so long ago, or never did."""
    at = NOW - (ran_s or 0)
    instance = Instance("a.instance-1", "/a", "v", state=TaskState.RUNNING, agent=Agent("a1", "h1"), launched_at=at)
    if ran_s is not None:
        instance.started_at = instance.ran_from = at
    for name, value in fields.items():
        setattr(instance, name, value)
    return instance


@pytest.mark.parametrize(
    ("state", "reason", "delay_s", "ran_s", "expected"),
    [
        ("FAILED", "", 0, 1, 10),  # the first crash, too early to have run well
        ("FAILED", "", 10, 1, 20),
        ("FAILED", "", 20, 1, 35),  # the maximum
        ("FAILED", "", 35, 1, 35),
        ("FAILED", "", 20, 9, 35),
        ("FAILED", "", 20, 10, None),  # ran well: replaced at once
        ("FAILED", "", 20, 3600, None),
        ("FINISHED", "", 0, 3600, 10),  # no crash
        ("FINISHED", "", 20, 1, 35),
        ("FINISHED", "", 35, 61, 10),  # ran for long: counted anew
        ("ERROR", "", 0, None, 35),  # the description itself
        ("LOST", "", 0, None, 10),
        ("DROPPED", "", 10, None, 20),
        ("DROPPED", "REASON_INVALID_OFFERS", 10, None, None),
        ("DROPPED", "REASON_EXECUTOR_TERMINATED", 0, None, 10),  # met an executor that was ending
        ("DROPPED", "REASON_EXECUTOR_TERMINATED", 20, None, 20),
        ("LOST", "", 10, 1, None),  # its agent's end, not the app's
        ("GONE", "", 0, None, 10),
        ("KILLED", "", 10, 1, None),
        ("FAILED", "REASON_EXECUTOR_TERMINATED", 20, 1, 20),  # one restart of a host is not as many crashes
        ("FAILED", "REASON_EXECUTOR_REGISTRATION_TIMEOUT", 20, None, 35),
    ],
)
def test_delay_after_an_end(state: str, reason: str, delay_s: float, ran_s: float | None, expected: float | None) -> None:
    update = a_status("a.instance-1._app.1", state, reason=reason)
    assert crash_backoff.next_delay_s(an_app("/a", **APP), delay_s, update, ended(ran_s), NOW) == expected


@pytest.mark.parametrize(
    ("checks", "proven", "was_spared", "ran_s", "expected"),
    [
        ([], False, False, 10, True),
        ([], False, False, 9.9, False),
        (CHECKS, True, False, 1, True),  # its checks passed
        (CHECKS, False, False, 3600, False),  # never ready: it did not run well
        (CHECKS, True, True, 59, False),
        ([], False, True, 59, False),  # the second crash begins the back-off
        ([], False, True, 60, True),
    ],
)
def test_whose_crash_is_spared(checks: list[object], proven: bool, was_spared: bool, ran_s: float, expected: bool) -> None:
    instance = ended(ran_s, proven=proven, spared=was_spared)
    app = an_app("/a", healthChecks=checks)
    assert crash_backoff.spared(app, a_status("x", "FAILED"), instance, NOW) == expected
    assert not crash_backoff.spared(app, a_status("x", "FINISHED"), instance, NOW)


def test_the_first_crash_of_what_had_run_well_is_replaced_at_once_and_the_next_backs_off() -> None:
    core = Core()
    core.subscribe()
    core.put(an_app(backoffSeconds=5, healthChecks=CHECKS))
    [task] = core.launch()
    core.status(task, "RUNNING")
    core.status(task, "RUNNING", healthy=True, uuid="2")
    core.tick(2)
    assert of(actions.Revive, core.fail(task, message="exit code 1")), "offers are asked for in the same step"
    [again] = core.launch()
    core.status(again, "RUNNING")
    core.status(again, "RUNNING", healthy=True, uuid="3")
    core.tick(12)
    core.fail(again)
    assert not core.launch()
    core.tick(5)
    assert core.launch()


def test_twenty_instances_that_had_run_well_are_replaced_together() -> None:
    core = Core()
    core.subscribe()
    core.put(an_app(instances=20))
    tasks = core.run()
    core.tick(30)
    for task in tasks:
        core.fail(task)
    assert len(core.launch(an_offer("a1"))) == 20


def test_what_ran_well_under_another_scheduler_is_known_to_have() -> None:
    record = ended(100, healthy=True).record()
    assert Instance.from_record(record, Agent("a1", "h1")).proven
    assert crash_backoff.ran_well(an_app("/a", healthChecks=CHECKS), Instance.from_record(record, Agent("a1", "h1")), NOW)


@pytest.mark.parametrize(
    ("state", "reason", "bad", "missed"),
    [
        ("FAILED", "", True, False),
        ("FINISHED", "", True, False),
        ("ERROR", "", True, False),
        ("LOST", "", True, False),
        ("DROPPED", "", True, False),
        ("DROPPED", "REASON_INVALID_OFFERS", False, True),
        ("DROPPED", "REASON_EXECUTOR_TERMINATED", True, True),
        ("FAILED", "REASON_EXECUTOR_TERMINATED", True, False),
        ("GONE", "", True, False),
        ("KILLED", "", False, False),
        ("RUNNING", "", False, False),
    ],
)
def test_which_ends_are_bad_and_which_came_at_the_wrong_moment(state: str, reason: str, bad: bool, missed: bool) -> None:
    update = a_status("x", state, reason=reason)
    assert (crash_backoff.bad_end(update), crash_backoff.missed(update)) == (bad, missed)


@pytest.mark.parametrize(
    ("state", "reason", "ran_s", "failed"),
    [
        ("FAILED", "", None, True),
        ("FAILED", "", 9, True),
        ("FAILED", "", 10, False),  # it ran well
        ("ERROR", "", None, True),
        ("FINISHED", "", 1, False),
        ("KILLED", "", 1, False),
        ("LOST", "", None, True),
        ("LOST", "", 1, False),  # it had started
        ("GONE", "", None, True),
        ("DROPPED", "", None, True),
        ("DROPPED", "REASON_INVALID_OFFERS", None, False),
        ("DROPPED", "REASON_EXECUTOR_TERMINATED", None, False),
    ],
)
def test_which_ends_speak_of_a_start_that_failed(state: str, reason: str, ran_s: float | None, failed: bool) -> None:
    update = a_status("x", state, reason=reason)
    assert crash_backoff.start_failed(an_app("/a"), update, ended(ran_s), NOW) == failed


@pytest.mark.parametrize(("ran_s", "delay_s", "expected"), [(60, 10, 20), (61, 10, 10), (100, 200, 300), (201, 200, 10)])
def test_what_ran_longer_than_a_minute_and_than_its_delay_counts_anew(ran_s: float, delay_s: float, expected: float) -> None:
    app = an_app("/a", **{**APP, "maxLaunchDelaySeconds": 300})
    update = a_status("x", "FINISHED")
    assert crash_backoff.next_delay_s(app, delay_s, update, ended(ran_s), NOW) == expected
