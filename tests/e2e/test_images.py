"""``eratos build`` on a cluster with a registry: an image is built, pushed, run by its digest, changed and rolled."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from devtool import health
from devtool.settings import read_settings
from support.cluster import SOON_S, Cluster, dev
from support.containers import docker
from support.waiting import until

from eratos.cli.main import run
from eratos.cli.output import Output
from eratos.cli.session import Session
from eratos.marathon.client import MarathonClient

pytestmark = pytest.mark.e2e

APP = "/built"
DESCRIPTION = """
image:
  name: {registry}/shop/built
  source: {{path: src}}
app: {{id: {app}, instances: 2, cpus: 0.1, mem: 32}}
"""


@pytest.fixture
def registry(cluster: Cluster, fleet: dict[str, Any]) -> Iterator[str]:
    if cluster.secure:
        pytest.skip("a secure cluster has no registry")
    host = f"127.0.0.1:{cluster.ports['ERATOS_REGISTRY_PORT']}"

    def removed() -> bool:
        for image in docker("images", "-q", f"{host}/shop/built").split():
            docker("rmi", "-f", image)
        return True

    try:
        dev("up", "--registry")
        yield host
    finally:
        cluster.delete(APP)
        until(lambda: not cluster.states(APP), SOON_S, f"nothing of {APP} runs")
        dev("up", "--no-registry")
        docker("volume", "rm", "-f", f"{cluster.project}_registry")
        until(removed, SOON_S, "the images are removed, as their containers are")


def images(cluster: Cluster) -> set[str]:
    """Return what the app's containers were started from."""
    return {docker("inspect", "-f", "{{.Config.Image}}", container) for container in cluster.containers(APP).values()}


def test_an_image_is_built_pushed_run_by_its_digest_and_rolled(
    cluster: Cluster, registry: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = health.registry(read_settings(os.environ))
    assert not found.lacks and registry in found.serves
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "Dockerfile").write_text("FROM eratos/hello\nCOPY page /page\n")
    (tmp_path / "built.yaml").write_text(DESCRIPTION.format(registry=registry, app=APP))
    client = MarathonClient(f"{cluster.url('ERATOS_API1_PORT')},{cluster.url('ERATOS_API2_PORT')}")
    session = Session(client, Output("table", quiet=True))
    built = []
    for page in ("one", "two"):
        (tmp_path / "src" / "page").write_text(page)
        assert run(["build", str(tmp_path / "built.yaml"), "--apply", "--wait"], session) == 0, capsys.readouterr().err
        built.append(client.app(APP)["container"]["docker"]["image"])
        assert built[-1].startswith(f"{registry}/shop/built@sha256:")
        # Of the version before, some may still be on their way out.
        until(lambda wanted=built[-1]: images(cluster) == {wanted}, SOON_S, "all run by the digest of their version")
    assert built[0] != built[1]
    versions = [client.version(APP, name)["container"]["docker"]["image"] for name in client.versions(APP)]
    assert versions == built[::-1]
    container = next(iter(cluster.containers(APP).values()))
    assert docker("exec", container, "cat", "/page") == "two"
