"""Ways in which eratos could be wrong, for tests that chaos finds out: lines of its code, and others instead."""

from __future__ import annotations

from dataclasses import dataclass

from support.folders import ROOT


@dataclass(frozen=True)
class Side:
    """What runs the code of one of the project's folders."""

    services: tuple[str, ...]
    code: str  #: where it lies in their containers
    process: str = ""  #: what begins the command line of the process that is started anew by itself; "": the container's own


SIDES = {
    "scheduler": Side(("scheduler1", "scheduler2"), "/opt/eratos/site-packages/eratos"),
    "executor": Side(
        ("agent1", "agent2", "agent3"), "/opt/eratos/site-packages/eratos", "/opt/eratos/bin/python*eratos-executor"
    ),
    "haproxy": Side(("balancer1", "balancer2"), "/opt/eratos/lib/eratos", "python3 -P -c import"),
}


@dataclass(frozen=True)
class Variant:
    """A way in which eratos could be wrong, and what shows it."""

    name: str
    changes: tuple[tuple[str, str, str], ...]  #: file, what stands there, what stands there instead
    faults: tuple[str, ...]
    caught: str  #: what is told begins so, or has so in it
    within_s: float = 60.0  #: what is sound is well again by then, and what is not need not be waited for

    def text(self, file: str) -> str:
        """Return a file with what is wrong in it; AssertionError where it has not the lines that are to be others."""
        text = (ROOT / file).read_text()
        for changed, old, new in self.changes:
            if changed == file:
                assert old in text, f"{file} has no {old!r} any more: change this"
                text = text.replace(old, new)
        return text

    @property
    def files(self) -> list[str]:
        return sorted({file for file, _, _ in self.changes})

    @property
    def side(self) -> Side:
        return SIDES[self.changes[0][0].partition("/")[0]]


VARIANTS = (
    Variant(
        "no intent is stored",
        (
            (
                "scheduler/loop.py",
                "self._store.write(writes)",
                'self._store.write([one for one in writes if not one.key.startswith("instances/")])',
            ),
        ),
        ("scheduler-off",),
        "(c)",
    ),
    Variant(
        "instances stop without a drain",
        (
            ("executor/core/lifecycle.py", "if drain_s <= 0:", "if True:"),
            # Balancers that hear of it at once let go within milliseconds, which no load meets.
            ("executor/core/lifecycle.py", "return [told, do.Deregister(task.task_id)]", "return [do.Deregister(task.task_id)]"),
        ),
        ("app-replaced",),
        "(e) app-replaced",
    ),
    Variant(
        "a kill is not repeated",
        (
            (
                "scheduler/core/status_updates.py",
                "    step.timers.set(Timer(TimerKind.KILL, instance.instance_id)",
                "    (Timer(TimerKind.KILL, instance.instance_id)",
            ),
            ("scheduler/core/subscription.py", "        if instance.stopping:", "        if False:"),
        ),
        ("master-off", "master-off"),
        "(a) /chaos-notes",
    ),
    Variant(
        "a balancer has no render guard",
        (("haproxy/core/guard.py", "if looked_at := lost if emptied or shrunken else known:", "if looked_at := set():"),),
        ("catalogue-emptied",),
        "(e) catalogue-emptied",
        within_s=180,
    ),
    Variant(
        "a leader goes on without its session",
        (
            (
                "scheduler/process.py",
                "        elif state is Leadership.SUSPENDED:\n            loop.hold()\n        else:\n            loop.stop()\n",
                "",
            ),
            ("scheduler/mesos/master.py", "self.hold(True)\n        self._subscription.end(", "self._subscription.end("),
            ("scheduler/mesos/master.py", "        self.sched.error(self, message)\n", ""),
            ("scheduler/store/zookeeper.py", 'transaction.check(self._path("term"), self._term)', "pass"),
            ("scheduler/store/zookeeper.py", "error is results[0]:", "False:"),
        ),
        # Two that lead take the framework from each other. What that breaks first is chance, once there is something to do.
        ("zookeeper-session-expired", "app-replaced"),
        "(",
    ),
)
