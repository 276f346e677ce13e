"""Updates as wire forms (v1 JSON as dicts), pure. Source: include/mesos/v1/mesos.proto, TaskStatus."""

from __future__ import annotations

import logging
from typing import Any

from eratos.common import check_results, names
from eratos.common.log import fields

from ..core.updates import StatusUpdate

log = logging.getLogger(__name__)

Wire = dict[str, Any]

STATES = frozenset(
    f"TASK_{name}"
    for name in (
        *("STAGING", "STARTING", "RUNNING", "KILLING", "FINISHED", "FAILED", "KILLED", "ERROR"),
        *("LOST", "DROPPED", "UNREACHABLE", "GONE", "GONE_BY_OPERATOR", "UNKNOWN"),
    )
)
#: The four that Mesos' docs allow an executor (task-state-reasons.md), and those that say why a container ended.
REASONS = frozenset(
    f"REASON_{name}"
    for name in (
        *("TASK_CHECK_STATUS_UPDATED", "TASK_HEALTH_CHECK_STATUS_UPDATED", "TASK_INVALID", "TASK_UNAUTHORIZED"),
        *("CONTAINER_LAUNCH_FAILED", "CONTAINER_LIMITATION", "CONTAINER_LIMITATION_DISK"),
        *("CONTAINER_LIMITATION_MEMORY", "TASK_KILLED_DURING_LAUNCH", "MAX_COMPLETION_TIME_REACHED"),
        *("EXECUTOR_TERMINATED", "AGENT_DRAINING"),
    )
)
#: Longest part of a message that is sent (Marathon cuts at the same length).
MESSAGE_MAX = 10_000


def status(update: StatusUpdate, executor_id: str) -> Wire:
    """Return the TaskStatus. Raises ValueError for a state Mesos does not know: the agent would refuse the whole call."""
    if update.state not in STATES:
        raise ValueError(f"not a task state: {update.state!r}")
    wire: Wire = {
        "task_id": {"value": update.task_id},
        "executor_id": {"value": executor_id},
        "state": update.state,
        "source": "SOURCE_EXECUTOR",
        "uuid": update.uuid,
        "timestamp": update.timestamp,
    }
    if update.message:
        wire["message"] = update.message[:MESSAGE_MAX]
    if update.reason in REASONS:
        wire["reason"] = update.reason
    elif update.reason:
        log.error("unknown reason left out %s", fields(reason=update.reason, task_id=update.task_id))
    if update.healthy is not None:
        wire["healthy"] = update.healthy
    if update.check is not None:
        wire["check_status"] = update.check
    labels = {names.LABEL_OUTDATED: update.outdated} if update.outdated is not None else {}
    if update.checks:
        labels[names.LABEL_CHECKS] = check_results.to_text(update.checks)
    if labels:
        wire["labels"] = {"labels": [{"key": key, "value": value[:MESSAGE_MAX]} for key, value in labels.items()]}
    if update.addresses:
        addresses = [{"protocol": "IPv6" if ":" in ip else "IPv4", "ip_address": ip} for ip in update.addresses]
        wire["container_status"] = {"network_infos": [{"ip_addresses": addresses}]}
    return wire
