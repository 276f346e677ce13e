"""The catalogues of all Consul data centers in which the framework has agents.

Each is looked after by itself, so that one which does not answer holds up no other.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from .api.controller import Balancer
from .consul_catalog import ConsulCatalog


class Catalogues:
    """One at least, the first that of the scheduler's own data center."""

    def __init__(self, catalogues: Sequence[ConsulCatalog]) -> None:
        self._catalogues = catalogues

    @property
    def trouble(self) -> str:
        """Why what is said here may be old: which data centers do not answer. Empty: all do."""
        return "; ".join(found.trouble for found in self._catalogues if found.trouble)

    @property
    def left_out(self) -> Mapping[str, Sequence[str]]:
        """What balancers leave out: Consul service -> each balancer's reason."""
        found: dict[str, list[str]] = {}
        for catalogue in self._catalogues:
            for service, reasons in catalogue.left_out.items():
                found.setdefault(service, []).extend(reasons)
        return found

    @property
    def balancers(self) -> Sequence[Balancer]:
        return [balancer for catalogue in self._catalogues for balancer in catalogue.balancers]

    def start(self) -> None:
        for catalogue in self._catalogues:
            catalogue.start()

    def stop(self) -> None:
        for catalogue in self._catalogues:
            catalogue.halt()
        for catalogue in self._catalogues:
            catalogue.stop()

    def remove_entries(self) -> None:
        """Remove what stands for the apps of this framework, which is gone for good; after :meth:`stop`."""
        for catalogue in self._catalogues:
            catalogue.remove_entries()
