"""All that the scheduler knows, and nothing that it decides. Only :mod:`machine` changes it; the API reads it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from eratos.common import names
from eratos.marathon.app import App

from .mesos import Offer, TaskState
from .reasons import Refusal, Waiting
from .records import InstanceRecord


@dataclass(slots=True)
class Instance:
    """One wanted copy of an app. It waits for an offer while ``state`` is None, and has a task otherwise."""

    instance_id: str
    app_id: str
    version: str  #: of the app's definition it was made from
    attempt: int = 1
    state: TaskState | None = None
    agent_id: str = ""
    hostname: str = ""
    region: str = ""
    zone: str = ""
    attributes: Mapping[str, str] = field(default_factory=dict)  #: of its agent; constraints count by them
    ports: tuple[int, ...] = ()
    addresses: tuple[str, ...] = ()
    launched_at: float = 0.0
    started_at: float = 0.0
    healthy: bool | None = None
    stopping: bool = False
    inactive: bool = False  #: unreachable for so long that a replacement is wanted
    waiting_since: float = 0.0

    @property
    def task_id(self) -> str:
        return names.task_id(self.instance_id, self.attempt)

    @property
    def waiting(self) -> bool:
        return self.state is None

    @property
    def launching(self) -> bool:
        return self.state in (TaskState.STAGING, TaskState.STARTING)

    def ready(self, checked: bool) -> bool:
        """Tell whether it may get traffic; ``checked``: its app has health checks."""
        return self.state is TaskState.RUNNING and not self.stopping and (self.healthy is True or not checked)

    def record(self) -> InstanceRecord:
        assert self.state is not None, "an instance without a task is not stored"
        return InstanceRecord(
            instance_id=self.instance_id,
            app_id=self.app_id,
            app_version=self.version,
            attempt=self.attempt,
            agent_id=self.agent_id,
            hostname=self.hostname,
            ports=self.ports,
            launched_at=self.launched_at,
            state=self.state.value,
            started_at=self.started_at,
            healthy=self.healthy,
            stopping=self.stopping,
            addresses=self.addresses,
            zone=self.zone,
            region=self.region,
            attributes=self.attributes,
        )

    @classmethod
    def from_record(cls, record: InstanceRecord) -> Instance:
        return cls(
            instance_id=record.instance_id,
            app_id=record.app_id,
            version=record.app_version,
            attempt=record.attempt,
            state=TaskState(record.state),
            agent_id=record.agent_id,
            hostname=record.hostname,
            region=record.region,
            zone=record.zone,
            attributes=record.attributes,
            ports=record.ports,
            addresses=record.addresses,
            launched_at=record.launched_at,
            started_at=record.started_at,
            healthy=record.healthy,
            stopping=record.stopping,
        )


@dataclass(frozen=True, slots=True)
class Failure:
    """The last task of an app that ended on its own."""

    task_id: str
    state: TaskState
    message: str
    hostname: str
    at: float


@dataclass(slots=True)
class Launches:
    """How an app's launches go: its back-off after failures, and what its waiting instances wait for."""

    delay_s: float = 0.0
    delayed_until: float = 0.0
    last_failure: Failure | None = None
    waiting: Waiting | None = None
    refusals: dict[str, Refusal] = field(default_factory=dict)  #: agent id -> why its latest offer did not do
    offers_seen: int = 0  #: since the first instance of this wait began to wait


@dataclass(frozen=True, slots=True)
class Deployment:
    """A change that a user asked for, until every app it touched is at rest."""

    deployment_id: str
    version: str
    app_ids: frozenset[str]
    started_at: float


@dataclass(slots=True)
class State:
    """The scheduler's whole knowledge."""

    framework_id: str = ""
    master: str = ""
    connected: bool = False
    apps: dict[str, App] = field(default_factory=dict)
    instances: dict[str, Instance] = field(default_factory=dict)
    by_app: dict[str, dict[str, Instance]] = field(default_factory=dict)
    launches: dict[str, Launches] = field(default_factory=dict)
    deployments: dict[str, Deployment] = field(default_factory=dict)
    offers: dict[str, Offer] = field(default_factory=dict)
    suppressed: bool = False
    spoilt: Mapping[str, str] = field(default_factory=dict)  #: store keys that could not be read -> why

    def instances_of(self, app_id: str) -> Iterator[Instance]:
        yield from self.by_app.get(app_id, {}).values()

    def add(self, instance: Instance) -> None:
        self.instances[instance.instance_id] = instance
        self.by_app.setdefault(instance.app_id, {})[instance.instance_id] = instance

    def remove(self, instance: Instance) -> None:
        del self.instances[instance.instance_id]
        siblings = self.by_app[instance.app_id]
        del siblings[instance.instance_id]
        if not siblings:
            del self.by_app[instance.app_id]

    def launches_of(self, app_id: str) -> Launches:
        return self.launches.setdefault(app_id, Launches())

    def check(self) -> None:
        """Raise AssertionError where the state contradicts itself. For tests; see style.md section 6."""
        for app_id, siblings in self.by_app.items():
            assert siblings, f"empty index entry for {app_id}"
            for instance_id, instance in siblings.items():
                assert self.instances.get(instance_id) is instance, f"{instance_id} is indexed but unknown"
        assert len(self.instances) == sum(map(len, self.by_app.values())), "an instance is missing from the index"
        for instance in self.instances.values():
            if instance.waiting:
                assert not instance.stopping, f"{instance.instance_id} waits and stops"
            else:
                assert instance.agent_id, f"{instance.instance_id} has a task but no agent"
        assert self.connected or not self.offers, "offers outlived the subscription"
