"""The app definition: what is read, what it becomes, and what of it is dropped and told."""

from __future__ import annotations

import json
from typing import Any

import pytest
from support.definitions import DOCKER, parse, problems

from eratos.common import docker_parameters
from eratos.common.resources import Resources
from eratos.marathon import definition
from eratos.marathon.app_parts import AppPort, Constraint
from eratos.marathon.notes import notes


def test_a_minimal_app_has_marathons_defaults() -> None:
    app = parse()
    assert app.resources == Resources(cpus_m=1000, mem_mib=128, disk_mib=0)
    assert (app.instances, app.network, app.image, app.command_args) == (1, "host", "shop/cart:1", None)
    assert app.ports == (AppPort(0, 0, "tcp", "default", {}, 0),)
    assert (app.backoff_seconds, app.backoff_factor, app.max_launch_delay_seconds) == (1, 1.15, 300)
    assert (app.upgrade_strategy.minimum_health_capacity, app.upgrade_strategy.maximum_over_capacity) == (1, 1)
    assert app.unreachable_strategy is not None
    assert (app.unreachable_strategy.inactive_after_seconds, app.unreachable_strategy.expunge_after_seconds) == (0, 0)
    assert (app.kill_selection, app.task_kill_grace_period_seconds, app.version) == ("YOUNGEST_FIRST", None, "")


def test_a_health_check_has_marathons_defaults() -> None:
    (check,) = parse(healthChecks=[{}]).health_checks
    assert (check.protocol, check.port_index, check.port, check.path) == ("http", 0, None, None)
    assert (check.grace_period_seconds, check.interval_seconds, check.timeout_seconds) == (300, 60, 20)
    assert check.max_consecutive_failures == 3


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("HTTP", "http"),
        ("MESOS_HTTP", "http"),
        ("HTTPS", "https"),
        ("MESOS_HTTPS", "https"),
        ("TCP", "tcp"),
        ("MESOS_TCP", "tcp"),
    ],
)
def test_marathons_and_mesos_health_checks_mean_the_same_and_read_back_as_written(written: str, meant: str) -> None:
    app = parse(healthChecks=[{"protocol": written}])
    assert app.health_checks[0].protocol == meant
    assert app.to_json()["healthChecks"][0]["protocol"] == written


def test_resources_become_whole_numbers_rounded_up() -> None:
    assert parse(cpus=0.1, mem=32.5, disk=0.2).resources == Resources(cpus_m=100, mem_mib=33, disk_mib=1)
    assert parse(cpus=0.001, mem=6).resources == Resources(cpus_m=1, mem_mib=6)


def test_a_command_runs_in_a_shell_and_arguments_as_they_are() -> None:
    assert parse(cmd="serve $PORT0").command_args == ("/bin/sh", "-c", "serve $PORT0")
    assert parse(args=["serve", "-v"]).command_args == ("serve", "-v")


@pytest.mark.parametrize("command", [{"cmd": "serve $PORT"}, {"args": ["serve", "-v"]}])
def test_an_app_without_a_container_is_a_process_with_host_networking(command: dict[str, Any]) -> None:
    app = definition.parse({"id": "/clock"} | command)
    assert (app.image, app.network, [port.name for port in app.ports]) == ("", "host", ["default"])
    assert "container" not in app.to_json()
    assert definition.parse(app.to_json()) == app


def test_constraints_are_read_whatever_the_case_of_their_operator() -> None:
    app = parse(constraints=[["hostname", "unique"], ["rack", "GROUP_BY", "3"], ["@zone", "IS", "a"], ["x", "UNIQUE", ""]])
    assert app.constraints == (
        Constraint("hostname", "UNIQUE"),
        Constraint("rack", "GROUP_BY", "3"),
        Constraint("@zone", "IS", "a"),
        Constraint("x", "UNIQUE"),
    )
    assert app.to_json()["constraints"][:2] == [["hostname", "UNIQUE"], ["rack", "GROUP_BY", "3"]]


def test_host_ports_are_fixed_only_with_require_ports() -> None:
    definitions = [{"port": 8080, "name": "http"}, {"port": 0, "name": "admin"}]
    assert [port.host_port for port in parse(portDefinitions=definitions).ports] == [0, 0]
    assert [port.host_port for port in parse(portDefinitions=definitions, requirePorts=True).ports] == [8080, 0]


