"""Chaos by chance on the real cluster: whatever breaks, everything is well again, and requests are answered meanwhile."""

from __future__ import annotations

import contextlib
import os
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from devtool import cluster as of_cluster
from devtool.chaos import command, faults, scenario, strike, trial
from devtool.settings import Settings
from support.cluster import AFTER_HOST_LOSS_S, Cluster, whole
from support.containers import docker
from support.folders import ROOT
from support.waiting import until

pytestmark = pytest.mark.e2e

#: GETs a second: enough to see what a fault costs, and few enough for any machine.
RATE = 20.0
ANSWERED = 0.999
#: Of the short trial. Each costs a minute or so.
FEW = 4
SEED = 1
#: Bounds of a run that hangs: its apps are at rest before it breaks anything, and what it broke is undone.
DEPLOYED_S, RESTORED_S = 400, 300


def assert_passed(found: dict[str, Any]) -> None:
    assert trial.passed(found, ANSWERED), {key: value for key, value in found.items() if key != "failures"}


def test_a_few_faults_by_chance(settings: Settings) -> None:
    chosen = scenario.by_chance(SEED, FEW, scenario.selection([], ["host-off"]))
    assert_passed(command.perform(settings, chosen, RATE))


@pytest.mark.hours
@pytest.mark.parametrize("seed", range(1, 11))
def test_every_fault_once_in_an_order_by_chance(settings: Settings, seed: int) -> None:
    chosen = scenario.by_chance(seed, len(faults.ALL), scenario.selection([], []))
    assert_passed(command.perform(settings, chosen, RATE))


@pytest.mark.hours
@pytest.mark.parametrize("path", sorted((ROOT / "compose-dev" / "scenarios").glob("*.yaml")), ids=lambda path: path.stem)
def test_the_scenarios(settings: Settings, path: Path) -> None:
    found = command.perform(settings, scenario.read(path, Path(sys.executable)), RATE)
    assert_passed(found)


def test_a_run_that_is_killed_is_made_good_by_the_next(cluster: Cluster, settings: Settings) -> None:
    frozen = cluster.container_of("master2")
    words = ["network-disconnected", "--part", "master2", "--hold", "10m", "--rate", "5"]
    process = subprocess.Popen(
        [str(ROOT / "dev"), "chaos", *words], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=os.environ
    )

    def struck() -> bool:
        if process.poll() is not None:
            assert process.stdout is not None
            pytest.fail(f"it has ended by itself: {process.stdout.read()}")
        return not attached(frozen)

    try:
        until(struck, DEPLOYED_S, "master2 is disconnected")
    finally:
        process.kill()
        process.communicate()
    assert not attached(frozen)
    done = subprocess.run(
        [str(ROOT / "dev"), "chaos", "restore"], capture_output=True, text=True, timeout=RESTORED_S, check=False
    )
    assert done.returncode == 0 and "master2 is disconnected" in done.stderr, done
    assert attached(frozen)
    until(lambda: whole(settings), AFTER_HOST_LOSS_S, "every part is up")
    remove(cluster)


#: What changes the network, the disk, containers and processes, and lasts.
LASTING = (
    "cut",
    "loss",
    "delay",
    "bandwidth",
    "disk-full",
    "scheduler-frozen",
    "host-off",
    "worker-hung",
    "network-disconnected",
)


#: Of the seeds, this one's run is killed the latest, in the midst of its faults.
@pytest.mark.parametrize("seed", [2, *(pytest.param(seed, marks=pytest.mark.hours) for seed in range(1, 13) if seed != 2)])
def test_whatever_a_run_was_doing_when_it_was_killed_is_made_good(cluster: Cluster, settings: Settings, seed: int) -> None:
    chance = random.Random(seed)
    only = [word for name in LASTING for word in ("--only", name)]
    words = ["random", *only, "--seed", str(seed), "--count", "3", "--rate", "5"]
    process = subprocess.Popen(
        [str(ROOT / "dev"), "chaos", *words], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=os.environ
    )
    assert process.stdout is not None
    try:
        said: list[str] = []
        while not said or "seed " not in said[-1]:
            said.append(process.stdout.readline())
            assert said[-1], f"it has ended: {said}"
        # At any moment: before a fault, in the midst of one, while it lasts, while it is undone.
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(chance.uniform(5, 40))
    finally:
        process.kill()
        process.communicate()
    done = subprocess.run(
        [str(ROOT / "dev"), "chaos", "restore"], capture_output=True, text=True, timeout=RESTORED_S, check=False
    )
    assert done.returncode == 0, done
    # A scheduler that was thawed ends by itself and is started again. What else would be left goes by no part of its own accord.
    until(lambda: nothing_left(settings), AFTER_HOST_LOSS_S, "nothing is broken any more")
    until(lambda: whole(settings), AFTER_HOST_LOSS_S, "every part is up")
    remove(cluster)


def remove(cluster: Cluster) -> None:
    for app_id in ("/chaos", "/chaos-notes"):
        cluster.delete(app_id)
    for app_id in ("/chaos", "/chaos-notes"):
        until(lambda app_id=app_id: not cluster.states(app_id), AFTER_HOST_LOSS_S, f"{app_id} is gone")


def nothing_left(settings: Settings) -> bool:
    found = left(settings)
    assert not found, found
    return True


def left(settings: Settings) -> list[str]:
    """Return what is still broken, by the look of every container and of its network and disks."""
    found = []
    for one in of_cluster.containers(settings.project):
        if not one.running:
            found.append(f"{one.service} does not run: {one.state}")
            continue
        look = "iptables -S 2>/dev/null; tc qdisc show"
        rules = docker(
            "run", "--rm", "--network", f"container:{one.id}", "--cap-add", "NET_ADMIN", strike.TOOLS, "sh", "-c", look
        )
        found += [f"{one.service}: {line}" for line in rules.splitlines() if "eratos-" in line or "tbf" in line]
        mounts = docker("exec", one.id, "cat", "/proc/mounts")
        found += [f"{one.service}: {line}" for line in mounts.splitlines() if line.startswith("eratos-")]
    return found + docker("ps", "-q", "--filter", f"label=eratos.chaos-tool={settings.project}").split()


def attached(container: str) -> bool:
    return "_default" in docker("inspect", "--format", "{{json .NetworkSettings.Networks}}", container)
