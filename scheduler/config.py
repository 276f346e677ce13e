"""What the command line asks for, and the settings: from flags and then from the environment (``--http-port`` is
``ERATOS_HTTP_PORT``), read once.

All problems are reported together. Nothing else in the package reads flags or the environment.
"""

from __future__ import annotations

import argparse
import dataclasses
import re
import socket
import ssl
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from eratos.common import log, names
from eratos.common.addresses import is_loopback, sent_in_clear
from eratos.common.errors import PermanentError
from eratos.common.routing import DATACENTER
from eratos.common.secret_file import loose, secret
from eratos.marathon import ids

from . import marathon_flags
from .access.policy import DEFAULT_FETCH_FOLDERS
from .access.tunnel_limits import KINDS, NONE
from .store.zookeeper_client import ZookeeperTls

WEEK_S = 7 * 24 * 3600.0
#: Settings that matter to the commands for the store.
FOR_STORE = ("zk", "zk_ca_file", "zk_cert_file", "zk_clear", "store", "log_level", "log_format")


class BadConfig(PermanentError):
    """One line per problem, each naming the flag and the fix."""


def _setting(default: Any, help_text: str, kind: Callable[[str], Any] = str, *, secret: bool = False) -> Any:
    return field(default=default, metadata={"help": help_text, "kind": kind}, repr=not secret)


def _yes(text: str) -> bool:
    try:
        return {"true": True, "false": False}[text.lower()]
    except KeyError:
        raise ValueError from None


_KINDS = {int: "a whole number", float: "a number", _yes: "true or false"}


#: What apps without ``acceptedResourceRoles`` may take, in Marathon's words.
ACCEPTED = ("any", "unreserved", "reserved")
#: Other data centers that one name may try: each that has nobody costs whoever asks its way there and back.
NEAREST_MOST = 10