def test_bridged_ports_come_from_the_mappings() -> None:
    container = DOCKER | {
        "portMappings": [{"containerPort": 80, "hostPort": 31000, "servicePort": 10000, "name": "web", "protocol": "udp,tcp"}]
    }
    app = parse(container=container, networks=[{"mode": "container/bridge"}], requirePorts=True)
    assert app.network == "bridge"
    assert app.ports == (AppPort(31000, 80, "udp,tcp", "web", {}, 10000),)
    assert "portDefinitions" not in app.to_json()


def test_an_app_without_ports_says_so_with_an_empty_list() -> None:
    assert parse(portDefinitions=[]).ports == ()
    assert parse(container=DOCKER | {"portMappings": []}, networks=[{"mode": "container/bridge"}]).ports == ()


def test_volumes_are_host_paths_or_docker_volumes() -> None:
    local = {"name": "carts", "provider": "dvdi", "options": {"dvdi/driver": "local"}}
    volumes = [
        {"containerPath": "/a", "hostPath": "/srv/a", "mode": "RO"},
        {"containerPath": "/b", "external": local, "mode": "RW"},
    ]
    a, b = parse(container=DOCKER | {"volumes": volumes}).container.volumes
    assert (a.source, a.named, a.read_only) == ("/srv/a", False, True)
    assert (b.source, b.named, b.read_only) == ("carts", True, False)


def test_disabled_unreachable_strategy_waits_without_end() -> None:
    app = parse(unreachableStrategy="disabled")
    assert app.unreachable_strategy is None
    assert app.to_json()["unreachableStrategy"] == "disabled"


def test_a_cpu_limit_is_a_number_or_unlimited() -> None:
    assert parse().cpus_limit_m == 0
    assert parse(resourceLimits={"cpus": "unlimited"}).cpus_limit_m == 0
    assert parse(resourceLimits={"cpus": 1.5}).cpus_limit_m == 1500
    assert "/resourceLimits/cpus" in problems(resourceLimits={"cpus": 0.5})


def test_a_single_instance_app_stops_before_it_starts() -> None:
    label = {"MARATHON_SINGLE_INSTANCE_APP": "true"}
    app = parse(labels=label)
    assert (app.upgrade_strategy.minimum_health_capacity, app.upgrade_strategy.maximum_over_capacity) == (0, 0)
    assert app.single_instance
    assert {"/instances", "/upgradeStrategy"} == set(
        problems(labels=label, instances=2, upgradeStrategy={"minimumHealthCapacity": 1, "maximumOverCapacity": 0})
    )


@pytest.mark.parametrize(
    ("written", "base", "absolute"),
    [
        ("/shop/cart", "/", "/shop/cart"),
        ("cart", "/shop", "/shop/cart"),
        ("cart", "/", "/cart"),
        ("../cart", "/shop/data", "/shop/cart"),
        ("/a/../b", "/", "/b"),
        ("/a.b/c-d.9", "/", "/a.b/c-d.9"),
        ("/shop/cart/", "/", "/shop/cart"),
    ],
)
def test_ids_are_resolved_below_their_group(written: str, base: str, absolute: str) -> None:
    assert definition.parse({"id": written, "container": DOCKER}, base).id == absolute


def test_dependencies_are_resolved_below_the_group_too() -> None:
    app = definition.parse({"id": "cart", "container": DOCKER, "dependencies": ["db", "/auth"]}, "/shop")
    assert app.dependencies == ("/shop/db", "/auth")
    assert "/dependencies(0)" in problems(dependencies=["/shop/cart"])


def test_ports_become_port_definitions() -> None:
    assert parse(ports=[0, 8080]).to_json()["portDefinitions"] == [
        {"port": 0, "protocol": "tcp", "labels": {}},
        {"port": 8080, "protocol": "tcp", "labels": {}},
    ]
    assert parse(ports=[80], portDefinitions=[{"port": 80, "name": "web"}]).ports[0].name == "web"
    assert "/ports" in problems(ports=[80], portDefinitions=[{"port": 81}])
    assert "/ports(0)" in problems(ports=["80"])


def test_docker_networks_and_mappings_move_to_their_new_places() -> None:
    container = {"docker": {"image": "x", "network": "BRIDGE", "portMappings": [{"containerPort": 80}]}}
    app = parse(container=container)
    shown = app.to_json()
    assert shown["networks"] == [{"mode": "container/bridge"}]
    assert shown["container"]["portMappings"][0]["containerPort"] == 80
    assert parse(container={"docker": {"image": "x", "network": "HOST"}}).network == "host"
    assert "/container/docker/network" in problems(container={"docker": {"image": "x", "network": "NONE"}})
    assert "/container/docker/network" in problems(container=container, networks=[{"mode": "host"}])


