"""Words of definitions, in whatever case: a table of every place, and that the models take what comes of them."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import pytest

from eratos.marathon import definition, pod_definition, words
from eratos.marathon.errors import InvalidApp

PLACES = [*words.OF_APPS, *words.OF_PODS]


def at(place: str, value: Any) -> dict[str, Any]:
    """Return a document that holds nothing but a value at a place, beside what is no object or list."""
    made = value
    for step in reversed(place.split("/")):
        made = [made, 5, None] if step == "*" else {step: made, "other": "BRIDGE"}
    return dict(made)


@pytest.mark.parametrize(("place", "known"), PLACES, ids=[place for place, _ in PLACES])
def test_each_word_is_written_as_the_models_have_it(place: str, known: Mapping[str, str]) -> None:
    for written, meant in known.items():
        for spelling in (written, written.upper(), written.title(), meant):
            document = at(place, spelling)
            words.spell(document, ((place, known),))
            assert document == at(place, meant)


@pytest.mark.parametrize("value", ["", "nonsense", 5, None, True, [], {}, ["tcp"], "tcp "])
def test_what_is_no_word_is_left_for_the_models(value: Any) -> None:
    for places in (words.OF_APPS, words.OF_PODS):
        for place, _ in places:
            document = at(place, value)
            words.spell(document, places)
            assert document == at(place, value)


APP = {
    "id": "/app",
    "container": {
        "type": "MESOS",
        "docker": {"image": "x"},
        "portMappings": [{"containerPort": 80, "protocol": "udp,tcp"}, {"containerPort": 81, "protocol": "tcp"}],
        "volumes": [{"containerPath": "/a", "hostPath": "/b", "mode": "RO"}],
        "linuxInfo": {"ipcInfo": {"mode": "PRIVATE"}},
    },
    "networks": [{"mode": "container/bridge"}],
    "healthChecks": [{"protocol": "MESOS_TCP", "portIndex": 1, "ipProtocol": "IPv6"}],
    "readinessChecks": [{"protocol": "HTTPS", "portName": "http-api"}],
    "check": {"http": {"scheme": "HTTPS", "portIndex": 1}},
    "killSelection": "OLDEST_FIRST",
    "resourceLimits": {"cpus": "unlimited", "mem": "unlimited"},
    "unreachableStrategy": "disabled",
}
APP["container"]["portMappings"][1]["name"] = "http-api"  # type: ignore[index]
RESIDENT = {
    "id": "/app",
    "container": {
        "type": "DOCKER",
        "docker": {"image": "x", "network": "BRIDGE", "portMappings": [{"containerPort": 80, "protocol": "udp"}]},
        "volumes": [{"containerPath": "a", "mode": "RW", "persistent": {"type": "root", "size": 5}}],
    },
    "residency": {"taskLostBehavior": "WAIT_FOREVER"},
}
BY_ADDRESS = {
    "id": "/app",
    "container": {"docker": {"image": "x", "network": "USER"}},
    "ipAddress": {"networkName": "web", "discovery": {"ports": [{"number": 80, "name": "a", "protocol": "udp"}]}},
}
POD = {
    "id": "/pod",
    "containers": [
        {
            "name": "c",
            "image": {"kind": "DOCKER", "id": "x"},
            "resources": {"cpus": 0.1, "mem": 32},
            "resourceLimits": {"cpus": "unlimited", "mem": "unlimited"},
            "endpoints": [{"name": "web", "containerPort": 80, "protocol": ["tcp", "udp"]}],
            "healthCheck": {"http": {"endpoint": "web", "scheme": "HTTPS"}},
        }
    ],
    "networks": [{"mode": "container/bridge"}],
    "scaling": {"kind": "fixed", "instances": 1},
    "scheduling": {
        "killSelection": "OLDEST_FIRST",
        "unreachableStrategy": "disabled",
        "placement": {"constraints": [{"fieldName": "hostname", "operator": "UNIQUE"}]},
    },
}


def respelt(document: Any, places: words.Places) -> Any:
    """Return a document with each word in the other case."""
    other = {place: {key: meant.swapcase() for key, meant in known.items()} for place, known in places}
    made = copy.deepcopy(document)
    words.spell(made, tuple(other.items()))
    return made


@pytest.mark.parametrize("document", [APP, RESIDENT, BY_ADDRESS], ids=["app", "resident", "by address"])
def test_an_app_is_the_same_in_whatever_case(document: dict[str, Any]) -> None:
    other = respelt(document, words.OF_APPS)
    assert other != document
    assert definition.parse(other) == definition.parse(document)


def test_a_pod_is_the_same_in_whatever_case() -> None:
    other = respelt(POD, words.OF_PODS)
    assert other != POD
    assert pod_definition.parse(other) == pod_definition.parse(POD)


def test_a_word_that_is_none_is_refused_as_it_was_written() -> None:
    with pytest.raises(InvalidApp, match="must be 'RO' or 'RW', not 'Read'"):
        definition.parse(
            {"id": "/a", "container": {"docker": {"image": "x"}, "volumes": [{"containerPath": "/a", "mode": "Read"}]}}
        )
