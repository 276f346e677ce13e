"""ExecutorInfo, and the executor's id, which is made from it.

Mesos refuses a launch whose ExecutorInfo differs from that of a running executor with the same id (master/validation.cpp,
validateCompatibleExecutorInfo), the roles and reservations of its resources included. So the id carries a digest of the
whole definition: a changed definition is another executor, and so is the same one paid from other reservations.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from eratos.common.payload import TaskPayload

from .settings import ExecutorSettings

Wire = dict[str, Any]


def scalar(name: str, value: float) -> Wire:
    return {"name": name, "type": "SCALAR", "scalar": {"value": value}}


def duration(seconds: float) -> Wire:
    return {"nanoseconds": round(seconds * 1e9)}


class ExecutorInfos:
    """Makes ExecutorInfos and remembers them by id. Not for several threads at once: the driver holds its lock."""

    def __init__(self, settings: ExecutorSettings, *roles: str) -> None:
        """``roles`` are the framework's, the default one first: whichever pays for an executor, it runs tasks of all."""
        self._settings = settings
        self._known: dict[str, Wire] = {}
        self._made: dict[str, Wire] = {}  # by resources: every offer asks, the answer is nearly always the same
        self.several = len(roles) > 1
        plain = [self.make(plain_resources(settings, role))["executor_id"]["value"] for role in roles]
        self.plain_id: str = plain[0]

    def make(self, resources: list[Wire]) -> Wire:
        """Return the ExecutorInfo for these resources, without a framework id."""
        key = repr(resources)
        if key not in self._made:
            info = self._define(resources)
            self._made[key] = self._known.setdefault(info["executor_id"]["value"], info)
        return self._made[key]

    def _define(self, resources: list[Wire]) -> Wire:
        s = self._settings
        variables = [{"name": name, "value": value} for name, value in sorted(s.environment.items())]
        info: Wire = {
            "type": "CUSTOM",
            "name": s.name,
            "source": s.name,
            "command": {
                "shell": True,
                "value": s.command,
                "uris": [{"value": uri} for uri in s.uris],
                "environment": {"variables": variables},
            },
            "resources": resources,
            "shutdown_grace_period": duration(s.shutdown_grace_s),
        }
        named = {**info, "data": s.data_name} if s.data_name else info
        info["executor_id"] = {"value": f"{s.name}-{_digest(named)}"}
        return info

    def on_agent(self, info: Wire, agent_id: str, framework_id: str) -> Wire:
        """Return the definition as an agent gets it: with what its executor alone is to know, always the same."""
        whole = {**info, "framework_id": {"value": framework_id}}
        if self._settings.data is not None:
            whole["data"] = base64.b64encode(self._settings.data(agent_id)).decode("ascii")
        return whole

    def with_keys(self, payload: TaskPayload) -> TaskPayload:
        """Return an instruction with the keys that its executor needs to carry it out, and that the core does not have."""
        key = self._settings.volume_key
        if not payload.copies:
            return payload
        return replace(payload, copies=tuple(replace(c, key=key(c.agent_id, c.source)) for c in payload.copies))

    def known(self, executor_id: str) -> Wire | None:
        """Return the definition behind an id, or None where it is not one of ours or no longer known."""
        return self._known.get(executor_id)


def allotted(resources: Iterable[Mapping[str, Any]]) -> str:
    """Return the role that resources are allocated to, all to the same; empty where there are none, or without MULTI_ROLE."""
    return next((str(resource.get("allocation_info", {}).get("role", "")) for resource in resources), "")


def plain_resources(settings: ExecutorSettings, role: str) -> list[Wire]:
    """Return the executor's resources, unreserved and allocated to ``role``."""
    wanted = settings.resources
    amounts = (("cpus", wanted.cpus_m / 1000), ("mem", wanted.mem_mib), ("disk", wanted.disk_mib), ("gpus", wanted.gpus))
    return [{"role": "*", "allocation_info": {"role": role}, **scalar(name, float(amount))} for name, amount in amounts if amount]


def _digest(info: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(info, sort_keys=True, separators=(",", ":")).encode()).hexdigest()[:8]
