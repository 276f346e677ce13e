"""A model -> the half of HAProxy's configuration that follows Consul, and the map of its routes. Pure.

Servers come and go without a reload, and so do routes, as long as their backends stay; everything else needs one. So what
HAProxy reads is seen as a *shape* with servers in it, and a map file beside it. The shape's digest is HAProxy's ``description``,
that of the routes an entry of their map: a running process can be asked which it has, whoever started it and when.

The file ends with a comment that holds the model: it is the one thing that is remembered, and never without the text.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Final, NamedTuple

from eratos.common import request_ids
from eratos.common.routing import credentials, networks

from .services import USUAL_WEIGHT, WILDCARD, Backend, Claim, Model, Rank, rank, split

NONE: Final = "eratos:none"
#: The map's entry that holds its digest. No request has this key: each ends its host with a slash.
DIGEST_KEY: Final = "eratos:routes"

_RECORD: Final = "# model "
#: Fields of a backend that are left out where they are empty: a companion of the version before does not know them.
_NEW: Final = ("failover", "datacenters", "use_hsts", "auth", "allowed", "proxypass", "revproxy", "redirect_root", "hosts")
_CHECK: Final = "fastinter 200ms downinter 500ms fall 2 rise 1 observe layer4 error-limit 1 on-error mark-down"
_REPEAT: Final = "http-request disable-l7-retry unless { method GET HEAD OPTIONS TRACE }"
_DEFAULT_SERVER: Final = "default-server"
#: Half a year, as marathon-lb has it.
_HSTS_S: Final = 15_768_000

#: backend -> server -> what follows its name: the address, then any weight
Pools = dict[str, dict[str, str]]
#: name of a snippet without its ending -> its lines
Snippets = Mapping[str, str]


class Settings(NamedTuple):
    """What the text takes from a balancer's own settings. All others are variables that HAProxy reads itself."""

    map_file: str  #: where the map of the routes is
    https_port: str = ":8443"  #: what follows the host name where clients are sent to https
    check_interval_ms: float = 800
    dead_host_s: float = 4  #: after which a server that takes nothing counts as gone
    request_id: str = "keep"  #: a client's own is kept where it is plain; ``own``: never; ``off``: requests get none
    log_requests: str = "failed"  #: of services that do not say: ``all``, ``failed`` or a share such as ``5%``


@dataclass(frozen=True)
class Rendered:
    """One configuration, as it is written or as it was read back."""

    model: Model = field(default_factory=Model)
    snippets: Snippets = field(default_factory=dict)
    shape: str = ""  #: digest of everything but servers and routes; empty where nothing was applied yet
    routes: str = ""  #: digest of the map; empty where there is none
    text: str = ""  #: what HAProxy reads
    map_text: str = ""  #: what the map file holds; empty where there is none, or where it was read back
    refused: tuple[str, ...] = ()

    @cached_property
    def pools(self) -> Pools:
        """Every backend, those without servers included."""
        pools = {name: {i: _line(backend, i) for i in backend.servers} for name, backend in self.model.backends.items()}
        return {NONE: {}, **pools} if self.shape else {}

    def weights(self) -> dict[str, dict[str, int]]:
        """Return backend -> server -> weight, of the servers that have one of their own."""
        return {
            name: {server: int(weight) for server in backend.servers if (weight := backend.weight(server))}
            for name, backend in self.model.backends.items()
        }

    def default_servers(self, settings: Settings) -> dict[str, str]:
        """Return backend -> settings that all of its servers have."""
        return {name: _default_server(name, b, settings, self.snippets) for name, b in self.model.backends.items()}


def render(model: Model, settings: Settings, certificates: str = "", snippets: Snippets | None = None) -> Rendered:
    """Write a model down. ``certificates``: path of HAProxy's list of them, empty where there is no TLS."""
    laid = snippets or {}
    map_text = _map(model.routes)
    shape = ["# Written by the balancer companion. Changes made here are lost."]
    if "global" in laid:
        shape += ["", "global", *_laid(laid, "global")]
    http, tcp = "traffic", "tcp"
    if "defaults" in laid:
        shape += ["", "defaults eratos:traffic from traffic", *_laid(laid, "defaults")]
        shape += ["", "defaults eratos:tcp from tcp", *_laid(laid, "defaults")]
        http, tcp = "eratos:traffic", "eratos:tcp"
    shape += [*_traffic(model, settings, certificates, http, laid), *_ports(model, settings, certificates, http, tcp, laid)]
    text = list(shape)
    refused = list(model.refused)
    for name, backend in model.backends.items():
        head = [*_backend(name, backend, settings, tcp if backend.mode == "tcp" else http, laid)]
        shape += head
        text += [*head, *(f"  server {server} {_line(backend, server)}" for server in backend.servers)]
        if backend.mode == "http" and backend.redirect_to_https == "true" and not certificates:
            refused.append(f"{name}: its clients are sent to https, where this balancer has no certificate")
    described, routes = f"eratos-{_digest(shape)}", _digest([map_text]) if map_text else ""
    record = {"shape": described, "routes": routes, "model": _plain(model), "snippets": dict(laid)}
    text += ["", "global", f"  description {described}", _RECORD + json.dumps(record, separators=(",", ":"), sort_keys=True), ""]
    return Rendered(
        model,
        laid,
        described,
        routes,
        "\n".join(text),
        f"{map_text}{DIGEST_KEY} {routes}\n" if map_text else "",
        tuple(refused),
    )


