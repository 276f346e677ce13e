"""Tasks, groups, the queue, deployments, followers: the rest of /v2."""

from __future__ import annotations

import threading
import urllib.request
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from support.api import ApiClient, an_api
from support.builders import an_app, an_offer
from support.controller import FakeController, running

from eratos.common.errors import FatalError
from eratos.scheduler.api.server import ApiServer
from eratos.scheduler.core.events import NotSubscribed, PutApps


def group(**fields: Any) -> dict[str, Any]:
    container = {"docker": {"image": "x"}}
    return {
        "id": "/shop",
        "apps": [{"id": "cart", "container": container}],
        "groups": [{"id": "data", "apps": [{"id": "db", "container": container}]}],
    } | fields


# Tasks


def test_tasks_are_listed_by_app_and_by_status(api: ApiClient, controller: FakeController) -> None:
    tasks = running(controller, an_app("/a"), an_app("/b"))
    assert sorted(task["id"] for task in api.get("/v2/tasks").json()["tasks"]) == tasks
    assert [task["appId"] for task in api.get("/v2/apps/a/tasks").json()["tasks"]] == ["/a"]
    assert api.get("/v2/tasks?status=staging").json() == {"tasks": []}
    assert len(api.get("/v2/tasks?status[]=running").json()["tasks"]) == 2


def test_tasks_are_listed_as_lines_for_load_balancer_scripts(api: ApiClient, controller: FakeController) -> None:
    running(controller, an_app("/shop/cart"))
    port = next(iter(controller.machine.state.instances.values())).ports[0]
    answer = api.get("/v2/tasks", headers={"Accept": "text/plain"})
    assert answer.text == f"shop_cart\t0\thost-a1:{port}\n"


def test_a_killed_task_is_answered_and_replaced(api: ApiClient, controller: FakeController) -> None:
    (task,) = running(controller, an_app("/a"))
    assert api.delete(f"/v2/apps/a/tasks/{task}").json()["task"]["id"] == task
    assert controller.machine.state.apps["/a"].instances == 1
    assert api.get("/v2/apps/a/tasks").json()["tasks"][0]["state"] == "TASK_KILLING"


def test_killing_tasks_with_scale_lowers_the_number_wanted(api: ApiClient, controller: FakeController) -> None:
    tasks = running(controller, an_app("/a", 3))
    answer = api.post("/v2/tasks/delete?scale=true", json={"ids": tasks[:2]})
    assert set(answer.json()) == {"version", "deploymentId"}
    assert controller.machine.state.apps["/a"].instances == 1


def test_an_apps_tasks_are_killed_by_host(api: ApiClient, controller: FakeController) -> None:
    running(controller, an_app("/a", 2))
    assert api.delete("/v2/apps/a/tasks?host=elsewhere").json() == {"tasks": []}
    assert len(api.delete("/v2/apps/a/tasks?host=host-a1").json()["tasks"]) == 2


def test_an_unknown_task_is_not_found(api: ApiClient, controller: FakeController) -> None:
    running(controller, an_app("/a"))
    assert api.delete("/v2/apps/a/tasks/a.instance-x._app.1").status_code == 404
    assert api.delete("/v2/apps/b/tasks/a.instance-x._app.1").status_code == 404
    assert api.post("/v2/tasks/delete", json={"ids": "all"}).status_code == 422


# Groups


def test_a_group_creates_its_apps_and_is_shown_as_a_tree(api: ApiClient) -> None:
    assert api.post("/v2/groups", json=group()).status_code == 201
    shown = api.get("/v2/groups").json()["groups"][0]
    assert (shown["id"], [app["id"] for app in shown["apps"]]) == ("/shop", ["/shop/cart"])
    assert [app["id"] for app in shown["groups"][0]["apps"]] == ["/shop/data/db"]
    assert api.get("/v2/groups/shop/data").json()["id"] == "/shop/data"
    assert api.get("/v2/groups/nosuch").status_code == 404
    assert api.post("/v2/groups", json=group()).status_code == 409


def test_a_put_group_deletes_the_apps_that_its_lists_no_longer_hold(api: ApiClient, controller: FakeController) -> None:
    api.put("/v2/groups", json=group())
    api.post("/v2/apps", json={"id": "/other", "container": {"docker": {"image": "x"}}})
    assert api.put("/v2/groups", json=group(apps=[])).status_code == 200
    assert sorted(controller.machine.state.apps) == ["/other", "/shop/data/db"]
    without_groups = group()
    del without_groups["groups"]
    api.put("/v2/groups", json=without_groups)
    assert sorted(controller.machine.state.apps) == ["/other", "/shop/cart", "/shop/data/db"]
    api.put("/v2/groups", json=group(groups=[]))
    assert sorted(controller.machine.state.apps) == ["/other", "/shop/cart"]


