"""What balancers are asked to do with one port of an app: the one grammar of it, for labels and for Consul's meta.

The scheduler reads an app's labels into a :class:`Routing` (:mod:`eratos.marathon.routing`) and writes it into the meta of the
port's Consul service; balancers read that meta (:func:`read`). Values end up in a balancer's configuration, where one bad word
would spoil the file for every app, so both ends hold them to :data:`RULES`.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Final, NamedTuple

DEFAULT_GROUP: Final = "external"
BALANCE: Final = ("roundrobin", "leastconn", "random", "source")
ZONE_POLICIES: Final = ("ignore", "prefer", "require")
#: The name of a Consul data center, as Consul takes it.
DATACENTER: Final = r"[a-z0-9_-]{1,64}"
#: Weight of a route that nobody stated: below every one that somebody did.
UNSTATED_WEIGHT: Final = -2

_META: Final = "haproxy-"
_HOST = r"[A-Za-z0-9](?:[A-Za-z0-9_-]*[A-Za-z0-9])?"
_HOST_NAME = rf"{_HOST}(?:\.{_HOST})*"
#: ``*`` stands for one label, as in certificates.
_HOST_OR_WILDCARD = rf"(?:\*\.)?{_HOST_NAME}"
_HOST_LENGTH_MAX = 253
#: Of characters that mean nothing to HAProxy wherever they stand.
_PLAIN_PATH = r"(?:/[A-Za-z0-9._~-]{1,128}){1,16}/?"
#: A password by crypt(3): MD5, SHA-2, bcrypt or yescrypt. One in clear would be read by whoever reads the app.
_CRYPTED = re.compile(r"\$(?:1|5|6|2[aby]|y)\$[A-Za-z0-9./$,=]{8,160}")
_AUTH = re.compile(r"([A-Za-z0-9._ -]{1,64}):([A-Za-z0-9._@-]{1,64}):([!$%&()*+,./0-9:;<=>?@A-Z^_a-z{|}~-]{1,160})")


class Rule(NamedTuple):
    """What one label, or one key of the meta, may hold."""

    good: Callable[[str], object]
    message: str
    mode: str = ""  #: the only mode that it has a meaning in
    route: bool = False  #: whether it states a route, and so asks to be balanced


def _like(pattern: str, message: str, mode: str = "", *, route: bool = False) -> Rule:
    return Rule(re.compile(pattern).fullmatch, message, mode, route)


def _one_of(*words: str, mode: str = "", route: bool = False) -> Rule:
    return Rule(words.__contains__, f"must be {', '.join(words[:-1])} or {words[-1]}", mode, route)


def _number(least: int, most: int, mode: str = "", *, route: bool = False) -> Rule:
    def good(value: str) -> bool:
        return re.fullmatch(r"0|-?[1-9][0-9]{0,9}", value) is not None and least <= int(value) <= most

    return Rule(good, f"must be a whole number from {least} to {most}", mode, route)


def _networks(value: str) -> bool:
    try:
        found = [ipaddress.ip_network(word, strict=False) for word in networks(value)]
    except ValueError:
        return False
    return bool(found) and not set(value) - set("0123456789abcdefABCDEF.:/, ")


def networks(value: str) -> list[str]:
    """Return the addresses and networks of a label. marathon-lb parts them by blanks, and its page by commas."""
    return value.replace(",", " ").split()


def _path(which: str) -> Rule:
    return _like(_PLAIN_PATH, f"must be a path {which} such as /shop/cart, of letters, digits and . _ ~ -", "http")


#: What may be stated of a port; all but ``ENABLED`` have a field of the same name in :class:`Routing`.
RULES: Final[Mapping[str, Rule]] = {
    "ENABLED": _one_of("true", "false"),
    "GROUP": _like(r"[A-Za-z0-9_-]+(,[A-Za-z0-9_-]+)*", "must be a group's name, or several with commas between", route=True),
    "MODE": _one_of("http", "tcp", route=True),
    "PORT": _number(1, 65535, route=True),
    "VHOST": _like(
        rf"{_HOST_OR_WILDCARD}( *, *{_HOST_OR_WILDCARD})*",
        "must be a host name, such as shop.example or *.shop.example, or several with commas between",
        "http",
        route=True,
    ),
    "PATH": _like(
        r"(?=/)(?:/[A-Za-z0-9._~%+@:,=-]{1,128}){0,16}/?",
        "must be a path such as /shop/cart, of letters, digits and . _ ~ % + @ : , = -",
        "http",
        route=True,
    ),
    "BACKEND_WEIGHT": _number(-1, 9999, "http"),
    "REDIRECT_TO_HTTPS": _one_of("true", "false", mode="http"),
    "USE_HSTS": _one_of("true", "false", mode="http"),
    "AUTH": Rule(
        _AUTH.fullmatch,
        "must be realm:user:password, the password as mkpasswd -m sha-512 writes it, the others of letters, digits and . _ -",
        "http",
    ),
    "BACKEND_NETWORK_ALLOWED_ACL": Rule(_networks, "must be addresses or networks with blanks between: 10.0.0.0/8 192.0.2.7"),
    "HTTP_BACKEND_PROXYPASS_PATH": _path("of its requests"),
    "HTTP_BACKEND_REVPROXY_PATH": _path("for its answers"),
    "HTTP_BACKEND_REDIR": _path("to go to"),
    "STICKY": _one_of("true", "false", mode="http"),
    "BALANCE": _one_of(*BALANCE),
    "SERVER_WEIGHT": _number(1, 256),
    "MAXCONN": _number(1, 1_000_000),
    "TIMEOUT_S": _number(1, 86_400),
    "ZONE": _one_of(*ZONE_POLICIES),
    "FAILOVER": _like(
        rf"{DATACENTER}(,{DATACENTER}){{0,9}}",
        "must be a Consul data center such as dc2, or up to ten with commas between, of small letters, digits, - and _",
    ),
    "LOG_REQUESTS": _like(
        r"all|failed|(?:0\.(?!0+%)[0-9]{1,3}|[1-9][0-9]?(?:\.[0-9]{1,3})?|100)%",
        "must be all, failed, or a share of the requests such as 5% or 0.1%",
        "http",
    ),
}


#: Fields of a routing that say who is let in.
_GUARDS: Final = frozenset({"auth", "backend_network_allowed_acl"})


@dataclass(frozen=True, slots=True)
class Routing:
    """How balancers route to one port of an app, in the words of the labels. Empty: as the balancer does by default."""

    group: str = ""  #: names of groups of balancers, comma separated; empty: the port is not balanced
    mode: str = ""  #: ``http`` or ``tcp``
    port: str = ""  #: the port on which balancers offer this one
    vhost: str = ""  #: host names, comma separated; ``*.shop.example`` is every name with one label more
    path: str = ""  #: of several that match, the deeper goes first
    backend_weight: str = ""  #: of several routes that match a request, the one with the greatest is taken
    redirect_to_https: str = ""  #: ``true``: requests without TLS are answered with the way to https
    use_hsts: str = ""  #: ``true``: browsers that came by TLS are told to come by nothing else
    auth: str = ""  #: ``realm:user:password`` that clients have to give, the password by crypt(3)
    backend_network_allowed_acl: str = ""  #: addresses and networks of the only clients that are let in
    http_backend_proxypass_path: str = ""  #: beginning of a request's path that instances do not see
    http_backend_revproxy_path: str = ""  #: what is put before the path of an answer's Location
    http_backend_redir: str = ""  #: where requests for ``/`` are sent
    sticky: str = ""  #: ``true``: a client stays with its instance
    balance: str = ""
    server_weight: str = ""  #: the instance's share in its service's traffic, from 1 to 256
    maxconn: str = ""  #: requests at a time for each instance, or connections in mode tcp
    timeout_s: str = ""  #: longest wait for an instance's answer; in mode tcp for a byte from either side
    zone: str = ""  #: what the zone of balancers has to do with it: ``ignore``, ``prefer`` or ``require``; empty: as each does
    failover: str = ""  #: Consul data centers whose instances stand in where too few of a balancer's own are ready
    log_requests: str = ""  #: ``all``, ``failed`` or a share such as ``5%``; empty: as each balancer does
    why_not: str = ""  #: why the port is not balanced, for people

    @property
    def balanced(self) -> bool:
        return bool(self.group)

    @property
    def groups(self) -> tuple[str, ...]:
        return tuple(self.group.split(",")) if self.group else ()

    @property
    def datacenters(self) -> tuple[str, ...]:
        """The Consul data centers whose instances stand in for each other."""
        return tuple(self.failover.split(",")) if self.failover else ()

    @property
    def hosts(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(host.strip() for host in self.vhost.lower().split(","))) if self.vhost else ()

    @property
    def guarded(self) -> bool:
        """Whether not everybody is let in. Who cannot keep others out must let in nobody."""
        return any(getattr(self, name) for name in _GUARDS)

    @property
    def routed(self) -> bool:
        """Whether requests come to it over the balancers' common HTTP port: by a stated route, or for want of any other way."""
        return self.balanced and self.mode == "http" and bool(self.vhost or self.path or not self.port)

    @property
    def stated(self) -> bool:
        """Whether its route over the common HTTP port is stated; otherwise it is whatever nobody else claims."""
        return bool(self.vhost or self.path)

    def weight(self, host: str) -> int:
        """Return the weight of the route on one of its hosts; empty: on any.

        By default a host's path goes before the host, as in marathon-lb, but a wildcard's path not before a host without one.
        """
        if not self.stated:
            return UNSTATED_WEIGHT
        return int(self.backend_weight or bool(host and not host.startswith("*") and self.path.strip("/")))

    def meta(self) -> dict[str, str]:
        """Return the keys for the meta of the port's Consul service, where balancers read them."""
        if not self.balanced:
            # Balancers of the version before take silence for their default group.
            return {f"{_META}enabled": "false"}
        shown = {name: value for name, value in asdict(self).items() if value and name != "why_not"}
        return {_key(name): value for name, value in shown.items()}

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
        guards = [f"from {self.backend_network_allowed_acl} alone"] if self.backend_network_allowed_acl else []
        if self.auth:
            _, user, password = credentials(self.auth)
            nobody = "nobody, as the password in AUTH is none by crypt(3): mkpasswd -m sha-512 makes one"
            guards.append(f"for {f'{user} with a password' if password else nobody}")
        return ", ".join([f"{self.mode} on {', '.join(ways)} of group {self.group}", *guards])


