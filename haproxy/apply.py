"""Applies consul-template's candidate to HAProxy: compare, guard, check, change or reload, and keep the last good one.

What counts is that the file and the running HAProxy agree; :meth:`Applier.watch` compares them soon after the file has
changed, and from time to time anyway. Nothing is remembered that HAProxy or a file can tell, so a companion, a
consul-template or an HAProxy that was killed at any point is made good by the next comparison.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Set
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

from eratos.common.errors import PermanentError
from eratos.common.log import fields

from . import files
from .guard import Confirmations, Holds, sharp_losses, wholesale
from .rendered import Pools, Rendered, normal_address, parse, with_servers, without_frontends, without_servers
from .runtime import Running
from .sockets import HaproxyUnavailableError
from .usage import ServerRow

log = logging.getLogger(__name__)

UNCHANGED: Final = "unchanged"  #: HAProxy serves the candidate already
UPDATED: Final = "updated"  #: servers were added and removed in the running process
RELOADED: Final = "reloaded"  #: a new process serves the candidate

#: Between two looks at whether the candidate is another file. consul-template could tell by a command, which takes many
#: times a look's CPU.
_LOOK_S = 0.02
#: Between two comparisons where nothing has changed, and where something is wrong or held.
_COMPARE_S = 5.0
_RETRY_S = 0.5


#: Servers named in a line of the log at most: a large loss held back must not flood it.
_NAMED: Final = 5
#: How long a refused text is refused without another look: a full disk or a busy machine may have been the reason.
_REFUSED_FOR_S = 30.0


@dataclass(frozen=True, slots=True)
class _Refused:
    text: str
    reason: str
    until_s: float


class RefusedError(PermanentError):
    """The candidate was refused; the last good configuration stays."""


class HaproxyPort(Protocol):
    """What this module needs of :class:`.runtime.Haproxy`."""

    def check(self, path: Path) -> str: ...
    def running(self) -> Running: ...
    def old_processes(self) -> int: ...
    def change_servers(self, added: Pools, removed: dict[str, set[str]], settings: dict[str, str]) -> None: ...
    def sweep(self, rows: Iterable[ServerRow]) -> None: ...
    def reload(self) -> tuple[bool, str]: ...
    def retire(self, servers: dict[str, set[str]]) -> None: ...


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of one candidate."""

    result: str
    held: tuple[str, ...] = ()  #: servers that the candidate lacks and that are kept for now


@dataclass(slots=True)
class Counters:
    """Since the start of this companion."""

    reloads: int = 0
    updates: int = 0
    refusals: int = 0
    last_reason: str = ""


