"""Wire forms and core types, settings and environment: what is read, what is refused, what never shows."""

from __future__ import annotations

import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eratos.common import check_results
from eratos.common.check_results import CheckResult
from eratos.common.errors import PermanentError
from eratos.executor.core.updates import Ledger, StatusUpdate
from eratos.executor.mesos import translate as executor_translate
from eratos.executor.mesos.settings import AgentSettings
from eratos.mesos.httpwire import Endpoint
from eratos.scheduler.core.mesos_types import TaskState, TaskStatus
from eratos.scheduler.mesos import translate
from eratos.scheduler.mesos.detector import ListedMasters, parse_master_info
from eratos.scheduler.mesos.settings import ExecutorSettings, MesosSettings

ENVIRON = {
    "MESOS_AGENT_ENDPOINT": "10.0.0.5:5051",
    "MESOS_FRAMEWORK_ID": "f-1",
    "MESOS_EXECUTOR_ID": "x-1",
    "MESOS_SLAVE_ID": "a-1",
    "MESOS_CHECKPOINT": "1",
    "MESOS_EXECUTOR_SHUTDOWN_GRACE_PERIOD": "1.5mins",
    "MESOS_RECOVERY_TIMEOUT": "15mins",
    "MESOS_SUBSCRIPTION_BACKOFF_MAX": "250ms",
}


@settings(deadline=None)
@given(st.integers(0, 10**7))
def test_thousandths_survive_the_wire(thousandths):
    assert translate.amount("cpus", thousandths / 1000) == thousandths


def test_amounts_are_never_rounded_up():
    assert translate.amount("cpus", 0.0999) == 99
    assert translate.amount("mem", 1023.9) == 1023


def test_status_is_read_in_full():
    raw = {
        "task_id": {"value": "t-1"},
        "state": "TASK_RUNNING",
        "agent_id": {"value": "a-1"},
        "executor_id": {"value": "x-1"},
        "uuid": "AAAA",
        "reason": "REASON_TASK_HEALTH_CHECK_STATUS_UPDATED",
        "source": "SOURCE_EXECUTOR",
        "message": "m" * 20_000,
        "healthy": False,
        "timestamp": 12.5,
        "container_status": {"network_infos": [{"ip_addresses": [{"ip_address": "10.1.1.1"}, {"protocol": "IPv4"}]}, {}]},
        "data": "ignored",
    }
    assert translate.status(raw) == TaskStatus(
        "t-1",
        TaskState.RUNNING,
        agent_id="a-1",
        uuid="AAAA",
        reason="REASON_TASK_HEALTH_CHECK_STATUS_UPDATED",
        source="SOURCE_EXECUTOR",
        message="m" * 10_000,
        healthy=False,
        timestamp=12.5,
        addresses=("10.1.1.1",),
        executor_id="x-1",
    )
    bare = {"task_id": {"value": "t-1"}, "state": "TASK_LOST"}
    assert translate.status(bare) == TaskStatus("t-1", TaskState.LOST)


def test_an_offer_is_for_the_role_that_its_resources_are_allocated_to():
    raw = {"id": {"value": "o"}, "agent_id": {"value": "a"}, "hostname": "h"}
    of_dev = {"name": "cpus", "type": "SCALAR", "scalar": {"value": 1.0}, "role": "*", "allocation_info": {"role": "dev"}}
    assert [translate.offer(raw | {"resources": found}, ()).role for found in ([of_dev], [])] == ["dev", ""]


def test_offers_are_asked_for_by_role_or_for_all():
    assert translate.asking("REVIVE", ()) == {"type": "REVIVE"}
    assert translate.asking("SUPPRESS", ("dev", "ops")) == {"type": "SUPPRESS", "suppress": {"roles": ["dev", "ops"]}}


def test_offer_tells_region_and_zone():
    domain = {"fault_domain": {"region": {"name": "r"}, "zone": {"name": "z"}}}
    raw = {"id": {"value": "o"}, "agent_id": {"value": "a"}, "hostname": "h", "resources": [], "domain": domain}
    offer = translate.offer(raw, ())
    assert (offer.region, offer.zone) == ("r", "z")


