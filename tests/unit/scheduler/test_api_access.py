"""Where the API listens and whom it lets in: nothing is open to a network unless somebody said so, or it was before."""

from __future__ import annotations

import dataclasses
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from support.builders import a_stored_app
from support.records import put_app

from eratos.common.errors import PermanentError
from eratos.common.keys import companion_key
from eratos.scheduler import backup, framework_key
from eratos.scheduler.access.policy import Policy
from eratos.scheduler.api_access import access, listening, policy
from eratos.scheduler.config import BadConfig, Config, read
from eratos.scheduler.framework_key import FrameworkKey
from eratos.scheduler.process import mesos_settings
from eratos.scheduler.store.memory import MemoryStore
from eratos.scheduler.store.sqlite import SqliteStore

ZK: dict[str, Any] = {"zk": "zk://zk1/eratos"}
ALONE: dict[str, Any] = {"store": "sqlite:///x"}
WHO: dict[str, Any] = {"http_credentials": "user:password"}


@pytest.mark.parametrize(
    ("settings", "upgraded", "host", "said"),
    [
        (ALONE, False, "127.0.0.1", "note"),
        (ALONE | {"http_host": "localhost"}, False, "localhost", "note"),
        (ALONE | {"http_host": "::1"}, False, "::1", "note"),
        (ALONE | WHO, False, "127.0.0.1", ""),
        (ALONE | WHO | {"http_host": "0.0.0.0"}, False, "0.0.0.0", ""),
        (ALONE | {"http_host": "0.0.0.0", "http_open": True}, False, "0.0.0.0", "warning"),
        (ALONE, True, "0.0.0.0", "warning"),
        (ALONE | {"http_host": "10.0.0.1"}, True, "10.0.0.1", "warning"),
        (ALONE | {"http_host": "127.0.0.1"}, True, "127.0.0.1", "note"),
        (ZK, True, "0.0.0.0", "warning"),
        (ZK | WHO, True, "0.0.0.0", ""),
        (ZK | {"http_host": "10.0.0.1"} | WHO, False, "10.0.0.1", ""),
        (ZK | {"http_host": "127.0.0.1"}, False, "127.0.0.1", "note"),
    ],
)
def test_where_the_api_listens(settings: dict[str, Any], upgraded: bool, host: str, said: str) -> None:
    found = listening(Config(**settings), upgraded=upgraded)
    assert found.host == host
    assert (bool(found.note), bool(found.warning)) == (said == "note", said == "warning")


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        (ZK, "--http-host: missing"),
        (ZK | WHO, "--http-host: missing"),
        (ZK | {"http_host": "0.0.0.0"}, "--http-credentials-file"),
        (ALONE | {"http_host": "192.168.0.1"}, "--http-open"),
        (ALONE | {"http_host": "eratos.example"}, "--http-open"),
    ],
)
def test_nothing_is_open_to_a_network_unasked(settings: dict[str, Any], complaint: str) -> None:
    with pytest.raises(BadConfig, match=complaint):
        listening(Config(**settings), upgraded=False)


def test_the_api_knows_its_names_and_no_others() -> None:
    config = Config(advertise_url="http://scheduler1.example:8080", http_hosts="eratos.example, .lb.example", **ALONE)
    guard = access(config, FrameworkKey(b"k")).guard
    for host in ("scheduler1.example:8080", "eratos.example", "a.lb.example", "127.0.0.1:8080", "localhost"):
        assert guard.knows(host), host
    assert not guard.knows("evil.example")


def test_credentials_that_cannot_be_read_end_the_start(tmp_path: Path) -> None:
    with pytest.raises(PermanentError, match="credentials file"):
        access(Config(http_credentials_file=str(tmp_path / "nosuch"), **ALONE), FrameworkKey(b"k"))


# The framework's key


