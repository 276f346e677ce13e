"""The executor's way to its agent: what the loop calls, and the only thing of this package that others use.

Events leave through ``emit`` on the IO thread. Updates come in from the loop's thread, are recorded first and sent when
there is a subscription, and again with every new one until the agent has acknowledged them (rules 58 and 59).
"""

from __future__ import annotations

import base64
import dataclasses
import time
import uuid
from collections.abc import Callable, Mapping

from eratos.common.keys import ExecutorKeys

from ..core import events
from ..core.updates import StatusUpdate
from .agent import AgentDriver
from .settings import AgentSettings

#: How long a stop waits for the agent to take the last updates.
_LINGER_S = 2.0


class ExecutorDriver:
    """One executor's connection to its agent. Start it once."""

    def __init__(self, environ: Mapping[str, str], emit: Callable[[events.Event], None]) -> None:
        """Read ``MESOS_*``. Raises PermanentError naming what is missing or wrong."""
        self._settings = AgentSettings.from_environ(environ)
        self._agent = AgentDriver(self._settings, emit)

    @property
    def framework_id(self) -> str:
        return self._settings.framework_id

    @property
    def executor_id(self) -> str:
        return self._settings.executor_id

    @property
    def agent_id(self) -> str:
        """The agent's id; it may be empty until Subscribed."""
        return self._agent.agent_id

    @property
    def hostname(self) -> str:
        """The agent's host name; empty until Subscribed."""
        return self._agent.hostname

    @property
    def keys(self) -> ExecutorKeys | None:
        """What the scheduler gave this executor; None until Subscribed."""
        return self._agent.keys

    @property
    def shutdown_grace_s(self) -> float:
        """How long the agent waits after Shutdown before it kills the executor."""
        return self._settings.shutdown_grace_s

    @property
    def checkpoint(self) -> bool:
        """Whether the executor outlives a restart of its agent."""
        return self._settings.checkpoint

    @property
    def connected(self) -> bool:
        return self._agent.connected

    def start(self) -> None:
        """Begin to subscribe. It must happen within a minute of the executor's start (rule 57)."""
        self._agent.start()

    def stop(self) -> None:
        """Send what waits, disconnect, and return when the thread has ended. Kills nothing."""
        self._agent.drain(_LINGER_S)
        self._agent.stop()
        self._agent.join()

    def send(self, update: StatusUpdate) -> None:
        """Report an update; it gets its uuid and time here. Raises ValueError for a state Mesos does not know."""
        self._agent.update(
            dataclasses.replace(
                update,
                uuid=update.uuid or base64.b64encode(uuid.uuid4().bytes).decode("ascii"),
                timestamp=update.timestamp or time.time(),
            )
        )

    def send_message(self, message: bytes) -> None:
        """Send a message to the scheduler. It may get lost: the scheduler asks again."""
        self._agent.send_message(message)

    def flush(self, timeout_s: float) -> bool:
        """Wait until every update is acknowledged, before an exit; False: not within the time."""
        return self._agent.flush(timeout_s)
