"""What the balancer loses, and what not: under reloads, drains, crashes of its parts, and a Consul gone astray."""

from __future__ import annotations

import http.client
import json
import threading
from collections import Counter
from collections.abc import Iterable, Iterator
from functools import partial

import pytest
from devtool.chaos.part_strikes import EMPTY_CATALOGUE
from support.balancer import FIRST_PORT, STATE, Response, Rig, a_balancer, server_id
from support.containers import docker
from support.waiting import until

PORTS = tuple(range(FIRST_PORT, FIRST_PORT + 8))


@pytest.fixture
def rig() -> Iterator[Rig]:
    with a_balancer(ERATOS_GUARD_HOLD_S="10", ERATOS_GUARD_HOLD_WHOLESALE_S="10") as rig:
        rig.register(*PORTS)
        rig.await_rotation(*PORTS)
        yield rig


@pytest.fixture
def client(rig: Rig) -> Iterator[http.client.HTTPConnection]:
    """A client with an idle connection to the balancer."""
    connection = http.client.HTTPConnection("127.0.0.1", rig.balancer.ports[8000], timeout=10)
    connection.request("GET", "/")
    connection.getresponse().read()
    yield connection
    connection.close()


#: Asks a worker, past the balancer, to make another one stop listening.
STOP = "import urllib.request; urllib.request.urlopen('http://127.0.0.1:{}/kill?port={}').read()"


#: Asks a worker, past the balancer, to let all answers go that are held, and will be.
GO = "import urllib.request; urllib.request.urlopen('http://127.0.0.1:{}/go').read()"


class SlowRequest:
    """A request that is not answered before its result is asked for, in the background."""

    def __init__(self, rig: Rig) -> None:
        self.response: Response | None = None
        self._rig = rig
        self._thread = threading.Thread(target=self._send)
        self._thread.start()

    def _send(self) -> None:
        self.response = self._rig.get("/hold")

    def result(self) -> Response:
        docker("exec", self._rig.workers.id, "python3", "-c", GO.format(FIRST_PORT))
        self._thread.join()
        assert self.response
        return self.response


def stop_on_purpose(rig: Rig, *ports: int) -> None:
    rig.companion("POST", "/confirm", {"services": [server_id(port) for port in ports]})
    rig.deregister(*ports)


def become_old(rig: Rig) -> None:
    """Reload, and wait until no process but the one with the clients is left of those before."""
    rig.reload(0)
    until(lambda: rig.status()["old_processes"] == 1, 10, "the process with the clients is the only old one")


def busy_port(rig: Rig) -> int:
    """Return the worker that has a request."""

    def found() -> int:
        rows = rig.status()["servers"].items()
        return next((int(name.split("-")[-1].split(".")[0]) for name, row in rows if row["requests"]), 0)

    return until(found, 30, "a worker has the slow request", pace_s=0.01)


# -- planned changes ---------------------------------------------------------------------------------------------------


def test_fifty_reloads_under_load_lose_nothing(rig: Rig) -> None:
    # A balancer that is not well in the midst of a reload would not be waited for by drains.
    health: Counter[str] = Counter()
    over = threading.Event()

    def ask() -> None:
        while not over.is_set():
            health[rig.companion("GET", "/health").get("reason", "well")] += 1
            # An old process that ends just now may leave that open; an executor asks again.
            used = rig.companion("GET", f"/servers/{server_id(PORTS[0])}")
            assert used["http_status"] == 503 or used["used"], used

    asking = threading.Thread(target=ask)
    with rig.load() as load:
        asking.start()
        try:
            for number in range(50):
                rig.reload(number)
        finally:
            over.set()
            asking.join()
    assert health.keys() == {"well"}
    assert load.failures == []
    assert load.requests > 500
    assert rig.status()["reloads"] >= 50


def test_scaling_down_and_up_under_load_loses_nothing_and_a_released_worker_gets_nothing_more(rig: Rig) -> None:
    with rig.load() as load:
        for _ in range(3):
            stop_on_purpose(rig, *PORTS[3:])
            until(lambda: not any(rig.server(port)["used"] for port in PORTS[3:]), 10, "the workers are released")
            before = {port: load.answers[port] for port in PORTS[3:]}
            enough = load.requests + 100
            until(partial(load.reaches, enough), 10, "more requests were answered")
            assert {port: load.answers[port] for port in PORTS[3:]} == before
            rig.register(*PORTS[3:])
            rig.await_rotation(*PORTS)
    assert load.failures == []


def test_replacing_all_instances_at_once_under_load_loses_nothing(rig: Rig) -> None:
    fresh = tuple(range(FIRST_PORT + 20, FIRST_PORT + 28))
    with rig.load() as load:
        rig.register(*fresh)
        stop_on_purpose(rig, *PORTS)
        rig.await_rotation(*fresh)
        until(lambda: not any(rig.server(port)["used"] for port in PORTS), 10, "the old ones are released")
    assert load.failures == []


