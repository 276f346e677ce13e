"""./dev chaos: what is undone after a cut, what the invariants say, what scenarios and the command line may ask for."""

from __future__ import annotations

import argparse
import dataclasses
import json
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from devtool import health
from devtool.alone import alone
from devtool.chaos import check, command, faults, ground, journal, network_strikes, part_strikes, scenario, trial
from devtool.chaos.check import Checker, Seen, judge, servers_up
from devtool.chaos.journal import Entry, Journal, restore
from devtool.chaos.parts import Parts
from devtool.chaos.scenario import Act, Expected, Scenario, Step
from devtool.chaos.strike import Fault, Strike, signal
from devtool.cluster import Attachment, Container
from devtool.settings import Settings
from devtool.terminal import Problem
from support.folders import ROOT
from support.waiting import until
from support.worker_process import WorkerProcess

from eratos.common import names

SETTINGS = Settings()


def container(service: str, address: str = "", state: str = "running") -> Container:
    networks = {"eratos_default": Attachment("n", address)} if address else {}
    return Container(f"eratos-{service}-1", service, state, "", 0, "", 0, f"id-{service}", "", networks)


ADDRESSES = {
    "zookeeper": 10, "master1": 11, "master2": 12, "consul1": 21, "consul2": 22, "consul3": 23, "scheduler1": 31,
    "scheduler2": 32, "balancer1": 41, "balancer2": 42, "agent1": 101, "agent2": 102, "agent3": 103,
}  # fmt: skip
BESIDE = ("consul-agent1", "consul-agent2", "consul-agent3", "consul-balancer1", "consul-balancer2")
PARTS = Parts(
    "eratos",
    {
        **{name: container(name, f"10.87.213.{number}") for name, number in ADDRESSES.items()},
        **{name: container(name) for name in BESIDE},
    },
    {"chaos.instance-1._app.1": ("id-w1", "agent1"), "chaos.instance-2._app.1": ("id-w2", "agent2")},
    "master2",
    "scheduler1",
    "consul3",
)


# The journal


@pytest.fixture
def ran(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, ...]]:
    done: list[tuple[str, ...]] = []

    def run(words: Any, **_: Any) -> str:
        done.append(tuple(words))
        return "20.10"

    monkeypatch.setattr(journal, "run", run)
    return done


VERSION = ("docker", "version", "--format", "{{.Server.Version}}")


def test_what_was_not_undone_is_undone_by_the_next_run_the_last_first(tmp_path: Path, ran: list[tuple[str, ...]]) -> None:
    book = Journal(tmp_path / "sub" / "journal")
    one = book.begin("one", [("docker", "start", "a")])
    book.begin("two", [("docker", "start", "b"), ("docker", "unpause", "b")])
    book.begin("three", [("docker", "start", "c")])
    book.undo(one)
    ran.clear()
    again = Journal(book.path)
    assert restore(again) == ["three", "two"]
    assert [words for words in ran if words != VERSION] == [
        ("docker", "start", "c"), ("docker", "start", "b"), ("docker", "unpause", "b"),
    ]  # fmt: skip
    assert again.left() == [] and not book.path.exists()
    assert restore(again) == []


def test_a_line_that_was_cut_off_is_of_a_fault_that_never_happened_and_spoils_no_other(
    tmp_path: Path, ran: list[tuple[str, ...]]
) -> None:
    book = Journal(tmp_path / "journal")
    book.begin("one", [("docker", "start", "a")])
    whole = book.path.read_text()
    book.begin("two", [("docker", "start", "b")])
    book.path.write_text(book.path.read_text()[: len(whole) + 20])
    assert [entry.what for entry in book.left()] == ["one"]
    book.begin("three", [])
    assert [entry.what for entry in book.left()] == ["three", "one"]


@pytest.mark.parametrize("garbage", ["", "\n\n", "[]", "null", '{"id": 1}', '{"undone": true}', '{"id":"a","what":"b","undo":3}'])
def test_garbage_in_a_journal_is_left_out(tmp_path: Path, garbage: str) -> None:
    path = tmp_path / "journal"
    path.write_text(garbage)
    assert Journal(path).left() == []


