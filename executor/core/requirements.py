"""What a task requires of others: what is found of it, how a task is told, and what is still to be told. Pure.

A task starts once enough is found of everything that it waits for. While it runs, what is found is compared with what it was
told: after a moment of quiet it is told anew, in the way that its app wants. A task that is not told, or could not be, is
*outdated*: it goes on with what it knows, and the scheduler replaces it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from eratos.common import names
from eratos.common.addresses import host_and_port
from eratos.common.payload import Requirement

#: A change is told once nothing has changed for so long.
QUIET_S: Final = 0.25
#: But no later than this after the first of several.
QUIET_MOST_S: Final = 5.0
#: A start that waits for nothing goes on without what nobody has answered for so long.
SILENCE_S: Final = 10.0
#: A longer value is in its file alone: Linux takes no more than twice this in one variable.
VARIABLE_BYTES_MAX: Final = 64 * 1024
#: Where the files are, from the sandbox on.
FOLDER: Final = "requires"


@dataclass(frozen=True, slots=True)
class Found:
    """What meets a requirement at a time."""

    endpoints: tuple[str, ...] = ()  #: ``host:port`` of each
    servers: tuple[str, ...] = ()  #: their Consul service ids
    value: str | None = None  #: of a key; None: there is no such key

    @property
    def count(self) -> int:
        return len(self.endpoints) if self.value is None else 1

    @property
    def text(self) -> str:
        """What the file holds."""
        return "".join(f"{endpoint}\n" for endpoint in self.endpoints) if self.value is None else self.value


NOTHING: Final = Found()


@dataclass(frozen=True, slots=True)
class Query:
    """A question to Consul that several tasks may have."""

    service: str = ""
    key: str = ""
    datacenter: str = ""
    tags: tuple[str, ...] = ()
    attributes: tuple[tuple[str, str], ...] = ()

    @property
    def filter(self) -> str:
        """The expression by which Consul chooses among a service's instances (Consul's filtering.mdx); empty: all."""
        # An instance without the attribute would match whatever is asked of it.
        matches = [f"`{key}` in Service.Meta and Service.Meta[`{key}`] matches `{like}`" for key, like in self.attributes]
        return " and ".join([*(f"`{tag}` in Service.Tags" for tag in self.tags), *matches])


def queries(requirement: Requirement) -> tuple[Query, ...]:
    """Return what to ask Consul for a requirement; nothing where it is static."""
    if requirement.key:
        return (Query(key=requirement.key, datacenter=requirement.datacenter),)
    attributes = tuple(sorted(requirement.attributes.items()))
    return tuple(
        Query(service=service, datacenter=requirement.datacenter, tags=requirement.tags, attributes=attributes)
        for service in requirement.services
    )


def found(requirement: Requirement, task_id: str, answers: Mapping[Query, Any]) -> Found:
    """Return what meets a task's requirement, of Consul's answers to all of its queries.

    The order differs from task to task, and stays as it is for what stays: clients that take only the first one do not all take
    the same.
    """
    if requirement.static:
        return Found(requirement.static)
    if requirement.key:
        (value,) = answers.values()
        return Found(value=value)
    entries = [entry for query, entries in answers.items() for entry in entries if _fits(requirement, task_id, query, entry)]
    near = [entry for entry in entries if requirement.zone and _meta(entry).get(names.META_ZONE) == requirement.zone]
    if requirement.zone_rule == "require" or (requirement.zone_rule == "prefer" and len(near) >= requirement.least):
        entries = near
    servers = {entry["Service"]["ID"]: _endpoint(entry) for entry in entries}
    order = sorted(servers, key=lambda server: hashlib.sha256(f"{task_id} {server}".encode()).digest())
    return Found(tuple(servers[server] for server in order), tuple(order))


def _meta(entry: Mapping[str, Any]) -> Mapping[str, str]:
    return entry["Service"].get("Meta") or {}


def _fits(requirement: Requirement, task_id: str, query: Query, entry: Mapping[str, Any]) -> bool:
    meta = _meta(entry)
    if meta.get(names.META_TASK) == task_id:
        return False  # itself, where an app requires its own peers
    if not requirement.app_id:
        return True
    if meta.get(names.META_APP) != requirement.app_id:
        return False
    if not requirement.port:
        return True
    port = meta.get(names.META_PORT)
    # Instances of the version before do not name their port: theirs is known by the service alone.
    return port == requirement.port if port else query.service == requirement.services[0]


def _endpoint(entry: Mapping[str, Any]) -> str:
    host = entry["Service"].get("Address") or entry["Node"]["Address"]
    return host_and_port(host, entry["Service"]["Port"])


def variables(requirement: Requirement, known: Found) -> dict[str, str]:
    """Return the variables that tell a task of a requirement."""
    name = requirement.variable
    if requirement.key:
        value = (known.value or "").replace("\0", "")
        return {name: value} if len(value.encode()) <= VARIABLE_BYTES_MAX else {}
    host, _, port = known.endpoints[0].rpartition(":") if known.endpoints else ("", "", "")
    return {name: ";".join(known.endpoints), f"{name}_HOST": host.strip("[]"), f"{name}_PORT": port}


@dataclass(frozen=True, slots=True)
class News:
    """What a running task is to be told now."""

    requirement: Requirement
    found: Found


class Requirements:
    """What one task requires, and what it knows of it. Mutable; changed by its task's machine alone."""

    def __init__(self, wanted: Iterable[Requirement] = (), now: float = 0.0) -> None:
        self._wanted = {each.name: each for each in wanted}
        self._asked_at = now
        self._found = {name: Found(each.static) for name, each in self._wanted.items() if each.static}
        self._known: dict[str, Found] = {}  #: what the task goes by
        self._told: dict[str, Found] = {}  #: what it was last told, whether or not it goes by that
        self._faults: dict[str, str] = {}  #: why it does not
        self._changed: dict[str, tuple[float, float]] = {}  #: when a change was first and last seen that is still to be told
        self._telling: News | None = None
        self._started = False

    def take(self, name: str, found: Found, now: float) -> None:
        """Take in what is found by now."""
        self._found[name] = found
        if self._started:
            first, _ = self._changed.get(name, (now, now))
            self._changed[name] = (first, now)

    # Before the start ------------------------------------------------------------------------------------------------

    def lacking(self, now: float) -> str:
        """Say what the start waits for, or nothing."""
        if now >= self._asked_at + SILENCE_S:
            for name, wanted in self._wanted.items():
                if not wanted.wait:
                    self._found.setdefault(name, NOTHING)
        for name, wanted in self._wanted.items():
            found = self._found.get(name)
            if found is None:
                return f"requires {name}: Consul has not answered yet"
            if wanted.wait and found.count < wanted.least:
                return f"requires {name}: {_sought(wanted)} has {found.count} of {wanted.least} ready"
        return ""

    def goes_on_at(self) -> float | None:
        """Return when the start goes on without answers that it does not wait for; None: there are none of these."""
        silent = any(not wanted.wait and name not in self._found for name, wanted in self._wanted.items())
        return self._asked_at + SILENCE_S if silent else None

    def start(self) -> None:
        """The task starts with what is found."""
        self._started = True
        self._known = {name: self._found.get(name, NOTHING) for name in self._wanted}
        self._told = dict(self._known)

    # While it runs ---------------------------------------------------------------------------------------------------

    def next_at(self) -> float | None:
        """Return when there is something to be told."""
        if self._telling is not None:
            return None
        return min((self._due(name) for name in self._changed), default=None)

    def _due(self, name: str) -> float:
        first, last = self._changed[name]
        return min(last + QUIET_S, first + QUIET_MOST_S)

    def news(self, now: float) -> News | None:
        """Return what to tell the task now; nothing more until :meth:`told`."""
        if self._telling is not None:
            return None
        for name in sorted(name for name in self._changed if self._due(name) <= now):
            del self._changed[name]
            if self._found[name] != self._told[name]:
                self._telling = News(self._wanted[name], self._found[name])
                break
        return self._telling

    def told(self, fault: str) -> bool:
        """The task was told; ``fault`` says why it does not go by that, empty: it does. Return whether that is news."""
        if self._telling is None:
            return False
        news, before = self._telling, self.outdated()
        self._telling = None
        name = news.requirement.name
        self._told[name] = news.found
        if not fault and news.requirement.on_change.kind != "restart":
            self._known[name] = news.found
        if self._known[name] == news.found:
            self._faults.pop(name, None)
        else:
            self._faults[name] = f"required {name} has changed" + (f": {fault}" if fault else "")
        return self.outdated() != before

    def outdated(self) -> str:
        """Say why the task does not know what it requires, or nothing."""
        return "; ".join(self._faults[name] for name in sorted(self._faults))

    def servers(self) -> frozenset[str]:
        """Return the servers that the task goes by, or may soon."""
        return frozenset(server for held in (self._found, self._known) for found in held.values() for server in found.servers)

    # What it is told by ----------------------------------------------------------------------------------------------

    def environment(self) -> dict[str, str]:
        """Return the variables that tell of everything that is found."""
        found: dict[str, str] = {}
        for name, wanted in self._wanted.items():
            found |= variables(wanted, self._found.get(name, NOTHING))
        return found

    def files(self) -> dict[str, str]:
        """Return the files that do, by their paths in the sandbox."""
        return {path_of(name): self._found.get(name, NOTHING).text for name in self._wanted}


def path_of(name: str) -> str:
    """Return where a requirement's file is in the sandbox."""
    return f"{FOLDER}/{name}"


def _sought(wanted: Requirement) -> str:
    if wanted.key:
        return f"key {wanted.key}"
    what = (f"{wanted.app_id}:{wanted.port}" if wanted.port else wanted.app_id) or f"Consul service {wanted.services[0]}"
    what += f"@{wanted.datacenter}" if wanted.datacenter else ""
    what += f" tagged {', '.join(wanted.tags)}" if wanted.tags else ""
    what += f" with {', '.join(f'{key} ~ {like}' for key, like in wanted.attributes.items())}" if wanted.attributes else ""
    return what + (f" in zone {wanted.zone or '(this host is in none)'}" if wanted.zone_rule == "require" else "")
