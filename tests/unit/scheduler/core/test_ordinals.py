"""Apps whose instances have ordinals: who holds which, who starts first, and in which order they are replaced."""

from __future__ import annotations

from typing import Any

import pytest
from support.builders import a_machine, an_app, an_offer
from support.core import Core, of
from support.records import as_stored

from eratos.common.payload import TaskPayload
from eratos.marathon.app import App
from eratos.scheduler.core import actions, events, ordinals, rollout
from eratos.scheduler.core.instances import Instance
from eratos.scheduler.core.mesos_types import Agent, InverseOffer, TaskState, Window
from eratos.scheduler.core.reasons import Waiting
from eratos.scheduler.core.records import INSTANCES, InstanceRecord


def db(instances: int = 3, *, ordinals: Any = True, **fields: Any) -> App:
    return an_app("/shop/db", instances, **({"eratos": {"ordinals": ordinals}} | fields))


@pytest.fixture
def core() -> Core:
    core = Core()
    core.subscribe()
    return core


def holders(core: Core) -> dict[int | None, str]:
    """Return who holds each ordinal, whatever becomes of it: its task."""
    found = {instance.ordinal: instance.task_id for instance in core.machine.state.instances_of("/shop/db")}
    assert len(found) == len(core.machine.state.fleet("/shop/db").instances)
    return found


def ordinals_of(core: Core, tasks: list[str]) -> list[int | None]:
    return [core.instance(task).ordinal for task in tasks]


def waiting(core: Core) -> Waiting | None:
    return core.machine.state.launches_of("/shop/db").waiting


def running(core: Core, app: App | None = None) -> dict[int | None, str]:
    """Have an app run whole, and return who holds each ordinal."""
    core.put(app or db())
    core.run()
    core.run()
    found = holders(core)
    assert sorted(found) == [0, 1, 2]
    return found


def killed(out: list[actions.Action]) -> list[str]:
    return [kill.task_id for kill in of(actions.Kill, out)]


def lacking(core: Core) -> dict[int, str]:
    state = core.machine.state
    return {found.ordinal: found.reason for found in ordinals.lacking(state, state.apps["/shop/db"])}


def said(core: Core) -> str:
    """Return what is said of the one ordinal whose instance is not ready."""
    (found,) = ordinals.lacking(core.machine.state, core.machine.state.apps["/shop/db"])
    return found.message


def at_rest(core: Core) -> bool:
    state = core.machine.state
    return rollout.at_rest(state.apps["/shop/db"], state.fleet("/shop/db")) and not state.deployments


# The start ---------------------------------------------------------------------------------------------------------------


def test_the_first_starts_alone_and_the_others_once_it_is_ready(core: Core) -> None:
    core.put(db())
    tasks = core.launch()
    assert ordinals_of(core, tasks) == [0]
    assert waiting(core) is Waiting.FIRST and lacking(core) == {0: "NotReady", 1: "FirstInstance", 2: "FirstInstance"}
    assert core.launch() == []
    assert of(actions.Revive, core.status(tasks[0], "RUNNING")), "the others want offers now"
    assert sorted(ordinals_of(core, core.run())) == [1, 2]
    assert lacking(core) == {} and at_rest(core)


def test_the_first_has_to_pass_its_checks(core: Core) -> None:
    core.put(db(healthChecks=[{"protocol": "TCP"}]))
    (task,) = core.run()
    assert core.launch() == [] and waiting(core) is Waiting.FIRST
    core.status(task, "RUNNING", healthy=True, uuid="healthy")
    assert len(core.launch()) == 2


def test_all_start_together_where_the_app_wants_it(core: Core) -> None:
    core.put(db(ordinals={"firstAlone": False}))
    assert sorted(ordinals_of(core, core.launch())) == [0, 1, 2]


def test_one_that_crashed_waits_for_a_first_that_is_not_ready(core: Core) -> None:
    held = running(core)
    core.fail(held[0])
    core.fail(held[2])
    core.tick(10)
    tasks = core.launch()
    assert ordinals_of(core, tasks) == [0]
    core.status(tasks[0], "RUNNING")
    assert ordinals_of(core, core.launch()) == [2]


# Who holds an ordinal ----------------------------------------------------------------------------------------------------


