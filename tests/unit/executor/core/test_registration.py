"""Consul services of a task, and the difference between wanted and present."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.executor import HOST, PORT, TASK, a_payload

from eratos.common import names
from eratos.common.payload import HealthCheck, Port
from eratos.executor.core.host import Host
from eratos.executor.core.registration import difference, kept_checks, kept_datacenters, kept_ports, registrations

OTHER_TASK = "shop.instance-2._app.1"


def present(*bodies: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """What the Consul agent says after these registrations."""
    return {body["ID"]: body | {"Service": body["Name"]} for body in bodies}


def bodies(task_id: str = TASK, host: Host = HOST, **changes: Any) -> list[dict[str, Any]]:
    return list(registrations(a_payload(task_id, **changes), host, ""))


def checks(*bodies: dict[str, Any]) -> set[str]:
    """The ids of the agent's checks then."""
    return {body["Check"]["CheckID"] for body in bodies if "Check" in body}


def alone(executor_id: str) -> bool:
    """No other executor is alive."""
    return False


def check(**changes: Any) -> dict[str, Any]:
    return dict(bodies(**changes)[0]["Check"])


def test_the_marks_of_ownership_are_ours() -> None:
    payload = a_payload()
    lying = replace(payload.services[0], meta={names.META_AGENT: "other", "haproxy-path": "/x"})
    (body,) = registrations(replace(payload, services=(lying,)), HOST, "")
    assert body["Meta"] == {
        "eratos-executor": "eratos",
        names.META_FRAMEWORK: "fw1",
        names.META_AGENT: "agent1",
        names.META_TASK: TASK,
        "haproxy-path": "/x",
    }
    assert "Address" not in body


@pytest.mark.parametrize(("interval_s", "shown"), [(0.2, "1s"), (5, "5s"), (60, "10s")])
def test_consul_probes_by_the_apps_check_at_a_sane_pace(interval_s: float, shown: str) -> None:
    found = check(health_checks=(HealthCheck("http", "/up", PORT, interval_s=interval_s, timeout_s=2),))
    assert (found["HTTP"], found["Interval"], found["Timeout"]) == (f"http://127.0.0.1:{PORT}/up", shown, "2s")
    assert (found["Status"], found["DeregisterCriticalServiceAfter"]) == ("passing", "1m")


COMMAND = HealthCheck("command", command="true", interval_s=5, timeout_s=1)


@pytest.mark.parametrize(
    ("checks", "kind"),
    [
        ((), "TCP"),  # asked by the executor as well, as there is no other check
        ((HealthCheck("tcp", port=PORT, interval_s=5, timeout_s=1),), "TCP"),
        ((HealthCheck("http", "/", PORT, interval_s=5, timeout_s=1),), "HTTP"),
        ((COMMAND,), "TTL"),
        ((HealthCheck("tcp", port=PORT + 7, interval_s=5, timeout_s=1),), "TTL"),
    ],
)
def test_consul_asks_only_what_the_executor_has_asked(checks: tuple[HealthCheck, ...], kind: str) -> None:
    found = check(health_checks=checks)
    assert {"TCP", "HTTP", "TTL"} & found.keys() == {kind}
    assert list(kept_checks(bodies(health_checks=checks))) == ([found["CheckID"]] if kind == "TTL" else [])


def test_the_check_is_the_ports_own() -> None:
    other = HealthCheck("http", "/admin", PORT + 1)
    command = HealthCheck("command", port=PORT, command="true")
    assert check(health_checks=(other, command, HealthCheck("tcp", port=PORT)))["TCP"] == f"127.0.0.1:{PORT}"


def test_a_port_without_a_check_must_accept_connections() -> None:
    assert check()["TCP"] == f"127.0.0.1:{PORT}"


def test_a_udp_port_has_no_check() -> None:
    payload = replace(a_payload(), ports=(Port(PORT, protocol="udp"),))
    assert "Check" not in registrations(payload, HOST, "")[0]


def test_https_is_probed_without_asking_for_the_certificate() -> None:
    found = check(health_checks=(HealthCheck("https", "/", PORT),))
    assert (found["HTTP"], found["TLSSkipVerify"]) == (f"https://127.0.0.1:{PORT}/", True)


def test_what_is_there_as_wanted_stays() -> None:
    assert difference(bodies(ports=2), present(*bodies(ports=2)), checks(*bodies(ports=2)), HOST, alone) == ([], [])


@pytest.mark.parametrize(
    "change", [{"Name": "other"}, {"Port": 1}, {"Tags": ["eratos", "new"]}, {"Meta": {names.META_FRAMEWORK: "fw1"}}]
)
def test_what_differs_is_registered_again(change: dict[str, Any]) -> None:
    (body,) = bodies()
    assert difference([body], present(body | change), checks(body), HOST, alone) == ([body], [])


def test_a_service_whose_check_is_gone_is_registered_again_with_it() -> None:
    (body,) = bodies()
    assert difference([body], present(body), (), HOST, alone) == ([body], [])
    unchecked = {key: value for key, value in body.items() if key != "Check"}
    assert difference([unchecked], present(unchecked), (), HOST, alone) == ([], [])


