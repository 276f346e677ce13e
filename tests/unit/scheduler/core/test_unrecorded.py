"""Tasks that Mesos runs and no record stands for: a sign that the store was put back to an earlier state, and logged so."""

from __future__ import annotations

import pytest
from support.builders import a_machine, an_app, an_offer
from support.core import Core, of
from support.records import an_instance

from eratos.common import names
from eratos.scheduler.core import actions, events
from eratos.scheduler.core.records import INSTANCES, Stored

RECONCILIATION = "REASON_RECONCILIATION"


def told(core: Core) -> list[object]:
    return [notice.fields["so_far"] for notice in core.decision.notices if "no record" in notice.message]


@pytest.fixture
def core() -> Core:
    spoilt = {INSTANCES + "a.instance-spoilt": "why"}
    core = Core(a_machine(Stored("fw1", instances=(an_instance(1),), spoilt=spoilt)))
    core.subscribe()
    return core


def test_a_running_task_without_a_record_is_reported(core: Core) -> None:
    core.status(names.task_id("a.instance-later", 1), "RUNNING", reason=RECONCILIATION)
    assert told(core) == [1]
    assert "put back to an earlier state" in core.decision.notices[0].message


def test_so_is_another_attempt_of_an_instance_that_is_known(core: Core) -> None:
    core.put(an_app("/a"))
    (task,) = core.run(an_offer())
    core.status(task, "RUNNING", reason=RECONCILIATION)
    assert told(core) == []
    core.status(names.task_id(task.rpartition("._app.")[0], 7), "RUNNING", reason=RECONCILIATION)
    assert told(core) == [1]


@pytest.mark.parametrize(
    ("instance_id", "state", "reason"),
    [
        ("a.instance-spoilt", "RUNNING", RECONCILIATION),
        ("a.instance-later", "LOST", RECONCILIATION),
        ("a.instance-later", "UNREACHABLE", RECONCILIATION),
        ("a.instance-later", "UNKNOWN", RECONCILIATION),
        ("a.instance-later", "RUNNING", ""),
    ],
)
def test_other_news_are_no_sign_of_an_older_store(core: Core, instance_id: str, state: str, reason: str) -> None:
    core.status(names.task_id(instance_id, 1), state, reason=reason)
    assert told(core) == []


def test_a_thousand_tasks_without_records_make_few_lines(core: Core) -> None:
    found: list[object] = []
    for number in range(1000):
        core.status(names.task_id(f"a.instance-{number}", 1), "RUNNING", reason=RECONCILIATION)
        found += told(core)
    assert found == [1, 10, 100, 1000]


@pytest.mark.parametrize("ended", ["given up", "never sent"])
def test_what_is_gone_before_it_was_answered_for_does_not_hold_up_the_question_for_all(ended: str) -> None:
    """The implicit request, which shows tasks that only the master knows, comes when all others were answered."""
    core = Core()
    core.subscribe()
    core.put(an_app(unreachableStrategy={"inactiveAfterSeconds": 0, "expungeAfterSeconds": 0}))
    (task,) = core.launch(an_offer())
    core.handle(events.Disconnected())
    core.subscribe()
    if ended == "given up":
        core.machine.step.reconciliation.start([core.instance(task).instance_id])
        core.status(task, "UNREACHABLE")
        core.machine.step.reconciliation.start([core.instance(task).instance_id])
    else:
        core.handle(events.NotLaunched((task,)))
        core.machine.step.reconciliation.start([task.rpartition("._app.")[0]])
    asked = [call.tasks for _ in range(10) for call in of(actions.Reconcile, core.tick(60))]
    assert () in asked
