"""A real balancer with a real Consul agent in its network, workers to balance, and a load to lose requests by.

The workers are one process that listens on a hundred ports, in a container of the balancer's own image. Images:
ERATOS_BALANCER_IMAGE (default eratos/balancer), ERATOS_NGINX_IMAGE (default eratos/balancer-nginx) and eratos/consul.
"""

from __future__ import annotations

import http.client
import json
import os
import threading
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from support.answers import wrong_app
from support.containers import Container, docker, run_container, run_containers
from support.waiting import until

IMAGE = os.environ.get("ERATOS_BALANCER_IMAGE", "eratos/balancer")
NGINX_IMAGE = os.environ.get("ERATOS_NGINX_IMAGE", "eratos/balancer-nginx")
STATE = "/var/lib/eratos-balancer"
SNIPPETS = "/etc/eratos-balancer/snippets"
#: Consul as most tests have it.
AGENT = ("agent", "-dev", "-client=0.0.0.0", "-log-level=warn")
#: What it needs as well to be joined with others.
JOINED = ("-bind={{ GetPrivateIP }}",)
FIRST_PORT = 9000
#: Ports of TCP services that a test can reach.
TCP_PORTS = (10000, 10001)

#: What a client of a WebSocket adds to its request. The workers' answer fits this key alone.
WEBSOCKET = (
    "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
)

#: /?s=2 answers after two seconds, /kill?port=9003 stops listening there, /drop?port=9003 makes that worker hang up. /hold
#: answers when somebody asks for /go, and /begin likewise, but begins to answer at once; with ?type=text/event-stream as such a
#: stream. Each names the id, the host and the target that its request had, and another id as its own; with ?location=/x it gives
#: that as Location. /ws sends back whatever comes, as a WebSocket
#: would. /cut breaks its answer off.
WORKERS = """
import asyncio, urllib.parse

servers = {}
go = asyncio.Event()

async def serve(reader, writer):
    port = writer.get_extra_info("sockname")[1]
    try:
        while True:
            head = (await reader.readuntil(b"\\r\\n\\r\\n")).decode()
            method, target, _ = head.split("\\r\\n")[0].split()
            url = urllib.parse.urlsplit(target)
            query = dict(urllib.parse.parse_qsl(url.query))
            await asyncio.sleep(float(query.get("s", 0)))
            if url.path == "/go":
                go.set()
            if url.path == "/hold":
                await go.wait()
            if url.path == "/begin":
                kind = query.get("type", "text/plain").encode()
                writer.write(b"HTTP/1.1 200 -\\r\\nContent-Type: " + kind + b"\\r\\nTransfer-Encoding: chunked\\r\\n\\r\\n")
                writer.write(b"5\\r\\n%d \\r\\n" % port)
                await writer.drain()
                await go.wait()
                writer.write(b"0\\r\\n\\r\\n")
                continue
            if url.path == "/ws":
                writer.write(b"HTTP/1.1 101 -\\r\\nConnection: Upgrade\\r\\nUpgrade: websocket\\r\\n")
                writer.write(b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\\r\\n\\r\\n")
                writer.write(b"%d\\n" % port)
                while data := await reader.read(100):
                    writer.write(data)
                break
            if url.path == "/drop" and query["port"] == str(port):
                break
            if url.path == "/cut":
                writer.write(b"HTTP/1.1 200 -\\r\\nContent-Length: 100\\r\\n\\r\\n%d" % port)
                await writer.drain()
                break
            if url.path == "/kill":
                server = servers.pop(int(query["port"]))
                # What is accepted gets its connection first: asyncio leaves it open and unanswered once the server is closed.
                for listening in server.sockets:
                    asyncio.get_running_loop().remove_reader(listening.fileno())
                await asyncio.sleep(0)
                server.close()
            headers = dict(line.lower().split(": ", 1) for line in head.split("\\r\\n")[1:] if line)
            body = f"{port} {headers.get('x-forwarded-for')} {headers.get('x-forwarded-proto')}".encode()
            seen = {"Id": headers.get("x-request-id", "none"), "Host": headers.get("host", "none"), "Target": target}
            lines = [f"HTTP/1.1 {query.get('status', 200)} -", *(f"X-Seen-{name}: {value}" for name, value in seen.items())]
            lines += [f"Location: {query['location']}"] if "location" in query else []
            lines += ["X-Request-Id: my-own", f"Content-Length: {len(body)}", "", ""]
            writer.write("\\r\\n".join(lines).encode() + body)
            await writer.drain()
    except (asyncio.IncompleteReadError, ConnectionError):
        pass
    finally:
        writer.close()

async def main():
    for port in range(9000, 9100):
        servers[port] = await asyncio.start_server(serve, "", port)
    await asyncio.Event().wait()

asyncio.run(main())
"""


def server_id(port: int, app: str = "prime") -> str:
    return f"eratos-{app}.instance-{port}._app.1"


@dataclass(frozen=True)
class Response:
    status: int
    body: str
    headers: dict[str, str] = field(default_factory=dict, compare=False)  #: by their names in small letters

    @property
    def port(self) -> int:
        """The worker that answered."""
        assert self.status == 200, self
        return int(self.body.split()[0])


