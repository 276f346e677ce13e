"""Settings of the companion, read once from the environment by ``__main__``.

Environment only, without flags: the companion is started by the container's init, and HAProxy and consul-template read
theirs from the same environment. docs/balancer.md has all of them in one table.
"""

from __future__ import annotations

import re
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from eratos.common.errors import FatalError, PermanentError
from eratos.common.log import FORMATS
from eratos.common.routing import DATACENTER, DEFAULT_GROUP, RULES, ZONE_POLICIES
from eratos.common.secret_file import secret

from .core import haproxy_text
from .core.services import Scope

SNIPPETS_DIR = "/etc/eratos-balancer/snippets"
#: What becomes of requests' ids: a client's plain one stays, or none does, or balancers give none.
REQUEST_IDS = ("keep", "own", "off")


@dataclass(frozen=True, slots=True)
class Config:
    """Settings of one companion."""

    state_dir: Path  #: ``ERATOS_STATE_DIR``: facts, live configuration and sockets
    certs_dir: Path  #: ``ERATOS_CERTS_DIR``: certificates for TLS, each a ``.pem`` file with its chain and key
    snippets_dir: Path  #: ``ERATOS_SNIPPETS_DIR``: lines that administrators lay into the configuration
    base: Path  #: ``ERATOS_HAPROXY_BASE``: the fixed half of HAProxy's configuration
    port: int  #: ``ERATOS_COMPANION_PORT``: port of the companion's HTTP interface
    #: ``ERATOS_COMPANION_KEY_FILE``: file with the key that executors are known by; none: they need not be
    key: str = field(repr=False)
    hosts: tuple[str, ...]  #: ``ERATOS_COMPANION_HOSTS``: further names by which the companion may be called
    consul: str  #: ``ERATOS_CONSUL``: URL of the Consul agent that shares this network namespace
    consul_token: str  #: ``CONSUL_HTTP_TOKEN``: ACL token for that agent, or empty
    servers_file: str  #: ``ERATOS_SERVERS_FILE``: servers' addresses, one a line, in place of Consul; or empty
    host: str  #: ``ERATOS_HOST``: the balancer's name in Consul's meta; by default the container's host name
    guard_hold_s: float  #: ``ERATOS_GUARD_HOLD_S``: longest time that an unconfirmed sharp loss of servers is held back
    guard_hold_wholesale_s: float  #: ``ERATOS_GUARD_HOLD_WHOLESALE_S``: the same for what Consul has lost
    reload_interval_s: float  #: ``ERATOS_RELOAD_INTERVAL_S``: shortest time between two reloads
    #: ``ERATOS_HAPROXY_GROUP``, ``ERATOS_HAPROXY_TAG``, ``ERATOS_FRAMEWORK``, ``ERATOS_ZONE``, ``ERATOS_ZONE_POLICY``,
    #: ``ERATOS_DATACENTERS``; the ports of its own binds
    scope: Scope
    #: ``ERATOS_HTTPS_PORT``, ``ERATOS_CHECK_INTERVAL_MS``, ``ERATOS_DEAD_HOST_S``, ``ERATOS_REQUEST_ID``, ``ERATOS_LOG_REQUESTS``
    text: haproxy_text.Settings
    log_level: str  #: ``ERATOS_LOG_LEVEL``: DEBUG, INFO, WARNING or ERROR, of the companion
    log_format: str  #: ``ERATOS_LOG_FORMAT``: text or json, of the companion
    log_dir: Path  #: ``ERATOS_LOG_DIR``: folder of HAProxy's log
    log_file_bytes: int  #: ``ERATOS_LOG_FILE_BYTES``: size of a file of that log
    log_files: int  #: ``ERATOS_LOG_FILES``: how many are kept, the one being written included

    @property
    def facts(self) -> Path:
        """What consul-template renders."""
        return self.state_dir / "facts.json"

    @property
    def far_facts(self) -> dict[str, Path]:
        """What consul-template renders of other data centers, by their names."""
        return far_facts(self.state_dir, self.scope)

    @property
    def live(self) -> Path:
        """The last good configuration; HAProxy reads it whenever it starts or reloads."""
        return self.state_dir / "live.cfg"

    @property
    def certificates(self) -> Path:
        """Names the list of the certificates that are served."""
        return self.state_dir / "certificates"

    @property
    def servers_state(self) -> Path:
        """Which servers HAProxy had found dead, for the next process (``server-state-file``)."""
        return self.state_dir / "servers.state"

    @property
    def consul_template_note(self) -> Path:
        """What the container's init writes when consul-template has ended."""
        return self.state_dir / "consul-template"

    @property
    def log_pipe(self) -> Path:
        """Where HAProxy writes its log."""
        return self.state_dir / "requests"

    @property
    def master_socket(self) -> Path:
        """Socket of HAProxy's master process."""
        return self.state_dir / "master.sock"


