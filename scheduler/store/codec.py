"""Records as bytes and back. Every back end uses it; nothing else knows what a stored record looks like.

An app or an instance is JSON with its schema version beside it, ``{"schema": 1, "record": {...}}``. So records of several
versions can lie next to each other and an upgrade rewrites nothing: what is read is brought up to date, what is written
is of today. The framework id is plain text, for an operator may have to type it one day.

To change the form of a record, raise :data:`SCHEMA` and add the step from the version before to :data:`MIGRATIONS`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Final

import msgspec

from eratos.marathon.app import App

from ..core.records import APPS, FRAMEWORK_ID, INSTANCES, InstanceRecord, Stored
from .errors import StoreUnusable

#: The form that is written, and the newest one that is read. Each back end also notes the newest form ever written to
#: it and refuses to open where that is newer than this: an older version would drop what it does not know.
SCHEMA: Final = 2

#: Beside an app's definition in its record: balancers serve it by the rules of schema 1, which did not wait to be asked.
_UNASKED: Final = "balancedUnasked"


def _apps_of_1(fields: dict[str, Any]) -> dict[str, Any]:
    return {**fields, _UNASKED: True}


def _unchanged(fields: dict[str, Any]) -> dict[str, Any]:
    return fields


#: (kind, schema) -> the step that makes a record of that schema one of the next; kind is ``apps/`` or ``instances/``.
MIGRATIONS: Final[dict[tuple[str, int], Callable[[dict[str, Any]], dict[str, Any]]]] = {
    (APPS, 1): _apps_of_1,
    (INSTANCES, 1): _unchanged,
}


class _Envelope(msgspec.Struct):
    schema: int
    record: msgspec.Raw


_envelope_decoder = msgspec.json.Decoder(_Envelope)
_instance_decoder = msgspec.json.Decoder(InstanceRecord)
_encoder = msgspec.json.Encoder()
#: Fields that many instances have in common: those of the app and of the agent, and ports, of which hosts have the same.
_REPEATED: Final = ("app_id", "app_version", "agent_id", "hostname", "ports", "state", "addresses", "zone", "region")


def encode(key: str, record: str | App | InstanceRecord) -> bytes:
    """Return a record's bytes. Raises ValueError where key and record do not belong together: the caller's mistake."""
    match record:
        case str() if key == FRAMEWORK_ID and record:
            return record.encode()
        case InstanceRecord() if key == INSTANCES + record.instance_id:
            return _encoder.encode({"schema": SCHEMA, "record": record})
        case App() if key == APPS + record.id:
            mark = {_UNASKED: True} if record.unasked else {}
            return _encoder.encode({"schema": SCHEMA, "record": record.to_json() | mark})
    raise ValueError(f"a record of type {type(record).__name__} cannot be stored under {key!r}")


def decode_all(items: Iterable[tuple[str, bytes]]) -> Stored:
    """Read everything that a store holds; what cannot be read is set aside under its key.

    So are the instances of an app that cannot be read: without it they would be taken for leftovers, and stopped.
    Raises StoreUnusable where the framework id cannot be read: starting without it would abandon every task (rule 2).
    """
    framework_id = ""
    apps: list[App] = []
    instances: list[InstanceRecord] = []
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
            else:
                spoilt[key] = "no record of a known kind"
        except Exception as error:  # edge: one poisoned record must not stop the rest, whatever its reader raised
            spoilt[key] = f"{type(error).__name__}: {error}"
    spoilt |= {
        INSTANCES + record.instance_id: f"the record of its app, {APPS}{record.app_id}, cannot be read"
        for record in instances
        if APPS + record.app_id in spoilt
    }
    whole = tuple(record for record in instances if INSTANCES + record.instance_id not in spoilt)
    return Stored(framework_id, tuple(apps), whole, spoilt)


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
    fields = _migrated(APPS, _envelope_decoder.decode(data))
    unasked = bool(fields.pop(_UNASKED, False))
    app = App.restore(fields)
    if unasked:
        # Where it changes nothing, nothing has to be remembered.
        as_before = app.with_unasked(True)
        app = as_before if as_before.routing_meta != app.routing_meta else app
    if key != APPS + app.id:
        raise ValueError(f"holds the record of app {app.id}")
    return app


def _migrated(kind: str, envelope: _Envelope) -> dict[str, Any]:
    if not 1 <= envelope.schema <= SCHEMA:
        raise ValueError(f"is of schema {envelope.schema}, this version reads 1 to {SCHEMA}")
    fields: dict[str, Any] = msgspec.json.decode(envelope.record, type=dict)
    for schema in range(envelope.schema, SCHEMA):
        fields = MIGRATIONS[kind, schema](fields)
    return fields
