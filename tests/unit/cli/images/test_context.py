"""Which files an image is built from, and what the digest over them tells apart."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from eratos.cli.images.context import Context, UnfitContext


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a context with a file, a folder and a link."""
    made = tmp_path / "context"
    (made / "src").mkdir(parents=True)
    (made / "Dockerfile").write_text("FROM scratch\nCOPY . .\n")
    (made / "src" / "main.py").write_text("print()\n")
    (made / "link").symlink_to("src/main.py")
    return made


def context(folder: Path, dockerfile: str = "Dockerfile") -> Context:
    return Context(folder, dockerfile)


def test_everything_in_the_folder_is_in_the_context(folder: Path) -> None:
    assert context(folder).checked() == ["Dockerfile", "link", "src", "src/main.py"]


def test_what_is_ignored_is_not_but_for_the_dockerfile(folder: Path) -> None:
    (folder / ".dockerignore").write_text("*\n!src\n")
    assert context(folder).checked() == ["Dockerfile", "src", "src/main.py"]


def test_a_file_in_a_folder_that_is_ignored_may_be_taken_back(folder: Path) -> None:
    (folder / "src" / "other.py").touch()
    (folder / ".dockerignore").write_text("src\n!src/main.py\n")
    assert [path for path in context(folder).checked() if path.startswith("src")] == ["src/main.py"]


CHANGES: list[Callable[[Path], object]] = [
    lambda folder: (folder / "src" / "main.py").write_text("print(1)\n"),
    lambda folder: (folder / "src" / "main.py").chmod(0o755),
    lambda folder: (folder / "src").chmod(0o700),
    lambda folder: (folder / "src" / "main.py").rename(folder / "src" / "other.py"),
    lambda folder: (folder / "empty").mkdir(),
    lambda folder: ((folder / "link").unlink(), (folder / "link").symlink_to("src")),
    lambda folder: ((folder / "link").unlink(), (folder / "link").write_text("src/main.py")),
    lambda folder: (folder / "Dockerfile").write_text("FROM scratch\n"),
]


@pytest.mark.parametrize("change", CHANGES)
def test_the_digest_tells_every_change_apart(folder: Path, change: Callable[[Path], object]) -> None:
    before = context(folder).digest()
    change(folder)
    assert context(folder).digest() != before


def test_the_digest_is_the_same_for_the_same_files_elsewhere_and_later(folder: Path, tmp_path: Path) -> None:
    before = context(folder).digest()
    os.utime(folder / "src" / "main.py", (1, 1))
    folder.rename(tmp_path / "elsewhere")
    assert context(tmp_path / "elsewhere").digest() == before


def test_what_is_ignored_changes_nothing_in_the_digest(folder: Path) -> None:
    (folder / ".dockerignore").write_text("*.log\n.dockerignore\n")
    before = context(folder).digest()
    (folder / "a.log").touch()
    assert context(folder).digest() == before


@pytest.mark.parametrize("target", ["../secret", "/etc/passwd", "src/../../secret", ".."])
def test_a_link_out_of_the_context_is_refused_by_name(folder: Path, target: str) -> None:
    (folder / "src" / "out").symlink_to(target if target.startswith("/") else f"../{target}")
    with pytest.raises(UnfitContext, match=re.escape(str(folder / "src" / "out"))):
        context(folder).checked()


def test_a_link_that_leads_out_by_way_of_another_one_is_refused(folder: Path) -> None:
    (folder / "src" / "up").symlink_to("..")
    (folder / "out").symlink_to("src/up/../secret")
    with pytest.raises(UnfitContext, match="out of the build context"):
        context(folder).checked()


def test_an_absolute_link_into_the_context_is_refused_as_it_leads_nowhere_in_the_image(folder: Path) -> None:
    (folder / "absolute").symlink_to(folder / "src")
    with pytest.raises(UnfitContext, match="absolute"):
        context(folder).checked()


def test_a_link_out_that_is_ignored_is_no_matter(folder: Path) -> None:
    (folder / "out").symlink_to("/etc/passwd")
    (folder / ".dockerignore").write_text("out\n")
    assert "out" not in context(folder).checked()


def test_a_dockerfile_outside_is_refused_however_it_is_reached(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text("FROM scratch\n")
    (folder / "up").symlink_to("..")
    (folder / ".dockerignore").write_text("up\n")
    with pytest.raises(UnfitContext, match="out of the build context"):
        context(folder, "up/Dockerfile").checked()


@pytest.mark.parametrize("dockerfile", ["nothing", "src"])
def test_a_dockerfile_that_is_none_is_named(folder: Path, dockerfile: str) -> None:
    with pytest.raises(UnfitContext, match=re.escape(str(folder / dockerfile))):
        context(folder, dockerfile).checked()


def test_a_pipe_is_refused_and_not_read(folder: Path) -> None:
    os.mkfifo(folder / "pipe")
    with pytest.raises(UnfitContext, match="pipe"):
        context(folder).digest()


def test_a_folder_that_is_none_is_named(folder: Path) -> None:
    with pytest.raises(UnfitContext, match="nowhere"):
        context(folder / "nowhere").checked()


def test_an_ignore_file_of_the_dockerfile_alone_is_refused(folder: Path) -> None:
    (folder / "Dockerfile.dockerignore").touch()
    with pytest.raises(UnfitContext, match=re.escape("Dockerfile.dockerignore")):
        context(folder).checked()


def test_an_ignore_file_that_cannot_be_read_is_named_with_its_line(folder: Path) -> None:
    (folder / ".dockerignore").write_text("a\n!\n")
    with pytest.raises(UnfitContext, match="'!'"):
        context(folder).checked()
