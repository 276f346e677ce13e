"""Copies of volumes with the real Docker, between two hosts that are played: all of a volume arrives, or none of it counts."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from support.containers import docker
from support.runtimes import SOCKET, Rig, running
from support.waiting import until

from eratos.common import keys, names
from eratos.executor.core import actions as do
from eratos.executor.core import events as on
from eratos.executor.core.container import volume_labels, volume_name
from eratos.executor.core.host import Host
from eratos.executor.docker.client import DockerClient
from eratos.executor.docker.copies import DockerCopies
from eratos.executor.docker.volumes import DockerVolumes
from eratos.executor.endpoint import Access, Endpoint
from eratos.executor.io_thread import IoThread
from eratos.executor.readiness import ReadinessResults

KEY, APP = "5" * 64, "/shop"  # of the source's executor
TASK = "shop.instance-copy._app.1"
#: One of each kind, with owners, modes and times that are not the usual ones.
FILL = """
cd /data && chown 12:34 . && chmod 2750 .
mkdir -p deep/er && echo 'text' >deep/er/file && chown 5:6 deep/er/file && chmod 4741 deep/er/file
touch -d 2001-02-03T04:05:06 deep/er/file
ln -s ../nowhere deep/link && ln -s /etc/passwd deep/outside && ln deep/er/file hard
mkfifo pipe && : >empty && touch "$(printf 'a name\\nof two lines')" .hidden
head -c 3000000 /dev/urandom >big && truncate -s 20M sparse && echo end >>sparse
"""
#: All that can be told of what is in a volume, with times in whole seconds, as Docker's archives have them.
LIST = (
    r"cd /data && find . -printf '%P|%U:%G|%m|%y|%l|%n|%T@\n' | sed 's/\.[0-9]*$//' | sort"
    r" && find . -type f -exec md5sum {} + | sort"
)


class Copying:
    """Two hosts with one Docker, the endpoint of the one, and what the other copies from there."""

    def __init__(self, rig: Rig, io: IoThread) -> None:
        self.rig = rig
        self.hosts = {name: replace(rig.host, name=name, network=f"container:{name}") for name in ("one", "two")}
        self.id = f"eratos-test-{rig.mark}"
        source = self.copies("one")
        server = Endpoint(io, [], ReadinessResults(), "127.0.0.1", 0, lambda: Access(key=KEY), volumes=source)
        server.start()
        self.port = until(lambda: server.port, 10, "the source listens")

    def copies(self, name: str) -> DockerCopies:
        client, host = DockerClient(SOCKET), self.hosts[name]
        port = 0 if name == "one" else self.port
        return DockerCopies(client, DockerVolumes(client, host, 0.5), host, self.rig.events.emit, port)

    def volume(self, name: str) -> str:
        return volume_name(self.id, self.hosts[name])

    def labels(self, host: Host) -> dict[str, str]:
        return {**volume_labels(self.id, APP, host), names.LABEL_PATH: "data"}

    def make(self, *options: str, name: str = "one") -> None:
        labels = (f"--label={key}={value}" for key, value in self.labels(self.hosts[name]).items())
        docker("volume", "create", *labels, *options, self.volume(name))

    def run(self, name: str, script: str) -> str:
        mount = f"{self.volume(name)}:/data:nocopy"
        return docker(
            "run", "--rm", "--network", "none", "-u", "0", "--entrypoint", "sh", "-v", mount, self.rig.image, "-c", script
        )

    def copy(self, key: str = KEY) -> str:
        """Copy, and return why that failed."""
        volume = do.HostVolume(self.id, self.volume("two"), self.labels(self.hosts["two"]), new=True)
        copy = do.HostCopy(self.id, "127.0.0.1", APP, "data", volume, keys.volume_key(key, self.id))
        self.copies("two").perform(do.CopyVolumes(TASK, (copy,)))
        return self.rig.events.until(on.CopyDone, task_id=TASK).error

    def clear(self) -> None:
        for name in self.hosts:
            subprocess.run(["docker", "volume", "rm", "-f", self.volume(name)], capture_output=True, timeout=60, check=False)


@pytest.fixture
def copying(tmp_path: Path) -> Iterator[Copying]:
    io = IoThread()
    io.start()
    with running("docker", tmp_path) as rig:
        found = Copying(rig, io)
        yield found
    io.stop()
    found.clear()


def test_all_of_a_volume_arrives_as_it_was_and_nothing_else_is_left(copying: Copying) -> None:
    copying.make()
    copying.run("one", FILL)
    before = copying.run("one", LIST)
    assert copying.copy() == ""
    assert copying.run("two", LIST) == before == copying.run("one", LIST)
    assert "deep/er/file|5:6|4741|f||2|981173106" in before and "|12:34|2750|d|" in before
    held = docker("ps", "-aq", "--filter", f"label={names.LABEL_FRAMEWORK}={copying.rig.host.framework_id}")
    assert held.split() == [], "the containers that held the volumes are gone"


def test_what_cannot_be_copied_says_why_and_the_source_is_as_it_was(copying: Copying) -> None:
    assert f"volume {copying.volume('one')} is not on one" in copying.copy()
    copying.make()
    copying.run("one", "echo kept >/data/file")
    assert "gives no volume: only an executor that is to copy the volume" in copying.copy("6" * 64)
    docker("run", "-d", "--name", f"user-{copying.rig.mark}", "--network", "none", "-v", f"{copying.volume('one')}:/data",
           "--entrypoint", "sleep", copying.rig.image, "1000")  # fmt: skip
    try:
        assert f"is in use by container user-{copying.rig.mark}" in copying.copy()
    finally:
        docker("rm", "-f", f"user-{copying.rig.mark}")
    assert copying.run("one", "cat /data/file") == "kept"


def test_a_read_only_disk_is_named_and_the_source_is_as_it_was(copying: Copying) -> None:
    copying.make()
    copying.run("one", "echo kept >/data/file")
    copying.make("-o", "type=tmpfs", "-o", "device=tmpfs", "-o", "o=ro", name="two")
    assert "read-only file system" in copying.copy()
    assert copying.run("one", "cat /data/file") == "kept"


def test_a_full_disk_is_named(copying: Copying) -> None:
    copying.make()
    copying.run("one", "head -c 9000000 /dev/urandom >/data/big")
    copying.make("-o", "type=tmpfs", "-o", "device=tmpfs", "-o", "o=size=1m", name="two")
    assert "no space left on device" in copying.copy()
