"""./dev: which cluster is meant by options, environment and memory."""

from __future__ import annotations

from pathlib import Path

import pytest
from devtool import settings as settings_module
from devtool.settings import Settings, read_settings
from devtool.terminal import Problem


@pytest.fixture(autouse=True)
def generated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Keep what is remembered away from the real cluster's memory."""
    monkeypatch.setattr(settings_module, "GENERATED", tmp_path)
    return tmp_path


def test_defaults_are_those_of_the_compose_file() -> None:
    settings = read_settings({})
    assert (settings.project, settings.agents, settings.balancers) == ("eratos", 3, 2)
    assert settings.published() == {
        "ERATOS_CONSUL_PORT": ("consul1", 8500),
        "ERATOS_CONSUL2_PORT": ("consul2", 8501),
        "ERATOS_CONSUL3_PORT": ("consul3", 8502),
        "ERATOS_BALANCER1_PORT": ("balancer1", 8000),
        "ERATOS_BALANCER2_PORT": ("balancer2", 8001),
        "ERATOS_STATS1_PORT": ("balancer1", 9090),
        "ERATOS_STATS2_PORT": ("balancer2", 9091),
        "ERATOS_API1_PORT": ("scheduler1", 8080),
        "ERATOS_API2_PORT": ("scheduler2", 8081),
        "ERATOS_MASTER1_PORT": ("master1", 5050),
        "ERATOS_MASTER2_PORT": ("master2", 5051),
    }


def test_what_was_chosen_is_remembered_until_forgotten() -> None:
    read_settings({"ERATOS_BALANCER1_PORT": "18000", "HOME": "/root"}, agents=5).remember()
    again = read_settings({})
    assert (again.agents, again.port("BALANCER", 1), again.variables) == (5, 18000, {"ERATOS_BALANCER1_PORT": "18000"})
    again.forget()
    assert read_settings({}).agents == 3


def test_what_is_given_wins_over_what_is_remembered() -> None:
    read_settings({"ERATOS_API1_PORT": "18080"}, agents=5, balancers=3).remember()
    settings = read_settings({"ERATOS_API1_PORT": "28080"}, agents=2)
    assert (settings.agents, settings.balancers, settings.port("API", 1)) == (2, 3, 28080)


def test_projects_are_remembered_apart() -> None:
    read_settings({"ERATOS_PROJECT": "eratos-test"}, agents=7).remember()
    assert read_settings({}).agents == 3
    assert read_settings({"ERATOS_PROJECT": "eratos-test"}).agents == 7


def test_half_a_memory_file_of_an_interrupted_run_counts_as_none(generated: Path) -> None:
    (generated / "eratos.json").write_text('{"agents": 5, "bal')
    assert read_settings({}).agents == 3


@pytest.mark.parametrize(
    ("environ", "told"),
    [
        ({"ERATOS_BALANCER1_PORT": "http"}, "ERATOS_BALANCER1_PORT=http is no port"),
        ({"ERATOS_BALANCER1_PORT": "70000"}, "ERATOS_BALANCER1_PORT=70000 is no port"),
        ({"ERATOS_BALANCER1_PORT": "8080"}, "ERATOS_BALANCER1_PORT and ERATOS_API1_PORT are both 8080"),
        ({"ERATOS_PROJECT": "My Cluster"}, "ERATOS_PROJECT=My Cluster is no project name"),
        ({"ERATOS_CONSUL_FROM": "magic"}, "ERATOS_CONSUL_FROM=magic is unknown"),
        ({"ERATOS_CONSUL_IMAGE": "hashicorp/consul:1.16"}, "ERATOS_CONSUL_IMAGE=hashicorp/consul:1.16 has no use"),
        ({"ERATOS_LOG_REQUESTS": "some"}, "ERATOS_LOG_REQUESTS=some is unknown"),
    ],
)
def test_a_bad_variable_is_refused_with_its_name_and_a_fix(environ: dict[str, str], told: str) -> None:
    with pytest.raises(Problem) as caught:
        read_settings(environ)
    assert told in str(caught.value)
    assert caught.value.fix


@pytest.mark.parametrize(("agents", "balancers"), [(0, 2), (-1, 2), (51, 2), (3, 0), (3, 11)])
def test_a_count_out_of_range_is_refused(agents: int, balancers: int) -> None:
    with pytest.raises(Problem, match="out of range"):
        read_settings({}, agents, balancers)


