"""Records as bytes: what an upgrade may rely on."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from typing import Any

import pytest
from support.builders import a_job, an_app
from support.records import an_instance

from eratos.marathon import stored
from eratos.marathon.app import App
from eratos.scheduler.core.actions import Forget, Put
from eratos.scheduler.core.records import (
    APPS,
    BUDGETS,
    CHANGES,
    DEPLOYMENTS,
    FRAMEWORK_ID,
    GROUPS,
    HISTORIES,
    INSTANCES,
    JOBS,
    QUOTAS,
    RUNS,
    SWEEPS,
    VERSIONS,
    VOLUMES,
    BudgetRecord,
    ChangeRecord,
    DeploymentRecord,
    EndedRun,
    GroupRecord,
    HistoryRecord,
    InstanceRecord,
    Missed,
    MoveCause,
    QuotaRecord,
    RunRecord,
    Stored,
    SweepRecord,
    TaskRecord,
    VersionRecord,
    VolumeRecord,
    VolumeState,
)
from eratos.scheduler.store import codec
from eratos.scheduler.store.base import final_values

KEY = INSTANCES + an_instance(1).instance_id


def test_a_record_says_its_schema() -> None:
    stored = json.loads(codec.encode(KEY, an_instance(1)))
    assert stored["schema"] == codec.SCHEMA
    assert stored["record"]["instance_id"] == an_instance(1).instance_id


def test_the_framework_id_is_plain_text() -> None:
    assert codec.encode(FRAMEWORK_ID, "f-0001") == b"f-0001"


def test_records_of_the_first_schema_are_read_for_ever() -> None:
    """Never change these bytes: they lie in users' stores."""
    instance = (
        b'{"schema":1,"record":{"instance_id":"a.instance-1","app_id":"/a","app_version":"v1","attempt":2,"agent_id":"S1",'
        b'"hostname":"h","ports":[31000,31001],"launched_at":1.5,"state":"TASK_RUNNING","started_at":2.5,"healthy":true,'
        b'"stopping":false,"addresses":["10.0.0.1"],"zone":"","region":""}}'
    )
    app = (
        b'{"schema":1,"record":{"id":"/a","instances":2,"cpus":0.1,"mem":32,"version":"v1",'
        b'"container":{"type":"DOCKER","docker":{"image":"i"}}}}'
    )
    stored = codec.decode_all([(INSTANCES + "a.instance-1", instance), (APPS + "/a", app), (FRAMEWORK_ID, b"f-1")])
    assert not stored.spoilt
    assert stored.framework_id == "f-1"
    assert stored.instances[0].ports == (31000, 31001)
    assert stored.instances[0].attempt == 2
    assert (stored.apps[0].id, stored.apps[0].version, stored.apps[0].instances) == ("/a", "v1", 2)


def test_apps_of_the_first_schema_are_balanced_as_they_were_until_they_change() -> None:
    """Never change these bytes: they lie in users' stores."""
    plain = b'{"schema":1,"record":{"id":"/a","cmd":"x","version":"v1","portDefinitions":[{"port":0}]}}'
    stated = plain.replace(b'"/a"', b'"/b"').replace(
        b'"cmd"', b'"labels":{"HAPROXY_GROUP":"external","HAPROXY_0_PATH":"/b"},"cmd"'
    )
    apps = codec.decode_all([(APPS + "/a", plain), (APPS + "/b", stated)]).apps
    assert [app.unasked for app in apps] == [True, False]
    assert apps[0].routing_meta == ({"haproxy-group": "external", "haproxy-mode": "http"},)
    again = codec.decode_all([(APPS + app.id, codec.encode(APPS + app.id, app)) for app in apps]).apps
    assert again == apps


@pytest.mark.parametrize(
    ("key", "record"),
    [
        (FRAMEWORK_ID, ""),
        (FRAMEWORK_ID, an_instance(1)),
        (INSTANCES + "other", an_instance(1)),
        (INSTANCES + "text", "text"),
        (APPS + "/other", an_app("/app")),
        ("elsewhere", "text"),
    ],
)
def test_a_record_under_a_key_not_its_own_is_refused(key: str, record: Any) -> None:
    with pytest.raises(ValueError, match="cannot be stored under"):
        codec.encode(key, record)


