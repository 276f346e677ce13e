"""Where the cluster's networks are: ranges that overlap neither another Docker network nor a route of this machine.

compose.yaml gives every container a fixed address in a /24, whose first three numbers it takes from ERATOS_NETWORK, and each
host a /24 inside for its containers with bridge networking, whose first two numbers it takes from ERATOS_BRIDGES: the third
is the host's own.
"""

from __future__ import annotations

import ipaddress
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from .settings import Settings
from .shell import run
from .terminal import Problem


@dataclass(frozen=True)
class Range:
    """A choice of addresses."""

    variable: str
    candidates: tuple[str, ...]  #: first numbers, in the order in which they are tried
    rest: str  #: what makes a network of them
    name: str  #: pattern of such networks' names, after the project's
    what: str

    @property
    def default(self) -> str:
        """Return what compose.yaml has."""
        return self.candidates[0]


#: The default, its neighbours, then another corner of the private addresses.
NETWORK = Range(
    "ERATOS_NETWORK",
    (*(f"10.87.{number}" for number in range(213, 253)), *(f"172.31.{number}" for number in range(200, 250))),
    ".0/24",
    "_default",
    "first three numbers",
)
#: Numbers up to 63 for the hosts.
BRIDGES = Range(
    "ERATOS_BRIDGES",
    (*(f"10.{number}" for number in range(86, 60, -1)), *(f"172.{number}" for number in range(30, 17, -1))),
    ".0.0/18",
    r"_docker0-agent\d+",
    "first two numbers",
)


def choose(settings: Settings, environ: Mapping[str, str]) -> None:
    """Set the variables for this cluster. A network that exists stays where it is; the environment is what the user asked for."""
    networks = _docker_networks()
    taken = [ipaddress.ip_network(subnet, strict=False) for subnets in networks.values() for subnet in subnets] + _routes()
    for kind in (NETWORK, BRIDGES):
        if existing := existing_numbers(kind, settings.project, networks):
            settings.variables[kind.variable] = existing
            continue
        given = environ.get(kind.variable, "")
        wanted = [given] if given else [settings.variables.get(kind.variable, kind.default), *kind.candidates]
        found = first_free(kind, wanted, taken)
        if not found:
            raise Problem(
                f"{given}{kind.rest} overlaps another network of this machine"
                if given
                else "no free network was found for the cluster",
                f"name {kind.what} that nothing here uses: {kind.variable}={_elsewhere(kind)} ./dev up",
            )
        settings.variables[kind.variable] = found
        taken.append(ipaddress.ip_network(f"{found}{kind.rest}"))


def existing_numbers(kind: Range, project: str, networks: Mapping[str, list[str]]) -> str:
    """Return the first numbers of a cluster's network that Docker has already, "" where it has none."""
    found = [subnets[0] for name, subnets in networks.items() if re.fullmatch(re.escape(project) + kind.name, name) and subnets]
    return ".".join(found[0].split(".")[: kind.default.count(".") + 1]) if found else ""


def first_free(kind: Range, wanted: Sequence[str], taken: Sequence[ipaddress.IPv4Network | ipaddress.IPv6Network]) -> str:
    """Return the first of the wanted numbers whose network overlaps nothing that is taken, "" where there is none."""
    for numbers in wanted:
        try:
            network = ipaddress.ip_network(f"{numbers}{kind.rest}")
        except ValueError:
            raise Problem(
                f"{kind.variable}={numbers} is no network", f"name its {kind.what}: {kind.variable}={kind.default}"
            ) from None
        if not any(network.version == other.version and network.overlaps(other) for other in taken):
            return numbers
    return ""


def _elsewhere(kind: Range) -> str:
    return ".".join(["192", "168", "213"][: kind.default.count(".") + 1])


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
