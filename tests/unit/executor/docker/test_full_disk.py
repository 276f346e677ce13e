"""The Docker runtime on a host whose disk is full."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest
from support.executor import HOST, Events

from eratos.executor.core import actions as do
from eratos.executor.core import events as on
from eratos.executor.docker.client import DockerClient
from eratos.executor.docker.files import DockerFiles
from eratos.executor.docker.runtime import DockerRuntime


def test_a_full_disk_is_what_a_failed_start_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_room(self: DockerFiles, action: do.StartContainer) -> str:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(DockerFiles, "create", no_room)
    monkeypatch.setattr(DockerClient, "api", object())  # it would answer
    events = Events()
    runtime = DockerRuntime(DockerClient(f"unix://{tmp_path}/none.sock"), tmp_path, HOST, events.emit, lambda _: True)
    runtime.perform(do.StartContainer("a", "a", "image", {"HostConfig": {}}))
    try:
        told = events.until(on.StartFailed).message
    finally:
        runtime.stop(20)
    assert "No space left on device" in told and "internal error" not in told
