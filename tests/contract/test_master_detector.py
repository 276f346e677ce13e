"""Finding the leading master through a real ZooKeeper, also when the scheduler is there first."""

from __future__ import annotations

import json

from kazoo.client import KazooClient
from support.waiting import until

from eratos.scheduler.mesos.detector import ZooKeeperMasters


def test_masters_are_found_though_the_scheduler_looks_before_there_are_any(zookeeper_url: str) -> None:
    hosts = zookeeper_url.removeprefix("zk://").partition("/")[0]
    heard: list[object] = []
    masters = ZooKeeperMasters(f"zk://{hosts}/mesos-of-later", lambda: heard.append(masters.current()), tls=False)
    client = KazooClient(hosts)
    client.start()
    masters.start()
    try:
        until(lambda: masters._detector.told, 10, "the scheduler has looked in vain")
        info = json.dumps({"address": {"ip": "10.0.0.1", "port": 5050}}).encode()
        client.create("/mesos-of-later/json.info_0000000000", info, makepath=True)
        until(lambda: heard, 10, "the master is heard of")
        assert str(masters.current()) == "10.0.0.1:5050"
    finally:
        masters.stop()
        client.stop()
        client.close()
