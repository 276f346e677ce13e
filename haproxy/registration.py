"""Keeps this balancer registered in Consul, where executors find the live balancers. Called by ``__main__``.

Level-triggered: asks the agent every few seconds what it has, and registers where that is not what it should be; an
agent that lost its memory gets it back. What the balancer leaves out stands in the service's meta, where whoever can ask
Consul finds it: operators, ``./dev status``, and the scheduler for its explanations. Uses plain HTTP calls, as the
companion has the standard library alone.
"""

from __future__ import annotations

import http.client
import json
import logging
import threading
import urllib.parse
from collections.abc import Callable, Sequence

from eratos.common.errors import TemporaryError
from eratos.common.log import fields
from eratos.common.names import BALANCER_SERVICE, META_HOST, META_LEFT_OUT

log = logging.getLogger(__name__)

_INTERVAL_S = 5.0
_TIMEOUT_S = 5.0
#: Consul takes 64 entries of meta, each of 512 bytes, and refuses the service for a longer one.
_LEFT_OUT_MOST = 20
_META_BYTES = 250


class Registration:
    """The service ``eratos-balancer`` of one balancer at the Consul agent of its network namespace."""

    def __init__(self, consul: str, token: str, host: str, port: int, left_out: Callable[[], Sequence[str]]) -> None:
        """``left_out`` returns what the balancer leaves out now, each as ``service: reason`` or ``file: reason``."""
        parsed = urllib.parse.urlsplit(consul)
        self._address = (parsed.hostname or "127.0.0.1", parsed.port or 8500)
        self._headers = {"X-Consul-Token": token} if token else {}
        self._id = f"{BALANCER_SERVICE}-{host}"
        self._host = host
        self._port = port
        self._left_out = left_out
        self._check = {
            "Name": "HAProxy serves the last applied configuration",
            "HTTP": f"http://127.0.0.1:{port}/health",
            "Interval": "2s",
            "Timeout": "2s",
            # Passing at once, as the companion runs; a balancer that is not well is found within the interval.
            "Status": "passing",
        }

    def sync(self) -> bool:
        """Register where the agent does not have this service as it should be; tell whether that was needed.

        Raises TemporaryError where the agent does not answer or refuses.
        """
        meta = {META_HOST: self._host}
        for number, reason in enumerate(sorted(self._left_out())[:_LEFT_OUT_MOST]):
            # Reasons quote what anybody has registered: a text in another script has several bytes for a character.
            meta[f"{META_LEFT_OUT}{number}"] = reason.encode()[:_META_BYTES].decode(errors="ignore")
        status, body = self._call("GET", f"/v1/agent/service/{self._id}")
        if status == 200:
            found = json.loads(body)
            if (found.get("Service"), found.get("Port"), found.get("Meta")) == (BALANCER_SERVICE, self._port, meta):
                return False
        elif status != 404:
            raise TemporaryError(f"Consul answers {status}: {body[:200]!r}")
        service = {"ID": self._id, "Name": BALANCER_SERVICE, "Port": self._port, "Meta": meta, "Check": self._check}
        self._expect("/v1/agent/service/register?replace-existing-checks=true", service)
        return True

    def withdraw(self) -> None:
        """Deregister, for a planned stop; raises TemporaryError."""
        self._expect(f"/v1/agent/service/deregister/{self._id}", None)

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

    def _expect(self, path: str, body: object) -> None:
        status, answer = self._call("PUT", path, body)
        if status != 200:
            raise TemporaryError(f"Consul answers {status}: {answer[:200]!r}")

    def _call(self, method: str, path: str, body: object = None) -> tuple[int, bytes]:
        connection = http.client.HTTPConnection(*self._address, timeout=_TIMEOUT_S)
        try:
            connection.request(method, path, None if body is None else json.dumps(body), self._headers)
            response = connection.getresponse()
            return response.status, response.read()
        except (OSError, http.client.HTTPException) as error:
            raise TemporaryError(f"Consul agent at {self._address[0]}:{self._address[1]}: {error}") from error
        finally:
            connection.close()
