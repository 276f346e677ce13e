"""Labels that eratos acts on: Consul tags, marathon-lb's routing vocabulary, and eratos' own.

Values end up in Consul and in HAProxy's configuration, where one bad word would spoil the file for every app, so they
are held to a strict grammar here. A label of these families that eratos does not know is refused, never ignored.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from .errors import Problem

CONSUL_TAGS: Final = "CONSUL_TAGS"
SINGLE_INSTANCE: Final = "MARATHON_SINGLE_INSTANCE_APP"
DRAIN_SECONDS: Final = "ERATOS_DRAIN_SECONDS"
PLACEMENT: Final = "ERATOS_PLACEMENT"
GROUP: Final = "HAPROXY_GROUP"

DEFAULT_GROUP: Final = "external"
DEFAULT_DRAIN_S: Final = 10.0
DRAIN_S_MAX: Final = 3600.0

#: What the balancers' template (haproxy/haproxy.ctmpl) takes; the patterns below are no wider than its own.
BALANCE: Final = ("roundrobin", "leastconn", "random", "source")

PLACEMENTS: Final = ("spread", "pack")

_VALUE_LENGTH_MAX = 512  # Consul's limit on a value in a service's meta
_PORT_LABEL = re.compile(r"^HAPROXY_([0-9]{1,3})_([A-Z0-9_]+)$")
_TAG = re.compile(r"^[\x21-\x2b\x2d-\x7e]+$")
_GROUPS = re.compile(r"^[A-Za-z0-9_-]+(,[A-Za-z0-9_-]+)*$")
_HOST = r"[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?"
_HOSTS = re.compile(rf"^{_HOST}(?:\.{_HOST})*(?:,{_HOST}(?:\.{_HOST})*)*$")
_PATH = re.compile(r"^(?=/)(?:/[A-Za-z0-9._~%+@:,=-]{1,128}){0,16}/?$")


@dataclass(frozen=True, slots=True)
class Routing:
    """How balancers route to one port of an app."""

    group: str = DEFAULT_GROUP
    mode: str = "http"  #: ``http`` or ``tcp``
    vhost: str = ""  #: host names, comma separated
    path: str = ""
    balance: str = ""


def routing(labels: Mapping[str, str], port_index: int) -> Routing:
    """Return the routing of one port. The labels have been checked by :func:`problems`."""
    prefix = f"HAPROXY_{port_index}_"
    return Routing(
        group=labels.get(GROUP, DEFAULT_GROUP),
        mode=labels.get(prefix + "MODE", "http"),
        vhost=labels.get(prefix + "VHOST", ""),
        path=labels.get(prefix + "PATH", ""),
        balance=labels.get(prefix + "BALANCE", ""),
    )


def consul_tags(labels: Mapping[str, str]) -> tuple[str, ...]:
    return _tags(labels.get(CONSUL_TAGS, ""))


def _tags(value: str) -> tuple[str, ...]:
    return tuple(tag.strip() for tag in value.split(",") if tag.strip())


def indices(port_count: int) -> str:
    """Say which indices ports have, for a message about one that is none of them."""
    return f"ports 0 to {port_count - 1}" if port_count > 1 else "port 0 only" if port_count else "no ports"


def problems(labels: Mapping[str, str], port_count: int) -> Iterable[Problem]:
    """Find what is wrong with an app's labels, given how many ports it has."""
    for key, value in labels.items():
        if message := _wrong(key, value, port_count):
            yield Problem(f"/labels/{key}", message)


def _wrong(key: str, value: str, port_count: int) -> str:
    if key == CONSUL_TAGS:
        bad = [tag for tag in _tags(value) if not _TAG.match(tag)]
        return f"holds the tag {bad[0]!r}: use visible ASCII characters, no blanks" if bad else ""
    if key == DRAIN_SECONDS:
        good = re.fullmatch(r"[0-9]+(\.[0-9]+)?", value) and float(value) <= DRAIN_S_MAX
        return "" if good else f"must be a number of seconds from 0 to {DRAIN_S_MAX:.0f}, not '{value}'"
    if key == PLACEMENT:
        return "" if value in PLACEMENTS else f"must be one of {', '.join(PLACEMENTS)}, not '{value}'"
    if key.startswith("ERATOS_"):
        return f"is no label that eratos knows: use {DRAIN_SECONDS} or {PLACEMENT}, or remove it"
    if key.startswith("HAPROXY_"):
        return _wrong_routing(key, value, port_count)
    return ""


def _wrong_routing(key: str, value: str, port_count: int) -> str:
    if len(value) > _VALUE_LENGTH_MAX:
        return f"is {len(value)} characters long: use at most {_VALUE_LENGTH_MAX}"
    if key == GROUP:
        return "" if _GROUPS.match(value) else "must be a group's name, or several with commas between"
    match = _PORT_LABEL.match(key)
    if match is None or match[2] not in _PORT_RULES:
        return (
            "is refused: eratos' balancers know HAPROXY_GROUP and, for the app's port n, "
            f"{', '.join(f'HAPROXY_n_{name}' for name in _PORT_RULES)}: remove it"
        )
    index, (good, rule) = int(match[1]), _PORT_RULES[match[2]]
    if index >= port_count:
        return f"speaks of port {index}, the app has {indices(port_count)}: correct the number, or add the port"
    return "" if good.fullmatch(value) else f"{rule}, not '{value}'"


_PORT_RULES: Final[Mapping[str, tuple[re.Pattern[str], str]]] = {
    "MODE": (re.compile("http|tcp"), "must be http or tcp"),
    "VHOST": (_HOSTS, "must be a host name, or several with commas between"),
    "PATH": (_PATH, "must be a path such as /shop/cart, of letters, digits and . _ ~ % + @ : , = -"),
    "BALANCE": (re.compile("|".join(BALANCE)), f"must be one of {', '.join(BALANCE)}"),
}
