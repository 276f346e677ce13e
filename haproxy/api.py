"""The companion's HTTP interface; docs/companion.md is its contract.

Consul calls ``/health``, executors ``/servers/<id>`` and ``/confirm``. Nothing here decides anything.

Where there is a key, everything but ``/health`` is for executors of the framework, each with a token made with it, and for
whoever holds the key itself. Pages of strangers are refused in any case (:mod:`eratos.common.browser_guard`).
"""

from __future__ import annotations

import contextlib
import json
import logging
import re
import socket
import sys
import threading
import time
from dataclasses import asdict, dataclass, field
from email.message import Message
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote

from eratos.common import exposition, keys, request_ids, request_target
from eratos.common.browser_guard import BrowserGuard
from eratos.common.log import fields
from eratos.common.times import timestamp

from .apply import Applier
from .certificates import Certificates
from .core.usage import BACKEND, Figures
from .haproxy_process import Haproxy
from .request_lookup import BusyError, Lookup
from .sockets import HaproxyUnavailableError

log = logging.getLogger(__name__)

_BODY_MAX_BYTES = 1024 * 1024
#: As http.server has it of a request's first line.
_LINE_MAX_BYTES = 64 * 1024
#: Servers with longer ids are refused (core/services.py).
_ID_MAX = 512
#: Half of what counts of one caller.
_CONFIRMED_AT_ONCE = 1000
#: Connections, each with a thread: in all, and of one address, so that nobody keeps Consul's check and executors out.
_CONNECTIONS_MAX = 256
_CONNECTIONS_OF_ONE_MAX = 64
#: A connection ends after so long, also one whose request trickles in byte by byte.
_CONNECTION_MAX_S = 60.0
_SERVER = re.compile(r"^/servers/([^/]{1,600})$")
#: Figures that are shown of backends, not of each server.
_OF_BACKENDS = ("cut", "unanswered")
_REQUEST = re.compile(r"^/requests/([^/]*)$")

_TOO_MANY = b'{"reason": "too many connections"}\n'
_FULL = (
    b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\nConnection: close\r\n"
    b"Content-Length: %d\r\n\r\n%b" % (len(_TOO_MANY), _TOO_MANY)
)

#: Status, and a JSON body or, in bytes, the answer to a scrape.
Answer = tuple[int, dict[str, Any] | bytes]