def test_nothing_counts_as_undone_while_the_engine_does_not_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal, "run", lambda *words, **more: "")
    book = Journal(tmp_path / "journal")
    book.begin("one", [("docker", "start", "a")])
    with pytest.raises(Problem, match="engine"):
        restore(book)
    assert [entry.what for entry in book.left()] == ["one"]


# The faults


@pytest.mark.parametrize("fault", faults.ALL, ids=lambda fault: fault.name)
def test_every_fault_has_something_to_strike_and_what_lasts_can_be_undone(fault: Fault) -> None:
    part = faults.choose(fault, PARTS, "", random.Random(1))
    strike = fault.strike(PARTS, part)
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


def test_what_a_killed_run_was_doing_has_ended_before_another_begins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("devtool.alone.GENERATED", tmp_path)
    script = (
        "import pathlib, sys; from devtool import alone, settings, shell\n"
        "alone.GENERATED = pathlib.Path(sys.argv[1])\n"
        "with alone.alone(settings.Settings()):\n"
        "    shell.run(['sh', '-c', f'touch {sys.argv[1]}/begun; while [ ! -e {sys.argv[1]}/end ]; do sleep 0.05; done'],"
        " pass_fds=alone.held())\n"
    )
    run = subprocess.Popen([sys.executable, "-c", script, str(tmp_path)], env={"PYTHONPATH": ":".join(sys.path)})
    try:
        until(lambda: (tmp_path / "begun").exists(), 20, "the command runs")
        run.kill()
        run.wait()
        with pytest.raises(Problem, match="another"), alone(SETTINGS):
            pass
    finally:
        (tmp_path / "end").touch()
    with alone(SETTINGS, wait_s=20):
        pass


def test_leaders_are_those_of_now() -> None:
    for name, part in (("master-off", "master2"), ("scheduler-frozen", "scheduler1"), ("consul-leader-off", "consul3")):
        assert faults.BY_NAME[name].candidates(PARTS) == [part]
    assert "consul3" not in faults.BY_NAME["consul-server-off"].candidates(PARTS)
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
    made = [part.replace(" -I ", " -D ") for part in do[-1].split(" && ")]
    assert undo[-1].split("; ") == made
    assert ("INPUT" in do[-1]) == (":" in between)
    assert strike.excused == frozenset()


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


# The invariants

TASKS = frozenset(f"chaos.instance-{number}._app.1" for number in range(3))
SERVICES = {f"eratos-{task}": True for task in TASKS}
WELL = Seen(
    frameworks=frozenset({"f"}),
    running=TASKS,
    tasks=TASKS,
    known=TASKS,
    containers=TASKS,
    services=SERVICES,
    servers={f"balancer{number}": {"chaos": frozenset(SERVICES)} for number in (1, 2)},
    used_cpus=0.45,
    task_cpus=0.15,
    executors_most=3,
)
WANTED = {"/chaos": frozenset({3})}
ONE = min(TASKS)
STRAY = "chaos.instance-9._app.1"


def broken(**changes: Any) -> list[str]:
    return judge(dataclasses.replace(WELL, **changes), WANTED, "/chaos", "f")


def test_a_cluster_that_is_well_breaks_nothing() -> None:
    assert broken() == []


@pytest.mark.parametrize(
    ("changes", "letters"),
    [
        ({"running": TASKS - {ONE}, "tasks": TASKS - {ONE}}, {"a", "c", "d"}),
        ({"running": frozenset()}, {"b", "d"}),
        ({"tasks": TASKS | {STRAY}}, {"c"}),
        ({"known": TASKS | {STRAY}}, {"c"}),
        ({"containers": TASKS | {STRAY}}, {"d"}),
        ({"containers": TASKS - {ONE}}, {"d"}),
        ({"services": {**SERVICES, f"eratos-{STRAY}": False}}, {"d"}),
        ({"services": {**SERVICES, f"eratos-{ONE}": False}}, {"d"}),
        ({"services": {name: True for name in SERVICES if ONE not in name}}, {"d"}),
        ({"servers": {"balancer1": {"chaos": frozenset(SERVICES) - {f"eratos-{ONE}"}}}}, {"d"}),
        ({"servers": {"balancer1": {"chaos": frozenset(SERVICES), "other": frozenset({f"eratos-{STRAY}"})}}}, {"d"}),
        ({"servers": {"balancer1": {}}}, {"d"}),
        ({"frameworks": frozenset({"g"})}, {"g"}),
        ({"frameworks": frozenset({"f", "g"})}, {"g"}),
        ({"frameworks": frozenset()}, {"g"}),
        ({"used_cpus": 0.55}, {"h"}),
        ({"used_cpus": 0.05}, {"h"}),
    ],
)
def test_each_invariant_is_noticed(changes: dict[str, Any], letters: set[str]) -> None:
    assert {text[1] for text in broken(**changes)} == letters