def read(env: Mapping[str, str]) -> Config:
    """Read the settings; raises FatalError naming every value that cannot be used."""
    problems: list[str] = []

    def number(name: str, default: float, most: float) -> float:
        text = env.get(name) or str(default)
        try:
            value = float(text)
        except ValueError:
            value = -1
        if not 0 <= value <= most:
            problems.append(f"{name}={text}: must be a number from 0 to {most:g}")
        return value

    consul = env.get("ERATOS_CONSUL") or "http://127.0.0.1:8500"
    if not consul.startswith("http://"):
        problems.append(f"ERATOS_CONSUL={consul}: must be the http:// URL of the local Consul agent")
    level = (env.get("ERATOS_LOG_LEVEL") or "INFO").upper()
    if level not in {"DEBUG", "INFO", "WARNING", "ERROR"}:
        problems.append(f"ERATOS_LOG_LEVEL={level}: must be DEBUG, INFO, WARNING or ERROR")
    form = env.get("ERATOS_LOG_FORMAT") or "text"
    if form not in FORMATS:
        problems.append(f"ERATOS_LOG_FORMAT={form}: must be {' or '.join(FORMATS)}")
    log_requests = env.get("ERATOS_LOG_REQUESTS") or "failed"
    if not RULES["LOG_REQUESTS"].good(log_requests):
        problems.append(f"ERATOS_LOG_REQUESTS={log_requests}: {RULES['LOG_REQUESTS'].message}")
        log_requests = "failed"
    request_id = env.get("ERATOS_REQUEST_ID") or REQUEST_IDS[0]
    if request_id not in REQUEST_IDS:
        problems.append(f"ERATOS_REQUEST_ID={request_id}: must be {', '.join(REQUEST_IDS[:-1])} or {REQUEST_IDS[-1]}")
    state = Path(env.get("ERATOS_STATE_DIR") or "/var/lib/eratos-balancer")
    https_port = env.get("ERATOS_HTTPS_PORT") or (env.get("ERATOS_HTTPS_BIND") or ":8443").rpartition(":")[2]
    key = ""
    if env.get("ERATOS_COMPANION_KEY_FILE"):
        try:
            key = secret(env["ERATOS_COMPANION_KEY_FILE"], "ERATOS_COMPANION_KEY_FILE")
            if not key:
                problems.append("ERATOS_COMPANION_KEY_FILE: is empty: eratos-scheduler companions-key prints what belongs there")
        except PermanentError as error:
            problems.append(str(error))
    try:
        own_scope = scope(env)
    except FatalError as error:
        problems.append(str(error))
        own_scope = Scope()
    config = Config(
        state_dir=state,
        certs_dir=Path(env.get("ERATOS_CERTS_DIR") or "/etc/eratos-balancer/certs"),
        snippets_dir=Path(env.get("ERATOS_SNIPPETS_DIR") or SNIPPETS_DIR),
        base=Path(env.get("ERATOS_HAPROXY_BASE") or "/etc/eratos-balancer/haproxy.cfg"),
        port=int(number("ERATOS_COMPANION_PORT", 9100, 65535)),
        key=key,
        hosts=tuple(name.strip() for name in env.get("ERATOS_COMPANION_HOSTS", "").split(",") if name.strip()),
        consul=consul.rstrip("/"),
        consul_token=env.get("CONSUL_HTTP_TOKEN", ""),
        servers_file=env.get("ERATOS_SERVERS_FILE", ""),
        host=env.get("ERATOS_HOST") or socket.gethostname(),
        guard_hold_s=number("ERATOS_GUARD_HOLD_S", 5, 3600),
        # A file is what somebody wrote: unlike Consul it does not forget.
        guard_hold_wholesale_s=0 if env.get("ERATOS_SERVERS_FILE") else number("ERATOS_GUARD_HOLD_WHOLESALE_S", 130, 3600),
        reload_interval_s=number("ERATOS_RELOAD_INTERVAL_S", 0.25, 60),
        scope=own_scope,
        text=haproxy_text.Settings(
            str(state / "routes.map"),
            "" if https_port == "443" else f":{https_port}",
            number("ERATOS_CHECK_INTERVAL_MS", 800, 3_600_000),
            number("ERATOS_DEAD_HOST_S", 4, 3600),
            request_id,
            log_requests,
        ),
        log_level=level,
        log_format=form,
        log_dir=Path(env.get("ERATOS_LOG_DIR") or "/var/log/eratos-balancer"),
        log_file_bytes=int(number("ERATOS_LOG_FILE_BYTES", 10_000_000, 1e12)),
        log_files=int(number("ERATOS_LOG_FILES", 10, 1000)),
    )
    if problems:
        raise FatalError("; ".join(problems))
    return config


