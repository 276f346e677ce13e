"""Who served a request, as companions say it and the API hands it on: the companions are played, the core is the real one."""

from __future__ import annotations

from typing import Any

import pytest
from support.api import ApiClient, an_api
from support.builders import an_app, an_offer
from support.controller import FakeController

from eratos.common import names
from eratos.marathon.app import App
from eratos.scheduler.access.roles import Grant, Identity
from eratos.scheduler.api import caller, companions
from eratos.scheduler.api.controller import Balancer
from eratos.scheduler.core.events import PutApps

ID = "01a2213a-0536-7172-9390-a7928f894edc"  # made at 2026-11-28T08:16:20.278Z
MADE = "2026-11-28T08:16:20.278Z"
SILENT = "its companion at 10.0.0.9:9100 does not answer: refused"


def said(*requests: dict[str, Any], oldest: str | None = "2026-11-28T07:00:00.000Z", **settings: str) -> dict[str, Any]:
    return {"id": ID, "requests": list(requests), "oldest": oldest, "request_id": "keep", "log_requests": "failed", **settings}


def request(task: str, at: str = MADE, service: str = "shop", **more: Any) -> dict[str, Any]:
    served = {"at": at, "backend": service, "server": names.service_id(task) if task else "", "address": "10.0.0.1:31000"}
    times = {"status": 200, "queue_ms": 0, "connect_ms": 1, "answer_ms": 30, "total_ms": 34, "retries": 0, "ending": "----"}
    return served | times | more