def test_either_count_is_right_after_a_change_that_was_not_acknowledged() -> None:
    assert judge(WELL, {"/chaos": frozenset({2, 3})}, "/chaos", "f") == []
    assert judge(WELL, {"/chaos": frozenset({1, 2})}, "/chaos", "f") == ["(a) /chaos runs 3 instances, 1 or 2 wanted"]


def test_services_of_further_ports_belong_to_their_task() -> None:
    assert broken(services={**SERVICES, f"eratos-{ONE}-1": True}) == []


def test_names_are_those_of_eratos() -> None:
    task = names.task_id(names.instance_id("/a/b", "6f1c"), 2)
    assert task.startswith(check.prefix("/a/b"))
    assert check._task(names.service_id(task)) == check._task(names.service_id(task, 3)) == task
    assert check.backend("/a/b") == names.service_name("/a/b")


def test_an_offer_is_held_back_when_it_stays() -> None:
    checker = Checker(SETTINGS)
    assert checker.held(frozenset({"o1"}), 0.0) == []
    assert checker.held(frozenset({"o1", "o2"}), check.HELD_S) == []
    assert checker.held(frozenset({"o1", "o2"}), check.HELD_S + 1) == ["(f) offers that are held back: o1"]
    assert checker.held(frozenset({"o2"}), check.HELD_S + 2) == []


def test_servers_of_tasks_that_are_up() -> None:
    text = (
        "# pxname,svname,status\nchaos,eratos-chaos.instance-1._app.1,UP\nchaos,eratos-chaos.instance-2._app.1,DOWN\n"
        "chaos,BACKEND,UP\nstatic,10.0.0.1:80,UP\n"
    )
    assert servers_up(text) == {"chaos": frozenset({"eratos-chaos.instance-1._app.1"})}


# The verdict


def outcome(at_s: float, **more: Any) -> trial.Outcome:
    return trial.Outcome("a fault", ["balancer-off"], at_s, over_s=at_s + 10, well_s=at_s + 12, **more)


def failure(at_s: float, target: str, reason: str = "timeout", latency_s: float = 0.1) -> dict[str, Any]:
    return {"at_s": at_s, "target": target, "reason": reason, "latency_s": latency_s}


def struck(at_s: float, over_s: float, excused: str) -> trial.Struck:
    return trial.Struck("balancer-off", "", at_s, frozenset({excused}), 90, over_s, Entry("", "", ()), over_s)


@pytest.mark.parametrize(
    ("one", "is_excused"),
    [
        (failure(25, "balancer1"), True),
        (failure(25, "balancer2"), False),
        (failure(25, "balancer1", "wrong app"), False),
        (failure(19.9, "balancer1", latency_s=0.5), True),
        (failure(19.0, "balancer1", latency_s=0.5), False),
        (failure(32, "balancer1"), True),
        (failure(34, "balancer1"), False),
    ],
)
def test_only_requests_to_a_balancer_that_was_taken_away_are_excused(one: dict[str, Any], is_excused: bool) -> None:
    outcomes = [outcome(0), outcome(18)]
    assert trial.attribute(outcomes, [struck(20, 30, "balancer1")], [one]) == (int(not is_excused), int(is_excused))
    assert (outcomes[1].failed, outcomes[1].excused) == (int(not is_excused), int(is_excused))
    assert outcomes[0].failed == outcomes[0].excused == 0


