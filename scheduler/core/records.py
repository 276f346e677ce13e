"""What the store keeps, as the core sees it. The store's codec turns records into bytes and back.

Keys: ``framework_id``, ``apps/<app id>``, ``versions/<app id>/<version>``, ``deployments/<deployment id>``,
``changes/<app id>``, ``groups/<group id>``, ``instances/<instance id>``, ``jobs/<job id>``, ``runs/<run's path>``,
``histories/<job id>``, ``quotas/<group id>``, ``volumes/<volume id>``, ``sweeps/<host name>``, ``drains/<host name>``,
``budgets/<app id>``. An instance is stored before its launch is sent and forgotten only after a terminal state arrived (rule
6), so a task the store does not know is not ours to keep.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from eratos.common import names
from eratos.marathon.app import App
from eratos.marathon.job import Job, path_of

FRAMEWORK_ID = "framework_id"
APPS = "apps/"
VERSIONS = "versions/"
DEPLOYMENTS = "deployments/"
CHANGES = "changes/"
GROUPS = "groups/"
INSTANCES = "instances/"
JOBS = "jobs/"
RUNS = "runs/"
HISTORIES = "histories/"
QUOTAS = "quotas/"
VOLUMES = "volumes/"
SWEEPS = "sweeps/"
DRAINS = "drains/"
BUDGETS = "budgets/"
#: What the key of any record but the framework id begins with, in the order in which kinds are read. Whoever reads beside a
#: leader then finds no instance whose app was only made later, of each run that has ended, that it has, and of each instance its
#: volumes.
KINDS = (INSTANCES, VOLUMES, RUNS, HISTORIES, JOBS, CHANGES, DEPLOYMENTS, VERSIONS, GROUPS, QUOTAS, SWEEPS, DRAINS, BUDGETS, APPS)

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
    outdated: str = ""  #: why it is to be replaced by one that knows what it requires; empty: it knows
    ordinal: int | None = None  #: that it holds among those of its app, from 0; None: its app has none
    slot: str = ""  #: whose volumes it has; empty: none
    holds: tuple[str, ...] = ()  #: names of volumes that its task alone may write to, wherever they lie


@dataclass(frozen=True, slots=True)
class VersionRecord:
    """A definition that an app has or had, with the instances that were wanted of it last.

    The definition stays JSON until somebody asks for it: to read all that there are would take a new leader too long.
    """

    app_id: str
    version: str
    definition: bytes  #: :func:`eratos.marathon.stored.to_record` as JSON
    came_back: tuple[str, ...] = ()  #: when the app came to it again, as versions, the latest last
    scaled_at: str = ""  #: when it was last scaled, as a version; empty: never

    @property
    def key(self) -> str:
        return f"{VERSIONS}{self.app_id}/{self.version}"

    @property
    def last_change(self) -> str:
        return self.came_back[-1] if self.came_back else self.version


@dataclass(frozen=True, slots=True)
class DeploymentRecord:
    """A change that a user asked for, until every app it touched is at rest. What it changes stands in the changes."""

    deployment_id: str
    version: str
    begun_at: float  #: seconds since the epoch
    paused: bool = False  #: neither more of the new nor fewer of the old until a user says so
    undoes: str = ""  #: the deployment that it takes back because that failed
    cause: str = ""  #: why the scheduler made it by itself, to which users' changes give no precedence; empty: a user did
    forced: bool = False  #: somebody wanted it whatever is in its way, a spent error budget included


@dataclass(frozen=True, slots=True)
class ChangeRecord:
    """What a deployment changes of one app: what was before. What is wanted is the app itself, or that there is none."""

    app_id: str
    deployment_id: str
    before: str = ""  #: the version that was in force; empty: the app is new
    instances_before: int = 0
    ran_before: bool = False  #: an instance of that version was ready when the change came
    begun: bool = True  #: whatever it waited for was at rest once
    stage: int = 0  #: steps of its canary that were passed
    limit: int | None = None  #: while paused: how many instances of what is wanted there may be
    failures: int = 0  #: instances of the wanted version that ended by themselves, where the app sets a bound to them
    pod: bool = False  #: what changes is a pod
    groups: Mapping[str, tuple[str, ...]] = field(default_factory=dict)  #: group around it -> what that depends on

    def awaited(self, app: App) -> tuple[str, ...]:
        """Return what has to be there before an app: what it depends on itself, and what the groups around it do."""
        return tuple(dict.fromkeys((*app.awaited, *(place for needs in self.groups.values() for place in needs))))


@dataclass(frozen=True, slots=True)
class GroupRecord:
    """A group of apps: it is there with apps in it or without."""

    group_id: str
    made: str  #: when, as a version
    changed: str  #: when what it depends on was said last, as a version
    dependencies: tuple[str, ...] = ()  #: apps and groups that each app in it waits for
    #: what it depended on before, as far as it is kept: since when, as a version, and on what; the latest last
    former: tuple[tuple[str, tuple[str, ...]], ...] = ()


@dataclass(frozen=True, slots=True)
class QuotaRecord:
    """How much may be wanted within a group, or of an app; None: any amount."""

    path: str
    instances: int | None = None
    cpus_m: int | None = None  #: thousandths
    mem_mib: int | None = None
    disk_mib: int | None = None


class VolumeState(enum.Enum):
    """How far a volume is."""

    NEW = "new"  #: its executor may still have to make it
    MADE = "made"  #: an instance has run with it: where it is missing, data is missing
    LEFT = "left"  #: its instance began anew elsewhere, or was moved with a copy of it; no instance gets it any more
    COPYING = "copying"  #: a task copies another one into it; no instance gets it before that has ended well
    DELETING = "deleting"  #: a user wants it destroyed, and its host has not said yet that it is


@dataclass(frozen=True, slots=True)
class VolumeRecord:
    """A Docker volume on one host. It is stored before the launch that makes it, and until its host says that it is gone.

    The volumes that one instance has at a time make a slot. Instances come and go, and the slot is handed on.
    """

    volume_id: str  #: also its name in Docker
    app_id: str
    slot: str
    container_path: str
    size_mib: int
    agent_id: str
    hostname: str
    created_at: float  #: seconds since the epoch, as all times here
    state: VolumeState = VolumeState.NEW
    instance_id: str = ""  #: whose it is; empty: nobody's
    task_id: str = ""  #: the one task that may write to it: nobody else may before that has ended
    executor_id: str = ""  #: whose task that was, or the last one
    released_at: float = 0.0  #: when an instance had it last; 0: one has it
    message: str = ""  #: why it could not be destroyed yet, or why the last move came to nothing
    move_since: float = 0.0  #: since when its slot is to be moved to another host; 0: it is not
    move_to: str = ""  #: the name of that host; empty: whichever has room, until it is chosen
    move_begun: float = 0.0  #: since when nothing is launched with it for that; 0: its instance runs on
    move_wipe: bool = False  #: it is destroyed once the instance is ready with the copy; else it is left
    copy_of: str = ""  #: the volume that it is or was copied from

    @property
    def key(self) -> str:
        return VOLUMES + self.volume_id

    def staying(self) -> VolumeRecord:
        """Return it without a move."""
        return replace(self, move_since=0.0, move_to="", move_begun=0.0, move_wipe=False)


@dataclass(frozen=True, slots=True)
class SweepRecord:
    """A host on which a dead executor may have left something, until another executor of ours was there."""

    hostname: str  #: the agent's id, until an offer of it names the host
    sweep_id: str  #: stands for an instance's id in those of its tasks
    since: float  #: when the executor's death was known; seconds since the epoch
    attempt: int = 0  #: launches of a sweep
    launched_at: float = 0.0  #: the last of them; 0: there is none, or it reached nobody
    holds: tuple[str, ...] = ()  #: names of volumes to which what was left may write, each alone

    @property
    def task_id(self) -> str:
        return names.task_id(self.sweep_id, self.attempt)


@dataclass(frozen=True, slots=True)
class DrainRecord:
    """A host that somebody has drained: until this is deleted, nothing is launched there and what can move does."""

    hostname: str
    since: float
    deadline: float = 0.0  #: when what is still there is stopped, replaced or not; 0: never
    by: str = ""  #: who asked for it


@dataclass(frozen=True, slots=True)
class BudgetRecord:
    """What an app's requests came to in the window of its error budget. Stored now and then, so it may be a minute behind."""

    app_id: str
    counts: tuple[tuple[int, int, int], ...] = ()  #: seconds since the epoch, requests, those that failed; the latest last
    #: balancer, service -> when it said so, requests that it had answered, those that had failed: what came since is known then
    last: tuple[tuple[str, str, float, int, int], ...] = ()
    spent: bool = False


