"""The API over TLS: certificates are renewed without a request failing, and clients' are asked for where that is set."""

from __future__ import annotations

import contextlib
import http.client
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from support.authority import Authority, put
from support.controller import FakeController
from support.waiting import until

from eratos.common.errors import PermanentError
from eratos.scheduler.api import connections
from eratos.scheduler.api.server import ApiServer, create_api
from eratos.scheduler.certificates import Certificate, to_leader


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def stranger(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("stranger"), "stranger")


@contextmanager
def serving(certificate: Certificate, controller: FakeController | None = None, most: int = 1000) -> Iterator[int]:
    api = create_api(controller or FakeController(), leader_tls=certificate.to_leader)
    server = ApiServer(api, "127.0.0.1", 0, most, tls=certificate.server)
    server.start()
    try:
        yield server.port
    finally:
        server.stop()


def client(authority: Authority, shown: Path | None = None) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=str(authority.file))
    if shown is not None:
        context.load_cert_chain(shown)
    return context


def ask(port: int, tls: ssl.SSLContext, path: str = "/ping") -> tuple[int, str]:
    """Return status and the name of the certificate that the server showed."""
    connection = http.client.HTTPSConnection("127.0.0.1", port, timeout=60, context=tls)
    try:
        connection.request("GET", path)
        # Only the one who connects knows it: afterwards the connection may be closed.
        subject = dict(pair[0] for pair in connection.sock.getpeercert()["subject"])
        return connection.getresponse().status, subject["commonName"]
    finally:
        connection.close()


def test_renewed_certificates_cost_no_request(authority: Authority, tmp_path: Path) -> None:
    file = authority.write(tmp_path / "cert.pem", "old")
    renewed = authority.certificate("new")
    certificate, tls = Certificate(str(file)), client(authority)
    statuses: list[int] = []
    wrong: list[Exception] = []
    enough, end = threading.Event(), threading.Event()

    def visit(port: int) -> None:
        while not end.is_set():
            try:
                statuses.append(ask(port, tls)[0])
            except (OSError, http.client.HTTPException) as error:
                wrong.append(error)
            if len(statuses) > 100:
                enough.set()

    with serving(certificate) as port:
        visitors = [threading.Thread(target=visit, args=(port,)) for _ in range(3)]
        for visitor in visitors:
            visitor.start()
        try:
            assert ask(port, tls)[1] == "old"
            for data in (renewed, authority.certificate("newer"), renewed):
                put(file, data)
                certificate.look()
            assert ask(port, tls)[1] == "new"
            assert enough.wait(60)
        finally:
            end.set()
            for visitor in visitors:
                visitor.join()
    assert not wrong
    assert set(statuses) == {200}


@pytest.mark.parametrize("kind", ["cut off", "no key", "another's key", "open to others", "expired", "gone"])
def test_a_certificate_that_cannot_be_used_changes_nothing(
    authority: Authority, tmp_path: Path, caplog: pytest.LogCaptureFixture, kind: str
) -> None:
    file = authority.write(tmp_path / "cert.pem", "old")
    certificate, other = Certificate(str(file)), authority.certificate("new")
    begin = other.index(b"-----BEGIN PRIVATE KEY")
    own_key = file.read_bytes()[file.read_bytes().index(b"-----BEGIN PRIVATE KEY") :]
    if kind == "gone":
        file.unlink()
    else:
        data = {"cut off": other[:200], "no key": other[:begin], "another's key": other[:begin] + own_key}
        data |= {"open to others": other, "expired": authority.certificate("new", days=-1)}
        put(file, data[kind], 0o644 if kind == "open to others" else 0o600)
    certificate.look()
    assert "is not taken" in caplog.text
    with serving(certificate) as port:
        assert ask(port, client(authority)) == (200, "old")
        put(file, other)
        certificate.look()
        assert ask(port, client(authority)) == (200, "new")


