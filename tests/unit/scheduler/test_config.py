"""The scheduler's settings: flags before environment, all problems at once, secrets out of sight."""

from __future__ import annotations

from pathlib import Path

import pytest

from eratos.common.resources import Resources
from eratos.executor.config import read as read_executor_config
from eratos.scheduler.api_access import tunnels
from eratos.scheduler.config import BadConfig, read
from eratos.scheduler.framework_key import FrameworkKey
from eratos.scheduler.process import Process, core_settings, mesos_settings

KEY = FrameworkKey(b"k" * 32)
GOOD = ["--master", "zk://zk1:2181/mesos", "--zk", "zk://zk1:2181/eratos"]


def test_flags_win_over_the_environment():
    config = read([*GOOD, "--http-port", "9000"], {"ERATOS_HTTP_PORT": "9001", "ERATOS_ROLE": "web"}).config
    assert (config.http_port, config.role) == (9000, "web")


def test_every_problem_is_reported_with_its_flag():
    with pytest.raises(BadConfig) as caught:
        read(["--http-port", "x", "--log-level", "LOUD", "--failover-timeout-s", "0"], {})
    text = str(caught.value)
    for flag in ("--http-port", "--log-level", "--failover-timeout-s", "--master", "--zk"):
        assert flag in text


def test_executors_serve_logs_where_the_api_asks_for_them():
    config = read([*GOOD, "--executor-http-port", "6000"], {}).config
    variables = mesos_settings(config, KEY).executor.environment
    assert (config.executor_http_port, read_executor_config([], variables).http_port) == (6000, 6000)


def test_offers_come_for_the_schedulers_role_and_those_of_groups():
    config = read([*GOOD, "--role", "eng/web", "--group-roles", "dev, shop"], {}).config
    assert mesos_settings(config, KEY).roles == core_settings(config, "", Resources()).roles == ("eng/web", "dev", "shop")
    assert read(GOOD, {}).config.roles == ("*",)


@pytest.mark.parametrize(
    ("consul", "clear"),
    [
        ("http://127.0.0.1:8500", ()),
        ("https://consul1:8500", ()),
        ("http://consul1:8500,https://consul2:8500,http://10.0.0.1:8500", ("http://consul1:8500", "http://10.0.0.1:8500")),
    ],
)
def test_where_consuls_token_could_be_read_on_its_way(tmp_path: Path, consul: str, clear: tuple[str, ...]):
    token = tmp_path / "token"
    token.write_text("secret")
    token.chmod(0o600)
    assert (
        read([*GOOD, "--consul", consul, "--consul-token-file", str(token), "--http-host", "127.0.0.1"], {}).config.clear_consul
        == clear
    )
    assert read([*GOOD, "--consul", consul, "--http-host", "127.0.0.1"], {}).config.clear_consul == ()


