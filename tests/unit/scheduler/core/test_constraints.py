"""Constraints by table: each operator on each field, with what Marathon does where an agent has no such value."""

from __future__ import annotations

from typing import Any

import pytest
from support.builders import a_machine, an_app, an_offer

from eratos.marathon import definition, expressions
from eratos.marathon.app import App
from eratos.scheduler.core import actions, constraints, events
from eratos.scheduler.core.machine import Machine
from eratos.scheduler.core.mesos_types import Agent, TaskState
from eratos.scheduler.core.records import InstanceRecord, Stored


def an_agent(value: str | None, field: str) -> Agent:
    match field:
        case "hostname" | "@hostname":
            return Agent("a", value or "")
        case "@region":
            return Agent("a", "h", region=value or "")
        case "@zone":
            return Agent("a", "h", zone=value or "")
    return Agent("a", "h", attributes={} if value is None else {field: value})


def holds(constraint: list[str], value: str | None, placed: list[str]) -> bool:
    limits = constraints.Constraints(an_app(constraints=[constraint]), (an_agent(v, constraint[0]) for v in placed))
    return limits.violated(an_agent(value, constraint[0])) is None


@pytest.mark.parametrize("field", ["hostname", "@hostname", "@region", "@zone", "rack"])
@pytest.mark.parametrize(
    ("operator", "value", "placed", "fits", "misfits"),
    [
        ("UNIQUE", None, ["r1", "r2"], ["r3"], ["r1", "r2"]),
        ("CLUSTER", None, [], ["r1", "r2"], []),
        ("CLUSTER", None, ["r1"], ["r1"], ["r2"]),
        ("CLUSTER", None, ["r1", "r1"], ["r1"], ["r2"]),
        ("CLUSTER", "r2", ["r1"], ["r2"], ["r1"]),
        ("GROUP_BY", None, ["r1", "r2", "r2"], ["r1", "r3"], ["r2"]),
        ("GROUP_BY", None, ["r1"], ["r1", "r2"], []),  # one group is enough
        ("GROUP_BY", None, ["r1", "r1", "r2"], ["r2", "r3"], ["r1"]),  # a new group has fewer than the first
        ("GROUP_BY", None, ["r1", "r1", "r2", "r2"], ["r1", "r2", "r3"], []),
        ("GROUP_BY", "3", ["r1", "r2"], ["r3"], ["r1", "r2"]),
        ("GROUP_BY", "2", ["r1", "r2"], ["r1", "r2", "r3"], []),
        ("LIKE", "r[1-2]", [], ["r1", "r2"], ["r3", "xr1", "r11"]),
        ("UNLIKE", "r[1-2]", [], ["r3", "xr1", "r11"], ["r1", "r2"]),
        ("MAX_PER", "2", ["r1", "r1", "r2"], ["r2", "r3"], ["r1"]),
        ("IS", "r1", ["r1"], ["r1"], ["r2", "R1"]),
    ],
)
def test_every_operator_on_every_field(
    field: str, operator: str, value: str | None, placed: list[str], fits: list[str], misfits: list[str]
) -> None:
    constraint = [field, operator] if value is None else [field, operator, value]
    assert [found for found in fits + misfits if holds(constraint, found, placed)] == fits


@pytest.mark.parametrize("field", ["@region", "@zone", "rack"])
@pytest.mark.parametrize(
    ("operator", "value"),
    [("UNIQUE", ""), ("CLUSTER", ""), ("CLUSTER", "r"), ("GROUP_BY", ""), ("LIKE", ".*"), ("MAX_PER", "9"), ("IS", "r")],
)
def test_an_agent_without_the_value_fulfils_nothing_but_unlike(field: str, operator: str, value: str) -> None:
    assert not holds([field, operator, value] if value else [field, operator], None, [])
    assert holds([field, "UNLIKE", ".*"], None, [])


@pytest.mark.parametrize(
    ("field", "why"), [("@region", "no fault domain"), ("@zone", "no fault domain"), ("rack", "no such attribute")]
)
def test_it_is_said_what_an_agent_lacks(field: str, why: str) -> None:
    limits = constraints.Constraints(an_app(constraints=[[field, "LIKE", ".*"]]), ())
    violated = limits.violated(an_agent(None, field))
    assert violated is not None
    assert why in limits.explain(violated, an_agent(None, field))


