"""Asks balancers what they have counted, for as long as an app stands at a gate that is judged by it."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Final

from .api import companions
from .api.controller import Balancer
from .core.events import FiguresSeen
from .core.gates import ServerFigures
from .core.state import State

log = logging.getLogger(__name__)

PERIOD_S: Final = 2.0
NOBODY: Final = "no balancer is registered in Consul"


class GateWatch:
    """One thread that looks until stopped. ``wanted`` returns whether anything depends on it now."""

    def __init__(
        self,
        wanted: Callable[[], bool],
        balancers: Callable[[], Sequence[Balancer]],
        headers: Callable[[str], Mapping[str, str]],
        emit: Callable[[FiguresSeen], None],
    ) -> None:
        """``headers``: what a companion wants to be shown for a path."""
        self._wanted, self._balancers, self._headers, self._emit = wanted, balancers, headers, emit
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="gates", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stopping.set()
        self._thread.join(companions.ANSWER_S + PERIOD_S)

    def _run(self) -> None:
        while not self._stopping.wait(PERIOD_S):
            try:
                if self._wanted():
                    self._emit(self.look())
            except Exception:  # edge: a gate that waits tells why, a thread that is gone does not
                log.exception("the balancers could not be asked for figures, please report this as a bug")

    def look(self) -> FiguresSeen:
        """Ask every balancer."""
        balancers = self._balancers()
        answers = asyncio.run(companions.ask_all(balancers, self._headers))
        return seen({balancer.name: answer for balancer, answer in zip(balancers, answers, strict=True)})


def judged_by_figures(state: State) -> bool:
    """Return whether an app stands at a gate that is judged by balancers' figures."""
    return any(found.counted for found in state.deployments.values())


def seen(answers: Mapping[str, companions.Document | str]) -> FiguresSeen:
    """Return what balancers, by name, have counted, and which of them have not said it."""
    figures: list[ServerFigures] = []
    missing = [] if answers else [NOBODY]
    for balancer, answer in answers.items():
        if isinstance(answer, str):
            missing.append(f"{balancer} says nothing: {answer}")
            continue
        try:
            figures += _figures(balancer, answer)
        except (KeyError, TypeError, ValueError, AttributeError):
            missing.append(f"{balancer} does not say how its servers answer: its version may be an earlier one")
    return FiguresSeen(tuple(figures), "; ".join(missing))


def _figures(balancer: str, answer: companions.Document) -> Iterator[ServerFigures]:
    for name, found in answer["servers"].items():
        broken = int(found["broken"])
        requests, failed = int(found["answered"]) + broken, int(found["failed"]) + broken
        yield ServerFigures(balancer, name.partition("/")[2], requests, failed, int(found["answer_ms"]))
