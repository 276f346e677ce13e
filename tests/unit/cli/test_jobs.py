"""``eratos job``."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest
from support import api
from support.builders import an_offer
from support.controller import FakeController

from eratos.cli import jobs
from eratos.cli.main import run
from eratos.cli.output import Output
from eratos.cli.session import Session
from eratos.marathon.client import MarathonClient

JOB: dict[str, Any] = {
    "id": "shop.backup",
    "description": "every night",
    "run": {"cmd": "backup", "cpus": 0.1, "mem": 32},
    "schedules": [{"id": "nightly", "cron": "0 3 * * *", "timezone": "Europe/Berlin"}],
}


class World:
    """An API with a cluster, on which each task that is waited for ends as ``ends`` says."""

    def __init__(self) -> None:
        self.controller = FakeController()
        self.controller.now = 1_800_000_000.0
        self.ends = ("FINISHED", "exit code 0")
        client = MarathonClient("http://api.test", session=api.session(api.an_api(self.controller)))
        self.session = Session(client, Output(), clock=lambda: self.controller.now, sleep=self.sleep)

    def sleep(self, seconds: float) -> None:
        self.controller.now += seconds
        for task in self.controller.launch(an_offer()):
            self.controller.update(task, "RUNNING")
            self.controller.update(task, self.ends[0], message=self.ends[1])

    def __call__(self, *words: str) -> int:
        return run(["job", *words], self.session)


@pytest.fixture
def eratos(tmp_path: Path) -> World:
    world = World()
    (tmp_path / "job.json").write_text(json.dumps(JOB))
    assert world("apply", str(tmp_path / "job.json")) == 0
    return world


def test_jobs_are_made_and_changed_by_files(eratos: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "jobs.yaml").write_text("- {id: shop.backup, run: {cmd: other}}\n- id: tidy\n  run: {cmd: x, cpus: 0.1}\n")
    assert eratos("apply", str(tmp_path / "jobs.yaml")) == 0
    state = eratos.controller.machine.state
    assert state.jobs["shop.backup"].app.cmd == "other" and len(state.jobs["shop.backup"].schedules) == 1
    assert eratos("list") == 0
    shown = capsys.readouterr().out
    assert "shop.backup" in shown and "0 3 * * * Europe/Berlin" in shown and "2027-01-16T02:00:00.000Z" in shown
    assert "by hand" in shown
    assert eratos("show", "shop.backup") == 0
    assert "nightly" in capsys.readouterr().out


@pytest.mark.parametrize("text", ["", "5", "{}", "[{}]", '{"id": 5}', "{"])
def test_what_is_no_job_is_told_before_anything_is_sent(
    eratos: World, tmp_path: Path, text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "bad.json").write_text(text)
    before = len(eratos.controller.commands)
    assert eratos("apply", str(tmp_path / "job.json"), str(tmp_path / "bad.json")) == 2
    assert "bad.json" in capsys.readouterr().err and len(eratos.controller.commands) == before


def test_a_refused_job_is_named_with_its_file(eratos: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "bad.json").write_text(json.dumps({**JOB, "schedules": [{"id": "s", "cron": "0 0 30 2 *"}]}))
    assert eratos("apply", str(tmp_path / "bad.json")) == 1
    said = capsys.readouterr().err
    assert "bad.json: Object is not valid" in said and "/schedules(0)/cron" in said and "never comes" in said


@pytest.mark.parametrize(("ends", "status"), [(("FINISHED", "exit code 0"), 0), (("FAILED", "exit code 3"), 1)])
def test_a_run_that_is_waited_for(eratos: World, ends: tuple[str, str], status: int, capsys: pytest.CaptureFixture[str]) -> None:
    eratos.ends = ends
    assert eratos("run", "shop.backup", "--wait") == status
    assert eratos("history", "shop.backup") == 0
    shown = capsys.readouterr().out
    assert ("1 succeeded" if status == 0 else "1 failed") in shown
    assert ("3" if status else "0") in shown.splitlines()[-1].split()


def test_a_wait_ends_in_time(eratos: World, capsys: pytest.CaptureFixture[str]) -> None:
    eratos.ends = ("RUNNING", "")
    assert eratos("run", "shop.backup", "--wait", "--timeout", "30") == 1
    assert "not ended after 30 s: " in capsys.readouterr().err


def test_runs_are_stopped(eratos: World, capsys: pytest.CaptureFixture[str]) -> None:
    assert eratos("stop", "shop.backup") == 1
    assert "no run at work" in capsys.readouterr().err
    eratos("run", "shop.backup")
    eratos("run", "shop.backup")
    assert eratos("delete", "shop.backup", "--yes") == 1
    assert eratos("stop", "shop.backup") == 0
    assert not eratos.controller.machine.state.runs


def test_logs_of_a_run_without_a_task(eratos: World, capsys: pytest.CaptureFixture[str]) -> None:
    assert eratos("logs", "shop.backup") == 1
    assert "no task of shop.backup was started" in capsys.readouterr().err
    eratos("run", "shop.backup")
    run_id = eratos.controller.machine.state.runs_of("shop.backup")[0].record.run_id
    assert eratos("logs", "shop.backup", run_id) == 1
    assert f"no task of {run_id} was started" in capsys.readouterr().err


def test_the_last_run_is_the_one_whose_log_is_shown() -> None:
    ended = {"id": "a", "createdAt": "2026-01-01T00:00:00Z", "tasks": [{"id": "x"}]}
    waits = {"id": "b", "createdAt": "2026-01-02T00:00:00Z", "tasks": []}
    history = {"successfulFinishedRuns": [], "failedFinishedRuns": [ended]}
    assert jobs.latest({"activeRuns": [waits], "history": history}) is ended


def test_a_job_is_deleted_once_that_is_confirmed(
    eratos: World, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO())
    assert eratos("delete", "shop.backup") == 1
    assert "nothing was deleted" in capsys.readouterr().err
    assert eratos("delete", "shop.backup", "--yes") == 0
    assert eratos("show", "shop.backup") == 1


def test_jobs_as_json(eratos: World, capsys: pytest.CaptureFixture[str]) -> None:
    eratos.session.out.form = "json"
    capsys.readouterr()
    assert eratos("list") == 0
    assert json.loads(capsys.readouterr().out)[0]["id"] == "shop.backup"
