"""How an app with one instance on each host is shown and changed: over the API, and by the command line."""

from __future__ import annotations

from typing import Any

import pytest
from support import api as over_api
from support.api import ApiClient, an_api
from support.builders import an_app, an_offer
from support.controller import FakeController

from eratos.cli.main import run
from eratos.cli.output import Output
from eratos.cli.session import Session
from eratos.marathon.client import MarathonClient
from eratos.scheduler.core import per_host
from eratos.scheduler.core.events import OffersReceived, PutApps, Tick

EACH = an_app("/ops/each", eratos={"perHost": True})


@pytest.fixture
def three(controller: FakeController) -> FakeController:
    """Three hosts of four have one, and the fourth has no room for it."""
    controller.submit(PutApps((EACH,)))
    for task in controller.launch(*(an_offer(f"a{n}") for n in range(3)), an_offer("a3", cpus=0.01)):
        agent = controller.machine.state.instances[task.rpartition("._app.")[0]].agent_id
        controller.update(task, "RUNNING", agent=agent)
    controller.now += per_host.SILENT_S + 1
    controller.handle(Tick())
    return controller


def a_session(controller: FakeController) -> Session:
    return Session(MarathonClient("http://api.test", session=over_api.session(an_api(controller))), Output())


def test_hosts_say_how_many_are_wanted(api: ApiClient, three: FakeController) -> None:
    app = api.get("/v2/apps/ops/each").json()["app"]
    assert (app["instances"], app["tasksWanted"], app["tasksRunning"]) == (1, 3, 3)
    assert app["deployments"] == [], "a host without room is not waited for"
    (shown,) = api.get("/v2/overview").json()["apps"]
    assert (shown["instances"], shown["perHost"], shown["atRest"]) == (3, True, True)
    assert 'eratos_app_instances_wanted{app="/ops/each"} 3.0' in api.get("/metrics/prometheus").text
    # What was read can be put back.
    assert api.put("/v2/apps/ops/each", json=app).status_code == 200


def test_explain_names_each_host_without_one(api: ApiClient, three: FakeController) -> None:
    found = api.get("/v2/apps/ops/each/explain").json()
    assert (found["atRest"], found["ready"], found["wanted"]) == (True, 3, 3)
    message = "cpus: 0.1 wanted, 0.01 free on host-a3"
    assert found["hosts"] == {"without": [{"host": "host-a3", "reason": "InsufficientCpus", "message": message}], "more": 0}
    assert "hosts" not in api.get("/v2/apps/none/explain").json()


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "said"),
    [
        ("PUT", "/v2/apps/ops/each", {"instances": 5}, 422, "it must be 1, for one on each host, or 0 for none"),
        ("DELETE", "/v2/apps/ops/each/tasks?scale=true", None, 409, "has one instance on each host"),
    ],
)
def test_no_other_number_can_be_asked_for(
    api: ApiClient, three: FakeController, method: str, path: str, body: Any, status: int, said: str
) -> None:
    answer = api.request(method, path, json=body)
    assert answer.status_code == status and said in answer.text


def test_a_group_that_is_scaled_leaves_it_as_it_is(api: ApiClient, three: FakeController) -> None:
    three.submit(PutApps((an_app("/ops/web", 2),)))
    assert api.put("/v2/groups/ops", json={"scaleBy": 2}).status_code == 200
    apps = three.machine.state.apps
    assert (apps["/ops/web"].instances, apps["/ops/each"].instances) == (4, 1)
    api.put("/v2/groups/ops", json={"scaleBy": 0})
    assert three.machine.state.apps["/ops/each"].instances == 0


def test_a_dry_run_counts_the_hosts(api: ApiClient, three: FakeController) -> None:
    effects = api.put("/v2/apps/ops/each?dryRun=true", json={"cmd": "new"}).json()["eratos"]["apps"]
    assert effects["/ops/each"] | {"version": ""} == {"version": "", "starts": 4, "stops": 4, "keeps": 0}


def test_the_command_line_counts_hosts(three: FakeController, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["app", "list"], a_session(three)) == 0
    assert "3/3" in capsys.readouterr().out
    assert run(["app", "show", "/ops/each"], a_session(three)) == 0
    assert "3 of 3 hosts, one on each, running" in capsys.readouterr().out
    assert run(["app", "wait", "/ops/each"], a_session(three)) == 0
    capsys.readouterr()
    assert run(["app", "explain", "/ops/each"], a_session(three)) == 0
    out = capsys.readouterr().out
    assert "/ops/each is at rest: 3 of 3 ready" in out and "host-a3" in out and "InsufficientCpus" in out
    assert run(["app", "scale", "/ops/each", "5"], a_session(three)) == 1
    assert "hosts decide how many" in capsys.readouterr().err


def test_a_host_that_joins_is_one_more(api: ApiClient, three: FakeController) -> None:
    three.handle(OffersReceived((an_offer("a9"),)))
    assert api.get("/v2/apps/ops/each").json()["app"]["tasksWanted"] == 4
