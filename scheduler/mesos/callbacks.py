"""pymesos' callbacks: each translates one event and emits it, and does nothing else.

They run on the driver's IO thread. Whatever an event may hold, the thread goes on: the driver logs an exception and
reads the next event.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from eratos.common.log import fields

from ..core import events
from ..core.mesos import Offer
from . import translate
from .library import Scheduler

log = logging.getLogger(__name__)

Wire = Mapping[str, Any]


class Callbacks(Scheduler):  # type: ignore[misc]
    """What pymesos calls. ``take_offers`` records raw offers and returns those the core can use."""

    def __init__(
        self,
        emit: Callable[[events.Event], None],
        take_offers: Callable[[Sequence[Wire]], tuple[Offer, ...]],
        rescind: Callable[[str], None],
    ) -> None:
        self._emit = emit
        self._take_offers = take_offers
        self._rescind = rescind

    def registered(self, driver: Any, framework_id: Wire, master_info: Wire) -> None:
        self._emit(events.Subscribed(framework_id["value"], master_info["address"], master_info["region"]))

    def reregistered(self, driver: Any, master_info: Wire) -> None:
        self._emit(events.Subscribed(driver.framework_id, master_info["address"], master_info["region"]))

    def disconnected(self, driver: Any) -> None:
        self._emit(events.Disconnected())

    def not_subscribed(self, driver: Any, reason: str) -> None:
        """Tell why; no callback of pymesos."""
        self._emit(events.NotSubscribed(reason))

    def resourceOffers(self, driver: Any, offers: Sequence[Wire]) -> None:  # noqa: N802 (pymesos' name, as below)
        usable = self._take_offers(offers)
        if usable:
            self._emit(events.OffersReceived(usable))

    def offerRescinded(self, driver: Any, offer_id: Wire) -> None:  # noqa: N802
        self._rescind(offer_id["value"])
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
        # Messages have no delivery guarantee (rule 51) and none is used.
        log.debug("message ignored %s", fields(agent_id=agent_id["value"], executor_id=executor_id["value"]))

    def error(self, driver: Any, message: str) -> None:
        self._emit(events.MasterError(message))
