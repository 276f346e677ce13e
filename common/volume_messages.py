"""What scheduler and executors say of volumes in Mesos' messages, which may get lost: the scheduler repeats its own.

A volume is destroyed on a user's wish alone, and often long after the last task of its app has ended there; so there is no task
whose instruction or whose state could carry it.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Final, Self

_DESTROY: Final = "destroyVolume"
_DESTROYED: Final = "volumeDestroyed"


@dataclass(frozen=True, slots=True)
class DestroyVolume:
    """To an executor: destroy a volume of this app."""

    volume_id: str
    app_id: str

    def to_bytes(self) -> bytes:
        return json.dumps({_DESTROY: asdict(self)}).encode()

    @classmethod
    def from_bytes(cls, data: bytes) -> Self | None:
        """Read a message; None for one of another kind, or for none at all."""
        found = _read(data, _DESTROY)
        return cls(found["volume_id"], found["app_id"]) if found.keys() >= {"volume_id", "app_id"} else None


@dataclass(frozen=True, slots=True)
class VolumeDestroyed:
    """To the scheduler: a volume is not there any more, or why it still is."""

    volume_id: str
    error: str = ""

    def to_bytes(self) -> bytes:
        return json.dumps({_DESTROYED: asdict(self)}).encode()

    @classmethod
    def from_bytes(cls, data: bytes) -> Self | None:
        """Read a message; None for one of another kind, or for none at all."""
        found = _read(data, _DESTROYED)
        return cls(found["volume_id"], found["error"]) if found.keys() >= {"volume_id", "error"} else None


def _read(data: bytes, kind: str) -> dict[str, str]:
    try:
        message = json.loads(data)
    except ValueError:
        return {}
    found = message.get(kind) if isinstance(message, dict) else None
    return {key: value for key, value in found.items() if isinstance(value, str)} if isinstance(found, dict) else {}
