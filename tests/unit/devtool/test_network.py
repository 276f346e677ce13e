"""./dev: a network for the cluster where nothing else is."""

from __future__ import annotations

import ipaddress

import pytest
from devtool import network
from devtool.network import BRIDGES, NETWORK, Range, existing_numbers, first_free, parse_route
from devtool.settings import COMPOSE_FILE, MOST_AGENTS, Settings
from devtool.terminal import Problem


def networks(*texts: str) -> list[ipaddress.IPv4Network | ipaddress.IPv6Network]:
    return [ipaddress.ip_network(text) for text in texts]


def test_the_first_prefix_that_overlaps_nothing_is_taken() -> None:
    assert first_free(NETWORK, ["10.87.213", "10.87.214"], networks("172.17.0.0/16", "fd00::/64")) == "10.87.213"
    assert first_free(NETWORK, ["10.87.213", "10.87.214"], networks("10.87.213.128/25")) == "10.87.214"


@pytest.mark.parametrize(("kind", "found"), [(NETWORK, "172.31.200"), (BRIDGES, "172.30")])
def test_a_large_private_network_of_this_machine_is_passed_by(kind: Range, found: str) -> None:
    assert first_free(kind, kind.candidates, networks("10.0.0.0/8")) == found


def test_hosts_get_a_range_with_room_for_all_that_there_may_be() -> None:
    assert first_free(BRIDGES, ["10.86", "10.85"], networks(f"10.86.{MOST_AGENTS}.0/24")) == "10.85"
    assert first_free(BRIDGES, ["10.86", "10.85"], networks("10.86.64.0/24")) == "10.86"


def test_no_free_prefix_is_told_as_none() -> None:
    assert first_free(NETWORK, ["10.1.2"], networks("10.0.0.0/8")) == ""


@pytest.mark.parametrize("prefix", ["10.1", "10.1.2.3", "ten", "10.1.300"])
def test_what_is_no_network_is_refused_with_a_fix(prefix: str) -> None:
    with pytest.raises(Problem) as caught:
        first_free(NETWORK, [prefix], [])
    assert f"ERATOS_NETWORK={NETWORK.default}" in caught.value.fix


@pytest.mark.parametrize("prefix", ["10", "10.1.2", "ten.1"])
def test_what_is_no_range_for_hosts_is_refused_with_a_fix(prefix: str) -> None:
    with pytest.raises(Problem) as caught:
        first_free(BRIDGES, [prefix], [])
    assert f"ERATOS_BRIDGES={BRIDGES.default}" in caught.value.fix


def test_networks_that_exist_stay_where_they_are_and_anothers_are_not_taken_for_them() -> None:
    there = {"eratos_default": ["10.1.2.0/24"], "eratos_docker0-agent4": ["10.9.4.0/24"]}
    there["eratos_x_docker0-agent1"] = ["10.8.1.0/24"]
    assert existing_numbers(NETWORK, "eratos", there) == "10.1.2"
    assert existing_numbers(BRIDGES, "eratos", there) == "10.9"
    assert existing_numbers(NETWORK, "eratos_x", there) == ""
    assert existing_numbers(BRIDGES, "eratos_x", there) == "10.8"


def test_networks_of_one_cluster_overlap_neither_others_nor_each_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(network, "_docker_networks", lambda: {"other_default": ["10.87.213.0/24"]})
    monkeypatch.setattr(network, "_routes", list)
    settings = Settings()
    network.choose(settings, {"ERATOS_NETWORK": "10.86.3"})
    assert settings.variables == {"ERATOS_NETWORK": "10.86.3", "ERATOS_BRIDGES": "10.85"}


def test_a_route_of_the_kernel_is_read() -> None:
    line = "eth0\t0000A8C0\t00000000\t0001\t0\t0\t0\t0000FFFF\t0\t0\t0"
    assert parse_route(line) == ipaddress.IPv4Network("192.168.0.0/16")
    assert parse_route("eth0\t00000000\t0102A8C0\t0003\t0\t0\t0\t00000000\t0\t0\t0").prefixlen == 0


def test_the_defaults_are_those_of_the_compose_file() -> None:
    text = COMPOSE_FILE.read_text()
    assert f"${{ERATOS_NETWORK:-{NETWORK.default}}}.0/24" in text
    assert f"${{ERATOS_BRIDGES:-{BRIDGES.default}}}.1.0/24" in text