@pytest.mark.parametrize(
    ("looks", "seconds"),
    [
        ([], 0),
        ([(11, False), (12, False)], 0),
        ([(11, True), (12, True), (14, False), (15, False)], 4),
        ([(11, False), (12, True), (13, False), (14, True), (16, False)], 6),
        ([(11, True), (12, True)], 2),
    ],
)
def test_full_strength_is_reached_after_the_last_look_that_found_something_amiss(looks: Any, seconds: float) -> None:
    assert trial.strength_s(looks, 10) == seconds


def summary(requests: int = 1000, wrong_app: int = 0, failures: list[dict[str, Any]] | None = None) -> dict[str, Any]:
    found = failures or []
    return {
        "requests": requests, "failed": len(found), "wrong_app": wrong_app, "failures": found, "p99_s": 0.1, "slowest_s": 0.2,
    }  # fmt: skip


def test_a_run_passes_when_nothing_is_broken_and_enough_is_answered() -> None:
    plan = Scenario("s", (Step((Act("balancer-off"),)),))
    good = trial.result(plan, [outcome(0)], [], summary(), [])
    assert trial.passed(good, 1.0) and good["answered"] == 1 and good["slowest_recovery_s"] == 2
    lost = trial.result(plan, [outcome(0)], [], summary(failures=[failure(1, "balancer1")]), [])
    assert lost["answered"] == 0.999 and trial.passed(lost, 0.999) and not trial.passed(lost, 0.9999)
    assert not trial.passed(trial.result(plan, [outcome(0, broken=["(a) x"])], [], summary(), []), 0.0)
    assert not trial.passed(trial.result(plan, [outcome(0)], [], summary(wrong_app=1), []), 0.0)
    assert not trial.passed(trial.result(plan, [], [], summary(requests=0), []), 0.0)


def test_failures_beyond_those_that_are_told_are_not_excused() -> None:
    found = summary(failures=[failure(25, "balancer1")])
    found["failed"] = 11
    told = trial.result(Scenario("s", ()), [outcome(18)], [struck(20, 30, "balancer1")], found, [])
    assert (told["failed"], told["excused"]) == (10, 1)


def test_what_a_step_expects_is_held_against_it() -> None:
    lost = summary(failures=[failure(1, "balancer1")])
    told = trial.result(Scenario("s", ()), [outcome(0, expected=Expected(failed=0))], [], lost, [])
    assert told["invariants_broken"] == 1 and told["broken"][0].startswith("(e)")
    told = trial.result(Scenario("s", ()), [outcome(0, expected=Expected(failed=1))], [], lost, [])
    assert told["invariants_broken"] == 0


def test_a_planned_change_may_cost_nothing_unless_something_breaks_meanwhile() -> None:
    lost = summary(failures=[failure(1, "balancer1")])
    planned, both = outcome(0), outcome(0)
    planned.faults, both.faults = ["app-replaced"], ["app-replaced", "host-off"]
    assert trial.result(Scenario("s", ()), [planned], [], lost, [])["invariants_broken"] == 1
    assert trial.result(Scenario("s", ()), [both], [], lost, [])["invariants_broken"] == 0


def test_a_planned_change_may_not_rely_on_balancers_that_try_again() -> None:
    planned = outcome(0)
    planned.faults, planned.retried = ["app-replaced"], 2
    told = trial.result(Scenario("s", ()), [planned], [], summary(), [])
    assert told["invariants_broken"] == 1 and "2 requests met an instance that had gone" in told["broken"][0]


def test_retries_are_those_of_the_app_alone() -> None:
    text = "# pxname,svname,wretr,\nchaos,a,1,\nchaos,BACKEND,3,\nprime,BACKEND,5,\nchaos,FRONTEND,,\n"
    assert check.retried(text, "chaos") == 3 and check.retried(text, "hello") == 0


# Scenarios


