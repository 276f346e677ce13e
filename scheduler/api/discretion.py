"""Sentences for whoever may not view every app: the names of others are taken out of them.

A sentence of the core's says what there is, whoever reads it: which app has a volume, a port or a route, what a circle leads
through, whose starts fail on a host. What is said to somebody goes through here, so a new sentence needs no care of its own.
Definitions do not: what an app states of others is its author's.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any, Final

from eratos.common import names
from eratos.marathon.app import App
from eratos.marathon.job import path_of
from eratos.scheduler.access.roles import Identity, Role
from eratos.scheduler.core.refusals import Unavailable
from eratos.scheduler.core.state import State

from .caller import Caller
from .controller import Controller

APP: Final = "an app that you may not see"
GROUP: Final = "a group that you may not see"

#: What may be an id of an app, a group, an instance or a task, or the name of a service.
_NAME = re.compile(r"/?[A-Za-z0-9](?:[A-Za-z0-9._/-]*[A-Za-z0-9])?")
#: Where a word is the name of a service: one of an app such as /host or /app is a word that may mean anything elsewhere.
_BEFORE_SERVICE = re.compile(r"\b(?:service|backend) ['\"]?$", re.IGNORECASE)
_LOOKED_AT: Final = 16  #: characters before a word
_AFTER_SERVICE: Final = " already answers on "
_OF_INSTANCE: Final = ".instance-"

#: Each name there is, and the apps or jobs that it is one of; none where it is a group's.
Known = dict[str, tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class Hide:
    """Takes the names out of sentences that one caller may not know."""

    identity: Identity
    known: Known | None = None  #: None where nobody can tell: then all that may be one
    own: frozenset[str] = frozenset()  #: apps that what the sentence is about states itself

    @property
    def nothing(self) -> bool:
        return self.identity.may(Role.VIEW)

    def but(self, app: App | None) -> Hide:
        """Return the same for sentences about an app, which may name what its definition names."""
        return self if app is None or self.nothing else replace(self, own=frozenset(_stated(app)))

    def __call__(self, text: str) -> str:
        return text if self.nothing else _NAME.sub(self._shown, text)

    def messages(self, shown: Any) -> Any:
        """Return a part of an answer, which holds no definition, with each ``message`` in it as it may be read."""
        if isinstance(shown, dict) and not self.nothing:
            return {
                key: self(value) if key == "message" and isinstance(value, str) else self.messages(value)
                for key, value in shown.items()
            }
        return [self.messages(item) for item in shown] if isinstance(shown, list) and not self.nothing else shown

    def _shown(self, found: re.Match[str]) -> str:
        name = found[0]
        app_ids = self._apps(name) if _is_name(found) else None
        if app_ids is None or name in self.own or any(self.identity.may(Role.VIEW, app_id) for app_id in app_ids):
            return name
        if not app_ids:
            return name if self.identity.sees_within(name) else GROUP
        return APP

    def _apps(self, name: str) -> tuple[str, ...] | None:
        """Return what a name is one of, nothing for a group, None for what is no name."""
        before, mark, _ = name.partition(_OF_INSTANCE)
        if mark and not name.startswith("/"):
            # Consul's id of a task's service has a prefix, which an app's own name may begin with as well.
            return tuple(f"/{each.replace('_', '/')}" for each in {before, before.removeprefix(f"{names.PREFIX}-")})
        if self.known is None:
            return (name,) if name.startswith("/") else None
        return self.known.get(name)


def _is_name(found: re.Match[str]) -> bool:
    """Return whether what may be a name is one there, and no plain word."""
    if "/" in found[0] or "-" in found[0] or found[0] == found.string:
        return True
    start, end, text = found.start(), found.end(), found.string
    return text.startswith(_AFTER_SERVICE, end) or _BEFORE_SERVICE.search(text[max(0, start - _LOOKED_AT) : start]) is not None


class Discretion:
    """What a caller is told of the apps of one scheduler."""

    def __init__(self, controller: Controller) -> None:
        self._controller = controller

    def of(self, caller: Caller, *, services: bool = False) -> Hide:
        """Return what takes names out of sentences for a caller. ``services``: balancers' sentences, which name those."""
        if caller.sees("/"):
            return Hide(caller.identity)
        try:
            return Hide(caller.identity, self._controller.read(lambda state: _known(state, services=services)))
        except Unavailable:
            return Hide(caller.identity)


def _stated(app: App) -> Iterable[str]:
    return (*app.dependencies, *(wanted.app for wanted in app.eratos.requires.values() if wanted.app is not None))


def _known(state: State, *, services: bool) -> Known:
    found: Known = dict.fromkeys(state.groups, ())
    ended = (app_id for over in state.ended for app_id in over.app_ids)
    for path in (*state.apps, *state.fleets, *map(path_of, state.jobs), *ended):
        found[path] = (path,)
    for app in state.apps.values() if services else ():
        for name in app.service_names:
            found[name] = (*found.get(name, ()), app.id)
    return found
