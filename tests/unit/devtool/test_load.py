"""./dev load: where a load may go, what the generator is asked for, and what people get to read of its answers."""

from __future__ import annotations

import argparse
import json
import os
import socket
import sys
from pathlib import Path
from typing import Any

import pytest
from devtool import health, rotation
from devtool.load import command, generator, most, plan, report
from devtool.load.plan import Aim, Shape, Target
from devtool.settings import Settings
from devtool.terminal import Problem
from support.waiting import until

from eratos.common import names

SETTINGS = Settings()


def figures(requests: int = 0, **reasons: int) -> dict[str, Any]:
    failed = sum(reasons.values())
    times = dict.fromkeys(("p50_s", "p90_s", "p99_s", "p999_s", "slowest_s"), 0.05)
    return {"requests": requests, "failed": failed, "reasons": dict(reasons), **times}


def summary(requests: int = 100, held: dict[str, Any] | None = None, **reasons: int) -> dict[str, Any]:
    return {
        **figures(requests, **reasons),
        "seconds": 10.0,
        "late_most_s": 0.0,
        "retried": 0,
        "unnamed": 0,
        "wrong_app": reasons.get("wrong app", 0),
        "targets": {"balancer1": figures(requests, **reasons)},
        "instances": {},
        "held": held or {},
        "failures": [],
    }


@pytest.mark.parametrize(
    ("text", "found"), [("90", 90), ("1.5", 1.5), ("30s", 30), ("2m", 120), ("1h", 3600), ("0.5m", 30), ("24h", 86400)]
)
def test_durations(text: str, found: float) -> None:
    assert plan.seconds("--duration", text) == found


@pytest.mark.parametrize("text", ["", "0", "0s", "-5", "5d", "soon", "1h30m", "inf", "nan", "1e9", "25h"])
def test_no_durations(text: str) -> None:
    with pytest.raises(Problem, match="--duration"):
        plan.seconds("--duration", text)


@pytest.mark.parametrize(
    ("shape", "word"),
    [
        (Shape(rate=0), "--rate"),
        (Shape(rate=-1), "--rate"),
        (Shape(rate=float("nan")), "--rate"),
        (Shape(rate=float("inf")), "--rate"),
        (Shape(keep_alive=1.1), "--keep-alive"),
        (Shape(keep_alive=float("nan")), "--keep-alive"),
        (Shape(timeout_s=0), "--timeout"),
        (Shape(websockets=-1), "--websockets"),
        (Shape(long=-1), "--long"),
        (Shape(under_way=0), "--connections"),
        (Shape(websocket_path="ws"), "--websocket-path"),
        (Shape(long_path="/a b"), "--long-path"),
    ],
)
def test_a_load_that_makes_no_sense_is_refused_with_the_option(shape: Shape, word: str) -> None:
    with pytest.raises(Problem, match=word):
        plan.check(shape)


