"""The prime worker: what it answers, its settings, its health, its end."""

from __future__ import annotations

import contextlib
import json
import signal
import socket
import threading
from collections.abc import Iterator

import pytest
from support.worker_process import WorkerProcess, load, read_to_end, run_to_end, wait_until

primes = load("primes")


@pytest.fixture(scope="module")
def prime() -> Iterator[WorkerProcess]:
    with WorkerProcess(WORK_S="0", INSTANCE_ID='shop.1"\\', VERSION="7", HEALTH_SWITCH="1") as worker:
        yield worker


# Primes


def test_small_numbers_agree_with_a_sieve() -> None:
    most = 20_000
    composite = {multiple for factor in range(2, 142) for multiple in range(factor * factor, most, factor)}
    assert [n for n in range(-3, most) if primes.is_prime(n)] == [n for n in range(2, most) if n not in composite]


@pytest.mark.parametrize(
    "number",
    [
        3_215_031_751,  # the least strong pseudoprime to bases 2, 3, 5 and 7
        341_550_071_728_321,  # to the first seven and eight primes
        318_665_857_834_031_151_167_461,  # to the first twelve
        561,
        (10**12 + 39) * (10**11 + 3),
    ],
)
def test_pseudoprimes_are_seen_through(number: int) -> None:
    assert not primes.is_prime(number)


def test_large_primes_are_recognised_up_to_the_bound_of_the_proof() -> None:
    assert primes.is_prime(2**61 - 1)
    assert primes.is_prime(10**24 + 7)
    with pytest.raises(ValueError, match="past the bound"):
        primes.is_prime(primes.PROVEN_BELOW)


@pytest.mark.parametrize("digits", [1, 2, 8, primes.DIGITS_MAX])
def test_prime_has_the_wanted_number_of_digits(digits: int) -> None:
    prime, _ = primes.find_prime(digits, 0)
    assert len(str(prime)) == digits
    assert primes.is_prime(prime)


def test_every_prime_of_a_length_is_drawn() -> None:
    found: set[int] = set()
    wait_until(lambda: found.add(primes.find_prime(1, 0)[0]) or len(found) == 4, "all primes of one digit were drawn")
    assert found == {2, 3, 5, 7}


def test_search_spends_the_wanted_cpu_time() -> None:
    _, spent_s = primes.find_prime(8, 0.02)
    assert spent_s >= 0.02


# Answers


def test_answer_is_a_fresh_prime_and_names_the_instance(prime: WorkerProcess) -> None:
    answers = [prime.get("/") for _ in range(5)]
    assert len({answer.body for answer in answers}) > 1
    for answer in answers:
        assert primes.is_prime(int(answer.body))
        assert len(answer.body) == 9
        assert answer.headers["X-Instance"] == 'shop.1"\\'
        assert answer.headers["Content-Type"].startswith("text/plain")
        assert answer.headers["Cache-Control"] == "no-store"


def test_json_form_on_request(prime: WorkerProcess) -> None:
    answer = prime.get("/", Accept="text/html, application/json;q=0.9")
    assert answer.headers["Content-Type"] == "application/json"
    told = json.loads(answer.body)
    assert set(told) == {"prime", "instance", "work_s", "version"}
    assert primes.is_prime(told["prime"])
    assert (told["instance"], told["version"]) == ('shop.1"\\', "7")
    assert told["work_s"] >= 0


def test_work_is_spent_and_counted() -> None:
    with WorkerProcess(WORK_S="0.05") as worker:
        assert json.loads(worker.get("/", Accept="application/json").body)["work_s"] >= 0.05
        assert worker.metric("worker_work_seconds_total") >= 0.05


@pytest.mark.parametrize(
    ("settings", "instance"),
    [
        ({"INSTANCE_ID": "a", "MESOS_TASK_ID": "b"}, "a"),
        ({"INSTANCE_ID": "", "MESOS_TASK_ID": "b"}, "b"),
        ({}, socket.gethostname()),
    ],
)
def test_instance_id_comes_from_the_first_that_is_set(settings: dict[str, str], instance: str) -> None:
    with WorkerProcess(WORK_S="0", **settings) as worker:
        assert worker.get("/health").headers["X-Instance"] == instance


def test_start_line_names_the_port(prime: WorkerProcess) -> None:
    assert prime.first_line == f"Starting server on port {prime.port}\n"


def test_bad_settings_are_all_reported_at_once() -> None:
    ended = run_to_end("prime", PORT="http", WORK_S="nan", PRIME_DIGITS="2.5", LOG="yes", INSTANCE_ID="a\nb")
    assert ended.returncode == 2
    assert ended.stderr.splitlines() == [
        "prime: PORT must be a whole number from 0 to 65535, not 'http'",
        "prime: INSTANCE_ID must be printable ASCII, not 'a\\nb'",
        "prime: LOG must be 0 or 1, not 'yes'",
        "prime: WORK_S must be a number of seconds from 0 to 3600, not 'nan'",
        "prime: PRIME_DIGITS must be a whole number from 1 to 24, not '2.5'",
    ]