def ask(port: int, method: str, path: str, body: object = None, headers: dict[str, str] | None = None) -> Response:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        sent = {**({} if body is None else {"Content-Type": "application/json"}), **(headers or {})}
        connection.request(method, path, None if body is None else json.dumps(body), sent)
        response = connection.getresponse()
        headers = {name.lower(): value for name, value in response.getheaders()}
        return Response(response.status, response.read().decode(), headers)
    finally:
        connection.close()


@dataclass
class Load:
    """What clients saw: how often each worker answered, and everything that was not a 200."""

    answers: Counter[int] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)

    @property
    def requests(self) -> int:
        return sum(self.answers.values())

    def reaches(self, requests: int) -> bool:
        return self.requests >= requests


@dataclass
class Rig:
    """One balancer, its Consul agent, and workers on ports from FIRST_PORT on."""

    balancer: Container
    consul: Container | None  #: none beside a balancer with servers from a file
    workers: Container
    workers_address: str
    owners: dict[int, set[str]] = field(default_factory=lambda: defaultdict(set))  #: apps that a port was ever registered for

    # -- Consul ------------------------------------------------------------------------------------------------------

    def register(self, *ports: int, app: str = "prime", **options: Any) -> None:
        """Register workers as an executor would; ``meta``, ``tags``, ``address`` and ``check`` replace its values.

        ``at``: another Consul than the balancer's.
        """
        for port in ports:
            self.owners[port].add(app)
            service = {
                "ID": server_id(port, app),
                "Name": app,
                "Port": port,
                "Address": options.get("address", self.workers_address),
                "Tags": options.get("tags", ["eratos"]),
                "Meta": {"haproxy-group": "external"} | options.get("meta", {}),
            }
            if "check" in options:
                service["Check"] = options["check"]
            self._consul("PUT", "/v1/agent/service/register", service, options.get("at"))

    def deregister(self, *ports: int, app: str = "prime", at: Container | None = None) -> None:
        for port in ports:
            self._consul("PUT", f"/v1/agent/service/deregister/{server_id(port, app)}", at=at)

    def vanish(self, *ports: int) -> None:
        """Deregister workers so that consul-template sees them gone all at once, however slow the machine is."""
        template = self.pid("consul-template")
        self.shell(f"kill -STOP {template}")
        self.deregister(*ports)
        self.shell(f"kill -CONT {template}")

    def services(self, name: str) -> list[dict[str, Any]]:
        return list(json.loads(self._consul("GET", f"/v1/health/service/{name}?passing").body))

    def _consul(self, method: str, path: str, body: object = None, at: Container | None = None) -> Response:
        answer = ask((at or self.balancer).ports[8500], method, path, body)
        assert answer.status == 200, answer
        return answer

    # -- traffic -----------------------------------------------------------------------------------------------------

    def get(self, path: str = "/", host: str = "", **headers: str) -> Response:
        return self.send("GET", path, host, **headers)

    def send(self, method: str, path: str = "/", host: str = "", **headers: str) -> Response:
        return ask(self.balancer.ports[8000], method, path, headers=headers | ({"Host": host} if host else {}))

    @contextmanager
    def load(self, clients: int = 4, path: str = "/", keep_alive: bool = True, app: str = "prime") -> Iterator[Load]:
        """Send requests from several clients, until the block is left; ``keep_alive``: every other one over a kept connection.

        An answer from a port that was never of ``app`` is a failure.
        """
        load, stop, lock = Load(), threading.Event(), threading.Lock()

        def client(kept: bool) -> None:
            connection = http.client.HTTPConnection("127.0.0.1", self.balancer.ports[8000], timeout=30)
            while not stop.is_set():
                try:
                    connection.request("GET", path)
                    response = connection.getresponse()
                    answer = Response(response.status, response.read().decode())
                    with lock:
                        if answer.status != 200:
                            load.failures.append(str(answer))
                        elif wrong := self.wrong_app(answer.port, app):
                            load.failures.append(wrong)
                        else:
                            load.answers[answer.port] += 1
                except (OSError, http.client.HTTPException) as error:
                    load.failures.append(repr(error))
                    connection.close()
                if not kept:
                    connection.close()
            connection.close()

        threads = [threading.Thread(target=client, args=(keep_alive and number % 2 == 0,)) for number in range(clients)]
        for thread in threads:
            thread.start()
        try:
            yield load
        finally:
            stop.set()
            for thread in threads:
                thread.join()

    def wrong_app(self, port: int, app: str) -> str:
        """Return what is wrong with a worker's answer for an app; "" where nothing is."""
        names = [server_id(port, owner).removeprefix("eratos-") for owner in sorted(self.owners[port])] or [f"port {port}"]
        return "" if any(not wrong_app(name, app) for name in names) else wrong_app(names[0], app)

    # -- companion ---------------------------------------------------------------------------------------------------

    def companion(self, method: str, path: str, body: object = None) -> dict[str, Any]:
        answer = ask(self.balancer.ports[9100], method, path, body)
        return {"http_status": answer.status, **json.loads(answer.body)}

    def status(self) -> dict[str, Any]:
        found = self.companion("GET", "/status")
        assert found["http_status"] == 200, found
        return found

    def server(self, port: int) -> dict[str, Any]:
        found = self.companion("GET", f"/servers/{server_id(port)}")
        assert found["http_status"] == 200, found
        return found

    def in_rotation(self, backend: str = "prime") -> set[str]:
        """Return the servers that HAProxy's current process sends to."""
        servers = self.status()["servers"].items()
        return {
            name.partition("/")[2]
            for name, found in servers
            if name.startswith(f"{backend}/") and found["status"].startswith("UP")
        }

    def await_rotation(self, *ports: int, backend: str = "prime", within_s: float = 10) -> None:
        wanted = {server_id(port, backend) for port in ports}
        until(lambda: self.in_rotation(backend) == wanted, within_s, f"the rotation is {sorted(wanted)}", pace_s=0.01)

    def reload(self, number: int) -> None:
        """Make HAProxy reload: another app is another shape."""
        before = self.status()["reloads"]
        self.register(FIRST_PORT + 99, app=f"other{number}", meta={"haproxy-path": f"/other{number}"})
        until(lambda: self.status()["reloads"] > before, 10, "HAProxy was reloaded", pace_s=0.01)

    # -- inside the container ----------------------------------------------------------------------------------------

    def shell(self, script: str, *, root: bool = False) -> str:
        return docker("exec", *(["--user", "root"] if root else []), self.balancer.id, "sh", "-c", script)

    def pid(self, pattern: str) -> int:
        """Return the oldest process whose command line matches, 0 where there is none."""
        # The balancer's image has no pgrep.
        found = self.shell(
            'for d in /proc/[0-9]*; do [ "$d" = /proc/$$ ] && continue; '
            'echo "${d#/proc/} $(tr "\\0" " " < $d/cmdline 2>/dev/null)"; done'
        )
        pids = [int(line.split()[0]) for line in found.splitlines() if line.partition(" ")[2].startswith(pattern)]
        return min(pids, default=0)

    def kill(self, pattern: str) -> int:
        """Kill a process at once; return its process id."""
        pid = self.pid(pattern)
        assert pid, f"no process {pattern}"
        self.shell(f"kill -9 {pid}")
        return pid


