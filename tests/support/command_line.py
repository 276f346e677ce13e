"""The ``eratos`` command against the real API and core, without sockets: what its tests share."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from support import api
from support.controller import FakeController

from eratos.cli.output import Output
from eratos.cli.session import Session
from eratos.marathon.client import MarathonClient

URL = "http://api.test"


def a_session(controller: FakeController, *, as_json: bool = False, sleep: Callable[[float], None] | None = None) -> Session:
    def no_sleep(_: float) -> None:
        raise AssertionError("nobody should wait here")

    client = MarathonClient(URL, session=api.session(api.an_api(controller)))
    return Session(client, Output("json" if as_json else "table"), clock=lambda: controller.now, sleep=sleep or no_sleep)


def write(folder: Path, name: str, content: Any) -> str:
    path = folder / name
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return str(path)


CONTAINER = {"docker": {"image": "x"}}