class Companion:
    """The answers, apart from HTTP."""

    def __init__(self, applier: Applier, haproxy: Haproxy, certificates: Certificates, lookup: Lookup) -> None:
        self._applier = applier
        self._haproxy = haproxy
        self._certificates = certificates
        self._lookup = lookup

    def answer(self, method: str, path: str, body: bytes, caller: str) -> Answer:
        """Return status and body for one request from the address ``caller``.

        Trouble with HAProxy or the disk is an answer, too.
        """
        try:
            if (method, path) == ("GET", "/health"):
                return self._health()
            if (method, path) == ("GET", "/status"):
                return 200, self._status()
            if (method, path) == ("GET", "/metrics"):
                return 200, exposition.render([*self._applier.families(), self._processes(), *exposition.of_process()])
            if (method, path) == ("POST", "/confirm"):
                return self._confirm(body, caller)
            if method == "GET" and (match := _SERVER.match(path)):
                return self._server(unquote(match[1]))
            if method == "GET" and (match := _REQUEST.match(path)):
                return self._request(unquote(match[1]))
        except (HaproxyUnavailableError, BusyError) as error:
            return 503, {"reason": str(error)}
        except OSError as error:
            return 500, {"reason": f"{error}"}
        return 404, {"reason": f"there is no {method} {path}"}

    def _health(self) -> Answer:
        reason = ""
        for _ in range(2):  # a second look, where a change came and went between file and process
            try:
                live = self._applier.live()
                running = self._haproxy.running()
            except (HaproxyUnavailableError, OSError) as error:
                return 500, {"status": "failing", "reason": str(error)}
            # Before consul-template has rendered for the first time HAProxy runs without a described shape, and answers 503
            # on purpose. In the midst of a change a difference is no trouble: a balancer that fails its check is not waited
            # for by drains, and a reload may have to wait for its turn.
            if running.shape in ("", live.shape) or not live.shape or self._applier.changing:
                return 200, {"status": "ok", "shape": running.shape, "servers": sum(map(len, running.addresses().values()))}
            reason = f"HAProxy serves {running.shape}, the last applied is {live.shape}"
        return 500, {"status": "failing", "reason": reason}

    def _processes(self) -> exposition.Family:
        text = "Old HAProxy processes that finish what their clients have open."
        return exposition.gauge("eratos_balancer_old_processes", text, self._haproxy.old_processes())

    def _status(self) -> dict[str, Any]:
        running, figures, live = self._haproxy.running(), self._haproxy.figures(), self._applier.live()
        zones = {(name, server): zone for name, b in live.model.backends.items() for server, zone in b.zones.items()}
        far = {(name, server): dc for name, b in live.model.backends.items() for server, dc in b.datacenters.items()}
        return {
            **self._applier.status(),
            "certificates": self._certificates.status(),
            "shape": running.shape,
            "old_processes": self._haproxy.old_processes(),
            "queued": {backend: figures[backend, BACKEND].queued for backend in live.pools if (backend, BACKEND) in figures},
            "answers": {backend: _answers(figures[backend, BACKEND]) for backend in live.pools if (backend, BACKEND) in figures},
            "backends": {backend: sorted(servers) for backend, servers in live.pools.items()},
            "servers": {
                f"{row.backend}/{row.name}": {
                    "address": row.address,
                    "status": row.status,
                    "requests": row.requests,
                    **({"zone": zone} if (zone := zones.get((row.backend, row.name))) else {}),
                    **({"datacenter": dc} if (dc := far.get((row.backend, row.name))) else {}),
                    **(_counted(counted) if (counted := figures.get((row.backend, row.name))) is not None else {}),
                }
                for row in running.rows
            },
        }

    def _confirm(self, body: bytes, caller: str) -> Answer:
        try:
            servers = json.loads(body)["services"]
            if not isinstance(servers, list) or not all(isinstance(server, str) and server for server in servers):
                raise TypeError
        except (ValueError, TypeError, KeyError):
            return 400, {"reason": 'the body must be {"services": [ids of Consul services]}'}
        if len(servers) > _CONFIRMED_AT_ONCE:
            return 413, {"reason": f"services: {len(servers)} ids; announce at most {_CONFIRMED_AT_ONCE} in one call"}
        if too_long := [server for server in servers if len(server) > _ID_MAX]:
            return 400, {"reason": f"services: {too_long[0][:40]}...: an id has at most {_ID_MAX} characters here"}
        self._applier.confirm(servers, caller)
        return 200, {"confirmed": len(servers)}

    def _request(self, request_id: str) -> Answer:
        if not request_ids.good(request_id):
            return 400, {"reason": f"no request has such an id: it has {request_ids.FORM}"}
        found = self._lookup.find(request_id)
        return 200, {
            "id": request_id,
            "requests": [{**asdict(served), "at": timestamp(served.at)} for served in found.requests],
            "oldest": None if found.oldest is None else timestamp(found.oldest),
            **self._applier.requests(),
        }

    def _server(self, server: str) -> Answer:
        configured = any(server in servers for servers in self._applier.live().pools.values())
        found = self._haproxy.usage(server, self._applier.leaving())
        # What the file still names would be used again by an HAProxy that is started now.
        used = found.used or configured
        answer = {"server": server, "used": used, "requests": found.requests, "configured": configured, "last": found.last}
        return 200, answer


@dataclass(frozen=True, slots=True)
class Access:
    """Whom the companion answers."""

    names: tuple[str, ...] = ()  #: by which it may be called, besides its addresses
    key: str = field(default="", repr=False)  #: empty: executors need no token

    def refusal(self, method: str, target: str, headers: Message, body: bytes) -> Answer | None:
        """Return the answer to a request that goes no further."""
        guard = BrowserGuard.of(self.names, setting="ERATOS_COMPANION_HOSTS")
        refused = guard.refusal(method, headers.get("Host"), headers.get("Origin"), headers.get("Content-Type"), bool(body))
        if refused is not None:
            return refused.status, {"reason": refused.reason}
        shown = headers.get("Authorization", "")
        if not self.key or target.partition("?")[0] == "/health" or keys.same(shown, f"Bearer {self.key}"):
            return None  # the last one is an operator, who has the key itself
        why = keys.unproven(shown, lambda who: keys.companion_key(self.key, who), method, target, body, time.time())
        if why:
            return 401, {"reason": f"only executors of this balancer's framework may ask, see ERATOS_COMPANION_KEY_FILE: {why}"}
        return None


def _counted(found: Figures) -> dict[str, int]:
    """Return what is shown of a server."""
    return {name: value for name, value in asdict(found).items() if name not in _OF_BACKENDS}


def _answers(found: Figures) -> dict[str, int]:
    """Return what clients of a backend got, from whichever server, or from HAProxy itself where none could answer."""
    return {"answered": found.answered - found.unanswered, "failed": found.failed, "cut": found.cut}