def read_back(text: str) -> Rendered:
    """Read what :func:`render` wrote; without a model where the text is somebody else's, or of another version."""
    try:
        kept = json.loads(text.rpartition(f"\n{_RECORD}")[2])
        model = Model(
            {name: Backend(**backend) for name, backend in kept["model"]["backends"].items()},
            {key: Claim(*claim) for key, claim in kept["model"]["routes"].items()},
            {port: Claim(*claim) for port, claim in kept["model"]["ports"].items()},
        )
        return Rendered(model, kept["snippets"], kept["shape"], kept["routes"], text)
    except (ValueError, LookupError, TypeError):
        return Rendered(text=text)


def entries(map_text: str) -> Iterator[tuple[str, str]]:
    """Return key and value of each line of a map file."""
    for line in map_text.splitlines():
        key, _, value = line.partition(" ")
        yield key, value


def _traffic(model: Model, settings: Settings, certificates: str, defaults: str, laid: Snippets) -> Iterator[str]:
    """Yield the frontend of all HTTP services. Every request pays for each of its rules: none that nothing asks for."""
    yield from ("", f"frontend eratos:traffic from {defaults}")
    # Clients may be away for longer than servers: with tcp-ut the host's net.ipv4.tcp_retries2, for servers, leaves them alone.
    yield '  bind "${ERATOS_HTTP_BIND-:8000}" tcp-ut 900s'
    if certificates:
        yield f'  bind "${{ERATOS_HTTPS_BIND-:8443}}" ssl crt-list {certificates} alpn h2,http/1.1 tcp-ut 900s'
        yield "  http-request set-header X-Forwarded-Proto %[ssl_fc,iif(https,http)]"
    yield from _with_id(settings)
    yield from _logging({claim.name for claim in model.routes.values()}, model, settings)
    yield f"  {_REPEAT}"
    # A stream of events ends with its connection: said at its beginning, it holds up no drain for what might follow it.
    yield "  http-response set-header Connection close if { res.hdr(content-type) -m beg text/event-stream }"
    yield from _laid(laid, "frontend")
    default = model.routes["/"].name if "/" in model.routes else NONE
    stated = [split(key) for key in model.routes if key != "/"]
    hosts, paths = [one for one in stated if one[0]], [path for host, path in stated if not host]
    wildcards = any(host.startswith(WILDCARD) for host, _ in hosts)
    deep = any(path != "/" for _, path in hosts)
    found = f"map_beg({settings.map_file})"
    if paths or deep:
        yield "  http-request set-var(txn.path) path,concat(/)"
    name, key = "req.hdr(host),host_only,lower,rtrim(.)", f"concat(/{',txn.path' if deep else ''})"
    by_host = f"{name},{key},{found}"
    if wildcards or (hosts and paths):
        yield f"  http-request set-var(txn.backend) {by_host}"
        if wildcards:
            by_wildcard = f"{name},regsub(^[^.]+,*),{key},{found}"
            yield f"  http-request set-var(txn.backend) {by_wildcard} unless {{ var(txn.backend) -m found }}"
        yield "  use_backend %[var(txn.backend)] if { var(txn.backend) -m found }"
    elif hosts:
        yield f"  use_backend %[{by_host}]"
    if paths:
        yield f"  use_backend %[var(txn.path),{found}]"
    yield f"  default_backend {default}"
    yield from ("", f"backend {NONE} from {defaults}")
    yield '  http-request return status 503 content-type text/plain string "no application answers here\\n"'


