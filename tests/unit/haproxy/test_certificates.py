"""Which certificates HAProxy gets, whatever lies in their folder."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
from support.waiting import until

from eratos.haproxy import certificates
from eratos.haproxy.certificates import Certificates


class Rig:
    """A folder, and an HAProxy that takes for good what says so."""

    def __init__(self, tmp_path: Path) -> None:
        self.folder, self.state = tmp_path / "certs", tmp_path / "state"
        self.folder.mkdir()
        self.state.mkdir()
        self.checks = 0
        self.certificates = Certificates(self.folder, self.state, self._check)

    def _check(self, configuration: Path) -> str:
        self.checks += 1
        trial = Path(configuration.read_text().split()[-1])
        assert trial.stat().st_mode & 0o777 == 0o600
        if trial.read_bytes().startswith(b"good"):
            return ""
        return f"parsing [x:4] : 'bind 127.0.0.1:1' in section 'frontend' : unable to load '{trial}': no start line.; more"

    def put(self, **files: str) -> None:
        for name, content in files.items():
            (self.folder / f"{name}.pem").write_text(content)
        self.certificates.refresh()

    def set(self) -> dict[str, str]:
        """Return what HAProxy would read."""
        listed = (self.state / "certificates").read_text().strip()
        paths = [Path(line) for line in Path(listed).read_text().splitlines()] if listed else []
        assert all(path.stat().st_mode & 0o777 == 0o600 for path in paths)
        return {path.stem: path.read_text() for path in paths}

    def sets(self) -> set[str]:
        return {path.name for path in self.state.glob("certificates-*")}


@pytest.fixture
def rig(tmp_path: Path) -> Rig:
    return Rig(tmp_path)


def test_the_good_ones_are_served_and_the_others_named(rig: Rig) -> None:
    rig.put(b="good b", a="good a", bad="nonsense")
    (rig.folder / "README.txt").write_text("no certificate")
    assert list(rig.set().items()) == [("a", "good a"), ("b", "good b")]
    assert rig.certificates.status() == {
        "good": ["a.pem", "b.pem"],
        "refused": ["bad.pem: unable to load 'bad.pem': no start line."],
    }
    assert {path.name for path in rig.state.iterdir()} == {"certificates", *rig.sets()}


@pytest.mark.parametrize("missing", [True, False])
def test_without_a_good_one_there_is_no_list(rig: Rig, missing: bool) -> None:
    if missing:
        rig.folder.rmdir()
        rig.certificates.refresh()
    else:
        rig.put(bad="nonsense")
    assert (rig.state / "certificates").read_text() == ""


def test_what_was_judged_is_judged_again_only_when_it_has_changed(rig: Rig) -> None:
    rig.put(a="good a", bad="nonsense")
    rig.put(b="good b")
    assert rig.checks == 3
    rig.certificates.refresh()
    assert rig.checks == 3
    rig.put(a="good a, renewed")
    assert rig.checks == 4
    assert rig.set() == {"a": "good a, renewed", "b": "good b"}


def test_a_set_never_changes_and_goes_when_no_configuration_names_it(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(certificates, "_LOOK_S", 0.02)
    rig.put(a="good a")
    (first,) = rig.sets()
    (rig.state / "live.cfg").write_text(f"bind :8443 ssl crt-list /x/{first}/list\n")
    rig.put(a="good a, renewed")
    assert (rig.state / first / "a.pem").read_text() == "good a"
    stop = threading.Event()
    watch = threading.Thread(target=rig.certificates.watch, args=(stop,))
    watch.start()
    try:
        (rig.folder / "a.pem").unlink()
        until(lambda: rig.set() == {}, 5, "the folder is looked at")
        until(lambda: rig.sets() == {first}, 5, "the unused set is removed")
        (rig.state / "live.cfg").write_text("")
        until(lambda: rig.sets() == set(), 5, "the last set is removed")
    finally:
        stop.set()
        watch.join()


def test_a_file_that_turned_bad_leaves_its_last_good_content_in_service(rig: Rig) -> None:
    rig.put(a="good a")
    rig.put(a="half a fi")
    assert rig.set() == {"a": "good a"}
    (reason,) = rig.certificates.status()["refused"]
    assert reason.endswith("the one from before goes on")
    # Also over a restart of the companion.
    rig.certificates = Certificates(rig.folder, rig.state, rig._check)
    rig.certificates.refresh()
    assert rig.set() == {"a": "good a"}
    (rig.folder / "a.pem").unlink()
    rig.certificates.refresh()
    assert rig.set() == {}


def test_what_cannot_be_read_is_named(rig: Rig) -> None:
    (rig.folder / "gone.pem").symlink_to(rig.folder / "nowhere")
    (rig.folder / "folder.pem").mkdir()
    (rig.folder / "od\nd.pem").write_text("good")
    rig.put(large="good" * 100_000)
    assert rig.set() == {}
    assert rig.certificates.status()["refused"] == [
        "folder.pem: Is a directory",
        "gone.pem: No such file or directory",
        "large.pem: it is larger than 256 KiB",
        "od\nd.pem: its name may hold letters, digits and . _ - only",
    ]


def test_a_set_that_somebody_removed_is_made_again(rig: Rig) -> None:
    rig.put(a="good a")
    (rig.state / "certificates").unlink()
    rig.certificates.refresh()
    assert rig.set() == {"a": "good a"}
