"""Marathon's flags on the scheduler's command line: taken where they mean the same, refused with what there is else."""

from __future__ import annotations

import dataclasses
import re
from typing import Any

import pytest

from eratos.scheduler import marathon_flags
from eratos.scheduler.config import BadConfig, Config, read
from eratos.scheduler.marathon_flags import ALWAYS, INSTEAD, MILLISECONDS, SAME, translated

GOOD = ["--master", "zk://zk1:2181/mesos", "--zk", "zk://zk1:2181/eratos"]


@pytest.mark.parametrize(
    ("flags", "setting", "value"),
    [
        (["--http_address", "10.0.0.1"], "http_host", "10.0.0.1"),
        (["--http_port", "9000"], "http_port", 9000),
        (["--http_port=9000"], "http_port", 9000),
        (["--mesos_role", "prod"], "role", "prod"),
        (["--mesos_user", "www"], "user", "www"),
        (["--failover_timeout", "86400"], "failover_timeout_s", 86400.0),
        (["--framework_name", "m"], "framework_name", "m"),
        (["--access_control_allow_origin", "http://a:1, http://b"], "origins", ("http://a:1", "http://b")),
        (["--task_launch_confirm_timeout", "90000"], "launch_confirm_timeout_s", 90.0),
        (["--logging_level", "warn"], "log_level", "WARNING"),
        (["--accepted_resource_roles_default_behavior", "reserved"], "accepted_resource_roles_default_behavior", "reserved"),
        (["--group-roles", "dev", "--new_group_enforce_role", "top"], "new_group_enforce_role", "top"),
        (["--checkpoint", "--http_compression", "--local_port_max", "12000"], "local_port_max", 12000),
    ],
)
def test_a_flag_that_means_the_same_is_taken(flags: list[str], setting: str, value: Any) -> None:
    assert getattr(read([*GOOD, *flags], {}).config, setting) == value


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--zk_max_versions", "5"], "--zk_max_versions: is Marathon's: 50 of each app are kept"),
        (["--ssl_keystore_password", "hush"], "--ssl_keystore_password: is Marathon's: the certificate"),
        (["--mesos_authentication_secret=hush"], "--mesos_authentication_secret: is Marathon's: everybody could read it"),
        (
            ["--plugin_dir", "/p", "--plugin_conf", "/c"],
            "--plugin_conf: is Marathon's: no plugins are loaded: users and roles stand in",
        ),
        (["--max_queued_root_group_updates", "9"], "--max_queued_root_group_updates: is Marathon's: changes take turns"),
        (["--disable_metrics_histogram_reservoir_reset_periodically"], "reset_periodically: is Marathon's: figures are fetched"),
        (["--ha"], "--ha: is Marathon's: leave it out"),
        (["--metrics_statsd_host", "h"], "--metrics_statsd_host: is Marathon's: figures are fetched, not pushed"),
        (["--checkpoint=false"], "--checkpoint: takes no value, and is always so"),
        (["--mesos_role"], "--mesos_role: needs a value"),
        (["--mesos_role", "--checkpoint"], "--mesos_role: needs a value"),
        (["--logging_level", "trace"], "--logging_level: is 'trace': use one of error, warn, info, debug"),
        (["--task_launch_confirm_timeout", "soon"], "--task_launch_confirm_timeout: is 'soon', and milliseconds are a number"),
        (["--new_group_enforce_role", "all"], "--new-group-enforce-role: 'all' is neither off nor top"),
        (["--new_group_enforce_role", "top"], "--new-group-enforce-role top: needs --group-roles"),
        (["--accepted_resource_roles_default_behavior", "x"], "'x' is none of any, unreserved, reserved"),
    ],
)
def test_any_other_is_refused_with_what_there_is_instead(flags: list[str], said: str) -> None:
    with pytest.raises(BadConfig) as caught:
        read([*GOOD, *flags], {})
    assert said in str(caught.value) and "hush" not in str(caught.value)