class Applier:
    """Brings HAProxy in line with the candidate. For one thread, but for ``confirm`` and what only reads."""

    def __init__(
        self,
        candidate: Path,
        live: Path,
        haproxy: HaproxyPort,
        accepting: Callable[[Collection[str]], set[str]],
        taken: Callable[[Collection[int]], Mapping[int, str]],
        *,
        guard_hold_s: float,
        guard_hold_wholesale_s: float,
        reload_interval_s: float,
    ) -> None:
        self._candidate = candidate
        self._live = live
        self._good = live.with_name(f"{live.name}.good")
        self._haproxy = haproxy
        self._accepting = accepting
        self._taken = taken
        self._reload_interval_s = reload_interval_s
        self._wake = threading.Event()
        self._confirmations = Confirmations()
        self._confirmations_lock = threading.Lock()
        self._holds = Holds(guard_hold_s, guard_hold_wholesale_s)
        self._held: tuple[str, ...] = ()
        self._seen: object = None
        self._refused = _Refused("", "", 0)
        self._odd = ""
        self._left_out: tuple[str, ...] = ()
        self._reloaded_at_s = float("-inf")
        self.counters = Counters()
        self.changing = False  #: HAProxy is being brought in line right now: what it serves and the file may differ

    def confirm(self, servers: Iterable[str], caller: str) -> None:
        """Note that these servers are about to leave Consul on purpose, as somebody at this address says."""
        with self._confirmations_lock:
            self._confirmations.add(servers, caller, time.monotonic())
        if self._held:
            self._wake.set()

    def left_out(self) -> tuple[str, ...]:
        """Return what the last candidate had to do without, each as ``service: reason``."""
        return self._left_out

    def live(self) -> Rendered:
        """Return the last good configuration; raises OSError where HAProxy was never started."""
        return parse(self._live.read_text())

    def apply(self) -> Outcome:
        """Bring HAProxy in line with the candidate.

        Raises RefusedError where the candidate cannot be served, HaproxyUnavailableError where HAProxy does not run (it
        will read the candidate when it starts), OSError where the files cannot be read or written. In all cases the
        last good one goes on.
        """
        started_s = time.monotonic()
        self._seen = self._signature()
        wanted = parse(self._candidate.read_text())
        if not wanted.frontends:
            raise self._refuse(wanted, "it has no frontend: half a file?")
        if self._refused.text == wanted.text and time.monotonic() < self._refused.until_s:
            raise RefusedError(self._refused.reason)
        wanted = self._listening(wanted)
        self._left_out = wanted.refused
        live = self._read_live()
        try:
            running = self._haproxy.running()
        except HaproxyUnavailableError:
            self._write(self._guarded(live.addresses(), frozenset(), live, wanted))
            raise
        wanted = self._guarded(running.addresses(), running.dead(), live, wanted)
        result = UNCHANGED
        if running.shape != wanted.shape or live.pools != wanted.pools or not self._serves(running, wanted):
            self.changing = True
            try:
                result, running = self._change(running, live, wanted)
            finally:
                self.changing = False
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
            "left_out": list(self._left_out),
        }

    def _compare(self, complaint: str) -> str:
        """Do one comparison of :meth:`watch`; return what is wrong, logged once for as long as it stays the same."""
        problem = ""
        try:
            self.apply()
        except (RefusedError, HaproxyUnavailableError, OSError) as error:
            # No candidate yet is the normal state before consul-template has rendered for the first time.
            problem = "" if isinstance(error, FileNotFoundError) else str(error)
        except Exception:  # the loop's edge: a bug must not end the watch; HAProxy goes on as it is
            log.exception("the candidate could not be judged, HAProxy goes on as it is; please report this")
        if problem and problem != complaint:
            log.warning("the last good configuration stays reason=%s", problem)
        return problem

    def _listening(self, wanted: Rendered) -> Rendered:
        """Return the candidate without frontends that could not listen: HAProxy would refuse all of it for one of them."""
        taken = self._taken({port for ports in wanted.ports.values() for port in ports})
        # A frontend's name ends with that of its service (haproxy.ctmpl).
        reasons = {
            frontend: f"{frontend.rpartition(':')[2]}: port {port}: {taken[port]}"
            for frontend, ports in wanted.ports.items()
            for port in ports
            if port in taken
        }
        return without_frontends(wanted, reasons) if reasons else wanted

    def _guarded(
        self, served: dict[str, dict[str, str]], dead: Set[tuple[str, str]], live: Rendered, wanted: Rendered
    ) -> Rendered:
        """Return what may be served of the candidate now. ``dead`` are servers that HAProxy's own checks have found so."""
        now_s = time.monotonic()
        with self._confirmations_lock:
            confirmed = self._confirmations.current(now_s)
        lost = sharp_losses(served, wanted.pools, confirmed, self._holds.known())
        asked = {b: left for b, names in lost.items() if (left := {n for n in names if (b, n) not in dead})}
        alive: dict[str, set[str]] = {}
        if asked:
            accepting = self._accepting({served[backend][name] for backend, names in asked.items() for name in names})
            alive = {b: kept for b, names in asked.items() if (kept := {n for n in names if served[b][n] in accepting})}
        held = self._holds.update(alive, now_s, wholesale=wholesale(served, alive))
        names = tuple(sorted(name for servers in held.values() for name in servers))
        if names and names != self._held:
            log.warning(
                "servers that Consul no longer names still answer and are kept for now %s",
                fields(count=len(names), servers=",".join(names[:_NAMED]) + (",..." if len(names) > _NAMED else "")),
            )
        self._held = names
        if not held:
            return wanted
        lines = {b: {n: _line(live, b, n, served[b][n]) for n in sorted(kept)} for b, kept in held.items()}
        if any(backend not in wanted.pools for backend in held):
            # With its service the backend's routes went, too; they cannot be told from the candidate. So everything but
            # servers stays as it is for now.
            return _servers_alone(live, wanted, lines)
        return with_servers(wanted, lines)

    def _write(self, wanted: Rendered, *, check: bool = True) -> None:
        """Make a configuration the one that HAProxy reads when it starts; raises RefusedError."""
        fresh = files.beside(self._live, wanted.described())
        if check and (reason := self._haproxy.check(fresh)):
            raise self._refuse(wanted, reason)
        files.put(fresh, self._live)

    def _change(self, running: Running, live: Rendered, wanted: Rendered) -> tuple[str, Running]:
        """Make HAProxy serve a configuration, now and when it starts; return how, and what it serves then.

        Raises RefusedError where it cannot.
        """
        served = running.addresses()
        removed = {b: gone for b, servers in served.items() if (gone := servers.keys() - wanted.pools.get(b, {}).keys())}
        if running.shape == wanted.shape and wanted.plain and _same_settings(live, wanted):
            added = {
                backend: new
                for backend, servers in wanted.pools.items()
                if (new := {name: rest for name, rest in servers.items() if name not in served.get(backend, {})})
            }
            self._haproxy.change_servers(added, removed, wanted.defaults)
            changed = self._haproxy.running()
            if changed.addresses() == wanted.addresses():
                # HAProxy has accepted this shape before and these servers just now: there is nothing left to check.
                self._write(wanted, check=False)
                self.counters.updates += 1
                return UPDATED, changed
            log.info("servers could not all be changed in place, hence a reload")
        self._keep_good()
        self._write(wanted)
        self._reload(wanted, removed)
        # Another reload would do no better, so what HAProxy makes of an odd address counts as served.
        changed = self._haproxy.running()
        self._odd = wanted.text if changed.addresses() != wanted.addresses() else ""
        return RELOADED, changed

    def _serves(self, running: Running, wanted: Rendered) -> bool:
        return running.addresses() == wanted.addresses() or wanted.text == self._odd

    def _keep_good(self) -> None:
        """Keep the last good configuration under a second name: to return to it takes no room on the disk."""
        self._good.unlink(missing_ok=True)
        if self._live.exists():
            os.link(self._live, self._good)

    def _reload(self, wanted: Rendered, removed: dict[str, set[str]]) -> None:
        # Every old process costs memory until its clients have gone: the more there are, the slower new ones are made.
        interval_s = self._reload_interval_s * (1 + self._haproxy.old_processes() // 8)
        wait_s = self._reloaded_at_s + interval_s - time.monotonic()
        if wait_s > 0:
            time.sleep(wait_s)
        self._reloaded_at_s = time.monotonic()
        self._haproxy.retire(removed)
        succeeded, words = self._haproxy.reload()
        if succeeded:
            self.counters.reloads += 1
            return
        # HAProxy's master waits with the old process; a second reload, from the good file, makes a whole one.
        files.put(self._good, self._live)
        self._haproxy.reload()
        raise self._refuse(wanted, f"HAProxy could not start with it: {words}")

    def _refuse(self, wanted: Rendered, reason: str) -> RefusedError:
        self._refused = _Refused(wanted.text, reason, time.monotonic() + _REFUSED_FOR_S)
        self.counters.refusals += 1
        self.counters.last_reason = reason
        return RefusedError(reason)

    def _read_live(self) -> Rendered:
        try:
            return self.live()
        except FileNotFoundError:
            return parse("")

    def _signature(self) -> object:
        try:
            found = self._candidate.stat()
        except OSError:
            return None
        return (found.st_mtime_ns, found.st_size, found.st_ino)


def _servers_alone(live: Rendered, wanted: Rendered, held: Pools) -> Rendered:
    """Return the last good configuration with the candidate's servers, as far as it has their backends, and those held."""
    pools = {b: {**wanted.pools.get(b, {}), **held.get(b, {})} for b in live.pools}
    gone = {b: {n for n, rest in servers.items() if pools[b].get(n) != rest} for b, servers in live.pools.items()}
    new = {b: {n: rest for n, rest in pools[b].items() if live.pools[b].get(n) != rest} for b in live.pools}
    return with_servers(without_servers(live, gone), new)


def _line(live: Rendered, backend: str, server: str, address: str) -> str:
    """Return what follows a server's name: as in the last good configuration, if its address is still the same."""
    rest = live.pools.get(backend, {}).get(server, "")
    return rest if rest and normal_address(rest.split()[0]) == address else address


def _same_settings(live: Rendered, wanted: Rendered) -> bool:
    """Tell whether servers in both have the same line: to change more than the address of one takes a reload."""
    return all(
        live.pools[backend][name] == rest
        for backend, servers in wanted.pools.items()
        for name, rest in servers.items()
        if name in live.pools.get(backend, {})
    )