def _key(name: str) -> str:
    return _META + name.lower().replace("_", "-")


#: The keys of a service's meta that :func:`read` looks at.
META_KEYS: Final = tuple(_key(name) for name in RULES)
#: Those with one value each: groups are compared as they stand, and each host name of several is judged alone.
_SINGLE: Final = {_key(name): (name.lower(), rule) for name, rule in RULES.items() if name not in ("ENABLED", "GROUP", "VHOST")}


def read(meta: Mapping[str, str]) -> tuple[Routing, dict[str, str]]:
    """Return what a service's meta states, and the fields whose values break the grammar, which are left empty.

    Anybody may register anything in Consul. Host names are judged one by one, by :func:`good_host`.
    """
    if meta.get(f"{_META}enabled") == "false":
        return Routing(), {}
    good, bad = {"mode": "http"}, dict[str, str]()
    for key, (name, rule) in _SINGLE.items():
        if value := meta.get(key):
            (good if rule.good(value) else bad)[name] = value
    return Routing(group=meta.get(f"{_META}group") or "", vhost=meta.get(f"{_META}vhost") or "", **good), bad


def datacenters(meta: Mapping[str, str]) -> tuple[str, ...]:
    """Return the Consul data centers whose balancers may serve a service with this meta, its own mostly among them."""
    return read(meta)[0].datacenters


def unguarded(fields: Iterable[str]) -> bool:
    """Return whether what cannot be read of a routing is about who is let in."""
    return not _GUARDS.isdisjoint(fields)


def credentials(auth: str) -> tuple[str, str, str]:
    """Return realm, user and password by crypt(3) of a good ``auth``; no password where it is none by that: nobody has it."""
    match = _AUTH.fullmatch(auth)
    assert match
    realm, user, password = match.groups()
    return realm, user, password if _CRYPTED.fullmatch(password) else ""


def good_host(host: str) -> bool:
    """Return whether one of a routing's hosts is a host name, or one with a wildcard for its first label."""
    return len(host) <= _HOST_LENGTH_MAX and re.fullmatch(_HOST_OR_WILDCARD, host) is not None
