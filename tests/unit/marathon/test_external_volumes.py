"""Volumes of Docker's volume drivers: what a definition may say of them, and what goes with those that one may write to."""

from __future__ import annotations

from typing import Any

import pytest

from eratos.marathon import definition, job, notes, stored
from eratos.marathon.app import App
from eratos.marathon.errors import InvalidApp

NFS = {"dvdi/driver": "local", "dvdi/type": "nfs", "dvdi/o": "addr=10.0.0.9,rw", "dvdi/device": ":/export/db"}


def volume(options: Any = None, *, mode: str = "RW", name: str = "db", **fields: Any) -> dict[str, Any]:
    external = {"name": name, "provider": "dvdi", "options": {"dvdi/driver": "rexray"} if options is None else options, **fields}
    return {"containerPath": "/data", "mode": mode, "external": external}


def raw(*volumes: dict[str, Any], parameters: Any = (), **fields: Any) -> dict[str, Any]:
    docker = {"image": "x", "parameters": list(parameters)}
    return {"id": "/db", "container": {"type": "DOCKER", "docker": docker, "volumes": list(volumes)}, **fields}


def parse(*volumes: dict[str, Any], **fields: Any) -> App:
    return definition.parse(raw(*volumes, **fields))


def problems(*volumes: dict[str, Any], **fields: Any) -> dict[str, str]:
    try:
        parse(*volumes, **fields)
    except InvalidApp as invalid:
        return {problem.path: problem.message for problem in invalid.problems}
    return {}


def test_a_driver_gets_its_options_as_marathon_hands_them_on() -> None:
    app = parse(volume({"dvdi/driver": "rexray/ebs:0.11", "dvdi/iops": " 100 ", "dvdi/size": "5"}, size=5))
    external = app.container.volumes[0].external
    assert external is not None
    assert (external.driver, external.driver_options) == ("rexray/ebs:0.11", {"iops": "100", "size": "5"})
    assert definition.parse(app.to_json()) == app
    assert app.to_json()["container"]["volumes"][0]["external"]["size"] == 5


@pytest.mark.parametrize(
    ("options", "fields", "words"),
    [
        ({}, {}, 'needs "options": {"dvdi/driver": "local"}'),
        ({"dvdi/driver": "a b"}, {}, 'needs "options"'),
        ({"dvdi/driver": {"secret": "s"}}, {}, 'needs "options"'),
        ({"dvdi/driver": "x", "size": "5"}, {}, "has the option size, which no driver would be told"),
        ({"dvdi/driver": "x", "dvdi/": "5"}, {}, "has the option dvdi/, which"),
        ({"dvdi/driver": "x", "dvdi/size": "6"}, {"size": 5}, "has two sizes, 5 and that in dvdi/size"),
        (
            {"dvdi/driver": "local", "dvdi/iops": "5"},
            {},
            "has the option dvdi/iops, and Docker's driver local knows type, o, device, size",
        ),
        ({"dvdi/driver": "local", "dvdi/o": "bind"}, {}, "has the option dvdi/o, which needs dvdi/type and dvdi/device"),
        ({"dvdi/driver": "local", "dvdi/type": "nfs"}, {}, "has the option dvdi/type, which needs dvdi/device"),
        ({"dvdi/driver": "local", "dvdi/device": "/x"}, {}, "has the option dvdi/device, which needs dvdi/type"),
        ({**NFS, "dvdi/o": " "}, {}, "has nothing in dvdi/o"),
        ({**NFS, "dvdi/device": {"secret": "s"}}, {}, "has a secret in dvdi/device: of Docker's driver local only dvdi/o"),
    ],
)
def test_what_no_driver_could_go_by_is_refused(options: dict[str, Any], fields: dict[str, Any], words: str) -> None:
    found = problems(volume(options, **fields), secrets={"s": {"source": "s"}})
    assert words in found["/container/volumes(0)/external"]


@pytest.mark.parametrize("value", [5, True, None, ["x"], {"secret": "s", "more": "x"}, {"secret": 5}])
def test_an_option_is_text_or_a_secret(value: Any) -> None:
    found = problems(volume({"dvdi/driver": "x", "dvdi/y": value}))
    assert "must be text" in found["/container/volumes(0)/external/options/dvdi/y"]


@pytest.mark.parametrize(
    "options",
    [
        {**NFS, "dvdi/type": "cifs", "dvdi/o": "username=u,password=hunter2"},
        {**NFS, "dvdi/o": "addr=1, PASS=hunter2"},
        {"dvdi/driver": "sshfs", "dvdi/password": "hunter2"},
    ],
)
def test_a_password_has_no_place_in_a_definition_and_is_not_repeated(options: dict[str, str]) -> None:
    message = problems(volume(options))["/container/volumes(0)/external"]
    assert "holds a password" in message and '{"secret": "NAME"}' in message
    assert "hunter2" not in message


def test_an_option_may_be_one_of_the_apps_secrets() -> None:
    options = {"dvdi/driver": "sshfs", "dvdi/password": {"secret": "login"}}
    app = parse(volume(options), secrets={"login": {"source": "db/login"}})
    assert definition.parse(app.to_json()) == app
    assert (
        "is login, the app's secrets are none"
        in problems(volume(options))["/container/volumes(0)/external/options/dvdi/password"]
    )


