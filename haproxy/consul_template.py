"""Whether consul-template follows Consul. It has no page to ask, and HAProxy serves the last good configuration meanwhile:
all that could be seen from outside is that changes do not arrive.

One that cannot read its template or its settings ends at once, again and again; a note by the container's init is what is
left of it. One that watches more services than Consul's agent takes connections waits for the missing ones for good.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from eratos.common.errors import TemporaryError
from eratos.common.names import SERVICE_TAG

from .consul_agent import ConsulAgent

#: An end within this time is reported. The init starts it again every second, so one that cannot run is reported all the time.
_FRESH_S = 10.0


def ended(note: Path) -> tuple[str, ...]:
    """Report that consul-template has ended lately, and how, by the note (``services/consul-template/finish``)."""
    try:
        if time.time() - note.stat().st_mtime >= _FRESH_S:
            return ()
        how = note.read_text().strip() or "no word: a full disk?"
    except OSError:
        return ()
    return (
        f"facts.ctmpl: consul-template ended with {how} and is started again; until it runs, no change in Consul arrives: "
        "the container's log says why",
    )


#: Between two questions to Consul's agent: its answers are long, and apps are added one by one.
_ASK_S: Final = 60.0
#: Reported early: at the limit changes have been lost already.
_FULL: Final = 0.9


class Connections:
    """Compares how many services consul-template watches with how many connections Consul's agent takes of one client."""

    def __init__(self, agent: ConsulAgent, clock: Callable[[], float] = time.monotonic, far: Callable[[], int] = int) -> None:
        """``far`` returns how many services are watched in other data centers, which is over the same agent."""
        self._agent = agent
        self._far = far
        self._clock = clock
        self._due_s = float("-inf")
        self._reported: tuple[str, ...] = ()

    def scarce(self) -> tuple[str, ...]:
        """Report that they are nearly as many, and what to do. Asks the agent once a minute."""
        if self._clock() >= self._due_s:
            self._due_s = self._clock() + _ASK_S
            try:
                self._reported = self._ask()
            except (TemporaryError, LookupError, TypeError, ValueError):
                pass  # the registration, which asks the same agent, says what is wrong with it; here the last answer stays
        return self._reported

    def _ask(self) -> tuple[str, ...]:
        most = self._agent.get("/v1/agent/self")["DebugConfig"]["HTTPMaxConnsPerClient"]
        watched = sum(SERVICE_TAG in tags for tags in self._agent.get("/v1/catalog/services").values()) + self._far()
        if not most or watched <= most * _FULL:
            return ()
        return (
            f"facts.ctmpl: {watched} services take a connection each to Consul's agent, which allows a client {most}; beyond "
            "that no change arrives: raise limits.http_max_conns_per_client in the agent's configuration",
        )


#: Between two looks at other data centers.
_LOOK_FAR_S: Final = 5.0


class Datacenters:
    """Asks Consul whether it reaches the other data centers that the balancer is to know."""

    def __init__(self, agent: ConsulAgent, names: Sequence[str]) -> None:
        self._agent = agent
        self._names = names
        self._silent: tuple[str, ...] = ()

    def silent(self) -> tuple[str, ...]:
        """Report each that did not answer at the last look, and what that means."""
        return self._silent

    def watch(self, stop: threading.Event) -> None:
        """Look until ``stop`` is set. For a thread of its own: where a line is cut, each look takes seconds."""
        while self._names and not stop.is_set():
            self.look()
            stop.wait(_LOOK_FAR_S)

    def look(self) -> None:
        self._silent = tuple(filter(None, map(self._ask, self._names)))

    def _ask(self, name: str) -> str:
        try:
            # Whoever may call Consul at all may ask this.
            found = self._agent.get(f"/v1/status/leader?dc={name}")
        except TemporaryError as error:
            found, why = "", str(error)
        else:
            why = "it has no leader"
        return "" if found else f"facts-{name}.json: data center {name} does not answer, what it has stays as last known: {why}"
