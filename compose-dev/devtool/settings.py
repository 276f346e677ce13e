"""Which cluster is meant: the project, how many agents and balancers, which ports. Read once from options and environment.

What `up` was given is remembered for each project in .generated/, so that a later `./dev status` or `./dev up` without
options means the same cluster. What is given anew wins over what is remembered.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .terminal import Problem

ROOT = Path(__file__).resolve().parents[2]
COMPOSE_FOLDER = ROOT / "compose-dev"
COMPOSE_FILE = COMPOSE_FOLDER / "compose.yaml"
SECURE_FILE = COMPOSE_FOLDER / "secure.yaml"
GENERATED = COMPOSE_FOLDER / ".generated"

DEFAULT_PROJECT = "eratos"
DEFAULT_AGENTS = 3
DEFAULT_BALANCERS = 2
MOST_AGENTS = 50
MOST_BALANCERS = 10
#: Hosts are in them in turn, whether the balancers look at it or not; where there are regions, in turn within each.
ZONES = ("a", "b")
#: Hosts and balancers are in them in turn, where there are some. Each is a Consul data center of this name. What there is one
#: place of only, such as the Mesos masters, is in the first.
REGIONS = ("east", "west")
SCHEDULERS = 2
MASTERS = 2
CONSUL_SERVERS = 3
#: The one Consul server of the second region.
FAR_CONSUL = f"consul{CONSUL_SERVERS + 1}"

#: Where Debian's packages for the images come from, where not from the usual place.
MIRROR_VARIABLE = "ERATOS_DEBIAN_MIRROR"
#: Variables of compose.yaml that describe the cluster, and so are remembered with it.
_REMEMBERED = re.compile(
    r"ERATOS_(\w+_PORT|CONSUL_FROM|CONSUL_IMAGE|DEBIAN_MIRROR|AGENT_RESOURCES|DOCKER_SOCKET|NETWORK|BRIDGES|LOG_REQUESTS)"
)
#: First port of each numbered kind: balancer1 has 8000, balancer2 8001 and so on.
_FIRST_PORT = {"BALANCER": 8000, "STATS": 9090, "API": 8080, "MASTER": 5050, "CONSUL": 8500, "PROMETHEUS": 9190, "REGISTRY": 5000}
#: Kinds of which there is one, so that variables and services have no number.
_SINGLE = {"PROMETHEUS": "prometheus", "REGISTRY": "registry"}

#: Kinds of ports that listen with TLS where the cluster is secure.
WITH_TLS = ("API", "CONSUL")


def port_variable(kind: str, number: int) -> str:
    """Return the variable that moves a port; the first Consul server's has no number, as it was once the only one."""
    return f"ERATOS_{kind}_PORT" if kind in _SINGLE or (kind, number) == ("CONSUL", 1) else f"ERATOS_{kind}{number}_PORT"


