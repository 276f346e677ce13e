"""What is remembered from one round of offers to the next: whose turn it is, what is known of constraints, and when
REVIVE may be sent."""

from __future__ import annotations

from .constraints import Verdicts

#: The allocator gathers what happens for longer than this on most clusters.
REVIVE_LEAST_S = 0.25


def revive_every_s(agents: int, offers: float, most_s: float) -> float:
    """Return how long a REVIVE takes to earn: each brings an offer of each agent, ``offers`` a second; ``most_s`` at most."""
    return min(most_s, max(REVIVE_LEAST_S, agents / offers))


class Offering:
    """The memory of :mod:`offers`."""

    def __init__(self, revive_burst: int, now: float) -> None:
        #: host name -> the port after the last one given. It outlives the agent: where a host comes back, what Consul and
        #: balancers may still know of its old tasks must not lead to new ones.
        self.next_ports: dict[str, int] = {}
        self.verdicts = Verdicts()
        self.turn = 0
        self.filtered = False  #: offers were declined for long since the last REVIVE: only another one brings them back
        self.fresh = False  #: something began to wait since then, for which none of those was looked at
        self.looked_at = float("-inf")  #: when all agents were last looked at for somebody who watches
        self._revives_left = revive_burst
        self._revived_at = now

    def may_revive(self, now: float, *, burst: int, every_s: float) -> bool:
        """Take one REVIVE, if one is left: ``burst`` may follow each other, one more is earned each ``every_s`` (rule 28)."""
        earned = int((now - self._revived_at) / every_s)
        if earned:
            self._revives_left = min(burst, self._revives_left + earned)
            self._revived_at = now
        if self._revives_left <= 0:
            return False
        self._revives_left -= 1
        return True

    def next_revive_at(self, every_s: float) -> float:
        """Return when the next REVIVE is earned."""
        return self._revived_at + every_s
