"""What the sync with Consul makes of answers that say no; tests/contract/test_consul_agent.py has the rest."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any

import pytest
from support.companion import serve
from support.executor import HOST, TASK, Events, a_payload
from support.fake_consul import FakeConsul
from support.waiting import until

from eratos.common import names
from eratos.common.errors import TemporaryError
from eratos.common.payload import HealthCheck, Service
from eratos.executor.consul_agent import ConsulAgent, ConsulApi, Refused
from eratos.executor.core import actions as do
from eratos.executor.core import events as on
from eratos.executor.core.registration import registrations

CALLS: list[Callable[[ConsulApi], object]] = [
    lambda api: api.services(),
    lambda api: api.checks(),
    lambda api: api.balancers(),
    lambda api: api.keep("c"),
    lambda api: api.register({"ID": "a", "Name": "a", "Port": 1, "Tags": [], "Meta": {}}),
]


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("status", [400, 404, 500])
def test_an_answer_that_says_no_is_never_taken_for_done(call: Callable[[ConsulApi], object], status: int) -> None:
    with serve(lambda *_: (status, b"Unknown check ID")) as port:
        api = ConsulApi(f"http://127.0.0.1:{port}")
        with pytest.raises(Refused):
            call(api)
        api.close()


def test_an_agent_that_is_away_refuses_nothing_of_its_own() -> None:
    with socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))
        api = ConsulApi(f"http://127.0.0.1:{deaf.getsockname()[1]}")
        with pytest.raises(TemporaryError) as caught:
            api.services()
        api.close()
    assert not isinstance(caught.value, Refused)


def test_deregistering_what_consul_does_not_know_is_done() -> None:
    with serve(lambda *_: (404, b"Unknown service ID")) as port:
        api = ConsulApi(f"http://127.0.0.1:{port}")
        api.deregister("a")
        api.close()


@pytest.mark.parametrize("checks", [(HealthCheck("command", command="true"),), (HealthCheck("tcp", port=31000),)])
def test_a_check_that_consul_lost_is_registered_anew_with_its_service(checks: tuple[HealthCheck, ...]) -> None:
    consul = FakeConsul()
    agent = ConsulAgent(consul, HOST, Events().emit, lambda _: False, sync_s=0.05)
    agent.start()
    (body,) = registrations(a_payload(TASK, health_checks=checks), HOST, "")
    check_id = body["Check"]["CheckID"]
    agent.perform(do.Register(TASK, (body,)))
    until(lambda: check_id in consul.checks(), 10, "it is registered")
    consul.lose_check(check_id)
    until(lambda: check_id in consul.checks(), 10, "it is registered anew")
    agent.stop()


def test_a_check_that_goes_between_comparison_and_word_is_registered_anew() -> None:
    class Forgetful(FakeConsul):
        def keep(self, check_id: str) -> None:
            if not self.kept:
                self.lose_check(check_id)
            self.kept.append("asked")
            super().keep(check_id)

    consul = Forgetful()
    agent = ConsulAgent(consul, HOST, Events().emit, lambda _: False, sync_s=3600)
    (body,) = registrations(a_payload(TASK, health_checks=(HealthCheck("command", command="true"),)), HOST, "")
    consul.register(body)
    agent.perform(do.Register(TASK, (body,)))
    agent._sync()
    assert consul.checks() == {body["Check"]["CheckID"]}


def a_body(number: int, meta: dict[str, str] | None = None) -> dict[str, Any]:
    """Return the service of a task of its own, on a port of its own, which lives by the executor's word."""
    task_id = f"shop.instance-{number}._app.1"
    service = Service(names.service_id(task_id), "shop", 31000 + number, (names.SERVICE_TAG,), meta or {})
    payload = a_payload(task_id, services=(service,), health_checks=(HealthCheck("command", command="true"),))
    (body,) = registrations(payload, HOST, "")
    return body


def task_of(body: dict[str, Any]) -> str:
    return str(body["Meta"][names.META_TASK])


def an_agent(consul: FakeConsul) -> tuple[ConsulAgent, list[on.Event]]:
    """Return what keeps a fake in step, its thread not started, and the events that it emits."""
    emitted: list[on.Event] = []
    return ConsulAgent(consul, HOST, emitted.append, lambda _: False, sync_s=3600), emitted


