"""An authority that makes certificates."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import trustme
from cryptography.hazmat.primitives import serialization


class Authority:
    """``file`` is its own certificate, in a folder."""

    def __init__(self, folder: Path, name: str = "authority", *, rsa: bool = False) -> None:
        """``rsa``: for programs without elliptic curves."""
        self._key_type = trustme.KeyType.RSA if rsa else trustme.KeyType.ECDSA
        self._authority = trustme.CA(organization_name=name, key_type=self._key_type)
        self.file = folder / f"{name}.pem"
        self.file.write_bytes(self._authority.cert_pem.bytes())

    def certificate(self, common_name: str = "test", *, days: int = 1) -> bytes:
        """Return a certificate for 127.0.0.1 and localhost with its key; one of -1 days is over."""
        made = self._authority.issue_cert(
            *("127.0.0.1", "localhost"),
            common_name=common_name,
            not_after=datetime.now(UTC) + timedelta(days=days),
            key_type=self._key_type,
        )
        key = serialization.load_pem_private_key(made.private_key_pem.bytes(), password=None)
        # ZooKeeper reads keys of this form alone.
        pkcs8 = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        return made.cert_chain_pems[0].bytes() + pkcs8

    def write(self, path: Path, common_name: str = "test", *, days: int = 1) -> Path:
        """Put a new certificate into a file, in place of what it held."""
        return put(path, self.certificate(common_name, days=days))


def put(path: Path, data: bytes, mode: int = 0o600) -> Path:
    """Exchange a file as a whole."""
    fresh = path.with_suffix(".fresh")
    fresh.write_bytes(data)
    fresh.chmod(mode)
    return fresh.replace(path)
