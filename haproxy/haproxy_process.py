"""One running HAProxy, with all its processes: asked, changed and reloaded. Called by :mod:`.apply` and :mod:`.api`.

Knows HAProxy's commands and nothing of facts, guards or Consul.
"""

from __future__ import annotations

import logging
import re
import subprocess
import time
from collections.abc import Iterable, Mapping, Set
from dataclasses import dataclass
from pathlib import Path

from . import files
from .core.haproxy_text import DIGEST_KEY, Pools, entries
from .core.usage import Figures, Process, ServerRow, Usage, parse_figures, parse_process, parse_rows, usage
from .network import normal_address
from .sockets import HaproxyUnavailableError, MasterSocket, ProcessGoneError

log = logging.getLogger(__name__)

#: HAProxy reads a line of commands into one buffer of 16 KiB.
_LINE_MAX = 12_000
#: What HAProxy finds wrong, without what it says afterwards in any case.
_ALERT = re.compile(r"\[ALERT\]\s+\(\d+\) : (?:config : )?(?!Error\(s\) found|Fatal errors found)(.*)")
#: Of all proxies the servers (4), or those, the backends (2) and the frontends (1).
_SHOW_SERVERS = "show stat -1 4 -1"
#: Of backends and servers.
_SHOW_COUNTS = "show stat -1 6 -1"
_SHOW_ALL = "show stat -1 7 -1"
#: Each connection of a client.
_SHOW_CONNECTIONS = "show fd f"
#: Line of ``show info`` of a process that no longer accepts clients, and ends each connection as soon as it can.
_STOPPING = re.compile(r"^Stopping: [1-9]", re.MULTILINE)
#: How long a client may take to read that it should open no more streams, or to send one that it had begun before.
_TOLD_S = 2.0
#: What `get map` says of a key that is there, beside its value.
_FOUND = re.compile(r'found=yes, .*value="([^"]*)"')
_NEW_VERSION = re.compile(r"New version created: ([0-9]+)")
#: Settings that `add server` refuses.
_STATIC = re.compile(r"\btcp-ut \S+ ?")
#: An old process that ends just now may take a question and never answer; meanwhile no reload is made.
_OLD_ANSWER_S = 1.0


@dataclass(frozen=True, slots=True)
class Running:
    """What HAProxy's current process serves."""

    shape: str  #: as in :class:`.haproxy_text.Rendered`; empty where it was not started with a described configuration
    rows: tuple[ServerRow, ...]
    routes: str = ""  #: likewise

    def addresses(self) -> dict[str, dict[str, str]]:
        """Return backend -> server -> ``address:port``, of servers that are not on their way out."""
        pools: dict[str, dict[str, str]] = {}
        for row in self.rows:
            if not row.in_maintenance:
                pools.setdefault(row.backend, {})[row.name] = normal_address(row.address)
        return pools

    def weights(self) -> dict[str, dict[str, int]]:
        """Return backend -> server -> weight, of servers that are not on their way out."""
        pools: dict[str, dict[str, int]] = {}
        for row in self.rows:
            if not row.in_maintenance:
                pools.setdefault(row.backend, {})[row.name] = row.weight
        return pools

    def dead(self) -> frozenset[tuple[str, str]]:
        """Return backend and name of the servers that HAProxy's checks have found dead."""
        return frozenset((row.backend, row.name) for row in self.rows if row.status.startswith("DOWN"))