def test_service_ports_beside_mappings_as_marathon_1_4_shows_them_are_one_port_each() -> None:
    container = {"docker": {"image": "x", "network": "BRIDGE", "portMappings": [{"containerPort": 80}]}}
    app = parse(container=container, ports=[10001, 10002], portDefinitions=[{"port": 10001}, {"port": 10002}])
    assert [port.container_port for port in app.ports] == [80, 0]


def test_what_is_written_reads_back_equal() -> None:
    app = parse(
        cmd="serve",
        env={"A": "1"},
        user="nobody",
        instances=3,
        constraints=[["rack", "MAX_PER", "2"]],
        healthChecks=[{"path": "/h"}, {"protocol": "COMMAND", "command": {"value": "true"}}],
        labels={"HAPROXY_0_VHOST": "shop.example"},
        unreachableStrategy={"inactiveAfterSeconds": 60, "expungeAfterSeconds": 600},
        upgradeStrategy={"minimumHealthCapacity": 0.5, "maximumOverCapacity": 0.2},
        resourceLimits={"cpus": 2},
        taskKillGracePeriodSeconds=30,
        killSelection="OLDEST_FIRST",
        acceptedResourceRoles=["*"],
        dependencies=["/db"],
    ).with_version("2026-01-31T12:00:00.123Z")
    shown = json.loads(json.dumps(app.to_json()))
    assert definition.restore(shown) == app
    assert definition.parse(shown) == app.with_version("")


def test_what_marathon_adds_to_a_shown_app_is_accepted_and_dropped() -> None:
    shown = parse().to_json() | {
        "tasksRunning": 1,
        "tasksStaged": 0,
        "tasksHealthy": 1,
        "tasksUnhealthy": 0,
        "deployments": [],
        "tasks": [{"id": "x"}],
        "lastTaskFailure": {"message": "x"},
        "version": "2026-01-31T12:00:00.123Z",
        "versionInfo": {"lastScalingAt": "x"},
        "executor": "",
        "user": None,
        "ipAddress": None,
        "residency": None,
        "uris": [],
        "fetch": [],
        "storeUrls": [],
        "readinessChecks": [],
        "secrets": {},
        "gpus": 0,
        "ports": [0],
        "tty": False,
    }
    shown["healthChecks"] = [{"protocol": "HTTP", "delaySeconds": 15, "ipProtocol": "IPv4", "ignoreHttp1xx": False}]
    assert definition.parse(shown) == parse(healthChecks=[{"protocol": "HTTP"}])


def test_readiness_checks_have_marathons_defaults_and_read_back() -> None:
    app = parse(healthChecks=[{}], readinessChecks=[{"portName": "default"}])
    (check,) = app.readiness_checks
    assert (check.name, check.protocol, check.path) == ("readinessCheck", "HTTP", "/")
    assert (check.interval_seconds, check.timeout_seconds) == (30, 10)
    assert (check.http_status_codes_for_ready, check.preserve_last_response) == ((200,), False)
    assert definition.parse(app.to_json()) == app


def test_files_to_fetch_are_named_after_their_uri_and_the_older_uris_mean_the_same() -> None:
    uris = ["http://x/a%20b.tgz?token=1", "file:///etc/motd", "/srv/c"]
    app = parse(uris=uris)
    assert [file.path for file in app.fetch] == ["a b.tgz", "motd", "c"]
    assert all(file.extract and not file.executable for file in app.fetch)
    assert app == parse(fetch=[{"uri": uri, "cache": False} for uri in uris])
    assert app == definition.parse(app.to_json() | {"uris": uris})
    assert parse(fetch=[{"uri": "http://x/a", "destPath": "in/b"}]).fetch[0].path == "in/b"


def test_scaling_is_no_other_definition_and_anything_else_is() -> None:
    app = parse(env={"A": "1"})
    assert app.same_definition(app.with_instances(9).with_version("2026-01-31T12:00:00.123Z"))
    assert not app.same_definition(parse(env={"A": "2"}))


def test_the_input_is_left_as_it_was() -> None:
    given = {"id": "/a", "ports": [0], "container": {"docker": {"image": "x", "network": "BRIDGE"}}, "env": {"A": "1"}}
    before = json.dumps(given)
    definition.parse(given)
    assert json.dumps(given) == before


