"""Keys derived from the framework's: each tells nothing of the others, and an executor's come as they were sent."""

from __future__ import annotations

import pytest

from eratos.common.keys import PROOF_S, ExecutorKeys, companion_key, companion_token, derived, proof, same, unproven


def test_other_words_give_other_keys() -> None:
    made = [derived(key, *what) for key in (b"1", b"2") for what in (("a",), ("b",), ("a", "b"), ("ab",), ("a", "", "b"))]
    assert len(set(made)) == len(made)
    assert all(len(key) == 64 for key in made)


def test_nothing_is_the_same_as_no_key() -> None:
    assert not same("", "")
    assert not same("x", "")
    assert same("x", "x")
    assert not same("\xe9", "x")


NOW = 1_800_000_000.0
ASKED = ("POST", "/a?b=c", b"body")


def why(shown: str, method: str = "POST", target: str = "/a?b=c", body: bytes = b"body", now: float = NOW) -> str:
    return unproven(shown, lambda who: f"key of {who}", method, target, body, now)


@pytest.mark.parametrize("who", ["", "6a1f.b-S0"])
def test_a_proof_is_of_one_request_at_its_time_and_holds_no_key(who: str) -> None:
    shown = proof(f"key of {who}", *ASKED, NOW, who)
    assert "key of" not in shown
    assert why(shown) == why(shown, now=NOW + PROOF_S) == why(shown, now=NOW - PROOF_S) == ""
    assert "another key" in why(shown, method="GET")
    assert "another key" in why(shown, target="/a?b=d")
    assert "another key" in why(shown, body=b"other")
    assert "set the clocks" in why(shown, now=NOW + PROOF_S + 2)
    assert "set the clocks" in why(shown, now=NOW - PROOF_S - 2)


@pytest.mark.parametrize(
    "shown",
    [
        "",
        "Eratos",
        "Eratos a:1:" + "0" * 63,
        "Eratos a:-1:" + "0" * 64,
        "Bearer key of ",
        "Eratos " + "a" * 301 + ":1:" + "0" * 64,
    ],
)
def test_what_is_no_proof_proves_nothing(shown: str) -> None:
    assert "no proof" in why(shown)


def test_a_proof_of_another_time_or_name_is_made_with_another_key() -> None:
    shown = proof("key of a", *ASKED, NOW, "a")
    assert "another key" in why(shown.replace(f"{NOW:.0f}", f"{NOW + 1000:.0f}"), now=NOW + 1000)
    assert "another key" in why(shown.replace(" a:", " b:"))


def test_an_executors_token_is_its_id_and_its_key() -> None:
    assert companion_token("key", "a") == f"a.{companion_key('key', 'a')}"
    assert companion_key("key", "a") != companion_key("key", "b") != companion_key("other", "b")


def test_an_executors_keys_come_as_they_were_sent() -> None:
    keys = ExecutorKeys("endpoint", "companion")
    assert ExecutorKeys.from_bytes(keys.to_bytes()) == keys
    assert ExecutorKeys.from_bytes(b"") == ExecutorKeys()
    assert ExecutorKeys.from_bytes(b'{"endpoint": "x", "later": 1}') == ExecutorKeys("x", "")
    assert "endpoint" not in repr(keys).replace("ExecutorKeys", "")


@pytest.mark.parametrize("data", [b"x", b"[]", b'{"endpoint": 1}', b"\xff"])
def test_what_are_no_keys_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError):
        ExecutorKeys.from_bytes(data)
