"""What a new leader says about the store it takes over."""

from __future__ import annotations

import logging

import pytest
from support.builders import an_app
from support.records import an_instance

from eratos.marathon import definition
from eratos.scheduler.access.policy import Policy
from eratos.scheduler.core.records import INSTANCES, Stored
from eratos.scheduler.store.base import StoreUnusable
from eratos.scheduler.store_check import BEYOND_NAMED_MOST, examine


def test_a_sound_store_is_taken_without_a_word(caplog: pytest.LogCaptureFixture) -> None:
    examine(Stored("f-0001", instances=(an_instance(1),)), Policy())
    assert not caplog.text


def test_spoilt_records_are_named_with_the_reason(caplog: pytest.LogCaptureFixture) -> None:
    examine(Stored("f-0001", spoilt={"apps//bad": "JSON is malformed", "instances/bad": "no"}), Policy())
    assert [record.levelno for record in caplog.records] == [logging.ERROR] * 2
    assert "apps//bad" in caplog.text
    assert "JSON is malformed" in caplog.text


def test_apps_with_a_constraint_that_is_refused_now_are_named(caplog: pytest.LogCaptureFixture) -> None:
    stored = {"id": "/old", "cmd": "x", "constraints": [["@hostname", "LIKE", "(?=a)b"]]}
    examine(Stored("f-0001", apps=(definition.restore(stored), definition.parse({"id": "/new", "cmd": "x"}))), Policy())
    [record] = caplog.records
    assert record.levelno == logging.WARNING
    assert "/old" in record.getMessage() and "(?=a)b" in record.getMessage() and "look-ahead" in record.getMessage()


@pytest.mark.parametrize("stored", [Stored(instances=(an_instance(1),)), Stored(spoilt={INSTANCES + "bad": "why"})])
def test_instances_without_a_framework_id_are_not_abandoned(stored: Stored) -> None:
    with pytest.raises(StoreUnusable, match=r"1 instances but no framework id.*record framework_id.*restore a backup"):
        examine(stored, Policy())


def test_a_new_framework_is_told(caplog: pytest.LogCaptureFixture) -> None:
    examine(Stored(), Policy())
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    assert "restore a backup" in caplog.text


def test_apps_that_would_be_refused_today_are_named_with_the_way_to_them(caplog: pytest.LogCaptureFixture) -> None:
    of_before = [
        definition.restore(an_app().to_json() | {"id": "/shop/tasks"}),
        definition.restore(an_app().to_json() | {"cmd": "x" * 200_000}),
    ]
    examine(Stored("f-0001", apps=(an_app("/good"), *of_before)), Policy())
    assert [record.levelno for record in caplog.records] == [logging.WARNING] * 2
    assert "/shop/tasks; rename it, and until then reach it at /v2/apps/%2Fshop%2Ftasks" in caplog.text
    assert "/prime /cmd takes 200000 bytes" in caplog.text
    assert "/good" not in caplog.text


def test_apps_that_are_served_though_they_did_not_ask_are_named(caplog: pytest.LogCaptureFixture) -> None:
    """A version before had them served: that stays so until they are changed, and whoever runs them hears of it."""
    unasked = definition.parse({"id": "/unasked", "cmd": "x", "portDefinitions": [{}]}).with_unasked(True)
    examine(Stored("f-0001", apps=(an_app("/good"), unasked)), Policy())
    [told] = caplog.records
    assert (told.levelno, "apps=/unasked" in told.getMessage()) == (logging.WARNING, True)
    assert "state HAPROXY_GROUP" in told.getMessage()


def test_apps_with_a_name_of_the_protocol_are_named(caplog: pytest.LogCaptureFixture) -> None:
    taken = definition.restore(an_app().to_json() | {"id": "/eratos-balancer"})
    examine(Stored("f-0001", apps=(an_app("/good"), taken)), Policy())
    [told] = caplog.records
    assert (told.levelno, "apps=/eratos-balancer" in told.getMessage()) == (logging.WARNING, True)
    assert "move them to other ids" in told.getMessage()


def test_what_apps_have_beyond_the_policy_is_named_and_kept(caplog: pytest.LogCaptureFixture) -> None:
    mighty = definition.parse({"id": "/mighty", "container": {"docker": {"image": "x", "privileged": True}}})
    fetching = definition.parse({"id": "/fetching", "cmd": "x", "user": "nobody", "fetch": [{"uri": "http://169.254.169.254/x"}]})
    plain = definition.parse({"id": "/plain", "cmd": "x", "user": "nobody"})
    examine(Stored("f-0001", apps=(mighty, fetching, plain)), Policy())
    assert "/fetching" in caplog.text and "/mighty" not in caplog.text
    caplog.clear()
    examine(Stored("f-0001", apps=(mighty, fetching, plain)), Policy(strict=True))
    assert "app=/mighty" in caplog.text and "--allow-privileged" in caplog.text
    assert "/plain" not in caplog.text
    caplog.clear()
    many = tuple(definition.parse({"id": f"/a{number}", "cmd": "x"}) for number in range(BEYOND_NAMED_MOST + 5))
    examine(Stored("f-0001", apps=many), Policy(strict=True))
    assert "5 more apps" in caplog.text


def test_apps_whose_role_is_not_asked_for_are_named(caplog: pytest.LogCaptureFixture) -> None:
    apps = (an_app("/good"), an_app("/dev/good", role="dev"), an_app("/old/web", role="old"), an_app("/ops/web", role="ops"))
    examine(Stored("f-0001", apps=apps), Policy(), ("*", "dev"))
    [record] = caplog.records
    assert "--group-roles" in record.getMessage() and "/old/web, /ops/web" in record.getMessage()
    assert "/good" not in record.getMessage()
