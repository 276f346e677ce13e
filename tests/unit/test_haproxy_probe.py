"""Asking many addresses at once whether somebody accepts connections."""

from __future__ import annotations

import socket

from eratos.haproxy import probe


def test_accepting_refused_and_senseless_addresses_are_told_apart() -> None:
    with socket.create_server(("127.0.0.1", 0)) as accepting, socket.socket() as refusing:
        refusing.bind(("127.0.0.1", 0))
        wanted = f"127.0.0.1:{accepting.getsockname()[1]}"
        refused = f"127.0.0.1:{refusing.getsockname()[1]}"
        assert probe.accepting({wanted, refused, "no port", "127.0.0.1:99999", ":"}) == {wanted}


def test_no_address_is_no_question() -> None:
    assert probe.accepting(()) == set()
