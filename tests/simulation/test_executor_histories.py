"""Random histories of an executor: whatever the agent, Docker, Consul and the balancers do, and in whatever order.

The world answers the machine's actions late, out of order, or (where nobody promised an answer) never. After each step the
invariants hold; at the end everything is left to settle, and each kill must have ended in a terminal update.
"""

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.executor import HOST, PORT, a_payload

from eratos.common.payload import OnChange, ReadinessCheck, Requirement, TaskPayload
from eratos.executor.core import actions as do
from eratos.executor.core import events as on
from eratos.executor.core.left_over import DRAINED_S, HELD_S
from eratos.executor.core.lifecycle import Machine
from eratos.executor.core.requirements import NOTHING, Found
from eratos.executor.core.task import Phase

TASKS = [f"shop.instance-{number}._app.1" for number in range(3)]
#: What a dead executor left running: at the very port that each task is given, and at another.
LEFT = {"left.instance-1._app.1": frozenset({PORT}), "left.instance-2._app.1": frozenset({1})}
SHUTDOWN_GRACE_S = 5.0
READY = ReadinessCheck("warm", "http", "/ready", PORT)
DB = Requirement("db", "REQUIRE_DB", services=("db",), on_change=OnChange("command", "/reload"))
#: What may be found of it.
LISTS = [Found(), Found(("h:1",), ("s1",)), Found(("h:2",), ("s2",)), Found(("h:1", "h:2"), ("s1", "s2"))]
#: Longer than every deadline of a stop put together.
SETTLED_S = 200.0


