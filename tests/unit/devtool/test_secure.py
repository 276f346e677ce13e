"""./dev up --secure: who is given which secrets, and that no part of the cluster is left out."""

from __future__ import annotations

import stat
from pathlib import Path
from typing import Any

import pytest
import yaml
from devtool import secure
from devtool import settings as settings_module
from devtool.settings import COMPOSE_FILE, SECURE_FILE, Settings, read_settings
from devtool.terminal import Problem

MADE: dict[str, Any] = {
    "zookeeper": {name: f"zk-{name}-secret" for name in ("mesos", "eratos")},
    "mesos": {name: f"mesos-{name}-secret" for name in ("eratos", "agent", "operator")},
    "consul": {name: f"consul-{name}-secret" for name in ("management", *secure.POLICIES)},
    "gossip": "gossip-secret",
    "framework": "framework-secret",
    "companions": "companions-secret",
    "credentials": "credentials-secret",
    "observer": {"line": "observer-line", "token": "observer-secret"},
    "token": "token-secret",
    "files": {
        name: f"{name}-content"
        for name in (
            "api.pem",
            "api-ca.pem",
            "consul-ca.pem",
            "consul-server.pem",
            "consul-agent.pem",
            "zookeeper.pem",
            "zookeeper-ca.pem",
        )
    },
}
#: Each secret -> the kinds of parts that need it. The rest must not have it.
NEEDED = {
    "zk-mesos-secret": {"master"},
    "mesos-eratos-secret": {"master", "scheduler"},
    "mesos-agent-secret": {"master", "agent"},
    "mesos-operator-secret": {"master", "agent"},
    "consul-management-secret": {"consul-server"},
    "consul-agent-secret": {"consul-server", "consul-agent", "consul-balancer"},
    "consul-executor-secret": {"agent"},
    "consul-scheduler-secret": {"scheduler"},
    "gossip-secret": {"consul-server", "consul-agent", "consul-balancer"},
    "framework-secret": {"scheduler"},
    "companions-secret": {"balancer"},
    "credentials-secret": {"scheduler"},
    "api.pem-content": {"scheduler"},
    "consul-server.pem-content": {"consul-server"},
    "zookeeper.pem-content": {"zookeeper"},
    "token-secret": set(),
    "observer-secret": {"prometheus"},
    "observer-line": {"scheduler"},
    "zk-eratos-secret": set(),  # by the environment (secure.variables)
    "consul-balancer-secret": set(),  # by the environment
}


@pytest.fixture(autouse=True)
def generated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Keep what is made away from real clusters'."""
    monkeypatch.setattr(settings_module, "GENERATED", tmp_path)
    return tmp_path


@pytest.mark.parametrize("text", NEEDED)
def test_a_part_has_the_secrets_that_it_needs_and_no_others(text: str) -> None:
    has = {part for part in secure.PARTS if text in "".join(secure.contents(MADE, part).values())}
    assert has == NEEDED[text]


def test_no_part_of_the_cluster_is_left_out() -> None:
    services = yaml.safe_load(SECURE_FILE.read_text())["services"]
    assert set(services) == set(Settings(observe=True).services())
    for name, service in services.items():
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert service["volumes"][0].partition(":")[0].removeprefix("secrets-") in secure.PARTS, name


def test_what_replaces_the_open_cluster_s_settings_is_there_to_be_replaced() -> None:
    # A name that is misspelt in one of the two would leave the API open.
    open_, closed = (
        yaml.safe_load(file.read_text())["services"]["scheduler1"]["environment"] for file in (COMPOSE_FILE, SECURE_FILE)
    )
    assert {"ERATOS_HTTP_OPEN", "ERATOS_ZK", "ERATOS_CONSUL", "ERATOS_ADVERTISE_URL"} <= open_.keys() & closed.keys()
    assert closed["ERATOS_HTTP_OPEN"] == "false"


def test_a_choice_is_remembered_and_an_open_cluster_is_not_closed_afterwards() -> None:
    read_settings({}, secure=True).remember()
    again = read_settings({})
    assert again.secure and again.url("API").startswith("https://") and again.url("STATS").startswith("http://")
    read_settings({"ERATOS_PROJECT": "other"}).remember()
    with pytest.raises(Problem, match="was made without --secure"):
        read_settings({"ERATOS_PROJECT": "other"}, secure=True)


def test_secrets_are_for_their_user_alone(generated: Path) -> None:
    settings = Settings(secure=True)
    secure.folder(settings).mkdir(mode=0o700)
    secure._write(secure.folder(settings) / "secrets.json", "{}")
    assert stat.S_IMODE((secure.folder(settings) / "secrets.json").stat().st_mode) == 0o600
    secure.forget(settings)
    assert not secure.folder(settings).exists()
