"""Registrator's variables and labels: the tags are taken, as it takes them, and the rest is told."""

from __future__ import annotations

from typing import Any

import pytest

from eratos.marathon import definition, registrator
from eratos.marathon.app import App
from eratos.marathon.app_parts import AppPort
from eratos.marathon.notes import Verdict, notes


def app(**fields: Any) -> App:
    """Return an app with the container ports 80 and 443."""
    mappings = [{"containerPort": 80, "hostPort": 0}, {"containerPort": 443, "hostPort": 0, "name": "tls"}]
    container = {"type": "DOCKER", "docker": {"image": "x"}, "portMappings": mappings}
    return definition.parse({"id": "/shop/cart", "container": container, "networks": [{"mode": "container/bridge"}]} | fields)


@pytest.mark.parametrize(
    ("env", "labels", "tags"),
    [
        ({}, {}, ((), ())),
        ({"SERVICE_TAGS": "a, b,,"}, {}, (("a", "b"), ("a", "b"))),
        ({}, {"SERVICE_TAGS": "a"}, (("a",), ("a",))),
        ({"SERVICE_TAGS": "a"}, {"SERVICE_TAGS": "b"}, (("b",), ("b",))),
        ({"SERVICE_TAGS": "a", "SERVICE_443_TAGS": "b"}, {}, (("a",), ("b",))),
        ({"SERVICE_443_TAGS": "b"}, {"SERVICE_TAGS": "a"}, (("a",), ("b",))),
        ({"SERVICE_TAGS": "a"}, {"CONSUL_TAGS": "a,c"}, (("a", "c"), ("a", "c"))),
        ({"SERVICE_TAGS": "no blanks"}, {"CONSUL_TAGS": "c"}, (("c",), ("c",))),
        ({"SERVICE_8080_TAGS": "a"}, {}, ((), ())),
    ],
)
def test_tags_by_table(env: dict[str, str], labels: dict[str, str], tags: tuple[tuple[str, ...], ...]) -> None:
    assert app(env=env, labels=labels).service_tags == tags


def test_without_a_network_of_its_own_a_port_is_the_hosts() -> None:
    ports = [{"port": 9000, "name": "http"}]
    found = app(container={"docker": {"image": "x"}}, networks=[{"mode": "host"}], portDefinitions=ports, requirePorts=True,
                env={"SERVICE_9000_TAGS": "a"})  # fmt: skip
    assert found.service_tags == (("a",),)


@pytest.mark.parametrize(
    ("key", "value", "verdict", "said"),
    [
        ("SERVICE_TAGS", "a,b", Verdict.TRANSLATED, "tags of its services in Consul"),
        ("SERVICE_443_TAGS", "a", Verdict.TRANSLATED, "tags of the service of port 443"),
        ("SERVICE_8080_TAGS", "a", Verdict.NOT_HEEDED, "the app has no port 8080"),
        ("SERVICE_TAGS", "no blanks", Verdict.NOT_HEEDED, "without blanks"),
        ("SERVICE_NAME", "cart", Verdict.NOT_HEEDED, "named after the app"),
        ("SERVICE_80_NAME", "cart", Verdict.NOT_HEEDED, "named after the app"),
        ("SERVICE_IGNORE", "true", Verdict.NOT_HEEDED, "HAPROXY_n_ENABLED"),
        ("SERVICE_80_CHECK_HTTP", "/health", Verdict.NOT_HEEDED, "healthChecks"),
    ],
)
@pytest.mark.parametrize("field", ["env", "labels"])
def test_what_becomes_of_each_is_told(field: str, key: str, value: str, verdict: Verdict, said: str) -> None:
    (note,) = notes(app(**{field: {key: value}}))
    assert (note.path, note.verdict) == (f"/{field}/{key}", verdict) and said in note.text


@pytest.mark.parametrize("key", ["SERVICE_HOST", "SERVICE_URL", "MY_SERVICE_NAME", "SERVICE_TAGS_FILE", "SERVICE_x_NAME"])
def test_what_is_not_registrators_is_nobodys_business(key: str) -> None:
    assert not list(notes(app(env={key: "x"})))


def test_ports_are_looked_at_once_however_many_keys_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[AppPort] = []
    number = registrator.number
    monkeypatch.setattr(registrator, "number", lambda port: asked.append(port) or number(port))
    ports = app().ports
    assert len([*registrator.notes({f"SERVICE_{n}_TAGS": "a" for n in range(1000)}, ports)]) == 1000
    assert len(asked) == len(ports)
