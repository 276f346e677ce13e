"""Flags of Marathon 1.11 on the command line: what means the same is taken, the rest is refused with what there is instead. Pure.

Marathon's documents: command-line-flags.md. A flag that asks for what eratos does anyway is taken too. None is taken that would
have no effect.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

#: Settings that Marathon calls otherwise, with values that mean the same.
SAME: Final[Mapping[str, str]] = {
    "accepted_resource_roles_default_behavior": "accepted_resource_roles_default_behavior",
    "access_control_allow_origin": "http_origins",
    "failover_timeout": "failover_timeout_s",
    "framework_name": "framework_name",
    "http_address": "http_host",
    "http_credentials": "http_credentials",
    "http_port": "http_port",
    "local_port_max": "local_port_max",
    "local_port_min": "local_port_min",
    "mesos_authentication_principal": "principal",
    "mesos_authentication_secret_file": "secret_file",
    "mesos_role": "role",
    "mesos_user": "user",
    "new_group_enforce_role": "new_group_enforce_role",
}
#: The same in milliseconds.
MILLISECONDS: Final[Mapping[str, str]] = {"task_launch_confirm_timeout": "launch_confirm_timeout_s"}

#: Words of ``--logging_level`` that there are here.
_LEVELS: Final = {"error": "ERROR", "warn": "WARNING", "info": "INFO", "debug": "DEBUG"}

#: Without a value; they ask for what is always so.
ALWAYS: Final = frozenset(
    {
        *("checkpoint", "http_compression", "maintenance_mode", "metrics", "metrics_prometheus", "store_cache"),
        "suppress_offers",
        *("disable_zk_compression", "disable_tracing", "disable_mesos_authentication", "disable_metrics_datadog"),
        *("disable_metrics_statsd", "disable_mesos_offer_constraints"),
    }
)

_TLS: Final = "the certificate, those above it, and its key stand in the file of --http-cert-file; --http-port then speaks https"
_PUSHED: Final = "figures are fetched, not pushed: /metrics/prometheus (docs/metrics.md)"
_HEARTBEAT: Final = "Mesos says itself how often it sends signs of life, and a connection without any is given up"
_PACE: Final = "what is wanted is compared with what is there at each event"
_LAUNCHES: Final = "--launch-limit bounds the launches that no executor has answered yet"
_STORE: Final = "the store keeps one record for each app, version and instance, and needs no care"
_PLUGINS: Final = "no plugins are loaded: users and roles stand in --http-credentials-file (docs/security.md)"
_INSIDE: Final = "it tunes the inside of Marathon, and there is no such part here: leave it out"
_KILLS: Final = (
    "tasks are told to end at once, and told again until they have: taskKillGracePeriodSeconds of apps says how long they have"
)
_NEIGHBOUR: Final = "followers keep times of their own when they ask the leader (docs/api.md, who waits for whom)"

#: Why a flag is refused, and what there is in its place.
INSTEAD: Final[Mapping[str, str]] = {
    "app_info_module_execution_context_size": _INSIDE,
    "assets_path": "the dashboard's files come with the package",
    "backup_location": "eratos-scheduler backup FILE writes a backup, at any time",
    "decline_offer_duration": "how long offers are refused follows from what waits",
    "default_accepted_resource_roles": "Marathon 1.10 dropped it: --accepted-resource-roles-default-behavior",
    "default_info_service_execution_context_size": _INSIDE,
    "default_network_name": "apps name their Docker network (networks[].name)",
    "deployment_manager_request_timeout": _INSIDE,
    "deprecated_features": "none are kept",
    "disable_checkpoint": "tasks always outlive agents' restarts",
    "disable_ha": "--store in place of --zk runs one scheduler alone",
    "disable_http": "with --http-cert-file the API speaks https alone",
    "disable_http_compression": "answers are compressed for those clients that ask for it",
    "disable_internal_version_caching": _STORE,
    "disable_maintenance_mode": "hosts in maintenance are emptied: --maintenance-lead-s says how long before",
    "disable_metrics": "metrics are always there (docs/metrics.md)",
    "disable_metrics_prometheus": "metrics are always there (docs/metrics.md)",
    "disable_store_cache": "the leader has all that is stored in its memory",
    "disable_suppress_offers": "offers are asked for while something waits",
    "draining_seconds": "--maintenance-lead-s says how long before its maintenance a host is closed and emptied",
    "enable_features": "there is nothing to enable: volumes and secrets always work, GPUs with --gpus true",
    "env_vars_prefix": "variables have the names that programs look for",
    "event_stream_max_outstanding_messages": "readers of events hold nothing up (docs/api.md, events)",
    "executor": "every app runs with eratos' own executor: --executor-command starts that",
    "gpu_scheduling_behavior": "--gpus true takes offers of agents with GPUs, and other apps go there last",
    "graceful_shutdown_timeout": "a leader gives way at once, and its tasks go on",
    "group_manager_execution_context_size": _INSIDE,
    "group_manager_request_timeout": _INSIDE,
    "group_versions_cache_size": _STORE,
    "ha": "leave it out: with --zk any number of schedulers may run, with --store one alone",
    "hostname": "--advertise-url says where the other schedulers reach this one, as in http://scheduler1:8080",
    "http_max_concurrent_requests": "--http-connections and --http-rate bound what comes at the same time",
    "http_realm": "it is eratos",
    "https_address": _TLS,
    "https_port": _TLS,
    "instance_tracker_num_parallel_loads": _INSIDE,
    "instance_tracker_num_parallel_updates": _INSIDE,
    "instance_tracker_update_queue_size": _INSIDE,
    "internal_store_backend": "--zk, or --store for one scheduler alone",
    "internal_version_caching": _STORE,
    "killBatchDuration": _KILLS,
    "kill_chunk_size": _KILLS,
    "kill_retry_timeout": _KILLS,
    "killsPerBatch": _KILLS,
    "launch_queue_request_timeout": _INSIDE,
    "launch_token_refresh_interval": _LAUNCHES,
    "launch_tokens": _LAUNCHES,
    "leader_election_backend": "leaders are elected in ZooKeeper (--zk)",
    "leader_proxy_connection_timeout": _NEIGHBOUR,
    "leader_proxy_max_open_connections": _NEIGHBOUR,
    "leader_proxy_read_timeout": _NEIGHBOUR,
    "leader_proxy_ssl_ignore_hostname": "--http-ca-file names the authorities that schedulers believe each other by",
    "logstash": "--log-format json writes lines that any collector reads",
    "max_actor_startup_time": _INSIDE,
    "max_apps": "--instances-limit bounds the instances of all apps together, quotas those of a group",
    "max_concurrent_marathon_health_checks": "executors check their own tasks, the scheduler none",
    "max_instances_per_offer": "an offer takes as many instances as fit",
    "max_parallel_offers": _INSIDE,
    "max_parallel_status_updates": _INSIDE,
    "max_queued_offers": _INSIDE,
    "max_queued_root_group_updates": "changes take turns: --http-connections and --http-rate bound what comes at the same time",
    "max_queued_status_updates": _INSIDE,
    "max_running_deployments": "deployments of different apps do not wait for each other",
    "max_tasks_per_offer": "an offer takes as many instances as fit",
    "max_tasks_per_offer_cycle": _LAUNCHES,
    "mesos_authentication": "it is used where --principal and --secret-file are given",
    "mesos_authentication_secret": "everybody could read it: --secret-file names a file with it",
    "mesos_bridge_name": "bridged containers are in Docker's own bridge",
    "mesos_heartbeat_failure_threshold": _HEARTBEAT,
    "mesos_heartbeat_interval": _HEARTBEAT,
    "mesos_leader_ui_url": "it is the leading master's, as that is found",
    "mesos_offer_constraints": "Mesos sends all offers, and each is looked at: leave it out",
    "metrics_name_prefix": "metrics are called eratos_... in Prometheus' text, and as Marathon's in the JSON of /metrics",
    "min_mesos_offer_constraints_update_interval": "no constraints are sent to Mesos: each offer is looked at here",
    "min_revive_offers_interval": "how often offers are asked for follows from how many agents there are",
    "offer_matching_timeout": "a pass looks at so many hosts that it stays short",
    "on_elected_prepare_timeout": "a new leader leads once it has read the store",
    "plugin_conf": _PLUGINS,
    "plugin_dir": _PLUGINS,
    "reconciliation_initial_delay": "Mesos is asked about all tasks as soon as there is a subscription",
    "reconciliation_interval": "it is 10 minutes, Marathon's own default",
    "revive_offers_repetitions": "how often offers are asked for follows from how many agents there are",
    "save_tasks_to_launch_timeout": "a launch goes out once it is stored",
    "scale_apps_initial_delay": _PACE,
    "scale_apps_interval": _PACE,
    "scheduler_actions_execution_context_size": _INSIDE,
    "sentry": "--log-format json writes lines that any collector reads",
    "sentry_tags": "--log-format json writes lines that any collector reads",
    "ssl_keystore_password": _TLS,
    "ssl_keystore_path": _TLS,
    "storage_compaction_interval": _STORE,
    "storage_compaction_scan_batch_size": _STORE,
    "storage_execution_context_size": _STORE,
    "task_launch_timeout": "--launch-timeout-s, in seconds: from the last news of a start on, such as the pull of its image",
    "task_lost_expunge_gc": "unreachableStrategy of apps says it",
    "task_lost_expunge_initial_delay": "unreachableStrategy of apps says it",
    "task_lost_expunge_interval": "unreachableStrategy of apps says it",
    "task_operation_notification_timeout": _INSIDE,
    "task_reservation_timeout": "nothing is reserved of Mesos: volumes are Docker's",
    "task_tracker_request_timeout": _INSIDE,
    "task_update_request_timeout": _INSIDE,
    "tracing": "--log-level DEBUG",
    "webui_url": "--advertise-url is where links to the dashboard lead",
    "zk_compression": "records are small, and stored as they are",
    "zk_compression_threshold": "records are small, and stored as they are",
    "zk_connection_timeout": "a connection is waited for 15 s, and tried anew",
    "zk_max_concurrency": _STORE,
    "zk_max_node_size": "a definition has 511 KiB at most",
    "zk_max_versions": "50 of each app are kept, Marathon's own default",
    "zk_operation_base_retry_sleep_ms": _STORE,
    "zk_operation_max_retries": _STORE,
    "zk_session_timeout": "it follows from how soon another scheduler is to lead",
    "zk_timeout": "a change waits 20 s for the store (docs/api.md, who waits for whom)",
}


def translated(argv: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return the arguments with Marathon's flags as ours, and a sentence for each flag or value that there is nothing for."""
    left: list[str] = []
    problems: list[str] = []
    waiting = list(reversed(argv))
    while waiting:
        argument = waiting.pop()
        name, equals, value = argument.removeprefix("--").partition("=")
        if not argument.startswith("--") or name not in _KNOWN:
            left.append(argument)
            continue
        if name in ALWAYS:
            if equals:
                problems.append(f"--{name}: takes no value, and is always so: leave it out")
            continue
        if not equals and waiting and not waiting[-1].startswith("--"):
            value, equals = waiting.pop(), "="
        reason = _instead(name)
        if reason:
            problems.append(f"--{name}: is Marathon's: {reason}")
        elif not equals:
            problems.append(f"--{name}: needs a value")
        else:
            try:
                left.append(_ours(name, value))
            except ValueError as error:
                problems.append(f"--{name}: {error}")
    return left, problems