@contextmanager
def a_balancer(*consul: str, **environment: str) -> Iterator[Rig]:
    """Start a fresh balancer; skips the test where docker or an image is missing, saying which."""
    with a_rig(IMAGE, *consul, **environment) as rig:
        if rig.consul:
            until(lambda: rig.companion("GET", "/health").get("shape"), 30, "the balancer serves its first rendering")
            until(lambda: rig.services("eratos-balancer"), 30, "the balancer is registered")
        yield rig


@contextmanager
def a_rig(image: str, *consul: str, **environment: str) -> Iterator[Rig]:
    """Start a balancer of either kind with all that belongs to it, as far as there is an image for it.

    ``consul``: further arguments of its Consul agent.
    """
    options = [word for name, value in environment.items() for word in ("-e", f"{name}={value}")]
    ports = [8000, 8443, 8500, 9090, 9100, *TCP_PORTS]
    with run_containers() as run:
        balancer = run(image, ports=ports, options=options)
        beside = None
        if "ERATOS_SERVERS_FILE" not in environment:
            agent = ["--entrypoint", "consul", "--network", f"container:{balancer.id}"]
            beside = run("eratos/consul", *AGENT, *consul, options=agent)
        workers = run(IMAGE, "-c", WORKERS, options=["--entrypoint", "python3"])
        address = docker("inspect", "-f", "{{.NetworkSettings.IPAddress}}", workers.id)
        yield Rig(balancer, beside, workers, address)


@contextmanager
def another_datacenter(near: Container, name: str) -> Iterator[Container]:
    """Start the Consul of another data center, and join it with one that has the arguments JOINED, as whose host ``near`` is."""
    command = (*AGENT, *JOINED, f"-datacenter={name}")
    with run_container("eratos/consul", *command, ports=[8500], options=["--entrypoint", "consul"]) as far:
        join(near, far)
        yield far


def join(near: Container, far: Container) -> None:
    """Join two data centers: Consul's servers hear of each other over WAN."""
    address = docker("inspect", "-f", "{{.NetworkSettings.IPAddress}}", near.id)

    def joined() -> bool:
        try:
            # Each knows the other's leader.
            answers = [ask(far.ports[8500], "PUT", f"/v1/agent/join/{address}?wan=1")]
            names = json.loads(ask(far.ports[8500], "GET", "/v1/catalog/datacenters").body)
            for at in (far, near):
                answers += [ask(at.ports[8500], "GET", f"/v1/status/leader?dc={name}") for name in names]
        except (OSError, http.client.HTTPException):
            return False  # it is still starting
        return len(names) > 1 and all(answer.status == 200 and answer.body.strip() != '""' for answer in answers)

    until(joined, 60, "the data centers are joined")
