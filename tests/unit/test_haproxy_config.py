"""The companion's settings."""

from __future__ import annotations

from pathlib import Path

import pytest

from eratos.common.errors import FatalError
from eratos.haproxy import config


def test_an_empty_environment_is_enough() -> None:
    settings = config.read({})
    assert settings.port == 9100
    assert settings.consul == "http://127.0.0.1:8500"
    assert settings.guard_hold_s == 5
    assert not settings.servers_file
    assert settings.certs_dir == Path("/etc/eratos-balancer/certs")
    assert settings.live == Path("/var/lib/eratos-balancer/live.cfg")


def test_settings_come_from_the_environment() -> None:
    settings = config.read({"ERATOS_STATE_DIR": "/s", "ERATOS_HOST": "b1", "ERATOS_GUARD_HOLD_S": "0.5"})
    assert (settings.candidate, settings.master_socket) == (Path("/s/candidate.cfg"), Path("/s/master.sock"))
    assert (settings.host, settings.guard_hold_s) == ("b1", 0.5)


def test_all_problems_are_named_together() -> None:
    env = {
        "ERATOS_COMPANION_PORT": "x",
        "ERATOS_GUARD_HOLD_S": "-1",
        "ERATOS_CONSUL": "consul:8500",
        "ERATOS_LOG_LEVEL": "loud",
        "ERATOS_LOG_REQUESTS": "some",
    }
    with pytest.raises(FatalError) as raised:
        config.read(env)
    for name in env:
        assert name in str(raised.value)
