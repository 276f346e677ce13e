"""The scheduler's driver against a master that misbehaves: refusals, silence, cuts, broken frames, storms.

Whatever happens, three things hold: the same framework id comes back, nothing is torn down, nothing is pretended sent.
"""

from __future__ import annotations

import json
import socket
import ssl
import threading
from pathlib import Path

import pytest
from support.authority import Authority
from support.mesos_master import SimulatedMaster
from support.waiting import until

from eratos.mesos import recordio
from eratos.scheduler.core import actions
from eratos.scheduler.core import events as e
from eratos.scheduler.core.mesos_types import TaskState
from eratos.scheduler.mesos.driver import SchedulerDriver

from .conftest import some_settings
from .test_mesos_scheduler_driver import a_payload, an_accept


def test_cut_stream_is_resubscribed_with_the_same_id(master, events, drive):
    drive()
    first = events.await_event(e.Subscribed)
    master.cut_stream()
    events.await_event(e.Disconnected)
    assert events.await_event(e.Subscribed, 2) == first
    assert master.await_call("SUBSCRIBE", 2).call["framework_id"] == {"value": first.framework_id}
    assert len(events.of(e.Disconnected)) == 1
    assert master.calls("TEARDOWN") == []


def test_offers_die_with_the_subscription(master, events, drive):
    driver = drive()
    master.add_agent()
    events.await_event(e.Subscribed)
    master.offer()
    (offer,) = events.await_event(e.OffersReceived).offers
    master.cut_stream()
    events.await_event(e.Subscribed, 2)
    assert driver.perform(an_accept(offer, a_payload())) is False
    assert master.calls("ACCEPT") == []


def test_half_open_stream_is_noticed_by_missing_heartbeats(events, drive):
    with SimulatedMaster(heartbeat_s=0.01) as master:
        driver = drive(address=master.address, missed_heartbeats=3)
        events.await_event(e.Subscribed)
        master.freeze()
        events.await_event(e.Disconnected)
        assert events.await_event(e.Subscribed, 2).framework_id == master.framework_id
        driver.stop()


def test_subscribe_that_is_never_answered_is_repeated(master, events, drive):
    master.ignore_subscribe()
    drive(call_timeout_s=0.5)
    events.await_event(e.Subscribed)
    first, second = master.calls("SUBSCRIBE")[:2]
    assert first.connection is not second.connection


def test_redirect_leads_to_the_leader(events, drive):
    with SimulatedMaster() as follower, SimulatedMaster() as leader:
        follower.redirect(leader.address)
        driver = drive(address=follower.address, backoff_first_s=60, backoff_most_s=60)
        assert events.await_event(e.Subscribed).master == leader.address
        driver.stop()


def test_next_master_of_the_list_is_asked_when_one_is_down(master, events, drive):
    with socket.create_server(("127.0.0.1", 0)) as closed:
        address = f"127.0.0.1:{closed.getsockname()[1]}"
    drive(address=f"{address},{master.address}")
    assert events.await_event(e.Subscribed).master == master.address


@pytest.mark.parametrize("status", [503, 500, 404, 403, 401, 400])
def test_refused_subscriptions_are_repeated(master, events, drive, status):
    master.answer_subscribe(status, "no leader elected", times=3)
    drive()
    events.await_event(e.Subscribed)
    assert len(master.calls("SUBSCRIBE")) == 4
    assert events.of(e.Disconnected) == []


def test_call_that_is_forbidden_leads_to_a_new_subscription(master, events, drive):
    driver = drive()
    events.await_event(e.Subscribed)
    master.answer_call(403, "Framework is not subscribed")
    driver.perform(actions.Revive())
    events.await_event(e.Disconnected)
    events.await_event(e.Subscribed, 2)


def test_stale_stream_id_leads_to_a_new_subscription(master, events, drive):
    driver = drive()
    events.await_event(e.Subscribed)
    with master.changed:
        master.stream_id = "of-another-subscription"
    driver.perform(actions.Revive())
    events.await_event(e.Subscribed, 2)