def test_a_dry_run_says_what_would_happen_and_does_nothing(api: ApiClient, controller: FakeController) -> None:
    api.put("/v2/groups", json=group())
    changed = group(groups=[])
    changed["apps"][0]["instances"] = 3
    steps = api.put("/v2/groups?dryRun=true", json=changed).json()["steps"]
    assert [step["actions"][0] for step in steps] == [
        {"action": "StopApplication", "app": "/shop/data/db"},
        {"action": "ScaleApplication", "app": "/shop/cart"},
    ]
    assert controller.machine.state.apps["/shop/cart"].instances == 1


def test_a_group_is_scaled_by_a_factor(api: ApiClient, controller: FakeController) -> None:
    api.put("/v2/groups", json=group())
    assert api.put("/v2/groups/shop", json={"scaleBy": 2.5}).status_code == 200
    assert {app.instances for app in controller.machine.state.apps.values()} == {3}
    assert api.put("/v2/groups/shop", json={"scaleBy": -1}).status_code == 422


def test_a_deleted_group_takes_its_apps_along_and_the_root_needs_force(api: ApiClient, controller: FakeController) -> None:
    api.put("/v2/groups", json=group())
    assert api.delete("/v2/groups").status_code == 422
    assert api.delete("/v2/groups/shop/data").status_code == 200
    assert sorted(controller.machine.state.apps) == ["/shop/cart"]
    assert api.delete("/v2/groups?force=true").status_code == 200
    assert not controller.machine.state.apps


def test_problems_in_a_group_name_the_app_in_it(api: ApiClient) -> None:
    bad = group()
    bad["groups"][0]["apps"][0]["mem"] = -1
    details = api.put("/v2/groups", json=bad).json()["details"]
    assert [detail["path"] for detail in details] == ["/groups(0)/apps(0)/mem"]


# The queue and deployments


def test_the_queue_says_that_no_agent_is_large_enough(api: ApiClient, controller: FakeController) -> None:
    controller.submit(PutApps((an_app("/huge", cpus=64),)))
    controller.launch(an_offer("a1", cpus=4), an_offer("a2", cpus=8))
    (item,) = api.get("/v2/queue?embed=lastUnusedOffers").json()["queue"]
    assert (item["app"]["id"], item["count"]) == ("/huge", 1)
    assert item["waiting"]["reason"] == "NoFittingOffer"
    assert "2 x InsufficientCpus" in item["waiting"]["message"]
    assert "host-a2" in item["waiting"]["message"], "the nearest offer is named"
    funnel = item["processedOffersSummary"]["rejectSummaryLastOffers"]
    assert {"reason": "InsufficientCpus", "declined": 2, "processed": 2} in funnel
    assert {offer["offer"]["hostname"] for offer in item["lastUnusedOffers"]} == {"host-a1", "host-a2"}


def test_the_queue_says_how_long_a_failed_app_waits(api: ApiClient, controller: FakeController) -> None:
    (task,) = running(controller, an_app("/sick", backoffSeconds=30))
    controller.update(task, "FAILED", message="no such file")
    (item,) = api.get("/v2/queue").json()["queue"]
    assert item["delay"] == {"timeLeftSeconds": 30, "overdue": False}
    assert "no such file" in item["waiting"]["message"]
    assert "30 s" in item["waiting"]["message"]
    assert api.delete("/v2/queue/sick/delay").status_code == 204
    (item,) = api.get("/v2/queue").json()["queue"]
    assert item["delay"] == {"timeLeftSeconds": 0, "overdue": True}
    assert api.delete("/v2/queue/none/delay").status_code == 404


def test_the_queue_says_that_there_is_no_master(api: ApiClient, controller: FakeController) -> None:
    controller.submit(PutApps((an_app("/a"),)))
    assert "no connection to a Mesos master" in api.get("/v2/queue").json()["queue"][0]["waiting"]["message"]
    controller.handle(NotSubscribed("m1:5050: SUBSCRIBE was answered with 401: (nothing)"))
    assert "answered with 401" in api.get("/v2/queue").json()["queue"][0]["waiting"]["message"]


def test_a_deployment_is_listed_until_it_is_done(api: ApiClient, controller: FakeController) -> None:
    deployment = api.put("/v2/apps/a", json=an_app("/a").to_json()).json()["deploymentId"]
    assert [(d["id"], d["affectedApps"]) for d in api.get("/v2/deployments").json()] == [(deployment, ["/a"])]
    (task,) = controller.launch(an_offer())
    controller.update(task, "RUNNING")
    assert api.get("/v2/deployments").json() == []


