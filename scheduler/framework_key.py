"""The framework's key: a secret that all its schedulers share, made by the first one that starts and kept beside the records.

Everything by which the parts of one framework know each other is derived from it (:mod:`eratos.common.keys`). A file may hold
it instead, for stores that others can read.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import logging
import secrets
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from typing import Final

from eratos.common.errors import PermanentError
from eratos.common.keys import KEY_BYTES, SCHEDULER, ExecutorKeys, companion_key, companion_token, derived
from eratos.common.secret_file import secret

from .config import Config
from .store.base import Store
from .store.factory import open_store

log = logging.getLogger(__name__)

#: Under which it lies beside the store's records.
NAME: Final = "access"
_FILE_CHARACTERS_LEAST: Final = 32


@dataclass(frozen=True)
class FrameworkKey:
    """The key, and what is derived from it."""

    key: bytes = field(repr=False)
    #: Whether the store was in use before there were keys: then what was open before stays so, and is complained about.
    upgraded: bool = False

    @property
    def schedulers(self) -> str:
        """By which schedulers know each other."""
        return derived(self.key, "schedulers")

    @property
    def companions(self) -> str:
        """By which balancers' companions know executors."""
        return derived(self.key, "companions")

    @property
    def schedulers_companion_key(self) -> str:
        """By which companions know schedulers, as an agent's executor by its own."""
        return companion_key(self.companions, SCHEDULER)

    @property
    def name(self) -> str:
        """A name for it that may be shown: another key has another name."""
        return derived(self.key, "name")[:8]

    @property
    def executors(self) -> str:
        """By which executors know each other."""
        return derived(self.key, "executors")

    def agent(self, agent_id: str) -> str:
        """By which the executor on an agent knows schedulers."""
        return derived(self.key, "agent", agent_id)

    def for_executor(self, agent_id: str) -> ExecutorKeys:
        """Return what the executor on an agent is given."""
        return ExecutorKeys(self.agent(agent_id), companion_token(self.companions, agent_id), self.executors)


def read(store: Store, file: str = "", make: Callable[[bool], bytes] | None = None) -> FrameworkKey:
    """Return the key that lies in a file, else beside a store's records, where it is made if there is none.

    Raises PermanentError for a file or a record that is none, StoreUnavailable, StoreUnusable.
    """
    data = store.keep_once(NAME, make or _made)
    try:
        kept = json.loads(data)
        key, upgraded = bytes.fromhex(kept["key"]), kept["upgraded"]
        if len(key) != KEY_BYTES or not isinstance(upgraded, bool):
            raise ValueError
    except (ValueError, KeyError, TypeError):
        raise PermanentError(f"the store's {NAME!r}, the framework's key, is damaged: delete it, and a new one is made") from None
    return FrameworkKey(_from_file(file) if file else key, upgraded)


def stored(config: Config) -> FrameworkKey:
    """Return the key of a framework whose scheduler may be running: of its file if it has one, which needs no store.

    Raises as :func:`read`, and where there is none yet.
    """
    if config.framework_key_file:
        return FrameworkKey(_from_file(config.framework_key_file))

    def refuse(used: bool) -> bytes:
        raise PermanentError("the framework has no key yet: start a scheduler of this version first")

    setting = "--zk" if config.zk else "--store"
    with closing(open_store(config.store_url, setting=setting, read_only=True, tls=config.zk_tls())) as store:
        return read(store, make=refuse)


def _made(used: bool) -> bytes:
    log.info("the framework has no key yet, making one")
    return json.dumps({"key": secrets.token_hex(KEY_BYTES), "upgraded": used}).encode()


def _from_file(name: str) -> bytes:
    text = secret(name, "--framework-key-file")
    if len(text) < _FILE_CHARACTERS_LEAST:
        raise PermanentError(f"--framework-key-file: {name} must hold at least {_FILE_CHARACTERS_LEAST} random characters")
    return hmac.new(text.encode(), b"eratos framework key", hashlib.sha256).digest()
