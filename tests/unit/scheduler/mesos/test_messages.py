"""Messages to executors and of them, as they go over the wire."""

from __future__ import annotations

import base64
import os
from typing import Any

from eratos.common.resources import Resources
from eratos.common.volume_messages import DestroyVolume, VolumeDestroyed
from eratos.executor.core import events as executor_events
from eratos.executor.mesos.driver import ExecutorDriver
from eratos.scheduler.core import actions, events
from eratos.scheduler.mesos import translate
from eratos.scheduler.mesos.callbacks import Callbacks
from eratos.scheduler.mesos.executor_info import ExecutorInfos
from eratos.scheduler.mesos.offer_book import OfferBook
from eratos.scheduler.mesos.settings import ExecutorSettings

ENVIRONMENT = {
    "MESOS_AGENT_ENDPOINT": "127.0.0.1:5051",
    "MESOS_FRAMEWORK_ID": "f-1",
    "MESOS_EXECUTOR_ID": "e-1",
    "MESOS_DIRECTORY": "/nowhere",
    "MESOS_SLAVE_ID": "a-1",
}
CALL = actions.DestroyVolume("eratos-db-1", "/db", "a-1", "e-1")


def a_book() -> OfferBook:
    return OfferBook(ExecutorInfos(ExecutorSettings(command="x"), "*"), Resources())


def test_what_the_scheduler_sends_an_executor_understands():
    call = translate.message(CALL, "e-1")
    assert (call["message"]["agent_id"], call["message"]["executor_id"]) == ({"value": "a-1"}, {"value": "e-1"})
    heard: list[executor_events.Event] = []
    driver = ExecutorDriver({**os.environ, **ENVIRONMENT}, heard.append)
    driver._agent.on_message({"data": call["message"]["data"]})
    assert heard == [executor_events.VolumeUnwanted("eratos-db-1", "/db")]
    driver._agent.on_message({"data": base64.b64encode(b"of another kind").decode()})
    assert len(heard) == 1


def test_what_an_executor_says_the_scheduler_understands():
    heard: list[Any] = []
    callbacks = Callbacks(heard.append, a_book())
    said = base64.b64encode(VolumeDestroyed("eratos-db-1", "in use").to_bytes()).decode()
    callbacks.frameworkMessage(None, {"value": "e-1"}, {"value": "a-1"}, said)
    assert heard == [events.VolumeDestroyed("eratos-db-1", "in use")]
    strange = base64.b64encode(DestroyVolume("eratos-db-1", "/db").to_bytes()).decode()
    callbacks.frameworkMessage(None, {"value": "e-1"}, {"value": "a-1"}, strange)
    assert len(heard) == 1


def test_the_executors_of_an_agent_are_those_of_its_latest_offer():
    book = a_book()
    offer = {"id": {"value": "o1"}, "agent_id": {"value": "a-1"}, "hostname": "h", "resources": []}
    assert book.executors("a-1") == frozenset()
    book.add({**offer, "executor_ids": [{"value": "e-2"}]})
    book.clear()
    assert book.executors("a-1") == {"e-2"}
