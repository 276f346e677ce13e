"""Where a connection to a task's port goes, by its name or number, in each kind of network."""

from __future__ import annotations

from dataclasses import replace

import pytest
from support.executor import a_payload

from eratos.common.payload import Port, TaskPayload
from eratos.executor.core.reach import NoPort, reach
from eratos.executor.core.task import Task

PORTS = (Port(31000, 53, "udp", "dns"), Port(31001, 80, "tcp", "http"), Port(31002, 90, "udp,tcp"), Port(31003, 0, "tcp", "3"))


def a_task(payload: TaskPayload, address: str = "") -> Task:
    return Task(payload, 3, started_at=1.0, address=address)


@pytest.mark.parametrize(
    ("wanted", "network", "address", "found"),
    [
        ("", "host", "", ("127.0.0.1", 31001)),  # the first of TCP
        ("http", "host", "", ("127.0.0.1", 31001)),
        ("1", "host", "", ("127.0.0.1", 31001)),
        ("2", "host", "", ("127.0.0.1", 31002)),
        ("3", "host", "", ("127.0.0.1", 31003)),  # a name comes before a number
        ("http", "bridge", "172.17.0.9", ("172.17.0.9", 80)),
        ("3", "bridge", "172.17.0.9", ("172.17.0.9", 31003)),
        ("http", "bridge", "", ("127.0.0.1", 31001)),
    ],
)
def test_a_port_is_found(wanted: str, network: str, address: str, found: tuple[str, int]) -> None:
    assert reach(a_task(replace(a_payload(network=network), ports=PORTS), address), wanted) == found


@pytest.mark.parametrize(
    ("ports", "wanted", "said"),
    [
        (PORTS, "mysql", "it has no port 'mysql': its ports are http, 2, 3"),
        (PORTS, "4", "it has no port '4': its ports are http, 2, 3"),
        (PORTS, "dns", "its port 'dns' is udp: only TCP can be forwarded"),
        (PORTS[:1], "", "it has no TCP port"),
        ((), "http", "it has no port 'http': it has none that is TCP"),
    ],
)
def test_what_is_no_port_is_told_with_those_there_are(ports: tuple[Port, ...], wanted: str, said: str) -> None:
    with pytest.raises(NoPort) as refused:
        reach(a_task(replace(a_payload(), ports=ports)), wanted)
    assert str(refused.value) == said


def test_a_task_that_is_not_here_or_not_begun_has_none() -> None:
    for task in (None, Task(a_payload(), 3)):
        with pytest.raises(NoPort, match="does not run on this host"):
            reach(task, "")
