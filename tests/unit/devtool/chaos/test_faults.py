"""What each fault of ``./dev chaos`` does, to whom, and how it is undone."""

from __future__ import annotations

import dataclasses
import random
import subprocess
import sys

import pytest
from devtool.chaos import faults, ground, network_strikes, part_strikes
from devtool.chaos.strike import Fault, signal
from devtool.terminal import Problem
from support.chaos import IN_REGIONS, PARTS, container
from support.folders import ROOT
from support.worker_process import WorkerProcess


@pytest.mark.parametrize("fault", faults.ALL, ids=lambda fault: fault.name)
def test_every_fault_has_something_to_strike_and_what_lasts_can_be_undone(fault: Fault) -> None:
    part = faults.choose(fault, IN_REGIONS, "", random.Random(1))
    strike = fault.strike(IN_REGIONS, part)
    assert (strike.do or strike.put) and fault.text and fault.within_s > 0
    assert bool(strike.undo) == bool(fault.hold_s), "what lasts is undone, what is over at once comes back by itself"
    for words in (*strike.do, *strike.undo):
        assert all(isinstance(word, str) for word in words)


def test_a_host_that_is_off_takes_its_consul_agent_and_comes_back_before_it() -> None:
    strike = faults.BY_NAME["host-off"].strike(PARTS, "agent2")
    assert strike.do[0] == ("docker", "kill", "id-agent2", "id-consul-agent2")
    assert "label=eratos.host=eratos-agent2" in strike.do[1][-1]
    assert strike.undo == [("docker", "start", "id-agent2"), ("docker", "start", "id-consul-agent2")]
    assert strike.excused == frozenset()


def test_packets_that_nobody_delays_any_more_pass() -> None:
    strike = faults.BY_NAME["delay"].strike(PARTS, "agent1")
    delayer, rule = strike.do
    assert "container:id-agent1" in delayer and delayer[-2:] == ("delay", network_strikes.DELAY)
    assert "--queue-bypass" in rule[-1] and f"--queue-num {network_strikes.QUEUE}" in rule[-1]
    assert strike.undo[0][-1] == rule[-1].replace(" -I ", " -D ")
    assert strike.undo[1] == ("docker", "rm", "-f", delayer[delayer.index("--name") + 1])
    assert f"const Queue = {network_strikes.QUEUE}" in (ROOT / "compose-dev/images/chaos/main.go").read_text()


@pytest.mark.parametrize(("part", "disk"), [("agent2", "/var/lib/mesos"), ("balancer1", "/var/lib/eratos-balancer")])
def test_of_a_full_disk_only_what_was_laid_over_it_is_taken_away(part: str, disk: str) -> None:
    strike = faults.BY_NAME["disk-full"].strike(PARTS, part)
    [do], [undo] = strike.do, strike.undo
    assert f"container:id-{part}" in do and f"lowerdir={disk}," in do[-1]
    for command_line in undo[-1].split("; "):
        asked, _, done = command_line.partition(" && ")
        assert asked.startswith("grep -q '^eratos-full ") and done.startswith("umount -l ")


def test_a_clock_that_jumps_is_one_that_runs_with_the_library_and_goes_back_to_one_without() -> None:
    strike = faults.BY_NAME["clock-jump"].strike(PARTS, "scheduler1")
    told = " ".join(word for words in strike.do for word in words)
    assert told.index("docker restart -t 2 id-scheduler2") < told.index("docker restart -t 2 id-scheduler1") < told.index("+3600")
    assert [words[-1] for words in strike.undo] == [strike.undo[0][-1], "id-scheduler2"]
    assert "env LD_PRELOAD=" in strike.undo[0][-1]
    alone_there = dataclasses.replace(PARTS, containers={"scheduler1": container("scheduler1", "10.87.213.31")})
    assert faults.BY_NAME["clock-jump"].candidates(alone_there) == []


def test_consul_loses_its_disks_only_while_it_is_off() -> None:
    strike = faults.BY_NAME["consul-data-lost"].strike(PARTS, "consul")
    assert strike.do[0] == ("docker", "kill", "id-consul1", "id-consul2", "id-consul3")
    assert [words[words.index("--volumes-from") + 1] for words in strike.do[1:]] == ["id-consul1", "id-consul2", "id-consul3"]
    assert strike.undo == [("docker", "start", "id-consul1", "id-consul2", "id-consul3")]


def test_leaders_are_those_of_now() -> None:
    for name, part in (("master-off", "master2"), ("scheduler-frozen", "scheduler1"), ("consul-leader-off", "consul3")):
        assert faults.BY_NAME[name].candidates(PARTS) == [part]
    assert faults.BY_NAME["consul-server-off"].candidates(IN_REGIONS) == ["consul1", "consul2"]
    leaderless = dataclasses.replace(PARTS, scheduler="", master="", consul="")
    with pytest.raises(Problem, match="nothing to strike"):
        faults.choose(faults.BY_NAME["scheduler-off"], leaderless, "", random.Random(1))


