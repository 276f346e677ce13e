"""A simulated Mesos master: the v1 scheduler API over a real socket, with agents that launch and kill at once.

It follows master/http.cpp and master.cpp where a scheduler can tell the difference: stream ids, 403 and 400, one stream
per framework, offers that are used once, reconciliation, updates repeated until acknowledged. And it does, on demand or
by chance from a seed, what a real one does in bad moments. ``tests/contract/test_mesos_master.py`` holds it against a
real master.
"""

from __future__ import annotations

import base64
import itertools
import random
import socket
import ssl
import threading
import time
import uuid
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from .event_stream import Connection, EventStreamServer, Request

Wire = dict[str, Any]


@dataclass
class SimulatedAgent:
    """An agent as its master sees it."""

    agent_id: str
    hostname: str
    resources: list[Wire]
    attributes: list[Wire] = field(default_factory=list)
    executor_ids: set[str] = field(default_factory=set)
    alive: bool = True


@dataclass
class SimulatedTask:
    """A task as its master knows it."""

    info: Wire
    state: str = "TASK_STAGING"
    pending: deque[Wire] = field(default_factory=deque)  #: updates that wait for their acknowledgement, oldest first


def some_resources(cpus: float = 4, mem: float = 4096, ports: tuple[int, int] = (31000, 31999), role: str = "*") -> list[Wire]:
    """Return an agent's unreserved resources, allocated to ``role``."""
    common = {"role": "*", "allocation_info": {"role": role}}
    return [
        {"name": "cpus", "type": "SCALAR", "scalar": {"value": cpus}, **common},
        {"name": "mem", "type": "SCALAR", "scalar": {"value": mem}, **common},
        {"name": "disk", "type": "SCALAR", "scalar": {"value": 10000.0}, **common},
        {"name": "ports", "type": "RANGES", "ranges": {"range": [{"begin": ports[0], "end": ports[1]}]}, **common},
    ]