def test_surplus_goes_only_where_it_is_ours() -> None:
    there = present(
        *bodies(),
        *bodies(OTHER_TASK, replace(HOST, framework_id="fw2")),
        *bodies("shop.instance-3._app.1", replace(HOST, agent_id="agent2")),
        bodies("shop.instance-4._app.1")[0] | {"ID": "not-prefixed"},
    )
    assert difference([], there, (), HOST, alone) == ([], [names.service_id(TASK)])


def test_another_executors_services_are_its_own_while_it_lives() -> None:
    there = present(*bodies(OTHER_TASK, replace(HOST, executor_id="upgraded")))
    assert difference([], there, (), HOST, lambda executor_id: executor_id == "upgraded") == ([], [])
    assert difference([], there, (), HOST, alone) == ([], [names.service_id(OTHER_TASK)])


def test_a_forgotten_task_of_an_earlier_agent_id_goes_too() -> None:
    there = present(*bodies(OTHER_TASK, replace(HOST, agent_id="agent0")))
    assert difference([], there, (), HOST, alone) == ([], [])
    assert difference([], there, (), HOST, alone, frozenset({OTHER_TASK})) == ([], [names.service_id(OTHER_TASK)])


def test_services_of_what_a_dead_executor_left_running_stay_until_they_are_forgotten() -> None:
    there = present(*bodies(TASK), *bodies(OTHER_TASK))
    ids = [names.service_id(TASK), names.service_id(OTHER_TASK)]

    def surplus(kept: frozenset[str] | None, *forgotten: str) -> list[str]:
        return difference([], there, (), HOST, alone, frozenset(forgotten), kept)[1]

    assert surplus(None) == []
    assert surplus(None, TASK) == ids[:1]
    assert surplus(frozenset({TASK})) == ids[1:]
    assert surplus(frozenset({TASK}), TASK) == ids
    assert surplus(frozenset()) == ids


def test_ports_of_what_is_kept_are_told_by_task() -> None:
    there = present(*bodies(TASK, ports=2), *bodies(OTHER_TASK), *bodies("t3", replace(HOST, framework_id="fw2")))
    kept = frozenset({TASK, "t3", "t4"})
    assert kept_ports(there, HOST, kept) == {TASK: frozenset({PORT, PORT + 1})}


def test_data_centers_whose_balancers_may_serve_what_is_kept_are_told_by_task() -> None:
    there = present(*bodies(TASK, ports=2), *bodies(OTHER_TASK), *bodies("t3"))
    for name, stated in zip(there, ("dc1,dc2", "dc3,dc2", "not a name", "dc4"), strict=True):
        there[name] = there[name] | {"Meta": there[name]["Meta"] | {"haproxy-failover": stated}}
    assert kept_datacenters(there, {TASK, OTHER_TASK}) == {TASK: ("dc1", "dc2", "dc3")}


def test_what_is_registered_on_a_port_that_another_task_has_by_now_goes_whoever_registered_it() -> None:
    earlier = replace(HOST, agent_id="agent0", executor_id="upgraded")
    (wanted,) = bodies()
    there = present(*bodies(OTHER_TASK, earlier), wanted)
    assert wanted["Port"] == there[names.service_id(OTHER_TASK)]["Port"]
    assert difference([wanted], there, checks(wanted), HOST, lambda executor_id: True) == ([], [names.service_id(OTHER_TASK)])
    stranger = present(*bodies(OTHER_TASK, replace(HOST, framework_id="fw2")))
    assert difference([wanted], stranger, (), HOST, alone) == ([wanted], [])
    elsewhere = present(*bodies(OTHER_TASK, earlier)[:1], wanted | {"ID": "db", "Port": 1})
    assert difference([wanted | {"Port": 2}], elsewhere, checks(wanted), HOST, alone)[1] == []


@given(st.sets(st.integers(0, 9)), st.sets(st.integers(0, 9)), st.sets(st.integers(10, 19)))
def test_doing_the_difference_leaves_exactly_what_is_wanted(wanted: set[int], there: set[int], foreign: set[int]) -> None:
    def body(number: int, host: Host = HOST) -> dict[str, Any]:
        return bodies(f"shop.instance-{number}._app.1", host)[0]

    stranger = replace(HOST, framework_id="fw2")
    state = present(*(body(n) for n in there), *(body(n, stranger) for n in foreign))
    missing, surplus = difference([body(n) for n in wanted], state, (), HOST, alone)
    after = (state.keys() | {found["ID"] for found in missing}) - set(surplus)
    assert after == {body(n)["ID"] for n in wanted | foreign}


def test_consul_asks_over_ipv6_where_the_app_does() -> None:
    assert check(health_checks=(HealthCheck("http", "/up", PORT, ipv6=True),))["HTTP"] == f"http://[::1]:{PORT}/up"
    assert check(health_checks=(HealthCheck("tcp", port=PORT, ipv6=True),))["TCP"] == f"[::1]:{PORT}"
