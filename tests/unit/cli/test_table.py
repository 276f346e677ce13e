"""Tables at any width: ids whole, other columns giving way; plain and whole in a pipe."""

from __future__ import annotations

import io
import sys
from typing import Any

import pytest

from eratos.cli import views
from eratos.cli.output import Output
from eratos.cli.table import Column, Table

TASK = "x-clients-new_hello.instance-da0223a4-5b1f-4c6e-9d5e-0123456789ab._app.1"
WHY = "no offer has 64 CPUs free: the largest one had 4 on agent3, so make the app smaller or the agents larger"


def a_table() -> Table:
    columns = (Column("ID", "never"), Column("COUNT"), Column("IMAGE"), Column("REASON", "fold"))
    return Table(columns, [("/x-clients/new/hello", 3, "registry.example/team/" + "image" * 9, WHY), ("/b", 1, None, "")])


@pytest.mark.parametrize("width", [200, 120, 80, 60, 40])
def test_a_terminal_shows_every_id_whole_and_no_line_runs_over(width: int) -> None:
    lines = list(a_table().lines(width))
    assert max(map(len, lines)) <= width
    assert any(line.startswith("/x-clients/new/hello") for line in lines)
    words = " ".join(lines).split()
    assert all(word in words for word in WHY.split()), "prose is folded, never cut"


def test_what_gives_way_is_marked_as_cut_and_then_left_out() -> None:
    at_80, at_40 = ("\n".join(a_table().lines(width, "…")) for width in (80, 40))
    assert "regist" in at_80
    assert "…" in at_80
    assert "IMAGE" not in at_40
    assert "/x-clients/new/hello" in at_40


def test_ids_wider_than_the_terminal_run_over_instead_of_into_pieces() -> None:
    table = Table((Column("TASK", "never"), Column("STATE"), Column("HOST")), [(TASK, "running", "agent1")])
    assert list(table.lines(40)) == ["TASK", TASK]


def test_prose_that_ids_leave_no_room_stands_below_them() -> None:
    columns = (Column("DEPLOYMENT", "never"), Column("AGE"), Column("STATE", "fold"), Column("APPS", "fold"))
    ids = [f"{number}{'0' * 35}" for number in range(2)]
    table = Table(
        columns,
        [(ids[0], "3s", "step 1 of 2, 4 instances left", "/shop/cart, /shop/pay, /shop/front"), (ids[1], "1m", "done", "")],
    )
    assert list(table.lines(40)) == [
        "DEPLOYMENT",
        ids[0],
        "  AGE    3s",
        "  STATE  step 1 of 2, 4 instances left",
        "  APPS   /shop/cart, /shop/pay,",
        "         /shop/front",
        ids[1],
        "  AGE    1m",
        "  STATE  done",
    ]
    assert max(map(len, table.lines(60))) <= 60
    assert next(iter(table.lines(100))).split() == ["DEPLOYMENT", "AGE", "STATE", "APPS"]


def test_words_and_figures_are_left_out_rather_than_cut() -> None:
    table = Table(
        (Column("TASK", "never"), Column("STATE"), Column("USED"), Column("HOST")), [("t" * 30, "running", "16 of 100", "agent1")]
    )
    for width in range(30, 61):
        shown = list(table.lines(width))[1].split("  ")
        assert all(word in ("t" * 30, "running", "16 of 100", "agent1") for word in shown), shown


def test_a_pipe_gets_one_whole_line_for_each_row() -> None:
    lines = list(a_table().lines(None))
    assert len(lines) == 3
    assert WHY in lines[1]
    assert lines[2].split() == ["/b", "1", "-", "-"]


def test_what_a_terminal_would_obey_is_taken_out() -> None:
    (_, line) = Table((Column("WHAT"),), [("red\033[31m\r\nsecond\x07",)]).lines(None)
    assert line == "red [31m  second"


def test_no_message_moves_the_cursor(capsys: pytest.CaptureFixture[str]) -> None:
    output = Output()
    output.say("task said \033[2J\tand\r\nmore")
    output.fail("task said \033[2J\u202e")
    output.result({}, "task said \033[2J")
    shown = capsys.readouterr()
    assert "\033" not in shown.out + shown.err and "\r" not in shown.err and "\u202e" not in shown.err
    assert shown.out == "task said \\x1b[2J\n"
    assert shown.err.splitlines()[1] == "more"


class Terminal(io.StringIO):
    encoding = "utf-8"  # type: ignore[assignment]

    def __init__(self, columns: int, monkeypatch: pytest.MonkeyPatch) -> None:
        super().__init__()
        monkeypatch.setenv("COLUMNS", str(columns))
        monkeypatch.delenv("NO_COLOR", raising=False)
        monkeypatch.setenv("TERM", "xterm")

    def isatty(self) -> bool:
        return True

    def reconfigure(self, **_: Any) -> None:
        pass


def twenty_tasks() -> list[dict[str, Any]]:
    return [
        {
            "id": f"prime.instance-{number:08x}-5b1f-4c6e-9d5e-0123456789ab._app.1",
            "appId": "/prime",
            "state": "TASK_RUNNING",
            "host": f"agent{number}.cluster.example",
            "ports": [31000 + number],
            "startedAt": "2026-01-01T00:00:00.000Z",
        }
        for number in range(20)
    ]


@pytest.mark.parametrize("width", [80, 60])
def test_twenty_tasks_are_twenty_lines_with_ids_to_copy(width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", terminal := Terminal(width, monkeypatch))
    out = Output()
    out.result([], views.tasks(twenty_tasks(), out))
    header, *lines = terminal.getvalue().splitlines()
    assert header.startswith("\033[1mTASK")
    assert [line.split()[0] for line in lines] == [f"prime.{number:08x}.1" for number in range(20)]
    assert max(map(len, lines)) <= width
    assert all("2026" not in line for line in lines), "ages, no dates"


def test_a_pipe_gets_whole_ids_and_no_colour(capsys: pytest.CaptureFixture[str]) -> None:
    out = Output()
    out.result([], views.tasks(twenty_tasks(), out))
    shown = capsys.readouterr().out
    assert "\033" not in shown
    assert [line.split()[0] for line in shown.splitlines()[1:]] == [task["id"] for task in twenty_tasks()]


@pytest.mark.parametrize(("name", "value"), [("NO_COLOR", "1"), ("TERM", "dumb")])
def test_no_colour_where_none_is_wanted(name: str, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", terminal := Terminal(80, monkeypatch))
    monkeypatch.setattr(sys, "stderr", terminal)
    out = Output()
    monkeypatch.setenv(name, value)
    out.fail("a fault")
    out.result([], views.queue([]))
    assert "\033" not in terminal.getvalue()


def test_a_locale_without_the_letters_ends_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", stream := io.TextIOWrapper(raw, encoding="ascii"))
    out = Output()
    out.width = 36
    out.result([], "Zürich …", Table((Column("ID", "never"), Column("IMAGE")), [("/a-long-name-of-an-app", "x" * 40)]))
    stream.flush()
    assert raw.getvalue().splitlines()[0] == rb"Z\xfcrich \u2026"
    assert raw.getvalue().splitlines()[2].endswith(b"...")


@pytest.mark.parametrize(
    ("before_s", "age"),
    [(0, "0s"), (45, "45s"), (119, "119s"), (120, "2m"), (7199, "119m"), (7200, "2h"), (172_800, "2d"), (-58, "-58s")],
)
def test_ages(before_s: int, age: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.time", lambda: 1_767_225_600.0 + before_s)
    assert views.age("2026-01-01T00:00:00Z") == age
    assert views.age(None) == ""
