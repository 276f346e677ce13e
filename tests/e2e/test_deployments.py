"""Changes of apps on the real cluster, each under load through both balancers, and no request is lost.

Rolling upgrades, a group in the order of its dependencies, a way back, canaries that pass their gates and that fail, by
themselves or at the balancers, and two fleets that are switched: in the midst of each the leading scheduler is killed.
"""

from __future__ import annotations

import shlex
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import requests
from support.answers import wrong_app
from support.cluster import AFTER_HOST_LOSS_S, SOON_S, Cluster
from support.containers import docker
from support.waiting import MOMENT_S, until

pytestmark = pytest.mark.e2e

#: A rollout of ten instances, two at a time, each drained.
ROLLOUT_S = 300.0


class Load:
    """Requests one after another to both balancers, for the host name of each app, until the end; what failed is kept.

    An answer of another app has failed as well.
    """

    def __init__(self, cluster: Cluster, app_ids: tuple[str, ...]) -> None:
        self._cluster, self._apps = cluster, {host_of(app_id): app_id for app_id in app_ids}
        self._end = threading.Event()
        self._threads = [threading.Thread(target=self._send, args=(url,), daemon=True) for url in cluster.balancers]
        self.answers: Counter[str] = Counter()
        self.failed: list[str] = []

    def __enter__(self) -> Load:
        for host, app_id in self._apps.items():
            until(lambda host=host, app_id=app_id: self._cluster.reached(app_id, host), SOON_S, f"{host} leads to {app_id}")
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        for thread in self._threads:
            thread.join(timeout=60)

    def _send(self, url: str) -> None:
        while not self._end.wait(0.005):
            for host, app_id in self._apps.items():
                try:
                    answer = requests.get(url, headers={"Host": host}, timeout=20)
                except requests.RequestException as error:
                    self.failed.append(f"{time.strftime('%X')} {url} {host}: {error}")
                    continue
                self.answers[host] += 1
                wrong = wrong_app(answer.headers.get("X-Instance", ""), app_id)
                if answer.status_code != 200 or wrong:
                    said = wrong if answer.status_code == 200 else answer.text[:80]
                    self.failed.append(f"{time.strftime('%X')} {url} {host}: {answer.status_code} {said}")

    @property
    def fewest(self) -> int:
        """Return how many answers there are for the host name that has the fewest."""
        return min(self.answers[host] for host in self._apps)


@contextmanager
def under_load(cluster: Cluster, *app_ids: str) -> Iterator[Load]:
    with Load(cluster, app_ids) as load:
        yield load
        until(lambda: load.fewest > 50, SOON_S, "each app was asked")
    print(f"{sum(load.answers.values())} requests, {len(load.failed)} failed")
    assert not load.failed, f"{len(load.failed)} of {sum(load.answers.values())}: {load.failed[:5]}"


def host_of(app_id: str) -> str:
    return f"{app_id.strip('/').replace('/', '-')}.test"


def app(app_id: str, instances: int, **fields: Any) -> dict[str, Any]:
    return {
        "id": app_id,
        "instances": instances,
        "cpus": 0.05,
        "mem": 32,
        "container": {"type": "DOCKER", "docker": {"image": "eratos/prime"}},
        "networks": [{"mode": "host"}],
        "portDefinitions": [{"port": 0, "name": "http"}],
        "env": {"WORK_S": "0.001", "RELEASE": "1"},
        "healthChecks": [{"protocol": "MESOS_HTTP", "path": "/health", "intervalSeconds": 2, "timeoutSeconds": 2}],
        "upgradeStrategy": {"minimumHealthCapacity": 1, "maximumOverCapacity": 0.2},
        "labels": {"HAPROXY_0_VHOST": host_of(app_id)},
        **fields,
    }


def release(made: dict[str, Any], number: int, **fields: Any) -> dict[str, Any]:
    return {**made, "env": {**made["env"], "RELEASE": str(number)}, **fields}


def put(cluster: Cluster, *apps: dict[str, Any]) -> str:
    """Change apps as one deployment, and return it."""
    answer = cluster.any_api("PUT", "/v2/apps", list(apps))
    assert answer.status_code == 200, answer.text
    return str(answer.json()["deploymentId"])


@contextmanager
def leader_killed(cluster: Cluster) -> Iterator[None]:
    """Kill the leading scheduler, and start it again in the end; the other one leads meanwhile."""
    scheduler = cluster.container_of(f"scheduler{cluster.leader()}")
    docker("kill", scheduler)
    try:
        yield
    finally:
        docker("start", scheduler)


