"""Several Mesos roles: an instance takes from what is offered to the role of its app, and from nothing else."""

from __future__ import annotations

from dataclasses import replace

import pytest
from support.builders import a_machine, an_app, an_offer
from support.core import Core, of

from eratos.common.resources import PortRanges, Resources
from eratos.scheduler.core import actions, events, offers
from eratos.scheduler.core.mesos_types import Offer
from eratos.scheduler.core.reasons import Waiting
from eratos.scheduler.core.records import INSTANCES, GroupRecord, Stored

VERSION = "2026-01-31T12:00:00.123Z"
ENFORCED = "MARATHON_APP_ENFORCE_GROUP_ROLE"


def a_core(stored: Stored | None = None) -> Core:
    core = Core(a_machine(stored, roles=("*", "dev", "ops")))
    core.subscribe()
    return core


@pytest.fixture
def core() -> Core:
    return a_core()


def dev(agent: str = "a1", **fields: object) -> Offer:
    return replace(an_offer(agent, **fields), role="dev")  # type: ignore[arg-type]


def plain(agent: str = "a1", **fields: object) -> Offer:
    return replace(an_offer(agent, **fields), role="*")  # type: ignore[arg-type]


def launched(out: list[actions.Action]) -> list[tuple[str, tuple[str, ...], list[str]]]:
    """Return agent, offers and apps of each ACCEPT."""
    accepts = of(actions.Accept, out)
    return [(a.agent_id, a.offer_ids, [launch.payload.app_id for launch in a.launches]) for a in accepts]


def test_what_one_agent_offers_to_two_roles_goes_to_the_apps_of_each(core: Core) -> None:
    core.put(an_app("/web", 2), an_app("/dev/web", 2, role="dev"))
    free, own = plain(), dev(ports=(32000, 32099))
    out = core.offer(free, own)
    assert launched(out) == [("a1", (free.offer_id,), ["/web", "/web"]), ("a1", (own.offer_id,), ["/dev/web", "/dev/web"])]
    stored = [put.record for put in of(actions.Put, out) if put.key.startswith(INSTANCES)]
    assert {(record.app_id, record.role) for record in stored} == {("/web", "*"), ("/dev/web", "dev")}


def test_another_leader_knows_the_role_of_what_runs(core: Core) -> None:
    core.put(an_app("/dev/web", 1, role="dev"))
    core.run(dev())
    state = core.machine.state
    records = tuple(instance.record() for instance in state.instances.values())
    other = a_core(Stored("fw1", apps=tuple(state.apps.values()), instances=records))
    assert [instance.role for instance in other.machine.state.instances.values()] == ["dev"]


def test_whichever_role_launches_where_no_executor_runs_pays_for_it(core: Core) -> None:
    core.put(an_app("/dev/web", 1, role="dev", cpus=1))
    assert not launched(core.offer(plain(), dev(cpus=1, executor=False)))
    assert launched(core.offer(dev(cpus=1, executor=True)))


@pytest.mark.parametrize(
    ("accepts", "roles", "fits"),
    [("*", ("dev", "*"), False), ("*", ("dev",), True), ("dev", ("dev", "*"), True), ("dev", ("dev",), False)],
)
def test_an_executor_takes_of_reserved_resources_what_the_driver_has_it_take(accepts: str, roles: object, fits: bool) -> None:
    """Of several roles one is not shown what is reserved for another: an executor paid by that would not be known to it."""
    core = Core(a_machine(roles=roles))
    core.subscribe()
    core.put(an_app("/dev/web", 1, role="dev", cpus=2, acceptedResourceRoles=[accepts]))
    ports = PortRanges([(31000, 31010)])
    out = core.offer(dev(cpus=4, executor=False, reserved=Resources(cpus_m=2000, mem_mib=1024), reserved_ports=ports))
    assert bool(launched(out)) is fits
    if not fits:
        assert core.machine.state.launches_of("/dev/web").waiting is Waiting.NO_FIT


def test_an_executor_is_paid_out_of_what_is_reserved_where_nothing_else_does() -> None:
    core = Core(a_machine(roles=("dev", "*")))
    core.subscribe()
    core.put(an_app("/dev/web", 1, role="dev", cpus=2, acceptedResourceRoles=["dev"]))
    resources = Resources(cpus_m=2000, mem_mib=1024, disk_mib=1000)
    own = dev(executor=False, reserved=resources, reserved_ports=PortRanges([(31000, 31099)]))
    assert not launched(core.offer(replace(own, resources=resources)))
    assert launched(core.offer(replace(own, resources=resources, executor_ids=an_offer().executor_ids)))


def test_an_app_to_whose_role_nothing_is_offered_waits_for_that(core: Core) -> None:
    core.put(an_app("/web", 1, cpus=100), an_app("/dev/web", 1, role="dev"))
    out = core.offer(plain())
    launches = core.machine.state.launches_of("/dev/web")
    assert (launches.waiting, launches.offers_seen) == (Waiting.NO_OFFER, 0)
    assert [decline.refuse_s for decline in of(actions.Decline, out)] == [core.machine.step.settings.misfit_refuse_s]
    assert core.machine.state.launches_of("/web").waiting is Waiting.NO_FIT


def test_what_was_found_of_a_roles_offers_holds_until_others_to_it_come(core: Core) -> None:
    core.put(an_app("/dev/web", 1, role="dev", cpus=100))
    core.offer(dev())
    core.put(an_app("/web", 1))
    assert launched(core.offer(plain()))
    launches = core.machine.state.launches_of("/dev/web")
    assert (launches.waiting, launches.offers_seen) == (Waiting.NO_FIT, 1)


