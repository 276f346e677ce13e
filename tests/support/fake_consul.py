"""A Consul agent without Consul, for tests of what sits above it.

tests/contract/test_consul_agent.py holds it to the real one."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any

from eratos.common.errors import TemporaryError
from eratos.executor.consul_agent import Refused


class FakeConsul:
    """Same calls as ConsulApi. ``away`` plays an agent that does not answer, ``refuses`` has ids of services that it refuses."""

    def __init__(self) -> None:
        self.away = False
        self.refuses: set[str] = set()
        self.present: dict[str, dict[str, Any]] = {}
        self.held: dict[str, Mapping[str, Any]] = {}
        self.kept: list[str] = []  #: ids of checks of which it was said that they pass
        self._lock = threading.Lock()

    def services(self) -> dict[str, dict[str, Any]]:
        self._answer()
        with self._lock:
            return dict(self.present)

    def checks(self) -> frozenset[str]:
        self._answer()
        with self._lock:
            return frozenset(self.held)

    def register(self, body: Mapping[str, Any]) -> None:
        self._answer(body["ID"])
        with self._lock:
            if "Check" in body:
                self.held[body["Check"]["CheckID"]] = body["Check"]
            self.present[body["ID"]] = {
                "ID": body["ID"],
                "Service": body["Name"],
                "Port": body["Port"],
                "Tags": list(body["Tags"]),
                "Meta": dict(body["Meta"]),
            }

    def deregister(self, service_id: str) -> None:
        self._answer(service_id)
        with self._lock:
            self.present.pop(service_id, None)
            self.held.pop(f"{service_id}-check", None)

    def keep(self, check_id: str) -> None:
        self._answer()
        if "TTL" not in self.held.get(check_id, {}):
            raise Refused(f"no check {check_id} with a time to live")
        self.kept.append(check_id)

    def lose_check(self, check_id: str) -> None:
        with self._lock:
            self.held.pop(check_id, None)

    def close(self) -> None:
        pass

    def _answer(self, service_id: str = "") -> None:
        if self.away:
            raise TemporaryError("the Consul agent is away")
        if service_id in self.refuses:
            raise Refused("400 Invalid Service Meta")
