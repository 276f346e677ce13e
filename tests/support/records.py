"""Records and writes for tests of the stores."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from eratos.marathon.app import App
from eratos.scheduler.core.actions import Put
from eratos.scheduler.core.records import (
    APPS,
    BUDGETS,
    CHANGES,
    DEPLOYMENTS,
    DRAINS,
    FRAMEWORK_ID,
    GROUPS,
    HISTORIES,
    INSTANCES,
    JOBS,
    QUOTAS,
    RUNS,
    SWEEPS,
    VERSIONS,
    VOLUMES,
    InstanceRecord,
    Stored,
)


def as_stored(store: Mapping[str, Any]) -> Stored:
    """Return what a leader reads from a store that holds these records by their keys."""
    kinds = (
        *(APPS, INSTANCES, VERSIONS, DEPLOYMENTS, CHANGES, GROUPS),
        *(JOBS, RUNS, HISTORIES, QUOTAS, VOLUMES, SWEEPS, DRAINS, BUDGETS),
    )
    found: Any = (tuple(record for key, record in store.items() if key.startswith(kind)) for kind in kinds)
    return Stored(store.get(FRAMEWORK_ID, ""), *found)


def an_instance(number: int, app_id: str = "/shop/cart") -> InstanceRecord:
    """Return the record of a launched instance; stored it takes some 400 bytes, like a real one."""
    return InstanceRecord(
        instance_id=f"{app_id.strip('/').replace('/', '_')}.instance-6f1c0a52-8a0e-4d5b-9f0e-{number:012d}",
        app_id=app_id,
        app_version="2026-01-31T12:00:00.123Z",
        attempt=1,
        agent_id="d4a4a1b4-6fd6-4d2a-a8b8-4d3d2a0e3f11-S1",
        hostname="host-a1",
        ports=(31000 + number % 1000,),
        launched_at=1_769_860_800.25,
    )


def put(record: InstanceRecord) -> Put:
    return Put(INSTANCES + record.instance_id, record)


def put_app(app: App) -> Put:
    return Put(APPS + app.id, app)