class World:
    """Runs one machine, owes it answers, and watches what it does."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.machine = Machine(HOST, SHUTDOWN_GRACE_S, random.Random(seed).random)
        self.now = 100.0
        self.log: list[tuple[on.Event, float, list[do.Action]]] = []
        self.owed: list[on.Event] = []  #: answers that will come
        self.optional: list[on.Event] = []  #: answers that may never come
        self.payloads: dict[str, TaskPayload] = {}
        self.running: set[str] = set()
        self.containers: set[str] = set()
        self.states: dict[str, list[str]] = {}
        self.passing: dict[str, dict[int, bool]] = {}
        self.registered: set[str] = set()
        self.drained: set[str] = set()
        self.leaving_since: dict[str, float] = {}
        self.limits_s: dict[str, float] = {}
        self.killed: set[str] = set()
        self.exited = False
        self.found: dict[str, Found] = {}  #: by now, of tasks that are followed
        self.knows: dict[str, str] = {}  #: the list that a task goes by, as its file has it
        self.telling: dict[str, str] = {}  #: what a task is being told
        self.using: dict[str, frozenset[str]] = {}
        self.outdated: dict[str, str | None] = {}
        self.left = set(LEFT)  #: still running
        self.left_in_consul = set(LEFT)
        self.others_serve: set[str] = set()  #: left-overs of which the balancers were told, and that they can do without
        self.seen_since: dict[str, float] = {}  #: left-overs

    def handle(self, event: on.Event) -> None:
        if isinstance(event, on.ProbeDone):
            self.passing.setdefault(event.task_id, {})[event.index] = event.passed
        if isinstance(event, on.ContainerStarted):
            self.passing[event.task_id] = {}
        if isinstance(event, on.DrainDone):
            self.drained.add(event.task_id)
        if isinstance(event, on.BalancersTold):
            self.others_serve.add(event.task_id)
        if isinstance(event, on.RequirementTold):
            text = self.telling.pop(event.task_id)
            if not event.fault:
                self.knows[event.task_id] = text
        out = self.machine.handle(event, self.now)
        self.log.append((event, self.now, out))
        if isinstance(event, on.LaunchTask):
            assert self.states.get(event.task_id) or any(isinstance(a, do.SendUpdate) for a in out), "a launch without an answer"
        for action in out:
            self.check(action)
            self.perform(action)
        if isinstance(event, on.Tick):
            deadline = self.machine.next_deadline()
            assert deadline is None or deadline > self.now, "a Tick that leaves its own deadline would spin"

    def check(self, action: do.Action) -> None:
        match action:
            case do.SendUpdate(update):
                before = self.states.setdefault(update.task_id, [])
                ended = before and before[-1] in ("TASK_KILLED", "TASK_FAILED", "TASK_FINISHED", "TASK_ERROR")
                assert not ended or update.state == before[-1], f"{update.state} after {before}"
                before.append(update.state)
                if update.state == "TASK_RUNNING":
                    self.outdated[update.task_id] = update.outdated
            case do.StartContainer(task_id, files=files) if self.payloads[task_id].requires:
                known = self.found[task_id]
                assert known.count, "started without what it waits for"
                assert set(known.servers) <= self.using[task_id], "it goes by a server, and nobody was told so"
                self.knows[task_id] = files["requires/db"]
            case do.TellTask(task_id):
                assert self.machine.tasks[task_id].phase is Phase.RUNNING, "told while it does not run"
                assert task_id not in self.telling, "told twice at once"
            case do.Deregister(task_id) if task_id in self.seen_since and task_id in self.left_in_consul:
                late = self.now >= self.seen_since[task_id] + HELD_S
                assert late or task_id in self.others_serve or self.machine._leaving, "it goes while it may be the last"
            case do.RemoveContainer(task_id) if task_id in self.left and task_id in self.seen_since:
                assert task_id not in self.left_in_consul, "removed while it is in Consul"
                late = self.now >= self.seen_since[task_id] + DRAINED_S
                assert late or task_id in self.drained or self.machine._leaving, "removed while a balancer may use it"
            case do.KeepServices(task_ids):
                assert self.left & self.left_in_consul <= task_ids, "the services of what runs are swept"
            case do.Register(task_id):
                payload = self.payloads[task_id]
                checks = len(payload.health_checks) + len(payload.readiness_checks) or 1
                answers = self.passing.get(task_id, {})
                assert len(answers) == checks, "registered before every check was answered"
                assert all(answers.values()), "registered while a check fails"
            case do.StopContainer(task_id) | do.KillContainer(task_id):
                assert task_id not in self.registered, "stopped while registered"
                since = self.leaving_since.get(task_id)
                if since is not None:
                    late = self.now >= since + self.limits_s[task_id]
                    assert late or task_id in self.drained, "stopped before the balancers let go, and before the deadline"

    def perform(self, action: do.Action) -> None:
        match action:
            case do.KeepServices(task_ids):
                self.left_in_consul &= task_ids
                self.optional.append(on.ServicesKept({task_id: LEFT[task_id] for task_id in self.left_in_consul}))
            case do.TellBalancers(task_id) | do.Deregister(task_id) | do.AskBalancers(task_id) if task_id in LEFT:
                self.leave(action)
            case do.StartContainer(task_id):
                self.owed.append(on.ContainerStarted(task_id))
                self.containers.add(task_id)
                self.running.add(task_id)
            case do.CancelStart():
                pass
            case do.Follow() | do.Unfollow() | do.Using() | do.TellTask():
                self.require(action)
            case do.StopContainer(task_id):
                self.optional.append(on.ContainerDied(task_id, 143))
            case do.KillContainer(task_id):
                self.owed.append(on.ContainerDied(task_id, 137))
            case do.ExamineContainer(task_id):
                self.optional.append(on.ContainerExamined(task_id, 1))
            case do.RemoveContainer(task_id):
                self.left.discard(task_id)
                self.running.discard(task_id)
                self.containers.discard(task_id)
            case do.Probe(task_id, index):
                self.owed.append(on.ProbeDone(task_id, index, passed=True))
            case do.Register(task_id):
                self.registered.add(task_id)
            case do.Deregister(task_id):
                self.registered.discard(task_id)
                self.optional.append(on.Deregistered(task_id))
            case do.TellBalancers(task_id, drains=True):
                self.leaving_since[task_id] = self.now
                drain_s = self.payloads[task_id].drain_s
                self.limits_s[task_id] = min(self.limits_s.get(task_id, drain_s), drain_s)
                self.owed.append(on.BalancersTold(task_id))
            case do.AskBalancers(task_id):
                self.optional.append(on.DrainDone(task_id, released=True))
            case do.Exit():
                assert not self.exited
                self.exited = True
                assert not self.machine.tasks

    def leave(self, action: do.TellBalancers | do.Deregister | do.AskBalancers) -> None:
        match action:
            case do.TellBalancers(task_id, drains=True):
                if not action.hold_s:
                    self.others_serve.add(task_id)  # or need not
                # What is held may be held for ever, as far as the machine knows.
                (self.optional if action.hold_s else self.owed).append(on.BalancersTold(task_id))
            case do.Deregister(task_id):
                self.left_in_consul.discard(task_id)
                self.optional.append(on.Deregistered(task_id))
            case do.AskBalancers(task_id):
                self.optional.append(on.DrainDone(task_id, released=True))

    def require(self, action: do.Follow | do.Unfollow | do.Using | do.TellTask) -> None:
        match action:
            case do.Follow(task_id):
                self.found.setdefault(task_id, NOTHING)
            case do.Unfollow(task_id):
                self.found.pop(task_id)
            case do.Using(task_id, servers):
                self.using[task_id] = servers
            case do.TellTask(task_id):
                self.telling[task_id] = action.text
                self.owed.append(on.RequirementTold(task_id))

    # What may happen ---------------------------------------------------------------------------------------------------

    def launch(self, task_id: str, checks: int, drain_s: float, readiness: int = 0, needs: int = 0) -> None:
        made = a_payload(task_id, checks=checks, drain_s=drain_s, readiness_checks=(READY,) * readiness, requires=(DB,) * needs)
        payload = self.payloads.setdefault(task_id, made)
        self.handle(on.LaunchTask(task_id, payload.to_bytes()))

    def begin(self, task_id: str, checks: int, needs: int = 0) -> None:
        """Bring a task into rotation, where histories get interesting."""
        self.launch(task_id, checks, 10.0, needs=needs)
        self.find(task_id, 1)
        while self.owed:
            self.handle(self.owed.pop(0))
        assert task_id in self.registered

    def find(self, task_id: str, which: int) -> None:
        if task_id in self.found:
            self.found[task_id] = LISTS[which]
            self.handle(on.RequirementFound(task_id, "db", LISTS[which]))

    def kill(self, task_id: str, grace_s: float | None) -> None:
        self.killed.add(task_id)
        if grace_s is not None:  # a second kill may hasten the drain to its own grace
            self.limits_s[task_id] = min(self.limits_s.get(task_id, SETTLED_S), 0.0)
        self.handle(on.KillTask(task_id, grace_s))

    def shutdown(self) -> None:
        for task_id in TASKS:
            self.limits_s[task_id] = 0.0
        self.handle(on.Shutdown("asked"))

    def answer(self, which: int, *, passed: bool) -> None:
        waiting = self.owed if self.owed and (which % 2 or not self.optional) else self.optional
        if waiting:
            event = waiting.pop(which % len(waiting))
            match event:
                case on.ProbeDone(task_id, index):
                    event = on.ProbeDone(task_id, index, passed)
                case on.ContainerStarted(task_id) if not passed:
                    event = on.StartFailed(task_id, "no image")
                case on.RequirementTold(task_id) if not passed:
                    event = on.RequirementTold(task_id, "its command failed")
            self.handle(event)

    def list(self) -> None:
        for task_id in self.left:
            self.seen_since.setdefault(task_id, self.now)
        self.handle(on.ContainersListed(self.now, frozenset(self.running | self.left), frozenset({"stranger"})))
        self.handle(on.ContainersListed(self.now, frozenset(), frozenset(), runtime="process"))

    def kept(self) -> set[str]:
        return {task_id for task_id in TASKS if self.machine._kept.ended_at(task_id) is not None}

    def settle(self) -> None:
        """Deliver what is owed and let time pass until nothing is left to come."""
        until = self.now + SETTLED_S
        while self.now < until:
            while self.owed:
                self.handle(self.owed.pop(0))
            deadline = self.machine.next_deadline()
            self.now = min(until, max(self.now, deadline)) if deadline is not None else until
            self.handle(on.Tick())


STEP = st.one_of(
    st.tuples(
        st.just("launch"),
        st.sampled_from(TASKS),
        st.integers(0, 2),
        st.sampled_from([0.0, 10.0]),
        st.integers(0, 1),
        st.integers(0, 1),
    ),
    st.tuples(st.just("find"), st.sampled_from(TASKS), st.integers(0, 3)),
    st.tuples(st.just("find"), st.sampled_from(TASKS), st.integers(1, 3)),
    st.tuples(st.just("kill"), st.sampled_from(TASKS), st.sampled_from([None, None, 0.0, 1.0, 30.0])),
    st.tuples(st.just("answer"), st.integers(0, 50), st.booleans()),
    st.tuples(st.just("answer"), st.integers(0, 50), st.just(True)),
    st.tuples(st.just("answer"), st.integers(0, 50), st.just(True)),
    st.tuples(st.just("die"), st.sampled_from(TASKS), st.sampled_from([None, 0, 1, 137])),
    st.tuples(st.just("list")),
    st.tuples(st.just("pass"), st.sampled_from([0.001, 0.03, 0.5, 2.0, 12.0])),
    st.tuples(st.just("shutdown"), st.integers(0, 9)),
)


def play(world: World, steps: list[Any]) -> None:
    for kind, *arguments in steps:
        match kind:
            case "launch":
                world.launch(*arguments)
            case "find":
                world.find(*arguments)
            case "kill":
                world.kill(*arguments)
            case "answer":
                world.answer(arguments[0], passed=arguments[1])
            case "die":
                world.running.discard(arguments[0])
                if arguments[1] is not None:  # else only a listing will tell
                    world.handle(on.ContainerDied(*arguments))
            case "list":
                world.list()
            case "pass":
                world.now += arguments[0]
                world.handle(on.Tick())
            case "shutdown" if arguments[0] == 0:
                world.shutdown()


@settings(max_examples=4 * settings.default.max_examples)
@given(
    st.lists(st.tuples(st.sampled_from([0, 1, 2]), st.integers(0, 1)), max_size=3),
    st.lists(STEP, max_size=40),
    st.integers(0, 1000),
)
def test_every_history_keeps_the_promises(ready: list[tuple[int, int]], steps: list[Any], seed: int) -> None:
    world = World(seed)
    for task_id, (checks, needs) in zip(TASKS, ready, strict=False):
        world.begin(task_id, checks, needs)
    play(world, steps)
    world.settle()
    assert not world.left & world.seen_since.keys(), "a left-over that nobody will remove"
    for task_id in world.killed:
        assert world.states[task_id][-1] in ("TASK_KILLED", "TASK_FAILED", "TASK_FINISHED"), f"{task_id} was killed and lives on"
    assert world.containers <= set(world.machine.tasks) | world.kept(), "a container that nobody will remove"
    alive = {task_id for task_id, task in world.machine.tasks.items() if task.phase is Phase.RUNNING}
    assert world.registered <= alive, "registered without a running task"
    for task_id in alive & world.found.keys():
        knows, there = world.knows[task_id], world.found[task_id]
        assert knows == there.text or world.outdated[task_id], "a task goes by an old list, and nobody was told so"
        assert knows != there.text or not world.outdated[task_id], "a task that knows everything is to be replaced"
        assert set(there.servers) <= world.using[task_id]
    assert world.found.keys() <= world.machine.tasks.keys(), "followed for nobody"
    again = Machine(HOST, SHUTDOWN_GRACE_S, random.Random(seed).random)
    assert [again.handle(event, now) for event, now, _ in world.log] == [out for _, _, out in world.log], "not deterministic"


@pytest.mark.parametrize("order", [["told", "gone", "drained"], ["gone", "drained", "told"], ["drained", "told", "gone"]])
def test_answers_out_of_order_do_not_shorten_a_drain(order: list[str]) -> None:
    task_id = TASKS[1]
    world = World(0)
    world.launch(task_id, 0, 10.0)
    world.handle(on.ContainerStarted(task_id))
    world.handle(on.ProbeDone(task_id, 0, passed=True))
    world.handle(on.KillTask(task_id))
    answers = {"told": on.BalancersTold(task_id), "gone": on.Deregistered(task_id), "drained": on.DrainDone(task_id, True)}
    for name in order:
        world.handle(answers[name])
    stops = [action for _, _, out in world.log for action in out if isinstance(action, do.StopContainer)]
    assert len(stops) == (1 if order == ["told", "gone", "drained"] else 0)