@pytest.mark.parametrize("reload", [False, True], ids=["in place", "over a reload"])
def test_a_worker_is_used_until_its_last_request_was_answered(rig: Rig, reload: bool) -> None:
    slow = SlowRequest(rig)
    port = busy_port(rig)
    assert rig.server(port) == rig.server(port) | {"used": True, "requests": 1, "configured": True}
    stop_on_purpose(rig, port)
    if reload:
        become_old(rig)
    until(lambda: not rig.server(port)["configured"], 10, "the configuration lets go of the worker", pace_s=0.01)
    assert rig.server(port) == rig.server(port) | {"used": True, "requests": 1, "configured": False}
    assert slow.result().port == port
    until(lambda: not rig.server(port)["used"], 10, "the worker is released")


def test_a_worker_is_used_while_an_old_process_has_a_client_that_may_ask_it(rig: Rig, client: http.client.HTTPConnection) -> None:
    become_old(rig)
    stop_on_purpose(rig, *PORTS)
    until(lambda: not rig.server(PORTS[0])["configured"], 10, "the configuration lets go of the worker", pace_s=0.01)
    # The old process may still send there, and does.
    assert rig.server(PORTS[0])["used"]
    client.request("GET", "/")
    response = client.getresponse()
    assert Response(response.status, response.read().decode()).port in PORTS
    assert response.getheader("connection") == "close"
    until(lambda: not rig.server(PORTS[0])["used"], 10, "the worker is released with the old process")
    until(lambda: rig.status()["old_processes"] == 0, 5, "it has ended")


def test_a_client_that_stays_idle_holds_up_a_drain_for_some_seconds_only(rig: Rig, client: http.client.HTTPConnection) -> None:
    rig.reload(0)
    stop_on_purpose(rig, PORTS[0])
    until(lambda: not rig.server(PORTS[0])["used"], 8, "the worker is released")


def test_servers_removed_by_a_reload_are_released_although_a_client_is_idle(rig: Rig, client: http.client.HTTPConnection) -> None:
    rig.shell("s6-svc -wd -d /opt/eratos/services/consul-template")
    # At once, and another backend with it, which takes a reload.
    found = json.loads(rig.shell(f"cat {STATE}/facts.json"))
    prime = [row for row in found["services"]["prime"] if row["id"] != server_id(PORTS[0])]
    found["services"] = {"prime": prime, "more": [{**prime[0], "id": "another"}]}
    rig.shell(f"cat > {STATE}/facts.json <<'END'\n{json.dumps(found)}\nEND")
    until(lambda: rig.status()["reloads"] and not rig.server(PORTS[0])["used"], 3, "the worker is released")
    until(lambda: rig.status()["old_processes"] == 1, 5, "the process with the client is the only old one")
    client.request("GET", "/")
    response = client.getresponse()
    assert Response(response.status, response.read().decode()).port in PORTS[1:]


# -- faults ------------------------------------------------------------------------------------------------------------


def test_who_is_announced_to_leave_is_the_last_until_somebody_is_there_who_stays(rig: Rig) -> None:
    fresh = FIRST_PORT + 30

    def last() -> list[bool]:
        return [rig.server(port)["last"] for port in PORTS]

    assert not any(last())
    rig.companion("POST", "/confirm", {"services": [server_id(port) for port in PORTS[1:]]})
    assert last() == [True, *[False] * len(PORTS[1:])]  # nobody but the first one stays
    rig.companion("POST", "/confirm", {"services": [server_id(PORTS[0])]})
    assert all(last())
    rig.reload(1)
    assert all(last())
    # That they are announced changes nothing before they are gone from Consul.
    rig.await_rotation(*PORTS)
    rig.register(fresh)
    rig.await_rotation(*PORTS, fresh)
    assert not any(last())
    assert rig.server(fresh)["last"]
    rig.deregister(*PORTS)
    rig.await_rotation(fresh)
    assert not any(last())


def test_a_crashed_worker_costs_no_request_and_leaves_the_rotation(rig: Rig) -> None:
    with rig.load() as load:
        # Consul is not told, as after a crash: HAProxy has to find out by itself.
        assert rig.get(f"/kill?port={PORTS[0]}").status == 200
        rig.await_rotation(*PORTS[1:], within_s=30)
        # A reload does not bring it back.
        rig.reload(0)
        assert server_id(PORTS[0]) not in rig.in_rotation()
    assert load.failures == []


