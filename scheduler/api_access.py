"""Where the API listens and whom it lets in, out of the settings. Called by ``__main__``."""

from __future__ import annotations

import socket
from dataclasses import dataclass
from pathlib import Path

from eratos.common.addresses import is_loopback
from eratos.common.browser_guard import BrowserGuard

from .access.authenticator import Authenticator, CredentialsFile
from .access.policy import DEFAULT_PARAMETERS, Policy
from .access.tunnel_limits import NONE, TunnelLimits
from .api.gate import Access
from .config import BadConfig, Config, parts
from .framework_key import FrameworkKey

LOOPBACK = "127.0.0.1"
EVERYWHERE = "0.0.0.0"


@dataclass(frozen=True)
class Listening:
    """Where the API listens, and what is to be said of it at the start."""

    host: str
    note: str = ""
    warning: str = ""


def listening(config: Config, *, upgraded: bool) -> Listening:
    """Decide where the API listens. ``upgraded``: the store was in use before addresses were asked for.

    Raises BadConfig where nobody said it and nothing can be assumed, or where it would be open to a network unasked.
    """
    if not config.http_host and not upgraded and config.zk:
        raise BadConfig(
            "--http-host: missing: with --zk schedulers reach each other over the network, so say on which address the API "
            "listens, such as this host's own, or 0.0.0.0 for all"
        )
    host = config.http_host or (EVERYWHERE if upgraded else LOOPBACK)
    if config.http_credentials or config.http_credentials_file:
        return Listening(host)
    if is_loopback(host):
        return Listening(host, note="nobody is asked who they are: the API listens on this host alone")
    how = "--http-credentials-file says who may use it"
    if config.http_open:
        return Listening(host, warning=f"the API is open to everybody who reaches {host}, as --http-open says; {how}")
    if upgraded:
        return Listening(host, warning=f"the API is open to everybody who reaches {host}, as it was before this version; {how}")
    raise BadConfig(
        f"--http-host: everybody who reaches {host} could run anything on every agent: {how}; --http-host 127.0.0.1 is for "
        "this host alone, and --http-open true if it is meant"
    )


def access(config: Config, key: FrameworkKey) -> Access:
    """Return whom the API lets in. Raises PermanentError for a credentials file that cannot be used."""
    own = (config.hostname, socket.gethostname(), config.http_host)
    authenticator = None
    if config.http_credentials or config.http_credentials_file:
        file = CredentialsFile(Path(config.http_credentials_file)) if config.http_credentials_file else None
        authenticator = Authenticator(file, single=config.http_credentials)
    return Access(BrowserGuard.of((*own, *config.hosts), config.origins), authenticator, config.http_rate, key.schedulers)


def tunnels(config: Config) -> TunnelLimits:
    """Return what tunnels into instances there may be."""
    kinds = frozenset(parts(config.tunnels)) - {NONE}
    return TunnelLimits(kinds, config.tunnel_idle_s, config.exec_sessions, config.forward_connections)


def policy(config: Config) -> Policy:
    """Return what apps may ask for."""
    names = {name.lower() for name in (config.hostname, socket.gethostname(), *config.hosts) if not name.startswith(".")}
    return Policy(
        strict=config.policy == "strict",
        fetch_folders=parts(config.fetch_folders),
        fetch_private=config.allow_private_fetch,
        privileged=config.allow_privileged,
        parameters=DEFAULT_PARAMETERS | set(parts(config.allow_parameters)),
        host_paths=parts(config.allow_host_paths),
        drivers=parts(config.allow_volume_drivers),
        volumes=parts(config.allow_volumes),
        networks=parts(config.allow_networks),
        secrets=parts(config.allow_secrets),
        root_processes=config.allow_root_processes,
        listeners=frozenset((name, config.http_port) for name in names),
        executor_port=config.executor_http_port,
    )
