"""What scheduler and executors tell each other of volumes."""

from __future__ import annotations

import pytest

from eratos.common.volume_messages import DestroyVolume, VolumeDestroyed


def test_each_message_is_read_as_what_it_is():
    asked, answered = DestroyVolume("eratos-db-1", "/db"), VolumeDestroyed("eratos-db-1", "in use")
    assert DestroyVolume.from_bytes(asked.to_bytes()) == asked
    assert VolumeDestroyed.from_bytes(answered.to_bytes()) == answered
    assert DestroyVolume.from_bytes(answered.to_bytes()) is None and VolumeDestroyed.from_bytes(asked.to_bytes()) is None


@pytest.mark.parametrize(
    "data",
    [
        *(b"", b"\xff", b"[]", b"5", b"{}", b'{"destroyVolume": 1}', b'{"destroyVolume": {}}'),
        b'{"destroyVolume": {"volume_id": 1, "app_id": "/a"}}',
    ],
)
def test_what_is_no_message_destroys_nothing(data: bytes):
    assert DestroyVolume.from_bytes(data) is None
