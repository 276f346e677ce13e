"""Ways in which eratos could be wrong, for tests that chaos finds out: lines of its code, and others instead."""

from __future__ import annotations

from dataclasses import dataclass

from support.folders import ROOT

SCHEDULERS, AGENTS = ("scheduler1", "scheduler2"), ("agent1", "agent2", "agent3")
#: Where each side's code lies in its containers.
CODE = {
    "scheduler": "/opt/eratos/site-packages/eratos",
    "executor": "/opt/eratos/site-packages/eratos",
}


@dataclass(frozen=True)
class Variant:
    """A way in which eratos could be wrong, and what shows it."""

    name: str
    changes: tuple[tuple[str, str, str], ...]  #: file, what stands there, what stands there instead
    faults: tuple[str, ...]
    caught: str  #: what is told begins so, or has so in it

    def text(self, file: str) -> str:
        """Return a file with what is wrong in it; AssertionError where it has not the lines that are to be others."""
        text = (ROOT / file).read_text()
        for changed, old, new in self.changes:
            if changed == file:
                assert old in text, f"{file} has no {old!r} any more: change this"
                text = text.replace(old, new)
        return text

    @property
    def side(self) -> str:
        return self.changes[0][0].partition("/")[0]

    @property
    def services(self) -> tuple[str, ...]:
        return {"scheduler": SCHEDULERS, "executor": AGENTS}[self.side]


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
        (("executor/core/lifecycle.py", "if drain_s <= 0:", "if True:"),),
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
)
