"""What ``eratos doctor`` makes of the API's answers: each thing that can be wrong, and what it says where all is well."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest

from eratos.cli import findings
from eratos.cli.findings import Answer, Finding
from eratos.cli.reach import apart

DAY_S = 86_400.0


def told(found: Iterable[Finding] | Finding) -> list[tuple[str, str]]:
    """Return state and part of each finding, having seen that what is wrong has a fix."""
    listed = [found] if isinstance(found, Finding) else list(found)
    assert all(one.fix for one in listed if one.state == "wrong")
    return [(one.state, one.part) for one in listed]


def said(found: Iterable[Finding] | Finding) -> str:
    return "\n".join(f"{one.what} | {one.fix}" for one in ([found] if isinstance(found, Finding) else found))


def info(*, elected: bool = False, leader: str | None = "s1:8080", version: str = "2", zk: str = "zk://z/e") -> dict[str, Any]:
    place = {"zookeeper_config": {"zk": zk}}
    return {"name": "eratos", "version": version, "elected": elected, "leader": leader, **place}


LEADS, FOLLOWS, AWAY = Answer("http://s1", info(elected=True)), Answer("http://s2", info()), Answer("http://s3")


@pytest.mark.parametrize(
    ("answers", "shown", "words"),
    [
        ([LEADS, FOLLOWS], [("well", "leader"), ("well", "store")], "http://s1 leads"),
        ([FOLLOWS], [("well", "leader")], "s1:8080 leads; http://s2 follows"),
        ([AWAY, FOLLOWS], [("well", "leader")], "http://s2 follows"),
        # The one that was elected has lost ZooKeeper, and says so.
        ([Answer("http://s1", info()), FOLLOWS], [("wrong", "leader")], "although s1:8080 is named"),
        ([Answer("http://s1", info(leader=None))], [("wrong", "leader")], "reach it at zk://z/e"),
        ([LEADS, Answer("http://s4", info(elected=True))], [("note", "leader"), ("well", "store")], "several say that they lead"),
        ([Answer("http://s1", info(elected=True, zk=""))], [("well", "leader")], "leads"),
        ([AWAY], [], ""),
    ],
)
def test_who_leads(answers: list[Answer], shown: list[tuple[str, str]], words: str) -> None:
    found = list(findings.leaders(answers))
    assert told(found) == shown
    assert words in said(found)


def test_versions_that_differ_are_told_and_no_fault() -> None:
    assert told(findings.versions([LEADS, FOLLOWS, AWAY], "2")) == [("well", "version")]
    assert told(findings.versions([LEADS, FOLLOWS], "1")) == [("note", "version")]
    mixed = list(findings.versions([LEADS, Answer("http://s2", info(version="1"))], "2"))
    assert told(mixed) == [("note", "version"), ("note", "version"), ("well", "version")]
    assert "http://s1 2, http://s2 1" in said(mixed)


@pytest.mark.parametrize(
    ("name", "roles", "state"),
    [
        ("-", ["operate:/"], "well"),
        ("joe", ["view:/"], "well"),
        ("joe", ["operate"], "well"),
        ("joe", ["deploy:/shop", "view:/"], "well"),
        ("joe", ["view:/shop", "deploy:/shop"], "note"),
        ("joe", [], "wrong"),
    ],
)
def test_who_we_are(name: str, roles: list[str], state: str) -> None:
    assert told(findings.caller({"name": name, "roles": roles})) == [(state, "login")]


@pytest.mark.parametrize(
    ("seconds", "state", "word"), [(0, "well", ""), (29, "well", ""), (30, "wrong", "ahead"), (-90, "wrong", "behind")]
)
def test_clocks(seconds: float, state: str, word: str) -> None:
    found = findings.skew(seconds)
    assert told(found) == [(state, "clock")] and word in found.what


@pytest.mark.parametrize(
    ("sent", "answer", "received", "difference"),
    [
        (100.9, 100, 101.2, 0),  # told in whole seconds
        (100.1, 100, 105.0, 0),
        (100.0, 140, 100.5, 39.5),
        (100.0, 60, 100.5, -39),
        (100.0, 99, 100.5, 0),
    ],
)
def test_how_far_clocks_are_certainly_apart(sent: float, answer: float, received: float, difference: float) -> None:
    assert apart(sent, answer, received) == pytest.approx(difference)


@pytest.mark.parametrize(("days", "state"), [(-1, "wrong"), (3, "wrong"), (13.9, "wrong"), (14.1, "well")])
def test_certificates_that_end(days: float, state: str) -> None:
    assert told(findings.certificate("it", days * DAY_S, "then", "renew it", 14)) == [(state, "certificate")]


@pytest.mark.parametrize(
    ("days", "words"),
    [(14, "lasts until then"), (0.4, "ends in 0 days, on then"), (0, "ends in 0 days"), (-3, "ended 3 days ago")],
)
def test_how_long_a_certificate_lasts_is_said(days: float, words: str) -> None:
    assert words in findings.certificate("it", days * DAY_S, "then", "renew it", 14).what


def test_mesos_and_consul() -> None:
    assert told(findings.mesos({"connected": True, "master": "m:5050", "frameworkId": "f"})) == [("well", "mesos")]
    away = findings.mesos({"connected": False, "reason": "no master leads"})
    assert told(away) == [("wrong", "mesos")] and "no master leads" in away.what
    assert told(findings.consul({"trouble": ""})) == [("well", "consul")]
    assert told(findings.consul({"trouble": "no Consul answers"})) == [("wrong", "consul")]
    assert told(findings.consul(None)) == [("note", "consul")]


def agent(host: str = "h1", **more: Any) -> dict[str, Any]:
    return {"id": host, "host": host, "free": {"cpus": 1, "mem": 1, "ports": 1}, **more}


@pytest.mark.parametrize(
    ("agents", "states", "words"),
    [
        ([agent(), agent("h2")], ["well"], "2 of 2"),
        ([agent(), agent("h2", free=None, used={"cpus": 0.5})], ["note", "well"], "h2 offers nothing: it is full"),
        ([agent(), agent("h2", free=None, used={"cpus": 0})], ["wrong", "well"], "nothing of eratos runs there"),
        ([agent(free=None, used={"cpus": 1})], ["note", "wrong"], "none of 1"),
        ([], ["wrong"], "no agent has offered"),
        ([agent(), agent("h2", maintenance={"begin": "then"})], ["note", "well"], "maintenance from then"),
        ([agent(), agent("h2", drain={"since": "then", "by": "ann"})], ["note", "well"], "drained since then by ann"),
        ([agent(), agent("h2", leftAlone={"until": "then", "startsFailedOf": ["/a"]})], ["wrong", "well"], "starts of /a failed"),
        ([agent(sweep={"since": "then", "launches": 0, "message": "it waits"})], ["note", "well"], "died there at then"),
        ([agent(sweep={"since": "then", "launches": 0})], ["note", "well"], "is to be removed"),
        # Of a role that does not show what is free.
        ([{"id": "h1", "host": "h1"}], ["well"], "1 of 1"),
    ],
)
def test_agents(agents: list[Any], states: list[str], words: str) -> None:
    found = list(findings.agents(agents, ()))
    assert [state for state, _ in told(found)] == states
    assert words in said(found)


def test_a_host_that_is_missed_is_told_once() -> None:
    found = list(findings.agents([agent(), agent("h2", free=None, used={"cpus": 0})], {"h2"}))
    assert told(found) == [("well", "agents")] and "1 of 2" in said(found)


def test_the_brake_and_the_hosts_that_are_missed() -> None:
    assert told(findings.brake({"engaged": False, "lost": []})) == [("well", "brake")]
    lost = [{"host": "h1", "since": "then", "tasks": 5}]
    found = list(findings.brake({"engaged": True, "since": "then", "reason": "5 of 9 lost", "lost": lost}))
    assert told(found) == [("wrong", "brake"), ("wrong", "agents")]
    assert "eratos brake release" in said(found) and "h1 is missed since then with 5 tasks" in said(found)


def app(name: str = "/a", conditions: tuple[str, ...] = ("ready",), **more: Any) -> dict[str, Any]:
    tasks = [{"condition": condition, "agent": "h1"} for condition in conditions]
    return {"id": name, "instances": len(tasks), "waiting": 0, "tasks": tasks, **more}


FAILURE = {"state": "TASK_FAILED", "host": "h1", "message": "exit code 3"}


@pytest.mark.parametrize(
    ("shown", "states", "words"),
    [
        (app(), ["well"], "all of 1"),
        (app(failing=True, lastFailure=FAILURE), ["wrong"], "TASK_FAILED on h1: exit code 3"),
        (app(deploymentFailed="no progress"), ["wrong"], "eratos app rollback /a"),
        (app(conditions=("ready", "unhealthy")), ["wrong"], "1 of 2 instances are unhealthy"),
        (app(conditions=("unreachable",)), ["wrong"], "out of reach on host1"),
        (app(waiting=2, why="4 of 4 offers: InsufficientCpus"), ["wrong"], "InsufficientCpus | eratos app explain /a"),
        (app(waiting=2, deployment="d1"), ["wrong"], "wait for an offer"),
        (app(deployment="d1"), ["note"], "eratos deployment show d1"),
    ],
)
def test_apps(shown: dict[str, Any], states: list[str], words: str) -> None:
    found = list(findings.apps([shown], {"h1": "host1"}))
    assert [state for state, _ in told(found)] == states
    assert words in said(found)


def test_of_many_apps_with_trouble_some_are_named() -> None:
    found = list(findings.apps([app(f"/a{number}", ("unhealthy",)) for number in range(15)], {}))
    assert len(found) == findings.NAMED_MOST + 1
    assert "and 5 more" in said(found)
    few = list(findings.apps([app(f"/a{number}", ("unhealthy",)) for number in range(findings.NAMED_MOST)], {}))
    assert len(few) == findings.NAMED_MOST


def test_what_is_wrong_comes_before_what_is_worth_to_know() -> None:
    assert told(findings.apps([app("/a", deployment="d1"), app("/b", ("unhealthy",))], {})) == [
        ("wrong", "apps"),
        ("note", "apps"),
    ]


def balancer(**more: Any) -> dict[str, Any]:
    servers = [{"id": "s1", "status": "UP"}, {"id": "s2", "status": "DOWN"}]
    return {"name": "b1", "trouble": "", "services": [{"service": "a", "servers": servers}], **more}


@pytest.mark.parametrize(
    ("shown", "states", "words"),
    [
        ([balancer()], ["well"], "b1 (2 servers)"),
        ([balancer(trouble="its companion does not answer")], ["wrong"], "companion does not answer"),
        ([balancer(leftOut=["a: no host name"])], ["wrong"], "leaves out a: no host name"),
        ([balancer(held=["s1", "s2"])], ["note", "well"], "keeps 2 servers"),
        ([balancer(services=[{"service": "a", "servers": [{"status": "DOWN"}]}])], ["wrong"], "none of the 1 servers of a: DOWN"),
        ([balancer(services=[{"service": "a", "servers": [{"status": "no check"}]}])], ["well"], ""),
        ([], ["note"], "none is registered"),
    ],
)
def test_balancers(shown: list[Any], states: list[str], words: str) -> None:
    found = list(findings.balancers(shown))
    assert [state for state, _ in told(found)] == states
    assert words in said(found)


def test_deployments_that_wait_for_somebody() -> None:
    waiting = [{"id": "d1", "eratos": {"paused": True}}, {"id": "d2", "eratos": {"atGateSince": {"/a": "then"}}}, {"id": "d3"}]
    found = list(findings.deployments(waiting))
    assert told(found) == [("note", "apps"), ("note", "apps")]
    assert "resume d1" in said(found) and "promote d2" in said(found)


def test_what_the_leader_counts_of_its_store() -> None:
    text = "# HELP x\neratos_records_spoilt 2.0\neratos_tasks_unknown 0.0\n"
    assert told(findings.spoilt(text)) == [("wrong", "store")]
    assert told(findings.spoilt("eratos_tasks_unknown 3.0\n")) == [("note", "store")]
    assert told(findings.spoilt("")) == []


def test_what_waits_at_a_marathon() -> None:
    assert told(findings.waiting([])) == [("well", "apps")]
    found = list(findings.waiting([({"app": {"id": "/a"}, "count": 2}, "no offer fits")]))
    assert told(found) == [("wrong", "apps")] and "/a: 2 instances wait: no offer fits" in said(found)
