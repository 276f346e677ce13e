"""One container of the project's own images for a test, on a port of 127.0.0.1, removed at the end by its id."""

from __future__ import annotations

import socket
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import pytest


def docker(*words: str, timeout_s: float = 60) -> str:
    """Run the docker command and return what it prints; AssertionError with its complaint where it fails."""
    done = subprocess.run(["docker", *words], capture_output=True, text=True, timeout=timeout_s, check=False)
    assert done.returncode == 0, f"docker {' '.join(words)}: {done.stderr.strip()}"
    return done.stdout.strip()


@dataclass(frozen=True)
class Container:
    id: str
    ports: dict[int, int]  #: port in the container -> port on 127.0.0.1; stays the same over restarts

    def restart(self) -> None:
        docker("restart", "-t", "2", self.id)

    def kill(self) -> None:
        docker("kill", self.id)

    def start(self) -> None:
        docker("start", self.id)

    def pause(self) -> None:
        docker("pause", self.id)

    def unpause(self) -> None:
        docker("unpause", self.id)


@contextmanager
def run_container(image: str, *command: str, ports: Sequence[int] = (), options: Sequence[str] = ()) -> Iterator[Container]:
    """Start a container and remove it at the end; skips the test where docker or the image is missing, saying which."""
    try:
        have = subprocess.run(["docker", "image", "inspect", image], capture_output=True, text=True, timeout=30, check=False)
    except FileNotFoundError:
        pytest.skip("docker is not installed")
    if have.returncode != 0:
        pytest.skip(f"{image} is not there (`./dev build` makes the images): {have.stderr.strip()}")
    published = {port: _free_port() for port in ports}
    flags = [word for port, host_port in published.items() for word in ("-p", f"127.0.0.1:{host_port}:{port}")]
    container = Container(docker("run", "-d", *flags, *options, image, *command), published)
    try:
        yield container
    finally:
        docker("rm", "-f", "-v", container.id)


def _free_port() -> int:
    # Not left to docker: it would choose another port after a restart of the container.
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])
