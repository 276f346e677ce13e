"""Waits until nothing is left on a host that is drained, and says meanwhile what is."""

from __future__ import annotations

from collections import Counter
from typing import Any

from eratos.marathon.client import MarathonClient, Unreachable

from .wait import POLL_S, Interrupted, Patience, TookTooLong, without_seconds


def until_empty(client: MarathonClient, host: str, patience: Patience) -> dict[str, Any]:
    """Return the drain once the host is empty. Raises TookTooLong, Interrupted, and Refused where it is drained no longer."""
    again = f"the drain goes on: eratos agent drain {host} waits again, eratos agent undrain {host} ends it"
    try:
        return _until_empty(client, host, patience, again)
    except KeyboardInterrupt:
        raise Interrupted(f"waiting no longer; {again}") from None


def _until_empty(client: MarathonClient, host: str, patience: Patience, again: str) -> dict[str, Any]:
    told = ""
    while True:
        found: dict[str, Any] = {}
        try:
            found = client.drained(host)
            line = progress(found)
        except Unreachable as error:
            line = f"no scheduler can say it just now, as in an election; still waiting: {error}"
        if without_seconds(line) != told:
            patience.tell(line)
            told = without_seconds(line)
        if found.get("empty"):
            return found
        if patience.over:
            raise TookTooLong(f"not empty after {patience.timeout_s:g} s: {line}; {again}")
        patience.sleep(POLL_S)


def progress(found: dict[str, Any]) -> str:
    """Say what is left on a host that is drained."""
    left, host = found["left"], found["host"]
    if not left:
        return f"{host}: empty"
    states = Counter(str(item["state"]) for item in left)
    counted = ", ".join(f"{number} {state}" for state, number in sorted(states.items()))
    apps = ", ".join(sorted({str(item["app"]) for item in left}))
    until = f", stopped at {found['deadline']} at the latest" if "deadline" in found else ""
    if states["staying"] and not until:
        until = "; what stays does so until it ends, or until a --deadline"
    waits = "".join(f"; {item['app']} waits: {item['message']}" for item in found.get("waits", ()))
    return f"{host}: {len(left)} left ({counted}) of {apps}{until}{waits}"
