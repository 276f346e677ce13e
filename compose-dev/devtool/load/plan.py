"""What the load generator is asked for: where requests go, whose answers are right, and how many there are when.

A load goes to apps of this cluster and to addresses of this machine, and nowhere else.
"""

from __future__ import annotations

import ipaddress
import re
import socket
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from .. import cluster, fleet, health, rotation, web
from ..settings import Settings
from ..terminal import Problem

#: In a balancer's container.
HTTP_PORT = 8000
#: Requests under way at a time: more means that nothing answers any more, and then more load only breaks the generator.
UNDER_WAY = 2000
TIMEOUT_S = 30.0
#: Ends only when it is asked to.
ENDLESS_S = 86400.0

_DURATION = re.compile(r"(\d+(?:\.\d+)?)(s|m|h|)")
_SECONDS = {"": 1, "s": 1, "m": 60, "h": 3600}


@dataclass(frozen=True)
class Target:
    """One way in, such as a balancer."""

    name: str
    url: str  #: without a path


@dataclass(frozen=True)
class Aim:
    """Where a load goes."""

    what: str  #: for people
    targets: tuple[Target, ...]
    network: str  #: of Docker, in which the generator reaches the targets
    host: str = ""  #: of the Host header; "": the target's own
    path: str = "/"
    instance: str = ""  #: what the name of whoever answers begins with; "": nothing is known about it
    named: bool = False  #: all that answer rightly have a name


@dataclass(frozen=True)
class Shape:
    """How a load is. Rates are requests a second."""

    rate: float = 50.0
    seconds: float = ENDLESS_S
    ramp_s: float = 0.0  #: in which the rate rises from 0, beforehand
    keep_alive: float = 0.5  #: share of the requests that use kept connections
    clients: int = 0  #: instead of a rate: so many ask as fast as they get answers
    method: str = "GET"
    http2: bool = False
    timeout_s: float = TIMEOUT_S
    under_way: int = UNDER_WAY
    websockets: int = 0
    websocket_path: str = "/"
    long: int = 0
    long_path: str = "/"
    headers: dict[str, str] = field(default_factory=dict)


def seconds(option: str, text: str) -> float:
    """Return a duration such as 90, 90s, 1.5m or 1h in seconds. Raise Problem for anything else, and for 0."""
    match = _DURATION.fullmatch(text)
    found = float(match[1]) * _SECONDS[match[2]] if match else 0.0
    if not 0 < found <= ENDLESS_S:
        raise Problem(f"{option} {text} is no duration", f"choose more than 0 and at most a day: {option} 90s (or 2m, 1h)")
    return found


def check(shape: Shape) -> None:
    """Raise Problem for a load that makes no sense."""
    if not shape.clients and not 0 < shape.rate <= 1_000_000:
        raise Problem(f"--rate {shape.rate:g} is out of range", "choose more than 0 requests a second: --rate 50")
    if not 0 <= shape.keep_alive <= 1:
        raise Problem(f"--keep-alive {shape.keep_alive:g} is no share", "choose from 0 (none) to 1 (all): --keep-alive 0.5")
    if not 0 < shape.timeout_s <= 600:
        raise Problem(f"--timeout {shape.timeout_s:g} is out of range", "choose more than 0 and up to 600 seconds")
    for option, count in (("--websockets", shape.websockets), ("--long", shape.long)):
        if count < 0:
            raise Problem(f"{option} {count} is out of range", "choose 0 or more")
    if shape.under_way < 1:
        raise Problem(f"--connections {shape.under_way} is out of range", "choose 1 or more")
    for option, path in (("--websocket-path", shape.websocket_path), ("--long-path", shape.long_path)):
        check_path(option, path)


def check_path(option: str, path: str) -> None:
    """Raise Problem for what is no path of a request."""
    if not re.fullmatch(r"/[!-~]*", path):
        raise Problem(f"{option} {path} is no path", "begin with / and encode what is no plain character: /search?q=a%20b")


def stages(shape: Shape) -> list[dict[str, float]]:
    """Return the generator's stages: a ramp, and then the rate."""
    steady = {"seconds": shape.seconds, "from": shape.rate, "to": shape.rate}
    return [{"seconds": shape.ramp_s, "from": 0.0, "to": shape.rate}, steady] if shape.ramp_s else [steady]


def plan(aim: Aim, shape: Shape) -> dict[str, Any]:
    """Return the generator's plan."""
    # HTTP/2 has no single connections; and nobody may send a POST twice, as clients do when a kept connection is just closed.
    keep_alive = 1.0 if shape.http2 else shape.keep_alive if shape.method == "GET" else 0.0
    return {
        "targets": [{"name": target.name, "url": target.url} for target in aim.targets],
        "host": aim.host,
        "method": shape.method,
        "path": aim.path,
        "headers": shape.headers,
        "stages": stages(shape),
        "keep_alive": keep_alive,
        "clients": shape.clients,
        "http2": shape.http2,
        "timeout_s": shape.timeout_s,
        "under_way": shape.clients or shape.under_way,
        "instance": aim.instance,
        "named": aim.named,
        "websockets": {"count": shape.websockets, "path": shape.websocket_path},
        "long": {"count": shape.long, "path": shape.long_path},
    }


