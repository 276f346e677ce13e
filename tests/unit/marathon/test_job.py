"""Metronome's jobs: what is read, what a run of one is as an app, and what is refused where."""

from __future__ import annotations

from typing import Any

import pytest

from eratos.marathon import job
from eratos.marathon.errors import InvalidApp

WHOLE: dict[str, Any] = {
    "id": "shop.backup",
    "description": "every night",
    "labels": {"owner": "db"},
    "run": {
        "cmd": "tar c /data > /backup/data.tar",
        "cpus": 0.5,
        "mem": 64,
        "disk": 10,
        "docker": {
            "image": "debian:13",
            "forcePullImage": True,
            "privileged": False,
            "parameters": [{"key": "init", "value": "true"}],
        },
        "artifacts": [{"uri": "https://example.org/a.zip", "extract": False, "executable": True, "cache": False}],
        "env": {"LEVEL": "9", "KEY": {"secret": "key"}},
        "secrets": {"key": {"source": "/shop/key"}},
        "maxLaunchDelay": 600,
        "placement": {"constraints": [{"attribute": "rack", "operator": "EQ", "value": "r2"}]},
        "restart": {"policy": "ON_FAILURE", "activeDeadlineSeconds": 120},
        "user": "backup",
        "volumes": [{"containerPath": "/data", "hostPath": "/srv/data", "mode": "RO"}],
    },
    "schedules": [{"id": "nightly", "cron": "0 3 * * *", "timezone": "Europe/Berlin", "concurrencyPolicy": "FORBID"}],
}


def test_a_run_is_described_as_an_app_is() -> None:
    app = job.parse(WHOLE).app
    shown = app.to_json()
    assert shown["id"] == "/shop/backup" and shown["labels"] == {"owner": "db"}
    assert (app.cmd, app.cpus, app.mem, app.disk, app.user) == ("tar c /data > /backup/data.tar", 0.5, 64, 10, "backup")
    assert shown["constraints"] == [["rack", "IS", "r2"]]
    assert shown["maxLaunchDelaySeconds"] == 600
    assert shown["fetch"][0]["executable"] is True
    assert shown["container"]["docker"]["forcePullImage"] is True
    assert shown["container"]["volumes"] == [{"containerPath": "/data", "hostPath": "/srv/data", "mode": "RO"}]
    assert app.env == {"LEVEL": "9"} and app.secret_env == {"KEY": "/shop/key"}
    assert app.ports == () and app.instances == 1


def test_a_run_on_a_network_of_its_own_has_no_ports_either() -> None:
    run = {"docker": {"image": "x"}, "networks": [{"mode": "container/bridge"}]}
    app = job.parse({"id": "a", "run": run}).app
    assert app.network == "bridge" and app.ports == ()


def test_what_is_shown_can_be_sent_back_and_stored() -> None:
    read = job.parse(WHOLE)
    shown = {**read.to_json(), "historySummary": {}, "activeRuns": [], "history": {}}
    shown["schedules"][0]["nextRunAt"] = "2026-01-01T00:00:00Z"
    assert job.parse(shown) == read == job.restore(read.to_json())


def test_schedules_stay_where_a_change_says_nothing_of_them() -> None:
    before = job.parse(WHOLE)
    changed = job.parse({"id": "shop.backup", "run": {"cmd": "x"}}, before)
    assert changed.schedules == before.schedules
    assert job.parse({"id": "shop.backup", "run": {"cmd": "x"}, "schedules": []}, before).schedules == ()


def _run(**fields: Any) -> dict[str, Any]:
    return {"id": "a", "run": {"cmd": "x", **fields}}


def _scheduled(*schedules: Any) -> dict[str, Any]:
    return {"id": "a", "run": {"cmd": "x"}, "schedules": list(schedules)}


