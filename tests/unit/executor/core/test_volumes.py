"""Volumes that outlive tasks, as the executor's core sees them."""

from __future__ import annotations

from dataclasses import replace

import pytest
from support.executor import HOST, a_payload

from eratos.common import names
from eratos.common.errors import PermanentError
from eratos.common.payload import KeptVolume, TaskPayload, Volume
from eratos.executor.core import actions as do
from eratos.executor.core import events as on
from eratos.executor.core.lifecycle import Machine
from eratos.executor.core.start import start_action

KEPT = KeptVolume("eratos-shop-1", "data", "s1", True)
LABELS = {names.LABEL_FRAMEWORK: "fw1", names.LABEL_APP: "/shop", names.LABEL_VOLUME: "eratos-shop-1"}


def test_a_start_says_which_volumes_it_needs_and_whose_they_must_be():
    payload = a_payload(keeps=(KEPT,), volumes=(Volume("/data", "eratos-shop-1", named=True),))
    again = TaskPayload.from_bytes(payload.to_bytes())
    assert again == payload
    start = start_action(again, HOST)
    assert isinstance(start, do.StartContainer)
    assert start.volumes == (do.HostVolume("eratos-shop-1", "eratos-shop-1", {**LABELS, names.LABEL_PATH: "data"}, True),)
    assert start.config["HostConfig"]["Binds"] == ["eratos-shop-1:/data:rw"]
    played = start_action(again, replace(HOST, network="container:agent1", name="agent1"))
    assert isinstance(played, do.StartContainer)
    assert played.config["HostConfig"]["Binds"] == [f"{played.volumes[0].name}:/data:rw"] == ["agent1_eratos-shop-1:/data:rw"]


def test_a_payload_without_volumes_is_what_executors_of_the_version_before_read():
    assert b"keeps" not in a_payload().to_bytes()


def test_a_process_has_no_volumes():
    with pytest.raises(PermanentError, match="keeps needs a container"):
        start_action(a_payload(image="", args=("x",), keeps=(KEPT,)), HOST)


def test_what_the_scheduler_wants_destroyed_is_destroyed_and_what_came_of_it_is_told():
    machine = Machine(HOST, 5.0, lambda: 0.5)
    assert machine.handle(on.VolumeUnwanted("eratos-shop-1", "/shop"), 0.0) == [
        do.DestroyVolume("eratos-shop-1", "eratos-shop-1", LABELS)
    ]
    told = machine.handle(on.VolumeDestroyed("eratos-shop-1", "in use"), 1.0)
    assert told == [do.ReportVolume("eratos-shop-1", "in use")]
