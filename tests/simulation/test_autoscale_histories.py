"""Random histories of an app that is autoscaled: load, noise, silent balancers, failovers, users and deployments.

Whatever happens its number of instances is within its bounds, nothing is stopped while a balancer is silent, and a load that
stays the same, whatever its noise, makes the number go one way only. More histories are tried by ``./dev test --all``, and with
``HYPOTHESIS_PROFILE=nightly``.
"""

from __future__ import annotations

import itertools
import random
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import invariant, precondition, rule
from support.builders import an_app
from support.played_agents import PlayedAgents, history_settings
from support.world import RUNNING, World

from eratos.common import names
from eratos.marathon.autoscale import Autoscale
from eratos.scheduler.core import events
from eratos.scheduler.core.autoscale import Look, Scaler
from eratos.scheduler.core.gates import QueueFigures, ServerFigures
from eratos.scheduler.core.records import APPS, INSTANCES
from eratos.scheduler.core.usage import TaskUsage

LEAST, MOST, TARGET = 2, 9, 50.0
POLICY: dict[str, Any] = {
    **{"min": LEAST, "max": MOST, "target": {"requestsPerSecond": TARGET, "concurrency": 20, "cpu": 0.5}},
    **{"stabilizationWindowSeconds": 30, "cooldownSeconds": 4},
}
WEB = an_app("/web", LEAST, labels={"HAPROXY_0_VHOST": "web.test"}, eratos={"autoscale": POLICY})
crashes = st.none() | st.integers(0, 6)