@dataclass
class Settings:
    """One cluster."""

    project: str = DEFAULT_PROJECT
    agents: int = DEFAULT_AGENTS
    balancers: int = DEFAULT_BALANCERS
    variables: dict[str, str] = field(default_factory=dict)
    secure: bool = False  #: whether everybody is asked who they are (secure.yaml)
    zones: int = 0  #: in how many zones the balancers are, each preferring its own; 0: in none
    regions: int = 0  #: in how many regions the parts are; 0: in none
    observe: bool = False  #: whether Prometheus is part of it
    registry: bool = False  #: whether a registry for images is part of it

    def port(self, kind: str, number: int = 1) -> int:
        """Return the port on this machine of, for instance, ("BALANCER", 2); kinds are those of `_FIRST_PORT`."""
        return int(self.variables.get(port_variable(kind, number)) or _FIRST_PORT[kind] + number - 1)

    def url(self, kind: str, number: int = 1, path: str = "") -> str:
        """Return the address of a published port."""
        scheme = "https" if self.secure and kind in WITH_TLS else "http"
        return f"{scheme}://127.0.0.1:{self.port(kind, number)}{path}"

    def published(self) -> dict[str, tuple[str, int]]:
        """Return every published port: the variable that moves it -> (service, port)."""
        kinds = {
            "CONSUL": ("consul", CONSUL_SERVERS + bool(self.regions)),
            "BALANCER": ("balancer", self.balancers),
            "STATS": ("balancer", self.balancers),
            "API": ("scheduler", SCHEDULERS),
            "MASTER": ("master", MASTERS),
            "PROMETHEUS": ("prometheus", int(self.observe)),
            "REGISTRY": ("registry", int(self.registry)),
        }
        return {
            port_variable(kind, number): (_SINGLE.get(kind, f"{service}{number}"), self.port(kind, number))
            for kind, (service, count) in kinds.items()
            for number in range(1, count + 1)
        }

    def host(self, agent: int) -> str:
        """Return what the executor of an agent calls its host, in the label eratos.host of its workers' containers."""
        return f"{self.project}-agent{agent}"

    def zone(self, service: str) -> str:
        """Return the zone of a host or balancer of a cluster with zones, as services in Consul call it; "" of what is in none."""
        match = re.fullmatch(r"(?:agent|balancer)(\d+)", service)
        own = zone(int(match[1]), self.regions) if self.zones and match else ""
        return f"{self.region(service)}/{own}" if self.regions and own else own

    def region(self, service: str) -> str:
        """Return the region of a part of a cluster with regions, "" where there are none."""
        return region(service) if self.regions else ""

    @property
    def places(self) -> dict[str, dict[str, list[str]]]:
        """Return what a power cut may hit at once: zones and regions, by name, with their parts that have a network."""
        zones = list(ZONES) if self.zones else []
        if self.regions:
            zones = [f"{region}/{zone}" for region in REGIONS for zone in zones]
        parts = [service for service in self.services() if not re.match("consul-", service)]
        return {
            "zone": {zone: [part for part in parts if self.zone(part) == zone] for zone in zones},
            "region": {name: [part for part in parts if self.region(part) == name] for name in self.datacenters if name},
        }

    @property
    def datacenters(self) -> tuple[str, ...]:
        """Return Consul's data centers: one for each region, else one that nobody has to name."""
        return REGIONS if self.regions else ("",)

    def consul_servers(self, datacenter: str) -> range:
        """Return the numbers of a data center's Consul servers."""
        return range(CONSUL_SERVERS + 1, CONSUL_SERVERS + 2) if datacenter == REGIONS[1] else range(1, CONSUL_SERVERS + 1)

    def services(self) -> list[str]:
        """Return every compose service of this cluster that runs a container."""
        agents, balancers = range(1, self.agents + 1), range(1, self.balancers + 1)
        return [
            "zookeeper",
            *(f"master{n}" for n in range(1, MASTERS + 1)),
            *(f"consul{n}" for datacenter in self.datacenters for n in self.consul_servers(datacenter)),
            *(f"agent{n}" for n in agents),
            *(f"consul-agent{n}" for n in agents),
            *(f"balancer{n}" for n in balancers),
            *(f"consul-balancer{n}" for n in balancers),
            *(f"scheduler{n}" for n in range(1, SCHEDULERS + 1)),
            *(["prometheus"] if self.observe else []),
            *(["registry"] if self.registry else []),
        ]

    def consul_nodes(self, datacenter: str) -> set[str]:
        """Return the names of the Consul nodes of a data center."""
        hosts = {
            *(f"agent{n}" for n in range(1, self.agents + 1)),
            *(f"balancer{n}" for n in range(1, self.balancers + 1)),
        }
        servers = {f"consul{n}" for n in self.consul_servers(datacenter)}
        return servers | {host for host in hosts if self.region(host) == datacenter}

    def remember(self) -> None:
        """Store what was chosen, for later commands."""
        GENERATED.mkdir(parents=True, exist_ok=True)
        names = ("agents", "balancers", "zones", "regions", "variables", "secure", "observe", "registry")
        chosen = {name: getattr(self, name) for name in names}
        _memory(self.project).write_text(json.dumps(chosen, indent=2) + "\n")

    def forget(self) -> None:
        """Drop what was remembered: the next `up` begins with the defaults."""
        with_name = _memory(self.project)
        if with_name.exists():
            with_name.unlink()