def ended_as(cluster: Cluster, deployment_id: str, expected: str) -> bool:
    """Return whether a deployment has ended so. A leader that came after its end does not know it any more."""
    return outcome(cluster, deployment_id) in (expected, "unknown")


def outcome(cluster: Cluster, deployment_id: str) -> str:
    """Return how a deployment ended; empty while it goes on, and unknown to a leader that came after its end."""
    answer = cluster.any_api("GET", f"/v2/deployments/{deployment_id}")
    if answer.status_code == 404:
        return "unknown"
    return str(answer.json().get("eratos", {}).get("outcome", ""))


def version_of(cluster: Cluster, app_id: str) -> str:
    return str(cluster.any_api("GET", f"/v2/apps{app_id}").json()["app"]["version"])


def running(cluster: Cluster, app_id: str) -> Counter[str]:
    """Return the versions of an app's running tasks, and how many there are of each."""
    return Counter(task["version"] for task in tasks_of(cluster, app_id) if task["state"] == "TASK_RUNNING")


def tasks_of(cluster: Cluster, app_id: str) -> list[dict[str, Any]]:
    """Return an app's tasks by the scheduler's word; AssertionError where it does not have the app."""
    answer = cluster.any_api("GET", f"/v2/apps{app_id}")
    assert answer.status_code == 200, answer.text
    return list(answer.json()["app"]["tasks"])


def at_rest(cluster: Cluster) -> None:
    """Wait until no app is locked: a deployment ends a moment after the tasks are as it wants them."""
    until(lambda: not cluster.any_api("GET", "/v2/deployments").json(), SOON_S, "nothing is under way")


@pytest.fixture
def shop(cluster: Cluster) -> Iterator[dict[str, Any]]:
    """Ten instances at rest."""
    made = app("/shop", 10)
    cluster.delete("/prime")
    at_rest(cluster)
    put(cluster, made)
    cluster.settle(made, 10)
    at_rest(cluster)
    yield made
    cluster.delete("/shop")
    cluster.settle(made, 0)
    at_rest(cluster)


def test_a_rolling_upgrade_goes_on_when_the_leading_scheduler_dies_in_the_midst_of_it(cluster: Cluster, shop: dict[str, Any]):
    before = cluster.tasks("/shop")
    with under_load(cluster, "/shop"):
        deployment_id = put(cluster, release(shop, 2))
        locked = cluster.any_api("PUT", "/v2/apps/shop", {"instances": 11})
        assert locked.status_code == 409
        assert locked.json()["deployments"] == [{"id": deployment_id}]
        version = version_of(cluster, "/shop")
        until(lambda: running(cluster, "/shop")[version] >= 3, ROLLOUT_S, "the rollout is under way")
        with leader_killed(cluster):
            # Only whoever led at its end knows how it ended.
            until(lambda: outcome(cluster, deployment_id) == "done", ROLLOUT_S, "the other scheduler ends the deployment")
        cluster.settle(release(shop, 2), 10)
    assert not before & cluster.tasks("/shop")
    until(lambda: running(cluster, "/shop") == {version: 10}, SOON_S, "the scheduler knows of these alone")


def test_a_deployment_is_taken_back_in_the_midst_of_it(cluster: Cluster, shop: dict[str, Any]):
    version, before = version_of(cluster, "/shop"), cluster.tasks("/shop")
    with under_load(cluster, "/shop"):
        deployment_id = put(cluster, release(shop, 3))
        changed = version_of(cluster, "/shop")
        until(lambda: running(cluster, "/shop")[changed] >= 2, ROLLOUT_S, "the rollout is under way")
        came = {task["id"] for task in tasks_of(cluster, "/shop") if task["version"] == changed}
        answer = cluster.any_api("DELETE", f"/v2/deployments/{deployment_id}")
        assert answer.status_code == 200, answer.text
        came |= {task["id"] for task in tasks_of(cluster, "/shop") if task["version"] == changed}
        with leader_killed(cluster):
            until(lambda: ended_as(cluster, answer.json()["deploymentId"], "done"), ROLLOUT_S, "it is taken back")
        cluster.settle(shop, 10)
    assert version_of(cluster, "/shop") == version
    kept = len(before & cluster.tasks("/shop"))
    # An old one goes for a new one that is ready, so no more of them had gone however fast this machine is.
    assert kept >= 10 - len(came), f"instances that still ran were replaced: {kept} of 10 are left, new were {came}"


