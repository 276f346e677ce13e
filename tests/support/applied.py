"""The cycle of a balancer with an HAProxy that is played: facts in, outcomes out."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable
from dataclasses import replace
from pathlib import Path

from eratos.haproxy import config
from eratos.haproxy.apply import Applier, Outcome
from eratos.haproxy.core.haproxy_text import DIGEST_KEY, Pools, entries, read_back
from eratos.haproxy.core.usage import ServerRow
from eratos.haproxy.haproxy_process import Running
from eratos.haproxy.sockets import HaproxyUnavailableError


def row(name: str, number: int, status: str = "passing", **meta: str) -> dict[str, object]:
    meta = {"haproxy-group": "external", **{f"haproxy-{key.replace('_', '-')}": value for key, value in meta.items()}}
    return {"id": name, "address": f"10.0.0.{number}", "port": 80, "status": status, "tags": ["eratos"], "meta": meta}


def facts(**services: list[dict[str, object]]) -> str:
    return json.dumps({"services": services})


def of(*servers: str, app: str = "app", **meta: str) -> str:
    """Return the facts of one app, which is known without servers as well."""
    return facts(**{app: [*(row(name, ord(name[0]), **meta) for name in servers), row("none", 1, "critical", **meta)]})


class FakeHaproxy:
    """An HAProxy that serves whatever its file says at each reload."""

    def __init__(self, live: Path) -> None:
        self.live = live
        self.available = True
        self.refusal = ""
        self.reload_fails = False
        self.stubborn = False  # changes in place have no effect
        self.shown: dict[str, str] = {}  # address -> how HAProxy writes it
        self.old = 0
        self.calls: list[str] = []
        self.swept: list[list[str]] = []
        self.retired: dict[str, set[str]] = {}
        self.before_reload: Callable[[], None] = lambda: None
        self.statuses: dict[str, str] = {}  # server -> what HAProxy's check says, where it is not up
        self._running = Running("", ())
        self.routes: dict[str, str] = {}  # what the map file held at the last reload, or was changed to

    def check(self, path: Path) -> str:
        self.calls.append("check")
        return self.refusal

    def running(self) -> Running:
        if not self.available:
            raise HaproxyUnavailableError("restarting")
        return self._running

    def old_processes(self) -> int:
        return self.old

    def change(
        self,
        added: Pools,
        removed: dict[str, set[str]],
        settings: dict[str, str],
        map_text: str,
        weights: dict[str, dict[str, int]],
    ) -> None:
        self.calls.append("change")
        if self.stubborn:
            return
        rows = [row for row in self._running.rows if row.name not in removed.get(row.backend, ())]
        rows += self._rows(added)
        rows = [replace(row, weight=weights.get(row.backend, {}).get(row.name, row.weight)) for row in rows]
        if map_text:
            self._take(map_text)
        self._running = Running(self._running.shape, tuple(rows), self.routes.get(DIGEST_KEY, ""))

    def sweep(self, rows: Iterable[ServerRow]) -> None:
        self.swept.append([row.name for row in rows])

    def reload(self) -> tuple[bool, str]:
        self.calls.append("reload")
        self.before_reload()
        if self.reload_fails:
            self.reload_fails = False
            return False, "cannot bind"
        found = read_back(self.live.read_text())
        self._take(self.live.with_name("routes.map").read_text() if "routes.map" in found.text else "")
        rows = self._rows(found.pools)
        self._running = Running(found.shape, tuple(rows), self.routes.get(DIGEST_KEY, ""))
        return True, ""

    def retire(self, servers: dict[str, set[str]]) -> None:
        self.retired = {backend: set(names) for backend, names in servers.items()}

    def _rows(self, pools: Pools) -> list[ServerRow]:
        return [
            ServerRow(
                backend,
                name,
                self.shown.get(rest.split()[0], rest.split()[0]),
                self.statuses.get(name, "UP"),
                0,
                weight=int(rest.partition(" weight ")[2] or 100),
            )
            for backend, servers in pools.items()
            for name, rest in servers.items()
        ]

    def _take(self, map_text: str) -> None:
        self.routes = dict(entries(map_text))

    def serves(self) -> set[str]:
        return {row.name for row in self._running.rows}

    def weights(self) -> dict[str, int]:
        return {row.name: row.weight for row in self._running.rows}

    def find(self, **statuses: str) -> None:
        """Have HAProxy's checks find something out about servers."""
        rows = tuple(replace(row, status=statuses.get(row.name, row.status)) for row in self._running.rows)
        self._running = replace(self._running, rows=rows)


class Rig:
    def __init__(
        self, folder: Path, hold_s: float = 60, wholesale_s: float = 0, reload_interval_s: float = 0, **more: str
    ) -> None:
        environment = {
            **more,
            "ERATOS_STATE_DIR": str(folder),
            "ERATOS_SNIPPETS_DIR": str(folder / "snippets"),
            "ERATOS_GUARD_HOLD_S": str(hold_s),
            "ERATOS_GUARD_HOLD_WHOLESALE_S": str(wholesale_s),
            "ERATOS_RELOAD_INTERVAL_S": str(reload_interval_s),
        }
        self.settings = config.read(environment)
        self.facts, self.live, self.snippets = self.settings.facts, self.settings.live, self.settings.snippets_dir
        self.haproxy = FakeHaproxy(self.live)
        self.alive: set[str] = set()
        self.taken: set[int] = set()
        taken = "Address already in use"
        self.applier = Applier(
            self.settings, self.haproxy, self._accepting, lambda ports: {port: taken for port in ports if port in self.taken}
        )

    def _accepting(self, addresses: Collection[str]) -> set[str]:
        return set(addresses) & self.alive

    def apply(self, text: str) -> Outcome:
        self.facts.write_text(text)
        self.haproxy.calls.clear()
        return self.applier.apply()
