"""How balancers route to an app's ports: marathon-lb's labels, read into one model.

Meanings are those of marathon-lb's Longhelp.md; docs/architecture.md names what differs. Values end up in HAProxy's
configuration, where one bad word would spoil the file for every app, so they are held to a strict grammar here, no
wider than that of the balancers' template (haproxy/haproxy.ctmpl). A label that balancers do not know is refused, never
ignored.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

from .errors import Problem

if TYPE_CHECKING:
    from .app import AppPort

PREFIX: Final = "HAPROXY_"
GROUP: Final = "HAPROXY_GROUP"
DEFAULT_GROUP: Final = "external"

BALANCE: Final = ("roundrobin", "leastconn", "random", "source")

_VALUE_LENGTH_MAX = 512  # Consul's limit on a value in a service's meta
_PORT_LABEL = re.compile(r"HAPROXY_([0-9]{1,3})_([A-Z0-9_]+)")
_HOST = r"[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?"
_HOST_NAME = rf"{_HOST}(?:\.{_HOST})*"


class _Rule(NamedTuple):
    """What one label may hold."""

    good: Callable[[str], object]
    message: str
    mode: str = ""  #: the only mode that it has a meaning in


def _like(pattern: str, message: str, mode: str = "") -> _Rule:
    return _Rule(re.compile(pattern).fullmatch, message, mode)


def _one_of(*words: str) -> _Rule:
    return _Rule(words.__contains__, f"must be {', '.join(words[:-1])} or {words[-1]}")


def _number(least: int, most: int, mode: str = "") -> _Rule:
    def good(value: str) -> bool:
        return re.fullmatch(r"0|[1-9][0-9]{0,9}", value) is not None and least <= int(value) <= most

    return _Rule(good, f"must be a whole number from {least} to {most}", mode)


_GROUPS = _like(r"[A-Za-z0-9_-]+(,[A-Za-z0-9_-]+)*", "must be a group's name, or several with commas between")

#: What may stand behind ``HAPROXY_n_``; each has a field of the same name in :class:`Routing`.
_RULES: Final[Mapping[str, _Rule]] = {
    "ENABLED": _one_of("true", "false"),
    "GROUP": _GROUPS,
    "MODE": _one_of("http", "tcp"),
    "PORT": _number(1, 65535, "tcp"),
    "VHOST": _like(rf"{_HOST_NAME}(,{_HOST_NAME})*", "must be a host name, or several with commas between", "http"),
    "PATH": _like(
        r"(?=/)(?:/[A-Za-z0-9._~%+@:,=-]{1,128}){0,16}/?",
        "must be a path such as /shop/cart, of letters, digits and . _ ~ % + @ : , = -",
        "http",
    ),
    "BALANCE": _one_of(*BALANCE),
}


@dataclass(frozen=True, slots=True)
class Routing:
    """How balancers route to one port of an app, in the words of the labels. Empty: as the balancer does by default."""

    group: str = DEFAULT_GROUP  #: names of groups of balancers, comma separated
    mode: str = "http"  #: ``http`` or ``tcp``
    port: str = ""  #: in mode tcp: the port on which balancers offer this one
    vhost: str = ""  #: host names, comma separated
    path: str = ""
    balance: str = ""
    enabled: str = ""  #: ``false``: not balanced at all

    @property
    def groups(self) -> tuple[str, ...]:
        return tuple(self.group.split(","))

    @property
    def hosts(self) -> tuple[str, ...]:
        return tuple(self.vhost.lower().split(",")) if self.vhost else ()

    def meta(self) -> dict[str, str]:
        """Return the keys for the meta of the port's Consul service, where balancers read them."""
        return {f"haproxy-{name.replace('_', '-')}": value for name, value in asdict(self).items() if value}


def routing(labels: Mapping[str, str], index: int, port: AppPort) -> Routing:
    """Return the routing of one port. The labels have been checked by :func:`problems`."""
    given = {name.lower(): labels[key] for name, key in _given(labels, index).items()}
    given.setdefault("group", labels.get(GROUP, DEFAULT_GROUP))
    if given.get("mode") == "tcp":
        given.setdefault("port", str(port.service_port))
    if port.protocol == "udp":
        given["enabled"] = "false"  # HAProxy balances TCP only
    return Routing(**given)


def problems(labels: Mapping[str, str], ports: Sequence[AppPort]) -> Iterator[Problem]:
    """Find what is wrong with an app's routing labels, alone and taken together."""
    for key, value in labels.items():
        if key.startswith(PREFIX) and (message := _wrong(key, value, ports)):
            yield Problem(f"/labels/{key}", message)
    for index, port in enumerate(ports):
        yield from _contradictions(labels, index, port)


def label(labels: Mapping[str, str], index: int, name: str) -> str:
    """Return the label by which an app states something for one port (``VHOST``: ``HAPROXY_0_VHOST``), or nothing."""
    return _given(labels, index).get(name, "")


def _given(labels: Mapping[str, str], index: int) -> dict[str, str]:
    """Return rule -> label, for the labels that an app has for one port."""
    return {name: key for name in _RULES if (key := f"{PREFIX}{index}_{name}") in labels}


def _wrong(key: str, value: str, ports: Sequence[AppPort]) -> str:
    if len(value) > _VALUE_LENGTH_MAX:
        return f"is {len(value)} characters long: use at most {_VALUE_LENGTH_MAX}"
    if key == GROUP:
        return "" if _GROUPS.good(value) else _GROUPS.message
    match = _PORT_LABEL.fullmatch(key)
    if match is None or match[2] not in _RULES:
        return (
            f"is refused: eratos' balancers know {GROUP} and, for the app's port n, "
            f"{', '.join(f'{PREFIX}n_{name}' for name in _RULES)}: remove it"
        )
    index, rule = int(match[1]), _RULES[match[2]]
    if index >= len(ports):
        return f"speaks of port {index}, the app has {indices(len(ports))}: correct the number, or add the port"
    if ports[index].protocol == "udp":
        return f"speaks of port {index}, a UDP port, and HAProxy balances TCP only: remove it"
    return "" if rule.good(value) else f"{rule.message}, not '{value}'"


def _contradictions(labels: Mapping[str, str], index: int, port: AppPort) -> Iterator[Problem]:
    """Find labels of one port that make no sense together; one that makes none alone has been found already."""
    mode = labels.get(f"{PREFIX}{index}_MODE", "http")
    if not _RULES["MODE"].good(mode):
        return
    given = {name: key for name, key in _given(labels, index).items() if _RULES[name].good(labels[key])}
    for name, key in given.items():
        if _RULES[name].mode not in ("", mode):
            message = f"is for mode {_RULES[name].mode} only: remove it, or set {PREFIX}{index}_MODE to {_RULES[name].mode}"
            yield Problem(f"/labels/{key}", message)
    if mode == "tcp" and "PORT" not in given and not port.service_port:
        yield Problem(
            f"/labels/{given['MODE']}",
            f"is tcp, and no port says where balancers shall offer it: set {PREFIX}{index}_PORT, "
            "the servicePort of the port mapping, or the port of the port definition",
        )


def indices(port_count: int) -> str:
    """Say which indices ports have, for a message about one that is none of them."""
    return f"ports 0 to {port_count - 1}" if port_count > 1 else "port 0 only" if port_count else "no ports"
