"""The executor's loop: one queue of events, one machine, actions performed in order.

The driver and the runtimes put events into the queue from their own threads; this thread alone touches the machine. Nothing
performed here waits: what takes time happens on the runtimes' threads and comes back as an event.
"""

from __future__ import annotations

import logging
import queue
import time
from collections.abc import Callable
from typing import Any, Protocol, assert_never

from eratos.common.log import fields
from eratos.common.volume_messages import VolumeDestroyed

from .core import actions as do
from .core import events as on
from .core.lifecycle import Machine
from .core.updates import StatusUpdate
from .figures import Figures

log = logging.getLogger(__name__)

#: More events than this wait nowhere: their producer is slowed down instead.
QUEUE_MAX = 10_000
#: Longest sleep without a deadline: bounds the harm of a forgotten one.
IDLE_S = 1.0


class Performer(Protocol):
    """Performs actions of its kinds on its own threads; neither waits nor raises."""

    def perform(self, action: Any) -> None: ...


class Loop:
    """Events in, actions out, until Exit."""

    def __init__(
        self,
        machine: Machine,
        send: Callable[[StatusUpdate], object],
        figures: Figures,
        *,
        clock: Callable[[], float] = time.monotonic,
        send_message: Callable[[bytes], object] = lambda message: None,
    ) -> None:
        """``send`` hands an update to the driver, ``send_message`` a message to the scheduler; ``figures`` count everything that
        happens.
        """
        self._send_message = send_message
        self._machine = machine
        self._send = send
        self._figures = figures
        self._clock = clock
        self._queue: queue.Queue[on.Event] = queue.Queue(QUEUE_MAX)
        self._exit_reason: str | None = None
        self._containers: Performer
        self._probes: Performer
        self._services: Performer
        self._balancers: Performer
        self._requirements: Performer
        self._teller: Performer
        self._copies: Performer

    def connect(
        self,
        containers: Performer,
        probes: Performer,
        services: Performer,
        balancers: Performer,
        requirements: Performer,
        teller: Performer,
        copies: Performer | None = None,
    ) -> None:
        """Say who performs actions; before :meth:`run`. Apart from the constructor because they need :meth:`emit`."""
        self._containers = containers
        self._probes = probes
        self._services = services
        self._balancers = balancers
        self._requirements = requirements
        self._teller = teller
        if copies is not None:  # without Docker the machine asks for none
            self._copies = copies

    def emit(self, event: on.Event) -> None:
        """Hand in an event, from any thread but the loop's own."""
        self._queue.put(event)

    def run(self) -> str:
        """Work until the machine says Exit; return its reason."""
        while self._exit_reason is None:
            deadline = self._machine.next_deadline()
            wait_s = IDLE_S if deadline is None else min(IDLE_S, deadline - self._clock())
            try:
                event = self._queue.get(timeout=wait_s) if wait_s > 0 else self._queue.get_nowait()
            except queue.Empty:
                event = on.Tick()
            self._handle(event)
            # A busy queue must not starve deadlines.
            if deadline is not None and deadline <= self._clock():
                self._handle(on.Tick())
        return self._exit_reason

    def _handle(self, event: on.Event) -> None:
        log.debug("event %s", _shown(event))
        try:
            now = self._clock()
            actions = self._machine.handle(event, now)
            self._figures.take(event, actions, now)
            for action in actions:
                self._perform(action)
        except Exception:  # loop edge: one broken event must not take every other task down with it
            log.exception("the event was not handled in full, please report this as a bug %s", fields(event=type(event).__name__))

    def _perform(self, action: do.Action) -> None:
        log.debug("action %s", _shown(action))
        match action:
            case do.SendUpdate(update):
                shown = fields(task_id=update.task_id, state=update.state, healthy=update.healthy, message=update.message or None)
                log.info("task %s", shown)
                self._send(update)
            case (
                do.StartContainer()
                | do.StartProcess()
                | do.CancelStart()
                | do.StopContainer()
                | do.KillContainer()
                | do.ExamineContainer()
                | do.RemoveContainer()
                | do.DestroyVolume()
            ):
                self._containers.perform(action)
            case do.ReportVolume(volume_id, error):
                log.info("volume %s", fields(volume=volume_id, still_there=error or None))
                self._send_message(VolumeDestroyed(volume_id, error).to_bytes())
            case do.CopyVolumes() | do.CancelCopy():
                self._copies.perform(action)
            case do.Probe():
                self._probes.perform(action)
            case do.Follow() | do.Unfollow() | do.Using():
                self._requirements.perform(action)
            case do.TellTask():
                self._teller.perform(action)
            case do.Register() | do.Deregister() | do.KeepServices():
                self._services.perform(action)
            case do.TellBalancers() | do.AskBalancers() | do.AbandonDrain():
                self._balancers.perform(action)
            case do.Exit(reason):
                self._exit_reason = reason
            case _:
                assert_never(action)


def _shown(thing: on.Event | do.Action) -> str:
    """Name an event or action by kind and task: whole ones carry the app's environment, and with it its secrets."""
    return fields(kind=type(thing).__name__, task_id=getattr(thing, "task_id", None))