class SimulatedMaster(EventStreamServer):
    """One leading master and its framework. ``heartbeat_s`` is announced and, unless :meth:`freeze` was called, kept."""

    def __init__(
        self,
        *,
        seed: int = 0,
        heartbeat_s: float = 15.0,
        cut_probability: float = 0.0,
        tls: ssl.SSLContext | None = None,
        host: str = "127.0.0.1",
        port: int = 0,
    ) -> None:
        self.random = random.Random(seed)
        self.heartbeat_s = heartbeat_s
        self.region = ""  #: of its fault domain; empty: it names none
        self.cut_probability = cut_probability  #: of the stream, before each event
        self.framework_id = ""
        self.framework_info: Wire = {}
        self.stream: Connection | None = None
        self.stream_id = ""
        self.suppressed = False
        self.torn_down = False
        self.automatic = True  #: run launched tasks and kill killed ones at once
        self.agents: dict[str, SimulatedAgent] = {}
        self.tasks: dict[str, SimulatedTask] = {}
        self.offers: dict[str, Wire] = {}
        self.acknowledged: list[tuple[str, str]] = []  #: task id, uuid
        self._offer_numbers = itertools.count(1)
        self._faults: deque[Callable[[Request], None]] = deque()
        self._call_faults: deque[Callable[[Request], None]] = deque()
        self._frozen = False
        self._closing = threading.Event()
        super().__init__(tls, host, port)
        self._start(self._beat)

    def close(self) -> None:
        self._closing.set()
        super().close()

    # Faults

    def answer_subscribe(self, status: int, body: str = "", times: int = 1, headers: Wire | None = None) -> None:
        """Answer the next SUBSCRIBE calls with an error."""
        self._faults.extend([lambda r: r.connection.respond(status, body.encode(), headers)] * times)

    def redirect(self, address: str, times: int = 1) -> None:
        """Answer the next SUBSCRIBE calls with 307, in the form of a master that does not lead."""
        self.answer_subscribe(307, times=times, headers={"Location": f"//{address}/api/v1/scheduler"})

    def ignore_subscribe(self, times: int = 1) -> None:
        """Leave the next SUBSCRIBE calls without any answer."""
        self._faults.extend([lambda request: None] * times)

    def answer_call(self, status: int, body: str = "", times: int = 1) -> None:
        """Answer the next calls with an error, unperformed."""
        self._call_faults.extend([lambda r: r.connection.respond(status, body.encode())] * times)

    def ignore_calls(self, times: int = 1) -> None:
        """Leave the next calls without answer and effect."""
        self._call_faults.extend([lambda request: None] * times)

    def freeze(self) -> None:
        """Send nothing more on the present stream, while its connection stays: half-open, as after a lost RST."""
        with self.changed:
            self._frozen = True

    def cut_stream(self) -> None:
        """Close the event stream."""
        with self.changed:
            if self.stream is not None:
                self.stream.cut()

    def fail_over(self) -> None:
        """Become a newly elected master that knows no framework: it lost its streams and offers, tasks live on."""
        with self.changed:
            self.offers.clear()
            self.framework_id = ""
            for connection in self.connections:
                connection.cut()

    # Events

    def event(self, event: Wire) -> None:
        with self.changed:
            if self.stream is None or self._frozen:
                return
            if self.random.random() < self.cut_probability:
                self.stream.cut()
                return
            self.stream.event(event)

    def raw(self, data: bytes) -> None:
        """Put bytes on the stream, in a chunk of their own but with no frame."""
        with self.changed:
            if self.stream is not None:
                self.stream.chunk(data)

    def add_agent(self, agent_id: str = "agent-1", resources: list[Wire] | None = None, **more: Any) -> SimulatedAgent:
        with self.changed:
            agent = SimulatedAgent(agent_id, f"{agent_id}.test", resources or some_resources(), **more)
            self.agents[agent_id] = agent
            return agent

    def offer(self, *agent_ids: str, resources: list[Wire] | None = None) -> list[str]:
        """Offer the agents named, or all; returns the offers' ids."""
        with self.changed:
            offers = self.make_offers(*agent_ids, resources=resources)
            self.event({"type": "OFFERS", "offers": {"offers": offers}})
            return [offer["id"]["value"] for offer in offers]

    def make_offers(self, *agent_ids: str, resources: list[Wire] | None = None) -> list[Wire]:
        """Make offers of the agents named, or of all, and send none: a test that wants to do so itself."""
        with self.changed:
            chosen = [self.agents[agent_id] for agent_id in agent_ids or self.agents]
            return [self._offer(agent, resources or agent.resources) for agent in chosen]

    def _offer(self, agent: SimulatedAgent, resources: list[Wire]) -> Wire:
        offer: Wire = {
            "id": {"value": f"offer-{next(self._offer_numbers)}"},
            "framework_id": {"value": self.framework_id},
            "agent_id": {"value": agent.agent_id},
            "hostname": agent.hostname,
            "resources": resources,
            "attributes": agent.attributes,
            "executor_ids": [{"value": executor_id} for executor_id in sorted(agent.executor_ids)],
            "allocation_info": {"role": resources[0].get("allocation_info", {}).get("role", "*")},
        }
        self.offers[offer["id"]["value"]] = offer
        return offer

    def rescind(self, offer_id: str) -> None:
        with self.changed:
            self.offers.pop(offer_id, None)
            self.event({"type": "RESCIND", "rescind": {"offer_id": {"value": offer_id}}})

    def lose_agent(self, agent_id: str) -> None:
        with self.changed:
            self.agents[agent_id].alive = False
            self.event({"type": "FAILURE", "failure": {"agent_id": {"value": agent_id}}})

    def add_task(self, task_id: str, agent_id: str = "agent-1", executor_id: str = "executor-1") -> None:
        """Have a task that was launched before."""
        info = {"agent_id": {"value": agent_id}, "executor": {"executor_id": {"value": executor_id}}}
        with self.changed:
            self.tasks[task_id] = SimulatedTask({"task_id": {"value": task_id}, **info})

    def update(self, task_id: str, state: str, **more: Any) -> None:
        """Have the task's executor report a state: sent now or after those before it were acknowledged."""
        with self.changed:
            task = self.tasks[task_id]
            task.state = state
            agent_id, executor = task.info["agent_id"], task.info["executor"]["executor_id"]
            status = _status(task_id, state, "SOURCE_EXECUTOR", agent_id=agent_id, executor_id=executor, **more)
            status["uuid"] = base64.b64encode(uuid.UUID(int=self.random.getrandbits(128)).bytes).decode()
            task.pending.append(status)
            if len(task.pending) == 1:
                self._send_update(status)

    def resend_updates(self) -> None:
        """Send the oldest unacknowledged update of every task again, as agents do from time to time."""
        with self.changed:
            for task in self.tasks.values():
                if task.pending:
                    self._send_update(task.pending[0])

    def _send_update(self, status: Wire) -> None:
        self.event({"type": "UPDATE", "update": {"status": status}})

    def _beat(self) -> None:
        while not self._closing.wait(self.heartbeat_s):
            self.event({"type": "HEARTBEAT"})

    # Calls

    def handle(self, request: Request) -> None:
        if request.type == "SUBSCRIBE":
            if self._faults:
                self._faults.popleft()(request)
            else:
                self._subscribe(request)
            return
        refusal = self._refusal(request)
        if refusal is not None:
            request.connection.respond(*refusal)
        elif self._call_faults:
            self._call_faults.popleft()(request)
        else:
            request.connection.respond(202)
            getattr(self, f"_{request.type.lower()}", lambda content: None)(request.content)

    def _refusal(self, request: Request) -> tuple[int, bytes] | None:
        """As master/http.cpp judges calls, in its order."""
        if request.call.get("framework_id", {}).get("value") != self.framework_id:
            return 400, b"Framework cannot be found"
        if self.stream is None:
            return 403, b"Framework is not subscribed"
        stream_id = request.headers.get("mesos-stream-id")
        if stream_id is None:
            return 400, b"All non-subscribe calls should include the 'Mesos-Stream-Id' header"
        if stream_id != self.stream_id:
            return 400, f"The stream ID '{stream_id}' included in this request didn't match the stream ID".encode()
        return None

    def _subscribe(self, request: Request) -> None:
        if "mesos-stream-id" in request.headers:
            request.connection.respond(400, b"Subscribe calls should not include the 'Mesos-Stream-Id' header")
            return
        info = request.content["framework_info"]
        given = info.get("id", {}).get("value", "")
        if given != request.call.get("framework_id", {}).get("value", ""):
            request.connection.respond(400, b"'framework_id' differs from 'subscribe.framework_info.id'")
            return
        if self.stream is not None:
            self.stream.event({"type": "ERROR", "error": {"message": "Framework failed over"}})
            self.stream.cut()
        self.framework_id = given or f"framework-{self.random.getrandbits(32):08x}"
        self.framework_info = info
        self.suppressed = set(request.content.get("suppressed_roles", ())) >= set(info.get("roles", ("*",)))
        self.offers.clear()
        self.stream_id = str(uuid.UUID(int=self.random.getrandbits(128)))
        self._frozen = False
        request.connection.begin_stream({"Mesos-Stream-Id": self.stream_id})
        if self.torn_down:
            request.connection.event({"type": "ERROR", "error": {"message": "Framework has been removed"}})
            return
        self.stream = request.connection
        subscribed = {"framework_id": {"value": self.framework_id}, "heartbeat_interval_seconds": self.heartbeat_s}
        if self.region:
            domain = {"fault_domain": {"region": {"name": self.region}, "zone": {"name": "z"}}}
            subscribed["master_info"] = {"id": "m", "ip": 0, "port": 5050, "domain": domain}
        self.stream.event({"type": "SUBSCRIBED", "subscribed": subscribed})
        self.stream.event({"type": "HEARTBEAT"})

    def left(self, sock: socket.socket) -> None:
        if self.stream is not None and self.stream.sock is sock:
            self.stream = None

    def _accept_offers(self, content: Wire) -> bool:
        ids = [offer_id["value"] for offer_id in content["offer_ids"]]
        valid = all(offer_id in self.offers for offer_id in ids)
        for offer_id in ids:
            self.offers.pop(offer_id, None)
        return valid

    def _decline(self, content: Wire) -> None:
        self._accept_offers(content)

    def _accept(self, content: Wire) -> None:
        offered = [self.offers.get(offer_id["value"], {}) for offer_id in content["offer_ids"]]
        valid = self._accept_offers(content)
        for operation in content["operations"]:
            for info in operation.get("launch", {}).get("task_infos", ()):
                self._launch(info, offered, valid)
            if group := operation.get("launch_group"):
                for info in group["task_group"]["tasks"]:
                    self._launch({**info, "executor": group["executor"]}, offered, valid)

    def _launch(self, info: Wire, offered: list[Wire], valid: bool) -> None:
        task_id = info["task_id"]["value"]
        if not valid:
            reason = {"reason": "REASON_INVALID_OFFERS", "agent_id": info["agent_id"]}
            self._send_update(_status(task_id, "TASK_DROPPED", "SOURCE_MASTER", **reason))
            return
        agent = self.agents[info["agent_id"]["value"]]
        executor_id = info["executor"]["executor_id"]["value"]
        taken = info["resources"] + ([] if executor_id in agent.executor_ids else info["executor"]["resources"])
        problem = _not_offered(taken, [resource for offer in offered for resource in offer["resources"]])
        if problem:
            reason = {"reason": "REASON_TASK_INVALID", "agent_id": info["agent_id"], "message": problem}
            self._send_update(_status(task_id, "TASK_ERROR", "SOURCE_MASTER", **reason))
            return
        agent.executor_ids.add(executor_id)
        self.tasks[task_id] = SimulatedTask(info)
        if self.automatic:
            self.update(task_id, "TASK_STARTING")
            self.update(task_id, "TASK_RUNNING")

    def _kill(self, content: Wire) -> None:
        task_id = content["task_id"]["value"]
        if task_id not in self.tasks:
            self._reconcile({"tasks": [content]})
        elif self.automatic:
            self.update(task_id, "TASK_KILLED")

    def _acknowledge(self, content: Wire) -> None:
        task_id = content["task_id"]["value"]
        self.acknowledged.append((task_id, content["uuid"]))
        task = self.tasks.get(task_id)
        if task is None or not task.pending or task.pending[0]["uuid"] != content["uuid"]:
            return
        last = task.pending.popleft()
        if task.pending:
            self._send_update(task.pending[0])
        elif last["state"] in ("TASK_KILLED", "TASK_FINISHED", "TASK_FAILED", "TASK_ERROR"):
            del self.tasks[task_id]

    def _reconcile(self, content: Wire) -> None:
        asked = content.get("tasks") or [
            {"task_id": task.info["task_id"], "agent_id": task.info["agent_id"]} for task in self.tasks.values()
        ]
        for task in asked:
            task_id, agent = task["task_id"]["value"], task.get("agent_id", {})
            known = self.tasks.get(task_id)
            if known is not None:
                state, agent = known.state, known.info["agent_id"]
            else:
                # master.cpp: a registered agent without the task proves that it is gone; an unknown one proves nothing.
                state = "TASK_GONE" if agent.get("value") in self.agents else "TASK_UNKNOWN"
            more = {"agent_id": agent} if agent else {}
            self._send_update(_status(task_id, state, "SOURCE_MASTER", reason="REASON_RECONCILIATION", **more))

    def _suppress(self, content: Wire) -> None:
        self.suppressed = True

    def _revive(self, content: Wire) -> None:
        self.suppressed = False

    def _teardown(self, content: Wire) -> None:
        self.torn_down = True
        self.tasks.clear()
        if self.stream is not None:
            self.stream.cut()


