"""Asking Mesos for the states of tasks until each was answered (docs/reconciliation.md, Algorithm; rules 11 to 17).

After every subscription all tasks with a launch are asked for explicitly, again and again with truncated exponential
back-off; no answer does not mean lost. When all were answered, one implicit request (an empty list) shows tasks that only
the master knows. Both are repeated now and then.
"""

from __future__ import annotations

from collections.abc import Iterable

from eratos.common import backoff

FIRST_S = 2.0
MOST_S = 60.0
PERIOD_S = 600.0  #: between full rounds; Marathon's is the same
#: Ids in one RECONCILE call: keeps single calls small.
BATCH = 1000


class Reconciliation:
    """The one round under way; a new one replaces it (rule 12)."""

    def __init__(self) -> None:
        self.unanswered: set[str] = set()  #: ids of instances, which exist anyway, for those of their tasks
        self._attempt = 0
        self._implicit_due = False

    def start(self, instance_ids: Iterable[str]) -> None:
        """Begin a round over the present tasks of these instances."""
        self.unanswered = set(instance_ids)
        self._attempt = 0
        self._implicit_due = True

    def stop(self) -> None:
        self.unanswered.clear()
        self._implicit_due = False

    def answered(self, instance_id: str) -> None:
        self.unanswered.discard(instance_id)
        if not self.unanswered:
            self.unanswered = set()  # an emptied one keeps the room that it once took

    def step(self) -> tuple[list[list[str]], float]:
        """Return (instances to ask about now, batch by batch; delay until the next step). An empty batch is everything."""
        if self.unanswered:
            delay = backoff.exponential_s(self._attempt, first_s=FIRST_S, factor=2, most_s=MOST_S)
            self._attempt += 1
            ids = sorted(self.unanswered)
            return [ids[i : i + BATCH] for i in range(0, len(ids), BATCH)], delay
        if self._implicit_due:
            self._implicit_due = False
            return [[]], PERIOD_S
        return [], PERIOD_S