def test_call_that_is_malformed_harms_nothing_else(master, events, drive, caplog):
    driver = drive()
    events.await_event(e.Subscribed)
    master.answer_call(400, "Failed to validate scheduler::Call: no such thing")
    driver.perform(actions.Kill("t-1"))
    driver.perform(actions.Revive())
    master.await_call("REVIVE")
    driver.stop()
    assert len(events.of(e.Subscribed)) == 1
    assert "no such thing" in caplog.text


def test_master_that_never_answers_a_call_is_left(master, events, drive):
    driver = drive(call_timeout_s=0.5)
    events.await_event(e.Subscribed)
    master.ignore_calls()
    assert driver.perform(actions.Revive())
    events.await_event(e.Disconnected)
    events.await_event(e.Subscribed, 2)


def test_calls_while_disconnected_return_false(master, events, drive):
    driver = drive(backoff_first_s=60, backoff_most_s=60)
    events.await_event(e.Subscribed)
    master.cut_stream()
    events.await_event(e.Disconnected)
    assert not driver.connected
    assert driver.perform(actions.Revive()) is False
    assert driver.perform(actions.Reconcile()) is False
    # A long pause does not hold up a wish to subscribe, or a stop.
    assert driver.perform(actions.Resubscribe("at once"))
    events.await_event(e.Subscribed, 2)


@pytest.mark.parametrize("garbage", [b"not a length\n{}", b"0\n", b"-5\nhello", b"9" * 30])
def test_malformed_frame_ends_the_subscription_only(master, events, drive, garbage):
    drive()
    events.await_event(e.Subscribed)
    master.raw(garbage)
    events.await_event(e.Disconnected)
    events.await_event(e.Subscribed, 2)


def test_broken_chunk_ends_the_subscription_only(master, events, drive):
    drive()
    events.await_event(e.Subscribed)
    master.stream.write(b"no chunk size\r\n")
    events.await_event(e.Subscribed, 2)


def test_events_that_cannot_be_understood_are_survived(master, events, drive, caplog):
    driver = drive()
    master.add_agent()
    events.await_event(e.Subscribed)
    master.raw(b"5\n{nope")
    for event in (
        {"type": "FROM_THE_FUTURE", "from_the_future": {}},
        {"type": "UPDATE"},
        {"type": "UPDATE", "update": {"status": {"state": "TASK_RUNNING"}}},
        {"type": "OFFERS", "offers": {"offers": [{"id": {"value": "offer-odd"}}]}},
        {"type": "INVERSE_OFFERS", "inverse_offers": {"inverse_offers": [{}]}},
        {"type": "RESCIND", "rescind": {}},
        {"type": "FAILURE", "failure": {}},
        {"type": "MESSAGE", "message": {}},
        {"no": "type"},
        ["no", "event"],
    ):
        master.event(event)
    unknown = {"task_id": {"value": "t"}, "state": "TASK_FROM_THE_FUTURE", "uuid": "AAAA", "agent_id": {"value": "a"}}
    master.event({"type": "UPDATE", "update": {"status": unknown}})
    status = events.await_event(e.StatusChanged).status
    assert (status.state, status.uuid) == (TaskState.UNKNOWN, "AAAA")
    assert master.await_call("DECLINE").content["offer_ids"] == [{"value": "offer-odd"}]
    assert driver.connected and len(events.of(e.Subscribed)) == 1


def test_error_stops_the_subscription_until_told_otherwise(master, events, drive):
    driver = drive()
    events.await_event(e.Subscribed)
    master.event({"type": "ERROR", "error": {"message": "Framework failed over"}})
    assert events.await_event(e.MasterError) == e.MasterError("Framework failed over")
    events.await_event(e.Disconnected)
    assert not driver.connected
    assert len(master.calls("SUBSCRIBE")) == 1
    driver.perform(actions.Resubscribe("told so"))
    events.await_event(e.Subscribed, 2)


