"""How balancers route to an app's ports: labels of two vocabularies, marathon-lb's and our own, read into one model.

Meanings are those of marathon-lb's Longhelp.md; docs/architecture.md names what differs. An app that does not ask to be balanced
is not: it asks by a group, or by a stated route. An empty label states nothing, as in marathon-lb. A label may begin with
``HAPROXY_``, so that marathon-lb reads it as well, or with ``ERATOS_``. Values end up in HAProxy's configuration, where
one bad word would spoil the file for every app, so they are held to a strict grammar here, no wider than that of the
balancers' template (haproxy/contract.ctmpl).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

from .errors import Problem

if TYPE_CHECKING:
    from .app import AppPort

PREFIXES: Final = ("HAPROXY_", "ERATOS_")
DEFAULT_GROUP: Final = "external"

BALANCE: Final = ("roundrobin", "leastconn", "random", "source")

_VALUE_LENGTH_MAX = 512  # Consul's limit on a value in a service's meta
_LABEL = re.compile(r"(?:HAPROXY|ERATOS)_(?:([0-9]{1,3})_)?([A-Z_]+)")
_HOST = r"[A-Za-z0-9](?:[A-Za-z0-9_-]*[A-Za-z0-9])?"
_HOST_NAME = rf"{_HOST}(?:\.{_HOST})*"


class _Rule(NamedTuple):
    """What one label may hold."""

    good: Callable[[str], object]
    message: str
    mode: str = ""  #: the only mode that it has a meaning in
    route: bool = False  #: whether it states a route, and so asks to be balanced


def _like(pattern: str, message: str, mode: str = "", *, route: bool = False) -> _Rule:
    return _Rule(re.compile(pattern).fullmatch, message, mode, route)


def _one_of(*words: str, mode: str = "", route: bool = False) -> _Rule:
    return _Rule(words.__contains__, f"must be {', '.join(words[:-1])} or {words[-1]}", mode, route)


def _number(least: int, most: int, mode: str = "", *, route: bool = False) -> _Rule:
    def good(value: str) -> bool:
        return re.fullmatch(r"0|-?[1-9][0-9]{0,9}", value) is not None and least <= int(value) <= most

    return _Rule(good, f"must be a whole number from {least} to {most}", mode, route)


#: What may stand behind a prefix and a port's index; each has a field of the same name in :class:`Routing`.
_RULES: Final[Mapping[str, _Rule]] = {
    "ENABLED": _one_of("true", "false"),
    "GROUP": _like(r"[A-Za-z0-9_-]+(,[A-Za-z0-9_-]+)*", "must be a group's name, or several with commas between", route=True),
    "MODE": _one_of("http", "tcp", route=True),
    "PORT": _number(1, 65535, route=True),
    "VHOST": _like(
        rf"{_HOST_NAME}( *, *{_HOST_NAME})*", "must be a host name, or several with commas between", "http", route=True
    ),
    "PATH": _like(
        r"(?=/)(?:/[A-Za-z0-9._~%+@:,=-]{1,128}){0,16}/?",
        "must be a path such as /shop/cart, of letters, digits and . _ ~ % + @ : , = -",
        "http",
        route=True,
    ),
    "BACKEND_WEIGHT": _number(-1, 9999, "http"),
    "REDIRECT_TO_HTTPS": _one_of("true", "false", mode="http"),
    "STICKY": _one_of("true", "false", mode="http"),
    "BALANCE": _one_of(*BALANCE),
    "SERVER_WEIGHT": _number(1, 256),
    "MAXCONN": _number(1, 1_000_000),
    "TIMEOUT_S": _number(1, 86_400),
}


#: Weight of a route that nobody stated: below every one that somebody did.
UNSTATED_WEIGHT: Final = -2


@dataclass(frozen=True, slots=True)
class Routing:
    """How balancers route to one port of an app, in the words of the labels. Empty: as the balancer does by default."""

    group: str = ""  #: names of groups of balancers, comma separated; empty: the port is not balanced
    mode: str = ""  #: ``http`` or ``tcp``
    port: str = ""  #: the port on which balancers offer this one
    vhost: str = ""  #: host names, comma separated
    path: str = ""  #: of several that match, the deeper goes first
    backend_weight: str = ""  #: of several routes that match a request, the one with the greatest is taken
    redirect_to_https: str = ""  #: ``true``: requests without TLS are answered with the way to https
    sticky: str = ""  #: ``true``: a client stays with its instance
    balance: str = ""
    server_weight: str = ""  #: the instance's share in its service's traffic, from 1 to 256
    maxconn: str = ""  #: requests at a time for each instance, or connections in mode tcp
    timeout_s: str = ""  #: longest wait for an instance's answer; in mode tcp for a byte from either side
    why_not: str = ""  #: why the port is not balanced, for people

    @property
    def balanced(self) -> bool:
        return bool(self.group)

    @property
    def groups(self) -> tuple[str, ...]:
        return tuple(self.group.split(",")) if self.group else ()

    @property
    def hosts(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(self.vhost.lower().split(","))) if self.vhost else ()

    @property
    def routed(self) -> bool:
        """Whether requests come to it over the balancers' common HTTP port: by a stated route, or for want of any other way."""
        return self.balanced and self.mode == "http" and bool(self.vhost or self.path or not self.port)

    @property
    def stated(self) -> bool:
        """Whether its route over the common HTTP port is stated; otherwise it is whatever nobody else claims."""
        return bool(self.vhost or self.path)

    @property
    def weight(self) -> int:
        """Weight of the routes; by default a host's path goes before the host, as in marathon-lb."""
        if not self.stated:
            return UNSTATED_WEIGHT
        return int(self.backend_weight or bool(self.vhost and self.path.strip("/")))

    def meta(self) -> dict[str, str]:
        """Return the keys for the meta of the port's Consul service, where balancers read them."""
        if not self.balanced:
            # Balancers of the version before take silence for their default group.
            return {"haproxy-enabled": "false"}
        shown = {name: value for name, value in asdict(self).items() if value and name != "why_not"}
        return {f"haproxy-{name.replace('_', '-')}": value for name, value in shown.items()}

    def described(self) -> str:
        """Return what the port gets from the balancers, in words."""
        if not self.balanced:
            return f"not balanced: {self.why_not}"
        ways = []
        if self.routed:
            hosts = self.hosts or ("",)
            ways += [f"{host}{self.path or '/'}" for host in hosts] if self.stated else ["/ unless another app claims it"]
        if self.port:
            ways.append(f"port {self.port}")
        return f"{self.mode} on {', '.join(ways)} of group {self.group}"


