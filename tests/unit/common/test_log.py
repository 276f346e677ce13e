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
