"""Where Debian's image and packages come from: the real steps, with programs in the path that play docker and debootstrap."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest
from devtool import base, packages
from devtool import settings as settings_module
from devtool.settings import read_settings
from devtool.terminal import Problem, Progress
from support.folders import ROOT

SNAPSHOT = "http://snapshot.debian.org/archive/debian/20261101T000000Z"

#: ``docker`` says no to what stands in $REFUSED, and keeps what it imports.
_DOCKER = """
case "$REFUSED" in *"$1"*) echo "no route to host" >&2; exit 1;; esac
[ "$1" != image ] || exit 1
[ "$1" != import ] || cat > "$FOLDER/imported.tar"
"""
#: Makes as much of a system as is looked at afterwards.
_DEBOOTSTRAP = """
mkdir -p "$3/etc/apt/apt.conf.d" "$3/etc/dpkg/dpkg.cfg.d" "$3/usr/share/doc/x"
echo "deb $4 $2 main" > "$3/etc/apt/sources.list"
"""


class Host:
    """A machine without the base image."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self._folder = folder
        self._monkeypatch = monkeypatch
        (folder / "bin").mkdir()
        for name, text in {"docker": _DOCKER, "debootstrap": _DEBOOTSTRAP, "wget": '[ "$REFUSED" != "pull wget" ]'}.items():
            program = folder / "bin" / name
            program.write_text(f'#!/bin/sh\necho "{name} $*" >> "$FOLDER/calls"\n{text}')
            program.chmod(0o755)
        monkeypatch.setenv("PATH", f"{folder}/bin{os.pathsep}{os.environ['PATH']}")
        monkeypatch.setenv("FOLDER", str(folder))
        monkeypatch.setattr(base, "BOOTSTRAP_FOLDER", folder / "made")
        monkeypatch.setattr(packages, "available", lambda: True)
        for name in ("update", "install"):
            monkeypatch.setattr(packages, name, lambda *names: None)
        monkeypatch.setattr(packages, "known", lambda *names: list(names))

    def ensure(self, refused: str, mirror: str = "") -> list[str]:
        """Have the image made sure of; return the commands of the programs that are played."""
        self._monkeypatch.setenv("REFUSED", refused)
        base.ensure_image(Progress(), mirror)
        return (self._folder / "calls").read_text().splitlines()

    @property
    def sources(self) -> str:
        """Where the image that was made takes packages from."""
        command = ["tar", "-xOf", str(self._folder / "imported.tar"), "./etc/apt/sources.list"]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Host:
    return Host(tmp_path, monkeypatch)


def test_debians_image_is_pulled_by_its_digest(host: Host) -> None:
    pinned = f"debian@{base.DIGEST}"
    assert host.ensure("")[1:] == [f"docker pull -q {pinned}", f"docker tag {pinned} {base.IMAGE}"]


def test_where_it_cannot_be_pulled_it_is_made_and_takes_security_fixes(host: Host) -> None:
    assert any(call.startswith("debootstrap") and call.endswith(base.MIRROR) for call in host.ensure("pull"))
    assert host.sources.splitlines() == [
        f"deb {base.MIRROR} trixie main",
        f"deb {base.SECURITY_MIRROR} trixie-security main",
    ]


def test_where_security_fixes_are_out_of_reach_that_is_said(host: Host, capsys: pytest.CaptureFixture[str]) -> None:
    host.ensure("pull wget")
    assert host.sources.splitlines() == [f"deb {base.MIRROR} trixie main"]
    assert "without security fixes" in capsys.readouterr().out


def test_it_is_made_of_the_packages_of_the_mirror_that_is_set(host: Host, capsys: pytest.CaptureFixture[str]) -> None:
    host.ensure("pull", SNAPSHOT)
    assert host.sources.splitlines() == [f"deb {SNAPSHOT} trixie main"]
    assert "security" not in capsys.readouterr().out


def _from_mirror(folder: Path, mirror: str) -> tuple[str, bool]:
    """Run what the Dockerfile does about a mirror; return the sources, and whether Debian's own are still there."""
    text = (ROOT / "compose-dev" / "Dockerfile").read_text().replace("\\\n", " ")
    found = re.search(r"^RUN (\[ -z \"\$DEBIAN_MIRROR\" \].*)$", text, re.MULTILINE)
    assert found is not None
    debians = folder / "etc/apt/sources.list.d/debian.sources"
    debians.parent.mkdir(parents=True)
    debians.write_text("Types: deb\n")
    script = found[1].replace("/etc/apt/", f"{folder}/etc/apt/")
    subprocess.run(["sh", "-ec", script], env={**os.environ, "DEBIAN_MIRROR": mirror}, check=True)
    written = folder / "etc/apt/sources.list"
    return (written.read_text() if written.exists() else ""), debians.exists()


def test_images_take_their_packages_from_the_mirror_alone(tmp_path: Path) -> None:
    sources, debians = _from_mirror(tmp_path, SNAPSHOT)
    # An old snapshot's lists have expired; the signature of Debian counts all the same.
    assert re.fullmatch(rf"deb \[signed-by=\S+ check-valid-until=no\] {re.escape(SNAPSHOT)} trixie main\n", sources)
    assert not debians


def test_without_a_mirror_images_take_them_as_debians_image_does(tmp_path: Path) -> None:
    assert _from_mirror(tmp_path, "") == ("", True)


def test_the_mirror_reaches_every_build_and_is_remembered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settings_module, "GENERATED", tmp_path)
    assert "DEBIAN_MIRROR: ${ERATOS_DEBIAN_MIRROR:-}" in (ROOT / "compose-dev" / "compose.yaml").read_text()
    read_settings({"ERATOS_DEBIAN_MIRROR": SNAPSHOT}).remember()
    assert read_settings({}).variables == {"ERATOS_DEBIAN_MIRROR": SNAPSHOT}


@pytest.mark.parametrize(
    "mirror",
    ["deb.example/debian", "ftp://deb.example/debian", "http://", "http://a b/debian", "http://me:secret@deb.example/debian"],
)
def test_a_mirror_that_can_be_none_is_refused_and_not_repeated(mirror: str) -> None:
    with pytest.raises(Problem, match="ERATOS_DEBIAN_MIRROR is no address") as refused:
        read_settings({"ERATOS_DEBIAN_MIRROR": mirror})
    assert "secret" not in str(refused.value)
