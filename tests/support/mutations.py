"""Definitions as users get them wrong: documents of many fields, and one to three random changes to each."""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Iterator
from typing import Any

from .folders import EXAMPLE_APPS

LOCAL_VOLUME = {"name": "v", "provider": "dvdi", "options": {"dvdi/driver": "local"}}

#: Every field that there is, in the newer spelling.
DOCKER: dict[str, Any] = {
    "id": "/shop/cart",
    "args": ["serve", "--port", "80"],
    "user": "nobody",
    "env": {"A": "b", "EMPTY": "", "PASSWORD": {"secret": "db"}},
    "secrets": {"db": {"source": "shop/db"}},
    "instances": 3,
    "cpus": 0.5,
    "mem": 64,
    "disk": 10,
    "constraints": [["hostname", "UNIQUE"], ["rack", "GROUP_BY", "2"], ["zone", "LIKE", "eu-.*"], ["rack", "MAX_PER", "2"]],
    "acceptedResourceRoles": ["*"],
    "networks": [{"mode": "container/bridge"}],
    "container": {
        "type": "DOCKER",
        "docker": {
            "image": "shop/cart:1",
            "forcePullImage": True,
            "privileged": False,
            "parameters": [{"key": "hostname", "value": "cart"}],
        },
        "volumes": [
            {"containerPath": "/data", "hostPath": "/srv/data", "mode": "RW"},
            {"containerPath": "/own", "hostPath": "own", "mode": "RW"},
            {"containerPath": "/run/db", "secret": "db"},
            {
                "containerPath": "cache",
                "mode": "RW",
                "external": {"name": "v", "provider": "dvdi", "options": {"dvdi/driver": "local"}},
            },
        ],
        "portMappings": [
            {
                "containerPort": 80,
                "hostPort": 0,
                "servicePort": 10080,
                "protocol": "tcp",
                "name": "http",
                "labels": {"VIP_0": "/x"},
            },
            {"containerPort": 81, "protocol": "udp,tcp"},
        ],
    },
    "healthChecks": [
        {"protocol": "HTTP", "path": "/health", "portIndex": 0, "gracePeriodSeconds": 3, "delaySeconds": 7},
        {"protocol": "COMMAND", "command": {"value": "true"}, "timeoutSeconds": 2, "maxConsecutiveFailures": 0},
    ],
    "readinessChecks": [
        {"name": "warm", "protocol": "HTTP", "path": "/ready", "portName": "http", "httpStatusCodesForReady": [200]}
    ],
    "check": {"http": {"portIndex": 0, "path": "/told"}, "intervalSeconds": 7},
    "fetch": [{"uri": "https://files.example/a.tgz", "extract": True, "destPath": "a"}],
    "dependencies": ["/shop/db", "base"],
    "upgradeStrategy": {"minimumHealthCapacity": 0.5, "maximumOverCapacity": 0.2},
    "backoffSeconds": 1,
    "backoffFactor": 1.2,
    "maxLaunchDelaySeconds": 60,
    "taskKillGracePeriodSeconds": 5,
    "killSelection": "OLDEST_FIRST",
    "unreachableStrategy": {"inactiveAfterSeconds": 10, "expungeAfterSeconds": 20},
    "resourceLimits": {"cpus": 2, "mem": "unlimited"},
    "executorResources": {"cpus": 0.1, "mem": 32},
    "gpus": 1,
    "tty": True,
    "labels": {"HAPROXY_GROUP": "external", "HAPROXY_0_VHOST": "shop.example", "CONSUL_TAGS": "a,b", "owner": "shop"},
}
#: A process, in the older spelling.
PROCESS: dict[str, Any] = {
    "id": "worker",
    "cmd": "sleep 1000",
    "ports": [10001, 0],
    "requirePorts": False,
    "uris": ["http://files.example/x"],
    "executor": "",
    "storeUrls": [],
    "ipAddress": None,
    "version": "2026-01-01T00:00:00.000Z",
    "unreachableStrategy": "disabled",
    "healthChecks": [{"protocol": "TCP", "delaySeconds": 15, "ignoreHttp1xx": False}],
    "labels": {"MARATHON_SINGLE_INSTANCE_APP": "true", "HAPROXY_0_MODE": "tcp"},
}
LEGACY: dict[str, Any] = {
    "id": "/old",
    "cmd": "serve",
    "container": {"type": "DOCKER", "docker": {"image": "x", "network": "BRIDGE", "portMappings": [{"containerPort": 1}]}},
}
#: One of Mesos' containers on networks of their own.
MESOS: dict[str, Any] = {
    "id": "/ucr",
    "networks": [{"mode": "container", "name": "front", "labels": {"a": "b"}}, {"name": "back"}],
    "container": {
        "type": "MESOS",
        "docker": {"image": "x"},
        "portMappings": [{"containerPort": 80, "networkNames": ["back"], "labels": {"VIP_0": "/x:80"}}, {"hostPort": 31000}],
    },
}
#: The same in the older spelling.
IP_PER_TASK: dict[str, Any] = {
    "id": "/ip",
    "container": {"type": "MESOS", "docker": {"image": "x"}},
    "ipAddress": {"networkName": "front", "labels": {"a": "b"}, "discovery": {"ports": [{"name": "http", "number": 80}]}},
}

