"""Facts of Consul -> what a balancer serves: backends, routes, ports, and what is refused with the reason. Pure.

Every service tagged ``eratos`` whose meta names one of this balancer's groups is a backend, each of its passing instances a
server. Anybody may register anything in Consul, so nothing from there goes into the model that does not fit the grammar
(:mod:`eratos.common.routing`); it is refused, and everything else goes on.

A route has one key, ``<host>/<path>/``: ``/`` is the default, ``/cart/`` a path on any host, ``shop.example/`` a host. A backend
and its routes stay while Consul knows any instance of the service, passing or not, or the scheduler's placeholder for it, so
that an app without a ready instance answers 503 instead of having its requests answered by another one. Where instances differ,
as in the midst of an update, all their routes hold, and for the rest the newest version's settings. A placeholder has the app's
newest routes; as long as there are instances, all other settings are theirs.

Apps of two frameworks may have one service name between them. They are two backends, with the framework's id behind the name,
so that neither's visitors are answered by the other.

Where an app says so, instances that other Consul data centers have under its service's name are servers as well, and nothing
else: routes, ports and settings are those of the balancer's own data center (docs/adr/0051-far-servers-stand-in.md).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final, NamedTuple

from eratos.common.names import META_FRAMEWORK, META_PLACEHOLDER, META_SINCE, META_VERSION, META_WEIGHTS, META_ZONE
from eratos.common.routing import META_KEYS, Routing, good_host, read, unguarded

#: The backend of servers that stand in a file.
STATIC: Final = "static"
#: What a host begins with that stands for every name with one label more.
WILDCARD: Final = "*."
#: What routes are sorted by, :func:`rank`.
Rank = tuple[int, int, int, str]
#: A server's weight where nobody states one.
USUAL_WEIGHT: Final = "100"

_BYTE = "(?:25[0-5]|2[0-4][0-9]|1?[0-9]?[0-9])"
_IPV4 = rf"{_BYTE}(?:[.]{_BYTE}){{3}}"
_IPV6 = r"[0-9A-Fa-f]{0,4}(?::[0-9A-Fa-f]{0,4}){2,7}"
_ADDRESS = re.compile(rf"{_IPV4}|(?P<six>{_IPV6})")
_ADDRESS_AND_PORT = re.compile(rf"(?:{_IPV4}|\[{_IPV6}\]):[1-9][0-9]{{0,4}}")
#: Versions with their weights, which are those of an app that is there twice.
_WEIGHTS = re.compile(r"[0-9A-Za-z:.+-]{1,64}=(?:100|[1-9]?[0-9])(?:,[0-9A-Za-z:.+-]{1,64}=(?:100|[1-9]?[0-9])){0,9}")
_NAME = re.compile(r"[0-9A-Za-z_-]{1,128}")
_ID = re.compile(r"[0-9A-Za-z._-]{1,512}")


class Instance(NamedTuple):
    """One instance of a service as Consul knows it: the fields of ``facts.ctmpl``."""

    id: str
    address: str
    port: int
    status: str  #: ``passing``, ``warning``, ``critical`` or ``maintenance``
    tags: list[str]
    meta: dict[str, str]


class Facts(NamedTuple):
    """What is known: the services with tag ``eratos``, or the text of the file that names servers instead."""

    services: dict[str, list[Instance]]
    servers_file: str | None = None
    far: Mapping[str, dict[str, list[Instance]]] = {}  #: other data centers' services, as far as apps ask for them


class Scope(NamedTuple):
    """Which services a balancer is for."""

    group: str = "external"  #: ``*`` for all
    tag: str = ""  #: that a service has to have as well
    framework: str = ""  #: Mesos id of the only framework that is served; empty: any, and services of nobody's
    own_ports: frozenset[str] = frozenset()  #: which the balancer uses itself
    zone: str = ""  #: where the balancer is, as its instances' meta says it of them; empty: in none
    zone_policy: str = "ignore"  #: what apps that say nothing get: ``ignore``, ``prefer`` or ``require``
    datacenters: tuple[str, ...] = ()  #: Consul's, beside the balancer's own, whose instances stand in where an app says so


class Claim(NamedTuple):
    """Who has a route or a port. Of several that want it the heaviest gets it, then the oldest, then the first by name."""

    name: str
    weight: int
    since: str  #: a text that sorts by time; ``~``: nobody knows


@dataclass(frozen=True)
class Backend:
    """One service. Settings are the labels' values, empty where there is none."""

    mode: str = "http"
    balance: str = ""
    sticky: str = ""
    redirect_to_https: str = ""
    maxconn: str = ""
    timeout_s: str = ""
    servers: dict[str, str] = field(default_factory=dict)  #: id -> ``address:port``
    weights: dict[str, str] = field(default_factory=dict)  #: id -> weight, of those that state one, or else its version's
    zone: str = ""  #: the zone whose instances are preferred; empty: all are alike
    zones: dict[str, str] = field(default_factory=dict)  #: id -> zone, of those that say one, where zones matter
    versions: dict[str, str] = field(default_factory=dict)  #: id -> version, where zones matter and each has its weight
    shares: dict[str, str] = field(default_factory=dict)  #: id -> weight in place of the others (:mod:`.zones`)
    log_requests: str = ""  #: which requests get a line in the log; empty: those that do of every service
    failover: str = ""  #: the data centers whose instances stand in, of those that the balancer knows, comma separated
    datacenters: dict[str, str] = field(default_factory=dict)  #: id -> data center, of those in another one
    use_hsts: str = ""
    auth: str = ""
    allowed: str = ""  #: addresses and networks of the only clients that are let in
    proxypass: str = ""  #: beginning of a request's path that servers do not see
    revproxy: str = ""  #: what is put before the path of an answer's Location
    redirect_root: str = ""  #: where requests for ``/`` are sent
    hosts: str = ""  #: its host names, comma separated, where one of these asks for them

    @property
    def guarded(self) -> bool:
        """Whether not everybody is let in."""
        return bool(self.auth or self.allowed)

    def weight(self, server: str) -> str:
        """Return a server's weight, empty where it is what all have."""
        return self.shares.get(server) or self.weights.get(server, "")