@pytest.mark.parametrize(
    ("constraint", "value", "reason"),
    [
        (["rack", "IS", "r1"], "r2", "constraints: rack IS r1 not fulfilled by h (rack=r2)"),
        (["rack", "UNIQUE"], None, "constraints: rack UNIQUE not fulfilled by h (no such attribute)"),
    ],
)
def test_what_is_not_fulfilled_is_said_with_the_agents_value(constraint: list[str], value: str | None, reason: str) -> None:
    limits = constraints.Constraints(an_app(constraints=[constraint]), ())
    agent = an_agent(value, "rack")
    violated = limits.violated(agent)
    assert violated is not None and limits.explain(violated, agent) == reason


@pytest.mark.parametrize(
    ("wanted", "actual", "fits"),
    [("0.8", "0.8", True), ("0.80", "0.8", True), ("0.8001", "0.8", True), ("0.81", "0.8", False), ("1e3", "1000", False)],
)
def test_is_compares_numbers_to_the_nearest_thousandth(wanted: str, actual: str, fits: bool) -> None:
    assert holds(["level", "IS", wanted], actual, []) == fits


@pytest.mark.parametrize("operator", ["LIKE", "UNLIKE"])
@pytest.mark.parametrize("value", ["a1", None])
def test_an_expression_of_before_that_is_refused_now_fits_nowhere_and_says_why(operator: str, value: str | None) -> None:
    stored = an_app().to_json() | {"version": "v1", "constraints": [["rack", operator, "(a)\\1"]]}
    app = definition.restore(stored)
    limits = constraints.Constraints(app, ())
    violated = limits.violated(an_agent(value, "rack"))
    assert violated is not None
    assert "back-reference" in limits.explain(violated, an_agent(value, "rack"))
    [named] = constraints.refusals(app)
    assert named.startswith(f"rack {operator} (a)\\1: its expression \\1 is not supported")


def test_instances_of_an_app_with_such_an_expression_go_on() -> None:
    app = definition.restore(an_app().to_json() | {"version": "v1", "constraints": [["rack", "LIKE", "(a)\\1"]]})
    record = InstanceRecord("prime.instance-i1", "/prime", "v1", 1, "a1", "h1", (31000,), 900.0, "TASK_RUNNING")
    machine = a_machine(Stored("fw1", (app.with_instances(2),), (record,)))
    machine.handle(events.Subscribed("fw1", "m:5050"), 1000.0)
    out = machine.handle(events.OffersReceived((an_offer(attributes={"rack": "aa"}),)), 1001.0)
    assert not [action for action in out if isinstance(action, actions.Accept | actions.Kill)]
    [refusal] = machine.state.launches_of("/prime").refusals.values()
    assert "nothing is placed until it is mended" in refusal.detail


def test_only_what_group_by_closes_may_be_opened_by_instances_elsewhere() -> None:
    rack1 = Agent("a", "h1", zone="z1", attributes={"rack": "r1"})
    rack2 = Agent("b", "h2", zone="z2", attributes={"rack": "r2"})
    limits = constraints.Constraints(an_app(constraints=[["rack", "GROUP_BY", "2"], ["@hostname", "UNIQUE"]]), ())
    assert limits.group(rack1) == ("r1",), "by what it is grouped alone"
    assert not limits.reopens(rack1), "nothing is closed there"
    limits.add(rack1)
    assert not limits.reopens(rack1), "it has one of its own, which no other changes"
    assert limits.reopens(Agent("c", "h3", attributes={"rack": "r1"}))
    assert not limits.reopens(rack2)
    assert constraints.Constraints(an_app(constraints=[["@hostname", "UNIQUE"]]), ()).group(rack1) == ()


# What expressions cost