@pytest.mark.parametrize(
    ("document", "place", "said"),
    [
        ([], "/", "must be an object"),
        ({"id": "a"}, "/run", "is missing"),
        ({"id": "a", "run": {}}, "/run/docker", "is missing"),
        ({"id": "Shop", "run": {"cmd": "x"}}, "/id", "lowercase"),
        ({"id": "/shop/backup", "run": {"cmd": "x"}}, "/id", "with dots"),
        ({"id": "a" * 141, "run": {"cmd": "x"}}, "/id", "141 characters"),
        ({"id": "a.tasks", "run": {"cmd": "x"}}, "/id", "must not end in"),
        ({"id": 5, "run": {"cmd": "x"}}, "/id", "must be text"),
        ({**_run(), "runs": 1}, "/runs", "did you mean run"),
        ({**_run(), "description": "x" * 5000}, "/description", "5000 characters"),
        ({**_run(), "dependencies": [{"id": "b"}]}, "/dependencies", "refused"),
        ({**_run(), "labels": {"HAPROXY_0_VHOST": "x"}}, "/labels", ""),
        (_run(cpus=-1), "/run/cpus", "at least"),
        (_run(cmd=5), "/run/cmd", "must be text"),
        (_run(args=["y"]), "/run/args", "goes without cmd"),
        (_run(docker={"image": "x", "imag": "y"}), "/run/docker/imag", "is no field"),
        (_run(ucr={"image": {"id": "x"}}), "/run/ucr", "use docker"),
        (_run(artifacts=[{"uri": ""}]), "/run/artifacts", ""),
        (_run(docker={"image": "x"}, volumes=[{"containerPath": "/x"}]), "/run/volumes(0)", ""),
        (
            _run(placement={"constraints": [{"attribute": "a", "operator": "UNIQUE"}]}),
            "/run/placement/constraints(0)/operator",
            "EQ",
        ),
        (
            _run(placement={"constraints": [{"attribute": "a", "operator": "LIKE", "value": "("}]}),
            "/run/placement/constraints(0)",
            "",
        ),
        (_run(restart={"policy": "ALWAYS"}), "/run/restart/policy", "NEVER"),
        (_run(maxLaunchDelay=-1), "/run/maxLaunchDelay", "at least"),
        (_run(env={"A": 5}), "/run/env", ""),
        (_run(networks=True), "/run/networks", "must be a list"),
        (_run(cmd="a\0b"), "/run/cmd", "NUL"),
        (_run(cmd="x" * 300_000), "/", "are the most"),
        (_scheduled({"id": "s", "cron": "0 0 30 2 *"}), "/schedules(0)/cron", "never comes"),
        (_scheduled({"id": "s", "cron": "x"}), "/schedules(0)/cron", "fields"),
        (_scheduled({"id": "s"}), "/schedules(0)/cron", "is missing"),
        (_scheduled({"id": "s", "cron": "* * * * *", "timezone": "Nowhere"}), "/schedules(0)/timezone", "no time zone"),
        (_scheduled({"id": "s", "cron": "* * * * *", "concurrencyPolicy": "SOME"}), "/schedules(0)/concurrencyPolicy", "ALLOW"),
        (
            _scheduled({"id": "s", "cron": "* * * * *", "startingDeadlineSeconds": 0}),
            "/schedules(0)/startingDeadlineSeconds",
            "at least",
        ),
        (_scheduled({"id": "-", "cron": "* * * * *"}), "/schedules(0)/id", "letters"),
        (_scheduled(*[{"id": "s", "cron": "* * * * *"}] * 2), "/schedules(1)/id", "another schedule"),
        (_scheduled(*[{"id": f"s{n}", "cron": "* * * * *"} for n in range(21)]), "/schedules", "at most 20"),
        (_scheduled("daily"), "/schedules(0)", "must be an object"),
    ],
)
def test_what_is_wrong_is_told_with_its_place(document: Any, place: str, said: str) -> None:
    with pytest.raises(InvalidApp) as refused:
        job.parse(document)
    found = [problem for problem in refused.value.problems if problem.path.startswith(place)]
    assert found and any(said in problem.message for problem in found), refused.value.problems


@pytest.mark.parametrize(
    "document", [None, [], {"id": "s"}, {"id": "s", "cron": "* * * * *", "cronn": "x"}, {"cron": "* * * * *"}]
)
def test_a_schedule_alone_is_read_by_the_same_rules(document: Any) -> None:
    with pytest.raises(InvalidApp):
        job.parse_schedule(document)