def test_which_service_ports_were_chosen_is_stored_beside_the_definition() -> None:
    app = an_app(portDefinitions=[{"port": 0}, {"port": 15000}]).with_service_ports((10007, 15000), {0})
    [restored] = codec.decode_all([(APPS + app.id, codec.encode(APPS + app.id, app))]).apps
    assert restored == app
    assert [(port.service_port, port.assigned) for port in restored.ports] == [(10007, True), (15000, False)]


def test_apps_of_the_second_schema_have_no_service_ports_until_they_change() -> None:
    data = b'{"schema":2,"record":{"id":"/a","cmd":"x","version":"v1","portDefinitions":[{"port":0}]}}'
    [app] = codec.decode_all([(APPS + "/a", data)]).apps
    assert [port.service_port for port in app.ports] == [0]


def test_a_record_of_an_older_schema_is_brought_up_to_date_step_by_step(monkeypatch: pytest.MonkeyPatch) -> None:
    old = (
        codec.encode(KEY, an_instance(1)).replace(b'"hostname"', b'"host"').replace(b'"schema":%d' % codec.SCHEMA, b'"schema":1')
    )
    monkeypatch.setattr(codec, "SCHEMA", 3)
    monkeypatch.setitem(codec.MIGRATIONS, (INSTANCES, 1), lambda fields: fields | {"hostname": fields["host"]})
    monkeypatch.setitem(codec.MIGRATIONS, (INSTANCES, 2), lambda fields: fields | {"hostname": fields["hostname"].upper()})
    stored = codec.decode_all([(KEY, old)])
    assert stored.spoilt == {}
    assert [record.hostname for record in stored.instances] == [an_instance(1).hostname.upper()]


def test_a_record_without_its_migration_is_set_aside(monkeypatch: pytest.MonkeyPatch) -> None:
    old = codec.encode(KEY, an_instance(1))
    monkeypatch.setattr(codec, "SCHEMA", codec.SCHEMA + 1)
    assert list(codec.decode_all([(KEY, old)]).spoilt) == [KEY]


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"not json", "JSON is malformed"),
        (codec.encode(KEY, an_instance(1)).replace(b'"attempt":1', b'"attempt":"1"'), r"Expected `int`.*attempt"),
        (codec.encode(KEY, an_instance(1)).replace(b'"schema":5', b'"schema":7'), "is of schema 7, this version reads 1 to 5"),
        (codec.encode(INSTANCES + an_instance(2).instance_id, an_instance(2)), "holds the record of instance"),
    ],
)
def test_a_spoilt_record_is_named_with_the_reason(data: bytes, why: str) -> None:
    stored = codec.decode_all([(KEY, data)])
    assert list(stored.spoilt) == [KEY]
    assert re.search(why, stored.spoilt[KEY])


def test_a_key_of_no_known_kind_is_set_aside() -> None:
    assert codec.decode_all([("strange", b"x")]) == Stored(spoilt={"strange": "no record of a known kind"})


def test_the_instances_of_an_app_that_cannot_be_read_are_set_aside_with_it() -> None:
    """A scheduler that does not know their app would stop them as those of a deleted one."""
    kept = an_instance(2, "/other")
    records = [an_instance(1, "/bad"), kept]
    items = [(INSTANCES + record.instance_id, codec.encode(INSTANCES + record.instance_id, record)) for record in records]
    stored = codec.decode_all([*items, (APPS + "/bad", b"poison")])
    assert stored.instances == (kept,)
    assert stored.spoilt[INSTANCES + an_instance(1, "/bad").instance_id] == "the record of its app, apps//bad, cannot be read"


