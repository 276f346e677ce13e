"""Keeps this balancer registered in Consul, where executors find the live balancers. Called by ``__main__``.

Level-triggered: asks the agent every few seconds what it has, and registers where that is not what it should be; an
agent that lost its memory gets it back. What the balancer leaves out stands in the service's meta, where whoever can ask
Consul finds it: operators, ``./dev status``, and the scheduler for its explanations.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence

from eratos.common.errors import TemporaryError
from eratos.common.log import fields
from eratos.common.names import BALANCER_SERVICE, META_HOST, META_LEFT_OUT, META_ZONE

from .consul_agent import ConsulAgent

log = logging.getLogger(__name__)

_INTERVAL_S = 5.0
#: Consul takes 64 entries of meta, each of 512 bytes, and refuses the service for a longer one.
_LEFT_OUT_MOST = 20
_META_BYTES = 250


class Registration:
    """The service ``eratos-balancer`` of one balancer at the Consul agent of its network namespace."""

    def __init__(self, agent: ConsulAgent, host: str, port: int, left_out: Callable[[], Sequence[str]], zone: str = "") -> None:
        """``left_out`` returns what the balancer leaves out now, each as ``service: reason`` or ``file: reason``."""
        self._agent = agent
        self._id = f"{BALANCER_SERVICE}-{host}"
        self._host = host
        self._port = port
        self._left_out = left_out
        self._zone = zone
        self._check = {
            "Name": "HAProxy serves the last applied configuration",
            "HTTP": f"http://127.0.0.1:{port}/health",
            "Interval": "2s",
            "Timeout": "2s",
            # Passing at once, as the companion runs; a balancer that is not well is found within the interval.
            "Status": "passing",
        }

    def sync(self) -> bool:
        """Register where the agent does not have this service as it should be; return whether that was needed.

        Raises TemporaryError where the agent does not answer or refuses.
        """
        meta = {META_HOST: self._host, **({META_ZONE: self._zone} if self._zone else {})}
        for number, reason in enumerate(sorted(self._left_out())[:_LEFT_OUT_MOST]):
            # Reasons quote what anybody has registered: a text in another script has several bytes for a character.
            meta[f"{META_LEFT_OUT}{number}"] = reason.encode()[:_META_BYTES].decode(errors="ignore")
        found = self._agent.get(f"/v1/agent/service/{self._id}")
        if found and (found.get("Service"), found.get("Port"), found.get("Meta")) == (BALANCER_SERVICE, self._port, meta):
            return False
        service = {"ID": self._id, "Name": BALANCER_SERVICE, "Port": self._port, "Meta": meta, "Check": self._check}
        self._agent.put("/v1/agent/service/register?replace-existing-checks=true", service)
        return True

    def withdraw(self) -> None:
        """Deregister, for a planned stop; raises TemporaryError."""
        self._agent.put(f"/v1/agent/service/deregister/{self._id}")

    def keep(self, stop: threading.Event) -> None:
        """Stay registered until ``stop`` is set, then deregister."""
        complaint = ""
        while not stop.is_set():
            try:
                if self.sync():
                    log.info("registered in Consul %s", fields(service=self._id))
                complaint = ""
            except TemporaryError as error:
                if str(error) != complaint:
                    complaint = str(error)
                    log.warning("not registered in Consul, trying again reason=%s", complaint)
            except Exception:  # the loop's edge: a bug must not leave the balancer unregistered for good
                log.exception("registration failed, trying again; please report this")
            # Quick until the first success: the agent starts beside us, in any order.
            stop.wait(0.5 if complaint else _INTERVAL_S)
        try:
            self.withdraw()
        except TemporaryError as error:
            log.warning("could not deregister, Consul's check will notice reason=%s", error)
