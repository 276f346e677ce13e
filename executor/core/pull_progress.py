"""Whether a pull of an image gets anywhere, pure: from the events of Docker's ``POST /images/create``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

#: What has to come in the time that a pull is given; a registry that trickles less holds up others for nothing.
LEAST_BYTES: Final = 64 * 1024
#: What a layer says of itself while it needs the registry, and while it needs the daemon alone.
_FETCHING: Final = ("Downloading", "Retrying")
_LOCAL: Final = ("Waiting", "Extracting", "Verifying Checksum")
_IDLE: Final = ("Waiting", "Pulling fs layer", "Retrying")


class PullProgress:
    """One pull."""

    def __init__(self, now: float, stall_s: float) -> None:
        """``stall_s`` is how long it may bring less than ``LEAST_BYTES`` and finish nothing."""
        self._stall_s = stall_s
        self._moved_at = now
        self._brought = 0  #: bytes since then
        self._layers: dict[str, tuple[str, int]] = {}  #: state and bytes by layer

    def take(self, event: Mapping[str, Any], now: float) -> None:
        """Take note of one event."""
        layer, state = str(event.get("id", "")), str(event.get("status", ""))
        _, before = self._layers.get(layer, ("", 0))
        count = 0 if state.startswith("Retrying") else before
        if state.startswith("Downloading"):
            detail = event.get("progressDetail")
            count = int(detail.get("current") or 0) if isinstance(detail, Mapping) else 0
            self._brought += max(0, count - before)
        self._layers[layer] = (state, count)
        if self._brought >= LEAST_BYTES or not state.startswith((*_IDLE, "Downloading")):
            self._moved_at, self._brought = now, 0

    def stalled(self, now: float) -> bool:
        """Return whether its time is over. What waits for the daemon alone, disk or other pulls, is not the registry's fault."""
        if now < self._moved_at + self._stall_s:
            return False
        states = [state for state, _ in self._layers.values()]
        return any(state.startswith(_FETCHING) for state in states) or not any(state.startswith(_LOCAL) for state in states)