def test_a_canary_that_fails_goes_back_by_itself(cluster: Cluster, shop: dict[str, Any]):
    labels = {**shop["labels"], "ERATOS_CANARY": "1", "ERATOS_DEPLOYMENT_RETRIES": "0", "ERATOS_ROLLBACK": "true"}
    version, before = version_of(cluster, "/shop"), cluster.tasks("/shop")
    with under_load(cluster, "/shop"):
        deployment_id = put(cluster, release(shop, 4, labels=labels, cmd="sleep 5; exit 1"))
        changed = version_of(cluster, "/shop")
        with leader_killed(cluster):
            until(lambda: ended_as(cluster, deployment_id, "failed"), ROLLOUT_S, "the canary has failed")
            until(lambda: version_of(cluster, "/shop") == version, SOON_S, "what was before is wanted again")
        cluster.settle(shop, 10)
        assert changed != version
    assert (version_of(cluster, "/shop"), cluster.tasks("/shop")) == (version, before)


def test_a_canary_is_promoted(cluster: Cluster, shop: dict[str, Any]):
    with under_load(cluster, "/shop"):
        changed = release(shop, 5, labels={**shop["labels"], "ERATOS_CANARY": "20%"})
        deployment_id = put(cluster, changed)
        version = version_of(cluster, "/shop")

        def at_gate() -> bool:
            shown = cluster.any_api("GET", f"/v2/deployments/{deployment_id}").json()["eratos"]
            return "/shop" in shown["atGateSince"] and shown["newInstancesAtMost"] == {"/shop": 2}

        def as_many() -> Counter[str] | None:
            found = running(cluster, "/shop")
            return found if found.total() == 10 else None

        until(at_gate, ROLLOUT_S, "it stands at its gate")
        found = until(as_many, ROLLOUT_S, "as many have gone as came")
        assert found[version] == 2, found
        with leader_killed(cluster):
            until(at_gate, ROLLOUT_S, "with the other scheduler it stands there as well")
            found = until(as_many, ROLLOUT_S, "nothing has come or gone")
            assert found[version] == 2, found
        assert cluster.any_api("POST", f"/v2/deployments/{deployment_id}/promote").status_code == 200
        until(lambda: outcome(cluster, deployment_id) == "done", ROLLOUT_S, "the deployment is done")
        cluster.settle(changed, 10)


def test_a_group_is_upgraded_in_the_order_of_its_dependencies(cluster: Cluster):
    database = app("/chain/db", 2)
    web = app("/chain/web", 3, dependencies=["/chain/db"])
    put(cluster, database, web)
    for made in (database, web):
        cluster.settle(made, made["instances"], AFTER_HOST_LOSS_S)
    at_rest(cluster)
    try:
        with under_load(cluster, "/chain/db", "/chain/web"):
            deployment_id = put(cluster, release(database, 2), release(web, 2))
            version = version_of(cluster, "/chain/db")
            until(lambda: running(cluster, "/chain/db")[version] > 0, ROLLOUT_S, "the first of them is being upgraded")

            def ended() -> str:
                begun = running(cluster, "/chain/web")[version] > 0
                if begun and running(cluster, "/chain/db") != {version: 2}:
                    pytest.fail("/chain/web began before /chain/db was done")
                return outcome(cluster, deployment_id)

            with leader_killed(cluster):
                assert until(ended, ROLLOUT_S, "the deployment has ended", pace_s=MOMENT_S) in ("done", "unknown")
            for made in (database, web):
                cluster.settle(made, made["instances"])
    finally:
        stopped = cluster.any_api("DELETE", "/v2/groups/chain?force=true")
        assert stopped.status_code == 200, stopped.text
        for made in (database, web):
            cluster.settle(made, 0)
        at_rest(cluster)


#: Answers its checks well and everything else with an error. The workers' Python has no http.server.
BROKEN = """
import os, socket
server = socket.create_server(("", int(os.environ["PORT0"])))
while True:
    client, _ = server.accept()
    client.settimeout(1)
    try:
        status = "200 OK" if client.recv(65536).startswith(b"GET /health ") else "500 Internal Server Error"
        client.sendall(f"HTTP/1.1 {status}\\r\\nContent-Length: 0\\r\\nConnection: close\\r\\n\\r\\n".encode())
    except OSError:
        pass
    client.close()
"""


