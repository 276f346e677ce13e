"""What `./dev up --secure` makes, from the attacker's side: a worker's place on a host, where every part is within reach.

A cluster of its own beside the other tests', smaller: each listener is tried without credentials and with wrong ones. The
other end-to-end tests run on such a cluster with `./dev test --secure tests/e2e`.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from devtool import secure
from devtool.chaos import faults, parts
from devtool.settings import ROOT, Settings
from support.cluster import DEFAULT_PORTS, SOON_S, Cluster, dev
from support.containers import docker
from support.waiting import until

pytestmark = pytest.mark.e2e

PROJECT = "eratos-test-secure"
PORTS = {name: port + 12_000 for name, port in DEFAULT_PORTS.items()}
ENVIRONMENT = {"ERATOS_PROJECT": PROJECT, "ERATOS_NETWORK": "10.87.253", "ERATOS_BRIDGES": "10.90"}
ENVIRONMENT |= {name: str(port) for name, port in PORTS.items()}
WORKERS = 4
#: URL, method, body and headers.
Call = tuple[str, str, str, dict[str, str]]
SETTINGS = Settings(project=PROJECT, secure=True)

#: Tries things one after another, and prints a list of what came of each: an HTTP status, or "none" and the error.
TRY = """
import json, ssl, sys, urllib.error, urllib.request
clear = ssl._create_unverified_context()
def tried(url, headers, method, body):
    try:
        call = urllib.request.Request(url, body.encode() if body else None, headers, method=method)
        with urllib.request.build_opener(urllib.request.HTTPSHandler(context=clear)).open(call, timeout=10) as answer:
            return f"{answer.status} {answer.read(2000).decode()}"
    except urllib.error.HTTPError as error:
        return f"{error.code} {error.read(200).decode()}"
    except OSError as error:
        return f"none {error}"
print(json.dumps([tried(*each) for each in json.loads(sys.argv[1])]))
"""
#: What an anonymous client of ZooKeeper may do: the names of the errors, or "allowed".
ZOOKEEPER = """
from kazoo.client import KazooClient
client = KazooClient("zookeeper:2181", timeout=6)
client.start(20)
def tried(what, *arguments):
    try:
        what(*arguments)
        return "allowed"
    except Exception as error:
        return type(error).__name__
print(tried(client.get, "/eratos"), tried(client.get_children, "/eratos"), tried(client.create, "/eratos/x"),
      tried(client.create, "/x"), tried(client.create, "/mesos/x"), tried(client.set_acls, "/", client.get_acls("/")[0]))
"""


@pytest.fixture(scope="module")
def closed() -> Iterator[Cluster]:
    made = Cluster(PROJECT, PORTS, secure=True)
    dev("down", "--volumes", **ENVIRONMENT)
    try:
        dev("up", "--secure", "--agents", "2", "--balancers", "1", "--workers", str(WORKERS), **ENVIRONMENT)
        until(made.leader, SOON_S, "a scheduler leads")
        yield made
    finally:
        dev("down", "--volumes", **ENVIRONMENT)


def from_a_worker(cluster: Cluster, image: str, code: str, *arguments: str) -> str:
    """Run a program where a worker runs: in the network of a host, in a container with Docker's usual rights."""
    network = f"container:{cluster.container_of('agent1')}"
    python = ["--entrypoint", "/opt/eratos/bin/python", image, "-c", code]
    # Who does not answer costs a call ten seconds.
    return docker("run", "--rm", "--network", network, *python, *arguments, timeout_s=600)


def tried(cluster: Cluster, *calls: Call) -> list[str]:
    """Make calls one after another, in one container, and return what came of each."""
    words = json.dumps([[url, {"Content-Type": "application/json", **shown}, method, body] for url, method, body, shown in calls])
    return [str(answer) for answer in json.loads(from_a_worker(cluster, "eratos/scheduler", TRY, words))]


def test_a_secure_cluster_serves_and_says_that_all_is_well(closed: Cluster) -> None:
    until(lambda: "well" in dev("status", **ENVIRONMENT), SOON_S, "all is well")

    def answering() -> set[str]:
        return {requests.get(closed.balancers[0], timeout=30).headers.get("X-Instance", "") for _ in range(4 * WORKERS)}

    until(lambda: len(answering()) == WORKERS, SOON_S, "every worker answers")


WRONG = {"Authorization": f"Bearer {'0' * 64}", "X-Consul-Token": "00000000-0000-0000-0000-000000000001"}
BASIC = {"Authorization": "Basic ZXJhdG9zOndyb25n"}
SUBSCRIBE = json.dumps({"type": "SUBSCRIBE", "subscribe": {"framework_info": {"user": "root", "name": "evil"}}})
SERVICE = json.dumps({"Name": "prime", "Port": 1, "Tags": ["eratos"]})
NODE = json.dumps({"Node": "evil", "Address": "10.0.0.1", "Service": {"Service": "eratos-balancer", "Port": 9100}})
REMOVAL = json.dumps({"services": ["eratos-none"]})


