"""Settings of the executor, read once: flags win over the environment. The MESOS_* variables come from the agent.

Called by ``__main__``; nothing else in the executor looks at the environment, the Mesos driver excepted.
"""

from __future__ import annotations

import argparse
import ipaddress
import re
import socket
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path

from eratos.common import names
from eratos.common.errors import FatalError, PermanentError
from eratos.common.log import FORMATS
from eratos.common.secret_file import secret

from .core.host import RUNTIMES

#: What programs need to find others and to speak the host's language.
_HANDED_ON = ("HOME", "LANG", "LANGUAGE", "LC_ALL", "LOGNAME", "PATH", "SHELL", "TMPDIR", "TZ", "USER")
_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR")


@dataclass(frozen=True, slots=True)
class Config:
    """All settings of one executor."""

    consul: str  #: URL of the host's own Consul agent
    consul_token: str = field(repr=False)  #: ACL token, empty for none
    exposed: bool  #: whether that token is where process tasks that run as root find it
    consul_ca_file: str  #: authorities of the agent's certificate, empty for the public ones
    consul_cert_file: str  #: certificate and key to show it, empty for none
    runtimes: tuple[str, ...]  #: what may run tasks: ``docker``, ``process`` or both
    docker_host: str  #: URL of the Docker daemon
    docker_config: str  #: file with logins to registries; empty: where docker login leaves it
    pull_stall_s: int  #: how long a pull of an image may bring next to nothing
    host_network: str  #: what "host network" means: ``host``, or ``container:<name>`` where a container plays the host
    host_bridge: str  #: Docker network of bridged containers where a container plays the host; empty: there are none then
    host_dns: str  #: address of the resolver that containers ask, empty for Docker's choice
    host: str  #: the host's name in container labels, one for each agent: a later executor finds this one's containers by it
    http_host: str  #: address to serve logs on
    http_port: int  #: and port, the one that the scheduler asks
    http_hosts: tuple[str, ...]  #: further names by which it may
    fetch_folders: tuple[str, ...]  #: of the host, that files may be fetched from; empty: the scheduler alone decides
    fetch_private: bool  #: whether servers in private networks may be fetched from
    fetch_proxy: str  #: proxy for all of it; empty: none
    fetch_ca_file: str  #: authorities of the servers that are fetched from; empty: the public ones
    secrets: str  #: folder or file with the apps' secrets; empty: there are none
    log_level: str
    log_format: str
    sandbox: Path  #: the executor's directory, below which processes get theirs
    variables: Mapping[str, str]  #: of the environment, handed on to processes: none that may hold a secret
    address: str  #: the agent's IP address, reported as the tasks' own with host networking; empty: not known

    def shown(self) -> dict[str, object]:
        """Return every setting for the log, secrets masked."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        proxy = re.sub(r"//[^/@]*@", "//***@", self.fetch_proxy)
        return values | {"consul_token": "***" if self.consul_token else "", "fetch_proxy": proxy}


def flags(environ: Mapping[str, str]) -> tuple[tuple[str, str, str], ...]:
    """Return each flag with its default and its help text; docs/configuration.md lists them."""
    endpoint = environ.get("MESOS_AGENT_ENDPOINT", "")
    return (
        ("consul", "http://127.0.0.1:8500", "URL of the Consul agent of this host"),
        ("consul-token", "", "Consul ACL token; better in a file, for ps or /proc show it here"),
        ("consul-token-file", "", "file with the Consul ACL token, for root alone"),
        ("consul-ca-file", "", "file with the authorities of that agent's certificate (default: the public ones)"),
        ("consul-cert-file", "", "file with a certificate and its key, where that agent asks for one"),
        ("runtimes", ",".join(RUNTIMES), "what runs tasks here: docker those with an image, process those without"),
        ("docker-host", "unix:///var/run/docker.sock", "URL of the Docker daemon"),
        ("docker-config", "", "file with logins to private registries (default: where docker login leaves it)"),
        ("pull-stall-s", "60", "seconds for which a pull may bring less than 64 KiB and finish nothing, before it is given up"),
        ("host-network", "host", "what host networking means: host, or container:<name> where a container plays the host"),
        ("host-bridge", "", "Docker network for bridged containers where a container plays the host"),
        ("host-dns", "", "address of a resolver for containers, one that knows Consul's names (default: Docker's choice)"),
        ("host", _host(endpoint), "name of this host in container labels, one for each agent"),
        ("http-host", "0.0.0.0", "address that the tasks' logs are served on"),
        ("http-port", str(names.EXECUTOR_PORT), "port that they are served on; set by the scheduler's --executor-http-port"),
        ("http-hosts", "", "further host names by which that may be called, with commas between"),
        (
            "fetch-folders",
            "",
            "folders of this host to fetch files from, with commas between (default: as the scheduler has it)",
        ),
        ("fetch-private", "true", "false: fetch from no server in a private network; set by the scheduler's --policy"),
        ("fetch-proxy", "", "URL of a proxy to fetch through (default: none, whatever the environment says)"),
        ("fetch-ca-file", environ.get("REQUESTS_CA_BUNDLE", ""), "file with authorities of servers to fetch from"),
        ("secrets", "", "folder with a file for each secret of apps, or a JSON file with all, for root alone"),
        ("log-level", "INFO", ", ".join(_LEVELS)),
        ("log-format", "text", "how lines of the log are written: text, or json, an object a line"),
    )


def read(arguments: Sequence[str], environ: Mapping[str, str]) -> Config:
    """Return the settings. Raises FatalError that names every problem at once."""
    endpoint = environ.get("MESOS_AGENT_ENDPOINT", "")
    parser = argparse.ArgumentParser(
        "eratos-executor", description="Runs tasks as Docker containers or as processes; a Mesos agent starts it."
    )
    for flag, default, text in flags(environ):
        variable = "ERATOS_" + flag.upper().replace("-", "_")
        shown = f" (default: {default})" if default else ""
        parser.add_argument(f"--{flag}", default=environ.get(variable) or default, help=f"{text} [{variable}]{shown}")
    given = parser.parse_args(arguments)
    problems = _problems(given)
    if given.consul_token_file and not problems:
        try:
            given.consul_token = secret(given.consul_token_file, "--consul-token-file")
        except PermanentError as error:
            problems.append(str(error))
    exposed = bool(given.consul_token) and not given.consul_token_file
    if problems:
        raise FatalError("; ".join(problems))
    values = vars(given) | {"http_port": int(given.http_port), "pull_stall_s": int(given.pull_stall_s)}
    del values["consul_token_file"]
    values["fetch_private"] = given.fetch_private == "true"
    for name in ("runtimes", "http_hosts", "fetch_folders"):
        values[name] = tuple(part.strip() for part in values[name].split(",") if part.strip())
    return Config(
        **values,
        exposed=exposed,
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
    about = (_about_consul, _about_files, _about_hosts, _about_fetching)
    problems = [problem for find in about for problem in find(given)]
    if given.log_level.upper() not in _LEVELS:
        problems.append(f"--log-level {given.log_level!r} must be one of {', '.join(_LEVELS)}")
    if given.log_format not in FORMATS:
        problems.append(f"--log-format {given.log_format!r} must be one of {', '.join(FORMATS)}")
    return problems


def _about_consul(given: argparse.Namespace) -> Iterator[str]:
    if not re.match(r"^https?://[^/]+", given.consul):
        yield f"--consul {given.consul!r} must be a URL such as http://127.0.0.1:8500"
    if given.consul_token and given.consul_token_file:
        yield "--consul-token and --consul-token-file: give one of them"


def _about_files(given: argparse.Namespace) -> Iterator[str]:
    files = {"--consul-ca-file": given.consul_ca_file, "--consul-cert-file": given.consul_cert_file}
    for flag, path in {**files, "--fetch-ca-file": given.fetch_ca_file}.items():
        if path and not Path(path).is_file():
            yield f"{flag}: {path} is no file"
    if given.secrets and not Path(given.secrets).exists():
        yield f"--secrets: {given.secrets} is neither a folder nor a file"


def _about_hosts(given: argparse.Namespace) -> Iterator[str]:
    if not given.runtimes or not set(given.runtimes.split(",")) <= set(RUNTIMES):
        yield f"--runtimes {given.runtimes!r} must be one or both of {','.join(RUNTIMES)}"
    if not re.match(r"^(unix|tcp|http|https)://.", given.docker_host):
        yield f"--docker-host {given.docker_host!r} must be a URL such as unix:///var/run/docker.sock"
    if not (given.pull_stall_s.isascii() and given.pull_stall_s.isdigit() and 0 < int(given.pull_stall_s) <= 86400):
        yield f"--pull-stall-s {given.pull_stall_s!r} must be a number of seconds from 1 to 86400"
    if given.host_network != "host" and not re.match(r"^container:.", given.host_network):
        yield f"--host-network {given.host_network!r} must be host or container:<name>"
    if given.host_network == "host" and given.host_bridge:
        yield f"--host-bridge {given.host_bridge!r} goes with --host-network container:<name>: on a real host Docker decides"
    if given.host_dns and not _is_address(given.host_dns):
        yield f"--host-dns {given.host_dns!r} must be an IP address"
    if not (given.http_port.isascii() and given.http_port.isdigit() and 0 < int(given.http_port) < 65536):
        yield f"--http-port {given.http_port!r} must be a port from 1 to 65535"


def _about_fetching(given: argparse.Namespace) -> Iterator[str]:
    if given.fetch_private not in ("true", "false"):
        yield f"--fetch-private {given.fetch_private!r} must be true or false"
    if given.fetch_proxy and not re.match(r"^https?://[^/]+/?$", given.fetch_proxy):
        yield "--fetch-proxy must be a URL such as http://proxy.example:3128"
    for folder in filter(None, given.fetch_folders.split(",")):
        if not folder.strip().startswith("/"):
            yield f"--fetch-folders {folder!r} must be a path that begins with /"
