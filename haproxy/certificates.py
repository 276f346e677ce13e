"""Certificates for TLS: takes the good ones out of a folder that somebody else keeps. Called by :mod:`.__main__`.

HAProxy refuses a configuration as a whole for one bad file, and reads a folder anew at each reload, whatever has become
of it. So each file is judged alone, by HAProxy itself, and the good ones are copied into a *set*: a folder of the state
folder, named by its content and never changed. A small file, ``certificates``, names the list of the current set; the
companion writes it into the configuration, and from there on a change of certificates is a change
like any other, with the set of the last good configuration still at hand.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import re
import shutil
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from eratos.common.log import fields

from . import files

log = logging.getLogger(__name__)

_LOOK_S = 1.0
#: A chain of certificates with its key takes some KiB.
_FILE_MAX_BYTES = 256 * 1024
_NAME = re.compile(r"[0-9A-Za-z][0-9A-Za-z._-]{0,199}\.pem")
_TRIAL = "frontend certificate\n  mode http\n  timeout client 1s\n  bind 127.0.0.1:1 ssl crt {}\n"


class Certificates:
    """The certificates of one balancer. :meth:`watch` is a thread of its own; :meth:`status` is for any."""

    def __init__(self, folder: Path, state_dir: Path, check: Callable[[Path], str]) -> None:
        """``check`` lets HAProxy judge a configuration, and returns what is wrong with it, or nothing."""
        self._folder = folder
        self._state_dir = state_dir
        self._check = check
        self._current = state_dir / "certificates"
        self._seen: object = None
        self._verdicts: dict[str, str] = {}  #: digest of a file's content -> what is wrong with it, or nothing
        self._served: tuple[str, ...] = ()
        self._refused: tuple[str, ...] = ()

    def status(self) -> dict[str, Any]:
        """Return the names of the certificates that are good, and what is wrong with the others."""
        return {"good": list(self._served), "refused": list(self._refused)}

    def refused(self) -> tuple[str, ...]:
        """Return which files are kept out, each as ``file: reason``."""
        return self._refused

    def watch(self, stop: threading.Event) -> None:
        """Follow the folder for as long as the companion lives."""
        complaint = ""
        while not stop.is_set():
            try:
                self.refresh()
                self._tidy()
                complaint = ""
            except OSError as error:
                if str(error) != complaint:
                    complaint = str(error)
                    log.warning("the certificates from before stay reason=%s", complaint)
            except Exception:  # the loop's edge: a bug must not end the watch; the certificates from before stay
                log.exception("the certificates could not be read; please report this")
            stop.wait(_LOOK_S)

    def refresh(self) -> None:
        """Publish the good certificates, where anything in the folder has changed.

        Raises OSError where the state folder cannot be written. A file that has turned bad is replaced by its last good
        content: most likely it is just being written.
        """
        signature, names = self._look()
        if signature == self._seen and self._current.exists():
            return
        before = self._published()
        good: dict[str, bytes] = {}
        refused: list[str] = []
        verdicts: dict[str, str] = {}
        for name in names:
            content, problem = self._read(name)
            digest = hashlib.sha256(content).hexdigest()
            if not problem:
                problem = self._verdicts[digest] if digest in self._verdicts else self._judge(name, content)
                verdicts[digest] = problem
            if not problem:
                good[name] = content
            elif name in before:
                good[name] = before[name]
                problem += "; the one from before goes on"
            if problem:
                refused.append(f"{name}: {problem}")
        self._publish(good)
        self._seen, self._verdicts = signature, verdicts
        if (tuple(good), tuple(refused)) != (self._served, self._refused):
            log.info("certificates %s", fields(good=",".join(good), refused="; ".join(refused)))
        self._served, self._refused = tuple(good), tuple(refused)

    def _look(self) -> tuple[object, list[str]]:
        try:
            names = sorted(path.name for path in self._folder.iterdir() if path.suffix == ".pem")
        except FileNotFoundError:
            return "no folder", []
        states: list[tuple[object, ...]] = []
        for name in names:
            try:
                found = (self._folder / name).stat()
                states.append((name, found.st_mtime_ns, found.st_size, found.st_ino))
            except OSError as error:
                states.append((name, str(error)))
        return tuple(states), names

    def _read(self, name: str) -> tuple[bytes, str]:
        """Return a file's content and what is wrong with it before anybody looks into it."""
        if not _NAME.fullmatch(name):
            return b"", "its name may hold letters, digits and . _ - only"
        try:
            with (self._folder / name).open("rb") as file:
                content = file.read(_FILE_MAX_BYTES + 1)
        except OSError as error:
            return b"", error.strerror or str(error)
        return content, "" if len(content) <= _FILE_MAX_BYTES else f"it is larger than {_FILE_MAX_BYTES // 1024} KiB"

    def _judge(self, name: str, content: bytes) -> str:
        """Let HAProxy try a certificate; return what is wrong with it. Never anything of its content."""
        trial, configuration = self._state_dir / "trial.pem", self._state_dir / "trial.cfg"
        try:
            _write_secret(trial, content)
            configuration.write_text(_TRIAL.format(trial))
            found = self._check(configuration)
        finally:
            trial.unlink(missing_ok=True)
            configuration.unlink(missing_ok=True)
        if "No Private Key found" in found:
            return "it has no private key, or one with a passphrase"
        return found.partition(";")[0].rpartition("' : ")[2].replace(str(trial), name)

    def _published(self) -> Mapping[str, bytes]:
        """Return the current set."""
        try:
            listed = self._current.read_text().strip()
            paths = Path(listed).read_text().splitlines() if listed else []
            return {Path(path).name: Path(path).read_bytes() for path in paths}
        except FileNotFoundError:
            return {}

    def _publish(self, good: Mapping[str, bytes]) -> None:
        text = ""
        if good:
            content = "\n".join(f"{name} {hashlib.sha256(good[name]).hexdigest()}" for name in sorted(good))
            folder = self._state_dir / f"certificates-{hashlib.sha256(content.encode()).hexdigest()[:16]}"
            text = f"{folder / 'list'}\n"
            if not folder.exists():
                fresh = self._state_dir / "certificates-fresh"
                shutil.rmtree(fresh, ignore_errors=True)
                fresh.mkdir(mode=0o700)
                for name, data in good.items():
                    _write_secret(fresh / name, data)
                # Of several that fit a host name HAProxy takes the first, and for a client without one the first of all.
                files.replace(fresh / "list", "".join(f"{folder / name}\n" for name in sorted(good)))
                files.put(fresh, folder)
        if not self._current.exists() or self._current.read_text() != text:
            files.replace(self._current, text)

    def _tidy(self) -> None:
        """Remove sets that nothing names any more: they hold keys."""
        sets = [path for path in self._state_dir.glob("certificates-*") if path.is_dir()]
        if len(sets) < 2 and self._current.stat().st_size:
            return
        named = self._current.read_text()
        with contextlib.suppress(FileNotFoundError):
            named += (self._state_dir / "live.cfg").read_text()
        for path in sets:
            if path.name not in named:
                shutil.rmtree(path, ignore_errors=True)


def _write_secret(path: Path, content: bytes) -> None:
    path.unlink(missing_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
