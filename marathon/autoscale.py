"""The field ``eratos.autoscale`` of an app: within which bounds, and by which figures, the scheduler sets its instances.

Terms are those of Kubernetes' HorizontalPodAutoscaler, which also has the defaults of tolerance and window.
"""

from __future__ import annotations

from typing import Annotated, Final, Literal, Self

from pydantic import Field, field_validator, model_validator

from .app_parts import Part

#: What each target counts, for people.
TARGETS: Final = {
    "requests_per_second": "requests/s",
    "concurrency": "requests under way",
    "queue": "requests waiting",
    "cpu": "CPU limits in use",
}
#: Those that balancers count.
BALANCED: Final = ("requests_per_second", "concurrency", "queue")
#: Without a hard limit more than its ``cpus`` may be in use, but not that many times.
_SHARE_MAX: Final = 10
_SECONDS_MAX: Final = 3600

Amount = Annotated[float, Field(ge=0.001, le=1e9)]
_Seconds = Annotated[int, Field(ge=0, le=_SECONDS_MAX)]
_Step = Annotated[int, Field(ge=1)]


class Target(Part):
    """How much there is to be of each instance. Of several targets the one that asks for most instances counts."""

    requests_per_second: Amount | None = None  #: that come to it through balancers; in mode ``tcp`` connections
    concurrency: Amount | None = None  #: under way at it or waiting for it, at balancers
    queue: Amount | None = None  #: waiting for it alone, which is so with ``ERATOS_n_MAXCONN``
    cpu: Annotated[float, Field(ge=0.01)] | None = None  #: share of the CPU that it may use: its limit, or its ``cpus``

    @field_validator("cpu")
    @classmethod
    def _is_a_share(cls, cpu: float | None) -> float | None:
        if cpu is not None and cpu > _SHARE_MAX:
            raise ValueError(f"is {cpu:g}, and it is a share, {_SHARE_MAX} at most: give 0.7 for 70 %")
        return cpu

    @model_validator(mode="after")
    def _says_when_there_are_too_many(self) -> Self:
        if not self.stated:
            raise ValueError(f"states nothing: give one of {', '.join(_names())}")
        if set(self.stated) == {"queue"}:
            # An empty queue is what is wanted, and no sign that fewer instances would do.
            raise ValueError(
                "has queue alone, which says only when instances are too few: add requestsPerSecond, concurrency or cpu"
            )
        return self

    @property
    def stated(self) -> dict[str, float]:
        """The targets that are stated, by their names in :data:`TARGETS`."""
        found = {name: getattr(self, name) for name in TARGETS}
        return {name: value for name, value in found.items() if value is not None}

    @property
    def balanced(self) -> bool:
        """Whether any of it is counted by balancers."""
        return any(name in BALANCED for name in self.stated)


def _names() -> list[str]:
    return [str(Target.model_fields[name].alias) for name in TARGETS]


class Autoscale(Part):
    """Within which bounds, by what, and how fast the number of an app's instances follows what is measured."""

    min: Annotated[int, Field(ge=1)]
    max: Annotated[int, Field(ge=1)]
    target: Target
    mode: Literal["act", "advise"] = "act"  #: ``advise``: say what would be done, and change nothing
    tolerance: Annotated[float, Field(ge=0, le=1)] = 0.1  #: share of the target by which what is measured may differ from it
    stabilization_window_seconds: _Seconds = 300  #: never fewer than what was wanted at any moment of this time
    cooldown_seconds: _Seconds = 30  #: between two changes
    step_up: _Step | None = None  #: instances more at a time, at most; None: as many again as there are, or 4
    step_down: _Step | None = None  #: instances fewer at a time, at most; None: a quarter of those there are, or 1

    @model_validator(mode="after")
    def _bounds_in_order(self) -> Self:
        if self.min > self.max:
            raise ValueError(f"has min {self.min} above max {self.max}: correct one of them")
        return self

    def clamped(self, instances: int) -> int:
        """Return the nearest number within the bounds."""
        return min(max(instances, self.min), self.max)

    def fault(self, instances: int) -> str:
        """Say why an app may not have a number of instances; empty: it may. 0 is no number within bounds: it turns it off."""
        if not instances or self.min <= instances <= self.max:
            return ""
        bound = f"eratos.autoscale.min is {self.min}" if instances < self.min else f"eratos.autoscale.max is {self.max}"
        return f"is {instances}, and {bound}: change one of them, or have 0 instances to stop the app"
