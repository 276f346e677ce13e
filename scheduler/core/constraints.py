"""Marathon's constraints: where instances of an app may run, given where the others are.

Semantics as in Marathon's docs/constraints.md and Constraints.scala. A field is ``@hostname`` (or ``hostname``),
``@region``, ``@zone`` or the name of an agent's attribute; on an agent that has no such value only UNLIKE is fulfilled.

An app without a constraint on ``@region`` stays in the master's region: instances far from each other and from what they
speak to are for those who asked (Marathon's docs/fault-domain-awareness.md). An agent without a region is in the master's,
as Mesos has it; where the master names none, all are alike.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable

from eratos.marathon import app_parts, expressions
from eratos.marathon.app import App
from eratos.marathon.app_parts import Constraint

from .mesos_types import Agent, number_text

_REGION = "@region"
#: Stands for what an app asks for that names no region.
_AT_HOME = Constraint(_REGION, "HOME")
#: Stands for what could not be looked at in this round.
_NOT_COMPARED = Constraint("", "NOT_COMPARED")
#: What expressions may do in one round of offers, for all apps: units of 10 ns at the most (:meth:`.Expression.work`).
WORK_MOST = 10_000_000
#: Expressions that are taken for read: half of those that are kept, as the API reads some as well.
READ_MOST = expressions.KEPT_MAX // 2
#: Verdicts that are kept, of 200 bytes or so, and apps that have some.
VERDICTS_MOST = 100_000
APPS_MOST = 5000
_SCALAR = re.compile(r"[0-9]+(\.[0-9]+)?")


class Verdicts:
    """What agents fulfil of constraints that no placement changes, kept from one round of offers to the next.

    Values repeat with every offer, and an expression may take a millisecond for one. So a round compares new values only, and
    of them as many as :data:`WORK_MOST` allows; others have their turn in the next.
    """

    __slots__ = ("_of_apps", "_read", "work_left")

    def __init__(self, work_left: float = WORK_MOST) -> None:
        self._of_apps: dict[tuple[Constraint, ...], _Fixed] = {}
        self._read: dict[str, None] = {}  #: the one that was used last stands last
        self.work_left = work_left  #: in this round, for all apps; what is begun is ended, so it may come to less than nothing

    def begin_round(self) -> None:
        """Allow as much work as a round may take, and forget what has not been asked for longest where there is too much."""
        self.work_left = WORK_MOST
        kept = sum(len(fixed.verdicts) for fixed in self._of_apps.values())
        while kept > VERDICTS_MOST or len(self._of_apps) > APPS_MOST:
            oldest = next(iter(self._of_apps))
            kept -= len(self._of_apps.pop(oldest).verdicts)

    def of(self, constraints: tuple[Constraint, ...]) -> _Fixed:
        """Return what is known of an app's constraints, which is asked for now."""
        known = self._of_apps.pop(constraints, None)
        if known is None:
            known = _Fixed(constraints)
        self._of_apps[constraints] = known
        return known

    def read(self, text: str) -> expressions.Expression | expressions.BadExpression:
        """Return an expression. Reading it, for the first time or when it was not used for long, is work as well."""
        found = expressions.compiled(text)
        if text in self._read:
            del self._read[text]
        else:
            self.work_left -= found.reading
        self._read[text] = None
        if len(self._read) > READ_MOST:
            del self._read[next(iter(self._read))]
        return found


class _Fixed:
    """Those of an app's constraints that hold on an agent or not, wherever its instances are."""

    __slots__ = ("_unread", "constraints", "fields", "refused", "verdicts")

    def __init__(self, constraints: tuple[Constraint, ...]) -> None:
        self.constraints = tuple(constraint for constraint in constraints if not _counts(constraint))
        self.fields = tuple(dict.fromkeys(constraint.field for constraint in self.constraints))
        self._unread = tuple(constraint for constraint in constraints if constraint.has_expression)
        self.refused: dict[Constraint, str] = {}  #: known with the first verdict
        #: By the values of the fields: the first that does not hold.
        self.verdicts: dict[tuple[str | None, ...], Constraint | None] = {}

    def compare(self, agent: Agent, verdicts: Verdicts) -> Constraint | None:
        """Return the first that does not hold on an agent."""
        if self._unread:
            for constraint in self._unread:
                verdicts.read(constraint.value)
            self.refused, self._unread = app_parts.unusable(self._unread), ()
        for constraint in self.constraints:
            value = value_at(agent, constraint.field)
            if constraint.has_expression:
                if constraint in self.refused or not _matches(constraint, value, verdicts):
                    return constraint
            elif value is None or value != (_canonical(constraint.value) if constraint.operator == "IS" else constraint.value):
                return constraint
        return None


class _Counts:
    """How many instances there are by a field's value. All that is asked takes the same time, however many values there are."""

    __slots__ = ("by_value", "least", "values_with")

    def __init__(self) -> None:
        self.by_value: Counter[str] = Counter()
        self.values_with: Counter[int] = Counter()  #: by number of instances
        self.least = 0  #: instances of the value that has the fewest

    def add(self, value: str) -> None:
        before = self.by_value[value]
        self.by_value[value] = before + 1
        self.values_with[before] -= 1
        self.values_with[before + 1] += 1
        if not before:
            self.least = 1
        elif not self.values_with[self.least]:
            self.least += 1