@dataclass(frozen=True)
class Model:
    """What a balancer serves."""

    backends: dict[str, Backend] = field(default_factory=dict)
    routes: dict[str, Claim] = field(default_factory=dict)
    ports: dict[str, Claim] = field(default_factory=dict)
    refused: tuple[str, ...] = ()  #: what was left out, each as ``service: reason``


def read_facts(text: str) -> Facts:
    """Read what ``facts.ctmpl`` renders; raises ValueError where it is anything else, such as half a file."""
    try:
        found = json.loads(text)
        if "servers_file" in found:
            return Facts({}, str(found["servers_file"]))
        return Facts({name: [Instance(**row) for row in rows] for name, rows in found["services"].items()})
    except (ValueError, TypeError, LookupError, AttributeError) as error:
        raise ValueError(f"it holds no facts, half a file? {error}") from error


def with_far(facts: Facts, datacenter: str, text: str) -> Facts:
    """Return facts with those of another data center, as ``facts-far.ctmpl`` renders them; raises ValueError as above."""
    return facts._replace(far={**facts.far, datacenter: read_facts(text).services})


def decide(facts: Facts, scope: Scope) -> Model:
    """Return what a balancer serves of what is known."""
    if facts.servers_file is not None:
        return _static(facts.servers_file)
    made = _Gathering(scope)
    for name in sorted(facts.services):
        made.add(name, facts.services[name], {dc: known.get(name, []) for dc, known in facts.far.items()})
    # A service's instances may each be refused for the same reason.
    return Model(made.backends, made.routes, made.ports, tuple(dict.fromkeys(made.refused)))


def holders(facts: Facts) -> dict[str, set[str]]:
    """Return ``address:port`` -> the passing instances there, whichever balancer they are for."""
    found: dict[str, set[str]] = {}
    for instance in _instances(facts):
        if instance.status == "passing":
            found.setdefault(f"{instance.address}:{instance.port}", set()).add(instance.id)
    return found


def known(facts: Facts) -> set[str]:
    """Return the ids of all instances, whatever their checks say."""
    return {instance.id for instance in _instances(facts)}


def _instances(facts: Facts) -> Iterator[Instance]:
    for services in (facts.services, *facts.far.values()):
        for instances in services.values():
            yield from instances


def contest(claims: dict[str, Claim], key: str, new: Claim, what: str = "") -> str:
    """Let a service claim a route or a port; return which service goes without it and why, or nothing."""
    held = claims.get(key)
    taken = held is None or (new.weight, held.since) > (held.weight, new.since)
    if taken:
        claims[key] = new
    if held is None or held.name == new.name:
        return ""
    if not taken:
        return f"{new.name}: {held.name} already answers on {what}{key}"
    how = "with more weight" if new.weight > held.weight else "for longer"
    return f"{held.name}: {new.name} answers on {what}{key} {how}"


