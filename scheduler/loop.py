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
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from typing import Protocol, TypeVar

from eratos.common.backoff import exponential_s
from eratos.common.errors import FatalError
from eratos.common.exposition import Family
from eratos.common.log import fields

from .core import actions, events
from .core.machine import Machine
from .core.mesos_types import TaskStatus
from .core.records import BUDGETS, HISTORIES
from .core.refusals import CommandRefused, Unavailable
from .core.state import State
from .core.step import Decision
from .events.event import Event
from .events.ring import Ring
from .events.watch import Watch
from .long_lived import LongLived, uncollected
from .loop_figures import LoopFigures
from .store.base import RecordTooLarge, Store, StoreUnavailable

log = logging.getLogger(__name__)

T = TypeVar("T")

#: Events that may wait; past it the driver's reading thread waits, and so in the end the master.
QUEUE_MOST = 100_000
#: Events handled before their writes go to the store together.
BATCH_MOST = 1000
#: Apps named in a pass's line as waiting; the others are counted.
WAITING_MOST = 5
#: Apps named of an event that could not be handled.
NAMED_MOST = 5
#: Kinds of records of the past. One that has become too large stays as it was stored last: to end for it would help
#: nobody, as the next leader would come to the same.
PAST_KINDS = (BUDGETS, HISTORIES)
#: Longest sleep without a deadline of the core.
IDLE_S = 1.0


