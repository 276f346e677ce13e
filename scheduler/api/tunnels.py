"""Tunnels into instances: ``/v2/tunnels/exec`` runs a command beside a task, ``/v2/tunnels/forward`` leads to a port of an app.

Both are WebSockets, whose messages :mod:`eratos.common.tunnel` describes; asked without an upgrade they say where they would
lead. What there is to refuse is refused before the upgrade, as any request is.
"""

from __future__ import annotations

import asyncio
import random
import shlex
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from typing import Final
from urllib.parse import urlencode

from fastapi import APIRouter, WebSocket
from fastapi.responses import JSONResponse
from starlette.concurrency import run_in_threadpool

from eratos.common import names, tunnel
from eratos.common.tunnel import Command, Kind
from eratos.marathon.pod import Pod
from eratos.marathon.strict_json import shortened
from eratos.scheduler.access.roles import Role
from eratos.scheduler.access.tunnel_limits import EXEC, FORWARD
from eratos.scheduler.core.instances import Instance
from eratos.scheduler.core.mesos_types import TaskState
from eratos.scheduler.core.state import State

from .caller import Caller, Deployer, GroupOperator, RoleRoute
from .context import Context, path_id, unknown_app
from .errors import ApiError
from .explain import explain
from .tunnel_relay import Executor, Opening, Places, Relay, Target, connect

#: For the client to say what is to run.
BEGIN_S: Final = 10.0
#: Ready instances that are tried for one connection.
TRIES: Final = 3
#: Of a command, in the line about it.
_COMMAND_SHOWN: Final = 500
#: Of the reasons why no instance is ready.
_REASONS_SHOWN: Final = 3


def router(ctx: Context) -> APIRouter:
    routes = APIRouter(prefix="/v2/tunnels", tags=["tunnels"], route_class=RoleRoute)
    commands = Places("commands", ctx.tunnels.commands, "--exec-sessions")
    connections = Places("connections", ctx.tunnels.connections, "--forward-connections")

    @routes.get("/exec")
    def look_at_exec(caller: GroupOperator, name: str, container: str = "") -> JSONResponse:
        _allow(ctx, EXEC)
        return JSONResponse(_of_command(ctx, caller, name, container).shown())

    @routes.get("/forward")
    def look_at_forward(caller: Deployer, app: str) -> JSONResponse:
        _allow(ctx, FORWARD)
        return JSONResponse(_ready(ctx, caller, app)[0].shown())

    @routes.websocket("/exec")
    async def execute(websocket: WebSocket) -> None:
        opening = Opening(websocket, EXEC)
        async with opening.answered(Role.OPERATE), AsyncExitStack() as stack:
            _allow(ctx, EXEC)
            name, container = opening.parameter("name"), opening.parameter("container")
            target = await run_in_threadpool(_of_command, ctx, opening.caller, name, container)
            stack.enter_context(commands.one())
            query = urlencode({"container": target.container}) if target.container else ""
            executor = await connect(ctx, target, "exec", query, stack)
            await opening.accept(target)
            await _run(ctx, opening, target, executor)

    @routes.websocket("/forward")
    async def forward(websocket: WebSocket) -> None:
        opening = Opening(websocket, FORWARD)
        async with opening.answered(Role.DEPLOY), AsyncExitStack() as stack:
            _allow(ctx, FORWARD)
            name, port = opening.parameter("app"), opening.parameter("port")
            targets = await run_in_threadpool(_ready, ctx, opening.caller, name)
            stack.enter_context(connections.one())
            target, executor = await _first(ctx, targets, urlencode({"port": port}), stack)
            await opening.accept(target)
            opening.note(task=target.task_id, host=target.hostname, status=101)
            await Relay(opening, executor, target.hostname, ctx.tunnels.idle_s).run()

    return routes


def _allow(ctx: Context, what: str) -> None:
    """Raise ApiError where the operators of the cluster allow no such tunnels."""
    if what not in ctx.tunnels.kinds:
        raise ApiError(403, f"{what} is switched off on this cluster: see --tunnels")


