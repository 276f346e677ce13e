"""One scheduler process: follows until it is elected, then leads until it ends. Wires the parts together.

The API is served from the start; a follower's forwards to the leader. A leader that loses its leadership ends, and its
supervisor starts a new process: there is no way back into following with a state that may be stale (rule 40).
"""

from __future__ import annotations

import concurrent.futures
import logging
import threading
import uuid
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, TypeVar

from eratos.common import keys
from eratos.common.errors import FatalError
from eratos.common.exposition import Family
from eratos.common.log import fields
from eratos.common.resources import Resources
from eratos.scheduler.core.refusals import Unavailable

from . import about, framework_key
from .api import executors
from .api.controller import Balancer
from .api_access import policy
from .catalogues import Catalogues
from .clock import Clock
from .config import Config, parts
from .consul_catalog import ConsulCatalog
from .core import scaling, stages
from .core.actions import Reply
from .core.events import Command
from .core.machine import Machine
from .core.state import State
from .core.step import Settings
from .election import Election, Leadership, open_store_and_election
from .events.event import Event
from .events.ring import Ring
from .events.standing import CLUSTER
from .figure_watch import FigureWatch, depended_on
from .framework_key import FrameworkKey
from .loop import FrameworkRemoved, Loop
from .mesos.driver import SchedulerDriver
from .mesos.settings import CAPABILITIES, GPUS, ExecutorSettings, MesosSettings
from .placeholder_keeper import Fleet, PlaceholderKeeper
from .query_keeper import QueryKeeper
from .store.base import Store
from .store_check import examine

log = logging.getLogger(__name__)

T = TypeVar("T")

#: How long the API waits for a command to be stored before it answers 503.
COMMAND_S = 20.0
#: How long a leader goes on that was asked to give way, as Marathon's (LeaderResource.scala).
ABDICATION_S = 0.5