def _instead(name: str) -> str:
    if name in _METRICS or name.startswith("metrics"):
        return INSTEAD.get(name, _PUSHED)
    return INSTEAD.get(name, "")


def _ours(name: str, value: str) -> str:
    """Return a flag of ours. Raises ValueError where the value means nothing here."""
    if name == "logging_level":
        if value.lower() not in _LEVELS:
            raise ValueError(f"is {value!r}: use one of {', '.join(_LEVELS)}")
        return f"--log-level={_LEVELS[value.lower()]}"
    if name in MILLISECONDS:
        try:
            seconds = float(value) / 1000
        except ValueError:
            raise ValueError(f"is {value!r}, and milliseconds are a number") from None
        return f"--{MILLISECONDS[name].replace('_', '-')}={seconds:g}"
    return f"--{SAME[name].replace('_', '-')}={value}"


_METRICS: Final = (
    *("metrics_statsd", "metrics_statsd_host", "metrics_statsd_port", "metrics_statsd_transmission_interval_ms"),
    *("metrics_datadog", "metrics_datadog_api_key", "metrics_datadog_host", "metrics_datadog_port"),
    *("metrics_datadog_protocol", "metrics_datadog_transmission_interval_ms"),
    *("metrics_histogram_reservoir_highest_trackable_value", "metrics_histogram_reservoir_reset_periodically"),
    *("metrics_histogram_reservoir_resetting_chunks", "metrics_histogram_reservoir_resetting_interval_ms"),
    *("metrics_histogram_reservoir_significant_digits", "disable_metrics_histogram_reservoir_reset_periodically"),
)
#: All that are looked at; what both call the same is left to the settings themselves.
_KNOWN: Final = frozenset({*SAME, *MILLISECONDS, *ALWAYS, *INSTEAD, *_METRICS, "logging_level"})
