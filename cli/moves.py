"""Waits until an instance has moved to another host with its volumes, and says meanwhile how far it is."""

from __future__ import annotations

from typing import Any

from eratos.common.errors import PermanentError
from eratos.marathon.client import MarathonClient, Unreachable

from . import wait
from .wait import POLL_S, Interrupted, Patience, TookTooLong, without_seconds


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
    try:
        _until_copied(client, move, patience, again)
    except KeyboardInterrupt:
        raise Interrupted(f"waiting no longer; {again}") from None
    wait.until_ready(client, [move["app"]], patience)


def _until_copied(client: MarathonClient, move: dict[str, Any], patience: Patience, again: str) -> None:
    told, volumes = "", set(move["volumes"])
    while True:
        try:
            under_way = [found for found in client.moves() if volumes & set(found["volumes"])]
            line = under_way[0]["message"] if under_way else ""
            if not under_way:
                _check(client, move)
                return
        except Unreachable as error:
            line = f"no scheduler can say it just now, as in an election; still waiting: {error}"
        if without_seconds(line) != told:
            patience.tell(f"{move['app']}: {line}")
            told = without_seconds(line)
        if patience.over:
            raise TookTooLong(f"not there after {patience.timeout_s:g} s: {line}; {again}")
        patience.sleep(POLL_S)


def _check(client: MarathonClient, move: dict[str, Any]) -> None:
    """Raise StayedThere where a move that is over came to nothing."""
    volumes = set(move["volumes"])
    found = client.volumes()
    if any(item["copyOf"] in volumes and item["use"] not in ("copying", "deleting") for item in found):
        return
    why = next((item["message"] for item in found if item["id"] in volumes and item["message"]), "its volumes are gone")
    raise StayedThere(f"{move['app']}: {why}")
