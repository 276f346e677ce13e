"""`./dev game`: something breaks, nobody says what, and the learner finds out.

It is one of the faults of ``./dev chaos`` that last, on a part by chance, under a small load. Nothing but the learner's answer,
giving up, ctrl-C or the end of the time ends it; then it is made good, and what would have shown it is told.
"""

from __future__ import annotations

import argparse
import random
import select
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass

from .. import engine, health
from ..alone import alone
from ..load import command as load_command
from ..load import generator, plan
from ..settings import Settings
from ..terminal import Progress, say
from . import command, faults, ground, parts, strike, striking

APP = "/prime"
RATE = 10.0
#: A game lasts so long at most: nothing stays broken behind the back of a learner who went away.
LIMIT = "20m"
WHOLE_S = 180


@dataclass(frozen=True)
class Exercise:
    """A fault, what leads to it step by step, and what shows it."""

    fault: str
    hints: tuple[str, ...]
    shown_by: str


EXERCISES = (
    Exercise(
        "worker-hung",
        (
            "Every part of the cluster is well. Look at the app.",
            "eratos events --recent tells what became of health checks lately.",
            "One of the workers took connections and answered nothing.",
        ),
        "eratos app explain /prime and eratos events --recent: the failed health checks and the instance's replacement; the "
        "dashboard's timeline has the same",
    ),
    Exercise(
        "worker-slow",
        (
            "Every instance is healthy. Is each of them as fast as the others?",
            "The balancers measure each server: the dashboard's page Balancers shows milliseconds.",
            "docker stats shows one worker that gets no more than a fiftieth of a core.",
        ),
        "the dashboard's page Balancers: the time of one server is many times that of the others; ./dev load /prime names the "
        "slowest instances as well",
    ),
    Exercise(
        "executor-hung",
        (
            "Requests are answered. Ask for what the workers write.",
            "eratos logs /prime asks an executor on each host.",
            "One host's executor does not answer, and what it should report does not come.",
        ),
        "eratos logs /prime: the host whose executor does not answer; ./dev logs executorN of that host has ended",
    ),
    Exercise(
        "host-off",
        (
            "Something is gone with everything that was on it.",
            "eratos agents lists the hosts.",
            "./dev status names the parts that do not run: two of them are of one host.",
        ),
        "./dev status: an agent and its Consul agent do not run; eratos agents has one host less after a while, and the workers "
        "run elsewhere",
    ),
    Exercise(
        "consul-agent-off",
        (
            "The workers run, and yet not all of them may be registered from now on.",
            "Consul's UI lists its nodes and says how they are (./dev status has the address).",
            "./dev status names the one part that does not run.",
        ),
        "./dev status: a consul-agent does not run; Consul's UI shows its node as failed",
    ),
    Exercise(
        "consul-leader-off",
        (
            "Traffic flows as before: balancers keep what they have.",
            "There are three Consul servers. Who leads them?",
            "./dev status names a server of Consul; the log of another one tells of an election: ./dev logs consul1",
        ),
        "./dev status: a Consul server does not run; ./dev logs of the other two: an election",
    ),
    Exercise(
        "zookeeper-off",
        (
            "Requests are answered. Now try to change something: eratos app scale /prime 21",
            "Who elects the leading scheduler, and keeps what was deployed?",
            "./dev status names a part that masters and schedulers need to elect a leader.",
        ),
        "eratos app list: there is no leader, or the store is away; ./dev status: zookeeper does not run",
    ),
    Exercise(
        "master-off",
        (
            "Workers and balancers are as they were. Who offers resources?",
            "The dashboard's first page names the Mesos master that leads; it was another one before.",
            "./dev status names one of two masters.",
        ),
        "./dev status: a master does not run; the dashboard and eratos events --recent: another one leads",
    ),
    Exercise(
        "scheduler-frozen",
        (
            "All parts run, so docker ps finds nothing dead.",
            "Ask both schedulers by curl -m 3 ADDRESS/ping; ./dev status has their addresses.",
            "One scheduler takes connections and answers nothing; docker ps says (Paused).",
        ),
        "./dev status: a scheduler does not answer; curl of its /ping hangs, and docker ps calls it paused",
    ),
    Exercise(
        "balancer-off",
        (
            "Half of the clients notice at once.",
            "Ask both balancers by curl; ./dev status has their addresses.",
            "./dev status names two parts: one of them serves clients.",
        ),
        "curl of both addresses: one refuses; ./dev status: a balancer and its Consul agent do not run",
    ),
    Exercise(
        "disk-full",
        (
            "What runs goes on. Something new may not work on one host, or on one balancer.",
            "Try to start more: eratos app scale /prime 30, and eratos app explain /prime",
            "./dev logs of agents and balancers: 'No space left on device'.",
        ),
        "./dev logs of the part: No space left on device; eratos app explain /prime names starts that fail there, and a balancer "
        "says in ./dev status what it could not write",
    ),
    Exercise(
        "network-disconnected",
        (
            "All parts run, and one of them hears nobody.",
            "docker inspect shows the networks of a container.",
            "./dev status names the part that does not answer although it runs.",
        ),
        "./dev status: a part runs and does not answer; docker inspect of its container: it is in no network",
    ),
)