@dataclass(frozen=True)
class Config:
    """Settings of one scheduler process, listed in docs/configuration.md. The help texts say unit and meaning."""

    master: str = _setting("", "the Mesos masters: zk://host:port,.../mesos, or host:port of one; https://host:port for TLS")
    master_scheme: str = _setting("http", "http or https: how to speak to masters found through zk://, which does not say")
    master_ca_file: str = _setting("", "file with the authorities of the masters' certificates; default: the system's")
    zk: str = _setting("", "zk://[user:password@]host:port,.../path for the store and the election of a leader", secret=True)
    zk_ca_file: str = _setting("", "file with the authorities of ZooKeeper's certificates; speaks TLS with the servers of --zk")
    zk_cert_file: str = _setting("", "file with a certificate and its key, where ZooKeeper asks for one")
    zk_clear: bool = _setting(False, "true: send the user and password of --zk without TLS, though others may read them", _yes)
    store: str = _setting("", "instead of --zk, for one scheduler alone: sqlite:///path/to/file, or memory:", secret=True)
    consul: str = _setting("http://127.0.0.1:8500", "Consul as this process reaches it; several with commas between")
    consul_datacenters: str = _setting(
        "", "further Consul data centers, beside that Consul's own, with agents; several with commas"
    )
    consul_query_nearest: int = _setting(0, "other data centers that name.query.consul tries at most; 0: no prepared query", int)
    executor_consul: str = _setting("http://127.0.0.1:8500", "the Consul agent of each agent's host, as its executor reaches it")
    executor_http_port: int = _setting(names.EXECUTOR_PORT, "port where executors serve logs, on each agent's host", int)
    consul_token_file: str = _setting("", "file with the ACL token for --consul; executors read their own host's")
    consul_ca_file: str = _setting("", "file with the authorities of that Consul's certificate; default: the public ones")
    consul_cert_file: str = _setting("", "file with a certificate and its key, where that Consul asks for one")
    http_host: str = _setting("", "address that the API listens on; default: 127.0.0.1 with --store, to be stated with --zk")
    http_port: int = _setting(8080, "port that the API listens on", int)
    http_hosts: str = _setting("", "comma-separated host names by which the API may be called besides its own; .example.com: all")
    http_origins: str = _setting("", "comma-separated origins whose pages may use the API, such as https://ui.example.com")
    http_credentials: str = _setting(
        "",
        "user:password of one user with every right, as Marathon's; in the environment ps does not show it",
        secret=True,
    )
    http_credentials_file: str = _setting("", "file with who may do what with the API; eratos-scheduler user makes its lines")
    http_cert_file: str = _setting("", "file with the API's certificate, those above it, and its key; the API then speaks https")
    http_client_ca_file: str = _setting("", "file with authorities: clients of the API must show a certificate of one of them")
    http_ca_file: str = _setting("", "file with the authorities of the other schedulers' certificates; default: the system's")
    http_open: bool = _setting(False, "true: answer everybody who reaches the API, also where that is not this host alone", _yes)
    framework_key_file: str = _setting(
        "", "file with a secret of 32 random characters or more, the same on all schedulers; default: one made in the store"
    )
    http_rate: float = _setting(500.0, "requests a second of one address in the long run, ten times that at once; 0: any", float)
    http_connections: int = _setting(1000, "connections to the API at the same time, at most", int)
    tunnels: str = _setting(
        ",".join(KINDS), "what the API carries into instances: exec, commands; forward, connections; both, or none"
    )
    tunnel_idle_s: float = _setting(1800.0, "seconds without any data after which such a tunnel is ended", float)
    exec_sessions: int = _setting(20, "commands in instances at the same time, at most", int)
    forward_connections: int = _setting(200, "forwarded connections at the same time, at most", int)
    advertise_url: str = _setting("", "URL under which other schedulers reach this one's API; default: hostname and --http-port")
    framework_name: str = _setting("eratos", "name of the framework in Mesos")
    role: str = _setting("*", "Mesos role to get offers for")
    group_roles: str = _setting(
        "",
        "comma-separated names of top-level groups whose apps may have Mesos' role of that name: dev,shop",
    )
    new_group_enforce_role: str = _setting(
        "off", "top: new top-level groups enforce their role unless they say otherwise, and it must be one of --group-roles; off"
    )
    accepted_resource_roles_default_behavior: str = _setting(
        "any", "what apps without acceptedResourceRoles take: unreserved resources, those reserved for their role, or any"
    )
    gpus: bool = _setting(False, "true: take offers of agents with GPUs, for apps with gpus; other apps go there last", _yes)
    user: str = _setting("root", "user that executors run as; must be able to use the Docker socket")
    principal: str = _setting("", "principal for framework authentication and basic authentication at the master")
    master_clear: bool = _setting(False, "true: send the principal's secret to masters without TLS as well", _yes)
    master_hosts: str = _setting(
        "", "comma-separated hosts to which a redirection may take the principal's secret, besides those of --master"
    )
    secret_file: str = _setting("", "file with the principal's secret")
    failover_timeout_s: float = _setting(WEEK_S, "how long Mesos keeps the tasks while no scheduler is there", float)
    placement: str = _setting("spread", "spread over zones and hosts, or pack onto few hosts, where an app says nothing")
    launch_limit: int = _setting(2000, "launches that no executor has answered yet, at most", int)
    launch_confirm_timeout_s: float = _setting(
        300.0, "seconds in which an executor must answer a launch, before that is given up and tried on another host", float
    )
    launch_timeout_s: float = _setting(
        1800.0,
        "seconds without news of a start, such as the pull of an image, after which it is given up; each news begins them anew",
        float,
    )
    deployment_deadline_s: float = _setting(
        1800.0, "seconds without progress after which a deployment ends as failed, unless an app of it says otherwise", float
    )
    instances_limit: int = _setting(
        100_000, "instances of all apps together, at most: each takes memory and time of the one that leads", int
    )
    local_port_min: int = _setting(10_000, "least of the service ports that ports get which state none", int)
    local_port_max: int = _setting(20_000, "greatest of the service ports that ports get which state none", int)
    maintenance_lead_s: float = _setting(300.0, "how long before its scheduled maintenance a host is emptied", float)
    brake_share: float = _setting(
        0.2, "share of hosts or tasks whose loss within a minute stops launches and kills until most are back; 0: never", float
    )
    rebalance_budget: int = _setting(0, "instances that may move at a time to even out the spread of apps at rest; 0: none", int)
    policy: str = _setting("basic", "what apps may ask for: basic refuses what nobody needs, strict what makes them mighty")
    fetch_folders: str = _setting(
        ",".join(DEFAULT_FETCH_FOLDERS), "comma-separated folders and files of agents' hosts that apps may fetch from"
    )
    allow_private_fetch: bool = _setting(False, "strict policy: true lets apps fetch from private networks, hosts included", _yes)
    allow_privileged: bool = _setting(False, "strict policy: true allows privileged containers", _yes)
    allow_parameters: str = _setting("", "strict policy: comma-separated Docker parameters that apps may use as well")
    allow_host_paths: str = _setting("", "strict policy: comma-separated folders of agents' hosts that apps may mount")
    allow_volumes: str = _setting("", "strict policy: comma-separated Docker volumes that apps may mount; db-*: all such")
    allow_volume_drivers: str = _setting(
        "", "strict policy: comma-separated drivers of Docker volumes that apps may name, such as rexray, or local:nfs for mounts"
    )
    allow_networks: str = _setting("", "strict policy: comma-separated Docker networks that apps may join; team-*: all such")
    allow_secrets: str = _setting("", "strict policy: comma-separated secrets that apps of any group may use; shared/*: all such")
    allow_root_processes: bool = _setting(False, "strict policy: true lets apps without a container run as root", _yes)
    executor_command: str = _setting("eratos-executor", "command that starts the executor on an agent")
    executor_uris: str = _setting("", "comma-separated URIs for the agent's fetcher, where the executor is not preinstalled")
    executor_cpus: float = _setting(0.1, "CPUs that each executor takes on its agent", float)
    executor_mem_mib: int = _setting(64, "MiB that each executor takes on its agent", int)
    executor_disk_mib: int = _setting(
        16, "MiB of disk that each executor takes on its agent; 0 for agents without, which then launch one task at a time", int
    )
    log_level: str = _setting("INFO", "DEBUG, INFO, WARNING or ERROR")
    log_format: str = _setting("text", "how lines of the log are written: text, or json, an object a line")

    @property
    def url(self) -> str:
        """The API's URL for other schedulers and users."""
        return self.advertise_url or f"{'https' if self.http_cert_file else 'http'}://{socket.gethostname()}:{self.http_port}"

    @property
    def hostname(self) -> str:
        """The host of the API's URL, as Mesos' pages and ``/v2/info`` show it."""
        return urlsplit(self.url).hostname or ""

    def zk_tls(self) -> ZookeeperTls | None:
        """Return how to speak TLS with ZooKeeper, or None."""
        return ZookeeperTls(self.zk_ca_file, self.zk_cert_file) if self.zk_ca_file else None

    @property
    def hosts(self) -> tuple[str, ...]:
        """Further names of the API."""
        return parts(self.http_hosts)

    @property
    def origins(self) -> tuple[str, ...]:
        return parts(self.http_origins)

    @property
    def store_url(self) -> str:
        return self.zk or self.store

    def secret(self) -> str:
        """Return the principal's secret, or "" where there is none. Raises BadConfig when the file cannot be read."""
        return _read(self.secret_file, "--secret-file")

    def consul_token(self) -> str:
        """Return Consul's ACL token, or "" where there is none. Raises BadConfig when the file cannot be read."""
        return _read(self.consul_token_file, "--consul-token-file")

    def master_tls(self) -> ssl.SSLContext | None:
        """Return what masters' certificates are checked with; None: the system's authorities. Raises BadConfig."""
        if not self.master_ca_file:
            return None
        try:
            return ssl.create_default_context(cafile=self.master_ca_file)
        except (OSError, ssl.SSLError) as error:
            raise BadConfig(f"--master-ca-file: {self.master_ca_file} holds no certificates in PEM form: {error}") from error

    @property
    def roles(self) -> tuple[str, ...]:
        """All Mesos roles, that of apps which state none first."""
        return self.role, *parts(self.group_roles)

    @property
    def accepts(self) -> str:
        """Which resources apps take that say nothing of it: ``reserved`` or ``unreserved`` ones, empty for either."""
        usual = self.accepted_resource_roles_default_behavior
        return "" if usual == "any" else usual

    @property
    def consul_urls(self) -> tuple[str, ...]:
        return parts(self.consul)

    @property
    def datacenters(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(parts(self.consul_datacenters)))

    @property
    def clear_consul(self) -> tuple[str, ...]:
        """The addresses of Consul at which its token could be read on the way."""
        return tuple(filter(sent_in_clear, self.consul_urls)) if self.consul_token_file else ()


