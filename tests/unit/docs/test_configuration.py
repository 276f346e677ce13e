"""docs/configuration.md is what the classes of the settings say."""

from __future__ import annotations

import re

from devtool import configuration_page
from support.folders import ROOT

BALANCER = ROOT / "docs" / "balancer.md"


def test_the_page_is_what_the_classes_say() -> None:
    assert configuration_page.PAGE.read_text() == configuration_page.page(), "./dev docs writes it anew"


def test_every_variable_that_the_companion_reads_is_on_the_page_or_the_balancers() -> None:
    read = set(re.findall(r'"((?:ERATOS|CONSUL)_[A-Z_]+)"', (ROOT / "haproxy" / "config.py").read_text()))
    assert read <= set(re.findall(r"`([A-Z_]+)[`=]", configuration_page.PAGE.read_text() + BALANCER.read_text()))


def test_the_balancers_page_has_the_same_defaults() -> None:
    ours = dict(re.findall(r"^\| `([A-Z_]+)` \| `(.*?)` \|", configuration_page.PAGE.read_text(), re.MULTILINE))
    theirs = {name: default for name, default, _ in configuration_page.balancer_rows()}
    assert {name: theirs.get(name) for name in ours} == ours


def test_defaults_and_units_are_written_as_users_write_them() -> None:
    page = configuration_page.PAGE.read_text()
    for row in (
        "| `--http-port` | `8080` |  | ",
        "| `--maintenance-lead-s` | `300` | s | ",
        "| `--executor-mem-mib` | `64` | MiB | ",
        "| `--http-open` | `false` |  | ",
        "| `--host` | the host's name |  | ",
        "| `ERATOS_GUARD_HOLD_S` | `5` | s | ",
        "| `ERATOS_CERTS_DIR` | `/etc/eratos-balancer/certs` |  | ",
    ):
        assert row in page
