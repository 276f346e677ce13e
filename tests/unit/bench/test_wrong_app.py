"""No answer ever names the wrong app: the one check that all loads of the tests and benchmarks share can fail."""

from __future__ import annotations

import importlib.util
import sys
from types import ModuleType
from typing import Any

import pytest
from support.answers import wrong_app
from support.balancer import Rig
from support.folders import ROOT


@pytest.mark.parametrize(
    ("instance", "app_id", "wrong"),
    [
        ("prime.instance-6f1c._app.1", "/prime", False),
        ("shop_cart.instance-6f1c._app.1", "/shop/cart", False),
        ("hello.instance-6f1c._app.1", "/prime", True),
        ("prime2.instance-6f1c._app.1", "/prime", True),
        ("shop_cart.instance-6f1c._app.1", "/shop", True),
        ("", "/prime", True),
    ],
)
def test_who_may_answer_for_an_app(instance: str, app_id: str, wrong: bool) -> None:
    assert bool(wrong_app(instance, app_id)) == wrong


def test_a_rig_knows_whose_port_answered() -> None:
    container: Any = None
    rig = Rig(container, None, container, "10.0.0.1")
    rig.owners[9000].add("prime")
    rig.owners[9001] |= {"prime", "other"}
    assert rig.wrong_app(9000, "prime") == rig.wrong_app(9001, "other") == rig.wrong_app(9001, "prime") == ""
    assert rig.wrong_app(9000, "other") and rig.wrong_app(9002, "prime")


@pytest.fixture
def bench_load() -> ModuleType:
    path = ROOT / "bench" / "_load.py"
    spec = importlib.util.spec_from_file_location("bench_load", path)
    assert spec and spec.loader
    module = sys.modules["bench_load"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_benchmark_ends_where_the_wrong_app_has_answered(bench_load: ModuleType) -> None:
    summary: dict[str, Any] = {
        "requests": 10, "failed": 1, "retried": 0, "seconds": 2.0, "reasons": {"timeout": 1}, "wrong_app": 0, "failures": [],
        "instances": {"a": {"requests": 10, "failed": 1}}, "p50_s": 0.1, "p99_s": 0.2, "slowest_s": 0.3,
    }  # fmt: skip
    found = bench_load.report(summary)
    assert (found.failed, found.rate_per_s, found.instances) == (1, 5.0, {"a": 9})
    with pytest.raises(SystemExit, match="wrong app"):
        bench_load.report({**summary, "wrong_app": 1})
