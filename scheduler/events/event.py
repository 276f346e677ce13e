"""One thing that happened, under Marathon's names (Events.scala)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from eratos.common.times import timestamp


def action(name: str, app_id: str, *, pod: bool) -> dict[str, Any]:
    """Return an action of a deployment's step in Marathon's form; ``name`` is that of apps."""
    return {"action": name.replace("Application", "Pod"), "pod": app_id} if pod else {"action": name, "app": app_id}


@dataclass(frozen=True, slots=True)
class Event:
    """What happened to some apps; to none of them: to the scheduler."""

    kind: str  #: Marathon's ``eventType``
    at: float  #: seconds since the epoch
    fields: Mapping[str, Any]
    apps: frozenset[str] = frozenset()

    def document(self) -> dict[str, Any]:
        """Return its JSON."""
        return {**self.fields, "eventType": self.kind, "timestamp": timestamp(self.at)}


def of_app(kind: str, at: float, app_id: str, **fields: Any) -> Event:
    """Return an event of one app."""
    return Event(kind, at, fields, frozenset({app_id}))
