"""An eratos that is broken on purpose is caught by chaos: what it promises, it has to be able to miss."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from devtool import health
from devtool.chaos import command, trial
from devtool.chaos.scenario import Act, Expected, Scenario, Step
from devtool.settings import Settings
from support.cluster import AFTER_HOST_LOSS_S, SOON_S, Cluster
from support.containers import docker, processes
from support.folders import ROOT
from support.waiting import until
from support.wrong_eratos import CODE, VARIANTS, Variant

pytestmark = [pytest.mark.e2e, pytest.mark.hours]

RATE = 20.0
ANSWERED = 0.999
#: What is sound is well again by then, and what is not need not be waited for.
WITHIN_S = 60.0


def start_anew(cluster: Cluster, settings: Settings, variant: Variant) -> None:
    """Have the code that lies there now run, and wait until every part is up with it."""
    for service in variant.services:
        container = cluster.container_of(service)
        if variant.side == "scheduler":
            docker("restart", "-t", "2", container)
            continue
        for process in processes(container, "/opt/eratos/bin/python*eratos-executor"):
            docker("exec", "-u", "0", container, "sh", "-c", f"kill -9 {process}")
    until(lambda: cluster.leader(), SOON_S, "a scheduler leads")
    until(lambda: not health.missing(settings), AFTER_HOST_LOSS_S, "every part is up")


def copy(source: str, target: str) -> None:
    subprocess.run(["docker", "cp", source, target], check=True, capture_output=True, timeout=60)


@contextlib.contextmanager
def built_wrongly(cluster: Cluster, settings: Settings, variant: Variant, kept: Path) -> Iterator[None]:
    """Have every process of a side run with other code, and in the end with its own again."""
    places = [(service, file) for service in variant.services for file in sorted({file for file, _, _ in variant.changes})]
    for number, (service, file) in enumerate(places):
        own = kept / f"{number}-own"
        copy(f"{cluster.container_of(service)}:{CODE[variant.side]}/{file}", str(own))
        assert own.read_text() == (ROOT / file).read_text(), "the cluster runs other code than this: ./dev up"
        (kept / f"{number}-wrong").write_text(variant.text(file))

    def lay(which: str) -> None:
        for number, (service, file) in enumerate(places):
            copy(str(kept / f"{number}-{which}"), f"{cluster.container_of(service)}:{CODE[variant.side]}/{file}")

    try:
        lay("wrong")
        start_anew(cluster, settings, variant)
        yield
    finally:
        lay("own")
        start_anew(cluster, settings, variant)
        # What was launched and not stored is unknown to the next leader, and many at once are left alone until this.
        until(lambda: cluster.any_api("DELETE", "/v2/brake").status_code < 500, SOON_S, "the brake is released")


@pytest.mark.parametrize("variant", VARIANTS, ids=lambda variant: variant.name.replace(" ", "-"))
def test_it_is_caught(cluster: Cluster, settings: Settings, variant: Variant, tmp_path: Path) -> None:
    with built_wrongly(cluster, settings, variant, tmp_path):
        chosen = Scenario(variant.name, tuple(Step((Act(name),), Expected(recovery_s=WITHIN_S)) for name in variant.faults), 1)
        found = command.perform(settings, chosen, RATE)
    for app_id in ("/chaos", "/chaos-notes"):
        cluster.delete(app_id)
        until(lambda app_id=app_id: not cluster.tasks(app_id), AFTER_HOST_LOSS_S, f"{app_id} is gone")
    told = command.told(found, trial.passed(found, ANSWERED), ANSWERED)
    assert not trial.passed(found, ANSWERED), told
    assert any(variant.caught in text for text in found["broken"]), told
