"""What a scheduler says of itself: ``/v2/info`` in Marathon's form, and its settings, both without secrets."""

from __future__ import annotations

import dataclasses
import importlib.metadata
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from .api.proxy import CONNECT_S, READ_S
from .config import Config
from .core.reconcile import PERIOD_S
from .core.step import Settings
from .core.versions import VERSIONS_MOST
from .store.zookeeper_client import CONNECT_TIMEOUT_S, SESSION_TIMEOUT_S

#: Those of Marathon's features (Features.scala) that always work here.
FEATURES = ("external_volumes", "secrets", "task_killing")


class Standing(NamedTuple):
    """What changes while a scheduler runs."""

    leads: bool
    leader: str | None  #: URL of the leader's API
    framework_id: str = ""
    master: str = ""  #: host:port of the leading Mesos master; empty: not known here


def info(config: Config, core: Settings, standing: Standing) -> dict[str, Any]:
    """Return ``/v2/info``: Marathon's fields and no others, as strict clients refuse what they do not know.

    What Marathon configures and eratos has no counterpart for is null. Times are in ms, ``failover_timeout`` in s.
    """
    scheme = config.master_scheme
    return {
        "name": "eratos",
        "version": importlib.metadata.version("eratos"),
        "buildref": "",
        "elected": standing.leads,
        "leader": urlsplit(standing.leader or "").netloc or None,
        "frameworkId": standing.framework_id or None,
        "marathon_config": {
            "access_control_allow_origin": list(config.origins) or None,
            "checkpoint": True,
            "decline_offer_duration": _ms(core.idle_refuse_s),
            "default_network_name": None,
            "env_vars_prefix": None,
            "executor": config.executor_command,
            "failover_timeout": round(config.failover_timeout_s),
            "features": [*FEATURES, *(["gpu_resources"] if config.gpus else [])],
            "framework_name": config.framework_name,
            "ha": bool(config.zk),
            "hostname": config.hostname,
            "launch_token": core.launching_most,
            "launch_token_refresh_interval": None,
            "leader_proxy_connection_timeout_ms": _ms(CONNECT_S),
            "leader_proxy_read_timeout_ms": _ms(READ_S),
            "local_port_max": config.local_port_max,
            "local_port_min": config.local_port_min,
            "maintenance_mode": True,
            "master": without_credentials(config.master),
            "max_instances_per_offer": None,
            "mesos_bridge_name": None,
            "mesos_heartbeat_failure_threshold": None,
            "mesos_heartbeat_interval": None,
            "mesos_leader_ui_url": f"{scheme}://{standing.master}/" if standing.master else None,
            "mesos_role": config.role,
            "mesos_user": config.user,
            "min_revive_offers_interval": _ms(core.revive_every_s),
            "new_group_enforce_role": config.new_group_enforce_role,
            "offer_matching_timeout": None,
            "on_elected_prepare_timeout": None,
            "reconciliation_initial_delay": 0,
            "reconciliation_interval": _ms(PERIOD_S),
            "scale_apps_initial_delay": None,
            "scale_apps_interval": None,
            "store_cache": True,
            "task_launch_confirm_timeout": _ms(core.launch_confirm_timeout_s),
            "task_launch_timeout": _ms(core.launch_timeout_s),
            # Each lost task has a timer of its own.
            "task_lost_expunge_initial_delay": 0,
            "task_lost_expunge_interval": 0,
            "task_reservation_timeout": None,
            "webui_url": config.url,
        },
        "zookeeper_config": {
            "zk": without_credentials(config.zk) or None,
            "zk_compression": False,
            "zk_compression_threshold": None,
            "zk_connection_timeout": _ms(CONNECT_TIMEOUT_S),
            "zk_max_node_size": None,
            "zk_max_versions": VERSIONS_MOST,
            "zk_session_timeout": _ms(SESSION_TIMEOUT_S),
            "zk_timeout": _ms(CONNECT_TIMEOUT_S),
        },
        "http_config": {
            "http_port": None if config.http_cert_file else config.http_port,
            "https_port": config.http_port if config.http_cert_file else None,
        },
    }


def settings(config: Config) -> dict[str, Any]:
    """Return every setting by its name, those that may hold a secret without it."""
    shown = {item.name: getattr(config, item.name) for item in dataclasses.fields(config) if item.repr}
    places = {name: without_credentials(getattr(config, name)) for name in ("master", "zk", "store")}
    return {"eratos": shown | places}


def without_credentials(url: str) -> str:
    """Return a URL less the user and password in it."""
    scheme, mark, rest = url.partition("://")
    return f"{scheme}{mark}{rest.rpartition('@')[2]}" if mark else url


def _ms(seconds: float) -> int:
    return round(seconds * 1000)
