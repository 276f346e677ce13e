"""The disaster brake: when much is lost at once, first stop doing harm. Pure.

A network that breaks, a master that comes back with half of its agents, a store that was put back to an older state: in
each case most of what looks lost is still there, and a scheduler that kills and relaunches makes the trouble its own
(Singularity's disaster detection is the model). So while the brake is engaged nothing is launched, no instance is stopped,
given up or killed for being unknown. It releases itself once most of what was lost has shown a sign of life again, and an
operator may release it at any time.
"""

from __future__ import annotations

from dataclasses import dataclass, field

#: Losses count together when they come within this time.
WINDOW_S = 60.0
#: Losing fewer hosts than these is everyday business, however small the cluster.
HOSTS_LEAST = 3
#: Fewer tasks than these that no record stands for are left-overs of everyday faults.
UNKNOWN_LEAST = 10


@dataclass(slots=True)
class Brake:
    """What was lost lately. ``share`` is the part of all hosts or tasks whose loss engages the brake; 0: never."""

    share: float = 0.2
    engaged_at: float = 0.0  #: 0: it is not
    reason: str = ""
    lost: dict[str, tuple[float, int]] = field(default_factory=dict)  #: host name -> since when, tasks lost there
    _hosts: int = 0  #: with tasks, and how many tasks, when the first of the present losses came
    _tasks: int = 0
    _pardoned: int = 0  #: unknown tasks that were there when an operator released the brake

    @property
    def engaged(self) -> bool:
        return self.engaged_at > 0

    def lose(self, hostname: str, hosts: int, tasks: int, now: float) -> None:
        """Note the loss of a task on a host, out of so many hosts with tasks and so many tasks, itself included."""
        if not self.lost:
            self._hosts, self._tasks = hosts, tasks
        since, count = self.lost.get(hostname, (now, 0))
        self.lost[hostname] = (since, count + 1)

    def alive(self, hostname: str) -> None:
        """Note a sign of life of a host."""
        self.lost.pop(hostname, None)

    def assess(self, unknown: int, tasks: int, now: float) -> bool:
        """Engage or release; True: it was released just now. ``unknown`` tasks run without a record, out of ``tasks``."""
        self._pardoned = min(self._pardoned, unknown)
        unknown -= self._pardoned
        if not self.engaged:
            for hostname in [h for h, (since, _) in self.lost.items() if since <= now - WINDOW_S]:
                del self.lost[hostname]
            reason = self._disaster(unknown, tasks)
            if reason:
                self.engaged_at, self.reason = now, reason
            return False
        if self._lost_share() < self.share / 2 and unknown < max(UNKNOWN_LEAST, self.share * tasks):
            self.release()
            return True
        return False

    def release(self, unknown: int = 0) -> None:
        """Go on; what was lost until now, and so many unknown tasks, count no more."""
        self.engaged_at, self.reason = 0.0, ""
        self.lost.clear()
        self._pardoned = unknown

    def _lost_share(self) -> float:
        if not self.lost:
            return 0.0
        tasks = sum(count for _, count in self.lost.values())
        return max(len(self.lost) / max(self._hosts, 1), tasks / max(self._tasks, 1))

    def _disaster(self, unknown: int, tasks: int) -> str:
        if not self.share:
            return ""
        if len(self.lost) >= HOSTS_LEAST and self._lost_share() >= self.share:
            count = sum(count for _, count in self.lost.values())
            return (
                f"{len(self.lost)} of {self._hosts} hosts with {count} of {self._tasks} tasks were lost within {WINDOW_S:.0f} s: "
                "is the network or the master in trouble?"
            )
        if unknown >= max(UNKNOWN_LEAST, self.share * tasks):
            return (
                f"{unknown} tasks run that the store knows nothing of, and {tasks} that it knows: was it put back to an older "
                "state? Releasing the brake kills them"
            )
        return ""