def _of_command(ctx: Context, caller: Caller, name: str, container: str) -> Target:
    """Return the instance that a name is, or the best one of the app that it is. Raises ApiError."""
    instance_id = parsed[0] if (parsed := names.parse_task_id(name)) else name
    owner = ctx.controller.read(lambda s: found.app_id if (found := s.instances.get(instance_id)) else "")
    app_id = owner or path_id(name, "App or instance")
    caller.require(Role.OPERATE, (app_id,))

    def look(state: State) -> Target:
        mine = [found for found in state.instances_of(app_id) if not owner or found.instance_id == instance_id]
        app = state.in_force(app_id)
        if not mine and app is None:
            raise ApiError(404, f"App or instance '{shortened(name)}' does not exist")
        if owner and parsed and not any(found.task_id == name for found in mine):
            raise ApiError(404, f"task '{name}' has ended: the instance's task is another one by now")
        running = [found for found in mine if found.state is TaskState.RUNNING]
        if not running:
            raise ApiError(409, f"no instance of {app_id} runs{_reasons(ctx, state, app_id)}")
        checked = app is not None and app.checked
        best = min(running, key=lambda found: (not found.ready(checked), found.instance_id))
        return _target(best, _container(app, container))

    return ctx.controller.read(look)


def _container(app: object, wanted: str) -> str:
    """Return in which container of a pod a command runs; an app has none by a name. Raises ApiError."""
    known = tuple(each.name for each in app.spec.containers) if isinstance(app, Pod) else ()
    if wanted and wanted not in known:
        has = f"it has {', '.join(known)}" if known else "it is no pod"
        raise ApiError(404, f"there is no container '{shortened(wanted)}': {has}")
    return wanted or (known[0] if known else "")


def _ready(ctx: Context, caller: Caller, name: str) -> Sequence[Target]:
    """Return the ready instances of an app, one at least, in any order. Raises ApiError."""
    app_id = path_id(name)
    caller.require(Role.DEPLOY, (app_id,))

    def look(state: State) -> list[Target]:
        app = state.in_force(app_id)
        if app is None:
            raise unknown_app(app_id)
        found = [_target(instance) for instance in state.instances_of(app_id) if instance.ready(app.checked)]
        if not found:
            raise ApiError(409, f"no instance of {app_id} is ready{_reasons(ctx, state, app_id)}")
        return found

    found = ctx.controller.read(look)
    random.shuffle(found)
    return found


def _target(instance: Instance, container: str = "") -> Target:
    return Target(instance.app_id, instance.task_id, instance.agent_id, instance.hostname, container)


def _reasons(ctx: Context, state: State, app_id: str) -> str:
    """Say why an app has no instance to lead to, to follow a sentence."""
    app = state.apps.get(app_id)
    if app is None:
        return ""
    reasons = explain(state, app, ctx.clock(), {})["reasons"]
    if not reasons:
        return ": none is wanted" if not app.instances else ""
    return ": " + "; ".join(reason["message"] for reason in reasons[:_REASONS_SHOWN])


async def _first(ctx: Context, targets: Sequence[Target], query: str, stack: AsyncExitStack) -> tuple[Target, Executor]:
    """Connect to the first of some instances that accepts. Raises ApiError, the last one's."""
    tried = targets[:TRIES]
    for target in tried:
        try:
            return target, await connect(ctx, target, "connect", query, stack)
        except ApiError as failure:
            # Another instance has no other ports. One that has just gone is not ready any more soon.
            if failure.status == 404 or target is tried[-1]:
                raise
    raise AssertionError("there is one at least")


async def _run(ctx: Context, opening: Opening, target: Target, executor: Executor) -> None:
    """Have the client's command run, with a line at its begin and one at its end."""
    try:
        async with asyncio.timeout(BEGIN_S):
            data = (await opening.websocket.receive()).get("bytes") or b""
        kind, payload = tunnel.parsed(data)
        if kind is not Kind.BEGIN:
            raise ValueError(f"what is to run is missing, {kind.name} came")
        command = Command.from_bytes(payload)
    except (ValueError, TimeoutError) as failure:
        raise ApiError(422, f"the command is refused: {failure or 'it did not come in time'}") from None
    shown = shlex.join(command.arguments)[:_COMMAND_SHOWN]
    where = {"task": target.task_id, "host": target.hostname, "container": target.container or None, "command": shown}
    opening.note(**where, status=101)
    began = time.monotonic()
    relay = Relay(opening, executor, target.hostname, ctx.tunnels.idle_s)
    try:
        await executor.send(data)
        await relay.run()
    finally:
        opening.note(**where, exit=relay.code, failure=relay.failure or None, seconds=round(time.monotonic() - began, 1))
