"""Settings of the companion, read once from the environment by ``__main__``.

Environment only, without flags: the companion is started by the container's init, and HAProxy and consul-template read
theirs from the same environment.
"""

from __future__ import annotations

import socket
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from eratos.common.errors import FatalError


@dataclass(frozen=True, slots=True)
class Config:
    """Settings of one companion."""

    state_dir: Path  #: ``ERATOS_STATE_DIR``: candidate, live configuration and sockets
    certs_dir: Path  #: ``ERATOS_CERTS_DIR``: certificates for TLS, each a ``.pem`` file with its chain and key
    base: Path  #: ``ERATOS_HAPROXY_BASE``: the fixed half of HAProxy's configuration
    port: int  #: ``ERATOS_COMPANION_PORT``
    consul: str  #: ``ERATOS_CONSUL``: URL of the Consul agent that shares this network namespace
    consul_token: str  #: ``CONSUL_HTTP_TOKEN``, or empty
    servers_file: str  #: ``ERATOS_SERVERS_FILE``: servers' addresses, one a line, in place of Consul; or empty
    host: str  #: ``ERATOS_HOST``: the balancer's name in Consul's meta; by default the container's host name
    guard_hold_s: float  #: ``ERATOS_GUARD_HOLD_S``: longest time that an unconfirmed sharp loss of servers is held back
    guard_hold_wholesale_s: float  #: ``ERATOS_GUARD_HOLD_WHOLESALE_S``: the same for a loss of over half of all servers
    reload_interval_s: float  #: ``ERATOS_RELOAD_INTERVAL_S``: shortest time between two reloads
    log_level: str  #: ``ERATOS_LOG_LEVEL``
    log_dir: Path  #: ``ERATOS_LOG_DIR``: the access log's files
    log_file_bytes: int  #: ``ERATOS_LOG_FILE_BYTES``: of each of them
    log_files: int  #: ``ERATOS_LOG_FILES``: the one being written included

    @property
    def candidate(self) -> Path:
        """What consul-template renders."""
        return self.state_dir / "candidate.cfg"

    @property
    def live(self) -> Path:
        """The last good configuration; HAProxy reads it whenever it starts or reloads."""
        return self.state_dir / "live.cfg"

    @property
    def servers_state(self) -> Path:
        """Which servers HAProxy had found dead, for the next process (``server-state-file``)."""
        return self.state_dir / "servers.state"

    @property
    def renderer_note(self) -> Path:
        """What the container's init writes when consul-template has ended."""
        return self.state_dir / "renderer"

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
    # HAProxy reads this one, and would take any other word for "failed".
    log_requests = env.get("ERATOS_LOG_REQUESTS") or "failed"
    if log_requests not in {"failed", "all"}:
        problems.append(f"ERATOS_LOG_REQUESTS={log_requests}: must be failed or all")
    number("ERATOS_DEAD_HOST_S", 4, 3600)  # the template's
    config = Config(
        state_dir=Path(env.get("ERATOS_STATE_DIR") or "/var/lib/eratos-balancer"),
        certs_dir=Path(env.get("ERATOS_CERTS_DIR") or "/etc/eratos-balancer/certs"),
        base=Path(env.get("ERATOS_HAPROXY_BASE") or "/etc/eratos-balancer/haproxy.cfg"),
        port=int(number("ERATOS_COMPANION_PORT", 9100, 65535)),
        consul=consul.rstrip("/"),
        consul_token=env.get("CONSUL_HTTP_TOKEN", ""),
        servers_file=env.get("ERATOS_SERVERS_FILE", ""),
        host=env.get("ERATOS_HOST") or socket.gethostname(),
        guard_hold_s=number("ERATOS_GUARD_HOLD_S", 5, 3600),
        guard_hold_wholesale_s=number("ERATOS_GUARD_HOLD_WHOLESALE_S", 90, 3600),
        reload_interval_s=number("ERATOS_RELOAD_INTERVAL_S", 0.25, 60),
        log_level=level,
        log_dir=Path(env.get("ERATOS_LOG_DIR") or "/var/log/eratos-balancer"),
        log_file_bytes=int(number("ERATOS_LOG_FILE_BYTES", 10_000_000, 1e12)),
        log_files=int(number("ERATOS_LOG_FILES", 10, 1000)),
    )
    if problems:
        raise FatalError("; ".join(problems))
    return config
