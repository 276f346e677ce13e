"""What executors and balancers count, handed on by the API, and the list of what there is to scrape."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest
from support.api import ApiClient
from support.builders import an_app, an_offer
from support.controller import FakeController
from support.part import Part, a_part

from eratos.common import exposition, keys
from eratos.common.browser_guard import BrowserGuard
from eratos.scheduler.api.controller import Balancer
from eratos.scheduler.api.gate import Access
from eratos.scheduler.api.server import create_api
from eratos.scheduler.core.events import PutApps

TEXT = "# TYPE a gauge\na 1\n"


@pytest.fixture
def part() -> Iterator[Part]:
    with a_part("/metrics", TEXT.encode(), 404) as made:
        yield made


@pytest.fixture
def api(part: Part) -> ApiClient:
    controller = FakeController()
    controller.registered = [Balancer("b1", "127.0.0.1", part.port, "")]
    controller.submit(PutApps((an_app("/shop/cart", 2),)))
    controller.launch(an_offer(hostname="127.0.0.1"))
    access = Access(BrowserGuard.of(["testserver", ".test"]))
    key = keys.companion_key("key", keys.SCHEDULER)
    agent_key = lambda agent_id: f"key of {agent_id}"  # noqa: E731
    return ApiClient(create_api(controller, access=access, executor_port=part.port, companion_key=key, agent_key=agent_key))


def test_everything_there_is_stands_in_the_list(api: ApiClient) -> None:
    found: list[dict[str, Any]] = api.get("/v2/metrics/targets").json()
    labels = ("job", "instance", "__metrics_path__")
    shown = [(*each["targets"], *(each["labels"][label] for label in labels)) for each in found]
    here = shown[0][0]
    assert shown == [
        (here, "eratos-scheduler", "leader", "/v2/metrics/leader"),
        (here, "eratos-executor", "127.0.0.1", "/v2/metrics/executors/127.0.0.1"),
        (here, "eratos-balancer", "b1", "/v2/metrics/balancers/b1"),
    ]


def test_the_list_names_the_address_that_was_asked_through_a_proxy(api: ApiClient) -> None:
    found = api.get("/v2/metrics/targets", headers={"X-Forwarded-Host": "marathon.test", "X-Forwarded-Proto": "https"}).json()
    assert {(*each["targets"], each["labels"]["__scheme__"]) for each in found} == {("marathon.test", "https")}


def test_each_address_of_the_list_answers(api: ApiClient, part: Part) -> None:
    for each in api.get("/v2/metrics/targets").json():
        answer = api.get(each["labels"]["__metrics_path__"])
        assert answer.status_code == 200, each
        if each["labels"]["job"] != "eratos-scheduler":
            assert (answer.text, answer.headers["Content-Type"]) == (TEXT, exposition.CONTENT_TYPE)
    executor, companion = part.shown
    assert keys.unproven(executor, lambda who: "key of a1", "GET", "/metrics", b"", time.time()) == ""
    assert keys.unproven(companion, lambda who: keys.companion_key("key", who), "GET", "/metrics", b"", time.time()) == ""


@pytest.mark.parametrize(
    ("status", "said"), [(404, "is of a version that counts nothing"), (401, "answers 401"), (500, "answers 500")]
)
@pytest.mark.parametrize("path", ["executors/127.0.0.1", "balancers/b1"])
def test_a_part_that_does_not_count_is_named(api: ApiClient, part: Part, path: str, status: int, said: str) -> None:
    part.status = status
    answer = api.get(f"/v2/metrics/{path}")
    assert answer.status_code == 503
    assert said in answer.json()["message"]


def test_a_part_that_is_away_is_named(api: ApiClient, part: Part) -> None:
    part.server.server_close()
    answer = api.get("/v2/metrics/balancers/b1")
    assert (answer.status_code, "the companion of balancer b1 does not answer" in answer.json()["message"]) == (503, True)


@pytest.mark.parametrize("path", ["executors/elsewhere", "balancers/b9"])
def test_a_part_that_is_not_there_is_a_404(api: ApiClient, path: str) -> None:
    assert api.get(f"/v2/metrics/{path}").status_code == 404