def test_the_key_is_made_once_and_kept(tmp_path: Path) -> None:
    keys = []
    for _ in range(2):
        store = SqliteStore(tmp_path / "store.db")
        keys.append(framework_key.read(store))
        store.close()
    assert keys[0] == keys[1]
    assert not keys[0].upgraded
    assert {path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == {0o600}
    assert keys[0].key.hex() not in repr(keys[0])


def test_a_store_in_use_before_there_were_keys_is_remembered() -> None:
    store = MemoryStore({"framework_id": b"x"})
    assert framework_key.read(store).upgraded
    assert framework_key.read(store).upgraded


def test_all_that_is_derived_differs() -> None:
    one, other = FrameworkKey(b"1" * 32), FrameworkKey(b"2" * 32)
    made = [key for k in (one, other) for key in (k.schedulers, k.companions, k.agent("a"), k.agent("b"), k.name)]
    assert len(set(made)) == len(made)


def test_a_file_stands_in_for_the_stores_key(tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.write_text("0123456789abcdef0123456789abcdef\n")
    path.chmod(0o600)
    first, second = framework_key.read(MemoryStore(), str(path)), framework_key.read(MemoryStore(), str(path))
    assert first.schedulers == second.schedulers
    path.write_text("short")
    with pytest.raises(PermanentError, match="32 random characters"):
        framework_key.read(MemoryStore(), str(path))
    path.chmod(0o644)
    with pytest.raises(PermanentError, match="chmod 600"):
        framework_key.read(MemoryStore(), str(path))


@pytest.mark.parametrize("data", [b"", b"{}", b'{"key": "00", "upgraded": false}', b'{"key": 1, "upgraded": false}', b"[]"])
def test_a_damaged_key_is_named(data: bytes) -> None:
    store = MemoryStore()
    store.keep_once("access", lambda used: data)
    with pytest.raises(PermanentError, match="damaged"):
        framework_key.read(store)


def test_the_key_goes_where_the_store_goes(tmp_path: Path) -> None:
    """Or a store that was moved would count as one of an older version, and be open."""
    store = SqliteStore(tmp_path / "store.db")
    key = framework_key.read(store)
    store.close()
    (tmp_path / "elsewhere").mkdir()
    store = SqliteStore((tmp_path / "store.db").rename(tmp_path / "elsewhere" / "other.db"))
    assert framework_key.read(store) == key
    store.close()


def test_a_backup_does_not_hold_the_key_and_what_is_restored_is_not_open(tmp_path: Path) -> None:
    old, new = (Config(store=f"sqlite://{tmp_path}/{name}.db") for name in ("old", "new"))
    with closing(SqliteStore(tmp_path / "old.db")) as store:
        key = framework_key.read(store)
        store.write([put_app(a_stored_app("/a"))])
    backup.backup(old, str(tmp_path / "backup"))
    assert key.key.hex() not in (tmp_path / "backup").read_text()
    backup.restore(new, str(tmp_path / "backup"))
    with closing(SqliteStore(tmp_path / "new.db")) as store:
        restored = framework_key.read(store)
    assert restored.key != key.key and not restored.upgraded


def test_the_companions_key_is_read_beside_a_running_scheduler(tmp_path: Path) -> None:
    config = Config(store=f"sqlite://{tmp_path}/store.db")
    store = SqliteStore(tmp_path / "store.db")
    with pytest.raises(PermanentError, match="start a scheduler"):
        framework_key.stored(config)
    key = framework_key.read(store)
    assert framework_key.stored(config).companions == key.companions
    store.close()


def test_the_companions_key_comes_of_a_file_without_a_store(tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_text("x" * 40)
    file.chmod(0o600)
    alone = read(["companions-key", "--framework-key-file", str(file)], {}).config
    store = SqliteStore(tmp_path / "store.db")
    assert framework_key.stored(alone).companions == framework_key.read(store, str(file)).companions
    store.close()


def test_an_executor_is_given_its_own_keys_alone() -> None:
    key = FrameworkKey(b"k" * 32)
    given = key.for_executor("agent-1")
    assert given.endpoint == key.agent("agent-1")
    assert given.companion == f"agent-1.{companion_key(key.companions, 'agent-1')}"
    assert key.schedulers not in str(given.to_bytes()) and key.companions not in str(given.to_bytes())
    assert given != key.for_executor("agent-2")


def test_the_policy_comes_out_of_the_settings() -> None:
    flags = (
        "--master m:1 --store sqlite:///x --policy strict --allow-parameters cap-add,device --allow-host-paths /srv/data "
        "--fetch-folders /srv --allow-privileged true --advertise-url http://Scheduler1.example:8080"
    )
    config = read(flags.split(), {}).config
    found = policy(config)
    assert (found.strict, found.privileged, found.root_processes, found.fetch_private) == (True, True, False, False)
    assert {"cap-add", "device", "env"} <= found.parameters
    assert (found.host_paths, found.fetch_folders) == (("/srv/data",), ("/srv",))
    assert ("scheduler1.example", 8080) in found.listeners
    assert policy(Config(**ALONE)) == dataclasses.replace(Policy(), listeners=policy(Config(**ALONE)).listeners)


@pytest.mark.parametrize(
    ("settings", "variable"),
    [({}, None), ({"policy": "strict"}, "false"), ({"policy": "strict", "allow_private_fetch": True}, None)],
)
def test_executors_are_told_what_only_they_can_see(settings: dict[str, Any], variable: str | None) -> None:
    found = mesos_settings(Config(master="m:1", **settings), FrameworkKey(b"k")).executor.environment
    assert found.get("ERATOS_FETCH_PRIVATE") == variable