#: Those whose part nobody has to name: there is one alone, it is whoever leads, or its name is a long one.
OF_ONE_PART = frozenset(["worker-hung", "worker-slow", "consul-leader-off", "zookeeper-off", "master-off", "scheduler-frozen"])


def add_options(parser: argparse.ArgumentParser) -> None:
    """Describe the options."""
    parser.add_argument("--seed", type=int, metavar="N", help="which fault, and where (by chance)")
    parser.add_argument("--limit", default=LIMIT, metavar="TIME", help=f"the game ends after this time ({LIMIT})")


def run(settings: Settings, options: argparse.Namespace) -> int:
    """Play one exercise; return 0 if the fault was found."""
    limit_s = plan.seconds("--limit", options.limit)
    seed = random.randrange(1_000_000) if options.seed is None else options.seed
    engine.require()
    with command.ended_in_order(), alone(settings):
        if command.make_good(settings):
            with Progress().step("wait until every part is up") as step:
                health.await_infrastructure(settings, step, WHOLE_S, 2)
        ground.require(settings)
        aim = load_command.at_running_app(settings, APP, "")
        load_command.prepare(settings, strike.SERVICE)
        chance, there = random.Random(seed), parts.look(settings, APP)
        exercise = chance.choice([one for one in EXERCISES if faults.named(one.fault).candidates(there)])
        part = faults.choose(faults.named(exercise.fault), there, "", chance)
        journal = command.journal_of(settings)
        with generator.Load(plan.plan(aim, plan.Shape(rate=RATE)), aim.network, settings.project) as load:
            with striking.broken(settings, journal, APP, exercise.fault, part) as struck:
                began = time.monotonic()
                say(INTRODUCTION)
                found = dialogue(exercise, part, lambda: _line(began + limit_s - time.monotonic()), say)
                took_s = time.monotonic() - began
            summary = load.stop()
        say(f"\nIt was {exercise.fault}: {struck.what}.\nShown by: {exercise.shown_by}.")
        say(f"{'Found' if found else 'Not found'} in {took_s:.0f} s. Again: ./dev game --seed {seed}")
        say(f"Meanwhile {summary['failed']} of {summary['requests']} requests failed.")
        with Progress().step("make it good, and wait until every part is up") as step:
            health.await_infrastructure(settings, step, WHOLE_S, 2)
    return 0 if found else 1


INTRODUCTION = f"""
Something has just broken. In another terminal, look around: ./dev status, ./dev logs, eratos app explain {APP},
eratos events --recent, the dashboard, Consul's UI (./dev status has the addresses). Repair nothing yet.

Answer with what it is, and which part: host-off agent2
  list      the twelve things that it may be
  hint      something that leads on
  give up   end it, and hear what it was"""


def dialogue(exercise: Exercise, part: str, ask: Callable[[], str | None], tell: Callable[[str], None]) -> bool:
    """Ask until the fault is found (True), given up or the time is over; ``ask`` returns a line, None at the end."""
    hints = iter(exercise.hints)
    while (line := ask()) is not None:
        words = line.strip().lower().split()
        if words in (["give", "up"], ["giveup"], ["quit"], ["exit"]):
            return False
        if not words:
            continue
        if words == ["hint"]:
            tell(next(hints, "There is no further hint: answer, or give up."))
        elif words == ["list"]:
            for one in EXERCISES:
                tell(f"  {one.fault:<24}{faults.named(one.fault).text}")
        elif words[0] not in faults.BY_NAME:
            tell(f"{words[0]} is none of them: list names them. To end this: give up")
        elif words[0] != exercise.fault:
            tell(f"No, it is not {words[0]}.")
        elif exercise.fault in OF_ONE_PART or part in words[1:]:
            tell("Yes.")
            return True
        else:
            tell(f"Yes, it is {words[0]}, but of which part? Name that as well: {words[0]} PART")
    return False


def _line(left_s: float) -> str | None:
    """Return what the learner types; None at the end of the input, and when the time is over."""
    sys.stdout.write("\n> ")
    sys.stdout.flush()
    ready, _, _ = select.select([sys.stdin], [], [], max(0.0, left_s))
    if not ready:
        say("\nThe time is over.")
        return None
    return sys.stdin.readline() or None