def test_the_next_task_has_the_same_ordinal_on_another_host_too(core: Core) -> None:
    held = running(core)
    core.fail(held[1])
    core.tick(10)
    tasks = core.run(an_offer("b1"))
    assert ordinals_of(core, tasks) == [1] and core.instance(tasks[0]).agent_id == "b1"


def test_a_new_leader_knows_who_holds_which(core: Core) -> None:
    held = running(core)
    records = {f"{INSTANCES}{i.instance_id}": i.record() for i in core.machine.state.with_task()}
    stored = as_stored(records | {"apps/shop/db": core.machine.state.apps["/shop/db"]})
    successor = Core(a_machine(stored))
    successor.subscribe()
    assert holders(successor) == held
    assert not successor.machine.state.fleet("/shop/db").waiting


def test_a_record_of_a_version_before_has_no_ordinal() -> None:
    record = InstanceRecord("i", "/shop/db", "v", 1, "a1", "h1", (), 1.0)
    assert Instance.from_record(record, Agent("a1", "h1")).ordinal is None


def test_one_out_of_reach_keeps_its_ordinal_without_end(core: Core) -> None:
    held = running(core)
    core.status(held[1], "UNREACHABLE")
    core.tick(1_000_000)
    assert core.launch() == [] and holders(core) == held and lacking(core) == {1: "Unreachable"}
    assert "until it is back, or Mesos says that the agent is gone" in said(core)
    core.status(held[1], "GONE_BY_OPERATOR", uuid="gone")
    core.tick(10)
    assert ordinals_of(core, core.launch(an_offer("a2"))) == [1]


def test_one_out_of_reach_is_given_up_before_another_follows(core: Core) -> None:
    app = db(unreachableStrategy={"inactiveAfterSeconds": 60, "expungeAfterSeconds": 60})
    held = running(core, app)
    core.status(held[1], "UNREACHABLE")
    core.tick(59)
    assert core.launch() == [] and "until it is back, or inactiveAfterSeconds are over" in said(core)
    core.tick(2)
    core.tick(10)
    (task,) = core.launch(an_offer("a2"))
    assert core.instance(task).ordinal == 1 and task != held[1]
    core.status(held[1], "RUNNING", uuid="back")
    core.tick(60)
    assert held[1] in {kill.task_id for kill in of(actions.Kill, core.tick(60))}, "the one that was given up is killed"


def test_nobody_follows_while_a_task_without_a_record_may_hold_the_ordinal(core: Core) -> None:
    core.status("shop_db.instance-old._app.1", "RUNNING", reason="REASON_RECONCILIATION")
    core.put(db())
    assert core.launch() == [] and lacking(core)[0] == "Unrecorded"
    core.status("shop_db.instance-old._app.1", "KILLED", uuid="over")
    assert ordinals_of(core, core.launch()) == [0]


def test_one_that_stops_keeps_its_ordinal_until_it_has_ended(core: Core) -> None:
    held = running(core)
    core.command(events.KillInstances((core.instance(held[2]).instance_id,)))
    assert core.launch() == [] and lacking(core) == {2: "Stopping"}
    core.fail(held[2], "KILLED")
    assert ordinals_of(core, core.launch()) == [2]


def test_an_app_that_comes_back_waits_for_those_of_before(core: Core) -> None:
    held = running(core)
    core.command(events.DeleteApps(("/shop/db",), force=True))
    core.put(db(1))
    assert core.launch() == [] and holders(core) == held
    core.fail(held[0], "KILLED")
    assert ordinals_of(core, core.launch()) == [0]


# Scaling and replacing ---------------------------------------------------------------------------------------------------


def test_the_highest_go_first_and_are_the_first_to_come_back(core: Core) -> None:
    held = running(core)
    assert killed(core.scale("/shop/db", 1)) == [held[2], held[1]]
    core.fail(held[1], "KILLED")
    core.fail(held[2], "KILLED")
    assert sorted(holders(core)) == [0] and at_rest(core)
    core.scale("/shop/db", 2)
    assert ordinals_of(core, core.run()) == [1] and at_rest(core)


def test_what_waits_and_is_not_wanted_any_more_is_forgotten(core: Core) -> None:
    core.put(db())
    core.run()
    core.scale("/shop/db", 1)
    assert sorted(holders(core)) == [0] and at_rest(core)


