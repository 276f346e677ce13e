"""The balancer's registration, against an HTTP server that plays a Consul agent."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from support.waiting import until

from eratos.common.errors import TemporaryError
from eratos.haproxy.consul_agent import ConsulAgent
from eratos.haproxy.registration import Registration


class FakeAgent:
    """The three calls of a Consul agent that a registration needs."""

    def __init__(self) -> None:
        self.services: dict[str, dict[str, Any]] = {}
        self.tokens: set[str | None] = set()
        self.away = False
        agent = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                service = agent.services.get(self.path.rpartition("/")[2])
                self._answer(200 if service else 404, service)

            def do_PUT(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers.get("Content-Length") or 0)) or "null")
                if not agent.away and self.path.startswith("/v1/agent/service/register?"):
                    agent.services[body["ID"]] = {**body, "Service": body["Name"]}
                elif not agent.away:
                    agent.services.pop(self.path.rpartition("/")[2], None)
                self._answer(200, None)

            def _answer(self, status: int, body: object) -> None:
                agent.tokens.add(self.headers.get("X-Consul-Token"))
                data = json.dumps(body).encode()
                self.send_response(500 if agent.away else status)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, format: str, *args: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        self._thread = threading.Thread(target=self.server.serve_forever, args=(0.01,))
        self._thread.start()

    def close(self) -> None:
        self.server.shutdown()
        self._thread.join()
        self.server.server_close()


@pytest.fixture
def agent() -> Iterator[FakeAgent]:
    agent = FakeAgent()
    yield agent
    agent.close()


def test_it_registers_once_and_again_only_where_something_differs(agent: FakeAgent) -> None:
    left_out: list[str] = []
    registration = Registration(ConsulAgent(agent.url, "secret"), "b1", 9100, lambda: left_out)
    assert registration.sync()
    assert not registration.sync()
    (service,) = agent.services.values()
    assert (service["Name"], service["Port"], service["Meta"]) == ("eratos-balancer", 9100, {"eratos-host": "b1"})
    assert service["Check"]["HTTP"] == "http://127.0.0.1:9100/health"
    assert "eratos" not in service.get("Tags", [])
    assert agent.tokens == {"secret"}
    service["Port"] = 1
    assert registration.sync()
    agent.services.clear()
    assert registration.sync()
    left_out += ["b: no service port", "a: " + "x" * 1000]
    assert registration.sync()
    assert not registration.sync()
    meta = agent.services["eratos-balancer-b1"]["Meta"]
    assert meta == {"eratos-host": "b1", "eratos-left-out-0": "a: " + "x" * 247, "eratos-left-out-1": "b: no service port"}
    assert Registration(ConsulAgent(agent.url, "secret"), "b1", 9100, lambda: left_out[:0], "eu/a").sync()
    assert agent.services["eratos-balancer-b1"]["Meta"] == {"eratos-host": "b1", "eratos-zone": "eu/a"}
    left_out[:] = ["c: " + "\u4e2d" * 1000]
    assert registration.sync()
    assert len(agent.services["eratos-balancer-b1"]["Meta"]["eratos-left-out-0"].encode()) == 249  # whole characters


def test_trouble_with_the_agent_is_temporary(agent: FakeAgent) -> None:
    agent.away = True
    with pytest.raises(TemporaryError, match="500"):
        Registration(ConsulAgent(agent.url, ""), "b1", 9100, tuple).sync()
    with pytest.raises(TemporaryError, match=r"127\.0\.0\.1:1:"):
        Registration(ConsulAgent("http://127.0.0.1:1", ""), "b1", 9100, tuple).sync()


def test_it_stays_registered_until_it_is_stopped(agent: FakeAgent) -> None:
    agent.away = True
    stop = threading.Event()
    thread = threading.Thread(target=Registration(ConsulAgent(agent.url, ""), "b1", 9100, tuple).keep, args=(stop,))
    thread.start()
    try:
        until(lambda: agent.tokens, 5, "it tried")
        agent.away = False
        until(lambda: agent.services, 5, "it registered")
    finally:
        stop.set()
        thread.join()
    assert agent.services == {}
