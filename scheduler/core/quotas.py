"""Quotas: how much may be wanted within a group, or of an app. A change that would want more is refused. Pure.

What counts is what is wanted: instances times resources of each app and pod, and one instance for each run of a job. What a
rollout has in excess for a while does not, nor what stops. A quota below what is wanted stops nothing; then only what asks
for more is refused.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final, NamedTuple

from eratos.marathon import ids
from eratos.marathon.app import App

from . import events, per_host
from .actions import Refusal
from .changes import Plan
from .records import QUOTAS, QuotaRecord
from .refusals import Refused
from .state import State
from .step import Step


class Amounts(NamedTuple):
    """How much of each kind; of a quota None is any amount."""

    instances: int = 0
    cpus_m: int = 0
    mem_mib: int = 0
    disk_mib: int = 0


NOTHING: Final = Amounts()
WORDS: Final = ("instances", "CPUs", "MiB of memory", "MiB of disk")


@dataclass(frozen=True, slots=True)
class Excess:
    """A quota that a change would exceed."""

    quota: QuotaRecord
    before: Amounts  #: wanted within it now
    after: Amounts  #: wanted within it with the change

    @property
    def message(self) -> str:
        """Say what it allows, what is in use, what is asked for and what is left, of each kind that is exceeded."""
        found = zip(WORDS, limits(self.quota), self.before, self.after, strict=True)
        parts = [
            f"{said(word, limit)}: {said(word, used, False)} are in use, this asks for {said(word, after - used, False)} more, "
            f"and {said(word, max(0, limit - used), False)} are left"
            for word, limit, used, after in found
            if limit is not None and _over(limit, used, after)
        ]
        return f"the quota of {self.quota.path} allows {'; and '.join(parts)}"


def said(word: str, amount: int, unit: bool = True) -> str:
    """Return an amount for people, CPUs being counted in thousandths."""
    number = f"{amount / 1000:.3f}".rstrip("0").rstrip(".") if word == "CPUs" else str(amount)
    return f"{number} {word}" if unit else number


def limits(quota: QuotaRecord) -> tuple[int | None, ...]:
    """Return the most there may be of each kind, in the order of :class:`Amounts`."""
    return quota.instances, quota.cpus_m, quota.mem_mib, quota.disk_mib


def wants(state: State, app: App | None) -> Amounts:
    """Return what an app wants altogether; one with an instance on each host, what it would want on the hosts of now."""
    if app is None:
        return NOTHING
    count, each = per_host.expected(state, app), app.resources
    return Amounts(*(count * amount for amount in (1, each.cpus_m, each.mem_mib, each.disk_mib)))


def used(state: State, path: str) -> dict[str, Amounts]:
    """Return what each app, and each run of a job, within a group wants."""
    return {app_id: wants(state, app) for app_id, app in _wanted(state) if ids.within(app_id, path)}


def total(amounts: Mapping[str, Amounts]) -> Amounts:
    return Amounts(*map(sum, zip(*amounts.values(), strict=True))) if amounts else NOTHING


def _wanted(state: State) -> Iterator[tuple[str, App | None]]:
    yield from state.apps.items()
    for path in state.runs:
        yield path, state.in_force(path)


def around(state: State, app_id: str) -> list[QuotaRecord]:
    """Return the quotas that an app counts against, the one of the outermost group first."""
    return [state.quotas[path] for path in sorted(state.quotas) if ids.within(app_id, path)]


def exceeded(state: State, changed: Mapping[str, App | None]) -> Excess | None:
    """Return the quota that would be exceeded if these apps or runs were wanted like this; None: none would.

    One that is exceeded already is in the way of what asks for more alone.
    """
    for path in sorted(state.quotas):
        inside = {app_id: app for app_id, app in changed.items() if ids.within(app_id, path)}
        if not inside:
            continue
        quota, apps = state.quotas[path], used(state, path)
        before = total(apps)
        after = total(apps | {app_id: wants(state, app) for app_id, app in inside.items()})
        if any(limit is not None and _over(limit, *pair) for limit, *pair in zip(limits(quota), before, after, strict=True)):
            return Excess(quota, before, after)
    return None


def _over(limit: int, before: int, after: int) -> bool:
    return after > limit and after > before


def of_plan(state: State, plan: Plan) -> Excess | None:
    """Return the quota that a plan would exceed; None: none."""
    return exceeded(state, {**{app.id: app for app in plan.apps}, **dict.fromkeys(plan.dropped)}) if state.quotas else None


def check(state: State, plan: Plan) -> None:
    """Raise Refused where a plan would exceed a quota."""
    over = of_plan(state, plan)
    if over is not None:
        raise Refused(Refusal.QUOTA, over.message, quota=over.quota.path)


def carry_out(step: Step, command: events.PutQuota | events.DeleteQuota) -> None:
    """Set a quota, or delete one. Raises Refused where there is none."""
    if isinstance(command, events.PutQuota):
        step.state.quotas[command.quota.path] = command.quota
        step.store(QUOTAS + command.quota.path, command.quota)
        return
    if step.state.quotas.pop(command.path, None) is None:
        raise Refused(Refusal.NOT_FOUND, f"Group '{command.path}' has no quota")
    step.forget(QUOTAS + command.path)