def test_a_service_that_is_refused_holds_up_no_other_at_a_comparison() -> None:
    consul, (bad, new, there, gone, left) = FakeConsul(), [a_body(number) for number in range(5)]
    agent, emitted = an_agent(consul)
    for body in (there, gone, left):
        consul.register(body)
    consul.refuses = {bad["ID"]}
    for body in (bad, new, there):
        agent.perform(do.Register(task_of(body), (body,)))
    agent.perform(do.Deregister(task_of(gone)))
    agent.perform(do.KeepServices(frozenset({task_of(left)})))
    for _ in range(2):
        with pytest.raises(Refused, match=f"service {bad['ID']}: 400"):
            agent._sync()
    assert set(consul.present) == {new["ID"], there["ID"], left["ID"]}
    assert consul.kept == [new["Check"]["CheckID"], there["Check"]["CheckID"]] * 2
    kept = on.ServicesKept({task_of(left): frozenset({left["Port"]})}, {})
    assert emitted == [on.Deregistered(task_of(gone)), kept, kept]


def test_a_service_whose_deregistration_is_refused_is_not_said_to_be_gone() -> None:
    consul, (bad, gone) = FakeConsul(), [a_body(number) for number in range(2)]
    agent, emitted = an_agent(consul)
    for body in (bad, gone):
        consul.register(body)
        agent.perform(do.Deregister(task_of(body)))
    consul.refuses = {bad["ID"]}
    with pytest.raises(Refused):
        agent._sync()
    assert emitted == [on.Deregistered(task_of(gone))]
    consul.refuses = set()
    agent._sync()
    assert emitted == [on.Deregistered(task_of(gone)), on.Deregistered(task_of(bad))]


def test_a_left_over_service_that_cannot_be_deregistered_is_not_kept() -> None:
    consul, old = FakeConsul(), a_body(0)
    new = a_body(1) | {"Port": old["Port"]}
    agent, emitted = an_agent(consul)
    consul.register(old)
    consul.refuses = {old["ID"]}
    agent.perform(do.Register(task_of(new), (new,)))
    agent.perform(do.KeepServices(frozenset({task_of(old)})))
    with pytest.raises(Refused):
        agent._sync()
    assert not emitted


def test_a_change_that_is_refused_holds_up_no_other_and_is_tried_again() -> None:
    consul, (bad, good, stays, goes) = FakeConsul(), [a_body(number) for number in range(4)]
    agent, emitted = an_agent(consul)
    agent._sync()
    for body in (stays, goes):
        consul.register(body)
    consul.refuses = {bad["ID"], stays["ID"]}
    edges = {task_of(body): () for body in (bad, good)} | {task_of(body): (body,) for body in (stays, goes)}
    for body in (bad, good):
        agent.perform(do.Register(task_of(body), (body,)))
    for body in (stays, goes):
        agent.perform(do.Deregister(task_of(body)))
    agent._sync_at = float("inf")
    with pytest.raises(Refused):
        agent._round(edges)
    assert set(consul.present) == {good["ID"], stays["ID"]} and emitted == [on.Deregistered(task_of(goes))]
    consul.refuses = set()
    agent._sync()
    assert set(consul.present) == {bad["ID"], good["ID"]} and emitted[1:] == [on.Deregistered(task_of(stays))]


def test_one_port_that_is_refused_holds_up_none_of_its_task() -> None:
    consul, (bad, good) = FakeConsul(), [a_body(number) for number in range(2)]
    agent, _ = an_agent(consul)
    agent.perform(do.Register("task", (bad, good)))
    consul.refuses = {bad["ID"]}
    with pytest.raises(Refused):
        agent._apply("task", ())
    assert set(consul.present) == {good["ID"]}


def test_an_agent_that_is_away_is_asked_no_further() -> None:
    class Counted(FakeConsul):
        def register(self, body: Any) -> None:
            asked.append(body["ID"])
            super().register(body)

    asked: list[str] = []
    consul, bodies = Counted(), [a_body(number) for number in range(3)]
    agent, _ = an_agent(consul)
    for body in bodies:
        agent.perform(do.Register(task_of(body), (body,)))
    consul.away = True
    with pytest.raises(TemporaryError):
        agent._round({task_of(body): () for body in bodies})
    assert asked == [bodies[0]["ID"]]


def test_what_is_refused_puts_off_no_comparison_and_an_agent_that_is_away_does() -> None:
    agent, _ = an_agent(FakeConsul())
    agent._sync_at = 0
    agent._retry(Refused("400"))
    assert agent._sync_at == 0
    agent._retry(TemporaryError("away"))
    assert agent._sync_at > 0


def test_a_change_that_is_refused_leaves_a_comparison_that_is_due() -> None:
    consul, (bad, there) = FakeConsul(), [a_body(number) for number in range(2)]
    agent, _ = an_agent(consul)
    consul.register(there)
    consul.refuses = {bad["ID"]}
    for body in (bad, there):
        agent.perform(do.Register(task_of(body), (body,)))
    with pytest.raises(Refused):
        agent._round({task_of(bad): ()})
    assert consul.kept == [there["Check"]["CheckID"]]
