"""The API's certificate: for its clients, and for the leader that asks a follower for one. Renewed while it is in use."""

from __future__ import annotations

import contextlib
import logging
import os
import ssl
import threading
from pathlib import Path
from typing import Final

from eratos.common.errors import PermanentError
from eratos.common.log import fields
from eratos.common.secret_file import loose

log = logging.getLogger(__name__)

#: How often the file is looked at.
LOOK_S: Final = 5.0
_BYTES_MOST: Final = 1024 * 1024
#: OpenSSL's codes of a certificate whose time has not come, or is over (x509_vfy.h).
_NOT_ITS_TIME: Final = (9, 10)
#: After so many turns a client and a server have long seen each other's certificates.
_TURNS: Final = 4


class Certificate:
    """A certificate with its key in one PEM file, in every context that shows it; a new one counts for new connections."""

    def __init__(self, file: str, client_ca_file: str = "", ca_file: str = "") -> None:
        """``client_ca_file``: authorities one of which clients must show a certificate of; empty: they need none.

        ``ca_file``: authorities of the leader's certificate; empty: the system's. Raises PermanentError naming the setting.
        """
        self._path = Path(file)
        self._seen: tuple[int, ...] = ()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="certificate", daemon=True)
        self._ca_file = ca_file
        self._client_ca_file = client_ca_file
        self.server = self._of_server()  #: for the API
        self._shown = self.server
        self._client = to_leader(ca_file)
        try:
            self._load(first=True)
        except (OSError, ValueError) as error:
            raise PermanentError(f"--http-cert-file: {file} cannot be used: {_why(error)}") from error
        # A context that is loaded while it is in use has for a moment the new certificate with the old key. So each
        # connection is given one that is whole.
        self.server.sni_callback = self._show

    def to_leader(self) -> ssl.SSLContext:
        """Return what a follower checks the leader with, and shows it."""
        return self._client

    def start(self) -> None:
        """Follow the file from now on."""
        self._thread.start()

    def stop(self) -> None:
        self._stopped.set()
        if self._thread.is_alive():
            self._thread.join()

    def look(self) -> None:
        """Take the file's content if it changed; one that cannot be used changes nothing, and is logged."""
        try:
            if self._load():
                log.info("the API's certificate was renewed %s", fields(file=self._path))
        except (OSError, ValueError, PermanentError) as error:
            log.error(
                "the API's certificate is not taken, the one before goes on %s", fields(file=self._path, reason=_why(error))
            )

    def _of_server(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        if self._client_ca_file:
            context.verify_mode = ssl.CERT_REQUIRED
            _trust(context, self._client_ca_file, "--http-client-ca-file")
        return context

    def _show(self, connection: ssl.SSLObject, name: str | None, _: ssl.SSLContext) -> None:
        connection.context = self._shown

    def _watch(self) -> None:
        while not self._stopped.wait(LOOK_S):
            self.look()

    def _load(self, *, first: bool = False) -> bool:
        """Load what is new; return whether anything was. Raises OSError and ValueError.

        Out of date is better than nothing: the ``first`` one is taken all the same, and warned of.
        """
        found = self._path.stat()
        mark = (found.st_dev, found.st_ino, found.st_mtime_ns, found.st_size, found.st_mode)
        if mark == self._seen:
            return False
        self._seen = mark
        if problem := loose(found.st_mode):
            raise ValueError(f"it holds the key, and {problem}")
        data = self._path.read_bytes()
        if len(data) > _BYTES_MOST:
            raise ValueError(f"it is longer than {_BYTES_MOST} bytes")
        shown, client = self._of_server(), to_leader(self._ca_file)
        # The ssl module loads by name only, and the file may change in between: both get the very same bytes.
        copy = os.memfd_create("certificate", os.MFD_CLOEXEC)
        try:
            with os.fdopen(copy, "wb", closefd=False) as file:
                file.write(data)
            bare = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            for context in (shown, client, bare):
                context.load_cert_chain(f"/proc/self/fd/{copy}")
        finally:
            os.close(copy)
        if why := _out_of_date(bare, data):
            if not first:
                raise ValueError(why)
            log.warning("clients will not take the API's certificate %s", fields(file=self._path, reason=why))
        self._shown, self._client = shown, client
        return True


def to_leader(ca_file: str = "") -> ssl.SSLContext:
    """Return with what a follower checks the leader's certificate. Raises PermanentError naming the setting."""
    if not ca_file:
        return ssl.create_default_context()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    _trust(context, ca_file, "--http-ca-file")
    return context


def _out_of_date(server: ssl.SSLContext, pem: bytes) -> str:
    """Return what a client that trusts just this certificate has against its dates; empty: nothing. No client is asked for one.

    The ssl module reads no dates out of a file, so the two shake hands in memory.
    """
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.check_hostname = False
    client.verify_flags |= ssl.VerifyFlags.VERIFY_X509_PARTIAL_CHAIN
    client.load_verify_locations(cadata=pem.decode("ascii", "replace"))
    to_client, to_server = ssl.MemoryBIO(), ssl.MemoryBIO()
    sides = [client.wrap_bio(to_client, to_server), server.wrap_bio(to_server, to_client, server_side=True)]
    try:
        for side in sides * _TURNS:
            with contextlib.suppress(ssl.SSLWantReadError):
                side.do_handshake()
    except ssl.SSLCertVerificationError as error:
        return error.verify_message if error.verify_code in _NOT_ITS_TIME else ""
    except ssl.SSLError:
        pass  # what else there may be is for clients to judge
    return ""


def _trust(context: ssl.SSLContext, file: str, setting: str) -> None:
    try:
        context.load_verify_locations(file)
    except (OSError, ssl.SSLError) as error:
        raise PermanentError(f"{setting}: {file} holds no certificates in PEM form: {_why(error)}") from error


def _why(error: Exception) -> str:
    if isinstance(error, ssl.SSLError):
        return f"it must hold a certificate, those between it and its authority, and its key, in PEM form ({error.reason})"
    if isinstance(error, OSError):
        return str(error.strerror)
    return str(error)