def test_chance_is_the_same_for_a_seed_and_leaves_nothing_out() -> None:
    chosen = scenario.selection([], ["host-off"])
    one, same, other = (scenario.by_chance(seed, 60, chosen) for seed in (1, 1, 2))
    assert one.steps == same.steps != other.steps
    drawn = [step.acts[0].fault for step in one.steps]
    assert set(drawn[: len(chosen)]) == set(chosen) == set(faults.BY_NAME) - {"host-off"}


@pytest.mark.parametrize(
    ("fault", "part", "good"),
    [
        ("host-off", "agent2", True),
        ("host-off", "agent9", False),
        ("host-off", "balancer1", False),
        ("master-off", "master1", True),  # which does not lead now
        ("master-off", "scheduler1", False),
        ("cut", "agent1:master1", True),
        ("cut", "agent1:nobody", False),
        ("worker-killed", "chaos.instance-3._app.1", True),
    ],
)
def test_a_part_that_makes_no_sense_is_refused_before_anything_is_touched(fault: str, part: str, good: bool) -> None:
    chosen = scenario.single(fault, part, None, 1)
    if good:
        command.check_parts(PARTS, chosen)
    else:
        with pytest.raises(Problem):
            command.check_parts(PARTS, chosen)


def test_chance_has_faults_overlap_too() -> None:
    chosen = scenario.selection([], [])
    one, same = (scenario.by_chance(3, 20, chosen, 2) for _ in range(2))
    assert one.steps == same.steps and len(one.steps) == 20
    for step in one.steps:
        first, second = step.acts
        assert first.after_s == 0 and 0 <= second.after_s <= scenario.WITHIN_S
    assert {act.fault for step in one.steps for act in step.acts} == set(chosen)


def test_of_faults_that_overlap_one_that_cannot_be_done_is_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    run = trial.Trial(SETTINGS, Journal(tmp_path / "journal"), Scenario("s", ()), 1.0, said.append)
    monkeypatch.setattr(trial.parts, "look", lambda settings, app_id: PARTS)
    monkeypatch.setattr(journal, "run", lambda *words, **more: "20.10")

    def do(fault: Fault, strike: Strike) -> None:
        if fault.name == "disk-full":
            raise Problem("there is no such container", "")

    monkeypatch.setattr(trial.striking, "do", do)
    with pytest.raises(Problem):
        run._strike_if_possible(Act("disk-full", "agent1"))
    run._make_good()
    run._strike_if_possible(Act("host-off", "agent1"))
    run._strike_if_possible(Act("disk-full", "agent1"))
    assert "disk-full is left out: there is no such container" in said[-1]
    assert [one.fault for one in run._struck if one.over_s is None] == ["host-off"]


def test_a_file_has_steps_overlaps_and_expectations() -> None:
    document = {
        "name": "two at once",
        "seed": 7,
        "rate": 20,
        "steps": [
            {"pause": "2s"},
            {"fault": "worker-killed", "expect": {"failed": 0}},
            {
                "together": [{"fault": "scheduler-frozen", "hold": 20}, {"fault": "host-off", "part": "agent2", "after": "5s"}],
                "expect": {"recovery": "2m"},
            },
        ],
    }
    found = scenario.parse(document, "x.yaml")
    assert (found.name, found.seed, found.rate) == ("two at once", 7, 20)
    assert found.steps[0] == Step((), pause_s=2)
    assert found.steps[1] == Step((Act("worker-killed"),), Expected(None, 0))
    acts = (Act("scheduler-frozen", "", 20.0), Act("host-off", "agent2", None, 5.0))
    assert found.steps[2] == Step(acts, Expected(120.0, None))