def routing(
    labels: Mapping[str, str], index: int, port: AppPort, *, http_checked: bool = False, unasked: bool = False
) -> Routing:
    """Return the routing of one port. The labels have been checked by :func:`problems`.

    ``http_checked``: the port has a health check over HTTP or HTTPS, which makes it one of HTTP, as in marathon-lb.
    ``unasked``: the app was stored by a version that balanced every app, over HTTP unless stated otherwise.
    """
    given = {name.lower(): labels[key].strip() for name, key in _given(labels, index).items()}
    if "group" not in given and (key := _one(labels, "GROUP")):
        given["group"] = labels[key]
    enabled = given.pop("enabled", "")
    if why_not := _why_not(labels, index, port, enabled, asked=unasked or bool(given.keys() & _ASKING) or enabled == "true"):
        return Routing(why_not=why_not)
    if "vhost" in given:
        given["vhost"] = ",".join(host.strip() for host in given["vhost"].split(",") if host.strip())
    mode = given.setdefault("mode", "http" if unasked or http_checked or given.keys() & _HTTP else "tcp")
    if port.service_port and not (unasked and mode == "http"):
        given.setdefault("port", str(port.service_port))
    if mode == "tcp" and not given.get("port"):
        ways = f"HAPROXY_{index}_PORT, the servicePort of the port mapping or the port of the port definition"
        why_not = "without a VHOST, a PATH or an HTTP health check it is a TCP service, and no service port is stated"
        return Routing(why_not=f"{why_not}: state {ways}, or HAPROXY_{index}_MODE=http")
    given.setdefault("group", DEFAULT_GROUP)
    return Routing(**given)


def _why_not(labels: Mapping[str, str], index: int, port: AppPort, enabled: str, *, asked: bool) -> str:
    """Return why a port is not balanced whatever else is stated, or nothing."""
    if enabled == "false":
        return f"{label(labels, index, 'ENABLED')} is false"
    if port.protocol == "udp":
        return "a UDP port, and HAProxy balances TCP only"
    return "" if asked else f"nothing asks for it: state HAPROXY_GROUP, or a route such as HAPROXY_{index}_VHOST"


