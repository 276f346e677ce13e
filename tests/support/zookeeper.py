"""Tests' own way to a ZooKeeper server, and the ways to lose a session."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from kazoo.client import KazooClient

from eratos.scheduler.store.zookeeper_client import ZookeeperUrl, connect, disconnect


@contextmanager
def raw_client(url: str, session_timeout_s: float = 6.0) -> Iterator[KazooClient]:
    """Connect past the code under test; ``url`` needs no path."""
    place = ZookeeperUrl.parse(url if url.count("/") > 2 else url + "/any")
    client = connect(place, session_timeout_s=session_timeout_s)
    try:
        yield client
    finally:
        disconnect(client)


def expire_session(client: KazooClient) -> None:
    """Have the server end a client's session, as it does after too long a silence: somebody else closes it."""
    double = KazooClient(hosts=",".join(f"{host}:{port}" for host, port in client.hosts), client_id=client.client_id)
    double.start()
    double.stop()
    double.close()
