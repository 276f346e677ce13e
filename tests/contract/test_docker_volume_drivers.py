"""Volumes of Docker's volume drivers, with the real Docker: its own with a mount's options, and a plugin of the tests.

This kernel mounts no NFS, so of that only what Docker is told is looked at; what is mounted is a folder of this machine.
"""

from __future__ import annotations

import json
import subprocess
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.containers import docker
from support.runtimes import Rig, running
from support.volume_plugin import volume_plugin

from eratos.common import names
from eratos.common.payload import DriverVolume, Volume
from eratos.executor.core import events as on


class Driven:
    """A runtime, and one volume of the test's own."""

    def __init__(self, rig: Rig) -> None:
        self.rig = rig
        self.name = f"eratos-test-{rig.mark}"

    def start(self, script: str, task: str, options: dict[str, str], *, driver: str = "local", **fields: Any) -> str:
        of_drivers = (DriverVolume(self.name, driver, options, **fields),)
        return self.rig.start(script, task=task, of_drivers=of_drivers, volumes=(Volume("/data", self.name, named=True),))

    def ran(self, script: str, task: str, options: dict[str, str], **fields: Any) -> str:
        """Have a task run to its end and return what it wrote, which only a failed one is asked for."""
        return self.rig.examined(self.start(f"{script}; exit 1", task, options, **fields)).log_tail.strip()

    def refusal(self, task: str, options: dict[str, str], **fields: Any) -> str:
        task_id = self.start("exit 0", task, options, **fields)
        return self.rig.events.until(on.StartFailed, task_id=task_id).message

    def shown(self) -> dict[str, Any]:
        (found,) = json.loads(docker("volume", "inspect", self.name))
        return dict(found)


@pytest.fixture
def driven(tmp_path: Path) -> Iterator[Driven]:
    with running("docker", tmp_path) as rig:
        found = Driven(rig)
        yield found
    subprocess.run(["docker", "volume", "rm", "-f", found.name], capture_output=True, timeout=60, check=False)


def bound(folder: Path) -> dict[str, str]:
    return {"type": "none", "o": "bind", "device": str(folder)}


def test_what_lies_elsewhere_is_mounted_and_the_next_task_finds_it(driven: Driven, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    assert driven.ran("echo kept > /data/file; cat /data/file", "a", bound(elsewhere)) == "kept"
    assert (elsewhere / "file").read_text() == "kept\n"
    assert driven.shown()["Labels"] == {names.LABEL_FRAMEWORK: driven.rig.host.framework_id}
    assert driven.ran("cat /data/file", "b", bound(elsewhere)) == "kept"
    other = driven.refusal("c", bound(tmp_path))
    assert f"wrong volume: {driven.name} on {driven.rig.host.name} was made with another device than the app states" in other


def test_nfs_is_what_docker_is_told_to_mount(driven: Driven) -> None:
    options = {"type": "nfs", "o": "addr=127.0.0.1,rw,nolock,soft,retrans=1,timeo=1", "device": ":/export/db"}
    message = driven.refusal("a", options)
    found = driven.shown()
    assert (found["Driver"], found["Options"]) == ("local", options)
    assert "mount" in message and ":/export/db" in message, "what Docker says of it is what the user is told"


def test_what_docker_says_of_a_mount_is_told_without_the_secret_in_it(driven: Driven) -> None:
    driven.rig.secrets["db/login"] = b"username=shop,password=hunter2,vers=3.0\n"
    options = {"type": "cifs", "device": "//127.0.0.1/none"}
    message = driven.refusal("a", options, secret_options={"o": "db/login"})
    assert driven.shown()["Options"]["o"] == "username=shop,password=hunter2,vers=3.0", "this is what Docker was told"
    assert "//127.0.0.1/none" in message and "hunter2" not in message and "username=shop" not in message


def test_a_volume_of_dockers_own_folder_of_that_name_is_another_one(driven: Driven, tmp_path: Path) -> None:
    docker("volume", "create", driven.name)
    assert "wrong volume" in driven.refusal("a", bound(tmp_path))
    assert "is one of Docker's driver local, and the app's is one of none" in driven.refusal("b", {}, driver="none")


def test_who_is_alone_does_not_start_beside_another_writer(driven: Driven, tmp_path: Path) -> None:
    first = driven.start("sleep 100", "a", bound(tmp_path))
    driven.rig.events.until(on.ContainerStarted, task_id=first)
    message = driven.refusal("b", bound(tmp_path), alone=True)
    assert f"volume {driven.name} is still in use by container {names.container_name(first)}" in message


def test_a_driver_that_is_not_there_is_named(driven: Driven) -> None:
    message = driven.refusal("a", {}, driver="eratos-none")
    assert f"volume {driven.name} cannot be made on {driven.rig.host.name}" in message and "eratos-none" in message


@pytest.fixture(scope="module")
def plugin() -> Iterator[str]:
    with volume_plugin(f"eratos-test-{uuid.uuid4().hex}") as name:
        yield name


def test_a_plugin_makes_finds_and_mounts(driven: Driven, plugin: str) -> None:
    assert driven.ran("echo kept > /data/file; cat /data/file", "a", {"size": "5"}, driver=plugin) == "kept"
    found = driven.shown()
    assert (found["Driver"], found["Options"]) == (f"{plugin}:latest", {"size": "5"})
    assert driven.ran("cat /data/file", "b", {"size": "5"}, driver=plugin) == "kept"
    assert "was made with another size" in driven.refusal("c", {"size": "6"}, driver=plugin)


def test_what_a_plugin_repeats_of_a_secret_is_not_told(driven: Driven, plugin: str) -> None:
    driven.rig.secrets["login"] = b'hunter"2'
    message = driven.refusal("a", {"fail": "1"}, driver=plugin, secret_options={"password": "login"})
    assert "cannot be made" in message and "refused with" in message and "hunter" not in message