def order(routes: Mapping[str, Claim]) -> list[tuple[str, str, str]]:
    """Return host, path and service of each route, first the one that is to be asked first.

    That is the heaviest, then hosts before wildcards before paths alone, then the deeper: of two paths with equally many parts
    at most one matches.
    """
    return [(*split(key), routes[key].name) for key in sorted(routes, key=lambda key: rank(key, routes[key]))]


def rank(key: str, claim: Claim) -> Rank:
    """Return what routes are sorted by: the least goes first."""
    host = 2 if key.startswith("/") else 1 if key.startswith(WILDCARD) else 0
    return (-claim.weight, host, -key.count("/"), key)


def split(key: str) -> tuple[str, str]:
    """Return host and path of a route's key."""
    host, _, path = key.partition("/")
    return host, f"/{path}"


def _static(text: str) -> Model:
    servers, refused = {}, []
    for line in map(str.strip, text.splitlines()):
        if _ADDRESS_AND_PORT.fullmatch(line):
            servers[line.replace("[", "").replace("]", "")] = line
        elif line and not line.startswith("#"):
            refused.append(f"{STATIC}: {_quoted(line)} is no address with a port, such as 10.0.0.1:8080")
    return Model({STATIC: Backend(servers=dict(sorted(servers.items())))}, {"/": Claim(STATIC, 0, "")}, {}, tuple(refused))


def shared(versions: Mapping[str, str], weights: Mapping[str, str]) -> dict[str, str]:
    """Return the weights of servers by those of their versions. Those of a version that is not named get no traffic.

    Where none is there that has a weight, all of them are as good as each other: better one that waits for its turn than nobody.
    Each has one of its own also where all are the same: then another one takes no reload.
    """
    if not weights:
        return {}
    found = {server: weights.get(version, "0") for server, version in versions.items()}
    return found if set(found.values()) != {"0"} else dict.fromkeys(found, USUAL_WEIGHT)


