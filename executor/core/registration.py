"""Consul services of a task, pure: what to register, and the difference between what is wanted and what is there.

Level-triggered in the way of Nomad's service client: the difference is taken now and then in full, whatever edges were missed.
Only services with this framework's and this agent's marks in their meta are ever changed, and none of another executor that
lives.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from eratos.common import names
from eratos.common.payload import HealthCheck, Service, TaskPayload

from .container import probe_target, stand_in_ports
from .host import Host

#: Consul probes at least as often as this, whatever the app's interval: it is the net under a dead executor.
CHECK_INTERVAL_MOST_S: Final = 10.0
CHECK_INTERVAL_LEAST_S: Final = 1.0
#: The executor repeats its word every few seconds (consul_agent.py); it must survive a restart of the host's Consul agent.
TTL_S: Final = 40.0
#: Consul takes no less than a minute (discovery/checks.mdx); the executor's own deregistration is the fast path.
DEREGISTER_AFTER: Final = "1m"


def registrations(payload: TaskPayload, host: Host, address: str) -> tuple[dict[str, Any], ...]:
    """Return the bodies of ``PUT /v1/agent/service/register`` for a ready task, one for each port.

    No address of its own: the node's applies, which is the host's. The marks of ownership are ours whatever the payload says.
    """
    return tuple(_registration(service, payload, host, address) for service in payload.services)


def _registration(service: Service, payload: TaskPayload, host: Host, address: str) -> dict[str, Any]:
    owner = {
        names.META_FRAMEWORK: host.framework_id,
        names.META_AGENT: host.agent_id,
        names.META_EXECUTOR: host.executor_id,
        names.META_TASK: payload.task_id,
    }
    body: dict[str, Any] = {
        "ID": service.service_id,
        "Name": service.name,
        "Port": service.port,
        "Tags": list(service.tags),
        "Meta": service.meta | owner,
    }
    check = _check(service, payload, address)
    if check is not None:
        body["Check"] = check
    return body


def _check(service: Service, payload: TaskPayload, address: str) -> dict[str, Any] | None:
    """Return Consul's check: what the executor asks of the port as well, else that the executor keeps saying so.

    A port that nobody has asked yet may be one that the app never opens, as with workers of a queue: a check of it would take the
    service away, and the next comparison bring it back, without end. The executor's word is the net under its own death then.
    """
    chosen = next((c for c in payload.health_checks if c.port == service.port and c.protocol in ("http", "https", "tcp")), None)
    if chosen is None and service.port in stand_in_ports(payload):
        chosen = HealthCheck("tcp", port=service.port, interval_s=CHECK_INTERVAL_MOST_S, timeout_s=5)
    if chosen is None:
        if any(port.host_port == service.port and "tcp" not in port.protocol for port in payload.ports):
            return None
        return {
            "CheckID": f"{service.service_id}-check",
            "Name": "kept by the executor",
            "TTL": f"{TTL_S:g}s",
            # Its own word: it is alive, and the app's checks have passed.
            "Status": "passing",
            "DeregisterCriticalServiceAfter": DEREGISTER_AFTER,
        }
    host, port = probe_target(payload, service.port, address)
    interval_s = max(CHECK_INTERVAL_LEAST_S, min(chosen.interval_s, CHECK_INTERVAL_MOST_S))
    check: dict[str, Any] = {
        "CheckID": f"{service.service_id}-check",
        "Name": f"{chosen.protocol} port {service.port}",
        "Interval": f"{interval_s:g}s",
        "Timeout": f"{max(1.0, chosen.timeout_s):g}s",
        # The executor has just seen it pass; Consul's own first probe may be a whole interval away.
        "Status": "passing",
        "DeregisterCriticalServiceAfter": DEREGISTER_AFTER,
    }
    if chosen.protocol == "tcp":
        return check | {"TCP": f"{host}:{port}"}
    return check | {"HTTP": f"{chosen.protocol}://{host}:{port}{chosen.path}", "TLSSkipVerify": chosen.protocol == "https"}


def kept_checks(bodies: Iterable[Mapping[str, Any]]) -> dict[str, Mapping[str, Any]]:
    """Return the bodies whose check lives by the executor's word, by the check's id."""
    checks = ((body.get("Check") or {}, body) for body in bodies)
    return {check["CheckID"]: body for check, body in checks if "TTL" in check}


def difference(
    wanted: Iterable[Mapping[str, Any]],
    present: Mapping[str, Mapping[str, Any]],
    host: Host,
    alive: Callable[[str], bool],
    forgotten: frozenset[str] = frozenset(),
) -> tuple[list[Mapping[str, Any]], list[str]]:
    """Return (bodies to register, ids to deregister); ``present`` is the answer of ``GET /v1/agent/services``.

    ``alive`` tells whether another executor of this agent is, whose services are its own; ``forgotten`` are tasks whose
    services must go although an earlier agent id of this host registered them.
    """
    by_id = {body["ID"]: body for body in wanted}
    missing = [body for key, body in by_id.items() if key not in present or _differs(body, present[key])]
    surplus = [key for key, service in present.items() if key not in by_id and _owned(key, service, host, alive, forgotten)]
    return missing, surplus


def _owned(
    service_id: str, service: Mapping[str, Any], host: Host, alive: Callable[[str], bool], forgotten: frozenset[str]
) -> bool:
    meta = service.get("Meta") or {}
    if not service_id.startswith(f"{names.PREFIX}-") or meta.get(names.META_FRAMEWORK) != host.framework_id:
        return False
    if meta.get(names.META_TASK) in forgotten:
        return True
    executor_id = meta.get(names.META_EXECUTOR, host.executor_id)
    return meta.get(names.META_AGENT) == host.agent_id and (executor_id == host.executor_id or not alive(executor_id))


def _differs(body: Mapping[str, Any], present: Mapping[str, Any]) -> bool:
    return (
        body["Name"] != present.get("Service")
        or body["Port"] != present.get("Port")
        or sorted(body["Tags"]) != sorted(present.get("Tags") or [])
        or body["Meta"] != (present.get("Meta") or {})
    )