def compared(app: App, agents: list[Agent], verdicts: constraints.Verdicts) -> tuple[int, int]:
    """Compare an app with agents in one round; return how much work that was, and how many agents had to wait."""
    verdicts.begin_round()
    limits = constraints.Constraints(app, (), verdicts=verdicts)
    said = [limits.explain(found, agent) for agent in agents if (found := limits.violated(agent)) is not None]
    return constraints.WORK_MOST - verdicts.work_left, sum("not compared" in text for text in said)


def test_a_round_has_its_bound_whatever_expressions_take_and_the_next_ones_go_on_where_it_ended() -> None:
    worst = [["@hostname", "UNLIKE", f"([a-z0-9]?){{{400 + number}}}!"] for number in range(10)]
    app = an_app(constraints=worst)
    agents = [Agent(f"a{number}", f"{number:03d}".ljust(200, "x")) for number in range(50)]
    of_one = sum(expressions.Expression(value).work(agents[0].hostname) for _, _, value in worst)
    verdicts = constraints.Verdicts()
    waited, rounds = len(agents), 0
    while waited:
        work, wait = compared(app, agents, verdicts)
        assert 0 < work < constraints.WORK_MOST + of_one
        assert wait < waited, "no host was compared"
        waited, rounds = wait, rounds + 1
    assert rounds > 5
    assert compared(app, agents, verdicts) == (0, 0), "values repeat, and what is known of them is not worked out again"


def test_work_is_shared_by_all_apps_of_a_round(monkeypatch: pytest.MonkeyPatch) -> None:
    verdicts = constraints.Verdicts()
    monkeypatch.setattr(constraints, "WORK_MOST", 1)
    verdicts.begin_round()
    agent = an_agent("r1", "rack")
    apps = [an_app(constraints=[["rack", "LIKE", text]]) for text in "rs"]
    first, second = (constraints.Constraints(app, (), "", verdicts) for app in apps)
    assert first.violated(agent) == ("rack", "LIKE", "r")
    assert (found := second.violated(agent)) is not None, "the first one has used up the round"
    assert "not compared with h yet" in second.explain(found, agent)
    verdicts.begin_round()
    assert second.violated(agent) == ("rack", "LIKE", "s")


def test_a_round_that_is_over_reads_no_more_expressions(monkeypatch: pytest.MonkeyPatch) -> None:
    """After a change of leaders none is read yet, and that may take milliseconds for each."""
    app = an_app(constraints=[["rack", "LIKE", "r"]])
    read: list[str] = []
    monkeypatch.setattr(expressions, "compiled", lambda text: read.append(text) or expressions.Expression(text))
    verdicts = constraints.Verdicts(work_left=0)
    limits = constraints.Constraints(app, (), "", verdicts)
    limits.violated(an_agent("r1", "rack"))
    assert not read
    verdicts.begin_round()
    limits.violated(an_agent("r1", "rack"))
    assert set(read) == {"r"}


def test_reading_an_expression_is_work_once_while_it_is_in_use(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constraints, "READ_MOST", 2)
    verdicts = constraints.Verdicts()

    def work(text: str) -> float:
        before = verdicts.work_left
        verdicts.read(text)
        return before - verdicts.work_left

    costs = {text: expressions.Expression(text).reading for text in ("a", "b.*", "c{100}")}
    assert [work("a"), work("a")] == [costs["a"], 0]
    assert [work("b.*"), work("a"), work("c{100}")] == [costs["b.*"], 0, costs["c{100}"]]
    assert [work("a"), work("b.*")] == [0, costs["b.*"]], "what was not used for longest is forgotten"


