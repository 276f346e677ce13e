"""What balancers have in rotation, and what they leave out: out of HAProxy's statistics and of what they report to Consul.

A balancer keeps the servers of a service that it leaves out, since it might get its route back. They count for nothing: what
counts is whether a request can come to them.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from . import health, web
from .settings import Settings

#: `service: ... answers on KEY ...`, with which a balancer says that another one has a route or a port.
_HELD = re.compile(r"answers on (?:port )?(\S+)")
#: What else leaves out all of a service, or of its newest version; other reasons concern one setting, host name or instance.
_WHOLE = re.compile(r"(path |port |mode |no service port|the balancer itself uses|a service's name)")
#: The group of the cluster's balancers, and of those that take every group.
_GROUPS = {"external", "*"}


@dataclass(frozen=True)
class Count:
    """One balancer's servers of an app that requests can come to."""

    servers: int
    answers: bool = True  #: the balancer does
    served: bool = True  #: it has the app, with a route
    left_out: bool = False  #: it has the app, and says why it leaves it out

    def __str__(self) -> str:
        return "?" if not self.answers else str(self.servers) if self.served else "-"


@dataclass(frozen=True)
class Rotation:
    """What all balancers had at one moment."""

    settings: Settings
    up: dict[int, dict[str, int]]  #: balancer -> backend -> servers up; those that do not answer are missing
    left_out: dict[str, list[str]]  #: balancer's name -> `service: reason`

    def counts(self, app_id: str) -> list[Count]:
        """Return an app's count of each balancer, in their order."""
        name = "-".join(app_id.strip("/").split("/"))
        keys: set[str] | None = None
        counts = []
        for number in range(1, self.settings.balancers + 1):
            reasons = [reason for reason in self.left_out.get(f"balancer{number}", ()) if reason.startswith(f"{name}: ")]
            if reasons and keys is None:
                keys = _keys(self.settings, name)
            if number not in self.up:
                counts.append(Count(0, answers=False))
            elif name not in self.up[number]:
                counts.append(Count(0, served=False, left_out=bool(reasons)))
            elif reasons and without_route(reasons, keys or set()):
                counts.append(Count(0, served=False, left_out=True))
            else:
                counts.append(Count(self.up[number][name]))
        return counts


def look(settings: Settings) -> Rotation:
    """Ask all balancers, and Consul for what they leave out; where that does not answer they are taken to leave out nothing."""
    answers, _ = health.ask_all("STATS", "balancer", settings.balancers, settings, "/stats;csv")
    try:
        out = left_out(health.passing_balancers(settings))
    except web.Unanswered:
        out = {}
    up = {number: parse_statistics(text) for number, (status, text) in answers.items() if status == 200}
    return Rotation(settings, up, out)


def asks_for_balancers(app: dict[str, Any]) -> bool:
    """Return whether an app's labels ask for balancers of this cluster: by group, or by a route."""
    labels = app.get("labels", {})
    group = labels.get("HAPROXY_0_GROUP") or labels.get("HAPROXY_GROUP")
    if group:
        return bool(_GROUPS & set(group.split(",")))
    return any(re.match(r"HAPROXY_\d", label) for label in labels)


def without_route(reasons: Iterable[str], keys: set[str]) -> bool:
    """Return whether what a balancer says of a service leaves it none of its routes."""
    held = set()
    for reason in reasons:
        text = reason.partition(": ")[2]
        if _WHOLE.match(text):
            return True
        match = _HELD.search(text)
        if match:
            held.add(match[1])
    return bool(held) and keys <= held


def _keys(settings: Settings, service: str) -> set[str]:
    """Return what a service's instances want to answer on, by Consul's word; nothing where it has none."""
    try:
        answers = health.consul_everywhere(settings, f"/v1/health/service/{service}")
    except web.Unanswered:
        return set()
    return {key for entries in answers for entry in entries for key in route_keys(entry["Service"].get("Meta") or {})}


def route_keys(meta: dict[str, str]) -> set[str]:
    """Return the routes of an instance as balancers write them, `host/path/`, or its port."""
    if meta.get("haproxy-mode") == "tcp":
        return {meta["haproxy-port"]} if meta.get("haproxy-port") else set()
    path = meta.get("haproxy-path", "").rstrip("/") + "/"
    return {f"{host.strip().lower()}{path}" for host in meta.get("haproxy-vhost", "").split(",")}


def left_out(balancers: list[dict[str, Any]]) -> dict[str, list[str]]:
    """Return what each balancer leaves out, as `service: reason`, out of Consul's answer about balancers."""
    found: dict[str, list[str]] = {}
    for entry in balancers:
        meta = entry["Service"]["Meta"] or {}
        reasons = [reason for key, reason in sorted(meta.items()) if key.startswith("eratos-left-out-")]
        found[meta.get("eratos-host", "")] = reasons
    return found


def sentences(left_out: dict[str, list[str]]) -> list[str]:
    """Return what balancers leave out, each reason once."""
    by_reason: dict[str, list[str]] = {}
    for host, reasons in left_out.items():
        for reason in reasons:
            by_reason.setdefault(reason, []).append(host)
    return [f"left out by {', '.join(sorted(hosts))}: {reason}" for reason, hosts in sorted(by_reason.items())]


def parse_statistics(text: str) -> dict[str, int]:
    """Return the number of servers UP by backend, out of HAProxy's CSV."""
    up: dict[str, int] = {}
    for row in csv.DictReader(io.StringIO(text.lstrip("# "))):
        if row["svname"] == "BACKEND":
            up.setdefault(row["pxname"], 0)
        elif row["svname"] != "FRONTEND":
            up[row["pxname"]] = up.get(row["pxname"], 0) + row["status"].startswith("UP")
    return up