def read_settings(
    environ: Mapping[str, str],
    agents: int | None = None,
    balancers: int | None = None,
    secure: bool = False,
    zones: int | None = None,
    regions: int | None = None,
    observe: bool | None = None,
    registry: bool | None = None,
) -> Settings:
    """Return the settings that options, environment and memory make together. Raise Problem where they are no good."""
    project = environ.get("ERATOS_PROJECT") or DEFAULT_PROJECT
    if not re.fullmatch(r"[a-z0-9][a-z0-9_-]*", project):
        raise Problem(
            f"ERATOS_PROJECT={project} is no project name", "use lower case letters, digits, - and _, for instance eratos-test"
        )
    remembered = _recall(project)
    given = {name: value for name, value in environ.items() if _REMEMBERED.fullmatch(name) and value}
    settings = Settings(
        project=project,
        agents=agents if agents is not None else int(remembered.get("agents", DEFAULT_AGENTS)),
        balancers=balancers if balancers is not None else int(remembered.get("balancers", DEFAULT_BALANCERS)),
        variables={**remembered.get("variables", {}), **given},
        secure=secure or bool(remembered.get("secure")),
        zones=zones if zones is not None else int(remembered.get("zones", 0)),
        regions=regions if regions is not None else int(remembered.get("regions", 0)),
        observe=bool(remembered.get("observe")) if observe is None else observe,
        registry=bool(remembered.get("registry")) if registry is None else registry,
    )
    if secure and remembered and not remembered.get("secure"):
        # What lies in its volumes was open to everybody.
        raise Problem(
            f"the cluster {project} was made without --secure",
            "begin anew: ./dev down --volumes; or make another beside it: ERATOS_PROJECT=eratos-secure and other ports",
        )
    if remembered and settings.regions != int(remembered.get("regions", 0)):
        # Mesos' agents keep their place, and Consul's nodes their data center, for as long as they have their disks.
        raise Problem(
            f"the cluster {project} was made with{'' if remembered.get('regions') else 'out'} regions, which does not change",
            "begin anew: ./dev down --volumes; or make another beside it: ERATOS_PROJECT=eratos-regions and other ports",
        )
    if settings.secure and settings.regions:
        raise Problem(
            "a secure cluster has no regions: certificates and tokens of --secure are made for one Consul data center",
            "leave --regions out; or make an open cluster beside it (compose-dev/README.md)",
        )
    if settings.secure and settings.registry:
        # It would take images of anybody on this machine, and hosts would run them.
        raise Problem(
            "the registry of --registry asks nobody who they are, so a secure cluster has none",
            "leave --registry out and name a registry of your own; or make an open cluster beside it (compose-dev/README.md)",
        )
    _check_count("--agents", settings.agents, MOST_AGENTS)
    _check_count("--balancers", settings.balancers, MOST_BALANCERS)
    if settings.zones not in (0, len(ZONES)):
        raise Problem(f"--zones {settings.zones} is not possible", f"choose {len(ZONES)}, or 0 for none")
    if settings.regions not in (0, len(REGIONS)):
        raise Problem(f"--regions {settings.regions} is not possible", f"choose {len(REGIONS)}, or 0 for none")
    if settings.regions and min(settings.agents, settings.balancers) < len(REGIONS):
        raise Problem(
            f"{settings.agents} agents and {settings.balancers} balancers are too few for {settings.regions} regions",
            f"choose {len(REGIONS)} or more of each",
        )
    _check_variables(settings)
    return settings


def zone(number: int, regions: int = 0) -> str:
    """Return the zone of the host or balancer with a number, within its region where there are some."""
    return ZONES[(number - 1) // (regions or 1) % len(ZONES)]


def region(service: str) -> str:
    """Return the region of a part where there are regions, by its name."""
    match = re.fullmatch(r"(?:consul-)?(?:agent|balancer)(\d+)", service)
    if match:
        return REGIONS[(int(match[1]) - 1) % len(REGIONS)]
    return REGIONS[service == FAR_CONSUL]


def _memory(project: str) -> Path:
    return GENERATED / f"{project}.json"


def _recall(project: str) -> dict[str, Any]:
    try:
        recalled = json.loads(_memory(project).read_text())
        return recalled if isinstance(recalled, dict) else {}
    except (FileNotFoundError, ValueError):
        # An interrupted run may have left half a file; the defaults are as good as any.
        return {}


def _check_count(option: str, count: int, most: int) -> None:
    if not 1 <= count <= most:
        raise Problem(f"{option} {count} is out of range", f"choose between 1 and {most}")


def _check_variables(settings: Settings) -> None:
    consul_from = settings.variables.get("ERATOS_CONSUL_FROM", "source")
    if consul_from not in ("source", "image"):
        raise Problem(
            f"ERATOS_CONSUL_FROM={consul_from} is unknown", "set it to source (compile) or image (published images), or unset it"
        )
    consul_image = settings.variables.get("ERATOS_CONSUL_IMAGE")
    if consul_image and consul_from != "image":
        raise Problem(
            f"ERATOS_CONSUL_IMAGE={consul_image} has no use while Consul is compiled",
            "set ERATOS_CONSUL_FROM=image as well, or set ERATOS_CONSUL_IMAGE to nothing",
        )
    mirror = settings.variables.get(MIRROR_VARIABLE, "")
    if mirror and not re.fullmatch(r"https?://[^\s/@]+(/[^\s@]*)?", mirror):
        # Not repeated: it may hold a password, which would stand in every image.
        raise Problem(
            f"{MIRROR_VARIABLE} is no address of packages that anybody may read",
            "give the folder with dists/ and pool/ by http or https and without a user, such as http://deb.debian.org/debian",
        )
    log_requests = settings.variables.get("ERATOS_LOG_REQUESTS", "failed")
    if log_requests not in ("failed", "all"):
        raise Problem(f"ERATOS_LOG_REQUESTS={log_requests} is unknown", "set it to failed or all, or unset it")
    for name, value in settings.variables.items():
        if name.endswith("_PORT") and not (value.isdigit() and 0 < int(value) < 65536):
            raise Problem(f"{name}={value} is no port", f"set {name} to a number from 1 to 65535")
    seen: dict[int, str] = {}
    for name, (_, port) in settings.published().items():
        if port in seen:
            raise Problem(
                f"{seen[port]} and {name} are both {port}", f"give {name} another number: {name}={port + 1000} ./dev up"
            )
        seen[port] = name
