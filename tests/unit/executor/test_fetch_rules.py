"""What the executor fetches from: held against the address that a connection was made to, after redirects as well."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from support.companion import serve

from eratos.common.payload import Fetch
from eratos.executor.fetch_rules import FetchRules
from eratos.executor.fetcher import Budget, NotFetched

STRICT = FetchRules(private=False)


def fetch(folder: Path, uri: str, rules: FetchRules) -> bytes:
    folder.mkdir(exist_ok=True)
    Budget(rules=rules).fetch((Fetch(uri, "file"),), folder)
    return (folder / "file").read_bytes()


@pytest.fixture
def lead(monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], None]:
    """Have a name lead to an address."""
    known: dict[str, str] = {}
    resolve = socket.getaddrinfo

    def resolved(host: Any, *arguments: Any, **options: Any) -> Any:
        return resolve(known.get(host, host), *arguments, **options)

    monkeypatch.setattr(socket, "getaddrinfo", resolved)
    return known.__setitem__


@contextmanager
def redirecting(to: str) -> Iterator[int]:
    from http.server import BaseHTTPRequestHandler, HTTPServer
    from threading import Thread

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(302)
            self.send_header("Location", to)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.mark.parametrize(
    ("address", "port", "private", "problem"),
    [
        ("93.184.216.34", 80, False, ""),
        ("93.184.216.34", 5052, False, ""),
        ("10.0.0.1", 80, True, ""),
        ("10.0.0.1", 80, False, "--allow-private-fetch"),
        ("127.0.0.1", 80, False, "--allow-private-fetch"),
        ("::1", 80, False, "--allow-private-fetch"),
        ("127.0.0.1", 5052, True, "eratos itself listens"),
        ("10.0.0.1", 9100, True, "eratos itself listens"),
        ("169.254.169.254", 80, True, "metadata service"),
        ("169.254.1.1", 80, True, "link-local"),
        ("fe80::1%eth0", 80, True, "link-local"),
        ("::ffff:169.254.169.254", 80, True, "metadata service"),
    ],
)
def test_addresses(address: str, port: int, private: bool, problem: str) -> None:
    found = FetchRules(private=private).address_problem(address, port)
    assert problem in found and bool(found) == bool(problem)


def test_a_name_that_leads_to_a_private_network_is_found_out(tmp_path: Path, lead: Callable[[str, str], None]) -> None:
    lead("files.example", "127.0.0.1")
    asked: list[str] = []
    with serve(lambda _, path, __: (asked.append(path), (200, b"secret"))[1]) as port:
        assert fetch(tmp_path / "a", f"http://files.example:{port}/x", FetchRules()) == b"secret"
        asked.clear()
        with pytest.raises(NotFetched, match="--allow-private-fetch"):
            fetch(tmp_path / "b", f"http://files.example:{port}/x", STRICT)
        assert not asked  # nothing was sent there
        # What the definition spells out was the scheduler's to judge: apps from before go on.
        assert fetch(tmp_path / "c", f"http://127.0.0.1:{port}/x", STRICT) == b"secret"


def test_a_redirect_is_found_out(tmp_path: Path) -> None:
    asked: list[str] = []
    with (
        serve(lambda _, path, __: (asked.append(path), (200, b"secret"))[1]) as port,
        redirecting(f"http://127.0.0.1:{port}/x") as public,
    ):
        # The first is spelled out in the definition, the second is not.
        with pytest.raises(NotFetched, match="--allow-private-fetch"):
            fetch(tmp_path / "a", f"http://127.0.0.1:{public}/", STRICT)
        assert not asked
        with pytest.raises(NotFetched, match="eratos itself listens"):
            fetch(tmp_path / "b", f"http://127.0.0.1:{public}/", FetchRules(ports=frozenset({port})))
        assert not asked
        assert fetch(tmp_path / "c", f"http://127.0.0.1:{public}/", FetchRules()) == b"secret"


@pytest.mark.parametrize("target", ["file:///etc/passwd", "gopher://127.0.0.1/x"])
def test_a_redirect_to_another_scheme_leads_nowhere(tmp_path: Path, target: str) -> None:
    with redirecting(target) as port, pytest.raises(NotFetched, match="cannot be fetched"):
        fetch(tmp_path / "a", f"http://127.0.0.1:{port}/", FetchRules())


def test_roots_netrc_and_proxies_are_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login root password hunter2\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    monkeypatch.delenv("no_proxy", raising=False)
    shown: list[Any] = []
    from http.server import BaseHTTPRequestHandler, HTTPServer
    from threading import Thread

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            shown.append((self.path, self.headers["Authorization"]))
            self.send_response(200)
            self.send_header("Content-Length", "1")
            self.end_headers()
            self.wfile.write(b"x")

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        url = f"http://127.0.0.1:{server.server_port}"
        assert fetch(tmp_path / "a", f"{url}/x", FetchRules()) == b"x"
        assert fetch(tmp_path / "b", "http://files.example/y", FetchRules(proxy=url)) == b"x"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
    assert shown == [("/x", None), ("http://files.example/y", None)]


def test_files_of_the_host_come_from_its_folders_whatever_links_say(tmp_path: Path) -> None:
    allowed, other = tmp_path / "allowed", tmp_path / "other"
    allowed.mkdir()
    other.mkdir()
    (allowed / "good").write_text("good")
    (other / "bad").write_text("bad")
    (allowed / "link").symlink_to(other / "bad")
    (tmp_path / "alias").symlink_to(allowed)
    rules = FetchRules((str(tmp_path / "alias"),))
    assert fetch(tmp_path / "a", str(allowed / "good"), rules) == b"good"
    assert fetch(tmp_path / "b", f"file://{tmp_path}/alias/good", rules) == b"good"
    for path in (other / "bad", allowed / "link", f"{allowed}/../other/bad", "/etc/hostname"):
        with pytest.raises(NotFetched, match="none of the folders"):
            fetch(tmp_path / "c", str(path), rules)
    assert fetch(tmp_path / "d", str(other / "bad"), FetchRules()) == b"bad"
