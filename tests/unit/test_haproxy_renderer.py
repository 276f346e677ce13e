"""What is told of a consul-template that does not stay up."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from eratos.haproxy import renderer


def test_one_that_never_ended_is_no_news(tmp_path: Path) -> None:
    assert renderer.ended(tmp_path / "renderer") == ()


@pytest.mark.parametrize(("note", "told"), [("status 14\n", "ended with status 14 "), ("", "a full disk?")])
def test_an_end_is_told_while_it_is_fresh(tmp_path: Path, note: str, told: str) -> None:
    file = tmp_path / "renderer"
    file.write_text(note)
    (line,) = renderer.ended(file)
    assert line.startswith("balancer.ctmpl: consul-template ")
    assert told in line
    long_ago = time.time() - 60
    os.utime(file, (long_ago, long_ago))
    assert renderer.ended(file) == ()
