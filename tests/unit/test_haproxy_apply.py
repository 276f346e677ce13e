"""What comes of a candidate: unchanged, changed in place, reloaded, held back or refused."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Collection, Iterable
from pathlib import Path

import pytest
from support.waiting import until

from eratos.haproxy import apply
from eratos.haproxy.apply import RELOADED, UNCHANGED, UPDATED, Applier, Outcome, RefusedError
from eratos.haproxy.rendered import Pools, parse
from eratos.haproxy.runtime import Running
from eratos.haproxy.sockets import HaproxyUnavailableError
from eratos.haproxy.usage import ServerRow


def config(*servers: str, app: str = "app", balance: str = "roundrobin", extra: str = "") -> str:
    lines = "".join(f"  server {name} 10.0.0.{number}:80{extra}\n" for name, number in ((s, ord(s[0])) for s in servers))
    return f"frontend http\n  default_backend {app}\n\nbackend {app}\n  balance {balance}\n{lines}"


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

    def check(self, path: Path) -> str:
        self.calls.append("check")
        return self.refusal

    def running(self) -> Running:
        if not self.available:
            raise HaproxyUnavailableError("restarting")
        return self._running

    def old_processes(self) -> int:
        return self.old

    def change_servers(self, added: Pools, removed: dict[str, set[str]], settings: dict[str, str]) -> None:
        self.calls.append("change")
        if self.stubborn:
            return
        rows = [row for row in self._running.rows if row.name not in removed.get(row.backend, ())]
        rows += self._rows(added)
        self._running = Running(self._running.shape, tuple(rows))

    def sweep(self, rows: Iterable[ServerRow]) -> None:
        self.swept.append([row.name for row in rows])

    def reload(self) -> tuple[bool, str]:
        self.calls.append("reload")
        self.before_reload()
        if self.reload_fails:
            self.reload_fails = False
            return False, "cannot bind"
        found = parse(self.live.read_text())
        rows = self._rows(found.pools)
        self._running = Running(found.shape, tuple(rows))
        return True, ""

    def retire(self, servers: dict[str, set[str]]) -> None:
        self.retired = {backend: set(names) for backend, names in servers.items()}

    def _rows(self, pools: Pools) -> list[ServerRow]:
        return [
            ServerRow(backend, name, self.shown.get(rest.split()[0], rest.split()[0]), self.statuses.get(name, "UP"), 0)
            for backend, servers in pools.items()
            for name, rest in servers.items()
        ]

    def serves(self) -> set[str]:
        return {row.name for row in self._running.rows}


class Rig:
    def __init__(self, folder: Path, hold_s: float = 60, wholesale_s: float = 0, reload_interval_s: float = 0) -> None:
        self.candidate = folder / "candidate.cfg"
        self.live = folder / "live.cfg"
        self.haproxy = FakeHaproxy(self.live)
        self.alive: set[str] = set()
        self.taken: set[int] = set()
        self.applier = Applier(
            self.candidate,
            self.live,
            self.haproxy,
            self._accepting,
            lambda ports: {port: "Address already in use" for port in ports if port in self.taken},
            guard_hold_s=hold_s,
            guard_hold_wholesale_s=wholesale_s,
            reload_interval_s=reload_interval_s,
        )

    def _accepting(self, addresses: Collection[str]) -> set[str]:
        return set(addresses) & self.alive

    def apply(self, text: str) -> Outcome:
        self.candidate.write_text(text)
        self.haproxy.calls.clear()
        return self.applier.apply()


@pytest.fixture
def rig(tmp_path: Path) -> Rig:
    rig = Rig(tmp_path)
    rig.live.write_text("frontend http\n")
    assert rig.apply(config("a", "b", "c", "d")).result == RELOADED
    return rig


def test_the_same_candidate_is_neither_checked_nor_reloaded(rig: Rig) -> None:
    assert rig.apply(config("a", "b", "c", "d")) == Outcome(UNCHANGED)
    assert rig.apply("# a comment\n" + config("a", "b", "c", "d")) == Outcome(UNCHANGED)
    assert rig.haproxy.calls == []


def test_servers_are_changed_in_place_and_the_file_follows(rig: Rig) -> None:
    assert rig.apply(config("b", "c", "d", "e")).result == UPDATED
    assert rig.haproxy.calls == ["change"]
    assert rig.haproxy.swept[-1:] == [[row.name for row in rig.haproxy.running().rows]]
    assert rig.haproxy.serves() == {"b", "c", "d", "e"}
    assert set(rig.applier.live().pools["app"]) == {"b", "c", "d", "e"}


def test_another_shape_is_reloaded_and_removed_servers_are_retired_before(rig: Rig) -> None:
    assert rig.apply(config("b", "c", "d", balance="leastconn")).result == RELOADED
    assert rig.haproxy.calls == ["check", "reload"]
    assert rig.haproxy.retired == {"app": {"a"}}


def test_while_haproxy_is_changed_it_is_known_to_be(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[bool] = []
    reload = rig.haproxy.reload
    monkeypatch.setattr(rig.haproxy, "reload", lambda: seen.append(rig.applier.changing) or reload())
    assert rig.apply(config("b", "c", balance="leastconn")).result == RELOADED
    assert seen == [True]
    assert not rig.applier.changing


def test_settings_of_one_server_need_a_reload(rig: Rig) -> None:
    assert rig.apply(config("a", "b", "c", "d", extra=" weight 3")).result == RELOADED


def test_servers_with_a_weight_come_in_place_and_are_held_back_with_it(rig: Rig) -> None:
    text = config("a", "b", "c", "d", "e", extra=" weight 3")
    rig.apply(text)
    rig.alive = {f"10.0.0.{ord(name)}:80" for name in "bcde"}
    assert rig.apply(config("a", extra=" weight 3")) == Outcome(UNCHANGED, ("b", "c", "d", "e"))
    assert rig.apply(config("a", "f", extra=" weight 3")) == Outcome(UPDATED, ("b", "c", "d", "e"))
    assert rig.applier.live().pools["app"]["e"] == "10.0.0.101:80 weight 3"


def test_a_change_in_place_without_effect_becomes_a_reload(rig: Rig) -> None:
    rig.haproxy.stubborn = True
    assert rig.apply(config("a", "b", "c", "e")).result == RELOADED
    assert rig.haproxy.calls == ["change", "check", "reload"]
    assert rig.haproxy.serves() == {"a", "b", "c", "e"}


def test_a_candidate_that_haproxy_refuses_leaves_the_last_good_one(rig: Rig) -> None:
    good = rig.live.read_text()
    rig.haproxy.refusal = "unknown keyword"
    with pytest.raises(RefusedError, match="unknown keyword"):
        rig.apply(config("a", "b", "c", "x", balance="first"))
    assert rig.live.read_text() == good
    assert rig.applier.status()["refusals"] == 1
    # The same text is not checked over and over.
    with pytest.raises(RefusedError, match="unknown keyword"):
        rig.apply(config("a", "b", "c", "x", balance="first"))
    assert rig.haproxy.calls == []
    rig.haproxy.refusal = ""
    assert rig.apply(config("a", "b", "c", "y")).result == UPDATED


def test_a_reload_after_a_change_in_place_is_checked(rig: Rig) -> None:
    rig.haproxy.stubborn = True
    rig.haproxy.refusal = "bad address"
    good = rig.live.read_text()
    with pytest.raises(RefusedError, match="bad address"):
        rig.apply(config("a", "b", "c", "x"))
    assert rig.haproxy.calls == ["change", "check"]
    assert rig.live.read_text() == good


def test_a_refused_candidate_is_tried_again_after_a_while(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    text = config("a", "b", "c", "x", balance="first")
    rig.haproxy.refusal = "no space left on device"
    monkeypatch.setattr(apply, "_REFUSED_FOR_S", 0)
    with pytest.raises(RefusedError):
        rig.apply(text)
    rig.haproxy.refusal = ""
    assert rig.apply(text).result == RELOADED


def test_a_reload_waits_until_enough_time_has_passed_since_the_last_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now, slept = [100.0], []
    monkeypatch.setattr(apply.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(apply.time, "sleep", slept.append)
    rig = Rig(tmp_path, reload_interval_s=2)
    rig.apply(config("a"))
    assert slept == []
    now[0] += 0.5
    rig.apply(config("a", balance="leastconn"))
    assert slept == [1.5]
    # Old processes cost memory: the more there are, the longer the pause.
    rig.haproxy.old = 8
    now[0] += 0.5
    rig.apply(config("a", balance="first"))
    assert slept == [1.5, 3.5]


@pytest.mark.parametrize("text", ["", "# nothing\n", "backend app\n  server a 10.0.0.1:80\n"])
def test_half_a_file_is_refused(rig: Rig, text: str) -> None:
    with pytest.raises(RefusedError, match="no frontend"):
        rig.apply(text)
    assert rig.haproxy.serves() == {"a", "b", "c", "d"}


def test_a_frontend_without_its_port_is_left_out_until_the_port_is_free(rig: Rig) -> None:
    text = config("a", "b", "c", "d") + "\nfrontend db\n  bind :5432\n"
    rig.taken = {5432}
    assert rig.apply(text).result == UNCHANGED
    assert rig.applier.status()["left_out"] == ["db: port 5432: Address already in use"]
    rig.taken = set()
    assert rig.apply(text).result == RELOADED
    assert rig.applier.status()["left_out"] == []
    assert rig.applier.live().frontends == ("http", "db")


def test_a_failed_reload_returns_to_the_last_good_one(rig: Rig) -> None:
    good = rig.live.read_text()
    rig.haproxy.reload_fails = True
    with pytest.raises(RefusedError, match="cannot bind"):
        rig.apply(config("a", "b", "c", "d", balance="leastconn"))
    assert rig.haproxy.calls == ["check", "reload", "reload"]
    assert rig.live.read_text() == good
    assert rig.haproxy.running().shape == parse(good).shape


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
        rig.apply(config("a", "b", "c", "d", balance="leastconn"))
    monkeypatch.undo()
    assert rig.live.read_text() == good


@pytest.mark.parametrize("text", [config("a", "b", "c", "e"), config("a", "b", balance="leastconn")], ids=["in place", "reload"])
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
        rig.apply(config("a", "b", "c", "d", "e"))
    assert set(rig.applier.live().pools["app"]) == {"a", "b", "c", "d", "e"}


def test_the_guard_works_while_haproxy_is_away(rig: Rig) -> None:
    rig.alive = {f"10.0.0.{ord(name)}:80" for name in "abcd"}
    rig.haproxy.available = False
    with pytest.raises(HaproxyUnavailableError):
        rig.apply(config())
    assert set(rig.applier.live().pools["app"]) == {"a", "b", "c", "d"}


def test_an_address_that_haproxy_shows_in_another_form_is_not_reloaded_for_ever(rig: Rig) -> None:
    rig.haproxy.shown = {"10.0.0.101:80": "10.0.0.0145:80"}
    odd = config("a", "b", "c", "d", "e")
    assert rig.apply(odd).result == RELOADED
    assert rig.apply(odd).result == UNCHANGED
    assert rig.apply(config("a", "b", "c", "d")).result == UPDATED


# -- guard -------------------------------------------------------------------------------------------------------------


def test_a_sharp_loss_of_living_servers_is_held_back_and_additions_go_in(rig: Rig) -> None:
    rig.alive = {f"10.0.0.{ord(name)}:80" for name in "bcd"}
    outcome = rig.apply(config("a", "e"))
    assert outcome == Outcome(UPDATED, ("b", "c", "d"))
    assert rig.haproxy.serves() == {"a", "b", "c", "d", "e"}
    assert rig.applier.status()["held"] == ["b", "c", "d"]


def test_of_a_sharp_loss_the_dead_go_at_once(rig: Rig) -> None:
    rig.alive = {f"10.0.0.{ord('b')}:80"}
    assert rig.apply(config("a")) == Outcome(UPDATED, ("b",))
    assert rig.haproxy.serves() == {"a", "b"}


def test_a_confirmed_removal_is_made_at_once(rig: Rig) -> None:
    rig.alive = {f"10.0.0.{ord(name)}:80" for name in "abcd"}
    rig.applier.confirm(["b", "c", "d"], "executor")
    assert rig.apply(config("a")) == Outcome(UPDATED)
    assert rig.haproxy.serves() == {"a"}


def test_a_candidate_that_lost_a_whole_living_app_waits_as_a_whole(rig: Rig) -> None:
    rig.alive = {f"10.0.0.{ord(name)}:80" for name in "abcd"}
    assert rig.apply(config("x", app="other")) == Outcome(UNCHANGED, ("a", "b", "c", "d"))
    assert rig.haproxy.serves() == {"a", "b", "c", "d"}
    rig.applier.confirm(["a", "b", "c", "d"], "executor")
    assert rig.apply(config("x", app="other")) == Outcome(RELOADED)
    assert rig.haproxy.serves() == {"x"}


def test_what_was_held_long_enough_goes(tmp_path: Path) -> None:
    rig = Rig(tmp_path, hold_s=0)
    rig.live.write_text("frontend http\n")
    rig.apply(config("a", "b", "c", "d"))
    rig.alive = {f"10.0.0.{ord(name)}:80" for name in "abcd"}
    assert rig.apply(config("a")) == Outcome(UPDATED)


def apps(*names: str) -> str:
    """Return a configuration of apps with one instance each."""
    routes = "".join(f"  use_backend {name} if {{ path /{name} }}\n" for name in names)
    backends = "".join(f"\nbackend {name}\n  balance roundrobin\n  server {name}1 10.0.0.{ord(name)}:80\n" for name in names)
    return f"frontend http\n{routes}{backends}"


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
    text = apps(*kept)
    if placeholders:  # apps whose route stays, although no instance is left
        text = "".join(
            line for line in apps("a", "b", "c", "d").splitlines(True) if "server" not in line or f"server {kept or '-'}1" in line
        )
    outcome = single.apply(text)
    assert set(outcome.held) == {name for name in ALL if name[0] != kept}
    assert single.haproxy.serves() == ALL
    assert set(single.applier.live().pools) == set("abcd")
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
    fresh = apps("c").replace(f"server c1 10.0.0.{ord('c')}:80", "server c2 10.0.0.9:80")
    single.apply(fresh)
    assert single.haproxy.serves() == {"c1", "c2", "d1"}


def test_what_haproxys_checks_have_found_dead_is_not_held(single: Rig) -> None:
    single.haproxy.statuses = {"a1": "DOWN"}
    single.apply(apps("a", "b", "c", "d") + "\nbackend more\n")  # a reload, so that the fake shows it
    assert set(single.apply(apps()).held) == ALL - {"a1"}


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


# -- watch -------------------------------------------------------------------------------------------------------------


def test_the_watch_applies_what_nobody_announced_and_repairs_what_nobody_told(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(apply, "_COMPARE_S", 0.1)
    monkeypatch.setattr(apply, "_RETRY_S", 0.1)
    stop = threading.Event()
    watch = threading.Thread(target=rig.applier.watch, args=(stop,))
    watch.start()
    try:
        until(lambda: rig.haproxy.swept, 5, "the first comparison")
        rig.candidate.write_text(config("a", "b", "c", "d", "e"))
        until(lambda: "e" in rig.haproxy.serves(), 5, "the new server is in")
        rig.haproxy.available = False
        rig.candidate.write_text(config("a", "b", "c", "d", "e", "f"))
        until(lambda: "f" in rig.applier.live().pools["app"], 5, "the file is ready")
        rig.haproxy.available = True
        until(lambda: "f" in rig.haproxy.serves(), 5, "the returned HAProxy serves it")
    finally:
        stop.set()
        watch.join()
