"""The life of a scheduler process, with the parts around it replaced."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest

from eratos.common.resources import Resources
from eratos.scheduler import process
from eratos.scheduler.config import Config
from eratos.scheduler.core import events
from eratos.scheduler.core.state import State
from eratos.scheduler.election import NoElection
from eratos.scheduler.framework_key import FrameworkKey
from eratos.scheduler.loop import FrameworkRemoved
from eratos.scheduler.process import Process, mesos_settings
from eratos.scheduler.store.memory import MemoryStore

KEY = FrameworkKey(b"k" * 32)


def test_another_may_lead_before_the_api_has_let_its_last_reader_go(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever follows a log holds the API for seconds."""
    order: list[str] = []

    class Elected(NoElection):
        def close(self) -> None:
            order.append("left the election")

    class Store(MemoryStore):
        def close(self) -> None:
            order.append("closed the store")

    def opened(*_: Any, **__: Any) -> tuple[Store, Elected]:
        return Store(), Elected("http://me:8080")

    monkeypatch.setattr(process, "open_store_and_election", opened)
    made = Process(Config(master="m:5050", store="memory:"))

    def lead(*_: Any) -> None:
        order.append("stopped leading")

    monkeypatch.setattr(made, "_lead", lead)
    monkeypatch.setattr(made._stopping, "is_set", lambda: False)
    made.run(lambda _: lambda: order.append("stopped serving"))
    assert order == ["stopped leading", "closed the store", "left the election", "stopped serving"]


@pytest.mark.parametrize(
    ("url", "host", "leader"),
    [
        ("http://s1:8080", "s1", "s1:8080"),
        ("https://s1.example:8443", "s1.example", "s1.example:8443"),
        ("https://[2001:db8::1]:8443/", "2001:db8::1", "[2001:db8::1]:8443"),
    ],
)
def test_an_advertised_url_gives_host_and_leader_whatever_its_scheme(url: str, host: str, leader: str) -> None:
    config = Config(master="m:5050", store="memory:", advertise_url=url)
    assert mesos_settings(config, KEY).hostname == host
    made = Process(config)
    made._election = NoElection(url)
    assert made.info()["leader"] == leader
    assert made.info()["marathon_config"]["hostname"] == host


def test_a_leader_that_is_asked_to_give_way_ends_and_says_why() -> None:
    made = Process(Config(master="m:5050", store="memory:"))
    stopped = threading.Event()

    class Leading:
        stop = stopped.set

    made._loop = Leading()  # type: ignore[assignment]
    made.abdicate()
    assert not stopped.is_set()  # the answer goes out first
    assert stopped.wait(60)
    assert made._abdicated


def test_a_framework_that_the_master_has_removed_takes_what_stands_for_its_apps_along(monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[str] = []

    class Driver:
        executor_id = "executor"
        executor_resources = Resources(100, 64)

        def __init__(self, _: Any, emit: Callable[[events.Event], None]) -> None:
            self._emit = emit

        def start(self, framework_id: str) -> None:
            self._emit(events.MasterError("Framework has been removed"))

        def stop(self) -> None:
            done.append("driver")

    class Catalogue:
        def __init__(self, *_: Any, datacenter: str, **__: Any) -> None:
            self._datacenter = datacenter or "own"

        def start(self) -> None:
            pass

        def halt(self) -> None:
            pass

        def stop(self) -> None:
            done.append(f"catalogue {self._datacenter}")

        def remove_entries(self) -> None:
            done.append(f"entries {self._datacenter}")

    monkeypatch.setattr(process, "SchedulerDriver", Driver)
    monkeypatch.setattr(process, "ConsulCatalog", Catalogue)
    made = Process(Config(master="m:5050", store="memory:", consul_datacenters="dc2"))
    made.key = KEY
    store, election = MemoryStore(), NoElection("http://me:8080")
    election.start()
    with pytest.raises(FrameworkRemoved):
        made._lead(store, election)
    stopped = ["catalogue own", "catalogue dc2"]
    assert done == [*stopped, "entries own", "entries dc2", *stopped, "driver"]


@pytest.mark.parametrize(("master", "framework_id"), [("", ""), ("m:5050", "fw1")])
def test_nothing_stands_for_apps_of_a_framework_that_no_master_has_taken_yet(master: str, framework_id: str) -> None:
    """It may be one that the master has removed."""
    assert process._fleet(State("fw1", master)).framework_id == framework_id
