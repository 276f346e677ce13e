"""Files that an app wants: what is fetched, what is unpacked, and what is refused."""

from __future__ import annotations

import gzip
import io
import tarfile
import threading
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.companion import serve
from support.executor import TASK, Events, a_payload
from support.waiting import until

from eratos.common.payload import Fetch
from eratos.executor import fetcher
from eratos.executor.core import events as on
from eratos.executor.core.host import Host
from eratos.executor.core.start import start_action
from eratos.executor.fetcher import Budget, Fetches, NotFetched, shown

HOST = Host("fw", "e", "a", "h", "h")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "sandbox"
    made.mkdir()
    return made


@pytest.fixture
def files() -> dict[str, bytes]:
    """What the server below serves, by path."""
    return {}


@pytest.fixture
def port(files: dict[str, bytes]) -> Iterator[int]:
    with serve(lambda _, path, __: (200, files[path]) if path in files else (404, b"")) as port:
        yield port


def fetch(folder: Path, uri: str, path: str = "", **options: Any) -> None:
    Budget(bytes_max=options.pop("bytes_max", 10_000_000)).fetch((Fetch(uri, path or uri.rpartition("/")[2], **options),), folder)


def tar(*members: tuple[str, bytes] | tarfile.TarInfo, mode: str = "w:gz") -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=mode) as made:
        for member in members:
            if isinstance(member, tarfile.TarInfo):
                made.addfile(member)
            else:
                entry = tarfile.TarInfo(member[0])
                entry.size, entry.mode = len(member[1]), 0o755
                made.addfile(entry, io.BytesIO(member[1]))
    return buffer.getvalue()


def link(name: str, target: str, kind: bytes) -> tarfile.TarInfo:
    entry = tarfile.TarInfo(name)
    entry.type, entry.linkname = kind, target
    return entry


def zipped(**members: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as made:
        for name, content in members.items():
            made.writestr(name, content)
    return buffer.getvalue()


def _id(value: Any) -> str | None:
    """Name a parameter: what is in an archive is no name, and holds the time."""
    return "content" if isinstance(value, bytes) else None


def test_files_come_from_servers_and_from_the_host(folder: Path, tmp_path: Path, files: dict[str, bytes], port: int) -> None:
    files["/a?token=1"] = b"from afar"
    (tmp_path / "b c").write_bytes(b"from here")
    fetch(folder, f"http://127.0.0.1:{port}/a?token=1", "in/a")
    fetch(folder, (tmp_path / "b c").as_uri(), "b")
    fetch(folder, str(tmp_path / "b c"), "c")
    assert [(folder / name).read_bytes() for name in ("in/a", "b", "c")] == [b"from afar", b"from here", b"from here"]


@pytest.mark.parametrize("executable", [True, False])
def test_a_file_is_executable_where_the_app_says_so(folder: Path, files: dict[str, bytes], port: int, executable: bool) -> None:
    files["/run"] = b"#!/bin/sh\n"
    fetch(folder, f"http://127.0.0.1:{port}/run", executable=executable)
    assert bool((folder / "run").stat().st_mode & 0o100) == executable


@pytest.mark.parametrize(("name", "mode"), [("a.tar", "w"), ("a.tgz", "w:gz"), ("a.tar.bz2", "w:bz2"), ("a.tar.xz", "w:xz")])
def test_archives_are_unpacked_beside_themselves(folder: Path, files: dict[str, bytes], port: int, name: str, mode: str) -> None:
    files[f"/{name}"] = tar(("bin/run", b"x"), link("bin/alias", "run", tarfile.SYMTYPE), mode=mode)
    fetch(folder, f"http://127.0.0.1:{port}/{name}")
    assert ((folder / "bin" / "alias").read_bytes(), (folder / "bin" / "run").stat().st_mode & 0o777) == (b"x", 0o755)
    assert (folder / name).exists()


def test_a_zip_is_unpacked(folder: Path, files: dict[str, bytes], port: int) -> None:
    files["/a.zip"] = zipped(**{"in/a": b"x", "b/": b""})
    fetch(folder, f"http://127.0.0.1:{port}/a.zip")
    assert ((folder / "in" / "a").read_bytes(), (folder / "b").is_dir()) == (b"x", True)


def test_a_compressed_file_is_unpacked_within_the_limits(folder: Path, files: dict[str, bytes], port: int) -> None:
    files["/a.gz"] = gzip.compress(b"x" * 2_000_000)
    fetch(folder, f"http://127.0.0.1:{port}/a.gz")
    assert (folder / "a").read_bytes() == b"x" * 2_000_000
    with pytest.raises(NotFetched, match="too large"):
        fetch(folder, f"http://127.0.0.1:{port}/a.gz", bytes_max=2_000_000)


def test_an_archive_stays_whole_where_the_app_says_so_and_what_is_none_stays_anyway(
    folder: Path, files: dict[str, bytes], port: int
) -> None:
    files |= {"/a.tgz": tar(("x", b"x")), "/b.txt": tar(("x", b"x"))}
    fetch(folder, f"http://127.0.0.1:{port}/a.tgz", extract=False)
    fetch(folder, f"http://127.0.0.1:{port}/b.txt")
    assert sorted(path.name for path in folder.iterdir()) == ["a.tgz", "b.txt"]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.tgz", tar(("../evil", b"x"))),
        ("a.tgz", tar(("in/../../evil", b"x"))),
        ("a.tgz", tar(("/tmp/evil", b"x"))),
        ("a.tgz", tar(link("evil", "../..", tarfile.SYMTYPE), ("evil/x", b"x"))),
        ("a.tgz", tar(link("evil", "/etc/passwd", tarfile.SYMTYPE))),
        ("a.tgz", tar(link("evil", "../outside", tarfile.LNKTYPE))),
        ("a.tgz", tar(link("evil", "", tarfile.CHRTYPE))),
        ("a.zip", zipped(**{"../evil": b"x"})),
        ("a.zip", zipped(**{"/evil": b"x"})),
        ("a.zip", zipped(**{"in\\..\\..\\evil": b"x"})),
    ],
    ids=_id,
)
def test_an_archive_that_would_write_elsewhere_is_refused(
    folder: Path, tmp_path: Path, files: dict[str, bytes], port: int, name: str, content: bytes
) -> None:
    (tmp_path / "outside").write_bytes(b"mine")
    files[f"/{name}"] = content
    with pytest.raises(NotFetched, match=name):
        fetch(folder, f"http://127.0.0.1:{port}/{name}")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["outside", "sandbox"]
    assert [path.name for path in folder.iterdir() if path.is_symlink() or path.name != name] == []


