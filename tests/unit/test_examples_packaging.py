"""examples/systemd/, debian/ and blog/: systemd accepts the units, settings are settings, scripts are scripts."""

from __future__ import annotations

import dataclasses
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from support.folders import ROOT

from eratos.scheduler.config import Config

SYSTEMD = ROOT / "examples" / "systemd"
DEBIAN = ROOT / "examples" / "debian"
BLOG_SCRIPTS = sorted((ROOT / "examples" / "blog" / "bin").iterdir())
UNITS = sorted(SYSTEMD.glob("*.service"))
#: Words that a unit may use, by section: what systemd does not know it only warns of, and ignores.
KNOWN = {
    "Unit": {"Description", "Wants", "After", "Requires", "StartLimitIntervalSec"},
    "Service": {"EnvironmentFile", "ExecStartPre", "ExecStart", "ExecStop", "User", "Group", "Restart", "RestartSec"}
    | {"TimeoutStopSec", "LimitNOFILE", "StateDirectory", "StateDirectoryMode", "UMask", "NoNewPrivileges"}
    | {"CapabilityBoundingSet", "AmbientCapabilities", "ProtectSystem", "ProtectHome", "PrivateTmp", "PrivateDevices"}
    | {"ProtectKernelTunables", "ProtectKernelModules", "ProtectControlGroups", "RestrictSUIDSGID", "RestrictNamespaces"}
    | {"RestrictAddressFamilies", "LockPersonality"},
    "Install": {"WantedBy"},
}


def parsed(unit: Path) -> list[tuple[str, str, str]]:
    """Return section, word and value of each line of a unit; lines that go on are one."""
    found, section = [], ""
    for line in unit.read_text().replace("\\\n", " ").splitlines():
        if header := re.fullmatch(r"\[(\w+)\]", line):
            section = header[1]
        elif line and not line.startswith("#"):
            word, mark, value = line.partition("=")
            assert mark and section, line
            found.append((section, word, value))
    return found


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_a_unit_says_what_systemd_knows(unit: Path, tmp_path: Path) -> None:
    lines = parsed(unit)
    assert [(section, word) for section, word, _ in lines if word not in KNOWN.get(section, ())] == []
    assert {"Description", "ExecStart", "Restart", "WantedBy"} <= {word for _, word, _ in lines}
    if shutil.which("systemd-analyze"):
        # Neither our commands nor Docker need be here: other programs stand for them.
        copy = tmp_path / unit.name
        text = re.sub(r"(?m)^(Exec\w+=-?)/\S+", r"\1/bin/true", unit.read_text())
        copy.write_text(re.sub(r"(?m)^(User|Group)=.*$", r"\1=root", re.sub(r"(?m)^Requires=.*\n", "", text)))
        done = subprocess.run(["systemd-analyze", "verify", str(copy)], capture_output=True, text=True, timeout=60, check=False)
        assert (done.returncode, [line for line in done.stderr.splitlines() if unit.name in line]) == (0, []), done.stderr


def test_the_scheduler_has_no_rights_and_is_started_again() -> None:
    words = {word: value for _, word, value in parsed(SYSTEMD / "eratos-scheduler.service")}
    assert words["User"] == "eratos" and words["CapabilityBoundingSet"] == "" and words["NoNewPrivileges"] == "yes"
    assert (words["Restart"], words["StartLimitIntervalSec"]) == ("always", "0")


def test_each_setting_of_the_example_is_one_of_the_scheduler() -> None:
    settings = {f"ERATOS_{field.name.removesuffix('_s').upper()}" for field in dataclasses.fields(Config)}
    named = re.findall(r"^#?(ERATOS_\w+)=", (DEBIAN / "eratos-scheduler.default").read_text(), re.MULTILINE)
    assert len(named) >= 5 and set(named) <= settings


@pytest.mark.parametrize(
    "path", [*(DEBIAN / name for name in ("build", "postinst", "prerm")), *BLOG_SCRIPTS], ids=lambda path: path.name
)
def test_a_script_is_one_that_a_shell_reads(path: Path) -> None:
    assert path.stat().st_mode & 0o111
    shell = path.read_text().splitlines()[0].removeprefix("#!")
    subprocess.run([shell, "-n", str(path)], check=True, timeout=20)


def test_the_package_is_described_as_dpkg_wants_it() -> None:
    text = (DEBIAN / "control").read_text()
    fields = dict(re.findall(r"^([A-Z][\w-]*): (.+)$", text, re.MULTILINE))
    assert {"Package", "Version", "Architecture", "Maintainer", "Description"} <= set(fields)
    assert all(re.match(r"[A-Z][\w-]*: \S| \S", line) for line in text.splitlines()) and text.endswith("\n")
    said = (DEBIAN / "build").read_text()
    assert all(f"s/{mark}/" in said for mark in set(re.findall(r"@[A-Z]+@", text)))
    assert set(re.findall(r"\$here/(?:\.\./systemd/)?([\w.-]+)", said)) <= {
        path.name for path in (*DEBIAN.iterdir(), *SYSTEMD.iterdir())
    }
