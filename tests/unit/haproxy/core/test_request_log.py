"""HAProxy's lines of requests. Those here were written by HAProxy 3.0.11 with the format of haproxy.cfg."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

import pytest

from eratos.haproxy.core.request_log import Served, moment_of, needle, parse

ID = "01a2213a-0536-7172-9390-a7928f894edc"
SERVER = "eratos-a.instance-1._app.1"
HEAD = b"10.1.1.7:45658 [28/Nov/2026:08:16:20.278] eratos:traffic "
AT = datetime(2026, 11, 28, 8, 16, 20, 278000).timestamp()
GOOD = HEAD + f'a/{SERVER} 0/1/2/30/34 200 137 - - ---- 2/1/0/0/0 0/0 id={ID} at=10.0.0.1:31000 "GET /x?y HTTP/1.1"'.encode()
SERVED = Served(AT, "a", SERVER, "10.0.0.1:31000", 200, 1, 2, 30, 34, 0, "----")


def changed(*pairs: tuple[str, str]) -> bytes:
    line = GOOD.decode()
    for old, new in pairs:
        assert old in line
        line = line.replace(old, new)
    return line.encode()


@pytest.mark.parametrize(
    ("line", "served"),
    [
        (GOOD, SERVED),
        # It came to nobody.
        (
            changed((SERVER, "<NOSRV>"), ("0/1/2/30/34 200", "0/-1/-1/-1/0 503"), ("10.0.0.1:31000", "-:-"), ("----", "LR--")),
            replace(
                SERVED,
                server="",
                address="",
                status=503,
                queue_ms=None,
                connect_ms=None,
                answer_ms=None,
                total_ms=0,
                ending="LR--",
            ),
        ),
        # It was repeated elsewhere, and its client left before the answer.
        (
            changed(("30/34 200", "-1/+1005 -1"), ("0/0/0 0/0", "0/0/+2 0/0"), ("----", "CH--")),
            replace(SERVED, status=None, answer_ms=None, total_ms=1005, retries=2, ending="CH--"),
        ),
        # An administrator's lines capture a header, which holds what looks like another id.
        (changed(("0/0 id=", "0/0 {curl|id=x} {b} id=")), SERVED),
        (changed(("10.0.0.1:31000", "fd00::1:31000")), replace(SERVED, address="fd00::1:31000")),
    ],
)
def test_a_line_says_who_served_a_request_when_and_how(line: bytes, served: Served) -> None:
    assert needle(ID) in line
    assert parse(line, ID) == served


@pytest.mark.parametrize(
    "line",
    [
        b"",
        GOOD.replace(ID.encode(), b"01a2213a-0536-7172-9390-a7928f894edd"),
        # Where a client writes such into its path, HAProxy writes no blanks.
        HEAD + b'a/b 0/1/2/30/34 200 137 - - ---- 2/1/0/0/0 0/0 id=- at=-:- "GET /#20id=' + ID.encode() + b' at=x HTTP/1.1"',
        HEAD + b'a/b 0/1/2/30/34 200 137 - - ---- 2/1/0/0/0 0/0 id=- at=-:- "GET / id=' + ID.encode() + b' at=x "x"',
        GOOD.replace(b"Nov", b"Foo"),
        GOOD.replace(b"[28/Nov", b"[99/Nov").replace(b"200 137", b"x y"),
        GOOD[: GOOD.index(b"at=")],  # cut by a full disk
        b"Server a/" + SERVER.encode() + b" is DOWN, reason: Layer4 timeout id=" + ID.encode() + b" at=",
    ],
)
def test_any_other_line_is_none_of_the_request_s(line: bytes) -> None:
    assert parse(line, ID) is None


def test_only_requests_have_a_moment() -> None:
    assert moment_of(GOOD) == AT
    assert moment_of(b"Server a/b is UP, reason: Layer4 check passed") is None
