"""Requirements in the scheduler: starts that are held back, what an executor is told, and outdated instances."""

from __future__ import annotations

from typing import Any

import pytest
from support.builders import an_app, an_offer
from support.core import Core, of
from support.records import as_stored

from eratos.common import names
from eratos.common.payload import TaskPayload
from eratos.marathon.app import App
from eratos.scheduler.core import actions, rollout
from eratos.scheduler.core.instances import Instance
from eratos.scheduler.core.mesos_types import Agent
from eratos.scheduler.core.reasons import Waiting
from eratos.scheduler.core.task_payload import payload

DB = an_app("/blog/db", portDefinitions=[{"port": 0, "name": "admin"}, {"port": 0, "name": "sql"}])
WHY = "required db has changed"


def web(instances: int = 1, app_id: str = "/blog/web", **fields: Any) -> App:
    return an_app(app_id, instances, eratos={"requires": {"db": {"app": "/blog/db", "port": "sql"} | fields}})


@pytest.fixture
def core() -> Core:
    core = Core()
    core.subscribe()
    return core


def waiting(core: Core, app_id: str = "/blog/web") -> Waiting | None:
    return core.machine.state.launches_of(app_id).waiting


# Starts -----------------------------------------------------------------------------------------------------------------


def test_a_start_is_held_back_until_enough_instances_are_ready(core: Core) -> None:
    core.put(DB.with_instances(2).with_version("1"))
    core.put(web(atLeast=2).with_version("2"))
    first, second = core.launch()
    core.status(first, "RUNNING")
    assert core.launch() == []
    assert waiting(core) is Waiting.REQUIREMENT
    assert core.machine.state.launches_of("/blog/web").lacks == "needs 2 ready instances of /blog/db:sql, and has 1"
    core.status(second, "RUNNING")
    (task,) = core.launch()
    assert task.startswith("blog_web.")


def test_one_that_does_not_wait_is_not_held_back(core: Core) -> None:
    core.put(DB.with_instances(0).with_version("1"))
    core.put(web(wait=False).with_version("2"))
    assert len(core.launch()) == 1


def test_an_app_at_nothing_holds_those_back_that_require_it(core: Core) -> None:
    """Otherwise than with ``dependencies``, where Marathon lets them start."""
    core.put(DB.with_instances(0).with_version("1"))
    core.put(web().with_version("2"))
    assert core.launch() == []
    assert core.machine.state.launches_of("/blog/web").lacks == "needs one ready instance of /blog/db:sql, and has 0"


def test_an_app_that_is_gone_is_named(core: Core) -> None:
    core.put(web().with_version("2"))
    core.launch()
    assert "and there is no such app" in core.machine.state.launches_of("/blog/web").lacks


# What the executor is told ----------------------------------------------------------------------------------------------


def told(app: App, *others: App) -> TaskPayload:
    agent = Agent("a1", "host1", attributes={"zone": "west"})
    ports = tuple(range(31000, 31000 + len(app.ports)))
    instance = Instance("i", app.id, app.version, agent=agent, ports=ports)
    made = payload(app, instance, "fw", {other.id: other for other in others})
    read = TaskPayload.from_bytes(made.to_bytes())
    assert read.requires == made.requires
    return read


def test_the_services_of_a_port_begin_with_the_one_that_it_has_now() -> None:
    (sql,) = told(web(), DB).requires
    assert (sql.services, sql.app_id, sql.port, sql.zone) == (("blog-db-sql", "blog-db"), "/blog/db", "sql", "west")
    (admin,) = told(web(port="admin"), DB).requires
    assert admin.services == ("blog-db", "blog-db-admin")
    (first,) = told(an_app("/web", eratos={"requires": {"db": {"app": "/blog/db"}}}), DB).requires
    assert (first.services, first.port) == (("blog-db",), "")


def test_a_service_elsewhere_a_key_and_addresses() -> None:
    stated = {"a": {"service": "pg@west"}, "b": {"key": "shop/x", "prefix": "P_"}, "c": {"static": ["h:1"]}}
    a, b, c = told(an_app("/web", eratos={"requires": stated})).requires
    assert (a.services, a.datacenter) == (("pg",), "west")
    assert (b.key, b.variable) == ("shop/x", "P_B")
    assert c.static == ("h:1",)