def test_taken_port_ends_the_start_with_a_reason(prime: WorkerProcess) -> None:
    ended = run_to_end("prime", PORT=str(prime.port))
    assert ended.returncode == 1
    assert f"cannot listen on port {prime.port}" in ended.stderr


# Health


def test_health_fails_and_recovers_on_demand(prime: WorkerProcess) -> None:
    assert (prime.get("/health").status, prime.get("/health").body) == (200, "ok\n")
    assert prime.get("/health", "PUT", "disk full").status == 200
    assert (prime.get("/health").status, prime.get("/health").body) == (500, "disk full\n")
    assert prime.get("/health", "DELETE").status == 200
    assert prime.get("/health").status == 200


def test_health_cannot_be_switched_unless_allowed() -> None:
    with WorkerProcess() as worker:
        assert worker.get("/health", "PUT", "nonsense").status == 405
        assert worker.get("/health").status == 200


def test_health_is_answered_while_every_thread_computes() -> None:
    with WorkerProcess(WORK_S="3600") as worker:
        request = b"GET / HTTP/1.1\r\nHost: test\r\n\r\n"
        busy = [worker.connect() for _ in range(6)]
        try:
            for sock in busy:
                sock.sendall(request)
            wait_until(lambda: worker.in_flight() == 6, "six requests are in flight")
            assert worker.get("/health").status == 200
        finally:
            for sock in busy:
                sock.close()


# The end


def request_in_background(worker: WorkerProcess) -> tuple[threading.Thread, list[bytes]]:
    answers: list[bytes] = []
    sent = b"GET / HTTP/1.1\r\nHost: test\r\n\r\n"
    thread = threading.Thread(target=lambda: answers.append(worker.raw(sent)))
    thread.start()
    return thread, answers


def refuses_connections(worker: WorkerProcess) -> bool:
    try:
        worker.connect().close()
    except ConnectionRefusedError:
        return True
    return False


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_stop_finishes_what_is_in_flight_and_exits_0(number: signal.Signals) -> None:
    with WorkerProcess(WORK_S="0.15") as worker:
        thread, answers = request_in_background(worker)
        wait_until(lambda: worker.in_flight() == 1, "the request is in flight")
        worker.process.send_signal(number)
        wait_until(lambda: worker.get("/health").status == 500, "the drain has begun")
        assert worker.get("/health").body == "draining\n"
        worker.process.send_signal(number)  # a second one changes nothing
        thread.join()
        head, body = answers[0].split(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200")
        assert b"Connection: close" in head
        assert primes.is_prime(int(body))
        assert worker.exit_code() == 0
        assert worker.output() == ("", "")


def test_requests_that_arrive_during_the_drain_are_answered() -> None:
    with WorkerProcess(WORK_S="0.15") as worker, worker.connect() as idle:
        thread, _ = request_in_background(worker)
        wait_until(lambda: worker.in_flight() == 1, "the request is in flight")
        worker.terminate()
        wait_until(lambda: worker.get("/health").status == 500, "the drain has begun")
        idle.sendall(b"GET / HTTP/1.1\r\nHost: test\r\n\r\n")
        on_new_connection = worker.get("/")
        assert (on_new_connection.status, on_new_connection.headers["Connection"]) == (200, "close")
        assert read_to_end(idle).startswith(b"HTTP/1.1 200")
        thread.join()
        assert worker.exit_code() == 0


def test_open_connections_are_served_after_new_ones_are_refused() -> None:
    with WorkerProcess(limits={"DRAIN_ACCEPT_S": 0}, WORK_S="0.15") as worker, worker.connect() as idle:
        thread, _ = request_in_background(worker)
        wait_until(lambda: worker.in_flight() == 1, "the request is in flight")
        worker.terminate()
        wait_until(lambda: refuses_connections(worker), "new connections are refused")
        idle.sendall(b"GET /health HTTP/1.1\r\nHost: test\r\n\r\n")
        assert read_to_end(idle).endswith(b"draining\n")
        thread.join()
        assert worker.exit_code() == 0


def test_idle_connection_does_not_hold_up_the_end() -> None:
    with WorkerProcess() as worker, worker.connect() as idle:
        wait_until(lambda: worker.get("/health").status == 200, "the worker answers")
        worker.terminate()
        assert read_to_end(idle) == b""
        assert worker.exit_code() == 0


def test_steady_traffic_does_not_hold_up_the_end() -> None:
    with WorkerProcess(limits={"DRAIN_ACCEPT_S": 0.1}) as worker:

        def ask_until_refused() -> None:
            with contextlib.suppress(ConnectionError):
                while worker.get("/health").status in (200, 500):
                    pass

        askers = [threading.Thread(target=ask_until_refused) for _ in range(3)]
        for asker in askers:
            asker.start()
        worker.terminate()
        assert worker.exit_code() == 0
        for asker in askers:
            asker.join()