def _with_id(settings: Settings) -> Iterator[str]:
    """Yield what gives each request an id: for its instance, for the log, and in the answer, also in one of HAProxy's own."""
    if settings.request_id == "off":
        return
    name, variable = request_ids.HEADER, "txn.request_id"
    found = f"{{ var({variable}) -m found }}"
    if settings.request_id == "keep":
        one = f"{{ req.fhdr_cnt({name}) eq 1 }} {{ req.fhdr({name}) -m reg ^{request_ids.PATTERN}$ }}"
        yield f"  http-request set-var({variable}) req.fhdr({name}) if {one}"
        yield f"  http-request set-var({variable}) uuid(7) unless {found}"
    else:
        yield f"  http-request set-var({variable}) uuid(7)"
    yield f"  http-request set-header {name} %[var({variable})]"
    # What is no request at all has none.
    yield f"  http-after-response set-header {name} %[var({variable})] if {found}"


def _logging(names: Iterable[str], model: Model, settings: Settings) -> Iterator[str]:
    """Yield what a frontend needs so that requests to some of these services get a line although they did not fail.

    The fixed half logs what is a notice or worse: HAProxy logs failed requests as errors, others below a notice, unless a
    backend says that one is. It writes each line before it looks at that, so this is for frontends that have such a backend.
    """
    if any(_log_share(model.backends[name], settings) for name in names):
        yield "  no option dontlog-normal"


def _log_share(backend: Backend, settings: Settings) -> int:
    """Return how many requests of 100,000 get a line although they did not fail."""
    wanted = backend.log_requests or settings.log_requests
    return 100_000 if wanted == "all" else 0 if wanted == "failed" else round(float(wanted.rstrip("%")) * 1000)


def _ports(model: Model, settings: Settings, certificates: str, http: str, tcp: str, laid: Snippets) -> Iterator[str]:
    """Yield a frontend for each service port."""
    for port in sorted(model.ports):
        name = model.ports[port].name
        mode = model.backends[name].mode
        yield from ("", f"frontend eratos:{mode}:{port}:{name} from {tcp if mode == 'tcp' else http}")
        yield f"  bind :{port} tcp-ut 900s"
        if mode == "http":
            if certificates:
                yield "  http-request set-header X-Forwarded-Proto http"
            yield from _with_id(settings)
            yield from _logging([name], model, settings)
            yield f"  {_REPEAT}"
        yield from _laid(laid, f"frontend-{port}")
        yield f"  default_backend {name}"


def _backend(name: str, backend: Backend, settings: Settings, defaults: str, laid: Snippets) -> Iterator[str]:
    _, user, password = credentials(backend.auth) if backend.auth else ("", "", "")
    if password:
        yield from ("", f"userlist {_users(name)}", f"  user {user} password {password}")
    yield from ("", f"backend {name} from {defaults}")
    yield f"  balance {backend.balance or 'roundrobin'}"
    if backend.balance == "source":
        yield "  hash-type consistent"
    if backend.timeout_s:
        yield f"  timeout {'tunnel' if backend.mode == 'tcp' else 'server'} {backend.timeout_s}s"
    if backend.allowed:
        kept_out = "http-request deny status 403" if backend.mode == "http" else "tcp-request content reject"
        yield f"  {kept_out} unless {{ src {' '.join(networks(backend.allowed))} }}"
    if backend.mode == "http":
        if share := _log_share(backend, settings):
            yield "  http-request set-log-level notice" + (f" if {{ rand(100000) lt {share} }}" if share < 100_000 else "")
        if backend.redirect_to_https == "true":
            to = f"https://%[req.hdr(host),host_only]{settings.https_port}%[pathq]"
            yield f'  http-request redirect code 301 location "{to}" unless {{ ssl_fc }}'
        yield from _rewritten(name, backend)
        if backend.sticky == "true":
            yield f"  cookie eratos-{name} insert indirect nocache httponly dynamic"
            yield '  dynamic-cookie-key "${ERATOS_COOKIE_KEY-eratos}"'
        words = f'string "no instance of {name} is ready\\n"'
        yield f"  http-request return status 503 content-type text/plain {words} if {{ nbsrv eq 0 }}"
    yield from (line for line in _of_backend(name, laid) if line.split()[0] != _DEFAULT_SERVER)
    yield f"  {_DEFAULT_SERVER} {_default_server(name, backend, settings, laid)}"


def _users(name: str) -> str:
    return f"eratos:{name}"


