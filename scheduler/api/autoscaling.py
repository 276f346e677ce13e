"""What autoscaling has measured of an app and decided, for explain, the dashboard's readers and Prometheus. Pure."""

from __future__ import annotations

from typing import Any

from eratos.common.times import timestamp
from eratos.marathon.app import App
from eratos.marathon.autoscale import BALANCED, Target
from eratos.scheduler.core import scaling
from eratos.scheduler.core.autoscale import Measured, Scaler
from eratos.scheduler.core.state import Scaling, State
from eratos.scheduler.core.usage import CPU

Json = dict[str, Any]


def measured(state: State, app: App, now: float) -> Measured:
    """Return what was measured of an app of late."""
    return state.scalers.get(app.id, Scaler()).measured(now)


def loads(state: State, app: App, now: float) -> tuple[dict[str, float], bool]:
    """Return what is measured of an app, of that kind that it is scaled by, and whether any of it is missing."""
    assert app.autoscale is not None, "an app that nobody wants scaled"
    found, scaler, target = measured(state, app, now), state.scalers.get(app.id), app.autoscale.target
    names = (*(BALANCED if target.balanced else ()), *((CPU,) if target.cpu is not None else ()))
    values = {name: _value(scaler, found, name) for name in names}
    return {name: value for name, value in values.items() if value is not None}, bool(found.lacking(app.autoscale))


def shown(state: State, app: App, now: float) -> Json | None:
    """Return how an app is autoscaled; None: it is not."""
    policy = app.autoscale
    if policy is None:
        return None
    found, scaler, last = measured(state, app, now), state.scalers.get(app.id), state.scalings.get(app.id)
    advice = scaler.last if scaler is not None and app.instances else None
    wanted = advice.instances if advice is not None else app.instances
    halted = scaling.halt(state, app, wanted)
    limit = scaling.limited(state, app, wanted) if wanted > app.instances else ""
    said = [advice.text if advice is not None else "", *(f"nothing is changed: {why}" for why in (halted, limit) if why)]
    until = advice.until if advice is not None and advice.until is not None and advice.until > now else None
    return {
        **{"mode": policy.mode, "min": policy.min, "max": policy.max, "instances": app.instances, "wanted": wanted},
        "measured": {
            str(Target.model_fields[name].alias): {"value": _value(scaler, found, name), "target": target}
            for name, target in policy.target.stated.items()
        },
        "missing": found.lacking(policy),
        "message": "; ".join(filter(None, said)) or "nothing was measured yet",
        "until": timestamp(until) if until is not None else None,
        "last": _last(last) if last is not None else None,
    }


def _value(scaler: Scaler | None, found: Measured, name: str) -> float | None:
    """Return what was measured in all; None: nothing at all is known of what executors measure."""
    if name == CPU and (scaler is None or not scaler.usage.known):
        return None
    return round(found.values[name], 3)


def _last(found: Scaling) -> Json:
    return {
        **{"at": timestamp(found.at), "from": found.before, "to": found.instances},
        **{"message": found.why, "made": found.made},
    }
