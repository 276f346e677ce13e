"""Clients of a cluster's balancers who ask all the while, and note each answer that is not a 200 of the app they asked."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Mapping, Sequence

import requests
from support.answers import wrong_app


class Visitors:
    """Requests one after another to each balancer for each host name, until the end."""

    def __init__(self, balancers: Sequence[str], apps: Mapping[str, str]) -> None:
        """``apps`` are the ids of those that answer, by host name."""
        self._balancers = balancers
        self._apps = dict(apps)
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._visit, daemon=True)
        self.answers: Counter[str] = Counter()
        self.wrong: list[str] = []
        self.during = ""  #: what is changed right now, for the message of a failure

    def __enter__(self) -> Visitors:
        self._thread.start()
        return self

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
                    instance = answer.headers.get("X-Instance", "")
                    if answer.status_code != 200 or wrong_app(instance, app_id):
                        self._note(f"{balancer} {host}: {answer.status_code} {instance} {answer.text[:80]}")

    def _note(self, what: str) -> None:
        self.wrong.append(f"{time.strftime('%X')} {self.during}: {what}")
