"""A leader and a follower with an executor behind them, for tunnels: real sockets, and real processes beside played tasks."""

from __future__ import annotations

import asyncio
import os
import socket
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from support.builders import an_app, an_offer
from support.commands import Seen
from support.controller import FakeController
from support.waiting import until

from eratos.common import tunnel
from eratos.common.browser_guard import BrowserGuard
from eratos.common.tunnel import Command, Gone, Kind, Tunnel
from eratos.executor.endpoint import Access as ExecutorAccess
from eratos.executor.endpoint import Endpoint
from eratos.executor.io_thread import IoThread
from eratos.executor.process.sessions import ProcessSessions
from eratos.executor.process.spawner import Spawner
from eratos.executor.readiness import ReadinessResults
from eratos.executor.tunnels import Tunnels
from eratos.marathon.client import Login, MarathonClient
from eratos.marathon.tunnels import end_of, opened
from eratos.scheduler.access import credentials
from eratos.scheduler.access.authenticator import Authenticator, CredentialsFile
from eratos.scheduler.access.roles import Grant
from eratos.scheduler.access.tunnel_limits import TunnelLimits
from eratos.scheduler.api.gate import Access
from eratos.scheduler.api.server import ApiServer, create_api
from eratos.scheduler.core.events import PutApps

KEY = "of-this-agent"
TOKENS = {name: credentials.new_token() for name in ("operator", "deployer", "viewer", "banker")}
ROLES = {"operator": "operate:/shop", "deployer": "deploy:/shop", "viewer": "view:/", "banker": "operate:/bank"}
APP = "/shop/cart"


@dataclass
class World:
    """A leader and a follower over one controller, and an executor on this host."""

    controller: FakeController
    folder: Path
    spawner: Spawner
    nobody: socket.socket  #: bound, and does not listen: who connects is refused
    executor_port: int = 0
    io: IoThread = field(init=False)
    leader: ApiServer = field(init=False)
    follower: ApiServer = field(init=False)
    target: int = 0  #: where every port of every task is
    refusing: set[str] = field(default_factory=set)  #: tasks at which nobody accepts
    through: str = "leader"

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{(self.leader if self.through == 'leader' else self.follower).port}"

    def client(self, name: str = "operator") -> MarathonClient:
        return MarathonClient(self.url, login=Login(token=TOKENS[name]))

    def running(self, instances: int = 1, **fields: Any) -> list[str]:
        self.controller.submit(PutApps((an_app(APP, instances, **fields),)))
        tasks = self.controller.launch(replace(an_offer(), hostname="127.0.0.1"))
        for task in tasks:
            self.controller.update(task, "RUNNING")
        return tasks

    def options(self, task_id: str) -> dict[str, Any]:
        return {"spawner": self.spawner, "cwd": self.folder, "env": {"PATH": os.environ["PATH"], "COLOUR": "green"}}

    def reach(self, task_id: str, port: str) -> tuple[str, int]:
        return "127.0.0.1", self.nobody.getsockname()[1] if task_id in self.refusing else self.target

    def exec(self, *arguments: str, act: Any = None, given: bytes = b"", name: str = APP, who: str = "operator") -> Seen:
        return asyncio.run(run(self.client(who), name, Command(arguments), given, act))


async def run(
    client: MarathonClient,
    name: str,
    command: Command,
    given: bytes = b"",
    act: Callable[[Tunnel, Seen], Coroutine[Any, Any, None]] | None = None,
) -> Seen:
    """Run a command to its end."""
    seen = Seen()
    async with asyncio.timeout(60), await opened(client, "/v2/tunnels/exec", {"name": name}) as connection:
        assert connection.response is not None
        seen.task = connection.response.headers[tunnel.TASK]
        end = end_of(connection, seen.told)
        await end.say(Kind.BEGIN, command.to_bytes())
        try:
            await seen.follow(end, given, act)
        except Gone:
            pass
    return seen


async def written(seen: Seen, text: bytes) -> None:
    while text not in seen.output:
        await asyncio.sleep(0.02)


@contextmanager
def served(folder: Path, limits: TunnelLimits) -> Iterator[World]:
    """Serve an API, by a leader and by a follower, with an executor behind it."""
    path = folder / "credentials"
    entries = [
        credentials.line(name, "token", credentials.token_entry(token), (Grant.parse(ROLES[name]),))
        for name, token in TOKENS.items()
    ]
    path.write_text("".join(entries))
    path.chmod(0o600)
    access = Access(BrowserGuard(), Authenticator(CredentialsFile(path)))
    with socket.socket() as nobody, closing(Spawner()) as spawner:
        nobody.bind(("127.0.0.1", 0))
        world = World(FakeController(), folder, spawner, nobody)
        io = world.io = IoThread()
        io.start()
        tunnels = Tunnels([ProcessSessions(world.options)], world.reach)
        endpoint = Endpoint(io, [], ReadinessResults(), "127.0.0.1", 0, lambda: ExecutorAccess(key=KEY), tunnels=tunnels)
        endpoint.start()
        until(lambda: endpoint.port, 10, "the executor listens")
        world.executor_port = endpoint.port or 0
        api = create_api(
            world.controller,
            time.time,
            executor_port=world.executor_port,
            access=access,
            agent_key=lambda agent: KEY,
            tunnel_limits=limits,
        )
        world.leader = ApiServer(api, "127.0.0.1", 0)
        world.leader.start()
        follows = FakeController(is_leader=False, leader=f"http://127.0.0.1:{world.leader.port}")
        world.follower = ApiServer(create_api(follows, access=access), "127.0.0.1", 0)
        world.follower.start()
        yield world
        world.follower.stop()
        world.leader.stop()
        io.stop()


through_both = pytest.mark.parametrize("world", ["leader", "follower"], indirect=True)


def lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.name == "eratos.scheduler.audit"]
