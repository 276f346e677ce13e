"""Asking who accepts connections, and which ports are taken."""

from __future__ import annotations

import socket

import pytest

from eratos.haproxy import network


def test_accepting_refused_and_senseless_addresses_are_told_apart() -> None:
    with socket.create_server(("127.0.0.1", 0)) as accepting, socket.socket() as refusing:
        refusing.bind(("127.0.0.1", 0))
        wanted = f"127.0.0.1:{accepting.getsockname()[1]}"
        refused = f"127.0.0.1:{refusing.getsockname()[1]}"
        assert network.accepting({wanted, refused, "no port", "127.0.0.1:99999", ":"}) == {wanted}


def test_no_address_is_no_question() -> None:
    assert network.accepting(()) == set()


def test_a_port_of_somebody_else_is_taken_and_a_shared_one_is_not() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other, socket.create_server(("", 0), reuse_port=True) as haproxy:
        taken, shared = other.getsockname()[1], haproxy.getsockname()[1]
        assert network.taken([taken, shared]) == {taken: "Address already in use"}


@pytest.mark.parametrize(
    ("written", "normal"),
    [
        ("10.0.0.1:80", "10.0.0.1:80"),
        ("[fd00:0::1]:80", "[fd00::1]:80"),
        ("fd00::1:80", "[fd00::1]:80"),
        ("[::::]:80", ":::::80"),
        ("host:80", "host:80"),
    ],
)
def test_one_address_has_one_form(written: str, normal: str) -> None:
    assert network.normal_address(written) == normal