class Haproxy:
    """Commands to one HAProxy. Not thread-safe where it changes something: :class:`.apply.Applier` serialises that."""

    def __init__(self, master: MasterSocket, base: Path, servers_state: Path, map_file: Path, program: str = "haproxy") -> None:
        self._master = master
        self._base = base
        self._map_file = map_file
        self._servers_state = servers_state
        self._program = program
        self._stopping_since_s: dict[int, float] = {}  #: process -> when it was first seen stopping

    def check(self, path: Path) -> str:
        """Let ``haproxy -c`` judge a configuration together with the fixed half; return what is wrong, or nothing."""
        # Not -q: HAProxy would keep its reasons to itself.
        command = [self._program, "-c", "-f", str(self._base), "-f", str(path)]
        try:
            done = subprocess.run(
                command,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=20,
                check=False,
                errors="replace",
                start_new_session=True,  # without a terminal to ask for a key's passphrase on
            )
        except subprocess.TimeoutExpired:
            return "haproxy -c took over 20 s"
        if done.returncode == 0:
            return ""
        alerts = [match[1] for line in done.stderr.splitlines() if (match := _ALERT.match(line))]
        return "; ".join(alerts)[:2000] or f"haproxy -c ended with {done.returncode}: {done.stderr[-500:]}"

    def running(self) -> Running:
        """Ask the current process what it serves; raises HaproxyUnavailableError."""
        try:
            with self._master.without_reload():
                process = self._master.processes().current
                described = self._master.ask("show info", f"get map {self._map_file} {DIGEST_KEY}", process=process)
                answer = self._master.ask(_SHOW_SERVERS, process=process)
        except ProcessGoneError as error:
            raise HaproxyUnavailableError(str(error)) from error
        rows = parse_rows(answer)
        shapes = [line.partition(":")[2].strip() for line in described.splitlines() if line.startswith("description:")]
        routes = _FOUND.search(described)
        return Running(shapes[0] if shapes else "", tuple(rows), routes[1] if routes else "")

    def figures(self) -> dict[tuple[str, str], Figures]:
        """Return what the current process has counted, by backend and server or ``BACKEND``; raises HaproxyUnavailableError."""
        try:
            with self._master.without_reload():
                return parse_figures(self._master.ask(_SHOW_COUNTS, process=self._master.processes().current))
        except ProcessGoneError as error:
            raise HaproxyUnavailableError(str(error)) from error

    def old_processes(self) -> int:
        """Return how many processes still finish connections from before a reload; raises HaproxyUnavailableError."""
        return len(self._master.processes().old)

    def usage(self, server: str, leaving: Set[str] = frozenset()) -> Usage:
        """Return whether any process, old ones included, still uses a server; raises HaproxyUnavailableError.

        ``leaving`` are the servers that are announced to leave.
        """
        return usage(server, self._each_process(), leaving)

    def change(
        self,
        added: Pools,
        removed: Mapping[str, Iterable[str]],
        settings: Mapping[str, str],
        map_text: str = "",
        weights: Mapping[str, Mapping[str, int]] | None = None,
    ) -> None:
        """Add and remove servers, change weights, and give the map of routes another content, without a reload.

        Raises HaproxyUnavailableError. Commands may fail one by one: the caller asks :meth:`running` what came of it.
        ``settings`` are those of each backend's ``default-server``, which HAProxy does not apply to servers that are added
        while it runs. Without ``map_text`` the map stays as it is.
        """
        current = self._master.processes().current
        commands = []
        for backend, servers in added.items():
            for name, rest in servers.items():
                server = f"{backend}/{name}"
                address, _, own = rest.partition(" ")
                # HAProxy knows it for servers of its files alone (3.0): this one has it from the next reload on.
                common = _STATIC.sub("", settings.get(backend, ""))
                # One that left and is back at the same address is still there in maintenance, and one elsewhere makes
                # way where it can.
                commands.append(
                    f"del server {server}; add server {server} {address} {common} {own}; "
                    f"enable health {server}; enable server {server}"
                )
        # Those that get nothing come last: of two versions that swap, one has the traffic at any moment. HAProxy's master passes
        # commands on one by one, so there is time for requests between them.
        weighed = [(backend, name, weight) for backend, others in (weights or {}).items() for name, weight in others.items()]
        for backend, name, weight in sorted(weighed, key=lambda each: not each[2]):
            commands.append(f"set server {backend}/{name} weight {weight}")
        # New servers first: a pool that is replaced as a whole is never empty, and a route leads nowhere without them.
        self._tell(current, commands)
        if map_text:
            self._change_map(current, map_text)
        self._tell(current, [f"disable server {backend}/{name}" for backend, names in removed.items() for name in names])

    def sweep(self, rows: Iterable[ServerRow]) -> None:
        """Delete those of the current process's servers that are in maintenance and unused; raises HaproxyUnavailableError."""
        leaving = [row for row in rows if row.in_maintenance and not row.requests]
        if leaving:
            # HAProxy itself refuses while idle connections to the server are left; the next sweep tries again.
            commands = [f"del server {row.backend}/{row.name}" for row in leaving]
            self._tell(self._master.processes().current, commands)

    def reload(self) -> tuple[bool, str]:
        """Start a new worker process from the files; return whether it runs, and HAProxy's words where it does not."""
        try:
            self._keep_dead_servers()
        except OSError as error:
            log.warning("the new process will find out about dead servers by itself: %s", error)
        started_s = time.monotonic()
        succeeded, words = self._master.reload()
        log.debug("reload took_s=%.3f %s", time.monotonic() - started_s, words)
        alerts = [line for line in words.splitlines() if "[ALERT]" in line or "[WARNING]" in line]
        return succeeded, "" if succeeded else "; ".join(alerts)[:2000]

    def retire(self, servers: Mapping[str, Iterable[str]]) -> None:
        """Put servers into maintenance that a reload is about to remove, where their pool has another usable server.

        Where it has none, the process goes on using them until its clients have gone: rather late than a 503.
        Raises HaproxyUnavailableError.
        """
        process = self._master.processes().current
        rows = parse_rows(self._master.ask(_SHOW_SERVERS, process=process))
        self._tell(process, [f"disable server {row.backend}/{row.name}" for row in retirable(rows, servers)])

    def _change_map(self, process: int, text: str) -> None:
        """Replace the map's content in one go: requests see the old or the new one whole."""
        if prepared := _NEW_VERSION.search(self._master.ask(f"prepare map {self._map_file}", process=process)):
            at = f"@{prepared[1]} {self._map_file}"
            self._tell(process, [*(f"add map {at} {key} {value}" for key, value in entries(text)), f"commit map {at}"])

    def _tell(self, process: int, commands: Iterable[str]) -> None:
        """Send many commands to one process, several a line."""
        line: list[str] = []
        length = 0
        for command in commands:
            if line and length + len(command) > _LINE_MAX:
                self._master.ask(*line, process=process)
                line, length = [], 0
            line.append(command)
            length += len(command) + 2
        if line:
            self._master.ask(*line, process=process)

    def _each_process(self) -> list[Process]:
        found = []
        with self._master.without_reload():
            processes = self._master.processes()
            self._stopping_since_s = {p: since_s for p, since_s in self._stopping_since_s.items() if p in processes.old}
            found.append(parse_process(self._master.ask(_SHOW_ALL, process=processes.current)))
            for process in processes.old:
                try:
                    found.append(self._old_process(process))
                except ProcessGoneError:
                    continue
        return found

    def _old_process(self, process: int) -> Process:
        info = self._master.ask("show info", process=process, timeout_s=_OLD_ANSWER_S)
        if not _STOPPING.search(info):
            # The new one has just begun to run, and this one has not heard of it.
            return parse_process(self._master.ask(_SHOW_ALL, process=process, timeout_s=_OLD_ANSWER_S))
        now_s = time.monotonic()
        told = now_s - self._stopping_since_s.setdefault(process, now_s) >= _TOLD_S
        # In this order: see parse_process.
        connections = self._master.ask(_SHOW_CONNECTIONS, process=process, timeout_s=_OLD_ANSWER_S)
        statistics = self._master.ask(_SHOW_ALL, process=process, timeout_s=_OLD_ANSWER_S)
        return parse_process(statistics, connections, stopping=True, told=told)

    def _keep_dead_servers(self) -> None:
        current = self._master.processes().current
        dump = self._master.ask("show servers state", process=current)
        files.replace(self._servers_state, dead_servers(dump))