@pytest.mark.parametrize("path", ["../evil", "/tmp/evil"])
def test_a_place_outside_of_the_folder_is_refused(folder: Path, tmp_path: Path, path: str) -> None:
    (tmp_path / "a").write_bytes(b"x")
    with pytest.raises(NotFetched, match="outside"):
        fetch(folder, str(tmp_path / "a"), path)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a", b"x" * 2_000_001),
        ("a.tgz", tar(("x", bytes(2_000_000)))),
        ("a.zip", zipped(x=bytes(2_000_000))),
    ],
    ids=_id,
)
def test_more_than_a_host_can_bear_is_refused_unpacked_or_not(
    folder: Path, files: dict[str, bytes], port: int, name: str, content: bytes
) -> None:
    files[f"/{name}"] = content
    with pytest.raises(NotFetched, match="too large"):
        fetch(folder, f"http://127.0.0.1:{port}/{name}", bytes_max=2_000_000)


def test_too_many_files_in_an_archive_are_refused(
    folder: Path, files: dict[str, bytes], port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetcher, "ENTRIES_MAX", 3)
    files["/a.tgz"] = tar(*((f"f{number}", b"") for number in range(4)))
    with pytest.raises(NotFetched, match="too many"):
        fetch(folder, f"http://127.0.0.1:{port}/a.tgz")


def test_what_takes_too_long_is_given_up(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"x")
    with pytest.raises(NotFetched, match="too long"):
        Budget(time_s=-1).fetch((Fetch(str(tmp_path / "a"), "a"),), folder)


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("nosuch", None, "404"),
        ("a.tgz", b"no archive", "a.tgz"),
        ("a.zip", b"no archive", "a.zip"),
        ("a.gz", b"no archive", "a.gz"),
        ("a.gz", gzip.compress(bytes(1000))[:-10], "a.gz"),
        ("a.tgz", tar(("x", b"x" * 100_000))[:-20], "a.tgz"),
    ],
    ids=_id,
)
def test_what_cannot_be_had_is_named(
    folder: Path, files: dict[str, bytes], port: int, name: str, content: bytes | None, words: str
) -> None:
    if content is not None:
        files[f"/{name}"] = content
    with pytest.raises(NotFetched, match=words):
        fetch(folder, f"http://127.0.0.1:{port}/{name}")


def test_a_server_that_is_not_there_is_named_without_the_password(folder: Path) -> None:
    with pytest.raises(NotFetched, match=r"http://127\.0\.0\.1:9/a cannot be fetched") as caught:
        fetch(folder, "http://joe:hunter2@127.0.0.1:9/a?signature=s3cret", "a")
    assert "hunter2" not in str(caught.value) + shown("http://joe:hunter2@x/a?s=s3cret")
    assert "s3cret" not in str(caught.value) + shown("http://joe:hunter2@x/a?s=s3cret")


# Starts that wait ---------------------------------------------------------------------------------------------------------------


def an_action(*files: Fetch) -> Any:
    return start_action(a_payload(TASK, image="", args=("x",), fetch=files), HOST)


def test_a_start_goes_on_once_its_files_are_there(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"x")
    events, went_on = Events(), threading.Event()
    Fetches(events.emit).wait_for(an_action(Fetch(str(tmp_path / "a"), "a")), folder, went_on.set)
    assert str(tmp_path / "a") in events.until(on.Preparing).what
    assert went_on.wait(10)
    assert (folder / "a").read_bytes() == b"x"


def test_a_start_whose_files_cannot_be_had_fails_with_the_reason(folder: Path) -> None:
    events = Events()
    Fetches(events.emit).wait_for(an_action(Fetch("/no/such/file", "a")), folder, lambda: None)
    assert "/no/such/file" in events.until(on.StartFailed).message


def test_a_cancelled_start_fails_at_once_and_never_goes_on(folder: Path) -> None:
    events, asked, answer, went_on = Events(), threading.Event(), threading.Event(), threading.Event()

    def slow(*_: Any) -> tuple[int, bytes]:
        asked.set()
        answer.wait(10)
        return 200, b"x"

    with serve(slow) as port:
        fetches = Fetches(events.emit)
        fetches.wait_for(an_action(Fetch(f"http://127.0.0.1:{port}/a", "a")), folder, went_on.set)
        assert asked.wait(10)
        fetches.cancel(TASK)
        assert "cancelled" in events.until(on.StartFailed).message
        answer.set()
        until(lambda: not any(thread.name == "fetch" for thread in threading.enumerate()), 10, "the fetch has ended")
        assert not went_on.is_set()
        fetches.cancel(TASK)  # too late, and fine
