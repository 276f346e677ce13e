"""What ``eratos`` shows the API, from options and the environment."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from eratos.cli.main import run

BASIC = "Basic YWxpY2U6Y29ycmVjdCBob3JzZQ=="  # alice:correct horse


class Server:
    """Answers 200 to ``wanted``, else 401, and keeps what it was shown."""

    def __init__(self) -> None:
        self.shown: list[str | None] = []
        self.status = 200
        shown = self.shown

        class Handler(BaseHTTPRequestHandler):
            def do_GET(handler: Any) -> None:  # noqa: N805
                shown.append(handler.headers["Authorization"])
                body = b'{"apps": []}' if self.status == 200 else b'{"message": "not known"}'
                handler.send_response(self.status)
                handler.send_header("Content-Length", str(len(body)))
                handler.end_headers()
                handler.wfile.write(body)

            do_POST = do_GET  # noqa: N815

            def log_message(self, *_: object) -> None:
                pass

        self.http = HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_port}"


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    for name in ("TOKEN", "TOKEN_FILE", "CREDENTIALS", "CA_FILE", "CERT_FILE"):
        monkeypatch.delenv(f"ERATOS_{name}", raising=False)
    made = Server()
    monkeypatch.setenv("ERATOS_URL", made.url)
    thread = threading.Thread(target=made.http.serve_forever, args=(0.01,))
    thread.start()
    yield made
    made.http.shutdown()
    thread.join()
    made.http.server_close()


def token_file(folder: Path, mode: int = 0o600) -> str:
    path = folder / "token"
    path.write_text("from-a-file\n")
    path.chmod(mode)
    return str(path)


@pytest.mark.parametrize(
    ("environment", "options", "shown"),
    [
        ({}, False, None),
        ({"ERATOS_TOKEN": "abc"}, False, "Bearer abc"),
        ({"ERATOS_CREDENTIALS": "alice:correct horse"}, False, BASIC),
        ({"ERATOS_CREDENTIALS": "alice:correct horse", "ERATOS_TOKEN": "abc"}, False, "Bearer abc"),
        ({"ERATOS_TOKEN": "abc"}, True, "Bearer from-a-file"),
        ({"ERATOS_TOKEN_FILE": "."}, False, "Bearer from-a-file"),
    ],
)
def test_what_the_api_is_shown(
    server: Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, environment: dict[str, str], options: bool, shown: str | None
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, token_file(tmp_path) if value == "." else value)
    given = ["--token-file", token_file(tmp_path)] if options else []
    assert run(["app", "list", *given]) == 0
    assert server.shown == [shown]


def test_a_netrc_file_does_not_take_a_tokens_place(server: Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login other password other\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    monkeypatch.setenv("ERATOS_TOKEN", "abc")
    assert run(["app", "list"]) == 0
    assert server.shown == ["Bearer abc"]


def test_who_is_not_known_is_told_what_is_shown(server: Server, capsys: pytest.CaptureFixture[str]) -> None:
    server.status = 401
    assert run(["app", "list"]) == 1
    assert "ERATOS_TOKEN" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (["--token-file", "/no/such/file"], "--token-file: /no/such/file"),
        (["--ca-file", "/no/such/file"], "--ca-file: /no/such/file"),
        (["--cert-file", "/no/such/file"], "--cert-file: /no/such/file"),
    ],
)
def test_a_file_that_is_none_is_named(
    server: Server, capsys: pytest.CaptureFixture[str], options: list[str], complaint: str
) -> None:
    assert run(["app", "list", *options]) == 1
    assert complaint in capsys.readouterr().err
    assert not server.shown


def test_a_token_that_others_may_read_is_refused(server: Server, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert run(["app", "list", "--token-file", token_file(tmp_path, 0o644)]) == 1
    said = capsys.readouterr().err
    assert "chmod 600" in said and "from-a-file" not in said


def test_too_many_requests_are_no_doubt_about_a_change() -> None:
    from eratos.marathon.client import MarathonClient, Unreachable

    server = Server()
    server.status = 429
    thread = threading.Thread(target=server.http.handle_request)
    thread.start()
    with pytest.raises(Unreachable) as caught:
        MarathonClient(server.url).restart("/a")
    thread.join()
    server.http.server_close()
    assert not caught.value.perhaps_made
