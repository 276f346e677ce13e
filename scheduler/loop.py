"""The loop: takes events, has the core decide, and performs the decisions in the order persist -> perform -> acknowledge.

One thread runs it. Mesos' callbacks and the API only put events into its bounded queue. The state is changed under
``lock``, which is never held while the store or Mesos is spoken to, so reads by the API do not wait for either.
"""

from __future__ import annotations

import itertools
import logging
import queue
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Protocol, TypeVar

from eratos.common.backoff import exponential_s
from eratos.common.errors import FatalError
from eratos.common.log import fields

from .api.controller import CommandRefused
from .core import actions, events
from .core.machine import Machine
from .core.mesos import TaskStatus
from .core.state import State
from .store.base import Store, StoreUnavailable

log = logging.getLogger(__name__)

T = TypeVar("T")

#: Events that may wait; past it the driver's reading thread waits, and so in the end the master.
QUEUE_MOST = 100_000
#: Events handled before their writes go to the store together.
BATCH_MOST = 1000
#: Apps named in a pass's line as waiting; the others are counted.
WAITING_MOST = 5
#: Longest sleep without a deadline of the core.
IDLE_S = 1.0


class Driver(Protocol):
    """What the loop needs of :class:`eratos.scheduler.mesos.driver.SchedulerDriver`."""

    def perform(self, call: actions.Call) -> bool: ...

    def acknowledge(self, status: TaskStatus) -> bool: ...


class Aborted(FatalError):
    """The process must end; tasks stay as they are."""