@pytest.mark.parametrize(
    ("url", "target", "host", "path"),
    [
        ("http://127.0.0.1:8000/", "http://127.0.0.1:8000", "127.0.0.1:8000", "/"),
        ("http://127.0.0.1", "http://127.0.0.1:80", "127.0.0.1", "/"),
        ("https://127.0.0.1:8443/a/b?c=d", "https://127.0.0.1:8443", "127.0.0.1:8443", "/a/b?c=d"),
        ("http://[::1]:8000/", "http://[::1]:8000", "[::1]:8000", "/"),
        ("http://127.9.9.9:1/#part", "http://127.9.9.9:1", "127.9.9.9:1", "/"),
        ("http://10.87.213.41:8000/", "http://10.87.213.41:8000", "10.87.213.41:8000", "/"),
    ],
)
def test_a_url_of_this_machine(monkeypatch: pytest.MonkeyPatch, url: str, target: str, host: str, path: str) -> None:
    monkeypatch.setattr(plan, "cluster_addresses", lambda settings: {"10.87.213.41"})
    aim = plan.at_url(SETTINGS, url)
    assert [found.url for found in aim.targets] == [target]
    assert (aim.host, aim.path, aim.network) == (host, path, "host")


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("http://192.0.2.1/", "not this machine"),
        ("http://10.87.213.42:8000/", "not this machine"),
        ("http://[2001:db8::1]/", "not this machine"),
        ("http://0.0.0.0:8000/", "not this machine"),
        ("http://224.0.0.1/", "not this machine"),
        ("http://255.255.255.255/", "not this machine"),
        ("http://[::]/", "not this machine"),
        ("http://name.invalid/", "no name or address"),
        ("ftp://127.0.0.1/", "no HTTP URL"),
        ("http:///path", "no HTTP URL"),
        ("http://127.0.0.1:99999/", "no URL"),
        ("http://[::1/", "no URL"),
        ("http://user:word@127.0.0.1/", "user name"),
        ("http://127.0.0.1/a b", "path"),
    ],
)
def test_any_other_url_is_refused(monkeypatch: pytest.MonkeyPatch, url: str, words: str) -> None:
    monkeypatch.setattr(plan, "cluster_addresses", lambda settings: {"10.87.213.41"})
    with pytest.raises(Problem, match=words):
        plan.at_url(SETTINGS, url)


def test_a_name_with_one_foreign_address_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plan, "cluster_addresses", lambda settings: set())
    found = [(0, 0, 0, "", (address, 0)) for address in ("127.0.0.1", "192.0.2.7")]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *words, **more: found)
    with pytest.raises(Problem, match=r"192\.0\.2\.7"):
        plan.at_url(SETTINGS, "http://both.example/")


def test_the_generator_knows_the_names_of_an_apps_instances() -> None:
    for app_id in ("/prime", "/shop/backend/numbers"):
        task = names.task_id(names.instance_id(app_id, "6f1c0a52-0000-4000-8000-000000000000"), 1)
        assert task.startswith(plan.instance_prefix(app_id))
    assert not names.task_id(names.instance_id("/prime2", "0"), 1).startswith(plan.instance_prefix("/prime"))


def test_a_plan_has_the_ramp_first_and_posts_no_kept_connections() -> None:
    aim = Aim("/prime", (Target("balancer1", "http://10.0.0.1:8000"),), "n", "a.localhost", "/p", "prime.instance-", named=True)
    made = plan.plan(aim, Shape(rate=20, seconds=30, ramp_s=5))
    assert made["stages"] == [{"seconds": 5, "from": 0, "to": 20}, {"seconds": 30, "from": 20, "to": 20}]
    assert made["keep_alive"] == 0.5
    assert (made["host"], made["path"], made["instance"], made["named"]) == ("a.localhost", "/p", "prime.instance-", True)
    assert plan.plan(aim, Shape(method="POST"))["keep_alive"] == 0
    assert plan.plan(aim, Shape(http2=True))["keep_alive"] == 1
    assert plan.plan(aim, Shape(clients=8))["under_way"] == 8


@pytest.mark.parametrize(
    ("meta", "host", "path"),
    [
        ({"haproxy-path": "/"}, "", "/"),
        ({}, "", "/"),
        ({"haproxy-path": "/hello"}, "", "/hello"),
        ({"haproxy-vhost": "a.localhost"}, "a.localhost", "/"),
        ({"haproxy-vhost": "b.localhost,a.localhost", "haproxy-path": "/x/"}, "a.localhost", "/x"),
        ({"haproxy-vhost": "*.example.com"}, "load.example.com", "/"),
    ],
)
def test_the_route_of_an_app(monkeypatch: pytest.MonkeyPatch, meta: dict[str, str], host: str, path: str) -> None:
    asked = []

    def consul_get(_settings: Settings, what: str, _datacenter: str) -> list[Any]:
        asked.append(what)
        return [{"Service": {"Meta": meta}}]

    an_app(monkeypatch, rotation.Count(2), rotation.Count(0, answers=False), rotation.Count(2))
    monkeypatch.setattr(health, "consul_get", consul_get)
    aim = plan.at_app(SETTINGS, "shop/cart_a")
    assert asked == [f"/v1/health/service/{names.service_name('/shop/cart_a')}?passing"]
    assert (aim.host, aim.path, aim.instance) == (host, path, "shop_cart_a.instance-")
    assert [target.name for target in aim.targets] == ["balancer1", "balancer3"]
    assert plan.at_app(SETTINGS, "shop/cart_a", "/other").path == "/other"


