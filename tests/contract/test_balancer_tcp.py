"""TCP services: a port of their own each, and nothing that one of them does spoils the rest."""

from __future__ import annotations

import contextlib
import http.client
import socket
from collections import Counter
from collections.abc import Iterator

import pytest
from support.balancer import FIRST_PORT, TCP_PORTS, Response, Rig, a_balancer, ask, server_id
from support.waiting import until

from eratos.scheduler.consul_catalog import left_out

WEB = tuple(range(FIRST_PORT, FIRST_PORT + 4))
DB = tuple(range(FIRST_PORT + 10, FIRST_PORT + 14))


def tcp(port: object = TCP_PORTS[0]) -> dict[str, str]:
    return {"haproxy-mode": "tcp", "haproxy-port": str(port)}


@pytest.fixture
def rig() -> Iterator[Rig]:
    with a_balancer() as rig:
        rig.register(*WEB)
        rig.register(*DB, app="db", meta=tcp())
        rig.await_rotation(*WEB)
        rig.await_rotation(*DB, backend="db")
        yield rig


def through(rig: Rig, port: int = TCP_PORTS[0], path: str = "/") -> Response:
    return ask(rig.balancer.ports[port], "GET", path)


def test_a_tcp_service_has_a_port_of_its_own_and_its_bytes_pass_untouched(rig: Rig) -> None:
    answers = [through(rig) for _ in range(12)]
    assert Counter(answer.port for answer in answers) == Counter(dict.fromkeys(DB, 3))
    # The worker speaks HTTP; had HAProxy read it, there would be a client's address.
    assert {answer.body.split()[1] for answer in answers} == {"None"}
    assert rig.get().port in WEB
    assert rig.status()["left_out"] == []


def test_its_instances_come_and_go_without_a_reload(rig: Rig) -> None:
    reloads = rig.status()["reloads"]
    rig.companion("POST", "/confirm", {"services": [server_id(port, "db") for port in DB[1:]]})
    for port in DB[1:]:
        rig.deregister(port, app="db")
    rig.await_rotation(DB[0], backend="db")
    assert {through(rig).port for _ in range(4)} == {DB[0]}
    rig.register(*DB, app="db", meta=tcp())
    rig.await_rotation(*DB, backend="db")
    assert rig.status()["reloads"] == reloads


def test_a_connection_that_is_refused_goes_to_another_instance(rig: Rig) -> None:
    assert through(rig, path=f"/kill?port={DB[0]}").status == 200
    assert {through(rig).port for _ in range(8)} == set(DB[1:])


def test_without_an_instance_connections_are_closed(rig: Rig) -> None:
    rig.register(9020, app="empty", meta=tcp(TCP_PORTS[1]), check={"TTL": "600s", "Status": "critical"})
    until(lambda: "empty" in rig.status()["backends"], 10, "the service is known")
    with socket.create_connection(("127.0.0.1", rig.balancer.ports[TCP_PORTS[1]]), timeout=10) as client:
        assert client.recv(1) == b""


def test_a_port_that_cannot_be_had_is_left_out_with_a_reason_and_the_rest_goes_on(rig: Rig) -> None:
    rig.register(9020, app="second", meta=tcp())
    rig.register(9021, app="own-http", meta=tcp(8000))
    rig.register(9022, app="own-companion", meta=tcp(9100))
    rig.register(9023, app="somebodys", meta=tcp(8500))
    rig.register(9024, app="no-port", meta={"haproxy-mode": "tcp"})
    rig.register(9025, app="odd-port", meta=tcp("5432\n bind :1"))
    rig.register(9026, app="great-port", meta=tcp(65536))
    rig.register(9027, app="odd-mode", meta={"haproxy-mode": "udp"})
    rig.register(9028, app="witness", meta=tcp(TCP_PORTS[1]))
    until(lambda: rig.in_rotation("witness"), 10, "the last service is there")
    assert through(rig, TCP_PORTS[1]).port == 9028
    assert through(rig).port in DB
    assert rig.get().port in WEB
    reasons = until(lambda: len(found := rig.status()["left_out"]) == 8 and sorted(found), 10, "all reasons are there")
    assert reasons == [
        'great-port: port "65536"',
        "no-port: no service port",
        'odd-mode: mode "udp" is not supported, only http and tcp',
        'odd-port: port "5432\\n bind :1"',
        "own-companion: the balancer itself uses port 9100",
        "own-http: the balancer itself uses port 8000",
        "second: db already answers on port 10000",
        "somebodys: port 8500: Address already in use",
    ]
    # Whoever can ask Consul sees them as well.
    host = rig.services("eratos-balancer")[0]["Service"]["Meta"]["eratos-host"]
    told = {service: [f"{host}: {reason}"] for service, _, reason in (text.partition(": ") for text in reasons)}
    until(lambda: left_out(rig.services("eratos-balancer")) == told, 10, "they are in Consul")


def test_a_long_connection_in_an_old_process_holds_up_its_own_instance_and_no_other(rig: Rig) -> None:
    client = http.client.HTTPConnection("127.0.0.1", rig.balancer.ports[TCP_PORTS[0]], timeout=10)
    with contextlib.closing(client):

        def ask_again() -> int:
            client.request("GET", "/")
            return int(client.getresponse().read().split()[0])

        port = ask_again()
        rig.reload(0)
        until(lambda: rig.status()["old_processes"] == 1, 10, "the process with the connection is the only old one")
        gone = (WEB[0], *(other for other in DB if other != port))
        ids = {number: server_id(number, "prime" if number in WEB else "db") for number in (*gone, port)}
        rig.companion("POST", "/confirm", {"services": list(ids.values())})
        for number in ids:
            rig.deregister(number, app="prime" if number in WEB else "db")

        def used(number: int) -> bool:
            # 503 while a process is just ending says nothing.
            return bool(rig.companion("GET", f"/servers/{ids[number]}").get("used", True))

        until(lambda: not [number for number in gone if used(number)], 15, "the others are released")
        until(lambda: rig.status()["old_processes"] == 1, 10, "the process with the connection is still there")
        assert used(port)
        assert ask_again() == port
    until(lambda: not used(port), 10, "the instance is released with its connection")
