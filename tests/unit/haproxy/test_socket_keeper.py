"""Which sockets outlive HAProxy, and how they are closed."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys

import pytest
from support.ports import free_ports

from eratos.haproxy.socket_keeper import inherited, opened


def test_plain_binds_are_opened_and_do_not_listen_yet() -> None:
    ports = free_ports(2)
    found = opened({"ERATOS_HTTP_BIND": f"127.0.0.1:{ports[0]}", "ERATOS_HTTPS_BIND": f"*:{ports[1]}"})
    sockets = [socket.socket(fileno=descriptor) for descriptor in inherited(found)]
    assert [kept.getsockname() for kept in sockets] == [("127.0.0.1", ports[0]), ("0.0.0.0", ports[1])]
    assert all(os.get_inheritable(kept.fileno()) for kept in sockets)
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", ports[0]), 2)
    for kept in sockets:
        kept.close()


@pytest.mark.parametrize("bind", ["127.0.0.1:1 accept-proxy", "/run/socket", "[::1]:8000", ":8000,:8001", ":99999", "abns@x"])
def test_other_binds_are_left_to_haproxy(bind: str) -> None:
    assert opened({"ERATOS_HTTP_BIND": bind, "ERATOS_HTTPS_BIND": bind}) == {}


def test_a_bind_that_cannot_be_had_is_left_to_haproxy(capsys: pytest.CaptureFixture[str]) -> None:
    assert opened({"ERATOS_HTTP_BIND": "192.0.2.1:8000", "ERATOS_HTTPS_BIND": "x"}) == {}
    assert "ERATOS_HTTP_BIND" in capsys.readouterr().err


def test_clients_wait_for_the_next_process_until_they_are_to_be_refused() -> None:
    (port,) = free_ports(1)
    # Stands for HAProxy: it inherits a socket, listens, and ends without a word.
    listening = (
        "import os, socket; socket.socket(fileno=int(os.environ['ERATOS_HTTP_BIND'][3:])).listen(); os.kill(os.getpid(), 9)"
    )
    # Stands for the script that keeps it: it gets a signal once its clients are refused.
    keeping = f"""
import os, signal, socket, subprocess, sys
signal.signal(signal.SIGUSR1, lambda *_: print('told', flush=True))
subprocess.run([sys.executable, '-c', {listening!r}], close_fds=False)
with socket.create_connection(('127.0.0.1', {port}), 2): pass
print('waits', flush=True)
subprocess.run([sys.executable, '-P', '-m', 'eratos.haproxy.socket_keeper', 'refuse', str(os.getpid())], close_fds=False)
try: socket.create_connection(('127.0.0.1', {port}), 2)
except ConnectionRefusedError: print('refused')
"""
    command = [sys.executable, "-P", "-m", "eratos.haproxy.socket_keeper", "keep", sys.executable, "-c", keeping]
    environment = os.environ | {"ERATOS_HTTP_BIND": f"127.0.0.1:{port}", "ERATOS_HTTPS_BIND": "none"}
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=30, check=True)
    assert ended.stdout.split() == ["waits", "told", "refused"]
    assert signal.SIGUSR1.name not in ended.stderr
