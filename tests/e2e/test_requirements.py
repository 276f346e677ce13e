"""Apps that require others, on the real cluster: a start that waits, a database that goes and comes back, a lost host, consumers
that restart, settings from Consul's keys.

The page is the front app's; its database is the hello app, which serves one as well.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
import requests
from support.answers import wrong_app
from support.cluster import AFTER_HOST_LOSS_S, CONNECTIONS, SOON_S, Cluster
from support.containers import docker
from support.waiting import until

pytestmark = pytest.mark.e2e

HOST = "page.test"
DB, WEB = "/blog/db", "/blog/web"
RELOAD = {"signal": "SIGHUP"}


def page(cluster: Cluster, path: str = "/", balancer: int = 0) -> requests.Response:
    return requests.get(f"{cluster.balancers[balancer]}{path}", headers={"Host": HOST}, timeout=30)


def asked(cluster: Cluster, path: str = "/", balancer: int = 0, status: int = 200) -> str:
    """Return what the page itself says: another app has its host until a balancer knows of the page's route."""
    answer = page(cluster, path, balancer)
    assert not (wrong := wrong_app(answer.headers.get("X-Instance", ""), WEB)), wrong
    assert answer.status_code == status, f"{answer.status_code}: {answer.text}"
    return answer.text


def endpoints(cluster: Cluster) -> list[str]:
    return asked(cluster, "/endpoints").split()


def answers(cluster: Cluster, status: int) -> bool:
    """Assert that the page answers so at both balancers, which have been led there for longer than a reload lasts."""
    for balancer in (0, 1):
        for _ in range(CONNECTIONS):
            asked(cluster, balancer=balancer, status=status)
    return True


@pytest.fixture
def db(hello: dict[str, Any]) -> dict[str, Any]:
    return hello | {"id": DB, "instances": 1, "labels": {}}


@pytest.fixture
def web(hello: dict[str, Any]) -> dict[str, Any]:
    app = hello | {"id": WEB, "instances": 1, "labels": {"HAPROXY_0_VHOST": HOST}, "env": {}}
    return app | {
        "container": {"docker": {"image": "eratos/front"}},
        "eratos": {"requires": {"db": {"app": DB, "onChange": RELOAD}}},
    }


@pytest.fixture(autouse=True)
def _left_clean(cluster: Cluster, db: dict[str, Any], web: dict[str, Any]) -> Iterator[None]:
    yield
    for app in (web, db):
        cluster.delete(app["id"])
        until(lambda app=app: not cluster.containers(app["id"]), SOON_S, f"{app['id']} is gone")


def ready(cluster: Cluster, app_id: str, count: int, within_s: float = SOON_S) -> None:
    name = app_id.strip("/").replace("/", "-")
    until(lambda: len(cluster.services(name)) == count == len(cluster.tasks(app_id)), within_s, f"{app_id} has {count}")


def test_a_page_waits_for_its_database_follows_it_and_says_why_it_does(
    cluster: Cluster, db: dict[str, Any], web: dict[str, Any]
) -> None:
    cluster.apply(db, instances=0)
    cluster.apply(web)

    def reasons() -> list[str]:
        return [item["message"] for item in cluster.any_api("GET", f"/v2/explain{WEB}").json()["reasons"]]

    until(
        lambda: any("needs one ready instance of /blog/db, and has 0" in why for why in reasons()), SOON_S, "it says why it waits"
    )
    assert not cluster.containers(WEB)
    cluster.apply(db)
    ready(cluster, WEB, 1)
    until(lambda: answers(cluster, 200), SOON_S, "the page answers")
    until(lambda: len(endpoints(cluster)) == 1, SOON_S, "the page knows its database")
    started = cluster.containers(WEB)

    cluster.apply(db, instances=0)
    until(lambda: endpoints(cluster) == [], SOON_S, "the page knows that there is no database")
    until(lambda: answers(cluster, 502), SOON_S, "the page says that there is no database")
    cluster.apply(db, instances=3)
    until(lambda: len(endpoints(cluster)) == 3, SOON_S, "the page knows of all three")
    assert answers(cluster, 200)
    assert cluster.containers(WEB) == started, "the page was restarted"

    def needs() -> list[tuple[str, str, int]]:
        found = cluster.any_api("GET", "/v2/needs").json()["needs"]
        return [(need["app"], need["of"], need["ready"]) for need in found if need["app"] == WEB]

    # The page's executor has it from Consul, the scheduler from the database's.
    until(lambda: needs() == [(WEB, DB, 3)], SOON_S, "the scheduler says so as well")