def test_three_workers_that_crash_at_once_cost_no_request(rig: Rig) -> None:
    """A request is repeated three times, each time elsewhere, so that as many may refuse it (docs/limits.md)."""
    crashed = PORTS[:3]
    with rig.load() as load:
        stop = "; ".join(STOP.format(PORTS[-1], port) for port in crashed)
        docker("exec", rig.workers.id, "python3", "-c", stop)
        rig.await_rotation(*PORTS[3:], within_s=30)
    assert load.failures == []


def test_an_interrupted_get_is_repeated_elsewhere_and_a_post_is_not(rig: Rig) -> None:
    drop = f"/drop?port={PORTS[0]}"
    assert {rig.get(drop).status for _ in range(len(PORTS))} == {200}
    assert 502 in {rig.send("POST", drop).status for _ in range(len(PORTS))}


def await_refusal(rig: Rig, reason: str) -> None:
    until(lambda: reason in rig.status()["last_reason"], 10, f"the candidate is refused: {reason}")


def test_broken_facts_keep_the_last_good_configuration(rig: Rig) -> None:
    rig.shell("s6-svc -wd -d /opt/eratos/services/consul-template")
    for broken, reason in (("head -c 100 good", "Unterminated"), ("echo []", "no facts"), (":", "Expecting value")):
        rig.shell(f"cd {STATE}; cp facts.json good; {broken} > facts.json")
        await_refusal(rig, reason)
        assert rig.companion("GET", "/health")["http_status"] == 200
        assert rig.get().port in PORTS
        rig.shell(f"cd {STATE}; cp good facts.json")
    assert rig.status()["refusals"] >= 3
    rig.shell("s6-svc -u /opt/eratos/services/consul-template")
    rig.register(PORTS[0] + 50)
    rig.await_rotation(*PORTS, PORTS[0] + 50)


def test_a_template_with_an_error_keeps_the_last_good_configuration_and_is_told(rig: Rig) -> None:
    def notes() -> list[str]:
        (balancer,) = rig.services("eratos-balancer")
        return [note for note in balancer["Service"]["Meta"].values() if note.startswith("facts.ctmpl: ")]

    rig.shell("echo '{{ nonsense' >> /etc/eratos-balancer/facts.ctmpl", root=True)
    rig.kill("consul-template")
    until(lambda: any("ended with status " in note for note in notes()), 20, "whoever asks Consul is told")
    assert rig.get().port in PORTS
    assert rig.companion("GET", "/health")["http_status"] == 200
    rig.shell("sed -i '$d' /etc/eratos-balancer/facts.ctmpl", root=True)
    rig.register(PORTS[0] + 50)
    rig.await_rotation(*PORTS, PORTS[0] + 50)
    until(lambda: not notes(), 30, "all is well again")


@pytest.mark.parametrize("part", ["haproxy", "python3", "consul-template"])
def test_each_part_is_restarted_by_itself_and_goes_on(rig: Rig, part: str) -> None:
    others = [other for other in ("haproxy", "python3", "consul-template") if other != part]
    pids = {other: rig.pid(other) for other in others}
    killed = rig.kill(part)
    until(lambda: rig.pid(part) not in (0, killed), 10, f"{part} runs again")
    assert {other: rig.pid(other) for other in others} == pids
    # The last good configuration is there at once, and changes go on.
    until(lambda: rig.get().status == 200, 10, "requests are answered")
    rig.register(PORTS[0] + 50)
    rig.await_rotation(*PORTS, PORTS[0] + 50)
    until(lambda: rig.companion("GET", "/health")["http_status"] == 200, 10, "the balancer is well")


def test_clients_that_come_while_haproxy_is_started_anew_wait_and_are_served(rig: Rig) -> None:
    for _ in range(3):
        # The worker process, which has the clients: the youngest.
        killed = max(int(pid) for pid in rig.shell("pidof haproxy").split())
        rig.shell(f"kill -9 {killed}")
        # Each with a connection of its own: not one is refused.
        assert all(rig.get().status == 200 for _ in range(20))
        assert str(killed) not in rig.shell("pidof haproxy").split()


def test_a_stopped_haproxy_refuses_new_clients_and_serves_those_it_has(rig: Rig) -> None:
    slow = SlowRequest(rig)
    busy_port(rig)
    rig.shell("s6-svc -d /opt/eratos/services/haproxy")
    connect = "import socket; socket.create_connection(('127.0.0.1', 8000), 2)"
    until(lambda: "refused" in rig.shell(f'python3 -c "{connect}" 2>&1 || true'), 30, "new clients are refused")
    assert slow.result().status == 200


def test_without_consul_everything_stays(rig: Rig) -> None:
    assert rig.consul
    rig.consul.pause()
    rig.kill("consul-template")
    rig.kill("haproxy")
    until(lambda: rig.get().status == 200, 10, "requests are answered")
    rig.await_rotation(*PORTS)
    rig.consul.unpause()


