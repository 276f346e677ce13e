"""Which benchmarks run without a cluster."""

from __future__ import annotations

import re

from devtool import development
from support.folders import ROOT


def test_the_benchmarks_that_say_so_need_no_cluster() -> None:
    texts = {path.stem: path.read_text().split('"""')[1] for path in (ROOT / "bench").glob("[!_]*.py")}
    assert {name for name, text in texts.items() if re.search(r"(needs|and)\s+no\s+cluster", text)} == development.ALONE
