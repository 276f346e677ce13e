"""What the decisions of this package work on, and what they collect in: what to store, to send, to answer, to acknowledge.

The machine takes events and decides with one :class:`Step`; the modules that hold the decisions by subject change the state
through it and never know the machine.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Literal

from eratos.common.resources import Resources

from .actions import Acknowledge, Action, Answer, Call, Forget, Notice, Put, Resubscribe, Write
from .instances import Instance
from .mesos_types import TaskStatus
from .offering import Offering
from .reconcile import Reconciliation
from .records import INSTANCES, Record
from .state import State
from .timers import Timers

_BROKE = "an app or a host could not be looked after, please report this as a bug"


@dataclass(frozen=True, slots=True)
class Settings:
    """What the core has to know of the process's configuration."""

    executor_id: str
    executor_resources: Resources
    #: Mesos roles that offers come for; the first one is that of apps which state none.
    roles: tuple[str, ...] = ("",)
    #: How long the unused rest of an offer is refused when nothing waits; a REVIVE clears it (rule 27).
    idle_refuse_s: float = 3600.0
    #: How long an offer is refused that did not fit something waiting.
    misfit_refuse_s: float = 5.0
    #: Launches that no executor has answered yet, at most (rule 56).
    launching_most: int = 2000
    #: After this long without an update, Mesos is asked about a launch (rule 7); then each time after twice as long.
    launch_timer_s: float = 30.0
    #: How long an executor may take to answer a launch, before it is given up.
    launch_confirm_timeout_s: float = 300.0
    #: How long a start may go on after the last news of it, such as the pull of an image, before it is given up.
    launch_timeout_s: float = 1800.0
    #: A kill is repeated at this pace until a terminal update arrives (rule 42).
    kill_retry_s: float = 10.0
    #: REVIVE clears all filters in the allocator, and brings an offer of each agent: this many may follow each other, then one
    #: in such a time that it brings ``revived_offers`` a second, or in ``revive_every_s`` where that is less (rule 28).
    revive_burst: int = 10
    revive_every_s: float = 5.0
    revived_offers: float = 200.0
    #: How instances are placed where the app says nothing: spread over zones and hosts, or packed onto few hosts.
    placement: Literal["spread", "pack"] = "spread"
    #: How long before its maintenance a host is closed and emptied.
    maintenance_lead_s: float = 300.0
    #: How long a loss, or a task without a record, is looked at before anything is done about it: others may follow.
    loss_settle_s: float = 1.0
    #: Share of all hosts or tasks whose loss at once engages the disaster brake; 0: never.
    brake_share: float = 0.2
    #: A deployment that comes no further for this long ends, unless its apps say otherwise.
    deployment_deadline_s: float = 1800.0
    #: Instances of all apps together that autoscaling goes up to; 0: any number.
    instances_most: int = 0
    #: Instances that may be moved at the same time to even out an app's spread; 0: none are.
    rebalance_budget: int = 0

    #: What apps that say nothing of it take: ``reserved`` or ``unreserved`` resources; empty: either.
    accepts: str = ""

    def role(self, name: str | None) -> str:
        """Return the role that an app's or an offer's stands for: the default one for none, and for one that is gone."""
        return name if name is not None and name in self.roles else self.roles[0]


@dataclass(slots=True)
class Decision:
    """What to do, in the order in which the loop does it: persist -> perform -> acknowledge.

    ``writes`` go to the store as one durable batch. Only when that succeeded are calls sent to Mesos, then users answered,
    and last status updates acknowledged (Mesos' docs/high-availability-framework-guide.md).
    """

    writes: list[Write] = field(default_factory=list)
    calls: list[Call] = field(default_factory=list)
    answers: list[Answer] = field(default_factory=list)
    acknowledgements: list[Acknowledge] = field(default_factory=list)
    notices: list[Notice] = field(default_factory=list)  #: for the log
    abort: str = ""  #: why the process must end and leave every task running

    def __iter__(self) -> Iterator[Action]:
        """Yield all that is done, in order."""
        yield from self.writes
        yield from self.calls
        yield from self.answers
        yield from self.acknowledgements


class Step:
    """The state with its timers, the time, and the decision in the making. Not thread-safe."""

    def __init__(self, state: State, settings: Settings, new_id: Callable[[], str], now: float) -> None:
        """``new_id`` gives unique strings of ``[0-9a-z-]``."""
        self.state = state
        self.settings = settings
        self.new_id = new_id
        self.now = now  #: seconds since the epoch
        self.timers = Timers()
        self.reconciliation = Reconciliation()
        self.offering = Offering(settings.revive_burst, now)
        self.subscribed_at = now
        self.hosts_seen = 0  #: :attr:`State.hosts_changed` when apps were last compared with it
        self.unrecorded = 0  #: tasks that Mesos reported and no record stands for
        self.dirty: set[str] = set()  #: apps to be compared with what is wanted
        self.out = Decision()
        self._faults: dict[str, str] = {}  #: app, or host that is swept -> what broke over it last

    def store(self, key: str, record: Record) -> None:
        """Have a record stored."""
        self.out.writes.append(Put(key, record))

    def forget(self, key: str) -> None:
        """Have a record deleted."""
        self.out.writes.append(Forget(key))

    def put(self, instance: Instance) -> None:
        """Have an instance's record stored."""
        self.store(INSTANCES + instance.instance_id, instance.record())

    def call(self, call: Call) -> None:
        """Have a call sent. Without a subscription it would vanish; what matters is repeated after the next one."""
        if self.state.connected or isinstance(call, Resubscribe):
            self.out.calls.append(call)

    def acknowledge(self, status: TaskStatus) -> None:
        """Have a status update acknowledged."""
        self.out.acknowledgements.append(Acknowledge(status))

    def answer(self, answer: Answer) -> None:
        """Have a user's command answered."""
        self.out.answers.append(answer)

    def notice(self, notice: Notice) -> None:
        """Have something logged."""
        self.out.notices.append(notice)

    def touch(self, app_id: str) -> None:
        """Have an app compared with what is wanted at the end of this step."""
        self.dirty.add(app_id)

    def broke(self, app_id: str, error: Exception) -> None:
        """Note that something broke over one app; it is logged once and shown by explain, and the others go on.

        ``app_id``: or the name of a host, which has no slash.
        """
        fault = f"{type(error).__name__}: {error}"
        if fault != self._faults.get(app_id):
            self._faults[app_id] = fault
            kind = "app" if app_id.startswith("/") else "host"
            self.notice(Notice("error", _BROKE, {kind: app_id}, error))
        if app_id in self.state.apps:
            self.state.launches_of(app_id).fault = fault

    @contextmanager
    def apart(self, app_id: str) -> Iterator[None]:
        """Keep what breaks in the block, over one app or host, from whatever is looked after next."""
        try:
            yield
        except Exception as error:
            self.broke(app_id, error)

    def mended(self, app_id: str) -> None:
        """Note that an app, or a host, was looked after without a fault."""
        if self._faults.pop(app_id, "") and (launches := self.state.launches.get(app_id)) is not None:
            launches.fault = ""

    def decision(self) -> Decision:
        """Return what was collected, and begin anew."""
        out, self.out = self.out, Decision()
        return out