@pytest.mark.parametrize(
    ("attribute", "text"),
    [
        ({"type": "TEXT", "text": {"value": "rack-1"}}, "rack-1"),
        ({"type": "SCALAR", "scalar": {"value": 0.80}}, "0.8"),
        ({"type": "SCALAR", "scalar": {"value": 1234567.0}}, "1234567"),
        ({"type": "SCALAR", "scalar": {"value": 1.00051}}, "1.001"),
        ({"type": "SCALAR", "scalar": {"value": 1000}}, "1000"),
        ({"type": "RANGES", "ranges": {"range": [{"begin": 5, "end": 5}, {"begin": 1, "end": 2}]}}, "[1-2,5-5]"),
        ({"type": "SET", "set": {"item": ["b", "a"]}}, "{a,b}"),
    ],
)
def test_attributes_are_written_as_marathon_compares_them(attribute, text):
    raw = {"id": {"value": "o"}, "agent_id": {"value": "a"}, "hostname": "h", "attributes": [{"name": "x", **attribute}]}
    assert translate.offer(raw, ()).attributes == {"x": text}


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [({"master": " "}, "master is empty"), ({"roles": ()}, "roles is empty"), ({"secret": "s"}, "secret without principal")],
)
def test_wrong_settings_say_what_is_wrong(changes, complaint):
    with pytest.raises(ValueError, match=complaint):
        MesosSettings(**{"master": "m:1", "executor": ExecutorSettings(command="run"), **changes})


def test_secret_is_not_in_the_settings_text():
    assert "hush" not in repr(MesosSettings("m:1", ExecutorSettings("run"), principal="p", secret="hush"))


def test_framework_leaves_out_what_is_empty():
    info = translate.framework_info(MesosSettings("m:1", ExecutorSettings("run")), "")
    assert set(info) == {"user", "name", "roles", "failover_timeout", "checkpoint", "capabilities"}


def test_listed_masters_are_tried_in_turn_and_a_named_leader_first():
    masters = ListedMasters("m1:5050,m2, [::1]:81")
    one, two, three = Endpoint("m1", 5050), Endpoint("m2", 5050), Endpoint("::1", 81)
    assert masters.current() == one
    masters.failed()
    assert masters.current() == two
    masters.redirected(three)
    assert masters.current() == three
    masters.failed()  # the named one is down: back to the one that named it
    assert masters.current() == two
    with pytest.raises(ValueError):
        ListedMasters(" , ")


@pytest.mark.parametrize(
    ("data", "leader"),
    [
        (b'{"address": {"ip": "10.0.0.1", "port": 5050}, "hostname": "m1"}', Endpoint("10.0.0.1", 5050)),
        (b'{"address": {"ip": "::1", "port": 5050}}', Endpoint("::1", 5050)),
        (b"\x08\x01 an old protobuf", None),
        (b'{"address": {}}', None),
        (b"[]", None),
        (None, None),
    ],
)
def test_master_is_read_from_zookeeper(data, leader):
    assert parse_master_info(data, tls=False) == leader


def test_environment_of_the_executor_is_read():
    settings = AgentSettings.from_environ(ENVIRON)
    assert settings.endpoint == Endpoint("10.0.0.5", 5051)
    assert (settings.checkpoint, settings.shutdown_grace_s) == (True, 90)
    assert (settings.recovery_timeout_s, settings.backoff_max_s) == (900, 0.25)


@pytest.mark.parametrize(("value", "meaning"), [("0", False), ("1", True), ("", False), ("true", True)])
def test_checkpoint_zero_means_no(value, meaning):
    assert AgentSettings.from_environ(ENVIRON | {"MESOS_CHECKPOINT": value}).checkpoint is meaning


def test_everything_wrong_with_the_environment_is_told_at_once():
    wrong = {"MESOS_AGENT_ENDPOINT": "10.0.0.5:agent", "MESOS_EXECUTOR_ID": "x", "MESOS_RECOVERY_TIMEOUT": "soon"}
    with pytest.raises(PermanentError) as caught:
        AgentSettings.from_environ(wrong)
    for name in ("MESOS_AGENT_ENDPOINT", "MESOS_FRAMEWORK_ID", "MESOS_RECOVERY_TIMEOUT"):
        assert name in str(caught.value)