def test_every_schema_before_the_present_one_has_its_step() -> None:
    first = {APPS: 1, INSTANCES: 1, VERSIONS: 3, DEPLOYMENTS: 3, CHANGES: 3, GROUPS: 3}
    first |= dict.fromkeys((JOBS, RUNS, HISTORIES, QUOTAS), 4)
    assert set(codec.MIGRATIONS) == {(kind, schema) for kind, since in first.items() for schema in range(since, codec.SCHEMA)}


NOW = "2026-01-31T12:00:00.123Z"
VERSION = VersionRecord("/shop/cart", NOW, b'{"id":"/shop/cart"}', came_back=(NOW,), scaled_at="2026-02-01T12:00:00.000Z")
DEPLOYMENT = DeploymentRecord("d-1", NOW, 1_769_860_800.25, undoes="d-0")
CHANGE = ChangeRecord("/shop/cart", "d-1", NOW, 3, ran_before=True, begun=False, failures=2)


@pytest.mark.parametrize(
    ("key", "record"),
    [(VERSIONS + "/shop/cart/" + NOW, VERSION), (DEPLOYMENTS + "d-1", DEPLOYMENT), (CHANGES + "/shop/cart", CHANGE)],
)
def test_versions_deployments_and_changes_are_read_as_they_were_written(key: str, record: Any) -> None:
    stored = codec.decode_all([(key, codec.encode(key, record))])
    assert [*stored.versions, *stored.deployments, *stored.changes] == [record]
    other = key[:-1] + "x"
    assert list(codec.decode_all([(other, codec.encode(key, record))]).spoilt) == [other]
    with pytest.raises(ValueError, match="cannot be stored under"):
        codec.encode(other, record)


def test_the_definition_of_a_version_is_brought_up_to_date_as_an_app_is(monkeypatch: pytest.MonkeyPatch) -> None:
    data = codec.encode(VERSION.key, VERSION)
    monkeypatch.setattr(codec, "SCHEMA", codec.SCHEMA + 1)
    monkeypatch.setitem(codec.MIGRATIONS, (VERSIONS, codec.SCHEMA - 1), lambda fields: fields)
    monkeypatch.setitem(codec.MIGRATIONS, (APPS, codec.SCHEMA - 1), lambda fields: fields | {"instances": 7})
    [found] = codec.decode_all([(VERSION.key, data)]).versions
    assert json.loads(found.definition) == {"id": "/shop/cart", "instances": 7}
    assert (found.version, found.scaled_at) == (VERSION.version, VERSION.scaled_at)


def test_what_instances_have_in_common_is_read_as_one_object() -> None:
    records = [an_instance(number) for number in (1, 1001)]
    items = [(INSTANCES + record.instance_id, codec.encode(INSTANCES + record.instance_id, record)) for record in records]
    one, other = codec.decode_all(items).instances
    assert one.instance_id != other.instance_id
    for name in ("app_id", "app_version", "agent_id", "hostname", "ports", "addresses"):
        assert getattr(one, name) is getattr(other, name)


def test_fields_without_effect_are_stored_for_explain() -> None:
    app = an_app(colour="red")
    [restored] = codec.decode_all([(APPS + app.id, codec.encode(APPS + app.id, app))]).apps
    assert restored.dropped == app.dropped
    assert restored.dropped[0][0] == "/colour"


@pytest.mark.parametrize(
    "record",
    [
        an_app("/a"),
        an_instance(1),
        VERSION,
        DeploymentRecord("d", "v", 1.0),
        ChangeRecord("/a", "d"),
        GroupRecord("/g", "v", "v"),
    ],
)
def test_records_of_the_third_schema_are_read_as_they_are(record: Any) -> None:
    key = {
        App: lambda: APPS + record.id,
        InstanceRecord: lambda: INSTANCES + record.instance_id,
        VersionRecord: lambda: record.key,
        DeploymentRecord: lambda: DEPLOYMENTS + record.deployment_id,
        ChangeRecord: lambda: CHANGES + record.app_id,
        GroupRecord: lambda: GROUPS + record.group_id,
    }[type(record)]()
    data = codec.encode(key, record)
    found = codec.decode_all([(key, data.replace(b'{"schema":5', b'{"schema":3', 1))])
    assert found.spoilt == {} and found == codec.decode_all([(key, data)])


