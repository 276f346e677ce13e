"""What the end-to-end tests wait with: a host name is an app's once each balancer leads there, and a loss is never awaited."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import ExitStack
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from support.cluster import Cluster
from support.visitors import Visitors
from support.waiting import until


class Balancer:
    """Answers as one that leads elsewhere for some requests, and then to the app; in the end with what is told."""

    def __init__(self, elsewhere: int) -> None:
        self.elsewhere = elsewhere
        self.asked = 0
        self.status, self.instance = 200, "web.instance-1._app.1"
        balancer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                balancer.asked += 1
                there = balancer.asked > balancer.elsewhere
                self.send_response(balancer.status if there else 200)
                self.send_header("X-Instance", balancer.instance if there else "prime.instance-1._app.1")
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, format: str, *args: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self.port: int = self._server.server_address[1]

    def __enter__(self) -> Balancer:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@pytest.fixture
def balancers() -> Iterator[tuple[Balancer, Balancer]]:
    """The first leads to the app from the start, the other one later."""
    with ExitStack() as stack:
        yield stack.enter_context(Balancer(0)), stack.enter_context(Balancer(4))


@pytest.fixture
def cluster(balancers: tuple[Balancer, Balancer]) -> Cluster:
    return Cluster("none", {f"ERATOS_BALANCER{number}_PORT": one.port for number, one in enumerate(balancers, 1)})


def test_a_host_name_is_not_the_apps_before_each_balancer_leads_there(cluster: Cluster) -> None:
    with pytest.raises(AssertionError, match="prime"):
        cluster.reached("/web", "web.test")
    assert until(lambda: cluster.reached("/web", "web.test"), 30, "it is led there")


def test_visitors_begin_once_they_are_led_there_and_note_everything_from_then_on(
    cluster: Cluster, balancers: tuple[Balancer, Balancer]
) -> None:
    with Visitors(cluster.balancers, {"web.test": "/web"}) as visitors:
        until(lambda: visitors.rounds > 2, 30, "they have asked")
        assert visitors.wrong == []
        balancers[1].instance = "prime.instance-2._app.1"
        until(lambda: visitors.wrong, 30, "another app's answer is noted")
    assert "prime.instance-2" in visitors.wrong[0]


@pytest.mark.parametrize(("status", "instance"), [(503, ""), (200, "prime.instance-1._app.1")])
def test_a_lost_request_ends_a_wait_at_once(
    cluster: Cluster, balancers: tuple[Balancer, Balancer], status: int, instance: str
) -> None:
    balancers[0].status, balancers[0].instance = status, instance
    with pytest.raises(pytest.fail.Exception):
        until(lambda: cluster.spread(cluster.balancers[0], 2, "/web"), 30, "never")
    assert balancers[0].asked == 1


def test_nobody_who_answers_is_a_lost_request(cluster: Cluster) -> None:
    with pytest.raises(pytest.fail.Exception):
        until(lambda: cluster.spread("http://127.0.0.1:1", 1, "/web"), 30, "never")