@dataclass(frozen=True)
class Invocation:
    """One call of ``eratos-scheduler``."""

    config: Config
    command: str = ""  #: ``backup``, ``restore``, ``companions-key`` or ``user``; empty to run the scheduler
    file: str = ""
    replace: bool = False
    name: str = ""  #: whom ``user`` makes a line for
    kind: str = ""
    roles: tuple[str, ...] = ()


def read(argv: Sequence[str], environ: Mapping[str, str]) -> Invocation:
    """Read command and settings. Raises BadConfig with all problems; ``--help`` prints and exits."""
    translated, problems = marathon_flags.translated(argv)
    if problems:
        raise BadConfig("\n".join(problems))  # what would follow from flags that are left out is no news
    given = vars(_parser().parse_args(translated))
    values: dict[str, Any] = {}
    for item in dataclasses.fields(Config):
        flag, variable = "--" + item.name.replace("_", "-"), "ERATOS_" + item.name.upper()
        text = given.get(item.name, environ.get(variable))
        if text is None or text == "":
            continue
        try:
            values[item.name] = item.metadata["kind"](text)
        except ValueError:
            problems.append(f"{flag} (or {variable}): {text!r} is not {_KINDS[item.metadata['kind']]}")
    config, command = Config(**values), given["command"] or ""
    if command == "user":
        return Invocation(config, command, name=given["name"], kind=given["kind"], roles=tuple(given["roles"]))
    if command == "companions-key" and config.framework_key_file:
        return Invocation(config, command)  # it comes of that file alone, whatever store there is
    problems += _problems_of_all(config)
    problems += _problems_to_run(config) if not command else _problems_to_keep(config)
    if problems:
        raise BadConfig("\n".join(problems))
    return Invocation(config, command, given.get("file", ""), given.get("replace", False))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="eratos-scheduler",
        parents=[_flags()],
        description="The scheduler of eratos, a Mesos framework. Without a command it runs.",
        epilog="Each flag can be given in the environment instead: --http-port as ERATOS_HTTP_PORT. Marathon's flags that mean "
        "the same are taken, such as --mesos_role; of its others the refusal says what there is instead.",
    )
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", title="commands")
    backup = commands.add_parser(
        "backup",
        parents=[_flags(shown=FOR_STORE)],
        help="write the whole store to a file",
        description="Write the whole store to a file. A running scheduler is not disturbed.",
        epilog="The scheduler's other flags are allowed and say nothing here.",
    )
    backup.add_argument("file", metavar="FILE", help="file to write, - for standard output")
    restore = commands.add_parser(
        "restore",
        parents=[_flags(shown=FOR_STORE)],
        help="fill the store from a backup",
        description="Fill the store from a backup, while no scheduler runs.",
        epilog="The scheduler's other flags are allowed and say nothing here.",
    )
    restore.add_argument("file", metavar="FILE", help="file to read, - for standard input")
    restore.add_argument("--replace", action="store_true", help="put the backup in place of what the store holds")
    commands.add_parser(
        "companions-key",
        parents=[_flags(shown=(*FOR_STORE, "framework_key_file"))],
        help="print the key that balancers' companions know executors by",
        description="Print the key for ERATOS_COMPANION_KEY_FILE of the framework's balancers. A running scheduler is not "
        "disturbed; one has to have started before, unless --framework-key-file is given.",
        epilog="The scheduler's other flags are allowed and say nothing here.",
    )
    user = commands.add_parser(
        "user",
        help="make a line of the credentials file",
        description="Print the line of a user for --http-credentials-file. A new token is shown once, on standard error; "
        "a password is asked for.",
        epilog="Example: eratos-scheduler user ci token deploy:/shop view:/ >> credentials",
    )
    user.add_argument("name", metavar="NAME", help="whom it is for")
    user.add_argument("kind", choices=("token", "password"), help="tokens for programs, passwords for people")
    user.add_argument("roles", metavar="ROLE", nargs="+", help="view, deploy or operate, each with :/path for apps below it")
    return parser