@pytest.mark.parametrize(
    ("document", "words"),
    [
        (None, "no mapping"),
        ([], "no mapping"),
        ({}, "steps"),
        ({"steps": []}, "steps"),
        ({"steps": [3]}, "step 1 is no mapping"),
        ({"steps": [{"fault": "earthquake"}]}, "step 1: there is no fault earthquake"),
        ({"steps": [{"fault": "host-off"}, {"falt": "host-off"}]}, "step 2: falt is unknown"),
        ({"steps": [{}]}, "neither"),
        ({"steps": [{"expect": {}}]}, "neither"),
        ({"steps": [{"together": []}]}, "together"),
        ({"steps": [{"together": [{"part": "agent1"}]}]}, "fault is missing"),
        ({"steps": [{"together": [{"fault": "host-off"}], "part": "agent1"}]}, "beside"),
        ({"steps": [{"fault": "host-off", "hold": "long"}]}, "hold"),
        ({"steps": [{"fault": "worker-killed", "hold": "5s"}]}, "over at once"),
        ({"steps": [{"fault": "host-off", "expect": {"speed": 1}}]}, "speed is unknown"),
        ({"steps": [{"fault": "host-off", "expect": {"failed": -1}}]}, "failed"),
        ({"steps": [{"fault": "host-off", "expect": {"failed": True}}]}, "failed"),
        ({"steps": [{"fault": "host-off"}], "rate": 0}, "rate"),
        ({"steps": [{"fault": "host-off"}], "seed": "x"}, "seed"),
        ({"steps": [{"fault": "host-off"}], "rounds": 3}, "rounds is unknown"),
    ],
)
def test_a_file_that_makes_no_sense_is_refused_with_the_place(document: Any, words: str) -> None:
    with pytest.raises(Problem, match=words):
        scenario.parse(document, "x.yaml")


def test_files_are_yaml(tmp_path: Path) -> None:
    path = tmp_path / "s.yaml"
    path.write_text("steps:\n  - fault: worker-killed   # a comment\n")
    assert scenario.read(path, Path(sys.executable)).steps == (Step((Act("worker-killed"),)),)
    path.write_text("steps: [")
    with pytest.raises(Problem, match=r"no YAML: while parsing .*expected the node content.* line 1"):
        scenario.read(path, Path(sys.executable))
    with pytest.raises(Problem, match="neither a fault nor a file"):
        scenario.read(tmp_path / "missing", Path(sys.executable))


# The command line


def options(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    command.add_options(parser)
    return parser.parse_args(words)


@pytest.fixture
def no_engine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(command.engine, "require", lambda: None)
    monkeypatch.setattr(command, "GENERATED", tmp_path)
    monkeypatch.setattr("devtool.alone.GENERATED", tmp_path)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["earthquake"], "neither a fault nor a file"),
        (["random", "--count", "0"], "--count"),
        (["random", "--only", "earthquake"], "no fault earthquake"),
        (["random", "--only", "host-off", "--without", "host-off"], "no fault is left"),
        (["random", "--part", "agent1"], "--part"),
        (["worker-killed", "--hold", "5s"], "--hold"),
        (["host-off", "--hold", "long"], "--hold"),
        (["host-off", "--only", "cut"], "--only"),
        (["host-off", "--rate", "0"], "--rate"),
        (["host-off", "--answered", "2"], "--answered"),
        (["host-off", "--duration", "-1"], "--duration"),
    ],
)
def test_what_makes_no_sense_is_refused_before_anything_is_touched(no_engine: None, words: list[str], message: str) -> None:
    with pytest.raises(Problem, match=message):
        command.run(SETTINGS, options(*words))


def test_a_second_run_at_the_same_time_is_refused(no_engine: None) -> None:
    with alone(SETTINGS), pytest.raises(Problem, match="is changing the cluster"):
        command.run(SETTINGS, options("host-off"))


@pytest.fixture
def a_cluster(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """A whole cluster, as far as it is asked before anything is broken."""
    state: dict[str, Any] = {"containers": list(PARTS.containers.values()), "unmarked": set(), "missing": {}}

    def inspect(words: list[str], **_: Any) -> str:
        ids = [word for word in words if word.startswith("id-")]
        return "\n".join(f"{'' if one in state['unmarked'] else 'allowed'} /eratos-{one[3:]}-1" for one in ids)

    monkeypatch.setattr(ground.cluster, "containers", lambda project: state["containers"])
    monkeypatch.setattr(ground, "run", inspect)
    monkeypatch.setattr(health, "missing", lambda settings: dict(state["missing"]))
    return state


def test_a_whole_cluster_of_ours_may_be_broken(a_cluster: dict[str, Any]) -> None:
    ground.require(SETTINGS)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"containers": []}, "is down"),
        ({"unmarked": {"id-agent2"}}, "not marked for chaos: eratos-agent2-1"),
        ({"missing": {"Mesos": "agent3 is not registered"}}, "not whole: Mesos: agent3"),
        ({"containers": [one for one in PARTS.containers.values() if one.service != "consul2"]}, "consul2: does not run"),
    ],
)
def test_no_cluster_one_that_is_not_ours_and_one_that_is_half_up_are_refused(
    a_cluster: dict[str, Any], change: dict[str, Any], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ground, "PATIENCE_S", 0.0)
    a_cluster.update(change)
    with pytest.raises(Problem, match=message):
        ground.require(SETTINGS)


