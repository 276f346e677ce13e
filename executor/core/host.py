"""Facts about the host this executor serves, gathered once at the start and handed to the pure half as data."""

from __future__ import annotations

from dataclasses import dataclass

#: What can run tasks: see common/payload.py.
RUNTIMES = ("docker", "process")
#: Docker's name for the real host's network.
REAL_HOST_NETWORK = "host"


@dataclass(frozen=True, slots=True)
class Host:
    """Who we are and where containers go."""

    framework_id: str
    executor_id: str
    agent_id: str
    name: str  #: label ``eratos.host``
    hostname: str  #: the agent's hostname, for the task's variable HOST
    address: str = ""  #: the host's IP address as the agent knows it
    runtimes: tuple[str, ...] = RUNTIMES  #: what is switched on
    network: str = REAL_HOST_NETWORK  #: what "host network" means: ``host``, or ``container:<name>`` for a played host
    bridge: str = ""  #: Docker network that bridged containers of a played host join; empty: it can have none
    dns: str = ""  #: address of the resolver that containers ask; empty: Docker's choice

    @property
    def real(self) -> bool:
        """Return whether this is the machine's own network, and no container's that plays a host."""
        return self.network == REAL_HOST_NETWORK