def test_of_a_change_of_roles_each_definition_waits_for_its_own_offers(core: Core) -> None:
    """While an app changes, what is launched may be of its definition before: the one that gets no offer holds up no other."""
    core.put(an_app("/dev/web", 2, labels={"ERATOS_CANARY": "1"}))
    core.run(plain())
    core.put(an_app("/dev/web", 3, role="dev", labels={"ERATOS_CANARY": "1"}))
    assert [apps for _, _, apps in launched(core.offer(plain()))] in ([], [["/dev/web"]])
    waiting = core.machine.state.launches_of("/dev/web").waiting
    assert waiting is Waiting.NO_OFFER
    out = core.offer(dev("a2"))
    assert [apps for _, _, apps in launched(out)] == [["/dev/web"]]


def test_a_new_role_has_instances_replaced_out_of_its_offers(core: Core) -> None:
    core.put(an_app("/dev/web", 1))
    [before] = core.run(plain())
    core.put(an_app("/dev/web", 1, role="dev"))
    assert not launched(core.offer(plain()))
    [after] = core.run(dev())
    assert core.instance(after).role == "dev"
    core.status(before, "KILLED")
    assert [instance.role for instance in core.machine.state.instances.values()] == ["dev"]


def test_a_launch_that_broke_leaves_no_role_behind(core: Core, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(offers, "payload", lambda *_, **__: 1 / 0)
    core.put(an_app("/dev/web", 1, role="dev"))
    core.offer(dev())
    (instance,) = core.machine.state.fleet("/dev/web").waiting.values()
    assert (instance.agent_id, instance.role) == ("", "")


def test_offers_are_asked_for_by_role(core: Core) -> None:
    out = core.put(an_app("/dev/web", 1, role="dev"))
    assert of(actions.Revive, out) == [actions.Revive(("dev",))]
    assert core.machine.state.suppressed == {"*", "ops"}
    out = core.put(an_app("/web", 1))
    assert of(actions.Revive, out) == [actions.Revive(("*", "dev"))]
    out = core.offer(dev())
    assert of(actions.Suppress, out) == [actions.Suppress(("dev",))]
    assert of(actions.Suppress, core.offer(plain())) == [actions.Suppress(("*",))]


def test_one_role_is_asked_for_without_a_name() -> None:
    core = Core(a_machine(roles=("web",)))
    assert of(actions.Suppress, core.subscribe()) == [actions.Suppress()]
    assert of(actions.Revive, core.put(an_app())) == [actions.Revive()]
    assert launched(core.offer(replace(an_offer(), role="web")))


def test_who_looks_at_the_cluster_asks_for_every_role(core: Core) -> None:
    assert of(actions.Revive, core.handle(events.LookAround())) == [actions.Revive()]
    assert not core.machine.state.suppressed


def test_an_app_whose_role_is_gone_goes_on_in_the_default_one(core: Core) -> None:
    core.put(an_app("/old/web", 1, role="old"))
    assert launched(core.offer(plain()))


def test_a_host_is_swept_by_an_executor_of_any_role(core: Core) -> None:
    core.put(an_app("/dev/web", 1, role="dev"))
    [task] = core.run(dev())
    core.scale("/dev/web", 0)
    core.fail(task, source="SOURCE_AGENT", reason="REASON_EXECUTOR_TERMINATED")
    own = dev()
    assert launched(core.offer(own)) == [("a1", (own.offer_id,), ["/SWEEP"])]


def test_what_an_agent_has_left_is_what_it_offers_to_all_roles(core: Core) -> None:
    core.put(an_app("/dev/web", 1, role="dev", cpus=1))
    core.offer(dev(cpus=2), plain(cpus=3))
    assert core.machine.state.room["a1"].cpus_m == 4000


@pytest.mark.parametrize("enforces", [True, False])
def test_a_task_is_told_whether_its_group_enforces_its_role(enforces: bool) -> None:
    core = a_core(Stored("fw1", groups=(GroupRecord("/dev", VERSION, VERSION, enforces=enforces),)))
    core.put(an_app("/dev/in/web", 1, role="dev"))
    [accept] = of(actions.Accept, core.offer(dev()))
    assert (accept.launches[0].payload.env.get(ENFORCED) == "TRUE") is enforces


def test_a_group_that_enforces_its_role_does_so_until_it_is_told_otherwise(core: Core) -> None:
    def put(*apps: str, **fields: object) -> None:
        core.command(events.PutApps(tuple(an_app(app) for app in apps), force=True, **fields))  # type: ignore[arg-type]

    def enforces() -> bool:
        return core.machine.state.groups["/dev"].enforces

    put("/dev/a", groups={"/dev": ()}, enforced={"/dev": True})
    assert enforces()
    put("/dev/b", groups={"/dev": ("/db",)})
    assert enforces() and core.machine.state.groups["/dev"].dependencies == ("/db",)
    version = core.machine.state.groups["/dev"].changed
    put(enforced={"/dev": False})
    assert not enforces() and core.machine.state.groups["/dev"].changed == version


def test_a_group_that_comes_back_with_its_apps_enforces_its_role_again(core: Core) -> None:
    core.command(events.PutApps((an_app("/dev/a", 1, role="dev"),), groups={"/dev": ()}, enforced={"/dev": True}))
    core.run(dev())
    [reply] = of(actions.Reply, core.command(events.DeleteApps(("/dev/a",), groups=("/dev",))))
    assert "/dev" not in core.machine.state.groups
    core.command(events.RollBack(reply.deployment_id))
    assert core.machine.state.groups["/dev"].enforces


def test_an_offer_to_a_role_that_is_gone_counts_for_the_default_one(core: Core) -> None:
    core.put(an_app("/web", 1))
    assert launched(core.offer(replace(an_offer(), role="gone")))
