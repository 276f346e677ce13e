"""Puts the API together, and serves it from a thread of its own beside the loop."""

from __future__ import annotations

import functools
import logging
import ssl
import threading
import time
from collections.abc import Callable, Collection

import uvicorn
from fastapi import FastAPI
from prometheus_client import CollectorRegistry
from starlette.middleware.gzip import GZipMiddleware

from eratos.common import names, tunnel
from eratos.common.errors import FatalError
from eratos.common.log import fields
from eratos.scheduler.access.policy import Policy
from eratos.scheduler.access.tunnel_limits import TunnelLimits

from . import (
    apps,
    balancers,
    caller,
    cluster,
    dashboard,
    deployments,
    document,
    drains,
    errors,
    event_stream,
    groups,
    jobs,
    logs,
    metrics,
    moves,
    needs,
    overview,
    part_metrics,
    pods,
    quotas,
    service_ports,
    system,
    tasks,
    tunnels,
    usage,
    versions,
    volumes,
    who,
)
from .addresses import Addresses
from .connections import bounded
from .context import INSTANCES_MOST, Context
from .controller import Controller
from .gate import Access, Gate
from .manners import Manners
from .proxy import LeaderProxy

log = logging.getLogger(__name__)

#: How long requests under way may go on when the process stops.
STOP_S = 5

#: Connections at the same time, unless a setting says otherwise. Whoever follows a log holds one.
CONNECTIONS_MOST = 1000

#: Of gzip: a list of apps shrinks to a tenth all the same, in a third of the time.
COMPRESSION = 1

#: The system's authorities; to load them takes longer than a request.
_SYSTEMS = functools.cache(ssl.create_default_context)


def create_api(
    controller: Controller,
    clock: Callable[[], float] = time.time,
    registry: CollectorRegistry | None = None,
    executor_port: int = names.EXECUTOR_PORT,
    instances_most: int = INSTANCES_MOST,
    access: Access = Access(),  # noqa: B008  nothing in it can change
    leader_tls: Callable[[], ssl.SSLContext] = _SYSTEMS,
    agent_key: Callable[[str], str] = lambda agent_id: "",
    companion_key: str = "",
    role: str = "*",
    group_roles: Collection[str] = (),
    enforces_new: bool = False,
    policy: Policy = Policy(),  # noqa: B008
    ports: range = service_ports.DEFAULT,
    tunnel_limits: TunnelLimits = TunnelLimits(),  # noqa: B008
) -> FastAPI:
    """Return the whole API of one scheduler process. ``clock`` is the core's, ``registry`` takes the place of
    :func:`metrics.registry`'s.

    ``executor_port`` is where executors serve their tasks' logs, ``instances_most`` bounds the instances of all apps together;
    ``access`` says whom it lets in, ``leader_tls`` is what a follower checks an https leader with,
    ``agent_key`` is by which the executor on an agent knows schedulers, ``companion_key`` by which companions do,
    ``role`` the Mesos role of apps that state none, ``group_roles`` those of groups, ``enforces_new`` whether new
    top-level groups enforce theirs unless they say otherwise,
    ``policy`` what apps may ask for, ``ports`` from where service ports are chosen, ``tunnel_limits`` what tunnels there may be.
    """
    api = FastAPI(title="eratos", description="Marathon's API", docs_url=None, redoc_url=None, redirect_slashes=False)
    document.install(api)
    ctx = Context(
        controller,
        clock,
        executor_port,
        instances_most,
        role,
        policy,
        agent_key,
        ports,
        companion_key,
        tunnel_limits,
        group_roles,
        enforces_new,
    )
    errors.install(api, lambda request: ctx.discretion.of(caller.of(request)))
    exposed = registry if registry is not None else metrics.registry(controller, clock)
    routers = [metrics.router(exposed), part_metrics.router(ctx, exposed)]
    # Tasks and versions first: /v2/apps/{id}/tasks would be an app's id as well.
    modules = (
        logs,
        tasks,
        versions,
        apps,
        pods,
        groups,
        deployments,
        quotas,
        volumes,
        moves,
        drains,
        jobs,
        needs,
        cluster,
        overview,
        balancers,
        who,
        usage,
        system,
        event_stream,
        tunnels,
    )
    routers += [module.router(ctx) for module in modules]
    routers.append(dashboard.router())
    for router in routers:
        api.include_router(router)
    # The one added last stands in front: followers hand on what they are asked as it is.
    api.add_middleware(Addresses, routes=[*api.router.routes, *(route for router in routers for route in router.routes)])
    api.add_middleware(LeaderProxy, controller=controller, token=access.token, tls=leader_tls)
    api.add_middleware(GZipMiddleware, compresslevel=COMPRESSION)
    api.add_middleware(Gate, access=access)
    api.add_middleware(Manners)
    return api


class ApiServer:
    """Serves an API until stopped. The owner starts it once and stops it last, so that it can say what is going on."""

    def __init__(
        self, api: FastAPI, host: str, port: int, connections: int = CONNECTIONS_MOST, tls: ssl.SSLContext | None = None
    ) -> None:
        """``connections`` is how many there may be at the same time; ``tls`` is for https."""
        # Logging is set up by the process; uvicorn's own handlers would write every line twice.
        config = uvicorn.Config(
            api,
            host,
            port,
            log_config=None,
            log_level="warning",  # it takes https for http, as TLS is not its own
            access_log=False,
            proxy_headers=False,  # whoever runs on this host could claim any address
            ws="websockets-sansio",
            ws_max_size=tunnel.MESSAGE_MAX,
            ws_per_message_deflate=False,
            lifespan="off",
            timeout_graceful_shutdown=STOP_S,
            loop="asyncio",
            http=bounded(connections, tls=tls),  # type: ignore[arg-type]  # of h11: the other one takes headers without end
        )
        config.load()
        self._where = f"{host}:{port}"
        self._tls = tls is not None
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._run, name="api", daemon=True)

    def start(self) -> None:
        """Return once requests are served. Raises FatalError where the address cannot be listened on."""
        self._thread.start()
        while not self._server.started:
            self._thread.join(0.02)
            if not self._thread.is_alive():
                raise FatalError(f"the API cannot listen on {self._where}: is the port taken? See --http-host and --http-port")
        log.info("the API listens %s", fields(address=self._where, tls=self._tls))

    def stop(self) -> None:
        self._server.should_exit = True
        self._thread.join(STOP_S + 1)

    @property
    def port(self) -> int:
        """The port listened on; the system chooses where 0 was asked for."""
        return int(self._server.servers[0].sockets[0].getsockname()[1])

    def _run(self) -> None:
        try:
            self._server.run()
        except SystemExit:
            pass  # uvicorn's way to say that it cannot listen; start() reports it
