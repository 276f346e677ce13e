"""Which ready instances balancers do not send to yet."""

from __future__ import annotations

from typing import Any

import pytest
from support.builders import an_app, an_offer
from support.controller import FakeController

from eratos.scheduler.api import rotation
from eratos.scheduler.api.rotation import Wanted
from eratos.scheduler.core.events import PutApps

ROUTED = {"HAPROXY_0_VHOST": "a.test"}
PORT = Wanted("/a", "a", ("external",), "", ("s1", "s2"))
UP = {"status": "UP"}


def status(servers: Any = (), **fields: Any) -> dict[str, Any]:
    return {"group": "external", "backends": {"a": []}, "servers": dict(servers)} | fields


def test_balancers_are_to_serve_the_ready_instances_of_balanced_ports() -> None:
    controller = FakeController()
    controller.submit(PutApps((an_app("/a", 2, labels=ROUTED), an_app("/b", labels={"HAPROXY_0_ENABLED": "false"}))))
    ready, starting, _ = controller.launch(an_offer())
    assert rotation.wanted(controller.machine.state, ["/a", "/b"]) == []
    controller.update(ready, "RUNNING")
    (found,) = rotation.wanted(controller.machine.state, ["/a", "/b", "/gone"])
    assert (found.app_id, found.service, found.groups) == ("/a", "a", ("external",))
    assert found.servers == (f"eratos-{ready}",) and starting not in str(found.servers)


@pytest.mark.parametrize(
    ("said", "message", "awaited"),
    [
        (status({"a/s1": UP, "a/s2": {"status": "no check"}}), None, None),
        (status({"a/s1": UP}), "b1 sends to 1 of 2 ready instances of a", True),
        (status(backends={}), "b1 sends to 0 of 2 ready instances of a", True),
        (status({"a/s1": UP, "a/s2": {"status": "MAINT"}}), "b1 sends to 1 of 2 ready instances of a (MAINT)", True),
        (status({"a/s1": {"status": "DOWN"}}), "b1 sends to 0 of 2 ready instances of a (DOWN)", True),
        (status({"b/s1": UP, "b/s2": UP}), "b1 sends to 0 of 2 ready instances of a", True),
        (status(group="internal"), None, None),
        (status(group="*"), "b1 sends to 0 of 2 ready instances of a", True),
        # One of the version before does not say its group: what it has of the app is waited for.
        ({"backends": {}, "servers": {}}, None, None),
        ({"backends": {"a": []}, "servers": {}}, "b1 sends to 0 of 2 ready instances of a", True),
        (status(zone_policy="require"), "b1 sends to 0 of 2 ready instances of a", True),
        (status({"a/s2": UP}, zone_policy="require"), None, None),
        (status(left_out=["a: path /x is taken", "b: mode"]), "b1 leaves out a: path /x is taken", False),
        (status(left_out=["ab: mode"]), "b1 sends to 0 of 2 ready instances of a", True),
        ("no answer", "whether b1 sends to it is not known: no answer", False),
    ],
)
def test_a_balancer_sends_to_all_of_them_or_it_is_said_why_not(said: Any, message: str | None, awaited: bool | None) -> None:
    found = list(rotation.compare([PORT], [("b1", said)]))
    assert found == ([rotation.Found("/a", message, awaited)] if message and awaited is not None else [])


def test_each_balancer_is_waited_for() -> None:
    found = rotation.compare([PORT], [("b1", status({"a/s1": UP, "a/s2": UP})), ("b2", status({"a/s1": UP}))])
    assert [item.message for item in found] == ["b2 sends to 1 of 2 ready instances of a"]


@pytest.mark.parametrize(
    ("trouble", "why"), [("", "no balancer is registered in Consul"), ("no Consul answers", "no Consul answers")]
)
def test_where_no_balancer_is_known_that_is_said_and_nothing_is_waited_for(trouble: str, why: str) -> None:
    assert list(rotation.compare([PORT], [], trouble)) == [
        rotation.Found("/a", f"whether balancers send to it is not known: {why}", awaited=False)
    ]
    assert list(rotation.compare([], [], trouble)) == []


def test_a_policy_that_an_app_states_goes_before_the_balancers() -> None:
    stated = PORT._replace(zone="ignore")
    (found,) = rotation.compare([stated], [("b1", status({"a/s1": UP}, zone_policy="require"))])
    assert found.awaited


BOTH = {"a/s1": UP, "a/s2": UP}
PLACES = {"b1": "", "b2": "", "far1": "dc2", "far2": "dc2", "other": "dc3"}


@pytest.mark.parametrize(
    ("has", "lacking"),
    [
        # An instance in each data center: nobody waits for a balancer to have what is elsewhere.
        ({"b1": {"a/s1": UP}, "b2": {"a/s1": UP}, "far1": {"a/s2": UP}, "far2": {"a/s2": UP}}, []),
        ({"b1": BOTH, "b2": BOTH, "far1": {}, "far2": {}}, []),
        # In one data center all balancers ought to have the same.
        ({"b1": {"a/s1": UP}, "b2": {}, "far1": {"a/s2": UP}, "far2": {}}, ["b2 0 of 1", "far2 0 of 1"]),
        ({"b1": BOTH, "b2": {"a/s1": UP}, "far1": BOTH, "far2": BOTH}, ["b2 1 of 2"]),
        # Where it is nobody knows, so all wait.
        ({"b1": {"a/s1": UP}, "far1": {"a/s1": UP}}, ["b1 1 of 2", "far1 1 of 2"]),
        ({"b1": {"a/s1": UP, "a/s2": {"status": "DOWN"}}, "far1": {"a/s1": UP}}, ["b1 1 of 2"]),
    ],
)
def test_what_is_in_another_data_center_is_waited_for_there(has: dict[str, Any], lacking: list[str]) -> None:
    found = rotation.compare([PORT], [(name, status(servers)) for name, servers in has.items()], "", PLACES)
    assert [item.message.replace(" sends to", "").partition(" ready")[0] for item in found] == lacking


def test_a_balancer_that_says_nothing_keeps_nobody_elsewhere_from_being_waited_for() -> None:
    found = rotation.compare([PORT], [("b1", "no answer"), ("far1", status({"a/s1": UP}))], "", PLACES)
    assert [item.awaited for item in found] == [False, True]
