"""Administrators' own lines: which files are taken, which are refused, and what goes on instead."""

from __future__ import annotations

from pathlib import Path

import pytest

from eratos.haproxy import snippets
from eratos.haproxy.core.haproxy_text import Snippets
from eratos.haproxy.snippets import Laid


class Judge:
    """An HAProxy that refuses whatever has a bad word in it."""

    def __init__(self) -> None:
        self.asked = 0

    def __call__(self, laid: Snippets) -> str:
        self.asked += 1
        return "unknown keyword 'bad'" if any("bad" in text for text in laid.values()) else ""


def test_good_files_are_taken_and_judged_once(tmp_path: Path) -> None:
    judge, laid = Judge(), Laid(tmp_path)
    assert laid.good({}, judge) == {}
    for name in ("global", "defaults", "frontend", "frontend-443", "backend", "backend-shop_1"):
        (tmp_path / f"{name}.cfg").write_text(f"# {name}\n")
    (tmp_path / "backend.cfg~").write_text("bad")
    found = laid.good({}, judge)
    assert found.keys() == {"global", "defaults", "frontend", "frontend-443", "backend", "backend-shop_1"}
    assert laid.refused == ()
    assert judge.asked == 6
    assert laid.good(found, judge) == found
    assert judge.asked == 6


def test_of_a_file_that_turns_bad_the_last_good_content_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    judge, laid = Judge(), Laid(tmp_path)
    (tmp_path / "frontend.cfg").write_text("bad")
    (tmp_path / "backend.cfg").write_text("bad")
    (tmp_path / "global.cfg").write_text("new")
    live = {"frontend": "good", "defaults": "gone"}
    for _ in range(2):
        assert laid.good(live, judge) == {"frontend": "good", "global": "new"}
        assert laid.refused == (
            "backend.cfg: unknown keyword 'bad'",
            "frontend.cfg: unknown keyword 'bad'; the one from before goes on",
        )
    assert judge.asked == 3
    # After a while there is another look: it may have been a full disk.
    monkeypatch.setattr(snippets, "REFUSED_FOR_S", -1.0)
    laid = Laid(tmp_path)
    laid.good(live, judge)
    laid.good(live, judge)
    assert judge.asked == 9


@pytest.mark.parametrize(
    ("name", "text", "reason"),
    [
        ("other.cfg", b"", "its name must be global, defaults, frontend, frontend-PORT, backend or backend-SERVICE"),
        ("frontend-0.cfg", b"", "its name must be"),
        ("backend-a b.cfg", b"", "its name must be"),
        ("backend.cfg", b"option x\n  frontend evil", "frontend may not stand in a snippet"),
        ("backend.cfg", b"server a 10.0.0.1:80", "server may not stand in a snippet"),
        ("backend.cfg", b"x" * 65537, "it is larger than 64 KiB"),
        ("backend.cfg", b"\xff", "can't decode byte"),
    ],
)
def test_what_cannot_be_a_snippet_is_refused_without_asking_haproxy(tmp_path: Path, name: str, text: bytes, reason: str) -> None:
    judge, laid = Judge(), Laid(tmp_path)
    (tmp_path / name).write_bytes(text)
    live = {"backend": "good"}
    assert laid.good(live, judge) == ({"backend": "good"} if name == "backend.cfg" else {})
    (refused,) = laid.refused
    assert refused.startswith(f"{name}: ")
    assert reason in refused
    assert judge.asked == 0


def test_every_change_of_the_folder_shows(tmp_path: Path) -> None:
    laid = Laid(tmp_path / "none")
    seen = [laid.signature()]
    (tmp_path / "none").mkdir()
    for text in ("a", "bc"):
        (tmp_path / "none/global.cfg").write_text(text)
        seen.append(laid.signature())
    (tmp_path / "none/global.cfg").unlink()
    assert len({str(signature) for signature in seen}) == 3
    assert laid.signature() == seen[0]
