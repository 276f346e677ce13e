"""An error budget on the real cluster: answers of 503 spend it, and then a change of the app waits for somebody who forces it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import requests
from support.cluster import SOON_S, Cluster
from support.waiting import until

pytestmark = pytest.mark.e2e

HOST, APP = "budgeted.test", "/budgeted"


@pytest.fixture
def app(cluster: Cluster, hello: dict[str, Any]) -> Iterator[dict[str, Any]]:
    budget = {"objective": 90, "window": "1h", "minRequests": 10}
    yield hello | {"id": APP, "instances": 1, "labels": {"HAPROXY_0_VHOST": HOST}, "eratos": {"errorBudget": budget}}
    cluster.delete(APP)
    until(lambda: not cluster.containers(APP), SOON_S, "the app is gone")


def test_a_spent_budget_holds_a_change_and_not_a_forced_one(cluster: Cluster, app: dict[str, Any]) -> None:
    def budget() -> dict[str, Any]:
        found: dict[str, Any] = cluster.any_api("GET", f"/v2/explain{APP}").json()["errorBudget"]
        return found

    def asked() -> int:
        return requests.get(cluster.balancers[0] + "/hello", headers={"Host": HOST}, timeout=10).status_code

    def counted() -> bool:
        asked()
        found = budget()
        return bool(found["requests"]) and not found["missing"]

    cluster.apply(app)
    cluster.settle(app, 1)
    until(lambda: asked() == 200, SOON_S, "the app answers through a balancer")
    until(counted, SOON_S, "balancers say what they answer")
    cluster.apply(app, instances=0)
    until(lambda: asked() == 503, SOON_S, "nobody answers any more")

    def spent() -> bool:
        asked()
        return bool(budget()["spent"])

    until(spent, SOON_S, "its budget is spent")
    cluster.apply(app, instances=1)
    cluster.settle(app, 1)
    changed = app | {"env": {"CHANGED": "yes"}}

    def refused() -> bool:
        answer = cluster.any_api("PUT", f"/v2/apps{APP}", changed)
        assert answer.status_code == 409, answer.text
        return f"The error budget of {APP} is spent" in answer.text

    until(refused, SOON_S, "a change is refused for the budget, and not for a deployment that is under way any more")
    forced = cluster.any_api("PUT", f"/v2/apps{APP}?force=true", changed)
    assert forced.status_code == 200, forced.text
