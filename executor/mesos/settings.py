"""What the agent gives its executor, through the environment (docs/executor-http-api.md, Executor Environment Variables).

pymesos takes any value of MESOS_CHECKPOINT for true, although the agent sets "0" or "1", and reads neither the recovery
timeout nor the longest back-off (docs/adr/0020-pymesos-wrapped.md).
"""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field

from eratos.common.errors import PermanentError
from eratos.mesos.httpwire import Endpoint
from eratos.mesos.library import parse_duration

AGENT_PORT = 5051


@dataclass(frozen=True, slots=True)
class AgentSettings:
    """The environment of an executor, read once."""

    endpoint: Endpoint
    framework_id: str
    executor_id: str
    agent_id: str  #: empty where the agent does not say; SUBSCRIBED does
    checkpoint: bool  #: whether to outlive the agent's restart
    shutdown_grace_s: float  #: from SHUTDOWN until the agent kills the executor
    recovery_timeout_s: float  #: how long to look for an agent that went away
    backoff_max_s: float  #: longest pause between two attempts (rule 66)
    token: str = field(repr=False)  #: for the agent's authentication of executors (rule 76); empty: none
    tls: ssl.SSLContext | None = field(default=None, repr=False)
    #: The agent is on this very host: when it dies, its sockets close at once. One that is busy answers late.
    call_timeout_s: float = 60.0
    silence_s: float = 5 * 30 * 60.0  #: the agent sends an executor a heartbeat every 30 minutes

    @classmethod
    def from_environ(cls, environ: Mapping[str, str]) -> AgentSettings:
        """Read ``MESOS_*``. Raises PermanentError naming every variable that is missing or wrong."""
        problems: list[str] = []

        def text(name: str) -> str:
            value = environ.get(name, "")
            if not value:
                problems.append(f"{name} is not set")
            return value

        def seconds(name: str, default: float) -> float:
            value = environ.get(name, "")
            try:
                return parse_duration(value) if value else default
            except (AssertionError, ValueError):
                problems.append(f"{name} is no duration such as 15mins: {value!r}")
                return default

        address = text("MESOS_AGENT_ENDPOINT")
        try:
            endpoint = Endpoint.parse(address or "unset", AGENT_PORT)
        except ValueError as error:
            problems.append(f"MESOS_AGENT_ENDPOINT: {error}")
            endpoint = Endpoint("unset", AGENT_PORT)
        tls = _tls(environ)
        settings = cls(
            endpoint=Endpoint(endpoint.host, endpoint.port, tls is not None),
            framework_id=text("MESOS_FRAMEWORK_ID"),
            executor_id=text("MESOS_EXECUTOR_ID"),
            agent_id=environ.get("MESOS_SLAVE_ID", ""),
            checkpoint=environ.get("MESOS_CHECKPOINT", "") in ("1", "true"),
            shutdown_grace_s=seconds("MESOS_EXECUTOR_SHUTDOWN_GRACE_PERIOD", 5),
            recovery_timeout_s=seconds("MESOS_RECOVERY_TIMEOUT", 15 * 60),
            backoff_max_s=seconds("MESOS_SUBSCRIPTION_BACKOFF_MAX", 2),
            token=environ.get("MESOS_EXECUTOR_AUTHENTICATION_TOKEN", ""),
            tls=tls,
        )
        if problems:
            raise PermanentError("not started by a Mesos agent? " + "; ".join(problems))
        return settings


def _tls(environ: Mapping[str, str]) -> ssl.SSLContext | None:
    """Return a context where the agent speaks TLS: executors inherit libprocess' settings (docs/ssl.md)."""

    def on(name: str) -> bool:
        return environ.get(name, "").lower() in ("1", "true")

    if not on("LIBPROCESS_SSL_ENABLED"):
        return None
    context = ssl.create_default_context(cafile=environ.get("LIBPROCESS_SSL_CA_FILE") or None)
    if not on("LIBPROCESS_SSL_VERIFY_CERT") and not on("LIBPROCESS_SSL_VERIFY_SERVER_CERT"):
        # libprocess' own default: encrypted, unverified.
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context
