"""Watches the executor's containers: deaths from Docker's event stream, and a full listing now and then.

The stream is the edge: it brings a death within milliseconds. The listing is the level: it is taken after every (re)connection
and every few seconds, so that nothing missed while the stream was broken stays missed. While the daemon is away there is
neither, and no task is declared dead for that.
"""

from __future__ import annotations

import logging
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from docker.types import CancellableStream

from eratos.common import names
from eratos.common.backoff import exponential_s, jittered_s
from eratos.common.log import fields

from ..core import events as on
from ..core.host import Host
from ..core.ownership import Mark
from .client import DockerClient, DockerFailure
from .members import Members

log = logging.getLogger(__name__)

LISTING_S = 10.0
_BACKOFF_FIRST_S = 0.1
_BACKOFF_MOST_S = 5.0


class DockerWatch:
    """Two threads: one on the event stream, one for listings."""

    def __init__(
        self,
        client: DockerClient,
        host: Host,
        emit: Callable[[on.Event], None],
        alive: Callable[[str], bool],
        members: Members,
    ) -> None:
        """``alive`` returns whether another executor of this agent is; ``members`` knows the containers of pods."""
        self._members = members
        self._client = client
        self._alive = alive
        self._emit = emit
        self._host = host
        self._labels = [f"{names.LABEL_FRAMEWORK}={host.framework_id}", f"{names.LABEL_HOST}={host.name}"]
        self._stream: CancellableStream | None = None
        self._stopped = threading.Event()
        self._list_now = threading.Event()

    def start(self) -> None:
        threading.Thread(target=self._follow, name="docker-events", daemon=True).start()
        threading.Thread(target=self._keep_listing, name="docker-listing", daemon=True).start()

    def stop(self) -> None:
        self._stopped.set()
        self._list_now.set()
        if self._stream is not None:
            self._stream.close()

    def _follow(self) -> None:
        attempt = 0
        while not self._stopped.is_set():
            try:
                wanted = {"type": "container", "event": "die", "label": self._labels}
                self._stream = self._client.api.events(decode=True, filters=wanted)
                self._list_now.set()
                attempt = 0
                for event in self._until_stopped(self._stream):
                    self._report(event)
                if not self._stopped.is_set():
                    log.warning("the stream of Docker events ended, reconnecting")
            except DockerFailure as error:
                if not self._stopped.is_set():
                    log.warning("no Docker events, trying again %s", fields(error=self._client.explain(error)))
            except Exception:  # thread edge: listings go on, the stream is opened anew
                log.exception("watching Docker broke, please report this as a bug")
            delay_s = exponential_s(attempt, first_s=_BACKOFF_FIRST_S, factor=2, most_s=_BACKOFF_MOST_S)
            self._stopped.wait(jittered_s(delay_s, random.random()))
            attempt += 1

    def _until_stopped(self, stream: CancellableStream) -> Iterator[dict[str, Any]]:
        try:
            if not self._stopped.is_set():
                yield from stream
        finally:
            stream._response.close()  # the stream's own close() leaves the connection to the garbage collector

    def _report(self, event: dict[str, Any]) -> None:
        attributes = event.get("Actor", {}).get("Attributes", {})
        task_id, exit_code = attributes.get(names.LABEL_TASK), attributes.get("exitCode", "")
        if task_id:
            container = attributes.get(names.LABEL_CONTAINER, "")
            self._emit(on.ContainerDied(task_id, int(exit_code) if exit_code.isdigit() else None, container))

    def _keep_listing(self) -> None:
        reachable = True
        while not self._stopped.is_set():
            self._list_now.clear()
            try:
                self._emit(self.listing())
                reachable = True
            except DockerFailure as error:
                if reachable:
                    log.warning("cannot list containers %s", fields(error=self._client.explain(error)))
                reachable = False
            except Exception:  # thread edge: the next listing comes
                log.exception("listing containers broke, please report this as a bug")
            self._list_now.wait(LISTING_S)

    def _ours(self, labels: Mapping[str, str]) -> bool:
        keys = (names.LABEL_FRAMEWORK, names.LABEL_HOST, names.LABEL_AGENT, names.LABEL_EXECUTOR, names.LABEL_TASK)
        return Mark(*(labels.get(key, "") for key in keys)).swept_by(self._host, self._alive)

    def listing(self) -> on.ContainersListed:
        """List the containers that this executor answers for. Raises one of DockerFailure."""
        began_at = time.monotonic()
        found = self._client.api.containers(all=True, filters={"label": self._labels})
        running: Counter[str] = Counter()
        wanted: dict[str, int] = {}
        services: dict[str, int] = {}
        for container in found:
            labels = container["Labels"]
            task_id = labels.get(names.LABEL_TASK)
            if task_id and self._ours(labels):
                running[task_id] += container["State"] in ("running", "paused", "restarting")
                wanted[task_id] = int(labels.get(names.LABEL_CONTAINERS, 1))
                if names.LABEL_SERVICES in labels:  # versions before had no such label
                    services[task_id] = int(labels[names.LABEL_SERVICES])
                self._members.seen(task_id, labels.get(names.LABEL_CONTAINER, ""))
        whole = frozenset(task_id for task_id, most in wanted.items() if running[task_id] >= most)
        partly = frozenset(task_id for task_id in wanted.keys() - whole if running[task_id])
        return on.ContainersListed(began_at, whole, frozenset(wanted.keys() - whole - partly), partly=partly, services=services)