@dataclass(frozen=True, slots=True)
class TaskRecord:
    """A task of a run, once it has ended."""

    task_id: str
    agent_id: str
    hostname: str
    started_at: float  #: when it ran first, or else was launched; seconds since the epoch, as all times here
    ended_at: float
    state: str
    exit_code: int | None = None  #: None: none is known
    message: str = ""


@dataclass(frozen=True, slots=True)
class RunRecord:
    """A run of a job that has not ended. It is stored before anything of it is launched."""

    job_id: str
    run_id: str
    instant: float  #: that it was scheduled for; 0: somebody started it by hand
    created_at: float
    definition: bytes  #: of the job's app as it was then: :func:`eratos.marathon.stored.to_record` as JSON
    start_by: float = 0.0  #: it is missed where nothing of it could be launched until then; 0: whenever it can
    retries: bool = False  #: a task that failed is followed by another one,
    retry_until: float = 0.0  #: until then; 0: without end
    replaces: bool = False  #: it waits for the runs before it, which were stopped for it
    launched: bool = False  #: a task of it was launched, whatever became of it
    stopping: bool = False
    tries: int = 0  #: tasks that have ended
    tasks: tuple[TaskRecord, ...] = ()  #: the latest of them, the last one last

    @property
    def path(self) -> str:
        """Its id among those of apps, of which none can be the same: they hold no capital letters."""
        return f"{path_of(self.job_id)}/{self.run_id}"