def an_app(monkeypatch: pytest.MonkeyPatch, *counts: rotation.Count) -> None:
    class Looked:
        def counts(self, _app_id: str) -> list[rotation.Count]:
            return list(counts)

    monkeypatch.setattr(plan.fleet, "app", lambda settings, app_id: {"id": app_id})
    monkeypatch.setattr(rotation, "look", lambda settings: Looked())
    monkeypatch.setattr(plan, "balancer_addresses", lambda settings: {f"balancer{n}": f"10.0.0.{n}" for n in (1, 2, 3)})


def test_apps_that_cannot_be_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    an_app(monkeypatch, rotation.Count(0), rotation.Count(2, served=False))
    with pytest.raises(Problem, match="in rotation"):
        plan.at_app(SETTINGS, "/prime")
    an_app(monkeypatch, rotation.Count(1))
    monkeypatch.setattr(
        health, "consul_get", lambda *words: [{"Service": {"Meta": {"haproxy-mode": "tcp", "haproxy-port": "1"}}}]
    )
    with pytest.raises(Problem, match="TCP"):
        plan.at_app(SETTINGS, "/prime")
    monkeypatch.setattr(plan.fleet, "app", lambda settings, app_id: None)
    monkeypatch.setattr(plan.fleet, "apps", lambda settings: [{"id": "/hello"}])
    with pytest.raises(Problem, match="no app /prime") as caught:
        plan.at_app(SETTINGS, "/prime")
    assert "/hello" in caught.value.fix


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--rate", "0"], "--rate"),
        (["--duration", "0s"], "--duration"),
        (["--ramp", "never"], "--ramp"),
        (["--path", "x"], "--path"),
        (["http://127.0.0.1/", "--path", "/x"], "--path is for apps"),
        (["--find-max", "--p99", "0"], "--p99"),
        (["--find-max", "--rate", "5"], "--rate means nothing"),
        (["--find-max", "--duration", "5s"], "--duration means nothing"),
        (["--find-max", "--ramp", "5s"], "--ramp means nothing"),
        (["--p99", "1"], "--p99 is for --find-max"),
        (["--tune"], "--tune is for --find-max"),
        (["http://127.0.0.1/", "--find-max", "--tune"], "--tune is for apps"),
        (["/prime"], "is down"),
        (["http://192.0.2.1/"], "not this machine"),
    ],
)
def test_bad_input_is_told_before_anything_is_built(monkeypatch: pytest.MonkeyPatch, arguments: list[str], words: str) -> None:
    monkeypatch.setattr(command.engine, "require", lambda: None)
    monkeypatch.setattr(command.cluster, "containers", lambda project: [])
    monkeypatch.setattr(command, "prepare", lambda *given, **more: pytest.fail("something was built"))
    parser = argparse.ArgumentParser()
    command.add_options(parser)
    with pytest.raises(Problem, match=words):
        command.run(SETTINGS, parser.parse_args(arguments))


def test_the_verdict() -> None:
    assert report.good(summary()) and report.verdict(summary()) == "every request was answered"
    lost = summary(timeout=2)
    assert not report.good(lost) and report.verdict(lost) == "2 of 100 requests failed"
    wrong = summary(**{"wrong app": 1})
    assert not report.good(wrong) and "wrong app" in report.verdict(wrong)
    held = summary(held={"websocket": figures(3, reset=1)})
    assert not report.good(held) and report.verdict(held) == "1 of 100 requests failed"
    assert not report.good(summary(requests=0))


