r"""A model -> nginx's whole configuration. Pure. For HTTP alone: what has no counterpart here is named and left out.

A route is a line of a map, looked up in the order of the lines; ``\Q..\E`` takes it literally. nginx takes no upstream without
servers, and two names that differ in capital letters for one: so an empty backend is a line of another map, and each upstream's
name ends with a number.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Final

from .services import USUAL_WEIGHT, WILDCARD, Backend, Model, order

#: What each setting is where the environment says nothing.
DEFAULTS: Final[Mapping[str, str]] = {
    "ERATOS_STATE_DIR": "/var/lib/eratos-balancer",
    "ERATOS_THREADS": "2",
    "ERATOS_HARD_STOP_AFTER_S": "300",
    "ERATOS_MAXCONN": "4096",
    "ERATOS_TIMEOUT_CONNECT_S": "1",
    "ERATOS_TIMEOUT_SERVER_S": "60",
    "ERATOS_HTTP_BIND": ":8000",
    "ERATOS_STATS_BIND": ":9090",
    "ERATOS_MAX_FAILS": "3",
    "ERATOS_FAIL_TIMEOUT_S": "60",
}
#: Places for administrators' own lines.
SNIPPETS: Final = ("main", "http", "server")

_BALANCE: Final = {"": "least_conn;", "leastconn": "least_conn;", "random": "random;", "source": "ip_hash;"}
_HEAD: Final = r"""
worker_processes {ERATOS_THREADS};
# The longest life of an old process after a reload.
worker_shutdown_timeout {ERATOS_HARD_STOP_AFTER_S}s;
pid {ERATOS_STATE_DIR}/nginx.pid;
error_log stderr warn;
{main}
events {{
  worker_connections {ERATOS_MAXCONN};
}}

