"""What a launch takes out of the offers: exactly what was offered, reserved resources first, one executor per agent."""

from __future__ import annotations

import base64
import copy
import dataclasses
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.mesos_master import some_resources

from eratos.common.payload import DiscoveryPort, Port, TaskPayload, VolumeCopy
from eratos.common.resources import Resources
from eratos.scheduler.core.actions import Accept, Launch
from eratos.scheduler.mesos import translate
from eratos.scheduler.mesos.executor_info import ExecutorInfos
from eratos.scheduler.mesos.offer_book import CannotAccept, OfferBook, Pool
from eratos.scheduler.mesos.settings import ExecutorSettings

EXECUTOR = ExecutorSettings(command="run", resources=Resources(cpus_m=100, mem_mib=64))
STATIC = {"role": "web", "allocation_info": {"role": "web"}}
DYNAMIC = {
    "role": "web",
    "reservations": [{"type": "DYNAMIC", "role": "web", "principal": "ops", "labels": {"labels": [{"key": "a"}]}}],
    "allocation_info": {"role": "web"},
}


def cpus(value: float, **kind: Any) -> dict[str, Any]:
    return {"name": "cpus", "type": "SCALAR", "scalar": {"value": value}, **kind}


def mem(value: float, **kind: Any) -> dict[str, Any]:
    return {"name": "mem", "type": "SCALAR", "scalar": {"value": value}, **kind}


def an_offer(offer_id: str, resources: list[dict[str, Any]], executors: tuple[str, ...] = (), agent: str = "a-1") -> Any:
    return {
        "id": {"value": offer_id},
        "agent_id": {"value": agent},
        "hostname": "host",
        "resources": resources,
        "executor_ids": [{"value": executor} for executor in executors],
    }


def an_accept(*offer_ids: str, tasks: int = 1, cpus_m: int = 100, mem_mib: int = 32, ports: tuple[int, ...] = ()) -> Accept:
    payloads = [
        TaskPayload(
            task_id=f"t-{n}",
            instance_id="i",
            app_id="/a",
            app_version="v",
            resources=Resources(cpus_m=cpus_m, mem_mib=mem_mib),
            image="x",
            ports=tuple(Port(port) for port in ports),
        )
        for n in range(tasks)
    ]
    return Accept("a-1", offer_ids, tuple(Launch(p.task_id, p) for p in payloads), 5)


def a_book(settings: ExecutorSettings = EXECUTOR, role: str = "web") -> tuple[OfferBook, ExecutorInfos]:
    infos = ExecutorInfos(settings, role)
    return OfferBook(infos, settings.resources), infos


def test_reserved_resources_go_first_and_are_named_as_offered():
    book, infos = a_book()
    unreserved = {"role": "*", "allocation_info": {"role": "web"}}
    resources = [cpus(4, **unreserved), mem(4096, **unreserved), cpus(0.15, **DYNAMIC), mem(512, **DYNAMIC)]
    before = copy.deepcopy(resources)
    book.add(an_offer("o-1", resources))
    (task,) = book.task_infos(an_accept("o-1"), "f-1")
    executor = task["executor"]
    assert executor["resources"] == [cpus(0.1, **DYNAMIC), mem(64.0, **DYNAMIC)]
    # 0.05 is left of what was reserved: the task comes whole out of the other portion instead of in crumbs.
    assert task["resources"] == [cpus(0.1, **unreserved), mem(32.0, **DYNAMIC)]
    assert executor["executor_id"]["value"] != infos.plain_id
    assert resources == before


def test_executor_paid_from_a_reservation_is_recognised_in_later_offers_even_after_a_restart():
    book, _ = a_book()
    resources = [cpus(1, **DYNAMIC), mem(512, **DYNAMIC)]
    book.add(an_offer("o-1", resources))
    (task,) = book.task_infos(an_accept("o-1"), "f-1")
    executor_id = task["executor"]["executor_id"]["value"]

    restarted, infos = a_book()
    seen = restarted.add(an_offer("o-2", resources, executors=(executor_id, "stranger")))
    assert seen.executor_ids == {infos.plain_id, "stranger"}
    (again,) = restarted.task_infos(an_accept("o-2"), "f-1")
    assert again["executor"] == task["executor"]


def test_executor_whose_payment_cannot_be_told_does_not_show_as_ours():
    book, _ = a_book()
    book.add(an_offer("o-1", [cpus(1, **DYNAMIC), mem(512, **DYNAMIC)]))
    executor_id = book.task_infos(an_accept("o-1"), "f-1")[0]["executor"]["executor_id"]["value"]
    restarted, infos = a_book()
    plain = {"role": "*", "allocation_info": {"role": "web"}}
    seen = restarted.add(an_offer("o-2", [cpus(1, **plain), mem(512, **plain)], executors=(executor_id,)))
    assert seen.executor_ids == {executor_id}
    (task,) = restarted.task_infos(an_accept("o-2"), "f-1")
    assert task["executor"]["executor_id"]["value"] == infos.plain_id


