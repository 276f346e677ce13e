"""From an app and an instance's place to the task payload."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

from support.builders import an_app

from eratos.common import names
from eratos.common.payload import DiscoveryPort, Fetch, HealthCheck, ReadinessCheck, SecretFile, TaskPayload, Volume
from eratos.common.routing import META_KEYS
from eratos.common.service_meta import PAIRS_MAX
from eratos.marathon import definition, pod_definition
from eratos.scheduler.core.instances import Instance
from eratos.scheduler.core.mesos_types import Agent
from eratos.scheduler.core.task_payload import payload


def launched(**fields: Any) -> TaskPayload:
    """Return the payload of an app's instance on port 31000, as the executor reads it."""
    app = an_app("/shop/cart", **fields)
    instance = Instance("shop_cart.instance-i1", app.id, app.version, ports=(31000,) * len(app.ports))
    made = payload(app, instance, "framework-1")
    read = TaskPayload.from_bytes(made.to_bytes())
    assert read == replace(made, discovery=())
    return made


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


def test_ports_are_discovered_with_their_labels() -> None:
    found = launched(portDefinitions=[{"port": 0, "name": "dns", "protocol": "udp,tcp", "labels": {"VIP_0": "/dns:53"}}])
    assert found.discovery == tuple(DiscoveryPort(31000, "dns", protocol, {"VIP_0": "/dns:53"}) for protocol in ("udp", "tcp"))


def on_networks(*names: str, **mapping: Any) -> TaskPayload:
    container = {"docker": {"image": "x"}, "portMappings": [{"containerPort": 80, "name": "http", **mapping}]}
    networks = [{"mode": "container", "name": name} for name in names] or [{"mode": "container/bridge"}]
    return launched(container=container, networks=networks, portDefinitions=None)


def test_ports_of_bridged_containers_are_discovered_on_the_host() -> None:
    """As in Marathon's PortDiscovery.scala, and so for the next."""
    assert on_networks().discovery == (DiscoveryPort(31000, "http", "tcp", {"network-scope": "host"}),)
    assert on_networks("front", hostPort=0).discovery[0].labels == {"network-scope": "host"}


def test_ports_on_networks_of_containers_are_discovered_there_and_named_by_their_variables() -> None:
    found = on_networks("front", "back", labels={"a": "b"})
    assert [(port.number, port.labels["network-name"]) for port in found.discovery] == [(80, "front"), (80, "back")]
    assert found.discovery[0].labels == {"a": "b", "network-scope": "container", "network-name": "front"}
    assert (found.network, found.networks) == ("bridge", ("front", "back"))
    assert {name: value for name, value in found.env.items() if name.startswith("PORT")} == {
        **{"PORT": "80", "PORT0": "80", "PORT_80": "80", "PORT_HTTP": "80"},
    }
    assert [port.labels["network-name"] for port in on_networks("front", "back", networkNames=["back"]).discovery] == ["back"]


def test_executors_that_run_already_read_what_asks_for_nothing_new() -> None:
    assert json.loads(launched().to_bytes()).keys() == {
        *("task_id", "instance_id", "app_id", "app_version", "resources", "image", "args", "env", "labels", "network", "ports"),
        *("volumes", "health_checks", "readiness_checks", "services", "fetch", "user", "privileged", "parameters"),
        *("force_pull", "cpus_limit_m", "kill_grace_s", "drain_s", "version"),
    }


def test_of_secrets_the_sources_travel() -> None:
    found = launched(
        env={"A": "b", "PASSWORD": {"secret": "db"}},
        secrets={"db": {"source": "shop/db"}},
        container={"docker": {"image": "x"}, "volumes": [{"containerPath": "/run/db", "secret": "db"}]},
    )
    assert (found.secret_env, found.secret_files) == ({"PASSWORD": "shop/db"}, (SecretFile("/run/db", "shop/db"),))
    assert (found.env, found.volumes) == ({"A": "b"}, ())


def test_a_check_gets_the_port_that_it_asks() -> None:
    found = launched(check={"http": {"path": "/x"}, "intervalSeconds": 5, "delaySeconds": 0}).check
    assert found == HealthCheck("http", "/x", 31000, interval_s=5, timeout_s=20, max_failures=0)
    assert launched(check={"tcp": {"port": 80}}).check == HealthCheck("tcp", port=80, delay_s=15, max_failures=0)
    command = launched(portDefinitions=[], check={"exec": {"command": {"shell": "true"}}}).check
    assert command == HealthCheck("command", command="true", delay_s=15, max_failures=0)


