"""Docker, as its own command means it: the same daemon, the same logins.

It looks by the API, and builds and pushes by the command, which has the builder that its user chose and knows all ways to
log in. Nothing of a login is shown or handed on in an argument.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import docker
import requests
from docker.context import ContextAPI
from docker.utils import kwargs_from_env

from eratos.common.errors import PermanentError

from .description import Description

_FAILURES = (docker.errors.DockerException, requests.RequestException, OSError)
#: Lines of a failed command that are shown where its output was not.
_SHOWN_LINES = 20
#: A registry that is far away, asked by the daemon.
_TIMEOUT_S = 60


class DockerFailed(PermanentError):
    """Docker did not do what it was asked for."""


class Engine:
    """The Docker of this machine. ``quiet``: what its commands write is shown only where they fail."""

    def __init__(self, *, quiet: bool = False) -> None:
        self._quiet = quiet
        self._client: docker.APIClient | None = None

    def has(self, image: str) -> bool:
        """Return whether an image is on this machine's Docker. Raises DockerFailed."""
        api = self._api()
        try:
            api.inspect_image(image)
        except docker.errors.NotFound:
            return False
        except _FAILURES as error:
            raise _failed(error) from error
        return True

    def digest(self, image: str) -> str:
        """Return what an image's registry calls it, ``sha256:...``; empty where it has none of the name, or does not let us look.

        Raises DockerFailed where it does not answer.
        """
        api = self._api()
        try:
            found = api.inspect_distribution(image)
        except docker.errors.APIError as error:
            # Some registries call what is not there forbidden; and who may not push, hears it of the push.
            if error.status_code in (401, 403, 404):
                return ""
            said = error.explanation or error
            raise DockerFailed(f"the registry of {image} cannot be asked: {said}; is a docker login missing?") from error
        except docker.errors.DockerException:
            # Without what it says, which may quote a login.
            raise DockerFailed(
                f"no login for {image} can be read: see docker login, and credHelpers in Docker's config.json"
            ) from None
        except _FAILURES as error:
            raise _failed(error) from error
        return str(found["Descriptor"]["digest"])

    def build(self, description: Description, folder: Path, labels: Mapping[str, str], *, fresh: bool) -> str:
        """Build an image and return its id; it has no name yet.

        ``fresh``: nothing of an earlier build is used, and what it builds upon is pulled. Raises DockerFailed.
        """
        with tempfile.TemporaryDirectory(prefix="eratos-build-") as place:
            result = Path(place) / "id"
            words = ["docker", "build", "--file", str(folder / description.dockerfile), "--iidfile", str(result)]
            words += ["--pull", "--no-cache"] if fresh else []
            words += ["--target", description.target] if description.target else []
            words += ["--platform", description.platform] if description.platform else []
            # Their values are in the environment: others of this machine see arguments.
            words += [word for name in description.args for word in ("--build-arg", name)]
            words += [word for name, value in {**labels, **description.labels}.items() for word in ("--label", f"{name}={value}")]
            self._run([*words, "--", str(folder)], {**os.environ, **description.args}, f"the build of {description.name}")
            return result.read_text().strip()

    def name(self, image: str, tag: str) -> None:
        """Give an image that was built a name. Raises DockerFailed."""
        repository, _, version = tag.rpartition(":")
        api = self._api()
        try:
            api.tag(image, repository, version)
        except docker.errors.NotFound as error:
            raise DockerFailed(
                "what was built is not on this machine's Docker: its builder keeps it to itself (docker buildx use default)"
            ) from error
        except _FAILURES as error:
            raise _failed(error) from error

    def push(self, tag: str) -> None:
        """Push an image to its registry. Raises DockerFailed."""
        self._run(["docker", "push", "--", tag], None, f"the push of {tag}")

    def _run(self, words: Sequence[str], env: Mapping[str, str] | None, what: str) -> None:
        shown = None if self._quiet else sys.stderr
        try:
            done = subprocess.run(
                words,
                env=env,
                stdin=subprocess.DEVNULL,
                stdout=shown or subprocess.PIPE,
                stderr=shown or subprocess.STDOUT,
                text=True,
                errors="replace",
            )
        except FileNotFoundError:
            raise DockerFailed("the command docker is not installed here: see https://docs.docker.com/engine/install/") from None
        if done.returncode:
            lines = (done.stdout or "").strip().splitlines()[-_SHOWN_LINES:]
            told = ":\n" + "\n".join(lines) if lines else ": see above"
            raise DockerFailed(f"{what} failed{told}")

    def _api(self) -> docker.APIClient:
        """Return the client of the daemon that the command would use. Raises DockerFailed."""
        if self._client is None:
            try:
                self._client = docker.APIClient(version="auto", timeout=_TIMEOUT_S, **_daemon())
            except _FAILURES as error:
                raise _failed(error) from error
        return self._client


def _daemon() -> dict[str, Any]:
    """Return where the daemon is, by the rule of Docker's command: DOCKER_HOST, DOCKER_CONTEXT, the context in use."""
    name = "default" if os.environ.get("DOCKER_HOST") else os.environ.get("DOCKER_CONTEXT") or None
    context = ContextAPI.get_context(name)
    if context is None:
        raise DockerFailed(f"Docker has no context {name or 'of the name that its config.json has'}: see docker context ls")
    if context.Name == "default":
        return dict(kwargs_from_env())
    if str(context.Host).startswith("ssh:"):
        raise DockerFailed(
            f"Docker's context {context.Name} goes by ssh, and eratos build does not: forward its socket "
            "(ssh -L /tmp/docker.sock:/var/run/docker.sock HOST) and set DOCKER_HOST=unix:///tmp/docker.sock"
        )
    return {"base_url": context.Host, "tls": context.TLSConfig or False}


def _failed(error: Exception) -> DockerFailed:
    if isinstance(error, docker.errors.APIError):
        return DockerFailed(f"Docker refuses: {error.explanation or error}")
    return DockerFailed(f"Docker does not answer: start it, or see DOCKER_HOST and docker context ls ({error})")
