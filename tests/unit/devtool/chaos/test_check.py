"""The invariants: what ``./dev chaos`` holds against a cluster that should be well."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from devtool.chaos import check
from devtool.chaos.check import Checker, Seen, judge, servers_up
from support.chaos import SETTINGS

from eratos.common import names

TASKS = frozenset(f"chaos.instance-{number}._app.1" for number in range(3))
SERVICES = {f"eratos-{task}": True for task in TASKS}
WELL = Seen(
    frameworks=frozenset({"f"}),
    running=TASKS,
    tasks=TASKS,
    known=TASKS,
    containers=TASKS,
    services=SERVICES,
    servers={f"balancer{number}": {"chaos": frozenset(SERVICES)} for number in (1, 2)},
    used_cpus=0.45,
    task_cpus=0.15,
    executors_most=3,
)
WANTED = {"/chaos": frozenset({3})}
ONE = min(TASKS)
STRAY = "chaos.instance-9._app.1"


def broken(**changes: Any) -> list[str]:
    return judge(dataclasses.replace(WELL, **changes), WANTED, "/chaos", "f")


def test_a_cluster_that_is_well_breaks_nothing() -> None:
    assert broken() == []


@pytest.mark.parametrize(
    ("changes", "letters"),
    [
        ({"running": TASKS - {ONE}, "tasks": TASKS - {ONE}}, {"a", "c", "d"}),
        ({"running": frozenset()}, {"b", "d"}),
        ({"tasks": TASKS | {STRAY}}, {"c"}),
        ({"known": TASKS | {STRAY}}, {"c"}),
        ({"containers": TASKS | {STRAY}}, {"d"}),
        ({"containers": TASKS - {ONE}}, {"d"}),
        ({"services": {**SERVICES, f"eratos-{STRAY}": False}}, {"d"}),
        ({"services": {**SERVICES, f"eratos-{ONE}": False}}, {"d"}),
        ({"services": {name: True for name in SERVICES if ONE not in name}}, {"d"}),
        ({"servers": {"balancer1": {"chaos": frozenset(SERVICES) - {f"eratos-{ONE}"}}}}, {"d"}),
        ({"servers": {"balancer1": {"chaos": frozenset(SERVICES), "other": frozenset({f"eratos-{STRAY}"})}}}, {"d"}),
        ({"servers": {"balancer1": {}}}, {"d"}),
        ({"frameworks": frozenset({"g"})}, {"g"}),
        ({"frameworks": frozenset({"f", "g"})}, {"g"}),
        ({"frameworks": frozenset()}, {"g"}),
        ({"used_cpus": 0.55}, {"h"}),
        ({"used_cpus": 0.05}, {"h"}),
    ],
)
def test_each_invariant_is_noticed(changes: dict[str, Any], letters: set[str]) -> None:
    assert {text[1] for text in broken(**changes)} == letters


def test_either_count_is_right_after_a_change_that_was_not_acknowledged() -> None:
    assert judge(WELL, {"/chaos": frozenset({2, 3})}, "/chaos", "f") == []
    assert judge(WELL, {"/chaos": frozenset({1, 2})}, "/chaos", "f") == ["(a) /chaos runs 3 instances, 1 or 2 wanted"]


def test_services_of_further_ports_belong_to_their_task() -> None:
    assert broken(services={**SERVICES, f"eratos-{ONE}-1": True}) == []


def test_names_are_those_of_eratos() -> None:
    task = names.task_id(names.instance_id("/a/b", "6f1c"), 2)
    assert task.startswith(check.prefix("/a/b"))
    assert check._task(names.service_id(task)) == check._task(names.service_id(task, 3)) == task
    assert check.backend("/a/b") == names.service_name("/a/b")


def test_an_offer_is_held_back_when_it_stays() -> None:
    checker = Checker(SETTINGS)
    assert checker.held(frozenset({"o1"}), 0.0) == []
    assert checker.held(frozenset({"o1", "o2"}), check.HELD_S) == []
    assert checker.held(frozenset({"o1", "o2"}), check.HELD_S + 1) == ["(f) offers that are held back: o1"]
    assert checker.held(frozenset({"o2"}), check.HELD_S + 2) == []


def test_servers_of_tasks_that_are_up() -> None:
    text = (
        "# pxname,svname,status\nchaos,eratos-chaos.instance-1._app.1,UP\nchaos,eratos-chaos.instance-2._app.1,DOWN\n"
        "chaos,BACKEND,UP\nstatic,10.0.0.1:80,UP\n"
    )
    assert servers_up(text) == {"chaos": frozenset({"eratos-chaos.instance-1._app.1"})}


def test_retries_are_those_of_the_app_alone() -> None:
    text = "# pxname,svname,wretr,\nchaos,a,1,\nchaos,BACKEND,3,\nprime,BACKEND,5,\nchaos,FRONTEND,,\n"
    assert check.retried(text, "chaos") == 3 and check.retried(text, "hello") == 0
