"""What a cluster has beyond compose.yaml, or otherwise: further agents and balancers, zones, regions.

Further parts are clones of the first of their kind, under their own names and with their own addresses.
"""

from __future__ import annotations

import json
import re
from typing import Any

from .settings import CONSUL_SERVERS, DEFAULT_AGENTS, DEFAULT_BALANCERS, FAR_CONSUL, MASTERS, REGIONS, Settings, zone

#: The last number of a Consul server's address is its own and this.
CONSUL_NUMBERS = 20


def needed(settings: Settings) -> bool:
    """Return whether a cluster differs from compose.yaml in anything but how many of its services it has."""
    return settings.agents > DEFAULT_AGENTS or settings.balancers > DEFAULT_BALANCERS or bool(settings.zones or settings.regions)


def services(config: dict[str, Any], settings: Settings) -> dict[str, Any]:
    """Return a compose file to be laid over compose.yaml. ``config`` is what compose makes of that."""
    described: dict[str, Any] = {}
    # Null, as in compose.yaml: volumes with no settings of their own.
    volumes: dict[str, None] = {}
    networks: dict[str, Any] = {}
    for number in range(DEFAULT_AGENTS + 1, settings.agents + 1):
        host = f"agent{number}"
        described[host] = _clone(config, "agent1", "agent1", host)
        volumes[host] = None
        described[host]["environment"]["MESOS_ATTRIBUTES"] = attributes(number)
        _move(described[host], host, 100 + number)
        networks[f"docker0-{host}"], described[host]["environment"]["ERATOS_HOST_DNS"] = _docker0(config, number)
        described[f"consul-{host}"] = _clone(config, "consul-agent1", "agent1", host)
    for number in range(DEFAULT_BALANCERS + 1, settings.balancers + 1):
        host = f"balancer{number}"
        described[host] = _clone(config, "balancer1", "balancer1", host)
        volumes[f"{host}-log"] = None
        described[f"consul-{host}"] = _clone(config, "consul-balancer1", "balancer1", host)
        _move(described[host], host, 40 + number)
        published = {8000: settings.port("BALANCER", number), 9090: settings.port("STATS", number)}
        for port in described[host]["ports"]:
            port["published"] = str(published[port["target"]])
    if settings.regions:
        volumes[FAR_CONSUL] = None
        described[FAR_CONSUL] = _far_consul(config, settings)
    for name, values in _places(config, settings).items():
        described.setdefault(name, {}).setdefault("environment", {}).update(values)
    return {"services": described, "volumes": volumes, "networks": networks}


def _places(config: dict[str, Any], settings: Settings) -> dict[str, dict[str, str]]:
    """Return the variables by which parts know which zone and region they are in, and what there is in others."""
    found: dict[str, dict[str, str]] = {}
    for number in range(1, settings.balancers + 1):
        if own := settings.zone(host := f"balancer{number}"):
            found[host] = {"ERATOS_ZONE": own, "ERATOS_ZONE_POLICY": "prefer"}
    if not settings.regions:
        return found
    for number in range(1, settings.agents + 1):
        place = {"MESOS_DOMAIN": _domain(settings.region(f"agent{number}"), zone(number, settings.regions))}
        found[f"agent{number}"] = place | {"MESOS_ATTRIBUTES": attributes(number, settings.regions)}
    # Masters without a place take no agents that have one.
    found |= {f"master{n}": {"MESOS_DOMAIN": _domain(REGIONS[0], zone(1))} for n in range(1, MASTERS + 1)}
    network = config["services"]["consul1"]["networks"]["default"]["ipv4_address"].rpartition(".")[0]
    consuls = {
        name: " ".join(f"{network}.{CONSUL_NUMBERS + number}" for number in settings.consul_servers(name))
        for name in settings.datacenters
    }
    for service in settings.services():
        here = settings.region(service)
        [elsewhere] = set(settings.datacenters) - {here}
        if re.fullmatch(r"balancer\d+", service):
            found.setdefault(service, {})["ERATOS_DATACENTERS"] = elsewhere
        elif re.fullmatch(r"scheduler\d+", service):
            found[service] = {"ERATOS_CONSUL_DATACENTERS": elsewhere}
        elif re.match(r"consul[-\d]", service):
            found[service] = {"CONSUL_DATACENTER": here, "CONSUL_SERVERS": consuls[here], "CONSUL_ELSEWHERE": consuls[elsewhere]}
    return found


def _domain(region: str, zone: str) -> str:
    """Return a fault domain as Mesos reads it."""
    return json.dumps({"fault_domain": {"region": {"name": region}, "zone": {"name": zone}}})


def _far_consul(config: dict[str, Any], settings: Settings) -> dict[str, Any]:
    clone = _clone(config, "consul1", "consul1", FAR_CONSUL)
    _move(clone, FAR_CONSUL, CONSUL_NUMBERS + CONSUL_SERVERS + 1)
    for port in clone["ports"]:
        port["published"] = str(settings.port("CONSUL", CONSUL_SERVERS + 1))
    return clone


def attributes(agent: int, regions: int = 0) -> str:
    """Return an agent's rack and zone: three racks and two zones in turn, so that six agents have every combination."""
    return f"rack:r{(agent - 1) % 3 + 1};zone:{zone(agent, regions)}"


def _clone(config: dict[str, Any], service: str, host: str, other_host: str) -> dict[str, Any]:
    """Return a service of the config for another host, whose name is replaced wherever it stands as a word of its own."""
    clone: dict[str, Any] = json.loads(re.sub(rf"\b{host}\b", other_host, json.dumps(config["services"][service])))
    # Built under the original's name; and never a second time.
    clone.pop("build", None)
    return clone


def _docker0(config: dict[str, Any], agent: int) -> tuple[dict[str, Any], str]:
    """Return the network inside another agent, whose number is the third of its addresses, and the agent's address there."""
    network = json.loads(re.sub(r"\bagent1\b", f"agent{agent}", json.dumps(config["networks"]["docker0-agent1"])))
    for part in network["ipam"]["config"]:
        part["subnet"] = _in_agent(part["subnet"], agent)
        part["aux_addresses"] = {name: _in_agent(address, agent) for name, address in part["aux_addresses"].items()}
    return network, _in_agent(config["services"]["agent1"]["environment"]["ERATOS_HOST_DNS"], agent)


def _in_agent(address: str, agent: int) -> str:
    first, second, _, last = address.split(".")
    return f"{first}.{second}.{agent}.{last}"


def _move(service: dict[str, Any], host: str, last_number: int) -> None:
    """Give a service an address of its own: the same network, another last number (compose.yaml has the pattern)."""
    network = service["networks"]["default"]
    network["ipv4_address"] = f"{network['ipv4_address'].rpartition('.')[0]}.{last_number}"
    others = [line for line in service.get("extra_hosts", ()) if re.split("[=:]", line)[0] != host]
    service["extra_hosts"] = [*others, f"{host}={network['ipv4_address']}"]
