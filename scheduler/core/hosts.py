"""Hosts where starts fail: another one is the next choice, and one that fails several apps is left alone for a while. Pure.

A host with a full disk or a broken Docker ends at once what it gets, so it is always the emptiest and attracts everything: a
black hole. Two things keep it from that. For an app whose start failed there it is the last choice, for a time that
decays (:class:`~.launches.Launches`). And once starts of several apps failed there that failed nowhere else, it takes nothing
for a while, twice as long each time in a row. An app that fails on other hosts as well speaks against itself alone.

The rule is careful, as the brake's is: never more than half of the hosts are left alone. Where more look broken, something
that they share is, such as a registry, and to shut them would only make it worse.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from eratos.common.backoff import exponential_s

from . import crash_backoff
from .instances import Instance
from .launches import Trouble
from .state import State

if TYPE_CHECKING:
    from eratos.marathon.app import App

#: Apps whose starts failed on a host, and nowhere else, before it is left alone.
APPS_LEAST = 2
#: How long a host is left alone the first time, and at most.
ALONE_FIRST_S = 60.0
ALONE_MOST_S = 960.0
#: After this long without a failed start a host has a clean sheet.
FORGET_S = 3600.0


def start_failed(state: State, app: App, instance: Instance, now: float) -> Trouble | None:
    """Note that an app's start failed on a host; return what the host's trouble is if it is left alone from now on."""
    hostname = instance.hostname
    launches = state.launches_of(app.id)
    launches.start_failed(hostname, now, 2.0 * app.max_launch_delay_seconds)
    for other in [name for name, trouble in state.troubles.items() if trouble.failed_at < now - FORGET_S]:
        del state.troubles[other]
    trouble = state.troubles.get(hostname)
    if trouble is None or _went_well(state, instance.agent_id, trouble.failed_at, now):
        trouble = state.troubles[hostname] = Trouble()
    trouble.apps[app.id] = None
    trouble.failed_at = now
    if trouble.until > now:
        return None
    against = [app_id for app_id in trouble.apps if _only_there(state, app_id, hostname, now)]
    # Whoever was left alone before has no credit left: one more failure is enough.
    if len(against) < (1 if trouble.times else APPS_LEAST):
        return None
    alone = sum(found.until > now for found in state.troubles.values())
    if 2 * (alone + 1) > len({agent.hostname for agent in state.agents.values()}):
        return None
    trouble.until = now + exponential_s(trouble.times, first_s=ALONE_FIRST_S, factor=2, most_s=ALONE_MOST_S)
    trouble.times += 1
    trouble.against = tuple(sorted(against))
    return trouble


def left_alone(state: State, now: float) -> Iterator[tuple[str, Trouble]]:
    """Yield the hosts that take nothing at present."""
    return ((hostname, trouble) for hostname, trouble in state.troubles.items() if trouble.until > now)


def _only_there(state: State, app_id: str, hostname: str, now: float) -> bool:
    launches = state.launches.get(app_id)
    return launches is not None and launches.failed_on(now).keys() == {hostname}


def _went_well(state: State, agent_id: str, since: float, now: float) -> bool:
    """Return whether something that started there after the last failure has run well."""
    later = (found for found in state.on_agent.get(agent_id, {}).values() if found.ran_from > since)
    return any(crash_backoff.ran_well(state.in_force(found.app_id), found, now) for found in later)