class Rig:
    """An API whose balancers say what a test has them say."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.controller = FakeController()
        self.controller.submit(PutApps((self.app("/shop"), self.app("/bank", LOG_REQUESTS="5%"))))
        self.tasks = {task.partition(".")[0]: task for task in self.controller.launch(an_offer())}
        self.answers: list[dict[str, Any] | str] = []
        self.asked: list[str] = []
        monkeypatch.setattr(companions, "ask_all", self._ask_all)

    @staticmethod
    def app(app_id: str, **labels: str) -> App:
        return an_app(
            app_id, labels={"HAPROXY_GROUP": "external", **{f"ERATOS_0_{name}": value for name, value in labels.items()}}
        )

    async def _ask_all(self, balancers: Any, headers: Any, path: str) -> list[dict[str, Any] | str]:
        self.asked.append(path)
        assert len(balancers) == len(self.answers)
        return self.answers

    def who(self, *answers: dict[str, Any] | str, request_id: str = ID) -> dict[str, Any]:
        self.answers = list(answers)
        self.controller.registered = [Balancer(f"b{number}", "10.0.0.9", 9100, "") for number in range(1, len(answers) + 1)]
        answer = ApiClient(an_api(self.controller)).get(f"/v2/requests/{request_id}")
        assert answer.status_code == 200, answer.text
        return dict(answer.json())


@pytest.fixture
def rig(monkeypatch: pytest.MonkeyPatch) -> Rig:
    return Rig(monkeypatch)


def test_the_instance_is_named_with_its_agent(rig: Rig) -> None:
    task = rig.tasks["shop"]
    found = rig.who(said(), said(request(task)))
    assert rig.asked == [f"/requests/{ID}"]
    assert found["requests"] == [
        {
            **{"at": MADE, "balancer": "b2", "service": "shop", "app": "/shop", "task": task, "host": "host-a1", "agent": "a1"},
            **{"address": "10.0.0.1:31000", "status": 200, "queueMs": 0, "connectMs": 1, "answerMs": 30, "totalMs": 34},
            **{"retries": 0, "ending": "----"},
        }
    ]
    assert (found["id"], found["madeAt"], found["reasons"]) == (ID, MADE, [])
    assert [balancer["name"] for balancer in found["balancers"]] == ["b1", "b2"]


def test_an_instance_that_is_gone_is_found_in_what_happened(rig: Rig) -> None:
    task = rig.tasks["shop"]
    rig.controller.update(task, "RUNNING")
    rig.controller.update(task, "FAILED")
    assert task not in {instance.task_id for instance in rig.controller.machine.state.instances.values()}
    (row,) = rig.who(said(request(task)))["requests"]
    assert (row["app"], row["task"], row["host"], row["agent"]) == ("/shop", task, "host-a1", "a1")


def test_of_an_instance_that_nobody_remembers_the_address_is_left(rig: Rig) -> None:
    task = "shop.instance-before._app.1"
    found = rig.who(said(request(task)))
    (row,) = found["requests"]
    assert (row["app"], row["task"], row["host"], row["address"]) == ("/shop", task, None, "10.0.0.1:31000")
    assert found["reasons"] == [f"{task} is gone, and on which agent it was is not known any more"]


def test_a_later_attempt_of_the_instance_is_not_who_served(rig: Rig) -> None:
    task = rig.tasks["shop"].replace("._app.1", "._app.7")
    (row,) = rig.who(said(request(task)))["requests"]
    assert (row["app"], row["task"], row["host"]) == ("/shop", task, None)


@pytest.mark.parametrize(("service", "app"), [("shop", "/shop"), ("nobody-s", None)])
def test_a_request_that_no_instance_got_has_its_service(rig: Rig, service: str, app: str | None) -> None:
    found = rig.who(said(request("", service=service, status=503, address="", connect_ms=None)))
    (row,) = found["requests"]
    assert (row["app"], row["task"], row["address"], row["status"], row["connectMs"]) == (app, None, None, 503, None)
    assert found["reasons"] == []


def test_the_latest_of_several_with_one_id_comes_first(rig: Rig) -> None:
    task = rig.tasks["shop"]
    found = rig.who(said(request(task, "2026-01-02T00:00:00.000Z")), said(request(task, "2026-01-03T00:00:00.000Z")))
    assert [row["balancer"] for row in found["requests"]] == ["b2", "b1"]


def test_a_balancer_that_is_silent_is_named_whatever_others_say(rig: Rig) -> None:
    found = rig.who(said(request(rig.tasks["shop"])), SILENT)
    assert found["reasons"] == [f"what b2 knows cannot be said: {SILENT}"]
    assert found["balancers"][1] == {"name": "b2", "trouble": SILENT}


LABEL = "the label ERATOS_0_LOG_REQUESTS=all of an app"


@pytest.mark.parametrize(
    ("answer", "request_id", "words"),
    [
        (said(), ID, ["b1 logs requests that failed alone, where", LABEL]),
        (said(), "my-own-request", ["b1 logs requests that failed alone, where", LABEL]),
        (said(log_requests="5%"), ID, ["b1 logs 5% of the requests, and those that failed, where", LABEL]),
        (said(log_requests="all"), ID, ["b1 logs every request, where", LABEL]),
        (said(log_requests="all", oldest=None), ID, ["and got none with this id and no other either", LABEL]),
        (said(oldest="2026-11-28T09:00:00.000Z"), ID, [f"the id is of {MADE}, and the oldest request in the log of b1", LABEL]),
        (said(request_id="off"), ID, ["b1 gives requests no ids: its setting ERATOS_REQUEST_ID is off", LABEL]),
        (SILENT, ID, ["what b1 knows cannot be said"]),
        ("its companion answers 404: there is no GET", ID, ["there is no GET (it is of a version that knows no ids)"]),
    ],
)
def test_who_is_not_known_is_told_why_and_what_would_have_it_known(
    rig: Rig, answer: Any, request_id: str, words: list[str]
) -> None:
    found = rig.who(answer, request_id=request_id)
    assert found["requests"] == []
    assert len(found["reasons"]) == len(words)
    for reason, part in zip(found["reasons"], words, strict=True):
        assert part in reason
    if LABEL in words:
        assert found["reasons"][-1].endswith("now /bank states 5%")


def test_without_a_balancer_there_is_nobody_to_ask(rig: Rig) -> None:
    assert rig.who()["reasons"] == ["no balancer is known that could be asked: none is registered in Consul"]
    rig.controller.deaf = "no agent answers"
    assert rig.who()["reasons"] == ["no balancer is known that could be asked: no agent answers"]


@pytest.mark.parametrize(
    "path", ["short", "x" * 65, "x" * 2000, "%3Cscript%3Ealert(1)", "request%0A-one", "request%00-one", "request%2F-one"]
)
def test_what_is_no_id_is_asked_of_nobody(rig: Rig, path: str) -> None:
    answer = ApiClient(an_api(rig.controller)).get(f"/v2/requests/{path}")
    assert answer.status_code in (404, 414, 422)
    assert "script" not in answer.text
    assert rig.asked == []


def test_who_may_view_one_app_hears_of_its_requests_alone(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    identity = Identity("anna", (Grant.parse("view:/shop"),))
    monkeypatch.setattr(caller, "of", lambda request: caller.Caller(identity))
    both = said(request(rig.tasks["shop"]), request(rig.tasks["bank"], service="bank"), request("", service="nobody-s"))
    assert [row["app"] for row in rig.who(both)["requests"]] == ["/shop"]
    found = rig.who(said(request(rig.tasks["bank"], service="bank")))
    assert found["requests"] == []
    assert found["reasons"][-1] == "a request to an app that you may not view is not shown"
    assert "/bank" not in str(found["reasons"])


@pytest.mark.parametrize(
    "strange", [{}, {"requests": None}, {"requests": [1, {}]}, {"requests": [request("") | {"status": "x", "at": 1}]}]
)
def test_a_companion_that_says_something_strange_does_no_harm(rig: Rig, strange: dict[str, Any]) -> None:
    rig.who(strange)


def test_an_id_may_claim_any_moment(rig: Rig) -> None:
    assert rig.who(said(), request_id="ffffffff-ffff-7172-9390-a7928f894edc")["madeAt"] == "9999-12-31T23:59:59.999Z"
