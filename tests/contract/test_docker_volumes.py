"""Volumes that outlive tasks, with the real Docker: made with marks, looked at before each start, destroyed on a wish alone."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from support.containers import docker
from support.executor import HOST
from support.runtimes import Rig, running

from eratos.common import names
from eratos.common.payload import KeptVolume, Volume
from eratos.executor.core import actions as do
from eratos.executor.core import events as on
from eratos.executor.core.container import volume_labels, volume_name


class Volumes:
    """A runtime, and one volume of the test's own."""

    def __init__(self, rig: Rig) -> None:
        self.rig = rig
        self.name = f"eratos-test-{rig.mark}"

    def start(self, script: str, task: str, *, new: bool = False, app_id: str = "/shop") -> str:
        kept = (KeptVolume(self.name, "data", "s1", new),)
        volumes = (Volume("/data", self.name, named=True),)
        return self.rig.start(script, task=task, keeps=kept, volumes=volumes, app_id=app_id)

    def ran(self, script: str, task: str, **options: bool) -> str:
        """Have a task run to its end and return what it wrote, which only a failed one is asked for."""
        return self.rig.examined(self.start(f"{script}; exit 1", task, **options)).log_tail.strip()

    def refusal(self, task: str, app_id: str = "/shop") -> str:
        task_id = self.start("exit 0", task, app_id=app_id)
        return self.rig.events.until(on.StartFailed, task_id=task_id).message

    def destroy(self, app_id: str = "/shop") -> str:
        host = self.rig.host
        self.rig.runtime.perform(do.DestroyVolume(self.name, self.name, volume_labels(self.name, app_id, host)))
        return self.rig.events.until(on.VolumeDestroyed, volume_id=self.name).error

    @property
    def there(self) -> bool:
        return self.name in docker("volume", "ls", "-q").split()


@pytest.fixture
def volumes(tmp_path: Path) -> Iterator[Volumes]:
    with running("docker", tmp_path) as rig:
        found = Volumes(rig)
        yield found
    subprocess.run(["docker", "volume", "rm", "-f", found.name], capture_output=True, timeout=60, check=False)


def test_a_new_volume_is_made_with_marks_and_the_next_task_finds_its_data(volumes: Volumes) -> None:
    assert volumes.ran("echo kept > /data/file; cat /data/file", "a", new=True) == "kept"
    shown = docker("volume", "inspect", volumes.name, "--format", "{{range $k, $v := .Labels}}{{$k}}={{$v}} {{end}}")
    host = volumes.rig.host
    for label in (
        f"{names.LABEL_FRAMEWORK}={host.framework_id}",
        f"{names.LABEL_APP}=/shop",
        f"{names.LABEL_VOLUME}={volumes.name}",
        f"{names.LABEL_PATH}=data",
    ):
        assert label in shown
    assert volumes.ran("cat /data/file", "b") == "kept"


def test_a_volume_that_should_be_there_and_is_not_is_never_replaced_by_an_empty_one(volumes: Volumes) -> None:
    message = volumes.refusal("a")
    assert f"volume {volumes.name} is not on {volumes.rig.host.name} any more" in message
    assert f"eratos volume delete {volumes.name}" in message
    assert not volumes.there


def test_the_volume_of_another_app_of_another_framework_or_of_nobody_is_refused(volumes: Volumes) -> None:
    volumes.ran("true", "a", new=True)
    assert "wrong volume" in (refused := volumes.refusal("b", app_id="/other")) and "belongs to app /shop" in refused
    assert "belongs to app /shop" in volumes.destroy("/other") and volumes.there
    own, volumes.rig.host = volumes.rig.host, replace(volumes.rig.host, framework_id="another")
    assert f"belongs to framework {own.framework_id}" in volumes.refusal("c")
    assert f"belongs to framework {own.framework_id}" in volumes.destroy() and volumes.there
    volumes.rig.host = own
    assert volumes.destroy() == ""
    docker("volume", "create", volumes.name)
    assert "was not made by eratos" in volumes.refusal("d")
    assert "was not made by eratos" in volumes.destroy() and volumes.there


def test_two_tasks_never_have_one_volume(volumes: Volumes) -> None:
    first = volumes.start("exec sleep 1000", "a", new=True)
    volumes.rig.events.until(on.ContainerStarted, task_id=first)
    assert f"still in use by container {names.container_name(first)}" in volumes.refusal("b")
    assert "in use by container" in volumes.destroy() and volumes.there
    volumes.rig.runtime.perform(do.KillContainer(first))
    volumes.rig.events.until(on.ContainerDied, task_id=first, exit_code=137)
    assert volumes.ran("echo alone", "c") == "alone"


def test_a_wish_destroys_a_volume_though_its_last_container_is_kept_for_its_log(volumes: Volumes) -> None:
    volumes.ran("true", "a", new=True)
    assert volumes.there, "a task's end leaves its volume"
    assert volumes.destroy() == "" and not volumes.there
    assert volumes.destroy() == "", "what is not there is destroyed"


def test_removing_a_container_leaves_its_volume(volumes: Volumes) -> None:
    task_id = volumes.start("true", "a", new=True)
    volumes.rig.events.until(on.ContainerDied, task_id=task_id)
    volumes.rig.runtime.perform(do.RemoveContainer(task_id))
    assert volumes.ran("echo alone", "b") == "alone"
    assert volumes.there


def test_played_hosts_have_volumes_of_their_own() -> None:
    played = replace(HOST, network="container:agent1", name="agent1:2")
    assert volume_name("eratos-shop-1", HOST) == "eratos-shop-1"
    assert volume_name("eratos-shop-1", played) == "agent1-2_eratos-shop-1"
