"""What autoscaling has measured of an app and decided, for explain, the dashboard's readers and Prometheus. Pure."""

from __future__ import annotations

from typing import Any

from eratos.common.times import timestamp
from eratos.marathon.app import App
from eratos.marathon.autoscale import Target
from eratos.scheduler.core import scaling
from eratos.scheduler.core.autoscale import Measured, Meter
from eratos.scheduler.core.state import Scaling, State

Json = dict[str, Any]


def measured(state: State, app: App, now: float) -> Measured:
    """Return what was measured of an app of late."""
    scaler = state.scalers.get(app.id)
    return (scaler.meter if scaler is not None else Meter()).measured(now)


def shown(state: State, app: App, now: float) -> Json | None:
    """Return how an app is autoscaled; None: it is not."""
    policy = app.autoscale
    if policy is None:
        return None
    found, scaler, last = measured(state, app, now), state.scalers.get(app.id), state.scalings.get(app.id)
    advice = scaler.last if scaler is not None and app.instances else None
    halted = scaling.halt(state, app)
    wanted = advice.instances if advice is not None else app.instances
    limit = scaling.limited(state, app, wanted) if wanted > app.instances else ""
    said = [advice.text if advice is not None else "", *(f"nothing is changed: {why}" for why in (halted, limit) if why)]
    until = advice.until if advice is not None and advice.until is not None and advice.until > now else None
    return {
        **{"mode": policy.mode, "min": policy.min, "max": policy.max, "instances": app.instances, "wanted": wanted},
        "measured": {
            str(Target.model_fields[name].alias): {"value": round(found.values[name], 3), "target": target}
            for name, target in policy.target.stated.items()
        },
        "missing": found.missing,
        "message": "; ".join(filter(None, said)) or "nothing was measured yet",
        "until": timestamp(until) if until is not None else None,
        "last": _last(last) if last is not None else None,
    }


def _last(found: Scaling) -> Json:
    return {
        **{"at": timestamp(found.at), "from": found.before, "to": found.instances},
        **{"message": found.why, "made": found.made},
    }