http {{
  log_format eratos '$remote_addr "$request" $status $request_time $eratos_backend $upstream_addr $upstream_status';
  access_log /dev/stdout eratos;
  default_type text/plain;
  server_tokens off;
  client_max_body_size 0;
  client_body_temp_path {ERATOS_STATE_DIR}/body;
  proxy_temp_path {ERATOS_STATE_DIR}/proxy;
  fastcgi_temp_path {ERATOS_STATE_DIR}/unused;
  uwsgi_temp_path {ERATOS_STATE_DIR}/unused;
  scgi_temp_path {ERATOS_STATE_DIR}/unused;
  proxy_connect_timeout {ERATOS_TIMEOUT_CONNECT_S}s;
  proxy_read_timeout {ERATOS_TIMEOUT_SERVER_S}s;
  proxy_send_timeout {ERATOS_TIMEOUT_SERVER_S}s;
  # A dead host's connections end when the kernel's own times for this are over (net.ipv4.tcp_keepalive_*).
  proxy_socket_keepalive on;
  # What reached a server is repeated for methods without effect only; what could not reach it, always.
  proxy_next_upstream error timeout;
  proxy_next_upstream_tries 4;
  variables_hash_max_size 2048;
  map_hash_bucket_size 256;
{http}
  map $request_uri $eratos_path {{
    "~^(?<eratos_raw_path>[^?]*)" $eratos_raw_path;
  }}
  map $http_upgrade $eratos_connection {{
    default upgrade;
    "" "";
  }}"""
_PROXY: Final = """    location / {{
      proxy_pass http://{upstream};
      proxy_http_version 1.1;
      proxy_set_header Host $http_host;
      proxy_set_header X-Real-IP $remote_addr;
      proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
      proxy_set_header Upgrade $http_upgrade;
      proxy_set_header Connection $eratos_connection;
    }}"""
_TAIL: Final = """
  server {{
    listen {http_bind};
{server}
    if ($eratos_backend = "") {{
      return 503 "no application answers here\\n";
    }}
    if ($eratos_empty != "") {{
      return 503 "no instance of $eratos_empty is ready\\n";
    }}
{proxy}
  }}

  server {{
    listen {stats_bind};
    access_log off;
    location = /health {{
      return 200 "ok\\n";
    }}
    location = /stats {{
      stub_status;
    }}
  }}
}}
"""


def render(model: Model, environment: Mapping[str, str], snippets: Mapping[str, str]) -> str:
    """Write a model down. What is left out stands above it, each with its reason, as comments."""
    settings = {name: environment.get(name) or default for name, default in DEFAULTS.items()}
    model = _without_guarded(model)
    laid = {name: snippets.get(name, "") for name in SNIPPETS}
    lines = [
        "# Written by the balancer companion. Changes made here are lost.",
        *(f"# refused {reason}" for reason in (*model.refused, *_unknown(model))),
        _HEAD.format(**settings, **laid),
        *_maps(model),
    ]
    for name, backend in model.backends.items():
        if backend.servers and backend.mode == "http":
            lines += _upstream(name, backend, settings)
    for port in sorted(model.ports):
        lines += _port(port, model.ports[port].name, model.backends[model.ports[port].name])
    binds = {name: settings[f"ERATOS_{name.upper()}"] for name in ("http_bind", "stats_bind")}
    binds = {name: f"*{bind}" if bind.startswith(":") else bind for name, bind in binds.items()}
    lines.append(_TAIL.format(**binds, server=laid["server"], proxy=_PROXY.format(upstream="$eratos_backend")))
    return "\n".join(lines)


def _without_guarded(model: Model) -> Model:
    """Leave those without a server that are not for everybody: nginx is set up to keep nobody out."""
    backends = {name: replace(b, servers={}) if b.guarded else b for name, b in model.backends.items()}
    return replace(model, backends=backends)


def _unknown(model: Model) -> Iterator[str]:
    for port, claim in sorted(model.ports.items()):
        if model.backends[claim.name].mode == "tcp":
            yield f"{claim.name}: port {port}, as nginx is set up for HTTP alone"
    for name, backend in model.backends.items():
        if backend.guarded:
            yield f"{name}: it is not for everybody, and nginx keeps nobody out"
        for field in ("redirect_to_https", "sticky", "timeout_s", "use_hsts", "proxypass", "revproxy", "redirect_root"):
            if (value := getattr(backend, field)) not in ("", "false"):
                yield f"{name}: {field.replace('_', '-')} {value}, which has no counterpart in nginx"
        if backend.log_requests not in ("", "all"):
            yield f"{name}: log-requests {backend.log_requests}, where nginx logs every request"


def _maps(model: Model) -> Iterator[str]:
    yield '  map "$host$eratos_path/" $eratos_backend {\n    default "";'
    for host, path, name in order(model.routes):
        if host.startswith(WILDCARD):
            pattern = rf"[^./]+\Q{host.removeprefix('*')}{path}\E"
        else:
            pattern = rf"\Q{host}{path}\E" if host else rf"[^/]*\Q{path}\E" if path != "/" else ""
        yield f'    "~^{pattern}" "{_name(name)}";'
    yield '  }\n  map $eratos_backend $eratos_empty {\n    default "";'
    yield from (f'    "{_name(name)}" "{name}";' for name, backend in model.backends.items() if not backend.servers)
    yield "  }"


def _upstream(name: str, backend: Backend, settings: Mapping[str, str]) -> Iterator[str]:
    yield f"\n  upstream {_name(name)} {{"
    if backend.balance in _BALANCE:
        yield f"    {_BALANCE[backend.balance]}"
    fails = f"max_fails={settings['ERATOS_MAX_FAILS']} fail_timeout={settings['ERATOS_FAIL_TIMEOUT_S']}s"
    most = f" max_conns={backend.maxconn}" if backend.maxconn else ""
    for server, address in backend.servers.items():
        weight = backend.weight(server) or USUAL_WEIGHT
        # nginx knows no weight of 0.
        share = f"weight={weight}" if weight != "0" else "down"
        yield f"    server {address} {share} {fails}{most};"
    yield "  }"


def _port(port: str, name: str, backend: Backend) -> Iterator[str]:
    if backend.mode == "http":
        answer = _PROXY.format(upstream=_name(name))
        yield f"\n  server {{\n    listen *:{port};"
        yield answer if backend.servers else f'    return 503 "no instance of {name} is ready\\n";'
        yield "  }"


def _name(name: str) -> str:
    return f"{name}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"
