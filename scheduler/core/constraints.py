"""Marathon's constraints: where instances of an app may run, given where the others are.

Semantics as in Marathon's docs/constraints.md and Constraints.scala. A field is ``@hostname`` (or ``hostname``),
``@region``, ``@zone`` or the name of an agent's attribute; on an agent that has no such value only UNLIKE is fulfilled.

An app without a constraint on ``@region`` stays in the master's region: instances far from each other and from what they
speak to are for those who asked (Marathon's docs/fault-domain-awareness.md). An agent without a region is in the master's,
as Mesos has it; where the master names none, all are alike.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable

from eratos.marathon import expressions
from eratos.marathon.app import App
from eratos.marathon.app_parts import Constraint

from .mesos_types import Agent, number_text

_REGION = "@region"
#: Stands for what an app asks for that names no region.
_AT_HOME = Constraint(_REGION, "HOME")
_SCALAR = re.compile(r"[0-9]+(\.[0-9]+)?")


class Constraints:
    """An app's constraints with the counts of its instances by field value; counts follow each placement."""

    __slots__ = ("_constraints", "_counts", "_home")

    def __init__(self, app: App, placed: Iterable[Agent], home: str = "") -> None:
        """``placed``: where its instances of this version are that stay; ``home``: the master's region, empty for none."""
        self._constraints = app.constraints
        self._home = "" if any(constraint.field == _REGION for constraint in app.constraints) else home
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
        if self._home and agent.region and agent.region != self._home:
            return _AT_HOME
        for constraint in self._constraints:
            if not _holds(constraint, value_at(agent, constraint.field), self._counts[constraint.field]):
                return constraint
        return None

    def explain(self, constraint: Constraint, agent: Agent) -> str:
        """Say why a constraint that :meth:`violated` returned is not fulfilled by the agent."""
        if constraint is _AT_HOME:
            return (
                f"{agent.hostname} is in region {agent.region} and the master in {self._home}: "
                f'to run there, add the constraint ["{_REGION}", "IS", "{agent.region}"]'
            )
        said = f"constraints: {' '.join(filter(None, constraint))}"
        if refused := _refusal(constraint):
            return f"{said} cannot be held, so nothing is placed until it is mended: its expression {refused}"
        value = value_at(agent, constraint.field)
        lacks = "it has no fault domain (--domain)" if constraint.field in (_REGION, "@zone") else "no such attribute"
        actual = lacks if value is None else f"{constraint.field}={value}"
        return f"{said} not fulfilled by {agent.hostname} ({actual})"


def refusals(app: App) -> list[str]:
    """Return what is wrong with constraints that were accepted by an earlier version and can no longer be held."""
    return [f"{' '.join(held)}: its expression {refused}" for held in app.constraints if (refused := _refusal(held))]


def _refusal(constraint: Constraint) -> str:
    return expressions.refusal(constraint.value) if constraint.operator in ("LIKE", "UNLIKE") else ""


def value_at(agent: Agent, field: str) -> str | None:
    """Return a field's value on an agent, or None where it has none."""
    match field:
        case "hostname" | "@hostname":
            return agent.hostname
        case "@region":
            return agent.region or None
        case "@zone":
            return agent.zone or None
    return agent.attributes.get(field)


def _holds(constraint: Constraint, value: str | None, counts: Counter[str]) -> bool:
    if value is None:
        return constraint.operator == "UNLIKE" and not _refusal(constraint)
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
            return _matches(constraint.value, value) is True
        case "UNLIKE":
            return _matches(constraint.value, value) is False
        case "IS":
            return value == _canonical(constraint.value)
    raise ValueError(f"unknown operator {constraint.operator}")


def _matches(expression: str, value: str) -> bool | None:
    """Return whether a value matches; None: the expression is refused, so it neither does nor does not."""
    compiled = expressions.compiled(expression)
    return None if isinstance(compiled, expressions.BadExpression) else compiled.matches(value)


def _canonical(value: str) -> str:
    return number_text(float(value)) if _SCALAR.fullmatch(value) else value


def _groups_stay_even(value: str, counts: Counter[str], groups: int) -> bool:
    # Fewer groups than asked for: the missing ones have a count of 0, so only a new group may grow.
    least = min(counts.values()) if len(counts) >= groups and counts else 0
    return counts[value] <= least
