"""What is said to HAProxy's processes, and in which order they are asked."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from eratos.haproxy import haproxy_process
from eratos.haproxy.haproxy_process import Haproxy
from eratos.haproxy.sockets import Processes, ProcessGoneError

HEADING = "# pxname,svname,qcur,scur,status,addr,mode,uweight,type\n"
ROWS = f"{HEADING}web,FRONTEND,,1,STOP,,http,,0\napp,a,0,0,UP,10.0.0.1:80,http,7,2\napp,BACKEND,0,0,UP,,http,7,1\n\n"
#: A client that speaks HTTP/2, idle, and told to open no more streams.
H2 = "9 : fe=web mux=H2 ctx=0x7 h2c.st0=FRH .err=0 .maxid=1 .lastid=2147483647 .flg=0x1600 .nbst=0 .nbsc=0, xprt=SSL\n\n"


class FakeMaster:
    """A master with a current worker process, 1, and old ones that stop."""

    def __init__(self, *old: int) -> None:
        self.old = old
        self.stopping = True
        self.connections = H2
        self.told: list[tuple[int | None, str]] = []
        self.gone: set[int] = set()

    @contextlib.contextmanager
    def without_reload(self) -> Iterator[None]:
        yield

    def processes(self) -> Processes:
        return Processes(1, self.old)

    def ask(self, *commands: str, process: int | None = None, timeout_s: float | None = None) -> str:
        self.told += [(process, command) for line in commands for command in line.split("; ")]
        if process in self.gone:
            raise ProcessGoneError(str(process))
        if commands[0] == "show info":
            return f"Name: HAProxy\nStopping: {int(self.stopping and process != 1)}\n\n"
        if commands[0].startswith("show fd"):
            return self.connections
        if commands[0].startswith("prepare map"):
            return "New version created: 7\n\n"
        return ROWS if process != 1 else f"{HEADING}\n"


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [100.0]
    monkeypatch.setattr(haproxy_process.time, "monotonic", lambda: now[0])
    return now


def haproxy(master: Any) -> Haproxy:
    return Haproxy(master, Path("base"), Path("state"), Path("/s/routes.map"))


def test_new_servers_are_added_with_their_backends_settings_before_old_ones_leave() -> None:
    master = FakeMaster()
    haproxy(master).change(
        {"app": {"b": "10.0.0.2:80", "c": "10.0.0.3:80 weight 7"}}, {"app": {"a"}}, {"app": "check tcp-ut 4s weight 100"}
    )
    assert master.told == [
        (1, "del server app/b"),
        (1, "add server app/b 10.0.0.2:80 check weight 100 "),
        (1, "enable health app/b"),
        (1, "enable server app/b"),
        (1, "del server app/c"),
        (1, "add server app/c 10.0.0.3:80 check weight 100 weight 7"),
        (1, "enable health app/c"),
        (1, "enable server app/c"),
        (1, "disable server app/a"),
    ]


def test_weights_change_once_their_servers_are_there_and_before_others_leave() -> None:
    master = FakeMaster()
    haproxy(master).change({"app": {"b": "10.0.0.2:80"}}, {"app": {"a"}}, {}, weights={"app": {"b": 256, "c": 1}})
    assert [command for _, command in master.told[-4:]] == [
        "enable server app/b",
        "set server app/b weight 256",
        "set server app/c weight 1",
        "disable server app/a",
    ]


def test_weights_that_end_a_servers_traffic_change_last() -> None:
    master = FakeMaster()
    haproxy(master).change({}, {}, {}, weights={"app": {"a": 0, "b": 0, "c": 100}, "other": {"d": 0, "e": 1}})
    assert [command for _, command in master.told] == [
        "set server app/c weight 100",
        "set server other/e weight 1",
        "set server app/a weight 0",
        "set server app/b weight 0",
        "set server other/d weight 0",
    ]


def test_routes_change_in_one_go_once_their_servers_are_there_and_before_others_leave() -> None:
    master = FakeMaster()
    haproxy(master).change({"app": {"b": "10.0.0.2:80"}}, {"old": {"a"}}, {}, "a.example/ app\nb.example/ app\n")
    assert [command for _, command in master.told if not command.startswith(("del", "enable", "add server"))] == [
        "prepare map /s/routes.map",
        "add map @7 /s/routes.map a.example/ app",
        "add map @7 /s/routes.map b.example/ app",
        "commit map @7 /s/routes.map",
        "disable server old/a",
    ]
    assert "add server" in master.told[1][1]


def test_a_process_says_which_routes_it_has() -> None:
    master = FakeMaster()
    assert haproxy(master).running().routes == ""
    master.ask = lambda *_, **__: ROWS  # type: ignore[method-assign]
    assert haproxy(master).running().weights() == {"app": {"a": 7}}
    said = 'type=beg, case=sensitive, found=yes, idx=tree, key="eratos:routes", value="0123", type="str"\n\n'
    master.ask = lambda *commands, **_: f"description: eratos-1\n\n{said}" if commands[0] == "show info" else ROWS  # type: ignore[method-assign]
    assert (haproxy(master).running().shape, haproxy(master).running().routes) == ("eratos-1", "0123")
    assert master.told[0] == (1, "show info")
    assert master.told[1] == (1, "get map /s/routes.map eratos:routes")


def test_connections_are_asked_for_before_servers() -> None:
    master = FakeMaster(2)
    haproxy(master).usage("a")
    # A request that begins in between is seen at its server.
    assert [command.split(" -")[0] for process, command in master.told if process == 2] == ["show info", "show fd f", "show stat"]


def test_clients_that_were_told_get_the_time_to_read_it(clock: list[float]) -> None:
    asked = haproxy(FakeMaster(2))
    assert asked.usage("a").used
    clock[0] += haproxy_process._TOLD_S / 2
    assert asked.usage("a").used
    clock[0] += haproxy_process._TOLD_S
    assert not asked.usage("a").used


def test_the_time_counts_from_when_a_process_stops_and_for_each_of_its_own(clock: list[float]) -> None:
    master = FakeMaster(2)
    master.stopping = False
    asked = haproxy(master)
    clock[0] += 60
    assert asked.usage("a").used
    master.stopping = True
    assert asked.usage("a").used
    clock[0] += 60
    assert not asked.usage("a").used
    master.old = (2, 3)
    assert asked.usage("a").used
    clock[0] += 60
    assert not asked.usage("a").used


def test_a_process_that_has_ended_meanwhile_uses_nothing() -> None:
    master = FakeMaster(2)
    master.gone = {2}
    assert not haproxy(master).usage("a").used