class Loop:
    """Runs the core. ``run`` blocks until ``stop`` is called or the core or the store demands the end."""

    def __init__(self, machine: Machine, store: Store, clock: Callable[[], float]) -> None:
        self.machine = machine
        self.lock = threading.Lock()
        self._store = store
        self._clock = clock
        self._driver: Driver | None = None
        self._queue: queue.Queue[events.Event] = queue.Queue(QUEUE_MOST)
        self._tokens = itertools.count(1)
        self._waiting: dict[int, Future[actions.Reply]] = {}
        self._stopping = threading.Event()
        self._may_act = threading.Event()
        self._may_act.set()

    # Called from other threads

    def emit(self, event: events.Event) -> None:
        """Enqueue an event; waits while the queue is full."""
        self._queue.put(event)

    def submit(self, make: Callable[[int], events.Command]) -> Future[actions.Reply]:
        """Enqueue a command; the future yields its Reply once stored, or raises :class:`CommandRefused`."""
        token = next(self._tokens)
        future: Future[actions.Reply] = Future()
        self._waiting[token] = future
        self.emit(make(token))
        return future

    def read(self, fn: Callable[[State], T]) -> T:
        """Run ``fn`` on the state; it must neither change nor keep it."""
        with self.lock:
            return fn(self.machine.state)

    def hold(self) -> None:
        """Do nothing from the next step on, until released: whether this process still leads is in doubt (rule 40)."""
        self._may_act.clear()

    def release(self) -> None:
        """Go on after a :meth:`hold`."""
        self._may_act.set()

    def stop(self) -> None:
        """Have ``run`` return soon. Nothing is sent to Mesos: tasks go on (rule 41)."""
        self._stopping.set()
        self._may_act.set()
        self._wake()

    def _wake(self) -> None:
        try:
            self._queue.put_nowait(events.Tick())
        except queue.Full:
            pass  # then there is something to wake up for already

    # The loop's own thread

    def run(self, driver: Driver) -> None:
        """Handle events until stopped. Raises Aborted, StoreFenced."""
        self._driver = driver
        while not self._stopping.is_set():
            batch = self._gather()
            self._may_act.wait()
            if not self._stopping.is_set():
                self.step(batch)

    def _gather(self) -> list[events.Event]:
        deadline = self.machine.next_deadline()
        wait_s = IDLE_S if deadline is None else min(IDLE_S, max(0.0, deadline - self._clock()))
        try:
            gathered = [self._queue.get(timeout=wait_s) if wait_s else self._queue.get_nowait()]
        except queue.Empty:
            return [events.Tick()]
        while len(gathered) < BATCH_MOST:
            try:
                gathered.append(self._queue.get_nowait())
            except queue.Empty:
                break
        return gathered

    def step(self, batch: Sequence[events.Event]) -> None:
        """Have the core take a batch of events, and perform what it decides."""
        began = self._clock()
        with self.lock:
            braked = self.machine.state.brake.reason
            out = self._decide(batch)
            reason = self.machine.state.brake.reason
        if reason != braked:
            log.error("disaster brake %s", fields(engaged=bool(reason), reason=reason or None))
        decided = self._clock()
        self._persist([action for action in out if isinstance(action, actions.Write)])
        # Leadership may have gone while the store was waited for.
        self._may_act.wait()
        if self._stopping.is_set():
            return
        calls: Counter[str] = Counter()
        for action in out:
            self._perform(action, calls)
        for action in out:
            if isinstance(action, actions.Acknowledge):
                assert self._driver is not None
                self._driver.acknowledge(action.status)
        if calls:
            log.info("pass %s", self._summary(batch, out, calls, decided - began, self._clock() - decided))

    def _decide(self, batch: Sequence[events.Event]) -> list[actions.Action]:
        for event in batch:
            if isinstance(event, events.StatusChanged) and event.status.state.terminal:
                log.info("task ended %s", _ending(event.status))
            try:
                self.machine.take(event, self._clock())
            except Exception:
                # The loop's edge: one event that cannot be handled must not end the process and so the service.
                # Its name alone: an app's definition may hold secrets.
                log.exception("event could not be handled, please report this as a bug %s", fields(event=type(event).__name__))
                self._fail(event)
        try:
            return self.machine.decide(self._clock())
        except Exception:
            # The same edge; what was decided before belongs to changes that were made.
            log.exception("what to do could not be decided in full, please report this as a bug")
            return self.machine.abandon()

    def _summary(
        self, batch: Sequence[events.Event], out: Sequence[actions.Action], calls: Counter[str], decide_s: float, perform_s: float
    ) -> str:
        """Return the one line of a decision pass: what came, what was done, what waits and why."""
        with self.lock:
            state = self.machine.state
            waiting = []
            for app_id in itertools.islice(state.in_need, WAITING_MOST):
                reason = state.launches_of(app_id).waiting
                waiting.append(f"{app_id}:{len(state.fleet(app_id).waiting)}:{reason.value if reason else 'New'}")
            apps_waiting, launching = len(state.in_need), state.launching
        return fields(
            events=len(batch),
            writes=sum(isinstance(action, actions.Write) for action in out),
            **calls,
            launching=launching or None,
            apps_waiting=apps_waiting or None,
            waiting=",".join(waiting) or None,
            decide_ms=f"{decide_s * 1000:.1f}",
            perform_ms=f"{perform_s * 1000:.1f}",
        )

    def _persist(self, writes: list[actions.Write]) -> None:
        """Store the writes, however long the store is away: until then nothing is launched, killed or acknowledged."""
        for attempt in itertools.count():
            try:
                if writes:
                    self._store.write(writes)
                return
            except StoreUnavailable as error:
                delay_s = exponential_s(attempt, first_s=0.1, factor=2, most_s=5)
                log.error("store is unavailable, everything waits for it %s", fields(error=error, retry_s=delay_s))
                if self._stopping.wait(delay_s):
                    raise Aborted("stopped while the store was unavailable; nothing was sent") from error

    def _perform(self, action: actions.Action, calls: Counter[str]) -> None:
        assert self._driver is not None
        match action:
            case actions.Put() | actions.Forget() | actions.Acknowledge():
                pass
            case actions.Reply():
                self._answer(action.token, action)
            case actions.Refuse():
                self._answer(action.token, CommandRefused(action.status, action.message))
            case actions.Abort():
                log.error("aborting, tasks stay as they are %s", fields(reason=action.reason))
                raise Aborted(action.reason)
            case _:
                log.log(logging.INFO if isinstance(action, actions.Kill) else logging.DEBUG, "%s", describe(action))
                calls.update(_counted(action))
                if not self._driver.perform(action):
                    log.info("not sent, the core repeats it from the wanted state %s", fields(call=type(action).__name__))

    def _answer(self, token: int, answer: actions.Reply | Exception) -> None:
        future = self._waiting.pop(token, None)
        if future is None or not future.set_running_or_notify_cancel():
            return
        if isinstance(answer, Exception):
            future.set_exception(answer)
        else:
            future.set_result(answer)

    def _fail(self, event: events.Event) -> None:
        token = getattr(event, "token", None)
        if token is not None:
            self._answer(token, CommandRefused(500, "the command could not be handled; see the scheduler's log"))


def _counted(call: actions.Call) -> dict[str, int]:
    """Return what a call adds to the counts of its pass."""
    match call:
        case actions.Accept():
            return {"launches": len(call.launches)}
        case actions.Decline():
            return {"declined": len(call.offer_ids)}
        case actions.Reconcile():
            return {"reconciled": len(call.tasks)}
        case actions.AnswerInverse():
            return {"inverse_offers_answered": len(call.offer_ids)}
        case actions.Suppress():
            return {"suppresses": 1}
    return {type(call).__name__.lower() + "s": 1}


def _ending(status: TaskStatus) -> str:
    message = status.message.partition("\n")[0] or None
    return fields(task_id=status.task_id, state=status.state.value, reason=status.reason or None, message=message)


def describe(call: actions.Call) -> str:
    """Return a call in full, for the log at DEBUG."""
    match call:
        case actions.Accept():
            tasks = ",".join(launch.task_id for launch in call.launches)
            return "launch " + fields(agent_id=call.agent_id, task_ids=tasks)
        case actions.Kill():
            return "kill " + fields(task_id=call.task_id, agent_id=call.agent_id)
        case actions.Reconcile():
            return "reconcile " + fields(tasks=len(call.tasks) or "all")
        case actions.Resubscribe():
            return "resubscribe " + fields(reason=call.reason)
    return f"{type(call).__name__.lower()} {call}"