def test_servers_that_vanish_without_a_word_are_kept_while_they_answer(rig: Rig) -> None:
    rig.vanish(*PORTS)
    held = until(lambda: rig.status()["held"], 10, "the guard holds back", pace_s=0.01)
    assert held == sorted(server_id(port) for port in PORTS)
    assert rig.get().port in PORTS
    # An announcement ends the hold for those it names.
    rig.companion("POST", "/confirm", {"services": held})
    until(lambda: rig.get().status == 503, 4, "the app is gone")
    assert rig.status()["held"] == []


def test_a_catalogue_that_is_emptied_as_chaos_does_it_empties_no_balancer(rig: Rig) -> None:
    with rig.load() as load:
        docker("exec", rig.balancer.id, "python3", "-c", EMPTY_CATALOGUE)
        assert rig.services("prime") == [] != rig.services("eratos-balancer")

        def held() -> bool:
            if rig.services("prime"):  # the agent has put them back before the balancer looked
                docker("exec", rig.balancer.id, "python3", "-c", EMPTY_CATALOGUE)
            return bool(rig.status()["held"])

        until(held, 10, "the guard holds back", pace_s=0.01)
        until(partial(load.reaches, load.requests + 100), 10, "more requests were answered")
    assert load.failures == []


def test_one_app_among_several_that_consul_forgets_is_kept_also_when_others_that_vanish_are_not() -> None:
    other = tuple(range(FIRST_PORT + 60, FIRST_PORT + 80))
    with a_balancer(ERATOS_GUARD_HOLD_S="0") as rig:
        rig.register(*PORTS)
        rig.register(*other, app="other", meta={"haproxy-path": "/other"})
        rig.await_rotation(*PORTS)
        rig.await_rotation(*other, backend="other")
        with rig.load() as load:
            rig.vanish(*PORTS)
            until(lambda: len(rig.status()["held"]) == len(PORTS), 10, "the guard holds back", pace_s=0.01)
            until(partial(load.reaches, load.requests + 100), 10, "more requests were answered")
        assert load.failures == []


def test_a_new_instance_gets_in_while_others_are_held_back(rig: Rig) -> None:
    fresh = FIRST_PORT + 30
    with rig.load() as load:
        rig.vanish(*PORTS[1:])
        until(lambda: rig.status()["held"], 5, "the guard holds back", pace_s=0.01)
        rig.register(fresh)
        until(lambda: server_id(fresh) in rig.in_rotation(), 4, "the new instance is in", pace_s=0.01)
        assert len(rig.in_rotation()) == len(PORTS) + 1
        rig.await_rotation(PORTS[0], fresh, within_s=30)
    assert load.failures == []


def test_dead_servers_are_not_held_back(rig: Rig) -> None:
    for port in PORTS[1:]:
        assert rig.get(f"/kill?port={port}").status == 200
    rig.deregister(*PORTS[1:])
    until(lambda: list(rig.status()["backends"]["prime"]) == [server_id(PORTS[0])], 5, "they are gone")
    assert rig.status()["held"] == []


def test_a_consul_that_has_lost_its_data_empties_no_app_and_single_stops_and_crashes_still_go_at_once() -> None:
    apps = {f"app{number}": FIRST_PORT + 60 + number for number in range(4)}
    # As long as an ordinary loss is held, nothing is: all that holds here is the time for a wholesale one.
    with a_balancer(ERATOS_GUARD_HOLD_S="0") as rig:

        def register(names: Iterable[str]) -> None:
            for name in names:
                rig.register(apps[name], app=name, meta={"haproxy-path": f"/{name}"})

        def answering() -> set[str]:
            return {name for name in apps if rig.get(f"/{name}").status == 200}

        register(apps)
        until(lambda: answering() == set(apps), 10, "all apps answer")
        # As a Consul does that has lost its data, all at once.
        template = rig.pid("consul-template")
        rig.shell(f"kill -STOP {template}")
        for name, port in apps.items():
            rig.deregister(port, app=name)
        rig.shell(f"kill -CONT {template}")
        held = until(lambda: len(rig.status()["held"]) == len(apps) and rig.status()["held"], 30, "all are held back")
        assert held == sorted(server_id(port, name) for name, port in apps.items())
        assert answering() == set(apps)
        rig.companion("POST", "/confirm", {"services": [server_id(apps["app0"], "app0")]})
        # The worker stops listening: a path of its own, as the others lead to their apps with all that is below.
        docker("exec", rig.workers.id, "python3", "-c", STOP.format(FIRST_PORT, apps["app1"]))
        until(lambda: answering() == {"app2", "app3"}, 10, "what was confirmed or has died is gone")
        register(["app2", "app3"])
        until(lambda: not rig.status()["held"], 10, "nothing has to be held any more")
        assert answering() == {"app2", "app3"}