_VALUES: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 1, 1.5, -0.0, 1e-300, 1e300, 10**23, 2**31, 2**63, 65536),
    *("", " ", "x", "0", "true", "/", "..", "/a/../..", "\0", "\n", "ä€😀", "x" * 5000, "a" * 70, "%", "${PORT}", "HOST", "host"),
    *(
        [],
        {},
        [[]],
        [None],
        [{}],
        {"": ""},
        {"a": None},
        [0, "x"],
        [["hostname", "UNIQUE"]],
        {"docker": {}},
        "(" * 500,
        "a{99999999999}",
    ),
)
_FIELDS = (
    "container",
    "docker",
    "networks",
    "portMappings",
    "portDefinitions",
    "labels",
    "env",
    "cmd",
    "args",
    "id",
    "ports",
    "nope",
    "",
)


def documents() -> list[dict[str, Any]]:
    """Return the documents to begin with."""
    samples = [json.loads(path.read_text()) for path in sorted(EXAMPLE_APPS.glob("*.json"))]
    return [
        DOCKER,
        PROCESS,
        LEGACY,
        MESOS,
        IP_PER_TASK,
        *(sample for sample in samples if "apps" not in sample and "groups" not in sample),
    ]


def mutated(seed: int, count: int) -> Iterator[dict[str, Any]]:
    """Yield ``count`` documents with one to three changes each; the same for the same seed."""
    chance, begin = random.Random(seed), documents()
    for _ in range(count):
        document: Any = copy.deepcopy(chance.choice(begin))
        for _ in range(chance.choice((1, 1, 2, 3))):
            _change(chance, document)
        yield document


def _change(chance: random.Random, document: dict[str, Any]) -> None:
    holder, key = chance.choice(_places(document) or [(document, "id")])
    match chance.randrange(8):
        case 0 | 1 | 2:
            holder[key] = copy.deepcopy(chance.choice(_VALUES))
        case 3:
            del holder[key]
        case 4:  # what another place holds
            other, name = chance.choice(_places(document) or [(document, "id")])
            holder[key] = copy.deepcopy(other.get(name) if isinstance(other, dict) else other[name])
        case 5:
            holder[key] = [holder[key]] if chance.random() < 0.5 else {str(key): holder[key]}
        case 6:
            if isinstance(holder, list):
                holder.extend(copy.deepcopy(holder[key]) for _ in range(chance.choice((1, 2, 120))))
            else:
                holder[chance.choice(_FIELDS)] = copy.deepcopy(holder[key])
        case 7:
            target = holder if isinstance(holder, dict) else document
            target[chance.choice(_FIELDS)] = copy.deepcopy(chance.choice(_VALUES))


def _places(value: Any) -> list[tuple[Any, Any]]:
    found: list[tuple[Any, Any]] = []
    for key, item in list(value.items()) if isinstance(value, dict) else list(enumerate(value)):
        found.append((value, key))
        if isinstance(item, dict | list):
            found += _places(item)
    return found