def test_a_part_that_answers_too_late_once_is_asked_again(a_cluster: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    looks = iter([{"Mesos": "master1 does not answer"}, {}])
    monkeypatch.setattr(ground, "POLL_S", 0.0)
    monkeypatch.setattr(health, "missing", lambda settings: next(looks))
    ground.require(SETTINGS)
    assert not list(looks)


def test_what_an_interrupted_run_left_is_undone_first(
    no_engine: None, monkeypatch: pytest.MonkeyPatch, ran: list[tuple[str, ...]], capsys: pytest.CaptureFixture[str]
) -> None:
    command.journal_of(SETTINGS).begin("agent1 is off", [("docker", "start", "id-agent1")])
    order: list[str] = []
    monkeypatch.setattr(health, "await_infrastructure", lambda *words: order.append("waited"))

    def require(_settings: Settings) -> None:
        assert ("docker", "start", "id-agent1") in ran
        order.append("required")
        raise Problem("the cluster is down", "./dev up")

    monkeypatch.setattr(ground, "require", require)
    with pytest.raises(Problem, match="is down"):
        command.run(SETTINGS, options("host-off", "--json"))
    assert order == ["waited", "required"]
    assert "restored, after a run that was interrupted: agent1 is off" in capsys.readouterr().err


def test_json_is_one_object(no_engine: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    found = trial.result(Scenario("s", ()), [], [], summary(), [])
    monkeypatch.setattr(command, "perform", lambda *words, **more: found)
    assert command.run(SETTINGS, options("host-off", "--json")) == 0
    assert json.loads(capsys.readouterr().out)["passed"] is True


def test_restore_alone_breaks_nothing(no_engine: None, monkeypatch: pytest.MonkeyPatch, ran: list[tuple[str, ...]]) -> None:
    command.journal_of(SETTINGS).begin("agent1 is off", [("docker", "start", "id-agent1")])
    monkeypatch.setattr(command, "perform", lambda *words, **more: pytest.fail("something was broken"))
    assert command.run(SETTINGS, options("restore")) == 0
    assert ("docker", "start", "id-agent1") in ran


def test_the_exit_code_is_the_verdict(
    no_engine: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    found = trial.result(Scenario("s", ()), [outcome(0, broken=["(a) /chaos runs 9 instances"])], [], summary(), [])
    monkeypatch.setattr(command, "perform", lambda *words, **more: found)
    assert command.run(SETTINGS, options("host-off")) == 1
    assert "(a) /chaos runs 9 instances" in capsys.readouterr().out


def test_the_list_tells_every_fault(capsys: pytest.CaptureFixture[str]) -> None:
    assert command.run(SETTINGS, options()) == 0
    shown = capsys.readouterr().out
    assert all(fault.name in shown and fault.text in shown for fault in faults.ALL)


def test_the_scenarios_that_come_along_make_sense() -> None:
    found = sorted((ROOT / "compose-dev" / "scenarios").glob("*.yaml"))
    assert found
    for path in found:
        assert scenario.read(path, Path(sys.executable)).steps


def test_the_example_of_the_documentation_makes_sense() -> None:
    text = (ROOT / "docs" / "chaos.md").read_text()
    example = text.split("```yaml\n", 1)[1].split("```", 1)[0]
    assert scenario.parse(yaml.safe_load(example), "docs/chaos.md").steps[0].acts[1].part == "agent2"
