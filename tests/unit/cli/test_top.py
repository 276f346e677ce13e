"""``eratos top``: what balancers count of each instance, sorted, drawn again and again."""

from __future__ import annotations

import json
from typing import Any

import pytest
from support import api
from support.builders import an_app, an_offer
from support.controller import FakeController

from eratos.cli import top
from eratos.cli.main import run
from eratos.cli.output import Output
from eratos.cli.session import Session
from eratos.cli.top import Row
from eratos.marathon.client import MarathonClient, Refused, Unreachable
from eratos.scheduler.core.events import PutApps

TASK = "shop.instance-c1._app.1"


def overview(*task_ids: str) -> dict[str, Any]:
    tasks = [{"id": name, "agent": "a1", "condition": "ready", "since": "2026-11-27T12:00:00.000Z"} for name in task_ids]
    return {"agents": [{"id": "a1", "host": "h1"}], "apps": [{"id": "/shop", "tasks": tasks}]}


def balancer(*servers: tuple[int, int, int]) -> dict[str, Any]:
    """Return one that says of the task's server: requests a second, ms, errors."""
    shown = [{"id": f"eratos-{TASK}", "rate": rate, "answer_ms": ms, "failed": failed} for rate, ms, failed in servers]
    return {"name": "b", "services": [{"service": "shop", "servers": shown}]}


@pytest.mark.parametrize(
    ("balancers", "figures"),
    [
        ([], (None, None, None)),
        ([balancer((10, 50, 1))], (10, 50, 1)),
        # Time to answer is weighted by where the requests are.
        ([balancer((30, 10, 1)), balancer((10, 50, 2))], (40, 20, 3)),
        ([balancer((0, 90, 0)), balancer((10, 50, 0))], (10, 50, 0)),
        # Nothing just now: what was last known, and of a balancer that never sent anything nothing is.
        ([balancer((0, 90, 0)), balancer((0, 0, 0))], (0, 90, 0)),
        ([balancer((0, 0, 0))], (0, 0, 0)),
        ([{"name": "b", "trouble": "away", "services": []}], (None, None, None)),
        # Of a companion of a former version.
        ([{"name": "b", "services": [{"service": "shop", "servers": [{"id": f"eratos-{TASK}"}]}]}], (None, None, None)),
    ],
)
def test_the_figures_of_an_instance_are_those_of_all_balancers(balancers: list[Any], figures: tuple[Any, ...]) -> None:
    (row,) = top.rows(overview(TASK), balancers)
    assert (row.requests_per_s, row.answer_ms, row.errors) == figures
    assert (row.task, row.app, row.host, row.state) == (TASK, "/shop", "h1", "ready")


MIB = 1 << 20


def usage(**figures: Any) -> dict[str, Any]:
    known = dict.fromkeys(("ageSeconds", "cpus", "cpusLimit", "memBytes", "memLimitBytes")) | figures
    return {"id": TASK, "app": "/shop", "missing": "" if figures else "h1 does not answer", **known}


@pytest.mark.parametrize(
    ("usages", "cells"),
    [
        ([usage(ageSeconds=1, cpus=0.42, cpusLimit=0.5, memBytes=34 * MIB, memLimitBytes=64 * MIB)], ["0.42", "84", "34", "53"]),
        # What is not known is never 0, and what is 0 is.
        ([usage(ageSeconds=1, cpus=0.0, cpusLimit=0.5, memBytes=0, memLimitBytes=64 * MIB)], ["0.00", "0", "0", "0"]),
        ([usage(ageSeconds=1, cpus=None, cpusLimit=0.5, memBytes=34 * MIB)], ["-", "-", "34", "-"]),
        ([usage(ageSeconds=1, cpus=1.5, cpusLimit=None, memBytes=MIB)], ["1.50", "-", "1", "-"]),
        ([usage()], ["-", "-", "-", "-"]),
        ([], ["-", "-", "-", "-"]),
    ],
)
def test_cpu_and_memory_are_shown_or_shown_to_be_missing(usages: list[Any], cells: list[str]) -> None:
    found = top.rows(overview(TASK), [balancer((10, 50, 1))], usages)
    names, line = (text.split() for text in top.table(found, Output()).lines(None))
    assert [line[names.index(name)] for name in ("CPU", "%CPU", "MIB", "%MEM")] == cells


def test_who_does_not_say_what_is_taken_is_named_above_the_table() -> None:
    found = top.rows(overview(TASK), [], [usage()])
    assert top.head(found, 1).endswith("; no CPU and memory of 1: h1 does not answer")
    assert "no CPU" not in top.head(top.rows(overview(TASK), [], [usage(cpus=None, memBytes=1)]), 1)


A = Row("a", "/x", "h2", "ready", "2026-01-01", 5.0, 30.0, 0, 0.5, mem_bytes=3 * MIB)
B = Row("b", "/x", "h1", "unready", "2026-01-03", None, None, None)
C = Row("c", "/w", "h3", "ready", "2026-01-02", 9.0, 10.0, 4, 0.0, mem_bytes=5 * MIB)


@pytest.mark.parametrize(
    ("by", "reverse", "order"),
    [
        ("app", False, "cba"),
        ("task", False, "abc"),
        ("task", True, "cba"),
        ("host", False, "bac"),
        ("state", False, "cab"),
        ("age", False, "acb"),
        ("requests", False, "cab"),
        ("requests", True, "bac"),
        ("answer", False, "acb"),
        ("errors", False, "cab"),
        ("cpu", False, "acb"),
        ("cpu", True, "bca"),
        ("mem", False, "cab"),
    ],
)
def test_order(by: Any, reverse: bool, order: str) -> None:
    assert "".join(row.task for row in top.ordered([A, B, C], by, reverse=reverse)) == order


