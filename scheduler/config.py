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
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from eratos.common import names
from eratos.common.errors import PermanentError

WEEK_S = 7 * 24 * 3600.0
#: Settings that matter to the commands for the store.
FOR_STORE = ("zk", "store", "log_level")


class BadConfig(PermanentError):
    """One line per problem, each naming the flag and the fix."""


def _setting(default: Any, help_text: str, kind: type = str, *, secret: bool = False) -> Any:
    return field(default=default, metadata={"help": help_text, "kind": kind}, repr=not secret)


@dataclass(frozen=True)
class Config:
    """Settings of one scheduler process. The help texts say unit, meaning and default's reason; docs list the same."""

    master: str = _setting("", "the Mesos masters: zk://host:port,.../mesos, or host:port of one; https://host:port for TLS")
    master_scheme: str = _setting("http", "http or https: how to speak to masters found through zk://, which does not say")
    master_ca_file: str = _setting("", "file with the authorities of the masters' certificates; default: the system's")
    zk: str = _setting("", "zk://[user:password@]host:port,.../path for the store and the election of a leader", secret=True)
    store: str = _setting("", "instead of --zk, for one scheduler alone: sqlite:///path/to/file, or memory:", secret=True)
    consul: str = _setting("http://127.0.0.1:8500", "Consul as this process reaches it; several with commas between")
    executor_consul: str = _setting("http://127.0.0.1:8500", "the Consul agent of each agent's host, as its executor reaches it")
    executor_http_port: int = _setting(names.EXECUTOR_PORT, "port where executors serve logs, on each agent's host", int)
    consul_token_file: str = _setting("", "file with the ACL token for --consul; executors read their own host's")
    consul_ca_file: str = _setting("", "file with the authorities of that Consul's certificate; default: the public ones")
    consul_cert_file: str = _setting("", "file with a certificate and its key, where that Consul asks for one")
    http_host: str = _setting("0.0.0.0", "address that the API listens on")
    http_port: int = _setting(8080, "port that the API listens on", int)
    advertise_url: str = _setting("", "URL under which other schedulers reach this one's API; default: hostname and --http-port")
    framework_name: str = _setting("eratos", "name of the framework in Mesos")
    role: str = _setting("*", "Mesos role to get offers for")
    user: str = _setting("root", "user that executors run as; must be able to use the Docker socket")
    principal: str = _setting("", "principal for framework authentication and basic authentication at the master")
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
    instances_limit: int = _setting(
        100_000, "instances of all apps together, at most: each takes memory and time of the one that leads", int
    )
    maintenance_lead_s: float = _setting(300.0, "how long before its scheduled maintenance a host is emptied", float)
    brake_share: float = _setting(
        0.2, "share of hosts or tasks whose loss within a minute stops launches and kills until most are back; 0: never", float
    )
    rebalance_budget: int = _setting(0, "instances that may move at a time to even out the spread of apps at rest; 0: none", int)
    executor_command: str = _setting("eratos-executor", "command that starts the executor on an agent")
    executor_uris: str = _setting("", "comma-separated URIs for the agent's fetcher, where the executor is not preinstalled")
    executor_cpus: float = _setting(0.1, "CPUs that each executor takes on its agent", float)
    executor_mem_mib: int = _setting(64, "MiB that each executor takes on its agent", int)
    executor_disk_mib: int = _setting(
        16, "MiB of disk that each executor takes on its agent; 0 for agents without, which then launch one task at a time", int
    )
    log_level: str = _setting("INFO", "DEBUG, INFO, WARNING or ERROR")

    @property
    def url(self) -> str:
        """The API's URL that other schedulers and users are told."""
        return self.advertise_url or f"http://{socket.gethostname()}:{self.http_port}"

    @property
    def hostname(self) -> str:
        """The host of the API's URL, as Mesos' pages and ``/v2/info`` show it."""
        return urlsplit(self.url).hostname or ""

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
    def consul_urls(self) -> tuple[str, ...]:
        return tuple(url.strip() for url in self.consul.split(",") if url.strip())


@dataclass(frozen=True)
class Invocation:
    """One call of ``eratos-scheduler``."""

    config: Config
    command: str = ""  #: ``backup`` or ``restore``; empty to run the scheduler
    file: str = ""
    replace: bool = False