def _flags(shown: Collection[str] = ()) -> argparse.ArgumentParser:
    """Return all settings as flags, with help for those ``shown`` (default: all)."""
    # SUPPRESS keeps a command from hiding with its defaults what was given before the command.
    parser = argparse.ArgumentParser(add_help=False, argument_default=argparse.SUPPRESS)
    for item in dataclasses.fields(Config):
        flag = "--" + item.name.replace("_", "-")
        default = "" if item.default in ("", None) else f" (default: {item.default})"
        text = item.metadata["help"] + default if not shown or item.name in shown else argparse.SUPPRESS
        parser.add_argument(flag, dest=item.name, metavar="VALUE", help=text)
    return parser


def _problems_of_all(config: Config) -> list[str]:
    found = []
    if config.zk and config.store:
        found.append("--zk and --store: give one of them; --zk for several schedulers, --store for one alone")
    elif not config.store_url:
        found.append(
            "--zk (or ERATOS_ZK): missing; give zk://host:port/eratos, or --store sqlite:///path for one scheduler alone"
        )
    elif config.zk and not config.zk.startswith("zk://"):
        found.append("--zk: must begin with zk://, as in zk://zk1:2181,zk2:2181/eratos")
    if config.zk.startswith("zk://") and "@" in config.zk and not (config.zk_ca_file or config.zk_clear):
        place = config.zk.removeprefix("zk://").partition("/")[0].rpartition("@")[2]
        if not all(is_loopback(host.rpartition(":")[0] or host) for host in place.split(",")):
            found.append(
                "--zk: user and password would be readable on the way: --zk-ca-file speaks TLS, "
                "--zk-clear true sends them all the same"
            )
    if config.zk_cert_file and not config.zk_ca_file:
        found.append("--zk-cert-file: needs --zk-ca-file")
    for flag, path in (("--zk-ca-file", config.zk_ca_file), ("--zk-cert-file", config.zk_cert_file)):
        if path and not Path(path).is_file():
            found.append(f"{flag}: {path} is no readable file")
        elif flag == "--zk-cert-file" and path and (problem := loose(Path(path).stat().st_mode)):
            found.append(f"{flag}: {path} holds a secret, and {problem}")
    if config.log_level.upper() not in ("DEBUG", "INFO", "WARNING", "ERROR"):
        found.append(f"--log-level: {config.log_level!r} is none of DEBUG, INFO, WARNING, ERROR")
    if config.log_format not in log.FORMATS:
        found.append(f"--log-format: {config.log_format!r} is none of {', '.join(log.FORMATS)}")
    return found