class Screen:
    """A terminal, and a clock whose user leaves after some looks."""

    def __init__(self, looks: int, columns: int = 60, lines: int = 8) -> None:
        self.left, self.size = looks, (columns, lines)

    def sleep(self, _: float) -> None:
        self.left -= 1
        if not self.left:
            raise KeyboardInterrupt

    def watch(self, *answers: Any) -> None:
        queue = list(answers)

        def again() -> list[Row]:
            answer = queue.pop(0)
            if isinstance(answer, Exception):
                raise answer
            return list(answer)

        top.watch(again, Output(), self.sleep, 2.0, lambda: self.size)


def pictures(text: str) -> list[list[str]]:
    return [[line.rstrip("\r").removesuffix("\033[K") for line in one.split("\n")] for one in text.split("\033[H")[1:]]


def test_what_is_drawn_fits_the_terminal_and_is_put_away_at_the_end(capsys: pytest.CaptureFixture[str]) -> None:
    long = [
        Row(f"shop.{number}", "/shop/a/name/that/is/longer/than/any", "host", "ready", "", 1.0, 2.0, 3) for number in range(9)
    ]
    Screen(2).watch(long, [A])
    text = capsys.readouterr().out
    first, second = pictures(text)
    assert first[0] == "9 instances, 9 ready, 9 requests/s, 4 shown"
    assert len(first) == 8 and all(len(line) <= 60 for line in first)
    assert second[0] == "1 instances, 1 ready, 5 requests/s"
    assert text.startswith("\033[?1049h") and text.endswith("\033[?1049l")


@pytest.mark.parametrize(("lines", "drawn", "shown"), [(1, 1, 1), (3, 2, 1), (5, 4, 1), (6, 5, 2), (99, 12, 9)])
def test_a_low_terminal_is_not_made_to_scroll(capsys: pytest.CaptureFixture[str], lines: int, drawn: int, shown: int) -> None:
    Screen(1, lines=lines).watch([A] * 9)
    (picture,) = pictures(capsys.readouterr().out)
    assert len(picture) == drawn + 1  # and the cursor's
    assert picture[0].endswith(f", {shown} shown") or shown == 9


def test_above_the_table_is_what_there_is_in_all() -> None:
    assert top.head([A, B, C], 3) == "3 instances, 2 ready, 14 requests/s"
    assert top.head([B], 0, "away") == "1 instances, 0 ready, 0 requests/s, 0 shown; away"


def test_who_is_away_for_a_while_is_said_above_what_was_known_last(capsys: pytest.CaptureFixture[str]) -> None:
    Screen(3, columns=200).watch([A], Unreachable("no answer"), [A])
    first, second, third = pictures(capsys.readouterr().out)
    assert second[0] == first[0] + "; as it was: no answer" and second[3] == first[3] == third[3]
    assert third[0] == first[0]


def test_a_token_that_expires_meanwhile_ends_it_with_the_terminal_as_it_was(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(Refused):
        Screen(9).watch([A], Refused(401, "not known"))
    assert capsys.readouterr().out.endswith("\033[?1049l")


@pytest.fixture
def session() -> Session:
    controller = FakeController()
    controller.submit(PutApps((an_app("/a"), an_app("/b"))))
    # Nobody has to find out who the host is, to whom no executor answers.
    for task in controller.launch(an_offer(hostname="127.0.0.1")):
        controller.update(task, "RUNNING")
    return Session(MarathonClient("http://api.test", session=api.session(api.an_api(controller))), Output())


def test_in_a_pipe_it_looks_once(session: Session, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["top"], session) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[-1] for line in lines] == ["APP", "/a", "/b"] and "\033" not in "".join(lines)
    session.out.form = "json"
    assert run(["top", "/b"], session) == 0
    assert [row["app"] for row in json.loads(capsys.readouterr().out)] == ["/b"]


def test_an_app_that_there_is_not_is_named(session: Session, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["top", "/no"], session) == 1
    assert "there is no app /no" in capsys.readouterr().err
    with pytest.raises(Refused) as caught:
        top.look(session.client, "/no")
    assert caught.value.status == 404


class Older:
    """A scheduler that does not know of CPU and memory, or does not say it."""

    def __init__(self, status: int) -> None:
        self.status = status

    def overview(self, *app_ids: str) -> dict[str, Any]:
        return overview(TASK)

    def balancers(self) -> list[Any]:
        return []

    def usage(self, *app_ids: str) -> list[Any]:
        raise Refused(self.status, "no")


def test_of_an_older_scheduler_the_rest_is_shown() -> None:
    [row] = top.look(Older(404), "/shop")  # type: ignore[arg-type]
    assert (row.task, row.cpus, row.mem_bytes, row.usage_missing) == (TASK, None, None, "")
    with pytest.raises(Refused):
        top.look(Older(401), "/shop")  # type: ignore[arg-type]


def test_a_marathon_has_no_such_thing() -> None:
    class Marathon:
        def overview(self) -> None:
            raise Refused(404, "not found")

    with pytest.raises(Refused, match="eratos task list") as caught:
        top.look(Marathon(), "")  # type: ignore[arg-type]
    assert caught.value.status == 404
