"""./dev up --registry: when the registry counts as well, and which parts compose is told of."""

from __future__ import annotations

from typing import Any

import pytest
from devtool import health, web
from devtool.cluster import Compose
from devtool.health import Finding
from devtool.settings import Settings

WITH_REGISTRY = Settings(registry=True, variables={"ERATOS_REGISTRY_PORT": "15000"})


@pytest.mark.parametrize(
    ("answer", "serves", "lack"),
    [
        ((200, "{}"), "images are called 127.0.0.1:15000/...", ""),
        ((503, ""), "", "registry answers HTTP 503"),
        (web.Unanswered("refused"), "", "registry does not answer (refused)"),
    ],
)
def test_a_registry_is_well_once_it_answers(monkeypatch: pytest.MonkeyPatch, answer: Any, serves: str, lack: str) -> None:
    asked: list[str] = []

    def request(method: str, url: str, *_: Any) -> tuple[int, str]:
        asked.append(url)
        if isinstance(answer, Exception):
            raise answer
        return answer  # type: ignore[no-any-return]

    monkeypatch.setattr(web, "request", request)
    assert health.registry(WITH_REGISTRY) == Finding(serves, (health.Lack(lack, ("registry",)),) if lack else ())
    assert asked == ["http://127.0.0.1:15000/v2/"]


def test_a_registry_is_a_part_of_a_cluster_that_has_it() -> None:
    assert "registry" in health.parts(WITH_REGISTRY)
    assert "registry" not in health.parts(Settings())


@pytest.mark.parametrize(
    ("settings", "profiles"),
    [
        (Settings(), None),
        (Settings(observe=True), "observe"),
        (Settings(registry=True), "registry"),
        (Settings(observe=True, registry=True), "observe,registry"),
    ],
)
def test_compose_is_told_of_the_parts_that_are_wanted(
    monkeypatch: pytest.MonkeyPatch, settings: Settings, profiles: str | None
) -> None:
    monkeypatch.delenv("COMPOSE_PROFILES", raising=False)
    assert Compose(settings).env.get("COMPOSE_PROFILES") == profiles