def test_a_new_version_replaces_each_in_its_place_the_highest_first(core: Core) -> None:
    held = running(core)
    out = core.put(db(cmd="new"))
    order: list[int | None] = []
    for _ in range(3):
        (task,) = killed(out)
        order.append(core.instance(task).ordinal)
        assert core.launch() == [], "no ordinal is held twice"
        core.fail(task, "KILLED", uuid=task)
        (new,) = core.launch()
        assert core.instance(new).ordinal == order[-1]
        out = core.status(new, "RUNNING")
    assert order == [2, 1, 0] and at_rest(core) and not set(holders(core).values()) & set(held.values())


def test_a_host_that_is_to_be_emptied_is_left_one_after_another(core: Core) -> None:
    held = running(core)
    out = core.handle(events.InverseOffersReceived((InverseOffer("i", "a1", Window(core.now + 10)),)))
    assert killed(out) == [held[2]]
    core.fail(held[2], "KILLED")
    tasks = core.launch(an_offer("a2"))
    assert ordinals_of(core, tasks) == [2]
    assert killed(core.status(tasks[0], "RUNNING", agent="a2")) == [held[1]]


def test_a_paused_change_comes_no_further_and_what_crashed_comes_back_as_it_was(core: Core) -> None:
    held = running(core)
    version = core.machine.state.apps["/shop/db"].version
    core.put(db(cmd="new"))
    (deployment,) = core.machine.state.deployments
    core.command(events.Pause(deployment))
    core.fail(held[2], "KILLED")
    (task,) = core.run()
    assert (core.instance(task).ordinal, core.instance(task).version) == (2, version)
    core.fail(held[0])
    core.tick(10)
    (task,) = core.run()
    assert (core.instance(task).ordinal, core.instance(task).version) == (0, version)


# What is refused ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("there", [True, False])
def test_ordinals_come_and_go_without_instances(core: Core, there: bool) -> None:
    core.put(db(1, ordinals=there))
    (task,) = core.run()
    (refused,) = of(actions.Refuse, core.put(db(1, ordinals=not there)))
    assert "scale it to 0 first" in refused.message
    core.scale("/shop/db", 0)
    core.fail(task, "KILLED")
    assert not of(actions.Refuse, core.put(db(1, ordinals=not there)))


def test_a_kill_with_scale_is_refused(core: Core) -> None:
    held = running(core)
    (refused,) = of(actions.Refuse, core.command(events.KillInstances((core.instance(held[0]).instance_id,), scale=True)))
    assert "the highest goes" in refused.message and not core.instance(held[0]).stopping


# What it is told ---------------------------------------------------------------------------------------------------------


def payloads(core: Core, app: App) -> list[TaskPayload]:
    core.put(app)
    out = core.offer(an_offer())
    return [launch.payload for accept in of(actions.Accept, out) for launch in accept.launches]


def test_a_task_and_consul_are_told_which_one_it_is(core: Core) -> None:
    _, told, _ = payloads(core, db(ordinals={"firstAlone": False}))
    assert (told.env["ERATOS_ORDINAL"], told.env["ERATOS_NAME"]) == ("1", "shop-db-1")
    (service,) = told.services
    assert (service.meta["eratos-ordinal"], service.meta["eratos-name"]) == ("1", "shop-db-1")
    assert "ordinal-1" in service.tags


def test_one_of_an_app_without_ordinals_is_told_nothing(core: Core) -> None:
    (told,) = payloads(core, db(1, ordinals=False))
    assert not {"ERATOS_ORDINAL", "ERATOS_NAME"} & told.env.keys()
    assert "eratos-ordinal" not in told.services[0].meta and told.services[0].tags == ("eratos",)


def test_peers_are_required_and_the_first_waits_for_none(core: Core) -> None:
    extras = {"ordinals": {"firstAlone": False}, "requires": {"peers": {"app": "/shop/db", "onChange": "nothing"}}}
    told = payloads(core, db(2, eratos=extras))
    assert [(payload.env["ERATOS_ORDINAL"], payload.requires[0].wait) for payload in told] == [("0", False), ("1", True)]
    assert not core.machine.state.held, "its deployment does not wait for itself"


# By table ----------------------------------------------------------------------------------------------------------------


def an_instance(ordinal: int, letter: str) -> Instance:
    """Return one that is Current, Old, Unready (old), Stopping, Waiting (old), or Away (old)."""
    state = {"U": TaskState.STARTING, "W": None, "A": TaskState.UNREACHABLE}.get(letter, TaskState.RUNNING)
    return Instance(
        f"shop_db.instance-{ordinal}",
        "/shop/db",
        "v2" if letter == "C" else "v1",
        state=state,
        agent=Agent("", "") if state is None else Agent("a1", "h1"),
        ordinal=ordinal,
        stopping=letter == "S",
    )


