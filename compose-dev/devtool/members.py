"""Hosts and balancers that were taken away: Consul would list them as failed, with what they had registered, for three days.

Asked of Consul's servers from outside, since whoever is gone cannot say goodbye any more.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable

from . import health, secure, web
from .settings import Settings
from .terminal import Problem, Step

#: Until Consul has noticed; gossip on a machine with no CPU to spare takes its time.
NOTICE_S = 90
POLL_S = 0.3


def is_host(service: str) -> bool:
    """Return whether a service plays a host with a Consul agent: an agent's, or a balancer's."""
    return re.fullmatch(r"(agent|balancer)\d+", service) is not None


def forget_surplus(settings: Settings, step: Step) -> None:
    """Make Consul forget the hosts and balancers that this cluster no longer has, whenever they left it."""
    known: set[str] = set()

    def answered() -> bool:
        known.update(known_to_consul(settings))
        return True

    # On a busy machine it may well be slow once.
    _await(answered, step, "Consul does not answer")
    surplus = {name for name in known if is_host(name)} - set().union(*map(settings.consul_nodes, settings.datacenters))
    _forget(settings, surplus, step)


def forget_dead(settings: Settings, node: str, step: Step) -> None:
    """Wait until Consul has found out by itself that a node died, and make it forget the node."""

    _await(lambda: not _alive(settings, node), step, f"{node} still counts as alive")
    _forget(settings, {node}, step)


def await_back(settings: Settings, node: str, step: Step) -> None:
    """Wait until Consul counts a node as alive."""
    _await(lambda: _alive(settings, node), step, f"{node} is not back")


def known_to_consul(settings: Settings) -> set[str]:
    """Return the names of the nodes that Consul lists as members or in its catalogue."""
    return set().union(*(_known(settings, datacenter) for datacenter in settings.datacenters))


def _known(settings: Settings, datacenter: str) -> set[str]:
    listed = {entry["Node"] for entry in health.consul_get(settings, "/v1/catalog/nodes", datacenter)}
    return listed | set(health.consul_members(settings, datacenter))


def _alive(settings: Settings, node: str) -> bool:
    return health.consul_members(settings, settings.region(node)).get(node, {}).get("Status") == health.ALIVE


def _forget(settings: Settings, nodes: set[str], step: Step) -> None:
    if not nodes:
        return
    names = ", ".join(sorted(nodes))
    step.detail = f"making Consul forget {names}"

    def known() -> set[str]:
        # Each where it is: another data center may not answer.
        return {node for node in nodes if node in _known(settings, settings.region(node))}

    def forgotten() -> bool:
        # Once is not always enough: gossip of before may still be on its way. So it is asked until it holds.
        for node in known():
            _force_leave(settings, node)
        return not known()

    _await(forgotten, step, f"Consul still lists {names}")


def _force_leave(settings: Settings, node: str) -> None:
    """Ask the first Consul server that does it to forget a node: as a member, or where only the catalogue has it, there."""
    datacenter = settings.region(node)
    if node in health.consul_members(settings, datacenter):
        path, body = f"/v1/agent/force-leave/{node}?prune=true", None
    else:
        path, body = "/v1/catalog/deregister", {"Node": node}
    for number in settings.consul_servers(datacenter):
        try:
            # Where the node still counts as alive, Consul waits for its goodbye first.
            status, _ = web.request("PUT", settings.url("CONSUL", number, path), body, 10, secure.access(settings, "CONSUL"))
        except web.Unanswered:
            continue
        if status == 200:
            return


def _await(done: Callable[[], bool], step: Step, waiting: str) -> None:
    deadline = time.monotonic() + NOTICE_S
    while True:
        try:
            if done():
                return
            reason = waiting
        except web.Unanswered as error:
            reason = str(error)
        step.detail = reason
        if time.monotonic() > deadline:
            raise Problem(f"after {NOTICE_S} s, {reason}", "see ./dev status; ./dev up heals, and tries this again")
        time.sleep(POLL_S)
