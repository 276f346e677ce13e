"""The companion's settings."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from support.folders import ROOT

from eratos.common.errors import FatalError
from eratos.haproxy import config
from eratos.haproxy.core.haproxy_text import Settings
from eratos.haproxy.core.services import Scope


def test_an_empty_environment_is_enough() -> None:
    settings = config.read({})
    assert settings.port == 9100
    assert settings.consul == "http://127.0.0.1:8500"
    assert settings.guard_hold_s == 5
    assert not settings.servers_file
    assert settings.certs_dir == Path("/etc/eratos-balancer/certs")
    assert settings.live == Path("/var/lib/eratos-balancer/live.cfg")


def test_settings_come_from_the_environment() -> None:
    settings = config.read({"ERATOS_STATE_DIR": "/s", "ERATOS_HOST": "b1", "ERATOS_GUARD_HOLD_S": "0.5"})
    assert (settings.facts, settings.master_socket) == (Path("/s/facts.json"), Path("/s/master.sock"))
    assert (settings.host, settings.guard_hold_s) == ("b1", 0.5)


def test_a_file_of_servers_does_not_forget_as_consul_may() -> None:
    assert config.read({}).guard_hold_wholesale_s == 130
    assert config.read({"ERATOS_SERVERS_FILE": "/s"}).guard_hold_wholesale_s == 0


@pytest.mark.parametrize("value", ["all", "failed", "5%", "0.1%", "100%"])
def test_which_requests_are_logged_is_a_word_or_a_share(value: str) -> None:
    found = config.read({"ERATOS_LOG_REQUESTS": value, "ERATOS_REQUEST_ID": "own"}).text
    assert (found.log_requests, found.request_id) == (value, "own")


def test_by_default_requests_get_ids_and_failed_ones_a_line() -> None:
    found = config.read({}).text
    assert (found.log_requests, found.request_id) == ("failed", "keep")


def test_all_problems_are_named_together() -> None:
    env = {
        "ERATOS_COMPANION_PORT": "x",
        "ERATOS_GUARD_HOLD_S": "-1",
        "ERATOS_CONSUL": "consul:8500",
        "ERATOS_LOG_LEVEL": "loud",
        "ERATOS_LOG_REQUESTS": "some",
        "ERATOS_REQUEST_ID": "on",
    }
    with pytest.raises(FatalError) as raised:
        config.read(env)
    for name in env:
        assert name in str(raised.value)


@pytest.mark.parametrize(
    ("env", "scope"),
    [
        ({}, Scope("external", own_ports=frozenset({"8000", "8443", "9090", "9100"}))),
        (
            {
                "ERATOS_HAPROXY_GROUP": "*",
                "ERATOS_HAPROXY_TAG": "prod",
                "ERATOS_FRAMEWORK": "f-0001",
                "ERATOS_HTTP_BIND": "127.0.0.1:80",
            },
            Scope("*", "prod", "f-0001", frozenset({"80", "8443", "9090", "9100"})),
        ),
        (
            {"ERATOS_HTTPS_BIND": ":443", "ERATOS_STATS_BIND": ":1", "ERATOS_COMPANION_PORT": "2"},
            Scope(own_ports=frozenset({"8000", "443", "1", "2"})),
        ),
        (
            {"ERATOS_ZONE": " eu/a ", "ERATOS_ZONE_POLICY": "require"},
            Scope(own_ports=frozenset({"8000", "8443", "9090", "9100"}), zone="eu/a", zone_policy="require"),
        ),
        (
            {"ERATOS_DATACENTERS": "dc2,west-1,dc2,"},
            Scope(own_ports=frozenset({"8000", "8443", "9090", "9100"}), datacenters=("dc2", "west-1")),
        ),
        ({"ERATOS_ZONE": "a"}, Scope(own_ports=frozenset({"8000", "8443", "9090", "9100"}), zone="a", zone_policy="ignore")),
    ],
)
def test_a_balancer_is_for_its_group_and_keeps_its_own_ports(env: dict[str, str], scope: Scope) -> None:
    assert config.read(env).scope == scope


@pytest.mark.parametrize(
    ("env", "reason"),
    [
        ({"ERATOS_ZONE_POLICY": "near", "ERATOS_ZONE": "a"}, "ERATOS_ZONE_POLICY=near: must be ignore, prefer or require"),
        ({"ERATOS_ZONE_POLICY": "prefer", "ERATOS_ZONE": " "}, "ERATOS_ZONE_POLICY=prefer: needs ERATOS_ZONE"),
        (
            {"ERATOS_ZONE_POLICY": "require", "ERATOS_ZONE": "a", "ERATOS_SERVERS_FILE": "/s"},
            "ERATOS_ZONE_POLICY=require: servers of ERATOS_SERVERS_FILE have no zones",
        ),
        ({"ERATOS_DATACENTERS": "dc2, dc3"}, "ERATOS_DATACENTERS: ' dc3' is no name of a Consul data center"),
        ({"ERATOS_DATACENTERS": "../x"}, "ERATOS_DATACENTERS: '../x' is no name of a Consul data center"),
        (
            {"ERATOS_DATACENTERS": "dc2", "ERATOS_SERVERS_FILE": "/s"},
            "ERATOS_DATACENTERS: servers of ERATOS_SERVERS_FILE are in no data center",
        ),
    ],
)
def test_zones_and_data_centers_have_to_fit(env: dict[str, str], reason: str) -> None:
    with pytest.raises(FatalError, match=f"^{reason}.*; ERATOS_GUARD_HOLD_S=x: "):
        config.read({**env, "ERATOS_GUARD_HOLD_S": "x"})


@pytest.mark.parametrize(
    ("env", "port"),
    [
        ({}, ":8443"),
        ({"ERATOS_HTTPS_BIND": "1.2.3.4:443"}, ""),
        ({"ERATOS_HTTPS_PORT": "443"}, ""),
        ({"ERATOS_HTTPS_PORT": "444", "ERATOS_HTTPS_BIND": ":443"}, ":444"),
    ],
)
def test_clients_are_sent_to_the_port_of_https(env: dict[str, str], port: str) -> None:
    assert config.read(env).text == Settings("/var/lib/eratos-balancer/routes.map", port, 800, 4)


def test_every_setting_stands_in_the_documentation() -> None:
    sources = [path for path in (ROOT / "haproxy").rglob("*") if path.is_file() and path.suffix != ".pyc"]
    names = {name for path in sources for name in re.findall(r"\bERATOS_[A-Z_]+[A-Z]\b", path.read_text())}
    documented = set(re.findall(r"`(ERATOS_[A-Z_]+)`", (ROOT / "docs/balancer.md").read_text()))
    assert names == documented
