"""The eratos that are wrong on purpose: what they change is there, and what comes of it runs."""

from __future__ import annotations

import pytest
from support.wrong_eratos import VARIANTS, Variant


@pytest.mark.parametrize("variant", VARIANTS, ids=lambda variant: variant.name)
def test_what_is_changed_is_there_and_is_code_afterwards(variant: Variant) -> None:
    for file in {file for file, _, _ in variant.changes}:
        compile(variant.text(file), file, "exec")
