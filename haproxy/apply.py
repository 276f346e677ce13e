"""Brings HAProxy in line with consul-template's facts: decide, guard, check, change or reload, and keep the last good one.

What counts is that the files and the running HAProxy agree; :meth:`Applier.watch` compares them soon after a file has
changed, and from time to time anyway. Nothing is remembered that HAProxy or a file knows, so a companion, a
consul-template or an HAProxy that was killed at any point is made good by the next comparison.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Set
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, Protocol

from eratos.common import exposition
from eratos.common.errors import PermanentError
from eratos.common.log import fields

from . import files
from .config import Config
from .core import haproxy_text, services, zones
from .core.guard import Confirmations, Holds, by_datacenter, forgotten, sharp_losses, succeeded, wholesale, with_held
from .core.haproxy_text import Pools, Rendered
from .core.services import Facts, Model
from .core.usage import ServerRow
from .haproxy_process import Running
from .network import normal_address, normal_addresses
from .snippets import REFUSED_FOR_S, Laid
from .sockets import HaproxyUnavailableError

log = logging.getLogger(__name__)

UNCHANGED: Final = "unchanged"  #: HAProxy serves what the facts ask for already
UPDATED: Final = "updated"  #: servers and routes were changed in the running process
RELOADED: Final = "reloaded"  #: a new process serves it

#: Between two looks at whether a file has changed. consul-template could report it by a command, which takes many times a look's
#: CPU.
_LOOK_S = 0.02
#: Between two comparisons where nothing has changed, and where something is wrong or held.
_COMPARE_S = 5.0
_RETRY_S = 0.5
#: Of the time from consul-template's facts to HAProxy.
_LAG_BOUNDS_S: Final = (0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)


#: Servers named in a line of the log at most: a large loss held back must not flood it.
_NAMED: Final = 5


@dataclass(frozen=True, slots=True)
class _Refused:
    text: str
    reason: str
    until_s: float


class RefusedError(PermanentError):
    """What the facts ask for cannot be served; the last good configuration stays."""


class HaproxyPort(Protocol):
    """What this module needs of :class:`.haproxy_process.Haproxy`."""

    def check(self, path: Path) -> str: ...
    def running(self) -> Running: ...
    def old_processes(self) -> int: ...
    def change(
        self,
        added: Pools,
        removed: dict[str, set[str]],
        settings: dict[str, str],
        map_text: str,
        weights: dict[str, dict[str, int]],
    ) -> None: ...
    def sweep(self, rows: Iterable[ServerRow]) -> None: ...
    def reload(self) -> tuple[bool, str]: ...
    def retire(self, servers: dict[str, set[str]]) -> None: ...


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of one comparison."""

    result: str
    held: tuple[str, ...] = ()  #: servers that Consul no longer names and that are kept for now


@dataclass(slots=True)
class Counters:
    """Since the start of this companion."""

    reloads: int = 0
    updates: int = 0
    refusals: int = 0
    last_reason: str = ""


