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
from support.wrong_eratos import SIDES, VARIANTS, Side, Variant

pytestmark = [pytest.mark.e2e, pytest.mark.hours]

RATE = 100.0
ANSWERED = 0.999
APPS = ("/chaos", "/chaos-notes")


def start_anew(cluster: Cluster, settings: Settings, side: Side) -> None:
    """Have the code that lies there now run, and wait until every part is up with it."""
    for service in side.services:
        container = cluster.container_of(service)
        if not side.process:
            docker("restart", "-t", "2", container)
            continue
        for process in processes(container, side.process.replace(" ", "\\ ")):
            docker("exec", "-u", "0", container, "sh", "-c", f"kill -9 {process}")
    until(lambda: cluster.leader(), SOON_S, "a scheduler leads")
    until(lambda: not health.missing(settings), AFTER_HOST_LOSS_S, "every part is up")


def copy(source: str, target: str) -> None:
    subprocess.run(["docker", "cp", source, target], check=True, capture_output=True, timeout=60)


@contextlib.contextmanager
def built_wrongly(cluster: Cluster, settings: Settings, variant: Variant, kept: Path) -> Iterator[None]:
    """Have every process of a side run with other code, and in the end with its own again."""
    side = variant.side
    places = list(enumerate((service, file) for service in side.services for file in variant.files))
    for number, (service, file) in places:
        own = kept / f"{number}-own"
        copy(f"{cluster.container_of(service)}:{side.code}/{file}", str(own))
        assert own.read_text() == (ROOT / file).read_text(), "the cluster runs other code than this: ./dev up"
        (kept / f"{number}-wrong").write_text(variant.text(file))

    def lay(which: str) -> None:
        for number, (service, file) in places:
            copy(str(kept / f"{number}-{which}"), f"{cluster.container_of(service)}:{side.code}/{file}")

    try:
        with store_kept(cluster) if side is SIDES["scheduler"] else contextlib.nullcontext():
            try:
                lay("wrong")
                start_anew(cluster, settings, side)
                yield
            finally:
                lay("own")
    finally:
        start_anew(cluster, settings, side)


@contextlib.contextmanager
def store_kept(cluster: Cluster) -> Iterator[None]:
    """Leave the schedulers stopped, and their store as it was: what wrong ones have made of it no sound one may open."""
    schedulers = [cluster.container_of(service) for service in SIDES["scheduler"].services]
    words = ["docker", "exec", schedulers[0], "eratos-scheduler", "backup", "-"]
    backup = subprocess.run(words, check=True, capture_output=True, timeout=60).stdout
    try:
        yield
    finally:
        docker("stop", "-t", "2", *schedulers)
        variables = docker("inspect", "--format", "{{range .Config.Env}}{{println .}}{{end}}", schedulers[0]).splitlines()
        given = [word for variable in filter(None, variables) for word in ("--env", variable)]
        own = ["--network", f"{cluster.project}_default", "--volumes-from", schedulers[0]]
        words = ["docker", "run", "--rm", "-i", *own, *given, "--entrypoint", "eratos-scheduler", "eratos/scheduler"]
        subprocess.run([*words, "restore", "-", "--replace"], input=backup, check=True, capture_output=True, timeout=120)


def removed(cluster: Cluster, app_id: str) -> bool:
    """Remove an app, and what was launched of it and not stored: many such tasks at once are left alone until that is allowed."""
    cluster.delete(app_id)
    cluster.any_api("DELETE", "/v2/brake")
    return not cluster.states(app_id)


@pytest.mark.parametrize("variant", VARIANTS, ids=lambda variant: variant.name.replace(" ", "-"))
def test_it_is_caught(cluster: Cluster, settings: Settings, variant: Variant, tmp_path: Path) -> None:
    expected = Expected(recovery_s=variant.within_s, failed=0)
    with built_wrongly(cluster, settings, variant, tmp_path):
        chosen = Scenario(variant.name, tuple(Step((Act(name),), expected) for name in variant.faults), 1)
        found = command.perform(settings, chosen, RATE)
    for app_id in APPS:
        until(lambda app_id=app_id: removed(cluster, app_id), AFTER_HOST_LOSS_S, f"{app_id} is gone")
    told = command.told(found, trial.passed(found, ANSWERED), ANSWERED)
    assert not trial.passed(found, ANSWERED), told
    assert any(variant.caught in text for text in found["broken"]), told