class Process:
    """Implements :class:`eratos.scheduler.api.controller.Controller` for the API. ``run`` is called once."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self.clock = Clock()  #: the core's and the API's: what one says the other shows
        self._election: Election | None = None
        self._loop: Loop | None = None
        self._catalogues: Catalogues | None = None
        self.key = FrameworkKey(b"")  #: read before the API is served
        self._stopping = threading.Event()
        self._core = core_settings(config, "", Resources())
        self._abdicated = False
        self.events = Ring()

    # For the API

    @property
    def is_leader(self) -> bool:
        return self._loop is not None and self._election is not None and self._election.state is Leadership.LEADING

    def leader(self) -> str | None:
        return self._election.leader() if self._election is not None else None

    def info(self) -> dict[str, Any]:
        leading = self.is_leader
        framework_id, master = self.read(lambda state: (state.framework_id, state.master)) if leading else ("", "")
        return about.info(self._config, self._core, about.Standing(leading, self.leader(), framework_id, master))

    def settings(self) -> dict[str, Any]:
        return about.settings(self._config)

    def abdicate(self) -> None:
        self._abdicated = True
        # The answer goes out first.
        timer = threading.Timer(ABDICATION_S, self._end_term)
        timer.daemon = True
        timer.start()

    def _end_term(self) -> None:
        log.warning("leadership is given up on request")
        if self._loop is not None:
            self._loop.stop()

    def left_out(self) -> Mapping[str, Sequence[str]]:
        catalogues = self._catalogues
        return catalogues.left_out if catalogues is not None else {}

    def balancers(self) -> Sequence[Balancer]:
        catalogues = self._catalogues
        return catalogues.balancers if catalogues is not None else ()

    def consul_trouble(self) -> str:
        catalogues = self._catalogues
        return catalogues.trouble if catalogues is not None else ""

    def loop_families(self) -> Sequence[Family]:
        loop = self._loop
        return loop.families() if loop is not None else ()

    def look_around(self) -> None:
        loop = self._loop
        if loop is not None:
            loop.look_around()

    def submit(self, command: Command) -> Reply:
        loop = self._loop
        if loop is None:
            raise Unavailable("this scheduler does not lead: ask the leader")
        future = loop.submit(command)
        try:
            return future.result(COMMAND_S)
        except concurrent.futures.TimeoutError:
            raise Unavailable(
                f"the change was not stored within {COMMAND_S:.0f} s and may still be made: is the store reachable?"
            ) from None

    def read(self, fn: Callable[[State], T]) -> T:
        loop = self._loop
        if loop is None:
            raise Unavailable("this scheduler does not lead: ask the leader")
        return loop.read(fn)

    # The life of the process

    def stop(self) -> None:
        """End soon and cleanly; never called in a signal handler, see :mod:`eratos.common.signals`. Tasks go on."""
        self._stopping.set()
        if self._loop is not None:
            self._loop.stop()

    def run(self, serve: Callable[[Process], Callable[[], None]]) -> None:
        """Serve, follow, lead, and return when stopped. ``serve`` starts the API and returns what stops it.

        Raises FatalError where the process must be started anew, PermanentError for settings that cannot work.
        """
        config = self._config
        store, election = open_store_and_election(config.store_url, config.url, self._leadership_changed, tls=config.zk_tls())
        self._election = election
        stop_serving: Callable[[], None] = lambda: None  # noqa: E731
        try:
            self.key = framework_key.read(store, config.framework_key_file)
            stop_serving = serve(self)
            election.start()
            log.info("waiting for leadership %s", fields(url=config.url))
            while not self._stopping.is_set() and not election.wait_until_leader(0.5):
                if election.lost.is_set():
                    raise FatalError("left the election before it was won: the connection to the store was lost")
            if not self._stopping.is_set():
                self._lead(store, election)
        finally:
            # Whoever follows a log keeps the API busy for seconds: another scheduler leads meanwhile.
            store.close()
            election.close()
            stop_serving()

    def _lead(self, store: Store, election: Election) -> None:
        store.begin_term(election.ballot)
        stored = store.load()
        examine(stored, policy(self._config), self._config.roles)
        driver = SchedulerDriver(mesos_settings(self._config, self.key), lambda event: loop.emit(event))
        settings = core_settings(self._config, driver.executor_id, driver.executor_resources)
        loop = Loop(Machine(stored, settings, lambda: str(uuid.uuid4()), self.clock()), store, self.clock, self.events)
        log.info(
            "leading %s",
            fields(framework_id=stored.framework_id or "new", apps=len(stored.apps), instances=len(stored.instances)),
        )
        driver.start(stored.framework_id)
        self._loop = loop
        self._leadership_changed(election.state)  # it may have changed before there was a loop to hear of it
        catalogues = Catalogues([self._catalogue(loop, datacenter) for datacenter in ("", *self._config.datacenters)])
        self._catalogues = catalogues
        catalogues.start()
        figures = FigureWatch(
            lambda: loop.read(depended_on),
            self.balancers,
            self._proof,
            loop.emit,
            trouble=self.consul_trouble,
            hosts=lambda: loop.read(scaling.measured_on),
            ask_executors=partial(executors.ask_all, port=self._config.executor_http_port, headers=self._executor_proof),
        )
        figures.start()
        try:
            if not self._stopping.is_set():
                loop.run(driver)
        except FrameworkRemoved:
            catalogues.stop()
            catalogues.remove_entries()
            raise
        finally:
            self._loop = self._catalogues = None
            self.events.close()  # readers go to the next leader
            figures.stop()
            catalogues.stop()
            driver.stop()
        if self._abdicated and not self._stopping.is_set():
            raise FatalError("leadership was given up: ending, so that the supervisor starts this process anew")
        if election.lost.is_set():
            raise FatalError("leadership was lost: ending, so that the supervisor starts this process anew")

    def _catalogue(self, loop: Loop, datacenter: str) -> ConsulCatalog:
        return ConsulCatalog(
            self._config.consul_urls,
            lambda: loop.read(_live_tasks),
            PlaceholderKeeper(lambda: loop.read(_fleet), self._config.failover_timeout_s),
            self._config.consul_token(),
            ca_file=self._config.consul_ca_file,
            cert_file=self._config.consul_cert_file,
            on_change=lambda: self.events.publish([Event(CLUSTER, self.clock(), {})]),
            datacenter=datacenter,
            query=QueryKeeper(lambda: loop.read(_fleet).framework_id, self._config.consul_query_nearest),
        )

    def _proof(self, target: str) -> dict[str, str]:
        return keys.headers(self.key.schedulers_companion_key, "GET", target, b"", self.clock(), keys.SCHEDULER)

    def _executor_proof(self, agent_id: str, target: str) -> dict[str, str]:
        return keys.headers(self.key.agent(agent_id), "GET", target, b"", self.clock())

    def _leadership_changed(self, state: Leadership) -> None:
        loop = self._loop
        if loop is None:
            return
        if state is Leadership.LEADING:
            loop.release()
        elif state is Leadership.SUSPENDED:
            loop.hold()
        else:
            loop.stop()


def _live_tasks(state: State) -> tuple[str, set[str]]:
    return state.framework_id, {instance.task_id for instance in state.with_task()}


def _fleet(state: State) -> Fleet:
    # Before a master has taken this scheduler, the framework may be one that it has removed.
    framework_id = state.framework_id if state.master else ""
    weights = {app_id: found for app_id in state.apps if (found := stages.weights(state, app_id))}
    return Fleet(framework_id, dict(state.apps), frozenset(state.fleets.keys() - state.runs.keys()), weights)


def core_settings(config: Config, executor_id: str, executor_resources: Resources) -> Settings:
    """Return the core's settings out of the process's."""
    return Settings(
        executor_id,
        executor_resources,
        config.roles,
        launching_most=config.launch_limit,
        launch_confirm_timeout_s=config.launch_confirm_timeout_s,
        launch_timeout_s=config.launch_timeout_s,
        deployment_deadline_s=config.deployment_deadline_s,
        placement="pack" if config.placement == "pack" else "spread",
        maintenance_lead_s=config.maintenance_lead_s,
        brake_share=config.brake_share,
        instances_most=config.instances_limit,
        rebalance_budget=config.rebalance_budget,
        accepts=config.accepts,
    )


def mesos_settings(config: Config, key: FrameworkKey) -> MesosSettings:
    """Return the driver's settings out of the process's; executors are given what is derived from the key for them."""
    variables = {"ERATOS_CONSUL": config.executor_consul, "ERATOS_HTTP_PORT": str(config.executor_http_port)}
    if config.policy == "strict" and not config.allow_private_fetch:
        variables["ERATOS_FETCH_PRIVATE"] = "false"
    return MesosSettings(
        master=config.master,
        name=config.framework_name,
        user=config.user,
        roles=config.roles,
        capabilities=(*CAPABILITIES, GPUS) if config.gpus else CAPABILITIES,
        failover_timeout_s=config.failover_timeout_s,
        hostname=config.hostname,
        webui_url=config.url,
        principal=config.principal,
        secret=config.secret(),
        clear=config.master_clear or key.upgraded,
        clear_stated=config.master_clear,
        secret_hosts=frozenset(parts(config.master_hosts)),
        tls=config.master_tls(),
        tls_master=config.master_scheme == "https",
        executor=ExecutorSettings(
            command=config.executor_command,
            name=config.framework_name,
            uris=tuple(uri.strip() for uri in config.executor_uris.split(",") if uri.strip()),
            environment=variables,
            data=lambda agent_id: key.for_executor(agent_id).to_bytes(),
            volume_key=lambda agent_id, volume_id: keys.volume_key(key.agent(agent_id), volume_id),
            data_name=key.name,
            resources=Resources(round(config.executor_cpus * 1000), config.executor_mem_mib, config.executor_disk_mib),
        ),
    )
