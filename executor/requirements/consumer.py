"""Has other executors find this one while its tasks require others: before they stop an instance they ask who uses it."""

from __future__ import annotations

import threading
from collections.abc import Callable

from eratos.common import names

from ..core import actions as do
from ..core.host import Host
from ..core.registration import kept_by_word

#: Stands where services of a task have its id.
_TASK = "eratos-consumer"


class Consumer:
    """Registers the executor in Consul while it has a port and tasks that require others. Called from any thread."""

    def __init__(self, host: Host, perform: Callable[[do.Register | do.Deregister], object]) -> None:
        self._host = host
        self._perform = perform
        self._lock = threading.Lock()
        self._port = 0
        self._consuming = False

    def listening(self, port: int) -> None:
        """The executor can be asked at a port from now on."""
        with self._lock:
            self._port = port
            if self._consuming:
                self._register()

    def consuming(self, consuming: bool) -> None:
        """Tasks of it require others, or none does any more."""
        with self._lock:
            self._consuming = consuming
            if self._port and consuming:
                self._register()
            elif self._port:
                self._perform(do.Deregister(_TASK))

    def _register(self) -> None:
        host = self._host
        service_id = f"{names.CONSUMER_SERVICE}-{host.framework_id}-{host.executor_id}"
        body = {
            "ID": service_id,
            "Name": names.CONSUMER_SERVICE,
            "Port": self._port,
            "Tags": [],
            "Meta": {
                names.META_FRAMEWORK: host.framework_id,
                names.META_AGENT: host.agent_id,
                names.META_EXECUTOR: host.executor_id,
                names.META_TASK: _TASK,
            },
            "Check": kept_by_word(service_id),
        }
        self._perform(do.Register(_TASK, (body,)))