def _problems_to_run(config: Config) -> list[str]:
    about = (_about_mesos, _about_decisions, _about_the_api, _about_executors, _about_files, _about_consul)
    return [problem for find in about for problem in find(config)]


def _about_mesos(config: Config) -> Iterator[str]:
    yield from _about_roles(config)
    if not config.master:
        yield "--master (or ERATOS_MASTER): missing; give zk://host:port/mesos, or host:port of one master"
    elif config.master.startswith("zk://") and not re.match(r"^zk://[^/]+/.+", config.master):
        yield "--master: a zk:// URL ends in the masters' path, as in zk://zk1:2181,zk2:2181/mesos"
    if config.master_scheme not in ("http", "https"):
        yield f"--master-scheme: {config.master_scheme!r} is neither http nor https"
    try:
        config.master_tls()
    except BadConfig as error:
        yield str(error)
    if config.failover_timeout_s < 60:
        yield "--failover-timeout-s: below 60 a restart of the scheduler could end every task; a week is usual"
    if config.secret_file and not config.principal:
        yield "--secret-file: needs --principal"


def _about_roles(config: Config) -> Iterator[str]:
    if config.role != "*" and any(_is_no_role(part) for part in config.role.split("/")):
        yield f"--role: {config.role!r} is no role: no part between slashes may be empty, ., .., begin with - or hold blanks"
    for role in parts(config.group_roles):
        if not ids.is_name(role) or ids.reserved(role):
            yield f"--group-roles: {role!r} is no name that a top-level group can have"
        elif config.roles.count(role) > 1:
            yield f"--group-roles: {role} is there twice, or is the scheduler's own (--role): name it once"
    if config.new_group_enforce_role not in ("off", "top"):
        yield f"--new-group-enforce-role: {config.new_group_enforce_role!r} is neither off nor top"
    elif config.new_group_enforce_role == "top" and not parts(config.group_roles):
        yield "--new-group-enforce-role top: needs --group-roles, as no group could have a role of its own"
    if config.accepted_resource_roles_default_behavior not in ACCEPTED:
        found = config.accepted_resource_roles_default_behavior
        yield f"--accepted-resource-roles-default-behavior: {found!r} is none of {', '.join(ACCEPTED)}"


