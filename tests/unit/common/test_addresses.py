"""Addresses in every spelling that programs take, and where they lead."""

from __future__ import annotations

import pytest

from eratos.common.addresses import Kind, is_loopback, kind_of_host


@pytest.mark.parametrize(
    ("host", "kind"),
    [
        ("169.254.169.254", Kind.METADATA),
        ("169.254.169.254.", Kind.METADATA),
        ("2852039166", Kind.METADATA),
        ("0xa9fea9fe", Kind.METADATA),
        ("0251.0376.0251.0376", Kind.METADATA),
        ("169.254.43518", Kind.METADATA),
        ("169.16689662", Kind.METADATA),
        ("[::ffff:169.254.169.254]", Kind.METADATA),
        ("::ffff:a9fe:a9fe", Kind.METADATA),
        ("64:ff9b::a9fe:a9fe", Kind.METADATA),
        ("2002:a9fe:a9fe::", Kind.METADATA),
        ("fd00:ec2::254", Kind.METADATA),
        ("100.100.100.200", Kind.METADATA),
        ("Metadata.Google.Internal", Kind.METADATA),
        ("metadata.google.internal.", Kind.METADATA),
        ("169.254.1.1", Kind.LINK_LOCAL),
        ("fe80::1%eth0", Kind.LINK_LOCAL),
        ("127.0.0.1", Kind.LOOPBACK),
        ("127.1", Kind.LOOPBACK),
        ("0", Kind.LOOPBACK),
        ("0.0.0.0", Kind.LOOPBACK),
        ("::", Kind.LOOPBACK),
        ("[::1]", Kind.LOOPBACK),
        ("localhost", Kind.LOOPBACK),
        ("a.localhost", Kind.LOOPBACK),
        ("10.0.0.1", Kind.PRIVATE),
        ("172.16.0.1", Kind.PRIVATE),
        ("192.168.1.1", Kind.PRIVATE),
        ("100.64.0.1", Kind.PRIVATE),
        ("fd00::1", Kind.PRIVATE),
        ("224.0.0.1", Kind.PRIVATE),
        ("240.0.0.1", Kind.PRIVATE),
        ("8.8.8.8", Kind.PUBLIC),
        ("2001:4860:4860::8888", Kind.PUBLIC),
        ("files.example.com", None),
        ("256.1.1.1", None),
        ("1.2.3.4.5", None),
        ("09", None),
        ("0xzz", None),
        ("", None),
        ("4294967296", None),
    ],
)
def test_where_a_host_leads(host: str, kind: Kind | None):
    assert kind_of_host(host) is kind


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        *((host, True) for host in ("127.0.0.1", "127.8.0.1", "[::1]", "localhost")),
        *((host, False) for host in ("0.0.0.0", "::", "10.0.0.1", "example.com", "")),
    ],
)
def test_what_only_this_host_reaches(host: str, expected: bool) -> None:
    assert is_loopback(host) is expected