def scope(env: Mapping[str, str]) -> Scope:
    """Return which services a balancer of either kind is for; raises FatalError where its places cannot be used."""
    zone = env.get("ERATOS_ZONE", "").strip()
    policy = env.get("ERATOS_ZONE_POLICY") or ZONE_POLICIES[0]
    if policy not in ZONE_POLICIES:
        raise FatalError(f"ERATOS_ZONE_POLICY={policy}: must be {', '.join(ZONE_POLICIES[:-1])} or {ZONE_POLICIES[-1]}")
    if policy != "ignore" and not zone:
        raise FatalError(f"ERATOS_ZONE_POLICY={policy}: needs ERATOS_ZONE, the zone that this balancer is in")
    if policy != "ignore" and env.get("ERATOS_SERVERS_FILE"):
        raise FatalError(f"ERATOS_ZONE_POLICY={policy}: servers of ERATOS_SERVERS_FILE have no zones")
    datacenters = tuple(dict.fromkeys(filter(None, env.get("ERATOS_DATACENTERS", "").split(","))))
    if bad := [name for name in datacenters if not re.fullmatch(DATACENTER, name)]:
        raise FatalError(
            f"ERATOS_DATACENTERS: {bad[0]!r} is no name of a Consul data center: give names such as dc2, of small letters, "
            "digits, - and _, with commas and no blanks between"
        )
    if datacenters and env.get("ERATOS_SERVERS_FILE"):
        raise FatalError("ERATOS_DATACENTERS: servers of ERATOS_SERVERS_FILE are in no data center: leave one of the two out")
    binds = {"ERATOS_HTTP_BIND": ":8000", "ERATOS_HTTPS_BIND": ":8443", "ERATOS_STATS_BIND": ":9090"}
    ports = {(env.get(name) or default).rpartition(":")[2] for name, default in binds.items()}
    ports.add(env.get("ERATOS_COMPANION_PORT") or "9100")
    return Scope(
        group=env.get("ERATOS_HAPROXY_GROUP") or DEFAULT_GROUP,
        tag=env.get("ERATOS_HAPROXY_TAG", ""),
        framework=env.get("ERATOS_FRAMEWORK", ""),
        own_ports=frozenset(ports),
        zone=zone,
        zone_policy=policy,
        datacenters=datacenters,
    )


def far_facts(state: Path, scope: Scope) -> dict[str, Path]:
    """Return data center -> what consul-template renders of it (``services/consul-template/run``)."""
    return {datacenter: state / f"facts-{datacenter}.json" for datacenter in scope.datacenters}