def retirable(rows: Iterable[ServerRow], servers: Mapping[str, Iterable[str]]) -> list[ServerRow]:
    """Return the rows of ``servers`` that their process can do without: their pool has another usable server."""
    rows = list(rows)
    gone = {(backend, name) for backend, names in servers.items() for name in names}
    enough = {row.backend for row in rows if row.usable and (row.backend, row.name) not in gone}
    return [row for row in rows if (row.backend, row.name) in gone and not row.in_maintenance and row.backend in enough]


def dead_servers(dump: str) -> str:
    """Reduce the answer to ``show servers state`` to servers found dead by their checks, in the same format.

    The next process has its weights from its configuration: HAProxy keeps one that was changed only where the one that the server
    began with is still the same. So both are 0 here, and it keeps that only where 0 is wanted.

    The rest of a process's state is no business of the next one: the configuration says who is in and who is out.
    """
    kept = []
    for line in dump.splitlines():
        fields = line.split()
        if line == "1" or line.startswith("#"):
            kept.append(line)
        # Columns 6 and 7: operational state (0: down) and administrative state (0: none), management guide "show
        # servers state". Columns 8 and 9: its weight, and that which it began with.
        elif len(fields) > 8 and fields[5] == "0" and fields[6] == "0":
            kept.append(" ".join([*fields[:7], "0", "0", *fields[9:]]))
    return "\n".join(kept) + "\n"
