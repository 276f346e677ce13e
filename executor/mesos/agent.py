"""pymesos' executor driver, with the parts replaced that fail in service (docs/adr/0020-pymesos-wrapped.md lists them).

What stays pymesos': the dispatch of events to methods. What is replaced: reading the environment, the IO loop
(:mod:`eratos.mesos.subscription`), the ledger of unacknowledged updates, which pymesos never fills, the handling of LAUNCH
and KILL, and the thread that kills the whole process group after a SHUTDOWN: the executor ends its tasks first, and its loop
decides when.
"""

from __future__ import annotations

import base64
import binascii
import json
import logging
import random
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

from eratos.common.keys import ExecutorKeys
from eratos.common.log import fields
from eratos.common.volume_messages import DestroyVolume
from eratos.mesos.httpwire import Endpoint
from eratos.mesos.library import MesosExecutorDriver, MesosProcess
from eratos.mesos.subscription import Refused, StreamEnded, Subscription

from ..core import events
from ..core.updates import Ledger, StatusUpdate
from . import translate
from .settings import AgentSettings
from .translate import Wire

log = logging.getLogger(__name__)

PATH = "/api/v1/executor"
#: Without checkpointing there is no recovery timeout; the agent waits this long for a first SUBSCRIBE by default.
_REGISTRATION_S = 60.0


