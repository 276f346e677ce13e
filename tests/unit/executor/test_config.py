"""Settings of the executor."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from eratos.common.errors import FatalError
from eratos.executor.config import read
from eratos.executor.docker.pulls import STALL_S


def test_the_defaults_suit_a_real_host() -> None:
    config = read([], {"MESOS_AGENT_ENDPOINT": "10.0.0.5:5051"})
    assert (config.consul, config.docker_host, config.host_network) == (
        "http://127.0.0.1:8500",
        "unix:///var/run/docker.sock",
        "host",
    )
    assert (config.host, config.address) == (socket.gethostname(), "10.0.0.5")


def test_processes_get_a_place_in_the_sandbox_and_nothing_secret_of_the_environment() -> None:
    config = read([], {"MESOS_SANDBOX": "/sandbox", "PATH": "/bin", "TZ": "UTC", "ERATOS_CONSUL_TOKEN": "s", "AWS_SECRET": "s"})
    assert (config.sandbox, config.variables) == (Path("/sandbox"), {"PATH": "/bin", "TZ": "UTC"})


def test_each_runtime_can_be_switched_off() -> None:
    assert read([], {}).runtimes == ("docker", "process")
    assert read([], {"ERATOS_RUNTIMES": "process"}).runtimes == ("process",)


def test_a_pulls_patience_is_read_in_seconds() -> None:
    assert (read([], {}).pull_stall_s, read([], {"ERATOS_PULL_STALL_S": "5"}).pull_stall_s) == (STALL_S, 5)
    for wrong in ("0", "-1", "1.5", "x", "86401"):
        with pytest.raises(FatalError, match="--pull-stall-s"):
            read(["--pull-stall-s", wrong], {})


def test_two_agents_of_one_machine_have_hosts_of_their_own() -> None:
    assert read([], {"MESOS_AGENT_ENDPOINT": "10.0.0.5:5052"}).host == f"{socket.gethostname()}:5052"


def test_flags_win_over_the_environment() -> None:
    config = read(["--host", "b"], {"ERATOS_HOST": "a", "ERATOS_LOG_LEVEL": "DEBUG"})
    assert (config.host, config.log_level) == ("b", "DEBUG")


def test_all_problems_are_named_at_once() -> None:
    with pytest.raises(FatalError) as caught:
        arguments = ["--consul", "localhost", "--host-network", "bridge", "--log-level", "loud"]
        read([*arguments, "--docker-host", "x", "--http-port", "0", "--pull-stall-s", "0", "--runtimes", "docker,podman"], {})
    for flag in ("--runtimes", "--http-port", "--pull-stall-s", "--consul", "--host-network", "--log-level", "--docker-host"):
        assert flag in str(caught.value)


def test_a_played_hosts_bridge_means_nothing_to_a_real_one_and_a_resolver_is_read_for_both() -> None:
    played = {"ERATOS_HOST_NETWORK": "container:x", "ERATOS_HOST_BRIDGE": "x_docker0", "ERATOS_HOST_DNS": "10.86.1.2"}
    assert (read([], played).host_bridge, read([], played).host_dns) == ("x_docker0", "10.86.1.2")
    with pytest.raises(FatalError, match=r"--host-bridge .* goes with --host-network container"):
        read(["--host-bridge", "x_docker0"], {})
    assert read(["--host-dns", "172.17.0.1"], {}).host_dns == "172.17.0.1"
    with pytest.raises(FatalError, match="--host-dns 'agent1' must be an IP address"):
        read(["--host-dns", "agent1"], {"ERATOS_HOST_NETWORK": "container:x"})


def test_the_token_is_never_shown(capsys: pytest.CaptureFixture[str]) -> None:
    config = read([], {"ERATOS_CONSUL_TOKEN": "s3cret"})
    assert config.consul_token == "s3cret"
    assert "s3cret" not in str(config.shown())
    with pytest.raises(SystemExit):
        read(["--help"], {"ERATOS_CONSUL_TOKEN": "s3cret"})
    assert "s3cret" not in capsys.readouterr().out


def test_the_token_is_read_from_a_file_that_is_not_open_to_others(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("s3cret\n")
    file.chmod(0o600)
    config = read(["--consul-token-file", str(file)], {})
    assert (config.consul_token, config.exposed) == ("s3cret", False)
    assert "s3cret" not in str(config.shown()) and "s3cret" not in repr(config)
    assert read([], {"ERATOS_CONSUL_TOKEN": "s3cret"}).exposed
    with pytest.raises(FatalError, match="give one of them"):
        read(["--consul-token-file", str(file)], {"ERATOS_CONSUL_TOKEN": "other"})
    file.chmod(0o644)
    with pytest.raises(FatalError, match="chmod 600"):
        read([], {"ERATOS_CONSUL_TOKEN_FILE": str(file)})
