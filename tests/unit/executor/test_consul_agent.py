"""What the sync with Consul makes of answers that say no; tests/contract/test_consul_agent.py has the rest."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from support.companion import serve
from support.executor import HOST, TASK, Events, a_payload
from support.fake_consul import FakeConsul
from support.waiting import until

from eratos.common.errors import TemporaryError
from eratos.common.payload import HealthCheck
from eratos.executor.consul_agent import ConsulAgent, ConsulApi
from eratos.executor.core import actions as do
from eratos.executor.core.registration import registrations

CALLS: list[Callable[[ConsulApi], object]] = [
    lambda api: api.services(),
    lambda api: api.checks(),
    lambda api: api.balancers(),
    lambda api: api.keep("c"),
    lambda api: api.register({"ID": "a", "Name": "a", "Port": 1, "Tags": [], "Meta": {}}),
]


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("status", [404, 500])
def test_an_answer_that_says_no_is_never_taken_for_done(call: Callable[[ConsulApi], object], status: int) -> None:
    with serve(lambda *_: (status, b"Unknown check ID")) as port:
        api = ConsulApi(f"http://127.0.0.1:{port}")
        with pytest.raises(TemporaryError):
            call(api)
        api.close()


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
