"""One scheduler process: follows until it is elected, then leads until it ends. Wires the parts together.

The API is served from the start; a follower's forwards to the leader. A leader that loses its leadership ends, and its
supervisor starts a new process: there is no way back into following with a state that may be stale (rule 40).
"""

from __future__ import annotations

import concurrent.futures
import importlib.metadata
import logging
import threading
import uuid
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar
from urllib.parse import urlsplit

from eratos.common.errors import FatalError
from eratos.common.log import fields
from eratos.common.resources import Resources

from .api.controller import Unavailable
from .catalogue import Catalogue
from .clock import Clock
from .config import Config
from .core.actions import Reply
from .core.events import Command, Event
from .core.machine import Machine, Settings
from .core.state import State
from .election import Election, Leadership, open_store_and_election
from .loop import Loop
from .mesos.driver import SchedulerDriver
from .mesos.settings import ExecutorSettings, MesosSettings
from .placeholder_keeper import Fleet, PlaceholderKeeper
from .store.base import Store
from .takeover import UnrecordedTasks, examine

log = logging.getLogger(__name__)

T = TypeVar("T")

#: How long the API waits for a command to be stored before it answers 503.
COMMAND_S = 20.0


class Process:
    """Implements :class:`eratos.scheduler.api.controller.Controller` for the API. ``run`` is called once."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self.clock = Clock()  #: the core's and the API's: what one says the other shows
        self._election: Election | None = None
        self._loop: Loop | None = None
        self._catalogue: Catalogue | None = None
        self._framework_id = ""
        self._stopping = threading.Event()

    # For the API

    @property
    def is_leader(self) -> bool:
        return self._loop is not None and self._election is not None and self._election.state is Leadership.LEADING

    def leader(self) -> str | None:
        return self._election.leader() if self._election is not None else None

    def info(self) -> dict[str, Any]:
        config, leading = self._config, self.is_leader
        state = self.read(lambda state: (state.framework_id, state.connected, state.master)) if leading else ("", False, "")
        return {
            "name": "eratos",
            "version": importlib.metadata.version("eratos"),
            "elected": leading,
            "leader": urlsplit(self.leader() or "").netloc or None,
            "frameworkId": state[0] or None,
            "connected": state[1],
            "mesos_leader": state[2] or None,
            "buildref": "",
            "http_config": {"http_port": config.http_port, "https_port": None},
            "marathon_config": {
                "master": config.master,
                "framework_name": config.framework_name,
                "mesos_role": config.role,
                "mesos_user": config.user,
                "failover_timeout": config.failover_timeout_s,
                "checkpoint": True,
                "ha": bool(config.zk),
                "hostname": config.hostname,
            },
            "zookeeper_config": {"zk": _without_credentials(config.zk) or None},
        }

    def left_out(self) -> Mapping[str, Sequence[str]]:
        catalogue = self._catalogue
        return catalogue.left_out if catalogue is not None else {}

    def submit(self, make_command: Callable[[int], Command]) -> Reply:
        loop = self._loop
        if loop is None:
            raise Unavailable("this scheduler does not lead: ask the leader")
        future = loop.submit(make_command)
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
        store, election = open_store_and_election(config.store_url, config.url, self._leadership_changed)
        self._election = election
        stop_serving = serve(self)
        try:
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
        examine(stored)

        def hear(event: Event) -> None:
            unrecorded.look(event)
            loop.emit(event)

        driver = SchedulerDriver(mesos_settings(self._config), hear)
        settings = core_settings(self._config, driver.executor_id, driver.executor_resources)
        loop = Loop(Machine(stored, settings, lambda: str(uuid.uuid4()), self.clock()), store, self.clock)
        unrecorded = UnrecordedTasks(loop.read)
        log.info(
            "leading %s",
            fields(framework_id=stored.framework_id or "new", apps=len(stored.apps), instances=len(stored.instances)),
        )
        driver.start(stored.framework_id)
        self._loop = loop
        self._leadership_changed(election.state)  # it may have changed before there was a loop to tell
        catalogue = Catalogue(
            self._config.consul_urls,
            lambda: loop.read(_live_tasks),
            PlaceholderKeeper(lambda: loop.read(_fleet)),
            self._config.consul_token(),
            ca_file=self._config.consul_ca_file,
            cert_file=self._config.consul_cert_file,
        )
        self._catalogue = catalogue
        catalogue.start()
        try:
            if not self._stopping.is_set():
                loop.run(driver)
        finally:
            self._loop = self._catalogue = None
            catalogue.stop()
            driver.stop()
        if election.lost.is_set():
            raise FatalError("leadership was lost: ending, so that the supervisor starts this process anew")

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
    return Fleet(state.framework_id, dict(state.apps), frozenset(state.fleets))


def core_settings(config: Config, executor_id: str, executor_resources: Resources) -> Settings:
    """Return the core's settings out of the process's."""
    return Settings(
        executor_id,
        executor_resources,
        launching_most=config.launch_limit,
        launch_confirm_timeout_s=config.launch_confirm_timeout_s,
        launch_timeout_s=config.launch_timeout_s,
        placement="pack" if config.placement == "pack" else "spread",
        maintenance_lead_s=config.maintenance_lead_s,
        brake_share=config.brake_share,
        rebalance_budget=config.rebalance_budget,
    )


def mesos_settings(config: Config) -> MesosSettings:
    """Return the driver's settings out of the process's."""
    return MesosSettings(
        master=config.master,
        name=config.framework_name,
        user=config.user,
        roles=(config.role,),
        failover_timeout_s=config.failover_timeout_s,
        hostname=config.hostname,
        webui_url=config.url,
        principal=config.principal,
        secret=config.secret(),
        tls=config.master_tls(),
        tls_master=config.master_scheme == "https",
        executor=ExecutorSettings(
            command=config.executor_command,
            name=config.framework_name,
            uris=tuple(uri.strip() for uri in config.executor_uris.split(",") if uri.strip()),
            environment={"ERATOS_CONSUL": config.executor_consul, "ERATOS_HTTP_PORT": str(config.executor_http_port)},
            resources=Resources(round(config.executor_cpus * 1000), config.executor_mem_mib, config.executor_disk_mib),
        ),
    )


def _without_credentials(url: str) -> str:
    scheme, _, rest = url.partition("://")
    return f"{scheme}://{rest.rpartition('@')[2]}" if rest else url