#: Calls of every part, with the status that refuses each.
CALLS = (
    ("https://scheduler1:8080/v2/apps", "GET", "", "401"),
    ("https://scheduler2:8080/v2/apps", "POST", '{"id": "/evil", "cmd": "id"}', "401"),
    ("http://master1:5050/master/frameworks", "GET", "", "401"),
    ("http://master1:5050/api/v1/scheduler", "POST", SUBSCRIBE, "401"),
    ("http://master1:5050/api/v1", "POST", '{"type": "GET_STATE"}', "401"),
    ("http://agent2:5051/state", "GET", "", "401"),
    ("http://agent2:5051/api/v1", "POST", '{"type": "GET_EXECUTORS"}', "401"),
    ("http://agent2:5051/master/state", "GET", "", "401"),  # the idle one in the agent's process
    ("http://agent2:5052/tasks/x/logs", "GET", "", "401"),
    ("http://balancer1:9100/confirm", "POST", REMOVAL, "401"),
    ("https://127.0.0.1:8500/v1/agent/service/register", "PUT", SERVICE, "403"),
    ("https://consul1:8500/v1/catalog/register", "PUT", NODE, "403"),
    ("https://consul1:8500/v1/agent/force-leave/agent2", "PUT", "", "403"),
    ("https://consul1:8500/v1/acl/tokens", "GET", "", "403"),
)
SHOWN = {"nothing": {}, "a wrong token": WRONG, "a wrong password": BASIC}


@pytest.fixture(scope="module")
def refusals(closed: Cluster) -> dict[tuple[str, ...], str]:
    """What each call is answered, by what it shows and itself: in one container for all, which takes longer than they do."""
    calls = {(name, *call[:3]): (*call[:3], shown) for name, shown in SHOWN.items() for call in CALLS}
    found: dict[tuple[str, ...], str] = {}

    def answered() -> bool:
        left = {key: call for key, call in calls.items() if key not in found}
        answers = {key: answer.split()[0] for key, answer in zip(left, tried(closed, *left.values()), strict=True)}
        # On a busy machine somebody may not answer in time.
        found.update({key: status for key, status in answers.items() if status != "none"})
        assert len(found) == len(calls), f"nobody answers {calls.keys() - found.keys()}"
        return True

    until(answered, SOON_S, "every call is answered")
    return found


@pytest.mark.parametrize("shown", SHOWN)
@pytest.mark.parametrize(("url", "method", "body", "refused"), CALLS)
def test_whoever_shows_nothing_or_what_is_wrong_is_refused(
    refusals: dict[tuple[str, ...], str], url: str, method: str, body: str, refused: str, shown: str
) -> None:
    assert refusals[shown, url, method, body] == refused


@pytest.mark.parametrize("url", ["http://scheduler1:8080/ping", "http://127.0.0.1:8500/v1/status/leader", "http://consul1:8500/"])
def test_nobody_is_answered_in_clear_where_there_is_tls(closed: Cluster, url: str) -> None:
    (answer,) = tried(closed, (url, "GET", "", {}))
    assert answer.split()[0] in ("none", "400")


def test_consul_shows_a_stranger_nothing(closed: Cluster) -> None:
    paths = ("catalog/services", "agent/services")
    assert tried(closed, *[(f"https://127.0.0.1:8500/v1/{path}", "GET", "", {}) for path in paths]) == ["200 {}", "200 {}"]


def test_an_executors_token_makes_no_balancer(closed: Cluster) -> None:
    # Else an executor that was taken over could hold up the stops of all others.
    token = secure.known(SETTINGS)["consul"]["executor"]
    register = "https://127.0.0.1:8500/v1/agent/service/register"
    (answer,) = tried(closed, (register, "PUT", '{"Name": "eratos-balancer"}', {"X-Consul-Token": token}))
    assert answer.split()[0] == "403"


def test_zookeeper_gives_a_stranger_nothing(closed: Cluster) -> None:
    assert from_a_worker(closed, "eratos/scheduler", ZOOKEEPER).split() == ["NoAuthError"] * 6


def test_no_part_but_the_agents_has_a_right_of_root(closed: Cluster) -> None:
    """No program may gain rights, and what runs in a container is the part's own user without any."""
    looked = {}
    for service in Settings(agents=2, balancers=1).services():
        status = docker("exec", closed.container_of(service), "cat", "/proc/1/status")
        found = dict(line.split(":", 1) for line in status.splitlines())
        looked[service] = (found["NoNewPrivs"].strip(), int(found["CapEff"], 16), found["Uid"].split()[0])
    for service, (bound, rights, user) in looked.items():
        assert bound == "1", service
        if not service.startswith("agent"):
            assert rights == 0 and user != "0", service
    net_raw, sys_admin, sys_ptrace = 13, 21, 19
    assert not looked["agent1"][1] & (1 << net_raw | 1 << sys_admin | 1 << sys_ptrace)


def test_a_workers_container_holds_no_secret(closed: Cluster) -> None:
    made = secure.known(SETTINGS)
    every = [*made["zookeeper"].values(), *made["mesos"].values(), *made["consul"].values(), made["framework"], made["token"]]
    for container in closed.containers("/prime").values():
        shown = docker("inspect", container)
        assert not [one for one in every if one in shown]
        assert "/secrets" not in shown


