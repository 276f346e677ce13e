"""Settings of the executor, read once: flags win over the environment. The MESOS_* variables come from the agent.

Called by ``__main__``; nothing else in the executor looks at the environment, the Mesos driver excepted.
"""

from __future__ import annotations

import argparse
import ipaddress
import re
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path

from eratos.common import names
from eratos.common.errors import FatalError

from .core.host import RUNTIMES

#: What programs need to find others and to speak the host's language.
_HANDED_ON = ("HOME", "LANG", "LANGUAGE", "LC_ALL", "LOGNAME", "PATH", "SHELL", "TMPDIR", "TZ", "USER")
_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR")


@dataclass(frozen=True, slots=True)
class Config:
    """All settings of one executor."""

    consul: str  #: URL of the host's own Consul agent
    consul_token: str  #: ACL token, empty for none
    consul_ca_file: str  #: authorities of the agent's certificate, empty for the public ones
    consul_cert_file: str  #: certificate and key to show it, empty for none
    runtimes: tuple[str, ...]  #: what may run tasks: ``docker``, ``process`` or both
    docker_host: str  #: URL of the Docker daemon
    docker_config: str  #: file with logins to registries; empty: where docker login leaves it
    host_network: str  #: what "host network" means: ``host``, or ``container:<name>`` where a container plays the host
    host_bridge: str  #: Docker network of bridged containers where a container plays the host; empty: there are none then
    host_dns: str  #: address of the resolver that they ask, empty for Docker's choice
    host: str  #: the host's name in container labels, one for each agent: a later executor finds this one's containers by it
    http_host: str  #: address to serve logs on
    http_port: int  #: and port, the one that the scheduler asks
    log_level: str
    sandbox: Path  #: the executor's directory, below which processes get theirs
    variables: Mapping[str, str]  #: of the environment, handed on to processes: none that may hold a secret
    address: str  #: the agent's IP address, reported as the tasks' own with host networking; empty: not known

    def shown(self) -> dict[str, object]:
        """Return every setting for the log, secrets masked."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return values | {"consul_token": "***" if self.consul_token else ""}


def read(arguments: Sequence[str], environ: Mapping[str, str]) -> Config:
    """Return the settings. Raises FatalError that names every problem at once."""
    endpoint = environ.get("MESOS_AGENT_ENDPOINT", "")
    parser = argparse.ArgumentParser("eratos-executor", description="Runs tasks as Docker containers; started by a Mesos agent.")
    for flag, default, text in (
        ("consul", "http://127.0.0.1:8500", "URL of the Consul agent of this host"),
        ("consul-token", "", "Consul ACL token; better given as ERATOS_CONSUL_TOKEN, where ps does not show it"),
        ("consul-ca-file", "", "file with the authorities of that agent's certificate (default: the public ones)"),
        ("consul-cert-file", "", "file with a certificate and its key, where that agent asks for one"),
        ("runtimes", ",".join(RUNTIMES), "what runs tasks here: docker those with an image, process those without"),
        ("docker-host", "unix:///var/run/docker.sock", "URL of the Docker daemon"),
        ("docker-config", "", "file with logins to private registries (default: where docker login leaves it)"),
        ("host-network", "host", "what host networking means: host, or container:<name> where a container plays the host"),
        ("host-bridge", "", "Docker network for bridged containers where a container plays the host"),
        ("host-dns", "", "address of the resolver that those ask (default: Docker's choice)"),
        ("host", _host(endpoint), "name of this host in container labels, one for each agent"),
        ("http-host", "0.0.0.0", "address that the tasks' logs are served on"),
        ("http-port", str(names.EXECUTOR_PORT), "port that they are served on; set by the scheduler's --executor-http-port"),
        ("log-level", "INFO", ", ".join(_LEVELS)),
    ):
        variable = "ERATOS_" + flag.upper().replace("-", "_")
        shown = f" (default: {default})" if default else ""
        parser.add_argument(f"--{flag}", default=environ.get(variable) or default, help=f"{text} [{variable}]{shown}")
    given = parser.parse_args(arguments)
    problems = _problems(given)
    if problems:
        raise FatalError("; ".join(problems))
    return Config(
        **vars(given) | {"http_port": int(given.http_port), "runtimes": tuple(given.runtimes.split(","))},
        sandbox=Path(environ.get("MESOS_SANDBOX") or Path.cwd()),  # where an agent starts its executors
        variables={name: environ[name] for name in _HANDED_ON if name in environ},
        address=endpoint.rpartition(":")[0],
    )


def _host(agent_endpoint: str) -> str:
    """Return the default: two agents of one machine must not take each other's containers for left-overs."""
    port = agent_endpoint.rpartition(":")[2]
    return socket.gethostname() + (f":{port}" if port not in ("", "5051") else "")


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def _problems(given: argparse.Namespace) -> list[str]:
    problems = []
    if not re.match(r"^https?://[^/]+", given.consul):
        problems.append(f"--consul {given.consul!r} must be a URL such as http://127.0.0.1:8500")
    for flag, path in (("--consul-ca-file", given.consul_ca_file), ("--consul-cert-file", given.consul_cert_file)):
        if path and not Path(path).is_file():
            problems.append(f"{flag}: {path} is no file")
    if not given.runtimes or not set(given.runtimes.split(",")) <= set(RUNTIMES):
        problems.append(f"--runtimes {given.runtimes!r} must be one or both of {','.join(RUNTIMES)}")
    if not re.match(r"^(unix|tcp|http|https)://.", given.docker_host):
        problems.append(f"--docker-host {given.docker_host!r} must be a URL such as unix:///var/run/docker.sock")
    if given.host_network != "host" and not re.match(r"^container:.", given.host_network):
        problems.append(f"--host-network {given.host_network!r} must be host or container:<name>")
    if given.host_network == "host":
        for flag, value in (("--host-bridge", given.host_bridge), ("--host-dns", given.host_dns)):
            if value:
                problems.append(f"{flag} {value!r} goes with --host-network container:<name>: on a real host Docker decides")
    if given.host_dns and not _is_address(given.host_dns):
        problems.append(f"--host-dns {given.host_dns!r} must be an IP address")
    if not (given.http_port.isascii() and given.http_port.isdigit() and 0 < int(given.http_port) < 65536):
        problems.append(f"--http-port {given.http_port!r} must be a port from 1 to 65535")
    if given.log_level.upper() not in _LEVELS:
        problems.append(f"--log-level {given.log_level!r} must be one of {', '.join(_LEVELS)}")
    return problems
