"""Real counterparts for the contract tests, each in a container of the project's own image."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest
from support.containers import Container, run_container
from support.waiting import until


def zookeeper_answers(container: Container) -> bool:
    with socket.create_connection(("127.0.0.1", container.ports[2181]), timeout=2) as sock:
        sock.sendall(b"srvr")
        return b"Mode:" in sock.recv(4096)


@pytest.fixture(scope="session")
def zookeeper_container() -> Iterator[Container]:
    with run_container("eratos/zookeeper", ports=[2181]) as container:
        until(lambda: zookeeper_answers(container), 60, "ZooKeeper answers")
        yield container


@pytest.fixture(scope="session")
def zookeeper_url(zookeeper_container: Container) -> str:
    """``zk://host:port``; each test appends a path of its own."""
    return f"zk://127.0.0.1:{zookeeper_container.ports[2181]}"