@pytest.mark.parametrize(
    ("disk_mib", "runs", "tasks", "kind"),
    [
        (16, True, 2, "LAUNCH_GROUP"),
        (16, True, 1, "LAUNCH"),
        (16, False, 2, "LAUNCH"),  # the kill of one would end both before their executor has come up
        (0, True, 2, "LAUNCH"),  # Mesos refuses a group for an executor without disk
    ],
)
def test_tasks_for_a_running_executor_are_launched_as_a_group(disk_mib: int, runs: bool, tasks: int, kind: str) -> None:
    book, infos = a_book(ExecutorSettings(command="run", resources=Resources(cpus_m=100, mem_mib=64, disk_mib=disk_mib)))
    plain = {"role": "*", "allocation_info": {"role": "web"}}
    disk = {"name": "disk", "type": "SCALAR", "scalar": {"value": 100.0}, **plain}
    book.add(an_offer("o-1", [cpus(1, **plain), mem(512, **plain), disk], executors=(infos.plain_id,) if runs else ()))
    expected = book.task_infos(an_accept("o-1", tasks=tasks), "f-1")
    operation = book.operation(an_accept("o-1", tasks=tasks), "f-1")
    assert operation["type"] == kind
    if kind == "LAUNCH_GROUP":
        group = operation["launch_group"]
        assert [{**task, "executor": group["executor"]} for task in group["task_group"]["tasks"]] == expected
    else:
        assert operation["launch"]["task_infos"] == expected


def test_each_task_is_paid_from_one_role():
    book, _ = a_book()
    one, two = {"role": "*", "allocation_info": {"role": "one"}}, {"role": "*", "allocation_info": {"role": "two"}}
    book.add(an_offer("o-1", [cpus(0.2, **one), mem(200, **one)]))
    book.add(an_offer("o-2", [cpus(0.2, **two), mem(200, **two)]))
    tasks = book.task_infos(an_accept("o-1", "o-2", tasks=3), "f-1")
    roles = [{resource["allocation_info"]["role"] for resource in task["resources"]} for task in tasks]
    assert roles == [{"one"}, {"two"}, {"two"}]


ONE, TWO = ({"role": "*", "allocation_info": {"role": role}} for role in ("one", "two"))


def two_roles() -> tuple[OfferBook, ExecutorInfos]:
    infos = ExecutorInfos(EXECUTOR, "one", "two")
    return OfferBook(infos, EXECUTOR.resources), infos


def the_id(task: dict[str, Any]) -> str:
    executor_id: str = task["executor"]["executor_id"]["value"]
    return executor_id


def test_an_agents_executor_runs_tasks_of_every_role_whichever_paid_for_it():
    book, infos = two_roles()
    book.add(an_offer("o-1", [cpus(1, **TWO), mem(512, **TWO)]))
    [first] = book.task_infos(an_accept("o-1"), "f-1")
    assert first["executor"]["resources"] == [cpus(0.1, **TWO), mem(64.0, **TWO)]
    assert the_id(first) != infos.plain_id

    # Another leader, which was offered nothing to that role yet, knows it as well.
    book, infos = two_roles()
    seen = book.add(an_offer("o-2", [cpus(1, **ONE), mem(512, **ONE)], executors=(the_id(first),)))
    assert (seen.role, seen.executor_ids) == ("one", {infos.plain_id})
    [task] = book.task_infos(an_accept("o-2"), "f-1")
    assert task["executor"] == first["executor"]
    assert task["resources"] == [cpus(0.1, **ONE), mem(32.0, **ONE)]


def test_an_executor_for_several_roles_is_paid_from_what_is_not_reserved_where_that_does():
    own = {"role": "one", "allocation_info": {"role": "one"}}
    for unreserved, paid in ((1, ONE), (0.05, own)):
        book, _ = two_roles()
        book.add(an_offer("o-1", [cpus(1, **own), mem(512, **own), cpus(unreserved, **ONE), mem(512, **ONE)]))
        [task] = book.task_infos(an_accept("o-1"), "f-1")
        assert task["executor"]["resources"] == [cpus(0.1, **paid), mem(64.0, **paid)]
        assert task["resources"] == [cpus(0.1, **own), mem(32.0, **own)]


