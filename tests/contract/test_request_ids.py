"""Ids of requests, from a client to an instance, to the log and back, and who asks for one: with a real HAProxy."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from typing import Any

import pytest
from support.balancer import FIRST_PORT, Response, Rig, a_balancer, server_id
from support.waiting import until

from eratos.common import request_ids

LOG = "/var/log/eratos-balancer"
#: What the companion's memory may grow to, and how much a log holds by default.
COMPANION_MIB = 24
LOG_FILES, LOG_FILE_BYTES = 10, 10_000_000


@pytest.fixture(scope="module")
def rig() -> Iterator[Rig]:
    with a_balancer() as rig:
        rig.register(FIRST_PORT)
        rig.register(FIRST_PORT + 1, app="told", meta={"haproxy-path": "/told", "haproxy-log-requests": "all"})
        rig.register(FIRST_PORT + 2, app="some", meta={"haproxy-path": "/some", "haproxy-log-requests": "0.001%"})
        for port, app in enumerate(("prime", "told", "some"), FIRST_PORT):
            rig.await_rotation(port, backend=app)
        yield rig


def given(answer: Response) -> str:
    """Return the id that an answer has, and that the instance saw."""
    found = answer.headers["x-request-id"]
    assert found == answer.headers["x-seen-id"]
    assert request_ids.good(found)
    return found


def logged(rig: Rig, request_id: str) -> dict[str, Any]:
    """Return what the companion says of a request once it is in the log."""

    def look() -> list[dict[str, Any]]:
        found = rig.companion("GET", f"/requests/{request_id}")
        assert found["http_status"] == 200, found
        return list(found["requests"])

    (request,) = until(look, 10, "the request is in the log")
    return dict(request)


def test_a_request_without_an_id_gets_one_that_says_when(rig: Rig) -> None:
    first, second = (given(rig.get(path)) for path in ("/", "/told"))
    assert first != second
    before, after = map(request_ids.made_at, (first, second))
    assert before is not None and after is not None and before <= after


def test_a_plain_id_of_the_client_s_is_kept(rig: Rig) -> None:
    for own in ("00-4bf92f3577b34da6", "a" * 64, "01a2213a-0536-7172-9390-a7928f894edc"):
        assert given(rig.get("/told", **{"X-Request-Id": own})) == own
        assert logged(rig, own)["status"] == 200


HOSTILE = [
    b"a" * 10_000, b"<script>alert(1)</script>", b"short", b"a" * 65, b"abcdefgh\tijkl",
    b"abcdefgh\x01\x1b[2J", "abcdefgh\u2028\u00e9".encode(),
    b"abcdefgh, ijklmnop", b"abcdefgh\r\nX-Request-Id: ijklmnop", b"abcdefgh\r\n ijklmnop", b'abcdefgh" id=abcdefgh at=', b"",
]  # fmt: skip


@pytest.mark.parametrize("value", HOSTILE)
def test_any_other_id_is_replaced_and_logged_nowhere(rig: Rig, value: bytes) -> None:
    head = b"GET /told HTTP/1.1\r\nHost: told.test\r\nConnection: close\r\nX-Request-Id: " + value + b"\r\n\r\n"
    with socket.create_connection(("127.0.0.1", rig.balancer.ports[8000]), timeout=30) as client:
        client.sendall(head)
        answer = client.makefile("rb").read()
    assert answer.startswith(b"HTTP/1.1 200 "), answer[:200]
    lines = answer.lower().partition(b"\r\n\r\n")[0].split(b"\r\n")
    (found,) = [line.partition(b": ")[2].decode() for line in lines if line.startswith(b"x-request-id:")]
    (seen,) = [line.partition(b": ")[2].decode() for line in lines if line.startswith(b"x-seen-id:")]
    assert found == seen
    assert request_ids.made_at(found) is not None
    assert logged(rig, found)["server"] == server_id(FIRST_PORT + 1, "told")
    text = rig.shell(f"cat {LOG}/current")
    for part in ("script", "abcdefgh", "ijklmnop", "short", "a" * 65, "\x1b"):
        assert part not in text


def test_what_is_no_request_is_refused_as_before(rig: Rig) -> None:
    with socket.create_connection(("127.0.0.1", rig.balancer.ports[8000]), timeout=30) as client:
        client.sendall(b"GET / HTTP/1.1\r\nHost: a\r\nX-Request-Id: abcdefgh\x00ijkl\r\n\r\n")
        assert client.makefile("rb").read().startswith(b"HTTP/1.1 400 ")


def test_the_companion_says_who_served_a_request(rig: Rig) -> None:
    found = logged(rig, given(rig.get("/told?s=0.2")))
    assert (found["backend"], found["server"]) == ("told", server_id(FIRST_PORT + 1, "told"))
    assert found["address"] == f"{rig.workers_address}:{FIRST_PORT + 1}"
    assert (found["status"], found["retries"], found["ending"][:2]) == (200, 0, "--")
    assert found["total_ms"] >= found["answer_ms"] >= 200
    made = request_ids.made_at(given(rig.get("/told")))
    assert made is not None
    # HAProxy and its companion have one clock and one zone.
    assert found["at"][:10] == rig.shell("date -u +%F").strip()


def test_failed_requests_are_known_whatever_their_app_says_and_others_are_not(rig: Rig) -> None:
    for path in ("/", "/some"):
        well, failed = given(rig.get(path)), given(rig.get(f"{path}?status=500"))
        assert logged(rig, failed)["status"] == 500
        # Of the two this one was first: it would have been written by now.
        found = rig.companion("GET", f"/requests/{well}")
        assert found["requests"] == []
        assert (found["log_requests"], found["request_id"]) == ("failed", "keep")
        assert found["oldest"] is not None


def test_a_request_that_no_instance_got_is_known_as_well(rig: Rig) -> None:
    nobody = {"Path": "/empty", "TTL": "1h", "Status": "critical"}
    rig.register(
        FIRST_PORT + 3, app="empty", meta={"haproxy-path": "/empty"}, check={key: nobody[key] for key in ("TTL", "Status")}
    )
    answer = until(lambda: (found := rig.get("/empty")).status == 503 and found, 10, "the app has a route and no instance")
    found = logged(rig, answer.headers["x-request-id"])
    assert (found["backend"], found["server"], found["address"], found["status"]) == ("empty", "", "", 503)


def test_a_full_log_is_looked_through_in_little_memory(rig: Rig) -> None:
    answer = rig.get("/told")
    logged(rig, given(answer))
    fill = f"""
