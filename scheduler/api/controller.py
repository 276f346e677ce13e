"""What the API needs of the process it serves: send commands, read the state, know the leader. Implemented by the process."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol, TypeVar

from eratos.common.exposition import Family
from eratos.scheduler.core.actions import Reply
from eratos.scheduler.core.events import Command
from eratos.scheduler.core.state import State
from eratos.scheduler.events.ring import Ring

T = TypeVar("T")


class Balancer(NamedTuple):
    """A balancer that is registered in Consul."""

    name: str
    address: str
    port: int  #: of its companion
    trouble: str  #: which of Consul's checks fail, and how; empty: none
    datacenter: str = ""  #: Consul's, if it is another one than the scheduler's


class Controller(Protocol):
    """Called from many threads at once."""

    @property
    def is_leader(self) -> bool:
        """Whether this process decides; the API of any other forwards to the leader."""

    @property
    def events(self) -> Ring:
        """What happens, while this process leads."""

    def leader(self) -> str | None:
        """Return the URL of the leader's API, or None while there is none."""

    def info(self) -> dict[str, Any]:
        """Return what ``GET /v2/info`` shows."""

    def settings(self) -> dict[str, Any]:
        """Return what ``GET /config`` shows: the process's settings without secrets."""

    def abdicate(self) -> None:
        """Give up leadership shortly, after which the process ends and its supervisor starts it anew."""

    def left_out(self) -> Mapping[str, Sequence[str]]:
        """Return what balancers leave out, some seconds ago: Consul service -> each balancer's reason."""

    def balancers(self) -> Sequence[Balancer]:
        """Return the balancers that are registered in Consul, some seconds ago."""

    def consul_trouble(self) -> str:
        """Return why no Consul is heard, or an empty text."""

    def loop_families(self) -> Sequence[Family]:
        """Return what the loop of the leader counts of itself; none where this process does not lead."""

    def look_around(self) -> None:
        """Have agents asked soon what they have free, unless that was done of late: somebody looks at the cluster."""

    def submit(self, command: Command) -> Reply:
        """Hand a command to the core and return its reply, once the change is stored.

        Raises CommandRefused, and Unavailable where no reply came in time; then the change may still be made.
        """

    def read(self, fn: Callable[[State], T]) -> T:
        """Run ``fn`` on the state while nothing changes it. ``fn`` keeps nothing that can change. Raises Unavailable."""