@pytest.mark.parametrize(
    ("verdicts_most", "apps_most", "kept"), [(2, 9, ["r2", "r3"]), (9, 1, ["r3"]), (9, 9, ["r1", "r2", "r3"])]
)
def test_verdicts_that_have_not_been_asked_for_longest_are_forgotten(
    verdicts_most: int, apps_most: int, kept: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(constraints, "VERDICTS_MOST", verdicts_most)
    monkeypatch.setattr(constraints, "APPS_MOST", apps_most)
    verdicts = constraints.Verdicts()
    verdicts.begin_round()
    agent = an_agent("r1", "rack")
    apps = {text: an_app(constraints=[["rack", "LIKE", text]]) for text in ("r2", "r1", "r3")}
    for text in ("r2", "r1", "r2", "r3"):  # r1 is the oldest
        constraints.Constraints(apps[text], (), "", verdicts).violated(agent)
    verdicts.begin_round()
    matched: list[str] = []
    monkeypatch.setattr(expressions, "compiled", lambda text: matched.append(text) or expressions.Expression(text))
    for app in apps.values():
        verdicts.work_left = constraints.WORK_MOST
        constraints.Constraints(app, (), "", verdicts).violated(agent)
    assert sorted(apps.keys() - set(matched)) == kept


def test_counts_are_looked_up_and_not_searched() -> None:
    """GROUP_BY and CLUSTER over all values for each agent would make a placement quadratic."""
    counts = constraints._Counts()
    for value in ("a", "b", "a", "c", "b", "c"):
        counts.add(value)
        assert counts.least == min(counts.by_value.values())
    assert counts.least == 2


# Regions


def a_core(app: App, region: str = "home", **settings: Any) -> Machine:
    machine = a_machine(**settings)
    machine.handle(events.Subscribed("fw1", "m:5050", region), 1000.0)
    machine.handle(events.CommandReceived(1, events.PutApps((app,))), 1000.0)
    return machine


def agents_used(machine: Machine) -> list[str]:
    offers = an_offer("a1", region="home", zone="z"), an_offer("b1", region="far", zone="z"), an_offer("c1")
    out = machine.handle(events.OffersReceived(offers), 1001.0)
    return sorted(action.agent_id for action in out if isinstance(action, actions.Accept))


@pytest.mark.parametrize(
    ("constraint", "region", "agents"),
    [
        ([], "home", ["a1", "c1"]),  # an agent without a region is in the master's
        ([["@zone", "IS", "z"]], "home", ["a1"]),  # a zone's name says no region
        ([["@region", "IS", "far"]], "home", ["b1"]),
        ([["@region", "LIKE", ".*"]], "home", ["a1", "b1"]),
        ([["@region", "UNLIKE", "home"]], "home", ["b1", "c1"]),
        ([["@region", "GROUP_BY", "2"]], "home", ["a1", "b1"]),
        ([], "", ["a1", "b1", "c1"]),  # the master names no region: all are alike
    ],
)
def test_apps_stay_in_the_masters_region_unless_they_ask_otherwise(
    constraint: list[list[str]], region: str, agents: list[str]
) -> None:
    assert agents_used(a_core(an_app(instances=4, constraints=constraint), region)) == agents


def test_an_offer_of_another_region_is_explained_with_the_way_out() -> None:
    machine = a_core(an_app())
    machine.handle(events.OffersReceived((an_offer("b1", region="far"),)), 1001.0)
    [refusal] = machine.state.launches_of("/prime").refusals.values()
    assert refusal.reason.value == "UnfulfilledConstraint"
    expected = 'host-b1 is in region far and the master in home: to run there, add the constraint ["@region", "IS", "far"]'
    assert refusal.detail == expected


def test_nothing_is_moved_towards_another_region_to_even_out_the_spread() -> None:
    machine = a_core(an_app(instances=2), rebalance_budget=1)
    machine.handle(events.OffersReceived((an_offer("a1", region="home", zone="z1"),)), 1001.0)
    for instance in machine.state.instances.values():
        machine.state.alter(instance, state=TaskState.RUNNING)
    for now in (1031.0, 1062.0, 1093.0):
        machine.handle(events.OffersReceived((an_offer("b1", region="far", zone="z2"),)), now)
    assert not any(instance.moving for instance in machine.state.instances.values())
    machine.handle(events.OffersReceived((an_offer("a2", region="home", zone="z2"),)), 1094.0)
    machine.handle(events.Tick(), 1130.0)
    assert any(instance.moving for instance in machine.state.instances.values())


def test_an_agent_that_moved_to_another_region_is_seen_there() -> None:
    machine = a_core(an_app())
    machine.state.known_agent(an_offer("a1", region="far"))
    assert machine.state.known_agent(an_offer("a1", region="home")).region == "home"
