"""What tests of deployments have in common: how a core answered, labels of apps, and a new version that fails."""

from __future__ import annotations

from typing import Any

from eratos.scheduler.core import actions

from .builders import an_offer
from .core import of
from .kept_core import Kept


def reply(out: list[actions.Action]) -> actions.Reply:
    [found] = of(actions.Reply, out)
    return found


def refusal(out: list[actions.Action]) -> actions.Refuse:
    [found] = of(actions.Refuse, out)
    return found


def labelled(**labels: str) -> dict[str, Any]:
    return {"labels": {f"ERATOS_{name}": value for name, value in labels.items()}}


def fail_new(core: Kept) -> None:
    """Let one instance of the new version fail."""
    core.launch(an_offer("a1"))
    new = next(i for i in core.state.with_task() if i.launching)
    core.status(new.task_id, "FAILED", agent=new.agent_id)
