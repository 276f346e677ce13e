"""Files that an app wants: what is fetched, what is unpacked, and what is refused."""

from __future__ import annotations

import gzip
import io
import os
import resource
import socket
import tarfile
import tempfile
import threading
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
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
from eratos.executor.fetcher import Account, Budget, Fetches, NotFetched, shown

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


@pytest.mark.parametrize("kind", ["tar", "zip"])
def test_folders_that_nobody_lists_count_as_files_do(
    folder: Path, files: dict[str, bytes], port: int, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """One entry may ask for sixty folders, each of which takes a block of the disk."""
    monkeypatch.setattr(fetcher, "ENTRIES_MAX", 100)
    paths = [f"{number}/" + "d/" * 50 + "x" for number in range(2)]
    files[f"/a.{kind}"] = (
        tar(*((path, b"") for path in paths), mode="w") if kind == "tar" else zipped(**dict.fromkeys(paths, b""))
    )
    with pytest.raises(NotFetched, match="too many"):
        fetch(folder, f"http://127.0.0.1:{port}/a.{kind}")


def test_a_folder_is_counted_once_whether_it_is_listed_or_not(
    folder: Path, files: dict[str, bytes], port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetcher, "ENTRIES_MAX", 4)
    files["/a.tar"] = tar(*(link(name, "", tarfile.DIRTYPE) for name in ("a", "a/b")), ("a/b/c/x", b""), mode="w")
    fetch(folder, f"http://127.0.0.1:{port}/a.tar")
    files["/b.tar"] = tar(*[link("a", "", tarfile.DIRTYPE)] * 5, mode="w")
    with pytest.raises(NotFetched, match="too many"):
        fetch(folder, f"http://127.0.0.1:{port}/b.tar")


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


def bomb(header: bytes) -> bytes:
    """An archive whose first header announces 400 MiB of zeros."""
    entry = tarfile.TarInfo("././@LongLink" if header in b"LK" else "pax")
    entry.type, entry.size = header, 400 * 1024 * 1024
    packer = zlib.compressobj(wbits=31)
    begin = packer.compress(entry.tobuf(tarfile.GNU_FORMAT)) + packer.flush(zlib.Z_FULL_FLUSH)
    # Flushed in full, a piece stands for itself and can be repeated.
    piece = packer.compress(bytes(1024 * 1024)) + packer.flush(zlib.Z_FULL_FLUSH)
    return begin + 400 * piece


@pytest.mark.parametrize("header", [b"x", b"g", b"L", b"K"], ids=["pax", "global pax", "long name", "long link"])
def test_a_header_of_any_size_takes_no_memory_of_the_executor(
    folder: Path, files: dict[str, bytes], port: int, header: bytes
) -> None:
    files["/a.tgz"] = bomb(header)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(NotFetched, match="of memory to unpack"):
        fetch(folder, f"http://127.0.0.1:{port}/a.tgz", bytes_max=1024**3)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100 * 1024


@pytest.mark.parametrize(
    "members",
    [
        # A chain of links whose end realpath does not see (CVE-2025-4517 and its kin).
        [link("a", "b", tarfile.SYMTYPE), link("b", ".", tarfile.SYMTYPE), link("c", "a/..", tarfile.SYMTYPE)],
        [link("in", ".", tarfile.SYMTYPE), ("in/x", b"x")],
        [link("in", ".", tarfile.SYMTYPE), link("in/y", "x", tarfile.SYMTYPE)],
        [link("loop", "loop", tarfile.SYMTYPE), ("loop/x", b"x")],
        [("d/x", b"x"), link("d/up", "../..", tarfile.SYMTYPE)],
        [link("hard", "link", tarfile.LNKTYPE), link("link", "/etc/passwd", tarfile.SYMTYPE)],
        [link("l", "x", tarfile.SYMTYPE), link("hard", "l", tarfile.LNKTYPE)],
        [link("pipe", "", tarfile.FIFOTYPE)],
        [link("block", "", tarfile.BLKTYPE)],
        [("deep/" * 100 + "x", b"x")],
    ],
    ids=_id,
)
def test_ways_through_links_are_refused(folder: Path, files: dict[str, bytes], port: int, members: list[Any]) -> None:
    files["/a.tar"] = tar(*members, mode="w")
    with pytest.raises(NotFetched, match=r"a\.tar"):
        fetch(folder, f"http://127.0.0.1:{port}/a.tar")


def test_links_within_an_archive_are_kept(folder: Path, files: dict[str, bytes], port: int) -> None:
    members = (
        ("lib/tool/run", b"x"),
        link("bin/tool", "../lib/tool/run", tarfile.SYMTYPE),
        link("same", "lib/tool/run", tarfile.LNKTYPE),
    )
    files["/a.tar"] = tar(*members, mode="w")
    fetch(folder, f"http://127.0.0.1:{port}/a.tar")
    assert (folder / "bin" / "tool").read_bytes() == (folder / "same").read_bytes() == b"x"


def test_dangerous_modes_are_dropped(folder: Path, files: dict[str, bytes], port: int) -> None:
    entry = tarfile.TarInfo("run")
    entry.mode = 0o6777
    files["/a.tar"] = tar(entry, mode="w")
    fetch(folder, f"http://127.0.0.1:{port}/a.tar")
    assert (folder / "run").stat().st_mode & 0o7777 == 0o755


def test_a_file_goes_nowhere_through_a_link_of_an_earlier_archive(
    folder: Path, tmp_path: Path, files: dict[str, bytes], port: int
) -> None:
    files |= {"/a.tar": tar(link("in", "x", tarfile.SYMTYPE), mode="w"), "/b": b"b"}
    fetch(folder, f"http://127.0.0.1:{port}/a.tar")
    (folder / "in").unlink()
    (folder / "in").symlink_to(tmp_path)
    with pytest.raises(NotFetched, match="through a link"):
        fetch(folder, f"http://127.0.0.1:{port}/b", "in/b")
    assert not (tmp_path / "b").exists()


def test_what_is_no_file_of_the_host_is_refused_and_not_waited_for(folder: Path, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", tmp_path, Path("/dev/zero")):
        with pytest.raises(NotFetched, match=r"is no file|Is a directory"):
            fetch(folder, str(path), "x")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may become others")
def test_another_users_pipe_is_given_up_in_time(folder: Path) -> None:
    with tempfile.TemporaryDirectory() as place:
        Path(place).chmod(0o755)
        pipe = Path(place) / "pipe"
        os.mkfifo(pipe)
        pipe.chmod(0o644)
        with pytest.raises(NotFetched, match="too long"):
            Budget(account=Account.named("nobody"), time_s=1).fetch((Fetch(str(pipe), "x"),), folder)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may become others")
@pytest.mark.parametrize("user", [None, "nobody"])
def test_whose_the_files_are(folder: Path, files: dict[str, bytes], port: int, user: str | None) -> None:
    files["/in/a.tar"] = tar(("deep/x", b"x"), mode="w")
    account = Account.named(user) if user else None
    Budget(account=account).fetch((Fetch(f"http://127.0.0.1:{port}/in/a.tar", "in/a.tar"),), folder)
    owners = {path.owner() for path in folder.rglob("*")}
    assert owners == {"nobody"}


def test_a_download_that_trickles_is_given_up(folder: Path, files: dict[str, bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetcher, "LEAST_EVERY_S", 0.2)
    ended = threading.Event()

    def trickle(connection: socket.socket) -> None:
        with connection:
            connection.recv(4096)
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")
            with suppress(OSError):
                while not ended.wait(0.01):
                    connection.sendall(b"x")

    with socket.create_server(("127.0.0.1", 0)) as server:
        served = threading.Thread(target=lambda: trickle(server.accept()[0]))
        served.start()
        with pytest.raises(NotFetched, match="bytes came within"):
            fetch(folder, f"http://127.0.0.1:{server.getsockname()[1]}/a")
        ended.set()
        served.join()


@pytest.mark.parametrize(
    ("begin", "more"),
    [
        (b"HTTP/1.1 200 OK\r\nX-Long: ", b"x"),
        (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n", b"More: x\r\n"),
    ],
    ids=["header", "interim answers", "trailer"],
)
@pytest.mark.parametrize("why", ["too long", "cancelled"])
def test_an_answer_that_never_ends_is_given_up(
    folder: Path, monkeypatch: pytest.MonkeyPatch, begin: bytes, more: bytes, why: str
) -> None:
    """Something always comes, so no wait for the next byte is long."""
    monkeypatch.setattr(fetcher, "_LOOK_S", 0.02)
    cancelled, ended = threading.Event(), threading.Event()

    def drip(connection: socket.socket) -> None:
        with connection, suppress(OSError):
            connection.recv(4096)
            connection.sendall(begin)
            if why == "cancelled":
                cancelled.set()
            for _ in range(2000):
                if ended.wait(0.01):
                    return
                connection.sendall(more)

    with socket.create_server(("127.0.0.1", 0)) as server:
        served = threading.Thread(target=lambda: drip(server.accept()[0]))
        served.start()
        budget = Budget(cancelled, time_s=0.1 if why == "too long" else 600)
        with pytest.raises(NotFetched, match=why):
            budget.fetch((Fetch(f"http://127.0.0.1:{server.getsockname()[1]}/a", "a"),), folder)
        ended.set()
        socket.create_connection(server.getsockname()).close()  # where the time was over before anybody asked
        served.join()


@contextmanager
def raw_server(*answers: bytes) -> Iterator[tuple[int, list[bytes]]]:
    """Give a port at which each connection gets the next answer, as it is, and the heads of what was asked there.

    A connection stays until the next one was answered.
    """
    asked: list[bytes] = []

    def answer_all(server: socket.socket) -> None:
        with ExitStack() as before, suppress(OSError):
            for answer in answers:
                connection = before.enter_context(server.accept()[0])
                asked.append(connection.recv(65536))
                connection.sendall(answer)

    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(60)
        serving = threading.Thread(target=answer_all, args=(server,), daemon=True)
        serving.start()
        yield server.getsockname()[1], asked
        serving.join()


def answered(body: bytes, *headers: str, status: str = "200 OK", length: int | None = None) -> bytes:
    lines = [f"HTTP/1.1 {status}", "Connection: close", f"Content-Length: {len(body) if length is None else length}", *headers]
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


def test_a_redirection_is_followed_without_its_body(folder: Path) -> None:
    """Its body has no end: the executor would keep all of it in memory, and the start would wait for it."""
    endless = answered(b"x", "Location: /b", status="302 Found", length=10**12)
    with raw_server(endless, answered(b"there")) as (port, asked):
        fetch(folder, f"http://joe:hunter2@127.0.0.1:{port}/a")
    assert (folder / "a").read_bytes() == b"there"
    assert [head.split()[1] for head in asked] == [b"/a", b"/b"]
    assert all(b"Authorization: Basic " in head for head in asked), "the same server needs the same login"


def test_a_login_goes_to_no_other_server(folder: Path) -> None:
    with (
        raw_server(answered(b"there")) as (other, asked),
        raw_server(answered(b"", f"Location: http://127.0.0.1:{other}/b", status="301 Moved Permanently")) as (port, _),
    ):
        fetch(folder, f"http://joe:hunter2@127.0.0.1:{port}/a")
    assert b"Authorization" not in asked[0]


@pytest.mark.parametrize(
    ("answers", "words"),
    [
        ([answered(b"", "Location: /a", status="302 Found")] * fetcher.REDIRECTS_MAX, "leads on more than"),
        ([answered(b"", "Location: http://[\xff", status="302 Found")], "no address"),
        ([answered(b"", "Location: file:///etc/passwd", status="302 Found")], "InvalidSchema"),
        ([answered(b"abc", length=10)], "broke off"),
        ([answered(gzip.compress(b"x" * 1000)[:-9], "Content-Encoding: gzip")], "cut short"),
        ([answered(b"none", "Content-Encoding: gzip")], "compression"),
        ([answered(b"none", "Content-Encoding: br")], "not asked for"),
    ],
    ids=["no end", "no address", "no server", "cut", "compressed and cut", "not compressed", "unknown"],
)
def test_what_a_server_does_wrong_is_named(folder: Path, answers: list[bytes], words: str) -> None:
    with raw_server(*answers) as (port, _), pytest.raises(NotFetched, match=words):
        fetch(folder, f"http://127.0.0.1:{port}/a")


@pytest.mark.parametrize(
    ("body", "content"),
    [
        (gzip.compress(bytes(300_000)), bytes(300_000)),
        (gzip.compress(bytes(range(256)) * 512), bytes(range(256)) * 512),
        (gzip.compress(b"one") + gzip.compress(b"two"), b"onetwo"),
        (b"", b""),
    ],
    ids=["of zeros", "of two pieces", "of two parts", "empty"],
)
def test_what_is_compressed_on_its_way_only_is_saved_as_it_was(folder: Path, body: bytes, content: bytes) -> None:
    with raw_server(answered(body, "Content-Encoding: gzip")) as (port, asked):
        fetch(folder, f"http://127.0.0.1:{port}/a")
    assert (folder / "a").read_bytes() == content
    assert b"Accept-Encoding: identity" in asked[0]


def test_what_is_compressed_on_its_way_is_bounded_by_what_comes_of_it(folder: Path) -> None:
    body = answered(gzip.compress(bytes(20_000_000)), "Content-Encoding: gzip")
    with raw_server(body) as (port, _), pytest.raises(NotFetched, match="too large"):
        fetch(folder, f"http://127.0.0.1:{port}/a")


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
    assert went_on.wait(60)
    assert (folder / "a").read_bytes() == b"x"


def test_a_start_whose_files_cannot_be_had_fails_with_the_reason(folder: Path) -> None:
    events = Events()
    Fetches(events.emit).wait_for(an_action(Fetch("/no/such/file", "a")), folder, lambda: None)
    assert "/no/such/file" in events.until(on.StartFailed).message


def test_a_cancelled_start_fails_at_once_and_never_goes_on(folder: Path) -> None:
    events, asked, answer, went_on = Events(), threading.Event(), threading.Event(), threading.Event()

    def slow(*_: Any) -> tuple[int, bytes]:
        asked.set()
        answer.wait(60)
        return 200, b"x"

    with serve(slow) as port:
        fetches = Fetches(events.emit)
        fetches.wait_for(an_action(Fetch(f"http://127.0.0.1:{port}/a", "a")), folder, went_on.set)
        assert asked.wait(60)
        fetches.cancel(TASK)
        assert "cancelled" in events.until(on.StartFailed).message
        answer.set()
        until(lambda: not any(thread.name == "fetch" for thread in threading.enumerate()), 10, "the fetch has ended")
        assert not went_on.is_set()
        fetches.cancel(TASK)  # too late, and fine
