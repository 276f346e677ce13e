"""A pod in the executor's machine: one of its containers ends, and the others end with it, once."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from support.driven import Driven, of, states, update
from support.executor import HOST, TASK, a_payload

from eratos.common import names
from eratos.common.payload import Container, Fetch, HealthCheck, Port, TaskPayload, Volume
from eratos.common.resources import Resources
from eratos.executor.core import actions as do
from eratos.executor.core import events as on
from eratos.executor.core.left_over import DRAINED_S
from eratos.executor.core.start import start_action


def a_container(name: str, **fields: Any) -> Container:
    return Container(**({"name": name, "resources": Resources(100, 32), "image": f"shop/{name}"} | fields))


PODS = {"image": "", "args": None, "containers": (a_container("web"), a_container("log"))}


@pytest.fixture
def driven() -> Driven:
    return Driven()


def test_the_payload_of_a_pod_reads_back() -> None:
    containers = (
        a_container("web", args=("a",), volumes=(Volume("/d", "volumes/d"),), fetch=(Fetch("/a", "a"),), mem_limit_mib=None),
        a_container("log", parameters=(("entrypoint", "sh"),), secret_env={"A": "b"}, pull_secret="p"),
    )
    payload = a_payload(containers=containers, image="", health_checks=(HealthCheck("command", command="x", container="log"),))
    assert TaskPayload.from_bytes(payload.to_bytes()) == payload


def test_what_is_no_pod_says_nothing_of_containers() -> None:
    """Executors of the version before read every app."""
    assert b"container" not in a_payload(health_checks=(HealthCheck("tcp"),)).to_bytes().replace(b'"container_port"', b"")


def test_one_that_ends_takes_the_others_with_it_and_is_what_is_told(driven: Driven) -> None:
    driven.ready(**PODS)
    out = driven.handle(on.ContainerDied(TASK, 3, "log"))
    assert [type(action) for action in out] == [do.TellBalancers, do.Deregister, do.StopContainer]
    out = driven.handle(on.ContainerDied(TASK, 143, "web"))
    assert of(do.ExamineContainer, out) == [do.ExamineContainer(TASK, "log")]
    sent = update(driven.handle(on.ContainerExamined(TASK, 3, log_tail="out of luck")))
    assert sent.state == "TASK_FAILED"
    assert sent.message.startswith("container log: exit code 3")
    assert "out of luck" in sent.message
    assert driven.machine.tasks == {}


def test_one_that_is_done_ends_the_pod_as_finished(driven: Driven) -> None:
    driven.ready(**PODS)
    driven.handle(on.ContainerDied(TASK, 0, "log"))
    driven.handle(on.ContainerDied(TASK, 143, "web"))
    assert update(driven.handle(on.ContainerExamined(TASK, 0))).state == "TASK_FINISHED"


def test_others_that_do_not_end_are_killed(driven: Driven) -> None:
    driven.ready(**PODS)
    driven.handle(on.ContainerDied(TASK, 3, "log"))
    assert of(do.KillContainer, driven.after(3.1)) == [do.KillContainer(TASK)]


def test_a_kill_waits_for_every_container(driven: Driven) -> None:
    driven.run(**PODS, ports=0)
    driven.kill()
    assert states(driven.handle(on.ContainerDied(TASK, 143, "web"))) == []
    out = driven.handle(on.ContainerDied(TASK, 143, "log"))
    assert states(out) == ["TASK_KILLED"]
    assert of(do.RemoveContainer, out) == [do.RemoveContainer(TASK)]


def test_one_that_ends_while_balancers_let_go_does_not_cut_that_short(driven: Driven) -> None:
    driven.ready(**PODS)
    driven.drain()
    assert driven.handle(on.ContainerDied(TASK, 3, "log")) == []
    assert of(do.StopContainer, driven.handle(on.DrainDone(TASK, released=True)))


def test_one_that_ends_before_the_start_is_confirmed_is_not_forgotten(driven: Driven) -> None:
    driven.launch(**PODS)
    assert driven.handle(on.ContainerDied(TASK, 3, "log")) == []
    assert of(do.StopContainer, driven.handle(on.ContainerStarted(TASK)))
    driven.handle(on.ContainerDied(TASK, 143, "web"))
    assert states(driven.handle(on.ContainerExamined(TASK, 3))) == ["TASK_FAILED"]


def test_all_that_end_before_the_start_is_confirmed_are_examined(driven: Driven) -> None:
    driven.launch(**PODS)
    driven.handle(on.ContainerDied(TASK, 3, "log"))
    driven.handle(on.ContainerDied(TASK, 1, "web"))
    assert of(do.ExamineContainer, driven.handle(on.ContainerStarted(TASK))) == [do.ExamineContainer(TASK, "log")]


def test_a_death_that_is_told_twice_is_one(driven: Driven) -> None:
    driven.ready(**PODS)
    driven.handle(on.ContainerDied(TASK, 3, "log"))
    assert driven.handle(on.ContainerDied(TASK, 3, "log")) == []
    assert TASK in driven.machine.tasks


def listed(driven: Driven, **found: Any) -> on.ContainersListed:
    return on.ContainersListed(driven.now, **({"running": frozenset(), "ended": frozenset()} | found))


def test_a_listing_repairs_a_death_that_nobody_told(driven: Driven) -> None:
    driven.ready(**PODS)
    driven.now += 1
    assert driven.handle(listed(driven, running=frozenset({TASK}))) == []
    assert of(do.StopContainer, driven.handle(listed(driven, partly=frozenset({TASK}))))
    assert driven.handle(listed(driven, partly=frozenset({TASK}))) == []  # being stopped already
    assert of(do.ExamineContainer, driven.handle(listed(driven, ended=frozenset({TASK}))))


def test_what_is_left_of_another_executors_pod_goes(driven: Driven) -> None:
    other = "other.instance-1._app.1"
    driven.handle(listed(driven, partly=frozenset({other})))
    driven.handle(on.BalancersTold(other))
    out = driven.after(DRAINED_S)
    assert of(do.RemoveContainer, out) == [do.RemoveContainer(other)]


def test_a_command_check_is_asked_in_its_container(driven: Driven) -> None:
    check = HealthCheck("command", command="true", container="log", interval_s=5, timeout_s=2)
    out = driven.run(**PODS, health_checks=(check,))
    assert [(probe.command, probe.container) for probe in of(do.Probe, out)] == [("true", "log")]


def test_the_first_container_has_the_network_and_the_ports() -> None:
    start = start_action(a_payload(**PODS, network="bridge"), HOST)
    assert isinstance(start, do.StartContainer)
    assert [each.name for each in start.all] == [names.container_name(TASK, "web"), names.container_name(TASK, "log")]
    modes = [each.config["HostConfig"]["NetworkMode"] for each in start.all]
    assert modes == ["bridge", f"container:{names.container_name(TASK, 'web')}"]


def test_ports_and_files_of_all_go_with_the_first() -> None:
    containers = (a_container("web"), a_container("log", fetch=(Fetch("/a", "a"),)))
    ports = (Port(31000, 80), Port(31001, 514, "udp"))
    payload = a_payload(image="", containers=containers, network="bridge")
    start = start_action(replace(payload, ports=ports), HOST)
    assert isinstance(start, do.StartContainer)
    assert (start.host_ports, start.udp_ports) == ((31000,), (31001,))
    assert [fetch.path for fetch in start.fetch] == ["containers/log/a"]
    assert set(start.config["HostConfig"]["PortBindings"]) == {"80/tcp", "514/udp"}
    (other,) = start.others
    assert "PortBindings" not in other.config["HostConfig"]
    assert other.host_ports == ()
    assert "PORT0=31000" in other.config["Env"]


def test_on_the_hosts_network_every_container_is_on_it() -> None:
    start = start_action(a_payload(**PODS), HOST)
    assert isinstance(start, do.StartContainer)
    assert {each.config["HostConfig"]["NetworkMode"] for each in start.all} == {HOST.network}
