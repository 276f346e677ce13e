"""Readiness and health in the executor's state machine: when a task is registered, told healthy or not, and given up."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from support.driven import CHECK, Driven, of, states, update
from support.executor import PORT, TASK, a_payload

from eratos.common import names
from eratos.common.check_results import CheckResult
from eratos.common.payload import HealthCheck, ReadinessCheck
from eratos.executor.core import actions as do
from eratos.executor.core import events as on
from eratos.executor.core.check_status import check_status
from eratos.executor.core.lifecycle import UNPROBED_MOST_S

SERVICE = names.service_id(TASK)


@pytest.fixture
def driven() -> Driven:
    return Driven()


def test_without_ports_a_task_has_nothing_to_register(driven: Driven) -> None:
    assert of(do.Register, driven.run(ports=0)) == []


def test_without_checks_the_first_port_that_accepts_makes_it_ready(driven: Driven) -> None:
    out = driven.run(ports=2)
    (probe,) = of(do.Probe, out)
    assert (probe.protocol, probe.host, probe.port) == ("tcp", "127.0.0.1", PORT)
    (register,) = of(do.Register, driven.probe())
    assert [body["ID"] for body in register.services] == [SERVICE, names.service_id(TASK, 1)]


def test_the_port_that_stands_in_for_checks_is_asked_on_at_consuls_pace_and_kills_nobody(driven: Driven) -> None:
    driven.ready(ports=1)
    asked_at = driven.machine.next_deadline()
    assert asked_at is not None
    assert 0 < asked_at - driven.now <= 10
    assert len(of(do.Probe, driven.after(asked_at - driven.now))) == 1
    closed = driven.probe(passed=False)
    assert len(of(do.Deregister, closed)) == 1
    for _ in range(20):
        deadline = driven.machine.next_deadline()
        assert deadline is not None
        driven.after(deadline - driven.now)
        assert of(do.StopContainer, driven.probe(passed=False)) == []
    assert len(of(do.Register, driven.probe())) == 1


def test_a_udp_port_alone_is_ready_at_once(driven: Driven) -> None:
    payload = a_payload(TASK)
    payload = replace(payload, ports=(replace(payload.ports[0], protocol="udp"),))
    driven.handle(on.LaunchTask(TASK, payload.to_bytes()))
    assert len(of(do.Register, driven.handle(on.ContainerStarted(TASK)))) == 1


def test_registration_waits_for_every_check(driven: Driven) -> None:
    assert len(of(do.Probe, driven.run(checks=2))) == 2
    assert of(do.Register, driven.probe(index=0)) == []
    assert len(of(do.Register, driven.probe(index=1))) == 1


def test_readiness_is_probed_every_few_milliseconds_until_the_first_success(driven: Driven) -> None:
    driven.run(checks=1)
    driven.probe(passed=False)
    deadline = driven.machine.next_deadline()
    assert deadline is not None
    assert deadline - driven.now < 0.1
    assert len(of(do.Probe, driven.after(deadline - driven.now))) == 1


OTHER = TASK.replace("._app.1", "._app.2")


def launch_other(driven: Driven) -> None:
    driven.handle(on.LaunchTask(OTHER, a_payload(OTHER, health_checks=(CHECK,)).to_bytes()))


def test_a_task_is_left_alone_while_another_one_is_being_started(driven: Driven) -> None:
    launch_other(driven)
    assert not of(do.Probe, driven.run(health_checks=(CHECK,)))
    assert not of(do.Probe, driven.after(0.2))
    assert {probe.task_id for probe in of(do.Probe, driven.handle(on.ContainerStarted(OTHER)))} == {TASK, OTHER}


def test_a_task_is_probed_after_a_second_however_many_others_are_being_started(driven: Driven) -> None:
    launch_other(driven)
    driven.run(health_checks=(CHECK,))
    assert driven.machine.next_deadline() == driven.now + UNPROBED_MOST_S
    assert [probe.task_id for probe in of(do.Probe, driven.after(UNPROBED_MOST_S))] == [TASK]


def test_a_pull_holds_nobody_up(driven: Driven) -> None:
    launch_other(driven)
    driven.handle(on.Preparing(OTHER, "pulling image shop/cart"))
    assert of(do.Probe, driven.run(health_checks=(CHECK,)))


def test_the_first_success_is_reported_as_healthy(driven: Driven) -> None:
    sent = update(driven.ready(checks=1))
    assert (sent.state, sent.healthy, sent.reason) == ("TASK_RUNNING", True, "REASON_TASK_HEALTH_CHECK_STATUS_UPDATED")


def test_an_unchanged_health_is_not_reported_again(driven: Driven) -> None:
    driven.ready(checks=1)
    driven.after(5)
    assert driven.probe() == []


def test_a_failure_leaves_consul_at_once_and_is_reported(driven: Driven) -> None:
    driven.ready(checks=1)
    driven.after(5)
    out = driven.probe(passed=False)
    # It may answer its clients still: without a word balancers would take it for one that Consul has lost, and keep it.
    assert out[:2] == [do.TellBalancers(TASK, (f"eratos-{TASK}",), drains=False), do.Deregister(TASK)]
    # Nobody waits for them.
    assert driven.handle(on.BalancersTold(TASK)) == []
    assert (update(out).healthy, "HTTP status 500" in update(out).message) == (False, True)


def test_a_recovered_task_is_registered_again(driven: Driven) -> None:
    driven.ready(checks=1)
    driven.after(5)
    driven.probe(passed=False)
    driven.after(5)
    out = driven.probe()
    assert len(of(do.Register, out)) == 1
    assert update(out).healthy is True


def test_each_failure_that_counts_is_told_with_how_each_check_went(driven: Driven) -> None:
    driven.run(health_checks=(CHECK, replace(CHECK, path="/other")))
    assert states(driven.probe(index=1)) == []  # healthy it is once both have passed
    driven.after(1)
    assert update(driven.probe()).checks == (CheckResult(0, 0.0, 0.0), CheckResult(0, 1.0, 1.0))
    driven.after(5)
    driven.probe(index=1)
    first = update(driven.probe(passed=False))
    assert first.checks == (CheckResult(1, 5.0, 5.0, 0.0, "HTTP status 500"), CheckResult(0, 6.0, 0.0))
    driven.after(5)
    second = update(driven.probe(passed=False, detail="refused" * 100))
    assert (second.healthy, second.checks[0]) == (False, CheckResult(2, 10.0, 10.0, 0.0, ("refused" * 100)[:300]))
    driven.after(5)
    assert update(driven.probe()).checks[0] == CheckResult(0, 15.0, 0.0, 5.0, ("refused" * 100)[:300])
    driven.after(5)
    assert driven.probe() == []


def test_of_failures_without_end_each_doubling_is_told(driven: Driven) -> None:
    driven.ready(health_checks=(replace(CHECK, max_failures=0),))
    told = []
    for _ in range(40):
        driven.after(5)
        told += [sent.update.checks[0].failures for sent in of(do.SendUpdate, driven.probe(passed=False))]
    assert told == [1, 2, 3, 4, 5, 6, 7, 8, 9, 16, 32]


def test_failures_within_the_grace_period_say_nothing(driven: Driven) -> None:
    driven.run(checks=1)
    driven.after(9)
    assert driven.probe(passed=False) == []


def test_failures_after_the_grace_period_end_the_task_at_the_apps_pace(driven: Driven) -> None:
    driven.run(checks=1)
    ended_at = None
    for _ in range(400):
        out = driven.probe(passed=False)
        if "TASK_KILLING" in states(out):
            ended_at = driven.now
            break
        deadline = driven.machine.next_deadline()
        assert deadline is not None
        driven.after(deadline - driven.now)
    # Grace 10 s, then three failures that count, 5 s apart at least.
    assert ended_at is not None
    assert 119.9 < ended_at < 135


def test_too_many_failures_stop_the_task_as_failed_naming_the_check(driven: Driven) -> None:
    driven.ready(checks=1)
    out: list[do.Action] = []
    for _ in range(3):
        driven.after(5)
        out = driven.probe(passed=False)
    assert of(do.StopContainer, out)  # it left Consul at the first failure: nothing to drain
    sent = update(driven.handle(on.ContainerDied(TASK, 0)))
    assert (sent.state, sent.healthy) == ("TASK_FAILED", False)
    assert "/health0" in sent.message


def test_max_failures_zero_never_stops_the_task(driven: Driven) -> None:
    driven.ready(health_checks=(replace(CHECK, max_failures=0),))
    for _ in range(20):
        driven.after(5)
        assert "TASK_KILLING" not in states(driven.probe(passed=False))


def test_a_late_probe_of_a_stopping_task_changes_nothing(driven: Driven) -> None:
    driven.run(checks=1)
    driven.kill()
    assert driven.probe() == []


def test_a_bridged_task_is_probed_at_its_own_address_and_port(driven: Driven) -> None:
    payload = a_payload(TASK, network="bridge", health_checks=(CHECK,))
    ports = (replace(payload.ports[0], container_port=8080),)
    driven.handle(on.LaunchTask(TASK, replace(payload, ports=ports).to_bytes()))
    out = driven.handle(on.ContainerStarted(TASK, "172.17.0.9"))
    (probe,) = of(do.Probe, out)
    assert (probe.host, probe.port) == ("172.17.0.9", 8080)
    assert update(out).addresses == ("172.17.0.9",)


READY = ReadinessCheck("warm", "http", "/ready", PORT, interval_s=30, timeout_s=10, statuses=(200, 204))


def test_traffic_waits_for_readiness_and_health_and_so_does_the_word_healthy(driven: Driven) -> None:
    probes = of(do.Probe, driven.run(health_checks=(CHECK,), readiness_checks=(READY,)))
    assert [(probe.path, probe.readiness) for probe in probes] == [("/health", None), ("/ready", READY)]
    assert driven.probe(index=0) == []
    out = driven.probe(index=1)
    assert len(of(do.Register, out)) == 1
    assert update(out).healthy is True


def test_readiness_is_asked_until_it_passes_once_and_never_again(driven: Driven) -> None:
    driven.run(ports=1, readiness_checks=(READY,))
    driven.probe(passed=False)
    deadline = driven.machine.next_deadline()
    assert deadline is not None
    assert [probe.path for probe in of(do.Probe, driven.after(deadline - driven.now))] == ["/ready"]
    out = driven.probe()
    assert len(of(do.Register, out)) == 1
    # What a deployment waits for, there being no health check.
    assert update(out).healthy is True
    assert driven.machine.next_deadline() is None


def test_a_task_that_is_never_ready_is_not_stopped_for_it(driven: Driven) -> None:
    driven.run(health_checks=(CHECK,), readiness_checks=(READY,))
    driven.probe(index=0)
    for _ in range(100):
        driven.after(30)
        assert states(driven.probe(passed=False, index=1)) == []


def test_a_ready_task_that_fails_its_health_check_leaves_and_returns_without_being_asked_for_readiness(driven: Driven) -> None:
    driven.run(health_checks=(CHECK,), readiness_checks=(READY,))
    driven.probe(index=1)
    driven.probe(index=0)
    driven.after(5)
    assert of(do.Deregister, driven.probe(passed=False, index=0))
    driven.after(5)
    assert of(do.Register, driven.probe(index=0))


def test_a_check_with_a_delay_is_asked_after_it(driven: Driven) -> None:
    payload = a_payload(TASK, health_checks=(replace(CHECK, delay_s=40),))
    driven.handle(on.LaunchTask(TASK, payload.to_bytes()))
    assert of(do.Probe, driven.handle(on.ContainerStarted(TASK))) == []
    assert of(do.Probe, driven.after(39.9)) == []
    assert len(of(do.Probe, driven.after(0.2))) == 1


def test_an_answer_that_says_nothing_changes_nothing(driven: Driven) -> None:
    payload = a_payload(TASK, health_checks=(replace(CHECK, ignore_1xx=True, ipv6=True),))
    driven.handle(on.LaunchTask(TASK, payload.to_bytes()))
    (probe,) = of(do.Probe, driven.handle(on.ContainerStarted(TASK)))
    assert (probe.ignore_1xx, probe.host) == (True, "::1")
    assert driven.handle(on.ProbeDone(TASK, 0, None, "HTTP status 101")) == []
    assert of(do.Probe, driven.after(CHECK.interval_s - 0.1)) == []
    assert len(of(do.Probe, driven.after(0.2))) == 1


def test_what_a_check_is_answered_is_told_where_it_is_new_and_nothing_depends_on_it(driven: Driven) -> None:
    told = HealthCheck("http", "/told", PORT, interval_s=5, delay_s=15, max_failures=0)
    driven.handle(on.LaunchTask(TASK, a_payload(TASK, health_checks=(CHECK,), check=told).to_bytes()))
    driven.handle(on.ContainerStarted(TASK))
    out = driven.handle(on.ProbeDone(TASK, 0, True, "HTTP status 200", 200))
    assert len(of(do.Register, out)) == 1
    assert [probe.path for probe in of(do.Probe, driven.after(15.1)) if probe.index == 1] == ["/told"]
    out = driven.handle(on.ProbeDone(TASK, 1, False, "HTTP status 500", 500))
    assert [(sent.update.check, sent.update.healthy, sent.update.reason) for sent in of(do.SendUpdate, out)] == [
        ({"type": "HTTP", "http": {"status_code": 500}}, True, "REASON_TASK_CHECK_STATUS_UPDATED")
    ]
    assert not of(do.Deregister, out)
    assert [probe.index for probe in of(do.Probe, driven.after(5.1)) if probe.index == 1] == [1]
    assert not of(do.SendUpdate, driven.handle(on.ProbeDone(TASK, 1, False, "HTTP status 500", 500)))


@pytest.mark.parametrize(
    ("protocol", "passed", "code", "told"),
    [
        ("https", True, 200, {"type": "HTTP", "http": {"status_code": 200}}),
        ("http", False, None, {"type": "HTTP", "http": {}}),
        ("tcp", True, None, {"type": "TCP", "tcp": {"succeeded": True}}),
        ("tcp", False, None, {"type": "TCP", "tcp": {"succeeded": False}}),
        ("command", False, 3, {"type": "COMMAND", "command": {"exit_code": 3}}),
        ("command", False, None, {"type": "COMMAND", "command": {}}),
    ],
)
def test_an_answer_in_mesos_form(protocol: str, passed: bool, code: int | None, told: dict[str, Any]) -> None:
    assert check_status(HealthCheck(protocol), passed=passed, code=code) == told
