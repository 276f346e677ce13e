"""What apps may ask for, and which setting each refusal names."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eratos.marathon import definition, pod_definition
from eratos.marathon.app import App
from eratos.scheduler.access.policy import Policy, within

BASIC = Policy(listeners=frozenset({("scheduler1", 8080)}))
STRICT = Policy(
    strict=True,
    parameters=frozenset({"env"}),
    host_paths=("/srv/data",),
    volumes=("db-*",),
    networks=("team",),
    secrets=("shared/*",),
)


def process(**fields: Any) -> App:
    return definition.parse({"id": "/a", "cmd": "sleep 1", **fields})


def container(docker: dict[str, Any] | None = None, **fields: Any) -> App:
    return definition.parse({"id": "/a", "container": {"type": "DOCKER", "docker": {"image": "x", **(docker or {})}, **fields}})


def external(name: str) -> dict[str, Any]:
    volume = {"name": name, "provider": "dvdi", "options": {"dvdi/driver": "local"}}
    return {"containerPath": "/x", "external": volume, "mode": "RW"}


def joining(network: str) -> App:
    image = {"type": "DOCKER", "docker": {"image": "x"}}
    return definition.parse({"id": "/a", "container": image, "networks": [{"mode": "container", "name": network}]})


def with_secret(source: str) -> App:
    secret = {"secrets": {"key": {"source": source}}, "env": {"KEY": {"secret": "key"}}}
    return definition.parse({"id": "/shop/cart", "cmd": "sleep 1", "user": "nobody", **secret})


def pod(**fields: Any) -> App:
    container = {"name": "c", "resources": {"cpus": 0.1, "mem": 32}, "image": {"kind": "DOCKER", "id": "x"}}
    return pod_definition.parse({"id": "/p", "networks": [{"mode": "host"}], "containers": [container], **fields})


def reasons(policy: Policy, app: App) -> list[str]:
    return [f"{problem.path} {problem.message}" for problem in policy.problems(app)]


@pytest.mark.parametrize(
    ("uri", "words"),
    [
        ("https://files.example.com/a.tgz", None),
        ("http://10.0.0.7/a.tgz", None),
        ("http://127.0.0.1:8000/a.tgz", None),
        ("file:///mnt/share/docker.tar.gz", None),
        ("file:///etc/docker.tar.gz", None),
        ("/opt/files/a", None),
        ("http://169.254.169.254/latest/meta-data/", "metadata service"),
        ("http://2852039166/", "metadata service"),
        ("http://[::ffff:169.254.169.254]/", "metadata service"),
        ("http://metadata.google.internal/", "metadata service"),
        ("http://169.254.7.7/", "link-local"),
        ("http://127.0.0.1:5052/tasks/x/logs", "eratos itself"),
        ("http://agent1:5052/tasks/x/logs", "eratos itself"),
        ("http://10.0.0.1:9100/status", "eratos itself"),
        ("http://scheduler1:8080/v2/apps", "eratos itself"),
        ("http://scheduler1:8081/v2/apps", None),
        ("http://8.8.8.8:9100/a", None),
        ("file:///etc/shadow", "--fetch-folders"),
        ("file:///etc/docker.tar.gz2", "--fetch-folders"),
        ("/etc/shadow", "--fetch-folders"),
        ("file:///mnt/../etc/shadow", "--fetch-folders"),
        ("file:///mnt/%2e%2e/etc/shadow", "--fetch-folders"),
    ],
)
def test_what_may_be_fetched(uri: str, words: str | None):
    found = reasons(BASIC, process(fetch=[{"uri": uri, "destPath": "file"}]))
    if words is None:
        assert found == []
    else:
        assert len(found) == 1
        assert found[0].startswith("/fetch(0)/uri is refused")
        assert words in found[0]


@pytest.mark.parametrize(
    ("app", "path", "setting"),
    [
        (process(), "/user", "--allow-root-processes"),
        (process(user="root"), "/user", "--allow-root-processes"),
        (container({"privileged": True}), "/container/docker/privileged", "--allow-privileged"),
        (
            container({"parameters": [{"key": "privileged", "value": "true"}]}),
            "/container/docker/parameters(0)",
            "--allow-privileged",
        ),
        (container({"parameters": [{"key": "pid", "value": "host"}]}), "/container/docker/parameters(0)", "--allow-parameters"),
        (
            container({"parameters": [{"key": "volume", "value": "/:/host"}]}),
            "/container/docker/parameters(0)",
            "--allow-host-paths",
        ),
        (
            container(volumes=[{"containerPath": "/x", "hostPath": "/var/run/docker.sock", "mode": "RW"}]),
            "/container/volumes(0)/hostPath",
            "--allow-host-paths",
        ),
        (
            container(volumes=[{"containerPath": "/x", "hostPath": "/srv/data/../x", "mode": "RW"}]),
            "/container/volumes(0)/hostPath",
            "--allow-host-paths",
        ),
        (
            container({"parameters": [{"key": "volume", "value": "others:/x"}]}),
            "/container/docker/parameters(0)",
            "--allow-volumes",
        ),
        (
            container({"parameters": [{"key": "log-driver", "value": "syslog"}]}),
            "/container/docker/parameters(0)",
            "--allow-parameters log-driver",
        ),
        (
            container({"parameters": [{"key": "log-opt", "value": "syslog-address=unix:///var/run/docker.sock"}]}),
            "/container/docker/parameters(0)",
            "--allow-parameters log-opt",
        ),
        (container(volumes=[external("others")]), "/container/volumes(0)/external/name", "--allow-volumes"),
        (joining("bank"), "/networks(0)/name", "--allow-networks"),
        (joining("host"), "/networks(0)/name", "--allow-networks"),
        (pod(networks=[{"mode": "container", "name": "bank"}]), "/networks(0)/name", "--allow-networks"),
        (
            pod(secrets={"key": {"source": "bank/key"}}, environment={"K": {"secret": "key"}}),
            "/secrets/key/source",
            "--allow-secrets",
        ),
        (with_secret("bank/key"), "/secrets/key/source", "--allow-secrets"),
        (with_secret("/bank/key"), "/secrets/key/source", "--allow-secrets"),
        (with_secret("sho/key"), "/secrets/key/source", "--allow-secrets"),
        (with_secret("key"), "/secrets/key/source", "--allow-secrets"),
        (with_secret("shop/../bank/key"), "/secrets/key/source", "--allow-secrets"),
        (with_secret("shop/cart/other/key"), "/secrets/key/source", "--allow-secrets"),
        (process(user="nobody", fetch=[{"uri": "http://10.0.0.1/a"}]), "/fetch(0)/uri", "--allow-private-fetch"),
        (process(user="nobody", fetch=[{"uri": "http://localhost/a"}]), "/fetch(0)/uri", "--allow-private-fetch"),
    ],
)
def test_what_the_strict_policy_refuses(app: App, path: str, setting: str):
    found = reasons(STRICT, app)
    assert len(found) == 1
    assert found[0].startswith(path + " ")
    assert setting in found[0]
    assert reasons(BASIC, app) == []


@pytest.mark.parametrize(
    "app",
    [
        process(user="nobody"),
        process(user="nobody", fetch=[{"uri": "https://files.example.com/a"}]),
        container(),
        container({"parameters": [{"key": "env", "value": "A=b"}, {"key": "volume", "value": "db-1:/x"}]}),
        container({"parameters": [{"key": "volume", "value": "/of-its-own"}]}),
        container({"parameters": [{"key": "log-driver", "value": "local"}, {"key": "log-opt", "value": "max-size=1m"}]}),
        container(volumes=[external("db-1")]),
        joining("team"),
        pod(),
        with_secret("shop/key"),
        with_secret("/shop/key"),
        with_secret("shop/cart/key"),
        with_secret("shared/key"),
        container(volumes=[{"containerPath": "/x", "hostPath": "/srv/data/a", "mode": "RW"}]),
    ],
)
def test_what_the_strict_policy_allows(app: App):
    assert reasons(STRICT, app) == []


def test_what_is_refused_can_be_allowed():
    allowing = Policy(
        strict=True,
        fetch_private=True,
        privileged=True,
        root_processes=True,
        parameters=frozenset({"pid"}),
        host_paths=("/",),
    )
    mighty = container(
        {"privileged": True, "parameters": [{"key": "pid", "value": "host"}, {"key": "volume", "value": "/:/host"}]},
        volumes=[{"containerPath": "/x", "hostPath": "/var/run/docker.sock", "mode": "RW"}],
    )
    assert reasons(allowing, mighty) == []
    assert reasons(allowing, process(fetch=[{"uri": "http://10.0.0.1/a"}])) == []


@pytest.mark.parametrize(
    ("path", "folder", "inside"),
    [
        ("/a/b", "/a", True),
        ("/a", "/a", True),
        ("/ab", "/a", False),
        ("/a/../b", "/a", False),
        ("a/b", "/", False),
        ("/x", "/", True),
    ],
)
def test_what_lies_within_a_folder(path: str, folder: str, inside: bool):
    assert within(path, (folder,)) is inside


def pod(**fields: Any) -> App:
    volumes = fields.pop("volumes", [])
    mounts = [{"name": volume["name"], "mountPath": f"/{volume['name']}"} for volume in volumes]
    container = {"name": "web", "image": {"id": "x"}, "resources": {}, "volumeMounts": mounts, **fields.pop("container", {})}
    return pod_definition.parse({"id": "/a", "volumes": volumes, "containers": [container], **fields})


@pytest.mark.parametrize(
    ("policy", "asked", "place"),
    [
        (BASIC, {"container": {"artifacts": [{"uri": "http://169.254.169.254/x"}]}}, "/containers(0)/artifacts(0)/uri"),
        (BASIC, {"container": {"artifacts": [{"uri": "/etc/shadow"}]}}, "/containers(0)/artifacts(0)/uri"),
        (STRICT, {"container": {"artifacts": [{"uri": "http://10.0.0.1/x"}]}}, "/containers(0)/artifacts(0)/uri"),
        (STRICT, {"volumes": [{"name": "a", "host": "/srv/data/x"}, {"name": "b", "host": "/etc"}]}, "/volumes(1)/host"),
        (STRICT, {"networks": [{"mode": "container", "name": "other"}]}, "/networks(0)/name"),
        (STRICT, {"secrets": {"s": {"source": "other/key"}}}, "/secrets/s/source"),
        (STRICT, {"volumes": [{"name": "a"}, {"name": "b", "host": "data"}], "user": "root"}, ""),
        (STRICT, {"volumes": [{"name": "a", "host": "data"}, {"name": "b", "host": "data2"}]}, ""),
        (STRICT, {"volumes": [{"name": "a", "host": "data"}, {"name": "b", "host": "./data"}]}, ""),
        (STRICT, {"volumes": [{"name": "a", "host": "data"}, {"name": "b", "host": "data/x/y"}]}, "/volumes(1)/host"),
        (STRICT, {"volumes": [{"name": "a", "host": "./data//x"}, {"name": "b", "host": "data"}]}, "/volumes(0)/host"),
        (STRICT, {"volumes": [{"name": "a"}, {"name": "b", "host": "volumes"}]}, "/volumes(0)/host"),
        (STRICT, {"volumes": [{"name": "a", "host": "containers"}]}, "/volumes(0)/host"),
        (STRICT, {"volumes": [{"name": "a", "host": "containers/web/x"}]}, "/volumes(0)/host"),
        (BASIC, {"volumes": [{"name": "a", "host": "data"}, {"name": "b", "host": "data/x"}]}, ""),
        (replace(STRICT, host_paths=("/",)), {"volumes": [{"name": "a"}, {"name": "b", "host": "volumes"}]}, ""),
    ],
)
def test_a_pod_is_held_to_the_same(policy: Policy, asked: dict[str, Any], place: str) -> None:
    assert [problem.path for problem in policy.problems(pod(**asked))] == ([place] if place else [])


DRIVERS = replace(STRICT, drivers=("rexray", "local:nfs"))


def driven(options: dict[str, Any], name: str = "db-1", **fields: Any) -> App:
    given = {f"dvdi/{key}": value for key, value in options.items()}
    volume = {"name": name, "provider": "dvdi", "options": given}
    return container(volumes=[{"containerPath": "/x", "external": volume, "mode": "RW"}], **fields)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"driver": "local"}, ""),
        ({"driver": "rexray"}, ""),
        (
            {"driver": "sshfs"},
            "options/dvdi/driver the volume driver sshfs is refused by the strict policy: --allow-volume-drivers",
        ),
        ({"driver": "local", "type": "nfs", "o": "addr=10.0.0.9", "device": ":/db"}, ""),
        ({"driver": "local", "type": "ext4", "device": "/dev/sda1"}, "options/dvdi/type the volume driver local:ext4 is refused"),
        ({"driver": "local", "type": "overlay", "o": "lowerdir=/", "device": "x"}, "the volume driver local:overlay is refused"),
        ({"driver": "local", "type": "none", "o": "bind", "device": "/srv/data/db"}, ""),
        (
            {"driver": "local", "type": "none", "o": "bind", "device": "/"},
            "options/dvdi/device the host's / is refused by the strict",
        ),
        ({"driver": "local", "type": "none", "o": "ro,rbind", "device": "/srv/data/../.."}, "--allow-host-paths allows it"),
        ({"driver": "local", "type": "nfs", "o": "addr=1,bind", "device": "/etc"}, "the host's /etc is refused"),
        ({"driver": "local", "type": "none", "o": "bind", "device": "etc"}, "the host's etc is refused"),
    ],
)
def test_a_volume_driver_is_no_way_around_the_strict_policy(options: dict[str, str], words: str) -> None:
    found = " ".join(reasons(DRIVERS, driven(options)))
    assert words in found and bool(found) is bool(words)
    assert reasons(BASIC, driven(options)) == [], "by default it is as with host paths"


def test_a_driver_that_is_allowed_has_only_the_names_that_are_allowed() -> None:
    assert "--allow-volumes allows it" in " ".join(reasons(DRIVERS, driven({"driver": "rexray"}, "other")))


paths = st.from_regex(r"/?([a-z]{1,5}|\.\.|\.)?(/([a-z]{1,3}|\.\.|data))*", fullmatch=True).filter(bool)


@given(paths, st.sampled_from(["none", "nfs", "ext4", "bind"]), st.lists(st.sampled_from(["ro", "nosuid", "addr=1"]), max_size=2))
def test_a_bind_is_refused_wherever_its_folder_as_host_path_is(path: str, kind: str, words: list[str]) -> None:
    bound = driven({"driver": "local", "type": kind, "o": ",".join([*words, "bind"]), "device": path})
    as_path = within(path, DRIVERS.host_paths)
    assert (reasons(DRIVERS, bound) == []) is as_path
