"""The confirmed drain over companions that answer, hang, or are gone."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from support.companion import FakeCompanion, serve
from support.executor import Events
from support.waiting import until

from eratos.common import keys
from eratos.common.errors import TemporaryError
from eratos.executor import balancers
from eratos.executor.balancers import Balancer, Balancers
from eratos.executor.core import actions as do
from eratos.executor.core import events as on
from eratos.executor.io_thread import IoThread

SERVICE = "eratos-shop.instance-1._app.1"
TASKS = ("left0", "left1")
LEFT = ("eratos-left0", "eratos-left1")
OTHER = "eratos-other"


class Rig:
    """Two companions, and what Consul says about them."""

    def __init__(self, io: IoThread, ports: list[int], companions: list[FakeCompanion]) -> None:
        self.events = Events()
        self.companions = companions
        self.live = [Balancer(f"balancer{number}", "127.0.0.1", port) for number, port in enumerate(ports, 1)]
        self.consul_away = False
        self.elsewhere: dict[str, Callable[[], list[Balancer]]] = {}  #: data center -> finds its balancers
        self.balancers = Balancers(io, self.find, self.events.emit, elsewhere=lambda name: lambda: self.elsewhere[name]())

    def find(self) -> list[Balancer]:
        if self.consul_away:
            raise TemporaryError("Consul is away")
        return list(self.live)

    def ask(self, timeout_s: float = 10.0, *datacenters: str) -> None:
        self.balancers.perform(do.AskBalancers("t", (SERVICE,), timeout_s, datacenters))

    def tell(self, *datacenters: str) -> None:
        self.balancers.perform(do.TellBalancers("t", (SERVICE,), datacenters=datacenters))

    def hold(self, hold_s: float = 60.0, number: int = 0) -> None:
        """Announce a left-over that all balancers have in rotation, and have it held."""
        for companion in self.companions:
            companion.rotation.add(LEFT[number])
        self.balancers.perform(do.TellBalancers(TASKS[number], (LEFT[number],), hold_s))

    def asked(self, service_id: str, times: int) -> bool:
        return all(companion.asked.count(service_id) >= times for companion in self.companions)

    def nothing_told(self) -> bool:
        return self.events._queue.empty()

    def done(self) -> on.DrainDone:
        return self.events.until(on.DrainDone)


@pytest.fixture
def rig() -> Iterator[Rig]:
    io = IoThread()
    io.start()
    companions = [FakeCompanion(), FakeCompanion()]
    with ExitStack() as stack:
        ports = [stack.enter_context(serve(companion.answer)) for companion in companions]
        yield Rig(io, ports, companions)
        io.stop()


def test_every_balancer_hears_of_a_planned_removal(rig: Rig) -> None:
    rig.tell()
    rig.events.until(on.BalancersTold, task_id="t")
    assert [companion.confirmed for companion in rig.companions] == [[SERVICE], [SERVICE]]


def test_a_drain_ends_when_the_last_balancer_lets_go(rig: Rig) -> None:
    for companion in rig.companions:
        companion.used[SERVICE] = 1
    rig.ask()
    held = rig.events.until(on.DrainHeld, task_id="t")
    assert held.detail == f"balancer1 still uses {SERVICE} (1 requests); balancer2 still uses {SERVICE} (1 requests)"
    rig.companions[0].used.clear()
    until(lambda: len(rig.companions[1].asked) > 2, 10, "the other one is asked again")
    assert rig.events.until(on.DrainHeld, detail=f"balancer2 still uses {SERVICE} (1 requests)")
    rig.companions[1].used.clear()
    assert rig.done().released


def test_a_balancer_that_let_go_is_not_asked_again(rig: Rig) -> None:
    rig.companions[1].used[SERVICE] = 1
    rig.ask()
    until(lambda: len(rig.companions[1].asked) > 2, 10, "the other one is asked again")
    rig.companions[1].used.clear()
    rig.done()
    assert rig.companions[0].asked == [SERVICE]


def test_at_the_deadline_the_holder_is_named(rig: Rig) -> None:
    rig.companions[1].used[SERVICE] = 3
    rig.ask(timeout_s=0.2)
    done = rig.done()
    assert not done.released
    assert "balancer2 still uses" in done.detail
    assert "3 requests" in done.detail
    assert "balancer1" not in done.detail


def test_a_balancer_that_is_gone_from_consul_is_not_waited_for(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(balancers, "LIVE_S", 0.1)
    with socket.create_server(("127.0.0.1", 0)) as server:
        dead = Balancer("dead", "127.0.0.1", server.getsockname()[1])
    rig.live.append(dead)
    rig.ask()
    until(lambda: rig.companions[0].asked, 10, "the living are asked")
    rig.live.remove(dead)
    assert rig.done().released


def test_a_silent_balancer_is_waited_for_until_the_deadline_and_named(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(balancers, "ANSWER_S", 0.1)
    monkeypatch.setattr(balancers, "TELL_S", 0.1)
    with socket.create_server(("127.0.0.1", 0)) as server:
        rig.live.append(Balancer("silent", "127.0.0.1", server.getsockname()[1]))
        rig.tell()
        rig.events.until(on.BalancersTold)
        rig.ask(timeout_s=0.2)
        done = rig.done()
    assert (done.released, "silent does not answer" in done.detail) == (False, True)


def test_a_companion_without_haproxy_counts_as_holding(rig: Rig) -> None:
    rig.companions[0].broken = True
    rig.ask(timeout_s=0.1)
    assert "balancer1 answers with HTTP status 500" in rig.done().detail


def test_without_balancers_nothing_is_waited_for(rig: Rig) -> None:
    rig.live.clear()
    rig.tell()
    rig.events.until(on.BalancersTold)
    rig.ask()
    assert rig.done().released


def test_a_consul_that_never_answered_is_told(rig: Rig) -> None:
    rig.consul_away = True
    rig.tell()
    rig.events.until(on.BalancersTold)
    rig.ask(timeout_s=0.1)
    assert "Consul does not answer" in rig.done().detail


def test_while_consul_is_away_the_last_known_balancers_are_asked(rig: Rig) -> None:
    rig.ask()
    rig.done()
    rig.consul_away = True
    rig.balancers._near._known_at -= 1000
    rig.ask()
    assert rig.done().released
    assert [len(companion.asked) for companion in rig.companions] == [2, 2]


def test_an_abandoned_drain_says_nothing_more(rig: Rig) -> None:
    rig.companions[0].used[SERVICE] = 1
    rig.ask()
    until(lambda: rig.companions[0].asked, 10, "the balancer is asked")
    rig.balancers.perform(do.AbandonDrain("t"))
    rig.companions[0].used.clear()
    rig.balancers.perform(do.AskBalancers("other", (SERVICE,), 10.0))
    assert rig.done().task_id == "other"


def test_what_others_serve_as_well_is_not_held(rig: Rig) -> None:
    for companion in rig.companions:
        companion.rotation.add(OTHER)
    rig.hold()
    rig.events.until(on.BalancersTold, task_id=TASKS[0])
    assert [companion.confirmed for companion in rig.companions] == [[LEFT[0]]] * 2
    assert [companion.asked for companion in rig.companions] == [[LEFT[0]]] * 2


def test_what_is_the_last_of_any_balancer_is_held_until_another_one_serves(rig: Rig) -> None:
    rig.companions[0].rotation.add(OTHER)
    rig.hold()
    until(lambda: rig.asked(LEFT[0], 3), 10, "both are asked again and again")
    assert rig.nothing_told()
    rig.companions[1].rotation.add(OTHER)
    rig.events.until(on.BalancersTold, task_id=TASKS[0])
    assert [companion.confirmed for companion in rig.companions] == [[LEFT[0]]] * 2


def test_of_those_that_go_at_the_same_time_one_is_held_at_least(rig: Rig) -> None:
    for number in (0, 1):
        rig.hold(number=number)
    until(lambda: all(rig.asked(left, 1) for left in LEFT), 10, "both were asked for")
    # The first one may have gone by before the other one was announced.
    until(lambda: any(rig.asked(left, 3) for left in LEFT), 10, "one is held")
    assert rig.events._queue.qsize() <= 1
    for companion in rig.companions:
        companion.rotation.add(OTHER)
    assert {rig.events.until(on.BalancersTold).task_id for _ in LEFT} == set(TASKS)


def test_nothing_is_held_for_longer_than_it_may_be(rig: Rig) -> None:
    rig.hold(hold_s=0.3)
    rig.events.until(on.BalancersTold, task_id=TASKS[0])
    assert rig.asked(LEFT[0], 2)


def test_a_balancer_of_the_version_before_holds_nothing_up(rig: Rig) -> None:
    for companion in rig.companions:
        companion.tells_last = False
    rig.hold()
    rig.events.until(on.BalancersTold, task_id=TASKS[0])
    assert rig.companions[0].asked == [LEFT[0]]


@pytest.mark.parametrize("trouble", ["error", "gone", "Consul"])
def test_who_says_nothing_holds_nothing_up_for_long(rig: Rig, monkeypatch: pytest.MonkeyPatch, trouble: str) -> None:
    monkeypatch.setattr(balancers, "SILENT_S", 0.1)
    rig.companions[1].rotation.add(OTHER)
    rig.companions[0].broken = trouble == "error"
    rig.consul_away = trouble == "Consul"
    if trouble == "gone":
        with socket.create_server(("127.0.0.1", 0)) as server:
            rig.live[0] = replace(rig.live[0], port=server.getsockname()[1])
    rig.hold()
    rig.events.until(on.BalancersTold, task_id=TASKS[0])


def test_who_says_nothing_at_first_is_asked_again(rig: Rig) -> None:
    rig.companions[1].rotation.add(OTHER)
    rig.companions[0].broken = True
    rig.hold()
    until(lambda: rig.companions[1].asked, 10, "the other one was asked")
    rig.companions[0].broken = False
    until(lambda: rig.asked(LEFT[0], 2), 10, "both are asked")
    assert rig.nothing_told()
    rig.companions[0].rotation.add(OTHER)
    rig.events.until(on.BalancersTold, task_id=TASKS[0])


def test_a_hold_that_is_given_up_says_nothing_more(rig: Rig) -> None:
    rig.hold()
    until(lambda: rig.asked(LEFT[0], 1), 10, "both are asked")
    rig.balancers.perform(do.AbandonDrain(TASKS[0]))
    rig.balancers.perform(do.TellBalancers(TASKS[0], (LEFT[0],)))
    rig.events.until(on.BalancersTold, task_id=TASKS[0])
    rig.tell()
    assert rig.events.until(on.BalancersTold).task_id == "t"


def test_only_balancers_hold_what_was_left(rig: Rig) -> None:
    rig.live[1] = replace(rig.live[1], executor=True)
    rig.companions[0].rotation.add(OTHER)
    rig.hold()
    rig.events.until(on.BalancersTold, task_id=TASKS[0])
    assert rig.companions[1].asked == []


def test_companions_are_shown_a_proof_of_the_executors_token_and_never_the_token() -> None:
    refused: list[str] = []
    shown: list[str] = []
    token = keys.companion_token("key", "a-1")

    class Handler(BaseHTTPRequestHandler):
        def _handle(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            shown.append(self.headers["Authorization"])
            args = (lambda who: keys.companion_key("key", who), self.command, self.path, body, time.time())
            refused.append(keys.unproven(shown[-1], *args))
            self.send_response(200)
            self.send_header("Content-Length", "15")
            self.end_headers()
            self.wfile.write(b'{"used": false}')

        do_GET = do_POST = _handle  # noqa: N815

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    io, events = IoThread(), Events()
    io.start()
    live = [Balancer("balancer1", "127.0.0.1", server.server_port)]
    asked = Balancers(io, lambda: live, events.emit, lambda: token)
    asked.perform(do.TellBalancers("t", (SERVICE,)))
    events.until(on.BalancersTold)
    asked.perform(do.AskBalancers("t", (SERVICE,), 10.0))
    assert events.until(on.DrainDone).released
    io.stop()
    server.shutdown()
    thread.join()
    server.server_close()
    assert refused == ["", ""]
    assert token.partition(".")[2] not in "".join(shown)


def test_executors_with_consumers_are_waited_for_and_are_told_nothing(rig: Rig) -> None:
    rig.live[1] = replace(rig.live[1], name="host2", executor=True)
    rig.companions[1].used[SERVICE] = 1
    rig.tell()
    rig.events.until(on.BalancersTold, task_id="t")
    assert rig.companions[1].confirmed == []
    rig.ask()
    held = rig.events.until(on.DrainHeld, task_id="t")
    assert held.detail == f"host2 still uses {SERVICE} (a task there requires it)"
    rig.companions[1].used.clear()
    assert rig.done().released


def test_executors_are_shown_a_proof_of_another_key_than_companions(rig: Rig) -> None:
    drain = Balancers(None, rig.find, rig.events.emit, lambda: "a-1.companions", lambda: "executors")  # type: ignore[arg-type]
    for executor, key in ((False, "companions"), (True, "executors")):
        shown = drain._headers(replace(rig.live[0], executor=executor), "GET", "/servers/x")["Authorization"]
        assert keys.unproven(shown, lambda who, key=key: key, "GET", "/servers/x", b"", time.time()) == ""


# Other data centers -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def joined(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> Rig:
    """The second companion is that of a balancer in dc2."""
    for patience in ("FAR_S", "TELL_S", "ANSWER_S"):
        monkeypatch.setattr(balancers, patience, 30.0)
    there = [rig.live.pop()]
    rig.elsewhere["dc2"] = lambda: list(there)
    # Where the own one is asked for by its name, its balancers come twice.
    rig.elsewhere["dc1"] = lambda: list(rig.live)
    return rig


def no_path() -> list[Balancer]:
    raise TemporaryError("no path to the data center")


def test_a_balancer_elsewhere_is_told_and_waited_for_where_it_may_serve_what_leaves(joined: Rig) -> None:
    joined.tell("dc1", "dc2")
    joined.events.until(on.BalancersTold)
    assert joined.companions[1].confirmed == [SERVICE]
    joined.companions[1].used[SERVICE] = 1
    joined.ask(10.0, "dc1", "dc2")
    assert joined.events.until(on.DrainHeld).detail == f"balancer2 in dc2 still uses {SERVICE} (1 requests)"
    joined.companions[1].used.clear()
    assert joined.done().released
    assert joined.companions[0].asked == [SERVICE]


def test_a_balancer_elsewhere_is_not_asked_about_what_it_never_serves(joined: Rig) -> None:
    joined.companions[1].used[SERVICE] = 1
    joined.tell()
    joined.events.until(on.BalancersTold)
    joined.ask()
    assert joined.done().released
    assert (joined.companions[1].confirmed, joined.companions[1].asked) == ([], [])


def test_of_a_data_center_that_never_answered_nobody_is_waited_for(joined: Rig) -> None:
    joined.elsewhere["dc2"] = no_path
    joined.tell("dc2")
    joined.events.until(on.BalancersTold)
    assert joined.companions[0].confirmed == [SERVICE]
    joined.ask(10.0, "dc2")
    assert joined.done().released


def test_of_a_data_center_that_is_silent_now_who_answers_is_waited_for_and_nobody_else(
    joined: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(balancers, "LIVE_S", 0.0)
    with socket.create_server(("127.0.0.1", 0)) as server:
        dead = Balancer("dead", "127.0.0.1", server.getsockname()[1])
    known = [*joined.elsewhere["dc2"](), dead]
    joined.elsewhere["dc2"] = lambda: known
    joined.ask(0.1, "dc2")
    assert "dead in dc2 does not answer" in joined.done().detail
    joined.elsewhere["dc2"] = no_path
    joined.companions[1].used[SERVICE] = 1
    joined.ask(10.0, "dc2")
    joined.events.until(on.DrainHeld, detail=f"balancer2 in dc2 still uses {SERVICE} (1 requests)")
    joined.companions[1].used.clear()
    assert joined.done().released


def test_a_data_center_whose_line_is_cut_holds_up_nothing_here(joined: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(balancers, "FAR_S", 0.05)
    mended = threading.Event()

    def cut() -> list[Balancer]:
        mended.wait(30)
        return []

    joined.elsewhere["dc2"] = cut
    try:
        joined.tell("dc2")
        joined.events.until(on.BalancersTold)
        joined.ask(10.0, "dc2")
        assert joined.done().released
        assert (joined.companions[0].confirmed, joined.companions[0].asked) == ([SERVICE], [SERVICE])
        joined.balancers.perform(do.TellBalancers(TASKS[0], (LEFT[0],), 60.0, datacenters=("dc2",)))
        joined.events.until(on.BalancersTold, task_id=TASKS[0])
        assert not mended.is_set()
    finally:
        mended.set()


def test_what_a_balancer_elsewhere_has_nobody_else_for_is_held(joined: Rig) -> None:
    joined.companions[0].rotation.add(OTHER)
    joined.companions[1].rotation.add(LEFT[0])
    joined.balancers.perform(do.TellBalancers(TASKS[0], (LEFT[0],), 60.0, datacenters=("dc2",)))
    until(lambda: joined.companions[1].asked.count(LEFT[0]) >= 3, 10, "it is asked again and again")
    assert joined.nothing_told()
    joined.companions[1].rotation.add(OTHER)
    joined.events.until(on.BalancersTold, task_id=TASKS[0])
