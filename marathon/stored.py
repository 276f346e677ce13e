"""An app with all that a store keeps of it: Marathon's JSON, and beside it what no user can state."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from . import definition, pod_definition
from .app import App

#: Balancers serve it by the rules of a former version, which did not wait to be asked.
UNASKED: Final = "balancedUnasked"
#: The indexes of its ports whose service port the scheduler chose.
_ASSIGNED: Final = "assignedServicePorts"
#: Fields of it that were given and have no effect, for explain.
_DROPPED: Final = "notHeeded"


def to_record(app: App) -> dict[str, Any]:
    """Return all that there is of an app as JSON."""
    marks: dict[str, Any] = {UNASKED: True} if app.unasked else {}
    if app.assigned:
        marks[_ASSIGNED] = sorted(app.assigned)
    if app.dropped:
        marks[_DROPPED] = app.dropped
    return app.to_json() | marks


def from_record(record: Mapping[str, Any]) -> App:
    """Read what :func:`to_record` returned. Raises InvalidApp."""
    app: App = pod_definition.restore(shown(record)) if is_pod(record) else definition.restore(shown(record))
    if dropped := record.get(_DROPPED):
        app = app.with_dropped((place, reason) for place, reason in dropped)
    if assigned := record.get(_ASSIGNED):
        app = app.with_assigned(assigned)
    if record.get(UNASKED):
        # Where it changes nothing, nothing has to be remembered.
        as_before = app.with_unasked(True)
        app = as_before if as_before.routing_meta != app.routing_meta else app
    return app


def shown(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return the part of a record that users see."""
    return {key: value for key, value in record.items() if key not in (UNASKED, _ASSIGNED, _DROPPED)}


def is_pod(document: Mapping[str, Any]) -> bool:
    """Return whether a document is a pod's: no app has containers, and no pod is without."""
    return "containers" in document