def _status(task_id: str, state: str, source: str, **more: Any) -> Wire:
    return {"task_id": {"value": task_id}, "state": state, "source": source, "timestamp": time.time(), **more}


def _not_offered(taken: list[Wire], offered: list[Wire]) -> str:
    """Return why resources cannot be taken out of those offered: kind by kind, as Mesos compares them."""

    def kind(resource: Wire) -> str:
        value = ("scalar", "ranges")
        return repr(sorted((key, resource[key]) for key in resource if key not in value))

    left: dict[str, Any] = {}
    for resource in offered:
        if resource["type"] == "SCALAR":
            left[kind(resource)] = left.get(kind(resource), 0) + round(resource["scalar"]["value"] * 1000)
        else:
            left.setdefault(kind(resource), set()).update(_ports(resource))
    for resource in taken:
        here = left.get(kind(resource))
        if here is None:
            return f"not offered: {resource}"
        if resource["type"] == "SCALAR":
            left[kind(resource)] = here - round(resource["scalar"]["value"] * 1000)
            if left[kind(resource)] < 0:
                return f"more than offered: {resource}"
        elif not _ports(resource) <= here:
            return f"ports not offered: {resource}"
        else:
            here -= _ports(resource)
    return ""


def _ports(resource: Wire) -> set[int]:
    return {port for r in resource["ranges"]["range"] for port in range(r["begin"], r["end"] + 1)}
