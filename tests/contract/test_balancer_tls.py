"""TLS with certificates from a folder: good ones are served, bad ones named, changes noticed without a restart."""

from __future__ import annotations

import http.client
import socket
import ssl
from collections.abc import Iterator

import pytest
from support.balancer import Response, Rig, a_balancer
from support.waiting import until

CERTS = "/tmp/certs"
MAKE = (
    "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN={host} -addext subjectAltName=DNS:{host} "
    "{dates} -keyout /tmp/key -out /tmp/crt 2>/dev/null && cat /tmp/crt /tmp/key > /tmp/pem && mv /tmp/pem {to} && cat /tmp/crt"
)
EXPIRED = "-not_before 20200101000000Z -not_after 20200102000000Z"


@pytest.fixture
def rig() -> Iterator[Rig]:
    with a_balancer(ERATOS_CERTS_DIR=CERTS, ERATOS_HTTPS_PORT="443") as rig:
        rig.shell(f"mkdir {CERTS}")
        rig.register(9000)
        rig.await_rotation(9000)
        yield rig


def make(rig: Rig, host: str, name: str = "", dates: str = "-days 1") -> bytes:
    """Put a new certificate with its key into the folder, and return the certificate."""
    return ssl.PEM_cert_to_DER_cert(rig.shell(MAKE.format(host=host, dates=dates, to=f"{CERTS}/{name or host}.pem")))


def served(rig: Rig, host: str) -> bytes:
    """Return the certificate that a client of this host name gets; OSError where there is no TLS."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with (
        socket.create_connection(("127.0.0.1", rig.balancer.ports[8443]), timeout=10) as plain,
        context.wrap_socket(plain, server_hostname=host) as client,
    ):
        found = client.getpeercert(binary_form=True)
        assert found
        return found


def get(rig: Rig, path: str = "/", host: str = "a.example") -> Response:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    connection = http.client.HTTPSConnection("127.0.0.1", rig.balancer.ports[8443], timeout=10, context=context)
    try:
        connection.request("GET", path, headers={"Host": host})
        response = connection.getresponse()
        headers = {name.lower(): value for name, value in response.getheaders()}
        return Response(response.status, response.read().decode(), headers)
    finally:
        connection.close()


def await_served(rig: Rig, host: str, certificate: bytes) -> None:
    until(lambda: served(rig, host) == certificate, 15, f"the certificate of {host} is served")


def test_each_host_gets_its_certificate_and_bad_ones_are_named(rig: Rig) -> None:
    haproxy = rig.pid("haproxy")
    with pytest.raises(OSError):
        served(rig, "a.example")
    rig.shell(f"echo nonsense > {CERTS}/garbage.pem; openssl genrsa -out {CERTS}/keyonly.pem 2048")
    first, second = make(rig, "a.example"), make(rig, "expired.example", dates=EXPIRED)
    rig.shell(f"openssl x509 -in {CERTS}/a.example.pem -out {CERTS}/nokey.pem")
    await_served(rig, "a.example", first)
    await_served(rig, "expired.example", second)
    assert served(rig, "other.example") == first
    certificates = until(
        lambda: len((found := rig.status()["certificates"])["refused"]) == 3 and found, 10, "all files were looked at"
    )
    assert certificates["good"] == ["a.example.pem", "expired.example.pem"]
    assert [reason.partition(":")[0] for reason in certificates["refused"]] == ["garbage.pem", "keyonly.pem", "nokey.pem"]
    assert "nokey.pem: it has no private key, or one with a passphrase" in certificates["refused"]

    def told() -> bool:
        (balancer,) = rig.services("eratos-balancer")
        return set(certificates["refused"]) <= set(balancer["Service"]["Meta"].values())

    until(told, 10, "whoever asks Consul is told of the bad files")
    assert rig.get().status == get(rig).status == 200
    assert get(rig).body.split()[2] == "https"
    assert rig.get().body.split()[2] == "http"
    assert rig.pid("haproxy") == haproxy
    # Keys stay where they belong.
    key = rig.shell(f"cat {CERTS}/a.example.pem").partition("PRIVATE KEY-----")[2].split("-----")[0].strip()
    assert len(key) > 100
    logs = rig.balancer.logs()
    assert "nokey.pem" in logs
    assert not [line for line in key.split() if line in logs]


def test_changes_of_the_folder_are_noticed_under_load(rig: Rig) -> None:
    first = make(rig, "a.example")
    await_served(rig, "a.example", first)
    with rig.load() as load:
        renewed = make(rig, "a.example")
        await_served(rig, "a.example", renewed)
        # Half a file, as while it is being copied: what was there goes on.
        rig.shell(f"head -c 300 {CERTS}/a.example.pem > /tmp/half; cat /tmp/half > {CERTS}/a.example.pem")
        until(lambda: rig.status()["certificates"]["refused"], 10, "the bad file was seen")
        assert served(rig, "a.example") == renewed
        another = make(rig, "b.example")
        await_served(rig, "b.example", another)
        assert served(rig, "a.example") == renewed
        rig.shell(f"rm {CERTS}/*.pem")

        def closed() -> bool:
            try:
                served(rig, "a.example")
            except OSError:
                return True
            return False

        until(closed, 15, "without a certificate there is no TLS")
    assert load.failures == []
    until(lambda: rig.shell("ls /var/lib/eratos-balancer | grep -c certificates- || true") == "0", 10, "no key is left behind")


def test_a_client_is_sent_to_https_where_the_app_says_so(rig: Rig) -> None:
    meta = {"haproxy-vhost": "secure.example", "haproxy-redirect-to-https": "true", "haproxy-use-hsts": "true"}
    rig.register(9010, app="secure", meta=meta)
    rig.await_rotation(9010, backend="secure")
    note = "secure: its clients are sent to https, where this balancer has no certificate"
    until(lambda: note in rig.status()["left_out"], 10, "the lack of a certificate is noted")
    await_served(rig, "secure.example", make(rig, "secure.example"))
    answer = rig.get("/cart?x=1", "secure.example:8000")
    assert (answer.status, answer.headers["location"]) == (301, "https://secure.example/cart?x=1")
    assert "strict-transport-security" not in answer.headers
    found = get(rig, "/cart", "secure.example")
    assert (found.port, found.headers["strict-transport-security"]) == (9010, "max-age=15768000")
    assert rig.get("/", "other.example").port == 9000
    until(lambda: note not in rig.status()["left_out"], 10, "the note is gone")
