"""A cluster that ``./dev chaos`` could break, and what it would say of a run: as data, without any cluster."""

from __future__ import annotations

import dataclasses
from typing import Any

from devtool.chaos import trial
from devtool.chaos.parts import Parts
from devtool.cluster import Attachment, Container
from devtool.settings import Settings

SETTINGS = Settings()


def container(service: str, address: str = "", state: str = "running") -> Container:
    networks = {"eratos_default": Attachment("n", address)} if address else {}
    return Container(f"eratos-{service}-1", service, state, "", 0, "", 0, f"id-{service}", "", networks)


ADDRESSES = {
    "zookeeper": 10, "master1": 11, "master2": 12, "consul1": 21, "consul2": 22, "consul3": 23, "scheduler1": 31,
    "scheduler2": 32, "balancer1": 41, "balancer2": 42, "agent1": 101, "agent2": 102, "agent3": 103,
}  # fmt: skip
BESIDE = ("consul-agent1", "consul-agent2", "consul-agent3", "consul-balancer1", "consul-balancer2")
PARTS = Parts(
    "eratos",
    {
        **{name: container(name, f"10.87.213.{number}") for name, number in ADDRESSES.items()},
        **{name: container(name) for name in BESIDE},
    },
    {"chaos.instance-1._app.1": ("id-w1", "agent1"), "chaos.instance-2._app.1": ("id-w2", "agent2")},
    "master2",
    "scheduler1",
    "consul3",
)
#: The same in two regions: of its parts consul4, agent2 and balancer2 are in the second one.
IN_REGIONS = dataclasses.replace(PARTS, containers={**PARTS.containers, "consul4": container("consul4", "10.87.213.24")})


def outcome(at_s: float, **more: Any) -> trial.Outcome:
    return trial.Outcome("a fault", ["balancer-off"], at_s, over_s=at_s + 10, well_s=at_s + 12, **more)


def summary(requests: int = 1000, wrong_app: int = 0, failures: list[dict[str, Any]] | None = None) -> dict[str, Any]:
    found = failures or []
    return {
        "requests": requests, "failed": len(found), "wrong_app": wrong_app, "failures": found, "p99_s": 0.1, "slowest_s": 0.2,
    }  # fmt: skip