@pytest.mark.parametrize(
    ("argv", "complaint"),
    [
        (["--master", "zk://zk1:2181", "--store", "memory:"], "path"),
        ([*GOOD, "--store", "memory:"], "one of them"),
        (["--master", "m:5050", "--zk", "zk1:2181"], "zk://"),
        ([*GOOD, "--secret-file", "/no/such/file", "--principal", "p"], "no readable file"),
        ([*GOOD, "--secret-file", "/etc/hostname"], "--principal"),
        ([*GOOD, "--instances-limit", "0"], "--instances-limit"),
        ([*GOOD, "--advertise-url", "scheduler1:8080"], "--advertise-url"),
        ([*GOOD, "--executor-cpus", "0"], "--executor-cpus"),
        ([*GOOD, "--role", "web team"], "--role"),
        ([*GOOD, "--role", "eng//web"], "--role"),
        ([*GOOD, "--role=-web"], "--role"),
        ([*GOOD, "--group-roles", "Dev"], "--group-roles: 'Dev' is no name that a top-level group can have"),
        ([*GOOD, "--group-roles", "a/b"], "--group-roles: 'a/b' is no name"),
        ([*GOOD, "--group-roles", "tasks"], "--group-roles: 'tasks' is no name"),
        ([*GOOD, "--group-roles", "dev,dev"], "--group-roles: dev is there twice"),
        ([*GOOD, "--role", "dev", "--group-roles", "dev"], "--group-roles: dev is there twice, or is the scheduler's own"),
        ([*GOOD, "--secret-file", "/etc/hostname", "--principal", "p"], "chmod 600"),
        ([*GOOD, "--consul-datacenters", "dc2,Dc3"], "--consul-datacenters: 'Dc3' is no name of a Consul data center"),
        ([*GOOD, "--consul-query-nearest", "11"], "--consul-query-nearest: must be a number from 0 to 10, not 11"),
        ([*GOOD, "--consul-token-file", "/etc/hostname"], "--consul-token-file.*chmod 600"),
        ([*GOOD, "--framework-key-file", "/etc/hostname"], "--framework-key-file.*chmod 600"),
        ([*GOOD, "--http-credentials", "user"], "user:password"),
        ([*GOOD, "--http-open", "perhaps"], "true or false"),
        ([*GOOD, "--http-hosts", "a.example:8080"], "--http-hosts"),
        ([*GOOD, "--http-origins", "ui.example"], "--http-origins"),
        ([*GOOD, "--http-rate", "-1"], "--http-rate"),
        (["--master", "m:1", "--zk", "zk://u:p@zk1,127.0.0.1/e"], "--zk-clear"),
        ([*GOOD, "--zk-ca-file", "/no/such/file"], "--zk-ca-file"),
        ([*GOOD, "--zk-cert-file", "/etc/hostname"], "needs --zk-ca-file"),
        ([*GOOD, "--zk-ca-file", "/etc/hostname", "--zk-cert-file", "/etc/hostname"], "chmod 600"),
        ([*GOOD, "--policy", "lax"], "--policy"),
        ([*GOOD, "--fetch-folders", "srv"], "--fetch-folders"),
        ([*GOOD, "--allow-host-paths", "srv"], "--allow-host-paths"),
        ([*GOOD, "--allow-privileged", "1"], "true or false"),
        ([*GOOD, "--http-cert-file", "/etc/hostname"], "--http-cert-file.*chmod 600"),
        ([*GOOD, "--http-client-ca-file", "/etc/hostname"], "needs --http-cert-file"),
        ([*GOOD, "--http-ca-file", "/no/such/file"], "--http-ca-file"),
        ([*GOOD, "--http-connections", "0"], "--http-connections"),
        ([*GOOD, "--executor-http-port", "70000"], "--executor-http-port"),
        ([*GOOD, "--executor-disk-mib", "-1"], "--executor-disk-mib"),
        ([*GOOD, "--master-scheme", "tls"], "--master-scheme"),
        ([*GOOD, "--master-ca-file", "/no/such/file"], "--master-ca-file: /no/such/file"),
        ([*GOOD, "--master-ca-file", "/etc/hostname"], "--master-ca-file: /etc/hostname"),
    ],
)
def test_settings_that_cannot_work_are_refused(argv: list[str], complaint: str):
    with pytest.raises(BadConfig, match=complaint):
        read(argv, {})


def test_masters_found_through_zookeeper_are_spoken_to_as_told():
    flags = ["--master", "zk://zk1/mesos", "--store", "memory:", "--master-ca-file", "/etc/ssl/certs/ca-certificates.crt"]
    over_tls, plain = (mesos_settings(read([*flags, *more], {}).config, KEY) for more in (["--master-scheme", "https"], []))
    assert (over_tls.tls_master, plain.tls_master) == (True, False)
    assert over_tls.tls is not None and over_tls.tls.get_ca_certs()


def test_secrets_stay_out_of_the_log(tmp_path: Path):
    secret = tmp_path / "secret"
    secret.write_text("hunter2\n")
    secret.chmod(0o600)
    config = read(
        [
            "--master",
            "m:5050",
            "--zk",
            "zk://u:pass@zk1:2181/e",
            "--zk-clear",
            "true",
            "--principal",
            "p",
            "--secret-file",
            str(secret),
        ],
        {},
    ).config
    assert config.secret() == "hunter2"
    assert "pass@" not in repr(config) and "hunter2" not in repr(config)


@pytest.mark.parametrize(
    "flags",
    [
        ["--zk", "zk://u:p@zk1/e", "--zk-clear", "true"],
        ["--zk", "zk://u:p@zk1/e", "--zk-ca-file", "/etc/hostname"],
        ["--zk", "zk://u:p@127.0.0.1:2181,[::1]:2182,localhost/e"],
        ["--zk", "zk://zk1/e"],
    ],
)
def test_zookeepers_password_is_sent_where_nobody_reads_it_or_that_is_meant(flags: list[str]):
    config = read(["--master", "m:5050", *flags], {}).config
    assert (config.zk_tls() is not None) == ("--zk-ca-file" in flags)


def test_marathons_name_of_a_flag_is_taken_and_its_password_is_not_shown():
    config = read([*GOOD, "--http_credentials", "user:hunter2"], {}).config
    assert config.http_credentials == "user:hunter2"
    assert "hunter2" not in repr(config)


def test_without_a_command_the_scheduler_runs():
    assert read(GOOD, {}).command == ""