def test_offers_of_an_agent_to_two_roles_start_one_executor_there():
    book, _ = two_roles()
    for number, kind in enumerate((ONE, TWO)):
        book.add(an_offer(f"o-{number}", [cpus(1, **kind), mem(512, **kind)]))
    first = book.operation(an_accept("o-0"), "f-1")
    assert book.task_infos(an_accept("o-1"), "f-1")[0]["executor"] != first["launch"]["task_infos"][0]["executor"], "unsent"
    book.launched("a-1", first)
    [second] = book.task_infos(an_accept("o-1"), "f-1")
    assert second["executor"] == first["launch"]["task_infos"][0]["executor"]
    assert book.operation(an_accept("o-1", tasks=2), "f-1")["type"] == "LAUNCH", "it has not come up yet"
    # The next offer says what there is: it was never started, or has died.
    book.add(an_offer("o-3", [cpus(1, **TWO), mem(512, **TWO)]))
    assert the_id(book.task_infos(an_accept("o-3"), "f-1")[0]) != the_id(second)


def test_a_portion_too_small_is_completed_by_another_of_the_same_role():
    book, _ = a_book(ExecutorSettings(command="run", resources=Resources()))
    plain = {"role": "*", "allocation_info": {"role": "web"}}
    book.add(an_offer("o-1", [cpus(0.3, **STATIC), cpus(0.3, **plain), mem(64, **plain)]))
    (task,) = book.task_infos(an_accept("o-1", cpus_m=500), "f-1")
    assert task["resources"] == [cpus(0.3, **STATIC), cpus(0.2, **plain), mem(32.0, **plain)]


def test_nothing_is_taken_where_not_all_fits():
    pool = Pool([an_offer("o-1", some_resources(cpus=1, mem=100))])
    assert pool.take(Resources(cpus_m=100, mem_mib=101), (), "*") is None
    assert pool.take(Resources(cpus_m=100, mem_mib=100), (30000,), "*") is None
    assert pool.take(Resources(cpus_m=100), (31000, 31000), "*") is None
    assert pool.take(Resources(cpus_m=1000, mem_mib=100), (31000,), "*") is not None
    assert pool.take(Resources(cpus_m=1), (), "*") is None
    assert pool.take(Resources(), (31000,), "*") is None


@pytest.mark.parametrize(
    ("accept", "reason"),
    [
        (an_accept("o-1", "o-9"), "offers are gone: o-9"),
        (an_accept("o-1", tasks=50), "does not fit"),
        (an_accept("o-1", "o-2"), "not a-1 alone"),
    ],
)
def test_impossible_accepts_say_why(accept, reason):
    book, _ = a_book(role="*")
    book.add(an_offer("o-1", some_resources()))
    book.add(an_offer("o-2", some_resources(), agent="a-2"))
    with pytest.raises(CannotAccept, match=reason):
        book.task_infos(accept, "f-1")


def test_executor_too_big_for_the_offer_says_so():
    book, _ = a_book()
    book.add(an_offer("o-1", some_resources(cpus=0.05)))
    with pytest.raises(CannotAccept, match="the executor's own resources"):
        book.task_infos(an_accept("o-1"), "f-1")


def test_framework_without_roles_gets_offers_without_allocation():
    book, _ = a_book()
    book.add(an_offer("o-1", [cpus(1, role="*"), mem(512, role="*")]))
    (task,) = book.task_infos(an_accept("o-1"), "f-1")
    assert task["resources"] == [cpus(0.1, role="*"), mem(32.0, role="*")]


KINDS = [
    STATIC,
    DYNAMIC,
    {"role": "*", "allocation_info": {"role": "web"}},
    {"role": "*", "allocation_info": {"role": "batch"}},
]


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from(range(4)), st.integers(1, 3000), st.integers(1, 3000)), min_size=1, max_size=6),
    st.lists(st.tuples(st.integers(0, 1500), st.integers(0, 1500)), max_size=8),
)
def test_never_more_is_taken_of_a_kind_than_was_offered(portions, wants):
    resources = [r for kind, c, m in portions for r in (cpus(c / 1000, **KINDS[kind]), mem(float(m), **KINDS[kind]))]
    pool = Pool([an_offer("o-1", resources)])

    def totals(items: list[Any]) -> dict[str, int]:
        sums: dict[str, int] = {}
        for item in items:
            key = repr(sorted((k, v) for k, v in item.items() if k != "scalar"))
            sums[key] = sums.get(key, 0) + round(item["scalar"]["value"] * 1000)
        return sums

    taken: list[Any] = []
    for cpus_m, mem_mib in wants:
        for role in pool.roles:
            got = pool.take(Resources(cpus_m=cpus_m, mem_mib=mem_mib), (), role)
            if got is not None:
                assert sum(r["scalar"]["value"] for r in got if r["name"] == "cpus") == pytest.approx(cpus_m / 1000)
                assert sum(r["scalar"]["value"] for r in got if r["name"] == "mem") == mem_mib
                assert {r["allocation_info"]["role"] for r in got} <= {role}
                taken += got
                break
    offered = totals(resources)
    assert all(amount <= offered[key] for key, amount in totals(taken).items())


