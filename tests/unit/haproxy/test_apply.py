"""What comes of facts: unchanged, changed in place, reloaded or refused."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

import pytest
from support.applied import Rig, facts, of, row
from support.waiting import until

from eratos.haproxy import apply
from eratos.haproxy.apply import RELOADED, UNCHANGED, UPDATED, Outcome, RefusedError
from eratos.haproxy.core.haproxy_text import DIGEST_KEY, entries, read_back
from eratos.haproxy.sockets import HaproxyUnavailableError


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
