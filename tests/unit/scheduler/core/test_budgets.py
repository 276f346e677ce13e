"""Error budgets kept and heeded: what a spent one holds, what it never holds, and what a later leader knows of it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from support.builders import an_app, an_offer
from support.core import of
from support.deployments import refusal, reply
from support.kept_core import Kept

from eratos.common import names
from eratos.marathon.app import App
from eratos.scheduler.core import actions, budgets, events, maintenance, rebalance, scaling
from eratos.scheduler.core.actions import Refusal
from eratos.scheduler.core.error_budget import ServiceFigures
from eratos.scheduler.core.gates import ServerFigures
from eratos.scheduler.core.mesos_types import InverseOffer, Window
from eratos.scheduler.core.records import BUDGETS, DEPLOYMENTS

CANARY = {"ERATOS_CANARY": "1"}
TIMED = CANARY | {"ERATOS_CANARY_HOLD_S": "60"}
SENTENCE = "the error budget of /web is spent: 10 of 1000 requests failed in 1h, and 99.9% of them were to succeed"


def budgeted(instances: int = 4, labels: dict[str, str] | None = None, **fields: Any) -> App:
    eratos = {"errorBudget": {"objective": 99.9, "window": "1h"}} | fields.pop("eratos", {})
    return an_app("/web", instances, labels={"HAPROXY_0_VHOST": "web.test"} | (labels or {}), eratos=eratos, **fields)


class Counted(Kept):
    """A core with one balancer, which counts what its test says."""

    def __init__(self, app: App | None = None) -> None:
        super().__init__()
        self.answered = self.failed = 0
        self.put(app or budgeted())
        self.rest()

    def look(self, requests: int = 0, failed: int = 0, *, missing: str = "", servers: Any = ()) -> list[actions.Action]:
        """Have the balancer asked two seconds later, which has answered so many more requests."""
        self.now += 2
        self.answered += requests
        self.failed += failed
        figures = () if missing else (ServiceFigures("b1", names.service_name("/web"), self.answered, self.failed),)
        return self.handle(events.FiguresSeen(servers, missing, () if missing else ("b1",), services=figures))

    def spend(self) -> None:
        self.look()
        self.look(1000, 10)
        assert budgets.holds(self.state, "/web") == SENTENCE

    def restore(self) -> None:
        """Have so many requests answered that half of the budget is left."""
        self.look(19_000)
        assert not budgets.holds(self.state, "/web")

    def change(self, *, force: bool = False, **fields: Any) -> list[actions.Action]:
        self.now += 1
        return self.put(budgeted(cmd="new", **fields), force=force)

    @property
    def new(self) -> int:
        version = self.state.apps["/web"].version
        return self.running()["/web"].count(version)


def test_a_change_of_the_definition_waits_for_a_user_who_forces_it() -> None:
    core = Counted()
    core.spend()
    refused = refusal(core.change())
    assert refused.refusal is Refusal.BUDGET
    assert refused.message == (
        f"T{SENTENCE[1:]}. So its instances are not replaced before 10% of the budget is left, which it is at "
        "1970-01-01T01:16:00.000Z at the latest if nothing fails any more. A fix goes out with the option '?force=true'"
    )
    assert refusal(core.command(events.RestartApp("/web"))).refusal is Refusal.BUDGET
    assert not core.state.deployments
    reply(core.change(force=True))
    core.rest()
    assert core.new == 4


def test_a_budget_that_is_restored_lets_changes_through() -> None:
    core = Counted()
    core.spend()
    core.restore()
    reply(core.change())
    core.rest()
    assert core.new == 4


@pytest.mark.parametrize(
    "command",
    [
        events.PutApps((budgeted(6),)),
        events.PutApps((budgeted(2),)),
        events.PutApps((budgeted(eratos={"errorBudget": {"objective": 99, "window": "1h"}}),)),
        events.PutApps((an_app("/other"),)),
        events.DeleteApps(("/web",)),
    ],
)
def test_what_replaces_no_instance_is_not_held(command: events.Command) -> None:
    core = Counted()
    core.spend()
    reply(core.command(command))


def test_the_way_back_to_a_version_that_there_was_is_not_held() -> None:
    core = Counted(budgeted(labels=TIMED))
    before = core.state.apps["/web"].version
    reply(core.change(labels=TIMED))
    core.rest()
    core.tick(60)
    core.rest()
    core.spend()
    reply(core.command(events.PutVersion("/web", before)))
    core.rest()
    core.tick(60)
    core.rest()
    assert core.running()["/web"] == [before] * 4


def test_a_deployment_that_is_under_way_may_be_taken_back() -> None:
    core = Counted(budgeted(labels=CANARY))
    change = reply(core.change(labels=CANARY))
    core.rest()
    core.spend()
    reply(core.command(events.RollBack(change.deployment_id)))
    core.rest()
    assert len(set(core.running()["/web"])) == 1


def test_an_app_without_instances_has_nothing_to_be_disturbed() -> None:
    core = Counted()
    core.spend()
    core.scale("/web", 0)
    core.rest()
    reply(core.change())


def test_one_held_app_refuses_a_change_of_several() -> None:
    core = Counted()
    core.spend()
    out = core.command(events.PutApps((an_app("/other"), budgeted(cmd="new"))))
    assert refusal(out).refusal is Refusal.BUDGET
    assert "/other" not in core.state.apps


def test_no_gate_is_passed_while_the_budget_is_spent_and_no_deadline_runs() -> None:
    core = Counted(budgeted(labels=TIMED))
    change = reply(core.change(labels=TIMED))
    core.rest()
    core.spend()
    for _ in range(20):
        core.tick(1000)
    assert (core.new, list(core.state.deployments)) == (1, [change.deployment_id])
    core.look(1000)  # the failures are older than the window by now
    core.tick(10)
    core.rest()
    assert core.new == 4


def test_a_user_passes_a_gate_with_force_only() -> None:
    core = Counted(budgeted(labels=CANARY))
    change = reply(core.change(labels=CANARY))
    core.rest()
    core.spend()
    refused = refusal(core.command(events.Promote(change.deployment_id)))
    assert refused.refusal is Refusal.BUDGET
    assert refused.message == f"Its gate is not passed: {SENTENCE}. Override with the option '?force=true'"
    core.rest()
    assert core.new == 1
    reply(core.command(events.Promote(change.deployment_id, force=True)))
    core.rest()
    assert core.new == 4


def test_a_forced_change_passes_its_gates_by_itself_with_a_later_leader_too() -> None:
    core = Counted(budgeted(labels=TIMED))
    core.spend()
    change = reply(core.change(force=True, labels=TIMED))
    core.rest()
    assert core.store[DEPLOYMENTS + change.deployment_id].forced
    core.fail_over()
    assert budgets.holds(core.state, "/web")
    core.tick(1)
    core.tick(60)
    core.rest()
    assert core.new == 4


@pytest.mark.parametrize(("failed", "new"), [(0, 4), (1, 1)])
def test_a_gate_that_names_the_budget_lets_as_much_fail_as_it_does(failed: int, new: int) -> None:
    labels = TIMED | {"ERATOS_ROLLBACK": "true", "ERATOS_CANARY_ERRORS": "budget"}
    core = Counted(budgeted(labels=labels))
    before = core.state.apps["/web"].version
    change = reply(core.change(labels=labels))
    core.rest()
    [task] = [i.task_id for i in core.state.with_task() if i.version == change.version]
    for counted in (0, 900):
        rows = (ServerFigures("b1", names.service_id(task), counted, failed * bool(counted), 1),)
        core.look(servers=rows)
    core.now += 60
    core.look(servers=(ServerFigures("b1", names.service_id(task), 900, failed, 1),))
    core.rest()
    assert core.running()["/web"] == ([before] * 4 if failed else [change.version] * new)


def test_a_gate_judged_by_figures_waits_for_the_budget_too() -> None:
    labels = TIMED | {"ERATOS_ROLLBACK": "true", "ERATOS_CANARY_ERRORS": "5%"}
    core = Counted(budgeted(labels=labels))
    change = reply(core.change(labels=labels))
    core.rest()
    core.spend()
    [task] = [i.task_id for i in core.state.with_task() if i.version == change.version]
    core.look(servers=(ServerFigures("b1", names.service_id(task), 0, 0, 1),))
    core.now += 60
    rows = (ServerFigures("b1", names.service_id(task), 900, 0, 1),)
    core.look(servers=rows)
    core.tick(100_000)
    core.rest()
    assert core.new == 1
    core.look(19_000, servers=rows)
    core.rest()
    assert core.new == 4


def moving(core: Counted) -> int:
    return sum(instance.moving for instance in core.state.with_task())


def test_a_drain_without_a_deadline_waits_for_the_budget() -> None:
    core = Counted()
    core.spend()
    core.command(events.PutDrain("host-a1"))
    there = [i for i in core.state.with_task() if i.hostname == "host-a1"]
    assert there
    assert moving(core) == 0
    assert {maintenance.held(core.state, instance) for instance in there} == {SENTENCE}
    core.restore()
    assert moving(core) == len(there)


def test_a_drain_that_has_begun_goes_no_further_once_the_budget_is_spent() -> None:
    core = Counted()
    core.command(events.PutDrain("host-a1"))
    assert moving(core)
    core.spend()
    assert moving(core) == 0


@pytest.mark.parametrize("later", [True, False])
def test_a_host_that_goes_at_a_known_time_is_emptied_whatever_is_left_of_the_budget(later: bool) -> None:
    core = Counted()
    core.spend()
    if later:
        core.command(events.PutDrain("host-a1"))
        assert moving(core) == 0
    core.command(events.PutDrain("host-a1", 600.0))
    assert moving(core) == len([i for i in core.state.with_task() if i.hostname == "host-a1"])


@pytest.mark.parametrize("drained", [True, False])
def test_the_masters_maintenance_is_not_held(drained: bool) -> None:
    core = Counted()
    core.spend()
    if drained:
        core.command(events.PutDrain("host-a1"))
        assert moving(core) == 0
    core.handle(events.InverseOffersReceived((InverseOffer("io1", "a1", Window(core.now + 10)),)))
    assert moving(core)


def test_nothing_is_rebalanced_while_the_budget_is_spent() -> None:
    core = Counted(budgeted(4))
    core.machine.step.settings = replace(core.machine.step.settings, rebalance_budget=1)
    core.offer(an_offer("a3"), an_offer("a4"))  # two hosts without any, beside two with two each
    core.spend()
    rebalance.even_out(core.machine.step)
    assert moving(core) == 0
    core.restore()
    rebalance.even_out(core.machine.step)
    assert moving(core) == 1


def test_what_crashes_is_replaced_whatever_is_left_of_the_budget() -> None:
    core = Counted()
    core.spend()
    core.fail(next(iter(core.state.with_task())).task_id)
    core.tick(10)  # its back-off
    core.rest()
    assert core.new == 4


def test_autoscaling_goes_up_and_not_down() -> None:
    target = {"requestsPerSecond": 100}
    policy = {"min": 1, "max": 9, "target": target, "stabilizationWindowSeconds": 0, "cooldownSeconds": 0}
    core = Counted(budgeted(eratos={"autoscale": policy}))
    core.spend()
    assert scaling.halt(core.state, core.state.apps["/web"], 5) == ""
    assert scaling.halt(core.state, core.state.apps["/web"], 3) == SENTENCE
    # Nothing comes to any of them, for longer than figures are averaged over.
    rows = tuple(ServerFigures("b1", names.service_id(i.task_id), 0, 0, 0) for i in core.state.with_task())
    for _ in range(20):
        core.look(servers=rows)
    assert core.state.apps["/web"].instances == 4
    core.restore()
    for _ in range(20):
        core.look(servers=rows)
    assert core.state.apps["/web"].instances < 4


def test_it_is_stored_once_a_minute_and_at_once_when_it_turns() -> None:
    core = Counted()
    written = [bool(of(actions.Put, core.look(1))) for _ in range(2 * 30 + 2)]
    # The first look finds what was counted before; the second one's is stored at once, and then what came in a minute.
    assert [number for number, found in enumerate(written) if found] == [1, 31, 61]
    core.look(1000, 500)
    assert core.store[BUDGETS + "/web"].spent
    [notice] = [found for found in core.decision.notices if found.message == "error budget is spent"]
    assert (notice.level, notice.fields["app"], notice.fields["failed"]) == ("warning", "/web", 500)


def test_what_is_not_counted_is_not_stored() -> None:
    core = Counted()
    for _ in range(100):
        core.look()
    assert core.keys(BUDGETS) == []


def test_a_later_leader_knows_what_was_spent_and_what_came_since_it_was_stored() -> None:
    core = Counted()
    core.spend()
    core.look(500, 1)
    assert core.store[BUDGETS + "/web"].counts[-1][1:] == (1000, 10)
    core.fail_over()
    assert budgets.holds(core.state, "/web") == SENTENCE
    assert refusal(core.change()).refusal is Refusal.BUDGET
    core.look(500, 1)
    found = core.state.budgets["/web"].balance
    assert (found.requests, found.failed) == (2000, 12)


@pytest.mark.parametrize("command", [events.DeleteApps(("/web",)), events.PutApps((budgeted(eratos={"errorBudget": None}),))])
def test_a_budget_that_nobody_wants_any_more_is_forgotten(command: events.Command) -> None:
    core = Counted()
    core.spend()
    core.command(events.PutDrain("host-a1"))
    assert moving(core) == 0
    core.command(command)
    assert budgets.asked_for(core.state)
    core.look()
    assert (core.keys(BUDGETS), core.state.budgets, budgets.asked_for(core.state)) == ([], {}, False)
    if "/web" in core.state.apps:
        assert moving(core)


def test_a_figure_that_is_missing_holds_nothing_and_frees_nothing() -> None:
    core = Counted()
    for _ in range(100):
        core.look(missing="b1 says nothing: timeout")
    assert not budgets.holds(core.state, "/web")
    core.spend()
    for _ in range(100):
        core.look(missing="b1 says nothing: timeout")
    assert budgets.holds(core.state, "/web") == SENTENCE


def test_one_app_that_breaks_does_not_keep_the_others_from_being_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    core = Counted()
    core.put(an_app("/a", labels={"HAPROXY_0_VHOST": "a.test"}, eratos={"errorBudget": {"objective": 99, "window": "1h"}}))
    wanted = budgets._looked_at

    def broken(step: Any, app: App, *more: Any) -> bool:
        if app.id == "/a":
            raise ZeroDivisionError("a fault of ours")
        return wanted(step, app, *more)

    monkeypatch.setattr(budgets, "_looked_at", broken)
    core.spend()
    assert "a fault of ours" in core.state.launches["/a"].fault
    assert of(actions.Put, core.look()) == []
