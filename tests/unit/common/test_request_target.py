"""Requests that name the whole address."""

from __future__ import annotations

import pytest

from eratos.common.request_target import BadTarget, parted


@pytest.mark.parametrize(
    ("target", "path", "host"),
    [
        ("/v2/apps?id=x", "/v2/apps?id=x", None),
        ("//evil.example/v2/apps", "//evil.example/v2/apps", None),
        ("/x?u=http://evil.example/", "/x?u=http://evil.example/", None),
        ("http://api.test:8080/v2/apps?id=x", "/v2/apps?id=x", "api.test:8080"),
        ("HTTP://API.test/v2/apps", "/v2/apps", "API.test"),
        ("http://[::1]:8080/", "/", "[::1]:8080"),
        ("http://api.test", "/", "api.test"),
        ("http://api.test?id=x", "/?id=x", "api.test"),
        ("http://evil.example\\@api.test/x", None, None),
        ("http://a.test//b", "//b", "a.test"),
        ("*", "*", None),
        ("api.test:443", "api.test:443", None),
        ("ftp://api.test/x", "ftp://api.test/x", None),
        ("", "", None),
    ],
)
def test_an_address_is_taken_apart(target: str, path: str | None, host: str | None) -> None:
    if path is None:
        with pytest.raises(BadTarget, match="names a user"):
            parted(target, tls=False)
    else:
        assert parted(target, tls=False) == (path, host)


@pytest.mark.parametrize(
    ("target", "status", "words"),
    [
        ("http:///v2/apps", 400, "no host"),
        ("http://user:hunter2@api.test/v2/apps", 400, "names a user"),
        ("http://api.test@evil.example/", 400, "names a user"),
        ("https://api.test/v2/apps", 421, "without TLS"),
    ],
)
def test_what_nobody_can_mean_is_refused(target: str, status: int, words: str) -> None:
    with pytest.raises(BadTarget, match=words) as refused:
        parted(target, tls=False)
    assert refused.value.status == status
    assert "hunter2" not in str(refused.value)


def test_over_tls_either_scheme_is_the_same_place() -> None:
    assert parted("https://api.test/x", tls=True) == parted("http://api.test/x", tls=True) == ("/x", "api.test")
