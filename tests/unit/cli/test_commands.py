"""The ``eratos`` command against the real API and core, without sockets."""

from __future__ import annotations

import importlib.metadata
import io
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from support import api
from support.builders import an_app, an_offer
from support.controller import FakeController

from eratos.cli import tasks, views, wait
from eratos.cli.main import run
from eratos.cli.output import Output
from eratos.cli.session import Session
from eratos.marathon.client import Login, MarathonClient, Refused
from eratos.scheduler.core.events import OffersReceived, PutApps, Tick
from eratos.scheduler.core.gates import Counted

URL = "http://api.test"


@pytest.fixture
def controller() -> FakeController:
    return FakeController()


@pytest.fixture
def session(controller: FakeController) -> Session:
    return a_session(controller)


def a_session(controller: FakeController, *, as_json: bool = False, sleep: Callable[[float], None] | None = None) -> Session:
    def no_sleep(_: float) -> None:
        raise AssertionError("nobody should wait here")

    client = MarathonClient(URL, session=api.session(api.an_api(controller)))
    return Session(client, Output("json" if as_json else "table"), clock=lambda: controller.now, sleep=sleep or no_sleep)


def running(controller: FakeController, *apps: Any) -> list[str]:
    controller.submit(PutApps(apps))
    tasks = controller.launch(an_offer())
    for task in tasks:
        controller.update(task, "RUNNING")
    return tasks


def write(folder: Path, name: str, content: Any) -> str:
    path = folder / name
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return str(path)


CONTAINER = {"docker": {"image": "x"}}


def test_apply_creates_an_app_from_json(session: Session, controller: FakeController, tmp_path: Path) -> None:
    assert run(["app", "apply", write(tmp_path, "a.json", {"id": "/a", "container": CONTAINER})], session) == 0
    assert controller.machine.state.apps["/a"].image == "x"


def test_apply_reads_yaml_with_several_documents(session: Session, controller: FakeController, tmp_path: Path) -> None:
    first = "id: /a\ncontainer: {docker: {image: x}}\nversion: 2026-01-01T00:00:00Z\n"
    text = first + "---\n- {id: /b, container: {docker: {image: y}}}\n"
    assert run(["app", "apply", write(tmp_path, "a.yaml", text)], session) == 0
    assert sorted(controller.machine.state.apps) == ["/a", "/b"]


def test_keys_of_yaml_are_the_text_that_stands_there(session: Session, controller: FakeController, tmp_path: Path) -> None:
    text = """
id: /a
container: {docker: {image: x}}
env: &env
  ON: "1"
  no: "2"
  8080: "3"
  2026-01-01: "4"
labels:
  <<: *env
  ON: "5"
"""
    assert run(["app", "apply", write(tmp_path, "a.yaml", text)], session) == 0
    app = controller.machine.state.apps["/a"]
    assert app.env == {"ON": "1", "no": "2", "8080": "3", "2026-01-01": "4"}
    assert app.labels == {"ON": "5", "no": "2", "8080": "3", "2026-01-01": "4"}


@pytest.mark.parametrize("text", ['{"id": "/a", "env": {"A": "1", "A": "2"}}', "id: /a\nenv:\n  A: '1'\n  A: '2'\n"])
def test_a_key_that_stands_twice_is_wrong_usage(
    session: Session, tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str
) -> None:
    assert run(["app", "apply", write(tmp_path, "a.json", text)], session) == 2
    assert "'A' stands twice" in capsys.readouterr().err


def test_apply_takes_a_group_for_what_it_is(session: Session, controller: FakeController, tmp_path: Path) -> None:
    group = {"id": "shop", "apps": [{"id": "cart", "container": CONTAINER}], "groups": [{"id": "x", "apps": []}]}
    assert run(["app", "apply", write(tmp_path, "g.json", group)], session) == 0
    assert sorted(controller.machine.state.apps) == ["/shop/cart"]


def test_apply_makes_the_app_what_the_file_says(session: Session, controller: FakeController, tmp_path: Path) -> None:
    controller.submit(PutApps((an_app("/a", env={"OLD": "1"}),)))
    run(["app", "apply", write(tmp_path, "a.json", {"id": "/a", "container": CONTAINER})], session)
    app = controller.machine.state.apps["/a"]
    assert (app.env, app.image) == ({}, "x")


@pytest.mark.parametrize("wrap", [lambda app: app, lambda app: [app], lambda app: {"id": "/", "apps": [app]}])
def test_apply_keeps_the_number_of_instances_that_a_file_leaves_out(
    session: Session, controller: FakeController, tmp_path: Path, wrap: Callable[[Any], Any]
) -> None:
    controller.submit(PutApps((an_app("/a", 7),)))
    assert run(["app", "apply", write(tmp_path, "a.json", wrap({"id": "/a", "container": CONTAINER}))], session) == 0
    assert controller.machine.state.apps["/a"].instances == 7


