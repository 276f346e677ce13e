"""Waits until an instance has moved to another host with its volumes, and says meanwhile how far it is."""

from __future__ import annotations

from typing import Any

from eratos.common.errors import PermanentError
from eratos.marathon.client import MarathonClient

from . import wait
from .patience import Look, Patience, until


class StayedThere(PermanentError):
    """A move came to nothing."""


def begun(client: MarathonClient, name: str, to: str, *, wipe: bool) -> dict[str, Any]:
    """Begin to move an app's only instance with volumes, or the instance that is named; return the move. Raises Refused."""
    instance = "/" not in name and ".instance-" in name
    found = client.move(instance=name, to=to, wipe=wipe) if instance else client.move(app=name, to=to, wipe=wipe)
    return dict(found[0]) if found else {}


def until_there(client: MarathonClient, move: dict[str, Any], patience: Patience) -> None:
    """Return once the instance is ready on the other host. Raises StayedThere, TookTooLong and Interrupted, and Refused."""
    again = f"the move goes on; eratos app explain {move['app']} says how far it is, eratos move --cancel {move['app']} ends it"
    volumes = set(move["volumes"])

    def look() -> Look[bool]:
        under_way = [found for found in client.moves() if volumes & set(found["volumes"])]
        if not under_way:
            _check(client, move)
            return Look({}, True)
        line = f"{move['app']}: {under_way[0]['message']}"
        return Look({"": line}, None, line)

    until(look, patience, "there", again)
    wait.until_ready(client, [move["app"]], patience)


def _check(client: MarathonClient, move: dict[str, Any]) -> None:
    """Raise StayedThere where a move that is over came to nothing."""
    volumes = set(move["volumes"])
    found = client.volumes()
    if any(item["copyOf"] in volumes and item["use"] not in ("copying", "deleting") for item in found):
        return
    why = next((item["message"] for item in found if item["id"] in volumes and item["message"]), "its volumes are gone")
    raise StayedThere(f"{move['app']}: {why}")
