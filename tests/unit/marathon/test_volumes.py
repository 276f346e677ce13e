"""Persistent volumes and residency in an app's definition: defaults, what goes with them, and what is refused with its place."""

from __future__ import annotations

from typing import Any

import pytest

from eratos.marathon import definition, job
from eratos.marathon.app import App
from eratos.marathon.app_parts import UpgradeStrategy
from eratos.marathon.errors import InvalidApp
from eratos.marathon.notes import notes

OWN = {"name": "eratos-db-1", "provider": "dvdi", "options": {"dvdi/driver": "local"}}
DATA = {"containerPath": "data", "mode": "RW", "persistent": {"size": 10, "type": "root", "constraints": []}}


def raw(*volumes: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {"id": "/db", "container": {"docker": {"image": "db:1"}, "volumes": list(volumes or (DATA,))}} | fields


def parse(*volumes: dict[str, Any], **fields: Any) -> App:
    return definition.parse(raw(*volumes, **fields))


def test_marathons_defaults_for_apps_with_volumes():
    app = parse()
    assert app.resident and app.residency is not None and app.residency.task_lost_behavior == "WAIT_FOREVER"
    assert app.residency.relaunch_escalation_timeout_seconds == 3600 and app.residency.gives_up_after_s is None
    assert app.upgrade_strategy == UpgradeStrategy(minimumHealthCapacity=0.5, maximumOverCapacity=0.0)
    assert app.unreachable_strategy is None
    again = definition.restore(app.to_json() | {"version": "v"})
    assert again == app.with_version("v")
    assert definition.parse(app.to_json()) == app


def test_an_app_without_volumes_is_what_it_was():
    app = definition.parse({"id": "/a", "cmd": "x"})
    assert not app.resident and "residency" not in app.to_json() and app.unreachable_strategy is not None


def test_the_timeout_counts_only_where_it_begins_anew():
    asked = {"taskLostBehavior": "RELAUNCH_AFTER_TIMEOUT", "relaunchEscalationTimeoutSeconds": 7}
    found = parse(residency=asked).residency
    assert found is not None and found.gives_up_after_s == 7


def test_what_is_not_as_on_mesos_disks_is_said():
    said = {note.path: note.text for note in notes(parse())}
    assert "Docker" in said["/container/volumes(0)/persistent"]
    assert "no size" in said["/container/volumes(0)/persistent/size"]


def changed(**fields: Any) -> dict[str, Any]:
    return DATA | {"persistent": DATA["persistent"] | fields}  # type: ignore[operator]


@pytest.mark.parametrize(
    ("document", "path", "said"),
    [
        (raw(changed(type="mount")), "/container/volumes(0)/persistent/type", "root"),
        (raw(changed(maxSize=20)), "/container/volumes(0)/persistent/maxSize", "remove it"),
        (raw(changed(constraints=[["path", "LIKE", "/ssd"]])), "/container/volumes(0)/persistent/constraints", "app's own"),
        (raw(changed(size=0)), "/container/volumes(0)/persistent/size", "1"),
        (raw(changed(size="10")), "/container/volumes(0)/persistent/size", ""),
        (raw(DATA | {"mode": "RO"}), "/container/volumes(0)", "RW"),
        (raw(DATA | {"containerPath": "../data"}), "/container/volumes(0)", "containerPath"),
        (raw(DATA | {"containerPath": "."}), "/container/volumes(0)", "containerPath"),
        (raw(DATA | {"hostPath": "/srv"}), "/container/volumes(0)", "exactly one"),
        (raw(residency={"taskLostBehavior": "PANIC"}), "/residency/taskLostBehavior", "WAIT_FOREVER"),
        (raw(residency={"relaunchEscalationTimeoutSeconds": -1}), "/residency/relaunchEscalationTimeoutSeconds", "0"),
        ({"id": "/a", "cmd": "x", "residency": {}}, "/residency", "persistent"),
        (raw(upgradeStrategy={"maximumOverCapacity": 0.5}), "/upgradeStrategy/maximumOverCapacity", "must be 0"),
        (
            raw(upgradeStrategy={"maximumOverCapacity": 0, "minimumHealthCapacity": 1}),
            "/upgradeStrategy/minimumHealthCapacity",
            "in place",
        ),
        (raw(unreachableStrategy={"inactiveAfterSeconds": 1, "expungeAfterSeconds": 2}), "/unreachableStrategy", "residency"),
        (raw(eratos={"perHost": True}), "/eratos/perHost", "hostPath"),
        (raw(labels={"ERATOS_BLUE_GREEN": "10,100"}), "/labels/ERATOS_BLUE_GREEN", "second set"),
        (
            raw(DATA, {"containerPath": "/var/lib/db", "hostPath": "data/sub", "mode": "RW"}),
            "/container/volumes(1)/hostPath",
            "only the whole",
        ),
        ({"id": "/a", "cmd": "x", "container": {"type": "MESOS", "volumes": [DATA]}}, "/container/volumes", "need an image"),
        (
            raw({"containerPath": "/x", "mode": "RW", "external": OWN}),
            "/container/volumes(0)/external/name",
            "another name",
        ),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused_with_its_field(document: dict[str, Any], path: str, said: str):
    with pytest.raises(InvalidApp) as invalid:
        definition.parse(document)
    found = {problem.path: problem.message for problem in invalid.value.problems}
    assert path in found and said in found[path], found


def test_a_run_of_a_job_has_no_volumes_that_outlive_it():
    with pytest.raises(InvalidApp) as invalid:
        job.parse({"id": "a", "run": {"docker": {"image": "x"}, "volumes": [DATA]}})
    assert [problem.path for problem in invalid.value.problems] == ["/run/volumes(0)/persistent"]


def test_an_app_says_that_its_volumes_follow_and_stays_the_same_for_its_tasks():
    app = definition.parse(raw(eratos={"follow": "copy"}))
    assert app.follows and definition.parse(app.to_json()) == app
    without = definition.parse(raw())
    assert not without.follows and app.same_definition(without)


@pytest.mark.parametrize(
    ("document", "said"),
    [
        ({"id": "/a", "cmd": "x", "eratos": {"follow": "copy"}}, "goes with volumes of the kind persistent"),
        (raw(eratos={"follow": "move"}), "'copy'"),
        (raw(eratos={"follow": True}), "'copy'"),
    ],
)
def test_what_cannot_follow_is_refused(document: dict[str, Any], said: str):
    with pytest.raises(InvalidApp) as invalid:
        definition.parse(document)
    assert [problem.path for problem in invalid.value.problems] == ["/eratos/follow"]
    assert said in invalid.value.problems[0].message
