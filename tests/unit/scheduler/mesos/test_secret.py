"""To which masters the principal's secret goes: to nobody whom a redirection alone named, and to nobody in clear unasked."""

from __future__ import annotations

import base64
import ssl
from typing import Any

import pytest

from eratos.common.resources import Resources
from eratos.mesos.httpwire import Endpoint
from eratos.mesos.subscription import Refused, StreamEnded
from eratos.scheduler.core import events
from eratos.scheduler.mesos.callbacks import Callbacks
from eratos.scheduler.mesos.executor_info import ExecutorInfos
from eratos.scheduler.mesos.master import MasterDriver
from eratos.scheduler.mesos.offer_book import OfferBook
from eratos.scheduler.mesos.settings import ExecutorSettings, MesosSettings

SENT = {"Authorization": "Basic " + base64.b64encode(b"eratos:hunter2").decode()}


def a_driver(master: str, heard: list[Any] | None = None, **settings: Any) -> MasterDriver:
    made = MesosSettings(master, ExecutorSettings("run"), principal="eratos", secret="hunter2", **settings)
    book = OfferBook(ExecutorInfos(made.executor, "*"), Resources())
    return MasterDriver(made, Callbacks((heard if heard is not None else []).append, book), "")


@pytest.mark.parametrize(
    ("master", "redirection", "settings", "sent"),
    [
        ("https://m1", "", {}, True),
        ("https://m1,https://m2", "https://m2:5050/api", {}, True),
        ("https://m1", "//evil.example:5050/api", {}, False),
        ("https://m1", "https://evil.example/api", {}, False),
        ("https://m1", "https://m1:6666/api", {}, False),  # the same host, another program
        ("https://m1", "//m3:5050", {"secret_hosts": frozenset({"m3"})}, True),
        ("m1", "", {}, False),
        ("m1", "", {"clear": True}, True),
        ("127.0.0.1", "", {}, True),
        ("m1", "//evil.example:5050", {"clear": True}, False),
        ("m1,m2", "//m2:5050", {"clear": True}, True),
        ("m1", "//m3:5050", {"secret_hosts": frozenset({"m3"})}, False),
    ],
)
def test_who_is_shown_the_secret(master: str, redirection: str, settings: dict[str, Any], sent: bool) -> None:
    driver = a_driver(master, **settings)
    assert driver.endpoint() is not None
    if redirection:
        driver.redirected(redirection)
        driver.endpoint()
    assert driver.headers() == (SENT if sent else {})


def test_the_leader_that_zookeeper_names_is_shown_it_and_whom_it_redirects_to_is_not() -> None:
    driver = a_driver("zk://zk1/mesos", tls_master=True)
    driver._masters._leader = Endpoint("10.0.0.1", 5050, True)  # type: ignore[union-attr]
    driver.endpoint()
    assert driver.headers() == SENT
    driver.redirected("//10.0.0.2:5050")
    driver.endpoint()
    assert driver.headers() == {}


def test_it_is_said_why_a_master_refuses_whom_it_was_not_shown(caplog: pytest.LogCaptureFixture) -> None:
    heard: list[Any] = []
    driver = a_driver("m1", heard)
    driver._started = True
    driver.endpoint()
    driver.headers()
    driver.headers()
    driver.ended(Refused(401, "who are you?"))
    assert caplog.text.count("the principal's secret is not sent") == 1
    (event,) = (event for event in heard if isinstance(event, events.NotSubscribed))
    assert "--master-clear" in event.reason
    assert "hunter2" not in caplog.text


def not_subscribed(master: str, error: Exception, **settings: Any) -> str:
    """Return why there is no subscription with a master with which a connection failed so."""
    heard: list[Any] = []
    driver = a_driver(master, heard, **settings)
    driver._started = True
    driver.endpoint()
    reason = StreamEnded("the connection failed")
    reason.__cause__ = error
    driver.ended(reason)
    (event,) = (event for event in heard if isinstance(event, events.NotSubscribed))
    return str(event.reason)


@pytest.mark.parametrize("error", [ssl.SSLError(1, "wrong version number"), ssl.SSLEOFError(8, "EOF"), ConnectionResetError()])
def test_a_master_that_may_speak_no_tls_is_said_with_what_to_do(error: Exception) -> None:
    assert "--master-clear true" in not_subscribed("https://m1", error)
    assert "--master-clear" not in not_subscribed("m1", error)


def test_a_master_with_a_certificate_of_strangers_is_said_with_what_to_do() -> None:
    why = not_subscribed("https://m1", ssl.SSLCertVerificationError(1, "self-signed certificate"))
    assert "--master-ca-file" in why and "--master-clear" not in why


def test_a_secret_that_goes_in_clear_as_before_is_warned_of_once_a_master(caplog: pytest.LogCaptureFixture) -> None:
    driver = a_driver("m1,m2", clear=True, clear_stated=False)
    driver.endpoint()
    assert driver.headers() == driver.headers() == SENT
    assert caplog.text.count("is sent as it is") == 1 and "--master-clear true" in caplog.text
    driver.redirected("//m2:5050")
    driver.endpoint()
    assert driver.headers() == SENT and caplog.text.count("is sent as it is") == 2
    assert "hunter2" not in caplog.text


@pytest.mark.parametrize(
    ("master", "settings"),
    [("m1", {"clear": True}), ("https://m1", {"clear": True, "clear_stated": False}), ("127.0.0.1", {"clear_stated": False})],
)
def test_what_is_meant_or_cannot_be_read_is_not_warned_of(
    master: str, settings: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    driver = a_driver(master, **settings)
    driver.endpoint()
    assert driver.headers() == SENT
    assert not caplog.text
