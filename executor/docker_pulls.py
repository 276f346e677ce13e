"""Pulls images, and holds back the starts that wait for them. Used by the Docker runtime only.

One pull for all tasks that want the same image, on a thread of its own: a slow registry delays nobody who does not need it.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from docker.utils import parse_repository_tag

from eratos.common.errors import PermanentError
from eratos.common.log import fields

from .core import actions as do
from .core import events as on
from .docker_client import DockerClient, DockerFailure
from .registry_logins import login

log = logging.getLogger(__name__)

#: Pulls at the same time; further ones wait, or a host's link is shared by too many.
PULLS_MAX = 3
_FIX = (
    "check its name and, if its registry is private, log in there on this host as the executor's user (docker login, or the file "
    "in ERATOS_DOCKER_CONFIG); or load it here with docker load"
)


class ImagePulls:
    """Starts by the image they wait for."""

    def __init__(
        self,
        client: DockerClient,
        emit: Callable[[on.Event], None],
        go_on: Callable[[do.StartContainer], object],
    ) -> None:
        """``go_on`` takes each start whose image has come."""
        self._client = client
        self._emit = emit
        self._go_on = go_on
        self._lock = threading.Lock()
        #: by image and file of logins: whoever may not have an image must not get it with another's login
        self._waiting: dict[tuple[str, str], list[do.StartContainer]] = {}
        self._slots = threading.Semaphore(PULLS_MAX)

    def wait_for(self, action: do.StartContainer, logins_file: str) -> None:
        """Pull the image of a start, and let it go on then, or fail it; ``logins_file`` is as in :mod:`registry_logins`."""
        wanted = (action.image, logins_file)
        self._emit(on.Preparing(action.task_id, f"pulling image {action.image}"))
        with self._lock:
            first = wanted not in self._waiting
            self._waiting.setdefault(wanted, []).append(action)
        if first:
            threading.Thread(target=self._pull, args=wanted, name="pull", daemon=True).start()

    def cancel(self, task_id: str) -> None:
        """Fail a start at once if it waits here; the pull itself goes on."""
        with self._lock:
            found = [(wanted, start) for wanted, starts in self._waiting.items() for start in starts if start.task_id == task_id]
            for wanted, start in found:
                self._waiting[wanted].remove(start)
        for _ in found:
            self._emit(on.StartFailed(task_id, "cancelled while its image was pulled"))

    def _pull(self, image: str, logins_file: str) -> None:
        try:
            with self._slots:
                log.info("pulling %s", fields(image=image))
                problem = self._fetch(image, logins_file)
        except DockerFailure as error:
            problem = self._client.explain(error)
        except PermanentError as error:
            problem = str(error)
        except Exception:  # thread edge: tasks wait for this pull
            log.exception("pull broke, please report this as a bug %s", fields(image=image))
            problem = "internal error of the executor, see its log"
        with self._lock:
            waiting = self._waiting.pop((image, logins_file), [])
        for action in waiting:
            if problem:
                message = f"image {image} is not on this host and cannot be pulled: {problem}; {_FIX}"
                if action.force_pull:
                    message = f"image {image} cannot be pulled, which forcePullImage asks for at each start: {problem}; {_FIX}"
                self._emit(on.StartFailed(action.task_id, message))
            else:
                self._go_on(action)

    def _fetch(self, image: str, logins_file: str) -> str:
        """Pull and return what went wrong, if anything. Raises one of DockerFailure, PermanentError."""
        problem = ""
        repository, tag = parse_repository_tag(image)
        # Always given: else the library would send a login that it has read once and for all.
        credentials = login(repository, logins_file)
        for line in self._client.api.pull(repository, tag or "latest", stream=True, decode=True, auth_config=credentials):
            problem = line.get("error", problem)
        return problem
