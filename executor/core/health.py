"""Health of one task by Marathon's rules, pure: when to probe next, and what the answers mean.

Two questions are kept apart. *Ready* (may get traffic) is true while the last answer of every check was good. *Healthy* is
what is reported to Mesos: failures within a check's grace period do not count until its first success, and ``max_failures``
counted failures in a row end the task (marathon docs/health-checks.md). Readiness checks are asked until their first success and
say nothing about health (docs/readiness-checks.md); but a task is not reported healthy before it was ready, so that no
deployment goes on without it. Without health checks it then stays so. The port check that stands in for missing ones says nothing
about health either, but is asked as long as the task lives: Consul asks the same, and the two must not differ.

Until its first success a check is probed every few milliseconds, so that an instance is in rotation as soon as it can
answer; such failures count only once per interval, or an impatient probe would kill what merely starts slowly.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from eratos.common.backoff import exponential_s, jittered_s
from eratos.common.check_results import CAUSE_CHARACTERS, CheckResult
from eratos.common.payload import CheckKind, HealthCheck, ReadinessCheck

READINESS_FIRST_S = 0.025
READINESS_FACTOR = 1.2
#: Longest pause between two readiness probes of a task without health checks.
PORT_CHECK_INTERVAL_S = 1.0
PORT_CHECK_TIMEOUT_S = 5.0
#: Failures in a row that are reported one by one: a check that never ends its task may fail without end.
TOLD_EACH = 8
#: From one to the next once the port has accepted: Consul's own pace.
PORT_CHECK_PASSING_S = 10.0


def port_check(port: int) -> HealthCheck:
    """Return the check that stands in where an app has none: its first TCP port accepts a connection."""
    return HealthCheck(CheckKind.TCP, port=port, interval_s=PORT_CHECK_INTERVAL_S, timeout_s=PORT_CHECK_TIMEOUT_S, max_failures=0)


@dataclass(slots=True)
class _State:
    check: HealthCheck | ReadinessCheck
    health: bool  #: a health check: asked as long as the task lives, and counted for its health
    next_at: float | None  #: None: a probe is under way, or none is needed any more
    probed_at: float = 0.0
    attempts: int = 0  #: probes before the first success
    passing: bool = False
    passed_once: bool = False
    failures: int = 0  #: counted failures in a row
    counted_at: float = 0.0
    detail: str = ""
    first_success_at: float | None = None
    last_success_at: float | None = None
    last_failure_at: float | None = None  #: of one that counted
    cause: str = ""  #: of that

    def failed(self, detail: str, now: float) -> None:
        """Count a failure."""
        self.failures += 1
        self.last_failure_at, self.cause = now, detail


class Checks:
    """All checks of one running task."""

    def __init__(
        self,
        health: Sequence[HealthCheck],
        readiness: Sequence[HealthCheck | ReadinessCheck],
        now: float,
        told: HealthCheck | None = None,
    ) -> None:
        """Indexes count through all: ``readiness`` checks end with their first success and say nothing about health. The
        answers of ``told`` are for others to read, and nothing here depends on them.
        """
        self._started_at = now
        self._states = [_State(check, health=True, next_at=now + check.delay_s, counted_at=now) for check in health]
        self._states += [_State(check, health=False, next_at=now) for check in readiness]
        self._told = _State(told, health=False, next_at=now + told.delay_s, passing=True) if told is not None else None

    def due(self, now: float) -> list[int]:
        """Return the checks to probe now; each is then under way until :meth:`record` is called."""
        states = self._all()
        indexes = [i for i, state in enumerate(states) if state.next_at is not None and state.next_at <= now]
        for index in indexes:
            states[index].next_at = None
            states[index].probed_at = now
        return indexes

    def _all(self) -> list[_State]:
        return self._states if self._told is None else [*self._states, self._told]

    def only_told(self, index: int) -> bool:
        """Return whether a check's answers are only for others to read."""
        return index == len(self._states)

    def next_at(self) -> float | None:
        """Return when the next probe is due."""
        return min((state.next_at for state in self._all() if state.next_at is not None), default=None)

    def record(self, index: int, passed: bool | None, detail: str, now: float, draw: Callable[[], float]) -> None:
        """Take in an answer; None says nothing. ``draw`` gives random numbers in [0, 1): they spread what started together."""
        state = self._all()[index]
        if passed is None or state is self._told:
            state.next_at = max(now, state.probed_at + state.check.interval_s)
            return
        state.passing = passed
        state.detail = detail
        interval_s = state.check.interval_s
        if passed:
            first = not state.passed_once
            state.passed_once = True
            state.failures = 0
            state.first_success_at = now if first else state.first_success_at
            state.last_success_at = now
            if isinstance(state.check, ReadinessCheck):
                state.next_at = None
            elif not state.health:
                state.next_at = now + jittered_s(PORT_CHECK_PASSING_S, draw())
            elif first:
                state.next_at = now + jittered_s(interval_s, draw())
            else:
                state.next_at = max(now, state.probed_at + interval_s)
            return
        if state.passed_once:
            if state.health:
                state.failed(detail, now)
            state.next_at = max(now, state.probed_at + interval_s)
            return
        grace_s = state.check.grace_s if isinstance(state.check, HealthCheck) else 0.0
        if state.health and now >= max(self._started_at + grace_s, state.counted_at + interval_s):
            state.failed(detail, now)
            state.counted_at = now
        state.next_at = now + exponential_s(
            state.attempts, first_s=READINESS_FIRST_S, factor=READINESS_FACTOR, most_s=max(interval_s, READINESS_FIRST_S)
        )
        state.attempts += 1

    @property
    def ready(self) -> bool:
        """Return whether the last answer of every check was good; a task without checks is ready at once."""
        return all(state.passing for state in self._states)

    @property
    def healthy(self) -> bool | None:
        """Return what Mesos should hear; None: nothing to say yet, or the app checks nothing.

        Mesos has no word for ready, so an app with readiness checks alone is reported healthy once it is ready.
        """
        if not any(state.health or isinstance(state.check, ReadinessCheck) for state in self._states):
            return None
        if any(state.failures for state in self._states):
            return False
        return True if self.ready else None

    def results(self, now: float) -> tuple[CheckResult, ...]:
        """Return how each health check went so far."""

        def ago(at: float | None) -> float | None:
            return None if at is None else round(now - at, 3)

        return tuple(
            CheckResult(
                state.failures,
                ago(state.first_success_at),
                ago(state.last_success_at),
                ago(state.last_failure_at),
                state.cause[:CAUSE_CHARACTERS],
            )
            for state in self._states
            if state.health
        )

    def news(self) -> tuple[tuple[bool, int], ...]:
        """Return what of the health checks is reported whenever it changes: each failure, of very many in a row each doubling."""
        counts = ((state, state.failures) for state in self._states if state.health)
        return tuple((state.passed_once, n if n <= TOLD_EACH else TOLD_EACH + n.bit_length()) for state, n in counts)

    def failing(self) -> str:
        """Return the failing checks and their last answers, for people."""
        return "; ".join(f"{describe(s.check, i)}: {s.detail}" for i, s in enumerate(self._states) if not s.passing)

    def exhausted(self) -> str:
        """Return why the task must be replaced, or an empty text."""
        for index, state in enumerate(self._states):
            if isinstance(state.check, HealthCheck) and 0 < state.check.max_failures <= state.failures:
                return f"{describe(state.check, index)} failed {state.failures} times in a row: {state.detail}"
        return ""


def describe(check: HealthCheck | ReadinessCheck, index: int) -> str:
    """Name a check for people: ``health check 0 (http port 31000 path /health)``."""
    if isinstance(check, ReadinessCheck):
        return f"readiness check {check.name!r} ({check.protocol} port {check.port} path {check.path})"
    if check.protocol == CheckKind.COMMAND:
        return f"health check {index} (command {check.command!r})"
    path = f" path {check.path}" if check.protocol in CheckKind.over_http() else ""
    return f"health check {index} ({check.protocol} port {check.port}{path})"
