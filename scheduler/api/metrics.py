"""``/metrics`` for Prometheus: the state counted at the moment of the scrape, so that no number can go stale or drift."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from eratos.marathon.job import path_of
from eratos.scheduler.core import per_host, rollout
from eratos.scheduler.core.autoscale import Measured
from eratos.scheduler.core.refusals import Unavailable
from eratos.scheduler.core.state import State

from . import autoscaling
from .accept import JSON, TEXT, preferred
from .caller import VIEWERS_OF_ALL, RoleRoute
from .controller import Controller

#: Prometheus asks for it first, and takes the older form as well.
OPENMETRICS = "application/openmetrics-text"

_Counts = tuple[dict[str, float], Counter[tuple[str, str]], dict[str, tuple[int, int]]]


class StateCollector(Collector):
    """Reads the core's state anew for every scrape. A follower knows nothing of apps and reports none."""

    def __init__(self, controller: Controller, clock: Callable[[], float]) -> None:
        self._controller = controller
        self._clock = clock

    def collect(self) -> Iterable[Metric]:
        leading = self._controller.is_leader
        yield _gauge("eratos_leader", "1 while this scheduler decides", float(leading))
        if not leading:
            return
        try:
            totals, instances, apps = self._controller.read(lambda state: _count(state, self._clock()))
            autoscaled = self._controller.read(lambda state: _autoscaled(state, self._clock()))
            histories = self._controller.read(lambda state: dict(state.histories))
        except Unavailable:
            return
        for name, value in totals.items():
            yield _gauge(f"eratos_{name}", _HELP[name], value)
        yield _per_state(instances)
        wanted = GaugeMetricFamily("eratos_app_instances_wanted", "Instances that an app asks for", labels=["app"])
        ready = GaugeMetricFamily("eratos_app_instances_ready", "Instances that may get traffic", labels=["app"])
        for app_id, (asked, serving) in apps.items():
            wanted.add_metric([app_id], asked)
            ready.add_metric([app_id], serving)
        yield wanted
        yield ready
        yield from _of_autoscaling(autoscaled)
        ended = CounterMetricFamily(
            "eratos_job_instants", "Runs of a job that ended, and instants missed", labels=["job", "outcome"]
        )
        for job_id, history in sorted(histories.items()):
            counts = {"succeeded": history.successes, "failed": history.failures, "missed": history.missed}
            for outcome, count in counts.items():
                ended.add_metric([job_id, outcome], count)
        yield ended


_HELP = {
    "connected": "1 while subscribed with a Mesos master",
    "apps": "Apps",
    "deployments": "Deployments under way",
    "jobs": "Jobs",
    "job_runs_active": "Runs of jobs that have not ended",
    "instances_waiting": "Instances that wait for an offer",
    "tasks_unknown": "Running tasks that the store knows nothing of",
    "instances_unmade": "Instances that are wanted and are made once those before them are placed",
    "hosts_left_alone": "Hosts that take nothing for a while, because starts of several apps failed there",
    "hosts_to_sweep": "Hosts on which a dead executor may have left containers and services",
    "brake_engaged": "1 while the disaster brake holds launches and kills back",
    "records_spoilt": "Records in the store that cannot be read",
}


def _count(state: State, now: float) -> _Counts:
    totals = {
        "connected": float(state.connected),
        "apps": float(len(state.apps)),
        "deployments": float(len(state.deployments)),
        "jobs": float(len(state.jobs)),
        "job_runs_active": float(len(state.runs)),
        "instances_waiting": float(sum(len(state.fleet(app_id).waiting) for app_id in state.in_need)),
        "tasks_unknown": float(len(state.unknown) + len(state.returned)),
        "instances_unmade": float(sum(launches.unmade for launches in state.launches.values())),
        "hosts_left_alone": float(sum(trouble.until > now for trouble in state.troubles.values())),
        "hosts_to_sweep": float(len(state.sweeps)),
        "brake_engaged": float(state.brake.engaged),
        "records_spoilt": float(len(state.spoilt)),
    }
    instances: Counter[tuple[str, str]] = Counter()
    for fleet_id, fleet in state.fleets.items():
        run = state.runs.get(fleet_id)  # all of a job together: no two runs have the same id
        app_id = path_of(run.record.job_id) if run is not None else fleet_id
        for kind, count in fleet.tally.items():
            instances[app_id, kind.state.value if kind.state else "WAITING"] += count
    ready = {app.id: rollout.count(app, state.fleet(app.id).tally).ready for app in state.apps.values()}
    apps = {app.id: (per_host.wanted(state, app), ready[app.id]) for app in state.apps.values()}
    return totals, instances, apps