def steps(app: App, letters: str, before: App | None = None, limit: int | None = None) -> tuple[list[int], list[int], list[int]]:
    """Return the ordinals of what starts, of what starts as before, and of what stops."""
    state = a_machine().state
    for ordinal, letter in enumerate(letters):
        if letter != " ":
            state.add(an_instance(ordinal, letter))
    found, free = ordinals.next_steps(state, app.with_version("v2"), before, limit)
    assert found.start + found.start_before <= len(free)
    began, stopped = free[: found.start], [instance.ordinal or 0 for instance in found.stop]
    return began, free[found.start : found.start + found.start_before], stopped


@pytest.mark.parametrize(
    ("health", "instances", "letters", "start", "stop"),
    [
        (1.0, 3, "", [0, 1, 2], []),
        (1.0, 3, "C C", [1], []),
        # one after another where all are to stay ready, the highest first
        (1.0, 3, "OOO", [], [2]),
        (1.0, 3, "OOS", [], []),
        (1.0, 3, "OO ", [2], []),
        (1.0, 3, "OOC", [], [1]),
        (1.0, 1, "O", [], [0]),
        # half of them, rounded up, stay
        (0.5, 4, "OOOO", [], [3, 2]),
        (0.5, 3, "OOO", [], [2]),
        (0.0, 3, "OOO", [], [2, 1, 0]),
        (0.0, 3, "SOO", [], [2, 1]),
        # what is not ready goes at once
        (1.0, 3, "UOO", [], [0]),
        (1.0, 3, "UOC", [], [0]),
        (1.0, 3, "WUO", [], [1, 0]),
        # out of reach: neither replaced nor counted on
        (1.0, 3, "OOA", [], []),
        # fewer are wanted: all of those go
        (1.0, 1, "CCC", [], [2, 1]),
        (1.0, 1, "CA ", [], [1]),
        (1.0, 2, "OOO", [], [2, 1]),
        (1.0, 0, "CCC", [], [2, 1, 0]),
    ],
)
def test_next_steps_by_table(health: float, instances: int, letters: str, start: list[int], stop: list[int]) -> None:
    app = db(instances, upgradeStrategy={"minimumHealthCapacity": health})
    assert steps(app, letters) == (start, [], stop)


@pytest.mark.parametrize(
    ("letters", "limit", "start", "before", "stop"),
    [
        ("  C", 1, [], [0, 1], []),
        ("  C", 2, [0], [1], []),
        ("OOC", 1, [], [], []),
        ("OOC", 2, [], [], [1]),
        ("OOO", 0, [], [], []),
    ],
)
def test_no_more_of_the_new_than_a_paused_deployment_may_have(
    letters: str, limit: int, start: list[int], before: list[int], stop: list[int]
) -> None:
    assert steps(db(), letters, db().with_version("v1"), limit) == (start, before, stop)


def test_what_goes_does_not_depend_on_who_was_made_first() -> None:
    state = a_machine().state
    for ordinal in (2, 0, 1):
        state.add(an_instance(ordinal, "O"))
    found, _ = ordinals.next_steps(state, db(2, upgradeStrategy={"minimumHealthCapacity": 0}).with_version("v2"), None, None)
    assert [instance.ordinal for instance in found.stop] == [2, 1, 0]


def test_one_of_before_that_has_to_move_does_so_while_a_deployment_is_paused() -> None:
    state = a_machine().state
    moving = an_instance(0, "O")
    moving.moving = True
    state.add(moving)
    state.add(an_instance(1, "O"))
    found, _ = ordinals.next_steps(state, db(2).with_version("v2"), db(2).with_version("v1"), 0)
    assert found.stop == (moving,)


@pytest.mark.parametrize(("health", "instances", "least"), [(1.0, 3, 2), (1.0, 1, 0), (0.5, 3, 2), (0.0, 3, 0), (1.0, 0, 0)])
def test_bounds_by_table(health: float, instances: int, least: int) -> None:
    assert rollout.bounds(db(instances, upgradeStrategy={"minimumHealthCapacity": health})) == (least, instances)
