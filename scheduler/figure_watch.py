"""Asks balancers what they have counted, for as long as a gate of a canary, the number of an app's instances or an error budget
goes by it, and executors what their tasks take where the number goes by that.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Final

from .api import companions
from .api.controller import Balancer
from .api.executors import Answer
from .core import budgets, scaling
from .core.error_budget import ServiceFigures
from .core.events import FiguresSeen
from .core.gates import QueueFigures, ServerFigures
from .core.state import State
from .core.usage import TaskUsage

log = logging.getLogger(__name__)

PERIOD_S: Final = 2.0
NOBODY: Final = "no balancer is registered in Consul"


async def _nobody(hosts: Mapping[str, str]) -> Mapping[str, Answer]:
    return {}


class FigureWatch:
    """One thread that looks until stopped. ``wanted`` returns whether anything depends on it now."""

    def __init__(
        self,
        wanted: Callable[[], bool],
        balancers: Callable[[], Sequence[Balancer]],
        headers: Callable[[str], Mapping[str, str]],
        emit: Callable[[FiguresSeen], None],
        *,
        trouble: Callable[[], str] = lambda: "",
        hosts: Callable[[], Mapping[str, str]] = dict,
        ask_executors: Callable[[Mapping[str, str]], Awaitable[Mapping[str, Answer]]] = _nobody,
    ) -> None:
        """``headers``: what a companion wants to be shown for a path; ``trouble``: why balancers may not be known; ``hosts``: the
        agents, each with its host, whose executors are asked by ``ask_executors``.
        """
        self._hosts, self._ask_executors = hosts, ask_executors
        self._trouble = trouble
        self._wanted, self._balancers, self._headers, self._emit = wanted, balancers, headers, emit
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="figures", daemon=True)

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
            except Exception:  # edge: what waits for figures says why, a thread that is gone does not
                log.exception("the balancers could not be asked for figures, please report this as a bug")

    def look(self) -> FiguresSeen:
        """Ask every balancer, and the executors that something depends on."""
        return asyncio.run(self._look())

    async def _look(self) -> FiguresSeen:
        balancers, hosts = self._balancers(), self._hosts()
        of_balancers, of_executors = await asyncio.gather(
            companions.ask_all(balancers, self._headers), self._ask_executors(hosts)
        )
        found = {balancer.name: answer for balancer, answer in zip(balancers, of_balancers, strict=True)}
        return with_usages(seen(found, self._trouble()), of_executors)


def depended_on(state: State) -> bool:
    """Return whether an app stands at a gate that is judged by balancers' figures, is autoscaled, or has an error budget."""
    judged = any(found.counted for found in state.deployments.values())
    return judged or scaling.asked_for(state) or budgets.asked_for(state)


def seen(answers: Mapping[str, companions.Document | str], trouble: str = "") -> FiguresSeen:
    """Return what balancers, by name, have counted, and which of them have not said it. ``trouble``: why others may be there."""
    figures: list[ServerFigures] = []
    queues: list[QueueFigures] = []
    answered: list[str] = []
    missing = [] if answers else [NOBODY]
    services: list[ServiceFigures] = []
    unscaled = [f"there may be other balancers: {trouble}"] if trouble else []
    uncounted = list(unscaled)
    for balancer, answer in answers.items():
        if isinstance(answer, str):
            missing.append(f"{balancer} says nothing: {answer}")
            continue
        try:
            found = list(_figures(balancer, answer))
        except (KeyError, TypeError, ValueError, AttributeError):
            missing.append(f"{balancer} does not say how its servers answer: its version may be an earlier one")
            continue
        figures += found
        try:
            services += list(_services(balancer, answer))
        except (KeyError, TypeError, ValueError, AttributeError):
            uncounted.append(f"{balancer} does not say what it answers for a service: its version may be an earlier one")
        try:
            queues += [QueueFigures(balancer, service, int(count)) for service, count in answer["queued"].items()]
            answered.append(balancer)
        except (KeyError, TypeError, ValueError, AttributeError):
            unscaled.append(f"{balancer} does not say what waits: its version may be an earlier one")
    return FiguresSeen(
        tuple(figures),
        "; ".join(missing),
        tuple(answered),
        tuple(queues),
        "; ".join(unscaled),
        services=tuple(services),
        uncounted="; ".join(uncounted),
    )


def with_usages(event: FiguresSeen, answers: Mapping[str, Answer]) -> FiguresSeen:
    """Return what was seen with what executors, by their agents, have said of their tasks."""
    usages: dict[str, TaskUsage] = {}
    for answer in answers.values():
        usages |= {} if isinstance(answer, str) else answer
    silent = {agent_id: answer for agent_id, answer in answers.items() if isinstance(answer, str)}
    return replace(event, usages=usages, silent=silent)


def _figures(balancer: str, answer: companions.Document) -> Iterator[ServerFigures]:
    for name, found in answer["servers"].items():
        broken = int(found["broken"])
        requests, failed = int(found["answered"]) + broken, int(found["failed"]) + broken
        now = (int(found.get(field, 0)) for field in ("came", "requests", "queued"))
        yield ServerFigures(balancer, name.partition("/")[2], requests, failed, int(found["answer_ms"]), *now)


def _services(balancer: str, answer: companions.Document) -> Iterator[ServiceFigures]:
    for service, found in answer["answers"].items():
        yield ServiceFigures(balancer, service, int(found["answered"]), int(found["failed"]) + int(found["cut"]))
