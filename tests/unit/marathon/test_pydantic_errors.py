"""Every refusal names the place, what is wrong, and the way out, in words."""

from __future__ import annotations

from typing import Any

import pytest

from eratos.marathon import definition
from eratos.marathon.errors import PROBLEMS_MOST, InvalidApp

IMAGE = {"docker": {"image": "x"}}


def problems(**fields: Any) -> dict[str, str]:
    try:
        definition.parse({"id": "/a", "cmd": "sleep 1"} | fields)
    except InvalidApp as error:
        return {problem.path: problem.message for problem in error.problems}
    return {}


@pytest.mark.parametrize(
    ("fields", "path", "words"),
    [
        # a known field in the wrong place
        (
            {"container": IMAGE | {"forcePullImage": True}},
            "/container/forcePullImage",
            "belongs in /container/docker/forcePullImage: move it there",
        ),
        ({"forcePullImage": True}, "/forcePullImage", "belongs in /container/docker/forcePullImage"),
        ({"parameters": []}, "/parameters", "belongs in /container/docker/parameters"),
        ({"container": {"docker": {"image": "x", "type": "DOCKER"}}}, "/container/docker/type", "belongs in /container/type"),
        ({"healthChecks": [{"portName": "http"}]}, "/healthChecks(0)/portName", "write portIndex, which place 'http' has among"),
        ({"healthChecks": [{"portName": "a", "portIndex": 0}]}, "/healthChecks(0)/portName", "write portIndex, which place 'a'"),
        ({"minimumHealthCapacity": 1}, "/minimumHealthCapacity", "belongs in /upgradeStrategy/minimumHealthCapacity"),
        ({"container": IMAGE | {"instances": 3}}, "/container/instances", "belongs in /instances"),
        ({"container": IMAGE | {"env": {"A": "b"}}}, "/container/env", "belongs in /env"),
        ({"network": "BRIDGE"}, "/network", "belongs in /container/docker/network"),
        ({"volumes": [{"a": 1}]}, "/volumes", "belongs in /container/volumes"),
        # a field that is none, with the nearest, those beside it first
        ({"instnaces": 3}, "/instnaces", "did you mean instances?"),
        ({"healthchecks": []}, "/healthchecks", "did you mean healthChecks?"),
        ({"health_checks": []}, "/health_checks", "did you mean healthChecks?"),
        ({"container": {"docker": {"image": "x", "priviledged": True}}}, "/container/docker/priviledged", "mean privileged?"),
        ({"priviledged": True}, "/priviledged", "did you mean privileged, which belongs in /container/docker/privileged?"),
        # quotes
        ({"instances": "1"}, "/instances", "must be a whole number, not '1': write 1 without quotes"),
        ({"cpus": "0.5"}, "/cpus", "must be a number, not '0.5': write 0.5 without quotes"),
        ({"requirePorts": "true"}, "/requirePorts", "must be true or false, not 'true': write true without quotes"),
        ({"instances": "many"}, "/instances", "must be a whole number, not 'many'"),
        ({"cmd": 8080}, "/cmd", 'must be text: put quotes around it, "8080"'),
        ({"labels": {"a": True}}, "/labels/a", 'must be text: put quotes around it, "true"'),
        ({"env": {"A": 1}}, "/env/A", "must be a string: put quotes around it"),
        # words instead of patterns
        ({"portDefinitions": [{"name": "Web_Port"}]}, "/portDefinitions(0)/name", "lowercase letters, digits and dashes"),
        ({"portDefinitions": [{"name": "x" * 64}]}, "/portDefinitions(0)/name", "is 64 characters long: use at most 63"),
        ({"healthChecks": [{"path": "/he alth"}]}, "/healthChecks(0)/path", "must be a path such as /health"),
        ({"container": {"docker": {"image": "a b"}}}, "/container/docker/image", "must be an image such as nginx:1.27"),
        (
            {"container": IMAGE | {"volumes": [{"containerPath": "/a", "hostPath": "a:b", "mode": "RW"}]}},
            "/container/volumes(0)/hostPath",
            "must be a path of the agent's host",
        ),
        # labels
        ({"labels": {"HAPROXY_0_VHSOT": "a.example"}}, "/labels/HAPROXY_0_VHSOT", "did you mean HAPROXY_n_VHOST"),
        ({"labels": {"ERATOS_DRAIN_SECOND": "1"}}, "/labels/ERATOS_DRAIN_SECOND", "did you mean ERATOS_DRAIN_SECONDS"),
    ],
)  # fmt: skip
def test_a_refusal_says_where_and_what_instead(fields: dict[str, Any], path: str, words: str) -> None:
    found = problems(**fields)
    assert words in found[path], found
    assert "^" not in found[path], "a bare pattern is no message"


def test_keys_that_yaml_turned_into_truth_are_told_as_such() -> None:
    found = problems(env={True: "yes"})
    assert found["/"] == "has the key True, which is no text, as YAML reads on, off, yes, no and the like: put quotes around it"


def test_the_known_labels_are_listed_once() -> None:
    found = problems(labels={f"ERATOS_{name}": "x" for name in ("OWNER", "TEAM", "CONTACT", "COST", "ROOM")})
    assert len(found) == 5
    assert sum("where n is the port's index" in message for message in found.values()) == 1
    assert all(len(message) < 150 or "where n is" in message for message in found.values())


def test_no_answer_grows_without_end() -> None:
    with pytest.raises(InvalidApp) as caught:
        definition.parse({"id": "/a", "cmd": "x"} | {f"no-{number}": 1 for number in range(190)})
    assert len(caught.value.problems) == PROBLEMS_MOST + 1
    assert "more beside these" in caught.value.problems[-1].message


@pytest.mark.parametrize(("given", "said"), [(None, "not null"), (True, '"true"')])
def test_values_are_told_as_json_has_them(given: Any, said: str) -> None:
    assert said in problems(labels={"a": given})["/labels/a"]


@pytest.mark.parametrize("name", ["x" * 100_000, "instances" * 10_000])
def test_a_long_name_is_not_compared_nor_repeated(name: str) -> None:
    with pytest.raises(InvalidApp) as caught:
        definition.parse({"id": "/a", "cmd": "x", name: 1, "labels": {f"HAPROXY_{name}": "x"}})
    assert len(str(caught.value)) < 2000
