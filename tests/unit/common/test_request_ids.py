"""What may be a request's id, and what it says."""

from __future__ import annotations

import pytest

from eratos.common import request_ids


@pytest.mark.parametrize("text", ["01a2213a-0536-7172-9390-a7928f894edc", "a.b-c_D9", "x" * 64])
def test_a_plain_id_is_good(text: str) -> None:
    assert request_ids.good(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "seven77",
        "x" * 65,
        "x" * 10_000,
        "<script>alert(1)",
        "abcdefgh\n",
        "abc defgh",
        "abcdefg\x01",
        "abcdefgé",
        "a" * 8 + "/",
    ],
)
def test_anything_else_is_none(text: str) -> None:
    assert not request_ids.good(text)


@pytest.mark.parametrize(
    ("request_id", "at"),
    [
        ("01a2213a-0536-7172-9390-a7928f894edc", 0x01A2213A0536 / 1000),
        ("01a2213a-0536-4172-9390-a7928f894edc", None),  # version 4: drawn by lot as a whole
        ("01a2213a-0536-7172-c390-a7928f894edc", None),  # another variant
        ("my-own-request-1", None),
    ],
)
def test_a_balancer_s_id_says_when_it_was_made(request_id: str, at: float | None) -> None:
    assert request_ids.made_at(request_id) == at