# The process


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "DELETE"])
@pytest.mark.parametrize("path", ["/v2/artifacts/a/b", "/v2/eventSubscriptions"])
def test_what_eratos_has_not_is_not_found_and_the_reason_said(api: ApiClient, path: str, method: str) -> None:
    # Never a 5xx: clients such as go-marathon take one for a dead host, and leave it alone.
    answer = api.request(method, path)
    assert answer.status_code == 404
    assert "eratos" in answer.json()["message"]


def test_an_unknown_address_and_method_are_answered_in_marathons_form(api: ApiClient) -> None:
    assert "Not Found" in api.get("/v3/apps").json()["message"]
    assert api.put("/v2/info").status_code == 405


def test_metrics_count_instances_by_state(api: ApiClient, controller: FakeController) -> None:
    running(controller, an_app("/a", 2))
    text = api.get("/metrics/prometheus").text
    assert 'eratos_instances{app="/a",state="TASK_RUNNING"} 2.0' in text
    assert 'eratos_app_instances_ready{app="/a"} 2.0' in text
    assert "eratos_leader 1.0" in text


def test_an_unavailable_core_is_a_503_with_the_reason(api: ApiClient, controller: FakeController) -> None:
    controller.down = "the store is away"
    answer = api.get("/v2/apps")
    assert (answer.status_code, answer.json()["message"]) == (503, "the store is away")
    assert answer.headers["retry-after"] == "1"
    assert api.get("/ping").status_code == 200
    assert api.get("/metrics").status_code == 200


def test_a_bug_is_a_500_that_says_so(controller: FakeController, caplog: pytest.LogCaptureFixture) -> None:
    controller.read = None  # type: ignore[assignment, method-assign]
    api = ApiClient(an_api(controller))
    answer = api.get("/v2/apps")
    assert answer.status_code == 500
    assert "report" in answer.json()["message"]
    assert "report this as a bug" in caplog.text


# Followers


class _Leader(BaseHTTPRequestHandler):
    """Plays the leader: answers with what it was asked."""

    protocol_version = "HTTP/1.1"

    def _answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        text = f"{self.command} {self.path} {self.headers['X-Marathon-Via']} {body.decode()}".encode()
        self.send_response(418)
        self.send_header("Content-Length", str(len(text)))
        self.send_header("Marathon-Deployment-Id", "d1")
        self.end_headers()
        self.wfile.write(text)

    do_GET = do_POST = do_DELETE = _answer  # noqa: N815

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def leader() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), _Leader) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


def follower(leader: str | None) -> ApiClient:
    return ApiClient(an_api(FakeController(is_leader=False, leader=leader)))


def test_a_follower_hands_requests_on_whole_and_the_answer_back(leader: str) -> None:
    api = follower(leader)
    answer = api.post("/v2/apps//a%20b?force=true", content=b"{}")
    assert answer.status_code == 418
    assert answer.text == "POST /v2/apps//a%20b?force=true 1.1 eratos {}"
    assert answer.headers["marathon-deployment-id"] == "d1"
    assert answer.headers["x-marathon-leader"] == leader
    assert api.get("/v2/tasks").status_code == 418


def test_a_follower_speaks_for_itself_of_itself(leader: str) -> None:
    api = follower(leader)
    local = ("/ping", "/v2/info", "/v2/leader", "/v2/plugins", "/metrics", "/config", "/logging")
    assert [api.get(path).status_code for path in local] == [200] * len(local)
    assert api.delete("/v2/leader").status_code == 418
    assert "eratos_leader 0.0" in api.get("/metrics/prometheus").text


def test_a_follower_without_a_leader_says_so() -> None:
    api = follower(None)
    answer = api.get("/v2/apps")
    assert (answer.status_code, "no leader" in answer.json()["message"]) == (503, True)
    assert "retry-after" in answer.headers
    assert api.get("/v2/leader").status_code == 404


def test_a_follower_names_a_leader_that_does_not_answer(leader: str) -> None:
    answer = follower("http://127.0.0.1:1").get("/v2/apps")
    assert (answer.status_code, "does not answer" in answer.json()["message"]) == (503, True)


def test_a_request_is_not_handed_on_twice(leader: str) -> None:
    answer = follower(leader).get("/v2/apps", headers={"X-Marathon-Via": "1.1 other"})
    assert (answer.status_code, "try again" in answer.json()["message"]) == (503, True)


# The server


def test_the_server_serves_until_stopped_and_says_when_the_port_is_taken(controller: FakeController) -> None:
    server = ApiServer(an_api(controller), "127.0.0.1", 0)
    server.start()
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{server.port}/ping") as answer:
            assert answer.read() == b"pong"
        with pytest.raises(FatalError, match="port taken"):
            ApiServer(an_api(controller), "127.0.0.1", server.port).start()
    finally:
        server.stop()
