"""Follows the stream of events, over elections and cut connections, and says each in a line."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from typing import Any, Final

from eratos.marathon.client import MarathonClient, Refused, Unreachable

from .tasks import short

#: Before the stream is opened again.
AGAIN_S: Final = 1.0
#: Fields that say what an event is about, in this order; ``--json`` shows all.
_TOLD: Final = ("appId", "runSpecId", "groupId", "taskStatus", "condition", "alive", "host", "master", "reason", "message", "uri")


def follow(
    client: MarathonClient, kinds: Iterable[str], say: Callable[[str], object], sleep: Callable[[float], object], after: str = ""
) -> Iterator[dict[str, Any]]:
    """Yield events without end, behind the one with the id ``after``. Raises Refused, and Unreachable at the first try.

    An outage is logged once, and ends when a scheduler answers; eratos then sends what was missed.
    """
    stream = client.events(after=after, kinds=kinds)
    complaint = ""
    while True:
        try:
            for event_id, event in stream:
                after, complaint = event_id or after, ""
                yield event
            failure = "the stream of events ended"
        except Unreachable as error:
            failure = str(error)
        while failure:
            if failure != complaint:
                say(f"{failure}; trying again")
                complaint = failure
            sleep(AGAIN_S)
            try:
                stream, failure = client.events(after=after, kinds=kinds), ""
            except Refused as refused:
                if refused.status != 401:
                    raise
                raise Refused(401, f"what we show is not believed any more, as with an expired token: {refused}") from None
            except Unreachable as error:
                failure = str(error)


def about(event: dict[str, Any], name: str) -> bool:
    """Return whether an event is about an app or a pod, or what lies below a group."""
    return any(one == name or one.startswith(name.rstrip("/") + "/") for one in _names(event))


def line(event: dict[str, Any]) -> str:
    """Return an event for people: when, what, to whom."""
    at = datetime.fromisoformat(str(event.get("timestamp")).replace("Z", "+00:00")).astimezone()
    words = [f"{at:%H:%M:%S}", str(event.get("eventType", "")).removesuffix("_event")]
    if plan := event.get("plan"):
        words.append(f"{plan.get('id')} {', '.join(_actions(event)) or ', '.join(_names(event))}".strip())
    words += [str(event[key]) for key in _TOLD if event.get(key) not in (None, "")]
    words += [short(str(event[key])) for key in ("taskId", "instanceId") if event.get(key)][:1]
    return "  ".join("".join(c if c.isprintable() else " " for c in word) for word in words)


def _actions(event: dict[str, Any]) -> list[str]:
    step = event.get("currentStep") or {}
    return [f"{one.get('action') or one.get('type')} {one.get('app') or one.get('pod')}" for one in step.get("actions") or ()]


def _names(event: dict[str, Any]) -> list[str]:
    """Return the apps and pods that an event names."""
    steps = [event.get("currentStep") or {}, *((event.get("plan") or {}).get("steps") or ())]
    found = [event.get("appId"), event.get("runSpecId"), (event.get("appDefinition") or {}).get("id")]
    found += [one.get("app") or one.get("pod") for step in steps for one in step.get("actions") or ()]
    return list(dict.fromkeys(str(one) for one in found if one))
