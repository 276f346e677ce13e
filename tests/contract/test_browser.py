"""A page that somebody visits cannot use the API, a companion or an executor: with a real browser, which decides what is sent.

Where the page is allowed by a setting the same tricks succeed, so the tests see them fail for the right reason.
"""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.browser import ATTACKER, REBOUND, an_attacker, browser
from support.controller import FakeController
from support.fake_logs import FakeLogs
from support.waiting import until

from eratos.common.browser_guard import BrowserGuard
from eratos.executor.endpoint import Endpoint
from eratos.executor.io_thread import IoThread
from eratos.executor.readiness import ReadinessResults
from eratos.haproxy import api as haproxy_api
from eratos.scheduler.api.gate import Access
from eratos.scheduler.api.server import ApiServer, create_api

APP = {"cmd": "id > /tmp/owned", "cpus": 0.1, "mem": 32}
#: Each way by which a page may have something done: it names its app after itself.
CHANGES = """
<iframe name="hidden"></iframe>
<script>
const app = name => JSON.stringify({id: "/" + name, ...APP});
const json = {"Content-Type": "application/json"};
const form = (name, kind) => new Promise(done => {
  const made = document.createElement("form");
  made.action = "VICTIM/v2/apps"; made.method = "POST"; made.enctype = kind; made.target = "hidden";
  const field = document.createElement("input");
  // As text/plain a form is sent as name=value: the sign goes into a field of no meaning.
  field.name = app(name).slice(0, -1) + ',"labels":{"x":"'; field.value = '"}}';
  made.append(field); document.body.append(made);
  document.querySelector("iframe").onload = done;
  made.submit();
});
const ways = {
  "plain": () => fetch("VICTIM/v2/apps", {method: "POST", mode: "no-cors", body: app("plain")}),
  "credentials": () => fetch("VICTIM/v2/apps", {
    method: "POST", mode: "no-cors", credentials: "include", body: app("credentials")}),
  "untyped": () => fetch("VICTIM/v2/apps", {method: "POST", mode: "no-cors", body: new Blob([app("untyped")])}),
  "beacon": () => navigator.sendBeacon("VICTIM/v2/apps", app("beacon")),
  "beacon-json": () => navigator.sendBeacon("VICTIM/v2/apps", new Blob([app("beacon-json")], {type: "application/json"})),
  "json": () => fetch("VICTIM/v2/apps", {method: "POST", headers: json, body: app("json")}),
  "put": () => fetch("VICTIM/v2/apps/put", {method: "PUT", headers: json, body: app("put")}),
  "bare-delete": () => fetch("VICTIM/v2/apps/there", {method: "DELETE"}),
  "bare-restart": () => fetch("VICTIM/v2/apps/there/restart", {method: "POST", mode: "no-cors"}),
  "form-text": () => form("form-text", "text/plain"),
  "form": () => form("form", "application/x-www-form-urlencoded"),
  "form-parts": () => form("form-parts", "multipart/form-data"),
};
(async () => {
  const results = {};
  for (const [name, way] of Object.entries(ways)) {
    try { await way(); results[name] = "sent"; } catch (error) { results[name] = String(error); }
  }
  await tell(results);
})();
</script>"""
#: Each way by which a page may learn what an address answers; `path` is the victim's or its own.
READINGS = """
<script>
const READ = async (base, path, stream) => {
  const tried = async read => { try { return await read(); } catch (error) { return "no: " + error; } };
  return {
    "fetch": await tried(async () => (await fetch(base + path)).text()),
    "opaque": await tried(async () => (await fetch(base + path, {mode: "no-cors"})).text()),
    "asked": await tried(async () => (await fetch(base + path, {headers: {"X-Other": "1"}})).text()),
    "events": await tried(() => new Promise((done, failed) => {
      const source = new EventSource(base + stream);
      source.onopen = () => { source.close(); done("open"); };
      source.onerror = () => { source.close(); failed("closed"); };
    })),
    "socket": await tried(() => new Promise((done, failed) => {
      const socket = new WebSocket((base || location.origin).replace("http", "ws") + stream);
      socket.onopen = () => done("open");
      socket.onerror = () => failed("closed");
    })),
    "frame": await tried(() => new Promise((done, failed) => {
      const frame = document.createElement("iframe");
      frame.onload = () => {
        try { done(frame.contentDocument.body.innerText || "no: empty"); } catch (error) { failed(error); }
      };
      frame.src = base + path;
      document.body.append(frame);
    })),
    "script": await tried(() => new Promise((done, failed) => {
      const script = document.createElement("script");
      script.onload = () => done("ran");
      script.onerror = () => failed("refused");
      script.src = base + path;
      document.body.append(script);
    })),
  };
};
</script>"""
ACROSS = READINGS + '<script>READ("VICTIM", "PATH", "STREAM").then(tell);</script>'
#: The page's own name leads elsewhere from the moment that the page is there.
BY_REBINDING = (
    READINGS
    + """<script>
(async () => {
  await fetch("/rebind");
  await tell(await READ("", "PATH", "STREAM"));
})();
</script>"""
)