def _a_run() -> RunRecord:
    task = TaskRecord("a_r.instance-1._app.1", "S1", "h1", 1.5, 2.5, "TASK_FAILED", 3, "exit code 3")
    definition = json.dumps(stored.to_record(a_job("a").app), separators=(",", ":")).encode()
    return RunRecord("a", "20260101T000000Z", 60.0, 61.0, definition, 120.0, True, 500.0, tries=1, tasks=(task,), launched=True)


def _with_a_job() -> dict[str, Any]:
    run, job = _a_run(), a_job("a", {"timezone": "Europe/Berlin"})
    ended = EndedRun("r", 0.0, 1.0, 2.0, "FAILED", "exit code 3", 1, run.tasks)
    history = HistoryRecord("a", {"s0": 60.0}, 1, 2, 3, 4.0, 5.0, 6.0, (ended,), (Missed("s0", 7.0, "late"),))
    return {JOBS + "a": job, RUNS + run.path: run, HISTORIES + "a": history}


def test_quotas_come_back_as_they_were() -> None:
    quota = QuotaRecord("/shop", instances=10, mem_mib=4096)
    found = codec.decode_all([(QUOTAS + "/shop", codec.encode(QUOTAS + "/shop", quota))])
    assert (found.quotas, found.spoilt) == ((quota,), {})
    assert codec.decode_all([(QUOTAS + "/other", codec.encode(QUOTAS + "/shop", quota))]).quotas == ()


def test_jobs_with_their_runs_and_histories_come_back_as_they_were() -> None:
    kept = _with_a_job()
    found = codec.decode_all((key, codec.encode(key, record)) for key, record in kept.items())
    assert found.spoilt == {}
    assert [found.jobs, found.runs, found.histories] == [(record,) for record in kept.values()]


@pytest.mark.parametrize("kind", [JOBS, RUNS, HISTORIES])
def test_what_cannot_be_read_of_a_job_stops_nothing_else(kind: str) -> None:
    data = {key: codec.encode(key, record) for key, record in _with_a_job().items()}
    (key,) = (key for key in data if key.startswith(kind))
    bad = data | {key: data[key].replace(b'"id":"', b'"id":5,"x":"').replace(b'"job_id":"', b'"job_id":5,"x":"')}
    found = codec.decode_all(bad.items())
    assert list(found.spoilt) == [key]
    assert len([*found.jobs, *found.runs, *found.histories]) == 2


def test_a_record_under_another_ones_key_is_set_aside() -> None:
    for key, record in _with_a_job().items():
        other = key + "b"
        assert list(codec.decode_all([(other, codec.encode(key, record))]).spoilt) == [other]
        with pytest.raises(ValueError, match="cannot be stored under"):
            codec.encode(other, record)


def test_the_instance_of_a_run_that_cannot_be_read_is_set_aside_with_it() -> None:
    run = _a_run()
    instance = an_instance(1, run.path)
    key = INSTANCES + instance.instance_id
    found = codec.decode_all([(RUNS + run.path, b"{}"), (key, codec.encode(key, instance))])
    assert set(found.spoilt) == {RUNS + run.path, key}


def test_that_an_instant_is_decided_is_written_after_the_run_that_was_made_for_it() -> None:
    kept = _with_a_job()
    history, run = HISTORIES + "a", RUNS + _a_run().path
    written = final_values([Put(history, kept[history]), Forget("apps//x"), Put(run, kept[run])])
    assert list(written) == [run, history, "apps//x"]


VOLUME = VolumeRecord("eratos-db-1", "/db", "s1", "data", 10, "S1", "h1", 1.5, VolumeState.MADE, "db.instance-1", "db.t", "e1")


