"""Stores by URL: every bad one is refused with the setting's name and the fix."""

from __future__ import annotations

from pathlib import Path

import pytest

from eratos.common.errors import PermanentError
from eratos.scheduler.store.factory import open_store
from eratos.scheduler.store.memory import MemoryStore
from eratos.scheduler.store.zookeeper_client import ZookeeperUrl


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("zk://h/eratos", ZookeeperUrl("h", "/eratos")),
        ("zk://h1:2181,h2:2182,[::1]:2183/a/b-c.d_e/", ZookeeperUrl("h1:2181,h2:2182,[::1]:2183", "/a/b-c.d_e")),
        ("zk://user:pass@h:1/eratos", ZookeeperUrl("h:1", "/eratos", "user", "pass")),
        ("zk://us%3Aer:p%40%2F%25@h:1/eratos", ZookeeperUrl("h:1", "/eratos", "us:er", "p@/%")),
    ],
)
def test_zookeeper_urls_are_read(url: str, expected: ZookeeperUrl) -> None:
    assert ZookeeperUrl.parse(url) == expected


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("http://h/eratos", "must begin with zk://"),
        ("zk:/h/eratos", "must begin with zk://"),
        ("zk://h:2181", "a path of eratos' own is missing"),
        ("zk://h:2181/", "a path of eratos' own is missing"),
        ("zk://h:2181/zookeeper", "a path of eratos' own is missing"),
        ("zk://h:2181/a//b", "a path of eratos' own is missing"),
        ("zk://h:2181/..", "a path of eratos' own is missing"),
        ("zk:///eratos", "'' is no host:port"),
        ("zk://h:0/eratos", "'h:0' is no host:port"),
        ("zk://h:70000/eratos", "'h:70000' is no host:port"),
        ("zk://h1:2181,/eratos", "'' is no host:port"),
        ("zk://h 1/eratos", "'h 1' is no host:port"),
        ("zk://user@h/eratos", "user:password"),
        ("zk://user:@h/eratos", "user:password"),
    ],
)
def test_bad_zookeeper_urls_are_refused_with_the_fix(url: str, problem: str) -> None:
    with pytest.raises(PermanentError) as refused:
        ZookeeperUrl.parse(url, "--zk")
    assert str(refused.value).startswith("--zk: ")
    assert problem in str(refused.value)
    assert "zk://zk1:2181,zk2:2181,zk3:2181/eratos" in str(refused.value)


def test_a_refusal_does_not_repeat_the_password() -> None:
    with pytest.raises(PermanentError) as refused:
        ZookeeperUrl.parse("zk://user:s3cr3t@h:0/eratos")
    assert "s3cr3t" not in str(refused.value)
    url = ZookeeperUrl.parse("zk://user:s3cr3t@h/eratos")
    assert "s3cr3t" not in f"{url} {url!r}"


@pytest.mark.parametrize("url", ["", "redis://h/0", "/var/lib/store.db", "Memory:"])
def test_an_unknown_kind_of_store_is_refused_with_those_there_are(url: str) -> None:
    with pytest.raises(PermanentError, match=r"--store: .*zk://.*sqlite:///.*memory:"):
        open_store(url)


@pytest.mark.parametrize("url", ["sqlite:", "sqlite:store.db", "sqlite://store.db", "sqlite:///", "sqlite:///var/lib/"])
def test_a_sqlite_url_needs_an_absolute_path(url: str) -> None:
    with pytest.raises(PermanentError, match=r"--store: name a file by its absolute path, like sqlite:///var"):
        open_store(url)


@pytest.mark.parametrize("slashes", ["//", "///"])
def test_a_sqlite_url_names_a_file(tmp_path: Path, slashes: str) -> None:
    path = tmp_path / "with blank.db"
    open_store(f"sqlite:{slashes}{str(path).replace(' ', '%20')}").close()
    assert path.exists()


def test_memory_is_a_store() -> None:
    assert isinstance(open_store("memory:"), MemoryStore)
