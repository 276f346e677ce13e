"""An authority that makes certificates, by the command openssl."""

from __future__ import annotations

import itertools
import subprocess
from pathlib import Path


class Authority:
    """Keeps its files in a folder; ``file`` is its own certificate."""

    def __init__(self, folder: Path, name: str = "authority", *, rsa: bool = False) -> None:
        """``rsa``: for programs without elliptic curves."""
        self._key = ("rsa:2048",) if rsa else ("ec", "-pkeyopt", "ec_paramgen_curve:P-256")
        self._folder = folder
        self._name = name
        self._numbers = itertools.count(1)
        self.file = folder / f"{name}.pem"
        _openssl(
            *("req", "-x509", "-newkey", *self._key, "-nodes", "-days", "2"),
            *("-subj", f"/CN={name}", "-keyout", str(folder / f"{name}.key"), "-out", str(self.file)),
        )

    def certificate(self, common_name: str = "test", *, days: int = 1) -> bytes:
        """Return a certificate for 127.0.0.1 and localhost with its key; one of -1 days is over."""
        made = self._folder / f"{self._name}-{next(self._numbers)}"
        key, request, signed = made.with_suffix(".key"), made.with_suffix(".csr"), made.with_suffix(".crt")
        extension = made.with_suffix(".ext")
        extension.write_text("subjectAltName=IP:127.0.0.1,DNS:localhost\n")
        _openssl(
            *("req", "-newkey", *self._key, "-nodes", "-subj", f"/CN={common_name}"),
            *("-keyout", str(key), "-out", str(request)),
        )
        _openssl(
            *("x509", "-req", "-in", str(request), "-CA", str(self.file), "-CAkey", str(self._folder / f"{self._name}.key")),
            *("-CAcreateserial", "-extfile", str(extension), "-days", str(days), "-out", str(signed)),
        )
        return signed.read_bytes() + key.read_bytes()

    def write(self, path: Path, common_name: str = "test", *, days: int = 1) -> Path:
        """Put a new certificate into a file, in place of what it held."""
        return put(path, self.certificate(common_name, days=days))


def put(path: Path, data: bytes, mode: int = 0o600) -> Path:
    """Exchange a file as a whole."""
    fresh = path.with_suffix(".fresh")
    fresh.write_bytes(data)
    fresh.chmod(mode)
    return fresh.replace(path)


def _openssl(*arguments: str) -> None:
    done = subprocess.run(["openssl", *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