@pytest.mark.parametrize(
    ("argv", "file", "replace"),
    [
        (["backup", "f", "--zk", "zk://h/e"], "f", False),
        (["--zk", "zk://h/e", "backup", "f"], "f", False),
        (["--zk", "zk://h/e", "restore", "--replace", "f"], "f", True),
        (["--zk", "zk://h/e", "restore", "-"], "-", False),
        ([*GOOD, "--zk", "zk://h/e", "--http-port", "9000", "restore", "-", "--role", "web"], "-", False),
    ],
)
def test_commands_for_the_store_take_the_schedulers_flags_and_need_the_store_alone(argv: list[str], file: str, replace: bool):
    called = read(argv, {})
    assert called.command in argv
    assert (called.file, called.replace, called.config.zk) == (file, replace, "zk://h/e")


def test_commands_for_the_store_read_the_environment_that_the_scheduler_has():
    assert read(["backup", "f"], {"ERATOS_ZK": "zk://h/e", "ERATOS_SECRET_FILE": "/not/here"}).config.zk == "zk://h/e"


@pytest.mark.parametrize("command", ["backup", "restore"])
@pytest.mark.parametrize(
    ("argv", "complaint"),
    [([], "--zk"), (["--store", "memory:"], "keeps nothing"), (["--store", "sqlite:///f", "--zk", "zk://h/e"], "one of them")],
)
def test_commands_for_the_store_refuse_what_they_cannot_work_on(command: str, argv: list[str], complaint: str):
    with pytest.raises(BadConfig, match=complaint):
        read([command, "f", *argv], {})


@pytest.mark.parametrize(
    ("flags", "complaint"),
    [
        (["--launch-confirm-timeout-s", "59"], "--launch-confirm-timeout-s"),
        (["--launch-timeout-s", "5"], "--launch-timeout-s"),
        (["--deployment-deadline-s", "5"], "--deployment-deadline-s"),
        (["--launch-limit", "0"], "--launch-limit"),
        (["--launch-timeout-s", "soon"], "'soon' is not a number"),
    ],
)
def test_limits_of_launches_that_cannot_work_are_refused(flags: list[str], complaint: str):
    with pytest.raises(BadConfig, match=complaint):
        read([*GOOD, *flags], {})


def test_limits_of_launches_reach_the_core():
    flags = ["--launch-limit", "7", "--launch-confirm-timeout-s", "70", "--launch-timeout-s", "77"]
    flags += ["--deployment-deadline-s", "777"]
    settings = core_settings(read([*GOOD, *flags], {}).config, "executor", Resources())
    assert (settings.launching_most, settings.launch_confirm_timeout_s, settings.launch_timeout_s) == (7, 70.0, 77.0)
    assert settings.deployment_deadline_s == 777.0


@pytest.mark.parametrize(
    ("url", "hostname", "leader"),
    [
        ("https://sched1.example:8443", "sched1.example", "sched1.example:8443"),
        ("http://sched1:8080/", "sched1", "sched1:8080"),
        ("https://[fd00::1]:8443", "fd00::1", "[fd00::1]:8443"),
    ],
)
def test_the_host_and_the_leader_are_told_without_the_scheme(
    url: str, hostname: str, leader: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = read([*GOOD, "--advertise-url", url], {}).config
    assert (mesos_settings(config, KEY).hostname, mesos_settings(config, KEY).webui_url) == (hostname, url)
    process = Process(config)
    monkeypatch.setattr(process, "leader", lambda: url)
    info = process.info()
    assert (info["leader"], info["marathon_config"]["hostname"]) == (leader, hostname)


@pytest.mark.parametrize(
    ("given", "kinds"),
    [("exec,forward", {"exec", "forward"}), ("forward", {"forward"}), ("none", set()), ("", {"exec", "forward"})],
)
def test_which_tunnels_there_are(given: str, kinds: set[str]):
    limits = tunnels(read([*GOOD, "--tunnels", given, "--exec-sessions", "3", "--tunnel-idle-s", "60"], {}).config)
    assert (limits.kinds, limits.commands, limits.idle_s) == (kinds, 3, 60.0)


@pytest.mark.parametrize(
    ("flag", "value"),
    [
        ("--tunnels", "ssh"),
        ("--tunnels", "exec,none"),
        ("--tunnel-idle-s", "1"),
        ("--exec-sessions", "0"),
        ("--forward-connections", "0"),
    ],
)
def test_tunnels_that_make_no_sense_are_refused(flag: str, value: str):
    with pytest.raises(BadConfig, match=flag):
        read([*GOOD, "--http-host", "127.0.0.1", flag, value], {})
