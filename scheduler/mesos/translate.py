"""Wire forms (v1 JSON as dicts) to core types and back, pure. Floats die here.

Numbers in offers are rounded down to thousandths of a CPU and whole MiB, so nothing is taken that was not offered.
Unknown enum values become the nearest harmless one (rule 55); a missing required field raises KeyError for the callback
edge to log. Sources: include/mesos/v1/mesos.proto and scheduler/scheduler.proto.
"""

from __future__ import annotations

import base64
import logging
from collections.abc import Iterable, Mapping
from typing import Any

from eratos.common import check_results, names
from eratos.common.log import fields
from eratos.common.payload import DiscoveryPort, TaskPayload
from eratos.common.resources import PortRanges, Resources
from eratos.common.volume_messages import DestroyVolume

from ..core import actions
from ..core.mesos_types import InverseOffer, Offer, TaskState, TaskStatus, Window, number_text
from .executor_info import Wire, allotted, duration
from .settings import MesosSettings

log = logging.getLogger(__name__)

#: Longest part of a status message that is kept (Marathon cuts at the same length).
MESSAGE_MAX = 10_000


def amount(name: str, value: float) -> int:
    """Return a scalar of Mesos in the unit of :class:`Resources`: thousandths for cpus, whole units for the others.

    Mesos counts in thousandths itself (src/common/values.cpp), so the hair added covers no more than float noise.
    """
    return int(value * 1000 + 1e-3) if name == "cpus" else int(value + 1e-6)


def usable(resource: Mapping[str, Any]) -> bool:
    """Return whether a resource may pay for a task: no volume, no revocable or shared resource, none of a provider."""
    return not any(resource.get(key) for key in ("disk", "provider_id")) and not ("revocable" in resource or "shared" in resource)


def reserved(resource: Mapping[str, Any]) -> bool:
    """Return whether a resource that is offered is reserved, for a role of this framework then."""
    return resource.get("role", "*") != "*" or bool(resource.get("reservations"))


def offer(raw: Mapping[str, Any], executor_ids: Iterable[str]) -> Offer:
    """Translate an offer; ``executor_ids`` as the core is to see them."""
    sums, kept = ({"cpus": 0, "mem": 0, "disk": 0, "gpus": 0} for _ in range(2))
    ports: list[tuple[int, int]] = []
    kept_ports: list[tuple[int, int]] = []
    for resource in raw.get("resources", ()):
        if not usable(resource):
            continue
        name = resource["name"]
        if name in sums and resource.get("type") == "SCALAR":
            sums[name] += (found := amount(name, resource["scalar"]["value"]))
            kept[name] += found if reserved(resource) else 0
        elif name == "ports" and resource.get("type") == "RANGES":
            ports += (ranges := port_ranges(resource))
            kept_ports += ranges if reserved(resource) else []
    domain = raw.get("domain", {}).get("fault_domain", {})
    return Offer(
        offer_id=raw["id"]["value"],
        agent_id=raw["agent_id"]["value"],
        hostname=raw["hostname"],
        resources=Resources(sums["cpus"], sums["mem"], sums["disk"], sums["gpus"]),
        ports=PortRanges(ports),
        attributes=dict(_attribute(a) for a in raw.get("attributes", ()) if "type" in a),
        executor_ids=frozenset(executor_ids),
        region=region(raw),
        zone=domain.get("zone", {}).get("name", ""),
        window=_window(raw["unavailability"]) if "unavailability" in raw else None,
        reserved=Resources(kept["cpus"], kept["mem"], kept["disk"], kept["gpus"]),
        reserved_ports=PortRanges(kept_ports),
        role=allotted(raw.get("resources", ())),
    )


def region(raw: Mapping[str, Any]) -> str:
    """Return the region in the fault domain of an offer or a master, empty where there is none."""
    name: str = raw.get("domain", {}).get("fault_domain", {}).get("region", {}).get("name", "")
    return name


def inverse_offer(raw: Mapping[str, Any]) -> InverseOffer:
    """Translate an inverse offer."""
    return InverseOffer(raw["id"]["value"], raw["agent_id"]["value"], _window(raw["unavailability"]))


