"""Puts the API together, and serves it from a thread of its own beside the loop."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import uvicorn
from fastapi import FastAPI
from prometheus_client import CollectorRegistry

from eratos.common import names
from eratos.common.errors import FatalError

from . import apps, cluster, errors, groups, logs, metrics, tasks
from .addresses import Addresses
from .context import INSTANCES_MOST, Context
from .controller import Controller
from .proxy import LeaderProxy

#: How long requests under way may go on when the process stops.
STOP_S = 5

#: A request's first line and its headers.
HEADERS_BYTES_MAX = 64 * 1024


def create_api(
    controller: Controller,
    clock: Callable[[], float] = time.time,
    registry: CollectorRegistry | None = None,
    executor_port: int = names.EXECUTOR_PORT,
    instances_most: int = INSTANCES_MOST,
) -> FastAPI:
    """Return the whole API of one scheduler process. ``clock`` is the core's, ``registry`` takes the place of
    :func:`metrics.registry`'s.

    ``executor_port`` is where executors serve their tasks' logs, ``instances_most`` bounds the instances of all apps together.
    """
    api = FastAPI(title="eratos", description="Marathon's API", docs_url=None, redoc_url=None, redirect_slashes=False)
    errors.install(api)
    ctx = Context(controller, clock, executor_port, instances_most)
    routers = [metrics.router(registry if registry is not None else metrics.registry(controller, clock))]
    # Tasks first: /v2/apps/{id}/tasks would be an app's id as well.
    routers += [module.router(ctx) for module in (logs, tasks, apps, groups, cluster)]
    for router in routers:
        api.include_router(router)
    # The one added last stands in front: followers hand on what they are asked as it is.
    api.add_middleware(Addresses, routes=[*api.router.routes, *(route for router in routers for route in router.routes)])
    api.add_middleware(LeaderProxy, controller=controller)
    return api


class ApiServer:
    """Serves an API until stopped. The owner starts it once and stops it last, so that it can say what is going on."""

    def __init__(self, api: FastAPI, host: str, port: int) -> None:
        # Logging is set up by the process; uvicorn's own handlers would write every line twice.
        config = uvicorn.Config(
            api,
            host,
            port,
            log_config=None,
            access_log=False,
            lifespan="off",
            timeout_graceful_shutdown=STOP_S,
            loop="asyncio",
            http="h11",  # the other one takes headers without end
            h11_max_incomplete_event_size=HEADERS_BYTES_MAX,
        )
        self._where = f"{host}:{port}"
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._run, name="api", daemon=True)

    def start(self) -> None:
        """Return once requests are served. Raises FatalError where the address cannot be listened on."""
        self._thread.start()
        while not self._server.started:
            self._thread.join(0.02)
            if not self._thread.is_alive():
                raise FatalError(f"the API cannot listen on {self._where}: is the port taken? See --http-host and --http-port")

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
            pass  # uvicorn's way to say that it cannot listen; start() tells the owner
