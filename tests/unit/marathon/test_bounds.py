"""What may be asked for, and that what is stored is read whatever its size."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from support.api import ApiClient, an_api
from support.builders import an_app
from support.controller import FakeController

from eratos.marathon import bounds, consul_expressions, definition, expressions, ids, strict_json
from eratos.marathon.app import App
from eratos.marathon.errors import InvalidApp
from eratos.scheduler.core import changes, scaling
from eratos.scheduler.core.events import PutApps
from eratos.scheduler.core.records import RECORD_BYTES_MAX, ChangeRecord, GroupRecord
from eratos.scheduler.store import codec

BASE = {"id": "/a", "cmd": "sleep 1000", "cpus": 0.1, "mem": 32}


def paths(document: dict[str, Any]) -> dict[str, str]:
    try:
        definition.parse(document)
    except InvalidApp as error:
        return {problem.path: problem.message for problem in error.problems}
    return {}


TOO_LARGE = [
    ({"cmd": "x" * (bounds.STRING_BYTES_MAX + 1)}, "/cmd"),
    ({"cmd": "ä" * (bounds.STRING_BYTES_MAX // 2 + 1)}, "/cmd"),
    ({"env": {"A": "x" * (bounds.STRING_BYTES_MAX + 1)}}, "/env/A"),
    ({"labels": {"A": "x" * (bounds.STRING_BYTES_MAX + 1)}}, "/labels/A"),
    ({"env": {"x" * (bounds.KEY_CHARACTERS_MAX + 1): "a"}}, "/env"),
    ({"labels": {"x" * (bounds.KEY_CHARACTERS_MAX + 1): "a"}}, "/labels"),
    ({"env": {f"A{n}": "" for n in range(bounds.ENTRIES_MOST + 1)}}, "/env"),
    ({"labels": {f"A{n}": "" for n in range(bounds.ENTRIES_MOST + 1)}}, "/labels"),
    ({"cmd": None, "args": ["x"] * 10_001}, "/args"),
    ({"constraints": [["a" * 1025, "UNIQUE"]]}, "/constraints(0)(0)"),
    ({"constraints": [["hostname", "IS", "a" * 1025]]}, "/constraints(0)(2)"),
    ({"constraints": [[f"a{n}", "UNIQUE"] for n in range(101)]}, "/constraints"),
    ({"healthChecks": [{"protocol": "TCP"}] * 101}, "/healthChecks"),
    ({"portDefinitions": [{"port": 0}] * 101}, "/portDefinitions"),
    ({"ports": [0] * 101}, "/ports"),
    ({"fetch": [{"uri": f"http://x/{n}"} for n in range(1001)]}, "/fetch"),
    ({"dependencies": [f"/d{n}" for n in range(1001)]}, "/dependencies"),
    ({"instances": 10**23}, "/instances"),
    ({"instances": 2**31}, "/instances"),
    ({"backoffSeconds": 2**31}, "/backoffSeconds"),
    ({"taskKillGracePeriodSeconds": 10**23}, "/taskKillGracePeriodSeconds"),
    ({"healthChecks": [{"protocol": "TCP", "gracePeriodSeconds": 10**20}]}, "/healthChecks(0)/gracePeriodSeconds"),
    ({"healthChecks": [{"protocol": "TCP", "maxConsecutiveFailures": 10**20}]}, "/healthChecks(0)/maxConsecutiveFailures"),
    ({"backoffFactor": 1e300}, "/backoffFactor"),
    ({"cpus": 1e300}, "/cpus"),
    ({"mem": 1e300}, "/mem"),
    ({"disk": 1e300}, "/disk"),
    ({"cmd": "a\0b"}, "/cmd"),
    ({"cmd": None, "args": ["a", "b\0"]}, "/args(1)"),
    ({"env": {"A": "\0"}}, "/env/A"),
    ({"env": {"A\0": "x"}}, "/env"),
    ({"labels": {"A": "a\0"}}, "/labels/A"),
    ({"labels": {"A\0": "a"}}, "/labels"),
    ({"user": "nobody\0"}, "/user"),
    ({"id": "/a\0"}, "/id"),
    ({"id": "/a\n"}, "/id"),
    ({"id": "/" + "a" * 200}, "/id"),
    ({"id": "/" + "a/../" * 100_000}, "/id"),
    ({"container": {"docker": {"image": "x\0"}}}, "/container/docker/image"),
    ({"container": {"docker": {"image": "x"}, "volumes": [{"containerPath": "/a\0", "hostPath": "/b", "mode": "RW"}]}},
     "/container/volumes(0)/containerPath"),
    ({"container": {"docker": {"image": "x"}, "volumes": [{"containerPath": "../a", "hostPath": "/b", "mode": "RW"}]}},
     "/container/volumes(0)/containerPath"),
    ({"fetch": [{"uri": "http://x/\0"}]}, "/fetch(0)/uri"),
]  # fmt: skip


@pytest.mark.parametrize(("fields", "path"), TOO_LARGE)
def test_what_nobody_needs_is_refused_with_its_place(fields: dict[str, Any], path: str) -> None:
    found = paths(BASE | fields)
    assert path in found, found
    assert all(len(message) < 400 for message in found.values())


@pytest.mark.parametrize(
    "fields",
    [
        {"cmd": "x" * bounds.STRING_BYTES_MAX},
        {"env": {"A": "x" * 60_000}, "labels": {"A": "x" * 3000}},
        {"env": {f"A{n}": "" for n in range(bounds.ENTRIES_MOST)}},
        {"unreachableStrategy": {"inactiveAfterSeconds": 0, "expungeAfterSeconds": bounds.NUMBER_MAX}},
        {"mem": 1e9, "disk": 1e12},
        {"constraints": [["a", "LIKE", "x" * 1024]]},
    ],
)
def test_the_largest_that_is_allowed_is_taken(fields: dict[str, Any]) -> None:
    assert paths(BASE | fields) == {}


def older(**fields: Any) -> App:
    """Return an app that a version without bounds stored, as the store gives it back."""
    app = definition.restore(an_app().to_json() | {"id": "/a", "version": "2026-01-01T00:00:00.000Z"} | fields)
    stored = codec.decode_all([("apps//a", codec.encode("apps//a", app))])
    assert not stored.spoilt
    return stored.apps[0]


@pytest.mark.parametrize(
    "fields",
    [
        {"instances": 10**9},
        {"env": {"A": "x" * 200_000, "B\0": "\0"}},
        {"labels": {f"A{n}": "" for n in range(5000)}},
        {"cmd": "a\0b"},
        {"constraints": [[f"a{n}", "UNIQUE"] for n in range(300)]},
        {"backoffSeconds": 10**12},
        {"portDefinitions": [{"port": 0}] * 300},
        {"container": {"docker": {"image": "x"}, "volumes": [{"containerPath": "../a", "hostPath": "/b", "mode": "RW"}]}},
        {"dependencies": [f"/d{n}" for n in range(3000)]},
    ],
)
def test_what_is_stored_is_read_scaled_and_changed_elsewhere(fields: dict[str, Any]) -> None:
    app = older(**fields)
    if "env" in fields and "B\0" in fields["env"]:
        assert app.env["B\0"] == "\0"
    controller = FakeController()
    controller.machine.state.apps["/a"] = app
    api = ApiClient(an_api(controller))
    answer = api.put("/v2/apps/a", json={"instances": 0})
    assert answer.status_code == 200, answer.text
    assert api.put("/v2/apps/a", json={"cpus": 0.3}).status_code == 200
    assert controller.machine.state.apps["/a"].cpus == 0.3
    (field,) = fields
    if field not in ("instances", "container"):
        worse = {"env": {"A": "y" * 300_000}, "cmd": "\0", "backoffSeconds": 10**13, "labels": {f"A{n}": "" for n in range(6000)}}
        worse |= {"portDefinitions": [{"port": 0}] * 400, "dependencies": [f"/d{n}" for n in range(4000)]}
        worse |= {"constraints": [[f"a{n}", "UNIQUE"] for n in range(301)]}
        if field != "cmd":
            assert api.put("/v2/apps/a", json={field: worse[field]}).status_code == 422


# Instances of all apps together


def limited(most: int) -> tuple[ApiClient, FakeController]:
    controller = FakeController()
    return ApiClient(an_api(controller, instances_most=most)), controller


def test_the_instances_of_all_apps_together_are_bounded() -> None:
    api, controller = limited(10)
    assert api.post("/v2/apps", json=BASE | {"instances": 6}).status_code == 201
    for answer in (
        api.post("/v2/apps", json=BASE | {"id": "/b", "instances": 5}),
        api.put("/v2/apps/a", json={"instances": 11}),
        api.put("/v2/apps", json=[{"id": "/a", "instances": 11}]),
        api.put("/v2/groups", json={"id": "/", "apps": [BASE | {"instances": 11}]}),
        api.put("/v2/groups", json={"scaleBy": 1_000_000}),
        api.put("/v2/groups", json={"scaleBy": 1.9}),
        api.post("/v2/groups", json={"id": "/g", "apps": [BASE | {"id": f"x{n}", "instances": 1} for n in range(5)]}),
    ):
        assert answer.status_code == 422, answer.text
        assert "--instances-limit" in answer.text
        assert "10 at most" in answer.text
    assert sum(app.instances for app in controller.machine.state.apps.values()) == 6
    assert api.post("/v2/apps", json=BASE | {"id": "/b", "instances": 4}).status_code == 201


def test_whoever_is_above_the_limit_may_go_down() -> None:
    api, controller = limited(10)
    controller.submit(PutApps((an_app("/a", 30), an_app("/b", 5))))
    assert api.put("/v2/apps/a", json={"instances": 20}).status_code == 200
    assert api.put("/v2/apps/a", json={"instances": 21}).status_code == 422
    assert api.put("/v2/apps/b", json={"cpus": 0.2}).status_code == 200
    assert api.put("/v2/groups", json={"scaleBy": 0.5}).status_code == 200


# Bodies


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        (b'\xef\xbb\xbf{"id": "/a"}', 400, "byte order mark"),
        ('{"id": "/a"}'.encode("utf-16"), 400, "no UTF-8"),
        (b'{"id": "/a", "cmd": "\xff"}', 400, "byte 21 is no UTF-8"),
        (b'{"id": "/a", "cmd": "\\ud800"}', 422, "half character"),
        (b'{"id": "/a", "\\udc00": "x"}', 422, "half character"),
        (b'{"id": "/a", "cpus": 1, "cpus": 2}', 400, "'cpus' is there twice"),
        (b'{"id": "/a", "env": {"A": "1", "A": "1"}}', 400, "'A' is there twice"),
        (b'{"id": "/a", "cpus": NaN}', 400, "NaN is no number"),
        (b'{"id": "/a", "cpus": Infinity}', 400, "Infinity is no number"),
        (b'{"id": "/a", "cpus": -Infinity}', 400, "Infinity is no number"),
        (b'{"id": "/a", "cpus": 1e400}', 400, "1e400 is too large"),
        (b'{"id": "/a", "mem": -1e999999999}', 400, "too large"),
        (b'{"id": "/a", "instances": ' + b"9" * 5000 + b"}", 400, "5000 digits"),
        (b'{"id": "/a", "cpus": 0.' + b"1" * 5000 + b"}", 400, "too large, or too long"),
        (b"[" * 10_000 + b"]" * 10_000, 400, "nested too deeply"),
        (b'{"a":' * 10_000 + b"1" + b"}" * 10_000, 400, "nested too deeply"),
        (b"[" * 100 + b"]" * 100, 422, "nested too deeply"),
        (b"", 400, "no valid JSON"),
        (b"\0", 400, "no valid JSON"),
        (b'{"id": "/a"} x', 400, "no valid JSON"),
        (b'"text"', 422, "must be"),
        (b"null", 422, "must be"),
        (b"12", 422, "must be"),
    ],
)
@pytest.mark.parametrize(("method", "path"), [("POST", "/v2/apps"), ("PUT", "/v2/apps/a"), ("PUT", "/v2/groups")])
def test_a_body_that_is_no_document_is_a_clear_4xx(method: str, path: str, body: bytes, status: int, words: str) -> None:
    controller = FakeController()
    answer = ApiClient(an_api(controller)).request(method, path, content=body)
    assert answer.status_code == status, answer.text
    assert words in answer.text
    assert len(answer.text) < 500
    assert set(answer.json()) <= {"message", "details"}
    assert not controller.machine.state.apps


@pytest.mark.parametrize("length", [bounds.APPS_MOST + 1, 140_000])
def test_a_list_of_apps_is_bounded_before_it_is_read(length: int, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[Any] = []
    monkeypatch.setattr(definition, "parse", lambda *args, **_: read.append(args))
    api = ApiClient(an_api(FakeController()))
    for path, body in (("/v2/apps", [{"id": f"/{n}"} for n in range(length)]), ("/v2/groups", {"apps": [{}] * length})):
        answer = api.put(path, json=body)
        assert answer.status_code == 422
        assert f"holds {length}" in answer.text
    assert not read


@pytest.mark.parametrize(
    "app",
    [
        {"portDefinitions": [{}] * 100},
        {"ports": [0] * 100},
        {"container": {"portMappings": [{}] * 100}},
        {"containers": [{"endpoints": [{}] * 50}] * 2},
    ],
)
def test_ports_of_one_request_are_bounded_before_any_is_read(app: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """Half a million took as long as 25 seconds."""
    monkeypatch.setattr(definition, "parse", lambda *_, **__: pytest.fail("an app is read all the same"))
    api = ApiClient(an_api(FakeController()))
    apps = [{"id": f"/{n}"} | app for n in range(201)]
    for path, body in (("/v2/apps", apps), ("/v2/groups", {"groups": [{"id": "/g", "apps": apps}]})):
        answer = api.put(path, json=body)
        assert answer.status_code == 422
        assert "holds 20100 ports: send 20000 at most" in answer.text


@pytest.mark.parametrize("operator", ["LIKE", "Unlike"])
def test_expressions_of_one_request_are_bounded_before_any_is_read(operator: str, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[Any] = []
    monkeypatch.setattr(definition, "parse", lambda *args, **_: read.append(args))
    api = ApiClient(an_api(FakeController()))
    each = [[["host", operator, f"a{n}-{m}"] for m in range(100)] for n in range(11)]
    apps = [{"id": f"/{n}", "constraints": constraints} for n, constraints in enumerate(each)]
    for path, body in (("/v2/apps", apps), ("/v2/groups", {"groups": [{"id": "/g", "apps": apps}]})):
        answer = api.put(path, json=body)
        assert answer.status_code == 422
        assert "holds 1100 expressions of LIKE and UNLIKE that differ" in answer.text
    pods = [{"scheduling": {"placement": {"constraints": [constraint(*one) for one in app["constraints"]]}}} for app in apps]
    assert "holds 1100" in api.put("/v2/groups", json={"pods": pods}).text
    assert not read


def test_expressions_that_take_long_to_read_come_in_several_requests(monkeypatch: pytest.MonkeyPatch) -> None:
    """1,024 that are eleven characters each took five seconds."""
    monkeypatch.setattr(definition, "parse", lambda *_, **__: pytest.fail("an app is read all the same"))
    api = ApiClient(an_api(FakeController()))
    monkeypatch.setattr(expressions, "READ_MOST", 3 * expressions.Expression(r"\P{L}{5}1").reading)
    apps = [{"id": f"/{n}", "constraints": [["host", "LIKE", rf"\P{{L}}{{5}}{n}"]]} for n in range(9)]
    for path, body in (("/v2/apps", apps), ("/v2/groups", {"groups": [{"id": "/g", "apps": apps}]})):
        answer = api.put(path, json=body)
        assert answer.status_code == 422
        assert "holds 9 expressions of LIKE and UNLIKE that differ, and 3 of them take as long to read" in answer.text


def constraint(field: str, operator: str, value: str) -> dict[str, str]:
    return {"fieldName": field, "operator": operator, "value": value}


def test_one_expression_may_stand_in_every_app() -> None:
    api = ApiClient(an_api(FakeController()))
    like = {"constraints": [["host", "LIKE", "a.*"], ["rack", "CLUSTER", "1"]]}
    apps = [{"id": f"/a{n}", "cmd": "x", "instances": 0, **like} for n in range(expressions.KEPT_MAX + 1)]
    assert api.put("/v2/apps", json=apps).status_code == 200


def test_a_group_has_no_endless_list_of_dependencies() -> None:
    api = ApiClient(an_api(FakeController()))
    group = {"id": "/g", "dependencies": [f"/x{n}" for n in range(bounds.ENTRIES_MOST + 1)], "apps": [BASE | {"id": "a"}]}
    answer = api.put("/v2/groups", json=group)
    assert answer.status_code == 422
    assert f"{bounds.ENTRIES_MOST} are the most" in answer.text


@pytest.mark.parametrize("known", [False, True], ids=["in one document", "beside what is there"])
def test_a_group_and_those_around_it_depend_on_so_much_together(known: bool) -> None:
    """It stands with the change of each app in them: one of 631 kB ended the scheduler, 1,000 times 5,000 took it seconds."""
    most = bounds.GROUP_DEPENDENCIES_MOST
    controller = FakeController()
    api = ApiClient(an_api(controller))
    outer = {"id": "/g", "dependencies": [f"/x{number}" for number in range(most - 2)]}

    def put(*inner: str) -> Any:
        group = {"id": "/g/h", "dependencies": list(inner), "apps": [BASE | {"id": "a"}]}
        return (
            api.put("/v2/groups/g/h?force=true", json=group)
            if known
            else api.put("/v2/groups", json={**outer, "groups": [group]})
        )

    if known:
        assert api.put("/v2/groups", json=outer).status_code == 200
    answer = put("/y1", "/y2", "/y3")
    assert answer.status_code == 422
    assert f"of /g/h and the groups around it are {most + 1}: {most} are the most" in answer.text
    assert put("/y1", "/y2").status_code == 200
    # What a store of before has may stay, and become less.
    controller.machine.state.groups["/g"] = GroupRecord("/g", "", "", tuple(f"/x{number}" for number in range(2 * most)))
    assert api.put("/v2/apps?force=true", json=[BASE | {"id": "/g/h/b"}]).status_code == 200
    assert api.put("/v2/groups/g/h?force=true", json={"dependencies": ["/y1"], "apps": [BASE | {"id": "a"}]}).status_code == 200
    assert api.put("/v2/groups/g/h?force=true", json={"dependencies": ["/y1", "/y2"], "apps": []}).status_code == 422


def test_the_change_of_an_app_fits_the_store_whatever_its_groups_depend_on() -> None:
    needs = tuple(f"/{number:0{ids.ID_LENGTH_MAX - 1}d}" for number in range(bounds.GROUP_DEPENDENCIES_MOST))
    change = ChangeRecord("/g/a", "d", groups={"/g": needs})
    assert len(codec.encode("changes//g/a", change)) < RECORD_BYTES_MAX / 10


def stored_group(count: int) -> GroupRecord:
    return GroupRecord("/g", "", "", tuple(f"/{number:063d}" for number in range(count)))


def test_a_change_that_the_store_could_not_keep_is_refused_and_what_mends_it_is_not() -> None:
    """Left out while its deployment was stored it would be forgotten at the next election, and the user was answered 200."""
    controller = FakeController()
    api = ApiClient(an_api(controller))
    api.put("/v2/groups", json={"id": "/g", "apps": [BASE | {"id": "a"}]})
    state = controller.machine.state
    before, most = dict(state.apps), changes.GROUPS_CHARACTERS_MOST // (64 + 8)
    state.groups["/g"] = stored_group(most + 1)
    for answer in (
        api.put("/v2/apps/g/a?force=true", json={"cmd": "other"}),
        api.put("/v2/groups/g?force=true&dryRun=true", json={"apps": [BASE | {"id": "a", "cmd": "other"}]}),
        api.post("/v2/apps/g/a/restart?force=true"),
        api.delete("/v2/apps/g/a?force=true"),
    ):
        assert answer.status_code == 409
        assert f"group /g depends on too much ({most + 1} apps and groups)" in answer.text
    assert "depends on too much" in scaling.halt(replace(state, changes={}, connected=True), state.apps["/g/a"])
    assert state.apps == before
    state.groups["/g"] = stored_group(most)
    assert api.put("/v2/apps/g/a?force=true", json={"cmd": "other"}).status_code == 200
    assert len(codec.encode("changes//g/a", state.changes["/g/a"])) < RECORD_BYTES_MAX
    state.groups["/g"] = stored_group(most + 1)
    assert api.put("/v2/groups/g?force=true", json={"dependencies": [], "apps": [BASE | {"id": "a"}]}).status_code == 200


def requiring(*texts: str) -> dict[str, Any]:
    wanted = {"service": "db", "wait": False, "attributes": {f"a{index}": text for index, text in enumerate(texts)}}
    return {"eratos": {"requires": {"db": wanted}}}


def test_expressions_for_attributes_take_no_longer_to_read_than_a_definition_may(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fifty requirements with twenty of ten characters each took seconds."""
    texts = [rf"\P{{L}}{{50}}{number}" for number in range(6)]
    monkeypatch.setattr(consul_expressions, "DEFINITION_MOST", 3 * consul_expressions.read(texts[0]).work)
    with pytest.raises(InvalidApp, match="have 6 expressions for attributes, and 3 of them take as long to read") as caught:
        definition.parse(BASE | requiring(*texts))
    assert [problem.path for problem in caught.value.problems] == ["/eratos/requires"]
    there = definition.parse(BASE | requiring(*texts[:3]))
    monkeypatch.setattr(consul_expressions, "DEFINITION_MOST", 1)
    assert definition.restore(there.to_json()) == there, "what a store has is read"
    assert definition.parse(there.to_json() | {"cmd": "other"}, before=there).cmd == "other"
    with pytest.raises(InvalidApp, match="take as long to read"):
        definition.parse(there.to_json())


def test_expressions_for_attributes_that_take_long_come_in_several_requests(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(definition, "parse", lambda *_, **__: pytest.fail("an app is read all the same"))
    api = ApiClient(an_api(FakeController()))
    monkeypatch.setattr(consul_expressions, "REQUEST_MOST", 3 * consul_expressions.read(r"\P{L}{50}0").work)
    apps = [{"id": f"/{number}", **requiring(rf"\P{{L}}{{50}}{number}")} for number in range(9)]
    for path, body in (("/v2/apps", apps), ("/v2/groups", {"groups": [{"id": "/g", "apps": apps}]})):
        answer = api.put(path, json=body)
        assert answer.status_code == 422
        assert "holds 9 expressions of requirements' attributes that differ, and 3 of them" in answer.text


def test_reading_strictly_changes_no_document() -> None:
    document = {"a": [1, -2.5e-300, True, None, {"ä": "\u20ac"}], "b": 10**30}
    assert strict_json.read(json.dumps(document).encode()) == document
