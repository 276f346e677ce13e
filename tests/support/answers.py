"""Who answered. No answer may ever name an instance of another app, and every load of the tests and benchmarks holds to that.

The load generator (compose-dev/images/load) checks the same by itself, with the same beginning of a name.
"""

from __future__ import annotations

from devtool.load.plan import instance_prefix


def wrong_app(instance: str, app_id: str) -> str:
    """Return what is wrong with an answer for an app, by the instance that it names in ``X-Instance``; "" where nothing is."""
    if instance.startswith(instance_prefix(app_id)):
        return ""
    return f"wrong app: {instance or 'an instance without a name'} answered for {app_id}"
