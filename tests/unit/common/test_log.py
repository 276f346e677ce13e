"""Lines of the log, as text and as JSON: what they say, what they keep to themselves, and how long they get."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest

from eratos.common import log
from eratos.common.log import fields

LOGGER = logging.getLogger("eratos.test")


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


def said(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    (line,) = capsys.readouterr().err.splitlines()
    return dict(json.loads(line))


def test_a_line_of_text_has_time_level_logger_sentence_and_fields(capsys: pytest.CaptureFixture[str]) -> None:
    log.setup()
    LOGGER.info("task %s", fields(task_id="t1", message="has ended", healthy=None))
    time, _, rest = capsys.readouterr().err.partition(" ")
    assert rest == 'INFO eratos.test task task_id=t1 message="has ended"\n'
    assert time.endswith("Z")


def test_as_json_each_is_a_field_of_its_own(capsys: pytest.CaptureFixture[str]) -> None:
    log.setup("INFO", "json")
    LOGGER.warning("task %s on %s", fields(task_id="t1", exit_code=3, took_s=0.5, message='said "no"', healthy=None), "h1")
    found = said(capsys)
    assert found.pop("time").endswith("Z")
    assert found == {
        "level": "WARNING",
        "logger": "eratos.test",
        "message": "task  on h1",
        "fields": {"task_id": "t1", "exit_code": 3, "took_s": 0.5, "message": 'said "no"'},
    }


def test_as_json_an_exception_stands_by_itself_and_whatever_is_logged_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    log.setup("INFO", "json")
    try:
        raise ValueError("two\nlines")
    except ValueError:
        LOGGER.exception("it broke: %(what)s", {"what": "all\nof it"})
    found = said(capsys)
    assert found["message"] == "it broke: all\nof it"
    assert "ValueError: two\nlines" in found["exception"] and "fields" not in found


@pytest.mark.parametrize("form", log.FORMATS)
@pytest.mark.parametrize(
    ("sentence", "arguments"),
    [
        ("to %s", ("http://u:hush@h/",)),
        ("asked %s", (fields(token="hush"),)),
        ("asked %s", (fields(url="https://u:hush@h/x"),)),
        ("env %s", ({"DB_PASSWORD": "hush"},)),
    ],
)
def test_secrets_are_kept(form: str, sentence: str, arguments: tuple[Any, ...], capsys: pytest.CaptureFixture[str]) -> None:
    log.setup("INFO", form)
    LOGGER.info(sentence, *arguments)
    line = capsys.readouterr().err
    assert "***" in line and "hush" not in line


@pytest.mark.parametrize("form", log.FORMATS)
def test_a_long_line_is_cut_and_stays_whole(form: str, capsys: pytest.CaptureFixture[str]) -> None:
    log.setup("INFO", form)
    LOGGER.info("x" * 50_000)
    line = capsys.readouterr().err
    assert len(line) < log.LINE_MAX + 200 and "(500" in line
    if form == "json":
        json.loads(line)


@pytest.mark.parametrize(
    "secret",
    ['"two words"', "'two words'", '"it\'s \\" two words"', "words", '"words'],
)
def test_a_secret_is_kept_to_its_last_word(secret: str) -> None:
    assert "words" not in log.masked(f"password={secret}") and "words" not in log.masked(f'{{"token": {secret}}}')
    assert log.masked(f"password={secret}, next").endswith(", next")


FORGED = "2026-01-31T12:00:00.123Z INFO eratos.scheduler.audit who=admin status=200"


@pytest.mark.parametrize("end", ["\n", "\r", "\x0b", "\x85", "\u2028"])
def test_nothing_that_is_logged_makes_a_line_of_its_own(end: str, capsys: pytest.CaptureFixture[str]) -> None:
    log.setup()
    LOGGER.info("it ran %s", fields(command=f"true{end}{FORGED}"))
    LOGGER.info("it said %s", f"x{end}{FORGED}")
    try:
        raise ValueError(f"x{end}{FORGED}")
    except ValueError:
        LOGGER.exception("it broke")
    lines = capsys.readouterr().err.splitlines()
    assert [line for line in lines if line.startswith("2026-01-31T12")] == []
    assert [line for line in lines if " eratos.test " in line and "it " in line] == [*lines[:2], lines[2]]
    assert all(line.startswith("  ") for line in lines[3:])


def test_no_value_makes_a_field_of_its_own_or_moves_a_terminals_cursor(capsys: pytest.CaptureFixture[str]) -> None:
    log.setup()
    LOGGER.info("%s", fields(command='x" who=admin', who="bob", path='a"b', end="\\", code="\x1b[2J\u202e"))
    line = capsys.readouterr().err
    assert line.partition("eratos.test ")[2] == ('command="x\\" who=admin" who=bob path="a\\"b" end=\\ code=\\x1b[2J\\u202e\n')
