"""Records as bytes and back. Every back end uses it; nothing else knows what a stored record looks like.

All but the framework id is JSON with its schema version beside it, ``{"schema": 1, "record": {...}}``. So records of several
versions can lie next to each other and an upgrade rewrites nothing: what is read is brought up to date, what is written
is of today. The framework id is plain text, for an operator may have to type it one day.

To change the form of a record, raise :data:`SCHEMA` and add the step from the version before to :data:`MIGRATIONS`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Final, TypeVar

import msgspec

from eratos.marathon import job, stored
from eratos.marathon.app import App
from eratos.marathon.job import Job

from ..core.records import (
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
    BudgetRecord,
    ChangeRecord,
    DeploymentRecord,
    DrainRecord,
    GroupRecord,
    HistoryRecord,
    InstanceRecord,
    QuotaRecord,
    Record,
    RunRecord,
    Stored,
    SweepRecord,
    TaskRecord,
    VersionRecord,
    VolumeRecord,
)
from ..core.runs import app_of
from .errors import StoreUnusable

R = TypeVar("R")

#: The form that is written, and the newest one that is read. Each back end also notes the newest form ever written to
#: it and refuses to open where that is newer than this: an older version would drop what it does not know.
SCHEMA: Final = 5


def _apps_of_1(fields: dict[str, Any]) -> dict[str, Any]:
    return {**fields, stored.UNASKED: True}


def _unchanged(fields: dict[str, Any]) -> dict[str, Any]:
    return fields


#: (kind, schema) -> the step that makes a record of that schema one of the next; kind is the beginning of its key.
MIGRATIONS: Final[dict[tuple[str, int], Callable[[dict[str, Any]], dict[str, Any]]]] = {
    (APPS, 1): _apps_of_1,
    (INSTANCES, 1): _unchanged,
    # Since schema 3 there are versions, deployments and changes beside them; a version's definition is a record of an app.
    (APPS, 2): _unchanged,
    (INSTANCES, 2): _unchanged,
    # Since schema 4 there are jobs, runs and histories, whose instances a version before would stop, and quotas.
    **{(kind, 3): _unchanged for kind in (APPS, INSTANCES, VERSIONS, DEPLOYMENTS, CHANGES, GROUPS)},
    # Since schema 5 there are volumes, of which a version before would know nothing, nor that an instance has some.
    **{(kind, 4): _unchanged for kind in (APPS, INSTANCES, VERSIONS, DEPLOYMENTS, CHANGES, GROUPS)},
    **{(kind, 4): _unchanged for kind in (JOBS, RUNS, HISTORIES, QUOTAS)},
}


class _Envelope(msgspec.Struct):
    schema: int
    record: msgspec.Raw


class _Run(msgspec.Struct, omit_defaults=True):
    """As :class:`RunRecord`, with the definition as part of the JSON."""

    job_id: str
    run_id: str
    instant: float
    created_at: float
    definition: msgspec.Raw
    start_by: float = 0.0
    retries: bool = False
    retry_until: float = 0.0
    replaces: bool = False
    launched: bool = False
    stopping: bool = False
    tries: int = 0
    tasks: tuple[TaskRecord, ...] = ()


class _Version(msgspec.Struct, omit_defaults=True):
    """As :class:`VersionRecord`, with the definition as part of the JSON."""

    app_id: str
    version: str
    definition: msgspec.Raw
    came_back: tuple[str, ...] = ()
    scaled_at: str = ""


_envelope_decoder = msgspec.json.Decoder(_Envelope)
_instance_decoder = msgspec.json.Decoder(InstanceRecord)
_version_decoder = msgspec.json.Decoder(_Version)
_run_decoder = msgspec.json.Decoder(_Run)
_encoder = msgspec.json.Encoder()
#: Fields that many instances have in common: those of the app and of the agent, and ports, of which hosts have the same.
_REPEATED: Final = ("app_id", "app_version", "agent_id", "hostname", "ports", "state", "addresses", "zone", "region", "role")


#: Kinds of records that are stored as they are, each with the field that is the rest of its key.
_PLAIN: Final[dict[str, tuple[type[Any], str]]] = {
    DEPLOYMENTS: (DeploymentRecord, "deployment_id"),
    CHANGES: (ChangeRecord, "app_id"),
    GROUPS: (GroupRecord, "group_id"),
    HISTORIES: (HistoryRecord, "job_id"),
    QUOTAS: (QuotaRecord, "path"),
    VOLUMES: (VolumeRecord, "volume_id"),
    SWEEPS: (SweepRecord, "hostname"),
    DRAINS: (DrainRecord, "hostname"),
    BUDGETS: (BudgetRecord, "app_id"),
}
#: The same by the form of a record.
_KIND_OF: Final = {form: (kind, name) for kind, (form, name) in _PLAIN.items()}


def encode(key: str, record: Record) -> bytes:
    """Return a record's bytes. Raises ValueError where key and record do not belong together: the caller's mistake."""
    match record:
        case str() if key == FRAMEWORK_ID and record:
            return record.encode()
        case InstanceRecord() if key == INSTANCES + record.instance_id:
            return _encoder.encode({"schema": SCHEMA, "record": record})
        case App() if key == APPS + record.id:
            return _encoder.encode({"schema": SCHEMA, "record": stored.to_record(record)})
        case VersionRecord() if key == record.key:
            return _encoder.encode({"schema": SCHEMA, "record": _version_out(record)})
        case Job() if key == JOBS + record.id:
            return _encoder.encode({"schema": SCHEMA, "record": record.to_json()})
        case RunRecord() if key == RUNS + record.path:
            return _encoder.encode({"schema": SCHEMA, "record": _run_out(record)})
        case _ if type(record) in _KIND_OF:
            kind, name = _KIND_OF[type(record)]
            if key == kind + getattr(record, name):
                return _encoder.encode({"schema": SCHEMA, "record": record})
    raise ValueError(f"a record of type {type(record).__name__} cannot be stored under {key!r}")


def decode_all(items: Iterable[tuple[str, bytes]]) -> Stored:
    """Read everything that a store holds; what cannot be read is set aside under its key.

    So are the instances of an app or a run that cannot be read: without it they would be taken for leftovers, and stopped.
    Raises StoreUnusable where the framework id cannot be read: starting without it would abandon every task (rule 2).
    """
    framework_id = ""
    apps: list[App] = []
    instances: list[InstanceRecord] = []
    versions: list[VersionRecord] = []
    jobs: list[Job] = []
    runs: list[RunRecord] = []
    plain: dict[str, list[Any]] = {kind: [] for kind in _PLAIN}
    spoilt: dict[str, str] = {}
    shared: dict[Any, Any] = {}
    for key, data in items:
        if key == FRAMEWORK_ID:
            framework_id = _framework_id(data)
            continue
        try:
            if key.startswith(INSTANCES):
                instances.append(_sharing(_instance(key, data), shared))
            elif key.startswith(APPS):
                apps.append(_app(key, data))
            elif key.startswith(VERSIONS):
                versions.append(_version(key, data))
            elif key.startswith(JOBS):
                jobs.append(_job(key, data))
            elif key.startswith(RUNS):
                runs.append(_run(key, data))
            elif (kind := key.partition("/")[0] + "/") in _PLAIN:
                plain[kind].append(_plain(kind, key, data, *_PLAIN[kind]))
            else:
                spoilt[key] = "no record of a known kind"
        except Exception as error:  # edge: one poisoned record must not stop the rest, whatever its reader raised
            spoilt[key] = f"{type(error).__name__}: {error}"
    spoilt |= {
        INSTANCES + record.instance_id: f"the record of its {what}, {kind}{record.app_id}, cannot be read"
        for record in instances
        for what, kind in (("app", APPS), ("run", RUNS))
        if kind + record.app_id in spoilt
    }
    whole = tuple(record for record in instances if INSTANCES + record.instance_id not in spoilt)
    return Stored(
        framework_id,
        tuple(apps),
        whole,
        tuple(versions),
        tuple(plain[DEPLOYMENTS]),
        tuple(plain[CHANGES]),
        tuple(plain[GROUPS]),
        tuple(jobs),
        tuple(runs),
        tuple(plain[HISTORIES]),
        tuple(plain[QUOTAS]),
        tuple(plain[VOLUMES]),
        tuple(plain[SWEEPS]),
        tuple(plain[DRAINS]),
        tuple(plain[BUDGETS]),
        spoilt,
    )


def _framework_id(data: bytes) -> str:
    try:
        text = data.decode("ascii")
    except UnicodeDecodeError:
        text = ""
    if not text.strip() or not text.isprintable():
        raise StoreUnusable(
            f"the stored framework id is damaged ({data[:80]!r}): write the right one, which the Mesos master lists, into "
            f"the store's record {FRAMEWORK_ID}; or name another store to begin as a new framework without the old tasks"
        )
    return text


def _instance(key: str, data: bytes) -> InstanceRecord:
    envelope = _envelope_decoder.decode(data)
    if envelope.schema == SCHEMA:
        record = _instance_decoder.decode(envelope.record)
    else:
        record = msgspec.convert(_migrated(INSTANCES, envelope), InstanceRecord)
    if key != INSTANCES + record.instance_id:
        raise ValueError(f"holds the record of instance {record.instance_id}")
    return record


def _sharing(record: InstanceRecord, shared: dict[Any, Any]) -> InstanceRecord:
    """Make what many records have in common one object, which keeps hundreds of thousands of them small."""
    for name in _REPEATED:
        value = getattr(record, name)
        object.__setattr__(record, name, shared.setdefault(value, value))
    return record


def _app(key: str, data: bytes) -> App:
    app = stored.from_record(_migrated(APPS, _envelope_decoder.decode(data)))
    if key != APPS + app.id:
        raise ValueError(f"holds the record of app {app.id}")
    return app


def _version_out(record: VersionRecord) -> _Version:
    definition = msgspec.Raw(record.definition)
    return _Version(record.app_id, record.version, definition, record.came_back, record.scaled_at)


def _version(key: str, data: bytes) -> VersionRecord:
    envelope = _envelope_decoder.decode(data)
    if envelope.schema == SCHEMA:
        read = _version_decoder.decode(envelope.record)
        definition = bytes(read.definition)
    else:
        fields = _migrated(VERSIONS, envelope)
        definition = _encoder.encode(_stepped(APPS, envelope.schema, fields["definition"]))
        read = _version_decoder.decode(_encoder.encode(fields))
    record = VersionRecord(read.app_id, read.version, definition, read.came_back, read.scaled_at)
    if key != record.key:
        raise ValueError(f"holds the record of {record.key}")
    return record


def _job(key: str, data: bytes) -> Job:
    found = job.restore(_migrated(JOBS, _envelope_decoder.decode(data)))
    if key != JOBS + found.id:
        raise ValueError(f"holds the record of job {found.id}")
    return found


def _run_out(record: RunRecord) -> _Run:
    return _Run(
        **{name: getattr(record, name) for name in _Run.__struct_fields__ if name != "definition"},
        definition=msgspec.Raw(record.definition),
    )


def _run(key: str, data: bytes) -> RunRecord:
    envelope = _envelope_decoder.decode(data)
    fields = _migrated(RUNS, envelope)
    definition = _stepped(APPS, envelope.schema, fields["definition"])
    read = _run_decoder.decode(_encoder.encode({**fields, "definition": definition}))
    record = RunRecord(
        **{name: getattr(read, name) for name in _Run.__struct_fields__ if name != "definition"},
        definition=_encoder.encode(definition),
    )
    if key != RUNS + record.path:
        raise ValueError(f"holds the record of {RUNS}{record.path}")
    app_of(record)  # one that cannot be read must not stop the rest
    return record


def _plain(kind: str, key: str, data: bytes, form: type[R], name: str) -> R:
    record = msgspec.convert(_migrated(kind, _envelope_decoder.decode(data)), form)
    if key != kind + getattr(record, name):
        raise ValueError(f"holds the record of {kind}{getattr(record, name)}")
    return record


def _migrated(kind: str, envelope: _Envelope) -> dict[str, Any]:
    if not 1 <= envelope.schema <= SCHEMA:
        raise ValueError(f"is of schema {envelope.schema}, this version reads 1 to {SCHEMA}")
    return _stepped(kind, envelope.schema, msgspec.json.decode(envelope.record, type=dict))


def _stepped(kind: str, schema: int, fields: dict[str, Any]) -> dict[str, Any]:
    for before in range(schema, SCHEMA):
        fields = MIGRATIONS[kind, before](fields)
    return fields
