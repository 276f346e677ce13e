"""Every scenario file, replayed. ``./dev test tests/scenarios --rewrite`` writes new outputs: commit only what you understand."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.transcript import Script, parse, rendered

FILES = sorted(Path(__file__).parent.glob("*.txt"))


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_scenario(file: Path, request: pytest.FixtureRequest) -> None:
    blocks, script = parse(file.read_text()), Script()
    outputs = [script.run(block.command) for block in blocks]
    if request.config.getoption("--rewrite"):
        file.write_text(rendered(blocks, outputs))
        return
    for block, output in zip(blocks, outputs, strict=True):
        assert output == block.expected, f"{file.name}: {block.command}"