def test_docker_parameters_with_good_values_are_kept() -> None:
    kept = parse(container={"docker": {"image": "x", "parameters": [{"key": "ulimit", "value": "nofile=1024"}]}})
    assert [(p.key, p.value) for p in kept.container.docker.parameters] == [("ulimit", "nofile=1024")]


def test_a_container_of_mesos_with_an_image_is_dockers_and_reads_back_as_it_was() -> None:
    app = parse(container={"type": "MESOS", "docker": {"image": "nginx", "forcePullImage": True}})
    assert (app.image, app.to_json()["container"]["type"]) == ("nginx", "MESOS")
    assert definition.parse(app.to_json()) == app


def test_a_container_of_mesos_without_an_image_is_a_process_and_reads_back_as_it_was() -> None:
    app = parse(container={"type": "MESOS"}, cmd="sleep 9")
    assert (app.image, app.command_args) == ("", ("/bin/sh", "-c", "sleep 9"))
    assert app.to_json()["container"] == {"type": "MESOS", "volumes": []}
    assert definition.parse(app.to_json()) == app
    assert "container" not in parse(container=None, cmd="sleep 9").to_json()


def test_networks_of_containers_are_dockers_by_their_names() -> None:
    networks = [{"mode": "container", "name": "front", "labels": {"a": "b"}}, {"name": "back"}]
    mappings = [{"containerPort": 80, "networkNames": ["back"]}, {"containerPort": 81, "hostPort": 0, "networkNames": []}]
    app = parse(networks=networks, container=DOCKER | {"portMappings": mappings})
    assert (app.network, app.docker_networks) == ("bridge", ("front", "back"))
    shown = app.to_json()
    assert shown["networks"] == [networks[0], {"mode": "container", "name": "back"}]
    assert ["hostPort" in mapping for mapping in shown["container"]["portMappings"]] == [False, True]
    assert [mapping.get("networkNames") for mapping in shown["container"]["portMappings"]] == [["back"], None]
    assert definition.parse(shown) == app


def test_on_dockers_bridge_a_mapping_without_a_host_port_gets_any() -> None:
    app = parse(networks=[{"mode": "container/bridge"}], container=DOCKER | {"portMappings": [{"containerPort": 80}]})
    assert app.to_json()["container"]["portMappings"][0]["hostPort"] == 0


def test_mappings_beside_the_hosts_network_mean_nothing_as_in_marathon() -> None:
    app = parse(container=DOCKER | {"portMappings": [{"containerPort": 80}]})
    assert "portMappings" not in app.to_json()["container"]


def test_the_older_ip_address_becomes_a_network_and_mappings() -> None:
    ports = [{"name": "http", "number": 80, "protocol": "tcp", "labels": {"VIP_0": "/x"}}]
    found = parse(ipAddress={"networkName": "dcos", "labels": {"a": "b"}, "discovery": {"ports": ports}})
    assert found.to_json()["networks"] == [{"mode": "container", "name": "dcos", "labels": {"a": "b"}}]
    assert [(port.name, port.container_port, port.labels) for port in found.ports] == [("http", 80, {"VIP_0": "/x"})]
    legacy = {"docker": {"image": "x", "network": "USER"}}
    assert parse(container=legacy, ipAddress={"networkName": "dcos"}).docker_networks == ("dcos",)
    assert parse(container={"docker": {"image": "x", "network": "BRIDGE"}}, ipAddress={"labels": {}}).network == "bridge"


def notes_of(**fields: Any) -> dict[str, tuple[str, str]]:
    return {note.path: (note.verdict.value, note.text) for note in notes(parse(**fields))}


@pytest.mark.parametrize(
    "field", ["$schema", "comment", "_comment", "Comments", "description", "//", "#note", "_cmd", "_instances"]
)
def test_a_remark_is_no_misspelling(field: str) -> None:
    [(_, (verdict, reason))] = notes_of(**{field: "x"}).items()
    assert (verdict, reason) == ("not heeded", "no field that eratos knows, nor Marathon")


def test_fields_that_nobody_knows_are_dropped_and_told() -> None:
    found = notes_of(comments="by me", x={"y": 1}, container=DOCKER | {"zz": 1}, healthChecks=[{"whimsy": [], "path": "/"}])
    assert found.keys() == {"/comments", "/x", "/container/zz", "/healthChecks(0)/whimsy"}
    assert {verdict for verdict, _ in found.values()} == {"not heeded"}
    app = parse(comments="by me")
    assert app == parse()
    assert "comments" not in app.to_json()