def _autoscaled(state: State, now: float) -> dict[str, tuple[int, Measured]]:
    """Return of each app that is autoscaled what it is to have, and what was measured."""
    found = {}
    for app in state.apps.values():
        if app.autoscale is not None:
            scaler = state.scalers.get(app.id)
            advice = scaler.last if scaler is not None and app.instances else None
            found[app.id] = advice.instances if advice is not None else app.instances, autoscaling.measured(state, app, now)
    return found


def _of_autoscaling(apps: Mapping[str, tuple[int, Measured]]) -> Iterable[Metric]:
    advised = GaugeMetricFamily("eratos_autoscale_instances", "Instances that an app should have by its load", labels=["app"])
    missing = GaugeMetricFamily("eratos_autoscale_missing", "1 while figures are missing: no scaling down", labels=["app"])
    loads = GaugeMetricFamily("eratos_autoscale_load", "What balancers measure of an app in all", labels=["app", "target"])
    for app_id, (instances, measured) in sorted(apps.items()):
        advised.add_metric([app_id], instances)
        missing.add_metric([app_id], float(bool(measured.missing)))
        for target, value in measured.values.items():
            loads.add_metric([app_id, target], value)
    return advised, missing, loads


def _gauge(name: str, text: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(name, text, value=value)


def _per_state(instances: Counter[tuple[str, str]]) -> GaugeMetricFamily:
    family = GaugeMetricFamily("eratos_instances", "Instances by app and state", labels=["app", "state"])
    for (app_id, state), count in sorted(instances.items()):
        family.add_metric([app_id, state], count)
    return family


def registry(controller: Controller, clock: Callable[[], float]) -> CollectorRegistry:
    """Return the registry behind ``/metrics``; the process may register counters of its own in it."""
    made = CollectorRegistry()
    made.register(StateCollector(controller, clock))
    ProcessCollector(registry=made)
    return made


def router(exposed: CollectorRegistry) -> APIRouter:
    """Return the two addresses at which Marathon has metrics: its JSON at the first, unless the client asks for text."""
    routes = APIRouter(tags=["system"], route_class=RoleRoute, dependencies=[VIEWERS_OF_ALL])

    @routes.get("/metrics")
    @routes.get("/metrics/prometheus")
    def show_metrics(request: Request) -> Response:
        kind = preferred(request.headers.get("accept"), (JSON, TEXT, OPENMETRICS))
        if kind in (JSON, None) and not request.scope["path"].endswith("/prometheus"):
            return JSONResponse(_json(exposed))
        return Response(generate_latest(exposed), media_type=CONTENT_TYPE_LATEST)

    return routes


def _json(exposed: CollectorRegistry) -> dict[str, Any]:
    """Return the metrics as Dropwizard's reporter writes them, labels behind the name."""
    shown: dict[str, Any] = {"version": "4.0.0", "gauges": {}, "counters": {}, "histograms": {}, "meters": {}, "timers": {}}
    for family in exposed.collect():
        for sample in family.samples:
            name = ".".join([sample.name, *sample.labels.values()])
            if family.type == "counter":
                shown["counters"][name] = {"count": sample.value}
            else:
                shown["gauges"][name] = {"value": sample.value}
    return shown