def test_newer_subscriber_ends_the_older_for_good(master, events, drive):
    """Two instances at once. The master keeps the newer; the older steps down and does not fight back."""
    drive("framework-7")
    events.await_event(e.Subscribed)
    drive("framework-7")
    events.await_event(e.Subscribed, 2)
    events.await_event(e.MasterError)
    events.await_event(e.Disconnected)
    assert len(master.calls("SUBSCRIBE")) == 2


def test_exception_of_the_consumer_is_survived(master, events, caplog):
    """Every callback raises."""

    def emit(event):
        events.emit(event)
        raise RuntimeError("consumer is broken")

    driver = SchedulerDriver(some_settings(master.address), emit)
    driver.start("")
    try:
        master.add_agent()
        events.await_event(e.Subscribed)
        master.offer()
        events.await_event(e.OffersReceived)
        master.cut_stream()
        events.await_event(e.Subscribed, 2)
    finally:
        driver.stop()
    assert master.calls("TEARDOWN") == []


def test_big_event_in_small_pieces_arrives_whole(master, events, drive):
    drive()
    events.await_event(e.Subscribed)
    agents = [master.add_agent(f"agent-{n}").agent_id for n in range(500)]
    offers = master.make_offers(*agents)
    data = recordio.encode(json.dumps({"type": "OFFERS", "offers": {"offers": offers}}).encode())
    for start in range(0, len(data), 4096):
        master.raw(data[start : start + 4096])
    assert len(events.await_event(e.OffersReceived).offers) == 500


@pytest.mark.parametrize("seed", range(5))
def test_every_update_arrives_over_a_stream_that_keeps_breaking(events, drive, seed):
    with SimulatedMaster(seed=seed, cut_probability=0.3) as master:
        driver = drive(address=master.address, backoff_first_s=0.001, backoff_most_s=0.002)
        master.add_agent()
        events.await_event(e.Subscribed)
        for n in range(10):
            master.add_task(f"t-{n}")
            master.update(f"t-{n}", "TASK_FINISHED")

        def settled() -> bool:
            for seen in events.of(e.StatusChanged):
                driver.acknowledge(seen.status)
            master.resend_updates()
            return not master.tasks

        until(settled, 10, "every update is acknowledged", pace_s=0.005)
        later = [request.call["framework_id"]["value"] for request in master.calls("SUBSCRIBE")[1:]]
        assert set(later) <= {master.framework_id}
        assert master.calls("TEARDOWN") == []
        driver.stop()


def test_tls_master_is_verified_and_spoken_to(events, drive, tmp_path: Path):
    authority = Authority(tmp_path)
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(authority.write(tmp_path / "certificate.pem"))
    with SimulatedMaster(tls=server) as master:
        address = f"https://{master.address}"
        stranger = drive(address=address, backoff_first_s=60, backoff_most_s=60)
        trusting = drive(address=address, tls=ssl.create_default_context(cafile=str(authority.file)))
        master.add_agent()
        events.await_event(e.Subscribed)
        assert trusting.connected and not stranger.connected
        master.offer()
        (offer,) = events.await_event(e.OffersReceived).offers
        assert trusting.perform(an_accept(offer, a_payload()))
        assert events.await_event(e.StatusChanged).status.state is TaskState.STARTING
        trusting.stop()
        stranger.stop()


@pytest.mark.parametrize("answer", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b""])
def test_a_master_without_tls_that_is_asked_for_it_is_said_with_what_to_do(events, drive, answer: bytes):
    def answer_once() -> None:
        connection, _ = server.accept()
        with connection:
            connection.recv(4096)
            connection.sendall(answer)

    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=answer_once)
        thread.start()
        driver = drive(address=f"https://127.0.0.1:{server.getsockname()[1]}", backoff_first_s=60, backoff_most_s=60)
        assert "--master-scheme http" in events.await_event(e.NotSubscribed).reason
        thread.join()
        driver.stop()


def test_secret_shows_nowhere(master, events, drive, caplog):
    caplog.set_level("DEBUG")
    driver = drive(principal="eratos", secret="hush-hush")
    events.await_event(e.Subscribed)
    assert "hush-hush" not in repr(driver._settings)
    assert "hush-hush" not in caplog.text
