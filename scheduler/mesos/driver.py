"""The scheduler's way to Mesos: what the loop calls, and the only thing of this package that others use.

It keeps what the core need not know: raw offers, ExecutorInfos, wire forms. It decides nothing. Events leave through
``emit`` on the IO thread; calls come in from the loop's thread and are never waited for.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

from eratos.common.errors import TemporaryError
from eratos.common.log import fields
from eratos.common.resources import Resources

from ..core import actions, events
from ..core.mesos_types import TaskStatus
from . import translate
from .callbacks import Callbacks
from .executor_info import ExecutorInfos
from .master import MasterDriver
from .offer_book import CannotAccept, OfferBook
from .settings import MesosSettings

log = logging.getLogger(__name__)

#: How long a stop waits for the master to take the last calls.
_LINGER_S = 2.0


class SchedulerDriver:
    """One framework's connection to Mesos. Start it once; after ``stop`` or ``teardown`` make a new one."""

    def __init__(self, settings: MesosSettings, emit: Callable[[events.Event], None]) -> None:
        self._settings = settings
        self._emit = emit
        self._infos = ExecutorInfos(settings.executor, *settings.roles)
        self._offers = OfferBook(self._infos, settings.executor.resources)
        self._master: MasterDriver | None = None

    @property
    def executor_id(self) -> str:
        """The executor's id as in ``Offer.executor_ids``; it changes with the executor's definition."""
        return self._infos.plain_id

    @property
    def executor_resources(self) -> Resources:
        """What the executor itself takes on an agent that has none yet."""
        return self._settings.executor.resources

    @property
    def connected(self) -> bool:
        """Whether calls can be sent now."""
        return self._master is not None and self._master.connected

    def start(self, framework_id: str) -> None:
        """Begin to subscribe; ``framework_id`` is the stored one, empty for the very first time (rules 1 and 2)."""
        if self._master is not None:
            raise RuntimeError("a driver is started once")
        self._master = MasterDriver(self._settings, Callbacks(self._emit, self._offers), framework_id)
        self._master.start()

    def stop(self) -> None:
        """Disconnect and return when the thread has ended. Tasks go on: no TEARDOWN (rule 41)."""
        if self._master is None:
            return
        self._master.drain(min(_LINGER_S, self._settings.call_timeout_s))
        self._master.stop()
        self._master.join()

    def teardown(self) -> None:
        """Kill every task and remove the framework, for good. Raises TemporaryError where the master did not take it."""
        master = self._master
        if master is None or not master.connected:
            raise TemporaryError("not connected to a Mesos master: the framework was not torn down, try again")
        # The stream may end before the answer arrives, and to subscribe once more would fail for good.
        master.hold(True)
        if not master.send({"type": "TEARDOWN"}):
            master.resubscribe("the teardown could not be sent")
            raise TemporaryError("the connection to the Mesos master was lost: the framework was not torn down, try again")
        taken = master.drain(self._settings.call_timeout_s) or not master.connected
        self.stop()
        if not taken:
            raise TemporaryError("the Mesos master did not confirm the teardown; see its list of frameworks")

    def perform(self, call: actions.Call) -> bool:
        """Send a call. False: it was not sent. Launches are to be taken back then, their offers are declined already; the
        others are without a subscription, after which the core says everything anew.
        """
        master = self._master
        if master is None:
            return False
        match call:
            case actions.Accept():
                return self._accept(master, call)
            case actions.Decline():
                return not call.offer_ids or self._decline(master, call)
            case actions.AnswerInverse():
                return master.send(translate.answer_inverse(call))
            case actions.Suppress():
                return master.send(translate.asking("SUPPRESS", call.roles))
            case actions.Revive():
                return master.send(translate.asking("REVIVE", call.roles))
            case actions.Kill():
                return master.send(translate.kill(call))
            case actions.Reconcile():
                # Asked again anyway; thousands of tasks are not to take the room that kills need.
                return master.send(translate.reconcile(call), bulky=True)
            case actions.DestroyVolume():
                known = self._offers.executors(call.agent_id) | ({call.executor_id} - {""})
                sent = [master.send(translate.message(call, executor_id), bulky=True) for executor_id in sorted(known)]
                return all(sent)
            case actions.Resubscribe():
                master.resubscribe(call.reason)
                return True
        raise TypeError(f"not a call: {type(call).__name__}")

    def acknowledge(self, status: TaskStatus) -> bool:
        """Acknowledge an update after it was stored; one without uuid needs none (rule 9). False: not sent."""
        if not status.uuid:
            return True
        return self._master is not None and self._master.send(translate.acknowledge(status))

    def _accept(self, master: MasterDriver, call: actions.Accept) -> bool:
        reason: object = ""
        left = [offer_id for offer_id in call.offer_ids if offer_id in self._offers]
        try:
            operation = self._offers.operation(call, master.framework_id or "")
            if not master.send(translate.accept(call.offer_ids, operation, call.refuse_s), bulky=True):
                reason = "too many calls wait for the master" if master.connected else "not subscribed"
            else:
                self._offers.launched(call.agent_id, operation)
        except CannotAccept as error:
            reason = error
        self._offers.discard(call.offer_ids)
        if not reason:
            return True
        log.warning("launch not sent %s", fields(agent_id=call.agent_id, tasks=len(call.launches), reason=reason))
        # The core has forgotten these offers; unanswered they would keep their agent from everyone (rule 26).
        if left:
            master.send(translate.decline(actions.Decline(tuple(left), refuse_s=0.0)))
        return False

    def _decline(self, master: MasterDriver, call: actions.Decline) -> bool:
        self._offers.discard(call.offer_ids)
        return master.send(translate.decline(call))