def test_an_app_that_requires_nothing_can_be_read_by_executors_of_the_version_before() -> None:
    assert b"requires" not in payload(DB, Instance("i", DB.id, "", ports=(1, 2)), "fw").to_bytes()


def test_services_say_port_zone_and_what_the_app_states() -> None:
    app = an_app("/db", eratos={"attributes": {"role": "main", "size": "9"}})
    (service,) = told(app).services
    assert {**service.meta, **{"role": "main", "size": "9", names.META_PORT: "http", names.META_ZONE: "west"}} == service.meta


def test_services_say_what_labels_of_registrators_make_an_attribute() -> None:
    app = an_app("/db", labels={"SERVICE_ROLE": "main", "SERVICE_SIZE": "1"}, eratos={"attributes": {"size": "9"}})
    (service,) = told(app).services
    assert (service.meta["role"], service.meta["size"]) == ("main", "9")


# Outdated ---------------------------------------------------------------------------------------------------------------


def outdated(core: Core, task_id: str, why: str | None = WHY, **fields: Any) -> list[actions.Action]:
    return core.status(task_id, "RUNNING", outdated=why, **fields)


def kinds(out: list[actions.Action]) -> tuple[int, int]:
    return len(of(actions.Accept, out)), len(of(actions.Kill, out))


def test_an_outdated_instance_is_replaced_before_it_is_stopped(core: Core) -> None:
    core.put(an_app("/a").with_version("1"))
    (old,) = core.run()
    assert not of(actions.Kill, outdated(core, old))
    (new,) = core.launch()
    out = core.status(new, "RUNNING")
    assert [kill.task_id for kill in of(actions.Kill, out)] == [old]
    core.fail(old, "KILLED")
    assert rollout.at_rest(core.machine.state.apps["/a"], core.machine.state.fleet("/a"))


def test_many_are_rolled_within_the_bounds_of_the_app(core: Core) -> None:
    strategy = {"minimumHealthCapacity": 0.75, "maximumOverCapacity": 0.25}
    core.put(an_app("/a", 8, upgradeStrategy=strategy).with_version("1"))
    for task in core.run(an_offer(cpus=8)):
        outdated(core, task)
        fleet = core.machine.state.fleet("/a")
        assert sum(n for kind, n in fleet.tally.items() if kind.ready(False)) >= 6
        assert len(fleet.instances) <= 10


def test_one_that_caught_up_stays(core: Core) -> None:
    core.put(an_app("/a").with_version("1"))
    (old,) = core.run()
    outdated(core, old)
    assert core.machine.state.fleet("/a").waiting
    out = outdated(core, old, "")
    assert not of(actions.Kill, out) and not core.machine.state.fleet("/a").waiting
    assert core.launch() == []


def test_answers_of_the_master_say_nothing_of_it(core: Core) -> None:
    core.put(an_app("/a").with_version("1"))
    (old,) = core.run()
    outdated(core, old)
    core.status(old, "RUNNING", reason="REASON_RECONCILIATION")
    core.status(old, "RUNNING", reason="REASON_SLAVE_REREGISTERED", outdated=None)
    assert core.instance(old).outdated == WHY


def test_a_new_leader_knows_who_is_outdated(core: Core) -> None:
    core.put(an_app("/a").with_version("1"))
    (old,) = core.run()
    (put,) = [a for a in of(actions.Put, outdated(core, old)) if a.key.startswith("instances/")]
    instance = Instance.from_record(put.record, Agent("a1", "h"))
    assert instance.outdated == WHY
    assert as_stored({put.key: put.record}).instances[0].outdated == WHY


def test_one_that_ended_comes_back_up_to_date(core: Core) -> None:
    core.put(an_app("/a").with_version("1"))
    (old,) = core.run()
    outdated(core, old)
    core.fail(old)
    assert all(not instance.outdated for instance in core.machine.state.instances_of("/a"))
    assert len(core.machine.state.fleet("/a").instances) == 1
