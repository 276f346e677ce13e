"""Pods: Marathon's documents read, refused with the place and the fix, and written back as they were."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest

from eratos.common.payload import CheckKind
from eratos.common.resources import Resources
from eratos.marathon import pod_definition, stored
from eratos.marathon.errors import InvalidApp

#: After the meaning of Marathon's own example (examples/pod.json).
EXAMPLE: dict[str, Any] = {
    "id": "/foo",
    "labels": {"owner": "zeus"},
    "user": "root",
    "environment": {"XPS1": "Test"},
    "volumes": [{"name": "etc", "host": "/etc/registry"}, {"name": "shared"}],
    "networks": [{"name": "my-network", "mode": "container", "labels": {}}],
    "scaling": {"kind": "fixed", "instances": 3, "maxInstances": 8},
    "scheduling": {
        "backoff": {"backoff": 2, "backoffFactor": 1.5, "maxLaunchDelay": 3600},
        "upgrade": {"minimumHealthCapacity": 0.5, "maximumOverCapacity": 0},
        "placement": {"constraints": [{"fieldName": "@hostname", "operator": "UNIQUE"}], "acceptedResourceRoles": ["*"]},
        "killSelection": "OLDEST_FIRST",
        "unreachableStrategy": "disabled",
    },
    "containers": [
        {
            "name": "web",
            "exec": {"command": {"shell": "sleep 100"}, "overrideEntrypoint": True},
            "resources": {"cpus": 1, "mem": 128, "disk": 0, "gpus": 0},
            "endpoints": [
                {"name": "http", "containerPort": 80, "hostPort": 0, "protocol": ["tcp"], "labels": {"VIP_0": "/x:80"}}
            ],
            "image": {"id": "shop/web:1", "kind": "DOCKER", "forcePull": True},
            "healthCheck": {"http": {"path": "/health", "scheme": "HTTP", "endpoint": "http"}, "intervalSeconds": 2},
            "volumeMounts": [{"name": "etc", "mountPath": "/mnt/etc", "readOnly": True}, {"name": "shared", "mountPath": "data"}],
            "artifacts": [{"uri": "https://foo.com/archive.zip", "destPath": "newname.zip"}],
            "labels": {"note": "first"},
            "lifecycle": {"killGracePeriodSeconds": 60},
        },
        {
            "name": "log",
            "resources": {"cpus": 0.1, "mem": 32.5},
            "endpoints": [{"name": "both", "containerPort": 514, "protocol": ["udp", "tcp"]}],
            "image": {"id": "shop/log:1", "kind": "DOCKER"},
            "healthCheck": {"exec": {"command": {"argv": ["test", "-e", "/tmp/x y"]}}},
            "volumeMounts": [{"name": "shared", "mountPath": "/data"}],
        },
    ],
    "executorResources": {"cpus": 0.2, "mem": 64, "disk": 50},
}


def example(**changed: Any) -> dict[str, Any]:
    return copy.deepcopy(EXAMPLE) | changed


def test_what_the_scheduler_decides_by_is_that_of_an_app() -> None:
    pod = pod_definition.parse(example())
    assert (pod.id, pod.instances, pod.resources) == ("/foo", 3, Resources(1100, 161, 0))
    assert [(port.name, port.host_port, port.container_port, port.protocol, port.service_port) for port in pod.ports] == [
        ("http", 0, 80, "tcp", 0),
        ("both", 0, 514, "udp,tcp", 0),
    ]
    assert [(check.protocol, check.port_index, check.path) for check in pod.health_checks] == [
        (CheckKind.HTTP, 0, "/health"),
        (CheckKind.COMMAND, None, None),
    ]
    assert pod.health_checks[1].command is not None and pod.health_checks[1].command.value == "test -e '/tmp/x y'"
    assert (pod.network, pod.docker_networks) == ("bridge", ("my-network",))
    assert (pod.task_kill_grace_period_seconds, pod.kill_selection, pod.unreachable_strategy) == (60, "OLDEST_FIRST", None)
    assert (pod.backoff_seconds, pod.backoff_factor, pod.max_launch_delay_seconds) == (2, 1.5, 3600)
    assert [tuple(constraint) for constraint in pod.constraints] == [("@hostname", "UNIQUE", "")]
    assert pod.upgrade_strategy.minimum_health_capacity == 0.5
    assert pod.dropped == (("/scaling/maxInstances", pod.dropped[0][1]),)


def test_a_shown_pod_reads_back_as_it_was() -> None:
    pod = pod_definition.parse(example()).with_version("2026-01-01T00:00:00.000Z")
    shown = pod.to_json()
    assert shown["version"] == "2026-01-01T00:00:00.000Z"
    assert shown["scaling"] == {"kind": "fixed", "instances": 3}
    assert shown["scheduling"]["unreachableStrategy"] == "disabled"
    assert pod_definition.restore(json.loads(json.dumps(shown))) == pod
    assert pod_definition.parse(shown) == pod.with_version("")


def test_what_a_store_keeps_of_a_pod_comes_back_whole() -> None:
    pod = pod_definition.parse(example()).with_version("v")
    found = stored.from_record(json.loads(json.dumps(stored.to_record(pod))))
    assert found == pod
    assert (type(found), found.dropped) == (type(pod), pod.dropped)


def test_only_its_number_of_instances_is_no_other_definition() -> None:
    pod = pod_definition.parse(example())
    assert pod.same_definition(pod_definition.parse(example(scaling={"kind": "fixed", "instances": 9})))
    other = example()
    other["containers"][1]["environment"] = {"A": "b"}
    assert not pod.same_definition(pod_definition.parse(other))


def test_without_networks_it_is_on_the_hosts() -> None:
    container = {"name": "a", "image": {"id": "x"}, "resources": {"cpus": 1, "mem": 32}}
    pod = pod_definition.parse({"id": "a", "containers": [container | {"endpoints": [{"name": "p", "hostPort": 8080}]}]}, "/shop")
    assert (pod.id, pod.network, pod.require_ports, pod.ports[0].host_port) == ("/shop/a", "host", True, 8080)
    assert pod.to_json()["networks"] == [{"mode": "host"}]


def changed(place: str, value: Any) -> dict[str, Any]:
    """Return the example with another value at a place such as containers.0.name; None: without it."""
    document: Any = example()
    holder = document
    *steps, last = [int(step) if step.isdigit() else step for step in place.split(".")]
    for step in steps:
        holder = holder[step]
    if value is None:
        del holder[last]
    else:
        holder[last] = value
    return dict(document)


SECRET = {"secret": "s"}


@pytest.mark.parametrize(
    ("document", "place", "words"),
    [
        ([], "/", "must be an object"),
        ({"id": "/a"}, "/containers", "is missing"),
        ({"id": "/a", "containers": []}, "/containers", "at least 1 entry"),
        (changed("id", "/A"), "/id", "no valid name"),
        (changed("id", "/"), "/id", "must name an app"),
        (changed("containers.0.image", None), "/containers(0)/image", "name a Docker image"),
        (changed("containers.0.image.id", "a b"), "/containers(0)/image/id", "without blanks"),
        (changed("containers.0.resources", None), "/containers(0)/resources", "is missing"),
        (changed("containers.0.resources.mem", 1), "/containers(0)/resources/mem", "at least 6"),
        (changed("containers.1.name", "web"), "/containers", "name web 2 times"),
        (changed("containers.1.endpoints.0.name", "http"), "/containers", "endpoint http 2 times"),
        (changed("containers.1.endpoints.0.containerPort", 80), "/containers", "containerPort 80/tcp 2 times"),
        (changed("containers.1.endpoints.0.containerPort", None), "/containers(1)/endpoints(0)/containerPort", "is missing"),
        (changed("containers.1.endpoints.0.networkNames", ["x"]), "/containers(1)/endpoints(0)/networkNames", "my-network"),
        (changed("networks", [{"mode": "host"}]), "/containers(0)/endpoints(0)/containerPort", "use hostPort"),
        (changed("networks", [{"mode": "host"}, {"mode": "container", "name": "x"}]), "/networks", "alone"),
        (changed("networks", [{"mode": "container"}]), "/networks(0)/name", "is missing"),
        (changed("containers.0.volumeMounts.0.name", "nay"), "/containers(0)/volumeMounts(0)/name", "etc, shared"),
        (changed("containers.0.volumeMounts.1.mountPath", "../x"), "/containers(0)/volumeMounts(1)/mountPath", "without .."),
        (changed("volumes.1", {"name": "alone"}), "/volumes(1)", "mounted by no container"),
        (changed("volumes.1.persistent", {"size": 1}), "/volumes(1)/persistent", "no persistent volumes"),
        (changed("volumes.0.secret", "s"), "/volumes(0)", "keep one of the two"),
        (changed("volumes.1", {"name": "shared", "secret": "s"}), "/volumes(1)/secret", "add it"),
        (changed("environment.A", SECRET), "/environment/A/secret", "the pod's secrets are none"),
        (changed("environment.A", 3), "/environment/A", "put quotes around it"),
        (changed("environment", {"A": None}), "/environment/A", "put quotes"),
        (changed("containers.0.environment", {"B": SECRET}), "/containers(0)/environment/B/secret", "add it"),
        (changed("containers.0.image.pullConfig", SECRET), "/containers(0)/image/pullConfig/secret", "add it"),
        (changed("containers.0.healthCheck.http.endpoint", "both"), "/containers(0)/healthCheck/http/endpoint", "are http"),
        (changed("containers.0.healthCheck.tcp", {"endpoint": "http"}), "/containers(0)/healthCheck", "exactly one of"),
        (changed("containers.0.exec.overrideEntrypoint", False), "/containers(0)/exec", "always replaces"),
        (changed("containers.0.resourceLimits", {"cpus": 0.5}), "/containers(0)/resourceLimits/cpus", "at least cpus"),
        (changed("containers.0.linuxInfo", {"seccomp": {}}), "/containers(0)/linuxInfo", "Mesos' own"),
        (changed("scheduling.placement.constraints.0.operator", "NEAR"), "/scheduling/placement/constraints(0)", "unknown"),
        (changed("labels", {"ERATOS_NO_SUCH": "x"}), "/labels/ERATOS_NO_SUCH", "no label that eratos knows"),
        (changed("scaling.instnaces", 1), "/scaling/instnaces", "did you mean instances"),
        (changed("user", "a b"), "/user", "no user has blanks"),
        (changed("containers.0.user", "a b"), "/containers(0)/user", "no user has blanks"),
    ],
)
def test_what_is_wrong_is_named_with_its_place(document: Any, place: str, words: str) -> None:
    with pytest.raises(InvalidApp) as caught:
        pod_definition.parse(document)
    assert any(problem.path == place and words in problem.message for problem in caught.value.problems), caught.value.problems


def test_unknown_fields_are_dropped_and_told() -> None:
    pod = pod_definition.parse(example(comments="nobody reads this", legacySharedCgroups=True))
    assert {place for place, _ in pod.dropped} == {"/comments", "/legacySharedCgroups", "/scaling/maxInstances"}


@pytest.mark.parametrize(
    ("given", "taken"),
    [(["http"], ("tcp",)), (["tcp", "https"], ("tcp",)), (["http", "udp"], ("tcp", "udp")), (["udp"], ("udp",))],
)
def test_what_is_spoken_over_tcp_is_tcp_and_told(given: list[str], taken: tuple[str, ...]) -> None:
    pod = pod_definition.parse(changed("containers.1.endpoints.0.protocol", given))
    assert pod.spec.containers[1].endpoints[0].protocol == taken
    assert ("/containers(1)/endpoints(0)/protocol" in dict(pod.dropped)) is (given != list(taken))


@pytest.mark.parametrize("given", [["x", "http"], [["http"]], [5, "http"], "http"])
def test_other_protocols_are_refused(given: Any) -> None:
    with pytest.raises(InvalidApp, match="protocol"):
        pod_definition.parse(changed("containers.1.endpoints.0.protocol", given))