_LEVELS = {"info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}


class Driver(Protocol):
    """What the loop needs of :class:`eratos.scheduler.mesos.driver.SchedulerDriver`."""

    def perform(self, call: actions.Call) -> bool: ...

    def acknowledge(self, status: TaskStatus) -> bool: ...


class Aborted(FatalError):
    """The process must end; tasks stay as they are."""


class FrameworkRemoved(Aborted):
    """The master has ended this framework and all its tasks."""


class Loop:
    """Runs the core. ``run`` blocks until ``stop`` is called or the core or the store demands the end."""

    def __init__(self, machine: Machine, store: Store, clock: Callable[[], float], ring: Ring | None = None) -> None:
        """``ring`` takes what happened; default: nothing does."""
        self.machine = machine
        self._ring = ring
        self._watch = Watch()
        self._long_lived = LongLived()
        self._figures = LoopFigures()
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

    def look_around(self) -> None:
        """Have the core learn what agents there are; left out while so much waits that it learns it anyway."""
        try:
            self._queue.put_nowait(events.LookAround())
        except queue.Full:
            pass

    def submit(self, command: events.Command) -> Future[actions.Reply]:
        """Enqueue a command; the future yields its Reply once stored, or raises :class:`CommandRefused`.

        Raises Unavailable while the queue is full: events of Mesos wait there for a store that is away.
        """
        token = next(self._tokens)
        future: Future[actions.Reply] = Future()
        self._waiting[token] = future
        try:
            self._queue.put_nowait(events.CommandReceived(token, command))
        except queue.Full:
            del self._waiting[token]
            raise Unavailable(f"{QUEUE_MOST} events wait already, and nothing was changed: is the store reachable?") from None
        return future

    def read(self, fn: Callable[[State], T]) -> T:
        """Run ``fn`` on the state; it must neither change nor keep it."""
        with self.lock:
            return fn(self.machine.state)

    def families(self) -> tuple[Family, ...]:
        """Return what the loop counts of itself, for Prometheus."""
        with self.lock:
            return self._figures.families(self._queue.qsize())

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
        with self.lock, uncollected():
            decision, happened = self._decide(batch)
        for notice in decision.notices:
            log.log(_LEVELS[notice.level], "%s %s", notice.message, _said(notice), exc_info=notice.error)
        decided = self._clock()
        self._persist(decision.writes)
        stored = self._clock()
        # Leadership may have gone while the store was waited for.
        self._may_act.wait()
        if self._stopping.is_set():
            return
        if decision.abort:
            log.error("aborting, tasks stay as they are %s", fields(reason=decision.abort))
            raise FrameworkRemoved(decision.abort)
        calls: Counter[str] = Counter()
        unsent = [task_id for call in decision.calls for task_id in self._perform(call, calls)]
        if self._ring is not None:
            self._ring.publish(happened)
        for answer in decision.answers:
            self._answer(answer)
        if unsent:
            with self.lock:
                self._take(events.NotLaunched(tuple(unsent)))
        assert self._driver is not None
        for acknowledgement in decision.acknowledgements:
            self._driver.acknowledge(acknowledgement.status)
        with self.lock:
            self._figures.passed(self._clock() - began)
            if decision.writes:
                self._figures.wrote(stored - decided)
        self._long_lived.settle(len(self.machine.state.instances), len(self.machine.state.apps))
        if calls:
            log.info("pass %s", self._summary(batch, decision, calls, decided - began, self._clock() - decided))

    def _take(self, event: events.Event) -> None:
        try:
            self.machine.take(event, self._clock())
        except Exception:
            # The loop's edge: one event that cannot be handled must not end the process and so the service.
            log.exception("event could not be handled and was dropped, please report this as a bug %s", summary(event))
            self._fail(event)

    def _decide(self, batch: Sequence[events.Event]) -> tuple[Decision, list[Event]]:
        """Return what to do, and what is to be published of it once it is stored."""
        state, happened = self.machine.state, list[Event]()
        with _apart():
            self._watch.before(state, batch)
        for event in batch:
            self._take(event)
        try:
            decision = self.machine.decide(self._clock())
        except Exception:
            # The same edge; what was decided before belongs to changes that were made.
            log.exception("what to do could not be decided in full, please report this as a bug")
            decision = self.machine.abandon()
        with _apart():
            happened = self._watch.after(state, batch, decision, self._clock())
        return decision, happened

    def _summary(
        self, batch: Sequence[events.Event], decision: Decision, calls: Counter[str], decide_s: float, perform_s: float
    ) -> str:
        """Return the one line of a decision pass: what came, what was done, what waits and why."""
        with self.lock:
            state = self.machine.state
            waiting = []
            for app_id in itertools.islice(state.in_need, WAITING_MOST):
                reason = state.launches_of(app_id).waiting
                waiting.append(f"{app_id}:{len(state.fleet(app_id).waiting)}:{reason.value if reason else 'New'}")
            apps_waiting, launching = len(state.in_need), state.unanswered
        return fields(
            events=len(batch),
            writes=len(decision.writes),
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
            except RecordTooLarge as error:
                if not error.key.startswith(PAST_KINDS):
                    raise
                log.error("a record is too large and was not stored, please report this as a bug %s", fields(error=error))
                writes = [write for write in writes if write.key != error.key]

    def _perform(self, call: actions.Call, calls: Counter[str]) -> list[str]:
        """Send a call; return the tasks of launches that could not be sent."""
        assert self._driver is not None
        log.log(logging.INFO if isinstance(call, actions.Kill) else logging.DEBUG, "%s", describe(call))
        calls.update(_counted(call))
        if self._driver.perform(call):
            return []
        log.info("not sent, the core repeats it from the wanted state %s", fields(call=type(call).__name__))
        return [launch.task_id for launch in call.launches] if isinstance(call, actions.Accept) else []

    def _answer(self, answer: actions.Answer) -> None:
        future = self._waiting.pop(answer.token, None)
        if future is None or not future.set_running_or_notify_cancel():
            return
        if isinstance(answer, actions.Refuse):
            future.set_exception(CommandRefused(answer.refusal, answer.message, answer.deployments, answer.quota))
        else:
            future.set_result(answer)

    def _fail(self, event: events.Event) -> None:
        if isinstance(event, events.CommandReceived):
            broken = "the command could not be handled; see the scheduler's log"
            self._answer(actions.Refuse(event.token, actions.Refusal.BROKEN, broken))


@contextmanager
def _apart() -> Iterator[None]:
    """Keep what breaks in the block from whatever follows: readers of events must not keep the scheduler from its work."""
    try:
        yield
    except Exception:
        log.exception("what happened could not be told, please report this as a bug")


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


def summary(event: events.Event) -> str:
    """Return an event's kind and what it is about, for the log: never a definition, which may hold secrets."""
    happened = event.command if isinstance(event, events.CommandReceived) else event
    match happened:
        case events.PutApps():
            put = dict.fromkeys((*(app.id for app in happened.apps), *happened.dropped, *happened.groups, *happened.enforced))
            about = [*put, *happened.dropped_groups]
        case events.DeleteApps():
            about = [*happened.app_ids, *happened.groups]
        case events.RestartApp() | events.ResetDelay() | events.PutVersion():
            about = [happened.app_id]
        case events.RollBack() | events.Cancel() | events.Pause() | events.Promote():
            about = [happened.deployment_id]
        case events.PutJob():
            about = [happened.job.id]
        case events.DeleteJob() | events.StartRun() | events.StopRun():
            about = [happened.job_id]
        case events.DeleteVolume() | events.VolumeDestroyed():
            about = [happened.volume_id]
        case events.StatusChanged():
            about = [happened.status.task_id]
        case _:
            about = []
    more = len(about) - NAMED_MOST
    return fields(event=type(happened).__name__, about=",".join(about[:NAMED_MOST]) or None, more=more if more > 0 else None)


def _said(notice: actions.Notice) -> str:
    return fields(**{name: None if value == "" else value for name, value in notice.fields.items()})


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
