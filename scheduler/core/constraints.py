"""Marathon's constraints: where instances of an app may run, given where the others are.

Semantics as in Marathon's docs/constraints.md and Constraints.scala. A field is ``hostname``, ``@region``, ``@zone`` or the
name of an agent's attribute; on an agent that lacks the attribute only UNLIKE is fulfilled.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable

from eratos.marathon.app import App, Constraint

from .mesos import Agent


class Constraints:
    """An app's constraints with the counts of its instances by field value; counts follow each placement."""

    __slots__ = ("_constraints", "_counts")

    def __init__(self, app: App, placed: Iterable[Agent]) -> None:
        self._constraints = app.constraints
        self._counts: dict[str, Counter[str]] = {constraint.field: Counter() for constraint in app.constraints}
        if self._constraints:
            for agent in placed:
                self.add(agent)

    def add(self, agent: Agent) -> None:
        """Count one more instance on an agent."""
        for field, counts in self._counts.items():
            value = value_at(agent, field)
            if value is not None:
                counts[value] += 1

    def violated(self, agent: Agent) -> Constraint | None:
        """Return the first constraint that one more instance on the agent would break, or None."""
        if not self._constraints:
            return None
        for constraint in self._constraints:
            if not _holds(constraint, value_at(agent, constraint.field), self._counts[constraint.field]):
                return constraint
        return None


def value_at(agent: Agent, field: str) -> str | None:
    """Return a field's value on an agent, or None where it has none."""
    match field:
        case "hostname":
            return agent.hostname
        case "@region":
            return agent.region or None
        case "@zone":
            return agent.zone or None
    return agent.attributes.get(field)


def _holds(constraint: Constraint, value: str | None, counts: Counter[str]) -> bool:
    if value is None:
        return constraint.operator == "UNLIKE"
    match constraint.operator:
        case "UNIQUE":
            return counts[value] == 0
        case "MAX_PER":
            return counts[value] < int(constraint.value)
        case "CLUSTER":
            return value == constraint.value if constraint.value else not counts or set(counts) == {value}
        case "GROUP_BY":
            return _groups_stay_even(value, counts, int(constraint.value or 1))
        case "LIKE":
            return re.fullmatch(constraint.value, value) is not None
        case "UNLIKE":
            return re.fullmatch(constraint.value, value) is None
        case "IS":
            return value == constraint.value
    raise ValueError(f"unknown operator {constraint.operator}")


def _groups_stay_even(value: str, counts: Counter[str], groups: int) -> bool:
    # Fewer groups than asked for: the missing ones have a count of 0, so only a new group may grow.
    least = min(counts.values()) if len(counts) >= groups and counts else 0
    return counts[value] <= least