class _Gathering:
    """What services ask for, one after the other, by name."""

    def __init__(self, scope: Scope) -> None:
        self._scope = scope
        self.backends: dict[str, Backend] = {}
        self.routes: dict[str, Claim] = {}
        self.ports: dict[str, Claim] = {}
        self.refused: list[str] = []

    def add(self, name: str, instances: Iterable[Instance], far: Mapping[str, Iterable[Instance]]) -> None:
        """Add a service; ``far``: what other data centers have under its name."""
        if not _NAME.fullmatch(name):
            self.refused.append(f"{_quoted(name)}: a service's name may hold letters, digits, dashes and underscores only")
            return
        by_framework = self._by_framework(instances)
        if len(by_framework) > 1 and (nobodys := by_framework.pop("", [])):
            next(iter(by_framework.values())).extend(nobodys)
        # A framework that is gone for good may have left its entries: whoever serves goes before them.
        ranked = sorted(
            (not any(instance.status == "passing" for instance in found), _since(found), framework)
            for framework, found in by_framework.items()
        )
        # The plain name is for one that has it alone, or among what others left. Of two that live neither has it: as it passed
        # from one to the other, a request could go to the wrong one.
        living = [framework for framework, found in by_framework.items() if any(map(_is_instance, found))]
        having = living or [*by_framework]
        plain = having[0] if len(having) == 1 else None
        for _, since, framework in ranked:
            own = name if framework == plain else f"{name}_{framework}"
            if _NAME.fullmatch(own):
                alone = len(by_framework) == 1
                elsewhere = {dc: self._of(framework, found, alone=alone) for dc, found in far.items()}
                self._add(own, by_framework[framework], max(since, ranked[0][1]), elsewhere)
            else:
                self.refused.append(f"{name}: framework {_quoted(framework)}")

    def _by_framework(self, instances: Iterable[Instance]) -> dict[str, list[Instance]]:
        """Return framework -> its instances, of those that the balancer is for."""
        found: dict[str, list[Instance]] = {}
        for instance in instances:
            framework = (instance.meta or {}).get(META_FRAMEWORK, "")
            if self._scope.framework in ("", framework) and (not self._scope.tag or self._scope.tag in instance.tags):
                found.setdefault(framework, []).append(instance)
        return found

    def _of(self, framework: str, instances: Iterable[Instance], *, alone: bool) -> list[Instance]:
        """Return those of another data center's instances that are of the same app.

        They are its framework's, if that has any there. Data centers may have a framework each: of an app that is ``alone`` in
        having the service's name here they are then those of the only one that has it there.
        """
        found = self._by_framework(instance for instance in instances if _is_instance(instance))
        if framework not in found and alone and len(found) == 1:
            return next(iter(found.values()))
        return found.get(framework, [])

    def _add(self, name: str, instances: Iterable[Instance], since: str, far: Mapping[str, Iterable[Instance]]) -> None:
        """Add what is one app's; ``since``: when it came; ``far``: its instances in other data centers."""
        # Most instances are alike, and each of its kind is judged once: a large service changes many times a second.
        kinds: dict[tuple[str | None, ...], _Asked | None] = {}
        pool = _Pool()
        of_version: dict[str, str] = {}

        def take(instance: Instance, datacenter: str = "", mode: str = "") -> None:
            """Judge an instance, and have it among the servers if it can be one. ``mode``: the only one that will do."""
            meta = instance.meta or {}
            placeholder = meta.get(META_PLACEHOLDER) == "true"
            version = "" if placeholder else meta.get(META_VERSION, "")
            kind = (datacenter, version, META_PLACEHOLDER if placeholder else "", *map(meta.get, META_KEYS))
            if kind not in kinds:
                kinds[kind] = self._asked(name, meta, version, placeholder)
            asked = kinds[kind]
            if not asked or instance.status != "passing":
                return
            if mode not in ("", asked.routing.mode):
                self.refused.append(f"{name}: mode {mode}, and in data center {datacenter} mode {asked.routing.mode}")
            elif address := self._address(name, instance, pool.servers):
                pool.take(instance, address, asked, datacenter)

        for instance in instances:
            meta = instance.meta or {}
            if meta.get(META_PLACEHOLDER) == "true" and META_WEIGHTS in meta:
                of_version |= self._weights(name, meta[META_WEIGHTS])
            take(instance)
        found = [asked for asked in kinds.values() if asked]
        if not found:
            return
        # Of one version some may have been registered before their guards were known; what is guarded goes before.
        newest = max(found, key=lambda asked: (not asked.placeholder, asked.version, asked.routing.guarded)).routing
        for asked in found:
            if asked.routing.mode == newest.mode:
                self._claim(name, asked.routing, asked.bad, since)
            elif not asked.placeholder:
                modes = f"mode {asked.routing.mode}, the newest in mode {newest.mode}"
                self.refused.append(f"{name}: some instances are in {modes}")
        failover = [datacenter for datacenter in self._scope.datacenters if datacenter in newest.datacenters]
        for datacenter in failover:
            for instance in far.get(datacenter, ()):
                take(instance, datacenter, newest.mode)
        settings = (newest.mode, newest.balance, newest.sticky, newest.redirect_to_https, newest.maxconn, newest.timeout_s)
        backend = Backend(
            *settings,
            dict(sorted(pool.servers.items())),
            shared(pool.versions, of_version) or pool.weights,
            log_requests=newest.log_requests,
            failover=",".join(failover),
            datacenters=pool.datacenters,
            versions=pool.versions if of_version and failover else {},
            use_hsts=newest.use_hsts,
            auth=newest.auth,
            allowed=newest.backend_network_allowed_acl,
            proxypass=newest.http_backend_proxypass_path,
            revproxy=newest.http_backend_revproxy_path,
            redirect_root=newest.http_backend_redir,
            hosts=_hosts(newest),
        )
        policy = newest.zone or self._scope.zone_policy
        self.backends[name] = self._by_zone(name, backend, policy, pool.zones, pool.versions if of_version else {})

    def _by_zone(
        self, name: str, backend: Backend, policy: str, zones: Mapping[str, str], versions: Mapping[str, str]
    ) -> Backend:
        """Return a backend as it is wanted with regard to the zones of its servers. ``versions``: of those with a weight each."""
        own = self._scope.zone
        if policy == "ignore":
            return backend
        if not own:
            self.refused.append(f"{name}: zone {policy}, and this balancer is in none (ERATOS_ZONE)")
            return backend
        if policy == "prefer":
            return replace(backend, zone=own, zones={s: zone for s, zone in zones.items() if zone}, versions=dict(versions))
        near = {s: address for s, address in backend.servers.items() if s in backend.datacenters or zones[s] == own}
        serving = [server for server in backend.servers if backend.weight(server) != "0"]
        if serving and not near.keys() & set(serving):
            self.refused.append(f"{name}: zone require, and none of its {len(serving)} instances is in zone {own}")
        return replace(backend, servers=near, weights={server: w for server, w in backend.weights.items() if server in near})

    def _weights(self, name: str, text: str) -> dict[str, str]:
        """Return version -> weight as an app's entry says it."""
        found = _WEIGHTS.fullmatch(text)
        if not found:
            self.refused.append(f"{name}: weights {_quoted(text)}")
            return {}
        return dict(pair.split("=") for pair in text.split(","))

    def _asked(self, name: str, meta: Mapping[str, str], version: str, placeholder: bool) -> _Asked | None:
        """Return what instances with this meta ask for, or None where they are not for this balancer."""
        routing, bad = read(meta)
        if not routing.balanced or not (self._scope.group == "*" or self._scope.group in routing.groups):
            return None
        if "mode" in bad:
            self.refused.append(f"{name}: mode {_quoted(bad['mode'])} is not supported, only http and tcp")
            return None
        self.refused += [f"{name}: {field.replace('_', '-')} {_quoted(value)}" for field, value in sorted(bad.items())]
        if unguarded(bad):
            return None
        return _Asked(routing, bad.keys(), version, placeholder)

    def _address(self, name: str, instance: Instance, servers: Mapping[str, str]) -> str:
        """Return a server's address with its port, or nothing where it is refused."""
        match = _ADDRESS.fullmatch(instance.address)
        if not match or instance.port <= 0 or not _ID.fullmatch(instance.id):
            at = f"{_quoted(instance.address)}:{instance.port}"
            self.refused.append(f"{name}: instance {_quoted(instance.id)} at {at}")
            return ""
        if instance.id in servers:
            at = f"{instance.address}:{instance.port}"
            self.refused.append(f"{name}: a second instance {_quoted(instance.id)} at {at}")
            return ""
        return f"[{instance.address}]:{instance.port}" if match["six"] else f"{instance.address}:{instance.port}"

    def _claim(self, name: str, routing: Routing, bad: Iterable[str], since: str) -> None:
        """Claim a service's port and routes. One whose path or port was refused must not get more than it asked for."""
        if routing.port in self._scope.own_ports:
            self.refused.append(f"{name}: the balancer itself uses port {routing.port}")
        elif routing.port:
            # Of two that want a port, one that is reached by a route as well needs it less.
            weight = int(not (routing.mode == "http" and (routing.stated or "path" in bad)))
            self._contest(self.ports, routing.port, Claim(name, weight, since), "port ")
        elif routing.mode == "tcp" and "port" not in bad:
            self.refused.append(f"{name}: no service port")
        if not routing.routed or "path" in bad or ("port" in bad and not routing.stated):
            return
        path = f"{routing.path.removesuffix('/')}/"
        for host in routing.hosts or ("",):
            if routing.vhost and not good_host(host):
                self.refused.append(f"{name}: host {_quoted(host)}")
            else:
                self._contest(self.routes, host + path, Claim(name, routing.weight(host), since))

    def _contest(self, claims: dict[str, Claim], key: str, claim: Claim, what: str = "") -> None:
        if reason := contest(claims, key, claim, what):
            self.refused.append(reason)


