"""pymesos' scheduler driver, with the parts replaced that fail in service (docs/adr/0020-pymesos-wrapped.md lists them).

What stays pymesos': the thread's start, the dispatch of events to callbacks, and the detector. What is replaced: the IO
loop and its connection (:mod:`eratos.mesos.subscription`), calls (never silently dropped), the framework (no GPU
capability), the version request to each new master (it blocked the detector's thread), and TEARDOWN at the end of the
thread, which killed every task after a mere stop.
"""

from __future__ import annotations

import base64
import logging
import random
import ssl
import threading
from collections.abc import Mapping
from typing import Any

import msgspec

from eratos.common.addresses import is_loopback
from eratos.common.backoff import exponential_s, jittered_s
from eratos.common.log import fields
from eratos.mesos.httpwire import Endpoint
from eratos.mesos.library import MesosSchedulerDriver
from eratos.mesos.subscription import Refused, StreamEnded, Subscription

from . import translate
from .callbacks import Callbacks
from .detector import MASTER_PORT, masters
from .executor_info import Wire
from .settings import MesosSettings

log = logging.getLogger(__name__)

PATH = "/api/v1/scheduler"


class MasterDriver(MesosSchedulerDriver):  # type: ignore[misc]
    """One framework's subscription to the leading master. It owns the :class:`Subscription` and answers its questions."""

    def __init__(self, settings: MesosSettings, callbacks: Callbacks, framework_id: str) -> None:
        super().__init__(
            callbacks,
            translate.framework_info(settings, framework_id),
            settings.master,
            implicit_acknowledgements=False,  # rule 9: an update is acknowledged once it is stored
            failover=True,  # rule 41: the end of this process ends no task
        )
        self._settings = settings
        self._masters = masters(settings.master, self._leader_changed, settings.tls_master)
        self._endpoint: Endpoint | None = None
        self._held = False
        self._subscribed = False
        self._attempt = 0
        self._withheld = ""  #: why the secret is not sent, as last logged
        self._shown_in_clear: Endpoint | None = None  #: the master of which it was last warned that it is sent so
        self._why = ""  #: there is no subscription, as last reported
        self._subscription = Subscription(
            self,
            PATH,
            call_timeout_s=settings.call_timeout_s,
            silence_s=settings.heartbeat_s * settings.missed_heartbeats,
            tls=settings.tls,
        )

    # For the adapter

    def start(self) -> None:
        self._masters.start()
        # Not super().start(): it would start pymesos' own detector and ask each master for its version.
        self._started = True
        self._io_thread = threading.Thread(target=self._run, name="mesos scheduler IO", daemon=True)
        self._io_thread.start()

    def stop(self, failover: bool = True) -> None:
        """End the thread; the tasks go on. ``failover=False`` is refused: TEARDOWN is for operators alone."""
        if not failover:
            raise ValueError("a stop never tears the framework down; see SchedulerDriver.teardown")
        self._masters.stop()
        self._started = False
        self._subscription.stop()

    def send(self, body: Wire, *, bulky: bool = False) -> bool:
        """Send a call; False: not sent, for there is no subscription, or for a ``bulky`` one no room.

        Where even a short one finds no room the master takes nothing any more: the subscription ends, and everything is
        said anew after the next.
        """
        data = msgspec.json.encode({"framework_id": {"value": self.framework_id}, **body})
        sent = self._subscription.post(data, bulky=bulky)
        if not sent and not bulky and self._subscription.open:
            self._subscription.end("calls pile up: the master does not take them")
        return sent

    def drain(self, timeout_s: float) -> bool:
        """Wait until the master has answered every call."""
        return self._subscription.drain(timeout_s)

    def resubscribe(self, reason: str) -> None:
        """Drop the present subscription, if any, and make a new one, also where none was to be made."""
        self.hold(False)
        self._subscription.end(reason)

    def hold(self, held: bool) -> None:
        """Make no new subscription while held; the present one stays."""
        self._held = held

    @property
    def connected(self) -> bool:
        return self._subscription.open

    @property
    def framework_id(self) -> str | None:
        """The framework's id as stored or assigned; None before the first subscription."""
        identity: Wire = self._framework.get("id", {})
        return identity.get("value")

    # What pymesos would do and must not

    @property
    def framework(self) -> Wire:
        return dict(self._framework)

    def _run(self) -> None:
        try:
            self._subscription.run()
        except Exception:
            # The thread's edge. Nothing may kill tasks or interrupt the main thread, as pymesos would.
            log.exception("the Mesos IO thread ended, please report this as a bug; restart the process")

    def _shutdown(self) -> None:
        """Leave out pymesos' TEARDOWN."""

    def _send(self, body: Any, path: str = "", method: str = "", headers: Any = None) -> Any:
        raise NotImplementedError("pymesos' own calls drop what they cannot send; use send()")

    # Questions of the Subscription

    def endpoint(self) -> Endpoint | None:
        self._endpoint = None if self._held else self._masters.current()
        return self._endpoint

    def headers(self) -> Mapping[str, str]:
        settings = self._settings
        if not settings.principal or not settings.secret or not self._may_have_secret(self._endpoint):
            return {}
        credentials = base64.b64encode(f"{settings.principal}:{settings.secret}".encode()).decode("ascii")
        return {"Authorization": f"Basic {credentials}"}

    def _may_have_secret(self, master: Endpoint | None) -> bool:
        """Return whether a master is shown the principal's secret; where not, say why."""
        if master is None:
            return False
        why, private = "", master.tls or is_loopback(master.host)
        if not (private or self._settings.clear):
            why = "it would be readable on the way: use https, or --master-clear true"
        elif not self._masters.known(master) and master.host not in self._settings.secret_hosts:
            why = "another master named this one: see --master-hosts"
        if why and why != self._withheld:
            log.warning("the principal's secret is not sent %s", fields(master=master, reason=why))
        if not (why or private or self._settings.clear_stated or self._shown_in_clear == master):
            self._shown_in_clear = master
            fix = "use https, or say that it is meant: --master-clear true"
            log.warning("the principal's secret is sent as it is, as before this version %s", fields(master=master, fix=fix))
        self._withheld = why
        return not why

    def subscribe_body(self) -> bytes:
        framework = self.framework
        call: Wire = {"type": "SUBSCRIBE", "subscribe": {"framework_info": framework}}
        if "id" in framework:
            call["framework_id"] = framework["id"]
        if self._settings.suppressed:
            call["subscribe"]["suppressed_roles"] = list(self._settings.roles)
        log.info("subscribing %s", fields(master=self._endpoint, framework_id=self.framework_id or "(new)"))
        return msgspec.json.encode(call)

    def record(self, data: bytes) -> None:
        try:
            self.on_event(msgspec.json.decode(data))
        except Exception:
            # The callback edge: one event that cannot be understood must not end the subscription.
            log.exception("event could not be handled and was dropped %s", fields(bytes=len(data)))

    def redirected(self, location: str) -> None:
        try:
            leader = Endpoint.parse(location, MASTER_PORT)
        except ValueError:
            log.error("redirected to no address %s", fields(location=location))
            return
        # Mesos answers with //host:port, so the scheme is that of the one who redirects.
        tls = leader.tls or (self._endpoint is not None and self._endpoint.tls)
        self._masters.redirected(Endpoint(leader.host, leader.port, tls))

    def refused(self, status: int, message: str) -> bool:
        """End the subscription unless the call alone was at fault: 400, unless it is the stream id or the framework."""
        stale = "stream id" in message.lower() or "framework cannot be found" in message.lower()
        return status != 400 or stale

    def ended(self, reason: StreamEnded) -> float:
        was_connected, self._subscribed = self._subscribed, False
        if was_connected:
            log.warning("disconnected %s", fields(master=self._endpoint, reason=reason))
            self._call_back(self.sched.disconnected, self)
        if not self._started:
            return 0
        if not was_connected:
            log.warning("not subscribed %s", fields(master=self._endpoint, reason=reason))
            if isinstance(reason, Refused) and reason.redirected:
                return 0
            self._masters.failed()
        self._say_why(reason)
        settings = self._settings
        delay_s = exponential_s(self._attempt, first_s=settings.backoff_first_s, factor=2, most_s=settings.backoff_most_s)
        self._attempt += 1
        return jittered_s(delay_s, random.random())

    def _say_why(self, reason: StreamEnded) -> None:
        why = f"{self._endpoint}: {reason}"
        if isinstance(reason, Refused) and reason.status in (401, 403):
            why += f"; the secret was not sent: {self._withheld}" if self._withheld else "; check --principal and --secret-file"
        elif isinstance(reason.__cause__, ssl.SSLCertVerificationError):
            why += "; --master-ca-file names the authorities of masters' certificates"
        elif (
            isinstance(reason.__cause__, ssl.SSLError | ConnectionResetError)
            and self._endpoint is not None
            and self._endpoint.tls
        ):
            why += (
                "; a Mesos that was built without TLS ends such connections: give --master without https://, or "
                "--master-scheme http; the principal's secret then goes there with --master-clear true alone"
            )
        if why != self._why:
            self._why = why
            self._call_back(self.sched.not_subscribed, self, why)

    # Events

    def on_subscribed(self, info: Wire) -> None:
        first = self.framework_id is None
        self._framework["id"] = {"value": info["framework_id"]["value"]}
        interval_s = info.get("heartbeat_interval_seconds") or self._settings.heartbeat_s
        self._subscription.silence_s = interval_s * self._settings.missed_heartbeats
        self._attempt = 0
        self._why = ""
        self._subscription.open_calls()
        self._subscribed = True
        log.info("subscribed %s", fields(master=self._endpoint, framework_id=self.framework_id))
        master = {"address": str(self._endpoint), "region": translate.region(info.get("master_info", {}))}
        if first:
            self.sched.registered(self, {"value": self.framework_id}, master)
        else:
            self.sched.reregistered(self, master)

    def on_inverse_offers(self, event: Wire) -> None:
        # pymesos hands every OFFERS event over as well, which has none.
        if "inverse_offers" in event:
            self.sched.inverseOffers(self, event["inverse_offers"])

    def on_rescind_inverse_offer(self, event: Wire) -> None:
        self.sched.inverseOfferRescinded(self, event["inverse_offer_id"])

    def on_failure(self, failure: Wire) -> None:
        agent_id = failure.get("agent_id", {"value": ""})
        if "executor_id" in failure:
            self.sched.executorLost(self, failure["executor_id"], agent_id, failure.get("status", 0))
        else:
            self.sched.slaveLost(self, agent_id)

    def on_error(self, event: Wire) -> None:
        message = event.get("message", "")
        log.error("the master ended the subscription %s", fields(message=message))
        self.hold(True)
        self._subscription.end(f"ERROR of the master: {message}")
        self.sched.error(self, message)

    def _call_back(self, callback: Any, *arguments: Any) -> None:
        try:
            callback(*arguments)
        except Exception:
            # The callback edge, as in record().
            log.exception("callback failed %s", fields(callback=callback))

    def _leader_changed(self) -> None:
        self._attempt = 0
        self._subscription.end("another master was elected")
