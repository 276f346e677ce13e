"""Registrator's variables and labels: tags and attributes are taken, as it takes them, and the rest is told."""

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


@pytest.mark.parametrize(
    ("labels", "attributes"),
    [
        ({}, ({}, {})),
        ({"SERVICE_REGION": "us2"}, ({"region": "us2"}, {"region": "us2"})),
        ({"SERVICE_SNI": "off", "SERVICE_443_SNI": "on"}, ({"sni": "off"}, {"sni": "on"})),
        ({"SERVICE_443_SNI": "on", "SERVICE_8080_SNI": "on"}, ({}, {"sni": "on"})),
        ({"SERVICE_x_Name": "a"}, ({"x_name": "a"}, {"x_name": "a"})),
        ({"SERVICE_NAME": "a", "SERVICE_80_CHECK_TCP": "true", "SERVICE_TAGS": "a", "SERVICE_REGION": ""}, ({}, {})),
        ({"SERVICE_ERATOS-TASK": "a", "SERVICE_HAPROXY_0_VHOST": "a", "SERVICE_LONG": "a" * 513}, ({}, {})),
        ({"SERVICE_LONG": "é" * 257, "SERVICE_FITS": "é" * 256}, ({"fits": "é" * 256}, {"fits": "é" * 256})),
        ({"SERVICE_CONSUL-A": "a", "SERVICE_CONSUL_A": "b"}, ({"consul_a": "b"}, {"consul_a": "b"})),
        ({"SERVICE_foo": "c", "SERVICE_Foo": "b", "SERVICE_FOO": "a"}, ({"foo": "a"}, {"foo": "a"})),
        ({"SERVICE_443_Foo": "b", "SERVICE_443_FOO": "a", "SERVICE_foo": "c"}, ({"foo": "c"}, {"foo": "a"})),
    ],
)
def test_attributes_by_table(labels: dict[str, str], attributes: tuple[dict[str, str], ...]) -> None:
    assert app(labels=labels).service_attributes == attributes


def test_an_attribute_of_the_apps_own_counts_before_registrators_and_a_variable_is_none() -> None:
    stated = {"labels": {"SERVICE_REGION": "us", "SERVICE_ROLE": "main"}, "eratos": {"attributes": {"region": "eu"}}}
    assert app(env={"SERVICE_PASSWORD": "hush"}, **stated).service_attributes[0] == {"region": "eu", "role": "main"}


def test_there_are_no_more_attributes_than_an_app_may_state() -> None:
    found = app(labels={f"SERVICE_A{number:02}": "x" for number in range(21)})
    assert [len(each) for each in found.service_attributes] == [20, 20]
    told = {note.path: note.verdict for note in notes(found)}
    assert [path for path, verdict in told.items() if verdict is Verdict.NOT_HEEDED] == ["/labels/SERVICE_A20"]


def test_attributes_of_labels_are_bounded_together_with_the_apps_own() -> None:
    own = {f"own{number}": "x" for number in range(18)} | {"a00": "own"}
    found = app(labels={f"SERVICE_A{number:02}": "x" for number in range(21)}, eratos={"attributes": own})
    assert list(found.service_attributes) == [own | {"a01": "x"}] * 2
    told = {note.path.rpartition("_")[2]: (note.verdict, note.text) for note in notes(found)}
    assert [path for path, (verdict, _) in told.items() if verdict is Verdict.TRANSLATED] == ["A01"]
    assert "eratos.attributes has a00, too" in told["A00"][1] and "20 attributes at most" in told["A02"][1]


def test_of_labels_that_differ_in_case_alone_it_is_told_which_counts() -> None:
    told = {note.path: note for note in notes(app(labels={"SERVICE_Foo": "b", "SERVICE_FOO": "a"}))}
    assert told["/labels/SERVICE_FOO"].verdict is Verdict.TRANSLATED
    assert told["/labels/SERVICE_Foo"].verdict is Verdict.NOT_HEEDED
    assert "SERVICE_FOO is the same attribute" in told["/labels/SERVICE_Foo"].text


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


@pytest.mark.parametrize(
    ("field", "key", "verdict", "said"),
    [
        ("labels", "SERVICE_REGION", Verdict.TRANSLATED, "attribute region of its services"),
        ("labels", "SERVICE_443_SNI", Verdict.TRANSLATED, "attribute sni of the service of port 443"),
        ("labels", "SERVICE_8080_SNI", Verdict.NOT_HEEDED, "the app has no port 8080"),
        ("labels", "SERVICE_ERATOS-ZONE", Verdict.NOT_HEEDED, "eratos' own"),
        ("labels", "SERVICE_CONSUL-A", Verdict.NOT_HEEDED, "with consul- Consul's"),
        ("env", "SERVICE_REGION", Verdict.NOT_HEEDED, "of labels, not of variables"),
    ],
)
def test_what_becomes_of_an_attribute_is_told(field: str, key: str, verdict: Verdict, said: str) -> None:
    (note,) = notes(app(**{field: {key: "x"}}))
    assert (note.path, note.verdict) == (f"/{field}/{key}", verdict) and said in note.text


@pytest.mark.parametrize("key", ["SERVICE_HOST", "SERVICE_URL", "MY_SERVICE_NAME", "SERVICE_TAGS_FILE", "SERVICE_x_NAME"])
def test_what_is_not_registrators_is_nobodys_business(key: str) -> None:
    assert not list(notes(app(env={key: "x"})))


def test_ports_are_looked_at_once_however_many_keys_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[AppPort] = []
    number = registrator.number
    monkeypatch.setattr(registrator, "number", lambda port: asked.append(port) or number(port))
    ports = app().ports
    assert len([*registrator.of_labels({f"SERVICE_{n}_TAGS": "a" for n in range(1000)}, ports)]) == 1000
    assert len(asked) == len(ports)