def label(labels: Mapping[str, str], index: int, name: str) -> str:
    """Return the label by which an app states something for one port (``VHOST``: ``HAPROXY_0_VHOST``), or nothing."""
    return _one(labels, f"{index}_{name}")


#: Fields of what is given that ask for balancing.
_ASKING: Final = frozenset(name.lower() for name, rule in _RULES.items() if rule.route)
#: Fields that have a meaning in mode http alone, and so make it that mode.
_HTTP: Final = frozenset(name.lower() for name, rule in _RULES.items() if rule.mode == "http")


def known(key: str) -> bool:
    """Tell whether a label is one of these, whatever its value."""
    match = _LABEL.fullmatch(key)
    return match is not None and match[2] in (_RULES if match[1] else ("GROUP",))


def known_names(prefix: str) -> list[str]:
    """Return what a label with this prefix may be, ``n`` standing for a port's index."""
    return [f"{prefix}GROUP", *(f"{prefix}n_{name}" for name in _RULES)]


def problems(labels: Mapping[str, str], ports: Sequence[AppPort]) -> Iterator[Problem]:
    """Find what is wrong with an app's routing labels, alone and taken together."""
    for key, value in labels.items():
        if known(key) and (message := _wrong(key, value, ports) or _rivalry(labels, key)):
            yield Problem(f"/labels/{key}", message)
    for index, port in enumerate(ports):
        yield from _contradictions(labels, index, port)


def _one(labels: Mapping[str, str], name: str) -> str:
    return next((prefix + name for prefix in PREFIXES if labels.get(prefix + name)), "")


def _given(labels: Mapping[str, str], index: int) -> dict[str, str]:
    """Return rule -> label, for the labels that an app has for one port."""
    return {name: key for name in _RULES if (key := label(labels, index, name))}


def _wrong(key: str, value: str, ports: Sequence[AppPort]) -> str:
    match = _LABEL.fullmatch(key)
    assert match
    if not value:
        return ""
    if len(value) > _VALUE_LENGTH_MAX:
        return f"is {len(value)} characters long: use at most {_VALUE_LENGTH_MAX}"
    if match[1] and (index := int(match[1])) >= len(ports):
        return f"speaks of port {index}, the app has {indices(len(ports))}: correct the number, or add the port"
    if match[1] and ports[index].protocol == "udp":
        return f"speaks of port {index}, a UDP port, and HAProxy balances TCP only: remove it"
    rule = _RULES[match[2]]
    return "" if rule.good(value) else f"{rule.message}, not '{value}'"


def _rivalry(labels: Mapping[str, str], key: str) -> str:
    """Say what is wrong where our own label and marathon-lb's of the same name differ."""
    ours, theirs = PREFIXES[1], PREFIXES[0]
    rival = theirs + key.removeprefix(ours)
    if not key.startswith(ours) or (labels.get(rival) or labels[key]) == labels[key]:
        return ""
    return f"is '{labels[key]}', and {rival} is '{labels[rival]}': keep one of the two"


def _contradictions(labels: Mapping[str, str], index: int, port: AppPort) -> Iterator[Problem]:
    """Find labels of one port that make no sense together; one that makes none alone has been found already."""
    given = _given(labels, index)
    mode = labels[given["MODE"]] if "MODE" in given else ""
    if mode not in ("http", "tcp"):
        return
    for name, key in given.items():
        rule = _RULES[name]
        if rule.mode not in ("", mode) and rule.good(labels[key]):
            mode_label = given.get("MODE") or key.replace(name, "MODE")
            yield Problem(f"/labels/{key}", f"is for mode {rule.mode} only: remove it, or set {mode_label} to {rule.mode}")
    if mode == "tcp" and "PORT" not in given and not port.service_port:
        port_label = given["MODE"].replace("MODE", "PORT")
        yield Problem(
            f"/labels/{given['MODE']}",
            f"is tcp, and no port says where balancers shall offer it: set {port_label}, "
            "the servicePort of the port mapping, or the port of the port definition",
        )


def indices(port_count: int) -> str:
    """Say which indices ports have, for a message about one that is none of them."""
    return f"ports 0 to {port_count - 1}" if port_count > 1 else "port 0 only" if port_count else "no ports"