@pytest.mark.parametrize(
    ("between", "container_id", "rules"),
    [
        ("agent1>master1", "id-agent1", ["OUTPUT -d 10.87.213.11", "FORWARD -d 10.87.213.11"]),
        (
            "agent1:master1",
            "id-agent1",
            ["OUTPUT -d 10.87.213.11", "FORWARD -d 10.87.213.11", "INPUT -s 10.87.213.11", "FORWARD -s 10.87.213.11"],
        ),
        ("balancer1:consul-agent1", "id-balancer1", ["OUTPUT -d 10.87.213.101", "INPUT -s 10.87.213.101"]),
    ],
)
def test_a_cut_is_undone_rule_by_rule(between: str, container_id: str, rules: list[str]) -> None:
    strike = faults.BY_NAME["cut"].strike(PARTS, between)
    [do], [undo] = strike.do, strike.undo
    assert f"container:{container_id}" in do and f"container:{container_id}" in undo
    for rule in rules:
        assert f"iptables -w -I {rule} -m comment" in do[-1]
    made = [part.replace(" -I ", " -D ") for part in do[-1].removeprefix(network_strikes.OR_LEGACY).split(" && ")]
    assert undo[-1].removeprefix(network_strikes.OR_LEGACY).split("; ") == made
    assert ("INPUT" in do[-1]) == (":" in between)
    assert strike.excused == frozenset()


def test_the_link_is_changed_at_each_part_of_the_second_region_towards_each_of_the_first() -> None:
    there = ",".join(f"10.87.213.{number}" for number in (10, 11, 12, 21, 22, 23, 31, 32, 41, 101, 103))
    for name, limit in (("link-cut", ""), ("link-narrow", "-m hashlimit --hashlimit-above 32kb/s")):
        strike = faults.BY_NAME[name].strike(IN_REGIONS, "east:west")
        for commands, sign in ((strike.do, " -I "), (strike.undo, " -D ")):
            at = [word.removeprefix("container:id-") for words in commands for word in words if word.startswith("container:")]
            assert sorted(at) == ["agent2", "balancer2", "consul4"]
            for words in commands:
                for rule in (f"OUTPUT -d {there}", f"FORWARD -d {there}", f"INPUT -s {there}", f"FORWARD -s {there}"):
                    assert f"{sign}{rule} {limit}" in words[-1]
        # Each side's clients go on: balancers are asked from outside.
        assert strike.excused == frozenset()
        assert (faults.BY_NAME[name].candidates(PARTS), faults.BY_NAME[name].candidates(IN_REGIONS)) == ([], ["east:west"])


@pytest.mark.parametrize("between", ["agent1", "agent1:", ">master1", "agent1:agent1", "agent9:master1", "agent1>nobody"])
def test_a_cut_needs_two_parts(between: str) -> None:
    with pytest.raises(Problem):
        faults.BY_NAME["cut"].strike(PARTS, between)


def test_who_is_excused() -> None:
    for name, part in (("balancer-off", "balancer2"), ("network-disconnected", "balancer2"), ("haproxy-killed", "balancer2")):
        assert faults.BY_NAME[name].strike(PARTS, part).excused == {"balancer2"}
    for name, part in (("network-disconnected", "agent1"), ("loss", "agent1"), ("companion-killed", "balancer1")):
        assert faults.BY_NAME[name].strike(PARTS, part).excused == frozenset()


def test_a_part_that_a_fault_cannot_strike_is_refused() -> None:
    with pytest.raises(Problem, match="cannot strike") as caught:
        faults.choose(faults.BY_NAME["host-off"], PARTS, "balancer1", random.Random(1))
    assert "agent1" in caught.value.fix
    with pytest.raises(Problem, match="no fault"):
        faults.named("earthquake")


@pytest.mark.parametrize("youngest", [False, True])
def test_a_signal_reaches_the_processes_whose_command_line_begins_so(youngest: bool) -> None:
    mark = f"import time # {random.random()}"
    sleepers = [subprocess.Popen([sys.executable, "-c", f"{mark}\ntime.sleep(60)"]) for _ in range(2)]
    try:
        script = signal("KILL", f"{sys.executable} -c import*{mark.split()[-1]}*", youngest=youngest)
        assert subprocess.run(["sh", "-c", script], timeout=30, check=False).returncode == 0
        assert sleepers[1].wait(60) == -9
        if youngest:
            assert sleepers[0].poll() is None
        else:
            assert sleepers[0].wait(60) == -9
        nobody = signal("KILL", "no such program*")
        assert subprocess.run(["sh", "-c", nobody], timeout=30, check=False).returncode != 0
    finally:
        for sleeper in sleepers:
            sleeper.kill()
            sleeper.wait()


def test_a_worker_is_made_unwell_and_well_again_by_its_own_health_switch() -> None:
    def tell(port: int, method: str) -> int:
        words = [sys.executable, "-EsS", "-c", part_strikes.HEALTH.format(method)]
        return subprocess.run(words, env={"PORT0": str(port)}, capture_output=True, timeout=30, check=False).returncode

    with WorkerProcess("prime", **ground.ENV) as worker:
        assert tell(worker.port, "PUT") == 0
        assert worker.get("/health").status == 500
        assert tell(worker.port, "DELETE") == 0
        assert worker.get("/health").status == 200
    with WorkerProcess("prime") as worker:
        assert tell(worker.port, "PUT") != 0, "a fault without an effect has to be noticed"