class Constraints:
    """An app's constraints with the counts of its instances by field value; counts follow each placement."""

    __slots__ = ("_counted", "_counts", "_fixed", "_grouped", "_home", "_verdicts")

    def __init__(self, app: App, placed: Iterable[Agent], home: str = "", verdicts: Verdicts | None = None) -> None:
        """``placed``: where its instances of this version are that stay; ``home``: the master's region, empty for none.

        Without ``verdicts`` every agent is compared, whatever that takes.
        """
        self._verdicts = verdicts or Verdicts(math.inf)
        self._fixed = self._verdicts.of(app.constraints) if app.constraints else _NONE
        counted = (constraint for constraint in app.constraints if _counts(constraint))
        self._counted = tuple(sorted(counted, key=lambda constraint: constraint.operator == "GROUP_BY"))
        self._grouped = tuple(constraint.field for constraint in self._counted if constraint.operator == "GROUP_BY")
        self._home = "" if any(constraint.field == _REGION for constraint in app.constraints) else home
        self._counts = {constraint.field: _Counts() for constraint in self._counted}
        if self._counted:
            for agent in placed:
                self.add(agent)

    def add(self, agent: Agent) -> None:
        """Count one more instance on an agent."""
        for field, counts in self._counts.items():
            value = value_at(agent, field)
            if value is not None:
                counts.add(value)

    def violated(self, agent: Agent) -> Constraint | None:
        """Return a constraint that one more instance on the agent would break, or None."""
        if self._home and agent.region and agent.region != self._home:
            return _AT_HOME
        fixed = self._fixed
        if fixed.constraints:
            values = tuple(value_at(agent, field) for field in fixed.fields)
            try:
                violated = fixed.verdicts[values]
            except KeyError:
                if self._verdicts.work_left <= 0:
                    return _NOT_COMPARED
                violated = fixed.verdicts[values] = fixed.compare(agent, self._verdicts)
            if violated is not None:
                return violated
        for constraint in self._counted:  # GROUP_BY last
            if not _holds(constraint, value_at(agent, constraint.field), self._counts[constraint.field]):
                return constraint
        return None

    def group(self, agent: Agent) -> tuple[str | None, ...]:
        """Return by what GROUP_BY counts an agent; where it is the same, one more instance is allowed on all or on none."""
        return tuple(value_at(agent, field) for field in self._grouped) if self._grouped else ()

    def reopens(self, agent: Agent) -> bool:
        """Return whether instances elsewhere may let one more onto an agent where there can be none now."""
        violated = self.violated(agent)
        return violated is not None and violated.operator == "GROUP_BY"

    def explain(self, constraint: Constraint, agent: Agent) -> str:
        """Say why a constraint that :meth:`violated` returned is not fulfilled by the agent."""
        if constraint is _AT_HOME:
            return (
                f"{agent.hostname} is in region {agent.region} and the master in {self._home}: "
                f'to run there, add the constraint ["{_REGION}", "IS", "{agent.region}"]'
            )
        if constraint is _NOT_COMPARED:
            return (
                f"constraints: not compared with {agent.hostname} yet: expressions take so long that a round of offers has time "
                "for some hosts only; shorter ones, with fewer repetitions, take less"
            )
        said = f"constraints: {' '.join(filter(None, constraint))}"
        if refused := self._fixed.refused.get(constraint):
            return f"{said} cannot be held, so nothing is placed until it is mended: its expression {refused}"
        value = value_at(agent, constraint.field)
        lacks = "it has no fault domain (--domain)" if constraint.field in (_REGION, "@zone") else "no such attribute"
        actual = lacks if value is None else f"{constraint.field}={value}"
        return f"{said} not fulfilled by {agent.hostname} ({actual})"


def refusals(app: App) -> list[str]:
    """Return what is wrong with constraints that were accepted by an earlier version and can no longer be held."""
    unusable = app_parts.unusable(app.constraints)
    return [f"{' '.join(held)}: its expression {refused}" for held, refused in unusable.items()]


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


def _counts(constraint: Constraint) -> bool:
    """Return whether a constraint depends on where the app's other instances are."""
    return constraint.operator in ("UNIQUE", "MAX_PER", "GROUP_BY") or (constraint.operator == "CLUSTER" and not constraint.value)


def _holds(constraint: Constraint, value: str | None, counts: _Counts) -> bool:
    if value is None:
        return False
    there = counts.by_value[value]
    match constraint.operator:
        case "UNIQUE":
            return there == 0
        case "MAX_PER":
            return there < int(constraint.value)
        case "CLUSTER":
            return not counts.by_value or (len(counts.by_value) == 1 and there > 0)
        case "GROUP_BY":
            # Fewer groups than asked for: the missing ones have a count of 0, so only a new group may grow.
            return there <= (counts.least if len(counts.by_value) >= int(constraint.value or 1) else 0)
    raise ValueError(f"unknown operator {constraint.operator}")


def _matches(constraint: Constraint, value: str | None, verdicts: Verdicts) -> bool:
    """Return whether LIKE or UNLIKE holds."""
    if value is None:
        return constraint.operator == "UNLIKE"
    expression = verdicts.read(constraint.value)
    assert isinstance(expression, expressions.Expression), "one that is refused holds nowhere, and is not asked for"
    verdicts.work_left -= expression.work(value)
    return expression.matches(value) == (constraint.operator == "LIKE")


def _canonical(value: str) -> str:
    return number_text(float(value)) if _SCALAR.fullmatch(value) else value


_NONE = _Fixed(())