def _rewritten(name: str, backend: Backend) -> Iterator[str]:
    """Yield who has to say who they are, and what is changed of requests and answers."""
    if backend.auth:
        realm, _, password = credentials(backend.auth)
        yield f'  http-request auth realm "{realm}"' + (f" unless {{ http_auth({_users(name)}) }}" if password else "")
    if backend.redirect_root:
        yield f"  http-request redirect code 301 location {backend.redirect_root} if {{ path / }}"
    hosts = backend.hosts.split(",") if backend.hosts else []
    if backend.proxypass:
        path = backend.proxypass.rstrip("/")
        if plain := [host for host in hosts if not host.startswith(WILDCARD)]:
            yield f"  http-request set-header Host {plain[0]}"
        yield f"  http-request set-path / if {{ path {path} }}"
        yield f"  http-request set-path %[path,bytes({len(path)})] if {{ path_beg {path}/ }}"
    if backend.revproxy:
        names = "|".join(host.replace(".", "[.]").replace("*", "[^./:]+") for host in hosts)
        own = f"(?:https?://(?:{names})(?::[0-9]+)?)?" if names else ""
        for header in ("Location", "Content-Location"):
            yield f"  http-response replace-header {header} ^{own}(/(?!/).*)$ {backend.revproxy.rstrip('/')}\\1"
    if backend.use_hsts == "true":
        yield f'  http-response set-header Strict-Transport-Security "max-age={_HSTS_S}" if {{ ssl_fc }}'


def _default_server(name: str, backend: Backend, settings: Settings, laid: Snippets) -> str:
    """Return the settings of a backend's servers. Those laid by administrators stand last, so that they count."""
    checked = f"check inter {settings.check_interval_ms:.0f}ms {_CHECK}"
    words = [f"{checked} tcp-ut {settings.dead_host_s * 1000:.0f}ms weight {USUAL_WEIGHT}"]
    if backend.maxconn:
        words.append(f"maxconn {backend.maxconn}")
    lines = map(str.split, _of_backend(name, laid))
    return " ".join([*words, *(word for line in lines if line[0] == _DEFAULT_SERVER for word in line[1:])])


def _of_backend(name: str, laid: Snippets) -> Iterator[str]:
    yield from _laid(laid, "backend")
    yield from _laid(laid, f"backend-{name}")


def _laid(laid: Snippets, name: str) -> Iterator[str]:
    """Yield a snippet's lines, without comments and empty ones."""
    for line in laid.get(name, "").splitlines():
        if line.strip() and not line.lstrip().startswith("#"):
            yield f"  {line.strip()}"


def _line(backend: Backend, server: str) -> str:
    """Return what follows a server's name."""
    weight = backend.weight(server)
    return f"{backend.servers[server]} weight {weight}" if weight else backend.servers[server]


def _map(routes: Mapping[str, Claim]) -> str:
    """Return the lines of the map file: key of a route -> the service that a request gets which no deeper key matches.

    HAProxy takes the longest key that a request's host and path begin with. So each key has the first by rank of all routes
    that such a request matches. A host's requests are looked up by host, by the wildcard for it where that finds nothing, and
    then by path alone: what of these is heavier than one of the host's routes is therefore among the host's keys as well.
    """
    by_host: dict[str, dict[str, tuple[Rank, Claim]]] = {}
    for key, claim in routes.items():
        host, path = split(key)
        by_host.setdefault(host, {})[path] = (rank(key, claim), claim)
    anywhere = by_host.pop("", {})
    lines = []
    for host, own in by_host.items():
        least = min(claim.weight for _, claim in own.values())
        wildcard = by_host.get(f"*.{host.partition('.')[2]}", {}) if not host.startswith(WILDCARD) else {}
        best = dict(own)
        for path, ranked in (*wildcard.items(), *anywhere.items()):
            if ranked[1].weight > least:
                best[path] = min(best.get(path, ranked), ranked)
        # Apart from its path a host is ended by a slash of its own: a request such as OPTIONS * has none.
        lines += [f"{host}/{path if path != '/' else ''} {_first(path, best)}" for path in best]
    if anywhere.keys() - {"/"}:
        lines += [f"{path} {_first(path, anywhere)}" for path in anywhere if path != "/"]
    return "".join(f"{line}\n" for line in sorted(lines))


def _first(path: str, best: Mapping[str, tuple[Rank, Claim]]) -> str:
    """Return the service of the first by rank among a path and all above it."""
    above = [path[: end + 1] for end, letter in enumerate(path) if letter == "/"]
    return min(best[prefix] for prefix in above if prefix in best)[1].name


def _plain(model: Model) -> dict[str, Any]:
    backends = {
        name: {key: value for key, value in vars(b).items() if value or key not in _NEW} for name, b in model.backends.items()
    }
    return {"backends": backends, "routes": model.routes, "ports": model.ports}


def _digest(lines: list[str]) -> str:
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]