def test_the_report_tells_failures_by_kind_and_the_first_of_each() -> None:
    found = summary(refused=3, timeout=1)
    found["failures"] = [
        {"at_s": 2.0, "target": "balancer1", "reason": "refused", "detail": "dial tcp: connection refused"},
        {"at_s": 3.0, "target": "balancer2", "reason": "refused", "detail": "another"},
    ]
    found["instances"] = {f"prime.instance-{n:08d}-0000._app.1": figures(5) for n in range(30)}
    found["instances"]["prime.instance-ffffffff-0000._app.2"] = figures(1, reset=1)
    told = report.lines(found)
    assert "failed      3 refused, the first after 2.0 s at balancer1: dial tcp: connection refused" in told
    assert any("1 timeout" in line for line in told)
    assert any(line.startswith("by instance prime.ffffffff.2") for line in told)
    assert any("6 instances that were faster" in line for line in told)


def test_settings_are_told_with_what_they_were() -> None:
    before, after = {"ports": "1 2", "descriptors": "5"}, {"ports": "1 9", "descriptors": "5"}
    assert most.changed(before, after) == ["descriptors = 5", "ports = 1 9, was 1 2"]


@pytest.mark.parametrize("limit", [3.0, 50.0, 99.0, 400.0, 5000.0])
def test_the_search_finds_the_limit_from_below(limit: float) -> None:
    tried = []

    def carried(rate: float) -> bool:
        tried.append(rate)
        return rate <= limit

    found = most.search(100.0, carried)
    assert limit * 0.9 <= found <= limit
    assert len(tried) <= most.STEPS_MOST


def test_a_search_where_nothing_is_carried_ends() -> None:
    assert most.search(100.0, lambda rate: False) == 0


def test_a_rate_holds_when_all_was_made_answered_and_in_time() -> None:
    def step(**changes: Any) -> most.Step:
        return most.Step(10.0, {**summary(100), **changes}, most.Seen())

    assert most.holds(step(), 0.1, 10.0)
    assert not most.holds(step(p99_s=0.2), 0.1, 10.0)
    assert not most.holds(step(failed=1), 0.1, 10.0)
    assert not most.holds(step(requests=90), 0.1, 10.0)


@pytest.mark.parametrize(
    ("changes", "seen", "words"),
    [
        ({"reasons": {"no free ports here": 3}}, most.Seen(machine_cpu=1.0), "ports"),
        ({"reasons": {"no descriptors here": 3}}, most.Seen(), "descriptors"),
        ({"wrong_app": 1}, most.Seen(machine_cpu=1.0), "wrong app"),
        ({}, most.Seen(cpu={"workers": 1.4, "balancers": 0.5}, cores=2), "in cores: workers 1.4, balancers 0.5"),
        ({}, most.Seen({"workers": 0.4}, 0.95, cores=2), "in cores: outside of containers 1.5, workers 0.4"),
        ({}, most.Seen(connections=0.95), "connections: the balancers"),
        ({}, most.Seen(queued=7), "7 requests waited"),
        ({"late_most_s": 1.0}, most.Seen(), "load generator"),
        ({"failed": 2, "reasons": {"status 503": 2}}, most.Seen(), "2 status 503"),
        ({}, most.Seen(), "the workers"),
    ],
)
def test_what_stood_in_the_way(changes: dict[str, Any], seen: most.Seen, words: str) -> None:
    assert words in most.obstacle(most.Step(10.0, {**summary(), **changes}, seen), 0.5)


