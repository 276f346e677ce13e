"""The owner of a process or a container, by which a later executor knows left-overs of its own from what belongs to others."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import astuple, dataclass

from .host import Host


@dataclass(frozen=True, slots=True)
class Mark:
    """The labels of a container, for what can carry one text only."""

    framework_id: str
    host: str
    agent_id: str
    executor_id: str
    task_id: str

    def to_text(self) -> str:
        return json.dumps(astuple(self))

    @classmethod
    def from_text(cls, text: str) -> Mark | None:
        """Read what :meth:`to_text` wrote; None for anything else."""
        try:
            fields = json.loads(text)
            return cls(*map(str, fields)) if isinstance(fields, list) else None
        except (ValueError, TypeError):
            return None

    def swept_by(self, host: Host, alive: Callable[[str], bool]) -> bool:
        """Return whether it is this executor's, or a dead one's of this host.

        ``alive`` says it of another executor of the same agent; those of earlier agent ids are dead.
        """
        if (self.framework_id, self.host) != (host.framework_id, host.name):
            return False
        own = self.agent_id != host.agent_id or self.executor_id == host.executor_id
        return own or not alive(self.executor_id)
