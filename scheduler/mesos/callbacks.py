"""pymesos' callbacks: each translates one event and emits it. Offers are recorded before.

They run on the driver's IO thread. Whatever an event may hold, the thread goes on: the driver logs an exception and
reads the next event.
"""

from __future__ import annotations

import base64
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from eratos.common.log import fields
from eratos.common.volume_messages import VolumeDestroyed
from eratos.mesos.library import Scheduler

from ..core import actions, events
from . import translate
from .offer_book import OfferBook

log = logging.getLogger(__name__)

Wire = Mapping[str, Any]


class Callbacks(Scheduler):  # type: ignore[misc]
    """What pymesos calls. Offers are recorded in the book as they came; the core hears of those it can use."""

    def __init__(self, emit: Callable[[events.Event], None], book: OfferBook) -> None:
        self._emit = emit
        self._book = book

    def registered(self, driver: Any, framework_id: Wire, master_info: Wire) -> None:
        self._book.clear()
        self._emit(events.Subscribed(framework_id["value"], master_info["address"], master_info["region"]))

    def reregistered(self, driver: Any, master_info: Wire) -> None:
        self._book.clear()
        self._emit(events.Subscribed(driver.framework_id, master_info["address"], master_info["region"]))

    def disconnected(self, driver: Any) -> None:
        self._book.clear()
        self._emit(events.Disconnected())

    def not_subscribed(self, driver: Any, reason: str) -> None:
        """Report why; no callback of pymesos."""
        self._emit(events.NotSubscribed(reason))

    def resourceOffers(self, driver: Any, offers: Sequence[Wire]) -> None:  # noqa: N802 (pymesos' name, as below)
        usable, unreadable = [], []
        for raw in offers:
            try:
                usable.append(self._book.add(raw))
            except (KeyError, TypeError, ValueError, AttributeError) as error:
                log.error("offer cannot be read and is declined %s", fields(error=repr(error), offer=raw))
                if isinstance(raw, dict) and isinstance(raw.get("id"), dict):
                    unreadable.append(raw["id"]["value"])
        if unreadable:
            # Held, they would keep their agents from everyone (rule 26).
            driver.send(translate.decline(actions.Decline(tuple(unreadable), refuse_s=3600)))
        if usable:
            self._emit(events.OffersReceived(tuple(usable)))

    def offerRescinded(self, driver: Any, offer_id: Wire) -> None:  # noqa: N802
        self._book.discard([offer_id["value"]])
        self._emit(events.OfferRescinded(offer_id["value"]))

    def inverseOffers(self, driver: Any, offers: Sequence[Wire]) -> None:  # noqa: N802
        self._emit(events.InverseOffersReceived(tuple(map(translate.inverse_offer, offers))))

    def inverseOfferRescinded(self, driver: Any, offer_id: Wire) -> None:  # noqa: N802
        self._emit(events.InverseOfferRescinded(offer_id["value"]))

    def statusUpdate(self, driver: Any, status: Wire) -> None:  # noqa: N802
        self._emit(events.StatusChanged(translate.status(status)))

    def slaveLost(self, driver: Any, agent_id: Wire) -> None:  # noqa: N802
        self._emit(events.AgentLost(agent_id["value"]))

    def executorLost(self, driver: Any, executor_id: Wire, agent_id: Wire, status: int) -> None:  # noqa: N802
        self._emit(events.ExecutorLost(agent_id["value"], executor_id["value"], status))

    def frameworkMessage(self, driver: Any, executor_id: Wire, agent_id: Wire, message: str) -> None:  # noqa: N802
        # Messages have no delivery guarantee (rule 51): the core asks until it is answered.
        found = VolumeDestroyed.from_bytes(base64.b64decode(message, validate=True))
        if found is None:
            log.debug("message ignored %s", fields(agent_id=agent_id["value"], executor_id=executor_id["value"]))
        else:
            self._emit(events.VolumeDestroyed(found.volume_id, found.error))

    def error(self, driver: Any, message: str) -> None:
        self._emit(events.MasterError(message))