class AgentDriver(MesosExecutorDriver):  # type: ignore[misc]
    """One executor's subscription to its agent. It owns the :class:`Subscription` and answers its questions."""

    def __init__(self, settings: AgentSettings, emit: Callable[[events.Event], None]) -> None:
        # Not MesosExecutorDriver's: it reads os.environ, wrongly.
        MesosProcess.__init__(self, master=str(settings.endpoint))
        self.agent_id = settings.agent_id
        self.hostname = ""
        self.keys: ExecutorKeys | None = None  #: None: not known
        self._settings = settings
        self._emit = emit
        self._lock = threading.RLock()  # over the ledger: the IO thread and the loop's thread both use it
        self._settled = threading.Condition(self._lock)
        self._ledger = Ledger()
        self._carried: frozenset[str] = frozenset()
        self._subscribed = False
        self._over = False
        self._searching_since = 0.0
        self._subscription = Subscription(
            self,
            PATH,
            call_timeout_s=settings.call_timeout_s,
            silence_s=settings.silence_s,
            tls=settings.tls,
        )

    # For the adapter

    def start(self) -> None:
        self._searching_since = time.monotonic()
        self._started = True
        self._io_thread = threading.Thread(target=self._run, name="mesos executor IO", daemon=True)
        self._io_thread.start()

    def stop(self) -> None:
        self._started = False
        self._subscription.stop()

    @property
    def connected(self) -> bool:
        return self._subscription.open

    def update(self, update: StatusUpdate) -> None:
        """Put an update on record, and send it where there is a subscription; else the next one carries it."""
        body = self._update_body(update)
        with self._lock:
            self._ledger.add(update)
            if not self._subscription.post(body):
                log.info("update waits for the agent %s", fields(task_id=update.task_id, state=update.state))

    def send_message(self, message: bytes) -> bool:
        """Send a message to the scheduler, once; False: there is no subscription."""
        return self._subscription.post(self._call("MESSAGE", message={"data": base64.b64encode(message).decode("ascii")}))

    def flush(self, timeout_s: float) -> bool:
        """Wait until the agent has acknowledged every update; False: not within the time."""
        with self._settled:
            return self._settled.wait_for(lambda: not len(self._ledger), timeout_s)

    def drain(self, timeout_s: float) -> bool:
        return self._subscription.drain(timeout_s)

    # What pymesos would do and must not

    def _run(self) -> None:
        try:
            self._subscription.run()
        except Exception:
            # The thread's edge.
            log.exception("the Mesos IO thread ended, please report this as a bug")
            self._give_up("the connection to the agent failed by a fault of the executor")

    def _delay_kill(self) -> None:
        """Leave out pymesos' kill of the process group."""

    def _send(self, body: Any, path: str = "", method: str = "", headers: Any = None) -> Any:
        raise NotImplementedError("pymesos' own calls raise when disconnected; use update()")

    # Questions of the Subscription

    def endpoint(self) -> Endpoint | None:
        return None if self._over else self._settings.endpoint

    def headers(self) -> Mapping[str, str]:
        return {"Authorization": f"Bearer {self._settings.token}"} if self._settings.token else {}

    def subscribe_body(self) -> bytes:
        with self._lock:
            updates = self._ledger.updates
            self._carried = frozenset(update.uuid for update in updates)
            tasks = list(self._ledger.tasks)
        log.info("subscribing %s", fields(agent=self._settings.endpoint, updates=len(updates), tasks=len(tasks)))
        wire = [{"status": translate.status(update, self._settings.executor_id)} for update in updates]
        return self._call("SUBSCRIBE", subscribe={"unacknowledged_tasks": tasks, "unacknowledged_updates": wire})

    def record(self, data: bytes) -> None:
        try:
            self.on_event(json.loads(data))
        except Exception:
            # The callback edge: one event that cannot be understood must not end the subscription.
            # Nothing of it is shown: a launch carries the app's environment.
            log.exception("event could not be handled and was dropped %s", fields(bytes=len(data)))

    def redirected(self, location: str) -> None:
        log.error("an agent does not redirect; ignored %s", fields(location=location))

    def refused(self, status: int, message: str) -> bool:
        """End the subscription, so that the next one carries the update, unless the agent cannot read it at all."""
        return status != 400

    def ended(self, reason: StreamEnded) -> float:
        settings = self._settings
        was_subscribed, self._subscribed = self._subscribed, False
        if was_subscribed:
            log.warning("disconnected %s", fields(agent=settings.endpoint, reason=reason))
            self._searching_since = time.monotonic()
            self._deliver(events.Disconnected())
        if not self._started:
            return 0
        if was_subscribed and not settings.checkpoint:
            # Rule 65: without checkpointing the agent will not know this executor again.
            self._give_up("the connection to the agent was lost, and the framework does not checkpoint")
            return 0
        if isinstance(reason, Refused) and reason.status == 400 and "cannot be found" in reason.message:
            self._give_up(f"the agent does not know this executor: {reason.message}")
            return 0
        limit_s = settings.recovery_timeout_s if settings.checkpoint else _REGISTRATION_S
        if time.monotonic() - self._searching_since >= limit_s:
            self._give_up(f"no agent at {settings.endpoint} for {limit_s:g} s: {reason}")
            return 0
        if not was_subscribed:
            log.warning("not subscribed %s", fields(agent=settings.endpoint, reason=reason))
        # A restarted agent waits for exactly the longest pause and then kills (rule 66). A fifth of it leaves time for an
        # attempt that is refused because the agent is not ready yet, and for one that is never answered.
        return settings.backoff_max_s * random.uniform(0.05, 0.2)

    # Events

    def on_subscribed(self, info: Wire) -> None:
        agent = info.get("agent_info", {})
        self.agent_id = agent.get("id", {}).get("value", "") or self.agent_id
        self.hostname = agent.get("hostname", "") or self.hostname
        try:
            self.keys = ExecutorKeys.from_bytes(base64.b64decode(info.get("executor_info", {}).get("data", ""), validate=True))
        except ValueError as error:
            # What it holds is a secret, whatever it is.
            log.error("the keys from the scheduler cannot be read %s", fields(error=type(error).__name__))
        with self._lock:
            self._subscription.open_calls()
            # Made after SUBSCRIBE was written and before calls were let through: neither carried nor sent so far.
            for update in self._ledger.updates:
                if update.uuid not in self._carried:
                    self._subscription.post(self._update_body(update))
        self._subscribed = True
        log.info("subscribed %s", fields(agent_id=self.agent_id, hostname=self.hostname))
        self._deliver(events.Subscribed(self.agent_id, self.hostname))

    def on_launch(self, event: Wire) -> None:
        self._launch(event["task"])

    def on_launch_group(self, event: Wire) -> None:
        tasks = event["task_group"]["tasks"]
        log.debug("task group %s", fields(tasks=len(tasks)))
        for task in tasks:
            self._launch(task)

    def _launch(self, task: Wire) -> None:
        task_id = task["task_id"]["value"]
        with self._lock:
            self._ledger.launched(task_id, task)
        try:
            payload = base64.b64decode(task.get("data", ""), validate=True)
        except (binascii.Error, ValueError):
            log.error("task data is not base64 %s", fields(task_id=task_id))
            payload = b""  # the core refuses it with TASK_ERROR: every launch is answered (rule 60)
        self._deliver(events.LaunchTask(task_id, payload))

    def on_kill(self, event: Wire) -> None:
        grace = event.get("kill_policy", {}).get("grace_period", {}).get("nanoseconds")
        self._deliver(events.KillTask(event["task_id"]["value"], None if grace is None else int(grace) / 1e9))

    def on_acknowledged(self, event: Wire) -> None:
        with self._settled:
            self._ledger.acknowledge(event["task_id"]["value"], event["uuid"])
            self._settled.notify_all()

    def on_message(self, event: Wire) -> None:
        """Take a message of the scheduler in. Mesos guarantees no delivery (rule 51): what matters is said again."""
        message = DestroyVolume.from_bytes(base64.b64decode(event["data"], validate=True))
        if message is None:
            log.debug("a message of an unknown kind is ignored")
        else:
            self._deliver(events.VolumeUnwanted(message.volume_id, message.app_id))

    def on_error(self, event: Wire) -> None:
        log.error("the agent reports an error %s", fields(message=event.get("message", "")))
        self._subscription.end("ERROR of the agent")  # rule 73

    def on_shutdown(self) -> None:
        # The subscription stays: the tasks' last updates must still go out (rule 67).
        self._deliver(events.Shutdown("the agent asked for it"))

    def _give_up(self, reason: str) -> None:
        self._over = True
        log.error("giving up on the agent %s", fields(reason=reason))
        self._deliver(events.Shutdown(reason))

    def _deliver(self, event: events.Event) -> None:
        try:
            self._emit(event)
        except Exception:
            # The callback edge, for events that do not come from record().
            # Its kind only: a launch carries the app's environment.
            log.exception(
                "event could not be delivered %s", fields(kind=type(event).__name__, task_id=getattr(event, "task_id", None))
            )

    def _update_body(self, update: StatusUpdate) -> bytes:
        return self._call("UPDATE", update={"status": translate.status(update, self._settings.executor_id)})

    def _call(self, kind: str, **content: Wire) -> bytes:
        settings = self._settings
        ids = {"executor_id": {"value": settings.executor_id}, "framework_id": {"value": settings.framework_id}}
        return json.dumps({"type": kind, **ids, **content}, separators=(",", ":")).encode()