def read(argv: Sequence[str], environ: Mapping[str, str]) -> Invocation:
    """Read command and settings. Raises BadConfig with all problems; ``--help`` prints and exits."""
    given = vars(_parser().parse_args(argv))
    values: dict[str, Any] = {}
    problems: list[str] = []
    for item in dataclasses.fields(Config):
        flag, variable = "--" + item.name.replace("_", "-"), "ERATOS_" + item.name.upper()
        text = given.get(item.name, environ.get(variable))
        if text is None or text == "":
            continue
        try:
            values[item.name] = item.metadata["kind"](text)
        except ValueError:
            kind = "a whole number" if item.metadata["kind"] is int else "a number"
            problems.append(f"{flag} (or {variable}): {text!r} is not {kind}")
    config, command = Config(**values), given["command"] or ""
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
        epilog="Each flag can be given in the environment instead: --http-port as ERATOS_HTTP_PORT.",
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
    if config.log_level.upper() not in ("DEBUG", "INFO", "WARNING", "ERROR"):
        found.append(f"--log-level: {config.log_level!r} is none of DEBUG, INFO, WARNING, ERROR")
    return found


def _problems_to_run(config: Config) -> list[str]:
    found = []
    if not config.master:
        found.append("--master (or ERATOS_MASTER): missing; give zk://host:port/mesos, or host:port of one master")
    elif config.master.startswith("zk://") and not re.match(r"^zk://[^/]+/.+", config.master):
        found.append("--master: a zk:// URL ends in the masters' path, as in zk://zk1:2181,zk2:2181/mesos")
    if config.master_scheme not in ("http", "https"):
        found.append(f"--master-scheme: {config.master_scheme!r} is neither http nor https")
    try:
        config.master_tls()
    except BadConfig as error:
        found.append(str(error))
    for flag, port in (("--http-port", config.http_port), ("--executor-http-port", config.executor_http_port)):
        if not 0 < port < 65536:
            found.append(f"{flag}: {port} is no port; give one from 1 to 65535")
    if config.failover_timeout_s < 60:
        found.append("--failover-timeout-s: below 60 a restart of the scheduler could end every task; a week is usual")
    if config.placement not in ("spread", "pack"):
        found.append(f"--placement: {config.placement!r} is neither spread nor pack")
    if config.launch_limit < 1:
        found.append("--launch-limit: at least 1, or nothing is ever launched")
    if config.launch_confirm_timeout_s < 60 or config.launch_timeout_s < 60:
        found.append("--launch-confirm-timeout-s and --launch-timeout-s: at least 60: executors and images take their time")
    if config.instances_limit < 1:
        found.append("--instances-limit: at least 1, or no app can run")
    if config.advertise_url and not re.match(r"^https?://[^/\s]+/?$", config.advertise_url):
        found.append(f"--advertise-url: {config.advertise_url!r} is no address like http://scheduler1:8080")
    if config.maintenance_lead_s < 0 or config.rebalance_budget < 0:
        found.append("--maintenance-lead-s and --rebalance-budget: not below 0")
    if not 0 <= config.brake_share <= 1:
        found.append("--brake-share: a share, from 0 (never) to 1")
    if config.executor_cpus < 0.01 or config.executor_mem_mib < 32:
        found.append("--executor-cpus and --executor-mem-mib: at least 0.01 and 32, or Mesos refuses the executor")
    if config.executor_disk_mib < 0:
        found.append("--executor-disk-mib: not below 0")
    if config.secret_file and not config.principal:
        found.append("--secret-file: needs --principal")
    files = {"--secret-file": config.secret_file, "--consul-token-file": config.consul_token_file}
    files |= {"--consul-ca-file": config.consul_ca_file, "--consul-cert-file": config.consul_cert_file}
    for flag, path in files.items():
        if path and not Path(path).is_file():
            found.append(f"{flag}: {path} is no readable file")
    for flag, url in (*(("--consul", url) for url in config.consul_urls), ("--executor-consul", config.executor_consul)):
        if not re.match(r"^https?://[^/]+/?$", url):
            found.append(f"{flag}: {url!r} is no address like http://127.0.0.1:8500")
    return found


def _problems_to_keep(config: Config) -> list[str]:
    if config.store.startswith("memory:"):
        return ["--store: memory: ends with its process and keeps nothing; give --zk, or --store sqlite:///path"]
    return []


def _read(path: str, flag: str) -> str:
    if not path:
        return ""
    try:
        return Path(path).read_text().strip()
    except OSError as error:
        raise BadConfig(f"{flag}: {path} cannot be read: {error.strerror}") from error
