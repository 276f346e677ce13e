"""What comes of facts: unchanged, changed in place, reloaded, held back or refused."""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable, Collection, Iterable
from dataclasses import replace
from pathlib import Path

import pytest
from support.waiting import until

from eratos.haproxy import apply, config
from eratos.haproxy.apply import RELOADED, UNCHANGED, UPDATED, Applier, Outcome, RefusedError
from eratos.haproxy.core.guard import CONFIRMED_FOR_S
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


@pytest.fixture
def rig(tmp_path: Path) -> Rig:
    rig = Rig(tmp_path)
    assert rig.apply(of("a", "b", "c", "d")).result == RELOADED
    return rig


def test_the_same_facts_are_neither_checked_nor_reloaded(rig: Rig) -> None:
    assert rig.apply(of("a", "b", "c", "d")) == Outcome(UNCHANGED)
    assert rig.apply("\n" + of("d", "c", "b", "a")) == Outcome(UNCHANGED)
    assert rig.haproxy.calls == []


def test_servers_are_changed_in_place_and_the_file_follows(rig: Rig) -> None:
    assert rig.apply(of("b", "c", "d", "e")).result == UPDATED
    assert rig.haproxy.calls == ["change"]
    assert rig.haproxy.swept[-1:] == [[row.name for row in rig.haproxy.running().rows]]
    assert rig.haproxy.serves() == {"b", "c", "d", "e"}
    assert set(rig.applier.live().pools["app"]) == {"b", "c", "d", "e"}


def test_another_shape_is_reloaded_and_removed_servers_are_retired_before(rig: Rig) -> None:
    assert rig.apply(of("b", "c", "d", balance="leastconn")).result == RELOADED
    assert rig.haproxy.calls == ["check", "reload"]
    assert rig.haproxy.retired == {"app": {"a"}}


