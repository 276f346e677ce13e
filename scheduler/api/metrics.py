"""``/metrics`` for Prometheus: the state counted at the moment of the scrape, so that no number can go stale or drift."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from copy import copy, deepcopy
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric, SummaryMetricFamily
from prometheus_client.registry import Collector

from eratos.common.exposition import Family
from eratos.marathon.job import path_of
from eratos.scheduler.core import drains, per_host, rollout
from eratos.scheduler.core.error_budget import Ledger
from eratos.scheduler.core.lives import Lives
from eratos.scheduler.core.refusals import Unavailable
from eratos.scheduler.core.state import Outcome, State

from . import autoscaling, explain
from .accept import JSON, TEXT, preferred
from .caller import VIEWERS_OF_ALL, RoleRoute
from .controller import Controller

#: Prometheus asks for it first, and takes the older form as well.
OPENMETRICS = "application/openmetrics-text"

#: Of an app that is autoscaled: instances that it is to have, what is measured, and whether any of that is missing.
_Scaled = tuple[int, Mapping[str, float], bool]
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
            waiting = self._controller.read(_waiting)
            autoscaled = self._controller.read(lambda state: _autoscaled(state, self._clock()))
            budgets = self._controller.read(_budgets)
            lives = self._controller.read(lambda state: deepcopy(state.lives))
            histories = self._controller.read(lambda state: dict(state.histories))
            over = self._controller.read(lambda state: dict(state.ends))
        except Unavailable:
            return
        for name, value in totals.items():
            yield _gauge(f"eratos_{name}", _HELP[name], value)
        yield from map(_metric, self._controller.loop_families())
        yield _per_state(instances)
        wanted = GaugeMetricFamily("eratos_app_instances_wanted", "Instances that an app asks for", labels=["app"])
        ready = GaugeMetricFamily("eratos_app_instances_ready", "Instances that may get traffic", labels=["app"])
        for app_id, (asked, serving) in apps.items():
            wanted.add_metric([app_id], asked)
            ready.add_metric([app_id], serving)
        yield wanted
        yield ready
        waits = GaugeMetricFamily(
            "eratos_app_instances_waiting", "Instances of an app that wait to be launched, by why", labels=["app", "reason"]
        )
        for (app_id, why), count in sorted(waiting.items()):
            waits.add_metric([app_id, why], count)
        yield waits
        yield from _of_lives(lives)
        yield from _of_autoscaling(autoscaled)
        yield from _of_budgets(budgets)
        ended = CounterMetricFamily(
            "eratos_job_instants", "Runs of a job that ended, and instants missed", labels=["job", "outcome"]
        )
        for job_id, history in sorted(histories.items()):
            counts = {"succeeded": history.successes, "failed": history.failures, "missed": history.missed}
            for outcome, count in counts.items():
                ended.add_metric([job_id, outcome], count)
        yield ended
        deployed = CounterMetricFamily(
            "eratos_deployments_ended", "Deployments that ended since this scheduler leads, by how", labels=["outcome"]
        )
        for how in Outcome:
            deployed.add_metric([how.value.replace(" ", "_")], over.get(how, 0))
        yield deployed


_HELP = {
    "connected": "1 while subscribed with a Mesos master",
    "apps": "Apps",
    "deployments": "Deployments under way",
    "deployments_paused": "Deployments that are paused",
    "deployments_at_gate": "Deployments of which an app stands at a gate of its canary",
    "hosts_drained": "Hosts that are drained because somebody asked for it",
    "drain_instances_left": "Instances that are still on hosts that are drained, or whose volumes are still to go from there",
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
        "deployments_paused": float(sum(found.record.paused for found in state.deployments.values())),
        "deployments_at_gate": float(sum(bool(found.reached) for found in state.deployments.values())),
        "hosts_drained": float(len(state.drains)),
        "drain_instances_left": float(sum(drains.left(state, hostname, now) for hostname in state.drains)),
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


def _waiting(state: State) -> Counter[tuple[str, str]]:
    """Return how many instances wait, by app, or by the path of a job, and why."""
    found: Counter[tuple[str, str]] = Counter()
    for fleet_id in state.in_need:
        launches, run = state.launches.get(fleet_id), state.runs.get(fleet_id)
        why = launches.waiting.value if launches is not None and launches.waiting is not None else explain.NEW
        count = len(state.fleet(fleet_id).waiting) + (launches.unmade if launches is not None else 0)
        if count:
            found[path_of(run.record.job_id) if run is not None else fleet_id, why] += count
    return found


def _autoscaled(state: State, now: float) -> dict[str, _Scaled]:
    """Return of each app that is autoscaled what it is to have, and what was measured."""
    found: dict[str, _Scaled] = {}
    for app in state.apps.values():
        if app.autoscale is not None:
            scaler = state.scalers.get(app.id)
            advice = scaler.last if scaler is not None and app.instances else None
            instances = advice.instances if advice is not None else app.instances
            found[app.id] = instances, *autoscaling.loads(state, app, now)
    return found


def _of_autoscaling(apps: Mapping[str, _Scaled]) -> Iterable[Metric]:
    advised = GaugeMetricFamily("eratos_autoscale_instances", "Instances that an app should have by its load", labels=["app"])
    missing = GaugeMetricFamily("eratos_autoscale_missing", "1 while figures are missing: no scaling down", labels=["app"])
    loads = GaugeMetricFamily("eratos_autoscale_load", "What is measured of an app in all", labels=["app", "target"])
    for app_id, (instances, measured, lacks) in sorted(apps.items()):
        advised.add_metric([app_id], instances)
        missing.add_metric([app_id], float(lacks))
        for target, value in measured.items():
            loads.add_metric([app_id, target], value)
    return advised, missing, loads


def _budgets(state: State) -> dict[str, Ledger]:
    found = ((app.id, state.budgets.get(app.id)) for app in state.apps.values() if app.error_budget is not None)
    return {app_id: copy(ledger) for app_id, ledger in found if ledger is not None}


def _of_budgets(apps: Mapping[str, Ledger]) -> Iterable[Metric]:
    left, burn, spent, missing = (
        GaugeMetricFamily(f"eratos_app_error_budget_{name}", text, labels=["app"])
        for name, text in (
            ("remaining_ratio", "Share of an app's error budget that is left, below 0 beyond it"),
            ("burn_rate", "How many times faster than its error budget allows an app's requests fail of late"),
            ("spent", "1 while what is planned of an app waits for its error budget"),
            ("missing", "1 while figures are missing, of which nothing is spent or earned"),
        )
    )
    for app_id, ledger in sorted(apps.items()):
        if ledger.balance.remaining is not None:
            left.add_metric([app_id], ledger.balance.remaining)
        burn.add_metric([app_id], ledger.balance.burn_rate)
        spent.add_metric([app_id], float(ledger.spent))
        missing.add_metric([app_id], float(bool(ledger.missing)))
    return left, burn, spent, missing


def _of_lives(apps: Mapping[str, Lives]) -> Iterable[Metric]:
    restarts = CounterMetricFamily("eratos_app_restarts", "Tasks that ended although nobody had asked for it", labels=["app"])
    start, ready, drain = (
        SummaryMetricFamily(f"eratos_app_{name}_seconds", text, labels=["app"])
        for name, text in (
            ("start", "From the launch of a task until it runs"),
            ("ready", "From the launch of a task until it is ready for the first time"),
            ("drain", "From the wish to stop a task until it has ended, its drain and its grace included"),
        )
    )
    for app_id, lives in sorted(apps.items()):
        restarts.add_metric([app_id], lives.restarts)
        for family, total in ((start, lives.start), (ready, lives.ready), (drain, lives.drain)):
            family.add_metric([app_id], total.count, total.sum_s)
    return restarts, start, ready, drain


def _metric(found: Family) -> Metric:
    """Return a family that another part of this process counts, in the client's form."""
    metric = Metric(found.name, found.text, found.kind)
    for sample in found.samples:
        metric.add_sample(found.name + sample.suffix, dict(sample.labels), sample.value)
    return metric


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
