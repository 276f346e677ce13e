"""Pulls images, and holds back the starts that wait for them. Used by the Docker runtime only.

One pull for all tasks that want the same image, on a thread of its own: a slow registry delays nobody who does not need it. One
that gets nowhere, or that nobody waits for any more, is given up: Docker ends it when its connection is closed, which the Docker
library's streams cannot do from outside.
"""

from __future__ import annotations

import asyncio
import json
import logging
import threading
import time
import urllib.parse
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any

from docker import auth
from docker.utils import parse_repository_tag

from eratos.common import async_http
from eratos.common.errors import PermanentError
from eratos.common.log import fields

from ..core import actions as do
from ..core import events as on
from ..core.pull_progress import PullProgress
from ..slots import FairSlots
from .client import DockerClient, DockerFailure
from .registry_logins import Logins, login

log = logging.getLogger(__name__)

#: Pulls at the same time, and of one registry; further ones wait, or a host's link is shared by too many.
PULLS_MAX = 10
PULLS_OF_ONE_REGISTRY_MAX = 3
#: Default of the setting.
STALL_S = 60.0
_LOOK_S = 0.5
_LINE_MAX = 1024 * 1024
_FIX = (
    "check its name and, if its registry is private, log in there on this host as the executor's user (docker login, or the file "
    "in ERATOS_DOCKER_CONFIG); or load it here with docker load"
)


@dataclass(slots=True)
class _Pull:
    """One that is under way or waits for its turn."""

    starts: list[do.StartContainer] = field(default_factory=list)  #: who waits for it
    given_up: threading.Event = field(default_factory=threading.Event)


class ImagePulls:
    """Starts by the image they wait for."""

    def __init__(
        self,
        client: DockerClient,
        emit: Callable[[on.Event], None],
        go_on: Callable[[do.StartContainer, str], object],
        *,
        stall_s: float = STALL_S,
    ) -> None:
        """``go_on`` takes each start and the image of it that has come; ``stall_s`` is as in :mod:`core.pull_progress`."""
        self._client = client
        self._emit = emit
        self._go_on = go_on
        self._stall_s = stall_s
        self._lock = threading.Lock()
        #: by image and logins: an app that may not have an image must not get it with another's login
        self._pulls: dict[tuple[str, Logins], _Pull] = {}
        self._slots = FairSlots(PULLS_MAX, PULLS_OF_ONE_REGISTRY_MAX)

    def wait_for(self, action: do.StartContainer, image: str, logins: Logins) -> None:
        """Pull an image of a start, and let it go on then, or fail it."""
        wanted = (image, logins)
        self._emit(on.Preparing(action.task_id, f"pulling image {image}"))
        with self._lock:
            first = wanted not in self._pulls
            pull = self._pulls.setdefault(wanted, _Pull())
            pull.starts.append(action)
        if first:
            threading.Thread(target=self._pull, args=(pull, *wanted), name="pull", daemon=True).start()

    def cancel(self, task_id: str) -> None:
        """Fail a start at once if it waits here; a pull that nobody waits for any more is given up."""
        with self._lock:
            found = [(wanted, pull) for wanted, pull in self._pulls.items() if any(s.task_id == task_id for s in pull.starts)]
            for wanted, pull in found:
                pull.starts = [start for start in pull.starts if start.task_id != task_id]
                if not pull.starts:
                    pull.given_up.set()
                    del self._pulls[wanted]
        for _ in found:
            self._emit(on.StartFailed(task_id, "cancelled while its image was pulled"))

    def _pull(self, pull: _Pull, image: str, logins: Logins) -> None:
        problem = ""
        try:
            repository, tag = parse_repository_tag(image)
            registry, _ = auth.resolve_repository_name(repository)
            with self._slots.one({registry}, pull.given_up.is_set) as taken:
                if taken:
                    log.info("pulling %s", fields(image=image))
                    problem = asyncio.run(self._fetch(pull, repository, tag or "latest", logins))
        except (*DockerFailure, *async_http.Failure) as error:
            problem = self._client.explain(error)
        except PermanentError as error:
            problem = str(error)
        except Exception:  # thread edge: tasks wait for this pull
            log.exception("pull broke, please report this as a bug %s", fields(image=image))
            problem = "internal error of the executor, see its log"
        with self._lock:
            if self._pulls.get((image, logins)) is pull:
                del self._pulls[image, logins]
            waiting, pull.starts = pull.starts, []
        for action in waiting:
            if problem:
                message = f"image {image} is not on this host and cannot be pulled: {problem}; {_FIX}"
                if any(each.force_pull and each.image == image for each in action.all):
                    message = f"image {image} cannot be pulled, which forcePullImage asks for at each start: {problem}; {_FIX}"
                self._emit(on.StartFailed(action.task_id, message))
            else:
                self._go_on(action, image)

    async def _fetch(self, pull: _Pull, repository: str, tag: str, logins: Logins) -> str:
        """Pull and return what went wrong, if anything. Raises one of DockerFailure, async_http.Failure, PermanentError."""
        # Always given: without it Docker takes what an earlier pull has left.
        headers = {"X-Registry-Auth": auth.encode_header(login(repository, logins)).decode()}
        query = urllib.parse.urlencode({"fromImage": repository, "tag": tag})
        path = f"/v{self._client.api.api_version}/images/create?{query}"
        progress = PullProgress(time.monotonic(), self._stall_s)
        reading = asyncio.create_task(self._read(path, headers, progress))
        while not (await asyncio.wait({reading}, timeout=_LOOK_S))[0]:
            stalled = progress.stalled(time.monotonic())
            if stalled or pull.given_up.is_set():
                reading.cancel()
                await asyncio.wait({reading})
                return f"it got nowhere for {self._stall_s:g} s (ERATOS_PULL_STALL_S)" if stalled else ""
        return reading.result()

    async def _read(self, path: str, headers: dict[str, str], progress: PullProgress) -> str:
        async with self._client.ask(path, method="POST", headers=headers) as answer:
            if answer.status != 200:
                return await answer.message(f"Docker answers with HTTP status {answer.status}")
            problem = ""
            async with aclosing(_events(answer)) as events:
                async for event in events:
                    progress.take(event, time.monotonic())
                    problem = str(event.get("error") or problem)
            return problem


async def _events(answer: async_http.Answer) -> AsyncGenerator[dict[str, Any], None]:
    """Yield Docker's events, one a line. Raises one of async_http.Failure."""
    rest = b""
    async with aclosing(answer.pieces()) as pieces:
        async for piece in pieces:
            *lines, rest = (rest + piece).split(b"\n")
            if len(rest) > _LINE_MAX:
                raise ValueError("an event of Docker's has no end")
            for line in lines:
                if line.strip():
                    yield json.loads(line)
    if rest.strip():
        yield json.loads(rest)