class Applier:
    """Brings HAProxy in line with the facts. For one thread, but for ``confirm`` and what only reads."""

    def __init__(
        self,
        settings: Config,
        haproxy: HaproxyPort,
        accepting: Callable[[Collection[str]], set[str]],
        taken: Callable[[Collection[int]], Mapping[int, str]],
    ) -> None:
        self._settings = settings
        self._live = settings.live
        self._map = Path(settings.text.map_file)
        self._laid = Laid(settings.snippets_dir)
        self._haproxy = haproxy
        self._accepting = accepting
        self._taken = taken
        self._wake = threading.Event()
        self._confirmations = Confirmations()
        self._confirmations_lock = threading.Lock()
        self._holds = Holds(settings.guard_hold_s, settings.guard_hold_wholesale_s)
        self._held: tuple[str, ...] = ()
        self._seen: object = None
        self._refused = _Refused("", "", 0)
        self._odd = ""
        self._left_out: tuple[str, ...] = ()
        self._unread: tuple[str, ...] = ()  #: facts of other data centers, as in left_out
        self._reloaded_at_s = float("-inf")
        self._lag = exposition.Histogram(
            "eratos_balancer_lag_seconds", "From a change of consul-template's facts to HAProxy serving it.", _LAG_BOUNDS_S
        )
        self._applied_facts_s = 0.0  #: when the facts last measured were written
        self.counters = Counters()
        self._weighing = False  #: weights of servers depend on which are alive
        self.changing = False  #: HAProxy is being brought in line right now: what it serves and the file may differ

    def confirm(self, servers: Iterable[str], caller: str) -> None:
        """Note that these servers are about to leave Consul on purpose, as somebody at this address says."""
        with self._confirmations_lock:
            self._confirmations.add(servers, caller, time.monotonic())
        if self._held:
            self._wake.set()

    def leaving(self) -> Set[str]:
        """Return the servers that are about to leave Consul, as somebody has said of late."""
        with self._confirmations_lock:
            return self._confirmations.current(time.monotonic())

    def health_changed(self) -> None:
        """Note that HAProxy has found a server dead, or alive again."""
        if self._weighing:
            self._wake.set()

    def left_out(self) -> tuple[str, ...]:
        """Return what had to be left out of late, each as ``service: reason``, or ``file: reason`` for a snippet."""
        return (*self._left_out, *self._laid.refused, *self._unread)

    def far_services(self) -> int:
        """Return how many services are followed in other data centers, one that is followed in two counting twice."""
        return sum(len(backend.failover.split(",")) for backend in self._read_live().model.backends.values() if backend.failover)

    def live(self) -> Rendered:
        """Return the last good configuration; raises OSError where HAProxy was never started."""
        return haproxy_text.read_back(self._live.read_text())

    def apply(self) -> Outcome:
        """Bring HAProxy in line with the facts.

        Raises RefusedError where what they ask for cannot be served, HaproxyUnavailableError where HAProxy does not run (it
        will read the files when it starts), OSError where they cannot be read or written. In all cases the last good
        configuration goes on.
        """
        started_s = time.monotonic()
        self._seen = self._signature()
        if not self._map.exists():
            # HAProxy refuses a configuration that names a missing file.
            files.replace(self._map, "")
        live = self._read_live()
        facts = self._read_facts()
        model = self._listening(services.decide(facts, self._settings.scope))
        try:
            running = self._haproxy.running()
        except HaproxyUnavailableError:
            served = normal_addresses(live.pools)
            guarded = self._guarded(served, frozenset(), live, model, facts)
            self._write(self._render(zones.weighed(guarded, frozenset()), live))
            raise
        dead = running.dead()
        guarded = self._guarded(running.addresses(), dead, live, model, facts)
        wanted = self._render(zones.weighed(guarded, dead), live)
        self._weighing = any(backend.zone for backend in guarded.backends.values())
        result = UNCHANGED
        if (running.shape, live.text) != (wanted.shape, wanted.text) or not self._serves(running, wanted):
            self.changing = True
            try:
                result, running = self._change(running, live, wanted)
            finally:
                self.changing = False
            self._measure_lag()
            log.info(
                "configuration applied %s",
                fields(
                    result=result,
                    took_s=f"{time.monotonic() - started_s:.3f}",
                    servers=sum(map(len, wanted.pools.values())),
                    held=len(self._held),
                    refused=len(wanted.refused),
                ),
            )
        self._haproxy.sweep(running.rows)
        return Outcome(result, self._held)

    def watch(self, stop: threading.Event) -> None:
        """Compare for as long as the companion lives: soon after the file has changed, and every few seconds anyway."""
        compared_s = float("-inf")
        complaint = ""
        while not stop.is_set():
            due_s = compared_s + (_RETRY_S if complaint or self._held else _COMPARE_S)
            if time.monotonic() >= due_s or self._wake.is_set() or self._signature() != self._seen:
                self._wake.clear()
                compared_s = time.monotonic()
                complaint = self._compare(complaint)
            self._wake.wait(_LOOK_S)

    def status(self) -> dict[str, Any]:
        """Return counters and reasons for ``GET /status``."""
        counters = self.counters
        return {
            "reloads": counters.reloads,
            "updates": counters.updates,
            "refusals": counters.refusals,
            "last_reason": counters.last_reason,
            "held": list(self._held),
            "left_out": list(self.left_out()),
            "group": self._settings.scope.group,
            "zone": self._settings.scope.zone,
            "zone_policy": self._settings.scope.zone_policy,
        }

    def requests(self) -> dict[str, str]:
        """Return what requests get that come to this balancer: whether an id, and which of them a line in the log."""
        return {"request_id": self._settings.text.request_id, "log_requests": self._settings.text.log_requests}

    def families(self) -> list[exposition.Family]:
        """Return what is counted for Prometheus."""
        counters, backends = self.counters, self._read_live().model.backends
        servers = sum(len(backend.servers) for backend in backends.values())
        return [
            exposition.counter("eratos_balancer_reloads_total", "Reloads of HAProxy.", counters.reloads),
            exposition.counter("eratos_balancer_updates_total", "Changes made in the running HAProxy.", counters.updates),
            exposition.counter("eratos_balancer_refusals_total", "Configurations that could not be served.", counters.refusals),
            exposition.gauge("eratos_balancer_services", "Services that are served.", len(backends)),
            exposition.gauge("eratos_balancer_servers", "Servers in rotation.", servers),
            exposition.gauge("eratos_balancer_held", "Servers that Consul no longer names, kept for now.", len(self._held)),
            exposition.gauge("eratos_balancer_left_out", "Services and files left out.", len(self.left_out())),
            self._lag.family(),
        ]

    def _measure_lag(self) -> None:
        try:
            written_s = self._settings.facts.stat().st_mtime
        except OSError:
            return
        # Not twice for the same facts: what is done later is a server let go or a certificate.
        if written_s != self._applied_facts_s:
            self._applied_facts_s = written_s
            self._lag.observe(max(0.0, time.time() - written_s))

    def _compare(self, complaint: str) -> str:
        """Do one comparison of :meth:`watch`; return what is wrong, logged once for as long as it stays the same."""
        problem = ""
        try:
            self.apply()
        except (RefusedError, HaproxyUnavailableError, OSError) as error:
            # No facts yet is the normal state before consul-template has rendered for the first time.
            problem = "" if isinstance(error, FileNotFoundError) else str(error)
        except Exception:  # the loop's edge: a bug must not end the watch; HAProxy goes on as it is
            log.exception("the facts could not be judged, HAProxy goes on as it is; please report this")
        if problem and problem != complaint:
            log.warning("the last good configuration stays reason=%s", problem)
        return problem

    def _read_facts(self) -> Facts:
        text = self._settings.facts.read_text()
        try:
            facts = services.read_facts(text)
        except ValueError as error:
            raise self._refuse(text, f"{self._settings.facts.name}: {error}") from error
        self._unread = ()
        for datacenter, path in self._settings.far_facts.items():
            # What is elsewhere must never stand in the way of what is here.
            try:
                facts = services.with_far(facts, datacenter, path.read_text())
            except FileNotFoundError:
                pass  # consul-template waits for that data center's first answer
            except (OSError, ValueError) as error:
                self._unread = (*self._unread, f"{path.name}: {error}")
        return facts

    def _listening(self, model: Model) -> Model:
        """Return the model without ports that cannot be had: HAProxy would refuse all of it for one of them."""
        taken = self._taken({int(port) for port in model.ports})
        if not taken:
            return model
        ports = {port: claim for port, claim in model.ports.items() if int(port) not in taken}
        reasons = [f"{c.name}: port {port}: {taken[int(port)]}" for port, c in model.ports.items() if port not in ports]
        return replace(model, ports=ports, refused=(*model.refused, *reasons))

    def _render(self, model: Model, live: Rendered) -> Rendered:
        """Write a model down, with the snippets that HAProxy takes; raises RefusedError where this very text was refused."""
        try:
            certificates = self._settings.certificates.read_text().strip()
        except FileNotFoundError:
            certificates = ""

        def judge(laid: haproxy_text.Snippets) -> str:
            trial = haproxy_text.render(model, self._settings.text, certificates, laid)
            problem = self._haproxy.check(files.beside(self._live, trial.text))
            return problem and self._count_refusal(problem)

        wanted = haproxy_text.render(model, self._settings.text, certificates, self._laid.good(live.snippets, judge))
        self._left_out = wanted.refused
        if self._refused.text == wanted.text and time.monotonic() < self._refused.until_s:
            raise RefusedError(self._refused.reason)
        return wanted

    def _guarded(
        self, served: dict[str, dict[str, str]], dead: Set[tuple[str, str]], live: Rendered, wanted: Model, facts: Facts
    ) -> Model:
        """Return what may be served of a model now. ``dead`` are servers that HAProxy's own checks have found so."""
        now_s, confirmed = time.monotonic(), self.leaving()
        asked_for = {name: backend.servers for name, backend in wanted.backends.items()}
        lost: dict[str, set[str]] = {}
        parts = by_datacenter(served, live.model, wanted)
        for part in parts.values():
            known = {b: kept & part.get(b, set()) for b, kept in self._holds.known().items()}
            for backend, missing in sharp_losses(part, asked_for, confirmed, known).items():
                lost.setdefault(backend, set()).update(missing)
        if lost:
            now_at = {normal_address(address): ids for address, ids in services.holders(facts).items()}
            dead = dead | succeeded(served, now_at)
        asked = {b: left for b, names in lost.items() if (left := {n for n in names if (b, n) not in dead})}
        alive: dict[str, set[str]] = {}
        if asked:
            accepting = self._accepting({served[backend][name] for backend, names in asked.items() for name in names})
            alive = {b: kept for b, names in asked.items() if (kept := {n for n in names if served[b][n] in accepting})}
        by_consul = forgotten(alive, services.known(facts))
        for part in parts.values():
            gone = {b: left for b, kept in alive.items() if (left := kept & part.get(b, set()))}
            if wholesale(part, gone):
                by_consul = by_consul.union(*gone.values())
        held = self._holds.update(alive, now_s, by_consul)
        names = tuple(sorted(name for servers in held.values() for name in servers))
        if names and names != self._held:
            log.warning(
                "servers that Consul no longer names still answer and are kept for now %s",
                fields(count=len(names), servers=",".join(names[:_NAMED]) + (",..." if len(names) > _NAMED else "")),
            )
        self._held = names
        if not held:
            return wanted
        addresses = {b: {n: _address(live, b, n, served[b][n]) for n in kept} for b, kept in held.items()}
        return with_held(wanted, live.model, addresses)

    def _write(self, wanted: Rendered, *, check: bool = True) -> None:
        """Make a configuration the one that HAProxy reads when it starts; raises RefusedError."""
        fresh = files.beside(self._live, wanted.text)
        if check and (reason := self._haproxy.check(fresh)):
            raise self._refuse(wanted.text, reason)
        if wanted.map_text and self._map.read_text() != wanted.map_text:
            files.replace(self._map, wanted.map_text)
        files.put(fresh, self._live)

    def _change(self, running: Running, live: Rendered, wanted: Rendered) -> tuple[str, Running]:
        """Make HAProxy serve a configuration, now and when it starts; return how, and what it serves then.

        Raises RefusedError where it cannot.
        """
        served = running.addresses()
        removed = {b: gone for b, servers in served.items() if (gone := servers.keys() - wanted.pools.get(b, {}).keys())}
        if running.shape == wanted.shape and _same_settings(live, wanted):
            added = {
                backend: new
                for backend, servers in wanted.pools.items()
                if (new := {name: rest for name, rest in servers.items() if name not in served.get(backend, {})})
            }
            map_text = wanted.map_text if running.routes != wanted.routes else ""
            weights = _other_weights(running, wanted)
            self._haproxy.change(added, removed, wanted.default_servers(self._settings.text), map_text, weights)
            changed = self._haproxy.running()
            if self._serves(changed, wanted):
                # HAProxy has accepted this shape before and the rest just now: there is nothing left to check.
                self._write(wanted, check=False)
                self.counters.updates += 1
                return UPDATED, changed
            log.info("not all could be changed in place, hence a reload")
        self._keep_good()
        self._write(wanted)
        self._reload(wanted, removed)
        # Another reload would do no better, so what HAProxy makes of an odd address counts as served.
        changed = self._haproxy.running()
        self._odd = "" if self._serves(changed, wanted) else wanted.text
        return RELOADED, changed

    def _serves(self, running: Running, wanted: Rendered) -> bool:
        served = (running.routes, running.addresses()) == (wanted.routes, normal_addresses(wanted.pools))
        return (served and not _other_weights(running, wanted)) or wanted.text == self._odd

    def _keep_good(self) -> None:
        """Keep the last good files under a second name: to return to them takes no room on the disk."""
        for path in (self._live, self._map):
            _good(path).unlink(missing_ok=True)
            if path.exists():
                os.link(path, _good(path))

    def _reload(self, wanted: Rendered, removed: dict[str, set[str]]) -> None:
        # Every old process costs memory until its clients have gone: the more there are, the slower new ones are made.
        interval_s = self._settings.reload_interval_s * (1 + self._haproxy.old_processes() // 8)
        wait_s = self._reloaded_at_s + interval_s - time.monotonic()
        if wait_s > 0:
            time.sleep(wait_s)
        self._reloaded_at_s = time.monotonic()
        self._haproxy.retire(removed)
        succeeded, words = self._haproxy.reload()
        if succeeded:
            self.counters.reloads += 1
            return
        # HAProxy's master waits with the old process; a second reload, from the good files, makes a whole one.
        for path in (self._map, self._live):
            if _good(path).exists():
                files.put(_good(path), path)
        self._haproxy.reload()
        raise self._refuse(wanted.text, f"HAProxy could not start with it: {words}")

    def _refuse(self, text: str, reason: str) -> RefusedError:
        if text != self._refused.text or time.monotonic() >= self._refused.until_s:
            self._refused = _Refused(text, self._count_refusal(reason), time.monotonic() + REFUSED_FOR_S)
        return RefusedError(reason)

    def _count_refusal(self, reason: str) -> str:
        self.counters.refusals += 1
        self.counters.last_reason = reason
        return reason

    def _read_live(self) -> Rendered:
        try:
            return self.live()
        except FileNotFoundError:
            return Rendered()

    def _signature(self) -> object:
        found: list[object] = [self._laid.signature()]
        for path in (self._settings.facts, *self._settings.far_facts.values(), self._settings.certificates):
            try:
                stat = path.stat()
                found.append((stat.st_mtime_ns, stat.st_size, stat.st_ino))
            except OSError:
                found.append(None)
        return found


def _good(path: Path) -> Path:
    """Return the second name of the last good content of a file."""
    return path.with_name(f"{path.name}.good")


def _address(live: Rendered, backend: str, server: str, address: str) -> str:
    """Return a server's address as in the last good configuration, if it is still the same."""
    was = live.model.backends[backend].servers.get(server, "") if backend in live.model.backends else ""
    return was if was and normal_address(was) == address else address


def _other_weights(running: Running, wanted: Rendered) -> dict[str, dict[str, int]]:
    """Return backend -> server -> wanted weight, where the running process has another one, or the server not yet."""
    has = running.weights()
    return {
        backend: other
        for backend, weights in wanted.weights().items()
        if (other := {name: weight for name, weight in weights.items() if has.get(backend, {}).get(name) != weight})
    }


def _same_settings(live: Rendered, wanted: Rendered) -> bool:
    """Return whether servers in both have the same line, but for other weights: to change more of one takes a reload."""
    before = live.pools
    return all(
        _but_weight(before[backend][name]) == _but_weight(rest)
        for backend, servers in wanted.pools.items()
        for name, rest in servers.items()
        if name in before.get(backend, {})
    )


def _but_weight(line: str) -> tuple[str, bool]:
    """Return a server's address, and whether it has a weight of its own."""
    address, _, weight = line.partition(" weight ")
    return address, bool(weight)