def test_a_database_whose_host_is_lost_is_found_where_it_is_now(
    cluster: Cluster, db: dict[str, Any], web: dict[str, Any]
) -> None:
    cluster.apply(db, constraints=[["hostname", "UNLIKE", "agent1"]])
    cluster.apply(web, constraints=[["hostname", "CLUSTER", "agent1"]])
    ready(cluster, DB, 1)
    ready(cluster, WEB, 1)
    until(lambda: len(endpoints(cluster)) == 1, SOON_S, "the page knows its database")
    until(lambda: answers(cluster, 200), SOON_S, "the page answers")
    before = endpoints(cluster)
    (container,) = cluster.containers(DB).values()
    host = cluster.host_of(container)
    cluster.power_off(host)
    try:

        def moved() -> bool:
            found = endpoints(cluster)
            return len(found) == 1 and found != before

        until(moved, AFTER_HOST_LOSS_S, "the page knows the new address")
        assert answers(cluster, 200)
    finally:
        cluster.power_on(host)


class Readers:
    """Read the page through both balancers until the end, and count the answers' statuses, or what was wrong instead."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._end = threading.Event()
        self._threads = [threading.Thread(target=self._read, args=(number,), daemon=True) for number in (0, 1)]
        self.statuses: Counter[int | str] = Counter()

    def __enter__(self) -> Readers:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        for thread in self._threads:
            thread.join(60)

    def _read(self, balancer: int) -> None:
        while not self._end.wait(0.02):
            try:
                answer = page(self._cluster, balancer=balancer)
            except requests.RequestException as error:
                self.statuses[str(error)] += 1
                continue
            self.statuses[wrong_app(answer.headers.get("X-Instance", ""), WEB) or answer.status_code] += 1


def test_eight_consumers_that_restart_are_rolled_and_serve_all_the_time(
    cluster: Cluster, db: dict[str, Any], web: dict[str, Any]
) -> None:
    rolling = web | {"instances": 8, "eratos": {"requires": {"db": {"app": DB}}}}
    cluster.apply(db, instances=2)
    cluster.apply(rolling)
    ready(cluster, WEB, 8)
    until(lambda: answers(cluster, 200), SOON_S, "the page answers")
    first = set(cluster.containers(WEB).values())
    fewest = 8
    with Readers(cluster) as readers:
        cluster.apply(db, instances=3)

        def rolled() -> bool:
            nonlocal fewest
            # By the scheduler's word: Consul's agents tell of what comes and goes each at its own pace.
            fewest = min(fewest, cluster.any_api("GET", f"/v2/explain{WEB}").json()["ready"])
            now = set(cluster.containers(WEB).values())
            return len(now) == 8 and not now & first

        until(rolled, 2 * SOON_S, "all eight are others")
        until(lambda: readers.statuses[200] > 100, SOON_S, "the page was read")
    assert set(readers.statuses) == {200}, readers.statuses
    assert fewest >= 8
    for container in cluster.containers(WEB).values():
        env = docker("inspect", "--format", "{{range .Config.Env}}{{println .}}{{end}}", container).splitlines()
        (given,) = (variable for variable in env if variable.startswith("REQUIRE_DB="))
        assert given.count(";") == 2, given


def test_a_setting_from_consuls_keys_is_followed(cluster: Cluster, web: dict[str, Any]) -> None:
    def put(value: str) -> None:
        # Consul may be about to elect.
        words = ("PUT", "ERATOS_CONSUL_PORT", "/v1/kv/blog/upstreams")
        until(lambda: cluster.ask(*words, data=value).ok, SOON_S, "Consul has the value")

    put("")
    setting = {"key": "blog/upstreams", "onChange": RELOAD}
    cluster.apply(web | {"eratos": {"requires": {"db": setting}}})
    ready(cluster, WEB, 1)
    until(lambda: answers(cluster, 502), SOON_S, "the page has no upstream")
    put("10.0.0.1:80\n10.0.0.2:80\n")
    until(lambda: endpoints(cluster) == ["10.0.0.1:80", "10.0.0.2:80"], SOON_S, "the page has read the new value")


def test_names_of_services_resolve_in_containers_with_a_network_of_their_own(
    cluster: Cluster, db: dict[str, Any], web: dict[str, Any]
) -> None:
    cluster.apply(db)
    ready(cluster, DB, 1)
    bridged = web | {"networks": [{"mode": "container/bridge"}], "env": {"PORT": "8080"}}
    bridged["container"] = {"docker": {"image": "eratos/front"}, "portMappings": [{"containerPort": 8080}]}
    cluster.apply({key: value for key, value in bridged.items() if key not in ("portDefinitions", "requirePorts")})
    ready(cluster, WEB, 1)
    (container,) = cluster.containers(WEB).values()
    (there,) = cluster.containers(DB).values()
    address = cluster.agent_ip(cluster.host_of(there))
    look_up = "import socket; print(socket.gethostbyname('blog-db.service.consul'))"
    until(lambda: docker("exec", container, "python3", "-ESc", look_up).strip() == address, SOON_S, f"the name is {address}'s")
