"""What a task requires: what is found of it, when it starts, how it is told of changes, and when it is outdated."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from support.driven import Driven, of, states, update
from support.executor import TASK

from eratos.common import names
from eratos.common.payload import OnChange, Requirement
from eratos.executor.core import actions as do
from eratos.executor.core import events as on
from eratos.executor.core.progress import SLOW_S
from eratos.executor.core.requirements import (
    QUIET_MOST_S,
    QUIET_S,
    SILENCE_S,
    VARIABLE_BYTES_MAX,
    Found,
    Query,
    found,
    queries,
    variables,
)

RELOAD = OnChange("command", "/reload", 60)
DB = Requirement("db", "REQUIRE_DB", services=("blog-db",), app_id="/blog/db", on_change=RELOAD)
ONE = Found(("10.0.0.1:3306",), ("eratos-db.1",))
TWO = Found(("10.0.0.1:3306", "10.0.0.2:3306"), ("eratos-db.1", "eratos-db.2"))
NONE = Found()


def entry(number: int, *, service: str = "", **meta: str) -> dict[str, Any]:
    marks = {names.META_APP: "/blog/db", names.META_TASK: f"db.{number}"} | {
        f"eratos-{key}": value for key, value in meta.items() if value
    }
    address = f"10.0.0.{number}"
    return {
        "Node": {"Address": address},
        "Service": {"ID": f"eratos-db.{number}{service}", "Address": "", "Port": 3306, "Meta": marks},
    }


def endpoints(requirement: Requirement, *entries: dict[str, Any], task_id: str = TASK) -> set[str]:
    (query,) = queries(requirement)
    return set(found(requirement, task_id, {query: list(entries)}).endpoints)


# What is found ----------------------------------------------------------------------------------------------------------


def test_instances_of_another_app_with_the_same_service_are_none() -> None:
    assert endpoints(DB, entry(1), entry(2, app="/other")) == {"10.0.0.1:3306"}


def test_a_service_of_anybody_is_taken_as_it_is() -> None:
    anybody = replace(DB, app_id="")
    stranger = {"Node": {"Address": "10.0.0.9"}, "Service": {"ID": "pg", "Address": "db.example", "Port": 5432, "Meta": None}}
    assert endpoints(anybody, stranger) == {"db.example:5432"}


def test_an_address_of_ipv6_stands_in_brackets() -> None:
    there = {"Node": {"Address": "fd00::1"}, "Service": {"ID": "pg", "Port": 5432}}
    got = found(replace(DB, app_id=""), TASK, {queries(DB)[0]: [there]})
    assert got.endpoints == ("[fd00::1]:5432",)
    assert variables(DB, got) == {"REQUIRE_DB": "[fd00::1]:5432", "REQUIRE_DB_HOST": "fd00::1", "REQUIRE_DB_PORT": "5432"}


def test_a_task_does_not_find_itself_among_its_peers() -> None:
    assert endpoints(DB, entry(1), entry(2, task=TASK)) == {"10.0.0.1:3306"}


def test_a_named_port_is_found_whichever_service_it_has_and_the_others_of_the_app_are_not() -> None:
    named = replace(DB, services=("blog-db-sql", "blog-db"), port="sql")
    first, second = queries(named)
    got = found(
        named,
        TASK,
        {
            first: [entry(1, port="sql"), entry(2)],  # the second was started before ports were marked
            second: [entry(3, port="sql"), entry(4, port="admin"), entry(5)],
        },
    )
    assert set(got.endpoints) == {"10.0.0.1:3306", "10.0.0.2:3306", "10.0.0.3:3306"}


@pytest.mark.parametrize(
    ("rule", "least", "zones", "expected"),
    [
        ("any", 1, "ab", "ab"),
        ("prefer", 1, "ab", "a"),
        ("prefer", 1, "bb", "bb"),
        ("prefer", 2, "ab", "ab"),  # one alone in its own zone is too few
        ("require", 1, "ab", "a"),
        ("require", 1, "bb", ""),
    ],
)
def test_zones(rule: str, least: int, zones: str, expected: str) -> None:
    wanted = replace(DB, zone="a", zone_rule=rule, least=least)
    there = [entry(number, zone=zone) for number, zone in enumerate(zones, 1)]
    assert len(endpoints(wanted, *there)) == len(expected)


def test_a_task_in_no_zone_prefers_none() -> None:
    assert len(endpoints(replace(DB, zone_rule="prefer"), entry(1), entry(2, zone="b"))) == 2


def test_the_order_stays_for_those_that_stay_and_differs_between_tasks() -> None:
    (query,) = queries(DB)
    many = [entry(number) for number in range(1, 20)]
    mine = found(DB, TASK, {query: many}).endpoints
    assert found(DB, TASK, {query: list(reversed(many))}).endpoints == mine
    fewer = found(DB, TASK, {query: many[1:]}).endpoints
    assert fewer == tuple(endpoint for endpoint in mine if endpoint != "10.0.0.1:3306")
    assert len({found(DB, f"task-{number}", {query: many}).endpoints[0] for number in range(20)}) > 5


def test_consul_is_asked_with_what_it_can_choose_by() -> None:
    asked = Query(service="x", tags=("a", 'b"c'), attributes=(("role", r"^ma\.in$"),))
    role = r"`role` in Service.Meta and Service.Meta[`role`] matches `^ma\.in$`"
    assert asked.filter == f'`a` in Service.Tags and `b"c` in Service.Tags and {role}'
    assert Query(service="x").filter == ""


def test_a_long_value_of_a_key_is_in_its_file_alone() -> None:
    key = Requirement("limits", "REQUIRE_LIMITS", key="shop/limits")
    assert variables(key, Found(value="a\0b")) == {"REQUIRE_LIMITS": "ab"}
    assert variables(key, Found(value="x" * (VARIABLE_BYTES_MAX + 1))) == {}
    assert variables(key, NONE) == {"REQUIRE_LIMITS": ""}


# The start --------------------------------------------------------------------------------------------------------------


@pytest.fixture
def driven() -> Driven:
    return Driven()


def tell(driven: Driven, what: Found, name: str = "db") -> list[do.Action]:
    return driven.handle(on.RequirementFound(TASK, name, what))


def running(driven: Driven, wanted: Requirement = DB, what: Found = ONE, **changes: Any) -> None:
    driven.launch(requires=(wanted,), **changes)
    tell(driven, what, wanted.name)
    driven.handle(on.ContainerStarted(TASK))
    driven.probe()


def test_a_start_waits_for_what_is_required_and_is_told_it(driven: Driven) -> None:
    out = driven.launch(requires=(DB,), env={"REQUIRE_DB_PORT": "mine"})
    assert [type(action) for action in out] == [do.SendUpdate, do.Follow]
    assert states(out) == ["TASK_STARTING"]
    assert tell(driven, NONE) == []
    out = tell(driven, TWO)
    (using,), (start,) = of(do.Using, out), of(do.StartContainer, out)
    assert using.servers == {"eratos-db.1", "eratos-db.2"}
    assert "REQUIRE_DB=10.0.0.1:3306;10.0.0.2:3306" in start.config["Env"]
    assert "REQUIRE_DB_HOST=10.0.0.1" in start.config["Env"]
    assert "REQUIRE_DB_PORT=mine" in start.config["Env"]  # an app's own variable wins, as over Marathon's
    assert start.files == {"requires/db": "10.0.0.1:3306\n10.0.0.2:3306\n"}


def test_what_the_start_waits_for_is_said_again_and_again(driven: Driven) -> None:
    driven.launch(requires=(replace(DB, least=2),))
    tell(driven, ONE)
    first = update(driven.after(SLOW_S))
    assert (first.state, first.message) == ("TASK_STARTING", "requires db: /blog/db has 1 of 2 ready; waiting for 2 s")
    driven.now = driven.machine.next_deadline() or 0
    assert update(driven.after(0)).message != first.message


def test_nothing_is_told_twice_at_one_moment_while_a_start_waits(driven: Driven) -> None:
    driven.launch(requires=(DB, replace(DB, name="other", wait=False)))
    for _ in range(20):
        deadline = driven.machine.next_deadline()
        assert deadline is not None and deadline > driven.now
        driven.now = deadline
        driven.handle(on.Tick())


def test_who_does_not_wait_starts_with_an_empty_list(driven: Driven) -> None:
    driven.launch(requires=(replace(DB, wait=False),))
    (start,) = of(do.StartContainer, tell(driven, NONE))
    assert {"REQUIRE_DB=", "REQUIRE_DB_HOST=", "REQUIRE_DB_PORT="} <= set(start.config["Env"])
    assert start.files == {"requires/db": ""}


def test_who_does_not_wait_starts_although_consul_is_silent(driven: Driven) -> None:
    driven.launch(requires=(replace(DB, wait=False),))
    assert not of(do.StartContainer, driven.after(SILENCE_S - 0.1))
    assert of(do.StartContainer, driven.after(0.1))


def test_who_waits_goes_on_waiting_while_consul_is_silent(driven: Driven) -> None:
    driven.launch(requires=(DB,))
    assert not of(do.StartContainer, driven.after(10 * SILENCE_S))
    assert "Consul has not answered yet" in driven.machine.tasks[TASK].lacks


def test_addresses_that_are_stated_need_nobody(driven: Driven) -> None:
    (start,) = of(do.StartContainer, driven.launch(requires=(Requirement("db", "DB", static=("10.0.0.7:3306",)),)))
    assert "DB=10.0.0.7:3306" in start.config["Env"]


def test_a_start_that_waits_can_be_killed(driven: Driven) -> None:
    driven.launch(requires=(DB,))
    out = driven.kill()
    assert states(out) == ["TASK_KILLING", "TASK_KILLED"]
    assert of(do.Unfollow, out) == [do.Unfollow(TASK)]
    assert not driven.machine.tasks
    assert tell(driven, ONE) == []


def test_a_start_that_waits_ends_with_its_executor(driven: Driven) -> None:
    driven.launch(requires=(DB,))
    out = driven.handle(on.Shutdown("asked"))
    assert states(out) == ["TASK_KILLING", "TASK_KILLED"] and of(do.Exit, out)


def test_a_process_is_told_as_a_container_is(driven: Driven) -> None:
    driven.launch(image="", args=("serve",), requires=(DB,))
    (start,) = of(do.StartProcess, tell(driven, ONE))
    assert start.env["REQUIRE_DB"] == "10.0.0.1:3306" and start.files == {"requires/db": "10.0.0.1:3306\n"}


# Changes ----------------------------------------------------------------------------------------------------------------


def test_a_change_is_told_after_a_moment_of_quiet(driven: Driven) -> None:
    running(driven)
    tell(driven, NONE)
    assert not of(do.TellTask, driven.after(QUIET_S - 0.1))
    tell(driven, TWO)
    assert not of(do.TellTask, driven.after(QUIET_S - 0.1))
    (told,) = of(do.TellTask, driven.after(0.1))
    assert (told.path, told.text, told.on_change) == ("requires/db", TWO.text, RELOAD)
    assert told.env["REQUIRE_DB"] == "10.0.0.1:3306;10.0.0.2:3306"


def test_what_never_rests_is_told_all_the_same(driven: Driven) -> None:
    running(driven)
    told: list[do.TellTask] = []
    for number in range(2, 200):
        tell(driven, Found((f"10.0.0.{number}:3306",), (f"s{number}",)))
        told += of(do.TellTask, driven.after(0.1))
    assert len(told) == 1  # and no second one before the first was answered
    assert driven.now - 100.0 > QUIET_MOST_S


def test_a_change_that_went_back_is_not_told(driven: Driven) -> None:
    running(driven)
    tell(driven, NONE)
    driven.after(0.1)
    tell(driven, ONE)
    assert not of(do.TellTask, driven.after(QUIET_S))
    assert driven.machine.tasks[TASK].requirements.next_at() is None


def test_a_change_while_the_container_starts_is_told_once_it_runs(driven: Driven) -> None:
    driven.launch(requires=(DB,))
    tell(driven, ONE)
    tell(driven, TWO)
    assert not of(do.TellTask, driven.after(10 * QUIET_S))
    driven.handle(on.ContainerStarted(TASK))
    assert of(do.TellTask, driven.after(0))


def test_who_was_told_is_not_outdated(driven: Driven) -> None:
    running(driven)
    tell(driven, TWO)
    driven.after(QUIET_S)
    assert driven.handle(on.RequirementTold(TASK)) == []
    assert not of(do.TellTask, driven.after(100))


def test_who_could_not_be_told_is_outdated_until_it_was(driven: Driven) -> None:
    running(driven)
    tell(driven, TWO)
    driven.after(QUIET_S)
    said = update(driven.handle(on.RequirementTold(TASK, "the command for it ended with exit code 3")))
    assert said.outdated == "required db has changed: the command for it ended with exit code 3"
    assert said.state == "TASK_RUNNING"
    tell(driven, Found())
    driven.after(QUIET_S)
    said = update(driven.handle(on.RequirementTold(TASK)))
    assert said.outdated == ""


@pytest.mark.parametrize(("kind", "outdated"), [("restart", "required db has changed"), ("nothing", ""), ("signal", "")])
def test_what_becomes_of_a_change(driven: Driven, kind: str, outdated: str) -> None:
    running(driven, replace(DB, on_change=OnChange(kind, "SIGHUP" if kind == "signal" else "")))
    tell(driven, TWO)
    (told,) = of(do.TellTask, driven.after(QUIET_S))
    assert told.text == TWO.text  # the file is there in any case
    driven.handle(on.RequirementTold(TASK))
    assert driven.machine.tasks[TASK].requirements.outdated() == outdated


def test_who_restarts_need_not_once_everything_is_as_it_was(driven: Driven) -> None:
    running(driven, replace(DB, on_change=OnChange("restart")))
    for what, outdated in ((TWO, "required db has changed"), (ONE, "")):
        tell(driven, what)
        driven.after(QUIET_S)
        assert update(driven.handle(on.RequirementTold(TASK))).outdated == outdated


def test_two_changes_are_told_one_after_the_other(driven: Driven) -> None:
    driven.launch(requires=(DB, replace(DB, name="cache", variable="REQUIRE_CACHE")))
    tell(driven, ONE)
    tell(driven, ONE, "cache")
    driven.handle(on.ContainerStarted(TASK))
    tell(driven, TWO)
    tell(driven, TWO, "cache")
    (first,) = of(do.TellTask, driven.after(QUIET_S))
    assert not of(do.TellTask, driven.after(1))
    driven.handle(on.RequirementTold(TASK))
    (second,) = of(do.TellTask, driven.after(0))
    assert {first.path, second.path} == {"requires/db", "requires/cache"}


def test_a_task_that_stops_is_told_nothing(driven: Driven) -> None:
    running(driven)
    tell(driven, TWO)
    driven.kill()
    assert not of(do.TellTask, driven.after(QUIET_S))


def test_what_is_said_of_health_says_as_well_whether_it_is_outdated(driven: Driven) -> None:
    running(driven, replace(DB, on_change=OnChange("restart")), checks=1)
    tell(driven, TWO)
    driven.after(QUIET_S)
    driven.handle(on.RequirementTold(TASK))
    driven.now += 10
    driven.handle(on.Tick())
    (said,) = of(do.SendUpdate, driven.probe(False))
    assert (said.update.healthy, said.update.outdated) == (False, "required db has changed")


def test_a_task_that_requires_nothing_says_nothing_of_it(driven: Driven) -> None:
    assert update(driven.run()[:1]).outdated is None


# Who goes by what -------------------------------------------------------------------------------------------------------


def using(out: list[do.Action]) -> set[str] | None:
    found_ = of(do.Using, out)
    return set(found_[-1].servers) if found_ else None


def test_a_server_is_in_use_until_its_task_was_told_that_it_is_gone(driven: Driven) -> None:
    running(driven, what=TWO)
    assert using(tell(driven, ONE)) is None  # still
    driven.after(QUIET_S)
    assert using(driven.handle(on.RequirementTold(TASK))) == {"eratos-db.1"}


def test_who_restarts_goes_by_a_server_until_it_is_replaced(driven: Driven) -> None:
    running(driven, replace(DB, on_change=OnChange("restart")), what=TWO)
    tell(driven, ONE)
    driven.after(QUIET_S)
    assert using(driven.handle(on.RequirementTold(TASK))) is None
    driven.handle(on.ContainerDied(TASK, 0))
    out = driven.handle(on.ContainerExamined(TASK, 0))
    assert of(do.Unfollow, out) and driven.machine.tasks == {}