@dataclass(frozen=True)
class _Pool:
    """What is known of one backend's servers, each by id."""

    servers: dict[str, str] = field(default_factory=dict)
    weights: dict[str, str] = field(default_factory=dict)
    zones: dict[str, str] = field(default_factory=dict)  #: of those in the balancer's own data center
    versions: dict[str, str] = field(default_factory=dict)
    datacenters: dict[str, str] = field(default_factory=dict)  #: of those in another one

    def take(self, instance: Instance, address: str, asked: _Asked, datacenter: str) -> None:
        meta = instance.meta or {}
        self.servers[instance.id] = address
        self.versions[instance.id] = meta.get(META_VERSION, "")
        if datacenter:
            self.datacenters[instance.id] = datacenter
        else:
            self.zones[instance.id] = meta.get(META_ZONE) or ""
        if asked.routing.server_weight:
            self.weights[instance.id] = asked.routing.server_weight


class _Asked(NamedTuple):
    """What instances of one kind ask for."""

    routing: Routing
    bad: Iterable[str]  #: fields that were refused
    version: str
    placeholder: bool


def _hosts(routing: Routing) -> str:
    """Return the good host names of a routing that needs them."""
    if not (routing.http_backend_proxypass_path or routing.http_backend_revproxy_path):
        return ""
    return ",".join(host for host in routing.hosts if good_host(host))


def _is_instance(found: Instance) -> bool:
    return (found.meta or {}).get(META_PLACEHOLDER) != "true"


def _since(instances: Iterable[Instance]) -> str:
    """Return since when an app is there, as its entry says; ``~``: nobody knows."""
    return min((found.meta.get(META_SINCE) or "~" for found in instances if not _is_instance(found)), default="~")


def _quoted(text: Any) -> str:
    return json.dumps(text, ensure_ascii=False)
