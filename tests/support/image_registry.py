"""Debian's registry for images in a container, as ``./dev up --registry`` has it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import requests
from devtool import images
from devtool.settings import read_settings

from .containers import run_container
from .waiting import until

MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"


def digest(host: str, name: str, tag: str) -> str:
    """Return what a registry itself calls an image."""
    answer = requests.head(f"http://{host}/v2/{name}/manifests/{tag}", headers={"Accept": MANIFEST}, timeout=30)
    assert answer.status_code == 200, answer.status_code
    return answer.headers["Docker-Content-Digest"]


def tags(host: str, name: str) -> list[str]:
    answer = requests.get(f"http://{host}/v2/{name}/tags/list", timeout=30)
    return sorted(answer.json().get("tags") or ())


@contextmanager
def running() -> Iterator[str]:
    """Run one, empty, and yield its host and port."""
    images.build_apart(read_settings(os.environ), "registry")
    with run_container("eratos/registry", ports=[5000]) as container:
        host = f"127.0.0.1:{container.ports[5000]}"
        until(lambda: requests.get(f"http://{host}/v2/", timeout=5).status_code == 200, 60, "the registry answers")
        yield host
