"""Consul services of a task, pure: what to register, and the difference between what is wanted and what is there.

Level-triggered in the way of Nomad's service client: the difference is taken now and then in full, whatever edges were missed.
Only services with this framework's and this agent's marks in their meta are ever changed, and none of another executor that
lives; and those of the framework whose port another task has by now.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any, Final

from eratos.common import names
from eratos.common.addresses import host_and_port
from eratos.common.payload import CheckKind, HealthCheck, Service, TaskPayload
from eratos.common.routing import datacenters

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
    of_port = (check for check in payload.health_checks if check.port == service.port)
    chosen = next((check for check in of_port if check.protocol in (CheckKind.TCP, *CheckKind.over_http())), None)
    if chosen is None and service.port in stand_in_ports(payload):
        chosen = HealthCheck(CheckKind.TCP, port=service.port, interval_s=CHECK_INTERVAL_MOST_S, timeout_s=5)
    if chosen is None:
        if any(port.host_port == service.port and "tcp" not in port.protocol for port in payload.ports):
            return None
        return kept_by_word(service.service_id)
    host, port = probe_target(payload, service.port, address, ipv6=chosen.ipv6)
    target = host_and_port(host, port)
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
    if chosen.protocol == CheckKind.TCP:
        return check | {"TCP": target}
    return check | {"HTTP": f"{chosen.protocol}://{target}{chosen.path}", "TLSSkipVerify": chosen.protocol == CheckKind.HTTPS}


def kept_by_word(service_id: str) -> dict[str, Any]:
    """Return the check of a service that lives as long as the executor keeps saying so."""
    return {
        "CheckID": f"{service_id}-check",
        "Name": "kept by the executor",
        "TTL": f"{TTL_S:g}s",
        # Its own word: it is alive, and whatever else it has to look at has passed.
        "Status": "passing",
        "DeregisterCriticalServiceAfter": DEREGISTER_AFTER,
    }


def kept_checks(bodies: Iterable[Mapping[str, Any]]) -> dict[str, Mapping[str, Any]]:
    """Return the bodies whose check lives by the executor's word, by the check's id."""
    checks = ((body.get("Check") or {}, body) for body in bodies)
    return {check["CheckID"]: body for check, body in checks if "TTL" in check}


def difference(
    wanted: Iterable[Mapping[str, Any]],
    present: Mapping[str, Mapping[str, Any]],
    checks: Collection[str],
    host: Host,
    alive: Callable[[str], bool],
    forgotten: frozenset[str] = frozenset(),
    kept: frozenset[str] | None = frozenset(),
) -> tuple[list[Mapping[str, Any]], list[str]]:
    """Return (bodies to register, ids to deregister); ``present`` is the answer of ``GET /v1/agent/services``.

    ``checks`` are the ids of the agent's checks: one that it lost is registered anew with its service, which would pass for
    ever without it.
    ``alive`` returns whether another executor of this agent is, whose services are its own; ``forgotten`` are tasks whose
    services must go although an earlier agent id of this host registered them, ``kept`` those of dead executors whose services
    stay unless they are forgotten; None: all of them.
    """
    by_id = {body["ID"]: body for body in wanted}
    missing = [body for key, body in by_id.items() if key not in present or _differs(body, present[key], checks)]
    dead = predecessors(by_id.values(), present, host)
    left = {key: service for key, service in present.items() if key not in by_id}
    surplus = [key for key, service in left.items() if key in dead or _goes(key, service, host, alive, forgotten, kept)]
    return missing, surplus


def kept_ports(present: Mapping[str, Mapping[str, Any]], host: Host, kept: frozenset[str]) -> dict[str, frozenset[int]]:
    """Return the ports of the services that are kept, by task id."""
    ports: dict[str, frozenset[int]] = {}
    for key, service in present.items():
        if _of_framework(key, service, host) and (task_id := service["Meta"].get(names.META_TASK)) in kept:
            ports[task_id] = ports.get(task_id, frozenset()) | {service["Port"]}
    return ports


def kept_datacenters(present: Mapping[str, Mapping[str, Any]], kept: Collection[str]) -> dict[str, tuple[str, ...]]:
    """Return the data centers whose balancers may serve what is kept, by task id."""
    found: dict[str, tuple[str, ...]] = {}
    for service in present.values():
        meta = service.get("Meta") or {}
        if (task_id := meta.get(names.META_TASK, "")) in kept and (stated := datacenters(meta)):
            found[task_id] = tuple(dict.fromkeys((*found.get(task_id, ()), *stated)))
    return found


def predecessors(bodies: Iterable[Mapping[str, Any]], present: Mapping[str, Mapping[str, Any]], host: Host) -> set[str]:
    """Return the ids of this framework's services on ports that other tasks have by now, whoever registered them.

    Mesos gives a port of a host to one task at a time, so these are left of dead ones. Their checks would ask the task that
    listens there now, and pass for as long as it does.
    """
    wanted = {body["ID"]: body["Port"] for body in bodies}
    ports = set(wanted.values())
    return {
        key
        for key, service in present.items()
        if key not in wanted and service.get("Port") in ports and _of_framework(key, service, host)
    }


def _of_framework(service_id: str, service: Mapping[str, Any], host: Host) -> bool:
    meta = service.get("Meta") or {}
    return service_id.startswith(f"{names.PREFIX}-") and meta.get(names.META_FRAMEWORK) == host.framework_id


def _goes(
    service_id: str,
    service: Mapping[str, Any],
    host: Host,
    alive: Callable[[str], bool],
    forgotten: frozenset[str],
    kept: frozenset[str] | None,
) -> bool:
    if not _of_framework(service_id, service, host):
        return False
    meta = service["Meta"]
    task_id = meta.get(names.META_TASK)
    if task_id in forgotten:
        return True
    if kept is None or task_id in kept:
        return False
    executor_id = meta.get(names.META_EXECUTOR, host.executor_id)
    return meta.get(names.META_AGENT) == host.agent_id and (executor_id == host.executor_id or not alive(executor_id))


def _differs(body: Mapping[str, Any], present: Mapping[str, Any], checks: Collection[str]) -> bool:
    return (
        ("Check" in body and body["Check"]["CheckID"] not in checks)
        or body["Name"] != present.get("Service")
        or body["Port"] != present.get("Port")
        or sorted(body["Tags"]) != sorted(present.get("Tags") or [])
        or body["Meta"] != (present.get("Meta") or {})
    )
