"""The hello app: two pages, at the root and below a base path."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from support.worker_process import WorkerProcess, run_to_end


@pytest.fixture(scope="module")
def hello() -> Iterator[WorkerProcess]:
    with WorkerProcess("hello", BASE_PATH="/hello/", INSTANCE_ID="<b>one</b>") as worker:
        yield worker


@pytest.mark.parametrize("path", ["/example1.html", "/example2.html", "/hello/example1.html", "/hello/example2.html"])
def test_pages_are_served_at_the_root_and_below_the_base_path(hello: WorkerProcess, path: str) -> None:
    answer = hello.get(path)
    assert answer.status == 200
    assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
    assert f"This is {path.rpartition('/')[2]}." in answer.body
    assert "Served by &lt;b&gt;one&lt;/b&gt;" in answer.body


@pytest.mark.parametrize("path", ["/", "/hello", "/hello/"])
def test_start_page_links_to_pages_that_exist(hello: WorkerProcess, path: str) -> None:
    links = [part.split('"')[0] for part in hello.get(path).body.split('href="')[1:]]
    assert links == ["/hello/example1.html", "/hello/example2.html"]
    assert all(hello.get(link).status == 200 for link in links)


def test_hello_has_health_and_no_other_pages(hello: WorkerProcess) -> None:
    assert hello.get("/health").body == "ok\n"
    assert hello.get("/example3.html").status == 404
    assert hello.get("/../serving.py").status == 404


def test_without_a_base_path_pages_are_at_the_root_alone() -> None:
    with WorkerProcess("hello") as worker:
        assert worker.get("/example1.html").status == 200
        assert 'href="/example1.html"' in worker.get("/").body
        assert worker.get("/hello/example1.html").status == 404
        worker.terminate()
        assert worker.exit_code() == 0


def test_bad_base_path_is_refused() -> None:
    ended = run_to_end("hello", BASE_PATH="hello")
    assert ended.returncode == 2
    assert ended.stderr == "hello: BASE_PATH must be a path like /hello, not 'hello'\n"
