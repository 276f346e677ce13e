"""Labels and operators of apps are in the documents, each in a row of a table."""

from __future__ import annotations

import re

from support.folders import DOCS

from eratos.marathon import labels, routing
from eratos.marathon.app_parts import OPERATORS


def first_cells(page: str) -> set[str]:
    rows = re.findall(r"^\| (`.+?) \|", (DOCS / page).read_text(), re.MULTILINE)
    return {name for row in rows for name in re.findall(r"`(\w+)`", row)}


def test_every_label_has_its_row_and_every_row_its_label() -> None:
    own = {labels.CONSUL_TAGS, labels.SINGLE_INSTANCE, labels.DRAIN_SECONDS, labels.PLACEMENT}
    haproxy, eratos = (set(routing.known_names(prefix)) for prefix in routing.PREFIXES)
    shown = first_cells("routing-labels.md")
    assert shown <= own | haproxy | eratos
    assert own <= shown
    assert {name.partition("_")[2] for name in haproxy} <= {name.partition("_")[2] for name in shown}


def test_every_operator_of_a_constraint_has_its_row() -> None:
    assert set(OPERATORS) <= first_cells("scheduling.md")
