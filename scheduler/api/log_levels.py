"""``/logging``: how much each part of this process writes into its log, for a while or until it ends."""

from __future__ import annotations

import difflib
import logging
import threading
from typing import Any, Final

from eratos.marathon.pydantic_errors import kind

from .errors import invalid

log = logging.getLogger(__name__)

#: Marathon's names. Python's logging knows nothing below DEBUG.
LEVELS: Final = {
    "trace": logging.DEBUG,
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warn": logging.WARNING,
    "error": logging.ERROR,
}
_NAMES: Final = {logging.WARNING: "WARN", logging.CRITICAL: "ERROR"}

#: Loggers that may be changed. What libraries write at DEBUG may hold secrets.
OWN: Final = "eratos"
DURATION_MOST_S: Final = 2**31 - 1
_FIELDS: Final = ("logger", "level", "durationSeconds")


def shown() -> dict[str, str]:
    """Return the level of every logger there is, as Marathon writes it."""
    known = {name for name, found in logging.root.manager.loggerDict.items() if isinstance(found, logging.Logger)}
    return {"ROOT": _name(logging.root.level)} | {name: _shown(logging.getLogger(name)) for name in sorted(known)}


def _own() -> list[str]:
    return [name for name in list(logging.root.manager.loggerDict) if name == OWN or name.startswith(f"{OWN}.")]


def _shown(logger: logging.Logger) -> str:
    return _name(logger.level) if logger.level else f"{_name(logger.getEffectiveLevel())} (inherited)"


def _name(level: int) -> str:
    return _NAMES.get(level, logging.getLevelName(level))


class LogLevels:
    """Changes levels, and takes those back whose time is over."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._former: dict[str, tuple[threading.Timer, int]] = {}  #: logger -> what puts it back, and to which level

    def change(self, body: Any) -> dict[str, Any]:
        """Carry out a LoggerChange and return it. Raises InvalidApp."""
        if not isinstance(body, dict):
            raise invalid("/", f"must be an object with logger and level, not {kind(body)}")
        for field in body:
            if field not in _FIELDS:
                raise invalid(f"/{field}", f"is no field of this request: use {', '.join(_FIELDS)}")
        name, level, duration_s = body.get("logger"), body.get("level"), body.get("durationSeconds")
        if not isinstance(name, str) or not (name == OWN or name.startswith(OWN + ".")) or len(name) > 200:
            raise invalid("/logger", f"must be {OWN}, or one below it such as {OWN}.scheduler.loop")
        if name not in logging.root.manager.loggerDict:
            # Nothing would ever come of it.
            near = difflib.get_close_matches(name, _own(), 1)
            instead = f"did you mean {near[0]}?" if near else "GET /logging names those that there are"
            raise invalid("/logger", f"is {name}, and there is no such logger: {instead}")
        if not isinstance(level, str) or level.lower() not in LEVELS:
            raise invalid("/level", f"must be one of {', '.join(LEVELS)}")
        if duration_s is not None and (
            isinstance(duration_s, bool) or not isinstance(duration_s, int) or not 0 < duration_s <= DURATION_MOST_S
        ):
            raise invalid("/durationSeconds", f"must be a whole number of seconds from 1 to {DURATION_MOST_S}, or be left out")
        self._set(logging.getLogger(name), LEVELS[level.lower()], duration_s)
        return {key: value for key, value in body.items() if value is not None}

    def _set(self, logger: logging.Logger, level: int, duration_s: int | None) -> None:
        with self._lock:
            timer, former = self._former.pop(logger.name, (None, logger.level))
            if timer is not None:
                timer.cancel()
            logger.setLevel(level)
            if duration_s is not None:
                timer = threading.Timer(duration_s, self._put_back, (logger, former))
                timer.daemon = True
                self._former[logger.name] = (timer, former)
                timer.start()
        log.info("the level of %s is %s now", logger.name, _shown(logger))

    def _put_back(self, logger: logging.Logger, level: int) -> None:
        with self._lock:
            self._former.pop(logger.name, None)
            logger.setLevel(level)
        log.info("the level of %s is %s again", logger.name, _shown(logger))
