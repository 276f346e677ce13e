"""What the store keeps, as the core sees it. The store's codec turns records into bytes and back.

Keys: ``framework_id``, ``apps/<app id>``, ``instances/<instance id>``. An instance is stored before its launch is sent
and forgotten only after a terminal state arrived (rule 6), so a task the store does not know is not ours to keep.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from eratos.marathon.app import App

FRAMEWORK_ID = "framework_id"
APPS = "apps/"
INSTANCES = "instances/"

#: The most bytes of one record, the same for every back end, so that a definition fits all of them or none. ZooKeeper
#: refuses requests of 1 MiB and more (jute.maxbuffer), and a record must leave room for what travels with it.
RECORD_BYTES_MAX = 512 * 1024


@dataclass(frozen=True, slots=True)
class InstanceRecord:
    """A launched instance: enough to go on with its task after a restart of the scheduler."""

    instance_id: str
    app_id: str
    app_version: str
    attempt: int
    agent_id: str
    hostname: str
    ports: tuple[int, ...]
    launched_at: float  #: seconds since the epoch
    state: str = "TASK_STAGING"
    started_at: float = 0.0
    healthy: bool | None = None
    stopping: bool = False  #: a kill was decided; it is repeated until a terminal update arrives (rule 42)
    addresses: tuple[str, ...] = ()
    zone: str = ""
    region: str = ""
    attributes: Mapping[str, str] = field(default_factory=dict)
    unreachable_at: float = 0.0  #: since when its agent cannot be reached; 0: it can


@dataclass(frozen=True, slots=True)
class Stored:
    """All that a store held when the scheduler became leader."""

    framework_id: str = ""
    apps: tuple[App, ...] = ()
    instances: tuple[InstanceRecord, ...] = ()
    spoilt: dict[str, str] = field(default_factory=dict)  #: key -> why it could not be read; left in the store as it is