class Rig:
    """An API with one app, and a browser."""

    def __init__(self, guard: BrowserGuard, folder: Path) -> None:
        self.controller = FakeController()
        api = create_api(self.controller, access=Access(guard))
        self.server = ApiServer(api, "127.0.0.1", 0, 100)
        self.server.start()
        self._folder = folder
        self._browser = browser()

    def visit(self, page: str, name: str = ATTACKER, port: int = 0) -> dict[str, Any]:
        with an_attacker(page, port or self.server.port) as attacker:
            place = attacker.port if name == ATTACKER else attacker.rebound.port
            return attacker.visited_by(self._browser, f"http://{name}:{place}/", self._folder / "profile")


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    made = Rig(BrowserGuard(), tmp_path)
    yield made
    made.server.stop()


@pytest.fixture
def trusting(tmp_path: Path) -> Iterator[Rig]:
    """An API whose operator allows every origin, and the attacker's name."""
    made = Rig(BrowserGuard.of([REBOUND], ["*"]), tmp_path)
    yield made
    made.server.stop()


def changes() -> str:
    return CHANGES.replace("...APP", f"...{json.dumps(APP)}")


def test_no_page_changes_anything(rig: Rig) -> None:
    tried = rig.visit(changes())
    assert len(tried) == 12
    # The browser did send these: they were refused here.
    assert {tried[name] for name in ("plain", "credentials", "untyped", "form-text", "form", "form-parts", "bare-restart")} == {
        "sent"
    }
    assert rig.controller.commands == []


def test_a_page_that_is_allowed_changes_what_it_says_in_json(trusting: Rig, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "eratos.scheduler.audit")
    trusting.visit(changes())
    apps = trusting.controller.read(lambda state: set(state.apps))
    assert {"/json", "/put"} <= apps <= {"/json", "/put", "/beacon-json"}
    # Forms and text got as far as to be asked what they are.
    assert sum("status=415" in line for line in caplog.messages) >= 6


def read_pages(path: str, stream: str) -> list[tuple[str, str]]:
    return [
        (page.replace("PATH", path).replace("STREAM", stream), name)
        for page, name in ((ACROSS, ATTACKER), (BY_REBINDING, REBOUND))
    ]


@pytest.mark.parametrize(("page", "name"), read_pages("/v2/info", "/v2/events"), ids=["across", "rebound"])
def test_no_page_reads_anything(rig: Rig, page: str, name: str) -> None:
    read = rig.visit(page, name)
    assert len(read) == 7
    for way, what in read.items():
        # A rebound page reads the refusal, which is for the name that it came by.
        assert what.startswith("no: ") or "is no name of this server" in what or (way == "opaque" and not what), (way, what)
        assert "frameworkId" not in what and "version" not in what


@pytest.mark.parametrize(("page", "name"), read_pages("/v2/info", "/v2/events"), ids=["across", "rebound"])
def test_a_page_that_is_allowed_reads(trusting: Rig, page: str, name: str) -> None:
    read = trusting.visit(page, name)
    assert "version" in read["fetch"]
    assert read["events"] == "open"
    assert read["socket"].startswith("no: ")  # there are none


@pytest.mark.parametrize(("page", "name"), read_pages("/tasks/x/logs", "/tasks/x/logs"), ids=["across", "rebound"])
def test_no_page_reads_from_an_executor(rig: Rig, page: str, name: str) -> None:
    io, logs = IoThread(), FakeLogs()
    io.start()
    logs.write("x", b"a secret line\n")
    endpoint = Endpoint(io, [logs], ReadinessResults(), "127.0.0.1", 0)
    endpoint.start()
    try:
        read = rig.visit(page, name, until(lambda: endpoint.port, 10, "logs are served"))
    finally:
        io.stop()
    assert not [what for what in read.values() if "a secret line" in what], read


#: Sent before anything else: "these servers go".
ANNOUNCE = """<script>
fetch("VICTIM/confirm", {method: "POST", mode: "no-cors", body: '{"services": ["eratos-a"]}'});
</script>"""


class Companion:
    """Notes what gets as far as to be answered."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str]] = []

    def answer(self, method: str, path: str, body: bytes, caller: str) -> tuple[int, Any]:
        self.asked.append((method, path))
        return 200, {}


@pytest.mark.parametrize(("page", "name"), read_pages("/status", "/status"), ids=["across", "rebound"])
def test_no_page_is_answered_by_a_companion(rig: Rig, page: str, name: str) -> None:
    companion = Companion()
    server = haproxy_api.server(companion, 0, haproxy_api.Access())  # type: ignore[arg-type]
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        read = rig.visit(ANNOUNCE + page, name, server.server_port)
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
    assert len(read) == 7
    # What a script or a frame asks for without an origin and by this server's own address is answered, and not shown.
    assert ("POST", "/confirm") not in companion.asked
    assert not [what for what in read.values() if what == "{}"]
