"""./dev: a network for the cluster where nothing else is."""

from __future__ import annotations

import ipaddress

import pytest
from devtool.network import CANDIDATES, DEFAULT, first_free, parse_route
from devtool.settings import COMPOSE_FILE
from devtool.terminal import Problem


def networks(*texts: str) -> list[ipaddress.IPv4Network | ipaddress.IPv6Network]:
    return [ipaddress.ip_network(text) for text in texts]


def test_the_first_prefix_that_overlaps_nothing_is_taken() -> None:
    assert first_free(["10.87.213", "10.87.214"], networks("172.17.0.0/16", "fd00::/64")) == "10.87.213"
    assert first_free(["10.87.213", "10.87.214"], networks("10.87.213.128/25")) == "10.87.214"


def test_a_large_private_network_of_this_machine_is_passed_by() -> None:
    assert first_free(CANDIDATES, networks("10.0.0.0/8")).startswith("172.31.")


def test_no_free_prefix_is_told_as_none() -> None:
    assert first_free(["10.1.2"], networks("10.0.0.0/8")) == ""


@pytest.mark.parametrize("prefix", ["10.1", "10.1.2.3", "ten", "10.1.300"])
def test_what_is_no_network_is_refused_with_a_fix(prefix: str) -> None:
    with pytest.raises(Problem) as caught:
        first_free([prefix], [])
    assert f"ERATOS_NETWORK={DEFAULT}" in caught.value.fix


def test_a_route_of_the_kernel_is_read() -> None:
    line = "eth0\t0000A8C0\t00000000\t0001\t0\t0\t0\t0000FFFF\t0\t0\t0"
    assert parse_route(line) == ipaddress.IPv4Network("192.168.0.0/16")
    assert parse_route("eth0\t00000000\t0102A8C0\t0003\t0\t0\t0\t00000000\t0\t0\t0").prefixlen == 0


def test_the_default_is_the_one_of_the_compose_file() -> None:
    assert f"${{ERATOS_NETWORK:-{DEFAULT}}}.0/24" in COMPOSE_FILE.read_text()
