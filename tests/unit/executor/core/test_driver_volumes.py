"""Volumes of Docker's volume drivers, as the executor's core sees them."""

from __future__ import annotations

from dataclasses import replace

import pytest
from support.executor import HOST, a_payload

from eratos.common import names
from eratos.common.errors import PermanentError
from eratos.common.payload import DriverVolume, TaskPayload, Volume
from eratos.executor.core import actions as do
from eratos.executor.core.start import start_action

NFS = DriverVolume("db", "local", {"type": "nfs", "device": ":/db"}, {"o": "db/login"}, alone=True)
REXRAY = DriverVolume("files", "rexray", {"size": "5"})
MOUNTS = (
    Volume("/db", "db", named=True),
    Volume("/files", "files", read_only=True, named=True),
    Volume("/own", "own", named=True),
)


def test_a_start_says_which_volumes_a_driver_has_to_have() -> None:
    payload = a_payload(of_drivers=(NFS, REXRAY), volumes=MOUNTS)
    again = TaskPayload.from_bytes(payload.to_bytes())
    assert again == payload
    start = start_action(again, HOST)
    assert isinstance(start, do.StartContainer)
    marks = {names.LABEL_FRAMEWORK: HOST.framework_id}
    assert start.of_drivers == (
        do.HostDriverVolume("db", "local", {"type": "nfs", "device": ":/db"}, {"o": "db/login"}, marks, True),
        do.HostDriverVolume("files", "rexray", {"size": "5"}, {}, marks),
    )
    assert start.config["HostConfig"]["Binds"] == ["db:/db:rw", "files:/files:ro", "own:/own:rw"]


def test_played_hosts_have_a_name_of_dockers_own_driver_each_and_one_of_any_other_together() -> None:
    start = start_action(a_payload(of_drivers=(NFS, REXRAY), volumes=MOUNTS), replace(HOST, network="container:a1", name="a1"))
    assert isinstance(start, do.StartContainer)
    assert [volume.name for volume in start.of_drivers] == ["a1_db", "files"]
    assert start.config["HostConfig"]["Binds"] == ["a1_db:/db:rw", "files:/files:ro", "a1_own:/own:rw"]


def test_a_payload_without_them_is_what_executors_of_the_version_before_read() -> None:
    assert b"of_drivers" not in a_payload(volumes=MOUNTS).to_bytes()


def test_a_process_has_none() -> None:
    with pytest.raises(PermanentError, match="of_drivers needs a container"):
        start_action(a_payload(image="", args=("x",), of_drivers=(REXRAY,)), HOST)
