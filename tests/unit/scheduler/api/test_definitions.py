"""What a request's apps are held against beside their own rules: names that are not theirs to have."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest
from support.builders import an_app

from eratos.common import names
from eratos.marathon import definition
from eratos.marathon.app import App
from eratos.marathon.app_parts import ExternalVolume
from eratos.marathon.errors import InvalidApp
from eratos.scheduler.api import definitions
from eratos.scheduler.api.definitions import check


def named(app_id: str, cmd: str = "x") -> App:
    return definition.parse({"id": app_id, "cmd": cmd, "portDefinitions": [{}]})


@pytest.mark.parametrize("service", sorted(names.RESERVED_SERVICES))
def test_a_name_of_the_protocol_is_no_apps(service: str) -> None:
    """Executors and balancers would take its instances for parts of eratos: each drain would wait for its whole time."""
    for app_id in {f"/{service}", "/" + service.replace("-", "/")}:
        with pytest.raises(InvalidApp, match=f"gives the Consul service {service}, which is none of an app's"):
            check({}, (named(app_id),), None)
    check({}, (named(f"/{service}-1"),), None)


def test_an_app_that_has_one_already_can_be_changed() -> None:
    there = named("/eratos-balancer")
    check({there.id: there}, (named("/eratos-balancer", "y"),), None)
    with pytest.raises(InvalidApp, match="none of an app's"):
        check({there.id: there, "/a": an_app("/a")}, (named("/consul"),), None)


def required(app_id: str, *others: str) -> App:
    wanted = {f"r{n}": {"app": other} for n, other in enumerate(others)}
    return definition.parse({"id": app_id, "cmd": "x", "eratos": {"requires": wanted}})


@pytest.mark.parametrize(
    ("wanted", "meant"),
    [("/shop/mysql", "/db/mysql"), ("/db/mysq", "/db/mysql"), ("/db/sql-of-many", ""), ("/shop/nothing-near", "")],
)
def test_who_requires_an_app_that_is_not_there_hears_which_may_be_meant(wanted: str, meant: str) -> None:
    apps = {app_id: named(app_id) for app_id in ("/db/mysql", "/shop/web")}
    with pytest.raises(InvalidApp) as invalid:
        check(apps, (required("/shop/cart", wanted),), None)
    (problem,) = invalid.value.problems
    assert (f"did you mean {meant}?" if meant else "apply it first") in problem.message


def test_looking_for_what_was_meant_takes_no_longer_with_more_apps(monkeypatch: pytest.MonkeyPatch) -> None:
    """To compare two ids takes 0.1 ms: 3,000 apps with 50 requirements each took hours, and all other changes waited."""
    compared: list[int] = []

    def counted(word: str, possibilities: Iterable[str], *more: Any) -> list[str]:
        compared.append(len(list(possibilities)))
        return []

    monkeypatch.setattr(definitions.difflib, "get_close_matches", counted)
    apps = {f"/a{n}": named(f"/a{n}") for n in range(300)}
    wanted = [required(f"/x{n}", *(f"/nosuch-{n}-{m}" for m in range(50))) for n in range(20)]
    with pytest.raises(InvalidApp):
        check(apps, wanted, None)
    assert max(compared) <= 100
    assert len(compared) <= 150  # those of three apps: there are 100 problems then


def test_ports_that_others_require_are_missed_by_one_look_at_all_apps() -> None:
    looked = 0

    class Apps(dict[str, App]):
        def values(self) -> Any:
            nonlocal looked
            looked += 1
            return super().values()

    def ported(app_id: str, *ports: str) -> App:
        return definition.parse({"id": app_id, "cmd": "x", "portDefinitions": [{"name": name} for name in ports]})

    before = Apps({f"/{n}": ported(f"/{n}", "a", "b") for n in range(20)})
    user = definition.parse({"id": "/user", "cmd": "x", "eratos": {"requires": {"r": {"app": "/7", "port": "b", "wait": False}}}})
    before["/user"] = user
    wanted = [ported(f"/{n}", "a") for n in range(20)]
    (problem,) = definitions._required(before, wanted, Apps(before | {app.id: app for app in wanted}))
    assert "/user requires as r" in problem.message
    assert looked == 1
    assert not [*definitions._required(before, [ported("/6", "a")], Apps(before | {"/6": ported("/6", "a")}))]
    with pytest.raises(InvalidApp, match="which /user requires as r"):
        check(before, wanted, None)
    check(before, [*wanted, definition.parse({"id": "/user", "cmd": "x"})], None)


# Updates by older spellings


def put(existing: App, **body: Any) -> App:
    return definitions.updated(existing, body, existing.id, partial=True)


def test_older_uris_replace_the_files_that_there_are() -> None:
    there = definition.parse({"id": "/a", "cmd": "x", "fetch": [{"uri": "http://a/b", "executable": True}]})
    assert [file.uri for file in put(there, uris=["http://c/d"]).fetch] == ["http://c/d"]
    assert put(there, uris=[]).fetch == there.fetch, "as in Marathon"
    with pytest.raises(InvalidApp, match="differs from fetch"):
        put(there, uris=["http://c/d"], fetch=[{"uri": "http://e/f"}])


def test_a_network_is_left_by_its_older_name_in_whatever_case() -> None:
    docker = {"image": "x", "network": "bridge", "portMappings": [{"containerPort": 80}]}
    there = definition.parse({"id": "/a", "container": {"docker": docker}})
    moved = put(there, container={"docker": {"image": "x", "network": "host"}})
    assert (moved.network, [port.container_port for port in moved.ports]) == ("host", [0])
    assert put(there, networks=[{"mode": "Host"}]).network == "host"


def test_what_goes_with_volumes_goes_with_the_last_of_them() -> None:
    volume = {"containerPath": "data", "mode": "RW", "persistent": {"size": 5}}
    there = definition.parse({"id": "/a", "container": {"docker": {"image": "x"}, "volumes": [volume]}})
    assert there.residency is not None
    gone = put(there, container={"docker": {"image": "y"}})
    assert (gone.residency, gone.unreachable_strategy) == (None, named("/b").unreachable_strategy)
    assert put(there, container={"docker": {"image": "y"}}, unreachableStrategy="disabled").unreachable_strategy is None
    assert put(there, cmd="y").residency == there.residency
    with pytest.raises(InvalidApp, match="residency"):
        put(there, container={"docker": {"image": "y"}}, residency={})


NFS = {"dvdi/driver": "local", "dvdi/type": "nfs", "dvdi/o": "addr=10.0.0.9", "dvdi/device": ":/db"}


def mounting(app_id: str, options: Any = NFS, *, mode: str = "RW", name: str = "db", instances: int = 1, **fields: Any) -> App:
    external = {"name": name, "provider": "dvdi", "options": options, **fields}
    volumes = [{"containerPath": "/data", "mode": mode, "external": external}]
    return an_app(app_id, instances, container={"type": "DOCKER", "docker": {"image": "x"}, "volumes": volumes})


def refused(there: App, *wanted: App) -> str:
    try:
        check({there.id: there}, wanted, None)
    except InvalidApp as invalid:
        assert {problem.path for problem in invalid.problems} == {"/container/volumes(0)/external/name"}
        return invalid.problems[0].message
    return ""


def test_a_volume_that_one_may_write_to_is_one_apps() -> None:
    assert "is db, to which /a writes: say shared in both" in refused(mounting("/a"), mounting("/b"))
    assert "to which /a writes" in refused(mounting("/a", shared=True), mounting("/b"))
    assert "to which /a writes" in refused(mounting("/a"), mounting("/b", shared=True))
    for allowed in (mounting("/b", mode="RO"), mounting("/b", name="other"), mounting("/a", shared=True)):
        assert refused(mounting("/a"), allowed) == ""
    assert refused(mounting("/a", shared=True), mounting("/b", shared=True)) == ""
    local = {"dvdi/driver": "local"}
    assert refused(mounting("/a", local), mounting("/b", local)) == "", "each host has its own"


def test_a_name_is_one_volume_in_all_apps() -> None:
    other = {**NFS, "dvdi/device": ":/other"}
    assert "which /a has with another driver or options" in refused(mounting("/a"), mounting("/b", other, mode="RO"))
    assert "which /a has with another driver" in refused(mounting("/a"), mounting("/b", {"dvdi/driver": "local"}))


def test_two_of_one_request_are_held_against_each_other() -> None:
    assert "is db, to which" in refused(an_app("/x"), mounting("/a"), mounting("/b"))


def test_a_volume_of_many_apps_is_compared_with_the_ways_in_which_they_have_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Five thousand apps with a volume each, or with one for all, took a minute."""
    read: list[str] = []
    options = ExternalVolume.driver_options.fget
    assert options is not None
    monkeypatch.setattr(ExternalVolume, "driver_options", property(lambda self: read.append(self.name) or options(self)))
    for name in ("common", "v{}"):
        wanted = [mounting(f"/a{number}", mode="RO", name=name.format(number), instances=0) for number in range(200)]
        read.clear()
        definitions.check({}, wanted, None)
        assert len(read) < 10 * 200


def test_an_app_that_is_alone_with_a_volume_is_not_scaled_beyond_one() -> None:
    there = mounting("/a")
    with pytest.raises(InvalidApp, match="of /a would be 3, and one at a time may write to its volume db"):
        definitions.check_instances({"/a": there}, (there.with_instances(3),), 1000)
    definitions.check_instances({"/a": there}, (there.with_instances(0),), 1000)
    shared = mounting("/a", shared=True)
    definitions.check_instances({"/a": shared}, (shared.with_instances(3),), 1000)
