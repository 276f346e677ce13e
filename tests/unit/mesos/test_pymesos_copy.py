"""mesos/pymesos/ is pymesos 0.3.15 as it was released, but for one import (docs/adr/0040)."""

from __future__ import annotations

import hashlib
import subprocess
import sys

import pytest
from support.folders import ROOT

FOLDER = ROOT / "mesos" / "pymesos"
#: SHA-256 of the files of pymesos-0.3.15.tar.gz.
RELEASED = {
    "__init__.py": "95b34a4ee6c9dfea82fad95d8f302e7d87b2a074a346920233f8ea3192fe1b5e",
    "detector.py": "b5aff5d693ff7c80de4cd5723b7593277e066fd595ec177f98faee2ae7248c30",
    "executor.py": "6f7aea7496a78ae5296f8983400119ad41cd00467936c41809576ebc5792d97b",
    "interface.py": "ef928c452750d92d85a63ca01adaa03046d867306d13bbbc5ecf1458873bc9c7",
    "operator_v1.py": "4595689284491e9b7cc2894b59049984f655fd13c9794e0ba7894c13b8e809ab",
    "process.py": "e049d0b83fbd2c9b69c7476982f0ab42ea8d401e07f95c13f7bf66abf9544351",
    "scheduler.py": "420265c1f3bef5702c4c762b133f04d79dace307bdf4c10ef64a3a3cd6e4f2d9",
    "utils.py": "fa80f0f4c511a6bcfdd2cbdefadcb60993f1d03a5ddf8128fc7d383c49c97e89",
}
CHANGED = {"process.py": ("from ..http_parser import HttpParser\n", "from http_parser.http import HttpParser\n")}


def test_the_copy_holds_these_files_and_its_licence() -> None:
    assert {path.name for path in FOLDER.iterdir() if path.is_file()} == {*RELEASED, "LICENSE"}
    assert "Douban Inc." in (FOLDER / "LICENSE").read_text()


@pytest.mark.parametrize("name", RELEASED)
def test_a_file_is_as_released_but_for_what_is_said(name: str) -> None:
    text = (FOLDER / name).read_text()
    if name in CHANGED:
        ours, theirs = CHANGED[name]
        assert text.count(ours) == 1
        text = text.replace(ours, theirs)
    assert hashlib.sha256(text.encode()).hexdigest() == RELEASED[name]


def test_neither_pymesos_nor_http_parser_is_asked_for() -> None:
    """What pip would have to build: their names stand nowhere in what an installation asks for, and nothing imports them."""
    for locked in (ROOT / "requirements").glob("*.txt"):
        assert not any(line.startswith(("pymesos", "http-parser", "http_parser")) for line in locked.read_text().splitlines())
    code = (
        "import sys; sys.modules['pymesos'] = sys.modules['http_parser'] = None\n"
        "import eratos.mesos.library, eratos.scheduler.mesos.driver, eratos.executor.mesos.driver"
    )
    subprocess.run([sys.executable, "-P", "-c", code], check=True, timeout=60)
