"""App files as people have them for Marathon and marathon-lb: each is taken with its full meaning, or refused with a reason.

The files are written after public ones. Of those that are taken the table says what each port gets from balancers; nothing may be
published that did not ask for it.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from eratos.marathon.app import App
from eratos.marathon.errors import InvalidApp
from eratos.scheduler.api import update

FOLDER = Path(__file__).parents[1] / "app_files"
#: What the scheduler takes of instances in these tests.
INSTANCES_MOST = 100_000

NOTHING = "not balanced: nothing asks for it"
UDP = "not balanced: a UDP port"

#: file -> what each of its ports gets
TAKEN = {
    "agent-on-every-host": [NOTHING],
    "at-hostname-unlike": [NOTHING],
    "balancer-owned-port": ["tcp on port 8000 of group external"],
    "basic-sleep": [NOTHING],
    "celery-command-check": [NOTHING],
    "chronos-on-required-ports": [NOTHING],
    "demo-fixed-host-port": [NOTHING],
    "docker-login-by-uri": ["http on private.example.com/, port 10000 of group external"],
    "docker-parameters": [NOTHING],
    "echoed-from-get": [NOTHING],
    "everything-null": ["tcp on port 10101 of group external"],
    "kafka-on-host-ports": ["tcp on port 10000 of group external"],
    "mysql-no-check": ["tcp on port 3306 of group external"],
    "named-volume": [NOTHING],
    "plain-nginx-bridge": [NOTHING],
    "process-with-ports": [NOTHING, NOTHING],
    "python-simple-server": [NOTHING],
    "rack-constraints": [NOTHING],
    "readiness": [NOTHING],
    "redis-tcp-check": ["tcp on port 6379 of group internal"],
    "registry-tcp": [NOTHING],
    "relative-container-path": [NOTHING],
    "single-instance-label": [NOTHING],
    "streaming-two-ports": [NOTHING, NOTHING],
    "tcp-stated-mode": ["tcp on port 5672 of group external", "http on mq.example.com/, port 15672 of group external"],
    "tcp-with-port-label": ["tcp on port 389 of group external"],
    "template-labels-empty": [NOTHING],
    "three-check-kinds": [NOTHING, NOTHING],
    "traefik-labels": [NOTHING],
    "udp-and-tcp": ["tcp on port 53 of group external"],
    "udp-only": [UDP],
    "vip-labels": [NOTHING],
    "web-below-a-path": ["http on public.example.com/devops, port 10099 of group external"],
    "web-for-the-internal-balancer": ["http on port 10002 of group internal"],
    "web-no-check-vhost": ["http on testapp.qa.example.org/ of group external"],
    "web-on-the-host-network": ["http on logtest.example.com/, port 10004 of group external"],
    "web-one-port-per-group": [
        "http on dual.example.com/, port 10020 of group external",
        "http on admin.dual.internal/, port 10021 of group internal",
    ],
    "web-redirected-to-https": ["http on mc2.example.org/, port 10003 of group external"],
    "web-sticky-two-ports": [
        "http on cart.example.com/, port 10010 of group external",
        "not balanced: HAPROXY_1_ENABLED is false",
    ],
    "web-two-hosts-with-blank": ["http on shop.example.com/, www.shop.example.com/ of group external"],
    "web-with-service-port-only": ["http on port 10000 of group external"],
    "web-with-vhost": ["http on agents.west.example.com/, port 10000 of group external"],
}

#: file -> the field that is refused, and a word of the reason
REFUSED = {
    "a-billion-instances": ("/instances", "--instances-limit"),
    "back-tracking-pattern": ("/constraints(0)", "look"),
    "balancers-own-name": ("/id", "none of an app's"),
    "cmd-and-args": ("/args", "keep one of the two"),
    "container-network-by-name": ("/networks(0)/mode", "container/bridge"),
    "dependencies-relative": ("/dependencies(1)", "above the root group"),
    "gpu": ("/gpus", "GPU"),
    "ip-per-task": ("/ipAddress", "network"),
    "misplaced-force-pull": ("/forcePullImage", "/container/docker"),
    "misspelt-capacity": ("/upgradeStrategy/minimunHealthCapacity", "minimumHealthCapacity"),
    "nothing-to-run": ("/container", "is missing"),
    "persistent-volume": ("/container/volumes(0)/persistent", "persistent"),
    "pinned-ucr-image": ("/container/type", "DOCKER"),
    "quoted-instances": ("/instances", "without quotes"),
    "reserved-last-name": ("/id", "tasks"),
    "secret-in-env": ("/env/PASSWORD", "secret"),
    "upper-case-id": ("/id", "lowercase"),
    "web-with-deployment-labels": ("/labels/HAPROXY_DEPLOYMENT_COLOUR", "no label that eratos knows"),
    "web-with-proxypass": ("/labels/HAPROXY_0_HTTP_BACKEND_PROXYPASS_PATH", "HAPROXY"),
    "yaml-boolean-key": ("/env/ENABLED", "quotes"),
}


def taken(name: str) -> App:
    """Read a file as the API does."""
    app = App.parse(json.loads((FOLDER / f"{name}.json").read_text()))
    update.check_instances({}, (app,), INSTANCES_MOST)
    update.check({}, (app,), None)
    return app


def test_every_file_is_in_the_table():
    assert {path.stem for path in FOLDER.glob("*.json")} == TAKEN.keys() | REFUSED.keys()
    assert len(TAKEN) + len(REFUSED) >= 60


@pytest.mark.parametrize("name", TAKEN)
def test_a_file_that_is_taken_gets_what_it_asks_for_and_no_more(name: str):
    app = taken(name)
    gets = [routing.described() for routing in app.routings]
    assert len(gets) == len(TAKEN[name])
    for got, wanted in zip(gets, TAKEN[name], strict=True):
        assert got.startswith(wanted)
    assert App.restore(app.to_json()) == app
    assert all(("haproxy-group" in meta) is not got.startswith("not") for meta, got in zip(app.routing_meta, gets, strict=True))


@pytest.mark.parametrize("name", REFUSED)
def test_a_file_that_is_refused_is_refused_with_the_field_and_the_reason(name: str):
    field, word = REFUSED[name]
    with pytest.raises(InvalidApp) as invalid:
        taken(name)
    reasons = {problem.path: problem.message for problem in invalid.value.problems}
    assert word in reasons[field]
