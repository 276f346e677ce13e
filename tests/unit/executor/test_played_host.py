"""Published ports of a played host: the rules' text, and who takes them away when."""

from __future__ import annotations

import shlex
import threading
from collections.abc import Sequence
from typing import Any

import pytest
from support.executor import TASK

from eratos.common.errors import TemporaryError
from eratos.common.payload import Port
from eratos.executor.played_host import CHAIN, PlayedHost, comment, rule, rules, run

ADDRESS = "10.86.1.5"


class Tables:
    """Plays iptables and conntrack. ``-S`` prints as iptables 1.8 does."""

    def __init__(self) -> None:
        self.chain: list[list[str]] = []
        self.forgotten: list[str] = []
        self.broken = False

    def __call__(self, command: Sequence[str]) -> str:
        if self.broken:
            raise TemporaryError("iptables: Permission denied")
        if command[0] == "conntrack":
            self.forgotten.append(command[-1])
            raise TemporaryError("conntrack: 0 flow entries have been deleted.")
        assert list(command[:4]) == ["iptables", "-w", "-t", "nat"]
        verb, chain, *words = command[4:]
        assert chain == CHAIN
        if verb == "-A":
            self.chain.append(words)
        elif verb == "-D":
            self.chain.remove(words)
        else:
            quoted = [shlex.join(words).replace("'", '"') for words in self.chain]
            return "".join([f"-N {CHAIN}\n", *(f"-A {CHAIN} {line}\n" for line in quoted)])
        return ""

    def ports(self) -> list[str]:
        return [f"{words[1]} {words[5]} {words[-1]}" for words in self.chain]


@pytest.fixture
def tables() -> Tables:
    return Tables()


@pytest.mark.parametrize(
    ("port", "protocol", "text"),
    [
        (Port(31000, 80), "tcp", f"-p tcp -m tcp --dport 31000 -m comment --comment x -j DNAT --to-destination {ADDRESS}:80"),
        (Port(31001, 0), "udp", f"-p udp -m udp --dport 31001 -m comment --comment x -j DNAT --to-destination {ADDRESS}:31001"),
    ],
)
def test_a_rule_hands_a_port_on_and_names_its_task(port: Port, protocol: str, text: str) -> None:
    assert shlex.join(rule("x", ADDRESS, port, protocol)) == text


def test_rules_are_read_as_iptables_prints_them() -> None:
    listed = f"""-N {CHAIN}
-A {CHAIN} -p tcp -m tcp --dport 31000 -m comment --comment "{TASK}" -j DNAT --to-destination {ADDRESS}:80
-A {CHAIN} -p tcp -m tcp --dport 31009 -j DNAT --to-destination {ADDRESS}:80
-A {CHAIN} -p udp -m udp --dport 31001 -m comment --comment x -j DNAT --to-destination {ADDRESS}:53
"""
    assert [comment(found) for found in rules(listed)] == [TASK, "x"]  # what has no task's id is not ours
    assert rules(listed)[0] == rule(TASK, ADDRESS, Port(31000, 80), "tcp")


def test_every_port_and_protocol_is_published_and_withdrawn_with_its_task(tables: Tables) -> None:
    played = PlayedHost(tables)
    played.publish(TASK, ADDRESS, (Port(31000, 80), Port(31001, 53, "udp,tcp")))
    played.publish("other", "10.86.1.6", (Port(31002),))
    assert tables.ports() == [
        f"tcp 31000 {ADDRESS}:80",
        f"udp 31001 {ADDRESS}:53",
        f"tcp 31001 {ADDRESS}:53",
        "tcp 31002 10.86.1.6:31002",
    ]
    played.withdraw(TASK)
    played.withdraw("nobody")
    assert tables.ports() == ["tcp 31002 10.86.1.6:31002"]
    # Both times: who sends to the port already would stay with what was there before.
    assert tables.forgotten == ["31001", "31001"]


def test_a_task_id_longer_than_a_comment_is_told_by_its_end(tables: Tables) -> None:
    played = PlayedHost(tables)
    played.publish("a" * 300 + "1", ADDRESS, (Port(31000),))
    played.publish("a" * 300 + "2", ADDRESS, (Port(31001),))
    assert all(len(comment(found)) == 255 for found in tables.chain)
    played.sweep(lambda: {"a" * 300 + "2"})
    assert tables.ports() == [f"tcp 31001 {ADDRESS}:31001"]


def test_a_new_task_of_a_port_is_not_robbed_by_a_dead_ones_rule(tables: Tables) -> None:
    played = PlayedHost(tables)
    played.publish("dead", ADDRESS, (Port(31000), Port(31001, protocol="udp")))
    played.publish("alive", ADDRESS, (Port(31002),))
    played.claim((31000, 31001))
    played.claim(())
    assert tables.ports() == [f"tcp 31002 {ADDRESS}:31002"]


def test_a_sweep_keeps_what_runs_and_asks_only_where_there_are_rules(tables: Tables) -> None:
    asked = 0

    def running() -> set[str]:
        nonlocal asked
        asked += 1
        return {"alive"}

    played = PlayedHost(tables)
    played.sweep(running)
    assert asked == 0
    played.publish("alive", ADDRESS, (Port(31000),))
    played.publish("dead", ADDRESS, (Port(31001),))
    PlayedHost(tables).sweep(running)  # another executor's
    assert (asked, tables.ports()) == (1, [f"tcp 31000 {ADDRESS}:31000"])


def test_a_task_that_starts_while_others_are_swept_keeps_its_ports(tables: Tables) -> None:
    played = PlayedHost(tables)
    played.publish("dead", ADDRESS, (Port(31000),))

    def running() -> set[str]:  # as it was before the task below ran
        starting = threading.Thread(target=played.publish, args=("new", "10.86.1.6", (Port(31001),)))
        starting.start()
        starting.join(20)
        return set()

    played.sweep(running)
    assert tables.ports() == ["tcp 31001 10.86.1.6:31001"]


def test_tables_that_cannot_be_changed_fail_a_start_and_nothing_else(tables: Tables, caplog: Any) -> None:
    played = PlayedHost(tables)
    tables.broken = True
    with pytest.raises(TemporaryError, match="Permission denied"):
        played.publish(TASK, ADDRESS, (Port(31000),))
    for call in (lambda: played.withdraw(TASK), lambda: played.claim((31000,)), lambda: played.sweep(set)):
        caplog.clear()
        call()
        assert "Permission denied" in caplog.text


def test_a_host_without_iptables_says_so() -> None:
    with pytest.raises(TemporaryError, match="/no/such/iptables"):
        PlayedHost(lambda command: run(["/no/such/iptables", *command[1:]])).publish(TASK, ADDRESS, (Port(31000),))