def _window(raw: Mapping[str, Any]) -> Window:
    begin = raw["start"]["nanoseconds"] / 1e9
    length = raw.get("duration", {}).get("nanoseconds")
    return Window(begin) if length is None else Window(begin, begin + length / 1e9)


def port_ranges(resource: Mapping[str, Any]) -> list[tuple[int, int]]:
    """Return the ranges of a ``ports`` resource, or of an attribute."""
    return [(int(r["begin"]), int(r["end"])) for r in resource["ranges"].get("range", ())]


def _attribute(raw: Mapping[str, Any]) -> tuple[str, str]:
    """Return an attribute as text: ``text``, ``1.5``, ``[1-2,5-5]`` or ``{a,b}`` in order, as Marathon compares them."""
    match raw["type"]:
        case "TEXT":
            text = raw["text"]["value"]
        case "SCALAR":
            text = number_text(raw["scalar"]["value"])
        case "RANGES":
            text = "[" + ",".join(f"{begin}-{end}" for begin, end in sorted(port_ranges(raw))) + "]"
        case "SET":
            text = "{" + ",".join(sorted(raw["set"].get("item", ()))) + "}"
        case _:
            text = ""
    return raw["name"], text


def _check(raw: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Return what a task's check was answered, in Marathon's form (check.raml); None: nothing."""
    names = (("http", "status_code", "statusCode"), ("tcp", "succeeded", "succeeded"), ("command", "exit_code", "exitCode"))
    found = {kind: {shown: raw[kind][name]} for kind, name, shown in names if name in raw.get(kind, ())}
    return found or None


def status(raw: Mapping[str, Any]) -> TaskStatus:
    """Translate a TaskStatus. ``uuid`` stays in base64: it is only ever sent back."""
    try:
        state = TaskState(raw["state"])
    except ValueError:
        # It must still reach the core: unacknowledged it would hold up every later update of the task.
        log.error("unknown task state, taken for TASK_UNKNOWN %s", fields(state=raw["state"], task_id=raw["task_id"]))
        state = TaskState.UNKNOWN
    labels = {label["key"]: label.get("value", "") for label in raw.get("labels", {}).get("labels", ())}
    networks = raw.get("container_status", {}).get("network_infos", ())
    return TaskStatus(
        task_id=raw["task_id"]["value"],
        state=state,
        agent_id=raw.get("agent_id", {}).get("value", ""),
        uuid=raw.get("uuid", ""),
        reason=raw.get("reason", ""),
        source=raw.get("source", ""),
        message=raw.get("message", "")[:MESSAGE_MAX],
        healthy=raw.get("healthy"),
        check=_check(raw.get("check_status", {})),
        timestamp=raw.get("timestamp", 0.0),
        addresses=tuple(
            address["ip_address"]
            for network in networks
            for address in network.get("ip_addresses", ())
            if "ip_address" in address
        ),
        executor_id=raw.get("executor_id", {}).get("value", ""),
        outdated=labels.get(names.LABEL_OUTDATED),
        checks=check_results.from_text(labels[names.LABEL_CHECKS]) if names.LABEL_CHECKS in labels else (),
    )


def framework_info(settings: MesosSettings, framework_id: str) -> Wire:
    """Return the FrameworkInfo; optional fields that are empty are left out."""
    info: Wire = {
        "user": settings.user,
        "name": settings.name,
        "roles": list(settings.roles),
        "failover_timeout": settings.failover_timeout_s,
        "checkpoint": settings.checkpoint,
        "capabilities": [{"type": capability} for capability in settings.capabilities],
    }
    for key in ("hostname", "webui_url", "principal"):
        if getattr(settings, key):
            info[key] = getattr(settings, key)
    if framework_id:
        info["id"] = {"value": framework_id}
    return info


def task_info(payload: TaskPayload, agent_id: str, executor: Wire, resources: list[Wire]) -> Wire:
    """Return the TaskInfo of a launch. Name and discovery are Marathon's, so tools such as mesos-dns find the task."""
    name = ".".join(reversed(payload.app_id.strip("/").split("/")))
    info: Wire = {
        "name": name,
        "task_id": {"value": payload.task_id},
        "agent_id": {"value": agent_id},
        "executor": executor,
        "resources": resources,
        "data": base64.b64encode(payload.to_bytes()).decode("ascii"),
        "kill_policy": {"grace_period": duration(payload.kill_grace_s)},
        "discovery": {
            "visibility": "FRAMEWORK",
            "name": name,
            "ports": {"ports": [_discovery_port(port) for port in payload.discovery]},
        },
    }
    if payload.labels:
        info["labels"] = _labels(payload.labels)
    return info


def _discovery_port(port: DiscoveryPort) -> Wire:
    shown: Wire = {"number": port.number, "name": port.name, "protocol": port.protocol}
    return shown | {"labels": _labels(port.labels)} if port.labels else shown


def _labels(labels: Mapping[str, str]) -> Wire:
    return {"labels": [{"key": key, "value": value} for key, value in labels.items()]}


def launch(tasks: list[Wire]) -> Wire:
    """Return the operation that launches tasks one by one."""
    return {"type": "LAUNCH", "launch": {"task_infos": tasks}}


def launch_group(tasks: list[Wire]) -> Wire:
    """Return the operation that launches tasks, all with the same executor, as one message to their agent."""
    executor = tasks[0]["executor"]
    members = [{key: value for key, value in task.items() if key != "executor"} for task in tasks]
    return {"type": "LAUNCH_GROUP", "launch_group": {"executor": executor, "task_group": {"tasks": members}}}


def accept(offer_ids: Iterable[str], operation: Wire, refuse_s: float) -> Wire:
    return {
        "type": "ACCEPT",
        "accept": {
            "offer_ids": _values(offer_ids),
            "operations": [operation],
            "filters": {"refuse_seconds": refuse_s},
        },
    }


def decline(call: actions.Decline) -> Wire:
    return {
        "type": "DECLINE",
        "decline": {"offer_ids": _values(call.offer_ids), "filters": {"refuse_seconds": call.refuse_s}},
    }


def asking(kind: str, roles: Iterable[str]) -> Wire:
    """Return a SUPPRESS or a REVIVE, for all roles where it names none."""
    named = list(roles)
    return {"type": kind, kind.lower(): {"roles": named}} if named else {"type": kind}


def answer_inverse(call: actions.AnswerInverse) -> Wire:
    kind = "accept_inverse_offers" if call.accept else "decline_inverse_offers"
    return {
        "type": kind.upper(),
        kind: {"inverse_offer_ids": _values(call.offer_ids), "filters": {"refuse_seconds": call.refuse_s}},
    }


def kill(call: actions.Kill) -> Wire:
    """Return a KILL. It names the agent where that is known, so that the master delivers it again until it arrives (rule 43)."""
    body: Wire = {"task_id": {"value": call.task_id}}
    if call.agent_id:
        body["agent_id"] = {"value": call.agent_id}
    return {"type": "KILL", "kill": body}


def reconcile(call: actions.Reconcile) -> Wire:
    """Return a RECONCILE that names each task's agent, for a faster and better answer (rule 14)."""
    tasks = []
    for task_id, agent_id in call.tasks:
        task: Wire = {"task_id": {"value": task_id}}
        if agent_id:
            task["agent_id"] = {"value": agent_id}
        tasks.append(task)
    return {"type": "RECONCILE", "reconcile": {"tasks": tasks}}


def message(call: actions.DestroyVolume, executor_id: str) -> Wire:
    """Return a MESSAGE to an executor."""
    data = DestroyVolume(call.volume_id, call.app_id).to_bytes()
    return {
        "type": "MESSAGE",
        "message": {
            "agent_id": {"value": call.agent_id},
            "executor_id": {"value": executor_id},
            "data": base64.b64encode(data).decode("ascii"),
        },
    }


def acknowledge(update: TaskStatus) -> Wire:
    return {
        "type": "ACKNOWLEDGE",
        "acknowledge": {
            "agent_id": {"value": update.agent_id},
            "task_id": {"value": update.task_id},
            "uuid": update.uuid,
        },
    }


def _values(ids: Iterable[str]) -> list[Wire]:
    return [{"value": value} for value in ids]
