"""One container of the project's own images for a test, on a port of 127.0.0.1, removed at the end by its id."""

from __future__ import annotations

import functools
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

import pytest

from .ports import free_ports

#: Somebody else may take a port between the look and the start.
PORT_ATTEMPTS = 5


def docker(*words: str, timeout_s: float = 120) -> str:
    """Run the docker command and return what it prints; AssertionError with its complaint where it fails."""
    done = subprocess.run(["docker", *words], capture_output=True, text=True, timeout=timeout_s, check=False)
    assert done.returncode == 0, f"docker {' '.join(words)}: {done.stderr.strip()}"
    return done.stdout.strip()


@dataclass(frozen=True)
class Container:
    id: str
    ports: dict[int, int]  #: port in the container -> port on 127.0.0.1; stays the same over restarts

    def logs(self) -> str:
        """Return what its processes wrote, to standard error as well."""
        words = ["docker", "logs", self.id]
        done = subprocess.run(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=60, check=True)
        return done.stdout

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


def processes(container: str, command: str) -> list[str]:
    """Return the ids of a container's processes whose command line matches a shell pattern's beginning, the youngest last."""
    script = (
        "for p in /proc/[0-9]*; do "
        f'case "$(tr "\\0" " " < $p/cmdline 2>/dev/null)" in {command}*) echo ${{p#/proc/}};; esac; '
        "done | sort -n"
    )
    return docker("exec", "-u", "0", container, "sh", "-c", script).split()


def kill_processes(container: str, command: str, signal: str = "KILL") -> None:
    """Kill what :func:`processes` finds, of which there has to be something; one that ends by itself meanwhile is as good."""
    found = processes(container, command)
    assert found, f"nothing runs in {container} that begins with {command}"
    script = f"for p in {' '.join(found)}; do kill -{signal} $p 2>/dev/null || [ ! -d /proc/$p ] || exit 1; done"
    docker("exec", "-u", "0", container, "sh", "-c", script)


@contextmanager
def run_container(image: str, *command: str, ports: Sequence[int] = (), options: Sequence[str] = ()) -> Iterator[Container]:
    """Start a container and remove it at the end; skips the test where docker or the image is missing, saying which."""
    with run_containers() as run:
        yield run(image, *command, ports=ports, options=options)


class Run(Protocol):
    def __call__(self, image: str, *command: str, ports: Sequence[int] = (), options: Sequence[str] = ()) -> Container: ...


@contextmanager
def run_containers() -> Iterator[Run]:
    """Return what starts containers as :func:`run_container` does; all are removed at the end, side by side."""
    made: list[Container] = []

    def run(image: str, *command: str, ports: Sequence[int] = (), options: Sequence[str] = ()) -> Container:
        _require(image)
        made.append(_started(image, command, ports, options))
        return made[-1]

    try:
        yield run
    finally:
        if made:
            docker("rm", "-f", "-v", *(container.id for container in made))


@functools.cache
def _require(image: str) -> None:
    try:
        have = subprocess.run(["docker", "image", "inspect", image], capture_output=True, text=True, timeout=30, check=False)
    except FileNotFoundError:
        pytest.skip("docker is not installed")
    if have.returncode != 0:
        pytest.skip(f"{image} is not there (`./dev test` builds the images): {have.stderr.strip()}")


def _started(image: str, command: Sequence[str], ports: Sequence[int], options: Sequence[str]) -> Container:
    for attempt in range(PORT_ATTEMPTS):
        published = dict(zip(ports, free_ports(len(ports)), strict=True))
        flags = [word for port, host_port in published.items() for word in ("-p", f"127.0.0.1:{host_port}:{port}")]
        container = Container(docker("create", *flags, *options, image, *command), published)
        try:
            container.start()
            return container
        except AssertionError as error:
            docker("rm", "-f", "-v", container.id)
            taken = "port is already allocated" in str(error) or "address already in use" in str(error)
            if not taken or attempt == PORT_ATTEMPTS - 1:
                raise
    raise AssertionError("unreachable")
