"""./dev and compose.yaml: further agents and balancers, containers in trouble, and what the compose file promises."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
import yaml
from devtool import cluster, commands, images, report, version
from devtool.cluster import Attachment, Container, host_of, outlived, parse_container, stranded
from devtool.override import attributes
from devtool.override import services as extra_services
from devtool.settings import COMPOSE_FILE, COMPOSE_FOLDER, Settings
from devtool.terminal import Problem

CONFIG = {
    "services": {
        "agent1": {
            "build": {"target": "agent"},
            "image": "eratos/agent",
            "hostname": "agent1",
            "networks": {"default": {"ipv4_address": "10.0.7.101"}, "docker0-agent1": {}},
            "extra_hosts": ["zookeeper=10.0.7.10", "agent1=10.0.7.101", "agent2=10.0.7.102"],
            "volumes": [{"type": "volume", "source": "agent1", "target": "/var/lib/mesos"}],
            "environment": {
                "MESOS_HOSTNAME": "agent1",
                "MESOS_ATTRIBUTES": "rack:r1;zone:a",
                "ERATOS_HOST_NETWORK": "container:myagent1-agent1-1",
                "ERATOS_HOST_BRIDGE": "myagent1_docker0-agent1",
                "ERATOS_HOST_DNS": "10.9.1.2",
            },
        },
        "consul-agent1": {"network_mode": "service:agent1", "environment": {"CONSUL_NODE": "agent1"}},
        "balancer1": {
            "hostname": "balancer1",
            "networks": {"default": {"ipv4_address": "10.0.7.41"}},
            "ports": [{"target": 8000, "published": "8000", "host_ip": "127.0.0.1"}, {"target": 9090, "published": "9090"}],
        },
        "consul-balancer1": {"network_mode": "service:balancer1", "environment": {"CONSUL_NODE": "balancer1"}},
        "consul1": {
            "build": {"target": "consul"},
            "hostname": "consul1",
            "networks": {"default": {"ipv4_address": "10.0.7.21"}},
            "environment": {"CONSUL_NODE": "consul1"},
            "volumes": [{"type": "volume", "source": "consul1", "target": "/consul"}],
            "ports": [{"target": 8500, "published": "8500", "host_ip": "127.0.0.1"}],
        },
    },
    "networks": {
        "docker0-agent1": {
            "name": "myagent1_docker0-agent1",
            "ipam": {"config": [{"subnet": "10.9.1.0/24", "aux_addresses": {"DefaultGatewayIPv4": "10.9.1.2"}}]},
        }
    },
}


def test_no_service_is_added_for_the_default_counts_or_fewer() -> None:
    assert extra_services(CONFIG, Settings()) == {"services": {}, "volumes": {}, "networks": {}}
    assert extra_services(CONFIG, Settings(agents=1, balancers=1)) == {"services": {}, "volumes": {}, "networks": {}}


def test_a_further_agent_is_the_first_one_under_its_own_name() -> None:
    added = extra_services(CONFIG, Settings(agents=4))
    assert added["volumes"] == {"agent4": None}
    assert added["networks"] == {
        "docker0-agent4": {
            "name": "myagent1_docker0-agent4",
            "ipam": {"config": [{"subnet": "10.9.4.0/24", "aux_addresses": {"DefaultGatewayIPv4": "10.9.4.2"}}]},
        }
    }
    assert added["services"] == {
        "agent4": {
            "image": "eratos/agent",
            "hostname": "agent4",
            "networks": {"default": {"ipv4_address": "10.0.7.104"}, "docker0-agent4": {}},
            "extra_hosts": ["zookeeper=10.0.7.10", "agent2=10.0.7.102", "agent4=10.0.7.104"],
            "volumes": [{"type": "volume", "source": "agent4", "target": "/var/lib/mesos"}],
            "environment": {
                "MESOS_HOSTNAME": "agent4",
                "MESOS_ATTRIBUTES": "rack:r1;zone:b",
                # Only whole names are replaced: the project's own name stays.
                "ERATOS_HOST_NETWORK": "container:myagent1-agent4-1",
                "ERATOS_HOST_BRIDGE": "myagent1_docker0-agent4",
                "ERATOS_HOST_DNS": "10.9.4.2",
            },
        },
        "consul-agent4": {"network_mode": "service:agent4", "environment": {"CONSUL_NODE": "agent4"}},
    }


def test_a_further_balancer_gets_the_next_ports_or_those_of_its_variables() -> None:
    settings = Settings(balancers=4, variables={"ERATOS_BALANCER4_PORT": "18003"})
    added = extra_services(CONFIG, settings)
    assert added["volumes"] == {"balancer3-log": None, "balancer4-log": None}
    services = added["services"]
    assert [port["published"] for port in services["balancer3"]["ports"]] == ["8002", "9092"]
    assert [port["published"] for port in services["balancer4"]["ports"]] == ["18003", "9093"]
    assert services["balancer3"]["ports"][0]["host_ip"] == "127.0.0.1"
    assert services["balancer3"]["networks"]["default"]["ipv4_address"] == "10.0.7.43"
    assert services["consul-balancer3"]["network_mode"] == "service:balancer3"


def test_balancers_prefer_their_zones_where_there_are_some() -> None:
    services = extra_services(CONFIG, Settings(balancers=3, zones=2))["services"]
    zones = {name: service["environment"] for name, service in services.items() if name.startswith("balancer")}
    policy = {"ERATOS_ZONE_POLICY": "prefer"}
    assert zones == {
        "balancer1": {"ERATOS_ZONE": "a", **policy},
        "balancer2": {"ERATOS_ZONE": "b", **policy},
        "balancer3": {"ERATOS_ZONE": "a", **policy},
    }
    assert services["balancer1"] == {"environment": zones["balancer1"]}


def test_parts_know_their_region_and_the_other_one() -> None:
    added = extra_services(CONFIG, Settings(agents=4, regions=2))
    services = added["services"]
    assert services["consul4"] == {
        "hostname": "consul4",
        "networks": {"default": {"ipv4_address": "10.0.7.24"}},
        "environment": {
            "CONSUL_NODE": "consul4",
            "CONSUL_DATACENTER": "west",
            "CONSUL_SERVERS": "10.0.7.24",
            "CONSUL_ELSEWHERE": "10.0.7.21 10.0.7.22 10.0.7.23",
        },
        "volumes": [{"type": "volume", "source": "consul4", "target": "/consul"}],
        "ports": [{"target": 8500, "published": "8503", "host_ip": "127.0.0.1"}],
        "extra_hosts": ["consul4=10.0.7.24"],
    }
    assert "consul4" in added["volumes"]
    told = {name: service["environment"] for name, service in services.items()}
    assert told["consul1"] == {
        "CONSUL_DATACENTER": "east",
        "CONSUL_SERVERS": "10.0.7.21 10.0.7.22 10.0.7.23",
        "CONSUL_ELSEWHERE": "10.0.7.24",
    }
    assert (told["consul-agent1"]["CONSUL_DATACENTER"], told["consul-agent4"]["CONSUL_SERVERS"]) == ("east", "10.0.7.24")
    assert (told["balancer1"], told["balancer2"]) == ({"ERATOS_DATACENTERS": "west"}, {"ERATOS_DATACENTERS": "east"})
    assert told["scheduler1"] == told["scheduler2"] == {"ERATOS_CONSUL_DATACENTERS": "west"}
    places = {
        name: [part["name"] for part in json.loads(values["MESOS_DOMAIN"])["fault_domain"].values()]
        for name, values in told.items()
        if "MESOS_DOMAIN" in values
    }
    assert places == {
        "master1": ["east", "a"],
        "master2": ["east", "a"],
        "agent1": ["east", "a"],
        "agent2": ["west", "a"],
        "agent3": ["east", "b"],
        "agent4": ["west", "b"],
    }
    assert [told[f"agent{n}"]["MESOS_ATTRIBUTES"][-6:] for n in (1, 2, 3, 4)] == ["zone:a", "zone:a", "zone:b", "zone:b"]
    zoned = extra_services(CONFIG, Settings(zones=2, regions=2))["services"]["balancer2"]["environment"]
    assert zoned == {"ERATOS_ZONE": "west/a", "ERATOS_ZONE_POLICY": "prefer", "ERATOS_DATACENTERS": "east"}


@pytest.mark.parametrize(
    ("words", "zones", "expected"),
    [
        (["agent2"], 0, ["agent2"]),
        (["zone", "b"], 2, ["agent2", "balancer2"]),
        (["zone", "b"], 0, "has no zones"),
        (["zone", "c"], 2, "there is no zone c"),
        (["zone"], 2, "there is no service zone"),
        (["agent1", "agent2"], 2, "there is no service agent1 agent2"),
        (["agent9"], 0, "there is no service agent9"),
    ],
)
def test_what_is_killed_or_revived_is_a_service_or_a_zone(words: list[str], zones: int, expected: list[str] | str) -> None:
    settings = Settings(zones=zones)
    if isinstance(expected, list):
        assert commands._named(settings, words) == expected
    else:
        with pytest.raises(Problem, match=expected):
            commands._named(settings, words)


def test_a_region_is_killed_as_a_whole_and_nobody_is_left_there_to_notice() -> None:
    settings = Settings(regions=2)
    assert (found := commands._named(settings, ["region", "west"])) == ["consul4", "agent2", "balancer2"]
    assert not commands._consul_lives(settings, "agent2", found)
    assert commands._consul_lives(settings, "agent2", ["agent2"]) and commands._consul_lives(settings, "agent1", found)
    for words, message in ((["region", "north"], "there is no region north"), (["zone", "a"], "has no zones")):
        with pytest.raises(Problem, match=message):
            commands._named(settings, words)
    with pytest.raises(Problem, match="has no regions"):
        commands._named(Settings(), ["region", "west"])


def test_the_status_shows_who_is_in_which_zone_and_who_is_down() -> None:
    found = [container(service, "2026-01-01T10:00:00Z") for service in ("agent1", "agent2", "agent3", "balancer1")]
    assert report.place_lines(Settings(zones=2), found) == [
        "  zone a: agent1, agent3, balancer1",
        "  zone b: agent2, balancer2 (down)",
    ]
    assert report.place_lines(Settings(), found) == []


def test_a_power_cut_hits_all_at_once_and_hosts_are_back_before_what_shares_their_network(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found = [container(service, "2026-01-01T10:00:00Z") for service in ("agent1", "consul-agent2", "agent2", "balancer2")]
    ran: list[list[str]] = []
    monkeypatch.setattr(cluster, "containers", lambda project: found)
    monkeypatch.setattr(cluster, "workers", lambda settings, hosts: [])
    monkeypatch.setattr(cluster, "run", lambda command, **_: ran.append(command))
    for one in found:
        one.id = one.service
    names = {f"eratos-{service}-1" for service in ("consul-agent2", "agent2", "balancer2")}
    assert set(cluster.kill(Settings(zones=2), ["agent2", "balancer2"])) == names
    assert ran == [["docker", "kill", "consul-agent2", "agent2", "balancer2"]]
    for one in found[1:]:
        one.state = "exited"
    ran.clear()
    assert set(cluster.revive(Settings(zones=2), ["agent2", "balancer2"])) == names
    assert ran == [["docker", "start", service] for service in ("agent2", "balancer2", "consul-agent2")]


def test_six_agents_have_every_combination_of_rack_and_zone() -> None:
    assert len({attributes(number) for number in range(1, 7)}) == 6


def container(service: str, started_at: str, state: str = "running") -> Container:
    return Container(
        name=f"eratos-{service}-1", service=service, state=state, health="", exit_code=0, started_at=started_at, restarts=0
    )


def test_a_consul_agent_older_than_its_host_is_stranded() -> None:
    found = [
        container("agent1", "2026-01-01T10:00:00Z"),
        container("consul-agent1", "2026-01-01T09:00:00Z"),
        container("agent2", "2026-01-01T09:00:00Z"),
        container("consul-agent2", "2026-01-01T09:00:01Z"),
        container("agent3", "2026-01-01T10:00:00Z"),
        container("consul-agent3", "2026-01-01T09:00:00Z", "exited"),
    ]
    assert [one.service for one in stranded(found)] == ["consul-agent1"]


def test_workers_of_before_their_hosts_boot_or_without_a_host_are_lost_with_it() -> None:
    found = [container("agent1", "2026-01-01T10:00:00Z"), container("agent2", "2026-01-01T10:00:00Z", "exited")]
    workers = [
        container("c-agent1", "2026-01-01T10:00:01Z"),
        container("c-agent1", "0001-01-01T00:00:00Z", "created"),  # just being started
        container("c-agent1", "2026-01-01T09:00:00Z", "exited"),  # kept for its log
        lost := container("c-agent1", "2026-01-01T09:59:59Z"),
        without_power := container("c-agent2", "2026-01-01T11:00:00Z"),
        without_host := container("c-agent3", "2026-01-01T11:00:00Z"),
    ]
    assert outlived("c", found, workers) == [lost, without_power, without_host]


def test_only_consul_agents_have_a_host() -> None:
    assert [host_of(name) for name in ("consul-agent12", "consul-balancer1", "consul1", "agent1")] == [
        "agent12",
        "balancer1",
        "",
        "",
    ]


def test_an_entry_of_docker_inspect_is_read() -> None:
    entry: dict[str, Any] = {
        "Id": "abc",
        "Name": "/eratos-agent1-1",
        "RestartCount": 2,
        "Config": {"Labels": {cluster.SERVICE_LABEL: "agent1"}},
        "State": {"Status": "exited", "ExitCode": 137, "StartedAt": "2026-01-01T00:00:00Z"},
    }
    parsed = parse_container(entry)
    assert (parsed.name, parsed.service, parsed.running, parsed.exit_code) == ("eratos-agent1-1", "agent1", False, 137)
    assert (parsed.health, parsed.restarts) == ("", 2)
    entry["HostConfig"] = {"NetworkMode": "container:def"}
    entry["NetworkSettings"] = {"Networks": {"eratos_default": {"NetworkID": "n1", "IPAddress": "10.0.7.101"}}}
    parsed = parse_container(entry)
    assert (parsed.network_mode, parsed.networks) == ("container:def", {"eratos_default": Attachment("n1", "10.0.7.101")})


def test_troubles_name_missing_stopped_and_unhealthy_services() -> None:
    settings = Settings(agents=1, balancers=1)
    found = [container(service, "2026-01-01T00:00:00Z") for service in settings.services() if service != "master1"]
    by_service = {one.service: one for one in found}
    by_service["agent1"].state = "exited"
    by_service["consul2"].health = "unhealthy"
    assert report.container_troubles(settings, found) == [
        "master1 is missing",
        "consul2 is unhealthy",
        "agent1 is exited (exit code 0)",
    ]


def test_a_part_that_is_cut_off_is_named() -> None:
    settings = Settings(agents=1, balancers=1)
    found = [container(service, "2026-01-01T00:00:00Z") for service in settings.services()]
    for one in found:
        one.network_mode = "container:h1" if host_of(one.service) else "eratos_default"
        one.networks = {} if host_of(one.service) or one.service == "agent1" else {"eratos_default": Attachment("n1", "10.0.7.1")}
    assert report.container_troubles(settings, found) == ["agent1 is cut off from the network"]


def test_a_line_of_ps_has_80_columns_at_most() -> None:
    worker = Container(
        name="eratos-prime.instance-303385bd-5dac-4f3b-83b0-759df5d25bc8._app.1",
        service="eratos-agent1",
        state="running",
        health="",
        exit_code=0,
        started_at="",
        restarts=0,
    )
    assert report.container_line(worker, 12.6).split() == ["eratos-agent1", "running", "13", "MiB", "prime.303385bd.1"]
    unwell = Container("eratos-consul-balancer10-1", "consul-balancer10", "running", "unhealthy", 0, "", 0)
    crashing = Container("eratos-consul-balancer10-1", "consul-balancer10", "restarting", "", 137, "", 0)
    for line in (report.container_line(worker, 12.6), report.container_line(unwell, 1234), report.container_line(crashing, None)):
        assert len(line) <= 80, line


@pytest.mark.parametrize(
    ("name", "short"),
    [
        ("eratos-shop_cart.instance-6f1c0a52-8a0e-4d5b-9f0e-2f4f4f1d7c11._app.12", "shop_cart.6f1c0a52.12"),
        ("eratos-agent1-1", "eratos-agent1-1"),
    ],
)
def test_workers_are_called_as_the_eratos_command_calls_their_tasks(name: str, short: str) -> None:
    assert cluster.short_name(name) == short


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load(COMPOSE_FILE.read_text())
    return loaded


def test_every_published_port_binds_this_machine_only_and_can_be_moved(compose: dict[str, Any]) -> None:
    published = [port for service in compose["services"].values() for port in service.get("ports", [])]
    variables = set()
    for port in published:
        match = re.fullmatch(r"127\.0\.0\.1:\$\{(ERATOS_\w+_PORT):-\d+\}:\d+", port)
        assert match, port
        variables.add(match[1])
    assert variables == set(Settings(observe=True, registry=True).published())


def test_addresses_are_fixed_and_different_and_leave_room_for_further_hosts(compose: dict[str, Any]) -> None:
    addresses = {
        name: service["networks"]["default"]["ipv4_address"]
        for name, service in compose["services"].items()
        if "networks" in service
    }
    assert set(addresses) == {name for name in Settings().services() if not host_of(name)}
    for name, address in addresses.items():
        match = re.fullmatch(r"\$\{ERATOS_NETWORK:-10\.87\.213\}\.(\d+)", address)
        assert match, name
        number, kind = int(match[1]), name.rstrip("0123456789")
        assert {"agent": range(101, 151), "balancer": range(41, 51)}.get(kind, range(10, 40)).index(number) >= 0
        assert number < 192, "the upper quarter is for addresses that Docker chooses"
    assert len(set(addresses.values())) == len(addresses)


def test_every_part_keeps_its_address_and_knows_all_others_without_the_engine(compose: dict[str, Any]) -> None:
    parts = {name: service for name, service in compose["services"].items() if "networks" in service}
    addresses = {f"{name}:{service['networks']['default']['ipv4_address']}" for name, service in parts.items()}
    for name, service in parts.items():
        assert set(service["extra_hosts"]) == addresses, name
        assert service["hostname"] == name, "a part finds its own address by its host name"
        assert service["cap_add"] == ["NET_ADMIN"], name


def test_the_compose_file_and_dev_know_the_same_services(compose: dict[str, Any]) -> None:
    with_containers = {name for name, service in compose["services"].items() if service.get("deploy") != {"replicas": 0}}
    assert with_containers == set(Settings(observe=True, registry=True).services())


def test_a_host_that_joins_knows_zookeeper_and_consul_by_their_addresses(compose: dict[str, Any]) -> None:
    joining = yaml.safe_load((COMPOSE_FOLDER / "joining.yaml").read_text())["services"]
    assert all(compose["services"][name]["environment"] for name in joining)
    told = {name: value for service in joining.values() for name, value in service["environment"].items()}
    found = {text: re.findall(r"\}\.(\d+)", told[text]) for text in ("MESOS_MASTER", "CONSUL_SERVERS")}
    assert found == {"MESOS_MASTER": ["10"], "CONSUL_SERVERS": ["21", "22", "23"]}
    for name, number in (("zookeeper", 10), ("consul1", 21), ("consul2", 22), ("consul3", 23)):
        assert compose["services"][name]["networks"]["default"]["ipv4_address"].endswith(f".{number}")
    assert told["MESOS_HOSTNAME"] == told["CONSUL_NODE"] != "agent1"


def test_racks_and_zones_of_the_compose_file_follow_the_rule_for_further_agents(compose: dict[str, Any]) -> None:
    for number in (1, 2, 3):
        assert compose["services"][f"agent{number}"]["environment"]["MESOS_ATTRIBUTES"] == attributes(number)


def test_every_image_is_built_once_by_dev_and_compose_alike_from_a_stage_of_the_dockerfile(compose: dict[str, Any]) -> None:
    stages = re.findall(r"^FROM \S+ AS (\S+)$", (COMPOSE_FOLDER / "Dockerfile").read_text(), re.MULTILINE)
    services = {name: service for name, service in compose["services"].items() if "bench" not in service.get("profiles", ())}
    assert {service["build"]["target"] for service in compose["services"].values() if "build" in service} <= set(stages)
    built = {name: service for name, service in services.items() if "build" in service}
    assert set(built) == {*images.BUILT, "prometheus", "registry"}
    named = [*images.IMAGES, "prometheus", "registry"]
    assert sorted(service["image"] for service in built.values()) == sorted(f"eratos/{name}" for name in named)
    assert {service["image"] for service in services.values()} == {service["image"] for service in built.values()}


def test_the_dockerfile_needs_no_image_but_debian_and_the_published_consul() -> None:
    text = (COMPOSE_FOLDER / "Dockerfile").read_text()
    stages = set(re.findall(r"^FROM \S+ AS (\S+)$", text, re.MULTILINE))
    sources = set(re.findall(r"^FROM (\S+)", text, re.MULTILINE)) | set(re.findall(r"COPY --from=(\S+)", text))
    defaults = re.findall(r"^ARG (?:BASE|CONSUL_IMAGE)=(\S+)$", text, re.MULTILINE)
    sources = (sources - {"${BASE}", "${CONSUL_IMAGE}"}) | set(defaults)
    foreign = {source for source in sources - stages if not source.startswith("consul-${")}
    # scratch is no image, but the lack of one.
    assert foreign == {"scratch", "debian:trixie-slim", "hashicorp/consul:1.22.2", "hashicorp/consul-template:0.41.1"}
    assert "syntax=" not in "".join(line for line in text.splitlines()[:1])


def test_what_the_dockerfile_copies_passes_into_the_build() -> None:
    copied = re.findall(r"^COPY (?!--from)(?:--\S+ )*(.+) \S+$", (COMPOSE_FILE.parent / "Dockerfile").read_text(), re.MULTILINE)
    wanted = {source for sources in copied for source in sources.split()}
    passing = set(re.findall(r"^!(\S+)$", (COMPOSE_FOLDER.parent / ".dockerignore").read_text(), re.MULTILINE))
    assert wanted and not [source for source in wanted if not any(f"{source}/".startswith(f"{one}/") for one in passing)]


def test_restart_policy_and_log_limits_hold_for_every_service(compose: dict[str, Any]) -> None:
    for name in Settings(observe=True, registry=True).services():
        service = compose["services"][name]
        assert service["restart"] == "unless-stopped", name
        assert "max-size" in service["logging"]["options"], name


def test_volumes_of_workers_are_those_on_the_disks_of_this_clusters_hosts() -> None:
    found = ["eratos-agent1_db", "eratos-agent12_db", "eratos_agent1", "eratos-test-agent1_db", "db", "x-eratos-agent1_db"]
    assert cluster.worker_volumes(Settings(), found) == ["eratos-agent1_db", "eratos-agent12_db"]
    assert cluster.worker_volumes(Settings(project="eratos-test"), found) == ["eratos-test-agent1_db"]


def test_each_host_of_the_compose_file_has_a_network_inside_that_docker_puts_after_the_clusters_own() -> None:
    config = yaml.safe_load(COMPOSE_FILE.read_text())
    for agent in ("agent1", "agent2", "agent3"):
        service, number = config["services"][agent], agent.removeprefix("agent")
        assert set(service["networks"]) == {"default", f"docker0-{agent}"}
        # Its first interface, its way out, and the address that Consul takes are those of the first network by name.
        assert min(service["networks"]) == "default"
        gateway = service["environment"]["ERATOS_HOST_DNS"]
        assert gateway.endswith(f".{number}.2")
        [addresses] = config["networks"][f"docker0-{agent}"]["ipam"]["config"]
        assert addresses["aux_addresses"] == {"DefaultGatewayIPv4": gateway}
        assert addresses["subnet"] == gateway.removesuffix(".2") + ".0/24"
        assert service["environment"]["ERATOS_HOST_BRIDGE"] == f"${{ERATOS_PROJECT:-eratos}}_docker0-{agent}"


#: Stages of the Dockerfile: name -> what each is made from, and its instructions.
STAGES = {
    name: (source, body)
    for source, name, body in re.findall(
        r"^FROM (\S+) AS (\S+)\n(.*?)(?=^FROM |\Z)", (COMPOSE_FOLDER / "Dockerfile").read_text(), re.MULTILINE | re.DOTALL
    )
}
#: Those that images are made of; tests of the load generator leave none behind that anybody uses.
MADE = sorted(set(re.findall(r"target: ([\w-]+)", COMPOSE_FILE.read_text())) - {"load-test"})
#: Images that are root, each with a row in docs/security.md that says why.
ROOT_IMAGES = {"agent", "chaos"}


@pytest.mark.parametrize("name", MADE)
def test_an_image_says_what_it_is(name: str) -> None:
    body = STAGES[name][1]
    labels = dict(re.findall(r"org\.opencontainers\.image\.(\w+)=(\S+|\"[^\"]+\")(?: \\)?$", body, re.MULTILINE))
    assert {"title", "description", "version"} <= set(labels) <= {"title", "description", "version", "licenses"}
    assert labels["version"] == "$VERSION" and "\nARG VERSION\n" in f"\n{body}"
    # Last, so that a new version builds no layer anew.
    assert not re.search(r"^(RUN|COPY|ENV) ", body.partition("\nLABEL ")[2], re.MULTILINE)
    # Consul's licence depends on which one the user has chosen.
    assert ("licenses" in labels) == (name != "consul")


def test_the_version_of_images_is_that_of_the_package(compose: dict[str, Any]) -> None:
    built = [service["build"]["args"]["VERSION"] for service in compose["services"].values() if "build" in service]
    assert set(built) == {"${ERATOS_VERSION:-unknown}"}
    assert cluster.Compose(Settings()).env["ERATOS_VERSION"] == version.current()


@pytest.mark.parametrize("name", MADE)
def test_an_image_is_root_only_where_it_must_be(name: str) -> None:
    users, at = [], name
    while at in STAGES:
        source, body = STAGES[at]
        users += re.findall(r"^USER (\S+)$", body, re.MULTILINE)
        at = source
    assert bool(users) == (name not in ROOT_IMAGES) and not {"root", "0"} & set(users)
    page = (COMPOSE_FOLDER.parent / "docs" / "security.md").read_text()
    assert (f"| `eratos/{name}` |" in page) == (name in ROOT_IMAGES)