def test_while_haproxy_is_changed_it_is_known_to_be(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[bool] = []
    reload = rig.haproxy.reload
    monkeypatch.setattr(rig.haproxy, "reload", lambda: seen.append(rig.applier.changing) or reload())
    assert rig.apply(of("b", "c", balance="leastconn")).result == RELOADED
    assert seen == [True]
    assert not rig.applier.changing


def test_settings_of_one_server_need_a_reload(rig: Rig) -> None:
    assert rig.apply(of("a", "b", "c", "d", server_weight="3")).result == RELOADED


def test_servers_with_a_weight_come_in_place_and_are_held_back_with_it(rig: Rig) -> None:
    text = of("a", "b", "c", "d", "e", server_weight="3")
    rig.apply(text)
    rig.alive = {f"10.0.0.{ord(name)}:80" for name in "bcde"}
    assert rig.apply(of("a", server_weight="3")) == Outcome(UNCHANGED, ("b", "c", "d", "e"))
    assert rig.apply(of("a", "f", server_weight="3")) == Outcome(UPDATED, ("b", "c", "d", "e"))
    assert rig.applier.live().pools["app"]["e"] == "10.0.0.101:80 weight 3"


def test_another_weight_of_a_server_that_has_one_is_told_in_place(rig: Rig) -> None:
    rig.apply(of("a", "b", server_weight="3"))
    assert rig.apply(of("a", "b", "c", server_weight="4")).result == UPDATED
    assert rig.haproxy.weights() == {"a": 4, "b": 4, "c": 4}
    # Whoever changed it by hand is corrected.
    rig.haproxy.change({}, {}, {}, "", {"app": {"a": 9}})
    assert rig.apply(of("a", "b", "c", server_weight="4")).result == UPDATED
    assert rig.haproxy.weights() == {"a": 4, "b": 4, "c": 4}


def twice(said: str) -> str:
    """Return the facts of an app that is there in two versions, with what its entry says of them."""
    rows = [row(name, ord(name)) for name in "ab"]
    for version, found in enumerate(rows, 1):
        found["meta"]["eratos-version"] = str(version)  # type: ignore[index]
    entry = row("none", 1, "critical")
    entry["meta"] |= {"eratos-placeholder": "true", "eratos-weights": said}  # type: ignore[operator]
    return facts(app=[*rows, entry])


def test_traffic_goes_from_one_version_to_another_and_back_without_a_reload(rig: Rig) -> None:
    rig.apply(twice("1=100"))
    assert rig.haproxy.weights() == {"a": 100, "b": 0}
    for said, weights in ("1=100,2=25", {"a": 100, "b": 25}), ("1=0,2=100", {"a": 0, "b": 100}), ("1=100", {"a": 100, "b": 0}):
        assert rig.apply(twice(said)).result == UPDATED
        assert rig.haproxy.weights() == weights
    # Rather one that waits for its turn than nobody.
    assert rig.apply(twice("3=100")).result == UPDATED
    assert rig.haproxy.weights() == {"a": 100, "b": 100}


# -- zones -------------------------------------------------------------------------------------------------------------


def zoned(zones: dict[str, str], **meta: str) -> str:
    """Return the facts of one app whose servers are in zones."""
    rows = [row(name, ord(name[0]), **meta) for name in zones]
    for found in rows:
        found["meta"]["eratos-zone"] = zones[str(found["id"])]  # type: ignore[index]
    return facts(app=[*rows, row("none", 1, "critical", **meta)])


@pytest.fixture
def preferring(tmp_path: Path) -> Rig:
    (tmp_path / "zoned").mkdir()
    rig = Rig(tmp_path / "zoned", ERATOS_ZONE="here", ERATOS_ZONE_POLICY="prefer")
    assert rig.apply(zoned({"a": "here", "b": "here", "x": "there", "y": "there"})).result == RELOADED
    assert rig.haproxy.weights() == {"a": 256, "b": 256, "x": 1, "y": 1}
    return rig


def test_instances_come_and_go_in_both_zones_without_a_reload(preferring: Rig) -> None:
    rig = preferring
    assert rig.apply(zoned({"a": "here", "x": "there", "y": "there", "z": "there"})).result == UPDATED
    assert rig.haproxy.weights() == {"a": 256, "x": 85, "y": 85, "z": 85}
    assert rig.apply(zoned({"x": "there", "y": "there", "z": "there"})).result == UPDATED
    assert rig.haproxy.weights() == {"x": 256, "y": 256, "z": 256}
    assert rig.apply(zoned({"a": "here", "x": "there"})).result == UPDATED
    assert rig.haproxy.weights() == {"a": 256, "x": 1}
    assert rig.applier.live().pools["app"]["x"] == "10.0.0.120:80 weight 1"
    assert (rig.applier.status()["zone"], rig.applier.status()["zone_policy"]) == ("here", "prefer")


def test_servers_that_haproxy_finds_dead_count_for_nothing_until_they_are_back(preferring: Rig) -> None:
    rig, text = preferring, zoned({"a": "here", "b": "here", "x": "there", "y": "there"})
    rig.haproxy.find(b="DOWN")
    assert rig.apply(text).result == UPDATED
    assert rig.haproxy.weights() == {"a": 256, "b": 256, "x": 64, "y": 64}
    rig.haproxy.find(a="DOWN")
    assert rig.apply(text).result == UPDATED
    assert rig.haproxy.weights() == {"a": 1, "b": 1, "x": 256, "y": 256}
    rig.haproxy.find(a="UP 1/2", b="UP")
    assert rig.apply(text).result == UPDATED
    assert rig.haproxy.weights() == {"a": 256, "b": 256, "x": 1, "y": 1}


def test_what_haproxy_finds_out_is_looked_at_at_once_where_it_matters(preferring: Rig, rig: Rig) -> None:
    for looked, applier in ((True, preferring.applier), (False, rig.applier)):
        applier.health_changed()
        assert applier._wake.is_set() is looked


def test_a_server_held_back_counts_in_its_zone(preferring: Rig) -> None:
    rig = preferring
    rig.alive = {"10.0.0.97:80", "10.0.0.98:80"}
    # Consul has forgotten those of this zone, which go on as near ones.
    for text in (zoned({"x": "there"}), zoned({"x": "there", "z": "there"})):
        assert set(rig.apply(text).held) >= {"a", "b"}
        assert {name: rig.haproxy.weights()[name] for name in "abx"} == {"a": 256, "b": 256, "x": 1}


def test_where_a_zone_is_required_others_are_not_served(tmp_path: Path) -> None:
    rig = Rig(tmp_path, ERATOS_ZONE="here")
    rig.apply(zoned({"a": "here", "x": "there"}, zone="require"))
    assert rig.haproxy.serves() == {"a"}


def test_a_change_in_place_without_effect_becomes_a_reload(rig: Rig) -> None:
    rig.haproxy.stubborn = True
    assert rig.apply(of("a", "b", "c", "e")).result == RELOADED
    assert rig.haproxy.calls == ["change", "check", "reload"]
    assert rig.haproxy.serves() == {"a", "b", "c", "e"}


def test_a_candidate_that_haproxy_refuses_leaves_the_last_good_one(rig: Rig) -> None:
    good = rig.live.read_text()
    rig.haproxy.refusal = "unknown keyword"
    with pytest.raises(RefusedError, match="unknown keyword"):
        rig.apply(of("a", "b", "c", "x", balance="random"))
    assert rig.live.read_text() == good
    assert rig.applier.status()["refusals"] == 1
    # The same text is not checked over and over.
    with pytest.raises(RefusedError, match="unknown keyword"):
        rig.apply(of("a", "b", "c", "x", balance="random"))
    assert rig.haproxy.calls == []
    rig.haproxy.refusal = ""
    assert rig.apply(of("a", "b", "c", "y")).result == UPDATED


def test_a_reload_after_a_change_in_place_is_checked(rig: Rig) -> None:
    rig.haproxy.stubborn = True
    rig.haproxy.refusal = "bad address"
    good = rig.live.read_text()
    with pytest.raises(RefusedError, match="bad address"):
        rig.apply(of("a", "b", "c", "x"))
    assert rig.haproxy.calls == ["change", "check"]
    assert rig.live.read_text() == good


def test_a_refused_candidate_is_tried_again_after_a_while(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    text = of("a", "b", "c", "x", balance="random")
    rig.haproxy.refusal = "no space left on device"
    monkeypatch.setattr(apply, "REFUSED_FOR_S", 0)
    with pytest.raises(RefusedError):
        rig.apply(text)
    rig.haproxy.refusal = ""
    assert rig.apply(text).result == RELOADED


def test_a_reload_waits_until_enough_time_has_passed_since_the_last_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now, slept = [100.0], []
    monkeypatch.setattr(apply.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(apply.time, "sleep", slept.append)
    rig = Rig(tmp_path, reload_interval_s=2)
    rig.apply(of("a"))
    assert slept == []
    now[0] += 0.5
    rig.apply(of("a", balance="leastconn"))
    assert slept == [1.5]
    # Old processes cost memory: the more there are, the longer the pause.
    rig.haproxy.old = 8
    now[0] += 0.5
    rig.apply(of("a", balance="random"))
    assert slept == [1.5, 3.5]


@pytest.mark.parametrize("text", ["", "{}", "[]", of("a")[:-1], of("a").replace("id", "ip")])
def test_half_a_file_is_refused(rig: Rig, text: str) -> None:
    for _ in range(2):
        with pytest.raises(RefusedError, match=r"facts.json: it holds no facts, half a file"):
            rig.apply(text)
    assert rig.haproxy.serves() == {"a", "b", "c", "d"}
    assert rig.applier.status()["refusals"] == 1


def test_a_frontend_without_its_port_is_left_out_until_the_port_is_free(rig: Rig) -> None:
    text = facts(db=[row("x", 1, mode="tcp", port="5432")])
    rig.taken = {5432}
    assert rig.apply(text).result == RELOADED
    assert rig.applier.status()["left_out"] == ["db: port 5432: Address already in use"]
    assert "bind :5432" not in rig.live.read_text()
    rig.taken = set()
    assert rig.apply(text).result == RELOADED
    assert rig.applier.status()["left_out"] == []
    assert "bind :5432" in rig.live.read_text()


def test_a_failed_reload_returns_to_the_last_good_one(rig: Rig) -> None:
    good = rig.live.read_text()
    rig.haproxy.reload_fails = True
    with pytest.raises(RefusedError, match="cannot bind"):
        rig.apply(of("a", "b", "c", "d", balance="leastconn"))
    assert rig.haproxy.calls == ["check", "reload", "reload"]
    assert rig.live.read_text() == good
    assert rig.haproxy.running().shape == read_back(good).shape


def test_a_failed_reload_on_a_full_disk_returns_to_the_last_good_one(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    good = rig.live.read_text()

    opened = Path.open

    def full(path: Path, mode: str = "r", *rest: object, **options: object) -> object:
        if mode != "r":
            raise OSError(28, "No space left on device")
        return opened(path, mode, *rest, **options)  # type: ignore[call-overload]

    rig.haproxy.before_reload = lambda: monkeypatch.setattr(Path, "open", full)
    rig.haproxy.reload_fails = True
    with pytest.raises(RefusedError, match="cannot bind"):
        rig.apply(of("a", "b", "c", "d", balance="leastconn"))
    monkeypatch.undo()
    assert rig.live.read_text() == good


@pytest.mark.parametrize("text", [of("a", "b", "c", "e"), of("a", "b", balance="leastconn")], ids=["in place", "reload"])
def test_a_full_disk_leaves_the_last_good_file_whole_and_no_other(rig: Rig, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    good = rig.live.read_text()
    before = {path.name for path in rig.live.parent.iterdir()} | {"live.cfg.good"}
    monkeypatch.setattr(os, "fsync", lambda _: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(OSError, match="No space"):
        rig.apply(text)
    assert rig.live.read_text() == good
    assert {path.name for path in rig.live.parent.iterdir()} <= before
    monkeypatch.undo()
    assert rig.apply(text).result in (UPDATED, RELOADED, UNCHANGED)
    assert set(rig.applier.live().pools["app"]) == rig.haproxy.serves()


def test_while_haproxy_is_away_the_file_is_ready_for_its_return(rig: Rig) -> None:
    rig.haproxy.available = False
    with pytest.raises(HaproxyUnavailableError):
        rig.apply(of("a", "b", "c", "d", "e"))
    assert set(rig.applier.live().pools["app"]) == {"a", "b", "c", "d", "e"}


def test_the_guard_works_while_haproxy_is_away(rig: Rig) -> None:
    rig.alive = {f"10.0.0.{ord(name)}:80" for name in "abcd"}
    rig.haproxy.available = False
    with pytest.raises(HaproxyUnavailableError):
        rig.apply(of())
    assert set(rig.applier.live().pools["app"]) == {"a", "b", "c", "d"}


def test_an_address_that_haproxy_shows_in_another_form_is_not_reloaded_for_ever(rig: Rig) -> None:
    rig.haproxy.shown = {"10.0.0.101:80": "10.0.0.0145:80"}
    odd = of("a", "b", "c", "d", "e")
    assert rig.apply(odd).result == RELOADED
    assert rig.apply(odd).result == UNCHANGED
    assert rig.apply(of("a", "b", "c", "d")).result == UPDATED


# -- routes and snippets -----------------------------------------------------------------------------------------------


def test_a_host_moves_without_a_reload_and_the_map_follows(rig: Rig) -> None:
    rig.apply(facts(a=[row("a1", 1, vhost="a.example,b.example")], b=[row("b1", 2, vhost="c.example")]))
    assert rig.apply(facts(a=[row("a1", 1, vhost="a.example")], b=[row("b1", 2, vhost="b.example")])).result == UPDATED
    assert rig.haproxy.calls == ["change"]
    digest = rig.haproxy.running().routes
    assert rig.haproxy.routes == {"a.example/": "a", "b.example/": "b", DIGEST_KEY: digest}
    assert dict(entries(Path(rig.settings.text.map_file).read_text())) == rig.haproxy.routes
    assert rig.applier.live().routes == digest


def test_a_map_that_does_not_change_in_place_takes_a_reload(rig: Rig) -> None:
    rig.apply(facts(a=[row("a1", 1, vhost="a.example")]))
    rig.haproxy.stubborn = True
    assert rig.apply(facts(a=[row("a1", 1, vhost="b.example")])).result == RELOADED
    assert rig.haproxy.routes["b.example/"] == "a"


def test_a_failed_reload_returns_to_the_map_from_before_as_well(rig: Rig) -> None:
    rig.apply(facts(a=[row("a1", 1, vhost="a.example")]))
    good = dict(rig.haproxy.routes)
    rig.haproxy.reload_fails = True
    with pytest.raises(RefusedError, match="cannot bind"):
        rig.apply(facts(a=[row("a1", 1, vhost="b.example", balance="random")]))
    assert rig.haproxy.routes == dict(entries(Path(rig.settings.text.map_file).read_text())) == good


def test_a_bad_snippet_is_named_and_everything_else_goes_in(rig: Rig) -> None:
    rig.snippets.mkdir()
    (rig.snippets / "frontend.cfg").write_text("good")
    assert rig.apply(of("a", "b", "c", "d")).result == RELOADED
    assert "\n  good\n" in rig.live.read_text()
    (rig.snippets / "frontend.cfg").write_text("bad")
    check = rig.haproxy.check
    rig.haproxy.check = lambda path: check(path) or ("bad" in path.read_text() and "unknown keyword")  # type: ignore[method-assign, return-value]
    for servers in ("abcde", "abcd"):
        assert rig.apply(of(*servers)).result == UPDATED
        assert rig.applier.left_out() == ("frontend.cfg: unknown keyword; the one from before goes on",)
        assert "\n  good\n" in rig.live.read_text()
    assert rig.applier.status()["refusals"] == 1


def test_certificates_go_into_the_configuration_and_out_of_it(rig: Rig) -> None:
    rig.settings.certificates.write_text("/s/certificates-1/list\n")
    assert rig.apply(of("a", "b", "c", "d")).result == RELOADED
    assert "crt-list /s/certificates-1/list " in rig.live.read_text()
    rig.settings.certificates.write_text("")
    assert rig.apply(of("a", "b", "c", "d")).result == RELOADED
    assert "crt-list" not in rig.live.read_text()


def test_what_the_version_before_left_in_the_state_folder_is_taken_over(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    rig.live.write_text(
        "frontend http\n\nbackend app\n  server a 10.0.0.97:80\n\n# Which shape\nglobal\n  description eratos-0\n"
    )
    assert rig.applier.live().pools == {}
    assert rig.apply(of("a")).result == RELOADED
    assert rig.applier.live().pools["app"] == {"a": "10.0.0.97:80"}


# -- guard -------------------------------------------------------------------------------------------------------------


def test_a_sharp_loss_of_living_servers_is_held_back_and_additions_go_in(rig: Rig) -> None:
    rig.alive = {f"10.0.0.{ord(name)}:80" for name in "bcd"}
    outcome = rig.apply(of("a", "e"))
    assert outcome == Outcome(UPDATED, ("b", "c", "d"))
    assert rig.haproxy.serves() == {"a", "b", "c", "d", "e"}
    assert rig.applier.status()["held"] == ["b", "c", "d"]


def test_of_a_sharp_loss_the_dead_go_at_once(rig: Rig) -> None:
    rig.alive = {f"10.0.0.{ord('b')}:80"}
    assert rig.apply(of("a")) == Outcome(UPDATED, ("b",))
    assert rig.haproxy.serves() == {"a", "b"}


def test_who_is_about_to_leave_is_known_for_as_long_as_a_confirmation_counts(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    rig.applier.confirm(["a"], "executor")
    rig.applier.confirm(["b"], "another")
    assert rig.applier.leaving() == {"a", "b"}
    monkeypatch.setattr(apply.time, "monotonic", lambda now=time.monotonic: now() + CONFIRMED_FOR_S)
    assert rig.applier.leaving() == set()


def test_a_confirmed_removal_is_made_at_once(rig: Rig) -> None:
    rig.alive = {f"10.0.0.{ord(name)}:80" for name in "abcd"}
    rig.applier.confirm(["b", "c", "d"], "executor")
    assert rig.apply(of("a")) == Outcome(UPDATED)
    assert rig.haproxy.serves() == {"a"}


def test_a_whole_living_app_that_was_lost_keeps_its_route_and_all_else_goes_in(rig: Rig) -> None:
    rig.apply(facts(app=[row("a", 97, path="/x")]))
    rig.alive = {"10.0.0.97:80"}
    other = facts(new=[row("n", 2, path="/y")], other=[row("o", 1, path="/x")])
    assert rig.apply(other) == Outcome(RELOADED, ("a",))
    assert rig.haproxy.serves() == {"a", "n", "o"}
    assert rig.haproxy.routes == {"/x/": "app", "/y/": "new", DIGEST_KEY: rig.haproxy.running().routes}
    assert rig.applier.left_out() == ("other: app already answers on /x/",)
    rig.applier.confirm(["a"], "executor")
    assert rig.apply(other) == Outcome(RELOADED)
    assert rig.haproxy.serves() == {"n", "o"}
    assert rig.haproxy.routes["/x/"] == "other"


def test_what_was_held_long_enough_goes(tmp_path: Path) -> None:
    rig = Rig(tmp_path, hold_s=0)
    rig.apply(of("a", "b", "c", "d"))
    rig.alive = {f"10.0.0.{ord(name)}:80" for name in "abcd"}
    assert rig.apply(of("a")) == Outcome(UPDATED)


def apps(*names: str, known: str = "", **meta: str) -> str:
    """Return the facts of apps with one instance each; ``known``: of apps that have none, and keep their route."""
    here = {name: [row(f"{name}1", ord(name), path=f"/{name}", **meta)] for name in names}
    return facts(**here, **{name: [row("none", 1, "critical", path=f"/{name}")] for name in known if name not in names})


@pytest.fixture
def single(tmp_path: Path) -> Rig:
    """A balancer of four apps with one instance each, all of which live."""
    rig = Rig(tmp_path, hold_s=0, wholesale_s=60)
    rig.apply(apps("a", "b", "c", "d"))
    rig.alive = {f"10.0.0.{ord(name)}:80" for name in "abcd"}
    return rig


ALL = {"a1", "b1", "c1", "d1"}


@pytest.mark.parametrize("kept", ["", "a"], ids=["nothing", "little"])
@pytest.mark.parametrize("placeholders", [False, True], ids=["bare", "placeholders"])
def test_an_answer_of_consul_that_lost_most_empties_nothing(single: Rig, kept: str, placeholders: bool) -> None:
    outcome = single.apply(apps(*kept, known="abcd" if placeholders else ""))
    assert set(outcome.held) == {name for name in ALL if name[0] != kept}
    assert single.haproxy.serves() == ALL
    assert set(single.applier.live().pools) == {*"abcd", "eratos:none"}
    # They come back one by one, with new ones among them; those that are not back yet stay.
    assert set(single.apply(apps("a", "b", "c")).held) == {"d1"}
    assert single.haproxy.serves() == ALL
    assert single.apply(apps("a", "b", "c", "d")).held == ()


def test_while_most_is_held_planned_stops_and_crashes_go_at_once_and_known_apps_get_new_instances(single: Rig) -> None:
    single.apply(apps())
    single.applier.confirm(["a1"], "executor")
    single.alive.discard(f"10.0.0.{ord('b')}:80")
    single.apply(apps())
    assert single.haproxy.serves() == {"c1", "d1"}
    single.apply(facts(c=[row("c2", 9, path="/c")]))
    assert single.haproxy.serves() == {"c1", "c2", "d1"}


def test_what_haproxys_checks_have_found_dead_is_not_held(single: Rig) -> None:
    single.haproxy.statuses = {"a1": "DOWN"}
    single.apply(apps("a", "b", "c", "d", balance="random"))  # a reload, so that the fake shows it
    assert set(single.apply(apps()).held) == ALL - {"a1"}


def test_where_another_instance_listens_by_now_a_server_is_gone(tmp_path: Path) -> None:
    rig = Rig(tmp_path, hold_s=60, wholesale_s=60)
    rig.apply(apps("a", "b", "c", "d"))
    rig.alive = {f"10.0.0.{ord(name)}:80" for name in "abcd"}
    # A host has come back with new tasks on the ports of the dead ones: what accepts there is not who was lost.
    new = {"a": [row("b9", ord("b"), path="/a")], "other": [row("c9", ord("c"), group="internal")]}
    critical = {"x": [row("d9", ord("d"), "critical")]}
    assert set(rig.apply(facts(**new, **critical)).held) == {"a1", "d1"}
    assert rig.haproxy.serves() == {"a1", "b9", "d1"}


@pytest.mark.parametrize("confirmed", [True, False], ids=["confirmed", "crashed"])
def test_the_one_instance_of_an_app_goes_at_once_when_confirmed_or_dead(tmp_path: Path, confirmed: bool) -> None:
    rig = Rig(tmp_path, hold_s=60, wholesale_s=60)
    rig.apply(apps("a", "b"))
    if confirmed:
        rig.alive = {f"10.0.0.{ord('a')}:80"}
        rig.applier.confirm(["a1"], "executor")
    assert rig.apply(apps("b")).held == ()
    assert rig.haproxy.serves() == {"b1"}


def test_the_one_instance_of_an_app_that_vanishes_alive_is_held_as_long_as_any_other(tmp_path: Path) -> None:
    rig = Rig(tmp_path, hold_s=60, wholesale_s=60)
    rig.apply(apps("a", "b"))
    rig.alive = {f"10.0.0.{ord('a')}:80"}
    assert rig.apply(apps("b")).held == ("a1",)
    assert rig.haproxy.serves() == {"a1", "b1"}


@pytest.mark.parametrize("status", ["", "critical"], ids=["forgotten", "critical"])
def test_of_one_app_among_several_what_consul_has_forgotten_is_held_and_what_is_critical_is_not(
    tmp_path: Path, status: str
) -> None:
    rig = Rig(tmp_path, hold_s=0, wholesale_s=60)
    others = [row(f"b{number}", number, path="/b") for number in range(1, 5)]
    rig.apply(facts(a=[row("eratos-a1", 97, path="/a")], b=others))
    rig.alive = {"10.0.0.97:80"}
    left = [row("eratos-a1", 97, status, path="/a")] if status else [row("none", 1, "critical", path="/a")]
    assert rig.apply(facts(a=left, b=others)).held == (() if status else ("eratos-a1",))


# -- other data centers ------------------------------------------------------------------------------------------------


class Joined(Rig):
    """A balancer with one app, which has four instances here and four in dc2, all of which live."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, hold_s=0, wholesale_s=60, ERATOS_DATACENTERS="dc2,dc3")
        (self.far,) = [path for name, path in self.settings.far_facts.items() if name == "dc2"]
        self.alive = {f"10.0.0.{ord(name)}:80" for name in "abcdwxyz"}
        self.know("abcd", "wxyz")

    def know(self, near: str, far: str | None, failover: str = "dc1,dc2") -> Outcome:
        """Have Consul know these instances; ``far`` None: consul-template has rendered nothing of dc2."""
        if far is None:
            self.far.unlink()
        else:
            self.far.write_text(facts(app=[row(f"eratos-{name}", ord(name)) for name in far]))
        rows = [row(f"eratos-{name}", ord(name), failover=failover) for name in near]
        return self.apply(facts(app=[*rows, row("none", 1, "critical", failover=failover)]))

    def rotation(self) -> dict[str, int]:
        return {name.removeprefix("eratos-"): weight for name, weight in self.haproxy.weights().items()}


@pytest.fixture
def joined(tmp_path: Path) -> Joined:
    rig = Joined(tmp_path)
    assert rig.rotation() == {**dict.fromkeys("abcd", 256), **dict.fromkeys("wxyz", 1)}
    return rig


def test_instances_elsewhere_come_and_go_without_a_reload(joined: Joined) -> None:
    joined.applier.confirm(["eratos-b", "eratos-c", "eratos-d"], "executor")
    assert joined.know("a", "wxyz").result == UPDATED
    assert joined.rotation() == {"a": 256, **dict.fromkeys("wxyz", 96)}
    joined.applier.confirm(["eratos-a"], "executor")
    assert joined.know("", "wxyz").result == UPDATED
    assert joined.rotation() == dict.fromkeys("wxyz", 256)
    assert joined.know("abcd", "wxyzv").result == UPDATED
    assert joined.rotation() == {**dict.fromkeys("abcd", 256), **dict.fromkeys("vwxyz", 26)}


def test_those_that_haproxy_finds_dead_here_are_stood_in_for(joined: Joined) -> None:
    joined.haproxy.find(**{f"eratos-{name}": "DOWN" for name in "abcd"})
    assert joined.know("abcd", "wxyz").result == UPDATED
    assert joined.rotation() == {**dict.fromkeys("abcd", 1), **dict.fromkeys("wxyz", 256)}


def test_the_first_facts_of_another_data_center_take_no_reload(tmp_path: Path) -> None:
    rig = Joined(tmp_path)
    rig.alive = set()
    assert rig.know("abcd", None).result == UPDATED
    assert rig.rotation() == dict.fromkeys("abcd", 256)
    assert rig.know("abcd", "wxyz").result == UPDATED


@pytest.mark.parametrize("broken", ["{", '{"services": {"app": [{"id": "x"}]}}', "\xff"])
def test_facts_of_another_data_center_that_cannot_be_read_are_named_and_stand_in_nobodys_way(joined: Joined, broken: str) -> None:
    joined.far.write_bytes(broken.encode("latin-1"))
    joined.alive = set()
    assert joined.apply(of("e", failover="dc2")).result == UPDATED
    assert joined.rotation() == {"e": 256}
    (reason,) = joined.applier.left_out()
    assert reason.startswith("facts-dc2.json: ")
    assert joined.know("e", "w").result == UPDATED
    assert joined.applier.left_out() == ()


@pytest.mark.parametrize(("near", "far"), [("", "wxyz"), ("abcd", ""), ("a", "wxyz"), ("", "")])
def test_a_consul_that_forgets_is_not_believed_in_whichever_data_center(joined: Joined, near: str, far: str) -> None:
    before = joined.rotation()
    outcome = joined.know(near, far)
    assert {name.removeprefix("eratos-") for name in outcome.held} == set("abcdwxyz") - set(near + far)
    assert joined.rotation() == before


def test_of_other_registrars_all_that_a_data_center_had_is_held_longer(tmp_path: Path) -> None:
    rig = Joined(tmp_path)
    rig.far.write_text(facts(app=[row(name, ord(name)) for name in "wxyz"]))
    rig.alive = {f"10.0.0.{ord(name)}:80" for name in "wxyz"}
    near = of("a", "b", failover="dc2")
    rig.apply(near)
    rig.far.write_text(facts(app=[]))
    assert rig.apply(near).held == ("w", "x", "y", "z")


def test_what_nobody_asks_for_any_more_is_not_held(joined: Joined) -> None:
    assert joined.know("abcd", "", failover="dc3").held == ()
    assert joined.rotation().keys() == set("abcd")


def test_how_many_services_are_followed_elsewhere(joined: Joined) -> None:
    assert joined.applier.far_services() == 1
    joined.know("abcd", "wxyz", failover="dc3,dc2")
    assert joined.applier.far_services() == 2
    joined.know("abcd", "", failover="dc1")
    assert joined.applier.far_services() == 0


# -- watch -------------------------------------------------------------------------------------------------------------


def test_the_watch_notices_each_kind_of_file(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(apply, "_COMPARE_S", 600)
    stop = threading.Event()
    watch = threading.Thread(target=rig.applier.watch, args=(stop,))
    watch.start()
    try:
        rig.facts.write_text(of("a", "b", "c", "d", "e"))
        until(lambda: "e" in rig.haproxy.serves(), 5, "the new server is in")
        rig.settings.certificates.write_text("/s/list")
        until(lambda: "crt-list /s/list" in rig.live.read_text(), 5, "the certificates are served")
        rig.snippets.mkdir()
        (rig.snippets / "frontend.cfg").write_text("own line")
        until(lambda: "own line" in rig.live.read_text(), 5, "the line is in")
    finally:
        stop.set()
        watch.join()


def test_the_watch_applies_what_nobody_announced_and_repairs_what_nobody_told(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(apply, "_COMPARE_S", 0.1)
    monkeypatch.setattr(apply, "_RETRY_S", 0.1)
    stop = threading.Event()
    watch = threading.Thread(target=rig.applier.watch, args=(stop,))
    watch.start()
    try:
        until(lambda: rig.haproxy.swept, 5, "the first comparison")
        rig.facts.write_text(of("a", "b", "c", "d", "e"))
        until(lambda: "e" in rig.haproxy.serves(), 5, "the new server is in")
        rig.haproxy.available = False
        rig.facts.write_text(of("a", "b", "c", "d", "e", "f"))
        until(lambda: "f" in rig.applier.live().pools["app"], 5, "the file is ready")
        rig.haproxy.available = True
        until(lambda: "f" in rig.haproxy.serves(), 5, "the returned HAProxy serves it")
    finally:
        stop.set()
        watch.join()


def counted(rig: Rig) -> dict[str, float]:
    return {
        family.name.removeprefix("eratos_balancer_") + sample.suffix: sample.value
        for family in rig.applier.families()
        for sample in family.samples
        if not sample.labels
    }


def test_what_it_did_is_counted(rig: Rig) -> None:
    rig.apply(of("b", "c", "d", "e"))
    rig.apply(of("b", "c", "d", "e"))
    found = counted(rig)
    assert (found["reloads_total"], found["updates_total"], found["refusals_total"]) == (1, 1, 0)
    assert (found["services"], found["servers"], found["held"], found["left_out"]) == (1, 4, 0, 0)
    rig.haproxy.refusal = "bad line"
    with pytest.raises(RefusedError):
        rig.apply(of("b", "c", "d", balance="leastconn"))
    rig.alive = {"10.0.0.98:80", "10.0.0.99:80", "10.0.0.100:80"}
    rig.haproxy.refusal = ""
    rig.apply(of("e"))
    found = counted(rig)
    assert (found["refusals_total"], found["held"]) == (1, 3)


def test_the_lag_is_measured_once_for_each_change_of_the_facts(rig: Rig) -> None:
    before = counted(rig)["lag_seconds_count"]
    rig.facts.write_text(of("b", "c", "d", "e"))
    os.utime(rig.facts, (time.time() - 7, time.time() - 7))
    rig.applier.apply()
    rig.applier.apply()
    found = counted(rig)
    assert found["lag_seconds_count"] == before + 1
    assert found["lag_seconds_sum"] >= 7
