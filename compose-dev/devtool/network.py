"""Where the cluster's network is: a /24 that overlaps neither another Docker network nor a route of this machine.

compose.yaml gives every container a fixed address in it, and takes the first three numbers from ERATOS_NETWORK.
"""

from __future__ import annotations

import ipaddress
import json
from pathlib import Path

from .settings import Settings
from .shell import run
from .terminal import Problem

VARIABLE = "ERATOS_NETWORK"
DEFAULT = "10.87.213"
#: Tried in this order: the default, its neighbours, then another corner of the private addresses.
CANDIDATES = [*(f"10.87.{number}" for number in range(213, 253)), *(f"172.31.{number}" for number in range(200, 250))]


def choose(settings: Settings, given: str = "") -> None:
    """Set ERATOS_NETWORK for this cluster. A network that exists stays where it is; `given` is what the user asked for."""
    networks = _docker_networks()
    existing = networks.pop(f"{settings.project}_default", [])
    if existing:
        settings.variables[VARIABLE] = existing[0].partition("/")[0].rpartition(".")[0]
        return
    taken = [ipaddress.ip_network(subnet, strict=False) for subnets in networks.values() for subnet in subnets] + _routes()
    wanted = [given] if given else [settings.variables.get(VARIABLE, DEFAULT), *CANDIDATES]
    found = first_free(wanted, taken)
    if not found:
        raise Problem(
            f"{given}.0/24 overlaps another network of this machine" if given else "no free network was found for the cluster",
            f"name three numbers that nothing here uses: {VARIABLE}=192.168.213 ./dev up",
        )
    settings.variables[VARIABLE] = found


def first_free(wanted: list[str], taken: list[ipaddress.IPv4Network | ipaddress.IPv6Network]) -> str:
    """Return the first of the wanted prefixes whose /24 overlaps nothing that is taken, "" where there is none."""
    for prefix in wanted:
        try:
            network = ipaddress.ip_network(f"{prefix}.0/24")
        except ValueError:
            raise Problem(f"{VARIABLE}={prefix} is no network", f"name its first three numbers: {VARIABLE}={DEFAULT}") from None
        if not any(network.version == other.version and network.overlaps(other) for other in taken):
            return prefix
    return ""


def _docker_networks() -> dict[str, list[str]]:
    """Return the subnets of Docker's networks, by name."""
    ids = run(["docker", "network", "ls", "-q"]).split()
    entries = json.loads(run(["docker", "network", "inspect", *ids], check=False) or "[]") if ids else []
    return {
        entry["Name"]: [part["Subnet"] for part in (entry["IPAM"]["Config"] or []) if part.get("Subnet")] for entry in entries
    }


def _routes() -> list[ipaddress.IPv4Network | ipaddress.IPv6Network]:
    """Return the networks that this machine has routes to, the default route excepted; on macOS Docker has its own machine."""
    try:
        lines = Path("/proc/net/route").read_text().splitlines()[1:]
    except FileNotFoundError:
        return []
    return [network for network in (parse_route(line) for line in lines) if network.prefixlen > 0]


def parse_route(line: str) -> ipaddress.IPv4Network:
    """Return the network of a line of /proc/net/route, whose fields 1 and 7 are destination and mask in reversed bytes."""
    fields = line.split()
    address, mask = (ipaddress.IPv4Address(bytes.fromhex(fields[index])[::-1]) for index in (1, 7))
    return ipaddress.IPv4Network(f"{address}/{mask}", strict=False)
