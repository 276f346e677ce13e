"""Quotas as people see them: what each allows, how much of it is in use and by whom. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from eratos.scheduler.core import quotas
from eratos.scheduler.core.quotas import Amounts
from eratos.scheduler.core.records import QuotaRecord
from eratos.scheduler.core.state import State

Json = dict[str, Any]

#: Apps named in a refusal.
NAMED_MOST = 5


def shown(quota: QuotaRecord, apps: Mapping[str, Amounts]) -> Json:
    """Return a quota with what is in use of it and what is left, less than nothing where it was lowered below that."""
    limits, used = _amounts(quotas.limits(quota)), _amounts(quotas.total(apps))
    left = {kind: round(limit - used[kind], 3) for kind, limit in limits.items() if limit is not None}
    return {"group": quota.path, **limits, "used": used, "left": left}


def with_apps(quota: QuotaRecord, apps: Mapping[str, Amounts], sees: Callable[[str], bool]) -> Json:
    """Return a quota also with what those apps and runs of jobs want that ``sees`` lets through."""
    return {**shown(quota, apps), "apps": {app_id: _amounts(apps[app_id]) for app_id in sorted(apps) if sees(app_id)}}


def users(state: State, path: str, sees: Callable[[str], bool]) -> str:
    """Say who uses most of a quota, among those that ``sees`` lets through; empty where there is no such quota or user."""
    quota = state.quotas.get(path)
    if quota is None:
        return ""
    apps, limits = quotas.used(state, path), quotas.limits(quota)
    shares = {app_id: _share(amounts, limits) for app_id, amounts in apps.items()}
    found = sorted((app_id for app_id, share in shares.items() if share and sees(app_id)), key=lambda name: (-shares[name], name))
    more = [f"{len(found) - NAMED_MOST} more"] if len(found) > NAMED_MOST else []
    return ", ".join([f"{app_id} ({_listed(apps[app_id], limits)})" for app_id in found[:NAMED_MOST]] + more)


def _listed(amounts: Amounts, limits: tuple[int | None, ...]) -> str:
    found = zip(quotas.WORDS, limits, amounts, strict=True)
    return ", ".join(quotas.said(word, amount) for word, limit, amount in found if limit is not None)


def _share(amounts: Amounts, limits: tuple[int | None, ...]) -> float:
    """Return the largest part of a limit that something takes."""
    bounded = ((amount, limit) for amount, limit in zip(amounts, limits, strict=True) if limit is not None)
    return max((amount / max(limit, 1) for amount, limit in bounded), default=0.0)


def _amounts(found: tuple[int | None, ...]) -> Json:
    instances, cpus_m, mem_mib, disk_mib = found
    return {"instances": instances, "cpus": None if cpus_m is None else cpus_m / 1000, "mem": mem_mib, "disk": disk_mib}