def _is_no_role(name: str) -> bool:
    """Return whether Mesos would refuse a role of this name (its docs/roles.md)."""
    return name in ("", ".", "..", "*") or name.startswith("-") or any(char.isspace() or char in "\x08\x7f" for char in name)


def _about_decisions(config: Config) -> Iterator[str]:
    if config.placement not in ("spread", "pack"):
        yield f"--placement: {config.placement!r} is neither spread nor pack"
    if config.policy not in ("basic", "strict"):
        yield f"--policy: {config.policy!r} is neither basic nor strict"
    if config.launch_limit < 1:
        yield "--launch-limit: at least 1, or nothing is ever launched"
    if config.launch_confirm_timeout_s < 60 or config.launch_timeout_s < 60:
        yield "--launch-confirm-timeout-s and --launch-timeout-s: at least 60: executors and images take their time"
    if config.instances_limit < 1:
        yield "--instances-limit: at least 1, or no app can run"
    if not 0 < config.local_port_min <= config.local_port_max < 65536:
        yield "--local-port-min and --local-port-max: ports from 1 to 65535, the least first"
    if config.deployment_deadline_s < 10:
        yield "--deployment-deadline-s: at least 10: instances take their time to become ready"
    if config.maintenance_lead_s < 0 or config.rebalance_budget < 0:
        yield "--maintenance-lead-s and --rebalance-budget: not below 0"
    if not 0 <= config.brake_share <= 1:
        yield "--brake-share: a share, from 0 (never) to 1"


