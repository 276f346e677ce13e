"""What a task's container is made of: the create body, the environment, Docker's parameters."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from support.executor import HOST, TASK, a_payload

from eratos.common import names
from eratos.common.errors import PermanentError, TemporaryError
from eratos.common.payload import Port, Volume
from eratos.common.resources import Resources
from eratos.executor.core.actions import StartContainer
from eratos.executor.core.container import container_config, host_ports, probe_target, published, with_sandbox
from eratos.executor.core.environment import environment
from eratos.executor.core.start import start_action
from eratos.executor.docker.files import on_host

PLAYED = replace(HOST, network="container:x-agent1-1", bridge="x_docker0", dns="10.86.1.2")


def config(host: Any = HOST, **changes: Any) -> dict[str, Any]:
    return container_config(a_payload(**changes), host)


def host_config(**changes: Any) -> dict[str, Any]:
    return dict(config(**changes)["HostConfig"])


def test_the_environment_is_marathons() -> None:
    payload = a_payload(
        resources=Resources(cpus_m=100, mem_mib=32),
        ports=0,
        env={"WORK_S": "0.05"},
        labels={"team-a": "x", "LONG": "y" * 600},
    )
    payload = replace(payload, ports=(Port(31000, name="http"), Port(31001, container_port=9000)))
    assert environment(payload, "node1") == {
        "MESOS_TASK_ID": TASK,
        "MARATHON_APP_ID": "/shop",
        "MARATHON_APP_VERSION": "v1",
        "MARATHON_APP_DOCKER_IMAGE": "debian:trixie-slim",
        "MARATHON_APP_ENFORCE_GROUP_ROLE": "FALSE",
        "MARATHON_APP_RESOURCE_CPUS": "0.1",
        "MARATHON_APP_RESOURCE_MEM": "32.0",
        "MARATHON_APP_RESOURCE_DISK": "0.0",
        "MARATHON_APP_RESOURCE_GPUS": "0",
        "MARATHON_APP_LABELS": "TEAM_A",
        "MARATHON_APP_LABEL_TEAM_A": "x",
        "HOST": "node1",
        "PORT": "31000",
        "PORT0": "31000",
        "PORT1": "31001",
        "PORTS": "31000,31001",
        "PORT_31000": "31000",
        "PORT_9000": "31001",
        "PORT_HTTP": "31000",
        "WORK_S": "0.05",
    }


def test_the_apps_own_variables_win() -> None:
    assert environment(a_payload(env={"PORT": "80"}), "node1")["PORT"] == "80"


def test_a_task_without_ports_has_no_port_variables() -> None:
    assert not [name for name in environment(a_payload(ports=0), "node1") if name.startswith("PORT")]


def test_cpus_are_a_weight_and_memory_a_limit() -> None:
    limits = host_config(resources=Resources(cpus_m=1500, mem_mib=64))
    assert (limits["CpuShares"], limits["Memory"], limits["MemorySwap"]) == (1536, 64 << 20, 64 << 20)
    assert "CpuQuota" not in limits


def test_a_hard_cpu_limit_becomes_a_quota() -> None:
    limits = host_config(cpus_limit_m=250)
    assert limits["CpuQuota"] / limits["CpuPeriod"] == 0.25


def test_the_smallest_weight_is_dockers() -> None:
    assert host_config(resources=Resources(cpus_m=1, mem_mib=32))["CpuShares"] == 2


def test_gpus_are_asked_for() -> None:
    assert host_config(resources=Resources(gpus=2))["DeviceRequests"][0]["Count"] == 2


def test_containers_carry_their_owner() -> None:
    assert config()["Labels"] == {
        names.LABEL_FRAMEWORK: "fw1",
        names.LABEL_EXECUTOR: "eratos",
        names.LABEL_AGENT: "agent1",
        names.LABEL_HOST: "host1",
        names.LABEL_APP: "/shop",
        names.LABEL_INSTANCE: "shop.instance-1",
        names.LABEL_TASK: TASK,
        names.LABEL_SERVICES: "1",
        "MESOS_TASK_ID": TASK,
    }


def test_no_container_is_named_as_mesos_own_may_be() -> None:
    start = start_action(a_payload(), HOST)
    assert isinstance(start, StartContainer)
    assert start.name.startswith("eratos-")


def test_docker_neither_restarts_a_task_nor_lets_its_log_grow() -> None:
    found = host_config()
    assert found["RestartPolicy"] == {"Name": "no"}
    assert found["LogConfig"]["Config"] == {"max-size": "10m", "max-file": "3"}


@pytest.mark.parametrize(
    ("args", "entrypoint", "command"),
    [
        (None, None, None),
        (("serve", "--fast"), None, ["serve", "--fast"]),
        (("/bin/sh", "-c", "exec serve"), ["/bin/sh"], ["-c", "exec serve"]),
    ],
)
def test_arguments_follow_the_entrypoint_and_a_shell_command_replaces_it(args: Any, entrypoint: Any, command: Any) -> None:
    found = config(args=args)
    assert (found.get("Entrypoint"), found.get("Cmd")) == (entrypoint, command)


def test_host_networking_means_the_played_host_where_there_is_one() -> None:
    assert host_config()["NetworkMode"] == "host"
    assert config(replace(HOST, network="container:agent1"))["HostConfig"]["NetworkMode"] == "container:agent1"


def test_bridged_ports_are_published() -> None:
    payload = replace(a_payload(network="bridge"), ports=(Port(31000, 80), Port(31001, 53, "udp,tcp")))
    found = container_config(payload, HOST)["HostConfig"]
    assert found["PortBindings"] == {
        "80/tcp": [{"HostPort": "31000"}],
        "53/udp": [{"HostPort": "31001"}],
        "53/tcp": [{"HostPort": "31001"}],
    }


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"network": "bridge"}, "name it by ERATOS_HOST_BRIDGE"),
        ({"network": "overlay"}, "use host, bridge or none"),
        ({"volumes": (Volume("/data", "../up"),)}, "must lie in the sandbox"),
        ({"parameters": (("teleport", "1"),)}, "'teleport' is not supported; known are: add-host"),
        ({"parameters": (("ulimit", "nofile"),)}, "'ulimit' has a bad value"),
        ({"parameters": (("shm-size", "many"),)}, "'shm-size' has a bad value"),
        ({"parameters": (("init", "maybe"),)}, "must be true or false"),
    ],
)
def test_what_cannot_be_done_is_refused_with_the_reason(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(PermanentError, match=words):
        config(replace(HOST, network="container:agent1"), **changes)


def test_volumes_are_bound() -> None:
    found = host_config(volumes=(Volume("/a", "/srv", read_only=True), Volume("/b", "cache", named=True)))
    assert found["Binds"] == ["/srv:/a:ro", "cache:/b:rw"]


def test_docker_volumes_of_played_hosts_are_apart_however_an_app_asks_for_them() -> None:
    volumes = (Volume("/a", "/srv", read_only=True), Volume("/b", "cache", named=True))
    asked: Any = {"volumes": volumes, "parameters": (("volume", "other:/c:ro"), ("volume", "/etc:/d"))}
    first, second = (config(replace(PLAYED, name=name), **asked)["HostConfig"]["Binds"] for name in ("x-agent1", "x-agent2:5052"))
    assert first == ["/srv:/a:ro", "x-agent1_cache:/b:rw", "x-agent1_other:/c:ro", "/etc:/d"]
    assert second[1:3] == ["x-agent2-5052_cache:/b:rw", "x-agent2-5052_other:/c:ro"]
    assert host_config(**asked)["Binds"] == ["/srv:/a:ro", "cache:/b:rw", "other:/c:ro", "/etc:/d"]


def test_a_bridged_container_of_a_played_host_is_on_that_hosts_bridge_and_docker_publishes_nothing() -> None:
    payload = replace(a_payload(network="bridge"), ports=(Port(31000, 80), Port(31001, 53, "udp,tcp")))
    found = container_config(payload, PLAYED)
    assert (found["HostConfig"]["NetworkMode"], found["HostConfig"]["Dns"]) == ("x_docker0", ["10.86.1.2"])
    assert "PortBindings" not in found["HostConfig"]
    assert set(found["ExposedPorts"]) == {"80/tcp", "53/udp", "53/tcp"}
    assert published(payload, PLAYED) == payload.ports
    assert published(payload, HOST) == ()
    assert published(replace(payload, network="host"), PLAYED) == ()
    assert "Dns" not in container_config(replace(payload, network="host"), PLAYED)["HostConfig"]
    assert "Dns" not in container_config(payload, HOST)["HostConfig"]


@pytest.mark.parametrize(("network", "asked"), [("bridge", True), ("host", True), ("none", False)])
def test_a_real_host_may_name_a_resolver_for_its_containers(network: str, asked: bool) -> None:
    found = container_config(a_payload(network=network), replace(HOST, dns="172.17.0.1"))["HostConfig"]
    assert found.get("Dns") == (["172.17.0.1"] if asked else None)


def test_the_apps_own_resolver_wins() -> None:
    found = config(PLAYED, network="bridge", parameters=(("dns", "9.9.9.9"),))
    assert found["HostConfig"]["Dns"] == ["9.9.9.9"]


def test_parameters_are_translated() -> None:
    found = config(
        parameters=(
            ("ulimit", "nofile=10:20"),
            ("shm-size", "64m"),
            ("tmpfs", "/tmp:size=1m"),
            ("device", "/dev/fuse"),
            ("sysctl", "net.core.somaxconn=1024"),
            ("log-driver", "syslog"),
            ("log-opt", "tag=x"),
            ("env", "A=1"),
            ("entrypoint", "/bin/serve --now"),
            ("cap-add", "NET_ADMIN"),
            ("cap-add", "SYS_TIME"),
        )
    )
    host = found["HostConfig"]
    assert host["Ulimits"] == [{"Name": "nofile", "Soft": 10, "Hard": 20}]
    assert host["ShmSize"] == 64 << 20
    assert host["Tmpfs"] == {"/tmp": "size=1m"}
    assert host["Devices"] == [{"PathOnHost": "/dev/fuse", "PathInContainer": "/dev/fuse", "CgroupPermissions": "rwm"}]
    assert host["Sysctls"] == {"net.core.somaxconn": "1024"}
    assert host["LogConfig"] == {"Type": "syslog", "Config": {"tag": "x"}}
    assert host["CapAdd"] == ["NET_ADMIN", "SYS_TIME"]
    assert found["Entrypoint"] == ["/bin/serve", "--now"]
    assert "A=1" in found["Env"]


def test_a_log_option_of_one_task_does_not_reach_another() -> None:
    config(parameters=(("log-opt", "max-size=1k"),))
    assert host_config()["LogConfig"]["Config"]["max-size"] == "10m"


def test_no_parameter_can_take_over_the_labels_of_ownership() -> None:
    found = config(parameters=(("label", f"{names.LABEL_TASK}=other"), ("label", "mine=1")))
    assert (found["Labels"][names.LABEL_TASK], found["Labels"]["mine"]) == (TASK, "1")


def test_a_bridged_port_is_reached_at_the_containers_own_address() -> None:
    payload = replace(a_payload(network="bridge"), ports=(Port(31000, 80),))
    assert probe_target(payload, 31000, "172.17.0.5") == ("172.17.0.5", 80)
    assert probe_target(a_payload(), 31000, "") == ("127.0.0.1", 31000)


def test_ports_of_a_networked_task_are_told_apart_by_protocol() -> None:
    payload = replace(a_payload(), ports=(Port(31000), Port(31001, protocol="udp"), Port(31002, protocol="udp,tcp")))
    assert host_ports(payload, "tcp") == (31000, 31002)
    assert host_ports(payload, "udp") == (31001, 31002)
    assert host_ports(replace(payload, network="none"), "tcp") == ()


def test_every_container_is_told_where_its_sandbox_is() -> None:
    assert "MESOS_SANDBOX=/mnt/mesos/sandbox" in container_config(a_payload(), HOST)["Env"]


def test_a_folder_of_the_host_is_mounted_as_the_sandbox() -> None:
    mount = {"Type": "bind", "Source": "/tasks/t", "Target": "/mnt/mesos/sandbox"}
    config = container_config(a_payload(), HOST)
    assert with_sandbox(config, "/tasks/t")["HostConfig"]["Mounts"] == [mount]
    assert with_sandbox(config, "")["Volumes"] == {"/mnt/mesos/sandbox": {}}
    assert "Mounts" not in config["HostConfig"]  # a start may be tried again


def test_what_the_app_mounts_beside_its_sandbox_stays_and_what_it_mounts_there_wins() -> None:
    beside = container_config(a_payload(volumes=(Volume("/mnt/mesos/sandbox/data", "/host"),)), HOST)
    assert with_sandbox(beside, "/tasks/t")["HostConfig"]["Binds"] == ["/host:/mnt/mesos/sandbox/data:rw"]
    assert len(with_sandbox(beside, "/tasks/t")["HostConfig"]["Mounts"]) == 1
    instead = (
        {"volumes": (Volume("/mnt/mesos/sandbox", "/host"),)},
        {"parameters": (("tmpfs", "/mnt/mesos/sandbox:size=1m"),)},
    )
    for changes in instead:
        config = container_config(a_payload(**changes), HOST)
        assert with_sandbox(config, "/tasks/t") == config, changes


@pytest.mark.parametrize(
    ("folder", "seen"),
    [
        ("/var/lib/mesos/a/b", "/volumes/mesos/a/b"),
        ("/var/lib/mesos", "/volumes/mesos"),
        ("/var/lib/mesos/logs/x", "/logs/x"),
        ("/var/lib/mesosphere/a", "/var/lib/mesosphere/a"),
    ],
)
def test_where_a_played_host_has_its_folders(folder: str, seen: str) -> None:
    mounts = [
        {"Source": "/volumes/mesos", "Destination": "/var/lib/mesos"},
        {"Source": "/logs", "Destination": "/var/lib/mesos/logs"},
    ]
    assert on_host(Path(folder), mounts) == Path(seen)


def test_networks_by_name_are_joined_and_the_ports_published() -> None:
    payload = replace(a_payload(network="bridge", networks=("front", "back")), ports=(Port(31000, 80),))
    found = start_action(payload, HOST)
    assert isinstance(found, StartContainer)
    assert (found.config["HostConfig"]["NetworkMode"], found.networks) == ("front", ("back",))
    assert found.config["HostConfig"]["PortBindings"] == {"80/tcp": [{"HostPort": "31000"}]}
    played = start_action(payload, PLAYED)
    assert isinstance(played, StartContainer)
    assert (played.config["HostConfig"]["NetworkMode"], played.networks) == ("x_docker0", ("front", "back"))
    assert start_action(a_payload(), HOST).networks == ()


def test_a_relative_host_path_is_a_folder_of_the_sandbox() -> None:
    made = config(volumes=(Volume("/data", "./a//b/"), Volume("/c", "/srv")))
    assert with_sandbox(made, "/var/sandboxes/t")["HostConfig"]["Binds"] == ["/var/sandboxes/t/a/b:/data:rw", "/srv:/c:rw"]
    with pytest.raises(TemporaryError, match="sees the executor's files"):
        with_sandbox(made, "")


@pytest.mark.parametrize(
    ("limit_mib", "limits"),
    [
        (0, {"Memory": 32 << 20, "MemorySwap": 32 << 20}),
        (64, {"Memory": 64 << 20, "MemorySwap": 64 << 20, "MemoryReservation": 32 << 20}),
        (None, {"MemoryReservation": 32 << 20}),
    ],
)
def test_memory_may_be_limited_beyond_what_is_kept_or_not_at_all(limit_mib: int | None, limits: dict[str, int]) -> None:
    found = host_config(mem_limit_mib=limit_mib)
    assert {key: value for key, value in found.items() if key.startswith("Memory")} == limits


def test_a_terminal_and_gpus_are_asked_of_docker() -> None:
    assert config(tty=True)["Tty"] is True
    assert "Tty" not in config()
    found = host_config(resources=Resources(cpus_m=100, mem_mib=32, gpus=2))
    assert found["DeviceRequests"] == [{"Driver": "nvidia", "Count": 2, "Capabilities": [["gpu"]]}]