def test_a_canary_whose_requests_fail_at_the_balancers_goes_back_and_one_that_answers_goes_on(
    cluster: Cluster, shop: dict[str, Any]
):
    gate = {"ERATOS_CANARY": "1", "ERATOS_CANARY_HOLD_S": "10", "ERATOS_ROLLBACK": "true"}
    gate |= {"ERATOS_CANARY_ERRORS": "5%", "ERATOS_CANARY_ANSWER_MS": "2000", "ERATOS_CANARY_REQUESTS": "20"}
    labels, version, before = shop["labels"] | gate, version_of(cluster, "/shop"), cluster.tasks("/shop")
    with Load(cluster, ("/shop",)) as load:
        broken = put(cluster, release(shop, 6, labels=labels, cmd=f"exec python3 -c {shlex.quote(BROKEN)}"))
        until(lambda: outcome(cluster, broken) == "failed", ROLLOUT_S, "the gate has failed")
        reason = cluster.any_api("GET", f"/v2/deployments/{broken}").json()["eratos"]["reason"]
        assert "requests" in reason and "ERATOS_CANARY_ERRORS allows 5%" in reason
        cluster.settle(shop, 10)
    assert load.failed and all(" shop.test: 500" in failure for failure in load.failed), load.failed[:5]
    assert version_of(cluster, "/shop") == version
    assert len(before & cluster.tasks("/shop")) >= 9  # one had made way for the canary
    with under_load(cluster, "/shop"):
        good = release(shop, 7, labels=labels)
        passed = put(cluster, good)
        with leader_killed(cluster):  # the other one counts for itself
            until(lambda: ended_as(cluster, passed, "done"), ROLLOUT_S, "the gate was passed, and the deployment is done")
        cluster.settle(good, 10)


def test_two_fleets_are_switched_at_the_balancers_and_back(cluster: Cluster):
    labels = {"HAPROXY_0_VHOST": "twin.test", "ERATOS_BLUE_GREEN": "100%", "ERATOS_ROLLBACK": "true"}
    made = app("/twin", 4, labels=labels)
    put(cluster, made)
    cluster.settle(made, 4)
    at_rest(cluster)
    before = cluster.tasks("/twin")

    def answering() -> set[str]:
        """Return which instances answer, in both balancers."""
        answers = [requests.get(url, headers={"Host": "twin.test"}, timeout=20) for url in cluster.balancers for _ in range(24)]
        wrong = [f"{answer.status_code} {answer.text[:80]}" for answer in answers if answer.status_code != 200]
        assert not wrong, wrong[:5]
        return {answer.headers.get("X-Instance", "") for answer in answers}

    def new_ones(deployment_id: str, share: int) -> None:
        def at_gate() -> bool:
            shown = cluster.any_api("GET", f"/v2/deployments/{deployment_id}").json()["eratos"]
            return "/twin" in shown.get("atGateSince", {}) and shown["trafficOfNew"] == {"/twin": share}

        until(at_gate, ROLLOUT_S, f"the new ones stand at their gate with {share}%")

    def promote(deployment_id: str) -> None:
        assert cluster.any_api("POST", f"/v2/deployments/{deployment_id}/promote").status_code == 200

    try:
        old = until(lambda: found if len(found := answering()) == 4 else None, SOON_S, "all four answer")
        with under_load(cluster, "/twin"):
            first = put(cluster, release(made, 2))
            new_ones(first, 0)
            until(lambda: running(cluster, "/twin").total() == 8, SOON_S, "both fleets run")
            assert answering() == old
            promote(first)
            until(lambda: len(found := answering()) == 4 and not found & old, SOON_S, "the new ones have the traffic")
            answer = cluster.any_api("DELETE", f"/v2/deployments/{first}")
            assert answer.status_code == 200, answer.text
            until(lambda: answering() == old, SOON_S, "the old ones have it back")
            cluster.settle(made, 4)
            assert cluster.tasks("/twin") == before
            second = put(cluster, release(made, 3))
            new_ones(second, 0)
            promote(second)
            with leader_killed(cluster):  # in the midst of the switch
                new_ones(second, 100)
                until(lambda: len(found := answering()) == 4 and not found & old, SOON_S, "the new ones have the traffic")
                promote(second)
                until(lambda: outcome(cluster, second) == "done", ROLLOUT_S, "the deployment is done")
            cluster.settle(release(made, 3), 4)
        assert not before & cluster.tasks("/twin")
    finally:
        cluster.delete("/twin")
        cluster.settle(made, 0)
        at_rest(cluster)
