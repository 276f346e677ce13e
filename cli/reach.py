"""Looks at the way to an address of the API: its name, whether somebody listens, TLS, and whose clock is right."""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Iterator
from email.utils import parsedate_to_datetime
from typing import Final
from urllib.parse import SplitResult, urlsplit

from eratos.common.errors import EratosError
from eratos.marathon.client import Login, MarathonClient, without_password

from . import findings
from .findings import Finding

#: For an address, a connection, and each step of TLS.
ANSWER_S: Final = 5.0
_SOON_DAYS: Final = 14
#: Of OpenSSL's x509_vfy.h: what is wrong with a certificate -> what it means, and what mends it.
_REFUSED: Final = {
    9: (
        "is not valid yet",
        "is the clock right here? Else the certificate in --http-cert-file of the schedulers is of the future",
    ),
    10: ("has ended", "put a new one into --http-cert-file of the schedulers; it counts for new connections within 5 s"),
    62: (
        "is not for this host name",
        "use a name that the certificate has, or put a certificate with this name into --http-cert-file",
    ),
    64: (
        "is not for this address",
        "use a name that the certificate has, or put a certificate with this address into --http-cert-file",
    ),
}
_UNKNOWN: Final = ("is of an authority that is not known here", "give --ca-file with the authority of the API's certificate")


def look(client: MarathonClient) -> Iterator[Finding]:
    """Say what is wrong on the way to a client's one address, and how long its certificate lasts."""
    parts = urlsplit(client.urls[0])
    proxy, authorities = client.surroundings()
    if proxy:
        yield Finding(
            "address", "note", f"{_at(parts)} is asked through the proxy {without_password(proxy)}", "NO_PROXY leaves it out"
        )
        return
    try:
        port = parts.port or (443 if parts.scheme == "https" else 80)
    except ValueError:
        yield Finding("address", "wrong", f"{_at(parts)}: its port is no number", "write it like http://127.0.0.1:8080")
        return
    try:
        found = socket.getaddrinfo(parts.hostname, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        fix = "is it spelt right, and does DNS know it from here? The context or ERATOS_URL has it: eratos context show"
        yield Finding("address", "wrong", f"{_at(parts)}: the name has no address: {_said(error)}", fix)
        return
    try:
        connection = socket.create_connection((parts.hostname, port), ANSWER_S)
    except OSError as error:
        addresses = ", ".join(sorted({str(entry[4][0]) for entry in found}))
        fix = "is a scheduler up there, does it listen on that address (--http-host, --http-port), is there a firewall between?"
        yield Finding("address", "wrong", f"{_at(parts)}: nobody answers at {addresses}: {_said(error)}", fix)
        return
    with connection:
        if parts.scheme == "https":
            yield from _tls(connection, parts, client.login, authorities)


def _tls(connection: socket.socket, parts: SplitResult, login: Login, authorities: str) -> Iterator[Finding]:
    try:
        context = ssl.create_default_context(cafile=authorities)
    except (OSError, ssl.SSLError) as error:
        fix = "give the authorities as PEM in --ca-file"
        yield Finding("certificate", "wrong", f"{authorities} holds no certificates of authorities: {_said(error)}", fix)
        return
    if login.cert_file:
        try:
            context.load_cert_chain(login.cert_file)
        except (OSError, ssl.SSLError) as error:
            fix = "give a PEM file with certificate and key in --cert-file"
            yield Finding("certificate", "wrong", f"{login.cert_file} cannot be shown to the API: {_said(error)}", fix)
            return
    try:
        with context.wrap_socket(connection, server_hostname=parts.hostname) as secured:
            shown = secured.getpeercert() or {}
    except ssl.SSLCertVerificationError as error:
        what, fix = _REFUSED.get(error.verify_code, _UNKNOWN)
        yield Finding("certificate", "wrong", f"the certificate of {_at(parts)} {what} ({error.verify_message})", fix)
        return
    except (OSError, ssl.SSLError) as error:
        if "WRONG_VERSION_NUMBER" in str(error) or "RECORD_LAYER_FAILURE" in str(error):
            fix = f"write it as {_with('http', parts)}, or give the schedulers --http-cert-file"
            yield Finding("address", "wrong", f"{_at(parts)} speaks no TLS", fix)
        else:
            fix = "does the API ask for a certificate (--http-client-ca-file)? Then show it one: --cert-file"
            yield Finding("certificate", "wrong", f"TLS with {_at(parts)} failed: {_said(error)}", fix)
        return
    renew = "put a new one into --http-cert-file of the schedulers; it counts for new connections within 5 s"
    yield _lasts(f"the certificate of {_at(parts)}", str(shown.get("notAfter", "")), renew)
    ends = [str(one["notAfter"]) for one in context.get_ca_certs()] if login.ca_file else []
    if ends:
        soonest = min(ends, key=ssl.cert_time_to_seconds)
        yield _lasts(
            f"the first of the authorities in {login.ca_file}", soonest, "have a new authority's certificate in it as well"
        )


def _lasts(what: str, ends: str, renew: str) -> Finding:
    left_s = ssl.cert_time_to_seconds(ends) - time.time()
    return findings.certificate(what, left_s, ends, renew, _SOON_DAYS)


def speaks_https(client: MarathonClient) -> Finding | None:
    """Return what is wrong where http was written and https is spoken; only for an address that answers no http."""
    parts = urlsplit(client.urls[0])
    if parts.scheme != "http" or client.surroundings()[0]:
        return None
    try:
        with socket.create_connection((parts.hostname, parts.port or 80), ANSWER_S) as connection:
            spoken = _speaks_tls(connection)
    except OSError:
        return None
    return Finding("address", "wrong", f"{_at(parts)} speaks https", f"write it as {_with('https', parts)}") if spoken else None


def _with(scheme: str, parts: SplitResult) -> str:
    return f"{scheme}://{parts.netloc.rpartition('@')[2]}"


def _speaks_tls(connection: socket.socket) -> bool:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE  # only what is spoken is asked, and nothing sent
    try:
        with context.wrap_socket(connection):
            return True
    except OSError as error:
        # Who asks for a certificate breaks off, and speaks TLS all the same.
        return isinstance(error, ssl.SSLError) and "ALERT" in str(error)


def clock(client: MarathonClient) -> Iterator[Finding]:
    """Compare the clock at the URL with the one here. Yields nothing where no answer has it."""
    sent = time.time()
    try:
        told = parsedate_to_datetime(client.clock()).timestamp()
    except (EratosError, TypeError, ValueError):
        return
    yield findings.skew(apart(sent, told, time.time()))


def apart(sent: float, told: float, received: float) -> float:
    """Return by how many seconds a clock is certainly ahead (more than 0) or behind that named the whole second of its answer."""
    if told > received:
        return told - received
    return min(told + 1 - sent, 0.0)


def _at(parts: SplitResult) -> str:
    return without_password(f"{parts.scheme}://{parts.netloc}")


def _said(error: Exception) -> str:
    return str(getattr(error, "strerror", None) or getattr(error, "reason", None) or error or type(error).__name__)