def test_a_volume_is_stored_under_its_own_name() -> None:
    data = codec.encode(VOLUME.key, VOLUME)
    assert codec.decode_all([(VOLUME.key, data)]).volumes == (VOLUME,)
    assert json.loads(data)["record"]["state"] == "made"
    assert list(codec.decode_all([(VOLUMES + "other", data)]).spoilt) == [VOLUMES + "other"]


def test_a_volume_of_before_there_were_moves_is_read_as_one_that_stays() -> None:
    """Never change these bytes: they lie in users' stores."""
    data = (
        b'{"schema":5,"record":{"volume_id":"eratos-db-1","app_id":"/db","slot":"s1","container_path":"data","size_mib":10,'
        b'"agent_id":"S1","hostname":"h1","created_at":1.5,"state":"made","instance_id":"db.instance-1","task_id":"db.t",'
        b'"executor_id":"e1","released_at":0.0,"message":""}}'
    )
    assert codec.decode_all([(VOLUME.key, data)]).volumes == (VOLUME,)
    asked = data.replace(b'"message":""', b'"message":"","move_since":1.0')
    assert codec.decode_all([(VOLUME.key, asked)]).volumes == (replace(VOLUME, move_since=1.0, move_cause=MoveCause.USER),)
    moved = replace(VOLUME, move_since=1.0, move_to="h2", move_begun=2.0, move_wipe=True, copy_of="eratos-db-0")
    moved = replace(moved, move_cause=MoveCause.MAINTENANCE)
    assert codec.decode_all([(VOLUME.key, codec.encode(VOLUME.key, moved))]).volumes == (moved,)
    assert moved.staying() == replace(VOLUME, copy_of="eratos-db-0")


def test_a_host_to_sweep_is_stored_under_its_name() -> None:
    record = SweepRecord("h1.example", "sweep.instance-1", 1.5, 2, 3.5)
    data = codec.encode(SWEEPS + "h1.example", record)
    assert codec.decode_all([(SWEEPS + "h1.example", data)]).sweeps == (record,)
    assert list(codec.decode_all([(SWEEPS + "h2", data)]).spoilt) == [SWEEPS + "h2"]


def test_an_error_budget_is_stored_under_its_app() -> None:
    record = BudgetRecord("/shop/web", ((1_800_000_000, 1000, 3), (1_800_000_060, 7, 0)), (("b1", "shop-web", 1.5, 9, 1),), True)
    data = codec.encode(BUDGETS + "/shop/web", record)
    assert codec.decode_all([(BUDGETS + "/shop/web", data)]).budgets == (record,)
    assert list(codec.decode_all([(BUDGETS + "/other", data)]).spoilt) == [BUDGETS + "/other"]


def test_a_store_of_the_version_before_has_no_volumes_and_is_read() -> None:
    """Never change these bytes: they lie in users' stores."""
    instance = (
        b'{"schema":4,"record":{"instance_id":"a.instance-1","app_id":"/a","app_version":"v1","attempt":2,"agent_id":"S1",'
        b'"hostname":"h","ports":[31000],"launched_at":1.5,"state":"TASK_RUNNING","started_at":2.5,"outdated":""}}'
    )
    app = b'{"schema":4,"record":{"id":"/a","cmd":"x","version":"v1","portDefinitions":[{"port":0}]}}'
    quota = b'{"schema":4,"record":{"path":"/a","instances":3}}'
    items = [(INSTANCES + "a.instance-1", instance), (APPS + "/a", app), (QUOTAS + "/a", quota)]
    found = codec.decode_all(items)
    assert not found.spoilt and not found.volumes
    assert found.instances[0].slot == "" and found.apps[0].residency is None and found.quotas == (QuotaRecord("/a", 3),)


def test_volumes_are_written_before_the_instances_that_have_them() -> None:
    instance = an_instance(1)
    batch = [Put(KEY, instance), Forget("instances/x"), Put(VOLUME.key, VOLUME)]
    assert list(final_values(batch)) == [VOLUME.key, KEY, "instances/x"]