def test_a_user_that_can_be_none_is_read_from_a_store() -> None:
    assert parse(user="1000:1000").user == "1000:1000"
    assert definition.restore(parse().to_json() | {"user": "www data", "version": "v1"}).user == "www data"


def test_a_name_of_any_length_is_told_shortened() -> None:
    [(place, _)] = parse(**{"q" * 900: 1}).dropped
    assert len(place) < 80


def test_what_marathon_drops_or_never_heeded_is_told() -> None:
    assert "anew" in notes_of(fetch=[{"uri": "http://x/y", "cache": True}])["/fetch(0)/cache"][1]
    external = {"provider": "dvdi", "name": "n", "options": {"dvdi/driver": "local"}, "shared": True}
    volume = {"containerPath": "/d", "mode": "RW", "external": external}
    shared = notes_of(container={"docker": {"image": "x"}, "volumes": [volume]})["/container/volumes(0)/external/shared"]
    assert "whatever this says" in shared[1]
    assert "/healthChecks(0)/path" in notes_of(healthChecks=[{"protocol": "TCP", "path": "/x"}])
    assert "/container/portMappings" in notes_of(container=DOCKER | {"portMappings": [{"containerPort": 80}]})
    checks = parse(readinessChecks=[{"portName": "default", "httpStatusCodesForReady": []}], healthChecks=[{}]).readiness_checks
    assert checks[0].http_status_codes_for_ready == (200,)


def test_further_fields_read_back_as_marathon_shows_them() -> None:
    check = {"ignoreHttp1xx": True, "ipProtocol": "IPv6", "delaySeconds": 40}
    limits = {"cpus": 2.0, "mem": "unlimited"}
    executor = {"cpus": 0.2, "mem": 64.0, "disk": 0.0}
    app = parse(gpus=2, tty=True, resourceLimits=limits, executorResources=executor, healthChecks=[check])
    shown = app.to_json()
    assert (shown["gpus"], shown["tty"], shown["resourceLimits"], shown["executorResources"]) == (2, True, limits, executor)
    assert check.items() <= shown["healthChecks"][0].items()
    assert definition.parse(shown) == app
    assert "/executorResources" in {note.path for note in notes(app)}


@pytest.mark.parametrize(("limit", "mib"), [(None, 0), ({}, 0), ({"mem": 256.5}, 257), ({"mem": "unlimited"}, None)])
def test_memory_is_limited_to_what_is_kept_unless_stated(limit: Any, mib: int | None) -> None:
    assert parse(mem=128, resourceLimits=limit).mem_limit_mib == mib


@pytest.mark.parametrize(("given", "delay_s"), [({}, 0), ({"delaySeconds": 15}, 0), ({"delaySeconds": 40}, 40)])
def test_the_delay_that_marathon_writes_into_every_check_is_none(given: dict[str, int], delay_s: int) -> None:
    assert parse(healthChecks=[given]).health_checks[0].delay_s == delay_s


def test_gpus_are_claimed() -> None:
    assert parse(gpus=2).resources.gpus == 2


def test_secrets_are_kept_by_name_and_read_back_as_marathon_shows_them() -> None:
    secrets = {"db": {"source": "/shop/db"}, "key": {"source": "shop/key"}}
    volume = {"containerPath": "/run/key", "secret": "key"}
    env = {"A": "b", "PASSWORD": {"secret": "db"}}
    app = parse(env=env, secrets=secrets, container=DOCKER | {"volumes": [volume]})
    assert (app.env, app.secret_env) == ({"A": "b"}, {"PASSWORD": "/shop/db"})
    shown = app.to_json()
    assert (shown["env"], shown["secrets"], shown["container"]["volumes"]) == (env, secrets, [volume])
    assert definition.parse(shown) == app
    assert definition.restore(shown) == app


@pytest.mark.parametrize(
    ("given", "kind", "command"),
    [
        ({"http": {"portIndex": 0, "path": "/x", "scheme": "HTTPS"}}, "https", ""),
        ({"http": {"path": "/", "scheme": "HTTP"}}, "http", ""),
        ({"tcp": {"port": 80}}, "tcp", ""),
        ({"exec": {"command": {"shell": "a b"}}}, "command", "a b"),
        ({"exec": {"command": {"argv": ["a", "b c"]}}}, "command", "a 'b c'"),
    ],
)
def test_the_check_whose_answers_are_told_reads_back(given: dict[str, Any], kind: str, command: str) -> None:
    app = parse(check=given)
    assert app.check is not None
    assert (app.check.kind, app.check.command) == (kind, command)
    assert app.to_json()["check"] == given | {"intervalSeconds": 60, "timeoutSeconds": 20, "delaySeconds": 15}
    assert definition.parse(app.to_json()) == app