def test_a_pod_becomes_containers_of_one_task() -> None:
    document: dict[str, Any] = {
        "id": "/shop/cart",
        "user": "nobody",
        "environment": {"WORD": "hello", "PASSWORD": {"secret": "db"}},
        "labels": {"owner": "zeus"},
        "secrets": {"db": {"source": "/db"}, "login": {"source": "/login"}},
        "networks": [{"mode": "container/bridge"}],
        "volumes": [{"name": "shared"}, {"name": "etc", "host": "/etc/shop"}, {"name": "key", "secret": "db"}],
        "containers": [
            {
                "name": "web",
                "image": {"id": "shop/web:1", "forcePull": True, "pullConfig": {"secret": "login"}},
                "exec": {"command": {"argv": ["/bin/server", "--fast"]}, "overrideEntrypoint": True},
                "resources": {"cpus": 0.2, "mem": 64},
                "resourceLimits": {"cpus": 0.5, "mem": "unlimited"},
                "endpoints": [{"name": "http-api", "containerPort": 80}, {"name": "admin", "containerPort": 0}],
                "healthCheck": {"http": {"endpoint": "admin", "path": "/health"}, "delaySeconds": 1},
                "volumeMounts": [{"name": "shared", "mountPath": "data"}, {"name": "etc", "mountPath": "/x", "readOnly": True}],
                "artifacts": [{"uri": "https://x/a.tgz"}],
            },
            {
                "name": "log",
                "image": {"id": "shop/log:1"},
                "user": "root",
                "environment": {"WORD": "bye"},
                "exec": {"command": {"argv": ["-f", "/data"]}},
                "resources": {"cpus": 0.1, "mem": 32},
                "healthCheck": {"exec": {"command": {"shell": "true"}}},
                "volumeMounts": [{"name": "shared", "mountPath": "/data"}, {"name": "key", "mountPath": "/run/key"}],
                "labels": {"note": "second"},
            },
        ],
    }
    pod = pod_definition.parse(document)
    made = payload(pod, Instance("shop_cart.instance-i1", pod.id, pod.version, ports=(31000, 31001)), "framework-1")
    assert TaskPayload.from_bytes(made.to_bytes()) == replace(made, discovery=())
    assert (made.runtime, made.image, made.network, made.resources.mem_mib) == ("docker", "", "bridge", 96)
    assert [(port.host_port, port.container_port, port.name) for port in made.ports] == [
        (31000, 80, "http-api"),
        (31001, 31001, "admin"),
    ]
    asked = [(check.protocol, check.container, check.delay_s) for check in made.health_checks]
    assert asked == [("http", "", 1), ("command", "log", 0)]
    assert made.health_checks[0].port == 31001
    web, log = made.containers
    assert (web.args, web.parameters) == (("--fast",), (("entrypoint", "/bin/server"),))
    assert (web.force_pull, web.pull_secret, web.cpus_limit_m, web.mem_limit_mib) == (True, "/login", 500, None)
    assert web.volumes == (Volume("/mnt/mesos/sandbox/data", "volumes/shared"), Volume("/x", "/etc/shop", True))
    assert web.user == "nobody"
    assert [file.path for file in web.fetch] == ["a.tgz"]
    endpoints = {"EP_HOST_HTTP_API": "31000", "EP_CONTAINER_HTTP_API": "80"}
    endpoints |= {"EP_HOST_ADMIN": "31001", "EP_CONTAINER_ADMIN": "31001"}
    assert endpoints.items() <= web.env.items()
    assert endpoints.items() <= log.env.items()
    assert {"WORD": "hello", "MARATHON_CONTAINER_ID": "web", "MARATHON_CONTAINER_RESOURCE_MEM": "64.0"}.items() <= web.env.items()
    assert (log.args, log.parameters, log.user, log.env["WORD"]) == (("-f", "/data"), (), "root", "bye")
    assert (log.secret_env, log.secret_files) == ({"PASSWORD": "/db"}, (SecretFile("/run/key", "/db"),))
    assert log.labels == {"owner": "zeus", "note": "second"}


def test_the_logins_of_an_image_are_named_by_their_secret() -> None:
    docker = {"image": "shop/web:1", "pullConfig": {"secret": "login"}}
    found = launched(container={"docker": docker}, secrets={"login": {"source": "/login"}})
    assert found.pull_secret == "/login"


def test_meta_of_a_stored_app_that_consul_refuses_is_left_out() -> None:
    attributes = {"consul-a": "x", "long": "é" * 257, "role": "main"}
    plain = an_app("/shop/cart", portDefinitions=[{"port": 0}])
    app = definition.restore(plain.to_json() | {"eratos": {"attributes": attributes}, "version": "v1"})
    instance = Instance("shop_cart.instance-i1", app.id, app.version, ports=(31000,), agent=Agent("a1", "h", zone="é" * 257))
    meta = payload(app, instance, "framework-1").services[0].meta
    assert meta["role"] == "main" and meta[names.META_APP] == "/shop/cart"
    assert not meta.keys() & {"consul-a", "long", names.META_ZONE}


def test_a_service_has_no_more_meta_than_consul_takes_whatever_is_stated_of_it() -> None:
    attributes = {f"own{number}": "x" for number in range(20)}
    labels = {f"SERVICE_A{number}": "x" for number in range(40)}
    app = an_app("/shop/cart", portDefinitions=[{"port": 0, "name": "http"}], labels=labels,
                 eratos={"attributes": attributes, "ordinals": True}).with_version("v1")  # fmt: skip
    agent = Agent("a1", "h", zone="z")
    instance = Instance("shop_cart.instance-i1", app.id, app.version, ports=(31000,), agent=agent, ordinal=0)
    meta = payload(app, instance, "framework-1").services[0].meta
    stated = {key for key in meta if not key.startswith("haproxy-")} | {names.META_EXECUTOR, *META_KEYS}
    assert len(stated) == 20 + 11 + len(META_KEYS) < PAIRS_MAX
