"""Clients of a cluster's balancers who ask all the while, and note each answer that is not a 200 of the app they asked."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Mapping, Sequence

import requests
from support.answers import wrong_app
from support.waiting import until

#: Until a cluster's balancers know of routes that are about to be visited: bounds what hangs, measures nothing.
LED_WITHIN_S = 120.0
#: A balancer that was just reloaded may have accepted some more by its process of before.
CONNECTIONS = 3


class Visitors:
    """Requests one after another to each balancer for each host name, from when all lead to their apps until the end."""

    def __init__(self, balancers: Sequence[str], apps: Mapping[str, str]) -> None:
        """``apps`` are the ids of those that answer, by host name."""
        self._balancers = balancers
        self._apps = dict(apps)
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._visit, daemon=True)
        self.answers: Counter[str] = Counter()
        self.wrong: list[str] = []
        self.rounds = 0  #: how often all were asked at all balancers
        self.during = ""  #: what is changed right now, for the message of a failure

    def __enter__(self) -> Visitors:
        until(self.led, LED_WITHIN_S, "the balancers lead to the apps that are visited")
        self._thread.start()
        return self

    def led(self) -> bool:
        """Assert that each balancer leads each host name to its app: somebody else's catch-all has it until then."""
        for balancer in self._balancers:
            for host, app_id in self._apps.items():
                for _ in range(CONNECTIONS):
                    wrong = _wrong(requests.get(balancer, headers={"Host": host}, timeout=20), app_id)
                    assert not wrong, f"{balancer} {host}: {wrong}"
        return True

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join(timeout=60)

    def _visit(self) -> None:
        while not self._end.wait(0.02):
            for balancer in self._balancers:
                for host, app_id in self._apps.items():
                    try:
                        answer = requests.get(balancer, headers={"Host": host}, timeout=20)
                    except requests.RequestException as error:
                        self._note(f"{balancer} {host}: {error}")
                        continue
                    self.answers[host] += 1
                    if wrong := _wrong(answer, app_id):
                        self._note(f"{balancer} {host}: {wrong}")
            self.rounds += 1

    def _note(self, what: str) -> None:
        self.wrong.append(f"{time.strftime('%X')} {self.during}: {what}")


def _wrong(answer: requests.Response, app_id: str) -> str:
    """Return what is wrong with an answer for an app; "" where nothing is."""
    instance = answer.headers.get("X-Instance", "")
    if answer.status_code == 200 and not wrong_app(instance, app_id):
        return ""
    return f"{answer.status_code} {instance} {answer.text[:80]}"
