"""Names that are near to others: what difflib finds, and far fewer comparisons."""

from __future__ import annotations

import difflib
from typing import Any

import pytest

from eratos.marathon import near
from eratos.marathon.app import App
from eratos.marathon.pydantic_errors import _places

NAMES = sorted(_places(App))


def misspelt(name: str) -> set[str]:
    """Return a name with two letters exchanged, without one, with one twice, and with another one."""
    at = range(len(name) - 1)
    exchanged = {name[:i] + name[i + 1] + name[i] + name[i + 2 :] for i in at}
    changed = {name[:i] + letters + name[i + 1 :] for i in range(len(name)) for letters in ("", 2 * name[i], "x")}
    return (exchanged | changed | {name + "s", name.removesuffix("s")}) - {name, ""}


@pytest.mark.parametrize("name", NAMES)
def test_what_difflib_finds_is_found(name: str) -> None:
    for word in misspelt(name):
        if (found := difflib.get_close_matches(word, [name], 1, 0.7)) and len(name) > 4:
            assert near.close(word, [name], 1, 0.7) == found


def test_of_several_the_nearest_comes_first() -> None:
    assert near.close("minimunHealthCapacity", NAMES, 1, 0.7) == ["minimumHealthCapacity"]
    assert near.close("healtChecks", ["readinessChecks", "healthChecks", "cmd"], 3, 0.5) == ["healthChecks", "readinessChecks"]
    assert near.close("owner", NAMES, 1, 0.7) == []
    assert near.close("", NAMES, 1, 0.7) == []


def test_few_are_compared_in_earnest(monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[int] = []

    def counted(word: str, names: list[str], *more: Any) -> list[str]:
        compared.append(len(names))
        return []

    monkeypatch.setattr(near.difflib, "get_close_matches", counted)
    for word in ("qzvkwxjq", "a" * 60, "containerPorts", *NAMES):
        near.close(word, NAMES, 1, 0.7)
    assert len(NAMES) > 100
    assert compared[:2] == [0, 0]
    assert max(compared) <= 8
