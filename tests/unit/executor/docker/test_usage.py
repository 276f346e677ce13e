"""What is made of Docker's statistics of containers."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from support import unix_http

from eratos.executor.core.usage import Reading
from eratos.executor.docker import usage
from eratos.executor.docker.client import DockerClient

CPU = {"cpu_usage": {"total_usage": 2_500_000_000}}
#: As Docker says it of one that is created or has ended.
ENDED = {"cpu_stats": {"cpu_usage": {"total_usage": 0}, "throttling_data": {}}, "memory_stats": {}}


@pytest.mark.parametrize(
    ("stats", "found"),
    [
        ({"cpu_stats": CPU, "memory_stats": {"usage": 1000, "stats": {"inactive_file": 300}}}, (2.5, 700)),
        # Version 1 of control groups has the sum over what is below under a name of its own.
        ({"cpu_stats": CPU, "memory_stats": {"usage": 90, "stats": {"inactive_file": 9, "total_inactive_file": 4}}}, (2.5, 86)),
        ({"cpu_stats": CPU, "memory_stats": {"usage": 1000}}, (2.5, 1000)),
        # Both are read one after the other.
        ({"cpu_stats": CPU, "memory_stats": {"usage": 100, "stats": {"inactive_file": 300}}}, (2.5, 0)),
        (ENDED, None),
        ({"cpu_stats": CPU, "memory_stats": {}}, None),
        ({"cpu_stats": {}, "memory_stats": {"usage": 1000}}, None),
        ({"cpu_stats": None, "memory_stats": None}, None),
        ({}, None),
    ],
)
def test_cpu_time_and_working_set(stats: dict[str, Any], found: Any) -> None:
    assert usage.taken(stats) == found


def stats(cpu_s: int, mem: int) -> dict[str, Any]:
    return {"cpu_stats": {"cpu_usage": {"total_usage": cpu_s * 1_000_000_000}}, "memory_stats": {"usage": mem}}


class Docker:
    """Answers for containers by their names, over a socket."""

    def __init__(self, path: Path, **known: Any) -> None:
        self.asked: list[str] = []
        docker = self

        class Handler(unix_http.Handler):
            def do_GET(self) -> None:  # noqa: N802
                docker.asked.append(self.path)
                name = self.path.split("/")[2]
                body = known.get(name, {"message": f"No such container: {name}"})
                self.send_response(200 if name in known else 404)
                self.end_headers()
                self.wfile.write(body if isinstance(body, bytes) else json.dumps(body).encode())

        self.server = unix_http.serve(path, Handler)
        self.client = DockerClient(f"unix://{path}")

    def readings(self, **tasks: Sequence[str]) -> dict[str, Reading]:
        return usage.readings(self.client, tasks, lambda: 7.0)


def test_a_pod_is_all_of_its_containers_and_what_is_not_known_whole_is_left_out(tmp_path: Path) -> None:
    docker = Docker(tmp_path / "docker.sock", a=stats(1, 10), b=stats(2, 20), ended=ENDED, odd=b"no JSON")
    found = docker.readings(one=("a",), pod=("a", "b"), half=("a", "ended"), lost=("b", "c"), none=(), odd=("odd",))
    docker.server.shutdown()
    docker.server.server_close()
    assert found == {"one": Reading(7.0, 1, 10), "pod": Reading(7.0, 3, 30)}
    # Without one-shot each answer would take two seconds.
    assert all(path.endswith("/stats?stream=false&one-shot=true") for path in docker.asked)


def test_of_a_docker_that_is_away_nothing_is_known(tmp_path: Path) -> None:
    assert usage.readings(DockerClient(f"unix://{tmp_path}/docker.sock"), {"one": ("a",)}) == {}
