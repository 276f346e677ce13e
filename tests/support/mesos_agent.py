"""A simulated Mesos agent: the v1 executor API over a real socket, for one executor.

It follows slave/http.cpp and slave.cpp where an executor can tell the difference, and can be restarted, hang, refuse and
forget the executor.
"""

from __future__ import annotations

import base64
import socket
import ssl
from collections import deque
from collections.abc import Callable
from typing import Any

from .event_stream import Connection, EventStreamServer, Request

Wire = dict[str, Any]

FRAMEWORK_ID = "framework-1"
EXECUTOR_ID = "eratos-0a1b2c3d"
AGENT_ID = "agent-1"


class SimulatedExecutorAgent(EventStreamServer):
    """One agent with one executor. Updates are acknowledged at once unless ``acknowledging`` is False."""

    def __init__(self, *, tls: ssl.SSLContext | None = None, token: str = "", port: int = 0) -> None:
        self.token = token
        self.acknowledging = True
        self.executor_fields: dict[str, str] = {}  #: of the executor's definition, besides its id
        self.subscribed_delayed = False  #: hold SUBSCRIBED back until :meth:`send_subscribed`
        self.stream: Connection | None = None
        self.updates: list[Wire] = []  #: statuses as they came, those of SUBSCRIBE included
        self.tasks: list[Wire] = []  #: the unacknowledged tasks of the last SUBSCRIBE
        self._faults: deque[Callable[[Request], None]] = deque()
        super().__init__(tls, "127.0.0.1", port)

    def environ(self, **more: str) -> dict[str, str]:
        """Return what an agent puts into the executor's environment."""
        return {
            "MESOS_AGENT_ENDPOINT": self.address,
            "MESOS_FRAMEWORK_ID": FRAMEWORK_ID,
            "MESOS_EXECUTOR_ID": EXECUTOR_ID,
            "MESOS_SLAVE_ID": AGENT_ID,
            "MESOS_CHECKPOINT": "1",
            "MESOS_EXECUTOR_SHUTDOWN_GRACE_PERIOD": "5secs",
            "MESOS_RECOVERY_TIMEOUT": "15mins",
            "MESOS_SUBSCRIPTION_BACKOFF_MAX": "10ms",
            **more,
        }

    # Faults

    def answer(self, status: int, body: str = "", times: int = 1) -> None:
        """Answer the next requests with an error, unperformed."""
        self._faults.extend([lambda r: r.connection.respond(status, body.encode())] * times)

    def ignore(self, times: int = 1) -> None:
        """Leave the next requests without answer and effect."""
        self._faults.extend([lambda request: None] * times)

    def restart(self) -> None:
        """Lose every connection, as an agent that is restarted does; tasks and executor live on."""
        with self.changed:
            for connection in self.connections:
                connection.cut()

    # Events

    def event(self, event: Wire) -> None:
        with self.changed:
            if self.stream is not None:
                self.stream.event(event)

    def launch(self, task_id: str, data: bytes = b"payload", **more: Any) -> None:
        self.event({"type": "LAUNCH", "launch": {"task": a_task(task_id, data, **more)}})

    def kill(self, task_id: str, grace_ns: int | None = None) -> None:
        policy = {} if grace_ns is None else {"kill_policy": {"grace_period": {"nanoseconds": grace_ns}}}
        self.event({"type": "KILL", "kill": {"task_id": {"value": task_id}, **policy}})

    def acknowledge(self, status: Wire) -> None:
        acknowledged = {"task_id": status["task_id"], "uuid": status["uuid"]}
        self.event({"type": "ACKNOWLEDGED", "acknowledged": acknowledged})

    # Calls

    def handle(self, request: Request) -> None:
        if self._faults:
            self._faults.popleft()(request)
        elif self.token and request.headers.get("authorization") != f"Bearer {self.token}":
            request.connection.respond(401, b"authentication failed")
        elif request.call["framework_id"]["value"] != FRAMEWORK_ID:
            request.connection.respond(400, b"Framework cannot be found")
        elif request.call["executor_id"]["value"] != EXECUTOR_ID:
            request.connection.respond(400, b"Executor cannot be found")
        elif request.type == "SUBSCRIBE":
            self._subscribe(request)
        else:
            request.connection.respond(202)
            if request.type == "UPDATE":
                self._take(request.content["status"])

    def _subscribe(self, request: Request) -> None:
        if self.stream is not None:
            self.stream.cut()
        self.stream = request.connection
        self.stream.begin_stream({})
        self.tasks = list(request.content["unacknowledged_tasks"])
        if not self.subscribed_delayed:
            self.send_subscribed()
        for update in request.content["unacknowledged_updates"]:
            self._take(update["status"])

    def send_subscribed(self) -> None:
        subscribed = {
            "executor_info": {"executor_id": {"value": EXECUTOR_ID}, **self.executor_fields},
            "framework_info": {"id": {"value": FRAMEWORK_ID}, "name": "eratos", "user": "root"},
            "agent_info": {"hostname": "agent-1.test", "id": {"value": AGENT_ID}, "port": self.port},
        }
        self.event({"type": "SUBSCRIBED", "subscribed": subscribed})

    def _take(self, status: Wire) -> None:
        self.updates.append(status)
        if len(base64.b64decode(status["uuid"])) != 16:
            raise AssertionError(f"not a uuid: {status['uuid']}")
        if self.acknowledging:
            self.acknowledge(status)

    def left(self, sock: socket.socket) -> None:
        if self.stream is not None and self.stream.sock is sock:
            self.stream = None


def a_task(task_id: str, data: bytes = b"payload", **more: Any) -> Wire:
    """Return a TaskInfo as an agent passes it on."""
    return {
        "name": "prime.shop",
        "task_id": {"value": task_id},
        "agent_id": {"value": AGENT_ID},
        "data": base64.b64encode(data).decode(),
        **more,
    }
