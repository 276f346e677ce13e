"""App files as people have them for Marathon and marathon-lb: each is taken with its full meaning, or refused with a reason.

The files are written after public ones. Of those that are taken the table says what each port gets from balancers; nothing may be
published that did not ask for it.
"""

from __future__ import annotations

import json

import pytest
from support.folders import APP_FILES

from eratos.marathon import definition
from eratos.marathon.app import App
from eratos.marathon.errors import InvalidApp
from eratos.marathon.notes import Verdict, notes
from eratos.scheduler.api import definitions

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
    "bridge-with-ports-of-all-kinds": [
        "http on edge.example.com/, port 10080 of group external",
        "tcp on port 10443 of group external",
        "not balanced: HAPROXY_2_ENABLED is false",
        "not balanced: HAPROXY_3_ENABLED is false",
    ],
    "celery-command-check": [NOTHING],
    "checks-of-all-kinds": [NOTHING, NOTHING],
    "container-network-by-name": [NOTHING],
    "chronos-on-required-ports": [NOTHING],
    "demo-fixed-host-port": [NOTHING],
    "docker-login-by-uri": ["http on private.example.com/, port 10000 of group external"],
    "docker-parameters": [NOTHING],
    "echoed-from-get": [NOTHING],
    "everything-null": ["tcp on port 10101 of group external"],
    "external-volume-with-size": [NOTHING],
    "fetch-and-uris": [NOTHING],
    "gpu": [NOTHING],
    "ip-address-with-image": [NOTHING],
    "kafka-on-host-ports": ["tcp on port 10000 of group external"],
    "more-ports-than-mappings": [NOTHING, NOTHING],
    "mysql-no-check": ["tcp on port 3306 of group external"],
    "named-volume": [NOTHING],
    "no-capacity-at-all": [NOTHING],
    "pinned-ucr-image": [NOTHING],
    "plain-nginx-bridge": [NOTHING],
    "ports-beside-mappings": [NOTHING, NOTHING],
    "ports-definitions-and-mappings": ["tcp on port 10080 of group external", "tcp on port 10443 of group external"],
    "process-with-ports": [NOTHING, NOTHING],
    "python-simple-server": [NOTHING],
    "rack-constraints": [NOTHING],
    "readiness": [NOTHING],
    "redis-tcp-check": ["tcp on port 6379 of group internal"],
    "registry-tcp": [NOTHING],
    "relative-container-path": [NOTHING],
    "secret-in-env": [NOTHING],
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
    "web-with-deployment-labels": ["http on port 10104 of group external"],
    "web-with-every-lb-template": ["http on tuned.example.com/ of group external"],
    "web-with-proxypass": ["http on master.example.com/egress of group external"],
    "web-with-service-port-only": ["http on port 10000 of group external"],
    "with-fields-of-other-programs": [NOTHING],
    "web-with-vhost": ["http on agents.west.example.com/, port 10000 of group external"],
    "words-as-marathon-lb-reads-them": ["http on words.example.com/, port 10083 of group external"],
}

#: file -> the field that is refused, and a word of the reason
REFUSED = {
    "a-billion-instances": ("/instances", "--instances-limit"),
    "back-tracking-pattern": ("/constraints(0)", "look"),
    "balancers-own-name": ("/id", "none of an app's"),
    "check-beyond-the-ports": ("/healthChecks(0)/portIndex", "port 0 only"),
    "cmd-and-args": ("/args", "keep one of the two"),
    "dependencies-relative": ("/dependencies(1)", "above the root group"),
    "docker-options-that-are-ours": ("/container/docker/parameters(0)/key", "eratos itself removes"),
    "fetch-from-hdfs": ("/fetch(0)", "https://"),
    "group-sent-as-an-app": ("/apps", "/v2/groups"),
    "ip-per-task": ("/networks", "no network of its own"),
    "label-of-port-00": ("/labels/HAPROXY_00_VHOST", "HAPROXY_n_VHOST"),
    "misplaced-force-pull": ("/forcePullImage", "/container/docker"),
    "misspelt-capacity": ("/upgradeStrategy/minimunHealthCapacity", "minimumHealthCapacity"),
    "nothing-to-run": ("/container", "is missing"),
    "nulls-in-lists": ("/constraints(0)", "2 or 3 strings"),
    "persistent-volume": ("/container/volumes", "need an image"),
    "pod-sent-as-an-app": ("/containers", "/v2/pods"),
    "quoted-instances": ("/instances", "without quotes"),
    "reserved-last-name": ("/id", "tasks"),
    "ucr-with-appc": ("/container/appc", "docker.image"),
    "ucr-with-resident-data": ("/container/volumes", "need an image"),
    "upper-case-id": ("/id", "lowercase"),
    "web-with-path-list": ("/labels/HAPROXY_0_PATH", "must be a path"),
    "yaml-boolean-key": ("/env/ENABLED", "quotes"),
}


def taken(name: str) -> App:
    """Read a file as the API does."""
    app = definition.parse(json.loads((APP_FILES / f"{name}.json").read_text()))
    definitions.check_instances({}, (app,), INSTANCES_MOST)
    definitions.check({}, (app,), None)
    return app


def test_every_file_is_in_the_table():
    assert {path.stem for path in APP_FILES.glob("*.json")} == TAKEN.keys() | REFUSED.keys()
    assert len(TAKEN) + len(REFUSED) >= 80


@pytest.mark.parametrize("name", TAKEN)
def test_a_file_that_is_taken_gets_what_it_asks_for_and_no_more(name: str):
    app = taken(name)
    gets = [routing.described() for routing in app.routings]
    assert len(gets) == len(TAKEN[name])
    for got, wanted in zip(gets, TAKEN[name], strict=True):
        assert got.startswith(wanted)
    assert definition.restore(app.to_json()) == app
    assert all(("haproxy-group" in meta) is not got.startswith("not") for meta, got in zip(app.routing_meta, gets, strict=True))


#: file -> what it says and nothing comes of
NOT_HEEDED = {
    "checks-of-all-kinds": {"/healthChecks(2)/path"},
    "external-volume-with-size": {"/container/volumes(0)/external/size"},
    "fetch-and-uris": {"/fetch(0)/cache"},
    "ip-address-with-image": {"/ipAddress/groups"},
    "more-ports-than-mappings": {"/ports"},
    "ports-beside-mappings": {"/ports"},
    "web-no-check-vhost": {"/requirePorts"},
    "web-with-every-lb-template": {f"/labels/HAPROXY_0_{name}" for name in ("BACKEND_HTTP_OPTIONS", "SSL_CERT", "BACKEND_HEAD")},
    "web-with-deployment-labels": {
        "/labels/HAPROXY_APP_ID",
        *(f"/labels/HAPROXY_DEPLOYMENT_{name}" for name in ("GROUP", "ALT_PORT", "COLOUR")),
    },
    "with-fields-of-other-programs": {"/taskRateLimit", "/x-owner", "/labels/HAPROXY_TENANT"},
}


@pytest.mark.parametrize("name", TAKEN)
def test_what_has_no_effect_is_told(name: str):
    told = {note.path for note in notes(taken(name)) if note.verdict is Verdict.NOT_HEEDED}
    assert told == NOT_HEEDED.get(name, set())


@pytest.mark.parametrize("name", REFUSED)
def test_a_file_that_is_refused_is_refused_with_the_field_and_the_reason(name: str):
    field, word = REFUSED[name]
    with pytest.raises(InvalidApp) as invalid:
        taken(name)
    reasons = {problem.path: problem.message for problem in invalid.value.problems}
    assert word in reasons[field]
