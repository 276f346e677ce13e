"""What the driver must know, all of it. Built by the scheduler's ``config.py``; nothing here reads the environment."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from eratos.common.resources import Resources

WEEK_S = 7 * 24 * 3600.0

#: PARTITION_AWARE: partitioned tasks are ours to judge (rule 19). MULTI_ROLE: ``roles`` instead of the deprecated
#: ``role``. TASK_KILLING_STATE: the executor sends TASK_KILLING while it drains. REGION_AWARE: agents of all regions are
#: offered, and used where an app asks for them (rule 49). No GPU_RESOURCES unless a setting says so (rule 50).
CAPABILITIES = ("PARTITION_AWARE", "MULTI_ROLE", "TASK_KILLING_STATE", "REGION_AWARE")
GPUS = "GPU_RESOURCES"

#: A Python process with a Docker and a Consul client.
EXECUTOR_RESOURCES = Resources(cpus_m=100, mem_mib=96)


@dataclass(frozen=True, slots=True)
class ExecutorSettings:
    """The executor as Mesos starts it, one per agent."""

    command: str  #: run by the agent's shell
    name: str = "eratos"  #: begin of the executor's id; the rest is a digest of its definition
    uris: tuple[str, ...] = ()  #: fetched into the sandbox before the command runs
    environment: Mapping[str, str] = field(default_factory=dict)
    resources: Resources = EXECUTOR_RESOURCES  #: its own, beside those of its tasks (rule 74)
    data: Callable[[str], bytes] | None = None  #: by the agent's id: what its executor alone gets to know
    volume_key: Callable[[str, str], str] = lambda agent_id, volume_id: ""  #: by which the executor on an agent gives a volume
    data_name: str = ""  #: other data has another name: executors that have the one and the other are not the same
    shutdown_grace_s: float = 60.0  #: asked of the agent on SHUTDOWN; not guaranteed (rule 67)


@dataclass(frozen=True, slots=True)
class MesosSettings:
    """The framework and how to reach its master."""

    master: str  #: ``zk://host:port[,host:port]/path``, or ``host:port[,host:port]``, ``https://`` before a host for TLS
    executor: ExecutorSettings
    name: str = "eratos"
    user: str = "root"  #: the executor runs as this user
    roles: tuple[str, ...] = ("*",)  #: the first one is that of apps which state none
    failover_timeout_s: float = WEEK_S  #: how long tasks live on without a scheduler (rule 3)
    hostname: str = ""
    webui_url: str = ""
    principal: str = ""
    secret: str = field(default="", repr=False)  #: with ``principal``: HTTP basic authentication
    clear: bool = False  #: send ``secret`` over connections without TLS, besides those to this host itself
    clear_stated: bool = True  #: a user said so; False: it was so before that was asked for, and is warned of
    secret_hosts: frozenset[str] = frozenset()  #: to whom a redirection may take it, besides the masters that are known
    checkpoint: bool = True  #: rule 5; never set to False in earnest
    capabilities: tuple[str, ...] = CAPABILITIES
    suppressed: bool = False  #: subscribe without asking for offers; the core revives when something waits (rule 25)
    call_timeout_s: float = 10.0  #: for a connection, for SUBSCRIBE's answer, and for any call's
    heartbeat_s: float = 15.0  #: until the master announces its own interval
    missed_heartbeats: int = 5  #: after so many the connection counts as dead (rule 36)
    backoff_first_s: float = 0.5  #: pause before the first new attempt; doubles up to ``backoff_most_s``, jittered
    backoff_most_s: float = 15.0  #: rule 37
    tls: ssl.SSLContext | None = field(default=None, repr=False)  #: None: the system's authorities
    tls_master: bool = False  #: speak TLS to masters that were found through ZooKeeper or a redirection

    def __post_init__(self) -> None:
        if not self.master.strip():
            raise ValueError("master is empty: give zk://host:port/path or host:port")
        if not self.roles:
            raise ValueError("roles is empty: give at least one, such as *")
        if bool(self.principal) < bool(self.secret):
            raise ValueError("secret without principal: give both or neither")