# One writer at a time ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "alone"),
    [
        (volume(), {"db"}),
        (volume(NFS), {"db"}),
        (volume(mode="RO"), set()),
        (volume(shared=True), set()),
        (volume({"dvdi/driver": "local"}), set()),
        (volume({"dvdi/driver": "local", "dvdi/size": "5g"}), set()),
        ({"containerPath": "/data", "hostPath": "/srv", "mode": "RW"}, set()),
    ],
)
def test_who_is_alone_with_a_volume(given: dict[str, Any], alone: set[str]) -> None:
    app = parse(given)
    assert app.exclusive_volumes == alone
    assert app.alone is bool(alone)
    assert (app.unreachable_strategy is None) is bool(alone), "what is out of reach may still write"


def test_an_app_is_alone_with_its_volume_in_whatever_case_the_mode_is_written() -> None:
    assert parse(volume(mode="rw")).unreachable_strategy is None


@pytest.mark.parametrize(
    ("fields", "place"),
    [
        ({"instances": 2}, "/instances"),
        ({"upgradeStrategy": {"maximumOverCapacity": 0.5, "minimumHealthCapacity": 0}}, "/upgradeStrategy/maximumOverCapacity"),
        ({"upgradeStrategy": {"maximumOverCapacity": 0, "minimumHealthCapacity": 1}}, "/upgradeStrategy/minimumHealthCapacity"),
        ({"unreachableStrategy": {"inactiveAfterSeconds": 5, "expungeAfterSeconds": 9}}, "/unreachableStrategy"),
        ({"unreachableStrategy": {"inactiveAfterSeconds": 0, "expungeAfterSeconds": 0}}, "/unreachableStrategy"),
        ({"eratos": {"perHost": True}}, "/eratos/perHost"),
        ({"labels": {"ERATOS_BLUE_GREEN": "100%", "ERATOS_ROLLBACK": "true"}}, "/labels/ERATOS_BLUE_GREEN"),
        ({"eratos": {"autoscale": {"min": 1, "max": 2, "target": {"cpu": 0.5}}}}, "/eratos/autoscale/max"),
    ],
)
def test_what_would_have_two_write_is_refused_unless_they_share_it(fields: dict[str, Any], place: str) -> None:
    assert "may write to the volume db: say external.shared" in problems(volume(), **fields)[place]
    assert place not in problems(volume(shared=True), **fields)
    assert place not in problems(volume(mode="RO"), **fields)


def test_a_time_after_which_who_is_out_of_reach_counts_as_dead_may_be_stated() -> None:
    timed = {"inactiveAfterSeconds": 300, "expungeAfterSeconds": 300}
    assert parse(volume(), unreachableStrategy=timed).unreachable_strategy is not None


def test_a_name_is_one_volume_wherever_it_is_mounted() -> None:
    second = {**volume(), "containerPath": "/more"}
    assert problems(volume(), second) == {}
    found = problems(volume(), {**volume(NFS), "containerPath": "/more"})
    assert "is db twice, with different options" in found["/container/volumes(1)/external/name"]


def test_an_app_from_before_that_rule_is_read_from_the_store_as_it_is() -> None:
    """It had no effect what was said of Docker's own volumes, so they may say what they like, one mount another than the next."""
    own = {"dvdi/driver": "local"}
    record = stored.to_record(parse(volume(own), {**volume(own), "containerPath": "/more"}))
    record["container"]["volumes"][1]["external"]["shared"] = True
    assert stored.from_record(record).container.volumes[1].external.shared
    assert problems(volume(own), {**volume(own, shared=True), "containerPath": "/more"})


def test_a_process_mounts_nothing() -> None:
    app = {"id": "/db", "cmd": "x", "container": {"type": "MESOS", "volumes": [volume()]}}
    with pytest.raises(InvalidApp, match="need an image: a process sees its host's files"):
        definition.parse(app)


@pytest.mark.parametrize("key", ["volume-driver", "volume-opt", "mount"])
def test_parameters_of_docker_that_would_get_past_this_say_what_to_use(key: str) -> None:
    found = problems(parameters=[{"key": key, "value": "x"}])
    assert 'use container.volumes with external, whose options name "dvdi/driver"' in found["/container/docker/parameters(0)/key"]


def test_a_run_of_a_job_waits_without_end_for_a_host_out_of_reach_where_it_writes_alone() -> None:
    run: dict[str, Any] = {"cpus": 0.1, "mem": 32, "cmd": "x", "docker": {"image": "x"}}
    assert job.parse({"id": "backup", "run": run | {"volumes": [volume()]}}).app.unreachable_strategy is None
    assert job.parse({"id": "backup", "run": run | {"volumes": [volume(mode="RO")]}}).app.unreachable_strategy is not None


def test_what_is_heeded_is_not_told_as_unheeded() -> None:
    told = {note.path for note in notes.notes(parse(volume(shared=True, size=5)))}
    assert not [path for path in told if "external" in path]
    told = {note.path for note in notes.notes(parse(volume({"dvdi/driver": "local"}, shared=True, size=5)))}
    assert {"/container/volumes(0)/external/shared", "/container/volumes(0)/external/size"} <= told


@pytest.mark.parametrize(
    ("options", "bound"),
    [
        ({**NFS, "dvdi/type": "none", "dvdi/o": "bind", "dvdi/device": "/srv"}, "/srv"),
        ({**NFS, "dvdi/o": "addr=10.0.0.9,rbind", "dvdi/device": "/"}, "/"),
        (NFS, ""),
        ({"dvdi/driver": "rexray", "dvdi/o": "bind", "dvdi/device": "/"}, ""),
    ],
)
def test_a_bind_is_known_by_its_word_whatever_its_type(options: dict[str, str], bound: str) -> None:
    external = parse(volume(options)).container.volumes[0].external
    assert external is not None and external.bound == bound