def test_zones_are_two_or_none_and_remembered() -> None:
    assert read_settings({}).zones == 0
    with pytest.raises(Problem, match="--zones 3 is not possible"):
        read_settings({}, zones=3)
    read_settings({}, zones=2).remember()
    found = read_settings({}, agents=4)
    assert found.places == {
        "zone": {"a": ["agent1", "agent3", "balancer1"], "b": ["agent2", "agent4", "balancer2"]},
        "region": {},
    }
    assert (found.zone("consul-agent1"), found.zone("scheduler1")) == ("", "")
    read_settings({}, zones=0).remember()
    assert (read_settings({}).zones, read_settings({}).places) == (0, {"zone": {}, "region": {}})


def test_regions_are_remembered_and_hold_every_part_and_zones_are_within_them() -> None:
    assert read_settings({}).regions == 0
    read_settings({}, regions=2, zones=2, agents=4).remember()
    found = read_settings({})
    assert found.places == {
        "zone": {
            "east/a": ["agent1", "balancer1"],
            "east/b": ["agent3"],
            "west/a": ["agent2", "balancer2"],
            "west/b": ["agent4"],
        },
        "region": {
            "east": [
                *("zookeeper", "master1", "master2", "consul1", "consul2", "consul3", "agent1", "agent3", "balancer1"),
                *("scheduler1", "scheduler2"),
            ],
            "west": ["consul4", "agent2", "agent4", "balancer2"],
        },
    }
    assert found.published()["ERATOS_CONSUL4_PORT"] == ("consul4", 8503)
    assert found.consul_nodes("west") == {"consul4", "agent2", "agent4", "balancer2"}
    assert found.consul_nodes("east") == {"consul1", "consul2", "consul3", "agent1", "agent3", "balancer1"}
    assert [found.region(f"consul-{host}") for host in ("agent1", "agent2", "balancer2")] == ["east", "west", "west"]
    assert read_settings({}, zones=0).places["zone"] == {}


def test_regions_are_chosen_when_a_cluster_is_made() -> None:
    for given in ({"regions": 3}, {"regions": 2, "agents": 1}, {"regions": 2, "balancers": 1}, {"regions": 2, "secure": True}):
        with pytest.raises(Problem, match="regions") as caught:
            read_settings({}, **given)  # type: ignore[arg-type]
        assert caught.value.fix
    read_settings({}).remember()
    with pytest.raises(Problem, match="was made without regions"):
        read_settings({}, regions=2)
    read_settings({"ERATOS_PROJECT": "far"}, regions=2).remember()
    with pytest.raises(Problem, match="was made with regions"):
        read_settings({"ERATOS_PROJECT": "far"}, regions=0)


def test_a_cluster_of_the_version_before_has_no_regions(generated: Path) -> None:
    (generated / "eratos.json").write_text('{"agents": 4, "balancers": 2, "zones": 2, "variables": {}, "secure": false}')
    assert (read_settings({}).regions, read_settings({}, regions=0).agents) == (0, 4)


def test_services_follow_the_counts() -> None:
    services = Settings(agents=1, balancers=3).services()
    assert {"agent1", "consul-agent1", "balancer3", "consul-balancer3"} <= set(services)
    assert "agent2" not in services
    assert len(services) == len(set(services)) == 1 + 2 + 3 + 2 + 6 + 2


def test_a_registry_is_there_when_asked_for_and_remembered_until_it_is_not() -> None:
    assert "registry" not in read_settings({}).services()
    assert "ERATOS_REGISTRY_PORT" not in read_settings({}).published()
    read_settings({}, registry=True).remember()
    found = read_settings({"ERATOS_REGISTRY_PORT": "15000"})
    assert "registry" in found.services()
    assert found.published()["ERATOS_REGISTRY_PORT"] == ("registry", 15000)
    read_settings({}, registry=False).remember()
    assert "registry" not in read_settings({}).services()


def test_a_secure_cluster_has_no_registry_that_asks_nobody_who_they_are() -> None:
    with pytest.raises(Problem, match="asks nobody who they are"):
        read_settings({}, secure=True, registry=True)
    read_settings({}, secure=True).remember()
    with pytest.raises(Problem, match="asks nobody who they are"):
        read_settings({}, registry=True)


def test_prometheus_is_there_when_asked_for_and_remembered_until_it_is_not() -> None:
    assert "prometheus" not in read_settings({}).services()
    assert "ERATOS_PROMETHEUS_PORT" not in read_settings({}).published()
    read_settings({}, observe=True).remember()
    found = read_settings({"ERATOS_PROMETHEUS_PORT": "19190"})
    assert "prometheus" in found.services()
    assert found.published()["ERATOS_PROMETHEUS_PORT"] == ("prometheus", 19190)
    read_settings({}, observe=False).remember()
    assert "prometheus" not in read_settings({}).services()