@dataclass(frozen=True, slots=True)
class EndedRun:
    """A run of a job that has ended."""

    run_id: str
    instant: float
    created_at: float
    ended_at: float
    outcome: str  #: ``SUCCESS``, ``FAILED``, or ``MISSED``: nothing of it could be launched in time
    message: str = ""  #: why it did not succeed
    tries: int = 0
    tasks: tuple[TaskRecord, ...] = ()


@dataclass(frozen=True, slots=True)
class Missed:
    """An instant of a schedule for which no run was started."""

    schedule_id: str
    instant: float
    reason: str


@dataclass(frozen=True, slots=True)
class HistoryRecord:
    """What became of a job's instants and runs: how many there were, and the latest of them, the last one last."""

    job_id: str
    decided: Mapping[str, float] = field(default_factory=dict)  #: schedule -> the instant up to which nothing is left to decide
    successes: int = 0
    failures: int = 0
    missed: int = 0
    last_success_at: float = 0.0
    last_failure_at: float = 0.0
    last_missed_at: float = 0.0
    runs: tuple[EndedRun, ...] = ()
    latest_missed: tuple[Missed, ...] = ()


#: The framework's id, or what the key speaks of.
Record = (
    str
    | App
    | VersionRecord
    | DeploymentRecord
    | ChangeRecord
    | GroupRecord
    | InstanceRecord
    | Job
    | RunRecord
    | HistoryRecord
    | QuotaRecord
    | VolumeRecord
    | SweepRecord
    | DrainRecord
    | BudgetRecord
)


@dataclass(frozen=True, slots=True)
class Stored:
    """All that a store held when the scheduler became leader."""

    framework_id: str = ""
    apps: tuple[App, ...] = ()
    instances: tuple[InstanceRecord, ...] = ()
    versions: tuple[VersionRecord, ...] = ()
    deployments: tuple[DeploymentRecord, ...] = ()
    changes: tuple[ChangeRecord, ...] = ()
    groups: tuple[GroupRecord, ...] = ()
    jobs: tuple[Job, ...] = ()
    runs: tuple[RunRecord, ...] = ()
    histories: tuple[HistoryRecord, ...] = ()
    quotas: tuple[QuotaRecord, ...] = ()
    volumes: tuple[VolumeRecord, ...] = ()
    sweeps: tuple[SweepRecord, ...] = ()
    drains: tuple[DrainRecord, ...] = ()
    budgets: tuple[BudgetRecord, ...] = ()
    spoilt: dict[str, str] = field(default_factory=dict)  #: key -> why it could not be read; left in the store as it is
