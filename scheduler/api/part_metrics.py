"""``/v2/metrics/...``: what the leader, executors and balancers count, and the list of all there is to scrape.

Not Marathon's. Executors and companions answer those alone who prove to have their key, which no Prometheus can do. So the
scheduler asks them: one address and one credential are enough, and hosts need to be reached by schedulers only.

``GET /v2/metrics/targets`` is in the form of Prometheus' ``http_sd_configs``
(https://prometheus.io/docs/prometheus/latest/http_sd). Each target is this API itself, at the path of the part. Whichever
scheduler is asked, it hands on to the leader, which alone knows of apps.
"""

from __future__ import annotations

import asyncio
from typing import Any, Final
from urllib.parse import quote

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from starlette.concurrency import run_in_threadpool

from eratos.common import async_http, exposition
from eratos.scheduler.core.state import State

from .caller import VIEWERS_OF_ALL, RoleRoute
from .context import Context
from .errors import ApiError

#: Prometheus' own limit is 10 s unless set otherwise.
ANSWER_S: Final = 5.0
_MOST_BYTES: Final = 4 * 1024 * 1024


def router(ctx: Context, exposed: CollectorRegistry) -> APIRouter:
    routes = APIRouter(prefix="/v2/metrics", tags=["system"], route_class=RoleRoute, dependencies=[VIEWERS_OF_ALL])

    @routes.get("/targets")
    def list_targets(request: Request) -> Response:
        # Where whoever asks has found a scheduler: through a proxy, or a follower, that is another address than this one's.
        here = request.headers.get("x-forwarded-host") or request.headers.get("host", "")
        scheme = request.headers.get("x-forwarded-proto") or request.url.scheme
        hosts = ctx.controller.read(_executors)
        parts = [("scheduler", "leader", "/v2/metrics/leader")]
        parts += [("executor", host, f"/v2/metrics/executors/{quote(host, safe='')}") for host in sorted(hosts)]
        balancers = sorted(balancer.name for balancer in ctx.controller.balancers())
        parts += [("balancer", name, f"/v2/metrics/balancers/{quote(name, safe='')}") for name in balancers]
        return JSONResponse([_target(here, scheme, *part) for part in parts])

    @routes.get("/leader")
    def show_leader() -> Response:
        return Response(generate_latest(exposed), media_type=CONTENT_TYPE_LATEST)

    @routes.get("/executors/{host}")
    async def show_executor(host: str) -> Response:
        agent_id = (await run_in_threadpool(ctx.controller.read, _executors)).get(host)
        if agent_id is None:
            raise ApiError(404, f"no executor is known on a host '{host}'")
        return await _scraped(host, ctx.executor_port, ctx.headers(agent_id, "/metrics"), f"the executor on {host}")

    @routes.get("/balancers/{name}")
    async def show_balancer(name: str) -> Response:
        found = next((balancer for balancer in ctx.controller.balancers() if balancer.name == name), None)
        if found is None:
            raise ApiError(404, f"no balancer '{name}' is registered in Consul")
        headers = ctx.companion_headers("/metrics")
        return await _scraped(found.address, found.port, headers, f"the companion of balancer {name}")

    return routes


def _executors(state: State) -> dict[str, str]:
    """Return the hosts with tasks, each with its agent's id: the executor of others, if there is one, has nothing to count."""
    return {instance.hostname: instance.agent_id for instance in state.instances.values() if instance.hostname}


def _target(here: str, scheme: str, job: str, instance: str, path: str) -> dict[str, Any]:
    labels = {"__scheme__": scheme, "__metrics_path__": path, "job": f"eratos-{job}", "instance": instance}
    return {"targets": [here], "labels": labels}


async def _scraped(host: str, port: int, headers: dict[str, str], whose: str) -> Response:
    """Hand on the answer to a scrape. Raises ApiError."""
    try:
        async with asyncio.timeout(ANSWER_S):
            answer = await async_http.request(host, port, "/metrics", headers=headers, most=_MOST_BYTES)
    except async_http.Failure as error:
        raise ApiError(503, f"{whose} does not answer at {host}:{port}: {async_http.reason(error)}") from error
    if answer.status == 404:
        raise ApiError(503, f"{whose} is of a version that counts nothing")
    if answer.status != 200:
        raise ApiError(503, f"{whose} answers {answer.status}")
    return Response(answer.body, media_type=exposition.CONTENT_TYPE)
