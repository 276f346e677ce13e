"""Waits until nothing is left on a host that is drained, and says meanwhile what is."""

from __future__ import annotations

from collections import Counter
from typing import Any

from eratos.marathon.client import MarathonClient

from .patience import Look, Patience, until


def until_empty(client: MarathonClient, host: str, patience: Patience) -> dict[str, Any]:
    """Return the drain once the host is empty. Raises TookTooLong, Interrupted, and Refused where it is drained no longer."""
    again = f"the drain goes on: eratos agent drain {host} waits again, eratos agent undrain {host} ends it"

    def look() -> Look[dict[str, Any]]:
        found = client.drained(host)
        line = progress(found)
        return Look({"": line}, found if found["empty"] else None, line)

    return until(look, patience, "empty", again)


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