class Scaled(PlayedAgents):
    """The app, before two balancers that count and sometimes say nothing, on executors that measure and sometimes do not."""

    def __init__(self) -> None:
        super().__init__()
        self.world = World()
        self.world.subscribe()
        self.world.put(WEB.with_instances(6))
        self.settle()
        self.load, self.counts = 300.0, dict[tuple[str, str], float]()
        self.shrank_in_silence = False

    def instances(self) -> int:
        app = self.world.store.get(APPS + "/web")
        return app.instances if app is not None else 0

    @rule()
    def settle(self) -> None:
        """Have what is wanted come to be, as far as what is lost allows."""
        for _ in range(6 if self.world.connected else 0):
            self.world.offer()
            for task in list(self.world.tasks.values()):
                self.world.run_task(task)
            for _ in range(len(self.world.unacknowledged)):
                self.world.deliver(0)

    @rule(load=st.sampled_from([0.0, 60.0, 100.0, 250.0, 420.0, 2000.0]))
    def change_load(self, load: float) -> None:
        self.load = load

    @rule(
        looks=st.sampled_from([1, 5, 40]),
        silent=st.sampled_from([(), (), (), ("b1",), ("b1", "b2")]),
        unmeasured=st.sampled_from([0, 0, 0, 1, MOST]),
        crash=crashes,
    )
    def look(self, looks: int, silent: tuple[str, ...], unmeasured: int, crash: int | None) -> None:
        """``unmeasured``: of so many instances no executor says what they take."""
        for _ in range(looks):
            before = self.instances()
            self.world.now += 2
            running = [task_id for task_id, task in self.world.tasks.items() if task.state is RUNNING]
            rows = []
            for balancer in ("b1", "b2"):
                for task_id in running:
                    key = balancer, task_id
                    self.counts[key] = self.counts.get(key, 0.0) + self.load / len(running)
                    if balancer not in silent:
                        came = int(self.counts[key])
                        rows.append(ServerFigures(balancer, names.service_id(task_id), 0, 0, 0, came, int(self.load) // 50))
            answered = tuple(name for name in ("b1", "b2") if name not in silent)
            missing = "; ".join(f"{name} says nothing" for name in silent)
            queues = tuple(QueueFigures(name, "web", 0) for name in answered)
            share = self.load / 100 / max(len(running), 1)
            # Of what runs on a lost host and was replaced nobody misses anything.
            wanted = {i.task_id for i in self.world.machine.state.with_task() if not i.stopping}
            hidden = [task_id for task_id in running if task_id in wanted][:unmeasured]
            usages = {task_id: TaskUsage(1.0, share / 10, 0.1, 0, None) for task_id in running if task_id not in hidden}
            self.world.handle(events.FiguresSeen(tuple(rows), missing, answered, queues, usages=usages), crash)
            if (silent or hidden) and self.instances() < before:
                self.shrank_in_silence = True

    @rule(load=st.sampled_from([0.0, 60.0]), silent=st.sampled_from([("b1",), ("b2",), ("b1", "b2")]))
    def a_balancer_falls_silent_as_load_falls(self, load: float, silent: tuple[str, ...]) -> None:
        if not self.world.connected:
            self.world.subscribe()
        self.settle()
        self.load = load
        self.look(40, silent, 0, None)

    @rule(load=st.sampled_from([0.0, 60.0]), unmeasured=st.sampled_from([1, MOST]))
    def an_executor_falls_silent_as_load_falls(self, load: float, unmeasured: int) -> None:
        if not self.world.connected:
            self.world.subscribe()
        self.settle()
        self.load = load
        self.look(40, (), unmeasured, None)

    @rule(pick=st.integers(0, 50))
    def a_balancer_begins_anew(self, pick: int) -> None:
        for key in [key for key in self.counts if key[0] == ("b1", "b2")[pick % 2]]:
            del self.counts[key]

    @rule(instances=st.integers(0, 12))
    def a_user_scales(self, instances: int) -> None:
        if WEB.autoscale is not None and not WEB.autoscale.fault(instances):  # the API refuses others
            self.world.scale("/web", instances)

    @rule()
    def a_user_changes_it(self) -> None:
        count = self.instances() if APPS + "/web" in self.world.store else LEAST
        cmd = f"serve {self.world.now}"
        self.world.put(an_app("/web", count, cmd=cmd, labels=dict(WEB.labels), eratos={"autoscale": POLICY}))

    @rule(pick=st.integers(0, 50))
    def a_user_kills_with_scale(self, pick: int) -> None:
        found = [key.removeprefix(INSTANCES) for key in self.world.store if key.startswith(INSTANCES)]
        known = [name for name in found if name in self.world.machine.state.instances]
        if known:
            command = events.KillInstances((known[pick % len(known)],), scale=True, force=True)
            self.world._command(command)

    @precondition(lambda self: self.world.connected)
    @rule(crash=crashes)
    def offer(self, crash: int | None) -> None:
        self.world.offer(crash)

    @rule(pick=st.integers(0, 50))
    def deliver(self, pick: int) -> None:
        self.world.deliver(pick)

    @rule(pick=st.integers(0, 50), back=st.booleans())
    def end_a_deployment(self, pick: int, back: bool) -> None:
        self.world.end_deployment(pick, back=back)

    @rule(connected=st.booleans())
    def fail_over(self, connected: bool) -> None:
        self.world.start()
        if connected:
            self.world.subscribe()

    @rule(seconds=st.sampled_from([1.0, 30.0, 400.0]))
    def wait(self, seconds: float) -> None:
        self.world.tick(seconds)

    @invariant()
    def bounds_are_never_left(self) -> None:
        count = self.instances()
        assert count == 0 or LEAST <= count <= MOST, f"{count} instances"

    @invariant()
    def silence_never_scales_down(self) -> None:
        assert not self.shrank_in_silence

    def teardown(self) -> None:
        self.world.heal()


TestAutoscaleHistories = Scaled.TestCase
TestAutoscaleHistories.settings = history_settings(steps=30)


@given(
    start=st.integers(LEAST, MOST),
    load=st.floats(0, 600),
    kind=st.sampled_from([(0, 0.0), (0, 0.05), (60, 0.1), (300, 0.3)]),
    seed=st.integers(0, 2**32),
)
@settings(deadline=None)
def test_a_steady_load_with_noise_makes_no_number_flap(start: int, load: float, kind: tuple[int, float], seed: int) -> None:
    """Each look's load differs at random by up to a share that goes with the window; what is counted are half an hour."""
    dice, (window, noise) = random.Random(seed), kind
    policy = Autoscale.model_validate({**POLICY, "target": {"requestsPerSecond": TARGET}, "stabilizationWindowSeconds": window})
    scaler, count, now, came = Scaler(), start, 1000.0, 0.0
    turns: list[int] = []
    for _ in range(900):
        now += 2
        came += 2 * load * dice.uniform(1 - noise, 1 + noise)
        row = ServerFigures("b1", "i1", 0, 0, 0, int(came))
        scaler.meter.add(now, Look([row], {}, ("b1",), "", [["i1"]]))
        advice = scaler.advise(policy, count, now)
        assert LEAST <= advice.instances <= MOST
        if advice.instances != count:
            turns.append(1 if advice.instances > count else -1)
            count = advice.instances
    changes_of_course = sum(one != other for one, other in itertools.pairwise(turns))
    # From where it began it may go too far once: up, as long as little is known.
    assert changes_of_course <= 1, (turns, count)
