"""What an operator allows of tunnels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

EXEC: Final = "exec"
FORWARD: Final = "forward"
KINDS: Final = (EXEC, FORWARD)
#: In place of kinds: none is allowed.
NONE: Final = "none"


@dataclass(frozen=True, slots=True)
class TunnelLimits:
    """Settings of tunnels."""

    kinds: frozenset[str] = frozenset(KINDS)
    idle_s: float = 1800.0  #: one through which nothing goes for so long is ended
    commands: int = 20  #: that run at the same time
    connections: int = 200  #: forwarded at the same time