def server(companion: Companion, port: int, access: Access = Access()) -> ThreadingHTTPServer:
    """Return the HTTP server, bound to all addresses and not yet serving; raises OSError where the port is taken."""
    return _Server(companion, port, access)


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    raw_requestline: bytes
    protocol_version = "HTTP/1.1"
    timeout = 10  # seconds that a silent connection keeps its thread

    def setup(self) -> None:
        super().setup()
        self._since_s = time.monotonic()

    def parse_request(self) -> bool:
        # An empty line may come before a request (RFC 9112, 2.2); http.server would hang up.
        while self.raw_requestline in (b"\r\n", b"\n"):
            self.raw_requestline = self.rfile.readline(_LINE_MAX_BYTES + 1)
        if len(self.raw_requestline) > _LINE_MAX_BYTES:
            self.requestline = self.command = ""
            self.send_error(HTTPStatus.REQUEST_URI_TOO_LONG)
            return False
        return super().parse_request()

    def _handle(self) -> None:
        # Long before the connection would be cut.
        self.close_connection |= time.monotonic() - self._since_s > _CONNECTION_MAX_S / 2
        given = (self.headers.get("Content-Length") or "0").strip()
        length = int(given) if given.isascii() and given.isdigit() and len(given) < 20 else -1
        if "Transfer-Encoding" in self.headers:
            self.close_connection = True  # nobody knows where the next request begins
            self._send(411, {"reason": "a body must have a Content-Length"})
            return
        if not 0 <= length <= _BODY_MAX_BYTES:
            self.close_connection = True
            self._send(413, {"reason": f"a body may have {_BODY_MAX_BYTES} bytes"})
            return
        body = self.rfile.read(length)
        try:
            target, host = request_target.parted(self.path, tls=False)
        except request_target.BadTarget as failure:
            self._send(failure.status, {"reason": str(failure)})
            return
        if host is not None:
            del self.headers["Host"]
            self.headers["Host"] = host
        path = target.partition("?")[0]
        refused = self.server.access.refusal(self.command, target, self.headers, body)
        if refused is not None:
            self._send(*refused)
            return
        try:
            status, answer = self.server.companion.answer(self.command, path, body, self.client_address[0])
        except Exception:  # the HTTP edge: the caller gets an answer, the log the traceback
            log.exception("request failed; please report this path=%s", self.path)
            status, answer = 500, {"reason": "internal error, see the companion's log"}
        self._send(status, answer)

    do_GET = do_POST = _handle  # noqa: N815  the names that http.server looks for

    def _send(self, status: int, answer: dict[str, Any] | bytes) -> None:
        data = answer if isinstance(answer, bytes) else json.dumps(answer).encode() + b"\n"
        self.send_response(status)
        self.send_header("Content-Type", exposition.CONTENT_TYPE if isinstance(answer, bytes) else "application/json")
        self.send_header("Content-Length", str(len(data)))
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """Answer what http.server refuses by itself, such as other methods: in JSON, and never as a fault of this side's."""
        self.close_connection = True
        self.request_version = self.protocol_version  # of a line that cannot be read it is HTTP/0.9, which has no status
        status = 405 if code == HTTPStatus.NOT_IMPLEMENTED else code if code < 500 else 400
        self._send(status, {"reason": message or HTTPStatus(code).phrase})

    def log_message(self, format: str, *args: object) -> None:
        log.debug(format, *args)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128  # 20 executors that drain at once ask together

    def __init__(self, companion: Companion, port: int, access: Access) -> None:
        self.companion, self.access = companion, access
        self._open: dict[Any, tuple[str, float]] = {}  #: connection -> caller and when it came
        self._lock = threading.Lock()
        super().__init__(("", port), _Handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        caller = client_address[0]
        with self._lock:
            of_one = sum(address == caller for address, _ in self._open.values())
            admitted = len(self._open) < _CONNECTIONS_MAX and of_one < _CONNECTIONS_OF_ONE_MAX
            if admitted:
                self._open[request] = (caller, time.monotonic())
        if admitted:
            super().process_request(request, client_address)
            return
        # Never waits: the answer fits into an empty buffer. Executors take it for no answer, and ask again.
        request.setblocking(False)
        with contextlib.suppress(OSError):
            request.send(_FULL)
        self.shutdown_request(request)

    def shutdown_request(self, request: Any) -> None:
        with self._lock:
            self._open.pop(request, None)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        error = sys.exception()
        if isinstance(error, OSError):  # who asked has given up, as executors do whose drain is over
            log.debug("connection broken %s", fields(caller=client_address[0], error=error))
        else:
            log.exception("a connection broke, please report this as a bug %s", fields(caller=client_address[0]))

    def service_actions(self) -> None:
        # Called twice a second. One whose request trickles in would else keep its thread for ever.
        too_old_s = time.monotonic() - _CONNECTION_MAX_S
        with self._lock:
            for request, (_, since_s) in self._open.items():
                if since_s < too_old_s:
                    with contextlib.suppress(OSError):
                        request.shutdown(socket.SHUT_RDWR)
