"""No web page can use a server of ours: foreign names, foreign origins and bodies that a browser sends unasked are refused."""

from __future__ import annotations

import pytest

from eratos.common.browser_guard import BrowserGuard, host_name, is_json

GUARD = BrowserGuard.of(["Scheduler1", "api.example.com.", ".shop.test"], ["https://ui.example.com/"])


@pytest.mark.parametrize(
    ("host", "known"),
    [
        ("localhost", True),
        ("localhost:8080", True),
        ("LOCALHOST:8080", True),
        ("eratos.localhost", True),
        ("127.0.0.1:8080", True),
        ("10.87.213.31", True),
        ("[::1]:8080", True),
        ("[::1]", True),
        ("scheduler1:8080", True),
        ("scheduler1.", True),
        ("api.example.com", True),
        ("deep.below.shop.test", True),
        ("shop.test", False),
        ("noshop.test", False),
        ("evil.example", False),
        ("evil.example:8080", False),
        ("localhost.evil.example", False),
        ("127.0.0.1.evil.example", False),
        ("scheduler1@evil.example", False),
        ("evil.example#localhost", False),
        ("[::1", False),
        ("[::1]x", False),
        ("localhost:http", False),
        ("", False),
        (":8080", False),
        ("0x7f000001", False),
        ("2130706433", False),
    ],
)
def test_which_host_names_are_the_servers_own(host: str, known: bool):
    assert GUARD.knows(host) is known


@pytest.mark.parametrize(
    ("method", "host", "origin", "kind", "body", "status"),
    [
        ("GET", "localhost:8080", None, None, False, None),
        ("GET", None, None, None, False, None),
        ("GET", "evil.example", None, None, False, 403),
        ("GET", "localhost:8080", "http://evil.example", None, False, 403),
        ("GET", "localhost:8080", "null", None, False, 403),
        ("GET", "localhost:8080", "http://[", None, False, 403),
        ("GET", "localhost:8080", "http://localhost:8080", None, False, None),
        ("GET", "localhost:8080", "http://localhost:3000", None, False, 403),
        ("GET", "evil.example", "http://evil.example", None, False, 403),
        ("POST", "localhost:8080", "https://ui.example.com", "application/json", True, None),
        ("POST", "localhost:8080", "http://ui.example.com", "application/json", True, 403),
        ("POST", "localhost:8080", None, "application/json; charset=utf-8", True, None),
        ("POST", "localhost:8080", None, "application/merge-patch+json", True, None),
        ("POST", "localhost:8080", None, "text/plain", True, 415),
        ("POST", "localhost:8080", None, "application/x-www-form-urlencoded", True, 415),
        ("POST", "localhost:8080", None, "multipart/form-data; boundary=application/json", True, 415),
        ("PUT", "localhost:8080", None, None, True, 415),
        ("DELETE", "localhost:8080", None, "text/plain", True, 415),
        ("POST", "localhost:8080", None, None, False, None),
        ("POST", "localhost:8080", None, "application/x-www-form-urlencoded", False, None),
        ("POST", "localhost:8080", "http://evil.example", None, False, 403),
    ],
)
def test_which_requests_are_refused(
    method: str, host: str | None, origin: str | None, kind: str | None, body: bool, status: int | None
):
    refusal = GUARD.refusal(method, host, origin, kind, body)
    assert (refusal.status if refusal else None) == status


def test_a_refusal_names_the_fix_and_no_more_than_a_line_of_what_was_sent():
    refusal = GUARD.refusal("GET", "e" * 10_000, None, None, False)
    assert refusal is not None
    assert "--http-hosts" in refusal.reason
    assert len(refusal.reason) < 500


def test_only_origins_of_the_setting_are_named_in_answers():
    assert GUARD.allowed_origin("https://ui.example.com") == "https://ui.example.com"
    assert GUARD.allowed_origin("http://localhost:8080") is None
    assert GUARD.allowed_origin(None) is None
    assert BrowserGuard.of([], ["*"]).allowed_origin("http://anything") == "http://anything"


@pytest.mark.parametrize(("host", "name"), [("A.b:1", "a.b"), ("[FE80::1]:2", "fe80::1"), ("a b", None), ("a:b:c", None)])
def test_a_host_header_is_read(host: str, name: str | None):
    assert host_name(host) == name


@pytest.mark.parametrize(("kind", "json"), [("application/JSON", True), ("application/jsonp", False), ("text/json", False)])
def test_what_counts_as_json(kind: str, json: bool):
    assert is_json(kind) is json