@pytest.mark.parametrize(
    ("linux", "parameters"),
    [
        ({"seccomp": {"unconfined": True}}, ["security-opt seccomp=unconfined"]),
        ({"seccomp": {"unconfined": False}, "ipcInfo": {"mode": "SHARE_PARENT"}}, ["ipc host"]),
        ({"ipcInfo": {"mode": "PRIVATE", "shmSize": 64}}, ["ipc private", "shm-size 64m"]),
        ({"ipcInfo": {"mode": "PRIVATE"}, "seccomp": None}, ["ipc private"]),
        ({}, []),
    ],
)
def test_linux_info_becomes_parameters_of_docker(linux: dict[str, Any], parameters: list[str]) -> None:
    given = {"key": "hostname", "value": "h"}
    docker = {"image": "x", "parameters": [given]}
    app = definition.parse({"id": "/a", "container": {"type": "MESOS", "docker": docker, "linuxInfo": linux}})
    assert app.container.docker is not None
    found = [f"{parameter.key} {parameter.value}" for parameter in app.container.docker.parameters]
    assert found == ["hostname h", *parameters]
    docker_parameters.apply(docker_parameters.blank(), [(p.key, p.value) for p in app.container.docker.parameters])
    assert definition.parse(app.to_json()) == app


def test_an_app_with_an_external_volume_has_no_instance_more_than_usual_in_an_upgrade() -> None:
    external = {"name": "x", "provider": "dvdi", "options": {"dvdi/driver": "local"}}
    container = DOCKER | {"volumes": [{"containerPath": "/d", "mode": "RW", "external": external}]}
    strategy = definition.parse({"id": "/a", "container": container}).upgrade_strategy
    assert (strategy.minimum_health_capacity, strategy.maximum_over_capacity) == (0.5, 0)
    stated = definition.parse({"id": "/a", "container": container, "upgradeStrategy": {"maximumOverCapacity": 0.2}})
    assert stated.upgrade_strategy.maximum_over_capacity == 0.2


# Files as people have them


@pytest.mark.parametrize(("path", "asked"), [("health", "/health"), ("", "/"), ("a?b=/c", "/a?b=/c"), ("/health", "/health")])
@pytest.mark.parametrize("protocol", ["HTTP", "https", "MESOS_HTTP"])
def test_the_path_of_a_health_check_begins_at_the_root_as_in_marathon(protocol: str, path: str, asked: str) -> None:
    (check,) = parse(healthChecks=[{"protocol": protocol, "path": path}]).health_checks
    assert check.path == asked


def test_whole_numbers_may_be_written_with_a_point() -> None:
    written = parse(instances=3.0, portDefinitions=[{"port": 8080.0}], healthChecks=[{"protocol": "TCP", "intervalSeconds": 5.0}])
    assert written == parse(
        instances=3, portDefinitions=[{"port": 8080}], healthChecks=[{"protocol": "TCP", "intervalSeconds": 5}]
    )
    assert parse(cpus=2.0, mem=64.0) == parse(cpus=2, mem=64)
    assert "1.5" in problems(instances=1.5)["/instances"]
    assert "/instances" in problems(instances=1e300)
    assert "quotes" in problems(labels={"a": 1.0})["/labels/a"]


def test_what_has_no_meaning_off_the_hosts_network_is_told() -> None:
    container = DOCKER | {"portMappings": [{"containerPort": 80}]}
    bridge = {"container": container, "networks": [{"mode": "container/bridge"}]}
    assert "hostPort" in dict(parse(**bridge, requirePorts=True).dropped)["/requirePorts"]
    assert parse(**bridge, requirePorts=False).dropped == ()
    assert parse(requirePorts=True, portDefinitions=[{"port": 80}]).dropped == ()


def test_of_an_older_ip_address_nothing_is_lost_in_silence() -> None:
    address = {"networkName": "web", "groups": ["a"]}
    assert "groups" in dict(parse(ipAddress=address).dropped)["/ipAddress/groups"]
    assert parse(ipAddress={"networkName": "web", "groups": []}).dropped == ()
    assert "networkName" in problems(ipAddress={"networkname": "web"})["/ipAddress/networkname"]
    for network in ("NONE", "nonsense", ["USER"], 5, {}):
        container = {"docker": {"image": "x", "network": network}}
        assert "/container/docker/network" in problems(container=container, ipAddress={"networkName": "web"})
