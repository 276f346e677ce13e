"""The ``eratos`` command against the real API and core, without sockets."""

from __future__ import annotations

import importlib.metadata
import io
import json
import re
from typing import Any

import pytest
import yaml
from support import api
from support.builders import an_app, an_offer
from support.command_line import URL, a_session
from support.controller import FakeController, running

from eratos.cli import tasks, views
from eratos.cli.main import run
from eratos.cli.session import Session
from eratos.marathon.client import Login, MarathonClient, Refused
from eratos.scheduler.core.events import OffersReceived, PutApps


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


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("scale", ": did you mean eratos app scale or eratos pod scale?"),
        ("deployments", ": did you mean eratos deployment list?"),
        ("ps", ": did you mean eratos task list?"),
        ("evnts", ": did you mean eratos events?"),
        ("frobnicate", "."),
    ],
)
def test_words_of_other_programs_lead_to_the_command(
    session: Session, capsys: pytest.CaptureFixture[str], typed: str, meant: str
) -> None:
    assert run([typed], session) == 2
    assert capsys.readouterr().err.splitlines()[-1] == f"Error: No such command '{typed}'{meant}"


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