@pytest.mark.parametrize(
    "asks",
    [
        {"cmd": "sleep 100"},
        {"container": {"type": "DOCKER", "docker": {"image": "eratos/prime", "privileged": True}}},
        {"container": {"docker": {"image": "eratos/prime"}, "volumes": [{"hostPath": "/", "containerPath": "/h", "mode": "RW"}]}},
    ],
)
def test_an_app_that_would_own_its_host_is_refused(closed: Cluster, asks: dict[str, Any]) -> None:
    answer = closed.any_api("PUT", "/v2/apps/mighty", {"id": "/mighty", "instances": 0, **asks})
    assert answer.status_code == 422 and "strict policy" in answer.text


def test_the_command_line_uses_what_up_says(closed: Cluster) -> None:
    words = dict(
        word.split("=", 1) for line in secure.how_to_ask(settings()) for word in line.split() if word.startswith("ERATOS_")
    )
    eratos = [str(ROOT / ".venv" / "bin" / "eratos"), "app", "list"]
    done = subprocess.run(eratos, env={**os.environ, **words}, capture_output=True, text=True, timeout=60, check=True)
    assert "/prime" in done.stdout
    del words["ERATOS_TOKEN_FILE"]
    done = subprocess.run(eratos, env={**os.environ, **words}, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode and "who you are is asked for" in done.stderr


def test_a_context_keeps_what_up_says_and_doctor_finds_all_well(closed: Cluster, tmp_path: Path) -> None:
    words = dict(
        word.split("=", 1) for line in secure.how_to_ask(settings()) for word in line.split() if word.startswith("ERATOS_")
    )
    clean = {name: value for name, value in os.environ.items() if not name.startswith("ERATOS_")}
    clean["ERATOS_CONFIG"] = str(tmp_path / "contexts.json")

    def eratos(*arguments: str, typed: str = "", **environment: str) -> subprocess.CompletedProcess[str]:
        command = [str(ROOT / ".venv" / "bin" / "eratos"), *arguments]
        return subprocess.run(
            command, env={**clean, **environment}, input=typed, capture_output=True, text=True, timeout=120, check=False
        )

    assert eratos("context", "add", "dev", **words).returncode == 0
    assert "/prime" in eratos("app", "list").stdout
    examined = eratos("doctor", "--output", "json")
    found = json.loads(examined.stdout)
    assert examined.returncode == 0, [one for one in found if one["state"] == "wrong"]
    parts = {one["part"] for one in found if one["state"] == "well"}
    assert parts >= {"certificate", "login", "leader", "mesos", "consul", "agents", "executors", "balancers", "apps"}
    del words["ERATOS_TOKEN_FILE"]
    assert eratos("context", "add", "wrong", "--user", "joe", typed="guessed\n", **words).returncode == 0
    refused = eratos("doctor", "--context", "wrong", "--quiet", "--output", "json")
    assert refused.returncode == 1
    assert {one["part"] for one in json.loads(refused.stdout) if one["state"] == "wrong"} == {"login"}


def settings() -> Settings:
    return Settings(project=PROJECT, secure=True, variables=ENVIRONMENT)


def test_it_heals_and_another_scheduler_takes_over_as_on_any_cluster(closed: Cluster) -> None:
    kept = closed.containers("/prime")
    leader = closed.leader()
    dev("kill", f"scheduler{leader}", **ENVIRONMENT)

    def taken_over() -> bool:
        info = closed.api("GET", "/v2/info", scheduler=3 - leader)
        return bool(info.json().get("elected"))

    until(taken_over, SOON_S, "the other scheduler leads")
    closed.apply(json.loads((ROOT / "marathon" / "apps" / "prime.json").read_text()), instances=WORKERS + 1)
    until(lambda: len(closed.containers("/prime")) == WORKERS + 1, SOON_S, "one more worker runs")
    dev("up", **ENVIRONMENT)
    closed.assert_kept("/prime", kept)


def test_it_is_not_made_of_an_open_one_nor_its_secrets_anew(closed: Cluster) -> None:
    before = secure.known(SETTINGS)
    dev("up", "--secure", **ENVIRONMENT)
    assert secure.known(SETTINGS) == before


def test_a_consul_that_has_lost_its_data_is_told_again_whom_it_answers(closed: Cluster) -> None:
    kept = closed.containers("/prime")
    lost = faults.BY_NAME["consul-data-lost"].strike(parts.look(settings(), "/prime"), "consul")
    for command in (*lost.do, *lost.undo):
        subprocess.run(command, check=True, capture_output=True, timeout=120)
    dev("up", **ENVIRONMENT)
    closed.assert_kept("/prime", kept)
    wanted = sorted(f"eratos-{task}" for task in closed.tasks("/prime"))
    until(lambda: closed.services("prime") == closed.servers(1, "prime") == wanted, SOON_S, "all workers are in rotation again")
