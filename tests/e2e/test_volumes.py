"""Volumes on the real cluster: data is there after a kill and after a deletion, on its host until a wipe, or wherever it lies."""

from __future__ import annotations

import uuid
from pathlib import Path
from typing import Any

import pytest
from support.cluster import SOON_S, Cluster
from support.containers import docker
from support.waiting import until

pytestmark = pytest.mark.e2e

#: Each task adds a line to the file that it finds, and serves nothing.
WRITES = "echo $MESOS_TASK_ID >> /data/tasks; exec sleep 100000"
APP: dict[str, Any] = {
    "id": "/kept",
    "cpus": 0.05,
    "mem": 32,
    "cmd": WRITES,
    "user": "root",
    "container": {
        "type": "DOCKER",
        "docker": {"image": "eratos/prime"},
        "volumes": [{"containerPath": "/data", "mode": "RW", "persistent": {"size": 10}}],
    },
    "networks": [{"mode": "host"}],
    "portDefinitions": [],
}


def volumes(cluster: Cluster, app_id: str = "/kept") -> list[dict[str, Any]]:
    found = cluster.any_api("GET", "/v2/volumes").json()["volumes"]
    return [volume for volume in found if volume["appId"] == app_id]


def begun(cluster: Cluster, move: dict[str, Any]) -> dict[str, Any]:
    """Begin a move; AssertionError where it is not possible yet, as under deployment."""
    answer = cluster.any_api("POST", "/v2/moves", move)
    if "is being moved already" in answer.text:  # it was, and nobody answered
        answer = cluster.any_api("GET", "/v2/moves")
    assert answer.status_code == 200, answer.text
    return dict(answer.json()["moves"][0])


def lines(cluster: Cluster, count: int, app_id: str = "/kept") -> tuple[str, str, list[str]]:
    """Wait for the one task that runs, and for so many lines in its file; return it, its host and the lines."""

    def written() -> tuple[str, str, list[str]]:
        running = cluster.containers(app_id)
        assert len(running) == 1, f"there run {sorted(running)}"
        ((task, container),) = running.items()
        found = docker("exec", container, "sh", "-c", "cat /data/tasks 2>/dev/null || true").split()
        assert len(found) == count and task in found[-1:], f"{task} has {found}"
        return task, cluster.host_of(container), found

    return until(written, SOON_S, f"the file has {count} lines")


def rows(cluster: Cluster, task: str) -> list[str]:
    """Return how many rows a task of the app that moves finds, and the last one."""
    container = cluster.containers("/moved")[task]
    return docker("exec", container, "sh", "-c", "wc -l </data/rows; tail -n1 /data/rows").split()


def settled(cluster: Cluster, app_id: str) -> set[tuple[str, str]]:
    """Return the host and the use of each volume of an app; AssertionError while one is being copied, or waits for its task."""
    found = {(volume["host"], volume["use"]) for volume in volumes(cluster, app_id)}
    assert found and not {use for _, use in found} & {"copying", "waiting"}, found
    return found


def test_data_stays_with_its_app_on_its_host_until_it_is_wiped(cluster: Cluster):
    try:
        cluster.apply(APP)
        task, host, _ = lines(cluster, 1)
        cluster.any_api("DELETE", f"/v2/apps/kept/tasks/{task}")
        second, again, found = lines(cluster, 2)
        assert again == host and found[0] == task
        (volume,) = volumes(cluster)
        assert (volume["host"], volume["use"], volume["taskId"]) == (host, "used", second)
        cluster.delete(APP["id"])
        until(lambda: not cluster.states(APP["id"]), SOON_S, "nothing of the app runs")
        assert [left["id"] for left in volumes(cluster)] == [volume["id"]]
        cluster.apply(APP)
        _, again, found = lines(cluster, 3)
        assert again == host and found[:2] == [task, second]
    finally:
        cluster.any_api("DELETE", "/v2/apps/kept?wipe=true")
    until(lambda: not volumes(cluster), SOON_S, "its volume is destroyed")
    assert not [name for name in cluster.worker_volumes() if "eratos-kept-" in name]


def test_an_instance_moves_to_another_host_with_all_rows_that_it_has_written_and_leaves_one_that_is_drained(cluster: Cluster):
    counted = f"[ -e /data/rows ] || seq 100000 > /data/rows; {WRITES}"
    app = {**APP, "id": "/moved", "cmd": counted, "eratos": {"follow": "copy"}}
    known = lambda: {agent["host"] for agent in cluster.any_api("GET", "/v2/overview").json()["agents"]}  # noqa: E731
    drained = ""
    try:
        cluster.apply(app)
        task, host, _ = lines(cluster, 1, app["id"])
        other = until(lambda: sorted(known() - {host}), SOON_S, "another host is known")[0]
        asked = until(lambda: begun(cluster, {"app": "/moved", "to": other, "wipe": True}), SOON_S, "the move has begun")
        assert (asked["from"], asked["to"]) == (host, other)
        second, there, found = lines(cluster, 2, app["id"])
        assert there == other and found == [task, second]
        assert rows(cluster, second) == ["100000"] * 2
        until(lambda: [v["host"] for v in volumes(cluster, app["id"])] == [other], SOON_S, "the old volume is destroyed")
        drained = other
        answer = cluster.any_api("PUT", f"/v2/drains/{other}", {})
        assert answer.status_code == 200, answer.text
        third, there, found = lines(cluster, 3, app["id"])
        assert there != other and found == [task, second, third]
        assert rows(cluster, third) == ["100000"] * 2
        uses = until(lambda: settled(cluster, app["id"]), SOON_S, "its volumes are known")
        assert uses == {(other, "left"), (there, "used")}
    finally:
        if drained:
            cluster.any_api("DELETE", f"/v2/drains/{drained}")
        cluster.any_api("DELETE", "/v2/apps/moved?wipe=true&force=true")
    until(lambda: not volumes(cluster, app["id"]), SOON_S, "its volume is destroyed")


def test_what_lies_elsewhere_is_there_wherever_its_one_instance_goes(cluster: Cluster, tmp_path: Path):
    """The storage that all hosts reach is a folder of this machine, which Docker mounts by its own driver."""
    options = {"dvdi/driver": "local", "dvdi/type": "none", "dvdi/o": "bind", "dvdi/device": str(tmp_path)}
    external = {"name": f"e2e-{uuid.uuid4().hex}", "provider": "dvdi", "options": options}
    container = {**APP["container"], "volumes": [{"containerPath": "/data", "mode": "RW", "external": external}]}
    app = {**APP, "id": "/elsewhere", "container": container}
    if cluster.secure:
        # By its policy a folder of the host, whatever it is called, is for nobody.
        answer = cluster.any_api("PUT", "/v2/apps/elsewhere", app)
        assert answer.status_code == 422 and "--allow-host-paths" in answer.text, answer.text
        return
    try:
        cluster.apply(app)
        task, host, _ = lines(cluster, 1, app["id"])
        cluster.apply(app, constraints=[["hostname", "UNLIKE", host]])
        second, other, found = lines(cluster, 2, app["id"])
        assert other != host and found == [task, second]
    finally:
        cluster.delete(app["id"])
    until(lambda: not cluster.states(app["id"]), SOON_S, "nothing of the app runs")
    assert (tmp_path / "tasks").read_text().split() == [task, second], "what lies elsewhere is never destroyed"