def test_a_start_with_an_expired_certificate_is_warned_of_and_a_renewed_one_is_taken(
    authority: Authority, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = authority.write(tmp_path / "cert.pem", "old", days=-1)
    certificate = Certificate(str(file))
    assert "certificate has expired" in caplog.text
    authority.write(file, "new")
    certificate.look()
    with serving(certificate) as port:
        assert ask(port, client(authority)) == (200, "new")


def test_a_certificate_in_its_time_is_not_complained_about(
    authority: Authority, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    certificate = Certificate(str(authority.write(tmp_path / "cert.pem")), str(authority.file), str(authority.file))
    authority.write(tmp_path / "cert.pem")
    certificate.look()
    assert [record.getMessage() for record in caplog.records if record.levelname != "INFO"] == []


@pytest.mark.parametrize("data", [b"", b"no certificate"])
def test_a_start_with_what_is_no_certificate_is_refused(tmp_path: Path, data: bytes) -> None:
    with pytest.raises(PermanentError, match="--http-cert-file"):
        Certificate(str(put(tmp_path / "cert.pem", data)))


@pytest.mark.parametrize(("shown", "taken"), [("own", True), ("none", False), ("foreign", False), ("expired", False)])
def test_clients_show_a_certificate_of_the_authority(
    authority: Authority, stranger: Authority, tmp_path: Path, shown: str, taken: bool
) -> None:
    file = authority.write(tmp_path / "cert.pem")
    theirs = {
        "own": lambda: authority.write(tmp_path / "client.pem"),
        "none": lambda: None,
        "foreign": lambda: stranger.write(tmp_path / "client.pem"),
        "expired": lambda: authority.write(tmp_path / "client.pem", days=-1),
    }[shown]()
    with serving(Certificate(str(file), str(authority.file))) as port:
        if taken:
            assert ask(port, client(authority, theirs))[0] == 200
        else:
            with pytest.raises(OSError):
                ask(port, client(authority, theirs))


def test_nobody_speaks_without_tls(authority: Authority, tmp_path: Path) -> None:
    with serving(Certificate(str(authority.write(tmp_path / "cert.pem")))) as port:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        with pytest.raises((OSError, http.client.HTTPException)):
            connection.request("GET", "/ping")
            connection.getresponse()
        connection.close()


def test_a_follower_shows_the_leader_its_certificate_and_checks_the_leaders(
    authority: Authority, stranger: Authority, tmp_path: Path
) -> None:
    ours = Certificate(str(authority.write(tmp_path / "cert.pem")), str(authority.file), str(authority.file))
    tls = client(authority, authority.write(tmp_path / "client.pem"))
    with serving(ours) as leader:
        behind = FakeController(is_leader=False, leader=f"https://127.0.0.1:{leader}")
        with serving(ours, behind) as follower:
            assert ask(follower, tls, "/v2/apps")[0] == 200
        foreign = Certificate(str(authority.write(tmp_path / "other.pem")), str(authority.file), str(stranger.file))
        with serving(foreign, behind) as follower:
            assert ask(follower, tls, "/v2/apps")[0] == 503


def test_authorities_that_are_none_are_named(tmp_path: Path) -> None:
    with pytest.raises(PermanentError, match="--http-ca-file"):
        to_leader(str(put(tmp_path / "ca.pem", b"nothing")))


def served(port: int, tls: ssl.SSLContext) -> bool:
    try:
        return ask(port, tls)[0] == 200
    except OSError:
        return False


def test_who_begins_no_tls_takes_the_place_of_a_connection(authority: Authority, tmp_path: Path) -> None:
    certificate = Certificate(str(authority.write(tmp_path / "cert.pem", "server")))
    tls = client(authority)
    with serving(certificate, most=3) as port, contextlib.ExitStack() as silent:
        for _ in range(3):
            silent.enter_context(socket.create_connection(("127.0.0.1", port), 60))
        assert not served(port, tls)
        silent.close()
        until(lambda: served(port, tls), 60, "there is room again")


@pytest.mark.parametrize("said", [b"", b"\x16\x03\x01", b"GET / HTTP/1.1\r\n\r\n"])
def test_a_handshake_that_does_not_come_is_not_waited_for(
    authority: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: bytes
) -> None:
    bounded = connections.bounded
    monkeypatch.setattr("eratos.scheduler.api.server.bounded", lambda most, tls: bounded(most, 0.1, tls))
    certificate = Certificate(str(authority.write(tmp_path / "cert.pem", "server")))
    with serving(certificate) as port, socket.create_connection(("127.0.0.1", port), 50) as connection:
        connection.sendall(said)
        with contextlib.suppress(ConnectionResetError):
            while connection.recv(65536):
                pass


def test_a_server_that_stops_waits_for_no_handshake(authority: Authority, tmp_path: Path) -> None:
    certificate = Certificate(str(authority.write(tmp_path / "cert.pem", "server")))
    with contextlib.ExitStack() as open_ones:
        with serving(certificate) as port:
            silent = open_ones.enter_context(socket.create_connection(("127.0.0.1", port), 60))
            assert served(port, client(authority)), "the one before was accepted by now"
        with contextlib.suppress(ConnectionResetError):
            assert silent.recv(1) == b""


def test_a_request_may_come_with_the_end_of_the_handshake(authority: Authority, tmp_path: Path) -> None:
    """As clients send it that do not wait, in one segment with what ends the handshake."""
    certificate = Certificate(str(authority.write(tmp_path / "cert.pem", "server")))
    with serving(certificate) as port, socket.create_connection(("127.0.0.1", port), 60) as connection:
        came, goes = ssl.MemoryBIO(), ssl.MemoryBIO()
        tls = client(authority).wrap_bio(came, goes, server_hostname="127.0.0.1")
        while True:
            try:
                tls.do_handshake()
                break
            except ssl.SSLWantReadError:
                connection.sendall(goes.read())
                came.write(connection.recv(65536))
        tls.write(b"GET /ping HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        connection.sendall(goes.read())
        answer = b""
        while piece := connection.recv(65536):
            came.write(piece)
            with contextlib.suppress(ssl.SSLWantReadError, ssl.SSLZeroReturnError):
                while read := tls.read(65536):
                    answer += read
            if answer.endswith(b"pong"):
                break
        assert answer.startswith(b"HTTP/1.1 200")