def test_cpu_by_group_and_what_balancers_say() -> None:
    output = (
        "eratos-balancer1-1 50.00%\neratos-consul-balancer1-1 1.00%\neratos-load-ab12 25.00%\n"
        "eratos-prime.instance-1._app.1 100.00%\neratos-prime.instance-2._app.1 20.50%\nx --\n"
    )
    assert most.group_cpu(output, "eratos") == {"workers": pytest.approx(1.205), "balancers": 0.5, "load": 0.25, "rest": 0.01}
    text = "# pxname,svname,qcur,scur,slim\nhttp,FRONTEND,,50,100\nprime,s1,1,1,\nprime,BACKEND,3,7,10\n"
    assert most.read_statistics([text, text]) == (6, 0.5)


# The generator's container, with a docker that is a script


FAKE_DOCKER = """#!{python}
import json, sys
if sys.argv[1] != "run":
    open({log!r}, "a").write(" ".join(sys.argv[1:]) + "\\n")
    sys.exit()
plan = json.loads(sys.stdin.readline())
{body}
"""


@pytest.fixture
def fake_docker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    def make(body: str) -> Path:
        script, log = tmp_path / "docker", tmp_path / "log"
        script.write_text(FAKE_DOCKER.format(python=sys.executable, log=str(log), body=body))
        script.chmod(0o755)
        log.touch()
        monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
        return log

    return make


PLAN = {"timeout_s": 1}
RUNNING = 'print(json.dumps({"running": True}), flush=True)\n'


def test_a_load_tells_each_second_and_its_summary(fake_docker: Any) -> None:
    body = (
        RUNNING + 'print(json.dumps({"at_s": 1.0, "window": {"requests": 5}}))\nprint(json.dumps({"summary": {"requests": 5}}))'
    )
    fake_docker(body)
    seconds: list[Any] = []
    with generator.Load(PLAN, "host", "eratos", lambda at_s, found: seconds.append((at_s, found))) as load:
        assert load.wait() == {"requests": 5}
    assert seconds == [(1.0, {"requests": 5})]


def test_a_load_is_stopped_by_the_end_of_its_input(fake_docker: Any) -> None:
    fake_docker(RUNNING + 'sys.stdin.read()\nprint(json.dumps({"summary": {"requests": 7}}))')
    with generator.Load(PLAN, "host", "eratos") as load:
        assert load.wait(0.05) is None
        assert load.stop() == {"requests": 7}


def test_a_load_that_is_left_is_removed(fake_docker: Any) -> None:
    log = fake_docker(RUNNING + "import time; time.sleep(60)")
    with pytest.raises(KeyError), generator.Load(PLAN, "host", "eratos"):
        raise KeyError
    until(lambda: "rm -f eratos-load-" in log.read_text(), 5, "the container is removed")


def test_what_the_generator_refuses_is_told(fake_docker: Any) -> None:
    fake_docker('sys.exit("error: 5000 connections need more than the 1024 descriptors that are allowed here")')
    with pytest.raises(Problem, match="1024 descriptors") as caught, generator.Load(PLAN, "host", "eratos"):
        pass
    assert "--connections" in caught.value.fix


def test_a_generator_that_dies_is_no_result(fake_docker: Any) -> None:
    fake_docker(RUNNING + "sys.exit(3)")
    with generator.Load(PLAN, "host", "eratos") as load, pytest.raises(Problem, match="ended early"):
        load.wait()


def test_json_is_one_line_and_the_exit_code_tells(
    fake_docker: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(command.engine, "require", lambda: None)
    monkeypatch.setattr(command, "prepare", lambda *given, **more: None)
    monkeypatch.setattr(plan, "cluster_addresses", lambda settings: set())
    parser = argparse.ArgumentParser()
    command.add_options(parser)
    options = parser.parse_args(["http://127.0.0.1:8000/", "--json"])
    for found, code in ((summary(), 0), (summary(timeout=1), 1)):
        fake_docker(RUNNING + f"print({json.dumps(json.dumps({'summary': found}))})")
        assert command.run(SETTINGS, options) == code
        told = json.loads(capsys.readouterr().out)
        assert told["requests"] == 100 and told["verdict"] == report.verdict(found)