def test_agent_with_tls_is_spoken_to_in_tls():
    settings = AgentSettings.from_environ(ENVIRON | {"LIBPROCESS_SSL_ENABLED": "true"})
    assert settings.endpoint.tls and settings.tls is not None and not settings.tls.check_hostname
    verified = AgentSettings.from_environ(ENVIRON | {"LIBPROCESS_SSL_ENABLED": "1", "LIBPROCESS_SSL_VERIFY_CERT": "1"})
    assert verified.tls is not None and verified.tls.check_hostname


def test_unknown_reason_is_left_out_of_an_update(caplog):
    update = StatusUpdate("t", "TASK_FAILED", reason="REASON_BAD_LUCK", uuid="AAAA")
    assert "reason" not in executor_translate.status(update, "x")
    assert "REASON_BAD_LUCK" in caplog.text


def test_ledger_keeps_order_until_acknowledged():
    ledger = Ledger()
    ledger.launched("t-1", {"name": "one"})
    ledger.launched("t-2", {"name": "two"})
    for uuid, state in (("u-1", "TASK_STARTING"), ("u-2", "TASK_FAILED")):
        ledger.add(StatusUpdate("t-1", state, uuid=uuid))
    assert [update.uuid for update in ledger.updates] == ["u-1", "u-2"]
    assert ledger.acknowledge("t-1", "u-1") and not ledger.acknowledge("t-1", "u-1")
    assert ledger.tasks == ({"name": "two"},)
    assert len(ledger) == 1
    assert ledger.acknowledge("t-1", "u-2") and not ledger.updates
    with pytest.raises(ValueError, match="no uuid"):
        ledger.add(StatusUpdate("t-1", "TASK_RUNNING"))


@pytest.mark.parametrize("module", ["eratos.scheduler.mesos.driver", "eratos.executor.mesos.driver"])
def test_import_leaves_signals_and_logging_alone(module):
    """pymesos changes both on import; a fresh interpreter shows whether that is undone."""
    code = f"""
import logging, signal
before = signal.getsignal(signal.SIGINT)
import {module}
assert signal.getsignal(signal.SIGINT) is before
assert logging.getLogger("pymesos").handlers == []
assert logging.getLogger("pymesos").level == logging.NOTSET
assert logging.getLogger().handlers == []
"""
    done = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("wire", "shown"),
    [
        ({"type": "HTTP", "http": {"status_code": 200}}, {"http": {"statusCode": 200}}),
        ({"type": "TCP", "tcp": {"succeeded": False}}, {"tcp": {"succeeded": False}}),
        ({"type": "COMMAND", "command": {"exit_code": 3}}, {"command": {"exitCode": 3}}),
        ({"type": "HTTP", "http": {}}, None),
        ({}, None),
    ],
)
def test_the_answer_of_a_check_goes_from_the_executor_to_marathons_form(wire, shown):
    sent = executor_translate.status(StatusUpdate("t", "TASK_RUNNING", uuid="AAAA", check=wire), "x")
    assert sent["check_status"] == wire
    assert translate.status(sent | {"agent_id": {"value": "a"}}).check == shown


def test_how_checks_went_arrives_as_the_executor_told_it() -> None:
    results = (CheckResult(0, 3.25, 0.0), CheckResult(2, None, None, 0.5, 'HTTP "500"'))
    told = StatusUpdate("t", "TASK_RUNNING", outdated="", checks=results, uuid="u", timestamp=1.0)
    read = translate.status(executor_translate.status(told, "x"))
    assert (read.checks, read.outdated) == (results, "")
    assert translate.status(executor_translate.status(StatusUpdate("t", "TASK_RUNNING", uuid="u"), "x")).checks == ()


@pytest.mark.parametrize("text", ["", "{", "5", "[5]", "[[]]", '[["1",2,3,4,""]]', "[[1,2,3,4,5]]", '[[1,"2",3,4,""]]', "null"])
def test_what_is_no_result_of_checks_says_nothing(text: str) -> None:
    assert check_results.from_text(text) == ()
