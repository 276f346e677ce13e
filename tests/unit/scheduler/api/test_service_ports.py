"""Service ports: one for each port that states none, each its own, the same for as long as the app is there."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.api import ApiClient
from support.builders import an_app, an_offer
from support.controller import FakeController

from eratos.marathon.app import App
from eratos.marathon.errors import InvalidApp
from eratos.scheduler.api import service_ports
from eratos.scheduler.core.events import PutApps

RANGE = range(10_000, 20_001)
BRIDGE = {"networks": [{"mode": "container/bridge"}]}


def on_host(app_id: str = "/a", *ports: int, **fields: Any) -> App:
    return an_app(app_id, portDefinitions=[{"port": port} for port in ports], **fields)


def on_bridge(app_id: str, *ports: int) -> App:
    container = {
        "docker": {"image": "x"},
        "portMappings": [{"containerPort": 80 + i, "servicePort": p} for i, p in enumerate(ports)],
    }
    return an_app(app_id, portDefinitions=None, container=container, **BRIDGE)


def numbers(app: App) -> list[int]:
    return [port.service_port for port in app.ports]


def put(apps: dict[str, App], *wanted: App, ports: range = RANGE) -> list[list[int]]:
    settled = service_ports.assigned(apps, wanted, ports)
    apps.update((app.id, app) for app in settled)
    return [numbers(app) for app in settled]


@pytest.mark.parametrize("make", [on_host, on_bridge])
def test_a_port_that_states_none_gets_one_and_others_keep_theirs(make: Any) -> None:
    [found] = put({}, make("/a", 0, 15000, 0))
    assert found[1] == 15000
    assert found[0] != found[2] and {found[0], found[2]} <= set(RANGE)


def test_with_required_ports_none_is_chosen_as_agents_would_have_to_offer_it() -> None:
    assert put({}, on_host("/a", 0, 31005, requirePorts=True)) == [[0, 31005]]


def test_ports_that_somebody_else_has_in_any_way_are_not_given_out() -> None:
    others = {
        "/stated": on_host("/stated", 10_000),
        "/required": on_host("/required", 10_001, requirePorts=True),
        "/label": on_host("/label", 0, labels={"HAPROXY_0_PORT": "10002"}),
        "/host": an_app(
            "/host",
            portDefinitions=None,
            container={"docker": {"image": "x"}, "portMappings": [{"containerPort": 80, "servicePort": 1, "hostPort": 10_003}]},
            **BRIDGE,
        ),
    }
    assert put(others, on_host("/a", 0), ports=range(10_000, 10_005)) == [[10_004]]


def test_when_all_are_given_out_the_setting_is_named() -> None:
    apps: dict[str, App] = {}
    put(apps, on_host("/a", 0, 0), ports=range(10_000, 10_002))
    with pytest.raises(InvalidApp, match="--local-port-max"):
        put(apps, on_host("/b", 0), ports=range(10_000, 10_002))


def test_an_update_that_states_none_keeps_them_also_where_ports_are_added_or_removed() -> None:
    apps: dict[str, App] = {}
    [first] = put(apps, on_host("/a", 0, 0))
    assert put(apps, on_host("/a", 0, 0, mem=64)) == [first]
    [more] = put(apps, on_host("/a", 0, 0, 0))
    assert more[:2] == first and more[2] not in first
    assert put(apps, on_host("/a", 0)) == [[first[0]]]


def test_a_stated_port_of_the_range_that_is_stated_no_more_is_kept_and_another_is_not() -> None:
    apps = {"/a": on_host("/a", 15_000), "/b": on_host("/b", 5432)}
    assert put(apps, on_host("/a", 0)) == [[15_000]]
    [[chosen]] = put(apps, on_host("/b", 0))
    assert chosen in RANGE


def test_what_was_read_and_is_sent_back_stays_what_the_scheduler_chose() -> None:
    apps: dict[str, App] = {}
    [[chosen]] = put(apps, on_host("/a", 0))
    put(apps, on_host("/a", chosen, mem=64))
    assert apps["/a"].assigned == {0}
    put(apps, on_host("/a", 16_000))
    assert not apps["/a"].assigned


def test_an_app_of_the_version_before_gets_its_ports_with_its_next_change_and_not_before() -> None:
    apps = {"/old": on_host("/old", 0)}
    assert put(apps, on_host("/old", 0)) == [[0]]
    assert put(apps, on_host("/old", 0, instances=7)) == [[0]]
    [[chosen]] = put(apps, on_host("/old", 0, mem=64))
    assert chosen in RANGE


def test_an_app_that_is_deleted_and_made_again_gets_the_same() -> None:
    apps: dict[str, App] = {}
    first = put(apps, on_host("/a", 0))
    del apps["/a"]
    put(apps, on_host("/b", 0))
    assert put(apps, on_host("/a", 0)) == first


STATED = st.sampled_from([0, 0, 0, 10_001, 10_003, 30_000])
CHANGES = st.lists(
    st.tuples(st.sampled_from(["/a", "/b", "/c", "/d"]), st.lists(STATED, max_size=3, unique_by=lambda p: p or object()))
)


@settings(deadline=None, max_examples=60)
@given(CHANGES)
def test_whatever_is_put_chosen_ports_are_nobody_elses_and_stay(changes: list[tuple[str, list[int]]]) -> None:
    apps: dict[str, App] = {}
    for number, (app_id, ports) in enumerate(changes):
        before = {app.id: app for app in apps.values()}
        put(apps, on_host(app_id, *ports, mem=32 + number), ports=range(10_000, 10_040))
        after = apps[app_id]
        assert all(numbers(after))
        chosen = [(app.id, port.service_port) for app in apps.values() for port in app.ports if port.assigned]
        assert len({port for _, port in chosen}) == len(chosen)
        for other in before.keys() - {app_id}:
            assert apps[other] == before[other]
        if app_id in before:
            elsewhere = {number for other in before.values() if other.id != app_id for number in numbers(other)}
            had = {
                port.service_port
                for port in before[app_id].ports
                if port.service_port in range(10_000, 10_040) and (port.assigned or port.service_port not in elsewhere)
            }
            assert len((had - set(ports)) & set(numbers(after))) == min(len(had - set(ports)), ports.count(0))


# Over the API


APP = {"id": "/a", "cmd": "x", "cpus": 0.1, "mem": 32, "ports": [0, 0]}


def shown(api: ApiClient, app_id: str = "/a") -> list[int]:
    return [item["port"] for item in api.get(f"/v2/apps{app_id}").json()["app"]["portDefinitions"]]


def test_the_answer_the_app_and_its_tasks_show_them(api: ApiClient, controller: FakeController) -> None:
    answered = [item["port"] for item in api.post("/v2/apps", json=APP).json()["portDefinitions"]]
    assert all(answered) and shown(api) == answered
    controller.launch(an_offer())
    tasks = (
        api.get("/v2/tasks").json()["tasks"]
        + api.get("/v2/apps/a/tasks").json()["tasks"]
        + api.get("/v2/apps?embed=apps.tasks").json()["apps"][0]["tasks"]
    )
    assert [task["servicePorts"] for task in tasks] == [answered] * 3


def test_applying_the_same_file_again_changes_nothing_and_scaling_neither(api: ApiClient, controller: FakeController) -> None:
    api.post("/v2/apps", json=APP)
    before = api.get("/v2/apps/a").json()["app"]
    api.put("/v2/apps/a?partialUpdate=false", json=APP)
    api.put("/v2/apps/a", json={"instances": 3})
    api.put("/v2/apps?partialUpdate=false", json=[APP])
    api.put("/v2/groups", json={"apps": [APP]})
    after = api.get("/v2/apps/a").json()["app"]
    assert (after["version"], after["portDefinitions"]) == (before["version"], before["portDefinitions"])


def test_an_app_of_the_version_before_is_not_changed_by_a_scale_or_by_its_own_file(
    api: ApiClient, controller: FakeController
) -> None:
    controller.submit(PutApps((on_host("/old", 0),)))
    version = api.get("/v2/apps/old").json()["app"]["version"]
    api.put("/v2/apps/old", json={"instances": 4})
    assert shown(api, "/old") == [0]
    assert api.get("/v2/apps/old").json()["app"]["version"] == version
    api.put("/v2/apps/old", json={"mem": 64})
    assert shown(api, "/old")[0] in RANGE


def test_a_tcp_service_that_states_no_port_is_told_the_one_it_got(api: ApiClient) -> None:
    answer = api.post("/v2/apps", json=APP | {"ports": [0], "labels": {"HAPROXY_GROUP": "external"}})
    assert answer.headers["Eratos-Notice"] == f"port 0: tcp on port {shown(api)[0]} of group external"


def test_the_plain_text_of_tasks_has_them(api: ApiClient, controller: FakeController) -> None:
    api.post("/v2/apps", json=APP | {"ports": [0]})
    controller.launch(an_offer())
    line = api.get("/v2/tasks", headers={"Accept": "text/plain"}).text
    assert line.split()[:2] == ["a", str(shown(api)[0])]


def test_a_port_that_is_added_counts_as_chosen_beside_the_one_that_was(api: ApiClient, controller: FakeController) -> None:
    api.post("/v2/apps", json={**APP, "ports": [0]})
    api.put("/v2/apps/a?partialUpdate=false", json=APP)
    assert set(controller.machine.state.apps["/a"].assigned) == {0, 1}
