"""From an app and an instance's place to the task payload."""

from __future__ import annotations

from typing import Any

from support.builders import an_app

from eratos.common.payload import Fetch, ReadinessCheck, TaskPayload
from eratos.scheduler.core.launch import payload
from eratos.scheduler.core.state import Instance


def launched(**fields: Any) -> TaskPayload:
    """Return the payload of an app's instance on port 31000, as the executor reads it."""
    app = an_app("/shop/cart", **fields)
    instance = Instance("shop_cart.instance-i1", app.id, app.version, ports=(31000,) * len(app.ports))
    made = payload(app, instance, "framework-1")
    read = TaskPayload.from_bytes(made.to_bytes())
    assert read == made
    return read


def test_an_app_without_a_container_becomes_a_process() -> None:
    found = launched(container=None, cmd="serve $PORT")
    assert (found.runtime, found.network, found.args) == ("process", "host", ("/bin/sh", "-c", "serve $PORT"))


def test_files_to_fetch_get_their_place() -> None:
    files = [{"uri": "http://x/a.tgz"}, {"uri": "file:///b", "destPath": "bin/b", "extract": False, "executable": True}]
    assert launched(fetch=files).fetch == (Fetch("http://x/a.tgz", "a.tgz"), Fetch("file:///b", "bin/b", False, True))


def test_a_readiness_check_gets_the_port_that_its_name_stands_for() -> None:
    ports = [{"port": 0, "name": "http"}]
    check = {"name": "warm", "protocol": "HTTPS", "path": "/ready", "portName": "http", "httpStatusCodesForReady": [200, 204]}
    found = launched(portDefinitions=ports, healthChecks=[{}], readinessChecks=[check | {"preserveLastResponse": True}])
    assert found.readiness_checks == (ReadinessCheck("warm", "https", "/ready", 31000, 30, 10, (200, 204), True),)


def test_a_relative_path_in_the_container_lies_in_the_sandbox() -> None:
    volumes = [
        {"containerPath": "data", "hostPath": "/srv/data", "mode": "RW"},
        {"containerPath": "./a//b/", "hostPath": "/srv/b", "mode": "RO"},
        {"containerPath": "/etc/shop", "hostPath": "/srv/shop", "mode": "RO"},
    ]
    found = launched(container={"docker": {"image": "x"}, "volumes": volumes}).volumes
    assert [volume.container_path for volume in found] == ["/mnt/mesos/sandbox/data", "/mnt/mesos/sandbox/a/b", "/etc/shop"]


def test_a_requested_port_has_a_variable_that_says_which_one_it_became() -> None:
    """As in Marathon's EnvironmentHelper.scala; the app's own variable of the name wins."""
    found = launched(portDefinitions=[{"port": 8080}, {"port": 9000}, {"port": 0}], env={"PORT_9000": "mine"})
    assert {name: value for name, value in found.env.items() if name.startswith("PORT_")} == {
        "PORT_8080": "31000",
        "PORT_9000": "mine",
    }
