"""How an address stands in a URL, and what kind of network it belongs to, in whatever spelling programs take it. Pure.

The kind is for what apps may ask an executor to fetch: an executor can reach what the app itself may not, such as the metadata
service of a cloud, which gives the host's credentials to any caller (169.254.169.254).
"""

from __future__ import annotations

import ipaddress
from enum import StrEnum
from urllib.parse import urlsplit

#: Metadata services outside of the link-local networks: AWS' and GCP's over IPv6, Oracle's and Alibaba's.
_METADATA = frozenset(map(ipaddress.ip_address, ("fd00:ec2::254", "fd20:ce::254", "192.0.0.192", "100.100.100.200")))
#: Names that those who run them resolve inside of their networks.
METADATA_NAMES = frozenset(
    {"metadata", "metadata.google.internal", "metadata.goog", "instance-data", "instance-data.ec2.internal"}
)

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


def host_and_port(host: str, port: int | str) -> str:
    """Return ``host:port`` as it stands in URLs, an IPv6 address in brackets."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


class Kind(StrEnum):
    """Where an address leads."""

    METADATA = "a cloud's metadata service"
    LINK_LOCAL = "a link-local network"
    LOOPBACK = "the host itself"
    PRIVATE = "a private network"
    PUBLIC = "a public network"


def kind(address: Address) -> Kind:
    """Return what kind of network an address belongs to. What is reserved for nobody counts as private."""
    if isinstance(address, ipaddress.IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour or _nat64(address)
        if inner is not None:
            return kind(inner)
    if address in _METADATA or str(address) == "169.254.169.254":
        return Kind.METADATA
    if address.is_link_local:
        return Kind.LINK_LOCAL
    # The unspecified address reaches the host itself on Linux.
    if address.is_loopback or address.is_unspecified:
        return Kind.LOOPBACK
    return Kind.PUBLIC if address.is_global and not address.is_multicast else Kind.PRIVATE


def literal(host: str) -> Address | None:
    """Return the address that a URL's host spells, or None where it is a name.

    Takes what the C library takes for IPv4 (inet_aton(3)): ``2852039166``, ``0xa9fea9fe`` and ``169.254.43518`` are addresses.
    """
    text = host.strip().strip("[]").partition("%")[0].rstrip(".")
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        return _loose_ipv4(text)


def kind_of_host(host: str) -> Kind | None:
    """Return the kind of a URL's host as far as its spelling shows it; None for a name, which has to be resolved first."""
    name = host.strip().rstrip(".").lower()
    if name in METADATA_NAMES:
        return Kind.METADATA
    if name == "localhost" or name.endswith(".localhost"):
        return Kind.LOOPBACK
    address = literal(host)
    return kind(address) if address is not None else None


def is_loopback(host: str) -> bool:
    """Return whether only this host itself is reached by an address or name."""
    return kind_of_host(host) is Kind.LOOPBACK and host.strip("[]") not in ("0.0.0.0", "::")


def sent_in_clear(url: str) -> bool:
    """Return whether others may read what is sent to a URL: by http, and to another host."""
    parts = urlsplit(url)
    return parts.scheme == "http" and not is_loopback(parts.hostname or "")


def _nat64(address: ipaddress.IPv6Address) -> ipaddress.IPv4Address | None:
    """Return the IPv4 address behind the well-known prefix of NAT64 (RFC 6052)."""
    if address in ipaddress.ip_network("64:ff9b::/96"):
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return None


def _loose_ipv4(text: str) -> ipaddress.IPv4Address | None:
    parts = text.split(".")
    if not 1 <= len(parts) <= 4:
        return None
    numbers = [_number(part) for part in parts]
    if any(number is None for number in numbers):
        return None
    *high, last = (number for number in numbers if number is not None)
    if any(number > 255 for number in high) or last >= 256 ** (5 - len(parts)):
        return None
    value = last
    for index, number in enumerate(high):
        value += number << (8 * (3 - index))
    return ipaddress.IPv4Address(value)


def _number(text: str) -> int | None:
    """Read a number as C does: decimal, octal with a leading 0, hexadecimal with 0x."""
    if not text.isascii() or len(text) > 20:
        return None
    try:
        if text[:2].lower() == "0x":
            return int(text[2:] or "0", 16)
        if len(text) > 1 and text.startswith("0"):
            return int(text, 8)
        return int(text) if text.isdigit() else None
    except ValueError:
        return None
