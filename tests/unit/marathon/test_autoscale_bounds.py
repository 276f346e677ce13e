"""Bounds of autoscaling as users write them."""

from __future__ import annotations

from typing import Any

import pytest

from eratos.marathon.autoscale_bounds import stated_bounds


@pytest.mark.parametrize(
    ("app", "bounds"),
    [
        ({}, (None, None)),
        ({"eratos": None}, (None, None)),
        ({"eratos": []}, (None, None)),
        ({"eratos": {"autoscale": 3}}, (None, None)),
        ({"eratos": {"autoscale": {}}}, (None, None)),
        ({"eratos": {"autoscale": {"min": 2, "max": 5}}}, (2, 5)),
        ({"eratos": {"autoscale": {"min": 1}}}, (1, None)),
        ({"eratos": {"autoscale": {"min": "2", "max": 5.0}}}, (None, None)),
        ({"eratos": {"autoscale": {"min": 0, "max": -1}}}, (None, None)),
        ({"eratos": {"autoscale": {"min": True, "max": True}}}, (None, None)),
    ],
)
def test_what_is_no_number_of_instances_is_no_bound(app: Any, bounds: Any) -> None:
    assert stated_bounds(app) == bounds