@pytest.mark.parametrize(("there", "kept"), [(7, 5), (4, 4), (2, 3), (0, 0)])
@pytest.mark.parametrize("wrap", [lambda app: app, lambda app: {"id": "/", "apps": [app]}])
def test_apply_keeps_the_number_that_autoscaling_has_come_to_within_its_new_bounds(
    session: Session, controller: FakeController, tmp_path: Path, wrap: Callable[[Any], Any], there: int, kept: int
) -> None:
    policy = {"autoscale": {"min": 3, "max": 5, "target": {"requestsPerSecond": 9}}}
    routed = {"labels": {"HAPROXY_0_VHOST": "a.test"}}
    controller.submit(PutApps((an_app("/a", there, **routed),)))
    file = {**an_app("/a", **routed).to_json(), "eratos": policy}
    del file["instances"]
    assert run(["app", "apply", write(tmp_path, "a.json", wrap(file))], session) == 0
    assert controller.machine.state.apps["/a"].instances == kept


def test_a_refused_definition_is_shown_field_by_field(
    session: Session, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bad = {"id": "/a", "container": CONTAINER, "cpu": 1, "residency": {"a": 1}, "mem": "lots"}
    assert run(["app", "apply", write(tmp_path, "a.json", bad)], session) == 1
    shown = capsys.readouterr().err
    assert "did you mean cpus?" in shown
    assert "/residency" in shown
    assert "/mem" in shown


@pytest.mark.parametrize("content", ["{", "", "5", '{"cpus": 1}', '{"id": "/A B"}', "a:\n\t- b"])
def test_a_file_without_a_definition_is_wrong_usage(session: Session, tmp_path: Path, content: str) -> None:
    assert run(["app", "apply", write(tmp_path, "a.json", content)], session) == 2


@pytest.mark.parametrize(("content", "what"), [("5", "a number"), ("// x\nhello", "text"), ("true", "a truth value")])
def test_what_a_file_holds_instead_is_told_in_words(
    session: Session, tmp_path: Path, capsys: pytest.CaptureFixture[str], content: str, what: str
) -> None:
    assert run(["app", "apply", write(tmp_path, "app.yaml", content)], session) == 2
    assert f"holds {what} instead of an app" in capsys.readouterr().err


def test_nothing_is_sent_while_one_file_cannot_be_read(session: Session, controller: FakeController, tmp_path: Path) -> None:
    good = write(tmp_path, "a.json", {"id": "/a", "container": CONTAINER})
    assert run(["app", "apply", good, str(tmp_path / "nosuch")], session) == 2
    assert not controller.machine.state.apps


def test_a_dry_run_shows_changes_and_makes_none(
    session: Session, controller: FakeController, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    controller.submit(PutApps((an_app("/a"), an_app("/same"))))
    same = controller.machine.state.apps["/same"].to_json()
    changed = an_app("/a", mem=64).to_json()
    path = write(tmp_path, "a.json", [changed, same, {"id": "/b", "container": CONTAINER}])
    assert run(["app", "apply", "--dry-run", path], session) == 0
    assert capsys.readouterr().out.splitlines() == ["/a: mem: 32.0 -> 64.0", "/same: no change", "/b: new"]
    assert sorted(controller.machine.state.apps) == ["/a", "/same"]


def test_apply_waits_until_the_instances_are_healthy_and_says_why_not_yet(
    controller: FakeController, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    steps: list[Callable[[], Any]] = [
        lambda: controller.launch(an_offer(cpus=0.5)),
        lambda: controller.launch(an_offer(cpus=4)),
        lambda: [controller.update(task, "RUNNING") for task in tasks()],
        lambda: [controller.update(task, "RUNNING", healthy=True, uuid="u") for task in tasks()],
    ]

    def tasks() -> list[str]:
        return [i.task_id for i in controller.machine.state.instances.values() if not i.waiting]

    session = a_session(controller, sleep=lambda _: steps.pop(0)())
    app = {"id": "/a", "instances": 2, "cpus": 1, "container": CONTAINER, "healthChecks": [{"protocol": "TCP"}]}
    assert run(["app", "apply", "--wait", write(tmp_path, "a.json", app)], session) == 0
    assert not steps
    lines = capsys.readouterr().err
    assert "no connection to a Mesos master" in lines
    assert "InsufficientCpus" in lines
    assert "2/2 running, 0 healthy" in lines
    assert "/a ready, 2/2 running, 2 healthy" in lines


def test_waiting_ends_with_a_failure_when_the_time_is_over(
    controller: FakeController, capsys: pytest.CaptureFixture[str]
) -> None:
    controller.submit(PutApps((an_app("/a"),)))

    def sleep(seconds: float) -> None:
        controller.now += seconds

    assert run(["app", "scale", "/a", "3", "--wait", "--timeout", "5"], a_session(controller, sleep=sleep)) == 1
    assert "not ready after 5 s: /a" in capsys.readouterr().err


def test_waiting_for_a_stop_says_what_holds_it_up(controller: FakeController, capsys: pytest.CaptureFixture[str]) -> None:
    (task,) = running(controller, an_app("/a"))
    steps: list[Callable[[], Any]] = [
        lambda: controller.update(task, "KILLING", message="drained for 10 s at most: balancer1 still uses it"),
        lambda: controller.update(task, "KILLED", uuid="u"),
    ]
    session = a_session(controller, sleep=lambda _: steps.pop(0)())
    assert run(["app", "scale", "/a", "0", "--wait"], session) == 0
    assert "balancer1 still uses it" in capsys.readouterr().err


def test_a_countdown_is_told_once(controller: FakeController, capsys: pytest.CaptureFixture[str]) -> None:
    (task,) = running(controller, an_app("/a"))
    controller.update(task, "FAILED")

    def sleep(seconds: float) -> None:
        controller.now += seconds

    assert run(["app", "scale", "/a", "1", "--wait", "--timeout", "5"], a_session(controller, sleep=sleep)) == 1
    assert capsys.readouterr().err.count("next launch in") == 1


def test_waiting_outlives_a_change_of_leaders(controller: FakeController) -> None:
    (task,) = running(controller, an_app("/a"))
    steps = [lambda: setattr(controller, "down", "no leader"), lambda: setattr(controller, "down", "")]
    steps.append(lambda: [controller.update(t, "RUNNING") for t in controller.launch(an_offer()) if t != task])
    session = a_session(controller, sleep=lambda _: steps.pop(0)())
    assert run(["app", "scale", "/a", "2", "--wait"], session) == 0


def test_a_new_leader_that_knows_no_deployment_does_not_end_the_wait(controller: FakeController) -> None:
    """In the midst of a rolling restart the counts may be right; only the old instances tell that it goes on."""
    controller.submit(PutApps((an_app("/a", 2),)))
    for task in controller.launch(an_offer()):
        controller.update(task, "RUNNING")
    old = set(controller.machine.state.instances)
    left = 100

    def sleep(seconds: float) -> None:
        nonlocal left
        left -= 1
        assert left, "it never ends"
        controller.now += 10
        controller.forget_deployments()  # as of a leader elected since
        controller.launch(an_offer())
        for instance in list(controller.machine.state.instances.values()):
            if instance.stopping:
                controller.update(instance.task_id, "KILLED", uuid="k")
            elif not instance.waiting:
                controller.update(instance.task_id, "RUNNING", uuid=f"r{left}")

    assert run(["app", "restart", "/a", "--wait"], a_session(controller, sleep=sleep)) == 0
    assert not old & set(controller.machine.state.instances), "it was done while old instances ran"


def test_a_change_is_made_once_somebody_leads(controller: FakeController, capsys: pytest.CaptureFixture[str]) -> None:
    (task,) = running(controller, an_app("/a"))
    controller.is_leader, controller._leader = False, None
    steps: list[Callable[[], Any]] = [
        lambda: None,
        lambda: setattr(controller, "is_leader", True),
        lambda: [controller.update(t, "RUNNING") for t in controller.launch(an_offer()) if t != task],
    ]
    session = a_session(controller, sleep=lambda _: steps.pop(0)())
    assert run(["app", "scale", "/a", "2", "--wait"], session) == 0
    assert not steps
    assert capsys.readouterr().err.count("still waiting: there is no leader yet") == 1


def test_a_change_without_wait_says_at_once_that_nobody_leads(
    session: Session, controller: FakeController, capsys: pytest.CaptureFixture[str]
) -> None:
    controller.is_leader, controller._leader = False, None
    assert run(["app", "restart", "/a"], session) == 1
    told = capsys.readouterr().err
    assert "there is no leader yet" in told
    assert "may have been made" not in told


def test_a_change_in_doubt_is_not_made_twice(controller: FakeController, capsys: pytest.CaptureFixture[str]) -> None:
    running(controller, an_app("/a"))
    session = a_session(controller)  # which nobody waits with
    session.client.app = lambda app_id: {}  # type: ignore[method-assign]
    controller.down = "the change was not stored within 20 s and may still be made: is the store reachable?"
    assert run(["app", "scale", "/a", "2", "--wait"], session) == 1
    assert "may still be made" in capsys.readouterr().err


def test_an_app_deleted_meanwhile_is_not_ready(controller: FakeController, capsys: pytest.CaptureFixture[str]) -> None:
    controller.submit(PutApps((an_app("/a"),)))
    session = a_session(controller, sleep=lambda _: controller.machine.state.apps.clear())
    assert run(["app", "scale", "/a", "2", "--wait"], session) == 1
    assert "/a is not there: it never was, or it was deleted meanwhile" in capsys.readouterr().err


def test_an_interrupted_wait_says_how_to_go_on(controller: FakeController, capsys: pytest.CaptureFixture[str]) -> None:
    (task,) = running(controller, an_app("/a"))

    def interrupt(_: float) -> None:
        raise KeyboardInterrupt

    assert run(["app", "scale", "/a", "2", "--wait"], a_session(controller, sleep=interrupt)) == 130
    assert "the change goes on; wait again with: eratos app wait /a" in capsys.readouterr().err
    steps = [lambda: [controller.update(t, "RUNNING") for t in controller.launch(an_offer()) if t != task]]
    assert run(["app", "wait", "/a"], a_session(controller, sleep=lambda _: steps.pop(0)())) == 0
    assert run(["app", "wait", "/no"], a_session(controller)) == 1


def test_an_app_that_keeps_failing_is_not_at_rest(
    session: Session, controller: FakeController, capsys: pytest.CaptureFixture[str]
) -> None:
    (task,) = running(controller, an_app("/a"))
    controller.forget_deployments()
    assert run(["app", "show", "/a"], session) == 0
    assert "  at rest" in capsys.readouterr().out
    controller.update(task, "FAILED", uuid="f")
    for command in (["app", "show", "/a"], ["app", "list"]):
        assert run(command, session) == 0
        assert "not at rest" in capsys.readouterr().out


def test_short_ids_name_tasks(controller: FakeController, capsys: pytest.CaptureFixture[str]) -> None:
    (task,) = running(controller, an_app("/a"))
    session = a_session(controller)
    session.out.width = 80
    assert run(["task", "list"], session) == 0
    name = capsys.readouterr().out.splitlines()[1].split()[0]
    assert name == tasks.short(task) != task
    assert run(["task", "kill", name, "--scale"], session) == 0
    assert controller.machine.state.apps["/a"].instances == 0


def test_a_short_id_of_two_tasks_is_refused(session: Session) -> None:
    class Twins:
        def tasks(self) -> list[dict[str, str]]:
            return [{"id": f"a.instance-12345678-{number}._app.1"} for number in (1, 2)]

    with pytest.raises(Refused, match=r"short for several tasks.*12345678-1.*12345678-2"):
        tasks.whole(Twins(), ["a.12345678.1"])  # type: ignore[arg-type]
    assert tasks.whole(Twins(), ["a.instance-12345678-2._app.1", "x.12345678.1"]) == [  # type: ignore[arg-type]
        "a.instance-12345678-2._app.1",
        "x.12345678.1",
    ]


def complete(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *words: str) -> list[str]:
    line = ["eratos", *words]
    for name, value in {"_ERATOS_COMPLETE": "bash_complete", "COMP_WORDS": "\n".join(line), "COMP_CWORD": len(line) - 1}.items():
        monkeypatch.setenv(name, str(value))
    run([])
    # Each line has the kind of completion before it.
    return [line.partition(",")[2] for line in capsys.readouterr().out.split()]


@pytest.mark.parametrize(
    ("words", "completed"),
    [
        (("app", "show", "/pr"), ["/prime"]),
        (("app", "scale", "/"), ["/prime", "/shop/cart"]),
        (("app", "delete", "/prime", "/s"), ["/shop/cart"]),
        (("group", "delete", "/s"), ["/shop"]),
        (("logs", "/p"), ["/prime"]),
        (("task", "kill", "pri"), ["prime.i2.1"]),
        (("app", "show", "/none"), []),
    ],
)
def test_completion_knows_what_there_is(
    controller: FakeController,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    words: tuple[str, ...],
    completed: list[str],
) -> None:
    controller.submit(PutApps((an_app("/prime"), an_app("/shop/cart"))))
    controller.launch(an_offer())

    def client(url: str, timeout_s: float, login: Login) -> MarathonClient:
        assert url == "http://elsewhere.test"
        return MarathonClient(URL, timeout_s, session=api.session(api.an_api(controller)))

    monkeypatch.setattr("eratos.cli.connection.MarathonClient", client)
    monkeypatch.setenv("ERATOS_URL", "http://elsewhere.test")
    assert complete(monkeypatch, capsys, *words) == completed


def test_completion_of_an_api_that_is_away_is_empty(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("ERATOS_URL", "http://127.0.0.1:1")
    assert complete(monkeypatch, capsys, "app", "show", "/") == []


def test_list_and_show_tell_what_runs(session: Session, controller: FakeController, capsys: pytest.CaptureFixture[str]) -> None:
    (task,) = running(controller, an_app("/a"))
    assert run(["app", "list"], session) == 0
    assert "/a" in (listed := capsys.readouterr().out)
    assert "1/1" in listed
    assert run(["app", "show", "/a"], session) == 0
    assert task in capsys.readouterr().out


def test_show_says_what_an_app_waits_for(
    session: Session, controller: FakeController, capsys: pytest.CaptureFixture[str]
) -> None:
    controller.submit(PutApps((an_app("/huge", cpus=64),)))
    controller.launch(an_offer(cpus=4))
    assert run(["app", "show", "/huge"], session) == 0
    assert "64 wanted" in capsys.readouterr().out
    assert run(["queue"], session) == 0
    assert "InsufficientCpus" in capsys.readouterr().out


def test_json_output_is_the_apis_own(controller: FakeController, capsys: pytest.CaptureFixture[str]) -> None:
    running(controller, an_app("/a"))
    session = a_session(controller, as_json=True)
    for command, key in (["app", "list"], "id"), (["task", "list", "/a"], "appId"):
        assert run(command, session) == 0
        assert json.loads(capsys.readouterr().out)[0][key] == "/a"


def test_scale_restart_and_delete(session: Session, controller: FakeController) -> None:
    controller.submit(PutApps((an_app("/a"),)))
    before = controller.machine.state.apps["/a"].version
    assert run(["app", "scale", "a", "3"], session) == 0
    assert controller.machine.state.apps["/a"].instances == 3
    controller.now += 5
    assert run(["app", "restart", "/a"], session) == 0
    assert controller.machine.state.apps["/a"].version > before
    assert run(["app", "delete", "/a", "--yes"], session) == 0
    assert not controller.machine.state.apps


@pytest.mark.parametrize(
    "command",
    [
        ["app", "show", "/no"],
        ["app", "scale", "/no", "2"],
        ["app", "delete", "/no"],
        ["app", "restart", "/no"],
        ["task", "kill", "no.instance-1._app.1"],
    ],
)
def test_what_does_not_exist_is_a_failure(
    session: Session, controller: FakeController, command: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(command, session) == 1
    assert "exist" in capsys.readouterr().err
    assert not controller.machine.state.apps


def test_tasks_are_killed(session: Session, controller: FakeController) -> None:
    (task,) = running(controller, an_app("/a"))
    assert run(["task", "kill", task, "--scale"], session) == 0
    assert controller.machine.state.apps["/a"].instances == 0


def test_groups_are_shown_and_deleted(session: Session, controller: FakeController, capsys: pytest.CaptureFixture[str]) -> None:
    controller.submit(PutApps((an_app("/shop/cart"), an_app("/shop/data/db"))))
    assert run(["group", "show"], session) == 0
    assert "/shop/data/db" in capsys.readouterr().out
    assert run(["group", "delete", "/shop/data", "--yes"], session) == 0
    assert sorted(controller.machine.state.apps) == ["/shop/cart"]


@pytest.mark.parametrize(
    ("command", "doomed"),
    [
        (["app", "delete", "/shop/cart"], "1 app: /shop/cart"),
        (["app", "delete", "/shop/cart", "shop/db"], "2 apps: /shop/cart, /shop/db"),
        (["group", "delete", "/shop"], "2 apps: /shop/cart, /shop/db"),
    ],
)
@pytest.mark.parametrize("answer", ["n\n", "\n", "", "y\n"])
def test_every_delete_asks_the_same_question(
    session: Session,
    controller: FakeController,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    command: list[str],
    doomed: str,
    answer: str,
) -> None:
    controller.submit(PutApps((an_app("/shop/cart"), an_app("/shop/db"))))
    monkeypatch.setattr("sys.stdin", io.StringIO(answer))
    agreed = answer == "y\n"
    assert run(command, session) == (0 if agreed else 1)
    assert len(controller.machine.state.apps) == (2 - int(doomed[0]) if agreed else 2)
    told = capsys.readouterr()
    assert f"Delete {doomed}?" in told.err
    assert ("--yes" in told.err) == (answer == ""), "who cannot be asked is told how to say it"
    assert not agreed or "nothing was deleted" not in told.err


@pytest.mark.parametrize("flag", ["-y", "--yes"])
def test_a_delete_that_was_agreed_to_asks_nothing(session: Session, controller: FakeController, flag: str) -> None:
    controller.submit(PutApps((an_app("/shop/cart"), an_app("/shop/db"))))
    assert run(["app", "delete", "/shop/cart", flag], session) == 0
    assert run(["group", "delete", flag, "/shop"], session) == 0
    assert not controller.machine.state.apps


def test_deployments_and_info(session: Session, controller: FakeController, capsys: pytest.CaptureFixture[str]) -> None:
    controller.submit(PutApps((an_app("/a"),)))
    assert run(["deployment", "list"], session) == 0
    assert "/a" in capsys.readouterr().out
    assert run(["info"], session) == 0
    assert "0.1.0" in capsys.readouterr().out


def test_wrong_usage_ends_with_2(session: Session, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["app", "scale", "/a", "many"], session) == 2
    assert run(["app", "nosuch"], session) == 2
    for below in (["-1"], ["-10", "--wait"]):
        assert run(["app", "scale", "/a", *below], session) == 2
        assert "0 or more" in capsys.readouterr().err
    assert run(["app", "scale", "/a", "2", "--wiat"], session) == 2
    assert "--wait" in capsys.readouterr().err


def test_help_shows_no_types_on_flags_and_the_commands_in_order(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--help"]) == 0
    shown = capsys.readouterr().out
    commands = re.findall(r"^  ([a-z]+)  ", shown.partition("Commands:")[2], re.MULTILINE)
    assert {"app", "task", "logs"} <= set(commands)
    assert commands == sorted(commands)
    assert "<bool>" not in shown
    assert "Ends with 0" in shown


def test_the_version_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--version"]) == 0
    assert capsys.readouterr().out == f"eratos {importlib.metadata.version('eratos')}\n"


def test_an_api_out_of_reach_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["app", "list", "--url", "http://127.0.0.1:1"]) == 1
    assert "no answer from http://127.0.0.1:1" in capsys.readouterr().err


def test_options_of_the_whole_command_may_stand_anywhere(capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in (["--url", "nonsense", "info"], ["info", "--url", "nonsense"], ["info", "--url=nonsense", "--json"]):
        assert run(arguments) == 1
        assert "nonsense is no URL" in capsys.readouterr().err


def state_shown(session: Session, capsys: pytest.CaptureFixture[str]) -> str:
    assert run(["app", "show", "/a"], session) == 0
    [line] = [line for line in capsys.readouterr().out.splitlines() if line.startswith("state")]
    return line.partition(" ")[2].strip()


def test_an_app_is_at_rest_for_show_list_and_wait_where_explain_says_so(
    session: Session, controller: FakeController, capsys: pytest.CaptureFixture[str]
) -> None:
    (task,) = running(controller, an_app("/a", backoffSeconds=60))
    assert state_shown(session, capsys) == "at rest"
    controller.update(task, "FAILED", message="exit code 7")
    # No deployment is under way, and yet it is not as it was asked to be.
    assert state_shown(session, capsys) == "not at rest"
    assert run(["app", "explain", "/a"], session) == 0
    assert "is not at rest" in capsys.readouterr().out
    assert run(["app", "list"], session) == 0
    assert "not at rest" in capsys.readouterr().out


def test_an_app_whose_instance_came_while_it_was_shown_is_not_at_rest_beside_counts_of_before(
    session: Session, controller: FakeController, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    running(controller, an_app("/a"))
    controller.forget_deployments()
    shown = dict(session.client.app("/a"), tasksRunning=0, tasksStaged=1)
    monkeypatch.setattr(session.client, "app", lambda *_, **__: shown)
    assert state_shown(session, capsys) == "not at rest"


def test_waiting_goes_on_while_an_instance_is_of_an_earlier_version(session: Session, controller: FakeController) -> None:
    running(controller, an_app("/a"))
    assert wait.progress(session.client, ["/a"])[0].done
    controller.submit(PutApps((an_app("/a", cpus=0.2),)))
    controller.forget_deployments()  # as after a failover in the version before
    [found] = wait.progress(session.client, ["/a"])
    assert (found.running, found.wanted, found.done) == (1, 1, False)


# Deployments and versions


@pytest.fixture
def locking() -> FakeController:
    return FakeController(locks=True)


def changed(controller: FakeController) -> str:
    """Have /a, at rest, changed, and return the deployment."""
    running(controller, an_app("/a"))
    controller.now += 60
    return controller.submit(PutApps((an_app("/a", cmd="new"),))).deployment_id


def test_a_locked_app_is_told_with_the_way_out(
    locking: FakeController, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    deployment, session = changed(locking), a_session(locking)
    file = write(tmp_path, "a.json", an_app("/a", 3).to_json())
    for command in (["app", "scale", "/a", "3"], ["app", "restart", "/a"], ["app", "rollback", "/a"], ["app", "apply", file]):
        assert run(command, session) == 1
        told = capsys.readouterr().err
        assert deployment in told and "--force" in told
        assert run([*command, "--force"], session) == 0
        capsys.readouterr()
        [deployment] = locking.machine.state.deployments or [changed(locking)]
    assert run(["app", "delete", "/a", "--yes"], session) == 0


def test_an_app_that_was_shown_is_applied_again(
    session: Session, controller: FakeController, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    running(controller, an_app("/a"))
    shown = session.client.app("/a")
    controller.now += 60
    controller.submit(PutApps((an_app("/a", cmd="new"),)))
    assert run(["app", "apply", write(tmp_path, "a.json", shown)], session) == 0
    assert controller.machine.state.apps["/a"].cmd is None


def test_versions_are_listed_with_what_each_changed_and_gone_back_to(
    locking: FakeController, capsys: pytest.CaptureFixture[str]
) -> None:
    session = a_session(locking)
    running(locking, an_app("/a"))
    assert run(["app", "rollback", "/a"], session) == 1
    assert "no version but the present one" in capsys.readouterr().err
    first = locking.machine.state.apps["/a"].version
    locking.now += 60
    locking.submit(PutApps((an_app("/a", cmd="new", mem=64),)))
    second = locking.machine.state.apps["/a"].version
    assert run(["app", "versions", "/a"], session) == 0
    _, newest, oldest = capsys.readouterr().out.splitlines()
    assert newest.split()[0] == second and "cmd, mem" in newest
    assert oldest.split()[0] == first and "cmd" not in oldest
    assert run(["app", "rollback", "/a", "--force"], session) == 0
    assert locking.machine.state.apps["/a"].version == first
    assert run(["app", "rollback", "/a", second, "--force"], session) == 0
    assert locking.machine.state.apps["/a"].version == second
    assert run(["app", "rollback", "/a", "2020-01-01T00:00:00.000Z", "--force"], session) == 1


def test_what_one_app_runs_is_promoted_to_another_one_which_keeps_all_else(
    session: Session, controller: FakeController, capsys: pytest.CaptureFixture[str]
) -> None:
    staging = an_app("/staging/shop", container={"docker": {"image": "shop:2"}}, env={"DB": "staging"}, instances=1)
    prod = an_app("/prod/shop", container={"docker": {"image": "shop:1"}}, cmd="old", env={"DB": "prod"}, instances=3)
    running(controller, staging, prod)
    controller.now += 60
    assert run(["app", "promote", "/staging/shop", "/prod/shop", "--force"], session) == 0
    assert "/prod/shop: promoted from /staging/shop" in capsys.readouterr().err
    found = controller.machine.state.apps["/prod/shop"]
    assert found.container is not None and found.container.docker is not None and found.container.docker.image == "shop:2"
    assert (found.cmd, found.env, found.instances) == (None, {"DB": "prod"}, 3)
    assert run(["app", "promote", "/staging/shop", "/nowhere"], session) == 1
    assert run(["app", "promote", "/nowhere", "/prod/shop"], session) == 1
    controller.submit(PutApps((an_app("/plain", cmd="sleep 1", container=None),)))
    assert run(["app", "promote", "/staging/shop", "/plain"], session) == 1
    assert "/plain has no Docker image" in capsys.readouterr().err


def test_a_deployment_is_shown_taken_back_and_cancelled(locking: FakeController, capsys: pytest.CaptureFixture[str]) -> None:
    session, deployment = a_session(locking), changed(locking)
    assert run(["deployment", "list"], session) == 0
    assert "step 1 of 1, 2 instances left" in capsys.readouterr().out
    assert run(["deployment", "show", deployment], session) == 0
    told = capsys.readouterr().out
    assert "RestartApplication" in told and "2 left" in told and "unless it comes further" in told
    assert run(["deployment", "rollback", deployment], session) == 0
    assert locking.machine.state.apps["/a"].cmd is None
    assert run(["deployment", "list", "--ended"], session) == 0
    assert "rolled back: as deployment" in capsys.readouterr().out
    assert run(["deployment", "show", deployment], session) == 0
    assert "rolled back" in capsys.readouterr().out
    deployment = locking.submit(PutApps((an_app("/b", cpus=64),))).deployment_id
    assert run(["deployment", "cancel", deployment], session) == 0
    assert not locking.machine.state.changes
    assert run(["deployment", "cancel", deployment], session) == 1


def test_a_deployment_is_paused_goes_on_and_is_promoted(locking: FakeController, capsys: pytest.CaptureFixture[str]) -> None:
    session, canary = a_session(locking), {"ERATOS_CANARY": "1"}
    running(locking, an_app("/a", 2, labels=canary))
    locking.now += 60
    deployment = locking.submit(PutApps((an_app("/a", 2, cmd="new", labels=canary),))).deployment_id
    assert run(["deployment", "pause", deployment], session) == 0
    assert run(["deployment", "list"], session) == 0
    assert "paused, step 1 of 1" in capsys.readouterr().out
    assert run(["deployment", "resume", deployment], session) == 0
    assert run(["deployment", "promote", deployment], session) == 1
    new = [task for task in locking.launch(an_offer()) if locking.machine.state.instances[task[:-7]].launching]
    locking.update(new[0], "RUNNING")
    assert run(["deployment", "list"], session) == 0
    assert "at a gate: /a, step 1 of 1" in capsys.readouterr().out
    [found] = locking.machine.state.deployments.values()
    found.counted["/a"] = Counted(200, 3, 2400, "b2 says nothing")
    assert run(["deployment", "list"], session) == 0
    assert "at a gate: /a (3 of 200 requests failed, 12 ms; b2 says nothing), step" in capsys.readouterr().out
    found.counted.clear()
    assert run(["deployment", "promote", deployment], session) == 0
    assert locking.machine.state.changes["/a"].stage == 1


def test_waiting_for_a_change_ends_when_it_failed(locking: FakeController, capsys: pytest.CaptureFixture[str]) -> None:
    def sleep(seconds: float) -> None:
        locking.now += 60
        locking.handle(Tick())

    running(locking, an_app("/a"))
    session = a_session(locking, sleep=sleep)
    locking.submit(PutApps((an_app("/a", labels={"ERATOS_DEPLOYMENT_DEADLINE_S": "60"}, cpus=64),)))
    assert run(["app", "restart", "/a", "--force", "--wait"], session) == 1
    assert "failed: it came no further for 60 s" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("document", "place"),
    [
        ({"id": "/a", "container": CONTAINER, "colour": "red"}, "/a/colour"),
        ([{"id": "/a", "container": CONTAINER, "labels": {"HAPROXY_0_USE_HSTS": "true"}}], "/a/labels/HAPROXY_0_USE_HSTS"),
        ({"id": "/g", "colour": "red", "apps": []}, "/g /colour"),
    ],
)
def test_strict_refuses_what_has_no_effect_and_without_it_is_told(
    session: Session, controller: FakeController, tmp_path: Path, capsys: pytest.CaptureFixture[str], document: Any, place: str
) -> None:
    path = write(tmp_path, "a.json", document)
    assert run(["app", "apply", "--strict", path], session) == 1
    assert place in capsys.readouterr().err
    assert not controller.commands
    assert run(["app", "apply", path], session) == 0
    assert "not heeded" in capsys.readouterr().err


def test_agents_are_listed_with_what_is_used_and_free_and_which_take_nothing(
    controller: FakeController, session: Session, capsys: pytest.CaptureFixture[str]
) -> None:
    running(controller, an_app("/shop", 2, cpus=0.5, mem=128))
    controller.handle(OffersReceived((an_offer("a2", hostname="b-host", cpus=4, mem=2048),)))
    assert run(["agents"], session) == 0
    heads, first, second = capsys.readouterr().out.splitlines()
    assert heads.split() == ["HOST", "ZONE", "TASKS", "CPUS", "MEM", "NOTE"]
    assert first.split()[:2] == ["b-host", "-"] and " 0 of 4 " in first
    assert second.split()[0] == "host-a1" and " 2 " in second and "256 of" in second


def test_an_agent_that_takes_nothing_says_why() -> None:
    agent = {"id": "a1", "host": "h1", "region": "eu", "zone": "b", "used": {"cpus": 0.5, "mem": 64}, "free": None}
    alone = {"until": "2026-11-27T12:00:00.000Z", "startsFailedOf": ["/a", "/b"]}
    window = {"begin": "2026-11-28T00:00:00.000Z"}
    swept = {"since": "2026-11-27T11:00:00.000Z", "launches": 0, "message": ""}
    found = {"apps": [], "agents": [agent | {"leftAlone": alone, "maintenance": window, "sweep": swept}]}
    (row,) = views.agents(found).rows
    assert row[:5] == ("h1", "eu/b", 0, "0.5", "64")
    assert "left alone until 2026-11-27T12:00:00.000Z, as starts of /a, /b failed; maintenance from 2026-11-28" in row[5]
    assert row[5].endswith("; to be swept since 2026-11-27T11:00:00.000Z, as an executor died there")


def test_yaml_is_what_the_api_gave(session: Session, controller: FakeController, capsys: pytest.CaptureFixture[str]) -> None:
    running(controller, an_app("/a"))
    session.out.form = "yaml"
    assert run(["app", "list"], session) == 0
    assert yaml.safe_load(capsys.readouterr().out)[0]["id"] == "/a"


def test_a_quiet_list_is_its_names_and_a_quiet_change_says_nothing(
    session: Session, controller: FakeController, capsys: pytest.CaptureFixture[str]
) -> None:
    (task,) = running(controller, an_app("/a"))
    session.out.quiet = True
    for command, shown in (["app", "list"], "/a\n"), (["task", "list"], task + "\n"), (["app", "show", "/a"], task + "\n"):
        assert run(command, session) == 0
        assert capsys.readouterr().out == shown
    assert run(["app", "scale", "/a", "2"], session) == 0
    assert capsys.readouterr() == ("", "")
    assert run(["app", "scale", "/no", "2"], session) == 1
    assert "/no" in capsys.readouterr().err


def test_two_forms_at_once_are_wrong_usage(session: Session, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["app", "list", "--json", "-o", "yaml"], session) == 2
    assert "give one of them" in capsys.readouterr().err


def test_a_file_that_is_no_utf8_is_named(session: Session, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.json").write_bytes('{"id": "/a", "cmd": "caf\xe9"}'.encode("latin-1"))
    assert run(["app", "apply", str(tmp_path / "a.json")], session) == 2
    assert "is no text in UTF-8, by its byte 24" in capsys.readouterr().err


def test_quotas_are_set_shown_and_deleted(session: Session, controller: FakeController, capsys: Any) -> None:
    controller.submit(PutApps((an_app("/shop/cart", 3),)))
    assert run(["quota", "set", "/shop", "--instances", "5", "--mem", "64"], session) == 0
    assert "/shop: more is in use of mem; it is not stopped, and cannot grow" in capsys.readouterr().err
    assert run(["quota", "list"], session) == 0
    assert re.search(r"^/shop +3 of 5 +0\.3 +96 of 64 +0$", capsys.readouterr().out, re.MULTILINE)
    assert run(["quota", "show", "shop"], session) == 0
    assert re.search(r"^/shop/cart +3 +0\.3 +96 +0$", capsys.readouterr().out, re.MULTILINE)
    assert run(["app", "explain", "/shop/cart"], session) == 0
    assert "quota of /shop: 3 of 5 instances, 96 of 64 mem" in capsys.readouterr().out
    assert run(["app", "scale", "/shop/cart", "6"], session) == 1
    assert "the quota of /shop allows 5 instances: 3 are in use" in capsys.readouterr().err
    assert run(["quota", "set", "/", "--cpus", "1.5"], session) == 0
    assert controller.machine.state.quotas["/"].cpus_m == 1500
    assert run(["quota", "delete", "/"], session) == 0
    assert run(["quota", "set", "/shop"], session) == 2
    assert list(controller.machine.state.quotas) == ["/shop"]


def test_volumes_are_listed_and_what_nobody_uses_is_destroyed(session: Session, controller: FakeController) -> None:
    kept = [{"containerPath": "data", "mode": "RW", "persistent": {"size": 10}}]
    app = an_app("/db", container={"type": "DOCKER", "docker": {"image": "db:1"}, "volumes": kept})
    (task,) = running(controller, app)
    (volume_id,) = controller.machine.state.volumes
    assert run(["volume", "list"], session) == 0
    assert run(["volume", "delete", "--yes", volume_id], session) == 1, "it is in use"
    assert run(["app", "delete", "--yes", "/db"], session) == 0
    controller.update(task, "KILLED")
    assert run(["volume", "delete", "--yes", "--force", volume_id], session) == 0
    assert not controller.machine.state.volumes


def test_wipe_goes_with_kills_and_deletions(session: Session, controller: FakeController) -> None:
    kept = [{"containerPath": "data", "mode": "RW", "persistent": {"size": 10}}]
    app = an_app("/db", container={"type": "DOCKER", "docker": {"image": "db:1"}, "volumes": kept})
    (task,) = running(controller, app)
    assert run(["task", "kill", "--scale", "--wipe", task], session) == 2
    assert run(["task", "kill", "--wipe", task], session) == 0
    (record,) = controller.machine.state.volumes.values()
    assert record.state.value == "deleting"