line = open("{LOG}/current", "rb").read().splitlines(True)[-1]
old = line.replace(b"{given(answer)}", b"the-oldest-request")
for number in range(1, {LOG_FILES}):
    with open(f"{LOG}/current.{{number}}", "wb") as file:
        if number == {LOG_FILES} - 1:
            file.write(old)
        block = line.replace(b"{given(answer)}", b"another-request-{{}}") * 1000
        while file.tell() + len(block) < {LOG_FILE_BYTES}:
            file.write(block)
"""
    rig.shell(f"python3 - <<'END'\n{fill}\nEND")
    for _ in range(5):
        assert logged(rig, "the-oldest-request")["backend"] == "told"
    pid = rig.pid("python3 -P -c import sys")
    peak = next(line for line in rig.shell(f"cat /proc/{pid}/status").splitlines() if line.startswith("VmHWM:"))
    assert int(peak.split()[1]) / 1024 < COMPANION_MIB


def test_ids_can_be_left_to_others() -> None:
    with a_balancer(ERATOS_REQUEST_ID="off", ERATOS_LOG_REQUESTS="50%") as rig:
        rig.register(FIRST_PORT)
        rig.await_rotation(FIRST_PORT)
        answer = rig.get("/", **{"X-Request-Id": "<any thing>"})
        assert (answer.headers["x-seen-id"], answer.headers["x-request-id"]) == ("<any thing>", "my-own")
        assert rig.get().headers["x-seen-id"] == "none"
        found = rig.companion("GET", "/requests/any-thing")
        assert (found["request_id"], found["log_requests"], found["requests"]) == ("off", "50%", [])


def test_an_id_that_is_none_is_asked_for_in_vain(rig: Rig) -> None:
    assert rig.companion("GET", "/requests/short")["http_status"] == 400
    assert "script" not in json.dumps(rig.companion("GET", "/requests/%3Cscript%3E"))
