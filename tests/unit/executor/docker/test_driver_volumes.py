"""Volumes of Docker's volume drivers: found or made, and what is another one. Docker is played; the real one is asked in
``tests/contract/test_docker_volume_drivers.py``.
"""

from __future__ import annotations

from typing import Any

import pytest
from docker import errors
from support.executor import HOST

from eratos.common.errors import PermanentError, TemporaryError
from eratos.executor.core.actions import HostDriverVolume
from eratos.executor.docker.volumes import DockerVolumes

NFS = {"type": "nfs", "o": "addr=10.0.0.9", "device": ":/db"}


class Docker:
    """A client and its API in one: volumes by name, and containers that have them."""

    def __init__(self) -> None:
        self.api = self
        self.volumes: dict[str, dict[str, Any]] = {}
        self.there: list[dict[str, Any]] = []
        self.refuses = ""

    def inspect_volume(self, name: str) -> dict[str, Any]:
        if name not in self.volumes:
            raise errors.NotFound("no such volume")
        return self.volumes[name]

    def create_volume(self, name: str, driver: str, driver_opts: Any, labels: Any) -> dict[str, Any]:
        if self.refuses:
            raise errors.APIError(self.refuses)
        self.volumes[name] = {"Name": name, "Driver": driver, "Options": driver_opts or None, "Labels": labels}
        return self.volumes[name]

    def containers(self, **_: Any) -> list[dict[str, Any]]:
        return self.there

    def explain(self, error: Exception) -> str:
        return str(error)

    def uses(self, name: str, *, writes: bool, state: str = "running") -> None:
        self.there = [{"State": state, "Names": ["/other"], "Mounts": [{"Name": name, "RW": writes}]}]


@pytest.fixture
def docker() -> Docker:
    return Docker()


def find_or_make(docker: Docker, options: Any = NFS, secrets: Any = (), *, driver: str = "local", alone: bool = False) -> None:
    volume = HostDriverVolume("db", driver, options, {}, {"eratos.framework": "fw1"}, alone)
    DockerVolumes(docker, HOST, 0.0).find_or_make(volume, dict(secrets), "own")  # type: ignore[arg-type]


def test_it_is_made_once_with_its_options_and_found_from_then_on(docker: Docker) -> None:
    find_or_make(docker)
    assert docker.volumes["db"]["Options"] == NFS and docker.volumes["db"]["Labels"] == {"eratos.framework": "fw1"}
    docker.refuses = "it is there already"
    find_or_make(docker)


def test_secret_options_are_told_to_docker_beside_the_others(docker: Docker) -> None:
    find_or_make(docker, {"type": "nfs", "device": ":/db"}, {"o": "addr=10.0.0.9"})
    assert docker.volumes["db"]["Options"] == NFS


@pytest.mark.parametrize(
    ("there", "words"),
    [
        ({"Driver": "rexray", "Options": NFS}, "is one of Docker's driver rexray, and the app's is one of local"),
        ({"Driver": "local", "Options": None}, "was made with another device, o, type than the app states"),
        ({"Driver": "local", "Options": {**NFS, "o": "addr=secret"}}, "was made with another o than the app states"),
        ({"Driver": "local", "Options": {**NFS, "size": "5"}}, "was made with another size than"),
    ],
)
def test_a_volume_that_is_another_is_left_alone_and_its_options_are_not_told(docker: Docker, there: Any, words: str) -> None:
    docker.volumes["db"] = there
    with pytest.raises(PermanentError, match=r"^wrong volume: db on ") as wrong:
        find_or_make(docker)
    assert words in str(wrong.value) and "give the app's volume another name" in str(wrong.value)
    assert "secret" not in str(wrong.value) and docker.volumes["db"] is there


@pytest.mark.parametrize(
    ("options", "fits"), [(None, True), ({"size": "5"}, True), ({"size": "6"}, False), ({"size": "5", "iops": "9"}, False)]
)
def test_of_a_volume_of_another_host_docker_knows_no_options(docker: Docker, options: Any, fits: bool) -> None:
    docker.volumes["db"] = {"Driver": "rexray:latest", "Options": options}
    if fits:
        find_or_make(docker, {"size": "5"}, driver="rexray")
    else:
        with pytest.raises(PermanentError, match="wrong volume"):
            find_or_make(docker, {"size": "5"}, driver="rexray")


def test_who_is_alone_waits_for_whoever_writes_on_this_host(docker: Docker) -> None:
    docker.uses("db", writes=True)
    find_or_make(docker)
    with pytest.raises(TemporaryError, match="volume db is still in use by container other: one at a time may write"):
        find_or_make(docker, alone=True)
    docker.uses("db", writes=False)
    find_or_make(docker, alone=True)
    docker.uses("db", writes=True, state="exited")
    find_or_make(docker, alone=True)


def test_a_bind_is_not_hidden_in_a_secret(docker: Docker) -> None:
    with pytest.raises(PermanentError, match="the secret in its option o holds bind"):
        find_or_make(docker, {"type": "none", "device": "/"}, {"o": "ro,bind"})
    assert not docker.volumes


def test_what_a_driver_says_is_told_without_the_secrets_that_it_repeats(docker: Docker) -> None:
    docker.refuses = "no login with password=hunter2 at nas"
    with pytest.raises(TemporaryError) as failed:
        find_or_make(docker, {}, {"login": "user=u,password=hunter2"}, driver="sshfs")
    assert str(failed.value) == f"volume db cannot be made on {HOST.name}: no login with password=*** at nas"
    assert failed.value.__cause__ is None and failed.value.__suppress_context__
