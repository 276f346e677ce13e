"""How soon a page follows the database that it requires: away, back, and on another host.

The page is the front app's, its database the hello app, and nobody restarts the page. ``gone_s``: from the request that scales
the database to 0 until its page, through a balancer, answers 502 and its list of databases is empty. ``back_s``: from the request
that scales it to 1 again until the page answers 200, the database's own start included. ``elsewhere_s``: from the power cut of
the database's host, with all that ran there, until the page's list has the new address. Each is the median of some rounds, and
``..._most_s`` the worst of them. Run by ``./dev bench database`` on a running cluster; it uses apps of its own, removes them,
and leaves every host on. The last line is one JSON object.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import time
from collections.abc import Callable
from typing import Any

import requests
from _fleet import ROOT, machine
from devtool.alone import alone
from devtool.settings import read_settings
from support.cluster import AFTER_HOST_LOSS_S, SOON_S, Cluster, whole
from support.waiting import until

HOST = "bench-page.test"
DB, PAGE = "/bench/db", "/bench/page"
PACE_S = 0.01
#: So many looks in a row have to show the same: a balancer that is just being led to the page may answer for another app.
STEADY = 3


class Page:
    """What somebody sees of the page through the first balancer."""

    def __init__(self, cluster: Cluster) -> None:
        self._session = requests.Session()
        self._url = cluster.balancers[0]

    def _get(self, path: str) -> requests.Response:
        return self._session.get(f"{self._url}{path}", headers={"Host": HOST}, timeout=30)

    def answers(self, status: int) -> bool:
        found = self._get("/")
        return found.status_code == status and found.headers.get("X-Instance", "").startswith("bench_page.")

    def list(self) -> list[str]:
        answer = self._get("/endpoints")
        assert answer.status_code == 200, answer.text
        return answer.text.split()

    def is_gone(self) -> bool:
        return self.answers(502) and not self.list()

    def is_there(self) -> bool:
        return self.answers(200) and len(self.list()) == 1


def took_s(change: Callable[[], object], seen: Callable[[], bool], within_s: float = SOON_S) -> float:
    """Return the seconds from before a change until what comes of it is seen."""
    began = time.monotonic()
    change()
    until(seen, within_s, "the page has followed", pace_s=PACE_S)
    return time.monotonic() - began


def apps() -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the database, which is not on the page's host, and the page."""
    hello = json.loads((ROOT / "marathon" / "apps" / "hello.json").read_text())
    away, here = [["hostname", "UNLIKE", "agent1"]], [["hostname", "CLUSTER", "agent1"]]
    db = hello | {"id": DB, "instances": 1, "labels": {}, "constraints": away}
    page = hello | {"id": PAGE, "instances": 1, "labels": {"HAPROXY_0_VHOST": HOST}, "env": {}, "constraints": here}
    page |= {"container": {"docker": {"image": "eratos/front"}}}
    return db, page | {"eratos": {"requires": {"db": {"app": DB, "onChange": {"signal": "SIGHUP"}}}}}


def steady(page: Page) -> None:
    until(lambda: all(page.is_there() for _ in range(STEADY)), SOON_S, "the page has its database")


def lose(cluster: Cluster, page: Page) -> float:
    """Cut the power of the database's host; return when the page knew of the new address."""
    (before,) = page.list()
    (container,) = cluster.containers(DB).values()
    host = cluster.host_of(container)

    def elsewhere() -> bool:
        found = page.list()
        return len(found) == 1 and found[0] != before

    try:
        return took_s(lambda: cluster.power_off(host), elsewhere, AFTER_HOST_LOSS_S)
    finally:
        cluster.power_on(host)


def main() -> None:
    parser = argparse.ArgumentParser(prog="./dev bench database", description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=10, help="of going away and coming back (default: 10)")
    parser.add_argument("--losses", type=int, default=3, help="of a host (default: 3)")
    options = parser.parse_args()
    settings = read_settings(os.environ)
    cluster = Cluster.from_environment()
    db, wanted = apps()
    took: dict[str, list[float]] = {"gone_s": [], "back_s": [], "elsewhere_s": []}
    with alone(settings):
        try:
            cluster.apply(db)
            cluster.apply(wanted)
            page = Page(cluster)
            steady(page)
            for _ in range(options.rounds):
                took["gone_s"].append(took_s(lambda: cluster.apply(db, instances=0), page.is_gone))
                until(lambda: not cluster.containers(DB), SOON_S, "the database has ended")
                took["back_s"].append(took_s(lambda: cluster.apply(db), page.is_there))
                steady(page)
            for _ in range(options.losses):
                took["elsewhere_s"].append(lose(cluster, page))
                steady(page)
                until(lambda: whole(settings), SOON_S, "the cluster is whole", pace_s=1)
        finally:
            for app_id in (PAGE, DB):
                cluster.delete(app_id)
    for name, seconds in took.items():
        print(f"{name}: {' '.join(f'{each:.2f}' for each in sorted(seconds))}")
    middle = {name: round(statistics.median(seconds), 2) for name, seconds in took.items() if seconds}
    most = {name.replace("_s", "_most_s"): round(max(seconds), 2) for name, seconds in took.items() if seconds}
    print(json.dumps({"bench": "database", **middle, **most, **machine()}))


if __name__ == "__main__":
    main()
