"""A cluster of any size that is played in this process: the real core and API, and agents that do what they are told.

For what looks at the API in a browser: pages, and the benchmark of the dashboard.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from eratos.common.browser_guard import BrowserGuard
from eratos.scheduler.access.authenticator import Authenticator
from eratos.scheduler.api.gate import Access
from eratos.scheduler.api.server import ApiServer, create_api
from eratos.scheduler.core.events import AgentLost, Event, OffersReceived, PutApps, StatusChanged, Subscribed
from eratos.scheduler.core.instances import Instance
from eratos.scheduler.core.mesos_types import Offer
from eratos.scheduler.core.state import State
from eratos.scheduler.core.step import Decision

from .builders import a_status, an_app, an_offer
from .controller import FakeController

T = TypeVar("T")


class PlayedFleet(FakeController):
    """A controller for many threads, whose agents start and stop what they are asked to, when :meth:`settle` is called."""

    def __init__(self, agents: int = 8, cpus: float = 8.0, mem: int = 16_384) -> None:
        super().__init__(locks=True)
        self._lock = threading.RLock()
        self.now = time.time()
        self.agents = [f"a{number}" for number in range(1, agents + 1)]
        self.failing: set[str] = set()  #: apps whose tasks fail
        self.held: set[str] = set()  #: apps whose tasks never get ready
        self._size = cpus, mem
        self.handle(Subscribed("framework-1", "10.0.0.1:5050"))

    def read(self, fn: Callable[[State], T]) -> T:
        with self._lock:
            return super().read(fn)

    def handle(self, event: Event) -> Decision:
        with self._lock:
            self.now = max(self.now, time.time())
            return super().handle(event)

    def put(self, *apps: Any) -> None:
        """Put apps, and let the agents do what follows."""
        with self._lock:
            self.submit(PutApps(tuple(apps), force=True))
            self.settle()

    def handle_all(self, events: list[Event]) -> None:
        """Take many events in one pass, as the loop does when they come together."""
        with self._lock:
            self.now = max(self.now, time.time())
            state = self.machine.state
            self._watch.before(state, events)
            for event in events:
                self.machine.take(event, self.now)
            decision = self.machine.decide(self.now)
            self.events.publish(self._watch.after(state, events, decision, self.now))

    def settle(self, rounds: int = 6) -> None:
        """Let the agents offer what they have, start what they are sent and stop what they are asked to."""
        with self._lock:
            for _ in range(rounds):
                if self.machine.state.in_need and self.agents:
                    self.handle(OffersReceived(tuple(self._offers())))
                self.handle_all([found for each in self.machine.state.instances.values() if (found := self._next(each))])

    def lose(self, agent: str) -> None:
        """Have an agent vanish with all that is on it."""
        with self._lock:
            self.agents.remove(agent)
            for instance in list(self.machine.state.on_agent.get(agent, {}).values()):
                self.update(instance.task_id, "GONE", agent=agent, message="the agent is gone")
            self.handle(AgentLost(agent))

    def fail(self, app_id: str, count: int = 1, message: str = "exit status 1") -> None:
        """Have some running instances of an app end by themselves."""
        with self._lock:
            running = [i for i in self.machine.state.instances_of(app_id) if i.state is not None and not i.stopping]
            for instance in running[:count]:
                self.update(instance.task_id, "FAILED", agent=instance.agent_id, message=message)

    def sicken(self, app_id: str, count: int = 1, *, healthy: bool = False) -> None:
        """Have some instances' health checks fail, or pass."""
        with self._lock:
            for instance in list(self.machine.state.instances_of(app_id))[:count]:
                self.update(instance.task_id, "RUNNING", agent=instance.agent_id, healthy=healthy, message="HTTP status 500")

    def _offers(self) -> Iterable[Offer]:
        cpus, mem = self._size
        for number, agent in enumerate(self.agents):
            on = self.machine.state.on_agent.get(agent, {})
            apps = [app for instance in on.values() if (app := self.machine.state.apps.get(instance.app_id))]
            free = cpus - sum(app.resources.cpus_m for app in apps) / 1000, mem - sum(app.resources.mem_mib for app in apps)
            zone = "abc"[number % 3]
            first = 31000 + 200 * len(on) % 800
            if min(free) > 0:
                where: dict[str, Any] = {"hostname": f"agent{agent[1:]}", "region": "north", "zone": zone}
                yield an_offer(agent, cpus=free[0], mem=free[1], ports=(first, first + 999), **where)

    def _next(self, instance: Instance) -> Event | None:
        """Return what an agent says next of an instance."""
        if instance.state is None:
            return None
        said: dict[str, Any] = {}
        if instance.stopping:
            state = "KILLED"
        elif instance.app_id in self.failing:
            state, said = "FAILED", {"message": "exit status 1: no such file: /etc/shop.conf"}
        elif instance.launching or (instance.healthy is None and instance.app_id not in self.held):
            app = self.machine.state.apps.get(instance.app_id)
            if not instance.launching and not (app is not None and app.checked):
                return None
            healthy = True if app is not None and app.checked and instance.app_id not in self.held else None
            state, said = "RUNNING", {"healthy": healthy}
        else:
            return None
        return StatusChanged(a_status(instance.task_id, state, agent=instance.agent_id, **said))


NAMES = (
    *("cart", "pay", "search", "mail", "stock", "users", "images", "prices"),
    *("orders", "login", "feed", "chat", "track", "report", "export"),
)
GROUPS = ("shop", "bank", "media", "travel", "news", "games", "maps", "school")
CHECK = [{"protocol": "HTTP", "path": "/health"}]


def fleet_of(apps: int, instances: int, agents: int) -> PlayedFleet:
    """Return a fleet at rest with so many apps, instances together, and agents."""
    share = instances // apps
    fleet = PlayedFleet(agents, cpus=max(8.0, 1.5 * instances * 0.1 / agents), mem=max(16_384, 2 * instances * 32 // agents))
    made = []
    for number in range(apps):
        name = NAMES[number // len(GROUPS) % len(NAMES)] + (f"-{number}" if apps > 100 else "")
        app_id = f"/{GROUPS[number % len(GROUPS)]}/{name}"
        labels = {"team": GROUPS[number % 3], "HAPROXY_GROUP": "external", "HAPROXY_0_VHOST": f"app{number}.localhost"}
        made.append(an_app(app_id, share, labels=labels, healthChecks=CHECK if number % 2 else []))
    fleet.submit(PutApps(tuple(made), force=True))
    while fleet.read(lambda state: bool(state.in_need)):
        fleet.settle(1)
    fleet.settle(3)
    return fleet


def change(fleet: PlayedFleet, chance: random.Random) -> None:
    """Have something small happen somewhere."""
    app_id = chance.choice(fleet.read(lambda state: list(state.apps)))
    fleet.sicken(app_id, 1, healthy=chance.random() < 0.5)


class Served:
    """A fleet's API on a port of 127.0.0.1. To be used with ``with``."""

    def __init__(self, fleet: PlayedFleet, authenticator: Authenticator | None = None, port: int = 0) -> None:
        access = Access(BrowserGuard(), authenticator)
        self._server = ApiServer(create_api(fleet, clock=lambda: fleet.now, access=access), "127.0.0.1", port)

    def __enter__(self) -> str:
        self._server.start()
        return f"http://127.0.0.1:{self._server.port}"

    def __exit__(self, *_: object) -> None:
        self._server.stop()