def _about_the_api(config: Config) -> Iterator[str]:
    for flag, port in (("--http-port", config.http_port), ("--executor-http-port", config.executor_http_port)):
        if not 0 < port < 65536:
            yield f"{flag}: {port} is no port; give one from 1 to 65535"
    if config.advertise_url and not re.match(r"^https?://[^/\s]+/?$", config.advertise_url):
        yield f"--advertise-url: {config.advertise_url!r} is no address like http://scheduler1:8080"
    if config.http_rate < 0 or config.http_connections < 10:
        yield "--http-rate and --http-connections: not below 0, and at least 10: the schedulers' own take some"
    if not set(parts(config.tunnels)) <= set(KINDS) and config.tunnels != NONE:
        yield f"--tunnels: {config.tunnels!r} must be one or both of {','.join(KINDS)}, or {NONE}"
    if config.tunnel_idle_s < 10 or config.exec_sessions < 1 or config.forward_connections < 1:
        yield "--tunnel-idle-s, --exec-sessions and --forward-connections: at least 10, 1 and 1; --tunnels none has none"
    name, colon, password = config.http_credentials.partition(":")
    if config.http_credentials and not (name and colon and password):
        yield "--http-credentials: must be user:password"
    for origin in config.origins:
        if origin != "*" and not re.match(r"^https?://[^/\s]+$", origin):
            yield f"--http-origins: {origin!r} is no origin like https://ui.example.com"
    for host in config.hosts:
        if not re.match(r"^\.?[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*$", host):
            yield f"--http-hosts: {host!r} is no host name; give names without ports, .example.com for all below one"
    if config.http_client_ca_file and not config.http_cert_file:
        yield "--http-client-ca-file: needs --http-cert-file: certificates are shown over TLS alone"
    if config.http_cert_file and config.advertise_url.startswith("http://"):
        yield "--advertise-url: must begin with https:// where --http-cert-file is given"


def _about_executors(config: Config) -> Iterator[str]:
    for flag, folders in (("--fetch-folders", config.fetch_folders), ("--allow-host-paths", config.allow_host_paths)):
        yield from (f"{flag}: {path!r} must begin with /" for path in parts(folders) if not path.startswith("/"))
    if "local" in parts(config.allow_volume_drivers):
        yield "--allow-volume-drivers: local needs no allowance, and what it mounts a type: give local:nfs, or another type"
    if config.executor_cpus < 0.01 or config.executor_mem_mib < 32:
        yield "--executor-cpus and --executor-mem-mib: at least 0.01 and 32, or Mesos refuses the executor"
    if config.executor_disk_mib < 0:
        yield "--executor-disk-mib: not below 0"


def _about_files(config: Config) -> Iterator[str]:
    secrets = {"--secret-file": config.secret_file, "--consul-token-file": config.consul_token_file}
    secrets |= {"--framework-key-file": config.framework_key_file, "--consul-cert-file": config.consul_cert_file}
    secrets |= {"--http-cert-file": config.http_cert_file}
    others = {"--consul-ca-file": config.consul_ca_file, "--http-client-ca-file": config.http_client_ca_file}
    others |= {"--http-ca-file": config.http_ca_file}
    for flag, path in {**secrets, **others}.items():
        if path and not Path(path).is_file():
            yield f"{flag}: {path} is no readable file"
        elif path and flag in secrets and (problem := loose(Path(path).stat().st_mode)):
            yield f"{flag}: {path} holds a secret, and {problem}"


def _about_consul(config: Config) -> Iterator[str]:
    for flag, url in (*(("--consul", url) for url in config.consul_urls), ("--executor-consul", config.executor_consul)):
        if not re.match(r"^https?://[^/]+/?$", url):
            yield f"{flag}: {url!r} is no address like http://127.0.0.1:8500"
    if not 0 <= config.consul_query_nearest <= NEAREST_MOST:
        yield f"--consul-query-nearest: must be a number from 0 to {NEAREST_MOST}, not {config.consul_query_nearest}"
    for name in config.datacenters:
        if not re.fullmatch(DATACENTER, name):
            yield f"--consul-datacenters: {name!r} is no name of a Consul data center, such as dc2: small letters, digits, -, _"


def _problems_to_keep(config: Config) -> list[str]:
    if config.store.startswith("memory:"):
        return ["--store: memory: ends with its process and keeps nothing; give --zk, or --store sqlite:///path"]
    return []


def parts(text: str) -> tuple[str, ...]:
    """Return what stands between commas."""
    return tuple(part.strip() for part in text.split(",") if part.strip())


def _read(path: str, flag: str) -> str:
    if not path:
        return ""
    try:
        return secret(path, flag)
    except PermanentError as error:
        raise BadConfig(str(error)) from error