def test_all_of_them_are_named_at_once() -> None:
    left, problems = translated(["--ha", "--executor", "//cmd", "--http_port", "1", "backup", "file"])
    assert left == ["--http-port=1", "backup", "file"]
    assert [problem.partition(":")[0] for problem in problems] == ["--ha", "--executor"]


def test_what_is_taken_is_a_setting_and_what_is_named_instead_as_well() -> None:
    settings = {item.name for item in dataclasses.fields(Config)}
    assert {*SAME.values(), *MILLISECONDS.values()} <= settings
    named = {flag.replace("-", "_") for reason in INSTEAD.values() for flag in re.findall(r"--([a-z-]+)", reason)}
    assert named <= settings
    assert not {*SAME, *MILLISECONDS} & {*ALWAYS, *INSTEAD} and not ALWAYS & INSTEAD.keys()


#: Of 1.11's command-line-flags.md and its Conf.scala files; those of the same name are settings here.
MARATHONS = """
accepted_resource_roles_default_behavior access_control_allow_origin assets_path backup_location checkpoint
decline_offer_duration default_accepted_resource_roles default_network_name deprecated_features disable_http draining_seconds
enable_features env_vars_prefix event_stream_max_outstanding_messages executor failover_timeout framework_name
gpu_scheduling_behavior graceful_shutdown_timeout group_versions_cache_size ha hostname http_address http_compression
http_credentials http_max_concurrent_requests http_port http_realm https_address https_port internal_store_backend
internal_version_caching launch_token_refresh_interval launch_tokens leader_election_backend leader_proxy_connection_timeout
leader_proxy_max_open_connections leader_proxy_read_timeout leader_proxy_ssl_ignore_hostname local_port_max local_port_min
logging_level logstash maintenance_mode master max_apps max_concurrent_marathon_health_checks max_instances_per_offer
max_running_deployments mesos_authentication mesos_authentication_principal mesos_authentication_secret
mesos_authentication_secret_file mesos_bridge_name mesos_heartbeat_failure_threshold mesos_heartbeat_interval
mesos_leader_ui_url mesos_role mesos_user metrics metrics_datadog metrics_datadog_host metrics_name_prefix metrics_prometheus
metrics_statsd metrics_statsd_port min_revive_offers_interval new_group_enforce_role offer_matching_timeout
on_elected_prepare_timeout reconciliation_initial_delay reconciliation_interval scale_apps_initial_delay scale_apps_interval
sentry sentry_tags ssl_keystore_password ssl_keystore_path storage_compaction_interval storage_compaction_scan_batch_size
storage_execution_context_size store_cache suppress_offers task_launch_confirm_timeout task_launch_timeout
task_reservation_timeout tracing webui_url zk zk_compression zk_compression_threshold zk_connection_timeout zk_max_concurrency
zk_max_node_size zk_max_versions zk_operation_base_retry_sleep_ms zk_operation_max_retries zk_session_timeout zk_timeout
app_info_module_execution_context_size default_info_service_execution_context_size deployment_manager_request_timeout
disable_internal_version_caching disable_mesos_offer_constraints disable_metrics_histogram_reservoir_reset_periodically
disable_metrics_prometheus disable_store_cache group_manager_execution_context_size group_manager_request_timeout
instance_tracker_num_parallel_loads instance_tracker_num_parallel_updates instance_tracker_update_queue_size killBatchDuration
kill_chunk_size kill_retry_timeout killsPerBatch launch_queue_request_timeout max_actor_startup_time max_parallel_offers
max_parallel_status_updates max_queued_offers max_queued_root_group_updates max_queued_status_updates mesos_offer_constraints
min_mesos_offer_constraints_update_interval plugin_conf plugin_dir scheduler_actions_execution_context_size
task_operation_notification_timeout task_tracker_request_timeout task_update_request_timeout
"""


def test_every_flag_of_marathon_is_taken_or_explained() -> None:
    assert [name for name in MARATHONS.split() if name not in marathon_flags._KNOWN] == ["master", "zk"]