def instance_prefix(app_id: str) -> str:
    """Return what the names of an app's instances begin with, as they give them in the header X-Instance: their task's id."""
    return app_id.strip("/").replace("/", "_") + ".instance-"


def at_app(settings: Settings, app_id: str, path: str = "") -> Aim:
    """Aim at an app through every balancer that serves it. Raise Problem where none does."""
    app_id = "/" + app_id.strip("/")
    if fleet.app(settings, app_id) is None:
        names = ", ".join(found["id"] for found in fleet.apps(settings)) or "none"
        raise Problem(f"there is no app {app_id}", f"these are there: {names}; or name a URL of this machine")
    served = [number for number, count in enumerate(rotation.look(settings).counts(app_id), 1) if count.served and count.servers]
    if not served:
        raise Problem(f"no balancer has an instance of {app_id} in rotation", "./dev status shows why; ./dev scale makes more")
    host, route = _route(settings, app_id)
    addresses = balancer_addresses(settings)
    targets = tuple(
        Target(f"balancer{number}", f"http://{addresses[f'balancer{number}']}:{HTTP_PORT}")
        for number in served
        if f"balancer{number}" in addresses
    )
    through = ", ".join(target.name for target in targets)
    network = f"{settings.project}_default"
    return Aim(f"{app_id} through {through}", targets, network, host, path or route, instance_prefix(app_id))


def balancer_addresses(settings: Settings) -> dict[str, str]:
    """Return the address of each running balancer on the cluster's network: published ports cost a process of Docker's own."""
    network = f"{settings.project}_default"
    return {
        container.service: container.networks[network].address
        for container in cluster.containers(settings.project)
        if re.fullmatch(r"balancer\d+", container.service) and container.networks.get(network) and container.running
    }


def _route(settings: Settings, app_id: str) -> tuple[str, str]:
    """Return the host name ("": any) and the path of an app's first route, by what its instances have in Consul."""
    name = re.sub(r"[^0-9A-Za-z-]+", "-", app_id.strip("/"))
    try:
        answers = health.consul_everywhere(settings, f"/v1/health/service/{name}?passing")
    except web.Unanswered as error:
        raise Problem(f"Consul does not know the route of {app_id}: {error}", "./dev status, then ./dev up") from None
    metas = [entry["Service"].get("Meta") or {} for entries in answers for entry in entries]
    if any(meta.get("haproxy-mode") == "tcp" for meta in metas):
        raise Problem(f"{app_id} is a TCP service", "a load makes HTTP requests: name an app with an HTTP route")
    keys = sorted({key for meta in metas for key in rotation.route_keys(meta)})
    if not keys:
        raise Problem(f"no instance of {app_id} is ready", "./dev status shows why")
    host, _, path = keys[0].partition("/")
    return host.replace("*", "load"), "/" + path.rstrip("/")


def at_url(settings: Settings, url: str) -> Aim:
    """Aim at a URL of this machine. Raise Problem for any other one."""
    try:
        split = urlsplit(url)
        port = split.port or {"http": 80, "https": 443}.get(split.scheme, 0)
    except ValueError as error:
        raise Problem(f"{url} is no URL: {error}", "name one of this machine: http://127.0.0.1:8000/") from None
    if not split.hostname or not port:
        raise Problem(f"{url} is no HTTP URL", "name one of this machine, http://127.0.0.1:8000/, or an app: /prime")
    if split.username is not None or split.password is not None:
        raise Problem("the URL has a user name or password in it", "leave it out: everybody here can read arguments")
    path = (split.path or "/") + (f"?{split.query}" if split.query else "")
    check_path("the URL's path", path)
    address = _own_address(split.hostname, cluster_addresses(settings))
    at = f"[{address}]" if ":" in address else address
    name = f"{at}:{port}"
    return Aim(url, (Target(name, f"{split.scheme}://{name}"),), "host", split.netloc, path)


def cluster_addresses(settings: Settings) -> set[str]:
    """Return the addresses of this cluster's containers, which are on this machine, too."""
    found = cluster.containers(settings.project)
    return {attached.address for one in found for attached in one.networks.values() if attached.address}


def _own_address(host: str, of_cluster: Iterable[str]) -> str:
    """Return the address behind a host name. Raise Problem unless every one of its addresses is of this machine."""
    try:
        found = sorted({str(entry[4][0]) for entry in socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)})
    except OSError as error:
        raise Problem(f"{host} is no name or address: {error}", "name a URL of this machine: http://127.0.0.1:8000/") from None
    for address in found:
        if address not in of_cluster and not is_own(address):
            raise Problem(
                f"{host} is {address}, which is not this machine",
                "a load goes to this machine alone: name an app of the cluster (/prime), or http://127.0.0.1:PORT/",
            )
    # IPv4 first, as balancers listen there in any case.
    return min(found, key=lambda address: (":" in address, address))


def is_own(address: str) -> bool:
    """Return whether an IP address is one of this machine."""
    ip = ipaddress.ip_address(address.partition("%")[0])
    if ip.is_loopback:
        return True
    if ip.is_unspecified or ip.is_multicast or ip.is_reserved or address == "255.255.255.255":
        return False
    with socket.socket(socket.AF_INET6 if ip.version == 6 else socket.AF_INET, socket.SOCK_STREAM) as probe:
        try:
            probe.bind((address, 0))
        except OSError:
            return False
    return True
