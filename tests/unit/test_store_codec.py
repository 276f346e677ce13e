"""Records as bytes: what an upgrade may rely on."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from support.builders import an_app
from support.records import an_instance

from eratos.scheduler.core.records import APPS, FRAMEWORK_ID, INSTANCES, Stored
from eratos.scheduler.store import codec

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
        (codec.encode(KEY, an_instance(1)).replace(b'"schema":2', b'"schema":7'), "is of schema 7, this version reads 1 to 2"),
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
    assert set(codec.MIGRATIONS) == {(kind, schema) for kind in (APPS, INSTANCES) for schema in range(1, codec.SCHEMA)}


def test_what_instances_have_in_common_is_read_as_one_object() -> None:
    records = [an_instance(number) for number in (1, 1001)]
    items = [(INSTANCES + record.instance_id, codec.encode(INSTANCES + record.instance_id, record)) for record in records]
    one, other = codec.decode_all(items).instances
    assert one.instance_id != other.instance_id
    for name in ("app_id", "app_version", "agent_id", "hostname", "ports", "addresses"):
        assert getattr(one, name) is getattr(other, name)
