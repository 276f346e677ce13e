"""One ./dev at a time changes a cluster. The lock ends with the program that holds it, however that ends."""

from __future__ import annotations

import contextlib
import fcntl
import time
from collections.abc import Iterator

from .settings import GENERATED, Settings
from .terminal import Problem

#: The locks that this program holds, as open files.
_held: list[int] = []
PACE_S = 0.1


@contextlib.contextmanager
def alone(settings: Settings, wait_s: float = 0.0) -> Iterator[None]:
    """Keep two runs from changing the same cluster at once. Raise Problem while another one does, for longer than ``wait_s``."""
    GENERATED.mkdir(parents=True, exist_ok=True)
    with (GENERATED / f"{settings.project}.lock").open("w") as lock:
        give_up = time.monotonic() + wait_s
        while not _taken(lock.fileno()):
            if time.monotonic() >= give_up:
                raise Problem(
                    f"another ./dev is changing the cluster {settings.project} right now",
                    "wait until it is done and run this again",
                )
            time.sleep(PACE_S)
        _held.append(lock.fileno())
        try:
            yield
        finally:
            _held.remove(lock.fileno())


def _taken(lock: int) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def held() -> tuple[int, ...]:
    """Return the locks for a program to inherit that must have ended, too, before another ./dev begins: kill -9 spares it."""
    return tuple(_held)
