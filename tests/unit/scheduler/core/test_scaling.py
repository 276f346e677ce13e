"""Autoscaling carried out: what is changed, stored and told, what is in the way, and what users may still do."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from support.builders import an_app
from support.kept_core import Kept

from eratos.common import names
from eratos.marathon import definition
from eratos.marathon.app import App
from eratos.marathon.errors import InvalidApp
from eratos.scheduler.core import actions, events, scaling
from eratos.scheduler.core.actions import Refusal
from eratos.scheduler.core.gates import QueueFigures, ServerFigures
from eratos.scheduler.core.mesos_types import TaskState
from eratos.scheduler.core.records import APPS, DEPLOYMENTS, QuotaRecord
from eratos.scheduler.core.state import Outcome
from eratos.scheduler.core.usage import TaskUsage

POLICY: dict[str, Any] = {
    **{"min": 2, "max": 12, "target": {"requestsPerSecond": 50}},
    **{"stabilizationWindowSeconds": 60, "cooldownSeconds": 10},
}


def scaled(instances: int = 2, labels: dict[str, str] | None = None, **policy: Any) -> App:
    fields = {"labels": {"HAPROXY_0_VHOST": "web.test", **(labels or {})}, "eratos": {"autoscale": POLICY | policy}}
    return an_app("/web", instances, **fields)


class Loaded(Kept):
    """A core whose one balancer counts so many requests a second, spread over all instances that run."""

    def __init__(self, app: App) -> None:
        super().__init__()
        self.counts: dict[str, float] = {}
        self.command(events.PutApps((app,)))
        self.rest()

    def rest(self) -> None:
        super().rest()
        self.tick(0)

    def command(self, command: events.Command) -> actions.Answer:
        out = self.handle(events.CommandReceived(99, command))
        [answer] = [found for found in out if isinstance(found, actions.Reply | actions.Refuse)]
        return answer

    def look(self, rate: float, *, missing: str = "", rests: bool = True) -> None:
        """Have the balancer asked two seconds later."""
        self.tick(2)
        running = [i.task_id for i in self.state.with_task() if i.ready(False)]
        for task_id in running:
            self.counts[task_id] = self.counts.get(task_id, 0.0) + 2 * rate / len(running)
        rows = [ServerFigures("b1", names.service_id(task_id), 0, 0, 0, int(self.counts[task_id])) for task_id in running]
        seen = events.FiguresSeen(() if missing else tuple(rows), missing, () if missing else ("b1",))
        self.handle(seen)
        if rests:
            self.rest()

    def go(self, seconds: float, rate: float, **more: Any) -> None:
        for _ in range(int(seconds / 2)):
            self.look(rate, **more)

    @property
    def wanted(self) -> int:
        return self.state.apps["/web"].instances  # type: ignore[no-any-return]

    @property
    def running(self) -> int:  # type: ignore[override]
        return sum(1 for i in self.state.with_task() if i.ready(False))


def test_load_starts_instances_and_its_end_stops_them() -> None:
    core = Loaded(scaled())
    core.go(60, 100)
    assert (core.wanted, core.running) == (2, 2)
    core.go(40, 400)
    assert (core.wanted, core.running) == (8, 8)
    assert core.store[APPS + "/web"].instances == 8
    core.go(60, 100)
    assert core.wanted == 8
    core.go(300, 90)
    assert (core.wanted, core.running) == (2, 2)
    assert {outcome for _, outcome in core.outcomes()} == {Outcome.DONE}
    assert core.state.scalings["/web"].instances == 2


def test_a_change_keeps_the_version_and_says_its_cause() -> None:
    core = Loaded(scaled())
    version = core.state.apps["/web"].version
    core.go(40, 100)
    while core.wanted == 2:
        core.look(400, rests=False)
    [record] = [core.store[key] for key in core.store if key.startswith(DEPLOYMENTS)]
    assert record.cause.startswith("autoscale: 3 instances wanted because 130 requests/s at a target of 50 each")
    assert core.state.apps["/web"].version == version
    [notice] = [found for found in core.decision.notices if found.message == "autoscaled"]
    assert notice.fields == {"app": "/web", "before": 2, "instances": 3, "why": record.cause.removeprefix("autoscale: ")}


def test_nothing_is_decided_while_a_deployment_is_under_way_or_the_brake_is_on() -> None:
    core = Loaded(scaled())
    core.go(40, 100)
    core.go(40, 400, rests=False)
    # The first three instances never come to be ready.
    assert core.wanted == 3
    assert scaling.halt(core.state, core.state.apps["/web"]).startswith("deployment ")
    core.rest()
    for host in ("h1", "h2", "h3"):
        core.state.brake.lose(host, 3, 3, core.now)
    core.go(40, 400)
    assert core.wanted == 3
    assert scaling.halt(core.state, core.state.apps["/web"]) == "the disaster brake is engaged"
    core.command(events.ReleaseBrake())
    core.go(4, 400)
    assert core.wanted > 3
    count = core.wanted
    core.handle(events.Disconnected())
    core.go(40, 600, rests=False)
    assert core.wanted == count


def test_a_silent_balancer_never_scales_down() -> None:
    core = Loaded(scaled(8))
    core.go(60, 400)
    core.go(600, 0, missing="b1 says nothing: timeout")
    assert core.wanted == 8
    core.go(200, 0)
    assert core.wanted == 2


def test_a_leader_that_follows_goes_on_with_what_was_stored_and_waits_for_a_window() -> None:
    core = Loaded(scaled())
    core.go(40, 100)
    core.go(40, 400)
    core.fail_over()
    core.rest()
    assert core.wanted == 8
    core.go(70, 100)
    assert core.wanted == 8
    core.go(30, 100)
    assert core.wanted < 8


def test_an_unfinished_change_of_its_own_survives_a_failover_and_locks_nobody_out() -> None:
    core = Loaded(scaled())
    core.go(40, 100)
    core.go(10, 400, rests=False)
    [deployment_id] = core.keys(DEPLOYMENTS)
    core.fail_over()
    assert core.state.deployments[deployment_id].record.cause
    answer = core.command(events.PutApps((core.state.apps["/web"].with_instances(5),)))
    assert isinstance(answer, actions.Reply)
    assert core.state.ended[-1].outcome is Outcome.SUPERSEDED
    assert core.state.ended[-1].reason == "a user's change came"
    # But a user's own change does.
    refused = core.command(events.PutApps((core.state.apps["/web"].with_instances(6),)))
    assert isinstance(refused, actions.Refuse)
    assert refused.refusal is Refusal.LOCKED


def test_what_is_advised_only_is_said_once_and_not_done() -> None:
    core = Loaded(scaled(mode="advise"))
    core.go(40, 100)
    core.go(200, 400)
    found = core.state.scalings["/web"]
    assert (core.wanted, found.before, found.made) == (2, 2, False)
    assert found.instances == 6  # one step
    told = found.at
    core.go(20, 400)
    assert core.state.scalings["/web"].at == told


def test_other_rules_replace_no_instance() -> None:
    core = Loaded(scaled())
    before = {i.task_id for i in core.state.with_task()}
    version = core.state.apps["/web"].version
    answer = core.command(events.PutApps((scaled(max=4),)))
    core.rest()
    assert isinstance(answer, actions.Reply)
    assert {i.task_id for i in core.state.with_task()} == before
    app = core.state.apps["/web"]
    assert (app.version, app.autoscale.max) == (version, 4)
    core.go(100, 900)
    assert core.wanted == 4
    core.fail_over()
    assert core.state.apps["/web"].autoscale.max == 4


def test_zero_instances_turn_it_off() -> None:
    core = Loaded(scaled())
    core.command(events.PutApps((core.state.apps["/web"].with_instances(0),)))
    core.rest()
    core.go(60, 400)
    assert core.wanted == 0
    assert scaling.halt(core.state, core.state.apps["/web"]).startswith("it has 0 instances")


def test_a_quota_and_the_schedulers_limit_bound_it() -> None:
    core = Loaded(scaled())
    core.command(events.PutQuota(QuotaRecord("/", instances=5)))
    core.go(40, 100)
    core.go(60, 500)
    assert core.wanted == 5
    app = core.state.apps["/web"]
    assert scaling.limited(core.state, app, 9).startswith("the quota of / allows 5 instances")
    core.command(events.DeleteQuota("/"))
    core.machine.step.settings = replace(core.machine.step.settings, instances_most=7)
    core.go(60, 500)
    assert core.wanted == 7


def test_a_user_scales_within_the_bounds_and_by_kills_no_further() -> None:
    core = Loaded(scaled(3))
    [first, *_] = core.state.instances
    assert isinstance(core.command(events.KillInstances((first,), scale=True)), actions.Reply)
    core.rest()
    assert core.wanted == 2
    [first, *_] = core.state.instances
    refused = core.command(events.KillInstances((first,), scale=True))
    assert isinstance(refused, actions.Refuse)
    assert refused.message == (
        "the number of instances of /web is 1, and eratos.autoscale.min is 2: change one of them, or have 0 instances to stop "
        "the app"
    )


def test_an_app_that_goes_back_keeps_its_number() -> None:
    core = Loaded(scaled())
    former = core.state.apps["/web"].version
    core.command(events.PutApps((scaled(labels={"x": "y"}),)))
    core.rest()
    core.go(40, 100)
    core.go(60, 400)
    assert core.wanted == 8
    core.command(events.PutVersion("/web", former))
    core.rest()
    assert (core.wanted, core.state.apps["/web"].version) == (8, former)


def test_what_is_no_longer_scaled_is_forgotten() -> None:
    core = Loaded(scaled())
    core.go(10, 100)
    assert set(core.state.scalers) == {"/web"}
    core.command(events.PutApps((an_app("/web", 3),)))
    core.rest()
    core.look(100)
    assert not core.state.scalers
    assert not core.state.scalings


def test_queues_of_all_its_services_and_of_no_other_count() -> None:
    labels = {"ERATOS_0_MAXCONN": "5"}
    core = Loaded(scaled(labels=labels, target={"requestsPerSecond": 50, "queue": 2}))
    core.go(40, 100)
    queues = (QueueFigures("b1", "web", 12), QueueFigures("b2", "web", 4), QueueFigures("b1", "other", 900))
    for _ in range(20):
        core.tick(2)
        core.handle(events.FiguresSeen((), "", ("b1", "b2"), queues))
        core.rest()
    assert core.wanted == 8


class Busy(Loaded):
    """A core whose instances use CPU, so many limits of it in all, of which their executors tell."""

    def __init__(self, app: App) -> None:
        super().__init__(app)
        self.unready: set[str] = set()  #: tasks that fail their checks

    def use(self, seconds: float, cpu: float, *, silent: str = "", unknown: int = 0, rests: bool = True) -> None:
        """Have executors asked every two seconds: all or none, or all but the figures of some instances."""
        for _ in range(int(seconds / 2)):
            self.tick(2)
            running = [i for i in self.state.with_task() if i.ready(False)]
            known = {i.task_id: TaskUsage(1.0, cpu / len(running) / 10, 0.1, 1 << 20, None) for i in running[unknown:]}
            agents = dict.fromkeys((i.agent_id for i in running), silent) if silent else {}
            self.handle(events.FiguresSeen((), "", usages={} if silent else known, silent=agents))
            if rests:
                self.rest()


def busy(instances: int = 2, **policy: Any) -> App:
    """Return an app that is scaled by CPU and is at no balancer."""
    return an_app("/web", instances, cpus=0.1, eratos={"autoscale": POLICY | {"target": {"cpu": 0.5}} | policy})


def test_cpu_starts_instances_and_its_end_stops_them() -> None:
    core = Busy(busy())
    core.use(60, 1.0)
    assert (core.wanted, core.running) == (2, 2)
    core.use(40, 4.0)
    assert (core.wanted, core.running) == (8, 8)
    assert core.state.scalings["/web"].why.endswith("CPU limits in use at a target of 0.5 each")
    core.use(50, 0.2)
    assert core.wanted == 8
    core.use(300, 0.2)
    assert (core.wanted, core.running) == (2, 2)


@pytest.mark.parametrize("missing", [{"silent": "the executor at h1:5052 does not answer"}, {"unknown": 1}])
def test_an_executor_that_says_nothing_never_scales_down(missing: dict[str, Any]) -> None:
    core = Busy(busy(8))
    core.use(60, 4.0)
    core.use(600, 0.0, **missing)
    assert core.wanted == 8
    why = core.state.scalers["/web"].last.wish.why  # type: ignore[union-attr]
    assert "and not all is known: the CPU of " in why
    core.use(200, 0.0)
    assert core.wanted == 2


def test_an_instance_that_is_not_ready_is_missing_and_one_that_waits_for_a_host_uses_nothing() -> None:
    core = Busy(busy(4))
    app = core.state.apps["/web"]
    [first, *others] = list(core.state.with_task())
    usages = {i.task_id: TaskUsage(1.0, 0.05, 0.1, 0, None) for i in others}
    usages[first.task_id] = TaskUsage(1.0, None, 0.1, 0, None)

    def shares() -> list[str]:
        return [share.why for share in scaling._shares(core.state, app, events.FiguresSeen((), usages=usages)) if share.why]

    assert shares() == [f"the executor on {first.hostname} has not measured {first.task_id} yet"]
    del usages[first.task_id]
    assert len(shares()) == 1
    core.state.alter(first, stopping=True)
    assert shares() == []
    core.state.alter(first, stopping=False, state=TaskState.STAGING)
    assert shares() == [f"{first.task_id} is not ready"]
    assert set(scaling.measured_on(core.state)) == {i.agent_id for i in core.state.with_task()}


def test_only_executors_of_apps_that_are_scaled_by_cpu_are_asked() -> None:
    assert scaling.measured_on(Loaded(scaled()).state) == {}
    assert scaling.measured_on(Busy(busy(2, mode="advise")).state) != {}


@pytest.mark.parametrize(
    ("instances", "fields", "problem"),
    [
        (2, {"target": {"cpu": 70}}, "/eratos/autoscale/target/cpu: is 70, and it is a share, 10 at most: give 0.7 for 70 %"),
        (2, {"target": {"cpu": 0}}, "/eratos/autoscale/target/cpu: must be at least 0.01"),
        (2, {"target": {"cpu": "70%"}}, "/eratos/autoscale/target/cpu: must be a number"),
        (2, {"target": {"cpu": True}}, "/eratos/autoscale/target/cpu: must be a number"),
        (2, {"target": {"cpu": 0.5, "concurrency": 3}, "labels": {}}, "/eratos/autoscale/target: is counted by balancers, and"),
        (1, {}, "/instances: is 1, and eratos.autoscale.min is 2"),
        (13, {}, "/instances: is 13, and eratos.autoscale.max is 12"),
        (4, {"min": 5, "max": 4}, "/eratos/autoscale: has min 5 above max 4"),
        (2, {"target": {}}, "/eratos/autoscale/target: states nothing: give one of requestsPerSecond, concurrency, queue"),
        (2, {"target": {"queue": 3}}, "/eratos/autoscale/target: has queue alone"),
        (2, {"target": {"requestsPerSecond": 0}}, "/eratos/autoscale/target/requestsPerSecond: must be at least 0.001"),
        (2, {"target": {"rps": 5}}, "/eratos/autoscale/target/rps: is no field that eratos knows"),
        (2, {"target": {"requestsPerSecond": 5, "queue": 1}}, "/eratos/autoscale/target/queue: never comes to be"),
        (2, {"mode": "dry"}, "/eratos/autoscale/mode: must be 'act' or 'advise', not 'dry'"),
        (2, {"tolerance": 1.5}, "/eratos/autoscale/tolerance: must be at most 1"),
        (2, {"stabilizationWindowSeconds": 3601}, "/eratos/autoscale/stabilizationWindowSeconds: must be at most 3600"),
        (2, {"stepDown": 0}, "/eratos/autoscale/stepDown: must be at least 1"),
        (2, {"labels": {}}, "/eratos/autoscale/target: is counted by balancers, and none serves the app: nothing asks for it"),
        (2, {"labels": {"MARATHON_SINGLE_INSTANCE_APP": "true"}}, "/eratos/autoscale/max: is 12: the label"),
        (1, {"perHost": True}, "/eratos/autoscale: has no meaning with eratos.perHost"),
    ],
)
def test_what_cannot_be_carried_out_is_refused_with_its_field(instances: int, fields: dict[str, Any], problem: str) -> None:
    policy = POLICY | {name: value for name, value in fields.items() if name not in ("labels", "perHost")}
    given = {"eratos": {"autoscale": policy, **{name: fields[name] for name in ("perHost",) if name in fields}}}
    labels = {"HAPROXY_0_VHOST": "web.test"} if fields.get("labels") != {} else {}
    with pytest.raises(InvalidApp) as refused:
        an_app("/web", instances, labels={**labels, **fields.get("labels", {})}, **given)
    assert any(f"{found.path}: {found.message}".startswith(problem) for found in refused.value.problems), refused.value.problems


@pytest.mark.parametrize(
    ("cpu", "fields", "most"),
    [
        (0.95, {}, "0.91"),
        (0.91, {}, "0.91"),
        (0.90, {}, ""),
        (0.96, {"tolerance": 0.05}, "0.95"),
        (0.94, {"tolerance": 0.05}, ""),
        (1.0, {"tolerance": 0}, "1.00"),
    ],
)
def test_a_target_that_a_hard_limit_keeps_from_being_passed_is_refused(cpu: float, fields: dict[str, Any], most: str) -> None:
    policy = {"autoscale": POLICY | {"target": {"cpu": cpu}} | fields}
    image = {"type": "DOCKER", "docker": {"image": "eratos/prime"}}
    assert an_app("/web", 2, eratos=policy, container=image).autoscale is not None  # without one more may be in use
    limited = {"container": image, "resourceLimits": {"cpus": 1}}
    if not most:
        assert an_app("/web", 2, eratos=policy, **limited).autoscale is not None
        return
    with pytest.raises(InvalidApp) as refused:
        an_app("/web", 2, eratos=policy, **limited)
    [problem] = refused.value.problems
    assert problem.path == "/eratos/autoscale/target/cpu"
    assert problem.message.endswith(f"give less than {most}")


def test_an_app_without_a_number_begins_with_the_fewest() -> None:
    given = scaled().to_json()
    del given["instances"]
    assert definition.parse(given).instances == 2
    assert definition.parse(given | {"instances": 0}).instances == 0
