"""Large answers: written as JSON by a library that does so in a tenth of the time, from definitions that are kept."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
from fastapi.responses import JSONResponse

from eratos.marathon import stored
from eratos.marathon.app import App

_encoder = msgspec.json.Encoder()


class Json(JSONResponse):
    """JSON of any size."""

    def render(self, content: Any) -> bytes:
        return _encoder.encode(content)


def shown(definition: Mapping[str, Any], role: str) -> dict[str, Any]:
    """Return an app's or a pod's definition with what Marathon writes into each app's whether it was stated or not."""
    return dict(definition) if stored.is_pod(definition) else {"role": role, "executor": "", **definition}


class Definitions:
    """The JSON of each app, made once for each of its definitions; whoever is given it changes nothing in it.

    To make it takes most of the time of a list, and definitions seldom change. Safe for many threads at once.
    """

    def __init__(self, role: str = "*") -> None:
        """``role``: the framework's, which is that of apps that state none."""
        self._role = role
        self._kept: dict[str, tuple[App, Mapping[str, Any]]] = {}

    def json(self, app: App) -> Mapping[str, Any]:
        kept = self._kept.get(app.id)
        if kept is not None and kept[0] is app:
            return kept[1]
        made = shown(app.to_json(), self._role)
        self._kept[app.id] = (app, made)
        return made

    def forget(self, apps: Mapping[str, App]) -> None:
        """Forget the apps that are no more; ``apps`` are all there are."""
        if len(self._kept) > len(apps):
            for app_id in self._kept.keys() - apps.keys():
                self._kept.pop(app_id, None)