def test_each_agents_executor_is_given_what_is_its_alone_and_always_the_same() -> None:
    settings = dataclasses.replace(EXECUTOR, data=lambda agent_id: f"key of {agent_id}".encode(), data_name="k1")
    plain = {"role": "*", "allocation_info": {"role": "web"}}
    given = []
    for _ in range(2):
        book, _ = a_book(settings)
        book.add(an_offer("o-1", [cpus(1, **plain), mem(512, **plain)]))
        given.append(book.task_infos(an_accept("o-1"), "f-1")[0]["executor"])
    assert given[0] == given[1]  # Mesos refuses a task whose executor differs from the one that runs
    assert base64.b64decode(given[0]["data"]) == b"key of a-1"
    assert "key of" not in str(given[0]["command"])


def test_a_task_that_copies_gets_the_key_of_each_volume_at_its_source_and_others_get_none() -> None:
    settings = dataclasses.replace(EXECUTOR, volume_key=lambda agent_id, volume_id: f"key of {volume_id} on {agent_id}")
    book, _ = a_book(settings)
    book.add(an_offer("o-1", [cpus(1), mem(512)]))
    accept = an_accept("o-1", tasks=2)
    copies = tuple(VolumeCopy(name, "h1", "a-9", f"{name}-2", "data") for name in ("v1", "v2"))
    first = dataclasses.replace(accept.launches[0], payload=dataclasses.replace(accept.launches[0].payload, copies=copies))
    infos = book.task_infos(dataclasses.replace(accept, launches=(first, accept.launches[1])), "f-1")
    sent = [TaskPayload.from_bytes(base64.b64decode(info["data"])).copies for info in infos]
    assert [copy.key for copy in sent[0]] == ["key of v1 on a-9", "key of v2 on a-9"] and sent[1] == ()
    assert "key of" not in repr(sent)


def test_other_keys_make_another_executor() -> None:
    ids = {a_book(dataclasses.replace(EXECUTOR, data=lambda _: b"x", data_name=name))[1].plain_id for name in ("", "k1", "k2")}
    assert len(ids) == 3
    assert a_book(EXECUTOR)[1].plain_id in ids


def test_a_task_is_discovered_by_its_ports_with_their_labels() -> None:
    ports = (DiscoveryPort(31000, "http", "tcp", {"VIP_0": "/x:80"}), DiscoveryPort(80, "", "udp"))
    payload = dataclasses.replace(an_accept("o-1").launches[0].payload, discovery=ports)
    assert translate.task_info(payload, "a-1", {}, [])["discovery"]["ports"]["ports"] == [
        {"number": 31000, "name": "http", "protocol": "tcp", "labels": {"labels": [{"key": "VIP_0", "value": "/x:80"}]}},
        {"number": 80, "name": "", "protocol": "udp"},
    ]


@pytest.mark.parametrize(("accepts", "kinds"), [("", [DYNAMIC]), ("reserved", [DYNAMIC]), ("unreserved", [{"role": "*"}])])
def test_a_task_is_paid_from_the_resources_that_it_accepts(accepts: str, kinds: list[Any]) -> None:
    allocated = {"allocation_info": {"role": "web"}}
    offered = [cpus(1, **DYNAMIC), mem(512, **DYNAMIC), cpus(1, role="*", **allocated), mem(512, role="*", **allocated)]
    taken = Pool([an_offer("o-1", offered)]).take(Resources(cpus_m=500, mem_mib=100), (), "web", accepts)
    assert taken is not None
    assert all(kinds[0].items() <= resource.items() for resource in taken)
    seen = translate.offer(an_offer("o-1", offered), ())
    assert (seen.resources, seen.reserved) == (Resources(2000, 1024), Resources(1000, 512))


def test_a_task_that_accepts_none_of_what_is_offered_takes_nothing() -> None:
    pool = Pool([an_offer("o-1", [cpus(1, **DYNAMIC), mem(512, **DYNAMIC)])])
    assert pool.take(Resources(cpus_m=100, mem_mib=10), (), "web", "unreserved") is None
    assert pool.take(Resources(cpus_m=1000, mem_mib=512), (), "web", "reserved") is not None
